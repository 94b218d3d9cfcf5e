//! Blocks that were proposed and are not decided yet.
//!
//! A block is in the file, synced, before this node says anything about it: after a crash the engine asks for the
//! very block that it proposed or voted for. The file grows with every proposal and begins anew once all it holds is
//! decided.

use std::fs;
use std::io;
use std::path::PathBuf;

use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, ConsensusKey, Digest};
use agon_protocol::message::Block;
use agon_protocol::sign::Signature;
use agon_runtime::framed_log::{FILE_HEADER_BYTES, FramedLog, LogError, LogOptions};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;
use tracing::warn;

/// The file begins anew once it is longer than this and all it holds is decided.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Most blocks of one height that are kept; more than one for a round means that its proposer equivocates.
const PER_HEIGHT_MAX: usize = 64;
/// Most canonical bytes of a proposal.
pub(crate) const PROPOSAL_BYTES_MAX: usize = Block::BYTES_MAX + 1_024;
/// How the file is opened.
const OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: PROPOSAL_BYTES_MAX as u32,
};

/// A block and who offered it when.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Proposed {
    pub(crate) round: u32,
    /// The earlier round in which it had a quorum of prevotes.
    pub(crate) locked_round: Option<u32>,
    pub(crate) proposer: ConsensusKey,
    pub(crate) block: Block,
    /// The proposer's over its proposal vote.
    pub(crate) signature: Signature,
}

impl Proposed {
    pub(crate) const fn height(&self) -> BlockNumber {
        self.block.header.height
    }
}

/// Why undecided blocks cannot be kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PendingError {
    /// The file failed.
    #[error("keep undecided blocks")]
    Log(#[from] LogError),
    /// A file whose blocks are all decided could not be removed.
    #[error("remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// The undecided blocks, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Pending {
    path: PathBuf,
    log: FramedLog,
    blocks: Vec<(Digest, Proposed)>,
}

impl Pending {
    /// Opens the file at `path`, creating it where it is missing; blocks below `next` are forgotten.
    pub(crate) fn open(path: PathBuf, next: BlockNumber) -> Result<Self, PendingError> {
        let (log, _) = FramedLog::open(&path, OPTIONS)?;
        let mut blocks = Vec::new();
        for frame in log.frames_from(FILE_HEADER_BYTES)? {
            match codec::decode::<Proposed>(&frame?.payload, PROPOSAL_BYTES_MAX) {
                Ok(proposed) if proposed.height() >= next => {
                    blocks.push((proposed.block.hash(), proposed));
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "an undecided block cannot be read and is left out"),
            }
        }
        Ok(Self { path, log, blocks })
    }

    /// Keeps a block, on disk before this returns. One that is there already is kept once; past the bound per height
    /// nothing is kept.
    pub(crate) fn keep(&mut self, proposed: Proposed) -> Result<(), PendingError> {
        if self.note(proposed)
            && let Some((_, proposed)) = self.blocks.last()
        {
            self.log.append_synced(&codec::encode(proposed))?;
        }
        Ok(())
    }

    /// Keeps a decided block in memory until it is committed: after a crash it is fetched again.
    pub(crate) fn note(&mut self, proposed: Proposed) -> bool {
        let hash = proposed.block.hash();
        let known = |(other, it): &(Digest, Proposed)| *other == hash && it.round == proposed.round;
        let height = proposed.height();
        let count = self.blocks.iter().filter(|(_, it)| it.height() == height).count();
        if self.blocks.iter().any(known) || count >= PER_HEIGHT_MAX {
            return false;
        }
        self.blocks.push((hash, proposed));
        true
    }

    /// The blocks of one round.
    pub(crate) fn of_round(&self, height: BlockNumber, round: u32) -> impl Iterator<Item = &Proposed> {
        self.blocks
            .iter()
            .map(|(_, proposed)| proposed)
            .filter(move |it| it.height() == height && it.round == round)
    }

    /// A block by its hash.
    pub(crate) fn block(&self, hash: &Digest) -> Option<&Proposed> {
        let found = self.blocks.iter().find(|(other, _)| other == hash);
        found.map(|(_, proposed)| proposed)
    }

    /// Forgets the blocks up to `height`, which is decided.
    pub(crate) fn decided(&mut self, height: BlockNumber) -> Result<(), PendingError> {
        self.blocks.retain(|(_, proposed)| proposed.height() > height);
        if self.blocks.is_empty() && self.log.end() > FILE_BYTES {
            fs::remove_file(&self.path).map_err(|source| PendingError::Remove {
                path: self.path.clone(),
                source,
            })?;
            (self.log, _) = FramedLog::open(&self.path, OPTIONS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use agon_protocol::message::Header;

    use super::*;

    fn proposed(height: u64, round: u32, time_ms: u64) -> Proposed {
        Proposed {
            round,
            locked_round: None,
            proposer: ConsensusKey([1; 32]),
            block: Block {
                header: Header {
                    height: BlockNumber(height),
                    parent: Digest::default(),
                    time_ms,
                    transactions: Digest::default(),
                    state_root: Digest::default(),
                    next_committee: Digest::default(),
                },
                transactions: Vec::new(),
            },
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_until_it_is_decided() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pending.log");
        let mut pending = Pending::open(path.clone(), BlockNumber(1)).unwrap();
        for (height, round) in [(1, 0), (2, 0), (2, 1), (2, 1)] {
            pending.keep(proposed(height, round, 7)).unwrap();
        }
        pending.decided(BlockNumber(1)).unwrap();
        drop(pending);
        let pending = Pending::open(path, BlockNumber(2)).unwrap();
        let rounds: Vec<u32> = pending.blocks.iter().map(|(_, it)| it.round).collect();
        assert_eq!(rounds, [0, 1]);
        assert_eq!(pending.of_round(BlockNumber(2), 1).count(), 1);
        assert!(pending.block(&proposed(2, 0, 7).block.hash()).is_some());
    }

    #[test]
    fn the_file_begins_anew_once_all_of_it_is_decided() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pending.log");
        let mut pending = Pending::open(path.clone(), BlockNumber(1)).unwrap();
        let mut height = 0;
        while pending.log.end() <= FILE_BYTES {
            height += 1;
            for round in 0..PER_HEIGHT_MAX as u32 + 3 {
                pending.note(proposed(height, round, 7));
            }
            assert_eq!(pending.blocks.len(), PER_HEIGHT_MAX);
            // The length is what counts here, not the sync of each.
            for _ in 0..2_000 {
                pending
                    .log
                    .append(&codec::encode(&proposed(height, 0, 7)))
                    .unwrap();
            }
            pending.decided(BlockNumber(height - 1)).unwrap();
            pending.blocks.clear();
        }
        pending.decided(BlockNumber(height)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), FILE_HEADER_BYTES);
        pending.keep(proposed(height + 1, 0, 7)).unwrap();
    }
}
