//! Transactions that wait for a block, in the order they came.
//!
//! One that the ledger would refuse after those that wait already never gets in, so an account may queue several
//! with nonces in a row. What is known of the next block is what waits for it: that state is begun once per block
//! and every queued transaction is applied to it. A transaction may still be refused when its block is proposed, if
//! it takes more than one block to get there. Whoever waits for a transaction is told either way.

use std::collections::BTreeMap;

use agon_ledger_state::{Checked, Refusal, State};
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
    /// By number of arrival.
    queue: BTreeMap<u64, Entry>,
    /// The numbers by digest.
    numbers: BTreeMap<Digest, u64>,
    /// Number of the next one that arrives.
    next_number: u64,
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

    /// Whether `transaction` waits.
    pub(crate) fn has(&self, transaction: &Signed<Transaction>) -> bool {
        self.numbers.contains_key(&transaction.digest())
    }

    /// Tells transactions of a block whose signatures hold, as far as they wait here: each was checked on its way in.
    pub(crate) fn vouch_for(&self, transactions: &[Signed<Transaction>]) {
        for transaction in transactions {
            let number = self.numbers.get(&transaction.digest());
            if let Some(entry) = number.and_then(|number| self.queue.get(number)) {
                transaction.learn_from(&entry.transaction);
            }
        }
    }

    /// The transactions that wait longest, `count` at most.
    pub(crate) fn oldest(&self, count: usize) -> impl Iterator<Item = &Signed<Transaction>> {
        self.queue.values().take(count).map(|entry| &entry.transaction)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// What the ledger would say to `transaction` after those that wait: what it does and costs, or the refusal that
    /// [`submit`](Self::submit) would give.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) fn dry_run(
        &mut self,
        ledger: &impl Ledger,
        transaction: &Signed<Transaction>,
    ) -> Result<Checked, Refusal> {
        let after_those = self.next(ledger).clone().transact(transaction)?;
        // Seen from the newest block unless what waits matters.
        Ok(ledger.state().check(transaction).unwrap_or(after_those))
    }

    /// The state of the next block so far.
    fn next(&mut self, ledger: &impl Ledger) -> &mut State {
        let Self { queue, next, .. } = self;
        next.get_or_insert_with(|| {
            let mut state = begun(ledger);
            for entry in queue.values() {
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
        let number = match self.numbers.get(&digest) {
            Some(number) => *number,
            None => self.enter(ledger, digest, transaction)?,
        };
        let entry = self.queue.get_mut(&number).ok_or(SubmitError::Closed)?;
        let waiters = &mut entry.waiters;
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
    ) -> Result<u64, SubmitError> {
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
        let number = self.next_number;
        self.next_number += 1;
        self.numbers.insert(digest, number);
        let entry = Entry {
            digest,
            transaction,
            waiters: Vec::new(),
        };
        self.queue.insert(number, entry);
        Ok(number)
    }

    /// The transactions for the next block: the oldest, as many as fit.
    pub(crate) fn batch(&self) -> Vec<Signed<Transaction>> {
        let mut bytes = BLOCK_FRAME_BYTES;
        let fits = |entry: &&Entry| {
            bytes += Block::transaction_len(&entry.transaction);
            bytes <= Block::BYTES_MAX
        };
        let entries = self.queue.values().take(Block::TRANSACTIONS_MAX).take_while(fits);
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

    /// Lets go of what the next block could not take any more after the newest one, and tells those who wait: another
    /// node may have made a block that stands against it.
    pub(crate) fn sweep(&mut self, ledger: &impl Ledger) -> Vec<(Digest, Refusal)> {
        if self.queue.is_empty() {
            return Vec::new();
        }
        let mut state = begun(ledger);
        let refused: Vec<(Digest, Refusal)> = self
            .queue
            .values()
            .filter_map(|entry| {
                let refusal = state.transact(&entry.transaction).err()?;
                Some((entry.digest, refusal))
            })
            .collect();
        self.next = Some(state);
        self.refused(&refused);
        refused
    }

    /// Lets go of what a proposer left out because the ledger refuses it, and tells those who wait.
    pub(crate) fn refused(&mut self, refused: &[(Digest, Refusal)]) {
        for (digest, refusal) in refused {
            self.remove(digest, &Verdict::Refused(refusal.view()));
        }
    }

    fn remove(&mut self, digest: &Digest, verdict: &Verdict) {
        let number = self.numbers.remove(digest);
        let Some(entry) = number.and_then(|number| self.queue.remove(&number)) else {
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

/// The state of the next block before any transaction.
fn begun(ledger: &impl Ledger) -> State {
    let head = ledger.head();
    let mut state = State::clone(ledger.state());
    state.begin_block(head.height.next(), head.hash, head.time_ms);
    state
}

#[cfg(test)]
mod tests {
    use agon_protocol::message::Call;

    use super::*;
    use crate::clerk::Clerk;
    use crate::fixture::{FUNDS_UNITS, call, clerk, coldkey, pair, transfer};

    /// Submits and expects a place in the queue.
    #[track_caller]
    fn queue(clerk: &mut Clerk, transaction: Signed<Transaction>) -> oneshot::Receiver<Verdict> {
        clerk.submit(transaction).unwrap()
    }

    #[track_caller]
    fn check_included(verdict: &mut oneshot::Receiver<Verdict>, height: u64) {
        assert_eq!(verdict.try_recv(), Ok(Verdict::Included(BlockNumber(height))));
    }

    #[test]
    fn an_account_may_queue_several_with_nonces_in_a_row() {
        let mut clerk = clerk();
        let mut verdicts: Vec<_> = (0..5)
            .map(|nonce| queue(&mut clerk, transfer(1, nonce, 2, 1)))
            .collect();
        assert!(
            verdicts.iter_mut().all(|verdict| verdict.try_recv().is_err()),
            "answered before the block"
        );
        clerk.produce(2_000).unwrap();
        for verdict in &mut verdicts {
            check_included(verdict, 1);
        }
    }

    #[test]
    fn what_the_queue_would_spend_is_seen_before_the_block() {
        let mut clerk = clerk();
        let _first = queue(&mut clerk, transfer(1, 0, 9, FUNDS_UNITS - 1));
        let short = clerk.submit(transfer(1, 1, 9, 2)).unwrap_err();
        let SubmitError::Refused(refusal) = short else {
            panic!("{short}")
        };
        assert_eq!(refusal.rule(), "balance");
        // What one receives in the queue it may spend in the queue.
        let _second = queue(&mut clerk, transfer(9, 0, 1, 5));
    }

    #[test]
    fn a_dry_run_says_what_a_submission_would() {
        let mut clerk = clerk();
        let _queued = queue(&mut clerk, transfer(1, 0, 2, 1));
        for transaction in [
            transfer(1, 0, 2, 2),
            transfer(1, 2, 2, 1),
            transfer(3, 0, 2, FUNDS_UNITS + 1),
        ] {
            let dry = clerk.dry_run(&transaction).unwrap_err();
            let wet = clerk.submit(transaction).unwrap_err();
            assert_eq!(wet.to_string(), dry.to_string());
        }
        let checked = clerk.dry_run(&transfer(1, 1, 2, 3)).unwrap();
        let expected = format!("moves 3 from {} to {}", coldkey(1), coldkey(2));
        assert_eq!(checked.effect.to_string(), expected);
        assert_eq!((checked.fee.base_units(), checked.payer), (178_000, coldkey(1)));
        let _not_taken_by_the_dry_run = queue(&mut clerk, transfer(1, 1, 2, 3));
    }

    #[test]
    fn an_account_has_a_bounded_part_of_the_queue() {
        let mut clerk = clerk();
        let queued: Vec<_> = (0..PER_ACCOUNT_MAX as u64)
            .map(|nonce| {
                queue(
                    &mut clerk,
                    call(
                        1,
                        nonce,
                        Call::Transfer {
                            to: coldkey(2),
                            amount: one(),
                        },
                    ),
                )
            })
            .collect();
        let refused = clerk
            .submit(transfer(1, PER_ACCOUNT_MAX as u64, 2, 1))
            .unwrap_err();
        assert!(matches!(refused, SubmitError::FullForAccount), "{refused}");
        let _other_account = queue(&mut clerk, transfer(2, 0, 1, 1));
        clerk.produce(2_000).unwrap();
        let _again = queue(&mut clerk, transfer(1, PER_ACCOUNT_MAX as u64, 2, 1));
        assert_eq!(queued.len(), PER_ACCOUNT_MAX);
    }

    fn one() -> agon_protocol::amount::Amount {
        agon_protocol::amount::Amount::from_base_units(1)
    }

    #[test]
    fn the_queue_is_bounded_and_empties_block_by_block() {
        let mut clerk = clerk();
        // Fund enough accounts that no one's bound is met first.
        let accounts: Vec<u8> = (10..=10 + (TRANSACTIONS_MAX / PER_ACCOUNT_MAX) as u8).collect();
        let fund = |(nonce, account): (usize, &u8)| transfer(1, nonce as u64, *account, 1);
        for batch in accounts
            .iter()
            .enumerate()
            .collect::<Vec<_>>()
            .chunks(PER_ACCOUNT_MAX)
        {
            let funded: Vec<_> = batch.iter().map(|item| queue(&mut clerk, fund(*item))).collect();
            clerk.produce(2_000).unwrap();
            assert_eq!(funded.len(), batch.len());
        }
        let flood = |account: &u8, nonce| {
            call(
                *account,
                nonce,
                Call::Transfer {
                    to: coldkey(1),
                    amount: one(),
                },
            )
        };
        let mut wishes = accounts
            .iter()
            .flat_map(|account| (0..PER_ACCOUNT_MAX as u64).map(|nonce| flood(account, nonce)));
        let mut verdicts: Vec<_> = wishes
            .by_ref()
            .take(TRANSACTIONS_MAX)
            .map(|wish| queue(&mut clerk, wish))
            .collect();
        let refused = clerk.submit(wishes.next().unwrap()).unwrap_err();
        assert!(matches!(refused, SubmitError::Full), "{refused}");

        for round in 0..TRANSACTIONS_MAX / Block::TRANSACTIONS_MAX {
            clerk.produce(3_000).unwrap();
            let answered: usize = verdicts
                .iter_mut()
                .map(|verdict| usize::from(verdict.try_recv().is_ok()))
                .sum();
            assert_eq!(answered, Block::TRANSACTIONS_MAX, "round {round}");
        }
    }

    #[test]
    fn the_same_transaction_twice_is_one_with_two_who_wait() {
        let mut clerk = clerk();
        let mut verdicts: Vec<_> = (0..WAITERS_MAX)
            .map(|_| queue(&mut clerk, transfer(1, 0, 2, 1)))
            .collect();
        let refused = clerk.submit(transfer(1, 0, 2, 1)).unwrap_err();
        assert!(matches!(refused, SubmitError::Watched), "{refused}");
        clerk.produce(2_000).unwrap();
        for verdict in &mut verdicts {
            check_included(verdict, 1);
        }
        let late = clerk.submit(transfer(1, 0, 2, 1)).unwrap_err();
        assert!(late.to_string().contains("nonce 0 was used before"), "{late}");
    }

    #[test]
    fn a_forged_signature_never_gets_in() {
        let mut clerk = clerk();
        let honest = transfer(1, 0, 2, 1);
        let signature = pair(2).sign(agon_protocol::sign::Purpose::Transaction, honest.bytes());
        let forged = Signed::from_parts(honest.bytes().to_vec(), signature).unwrap();
        let refused = clerk.submit(forged).unwrap_err();
        let SubmitError::Refused(refusal) = refused else {
            panic!("{refused}")
        };
        assert_eq!(refusal.rule(), "signature");
    }

    #[test]
    fn a_closed_queue_lets_everybody_go() {
        let mut clerk = clerk();
        let mut verdict = queue(&mut clerk, transfer(1, 0, 2, 1));
        clerk.close();
        assert_eq!(verdict.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(matches!(
            clerk.submit(transfer(1, 0, 2, 1)),
            Err(SubmitError::Closed)
        ));
    }
}
