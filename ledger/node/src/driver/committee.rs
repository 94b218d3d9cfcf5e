//! Several nodes, through the BFT engine.

use std::ops::RangeInclusive;
use std::time::Duration;

use agon_ledger_committee::{self as committee, Application, LedgerError, Next, Origin};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Block, Equivocation, FinalBlock, Header};
use agon_runtime::{Clock, Shutdown};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Driver, DriverError};
use crate::clerk::{Clerk, ProduceError};
use crate::desk::Desk;
use crate::metrics;

/// A node of a committee: votes when its key is a member's, follows in any case.
#[derive(Debug)]
pub struct Committee {
    /// What it is to its peers.
    pub config: committee::Config,
    /// What time blocks are given, and checked against.
    pub clock: Clock,
    /// Who is told of members that said two things in one round.
    pub evidence: mpsc::Sender<Equivocation>,
}

impl Driver for Committee {
    async fn run(self, ledger: Desk<Clerk>, shutdown: Shutdown) -> Result<(), DriverError> {
        let Self {
            config,
            clock,
            evidence,
        } = self;
        let members = Members {
            ledger,
            clock,
            evidence,
        };
        Ok(committee::run(config, Box::new(members), shutdown).await?)
    }
}

/// The ledger's thread, as the engine asks it.
struct Members {
    ledger: Desk<Clerk>,
    clock: Clock,
    evidence: mpsc::Sender<Equivocation>,
}

#[async_trait]
impl Application for Members {
    async fn next(&mut self) -> Result<Next, LedgerError> {
        Ok(self.ledger.ask_in_turn(|clerk| clerk.next()).await?)
    }

    async fn propose(&mut self) -> Result<Block, LedgerError> {
        let now_ms = self.clock.now_ms();
        Ok(self
            .ledger
            .ask_in_turn(move |clerk| clerk.propose(now_ms))
            .await?)
    }

    async fn check(&mut self, block: &Block, origin: Origin) -> Result<Result<(), String>, LedgerError> {
        let now_ms = (origin == Origin::Proposed).then(|| self.clock.now_ms());
        let block = block.clone();
        let check = move |clerk: &mut Clerk| clerk.check(&block, now_ms);
        let checked = self.ledger.ask_in_turn(check).await?;
        Ok(checked.map_err(|reject| reject.to_string()))
    }

    async fn commit(&mut self, block: FinalBlock) -> Result<Next, LedgerError> {
        let Header { height, time_ms, .. } = block.block.header;
        let commit = move |clerk: &mut Clerk| clerk.commit(block).map(|()| clerk.next());
        let committed = self.ledger.ask_in_turn(commit).await?;
        // By the proposer's clock, which may be ahead of this one.
        let elapsed_ms = self.clock.now_ms().saturating_sub(time_ms);
        metrics::final_after(Duration::from_millis(elapsed_ms));
        Ok(committed.map_err(|source| ProduceError::Commit { height, source })?)
    }

    async fn decided(
        &mut self,
        heights: RangeInclusive<BlockNumber>,
    ) -> Result<Vec<FinalBlock>, LedgerError> {
        Ok(self
            .ledger
            .ask_in_turn(move |clerk| clerk.decided(heights))
            .await??)
    }

    async fn first_kept(&mut self) -> Result<BlockNumber, LedgerError> {
        Ok(self.ledger.ask_in_turn(Clerk::first_certified).await??)
    }

    async fn misbehaved(&mut self, evidence: Equivocation) {
        if self.evidence.try_send(evidence).is_err() {
            warn!("too much evidence waits to be written down; this piece is dropped");
        }
    }
}
