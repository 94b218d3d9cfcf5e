//! Forged evidence: who shows it, and what it costs the validator.
//!
//! A share of what the validator's own coldkey has staked on its hotkey in the subnet is slashed, of which a part goes
//! to whoever showed it and the rest is burned; what others staked on it stays theirs. Its weights, open commits and
//! bonds go. Until the epoch after next it has no permit, whatever its stake, sets no weights and is paid no dividends.
//! Each commit is punished once, by whichever of its leaves.
//!
//! No vote decides, and no stake: the ledger repeats the step.

use std::fmt;

use agon_evidence::forgery::{self, NoForgery};
use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Hotkey, Netuid};
use agon_protocol::message::{EvidenceOf, Forgery};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::EvidenceRecord;
use crate::State;
use crate::parameters::NetworkParameterId;
use crate::refusal::UnknownSubnet;
use crate::stake::StakeMove;
use crate::subnet::Subnet;
use crate::supply::minus;
use crate::table::Entry;
use crate::weights::{BondRow, Commits, WeightRow};

/// Epochs after a forgery that give its maker no permit.
const BARRED_TEMPOS: u64 = 2;

/// A validator that forged. The key ends in the name of its stake pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Barred {
    /// First tempo for which it may be given a permit.
    pub(crate) until_tempo: u64,
}

impl Entry for Barred {
    type Key = (Netuid, Hotkey);
    const KIND: u8 = 0x0f;
}

/// Why a report of a forgery is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportForgeryRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// Nothing that could be forged.
    #[error(
        "no evidence of {validator} of tempo {tempo} is kept on subnet {netuid}: name a validator that committed, \
         within the tempos that evidence is kept"
    )]
    Unknown {
        /// Which subnet.
        netuid: Netuid,
        /// The validator.
        validator: Hotkey,
        /// The tempo.
        tempo: u64,
    },
    /// It was punished.
    #[error("the evidence of {validator} of tempo {tempo} was punished before: a commit is punished once")]
    Punished {
        /// The validator.
        validator: Hotkey,
        /// The tempo.
        tempo: u64,
    },
    /// It shows nothing.
    #[error("{0}: report leaves that were committed to and a step that does not follow from them")]
    Forgery(NoForgery),
}

impl ReportForgeryRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Unknown { .. } => "evidence kept",
            Self::Punished { .. } => "punished",
            Self::Forgery(_) => "forgery",
        }
    }
}

/// What forged evidence costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Which subnet.
    pub netuid: Netuid,
    /// The tempo of the evidence.
    pub tempo: u64,
    /// The name of the validator's stake pools, by which its evidence goes.
    pub name: Hotkey,
    /// The validator's hotkey.
    pub hotkey: Hotkey,
    /// Its coldkey, which is slashed.
    pub coldkey: Coldkey,
    /// The step that does not follow, in words.
    pub step: String,
    /// What it loses.
    pub slashed: Amount,
    /// The shares of the pool that this is.
    pub shares: u128,
    /// Who showed it, unless the validator did.
    pub reporter: Option<Coldkey>,
    /// The part of what it loses that the reporter gets; the rest is burned.
    pub reward: Amount,
    /// First tempo for which it may be given a permit again.
    pub until_tempo: u64,
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "takes {} of the stake of {} on {} in subnet {} for forged evidence of tempo {} ({}), {} of it for the \
             reporter, and its weights, bonds and permit until tempo {}",
            self.slashed,
            self.coldkey,
            self.hotkey,
            self.netuid,
            self.tempo,
            self.step,
            self.reward,
            self.until_tempo
        )
    }
}

impl State {
    pub(crate) fn check_report_forgery(
        &self,
        reporter: Coldkey,
        of: &EvidenceOf,
        forgery: &Forgery,
    ) -> Result<Penalty, ReportForgeryRefusal> {
        let EvidenceOf {
            netuid,
            validator,
            tempo,
        } = *of;
        let subnet = self.existing_subnet(netuid)?;
        let found = self.evidence_of(netuid, tempo, validator);
        let (Some((name, record)), Some(roster)) = (found, self.roster(netuid, tempo)) else {
            return Err(ReportForgeryRefusal::Unknown {
                netuid,
                validator,
                tempo,
            });
        };
        if record.forged {
            return Err(ReportForgeryRefusal::Punished { validator, tempo });
        }
        let context = self.evidence_context((netuid, &subnet), &roster, tempo, (record.hotkey, record.asker));
        let foundation = self.foundation((netuid, tempo, name), &roster, &record);
        let forged = forgery::check(&context, &foundation.committed(), forgery)
            .map_err(ReportForgeryRefusal::Forgery)?;
        Ok(self.penalty((netuid, tempo, name), &subnet, forged.to_string(), Some(reporter)))
    }

    /// The evidence of a validator, by the key that committed to it or the one that replaced that since.
    pub(super) fn evidence_of(
        &self,
        netuid: Netuid,
        tempo: u64,
        validator: Hotkey,
    ) -> Option<(Hotkey, EvidenceRecord)> {
        let mut records = self.table.scan::<EvidenceRecord>((netuid, tempo));
        let is_of = |name: Hotkey, record: &EvidenceRecord| {
            record.hotkey == validator || self.hotkey_named(name) == validator
        };
        records
            .find(|((_, _, name), record)| is_of(*name, record))
            .map(|((_, _, name), record)| (name, record))
    }

    /// What forged evidence costs now. Shares and reward are rounded down.
    pub(super) fn penalty(
        &self,
        (netuid, tempo, name): (Netuid, u64, Hotkey),
        subnet: &Subnet,
        step: String,
        reporter: Option<Coldkey>,
    ) -> Penalty {
        let hotkey = self.hotkey_named(name);
        let coldkey = self.hotkey_owner(hotkey).expect("who committed has an owner");
        let held = self.shares_of_name(coldkey, netuid, name);
        let slash_ppm = u128::from(self.network(NetworkParameterId::EvidenceSlashPpm));
        let shares = held.saturating_mul(slash_ppm) / 1_000_000;
        let slashed = self.pool_of_name(netuid, name).worth(shares);
        let reporter_ppm = reporter.map_or(0, |_| self.network(NetworkParameterId::EvidenceReporterPpm));
        Penalty {
            netuid,
            tempo,
            name,
            hotkey,
            coldkey,
            step,
            slashed,
            shares,
            reporter,
            reward: slashed.mul_ratio(reporter_ppm, 1_000_000),
            until_tempo: subnet.schedule.tempo.saturating_add(BARRED_TEMPOS),
        }
    }

    pub(crate) fn punish(&mut self, penalty: &Penalty) {
        let Penalty {
            netuid, name, hotkey, ..
        } = *penalty;
        self.slash_stake(penalty);
        self.update_evidence((netuid, penalty.tempo, name), |record| record.forged = true);
        let barred = Barred {
            until_tempo: penalty.until_tempo,
        };
        self.table.write(&(netuid, name), &barred);
        // It may have lost its UID since.
        if let Some(uid) = self.uid_of(netuid, hotkey) {
            self.table.remove::<WeightRow>(&(netuid, uid));
            self.table.remove::<BondRow>(&(netuid, uid));
            self.write_commits(netuid, uid, &Commits::default());
            let mut neuron = self.expect_neuron(netuid, uid);
            neuron.permit = false;
            self.table.write(&(netuid, uid), &neuron);
        }
    }

    fn slash_stake(&mut self, penalty: &Penalty) {
        if penalty.shares > 0 {
            self.take_from_pool(&StakeMove {
                coldkey: penalty.coldkey,
                netuid: penalty.netuid,
                hotkey: penalty.hotkey,
                amount: penalty.slashed,
                shares: penalty.shares,
            });
        }
        if let Some(reporter) = penalty.reporter {
            self.credit(reporter, penalty.reward);
        }
        self.burn(minus(penalty.slashed, penalty.reward));
    }

    /// The first tempo for which a hotkey may be given a permit again, if it forged and that is to come.
    pub(crate) fn barred_until(&self, netuid: Netuid, hotkey: Hotkey, tempo: u64) -> Option<u64> {
        let name = self.pool_name(hotkey)?;
        let barred: Option<Barred> = self.table.read(&(netuid, name));
        barred
            .map(|barred| barred.until_tempo)
            .filter(|until| tempo < *until)
    }
}
