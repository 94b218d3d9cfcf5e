//! Every block of the ledger by its height with what made it final, as canonical bytes: the truth that all else is derived from.
//!
//! On disk it is a framed log whose frame number `n` holds the block `n + 1` above its `Base`; the index from
//! height to offset is in memory and made anew when the log is opened. Whether the blocks follow each other is for
//! those who replay them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agon_protocol::codec::{self, CodecError};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::FinalBlock;
use agon_runtime::framed_log::{Frame, FramedLog, LogError, LogOptions};
use thiserror::Error;
use tracing::warn;

use crate::snapshot::Base;

/// How the block log is opened.
const LOG_OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: FinalBlock::BYTES_MAX as u32,
};

/// Why a block cannot be appended or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlocksError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A whole frame holds no block.
    #[error("{}, byte {offset}: block {height} is malformed: restore the file from a copy", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Height the block should have.
        height: BlockNumber,
        /// Where its frame begins.
        offset: u64,
        /// What is wrong.
        source: CodecError,
    },
}

/// The blocks of one ledger, shared by the thread that appends and those that read.
#[derive(Debug)]
pub(crate) struct Blocks {
    base: Base,
    medium: Mutex<Medium>,
}

#[derive(Debug)]
enum Medium {
    Disk { log: FramedLog, offsets: Vec<u64> },
    Memory(Vec<Vec<u8>>),
}

impl Blocks {
    /// No blocks yet, kept in memory.
    pub(crate) const fn in_memory() -> Self {
        Self {
            base: Base::Genesis,
            medium: Mutex::new(Medium::Memory(Vec::new())),
        }
    }

    /// Opens the log at `path` of the blocks above `base`, creating it where it is missing, and cuts off what a crash
    /// left half written.
    ///
    /// # Errors
    ///
    /// [`BlocksError::Log`], with the offset where the file is damaged elsewhere than at its end.
    pub(crate) fn open(path: &Path, base: Base) -> Result<Self, BlocksError> {
        let (log, recovery) = FramedLog::open(path, LOG_OPTIONS)?;
        if recovery.truncated_bytes > 0 {
            warn!(
                bytes = recovery.truncated_bytes,
                "cut a half-written block off the block log"
            );
        }
        let frames = log.frames_from(agon_runtime::framed_log::FILE_HEADER_BYTES)?;
        let offsets = frames
            .map(|frame| frame.map(|frame| frame.offset))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            base,
            medium: Mutex::new(Medium::Disk { log, offsets }),
        })
    }

    /// What the first block follows.
    pub(crate) const fn base(&self) -> &Base {
        &self.base
    }

    /// Height of the first block that is kept, or will be.
    pub(crate) fn first(&self) -> BlockNumber {
        self.base.height().next()
    }

    /// The folder of the log; `None` in memory.
    pub(crate) fn dir(&self) -> Option<PathBuf> {
        match &*self.medium() {
            Medium::Disk { log, .. } => log.path().parent().map(Path::to_owned),
            Medium::Memory(_) => None,
        }
    }

    /// Height of the newest block; that of the base when there is none.
    pub(crate) fn height(&self) -> BlockNumber {
        let count = match &*self.medium() {
            Medium::Disk { offsets, .. } => offsets.len(),
            Medium::Memory(blocks) => blocks.len(),
        };
        BlockNumber(self.base.height().0.saturating_add(count as u64))
    }

    /// Appends the block that follows the newest one, durably.
    ///
    /// # Errors
    ///
    /// [`BlocksError::Log`]; the log then takes no more blocks until it is opened again.
    pub(crate) fn append(&self, block: &FinalBlock) -> Result<(), BlocksError> {
        let bytes = codec::encode(block);
        match &mut *self.medium() {
            Medium::Disk { log, offsets } => offsets.push(log.append_synced(&bytes)?),
            Medium::Memory(blocks) => blocks.push(bytes),
        }
        Ok(())
    }

    /// Canonical bytes of the block at `height`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`BlocksError::Log`] when the file cannot be read.
    pub(crate) fn read_bytes(&self, height: BlockNumber) -> Result<Option<Vec<u8>>, BlocksError> {
        let Some(index) = self.index(height) else {
            return Ok(None);
        };
        match &*self.medium() {
            Medium::Disk { log, offsets } => offsets
                .get(index)
                .map(|offset| log.read_at(*offset))
                .transpose()
                .map_err(Into::into),
            Medium::Memory(blocks) => Ok(blocks.get(index).cloned()),
        }
    }

    /// The block at `height`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`BlocksError`] when it cannot be read or is not a block.
    pub(crate) fn read(&self, height: BlockNumber) -> Result<Option<FinalBlock>, BlocksError> {
        let Some(bytes) = self.read_bytes(height)? else {
            return Ok(None);
        };
        let block =
            codec::decode(&bytes, FinalBlock::BYTES_MAX).map_err(|source| self.malformed(height, source))?;
        Ok(Some(block))
    }

    fn malformed(&self, height: BlockNumber, source: CodecError) -> BlocksError {
        let (path, offset) = match &*self.medium() {
            Medium::Disk { log, offsets } => {
                let offset = self.index(height).and_then(|index| offsets.get(index));
                (log.path().to_owned(), offset.copied().unwrap_or(log.end()))
            }
            Medium::Memory(_) => (PathBuf::from("memory"), 0),
        };
        BlocksError::Malformed {
            path,
            height,
            offset,
            source,
        }
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        // The index grows only after the log has taken a frame, so a panic in between leaves both readable.
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, height: BlockNumber) -> Option<usize> {
        let above = height.0.checked_sub(self.first().0)?;
        usize::try_from(above).ok()
    }
}

/// The blocks of the log at `path`, from height `first` on, as it lies there, without taking or changing it: what an
/// audit reads.
///
/// # Errors
///
/// [`BlocksError::Log`] when there is no such log.
pub(crate) fn scan(
    path: &Path,
    first: BlockNumber,
) -> Result<impl Iterator<Item = Result<FinalBlock, BlocksError>>, BlocksError> {
    let frames = FramedLog::frames(path, LOG_OPTIONS)?;
    let path = path.to_owned();
    Ok(frames
        .zip(first.0..)
        .map(move |(frame, height)| decode_frame(&path, BlockNumber(height), frame?)))
}

fn decode_frame(path: &Path, height: BlockNumber, frame: Frame) -> Result<FinalBlock, BlocksError> {
    codec::decode(&frame.payload, FinalBlock::BYTES_MAX).map_err(|source| {
        let path = path.to_owned();
        BlocksError::Malformed {
            path,
            height,
            offset: frame.offset,
            source,
        }
    })
}
