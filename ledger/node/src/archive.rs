//! The past: blocks, events and states of earlier heights.
//!
//! Blocks come from the log. A state is replayed from the nearest one at hand: those of every hundredth block are
//! kept while they are recent, the one replayed last is kept, and the genesis is always there. A replay has a bound,
//! so not every height of a long history has an answer; a refusal names those that have. Where blocks are full, a
//! replay may take several questions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use agon_ledger_state::State;
use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::message::{EventView, Genesis, Metagraph};
use thiserror::Error;

use crate::blocks::{Blocks, BlocksError};
use crate::chain::{self, Head};
use crate::open;
use crate::store::{Store, StoreError};

/// Blocks from one kept state to the next.
const SNAPSHOT_INTERVAL_BLOCKS: u64 = 100;
/// Recent states that are kept. They share what did not change between them.
const SNAPSHOTS_MAX: usize = 16;
/// Blocks that a replay may be long: a second or two of work while they are nearly empty.
const REPLAY_BLOCKS_MAX: u64 = 5_000;
/// Transactions that one answer may replay: about a second of work, most of it for signatures.
const REPLAY_TRANSACTIONS_MAX: usize = 20_000;

/// Why the past is not told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is no such block yet.
    #[error("there is no block {height}: the newest is {newest}")]
    NoSuchBlock {
        /// What was asked for.
        height: BlockNumber,
        /// The newest block.
        newest: BlockNumber,
    },
    /// The state of that height would take too long to replay.
    #[error(
        "the state of block {height} is not kept: ask for one from 0 to {} or from {} to {newest}",
        early.end(), recent.start()
    )]
    NotKept {
        /// What was asked for.
        height: BlockNumber,
        /// Heights near the genesis that have an answer.
        early: RangeInclusive<u64>,
        /// Recent heights that have an answer.
        recent: RangeInclusive<u64>,
        /// The newest block.
        newest: BlockNumber,
    },
    /// The state of that height takes several answers.
    #[error(
        "the state of block {height} takes more work than one answer may: {reached} was reached, ask again"
    )]
    Unfinished {
        /// What was asked for.
        height: BlockNumber,
        /// How far this answer came.
        reached: BlockNumber,
    },
    /// No such subnet at that height.
    #[error("there was no subnet {netuid} at block {height}")]
    NoSuchSubnet {
        /// What was asked for.
        netuid: Netuid,
        /// When.
        height: BlockNumber,
    },
    /// The block log failed.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not replay.
    #[error("replay block {height}")]
    Replay {
        /// The block that does not follow.
        height: BlockNumber,
        /// Why.
        source: chain::Reject,
    },
}

/// States of recent heights.
#[derive(Debug, Default)]
pub(crate) struct Recent(BTreeMap<BlockNumber, Snapshot>);

/// A state and the block it follows.
#[derive(Clone, Debug)]
struct Snapshot {
    head: Head,
    state: Arc<State>,
}

impl Recent {
    /// Keeps the state after `head` if it is the first, or its height is a multiple of the interval.
    pub(crate) fn offer(&mut self, head: Head, state: &Arc<State>) {
        if !self.0.is_empty() && !head.height.0.is_multiple_of(SNAPSHOT_INTERVAL_BLOCKS) {
            return;
        }
        self.0.insert(
            head.height,
            Snapshot {
                head,
                state: Arc::clone(state),
            },
        );
        if self.0.len() > SNAPSHOTS_MAX {
            self.0.pop_first();
        }
    }

    fn at_or_below(&self, height: BlockNumber) -> Option<Snapshot> {
        self.0
            .range(..=height)
            .next_back()
            .map(|(_, snapshot)| snapshot.clone())
    }

    fn oldest(&self) -> Option<BlockNumber> {
        self.0.keys().next().copied()
    }
}

/// Answers questions about earlier heights; one at a time, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Archive {
    blocks: Arc<Blocks>,
    store: Arc<dyn Store>,
    recent: Arc<Mutex<Recent>>,
    genesis: Snapshot,
    replayed: Option<Snapshot>,
}

impl Archive {
    /// An archive of the ledger that begins with `genesis`.
    ///
    /// # Errors
    ///
    /// The error of the genesis, which a ledger that was opened does not have.
    pub(crate) fn new(
        genesis: &Genesis,
        blocks: Arc<Blocks>,
        store: Arc<dyn Store>,
        recent: Arc<Mutex<Recent>>,
    ) -> Result<Self, open::OpenError> {
        let open::Loaded { head, state } = open::begin(genesis)?;
        let genesis = Snapshot {
            head,
            state: Arc::new(state),
        };
        Ok(Self {
            blocks,
            store,
            recent,
            genesis,
            replayed: None,
        })
    }

    /// Canonical bytes of a block.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NoSuchBlock`] and what reading runs into.
    pub(crate) fn block(&self, height: BlockNumber) -> Result<Vec<u8>, ArchiveError> {
        self.blocks
            .read_bytes(height)?
            .ok_or_else(|| self.no_such_block(height))
    }

    /// What a block did.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block).
    pub(crate) fn event(&self, height: BlockNumber) -> Result<EventView, ArchiveError> {
        let block = self
            .blocks
            .read(height)?
            .ok_or_else(|| self.no_such_block(height))?;
        Ok(chain::event(&block.block, self.store.epochs(height)?))
    }

    /// A subnet's neurons after the block at `height`.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NotKept`] where that would take too long, and the others.
    pub(crate) fn metagraph(
        &mut self,
        netuid: Netuid,
        height: BlockNumber,
    ) -> Result<Metagraph, ArchiveError> {
        let Snapshot { head, state } = self.state_after(height)?;
        metagraph(&state, netuid, head.hash).ok_or(ArchiveError::NoSuchSubnet { netuid, height })
    }

    fn state_after(&mut self, height: BlockNumber) -> Result<Snapshot, ArchiveError> {
        if height > self.blocks.height() {
            return Err(self.no_such_block(height));
        }
        let nearest = self.nearest(height);
        if height.0 - nearest.head.height.0 > REPLAY_BLOCKS_MAX {
            return Err(self.not_kept(height));
        }
        let reached = self.replay(nearest, height)?;
        self.replayed = Some(reached.clone());
        match reached.head.height {
            reached if reached < height => Err(ArchiveError::Unfinished { height, reached }),
            _ => Ok(reached),
        }
    }

    /// The highest state at hand that is not above `height`.
    fn nearest(&self, height: BlockNumber) -> Snapshot {
        let recent = self
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .at_or_below(height);
        let replayed = self
            .replayed
            .clone()
            .filter(|replayed| replayed.head.height <= height);
        let at_hand = recent.into_iter().chain(replayed);
        at_hand
            .max_by_key(|snapshot| snapshot.head.height)
            .unwrap_or_else(|| self.genesis.clone())
    }

    /// The state after the block at `height`, or after the last one that one answer may get to.
    fn replay(&self, from: Snapshot, height: BlockNumber) -> Result<Snapshot, ArchiveError> {
        let Snapshot { mut head, state } = from;
        if head.height == height {
            return Ok(Snapshot { head, state });
        }
        let mut state = Arc::unwrap_or_clone(state);
        let mut transactions = 0;
        while head.height < height && transactions < REPLAY_TRANSACTIONS_MAX {
            let next = head.height.next();
            let block = self.blocks.read(next)?.ok_or_else(|| self.no_such_block(next))?;
            let replayed = chain::extend(&head, &mut state, &block.block);
            (head, _) = replayed.map_err(|source| ArchiveError::Replay { height: next, source })?;
            transactions += block.block.transactions.len();
        }
        // What changed on the way is of no interest to anybody.
        drop(state.take_changes());
        Ok(Snapshot {
            head,
            state: Arc::new(state),
        })
    }

    fn no_such_block(&self, height: BlockNumber) -> ArchiveError {
        ArchiveError::NoSuchBlock {
            height,
            newest: self.blocks.height(),
        }
    }

    fn not_kept(&self, height: BlockNumber) -> ArchiveError {
        let newest = self.blocks.height();
        let oldest = self
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .oldest();
        let recent = oldest.unwrap_or(newest).0..=newest.0;
        ArchiveError::NotKept {
            height,
            early: 0..=REPLAY_BLOCKS_MAX,
            recent,
            newest,
        }
    }
}

/// A subnet's neurons in `state`, which is the one after the block of this hash.
pub(crate) fn metagraph(state: &State, netuid: Netuid, hash: Digest) -> Option<Metagraph> {
    let metagraph = state.metagraph(netuid)?;
    Some(Metagraph { hash, ..metagraph })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::Clerk;
    use crate::fixture::{self, genesis, ledger};

    fn produce(clerk: &mut Clerk, blocks: u64) {
        for block in 0..blocks {
            clerk.produce(2_000 + block).unwrap();
        }
    }

    #[test]
    fn heights_that_would_take_too_long_are_told_with_those_that_do_not() {
        let fixture::Ledger {
            mut clerk,
            blocks,
            store,
            recent,
        } = ledger();
        let mut archive = Archive::new(&genesis(), blocks, store, recent).unwrap();
        let recent_blocks = SNAPSHOT_INTERVAL_BLOCKS * SNAPSHOTS_MAX as u64;
        let newest = REPLAY_BLOCKS_MAX + recent_blocks + 50;
        produce(&mut clerk, newest);
        for height in [
            0,
            1,
            REPLAY_BLOCKS_MAX,
            newest - recent_blocks + SNAPSHOT_INTERVAL_BLOCKS,
            newest,
        ] {
            let Snapshot { head, state } = archive.state_after(BlockNumber(height)).unwrap();
            assert_eq!((head.height.0, state.height().0), (height, height));
            archive.replayed = None;
        }
        let error = archive
            .state_after(BlockNumber(REPLAY_BLOCKS_MAX + 1))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state of block 5001 is not kept: ask for one from 0 to 5000 or from 5100 to 6650"
        );
        let error = archive.state_after(BlockNumber(newest + 1)).unwrap_err();
        assert_eq!(error.to_string(), "there is no block 6651: the newest is 6650");
    }

    #[test]
    fn recent_states_are_bounded() {
        let fixture::Ledger {
            mut clerk, recent, ..
        } = ledger();
        produce(&mut clerk, SNAPSHOT_INTERVAL_BLOCKS * (SNAPSHOTS_MAX as u64 + 3));
        let recent = recent.lock().unwrap();
        assert_eq!(
            (recent.0.len(), recent.oldest()),
            (SNAPSHOTS_MAX, Some(BlockNumber(400)))
        );
    }
}
