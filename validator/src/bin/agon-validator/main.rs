//! `agon-validator`: scores the miners of a subnet and sets weights.
//!
//! What needs libtorch is here and not in the library, so that tools which read a validator's files do not link it.

mod calibrate;
mod reference;

use std::process::ExitCode;

use agon_runtime::clock::Clock;
use agon_runtime::entropy::Entropy;
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_runtime::{flags, telemetry};
use agon_validator::args::{Cli, Command, RunArgs};
use agon_validator::{World, run};
use clap::Parser;

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => flags::last_words(error.as_ref()),
    }
}

fn start(cli: &Cli) -> anyhow::Result<()> {
    cli.log.init()?;
    match &cli.command {
        Command::Run(args) => serve(cli, args),
        Command::Calibrate(args) => calibrate::run(args),
    }
}

#[tokio::main(worker_threads = 2)]
async fn serve(cli: &Cli, args: &RunArgs) -> anyhow::Result<()> {
    args.child.apply()?;
    let mut config = args.config(&cli.ledger)?;
    config.reference = reference::pinned(&args.reference)?;
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
