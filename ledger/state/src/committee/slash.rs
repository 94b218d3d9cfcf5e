//! What a member loses that contradicts itself.
//!
//! Two signed votes of one consensus key for one height, round and kind, for different blocks, cost a share of the
//! bond. A part of that goes to whoever reports it, the rest is burned. The member leaves the committee with the
//! next era, what is left of its bond comes back after the usual delay, and the key never votes again: so the same
//! offence, and any other of that key, is punished once.
//!
//! Votes count for as long as a bond is locked after them.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, ConsensusKey, Hotkey};
use agon_protocol::message::{Equivocation, NoEquivocation};
use thiserror::Error;

use super::KeyUse;
use crate::State;
use crate::parameters::NetworkParameterId;
use crate::supply::minus;

/// Why a report is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportEquivocationRefusal {
    /// It proves nothing.
    #[error("{0}: report two votes of one member that exclude each other")]
    Evidence(NoEquivocation),
    /// Nobody votes with this key.
    #[error("the consensus key {voter} is no candidate's: there is no bond to slash")]
    Unknown {
        /// The key.
        voter: ConsensusKey,
    },
    /// It was punished.
    #[error("the consensus key {voter} was slashed before: a key is punished once")]
    Slashed {
        /// The key.
        voter: ConsensusKey,
    },
    /// Too long ago.
    #[error("the votes are of block {height}: report those of block {oldest} or later")]
    Old {
        /// The block that was voted on.
        height: BlockNumber,
        /// The oldest that counts.
        oldest: BlockNumber,
    },
}

impl ReportEquivocationRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Evidence(_) => "evidence",
            Self::Unknown { .. } => "voter",
            Self::Slashed { .. } => "slashed",
            Self::Old { .. } => "evidence age",
        }
    }
}

/// An accepted report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slash {
    /// The key that contradicted itself.
    pub voter: ConsensusKey,
    /// Whose it is.
    pub hotkey: Hotkey,
    /// Who reported it.
    pub reporter: Coldkey,
    /// What the reporter gets.
    pub reward: Amount,
    /// What is burned.
    pub burned: Amount,
    /// The block of the report.
    pub height: BlockNumber,
}

impl fmt::Display for Slash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "takes {} of the bond of {} for its reporter, burns {}, and ends its place in the committee",
            self.reward, self.hotkey, self.burned
        )
    }
}

impl State {
    pub(crate) fn check_report_equivocation(
        &self,
        reporter: Coldkey,
        evidence: &Equivocation,
        now: BlockNumber,
    ) -> Result<Slash, ReportEquivocationRefusal> {
        let voter = evidence
            .verify(self.genesis_digest())
            .map_err(ReportEquivocationRefusal::Evidence)?;
        let hotkey = match self.table.read(&voter) {
            Some(KeyUse::By(hotkey)) => hotkey,
            Some(KeyUse::Slashed) => return Err(ReportEquivocationRefusal::Slashed { voter }),
            None => return Err(ReportEquivocationRefusal::Unknown { voter }),
        };
        let delay_blocks = self.network(NetworkParameterId::CommitteeUnbondingBlocks);
        let (height, oldest) = (
            evidence.first.message().height,
            BlockNumber(now.0.saturating_sub(delay_blocks)),
        );
        if height < oldest {
            return Err(ReportEquivocationRefusal::Old { height, oldest });
        }
        let bond = self
            .candidate(hotkey)
            .map_or(Amount::ZERO, |candidate| candidate.bond);
        let lost = bond.mul_ratio(self.network(NetworkParameterId::CommitteeSlashPpm), 1_000_000);
        let reward = lost.mul_ratio(self.network(NetworkParameterId::CommitteeReporterPpm), 1_000_000);
        Ok(Slash {
            voter,
            hotkey,
            reporter,
            reward,
            burned: minus(lost, reward),
            height: now,
        })
    }

    pub(crate) fn slash(&mut self, slash: &Slash) {
        self.update_candidate(slash.hotkey, |candidate| {
            candidate.bond = minus(minus(candidate.bond, slash.reward), slash.burned);
            candidate.leaving = Some(slash.height);
        });
        self.table.write(&slash.voter, &KeyUse::Slashed);
        self.credit(slash.reporter, slash.reward);
        self.burn(slash.burned);
    }
}
