//! States in files: what a ledger's blocks begin from, and how states leave a node and come to another.
//!
//! | file | holds |
//! | --- | --- |
//! | here | `Base`: what the block log of a folder begins from |
//! | `export` | a part of a folder's ledger, written into one file |
//! | `import` | a folder begun from such a file, once everything in it was checked |
//! | `fetch` | such a file, fetched from a running node |
//! | `serve` | such files, made for those who fetch them |
//! | `compact` | a state store made anew |
//! | `commands` | the commands of `agon-node` for all of these |
//!
//! The format of the file is [`agon_ledger_replay::export`]'s.

pub mod commands;
pub mod compact;
pub mod export;
pub mod fetch;
pub mod import;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use agon_ledger_replay::export::{Anchor, ExportError, Part, Reader, Sealed, unwatched};
use agon_ledger_replay::follow::{Head, Position};
use agon_ledger_state::GenesisError;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::Genesis;
use thiserror::Error;

pub(crate) use self::serve::{Served, ServedFile};
use crate::folder::Folder;

/// What the block log of a folder begins from: the genesis, or a snapshot beside the log. With the log it is the
/// truth that all else is derived from.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// The blocks are all there.
    Genesis,
    /// The blocks begin above a state that was imported.
    Snapshot(Arc<SnapshotBase>),
}

/// The snapshot that a block log begins from.
#[derive(Debug)]
pub(crate) struct SnapshotBase {
    path: PathBuf,
    anchor: Anchor,
    head: Head,
}

/// Why what the blocks begin from cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BaseError {
    /// The file cannot be read, or is not what it was.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// No state follows from the genesis.
    #[error("the genesis is not valid")]
    Genesis(#[from] GenesisError),
    /// It holds something else.
    #[error("{} holds no state", path.display())]
    NoState {
        /// The file.
        path: PathBuf,
    },
    /// It is of another ledger.
    #[error("{} is of ledger {found}, the genesis beside it is {expected}", path.display())]
    OtherLedger {
        /// The file.
        path: PathBuf,
        /// Digest of its genesis.
        found: Digest,
        /// Digest of the genesis beside it.
        expected: Digest,
    },
}

impl Base {
    /// What the blocks in `folder` begin from. Of a snapshot only the beginning is read.
    ///
    /// # Errors
    ///
    /// [`BaseError`].
    pub(crate) fn read(folder: &Folder, genesis: &Genesis) -> Result<Self, BaseError> {
        let path = folder.snapshot();
        if !path.exists() {
            return Ok(Self::Genesis);
        }
        let mut reader = Reader::open(&path)?;
        let (found, expected) = (reader.genesis().digest(), genesis.digest());
        if found != expected {
            return Err(BaseError::OtherLedger {
                path,
                found,
                expected,
            });
        }
        match reader.part()? {
            Some(Part::State(anchor)) => {
                let head = reader.check_anchor(&anchor)?;
                Ok(Self::Snapshot(Arc::new(SnapshotBase { path, anchor, head })))
            }
            _ => Err(BaseError::NoState { path }),
        }
    }

    /// The block that the first one follows; 0 for the genesis.
    pub(crate) fn height(&self) -> BlockNumber {
        match self {
            Self::Genesis => BlockNumber(0),
            Self::Snapshot(base) => base.head.height,
        }
    }

    /// The hash that the first block follows.
    pub(crate) fn hash(&self, genesis: &Genesis) -> Digest {
        match self {
            Self::Genesis => genesis.digest(),
            Self::Snapshot(base) => base.head.hash,
        }
    }

    /// Header and certificate of that block; `None` for the genesis.
    pub(crate) fn sealed(&self) -> Option<Sealed> {
        match self {
            Self::Genesis => None,
            Self::Snapshot(base) => base.anchor.sealed.clone(),
        }
    }

    /// Reads all of it and checks that it is whole and a state with the root of its header.
    ///
    /// # Errors
    ///
    /// [`BaseError`].
    pub(crate) fn load(&self, genesis: &Genesis) -> Result<Position, BaseError> {
        let base = match self {
            Self::Genesis => return Ok(Position::genesis(genesis)?),
            Self::Snapshot(base) => base,
        };
        let mut reader = Reader::open(&base.path)?;
        match reader.part()? {
            Some(Part::State(anchor)) if anchor == base.anchor => {
                let read = reader.state(&anchor, &mut unwatched)?;
                reader.part()?;
                Ok(read.position)
            }
            _ => Err(BaseError::NoState {
                path: base.path.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
