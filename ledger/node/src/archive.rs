//! The past: blocks, events and states of earlier heights.
//!
//! Blocks come from the log, which may begin above a snapshot; what was before is not kept. A state is replayed from the nearest one at hand: those of every hundredth block are
//! kept while they are recent, the one replayed last is kept, and what the log begins from is always there. A replay has a bound,
//! so not every height of a long history has an answer; a refusal names those that have. Where blocks are full, a
//! replay may take several questions.

mod error;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agon_ledger_replay::export::Sealed;
use agon_ledger_replay::follow::{self, Position};
use agon_ledger_state::State;
use agon_protocol::codec;
use agon_protocol::grpc::LIGHT_HEADERS_MAX;
use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::light::LightHeader;
use agon_protocol::message::{Block, EventView, FinalBlock, Genesis, Metagraph};
use agon_protocol::proof::ProofTarget;

use crate::blocks::Blocks;
use crate::chain::{self, Head};
use crate::open;
use crate::snapshot::{Base, Served, ServedFile};
use crate::store::Store;

pub use self::error::ArchiveError;

/// Blocks from one kept state to the next.
const SNAPSHOT_INTERVAL_BLOCKS: u64 = 100;
/// Recent states that are kept. They share what did not change between them.
const SNAPSHOTS_MAX: usize = 16;
/// Blocks that a replay may be long: a second or two of work while they are nearly empty.
const REPLAY_BLOCKS_MAX: u64 = 5_000;
/// Transactions that one answer may replay: about a second of work, most of it for signatures.
const REPLAY_TRANSACTIONS_MAX: usize = 20_000;

/// Bytes of blocks that are read for one page of headers.
const HEADERS_READ_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a page of headers, which has to fit a message.
const HEADERS_PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// States of recent heights.
#[derive(Debug, Default)]
pub(crate) struct Recent(BTreeMap<BlockNumber, Snapshot>);

/// A state and the block it follows.
#[derive(Clone, Debug)]
struct Snapshot {
    head: Head,
    state: Arc<State>,
}

impl From<Position> for Snapshot {
    fn from(Position { head, state }: Position) -> Self {
        Self {
            head,
            state: Arc::new(state),
        }
    }
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

    fn newest(&self) -> Option<BlockNumber> {
        self.0.keys().next_back().copied()
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
    genesis: Genesis,
    genesis_bytes: Vec<u8>,
    /// What the blocks begin from, once it was needed.
    base: Option<Snapshot>,
    replayed: Option<Snapshot>,
    served: Served,
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
        let base = match blocks.base() {
            Base::Genesis => Some(Position::genesis(genesis)?.into()),
            Base::Snapshot(_) => None,
        };
        Ok(Self {
            genesis_bytes: codec::encode(genesis),
            served: Served::new(blocks.dir()),
            blocks,
            store,
            recent,
            genesis: genesis.clone(),
            base,
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

    /// The snapshot of the state after the block at `height`, or of the newest one at hand, as a file.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NotKept`] and the others.
    pub(crate) fn snapshot(&mut self, height: Option<BlockNumber>) -> Result<ServedFile, ArchiveError> {
        let newest = || self.recent().newest().unwrap_or_else(|| self.blocks.height());
        let height = height.unwrap_or_else(newest);
        if let Some(file) = self.served.find(height) {
            return Ok(file);
        }
        let Snapshot { state, .. } = self.state_after(height)?;
        let sealed = self.seal(height, &state)?;
        self.served.write(&self.genesis, &state, sealed)
    }

    /// The header at `height` and what made it final; `None` for the genesis.
    fn seal(&mut self, height: BlockNumber, state: &State) -> Result<Option<Sealed>, ArchiveError> {
        let blocks = Arc::clone(&self.blocks);
        let base = blocks.base();
        let Some(block) = blocks.read(height)? else {
            return Ok(base.sealed());
        };
        let before = BlockNumber(height.0.saturating_sub(1));
        let parent = match blocks.read(before)? {
            Some(parent) => Some(parent.block.header),
            None => base.sealed().map(|sealed| sealed.header),
        };
        let newest = state.committee();
        let committee = match &parent {
            // It seldom changes, and then the state after the block has it as well.
            Some(parent) if parent.next_committee == newest.digest() => newest,
            Some(parent) => match self.store.committee(parent.next_committee)? {
                Some(committee) => committee,
                None => self.state_after(before)?.state.committee(),
            },
            None => self.state_after(before)?.state.committee(),
        };
        Ok(Some(Sealed {
            header: block.block.header,
            parent,
            committee,
            certificate: block.certificate,
        }))
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
        Ok(chain::event(&block.block, self.store.begun(height)?))
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

    /// Canonical bytes of the genesis.
    pub(crate) fn genesis(&self) -> &[u8] {
        &self.genesis_bytes
    }

    /// Headers from one height to another, as many as a page holds; at least one.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NoSuchBlock`] when the first one is not there yet, and what reading runs into.
    pub(crate) fn headers(
        &self,
        from: BlockNumber,
        to: BlockNumber,
    ) -> Result<Vec<LightHeader>, ArchiveError> {
        let first = self.light_header(from)?;
        let (mut page_len, mut page_bytes, mut read_bytes) = (1, 0, 0);
        let mut page = vec![first];
        // The certificate of the first one stays, since whether the committee changes there is not looked up.
        let mut appoints = true;
        while let Some(last) = page.last_mut()
            && last.header.height < to
            && page_len < LIGHT_HEADERS_MAX
            && page_bytes < HEADERS_PAGE_BYTES_MAX
            && read_bytes < HEADERS_READ_BYTES_MAX
        {
            let (committee, next) = (last.header.next_committee, last.header.height.next());
            let Some(block) = self.blocks.read(next)? else {
                break;
            };
            read_bytes += block
                .block
                .transactions
                .iter()
                .map(Block::transaction_len)
                .sum::<usize>();
            if !appoints {
                last.certificate = None;
            }
            appoints = block.block.header.next_committee != committee;
            let header = self.light(block, appoints)?;
            page_len += 1;
            page_bytes += codec::encode(&header).len();
            page.push(header);
        }
        Ok(page)
    }

    /// A header with its certificate and the committee it names.
    fn light_header(&self, height: BlockNumber) -> Result<LightHeader, ArchiveError> {
        if height == BlockNumber(0) {
            return Err(ArchiveError::NoHeader);
        }
        let block = self
            .blocks
            .read(height)?
            .ok_or_else(|| self.no_such_block(height))?;
        self.light(block, true)
    }

    fn light(&self, block: FinalBlock, with_committee: bool) -> Result<LightHeader, ArchiveError> {
        let FinalBlock { block, certificate } = block;
        let header = block.header;
        let next_committee = match header.next_committee {
            named if named == Digest::default() || !with_committee => None,
            named => {
                let height = header.height.next();
                let known = self.store.committee(named)?;
                Some(known.ok_or(ArchiveError::NoCommittee { height })?)
            }
        };
        Ok(LightHeader {
            header,
            certificate,
            next_committee,
        })
    }

    /// A row after the block at `height`, proven from the header that comes with it. `newest` is the newest state.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::NotKept`] where the state takes too long to replay, [`ArchiveError::Row`] where the
    /// row is too long to be proven, and the others.
    pub(crate) fn prove(
        &mut self,
        target: &ProofTarget,
        height: BlockNumber,
        newest: &State,
    ) -> Result<(LightHeader, Vec<u8>), ArchiveError> {
        let header = self.light_header(height)?;
        let proof = if newest.height() == height {
            newest.prove(target)?
        } else {
            self.state_after(height)?.state.prove(target)?
        };
        Ok((header, proof.encode()))
    }

    fn state_after(&mut self, height: BlockNumber) -> Result<Snapshot, ArchiveError> {
        if height > self.blocks.height() || height < self.blocks.base().height() {
            return Err(self.no_such_block(height));
        }
        let nearest = self.nearest(height)?;
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
    fn nearest(&mut self, height: BlockNumber) -> Result<Snapshot, ArchiveError> {
        let recent = self.recent().at_or_below(height);
        let replayed = self
            .replayed
            .clone()
            .filter(|replayed| replayed.head.height <= height);
        let at_hand = recent.into_iter().chain(replayed);
        match at_hand.max_by_key(|snapshot| snapshot.head.height) {
            Some(nearest) => Ok(nearest),
            None => self.begin(height),
        }
    }

    /// What the blocks begin from, unless it is too far below `height` to be of use.
    fn begin(&mut self, height: BlockNumber) -> Result<Snapshot, ArchiveError> {
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        let blocks = Arc::clone(&self.blocks);
        let base = blocks.base();
        if height.0 - base.height().0 > REPLAY_BLOCKS_MAX {
            return Err(self.not_kept(height));
        }
        let loaded: Snapshot = base.load(&self.genesis)?.into();
        Ok(self.base.insert(loaded).clone())
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
            let replayed = follow::extend(&head, &mut state, &block.block);
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

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_such_block(&self, height: BlockNumber) -> ArchiveError {
        let first = self.blocks.first();
        if height < first && first > BlockNumber(1) {
            return ArchiveError::BeforeFirst { height, first };
        }
        ArchiveError::NoSuchBlock {
            height,
            newest: self.blocks.height(),
        }
    }

    fn not_kept(&self, height: BlockNumber) -> ArchiveError {
        let newest = self.blocks.height();
        let begin = self.blocks.base().height().0;
        let recent = self.recent().oldest().unwrap_or(newest).0..=newest.0;
        ArchiveError::NotKept {
            height,
            early: begin..=begin.saturating_add(REPLAY_BLOCKS_MAX),
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
mod tests;
