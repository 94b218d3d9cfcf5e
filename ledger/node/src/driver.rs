//! Who decides which block is next, and when.
//!
//! A [`Driver`] brings blocks to the ledger; what they do is none of its business. [`Solo`] makes them alone, on a
//! timer. A committee takes its place with a driver of its own, over the very same calls.

use std::time::Duration;

use agon_runtime::{Clock, Shutdown};
use thiserror::Error;
use tokio::time::MissedTickBehavior;

use crate::clerk::{Clerk, ProduceError};
use crate::desk::{Desk, DeskError};

/// Why there are no more blocks.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DriverError {
    /// A block could not be made or stored.
    #[error("make the next block")]
    Produce(#[from] ProduceError),
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

/// One node alone: timer, propose, check, commit.
#[derive(Clone, Debug)]
pub struct Solo {
    /// Time between blocks.
    pub block_time: Duration,
    /// What time blocks are given.
    pub clock: Clock,
}

impl Driver for Solo {
    async fn run(self, ledger: Desk<Clerk>, shutdown: Shutdown) -> Result<(), DriverError> {
        let mut ticks = tokio::time::interval(self.block_time);
        // A late block moves those behind it: there is nothing to catch up with.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut requested = std::pin::pin!(shutdown.requested());
        loop {
            tokio::select! {
                biased;
                () = &mut requested => break,
                _ = ticks.tick() => {}
            }
            let now_ms = self.clock.now_ms();
            ledger.ask_in_turn(move |clerk| clerk.produce(now_ms)).await??;
        }
        Ok(())
    }
}
