//! The ledger as an engine sees it: a head, and blocks that are proposed, checked and committed.
//!
//! [`Ledger`] is the whole boundary between what a block does and which block is next. It is synchronous and knows
//! no engine; a [`Driver`](crate::driver::Driver) decides when to call it.
//!
//! # Invariants
//!
//! - A block is in the block log, synced, before [`Ledger::commit`] returns and before its changes are in the store.
//!   The store follows from the log, so it is flushed now and then only; what it lacks after a crash is applied when
//!   it is opened.
//! - A block holds applied transactions only: one that holds a refused one is no block of this ledger.
//! - The state is never half changed: a block is executed on a copy, and the copy takes the state's place.

use std::sync::Arc;

pub use agon_ledger_replay::follow::{Head, Reject};
use agon_ledger_replay::follow::{check_certificate, extend, input};
use agon_ledger_state::{Applied, Begun, BlockInput, Refusal, State};
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{
    Block, EventView, FinalBlock, Header, Message, Signed, Transaction, TransactionView,
};
use thiserror::Error;

use crate::blocks::{Blocks, BlocksError};
use crate::store::{Store, StoreError};

/// Blocks after which the store is flushed: what a start after a crash has to apply anew, at most.
const STORE_FLUSH_BLOCKS: u64 = 64;

/// A block that could come next, and what had to be left out of it.
#[derive(Debug)]
pub struct Proposal {
    /// The block.
    pub block: Block,
    /// Transactions that the ledger refuses after those before them, by digest.
    pub refused: Vec<(Digest, Refusal)>,
}

/// A block that is stored.
#[derive(Debug)]
pub struct Committed {
    head: Head,
    block: Block,
    begun: Begun,
}

impl Committed {
    /// Its height.
    pub const fn height(&self) -> BlockNumber {
        self.head.height
    }

    /// Its transactions, in order.
    pub fn transactions(&self) -> &[Signed<Transaction>] {
        &self.block.transactions
    }

    /// What it did, as the events stream tells it.
    pub fn event(&self) -> EventView {
        event(&self.block, self.begun.clone())
    }
}

/// What `block` did, given what it did before its transactions.
pub(crate) fn event(block: &Block, Begun { epochs, opened }: Begun) -> EventView {
    EventView {
        height: block.header.height,
        hash: block.hash(),
        time_ms: block.header.time_ms,
        transactions: block.transactions.iter().map(applied_view).collect(),
        epochs,
        opened,
    }
}

fn applied_view(transaction: &Signed<Transaction>) -> TransactionView {
    let message = transaction.message();
    TransactionView {
        digest: transaction.digest(),
        signer: message.signer(),
        call: message.call.name().to_owned(),
        refusal: None,
    }
}

/// Why a block was not committed. After a failure of the disk the node has to be opened again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It cannot come next.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// The block log failed.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The boundary between the ledger and whatever decides which block is next.
pub trait Ledger: Send {
    /// The newest block.
    fn head(&self) -> Head;

    /// The state after the newest block.
    fn state(&self) -> &Arc<State>;

    /// Makes the block that would come next at `now_ms`, of those `transactions` that apply one after the other.
    fn propose(&mut self, transactions: Vec<Signed<Transaction>>, now_ms: u64) -> Proposal;

    /// Whether `block` can come next: a pure verdict.
    ///
    /// # Errors
    ///
    /// [`Reject`] with the rule it breaks.
    fn check(&mut self, block: &Block) -> Result<(), Reject>;

    /// Checks `block` unless that was just done, and stores it durably with what makes it final.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; nothing of the block is to be seen then.
    fn commit(&mut self, block: FinalBlock) -> Result<Committed, CommitError>;

    /// The stored block at `height`, to serve those who lag; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`BlocksError`] when the log cannot be read.
    fn decided(&self, height: BlockNumber) -> Result<Option<FinalBlock>, BlocksError>;
}

/// A block's effect on a copy of the state, kept from the proposal or the check to the commit: it is executed once.
#[derive(Debug)]
struct Executed {
    head: Head,
    state: State,
    begun: Begun,
}

/// The ledger over a state in memory, a block log and a store.
#[derive(Debug)]
pub struct Chain {
    head: Head,
    state: Arc<State>,
    blocks: Arc<Blocks>,
    store: Arc<dyn Store>,
    executed: Option<Executed>,
}

impl Chain {
    /// A chain whose `state` is the one after `head`, which is the newest of `blocks` and of `store`.
    pub(crate) fn new(head: Head, state: State, blocks: Arc<Blocks>, store: Arc<dyn Store>) -> Self {
        Self {
            head,
            state: Arc::new(state),
            blocks,
            store,
            executed: None,
        }
    }

    /// Its blocks, for those who read the past.
    pub(crate) fn blocks(&self) -> Arc<Blocks> {
        Arc::clone(&self.blocks)
    }

    /// Its store, for those who read the past.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Makes the block that ends the time in which this node decides alone, without transactions; `None` when there is
    /// a committee or nobody is ready.
    pub(crate) fn propose_committee(&self, now_ms: u64) -> Option<Block> {
        let time_ms = now_ms.max(self.head.time_ms);
        let mut state = State::clone(&self.state);
        let alone = state.committee().is_empty();
        state.apply(BlockInput {
            forms_committee: true,
            ..input(&self.head, time_ms, &[])
        });
        let block = self.block(time_ms, Vec::new(), &state);
        (alone && !state.committee().is_empty()).then_some(block)
    }

    /// The block that leads from the newest one to `state`.
    fn block(&self, time_ms: u64, transactions: Vec<Signed<Transaction>>, state: &State) -> Block {
        let header = Header {
            height: self.head.height.next(),
            parent: self.head.hash,
            time_ms,
            transactions: Block::transactions_digest(&transactions),
            state_root: state.root(),
            next_committee: state.committee().digest(),
        };
        Block { header, transactions }
    }

    fn execute(&self, block: &Block) -> Result<Executed, Reject> {
        let mut state = State::clone(&self.state);
        let (head, begun) = extend(&self.head, &mut state, block)?;
        Ok(Executed { head, state, begun })
    }

    /// What was executed last, if that was this block.
    fn take_executed(&mut self, block: &Block) -> Option<Executed> {
        let executed = self.executed.take()?;
        // The hash is the header's, so that the transactions have to be the header's as well.
        let same = executed.head.hash == block.hash()
            && block.header.transactions == Block::transactions_digest(&block.transactions);
        same.then_some(executed)
    }
}

impl Ledger for Chain {
    fn head(&self) -> Head {
        self.head
    }

    fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn propose(&mut self, transactions: Vec<Signed<Transaction>>, now_ms: u64) -> Proposal {
        let time_ms = now_ms.max(self.head.time_ms);
        let mut state = State::clone(&self.state);
        let applied = state.apply(input(&self.head, time_ms, &transactions));
        let (transactions, refused) = sift(transactions, &applied);
        // A refused transaction changes nothing, so the state is the same without it.
        let block = self.block(time_ms, transactions, &state);
        self.executed = Some(Executed {
            head: Head {
                height: block.header.height,
                hash: block.hash(),
                time_ms,
                state_root: block.header.state_root,
            },
            state,
            begun: applied.begun,
        });
        Proposal { block, refused }
    }

    fn check(&mut self, block: &Block) -> Result<(), Reject> {
        let executed = match self.take_executed(block) {
            Some(executed) => executed,
            None => self.execute(block)?,
        };
        self.executed = Some(executed);
        Ok(())
    }

    fn commit(&mut self, block: FinalBlock) -> Result<Committed, CommitError> {
        check_certificate(&self.state, &block)?;
        let Executed {
            head,
            mut state,
            begun,
        } = match self.take_executed(&block.block) {
            Some(executed) => executed,
            None => self.execute(&block.block)?,
        };
        let changes = state.take_changes();
        self.blocks.append(&block)?;
        if state.committee() != self.state.committee() {
            self.store.note_committee(&state.committee())?;
        }
        self.store.commit(head, &changes, &begun)?;
        if head.height.0.is_multiple_of(STORE_FLUSH_BLOCKS) {
            self.store.flush()?;
        }
        self.head = head;
        self.state = Arc::new(state);
        let block = block.block;
        Ok(Committed { head, block, begun })
    }

    fn decided(&self, height: BlockNumber) -> Result<Option<FinalBlock>, BlocksError> {
        self.blocks.read(height)
    }
}

/// Parts what applied from what did not.
fn sift(
    transactions: Vec<Signed<Transaction>>,
    applied: &Applied,
) -> (Vec<Signed<Transaction>>, Vec<(Digest, Refusal)>) {
    let mut kept = Vec::with_capacity(transactions.len());
    let mut refused = Vec::new();
    for (transaction, outcome) in transactions.into_iter().zip(&applied.outcomes) {
        match outcome {
            Ok(_) => kept.push(transaction),
            Err(refusal) => refused.push((transaction.digest(), refusal.clone())),
        }
    }
    (kept, refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{genesis, transfer};
    use crate::open;
    use crate::store::MemoryStore;

    fn chain() -> Chain {
        let store = Arc::new(MemoryStore::default());
        open::open_in_memory(&genesis(), Arc::new(Blocks::in_memory()), store).unwrap()
    }

    /// A proposal of one transfer, changed by `change`, is rejected by the rule that `expected` matches.
    #[track_caller]
    fn check_rejected(change: impl FnOnce(&mut Block), expected: impl FnOnce(&Reject) -> bool) {
        let mut chain = chain();
        let mut block = chain.propose(vec![transfer(1, 0, 2, 5)], 2_000).block;
        change(&mut block);
        let reject = chain.check(&block).unwrap_err();
        assert!(expected(&reject), "{reject}");
        assert!(matches!(
            chain.commit(FinalBlock::solo(block)),
            Err(CommitError::Reject(_))
        ));
        assert_eq!(chain.head().height, BlockNumber(0));
    }

    #[test]
    fn a_proposal_is_accepted_and_stored() {
        let mut chain = chain();
        let Proposal { block, refused } =
            chain.propose(vec![transfer(1, 0, 2, 5), transfer(1, 0, 2, 6)], 2_000);
        assert_eq!((block.transactions.len(), refused.len()), (1, 1));
        chain.check(&block).unwrap();
        let committed = chain.commit(FinalBlock::solo(block.clone())).unwrap();
        assert_eq!(
            (committed.height(), chain.head().hash),
            (BlockNumber(1), block.hash())
        );
        assert_eq!(
            chain.decided(BlockNumber(1)).unwrap(),
            Some(FinalBlock::solo(block))
        );
        assert_eq!(chain.decided(BlockNumber(2)).unwrap(), None);
    }

    #[test]
    fn a_block_that_breaks_a_rule_is_rejected() {
        check_rejected(
            |block| block.header.height = BlockNumber(2),
            |it| matches!(it, Reject::Height { .. }),
        );
        check_rejected(
            |block| block.header.parent = Digest([7; 32]),
            |it| matches!(it, Reject::Parent { .. }),
        );
        check_rejected(
            |block| block.header.time_ms = 999,
            |it| matches!(it, Reject::Time { .. }),
        );
        check_rejected(
            |block| block.header.state_root = Digest([7; 32]),
            |it| matches!(it, Reject::StateRoot { .. }),
        );
        check_rejected(
            |block| block.header.next_committee = Digest([7; 32]),
            |it| matches!(it, Reject::NextCommittee { .. }),
        );
        check_rejected(
            |block| block.transactions.clear(),
            |it| matches!(it, Reject::Transactions { .. }),
        );
        check_rejected(
            |block| {
                block.transactions.push(transfer(1, 7, 2, 5));
                block.header.transactions = Block::transactions_digest(&block.transactions);
            },
            |it| matches!(it, Reject::Refused { .. }),
        );
    }

    #[test]
    fn a_block_is_never_before_its_parent() {
        let mut chain = chain();
        for (now_ms, time_ms) in [(5_000, 5_000), (3_000, 5_000), (5_001, 5_001)] {
            let block = chain.propose(Vec::new(), now_ms).block;
            assert_eq!(block.header.time_ms, time_ms);
            chain.commit(FinalBlock::solo(block)).unwrap();
        }
    }
}
