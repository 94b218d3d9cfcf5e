//! `agon-test-miner`: a real miner, but for how it behaves. For `agon localnet` and the end-to-end suite only.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use agon_miner::args::MinerArgs;
use agon_miner::backend::{Backend, ModelBackend};
use agon_miner::models::Models;
use agon_miner::{Config, World, run};
use agon_model::{Engine, LoadOptions};
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::wallet::HotkeyName;
use agon_runtime::clock::Clock;
use agon_runtime::flags::{self, LedgerFlags, LogFlags};
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_tests::behave::{Behaviour, Misbehaving};
use agon_tests::quantise::quantise;
use agon_tests::relay;
use anyhow::Context;
use clap::{Parser, Subcommand};
use futures::future::try_join_all;

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
        /// Another hotkey of the wallet under which the same model is served, on a port of its own; may be repeated
        #[arg(long, value_name = "NAME")]
        also: Vec<String>,
    },
    /// Pass every challenge on to another miner, and its answer back
    Relay {
        #[command(flatten)]
        miner: MinerArgs,
        /// Hotkey of the other miner
        #[arg(long, value_name = "ADDRESS")]
        to: Hotkey,
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
    let (Command::Serve { miner, .. } | Command::Relay { miner, .. }) = &cli.command;
    miner.child.apply()?;
    let config = miner.config(&cli.ledger)?;
    let shutdown = Shutdown::on_signals()?;
    match &cli.command {
        Command::Relay { to, .. } => relay::run(config, *to, &Net::tcp(), shutdown).await,
        Command::Serve {
            behave,
            model,
            claim,
            also,
            ..
        } => {
            let models = Models::one(backend(*behave, model.as_ref(), claim.as_ref())?);
            let mut configs = vec![config];
            for hotkey in also {
                configs.push(another(miner, &configs[0], hotkey)?);
            }
            let world = World {
                clock: Clock::system(),
                net: Net::tcp(),
            };
            let served = configs
                .into_iter()
                .map(|config| run(config, models.clone(), world.clone(), shutdown.clone(), |_| ()));
            try_join_all(served).await?;
            Ok(())
        }
    }
}

/// The configuration of another hotkey of the wallet: the same, but for a free port and a folder in the first one's.
fn another(miner: &MinerArgs, first: &Config, hotkey: &str) -> anyhow::Result<Config> {
    let wallet = &miner.wallet.wallet;
    let pair = HotkeyName { wallet, hotkey }.read(&miner.wallet.wallets.dir()?)?;
    Ok(Config {
        pair,
        netuid: first.netuid,
        ledger: first.ledger.clone(),
        listen: SocketAddr::new(first.listen.ip(), 0),
        announce: None,
        at_once: first.at_once,
        state_dir: first.state_dir.as_ref().map(|dir| dir.join(hotkey)),
        contests: first.contests,
    })
}

fn backend(
    behave: Behaviour,
    model: Option<&PathBuf>,
    claim: Option<&PathBuf>,
) -> anyhow::Result<Misbehaving> {
    let honest = match behave.needs_model() {
        true => Some(honest(behave, model)?),
        false => None,
    };
    Ok(match claim {
        None => Misbehaving::new(behave, honest),
        Some(dir) => Misbehaving::claiming(behave, honest, Digest(agon_model::digest_of(dir)?)),
    })
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
