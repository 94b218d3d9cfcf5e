//! Several nodes, through the BFT engine.

use std::ops::RangeInclusive;

use agon_ledger_committee::{self as committee, Application, Next, Origin};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Block, Equivocation, FinalBlock};
use agon_runtime::{Clock, Shutdown};
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Driver, DriverError};
use crate::blocks::BlocksError;
use crate::chain::CommitError;
use crate::clerk::Clerk;
use crate::desk::{Desk, DeskError};

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
        Ok(committee::run(config, members, shutdown).await?)
    }
}

/// Why the ledger under a committee can go on no longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerFailed {
    /// A block that the committee decided on could not be stored.
    #[error("store block {height}")]
    Commit {
        /// Its height.
        height: BlockNumber,
        /// What failed.
        source: CommitError,
    },
    /// A stored block cannot be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The ledger's thread is gone.
    #[error("the ledger's thread has ended")]
    Gone(#[from] DeskError),
}

/// The ledger's thread, as the engine asks it.
struct Members {
    ledger: Desk<Clerk>,
    clock: Clock,
    evidence: mpsc::Sender<Equivocation>,
}

impl Application for Members {
    type Error = LedgerFailed;

    async fn next(&mut self) -> Result<Next, LedgerFailed> {
        Ok(self.ledger.ask_in_turn(|clerk| clerk.next()).await?)
    }

    async fn propose(&mut self) -> Result<Block, LedgerFailed> {
        let now_ms = self.clock.now_ms();
        Ok(self
            .ledger
            .ask_in_turn(move |clerk| clerk.propose(now_ms))
            .await?)
    }

    async fn check(&mut self, block: &Block, origin: Origin) -> Result<Result<(), String>, LedgerFailed> {
        let now_ms = (origin == Origin::Proposed).then(|| self.clock.now_ms());
        let block = block.clone();
        let checked = self
            .ledger
            .ask_in_turn(move |clerk| clerk.check(&block, now_ms))
            .await?;
        Ok(checked.map_err(|reject| reject.to_string()))
    }

    async fn commit(&mut self, block: FinalBlock) -> Result<Next, LedgerFailed> {
        let height = block.block.header.height;
        let committed = self.ledger.ask_in_turn(move |clerk| clerk.commit(block)).await?;
        committed.map_err(|source| LedgerFailed::Commit { height, source })?;
        self.next().await
    }

    async fn decided(
        &mut self,
        heights: RangeInclusive<BlockNumber>,
    ) -> Result<Vec<FinalBlock>, LedgerFailed> {
        Ok(self
            .ledger
            .ask_in_turn(move |clerk| clerk.decided(heights))
            .await??)
    }

    async fn first_kept(&mut self) -> Result<BlockNumber, LedgerFailed> {
        Ok(self.ledger.ask_in_turn(|clerk| clerk.first_certified()).await??)
    }

    async fn misbehaved(&mut self, evidence: Equivocation) {
        if self.evidence.try_send(evidence).is_err() {
            warn!("too much evidence waits to be reported; this piece is dropped");
        }
    }
}
