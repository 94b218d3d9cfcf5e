//! What the ledger's thread does: takes transactions in, makes blocks of them, and tells what became of both.
//!
//! Ledger and mempool belong to one owner, so a transaction is checked against the very state that the next block
//! will be made on, and no lock is ever held across a sync of the disk. Readers never come here: each block's state
//! is published as a `News`, which they share.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agon_ledger_state::{Effect, Refusal, State};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{EventView, FinalBlock, Signed, Transaction};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{debug, info};

use crate::archive::Recent;
use crate::bulletin::{Publisher, Reader, bulletin};
use crate::chain::{Chain, CommitError, Committed, Head, Ledger, Reject};
use crate::mempool::{Mempool, SubmitError, Verdict};
use crate::metrics;

/// The ledger as of its newest block.
#[derive(Clone, Debug)]
pub(crate) struct News {
    /// The block.
    pub(crate) head: Head,
    /// The state after it.
    pub(crate) state: Arc<State>,
    /// What the block did; `None` when it was stored before this process started.
    pub(crate) event: Option<Arc<EventView>>,
}

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
}

impl Clerk {
    /// A clerk with an empty mempool, and where to hear what it publishes.
    pub(crate) fn new(ledger: Chain, recent: Arc<Mutex<Recent>>) -> (Self, Reader<News>) {
        let first = News {
            head: ledger.head(),
            state: Arc::clone(ledger.state()),
            event: None,
        };
        let (news, heard) = bulletin(first);
        let clerk = Self {
            ledger,
            mempool: Mempool::default(),
            news,
            recent,
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
        let submitted = self.mempool.submit(&self.ledger, transaction);
        if let Err(SubmitError::Refused(refusal)) = &submitted {
            metrics::refusal(refusal.rule());
        }
        metrics::mempool(self.mempool.len());
        submitted
    }

    /// What [`submit`](Self::submit) would say.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) fn dry_run(&mut self, transaction: &Signed<Transaction>) -> Result<Vec<Effect>, Refusal> {
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
        let proposal = self.ledger.propose(self.mempool.batch(), now_ms);
        for (digest, refusal) in &proposal.refused {
            debug!(%digest, rule = refusal.rule(), "left a transaction out of the block");
            metrics::refusal(refusal.rule());
        }
        self.mempool.refused(&proposal.refused);
        self.ledger.check(&proposal.block)?;
        let height = proposal.block.header.height;
        let committed = self
            .ledger
            .commit(FinalBlock::solo(proposal.block))
            .map_err(|source| ProduceError::Commit { height, source })?;
        self.publish(&committed);
        metrics::block_seconds(begun.elapsed());
        Ok(())
    }

    fn publish(&mut self, committed: &Committed) {
        let event = committed.event();
        count(committed, &event);
        self.remember();
        let (head, state) = (self.ledger.head(), Arc::clone(self.ledger.state()));
        self.news.publish(News {
            head,
            state,
            event: Some(Arc::new(event)),
        });
        // Last, so that whoever hears of a block can read it.
        self.mempool.committed(committed);
        metrics::mempool(self.mempool.len());
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
