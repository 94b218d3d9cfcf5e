//! What the ledger's thread does: takes transactions in, makes blocks of them, and tells what became of both.
//!
//! Ledger and mempool belong to one owner, so a transaction is checked against the very state that the next block
//! will be made on, and no lock is ever held across a sync of the disk. Readers never come here: each block's state
//! is published as a `News`, which they share.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agon_ledger_committee::{AHEAD_MS_MAX, Next};
use agon_ledger_state::{Checked, Refusal, State};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Block, EventView, FinalBlock, Header, Signed, Transaction};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{debug, info};

use crate::archive::Recent;
use crate::blocks::BlocksError;
use crate::bulletin::{Publisher, Reader, bulletin};
use crate::chain::{Chain, CommitError, Committed, Head, Ledger, Reject};
use crate::changes::Changes;
use crate::mempool::{Mempool, SubmitError, Verdict};
use crate::metrics;
use crate::relay::Relay;

/// The ledger as of its newest block.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// The block.
    pub(crate) head: Head,
    /// The state after it.
    pub(crate) state: Arc<State>,
    /// When each neuron's row of a metagraph changed last.
    pub(crate) changes: Arc<Changes>,
    /// What the block did; `None` when it was stored before this process started.
    pub(crate) event: Option<Arc<EventView>>,
}

/// Blocks after which transactions that still wait are sent to the peers again.
const RELAY_AGAIN_BLOCKS: u64 = 8;
/// How many of them at a time.
const RELAY_AGAIN_MAX: usize = 256;

/// Why a block was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The ledger rejects what it proposed itself: executing a block twice gave two results.
    #[error("the ledger rejects its own proposal")]
    Reject(#[from] Reject),
    /// The block could not be stored.
    #[error("store block {height}")]
    Commit {
        /// Its height.
        height: BlockNumber,
        /// What failed.
        source: CommitError,
    },
}

/// Owner of the ledger and of what waits for it.
#[derive(Debug)]
pub struct Clerk {
    ledger: Chain,
    mempool: Mempool,
    news: Publisher<News>,
    recent: Arc<Mutex<Recent>>,
    relay: Relay,
    /// Found when it is first asked for; it never changes.
    first_certified: Option<BlockNumber>,
    changes: Arc<Changes>,
}

impl Clerk {
    /// A clerk with an empty mempool, and where to hear what it publishes.
    pub(crate) fn new(ledger: Chain, recent: Arc<Mutex<Recent>>, relay: Relay) -> (Self, Reader<News>) {
        let changes = Arc::new(Changes::begin(ledger.state()));
        let first = News {
            head: ledger.head(),
            state: Arc::clone(ledger.state()),
            changes: Arc::clone(&changes),
            event: None,
        };
        let (news, heard) = bulletin(first);
        let clerk = Self {
            ledger,
            mempool: Mempool::default(),
            news,
            recent,
            relay,
            first_certified: None,
            changes,
        };
        clerk.remember();
        (clerk, heard)
    }

    /// Queues a transaction; the verdict comes once it is in a stored block, or out of the question.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] at once.
    pub(crate) fn submit(
        &mut self,
        transaction: Signed<Transaction>,
    ) -> Result<oneshot::Receiver<Verdict>, SubmitError> {
        let fresh = (!self.relay.is_empty() && !self.mempool.has(&transaction)).then(|| transaction.clone());
        let submitted = self.mempool.submit(&self.ledger, transaction);
        if let (Ok(_), Some(fresh)) = (&submitted, fresh) {
            self.relay.offer(&fresh);
        }
        if let Err(SubmitError::Refused(refusal)) = &submitted {
            metrics::refusal(refusal.rule());
        }
        metrics::mempool(self.mempool.len());
        submitted
    }

    /// Takes what entered a peer's mempool. A transaction that is known or refused here is of no further interest: its
    /// sender hears of it from the node that it was submitted to.
    pub(crate) fn relayed(&mut self, transactions: Vec<Signed<Transaction>>) {
        for transaction in transactions {
            if !self.mempool.has(&transaction) {
                // Nobody waits here for the verdict.
                let _ = self.submit(transaction);
            }
        }
    }

    /// What [`submit`](Self::submit) would say.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) fn dry_run(&mut self, transaction: &Signed<Transaction>) -> Result<Checked, Refusal> {
        self.mempool.dry_run(&self.ledger, transaction)
    }

    /// Takes no more transactions, and lets those who wait for one go.
    pub(crate) fn close(&mut self) {
        self.mempool.close();
    }

    /// Makes the next block of what waits, stores it, and tells everybody.
    ///
    /// # Errors
    ///
    /// [`ProduceError`], after which the node has to be opened again.
    pub(crate) fn produce(&mut self, now_ms: u64) -> Result<(), ProduceError> {
        let begun = Instant::now();
        let block = self.propose(now_ms);
        self.ledger.check(&block)?;
        let height = block.header.height;
        self.commit(FinalBlock::solo(block))
            .map_err(|source| ProduceError::Commit { height, source })?;
        metrics::block_seconds(begun.elapsed());
        Ok(())
    }

    /// Where the ledger stands, as a committee needs it.
    pub(crate) fn next(&mut self) -> Next {
        Next {
            height: self.ledger.head().height.next(),
            committee: self.ledger.state().committee(),
        }
    }

    /// Makes a block of what waits. What the ledger refuses by now is let go, with its reason.
    pub(crate) fn propose(&mut self, now_ms: u64) -> Block {
        let proposal = self.ledger.propose(self.mempool.batch(), now_ms);
        for (digest, refusal) in &proposal.refused {
            debug!(%digest, rule = refusal.rule(), "left a transaction out of the block");
            metrics::refusal(refusal.rule());
        }
        self.mempool.refused(&proposal.refused);
        proposal.block
    }

    /// Whether somebody's block can come next; one that is proposed now, at `now_ms`, may not be of the future.
    ///
    /// # Errors
    ///
    /// [`Reject`] with the rule it breaks.
    pub(crate) fn check(&mut self, block: &Block, now_ms: Option<u64>) -> Result<(), Reject> {
        let Header { height, time_ms, .. } = block.header;
        match now_ms {
            Some(now_ms) if time_ms > now_ms.saturating_add(AHEAD_MS_MAX) => Err(Reject::Ahead {
                height,
                found_ms: time_ms,
                now_ms,
            }),
            _ => {
                self.mempool.vouch_for(&block.transactions);
                self.ledger.check(block)
            }
        }
    }

    /// Stores a block that is final, and tells everybody.
    ///
    /// # Errors
    ///
    /// [`CommitError`], after which the node has to be opened again.
    pub(crate) fn commit(&mut self, block: FinalBlock) -> Result<(), CommitError> {
        let committed = self.ledger.commit(block)?;
        self.publish(&committed);
        Ok(())
    }

    /// Height of the first block that a peer can check by its certificate: blocks made by one node alone have none.
    ///
    /// # Errors
    ///
    /// [`BlocksError`] when a block cannot be read.
    pub(crate) fn first_certified(&mut self) -> Result<BlockNumber, BlocksError> {
        if let Some(first) = self.first_certified {
            return Ok(first);
        }
        let certified = |height| {
            let block = self.ledger.decided(BlockNumber(height))?;
            Ok::<_, BlocksError>(block.is_some_and(|block| block.certificate.is_some()))
        };
        // Once there is a committee, there is one for ever: everything before `low` has no certificate.
        let (mut low, mut high) = (1, self.ledger.head().height.0.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            if certified(middle)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.first_certified = Some(BlockNumber(low));
        Ok(BlockNumber(low))
    }

    /// Stored blocks from the first of `heights` on, without a gap.
    ///
    /// # Errors
    ///
    /// [`BlocksError`] when one cannot be read.
    pub(crate) fn decided(
        &mut self,
        heights: RangeInclusive<BlockNumber>,
    ) -> Result<Vec<FinalBlock>, BlocksError> {
        let mut blocks = Vec::new();
        for height in heights.start().0..=heights.end().0 {
            match self.ledger.decided(BlockNumber(height))? {
                Some(block) => blocks.push(block),
                None => break,
            }
        }
        Ok(blocks)
    }

    fn publish(&mut self, committed: &Committed) {
        let event = committed.event();
        count(committed, &event);
        self.remember();
        let (head, state) = (self.ledger.head(), Arc::clone(self.ledger.state()));
        Arc::make_mut(&mut self.changes).follow(&state);
        self.news.publish(News {
            head,
            state,
            changes: Arc::clone(&self.changes),
            event: Some(Arc::new(event)),
        });
        // Last, so that whoever hears of a block can read it.
        self.mempool.committed(committed);
        for (digest, refusal) in self.mempool.sweep(&self.ledger) {
            debug!(%digest, rule = refusal.rule(), "let a transaction go that no block can take any more");
            metrics::refusal(refusal.rule());
        }
        metrics::mempool(self.mempool.len());
        if !self.relay.is_empty() && committed.height().0.is_multiple_of(RELAY_AGAIN_BLOCKS) {
            self.mempool
                .oldest(RELAY_AGAIN_MAX)
                .for_each(|it| self.relay.offer(it));
        }
    }

    fn remember(&self) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.offer(self.ledger.head(), self.ledger.state());
    }
}

fn count(committed: &Committed, event: &EventView) {
    let height = committed.height().0;
    metrics::height(height);
    for transaction in committed.transactions() {
        metrics::transaction(transaction.message().call.name());
    }
    for epoch in &event.epochs {
        metrics::epoch(epoch.netuid.0);
        info!(height, netuid = epoch.netuid.0, tempo = epoch.tempo, "epoch ran");
    }
    debug!(height, transactions = event.transactions.len(), "block stored");
}
