//! What a block has to be to come next, and what the state is after it: the rules that a node, a replay and an
//! audit share.
//!
//! A block follows a [`Head`] when its header names that head's hash and the next height, its time is not before,
//! all of its transactions apply, and the state after it has the root that the header claims. Where the state names
//! a committee, a certificate of that committee makes the block final.

use agon_ledger_state::{Applied, Begun, BlockInput, GenesisError, Refusal, State};
use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Block, CertificateError, FinalBlock, Genesis, Header, Signed, Transaction};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;
use thiserror::Error;

/// The newest block of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Head {
    /// Its height; 0 is the genesis.
    pub height: BlockNumber,
    /// Its hash, or the digest of the genesis.
    pub hash: Digest,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Root of the state after it.
    pub state_root: Digest,
}

/// Why a block cannot come next.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Reject {
    /// It does not have the next height.
    #[error("the block has height {found}, the next one is {expected}")]
    Height {
        /// Its height.
        found: BlockNumber,
        /// The next height.
        expected: BlockNumber,
    },
    /// It follows another block.
    #[error("block {height} follows {found}, the newest block is {expected}")]
    Parent {
        /// Its height.
        height: BlockNumber,
        /// The parent it names.
        found: Digest,
        /// The newest block.
        expected: Digest,
    },
    /// Its time is before its parent's.
    #[error("block {height} is of {found_ms} ms, before its parent's {parent_ms} ms")]
    Time {
        /// Its height.
        height: BlockNumber,
        /// Its time.
        found_ms: u64,
        /// Its parent's time.
        parent_ms: u64,
    },
    /// Its time is too far in the future.
    #[error("block {height} is of {found_ms} ms, too far ahead of this node's clock at {now_ms} ms")]
    Ahead {
        /// Its height.
        height: BlockNumber,
        /// Its time.
        found_ms: u64,
        /// This node's time.
        now_ms: u64,
    },
    /// More transactions than a block may have.
    #[error("block {height} has {found} transactions, {bound} at most")]
    TooManyTransactions {
        /// Its height.
        height: BlockNumber,
        /// How many it has.
        found: usize,
        /// How many it may have.
        bound: usize,
    },
    /// More bytes than a block may have.
    #[error("block {height} has {found} bytes, {bound} at most")]
    TooLong {
        /// Its height.
        height: BlockNumber,
        /// How many it has.
        found: usize,
        /// How many it may have.
        bound: usize,
    },
    /// The header names other transactions.
    #[error("the header of block {height} names transactions {found}, those with it are {expected}")]
    Transactions {
        /// Its height.
        height: BlockNumber,
        /// What the header says.
        found: Digest,
        /// What it has to say.
        expected: Digest,
    },
    /// It holds a transaction that the ledger refuses.
    #[error("block {height} holds transaction {digest}, which is refused: {refusal}")]
    Refused {
        /// Its height.
        height: BlockNumber,
        /// The transaction.
        digest: Digest,
        /// Why.
        refusal: Box<Refusal>,
    },
    /// Its header has another state root.
    #[error("block {height} claims state root {found}, it leads to {expected}")]
    StateRoot {
        /// Its height.
        height: BlockNumber,
        /// What the header says.
        found: Digest,
        /// What the state says.
        expected: Digest,
    },
    /// Its header names another committee for the block after it.
    #[error("block {height} names the committee {found} for the next block, it is {expected}")]
    NextCommittee {
        /// Its height.
        height: BlockNumber,
        /// What the header says.
        found: Digest,
        /// What the state says.
        expected: Digest,
    },
    /// It has no certificate, and the ledger has a committee.
    #[error("block {height} has no certificate, and the committee of this ledger did not make it final")]
    Uncertified {
        /// Its height.
        height: BlockNumber,
    },
    /// It has a certificate, and the ledger has no committee.
    #[error("block {height} has a certificate, and no committee decides on it")]
    NoCommittee {
        /// Its height.
        height: BlockNumber,
    },
    /// Its certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A ledger after one of its blocks.
#[derive(Clone, Debug)]
pub struct Position {
    /// The block.
    pub head: Head,
    /// The state after it.
    pub state: State,
}

impl Position {
    /// The ledger before its first block.
    ///
    /// # Errors
    ///
    /// [`GenesisError`] when the genesis breaks a rule.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        let state = State::genesis(genesis)?;
        let head = Head {
            height: BlockNumber(0),
            hash: genesis.digest(),
            time_ms: genesis.time_ms,
            state_root: state.root(),
        };
        Ok(Self { head, state })
    }

    /// Goes on by a block that somebody else made final; gives what it did before
    /// its transactions.
    ///
    /// # Errors
    ///
    /// [`Reject`] with the rule the block breaks; the position is then of no further use.
    pub fn follow(&mut self, block: &FinalBlock) -> Result<Begun, Reject> {
        check_certificate(&self.state, block)?;
        self.extend(&block.block)
    }

    /// [`follow`](Self::follow) without the check of the certificate.
    ///
    /// # Errors
    ///
    /// As [`follow`](Self::follow).
    pub fn extend(&mut self, block: &Block) -> Result<Begun, Reject> {
        let (head, begun) = extend(&self.head, &mut self.state, block)?;
        self.head = head;
        Ok(begun)
    }
}

/// Power that signed a block, of all the power there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Power {
    /// Power of the members that signed.
    pub signed: u64,
    /// Power of the whole committee.
    pub total: u64,
}

/// Whether the committee that `state` names for the next block made `block` final; gives the power that signed,
/// `None` where one node decides alone.
///
/// # Errors
///
/// [`Reject::Uncertified`], [`Reject::NoCommittee`], [`Reject::Certificate`].
pub fn check_certificate(state: &State, block: &FinalBlock) -> Result<Option<Power>, Reject> {
    let FinalBlock { block, certificate } = block;
    let (committee, height) = (state.committee(), block.header.height);
    match certificate {
        None if committee.is_empty() => Ok(None),
        None => Err(Reject::Uncertified { height }),
        Some(_) if committee.is_empty() => Err(Reject::NoCommittee { height }),
        Some(certificate) => {
            let signed = certificate.verify(state.genesis_digest(), &committee, height, block.hash())?;
            Ok(Some(Power {
                signed,
                total: committee.power(),
            }))
        }
    }
}

/// Applies `block` to the `state` after `head`, with every check but that of its certificate; gives the head after
/// it and what it did before its transactions.
///
/// # Errors
///
/// [`Reject`] with the rule the block breaks; `state` is then of no further use.
pub fn extend(head: &Head, state: &mut State, block: &Block) -> Result<(Head, Begun), Reject> {
    check_header(head, block)?;
    check_limits(block)?;
    Signed::check_signatures(&block.transactions);
    let applied = state.apply(input_of(head, state, block));
    refuse_refused(block, &applied)?;
    let Header {
        height,
        time_ms,
        state_root,
        ..
    } = block.header;
    let expected = state.root();
    if state_root != expected {
        return Err(Reject::StateRoot {
            height,
            found: state_root,
            expected,
        });
    }
    let (found, expected) = (block.header.next_committee, state.committee().digest());
    if found != expected {
        return Err(Reject::NextCommittee {
            height,
            found,
            expected,
        });
    }
    let next = Head {
        height,
        hash: block.hash(),
        time_ms,
        state_root,
    };
    Ok((next, applied.begun))
}

fn check_header(head: &Head, block: &Block) -> Result<(), Reject> {
    let Header {
        height,
        parent,
        time_ms,
        ..
    } = block.header;
    if height != head.height.next() {
        return Err(Reject::Height {
            found: height,
            expected: head.height.next(),
        });
    }
    if parent != head.hash {
        return Err(Reject::Parent {
            height,
            found: parent,
            expected: head.hash,
        });
    }
    if time_ms < head.time_ms {
        return Err(Reject::Time {
            height,
            found_ms: time_ms,
            parent_ms: head.time_ms,
        });
    }
    let expected = Block::transactions_digest(&block.transactions);
    if block.header.transactions != expected {
        return Err(Reject::Transactions {
            height,
            found: block.header.transactions,
            expected,
        });
    }
    Ok(())
}

fn check_limits(block: &Block) -> Result<(), Reject> {
    let height = block.header.height;
    let (found, bound) = (block.transactions.len(), Block::TRANSACTIONS_MAX);
    if found > bound {
        return Err(Reject::TooManyTransactions { height, found, bound });
    }
    let (found, bound) = (codec::encode(block).len(), Block::BYTES_MAX);
    if found > bound {
        return Err(Reject::TooLong { height, found, bound });
    }
    Ok(())
}

fn refuse_refused(block: &Block, applied: &Applied) -> Result<(), Reject> {
    for (transaction, outcome) in block.transactions.iter().zip(&applied.outcomes) {
        if let Err(refusal) = outcome {
            let (height, digest) = (block.header.height, transaction.digest());
            return Err(Reject::Refused {
                height,
                digest,
                refusal: Box::new(refusal.clone()),
            });
        }
    }
    Ok(())
}

/// What the state is told of `block`, which follows `head`. Where one node decides alone, a header that names a
/// committee forms it.
#[must_use]
pub fn input_of<'a>(head: &Head, state: &State, block: &'a Block) -> BlockInput<'a> {
    let forms_committee = state.committee().is_empty() && block.header.next_committee != Digest::default();
    BlockInput {
        forms_committee,
        ..input(head, block.header.time_ms, &block.transactions)
    }
}

/// What the state is told of the block that follows `head`.
#[must_use]
pub const fn input<'a>(head: &Head, time_ms: u64, transactions: &'a [Signed<Transaction>]) -> BlockInput<'a> {
    BlockInput {
        height: head.height.next(),
        parent: head.hash,
        time_ms,
        forms_committee: false,
        transactions,
    }
}
