//! Exports: parts of a ledger in one file that needs nothing else to be checked.
//!
//! An export is a framed log (see [`agon_runtime::framed_log`]), so that damage is found where it is and the memory
//! of a reader is bounded by the longest frame. Each frame holds one `Record` in canonical bytes:
//!
//! | record | holds |
//! | --- | --- |
//! | `Begin` | the format's number, and the genesis |
//! | `State` | an [`Anchor`]: height, header, certificate, and how many entries follow |
//! | `Entry` | key and value; keys ascend |
//! | `Blocks` | heights of the blocks that follow |
//! | `Block` | a block with what made it final |
//! | `End` | how many records came before, and blake3 over all of them |
//!
//! Between `Begin` and `End` come parts: a state with its entries, or a range of blocks. A snapshot has one state;
//! what an auditor gets has the state before the first block, the blocks, and often the state after the last one.
//!
//! A checksum says that a file is whole, not that it is true. What is true follows from a hash that its reader
//! trusts: it binds the header, the header binds the root of the entries, the committee and all earlier headers.

mod anchor;
mod progress;
mod read;
mod write;

use std::io;
use std::path::PathBuf;

use agon_ledger_state::{GenesisError, LoadError, State};
use agon_protocol::codec::CodecError;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{FinalBlock, Genesis};
use agon_protocol::proof::RowProof;
use agon_runtime::framed_log::{LogError, LogOptions};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

pub use self::anchor::{Anchor, AnchorError, Sealed};
pub use self::progress::{Interrupted, Pace, Step, Watch, unwatched};
pub use self::read::{Part, ReadState, Reader};
pub use self::write::Writer;

/// Number of the format that this build writes and reads.
pub const FORMAT: u32 = 1;
/// Most bytes of all keys and values of a state: they are in memory at once.
pub const STATE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Most bytes of a frame: the longest value of an entry, its key and what frames it.
const FRAME_BYTES_MAX: u32 = State::VALUE_BYTES_MAX as u32 + 1_024;

pub(crate) const LOG_OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: FRAME_BYTES_MAX,
};

const _: () = assert!(
    State::VALUE_BYTES_MAX + 1024 * 1024 < RowProof::BYTES_MAX,
    "every value can be proven"
);
const _: () = assert!(
    FinalBlock::BYTES_MAX < FRAME_BYTES_MAX as usize,
    "every block fits a frame"
);
const _: () = assert!(
    Genesis::BYTES_MAX < FRAME_BYTES_MAX as usize,
    "every genesis fits a frame"
);

/// What a frame of an export holds.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum Record {
    Begin { format: u32, genesis: Genesis },
    State(Box<Anchor>),
    Entry { key: Vec<u8>, value: Vec<u8> },
    Blocks { first: BlockNumber, last: BlockNumber },
    Block(Box<FinalBlock>),
    End { records: u64, digest: Digest },
}

impl Record {
    const fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "beginning",
            Self::State(_) => "state",
            Self::Entry { .. } => "entry",
            Self::Blocks { .. } => "range of blocks",
            Self::Block(_) => "block",
            Self::End { .. } => "end",
        }
    }
}

/// Why an export cannot be written, read or believed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// There is a file already.
    #[error("{} exists already: choose another name, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be put in its place, or looked at.
    #[error("{action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is damaged or cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A whole frame holds no record.
    #[error("{}, byte {offset}: not a record of an export", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where its frame begins.
        offset: u64,
        /// What is wrong.
        source: CodecError,
    },
    /// It is of another format.
    #[error("{} has format {found}, this build reads {FORMAT}: export it again with this version", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A record is where another one should be.
    #[error("{}, byte {offset}: a record of a {found} where there should be {expected}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// Where its frame begins.
        offset: u64,
        /// What is there.
        found: &'static str,
        /// What should be there.
        expected: &'static str,
    },
    /// It stops before its end record.
    #[error("{} ends too early: it was not written or copied whole, get it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// Something follows its end record.
    #[error("{} has {bytes} bytes behind its end: get it again", path.display())]
    Extended {
        /// The file.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// The digest of its end record is not that of its records.
    #[error("{} has checksum {found}, its end says {expected}: get it again", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Over what was read.
        found: Digest,
        /// What the end record says.
        expected: Digest,
    },
    /// Keys do not ascend.
    #[error("{}, byte {offset}: keys of entries must ascend", path.display())]
    KeyOrder {
        /// The file.
        path: PathBuf,
        /// Where the frame of the second one begins.
        offset: u64,
    },
    /// A range of blocks or a number of entries that cannot be.
    #[error("{}: {what} from {first} to {last} are none", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// What the range is of.
        what: &'static str,
        /// Its first number.
        first: u64,
        /// Its last number.
        last: u64,
    },
    /// More entries than fit in memory.
    #[error("{}: the state has more than {STATE_BYTES_MAX} bytes", path.display())]
    StateTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The genesis breaks a rule.
    #[error("the genesis is not valid")]
    Genesis(#[from] GenesisError),
    /// The header of a state is not what it should be.
    #[error("the state of block {height} cannot be believed")]
    Anchor {
        /// The block.
        height: BlockNumber,
        /// Why not.
        source: AnchorError,
    },
    /// Entries that are no state.
    #[error("the entries after block {height} are no state")]
    Load {
        /// The block.
        height: BlockNumber,
        /// Why not.
        source: LoadError,
    },
    /// Entries with another root than the header says.
    #[error(
        "the entries after block {height} have root {found}, its header says {expected}: they were changed"
    )]
    Root {
        /// The block.
        height: BlockNumber,
        /// Root of the entries.
        found: Digest,
        /// What the header says.
        expected: Digest,
    },
    /// The state is of another height or another ledger.
    #[error(
        "the state says it is after block {found} of ledger {genesis}, not after block {height} of this one"
    )]
    OtherState {
        /// The block it should follow.
        height: BlockNumber,
        /// The block it says it follows.
        found: BlockNumber,
        /// The ledger it says it is of.
        genesis: Digest,
    },
    /// Whoever waited gave up.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl ExportError {
    /// Whether what was read contradicts itself, rather than being damaged on the way or out of reach.
    #[must_use]
    pub const fn is_contradiction(&self) -> bool {
        matches!(
            self,
            Self::Anchor { .. } | Self::Load { .. } | Self::Root { .. } | Self::OtherState { .. }
        )
    }
}

#[cfg(test)]
mod tests;
