//! Transactions that wait for a block, in the order they came.
//!
//! One that the ledger would refuse after those that wait already never gets in, so an account may queue several
//! with nonces in a row. What is known of the next block is what waits for it: that state is begun once per block
//! and every queued transaction is applied to it. A transaction may still be refused when its block is proposed, if
//! it takes more than one block to get there. Whoever waits for a transaction is told either way.

use std::collections::{BTreeMap, VecDeque};

use agon_ledger_state::{Effect, Refusal, State};
use agon_protocol::id::{Account, BlockNumber, Digest};
use agon_protocol::message::{Block, Message, RefusalView, Signed, Transaction};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::chain::{Committed, Ledger};

/// Transactions that wait in all: a few full blocks.
pub const TRANSACTIONS_MAX: usize = 4 * Block::TRANSACTIONS_MAX;
/// Bytes that wait in all: a few full blocks.
pub const BYTES_MAX: usize = 4 * Block::BYTES_MAX;
/// Transactions of one account that wait; leaves room for others.
pub const PER_ACCOUNT_MAX: usize = 64;
/// Callers that wait for one transaction.
const WAITERS_MAX: usize = 16;
/// Bytes of a block that are not transactions: version, header, count.
const BLOCK_FRAME_BYTES: usize = 256;

/// Why a transaction was not queued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// A rule of the ledger stands against it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The queue is full.
    #[error("{TRANSACTIONS_MAX} transactions or {BYTES_MAX} bytes wait for a block already: try again later")]
    Full,
    /// The account has many waiting.
    #[error("{PER_ACCOUNT_MAX} transactions of this account wait for a block already: wait for one of them")]
    FullForAccount,
    /// Many callers wait for the very transaction.
    #[error("{WAITERS_MAX} callers wait for this very transaction already")]
    Watched,
    /// The node is about to end.
    #[error("the node is shutting down")]
    Closed,
}

/// What became of a queued transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is in the stored block of this height.
    Included(BlockNumber),
    /// It was refused after all.
    Refused(RefusalView),
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    transaction: Signed<Transaction>,
    waiters: Vec<oneshot::Sender<Verdict>>,
}

impl Entry {
    fn account(&self) -> Account {
        self.transaction.message().signer()
    }

    fn answer(self, verdict: &Verdict) {
        for waiter in self.waiters {
            // Whoever asked may have gone meanwhile.
            let _ = waiter.send(verdict.clone());
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Mempool {
    queue: VecDeque<Entry>,
    per_account: BTreeMap<Account, usize>,
    bytes: usize,
    /// The next block so far: made when it is first asked for after a block, dropped with the next one.
    next: Option<State>,
    closed: bool,
}

impl Mempool {
    /// Takes no more, and lets everybody who waits go without a verdict.
    pub(crate) fn close(&mut self) {
        *self = Self {
            closed: true,
            ..Self::default()
        };
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// What the ledger would say to `transaction` after those that wait: what it does, or the refusal that
    /// [`submit`](Self::submit) would give.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) fn dry_run(
        &mut self,
        ledger: &impl Ledger,
        transaction: &Signed<Transaction>,
    ) -> Result<Vec<Effect>, Refusal> {
        let next = self.next(ledger);
        next.clone().transact(transaction)?;
        // Seen from the newest block unless what waits matters: that state is a block further.
        let effect = ledger
            .state()
            .check(transaction)
            .or_else(|_| next.check(transaction));
        Ok(effect.into_iter().collect())
    }

    /// The state of the next block so far.
    fn next(&mut self, ledger: &impl Ledger) -> &mut State {
        let Self { queue, next, .. } = self;
        next.get_or_insert_with(|| {
            let head = ledger.head();
            let mut state = State::clone(ledger.state());
            state.begin_block(head.height.next(), head.hash, head.time_ms);
            for entry in queue {
                // One that is refused here is refused again when a block is proposed, and answered then.
                let _ = state.transact(&entry.transaction);
            }
            state
        })
    }

    /// Queues `transaction`, or joins the wait for it when it is queued already.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when it is refused or there is no room.
    pub(crate) fn submit(
        &mut self,
        ledger: &impl Ledger,
        transaction: Signed<Transaction>,
    ) -> Result<oneshot::Receiver<Verdict>, SubmitError> {
        if self.closed {
            return Err(SubmitError::Closed);
        }
        let digest = transaction.digest();
        let queued = self.queue.iter().position(|entry| entry.digest == digest);
        let index = match queued {
            Some(index) => index,
            None => self.enter(ledger, digest, transaction)?,
        };
        let waiters = &mut self.queue[index].waiters;
        if waiters.len() >= WAITERS_MAX {
            return Err(SubmitError::Watched);
        }
        let (waiter, verdict) = oneshot::channel();
        waiters.push(waiter);
        Ok(verdict)
    }

    fn enter(
        &mut self,
        ledger: &impl Ledger,
        digest: Digest,
        transaction: Signed<Transaction>,
    ) -> Result<usize, SubmitError> {
        let account = transaction.message().signer();
        let bytes = Block::transaction_len(&transaction);
        if self.queue.len() >= TRANSACTIONS_MAX || self.bytes + bytes > BYTES_MAX {
            return Err(SubmitError::Full);
        }
        if self
            .per_account
            .get(&account)
            .is_some_and(|count| *count >= PER_ACCOUNT_MAX)
        {
            return Err(SubmitError::FullForAccount);
        }
        self.next(ledger).transact(&transaction)?;
        *self.per_account.entry(account).or_default() += 1;
        self.bytes += bytes;
        self.queue.push_back(Entry {
            digest,
            transaction,
            waiters: Vec::new(),
        });
        Ok(self.queue.len() - 1)
    }

    /// The transactions for the next block: the oldest, as many as fit.
    pub(crate) fn batch(&self) -> Vec<Signed<Transaction>> {
        let mut bytes = BLOCK_FRAME_BYTES;
        let fits = |entry: &&Entry| {
            bytes += Block::transaction_len(&entry.transaction);
            bytes <= Block::BYTES_MAX
        };
        let entries = self.queue.iter().take(Block::TRANSACTIONS_MAX).take_while(fits);
        entries.map(|entry| entry.transaction.clone()).collect()
    }

    /// Lets go of what a stored block holds, and tells those who wait.
    pub(crate) fn committed(&mut self, committed: &Committed) {
        self.next = None;
        let verdict = Verdict::Included(committed.height());
        for transaction in committed.transactions() {
            self.remove(&transaction.digest(), &verdict);
        }
    }

    /// Lets go of what a proposer left out because the ledger refuses it, and tells those who wait.
    pub(crate) fn refused(&mut self, refused: &[(Digest, Refusal)]) {
        for (digest, refusal) in refused {
            self.remove(digest, &Verdict::Refused(refusal.view()));
        }
    }

    fn remove(&mut self, digest: &Digest, verdict: &Verdict) {
        // Blocks take from the front, so the position is small.
        let Some(index) = self.queue.iter().position(|entry| entry.digest == *digest) else {
            return;
        };
        let Some(entry) = self.queue.remove(index) else {
            return;
        };
        self.bytes -= Block::transaction_len(&entry.transaction);
        if let Some(count) = self.per_account.get_mut(&entry.account()) {
            *count -= 1;
            if *count == 0 {
                self.per_account.remove(&entry.account());
            }
        }
        entry.answer(verdict);
    }
}
