//! The past: blocks, events and states of earlier heights.
//!
//! Blocks come from the log, which may begin above a snapshot; what was before is not kept. A state is replayed from the nearest one at hand: those of every hundredth block are
//! kept while they are recent, the one replayed last is kept, and what the log begins from is always there. A replay has a bound,
//! so not every height of a long history has an answer; a refusal names those that have. Where blocks are full, a
//! replay may take several questions.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agon_ledger_replay::export::{ExportError, Sealed};
use agon_ledger_replay::follow::{self, Position};
use agon_ledger_state::State;
use agon_protocol::codec;
use agon_protocol::grpc::LIGHT_HEADERS_MAX;
use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::light::LightHeader;
use agon_protocol::message::{Block, EventView, FinalBlock, Genesis, Metagraph};
use agon_protocol::proof::{ProofTarget, RowProof};
use thiserror::Error;

use crate::blocks::{Blocks, BlocksError};
use crate::chain::{self, Head};
use crate::open;
use crate::snapshot::{Base, BaseError, Served, ServedFile};
use crate::store::{Store, StoreError};

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
    /// The block is older than those that are kept.
    #[error(
        "block {height} is not kept: this node began from a snapshot, and its blocks begin at {first}; ask a node \
         that keeps older ones"
    )]
    BeforeFirst {
        /// What was asked for.
        height: BlockNumber,
        /// The first block that is kept.
        first: BlockNumber,
    },
    /// The state of that height would take too long to replay.
    #[error(
        "the state of block {height} is not kept: ask for one from {} to {} or from {} to {newest}",
        early.start(), early.end(), recent.start()
    )]
    NotKept {
        /// What was asked for.
        height: BlockNumber,
        /// Heights near what the blocks begin from that have an answer.
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
    /// The genesis was asked for as if it were a block.
    #[error("height 0 is the genesis, which has no header: ask for 1 or more")]
    NoHeader,
    /// A proof does not fit a message.
    #[error("the proof has {found} bytes, {bound} at most fit a message: read the record without a proof")]
    ProofTooLong {
        /// How many it has.
        found: usize,
        /// How many it may have.
        bound: usize,
    },
    /// The committee that a header names was before this node's time.
    #[error("the committee of block {height} is not kept here: begin at a later block, or ask another node")]
    NoCommittee {
        /// The block whose committee it is.
        height: BlockNumber,
    },
    /// The block log failed.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the blocks begin from cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The snapshot cannot be written.
    #[error("write a snapshot")]
    Export(#[from] ExportError),
    /// A ledger in memory.
    #[error("this node keeps its ledger in memory, and makes no snapshots")]
    NoFolder,
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
    /// [`ArchiveError::NotKept`] where the state takes too long to replay, [`ArchiveError::ProofTooLong`] where the
    /// proof does not fit a message, and the others.
    pub(crate) fn prove(
        &mut self,
        target: &ProofTarget,
        height: BlockNumber,
        newest: &State,
    ) -> Result<(LightHeader, Vec<u8>), ArchiveError> {
        let header = self.light_header(height)?;
        let proof = if newest.height() == height {
            newest.prove(target)
        } else {
            self.state_after(height)?.state.prove(target)
        };
        let (proof, bound) = (proof.encode(), RowProof::BYTES_MAX);
        match proof.len() {
            found if found > bound => Err(ArchiveError::ProofTooLong { found, bound }),
            _ => Ok((header, proof)),
        }
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
mod tests {
    use agon_protocol::light::{Finality, LightChain};
    use agon_protocol::message::{Certificate, Committee, Header, Member, commit_signature};

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

    fn member(number: u8, power: u64) -> Member {
        Member {
            consensus_key: fixture::pair(number).consensus_key(),
            hotkey: fixture::pair(number + 100).hotkey(),
            power,
        }
    }

    /// The block after `parent` that three of `now` certify and that appoints `next`.
    fn certified(parent: &Header, now: &[u8], next: &Committee) -> FinalBlock {
        let header = Header {
            height: parent.height.next(),
            parent: parent.hash(),
            next_committee: next.digest(),
            ..parent.clone()
        };
        let mut certificate = Certificate {
            height: header.height,
            round: 0,
            block: header.hash(),
            signatures: Vec::new(),
        };
        let sign = |number: &u8| commit_signature(&fixture::pair(*number), &certificate, genesis().digest());
        certificate.signatures = now.iter().take(3).map(sign).collect();
        FinalBlock {
            block: Block {
                header,
                transactions: Vec::new(),
            },
            certificate: Some(certificate),
        }
    }

    #[test]
    fn a_light_client_follows_the_headers_over_changes_of_the_committee_page_by_page() {
        let fixture::Ledger {
            mut clerk,
            blocks,
            store,
            recent,
        } = ledger();
        produce(&mut clerk, 1);
        let archive = Archive::new(&genesis(), Arc::clone(&blocks), Arc::clone(&store), recent).unwrap();
        let committees = [[1, 2, 3, 4], [3, 4, 5, 6]];
        let [old, new] = committees.map(|numbers| {
            Committee::new(numbers.iter().map(|number| member(*number, 10)).collect()).unwrap()
        });
        store.note_committee(&old).unwrap();
        store.note_committee(&new).unwrap();
        // The node alone appoints the first committee, which decides until it appoints the second.
        let mut header = blocks.read(BlockNumber(1)).unwrap().unwrap().block.header;
        header = Header {
            height: BlockNumber(2),
            parent: header.hash(),
            next_committee: old.digest(),
            ..header
        };
        let transactions = Vec::new();
        let appointing = Block {
            header: header.clone(),
            transactions,
        };
        blocks.append(&FinalBlock::solo(appointing)).unwrap();
        let count = LIGHT_HEADERS_MAX as u64 + 100;
        for height in 3..=count {
            let now = committees[usize::from(height > 900)];
            let next = if height < 900 { &old } else { &new };
            let block = certified(&header, &now, next);
            header = block.block.header.clone();
            blocks.append(&block).unwrap();
        }

        let mut chain = LightChain::from_genesis(genesis().digest(), Committee::default());
        let mut certificates = 0;
        while chain.height() < BlockNumber(count) {
            let page = archive
                .headers(chain.height().next(), BlockNumber(count))
                .unwrap();
            certificates += page.iter().filter(|header| header.certificate.is_some()).count();
            for header in page {
                chain.extend(header).unwrap();
            }
        }
        // Where the committee changes, at the end of two pages and at the start of the second.
        assert_eq!(certificates, 4);
        assert_eq!(
            chain.newest().unwrap().unwrap().1,
            Finality::Told { from: BlockNumber(1) }
        );

        let from = archive
            .headers(BlockNumber(500), BlockNumber(500))
            .unwrap()
            .remove(0);
        let committee = from.next_committee.unwrap();
        let trusted = from.header.hash();
        let mut chain =
            LightChain::from_header(genesis().digest(), trusted, &from.header, committee).unwrap();
        for header in archive.headers(BlockNumber(501), BlockNumber(count)).unwrap() {
            chain.extend(header).unwrap();
        }
        let finality = Finality::Certified { power: 30, of: 40 };
        assert_eq!(chain.newest().unwrap().unwrap(), (&header, finality));
    }
}
