//! A state store made anew from the truth, which gives back the space that sled does not.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agon_protocol::id::BlockNumber;
use agon_runtime::files::{self, LockError};
use thiserror::Error;

use super::{Base, BaseError};
use crate::blocks::{Blocks, BlocksError};
use crate::folder::{Folder, FolderError};
use crate::open::{self, OpenError};

/// What a store took before and takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The block whose state it holds.
    pub height: BlockNumber,
    /// Bytes on disk before; 0 where there was none.
    pub bytes_before: u64,
    /// Bytes on disk now.
    pub bytes_now: u64,
}

/// Why a store was not made anew.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompactError {
    /// There is no ledger.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A node runs on the folder.
    #[error("only the store of a stopped node can be made anew")]
    Lock(#[from] LockError),
    /// What the blocks begin from cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The block log cannot be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The store cannot be built.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A folder cannot be moved or removed.
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

/// Builds the state store of the ledger in `folder` from its snapshot and its blocks, and puts it in the place of
/// the old one. A crash leaves the old one, or none, which the next start builds.
///
/// # Errors
///
/// [`CompactError`]; the old store stays.
pub fn compact(folder: &Folder) -> Result<Compacted, CompactError> {
    let genesis = folder.read_genesis()?;
    let _lock = files::lock_dir(folder.dir())?;
    let base = Base::read(folder, &genesis)?;
    let blocks = Blocks::open(&folder.blocks(), base)?;
    let (new, old) = (folder.dir().join("state.new"), folder.state());
    remove(&new)?;
    let built =
        open::build(folder, &genesis, &blocks, &new).inspect_err(|_| drop(fs::remove_dir_all(&new)))?;
    let bytes_before = bytes_of(&old).unwrap_or(0);
    remove(&old)?;
    let moved = fs::rename(&new, &old).and_then(|()| files::sync_dir_of(&old));
    let bytes_now = moved
        .and_then(|()| bytes_of(&old))
        .map_err(|source| CompactError::Io {
            action: "replace",
            path: old,
            source,
        })?;
    Ok(Compacted {
        height: built,
        bytes_before,
        bytes_now,
    })
}

fn remove(dir: &Path) -> Result<(), CompactError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CompactError::Io {
            action: "remove",
            path: dir.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Bytes of all files below `dir`.
fn bytes_of(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => bytes_of(&entry.path())?,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}
