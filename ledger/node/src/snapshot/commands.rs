//! `agon-node export`, `import`, `join` and `compact`: what was typed, and what came of it.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agon_ledger_client::LedgerClient;
use agon_ledger_replay::export::{Interrupted, Pace, Step, Watch};
use agon_ledger_replay::follow::Power;
use agon_protocol::id::{BlockNumber, Digest};
use agon_runtime::{Net, Shutdown};
use anyhow::Context;
use clap::Args as ClapArgs;

use super::compact;
use super::export::{self, Wanted};
use super::fetch;
use super::import::{self, Imported};
use crate::desk;
use crate::folder::Folder;

const EXPORT_EXAMPLES: &str = "\
Examples:
  The newest state, of a stopped node or a running one:
    agon-node export --dir ./ledger --out newest.snapshot
  Blocks for an auditor, with the states before and after them:
    agon-node export --dir ./ledger --out audit.export --blocks 1..5000
    agon audit --from 1 --to 5000 --export audit.export
  A state that a running node elsewhere has at hand:
    agon-node export --from http://peer:9944 --out peer.snapshot";

const IMPORT_EXAMPLES: &str = "\
Examples:
  agon-node import --file newest.snapshot --dir ./new --trust HASH
  agon-node run --dir ./new

HASH is that of the block in the snapshot, or of the block before it where a committee decides. Take it from \
`agon-node verify` on a node of your own, from several operators, or from headers followed with `agon verify --light`: \
whoever gives you the file must not be the one who gives you the hash.";

const JOIN_EXAMPLES: &str = "\
Examples:
  agon-node join --from http://peer:9944 --trust HASH --height 4200 --dir ./new

The node gives the state after block HEIGHT as long as it is recent, and else says which heights it has. Without \
--height it gives the newest of every hundredth block.";

/// Flags of `agon-node export`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// Folder of the ledger; a node may run on it
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    dir: Option<PathBuf>,
    /// Address of a running node to fetch a state from instead
    #[arg(long, value_name = "URL", conflicts_with = "blocks")]
    from: Option<String>,
    /// File to write; there must be none yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Height of the state [default: the newest]
    #[arg(long, value_name = "H", conflicts_with = "blocks")]
    height: Option<u64>,
    /// Blocks to write, with the state before the first and after the last
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    blocks: Option<RangeInclusive<u64>>,
}

/// Flags of `agon-node import`.
#[derive(Debug, ClapArgs)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// File that `agon-node export` wrote
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Folder of the new ledger; may hold a node's keys, but no ledger
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Hash of the snapshot's block, or of the one before it, from a source that you trust
    #[arg(long, value_name = "HASH")]
    trust: Option<Digest>,
}

/// Flags of `agon-node join`.
#[derive(Debug, ClapArgs)]
#[command(after_help = JOIN_EXAMPLES)]
pub struct JoinArgs {
    /// Address of a running node
    #[arg(long, value_name = "URL")]
    from: String,
    /// Hash of the snapshot's block, or of the one before it, from a source that you trust
    #[arg(long, value_name = "HASH")]
    trust: Digest,
    /// Height of the state [default: the newest that the node has at hand]
    #[arg(long, value_name = "H")]
    height: Option<u64>,
    /// Folder of the new ledger; may hold a node's keys, but no ledger
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Flags of `agon-node compact`.
#[derive(Debug, ClapArgs)]
pub struct CompactArgs {
    /// Folder of the ledger
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Heights as they are typed: `FROM..TO`, both included.
fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("write FROM..TO, as in 1..5000; both are included")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a height"));
    let (from, to) = (number(from)?, number(to.trim_start_matches('='))?);
    if from == 0 || from > to {
        return Err(format!(
            "blocks {from} to {to} are none: the first block has height 1"
        ));
    }
    Ok(from..=to)
}

/// Writes a file.
///
/// # Errors
///
/// Whatever it ran into.
#[expect(
    clippy::print_stdout,
    reason = "what was written is the product of the command"
)]
pub fn export(args: ExportArgs) -> anyhow::Result<()> {
    let out = args.out.clone();
    if let Some(from) = args.from {
        let height = args.height.map(BlockNumber);
        let height = on_runtime(async move |mut pace: Pace| fetch_to(&from, height, &out, &mut pace).await)?;
        println!(
            "state of block {height} in {}; not checked yet: an import does",
            args.out.display()
        );
        return Ok(());
    }
    let folder = Folder::new(args.dir.unwrap_or_default());
    let wanted = match (args.blocks, args.height) {
        (Some(blocks), _) => Wanted::Blocks(blocks),
        (None, Some(height)) => Wanted::State(BlockNumber(height)),
        (None, None) => Wanted::Newest,
    };
    let written = watched(move |watch| export::export(&folder, &wanted, &out, watch))??;
    println!(
        "block {}, hash {}, state root {}\n{} bytes in {}",
        written.head.height,
        written.head.hash,
        written.head.state_root,
        written.bytes,
        args.out.display()
    );
    Ok(())
}

/// Begins a ledger from a file.
///
/// # Errors
///
/// Whatever it ran into.
pub fn import(args: ImportArgs) -> anyhow::Result<()> {
    let ImportArgs { file, dir, trust } = args;
    let into = dir.clone();
    let imported = watched(move |watch| import::import(&file, &into, trust, watch))??;
    print_imported(&imported, &dir);
    Ok(())
}

/// Fetches a state and begins a ledger from it.
///
/// # Errors
///
/// Whatever it ran into.
pub fn join(args: JoinArgs) -> anyhow::Result<()> {
    let JoinArgs {
        from,
        trust,
        height,
        dir,
    } = args;
    let file = fetch::place_for(&dir);
    let to = file.clone();
    on_runtime(async move |mut pace: Pace| fetch_to(&from, height.map(BlockNumber), &to, &mut pace).await)?;
    let (from, into) = (file.clone(), dir.clone());
    let imported = watched(move |watch| import::import(&from, &into, Some(trust), watch));
    // It is in its place, or of no use.
    let removed = std::fs::remove_file(&file);
    print_imported(&imported??, &dir);
    removed.with_context(|| format!("remove {}", file.display()))
}

/// Makes a state store anew.
///
/// # Errors
///
/// Whatever it ran into.
#[expect(clippy::print_stdout, reason = "what was won is the product of the command")]
pub fn compact(args: &CompactArgs) -> anyhow::Result<()> {
    let compacted = compact::compact(&Folder::new(&args.dir))?;
    println!(
        "state of block {}: {} bytes on disk, {} before",
        compacted.height, compacted.bytes_now, compacted.bytes_before
    );
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "what was imported is the product of the command"
)]
fn print_imported(imported: &Imported, dir: &std::path::Path) {
    let Imported {
        name,
        head,
        entries,
        power,
    } = imported;
    let signed = match power {
        Some(Power { signed, total }) => format!("signed with {signed} of {total} power"),
        None => String::from("of a node that decides alone"),
    };
    println!(
        "ledger      {name}\n\
         block       {}, {signed}\n\
         hash        {}\n\
         state root  {}, of {entries} entries\n\
         next        agon-node run --dir {}",
        head.height,
        head.hash,
        head.state_root,
        dir.display()
    );
}

async fn fetch_to(
    from: &str,
    height: Option<BlockNumber>,
    to: &std::path::Path,
    pace: &mut Pace,
) -> anyhow::Result<BlockNumber> {
    let uri = match from.contains("://") {
        true => from.to_owned(),
        false => format!("http://{from}"),
    };
    let client = LedgerClient::new(&Net::tcp(), &uri)?;
    let fetched = fetch::fetch(&client, height, to, |step| show(pace, step)).await;
    fetched.with_context(|| format!("fetch a snapshot from {uri}"))
}

/// Runs `work` until it is done or the process is asked to stop.
fn on_runtime<R>(work: impl AsyncFnOnce(Pace) -> anyhow::Result<R>) -> anyhow::Result<R> {
    runtime()?.block_on(async {
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        tokio::select! {
            () = shutdown.requested() => Err(Interrupted.into()),
            done = work(Pace::begin()) => done,
        }
    })
}

/// Does blocking `work` on a thread of its own, and tells it when the process is asked to stop.
fn watched<R: Send + 'static>(work: impl FnOnce(Watch<'_>) -> R + Send + 'static) -> anyhow::Result<R> {
    runtime()?.block_on(async {
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        let mut doing = std::pin::pin!(desk::off_task(move || {
            let mut pace = Pace::begin();
            work(&mut |step| {
                show(&mut pace, step);
                match told.load(Ordering::Relaxed) {
                    true => Err(Interrupted),
                    false => Ok(()),
                }
            })
        }));
        let done = tokio::select! {
            () = shutdown.requested() => {
                stopped.store(true, Ordering::Relaxed);
                doing.await
            }
            done = &mut doing => done,
        };
        done.context("start a thread")
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

/// Tells on standard error how far long work is, every few seconds.
fn show(pace: &mut Pace, step: Step) {
    if let Some(line) = pace.line(step) {
        // Nobody to tell it to is no reason to fail.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_typed_as_a_range_with_both_ends() {
        assert_eq!(range("1..5000"), Ok(1..=5000));
        assert_eq!(range("7..=7"), Ok(7..=7));
        for text in ["", "5", "0..3", "4..3", "a..b", "1..", "..2", "1...3"] {
            assert!(range(text).is_err(), "{text} was read");
        }
    }
}
