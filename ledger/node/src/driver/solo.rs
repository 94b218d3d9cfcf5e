//! One node alone.

use std::time::Duration;

use agon_runtime::{Clock, Shutdown};
use tokio::time::MissedTickBehavior;

use super::{Driver, DriverError};
use crate::clerk::Clerk;
use crate::desk::Desk;

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
