//! A snapshot fetched from a running node, and the ledger that is begun from it.

use std::path::{Path, PathBuf};

use agon_ledger_client::LedgerClient;
use agon_ledger_client::snapshot::{SNAPSHOT_BYTES_MAX, SaveError};
use agon_ledger_replay::export::{STATE_BYTES_MAX, Step};
use agon_protocol::id::BlockNumber;

const _: () = assert!(STATE_BYTES_MAX < SNAPSHOT_BYTES_MAX, "every state can be fetched");

/// Fetches the state after the block at `height`, or the newest that the node has at hand, into the new file
/// `path`; gives its height as the node says.
///
/// # Errors
///
/// [`SaveError`]; no file is left behind.
pub async fn fetch(
    client: &LedgerClient,
    height: Option<BlockNumber>,
    path: &Path,
    mut progress: impl FnMut(Step),
) -> Result<BlockNumber, SaveError> {
    let snapshot = client.snapshot(height).await?;
    let height = snapshot.height();
    let step = |done, total| {
        let what = "bytes";
        progress(Step { what, done, total });
    };
    snapshot.save(path, step).await?;
    Ok(height)
}

/// Where the snapshot for a ledger in `dir` is put while it is fetched: beside it.
#[must_use]
pub fn place_for(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.{}.fetch", std::process::id()))
}
