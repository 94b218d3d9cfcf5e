//! From one node that decides alone to a committee: the last block that needs no certificate.
//!
//! Whoever keeps the ledger alone lets others join it by transactions, stops the node, and makes one more block,
//! whose header names the committee of all that are ready. From the next block on the committee decides. Heights,
//! state and history stay as they are.

use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Committee, FinalBlock};
use agon_runtime::Clock;
use agon_runtime::files::{self, LockError};
use thiserror::Error;

use crate::chain::{CommitError, Ledger};
use crate::folder::{Folder, FolderError};
use crate::open::{self, OpenError};

/// What a promotion did.
#[derive(Clone, Debug)]
pub struct Promoted {
    /// Height of the block that formed the committee.
    pub height: BlockNumber,
    /// Its hash: what a new node trusts.
    pub hash: Digest,
    /// The committee that makes the next block final.
    pub committee: Committee,
}

/// Why a ledger was not promoted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PromoteError {
    /// There is no ledger, or its genesis cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A node runs on the folder.
    #[error("only the folder of a stopped node can be promoted")]
    Lock(#[from] LockError),
    /// The ledger cannot be opened.
    #[error("open the ledger")]
    Open(#[from] OpenError),
    /// There is a committee already.
    #[error("the ledger has a committee of {members} already: run its nodes")]
    Committee {
        /// Members in force.
        members: usize,
    },
    /// Nobody could be a member.
    #[error(
        "nobody is ready at block {height}: candidates join with `agon committee join` and show that they are ready \
         with `agon committee ready`, not long before the promotion"
    )]
    NobodyReady {
        /// The newest block.
        height: BlockNumber,
    },
    /// The block could not be stored.
    #[error("store the block that forms the committee")]
    Commit(#[from] CommitError),
}

/// Forms the committee of the ledger in `folder`, whose node is stopped.
///
/// # Errors
///
/// [`PromoteError`]; the ledger is as it was.
pub fn promote(folder: &Folder, clock: &Clock) -> Result<Promoted, PromoteError> {
    let genesis = folder.read_genesis()?;
    let _lock = files::lock_dir(folder.dir())?;
    let mut chain = open::open(folder, &genesis)?;
    let members = chain.state().committee().members().len();
    if members > 0 {
        return Err(PromoteError::Committee { members });
    }
    let height = chain.head().height;
    let block = chain
        .propose_committee(clock.now_ms())
        .ok_or(PromoteError::NobodyReady { height })?;
    chain.commit(FinalBlock::solo(block))?;
    let head = chain.head();
    Ok(Promoted {
        height: head.height,
        hash: head.hash,
        committee: chain.state().committee(),
    })
}
