//! `agon-test-validator`: a validator that breaks the rules. For `agon localnet` and the end-to-end suite only.

use std::process::ExitCode;

use agon_protocol::id::Hotkey;
use agon_runtime::clock::Clock;
use agon_runtime::entropy::Entropy;
use agon_runtime::flags::{self, LedgerFlags, LogFlags};
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_tests::rogue::{collude, copy};
use agon_validator::World;
use agon_validator::args::RunArgs;
use anyhow::Context;
use clap::{Parser, Subcommand};

/// Sets weights like agon-validator, but breaks the rules.
#[derive(Debug, Parser)]
#[command(name = "agon-test-validator", version)]
struct Cli {
    #[command(flatten)]
    ledger: LedgerFlags,
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do no work, and give the weights that others revealed
    Copy {
        #[command(flatten)]
        validator: Box<RunArgs>,
    },
    /// Work, but judge the answers of friends as perfect
    Collude {
        #[command(flatten)]
        validator: Box<RunArgs>,
        /// Hotkey of a friend; may be repeated
        #[arg(long = "friend", value_name = "ADDRESS", required = true)]
        friends: Vec<Hotkey>,
    },
}

fn main() -> ExitCode {
    match start(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => flags::last_words(error.as_ref()),
    }
}

#[tokio::main(worker_threads = 2)]
async fn start(cli: &Cli) -> anyhow::Result<()> {
    cli.log.init()?;
    let (Command::Copy { validator } | Command::Collude { validator, .. }) = &cli.command;
    validator.child.apply()?;
    let config = validator.config(&cli.ledger)?;
    std::fs::create_dir_all(&config.dir).with_context(|| format!("create {}", config.dir.display()))?;
    let shutdown = Shutdown::on_signals()?;
    let world = World {
        clock: Clock::system(),
        net: Net::tcp(),
        entropy: Entropy::os(),
    };
    match &cli.command {
        Command::Copy { .. } => Ok(copy::run(config, world, shutdown).await?),
        Command::Collude { friends, .. } => {
            collude::run(config, friends.iter().copied().collect(), world, shutdown).await
        }
    }
}
