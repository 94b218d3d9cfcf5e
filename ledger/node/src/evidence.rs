//! Proofs that a member of the committee said two things in one round, kept until somebody reports them.
//!
//! Each is a file in the node's folder, in canonical bytes; a report is a transaction, and pays its sender.

use std::fs;
use std::path::Path;

use agon_protocol::codec;
use agon_protocol::message::Equivocation;
use agon_runtime::Shutdown;
use agon_runtime::files;
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::desk;
use crate::folder::Folder;

/// Permission bits of the files: they are meant to be shown.
const MODE: u32 = 0o644;
/// Files that are kept; more would only say the same.
const FILES_MAX: usize = 256;

/// Writes down what comes until `shutdown`, and passes on what is new, if anybody wants it.
pub(crate) async fn keep(
    folder: Folder,
    mut found: mpsc::Receiver<Equivocation>,
    written: mpsc::Sender<Equivocation>,
    shutdown: Shutdown,
) {
    let mut requested = std::pin::pin!(shutdown.requested());
    loop {
        let evidence = tokio::select! {
            biased;
            () = &mut requested => return,
            evidence = found.recv() => match evidence {
                Some(evidence) => evidence,
                None => return,
            },
        };
        let (dir, piece) = (folder.evidence(), evidence.clone());
        let kept = desk::off_task(move || write(&dir, &piece)).await;
        match kept.and_then(|kept| kept) {
            Ok(Some(name)) => {
                warn!(
                    name,
                    "a member said two things in one round; the proof can be reported"
                );
                // Where nobody reports, the file is what remains.
                let _ = written.try_send(evidence);
            }
            Ok(None) => {}
            Err(reason) => error!(%reason, "a proof of equivocation could not be written down"),
        }
    }
}

/// Writes one proof, unless it is there or there are enough; gives its name.
fn write(dir: &Path, evidence: &Equivocation) -> std::io::Result<Option<String>> {
    fs::create_dir_all(dir)?;
    let vote = evidence.first.message();
    let name = format!("{}-{}-{}.bin", vote.height, vote.round, vote.voter);
    let path = dir.join(&name);
    if path.exists() || fs::read_dir(dir)?.count() >= FILES_MAX {
        return Ok(None);
    }
    files::write_atomic(&path, &codec::encode(evidence), MODE).map_err(|error| error.source)?;
    Ok(Some(name))
}
