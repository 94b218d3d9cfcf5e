//! Snapshots that a running node has made for those who fetch them: a few files, each made once.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use agon_ledger_replay::export::{ExportError, Sealed, Writer, unwatched};
use agon_ledger_state::State;
use agon_protocol::id::BlockNumber;
use agon_protocol::message::Genesis;

use crate::archive::ArchiveError;

/// Files that are kept: an audit asks for two, and several may be at work.
const FILES_MAX: usize = 4;
/// Name of their folder.
const DIR: &str = "served";

/// The snapshots of one ledger.
#[derive(Debug)]
pub(crate) struct Served {
    dir: Option<PathBuf>,
    files: VecDeque<ServedFile>,
}

/// A snapshot that can be read, even after it was replaced by others.
#[derive(Clone, Debug)]
pub(crate) struct ServedFile {
    pub(crate) height: BlockNumber,
    pub(crate) bytes: u64,
    file: Arc<File>,
}

impl Served {
    /// No snapshots yet, to be kept below the ledger's folder `dir`; what an earlier process made is removed.
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        let dir = dir.map(|dir| dir.join(DIR));
        if let Some(dir) = &dir {
            // Whatever cannot be removed is replaced, or refused where it is in the way.
            let _ = fs::remove_dir_all(dir);
        }
        Self {
            dir,
            files: VecDeque::new(),
        }
    }

    pub(crate) fn find(&self, height: BlockNumber) -> Option<ServedFile> {
        self.files.iter().find(|file| file.height == height).cloned()
    }

    /// Writes the snapshot of `state`; the oldest file goes when there are too many.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NoFolder`], [`ArchiveError::Export`].
    pub(crate) fn write(
        &mut self,
        genesis: &Genesis,
        state: &State,
        sealed: Option<Sealed>,
    ) -> Result<ServedFile, ArchiveError> {
        let dir = self.dir.as_ref().ok_or(ArchiveError::NoFolder)?;
        let height = state.height();
        let path = dir.join(format!("{height}.snapshot"));
        let io = |source| ExportError::Io {
            action: "write",
            path: path.clone(),
            source,
        };
        fs::create_dir_all(dir).map_err(io)?;
        let mut writer = Writer::create(&path, genesis)?;
        writer.state(state, sealed, &mut unwatched)?;
        let bytes = writer.finish()?;
        let file = Arc::new(File::open(&path).map_err(io)?);
        // Nobody needs the name any more: the space is given back when the last reader is done.
        fs::remove_file(&path).map_err(io)?;
        let served = ServedFile { height, bytes, file };
        self.files.push_back(served.clone());
        if self.files.len() > FILES_MAX {
            self.files.pop_front();
        }
        Ok(served)
    }
}

impl ServedFile {
    /// Up to `bytes_max` bytes from `offset` on; none at the end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn read(&self, offset: u64, bytes_max: u64) -> std::io::Result<Vec<u8>> {
        let left = self.bytes.saturating_sub(offset).min(bytes_max);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
