//! A folder begun from a snapshot: everything is checked before any of it is in its place.
//!
//! The snapshot is copied into a folder beside the new one, read from there and compared with the trusted hash; then
//! the folder is renamed. Where the new folder is there already, with a node's keys and no ledger, the files are moved
//! into it, last the one that makes it a ledger. An import that fails or is interrupted takes its folder away; one whose process is killed
//! leaves `.NAME.import` behind, which the next import clears.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use agon_ledger_replay::export::{Anchor, ExportError, Part, Reader, Watch};
use agon_ledger_replay::follow::{Head, Power};
use agon_protocol::id::{BlockNumber, Digest};
use agon_runtime::files::{self, LOCK_FILE, LockError};
use thiserror::Error;

use crate::folder::{Folder, FolderError};

/// What was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Name of the network.
    pub name: String,
    /// The block whose state it is.
    pub head: Head,
    /// How many entries the state has.
    pub entries: u64,
    /// The power that made the block final; `None` where one node decides alone.
    pub power: Option<Power>,
}

/// Why nothing was imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// There is a ledger already.
    #[error("{} exists already: name a new folder", path.display())]
    Exists {
        /// A part of it.
        path: PathBuf,
    },
    /// The file cannot be read, or is not what it says.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// It holds something else than one state.
    #[error(
        "{} holds more or less than one state: an import takes what `agon-node export` writes without --blocks",
        path.display()
    )]
    NotASnapshot {
        /// The file.
        path: PathBuf,
    },
    /// Nobody vouches for it.
    #[error(
        "a snapshot is only as good as the hash one trusts: give --trust HASH, the hash of block {height}, from \
         `agon-node verify` on a node of your own, from the operators of the ledger, or from headers followed with \
         `agon verify --light`"
    )]
    NoTrust {
        /// The block whose state it is.
        height: BlockNumber,
    },
    /// It is of another block than the trusted one.
    #[error(
        "the snapshot is of block {height} with hash {found}, which is not the trusted {trusted}: get a snapshot of \
         the trusted block, or the hash of block {height} from a source you trust"
    )]
    NotTrusted {
        /// Its height.
        height: BlockNumber,
        /// The hash of that block.
        found: Digest,
        /// What is trusted.
        trusted: Digest,
    },
    /// The folder is being imported into.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The genesis cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file or folder cannot be read, written or moved.
    #[error("{action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Begins a ledger in the new folder `dir` from the snapshot in `file`, if it is of the block of hash `trust`, or
/// certified by the committee that the block of that hash names.
///
/// # Errors
///
/// [`ImportError`]; nothing is left behind.
pub fn import(
    file: &Path,
    dir: &Path,
    trust: Option<Digest>,
    watch: Watch<'_>,
) -> Result<Imported, ImportError> {
    refuse_used(dir)?;
    // Before the file is copied, which may be long.
    check_trust(file, trust)?;
    let making = Making::begin(dir)?;
    let copy = Folder::new(&making.dir).snapshot();
    copy_synced(file, &copy)?;
    check_trust(&copy, trust)?;
    let imported = check(&copy, watch)?;
    making.finish(dir)?;
    Ok(imported)
}

fn refuse_used(dir: &Path) -> Result<(), ImportError> {
    let folder = Folder::new(dir);
    let parts = [folder.genesis(), folder.blocks(), folder.state()];
    let is_file = dir.is_file().then(|| dir.to_owned());
    match parts.into_iter().find(|part| part.exists()).or(is_file) {
        Some(path) => Err(ImportError::Exists { path }),
        None => Ok(()),
    }
}

/// Whether the state in `file` is that of a trusted block.
fn check_trust(file: &Path, trust: Option<Digest>) -> Result<(), ImportError> {
    let mut reader = Reader::open(file)?;
    let anchor = anchor_of(&mut reader, file)?;
    let head = reader.check_anchor(&anchor)?;
    let (height, found) = (head.height, head.hash);
    let Some(trusted) = trust else {
        return Err(ImportError::NoTrust { height });
    };
    if found == trusted || is_certified_by(&anchor, trusted) {
        return Ok(());
    }
    Err(ImportError::NotTrusted {
        height,
        found,
        trusted,
    })
}

/// Whether the committee that the trusted header names made the block of `anchor`, which was checked, final.
fn is_certified_by(anchor: &Anchor, trusted: Digest) -> bool {
    let sealed = anchor.sealed.as_ref();
    sealed.is_some_and(|sealed| sealed.certificate.is_some() && sealed.header.parent == trusted)
}

fn anchor_of(reader: &mut Reader, file: &Path) -> Result<Anchor, ImportError> {
    match reader.part()? {
        Some(Part::State(anchor)) => Ok(anchor),
        _ => Err(ImportError::NotASnapshot {
            path: file.to_owned(),
        }),
    }
}

/// Reads all of the snapshot, and writes the genesis that it holds beside it.
fn check(copy: &Path, watch: Watch<'_>) -> Result<Imported, ImportError> {
    let mut reader = Reader::open(copy)?;
    let anchor = anchor_of(&mut reader, copy)?;
    let read = reader.state(&anchor, watch)?;
    if reader.part()?.is_some() {
        return Err(ImportError::NotASnapshot {
            path: copy.to_owned(),
        });
    }
    let dir = copy.parent().unwrap_or(Path::new("."));
    Folder::new(dir).write_genesis(reader.genesis())?;
    Ok(Imported {
        name: reader.genesis().name.clone(),
        head: read.position.head,
        entries: anchor.entries,
        power: read.power,
    })
}

fn copy_synced(from: &Path, to: &Path) -> Result<(), ImportError> {
    let copied = File::open(from).and_then(|mut from| {
        let mut to = File::create_new(to)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()
    });
    copied.map_err(|source| ImportError::Io {
        action: "copy",
        path: from.to_owned(),
        source,
    })
}

/// The folder in which an import is made, which goes when the import fails.
struct Making {
    dir: PathBuf,
    _lock: files::DirLock,
    is_finished: bool,
}

impl Making {
    fn begin(target: &Path) -> Result<Self, ImportError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let dir = target.with_file_name(format!(".{name}.import"));
        let lock = files::lock_dir(&dir)?;
        let making = Self {
            dir,
            _lock: lock,
            is_finished: false,
        };
        making.clear().map_err(|source| ImportError::Io {
            action: "clear",
            path: making.dir.clone(),
            source,
        })?;
        Ok(making)
    }

    /// Removes what an import that was killed left behind.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name() != LOCK_FILE {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn finish(mut self, target: &Path) -> Result<(), ImportError> {
        let io = |source| ImportError::Io {
            action: "make",
            path: target.to_owned(),
            source,
        };
        let is_new = match fs::read_dir(target) {
            Ok(mut entries) => entries.next().is_none(),
            Err(_) => true,
        };
        if is_new {
            fs::rename(&self.dir, target).map_err(io)?;
            self.is_finished = true;
        } else {
            let _lock = files::lock_dir(target)?;
            // Between the two looks somebody may have begun a ledger there.
            refuse_used(target)?;
            let (from, to) = (Folder::new(&self.dir), Folder::new(target));
            fs::rename(from.snapshot(), to.snapshot())
                .and_then(|()| fs::rename(from.genesis_json(), to.genesis_json()))
                .and_then(|()| files::sync_dir_of(&to.snapshot()))
                .and_then(|()| fs::rename(from.genesis(), to.genesis()))
                .and_then(|()| files::sync_dir_of(&to.genesis()))
                .map_err(io)?;
        }
        files::sync_dir_of(target).map_err(io)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_finished {
            // Whoever reads the error that led here needs no second one.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
