//! Replays blocks from an export, on any machine, and says whether every figure is right.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agon_ledger_client::LedgerClient;
use agon_ledger_client::snapshot::SaveError;
use agon_ledger_replay::audit::{AuditError, Certificates, Difference, Report, Terms, audit_to_state};
use agon_ledger_replay::export::{ExportError, Interrupted, Pace, Part, Reader, Step, Writer};
use agon_ledger_state::State;
use agon_protocol::id::BlockNumber;
use agon_runtime::Shutdown;
use anyhow::Context;

use super::AuditArgs;
use crate::output::note;
use crate::session::{Session, told};

/// Replays what the flags name, tells it, and gives the state after the last block.
///
/// # Errors
///
/// When there is no verdict, or when it is "not equal".
pub(super) async fn run(session: &Session, args: &AuditArgs, is_told: bool) -> anyhow::Result<State> {
    let shutdown = Shutdown::on_signals().context("listen for signals")?;
    let terms = Terms {
        blocks: args.from.zip(args.to).map(|(from, to)| from..=to),
        trust: args.trust,
    };
    // Goes with all that was fetched when this function ends.
    let mut fetched = None;
    let path = match (&args.export, &terms.blocks) {
        (Some(path), _) => path.clone(),
        (None, Some(blocks)) => {
            let dir = tempfile::tempdir().context("make a folder for what is fetched")?;
            let fetching = fetch(session, *blocks.start(), *blocks.end(), dir.path());
            let path = tokio::select! {
                () = shutdown.requested() => return Err(Interrupted.into()),
                path = fetching => path?,
            };
            fetched = Some(dir);
            path
        }
        (None, None) => unreachable!("the command line asks for one or the other"),
    };
    let (report, state) = replay(path, terms, shutdown).await?;
    drop(fetched);
    if is_told {
        session.show(&report, || text(&report))?;
    } else {
        note(text(&report));
    }
    match (&report.difference, report.trusted, state) {
        (Some(difference), _, _) => anyhow::bail!("not equal: block {} differs", difference.height),
        (None, Some(false), _) => {
            anyhow::bail!("no audited block has the trusted hash: this is another ledger")
        }
        (None, _, Some(state)) => Ok(state),
        (None, _, None) => anyhow::bail!("the replay gave no state"),
    }
}

/// Replays on a thread of its own, so that a signal is heard meanwhile.
async fn replay(path: PathBuf, terms: Terms, shutdown: Shutdown) -> anyhow::Result<(Report, Option<State>)> {
    let stopped = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopped);
    let mut replaying = tokio::task::spawn_blocking(move || {
        let mut pace = Pace::begin();
        let audited: Result<_, AuditError> = audit_to_state(&path, &terms, &mut |step| {
            show(&mut pace, step);
            match told.load(Ordering::Relaxed) {
                true => Err(Interrupted),
                false => Ok(()),
            }
        });
        audited
    });
    let joined = tokio::select! {
        () = shutdown.requested() => {
            stopped.store(true, Ordering::Relaxed);
            replaying.await
        }
        joined = &mut replaying => joined,
    };
    Ok(joined.context("replay")??)
}

fn show(pace: &mut Pace, step: Step) {
    if let Some(line) = pace.line(step) {
        note(line);
    }
}

/// Fetches blocks and the states around them, and writes them into one export in `dir`.
async fn fetch(session: &Session, from: u64, to: u64, dir: &Path) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(from <= to, "blocks {from} to {to} are none");
    let client = session.client()?;
    let mut pace = Pace::begin();
    let before = dir.join("before");
    save(&client, from.saturating_sub(1), &before, &mut pace)
        .await
        .map_err(no_state)?;
    let path = dir.join("export");
    let mut reader = Reader::open(&before)?;
    let mut writer = Writer::create(&path, reader.genesis())?;
    copy(&mut reader, &mut writer)?;
    writer.blocks(BlockNumber(from), BlockNumber(to))?;
    for height in from..=to {
        writer.block(client.block(BlockNumber(height)).await.map_err(told)?)?;
        let (done, total) = (height - from + 1, to - from + 1);
        let what = "blocks fetched";
        show(&mut pace, Step { what, done, total });
    }
    let after = dir.join("after");
    match save(&client, to, &after, &mut pace).await {
        Ok(()) => copy(&mut Reader::open(&after)?, &mut writer)?,
        // The roots in the headers are checked all the same.
        Err(error) => note(format!("without the state after block {to}: {error}")),
    }
    writer.finish()?;
    Ok(path)
}

async fn save(client: &LedgerClient, height: u64, path: &Path, pace: &mut Pace) -> Result<(), SaveError> {
    let snapshot = client.snapshot(Some(BlockNumber(height))).await?;
    let progress = |done, total| {
        let what = "bytes of a state fetched";
        show(pace, Step { what, done, total });
    };
    snapshot.save(path, progress).await
}

fn no_state(error: SaveError) -> anyhow::Error {
    match error {
        SaveError::Client(error) => told(error),
        other => other.into(),
    }
}

/// Copies the state of a snapshot.
fn copy(reader: &mut Reader, writer: &mut Writer) -> Result<(), ExportError> {
    while let Some(Part::State(anchor)) = reader.part()? {
        writer.copy_state(reader, anchor, &mut |_| Ok(()))?;
    }
    Ok(())
}

fn text(report: &Report) -> String {
    let Report {
        name,
        genesis,
        start,
        end,
        blocks,
        transactions,
        epochs,
        ..
    } = report;
    let certificates = match report.certificates {
        None => String::from("none: one node decides alone"),
        Some(Certificates { checked, least }) => {
            format!(
                "{checked}, each with at least {} of {} power",
                least.signed, least.total
            )
        }
    };
    let compared = match report.entries_compared {
        None => String::from("not in the export; the roots of the headers were compared"),
        Some(entries) => format!("{entries} entries after the last block, compared one by one"),
    };
    let trusted = match report.trusted {
        None => "no hash was given: compare one of these with a source you trust",
        Some(true) => "the trusted hash is one of these",
        Some(false) => "the trusted hash is NONE of these",
    };
    let verdict = match &report.difference {
        None => format!("equal        {blocks} blocks, {transactions} transactions, {epochs} epochs"),
        Some(difference) => difference_text(difference),
    };
    format!(
        "ledger       {name}, genesis {genesis}\n\
         from         block {}, hash {}, root {}\n\
         to           block {}, hash {}, root {}\n\
         certificates {certificates}\n\
         state        {compared}\n\
         trust        {trusted}\n\
         {verdict}",
        start.height, start.hash, start.state_root, end.height, end.hash, end.state_root,
    )
}

fn difference_text(difference: &Difference) -> String {
    let Difference {
        height,
        reason,
        entry,
    } = difference;
    let head = format!("NOT EQUAL    at block {height}: {reason}");
    let Some(entry) = entry else { return head };
    let none = || String::from("no such entry");
    format!(
        "{head}\n\
         first entry  {}, after block {}\n\
         replayed     {}\n\
         exported     {}",
        entry.entry,
        entry.height,
        entry.replayed.clone().unwrap_or_else(none),
        entry.exported.clone().unwrap_or_else(none),
    )
}
