//! `agon-test-miner`: a real miner, but for how it behaves. For `agon localnet` and the end-to-end suite only.

use std::path::PathBuf;
use std::process::ExitCode;

use agon_miner::args::MinerArgs;
use agon_miner::backend::{Backend, ModelBackend};
use agon_miner::models::Models;
use agon_miner::{World, run};
use agon_model::{Engine, LoadOptions};
use agon_protocol::id::Digest;
use agon_runtime::clock::Clock;
use agon_runtime::flags::{self, LedgerFlags, LogFlags};
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_tests::behave::{Behaviour, Misbehaving};
use agon_tests::quantise::quantise;
use anyhow::Context;
use clap::{Parser, Subcommand};

/// Serves like agon-miner, but behaves as told.
#[derive(Debug, Parser)]
#[command(name = "agon-test-miner", version)]
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
    /// Serve, as agon-miner serve does
    Serve {
        #[command(flatten)]
        miner: MinerArgs,
        /// How to behave
        #[arg(long, value_enum)]
        behave: Behaviour,
        /// Folder of the honest model behind it
        #[arg(long, value_name = "DIR")]
        model: Option<PathBuf>,
        /// Folder of the model that it says it serves
        #[arg(long, value_name = "DIR")]
        claim: Option<PathBuf>,
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
    let Command::Serve {
        miner,
        behave,
        model,
        claim,
    } = &cli.command;
    miner.child.apply()?;
    let config = miner.config(&cli.ledger)?;
    let shutdown = Shutdown::on_signals()?;
    let honest = if behave.needs_model() {
        Some(honest(*behave, model.as_ref())?)
    } else {
        None
    };
    let world = World {
        clock: Clock::system(),
        net: Net::tcp(),
    };
    let backend = match claim {
        None => Misbehaving::new(*behave, honest),
        Some(dir) => Misbehaving::claiming(*behave, honest, Digest(agon_model::digest_of(dir)?)),
    };
    run(config, Models::one(backend), world, shutdown, |_| ()).await?;
    Ok(())
}

fn honest(behaviour: Behaviour, model: Option<&PathBuf>) -> anyhow::Result<Box<dyn Backend>> {
    agon_model::start();
    let named = model.context("this behaviour needs --model DIR")?;
    let copy = tempfile::tempdir()?;
    let dir = if behaviour == Behaviour::Quantised {
        quantise(named, copy.path(), 4)?;
        copy.path()
    } else {
        named
    };
    let engine = Engine::load(dir, &LoadOptions::default(), |_| ())
        .with_context(|| format!("load model {}", dir.display()))?;
    Ok(Box::new(ModelBackend::new(engine)))
}
