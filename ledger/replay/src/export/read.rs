//! Reading an export: record by record, each bounded and checked before it is believed.

use std::path::{Path, PathBuf};

use agon_ledger_state::State;
use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{FinalBlock, Genesis};
use agon_runtime::framed_log::{FRAME_OVERHEAD_BYTES, Frame, FramedLog, Frames};

use super::anchor::Checked;
use super::{
    Anchor, ExportError, FORMAT, FRAME_BYTES_MAX, LOG_OPTIONS, Record, STATE_BYTES_MAX, Step, Watch,
};
use crate::follow::{Head, Position, Power};

/// What comes next in an export.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A state: to be read with [`Reader::state`] or [`Reader::entry`], all of it.
    State(Anchor),
    /// The blocks of these heights: to be read with [`Reader::block`], all of them.
    Blocks {
        /// The first one.
        first: BlockNumber,
        /// The last one; not below the first.
        last: BlockNumber,
    },
}

/// A state of an export that was read and checked.
#[derive(Clone, Debug)]
pub struct ReadState {
    /// The block it follows, and the state.
    pub position: Position,
    /// The power that made the block final; `None` where one node decides alone.
    pub power: Option<Power>,
}

/// An export that is being read. After an error it gives nothing more of use.
#[derive(Debug)]
pub struct Reader {
    frames: Frames,
    path: PathBuf,
    genesis: Genesis,
    begin: Position,
    hasher: blake3::Hasher,
    records: u64,
    /// Where the frame after the last one read begins.
    end: u64,
}

impl Reader {
    /// Opens the export at `path` and reads what ledger it is of.
    ///
    /// # Errors
    ///
    /// [`ExportError`] when it is no export, or of another format.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        let mut frames = FramedLog::frames(path, LOG_OPTIONS)?;
        let truncated = || ExportError::Truncated {
            path: path.to_owned(),
        };
        let frame = frames.next().ok_or_else(truncated)??;
        let genesis = match decode(path, &frame)? {
            Record::Begin {
                format: FORMAT,
                genesis,
            } => genesis,
            Record::Begin { format, .. } => {
                return Err(ExportError::Format {
                    path: path.to_owned(),
                    found: format,
                });
            }
            other => return Err(unexpected(path, frame.offset, &other, "the beginning")),
        };
        let begin = Position::genesis(&genesis)?;
        let mut reader = Self {
            frames,
            path: path.to_owned(),
            genesis,
            begin,
            hasher: blake3::Hasher::new(),
            records: 0,
            end: 0,
        };
        reader.count(&frame);
        Ok(reader)
    }

    /// What the ledger began with.
    #[must_use]
    pub const fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The ledger before its first block.
    #[must_use]
    pub const fn begin(&self) -> &Position {
        &self.begin
    }

    /// What comes next; `None` once the end was read and everything is as it says.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn part(&mut self) -> Result<Option<Part>, ExportError> {
        let digest = Digest(*self.hasher.finalize().as_bytes());
        let records = self.records;
        let (offset, record) = self.record()?;
        match record {
            Record::State(anchor) => Ok(Some(Part::State(*anchor))),
            Record::Blocks { first, last } if first <= last && first > BlockNumber(0) => {
                Ok(Some(Part::Blocks { first, last }))
            }
            Record::Blocks { first, last } => Err(self.range("blocks", first.0, last.0)),
            Record::End {
                records: said,
                digest: expected,
            } => {
                self.check_end(digest, expected)?;
                if said != records {
                    return Err(self.range("records", records, said));
                }
                Ok(None)
            }
            other => Err(unexpected(
                &self.path,
                offset,
                &other,
                "a state, blocks or the end",
            )),
        }
    }

    /// The next entry of a state that [`part`](Self::part) announced, as bytes.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn entry(&mut self) -> Result<(Vec<u8>, Vec<u8>), ExportError> {
        match self.record()? {
            (_, Record::Entry { key, value }) => Ok((key, value)),
            (offset, other) => Err(unexpected(&self.path, offset, &other, "an entry")),
        }
    }

    /// The next block that [`part`](Self::part) announced.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn block(&mut self) -> Result<FinalBlock, ExportError> {
        match self.record()? {
            (_, Record::Block(block)) => Ok(*block),
            (offset, other) => Err(unexpected(&self.path, offset, &other, "a block")),
        }
    }

    /// Checks that header, committee and certificate of an announced state belong together; gives the block it says
    /// it follows. The entries, and whether the hash is trusted, are not looked at.
    ///
    /// # Errors
    ///
    /// [`ExportError::Anchor`].
    pub fn check_anchor(&self, anchor: &Anchor) -> Result<Head, ExportError> {
        self.check(anchor).map(|checked| checked.head)
    }

    fn check(&self, anchor: &Anchor) -> Result<Checked, ExportError> {
        let checked = anchor.check(&self.genesis, &self.begin);
        checked.map_err(|source| ExportError::Anchor {
            height: anchor.height,
            source,
        })
    }

    /// All entries of the state that [`part`](Self::part) announced with `anchor`, checked against its header: that
    /// they are a state with the header's root, and that header, committee and certificate belong together.
    ///
    /// Whether the header is true depends on whether its hash is trusted.
    ///
    /// # Errors
    ///
    /// [`ExportError`] with the first thing that is wrong.
    pub fn state(&mut self, anchor: &Anchor, watch: Watch<'_>) -> Result<ReadState, ExportError> {
        let height = anchor.height;
        let Checked { head, power } = self.check(anchor)?;
        let state = self.load(anchor, watch)?;
        let found = state.root();
        if found != head.state_root {
            return Err(ExportError::Root {
                height,
                found,
                expected: head.state_root,
            });
        }
        if state.height() != height || state.genesis_digest() != self.genesis.digest() {
            return Err(ExportError::OtherState {
                height,
                found: state.height(),
                genesis: state.genesis_digest(),
            });
        }
        let named = anchor.check_next_committee(&state);
        named.map_err(|source| ExportError::Anchor { height, source })?;
        Ok(ReadState {
            position: Position { head, state },
            power,
        })
    }

    fn load(&mut self, anchor: &Anchor, watch: Watch<'_>) -> Result<State, ExportError> {
        let mut failed = None;
        let mut previous = Vec::new();
        let (mut done, mut bytes) = (0, 0);
        let total = anchor.entries;
        let entries = std::iter::from_fn(|| {
            if done == total || failed.is_some() {
                return None;
            }
            let read = self.next_entry(&mut previous, &mut bytes);
            done += 1;
            let what = "entries";
            let watched = read.and_then(|entry| Ok(watch(Step { what, done, total }).map(|()| entry)?));
            watched.map_err(|error| failed = Some(error)).ok()
        });
        let loaded = State::from_entries(entries);
        // What could not be read is the cause of what is missing.
        match failed {
            Some(error) => Err(error),
            None => loaded.map_err(|source| ExportError::Load {
                height: anchor.height,
                source,
            }),
        }
    }

    fn next_entry(
        &mut self,
        previous: &mut Vec<u8>,
        bytes: &mut u64,
    ) -> Result<(Vec<u8>, Vec<u8>), ExportError> {
        let offset = self.end;
        let (key, value) = self.entry()?;
        if key <= *previous {
            let path = self.path.clone();
            return Err(ExportError::KeyOrder { path, offset });
        }
        *bytes += (key.len() + value.len()) as u64;
        if *bytes > STATE_BYTES_MAX {
            return Err(ExportError::StateTooLarge {
                path: self.path.clone(),
            });
        }
        previous.clone_from(&key);
        Ok((key, value))
    }

    fn record(&mut self) -> Result<(u64, Record), ExportError> {
        let Some(frame) = self.frames.next() else {
            return Err(ExportError::Truncated {
                path: self.path.clone(),
            });
        };
        let frame = frame?;
        let record = decode(&self.path, &frame)?;
        self.count(&frame);
        Ok((frame.offset, record))
    }

    fn count(&mut self, frame: &Frame) {
        let bytes = frame.payload.len() as u64;
        self.hasher.update(&bytes.to_le_bytes());
        self.hasher.update(&frame.payload);
        self.records += 1;
        self.end = frame.offset + FRAME_OVERHEAD_BYTES + bytes;
    }

    /// Whether the records have the digest that the end says, and nothing is behind it.
    fn check_end(&self, found: Digest, expected: Digest) -> Result<(), ExportError> {
        let path = self.path.clone();
        if found != expected {
            return Err(ExportError::Checksum {
                path,
                found,
                expected,
            });
        }
        let metadata = std::fs::metadata(&self.path).map_err(|source| ExportError::Io {
            action: "look at",
            path: path.clone(),
            source,
        })?;
        match metadata.len().checked_sub(self.end) {
            Some(0) => Ok(()),
            behind => Err(ExportError::Extended {
                path,
                bytes: behind.unwrap_or(0),
            }),
        }
    }

    fn range(&self, what: &'static str, first: u64, last: u64) -> ExportError {
        ExportError::Range {
            path: self.path.clone(),
            what,
            first,
            last,
        }
    }
}

fn decode(path: &Path, frame: &Frame) -> Result<Record, ExportError> {
    codec::decode(&frame.payload, FRAME_BYTES_MAX as usize).map_err(|source| ExportError::Malformed {
        path: path.to_owned(),
        offset: frame.offset,
        source,
    })
}

fn unexpected(path: &Path, offset: u64, found: &Record, expected: &'static str) -> ExportError {
    ExportError::Unexpected {
        path: path.to_owned(),
        offset,
        found: found.name(),
        expected,
    }
}
