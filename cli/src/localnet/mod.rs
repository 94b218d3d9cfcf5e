//! `agon localnet`: a whole subnet on this machine, made of the real programs.
//!
//! | file | holds |
//! | --- | --- |
//! | `cast` | who takes part |
//! | `attacks` | who joins to cheat |
//! | `programs` | where programs and models are |
//! | `stage` | wallets, ledger, subnet, registration, stake |
//! | `command` | the members' command lines |
//! | `troupe` | the processes: started, watched, ended |
//! | `board` | the table: who earns what |
//! | `income` | what attacks earned beside the honest |
//! | `audits` | whether every validator's weights follow from its evidence |
//! | `play` | a run from its first process to its last |
//! | `report`, `text` | what is told, to programs and to people |
//!
//! Whatever ends the run, Ctrl-C, a process that crashes, the last tempo, an error, every process is ended before
//! this one returns.

pub mod attacks;
pub mod audits;
pub mod board;
pub mod cast;
mod command;
pub mod income;
pub mod nodes;
pub mod play;
pub mod programs;
pub mod report;
pub mod stage;
pub mod text;
pub mod troupe;

use std::path::{Path, PathBuf};

use agon_runtime::Shutdown;
use anyhow::Context;
use clap::Args;
use tokio::time::Instant;

use self::attacks::Attack;
use self::cast::Ask;
use self::play::{End, Play};
use self::programs::{Models, Programs};
use self::report::Report;
use self::stage::{Folder, Stage};
use crate::output::{Closed, note};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  agon localnet
  agon localnet --miners 4 --validators 2 --tempos 2
  agon localnet --nodes 4                       a committee of four keeps the ledger
  agon localnet --task inference                serve one pinned model, verified
  agon localnet --with copier,sybil,relay,garbage,cabal
  agon localnet --tempos 0 --dir ./net          runs on until Ctrl-C
  agon localnet --json | tail -n 1

Tempos are counted from the first in which validators hold permits; the warm-up before it is not \
counted. Weights of a tempo are revealed in the next one, so the first that pays miners is the second \
that counts.

With six miners or more the last three cheat: one answers garbage, one truncates, one is often \
offline. The others serve the models of the ladder: large, medium and small. With --task inference \
the subnet pins the model large; of the last three one serves medium under its name, one its weights \
in four bits, one is often offline.

With --with, known attacks join as processes beside the others: a validator that copies weights, an \
operator with three UIDs for one model, a miner that relays to another, one that answers garbage, two \
validators who judge the garbage of two miners of theirs as perfect. The last table says what each \
earned beside the honest.

The evidence of every validator is recomputed once its tempo was counted, and the end says whose \
weights follow from it and which line of whose does not.

With --json there is one line for each event on standard output: started, epoch, tempo, and summary \
as the last. Everything else is said on standard error.

It ends with 0 once all tempos are over (or on Ctrl-C with --tempos 0), the ledger verifies, what \
all hold sums to the issuance, and all evidence of the ordinary validators is equal.";

/// Flags of `agon localnet`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LocalnetArgs {
    /// How many miners
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    miners: u16,
    /// How many validators
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    validators: u16,
    /// How many nodes keep the ledger: one decides alone, several are a committee
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
    /// What the subnet asks
    #[arg(long, value_enum, default_value_t)]
    task: Ask,
    /// Attacks that join, each a member or several
    #[arg(long, value_enum, value_name = "NAME,...", value_delimiter = ',')]
    with: Vec<Attack>,
    /// Tempos until it ends; 0 runs on
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    tempos: u64,
    /// Time between blocks, milliseconds; a tempo has 40 blocks
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(20..=20_000))]
    block_ms: u64,
    /// Folder for keys, ledger, evidence and logs; stays [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the temporary folder
    #[arg(long)]
    keep: bool,
    /// Folder of the models, with large, medium and small in it [default: models, here or above this program]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

/// Runs `agon localnet`.
///
/// # Errors
///
/// When a program or model is missing, a process ends unasked, or the ledger does not verify: the folder then stays.
/// Also when somebody asked for the end before all tempos were over.
pub async fn run(session: &Session, args: &LocalnetArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let shutdown = Shutdown::on_signals().context("listen for signals")?;
    let ordinary = cast::cast(args.validators, args.miners, args.task);
    let cast = attacks::join(ordinary, &args.with);
    let programs = Programs::find(&cast)?;
    let models = Models::find(args.models.as_deref())?;
    let folder = open_folder(args.dir.as_deref())?;
    let stage = Stage {
        folder: &folder,
        programs: &programs,
        models: &models,
        block_ms: args.block_ms,
        ask: args.task,
        nodes: args.nodes,
    };
    let actors = stage.actors(cast)?;
    let report = Report::new(session.json, began);
    let played = Play::new(args.tempos, &stage, &actors, report)
        .play(&shutdown)
        .await;
    let went_well = played
        .as_ref()
        .map_or_else(|error| error.is::<Closed>(), |_| true);
    leave_folder(args, &folder, went_well)?;
    let (end, tempos) = played?;
    let all = args.tempos;
    anyhow::ensure!(
        end == End::Over || all == 0,
        "ended by a signal after {tempos} of {all} tempos"
    );
    Ok(())
}

/// An empty folder: the one that was named, or a new temporary one.
fn open_folder(named: Option<&Path>) -> anyhow::Result<Folder> {
    let dir = match named {
        None => tempfile::Builder::new()
            .prefix("agon-localnet-")
            .tempdir()
            .context("make a temporary folder")?
            .keep(),
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
            let mut entries = std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
            anyhow::ensure!(
                entries.next().is_none(),
                "{} is not empty: name another folder with --dir",
                dir.display()
            );
            std::path::absolute(dir)?
        }
    };
    let folder = Folder::new(dir);
    folder.create()?;
    Ok(folder)
}

/// Removes what nobody asked to keep; after a failure everything stays.
fn leave_folder(args: &LocalnetArgs, folder: &Folder, went_well: bool) -> anyhow::Result<()> {
    let dir = folder.dir();
    if went_well && args.dir.is_none() && !args.keep {
        return std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()));
    }
    note(format!("everything stays in {}", dir.display()));
    Ok(())
}
