//! Why the past is not told.

use std::ops::RangeInclusive;

use agon_ledger_replay::export::ExportError;
use agon_ledger_state::RowError;
use agon_protocol::id::{BlockNumber, Netuid};
use thiserror::Error;

use crate::blocks::BlocksError;
use crate::chain;
use crate::snapshot::BaseError;
use crate::store::StoreError;

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
    /// A row is too long to be proven.
    #[error(transparent)]
    Row(#[from] RowError),
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
