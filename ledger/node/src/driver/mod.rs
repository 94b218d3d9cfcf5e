//! Who decides which block is next, and when.
//!
//! A [`Driver`] brings blocks to the ledger; what they do is none of its business. [`Solo`] makes them alone, on a
//! timer. [`Committee`] agrees on them with other nodes, over the very same calls.

mod committee;
mod solo;

use agon_ledger_committee::CommitteeError;
use agon_runtime::Shutdown;
use thiserror::Error;

pub use self::committee::Committee;
pub use self::solo::Solo;
use crate::clerk::{Clerk, ProduceError};
use crate::desk::{Desk, DeskError};

/// Why there are no more blocks.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DriverError {
    /// A block could not be made or stored.
    #[error("make the next block")]
    Produce(#[from] ProduceError),
    /// The committee's engine has ended, or the ledger under it.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// The ledger's thread is gone.
    #[error("the ledger's thread has ended")]
    Gone(#[from] DeskError),
}

/// Brings blocks to a ledger until it is asked to end; a block that was begun is finished.
pub trait Driver: Send {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    ///
    /// [`DriverError`] when the ledger can take no more blocks.
    fn run(
        self,
        ledger: Desk<Clerk>,
        shutdown: Shutdown,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;
}
