//! The operator's tool: wallets, accounts, subnets, what-if epochs, and a whole subnet on one machine.
//!
//! | module | commands |
//! | --- | --- |
//! | [`args`] | what was typed |
//! | [`wallet`] | `wallet` |
//! | [`account`] | `balance`, `transfer`, `stake` |
//! | [`subnet`] | `subnet`, `register` |
//! | [`committee`] | `committee` |
//! | [`tx`] | `tx`: any transaction |
//! | [`metagraph`] | `metagraph`, `weights` |
//! | [`epoch`], [`explain`] | `epoch`, `explain` |
//! | [`evidence`] | `evidence` |
//! | [`verify`] | `verify --light` |
//! | [`audit`] | `audit` |
//! | [`sim`] | `sim` |
//! | [`localnet`] | `localnet` |
//! | [`session`], [`keys`], [`output`] | what they share: ledger and transactions, keys and passwords, tables and JSON |
//!
//! What it does not do: it holds no state of its own. Everything it shows is read from the ledger, a wallet's
//! folder, or a validator's evidence.

pub mod account;
pub mod args;
pub mod audit;
pub mod committee;
pub mod epoch;
pub mod evidence;
pub mod explain;
pub mod keys;
pub mod localnet;
pub mod metagraph;
pub mod output;
pub mod session;
pub mod sim;
pub mod subnet;
pub mod tx;
pub mod verify;
pub mod wallet;

use agon_runtime::telemetry::{self, LogFormat};
use anyhow::Context;
use clap::CommandFactory;

pub use crate::args::Cli;
use crate::args::Command;

/// Does what was typed.
///
/// All tasks run on this very thread: processes that are started end with the thread that started them.
///
/// # Errors
///
/// Whatever the command ran into; [`agon_runtime::flags::exit_code`] gives its exit code.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    if let Command::Completion { shell } = cli.command {
        return completion(shell);
    }
    telemetry::init(LogFormat::Text, &cli.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(dispatch(cli))
}

async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let session = cli.session();
    match &cli.command {
        Command::Wallet(args) => wallet::run(&session, args).await,
        Command::Balance(args) => account::balance(&session, args).await,
        Command::Transfer(args) => account::transfer(&session, args).await,
        Command::Stake(args) => account::stake(&session, args).await,
        Command::Subnet(args) => subnet::run(&session, args).await,
        Command::Register(args) => subnet::register(&session, args).await,
        Command::Committee(args) => committee::run(&session, args).await,
        Command::Tx(args) => tx::run(&session, args).await,
        Command::Metagraph(args) => metagraph::metagraph(&session, args).await,
        Command::Weights(args) => metagraph::weights(&session, args).await,
        Command::Epoch(args) => epoch::run(&session, args),
        Command::Explain(args) => explain::run(&session, args).await,
        Command::Evidence(args) => evidence::run(&session, args),
        Command::Verify(args) => verify::run(&session, args).await,
        Command::Audit(args) => audit::run(&session, args).await,
        Command::Sim(args) => sim::run(&session, args),
        Command::Localnet(args) => localnet::run(&session, args).await,
        Command::Completion { .. } => Ok(()),
    }
}

fn completion(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "agon", &mut script);
    output::print(String::from_utf8(script)?.trim_end())
}
