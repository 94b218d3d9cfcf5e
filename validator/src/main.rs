//! `agon-validator`: scores the miners of a subnet and sets weights.

use std::process::ExitCode;

use agon_runtime::clock::Clock;
use agon_runtime::entropy::Entropy;
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_runtime::{flags, telemetry};
use agon_validator::args::{Cli, Command};
use agon_validator::{World, run};
use clap::Parser;

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => flags::last_words(error.as_ref()),
    }
}

#[tokio::main(worker_threads = 2)]
async fn start(cli: &Cli) -> anyhow::Result<()> {
    cli.log.init()?;
    let Command::Run(args) = &cli.command;
    args.child.apply()?;
    let config = args.config(&cli.ledger)?;
    let shutdown = Shutdown::on_signals()?;
    if let Some(addr) = args.metrics.metrics_addr {
        telemetry::serve_metrics(addr, &shutdown).await?;
    }
    let world = World {
        clock: Clock::system(),
        net: Net::tcp(),
        entropy: Entropy::os(),
    };
    run(config, world, shutdown)
        .await
        .map_err(flags::ExitWith::from)?;
    Ok(())
}
