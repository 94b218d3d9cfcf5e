//! The beacon whose pulses open sealed weights, and the pulses that are kept.
//!
//! The genesis names the beacon, or none. A pulse is taken when its time has come by the blocks' own, something sealed
//! waits for it, and the beacon signed it; it is kept for as long as something waits. Such a pulse costs no fee, whoever
//! brings it: there is one of each round, and everybody is served by it.

use std::fmt;

use agon_protocol::timelock::{Beacon, PulseSignature};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::table::Entry;

/// The beacon that the genesis names; a ledger without one has no such entry. Never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct NamedBeacon(pub(crate) Beacon);

impl Entry for NamedBeacon {
    type Key = ();
    const KIND: u8 = 0x30;
}

/// A pulse by its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct KeptPulse(pub(crate) PulseSignature);

impl Entry for KeptPulse {
    type Key = u64;
    const KIND: u8 = 0x31;
}

/// Why a pulse is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishPulseRefusal {
    /// The ledger has no beacon.
    #[error("this ledger names no beacon: weights are committed to by their digests and revealed by hand")]
    NoBeacon,
    /// Before its time.
    #[error("round {round} is made at {time_ms} ms and the newest block is of {now_ms} ms: wait for it")]
    Early {
        /// Which round.
        round: u64,
        /// When its pulse is made, Unix milliseconds.
        time_ms: u64,
        /// Time of the newest block, Unix milliseconds.
        now_ms: u64,
    },
    /// It is there already.
    #[error("the pulse of round {round} was published before: nothing is left to do")]
    Known {
        /// Which round.
        round: u64,
    },
    /// Of no use.
    #[error("nothing that is sealed waits for round {round}: it is of no use to the ledger")]
    Unneeded {
        /// Which round.
        round: u64,
    },
    /// Not the beacon's.
    #[error("the signature is not the beacon's over round {round}: take the pulse from the beacon itself")]
    Forged {
        /// Which round.
        round: u64,
    },
}

impl PublishPulseRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NoBeacon => "beacon",
            Self::Early { .. } => "pulse time",
            Self::Known { .. } => "pulse known",
            Self::Unneeded { .. } => "pulse needed",
            Self::Forged { .. } => "pulse signature",
        }
    }
}

/// An accepted pulse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedPulse {
    /// Its round.
    pub round: u64,
    /// The beacon's signature.
    pub signature: PulseSignature,
}

impl fmt::Display for AcceptedPulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round = self.round;
        write!(
            f,
            "publishes the pulse of round {round}, which opens what is sealed to it"
        )
    }
}

impl State {
    /// The beacon that the genesis names.
    #[must_use]
    pub fn beacon(&self) -> Option<Beacon> {
        self.table
            .read::<NamedBeacon>(&())
            .map(|NamedBeacon(beacon)| beacon)
    }

    /// Rounds whose pulses are made by `now_ms` and not published, and for which something sealed waits; ascending.
    #[must_use]
    pub fn pulses_awaited(&self, now_ms: u64) -> Vec<u64> {
        let Some(beacon) = self.beacon() else {
            return Vec::new();
        };
        let mut rounds = self.rounds_in_use();
        rounds.retain(|round| beacon.time_ms(*round) <= now_ms && !self.table.has::<KeptPulse>(round));
        rounds.into_iter().collect()
    }

    /// The cheap rules stand first: what a stranger sends is seldom worth the pairings.
    pub(crate) fn check_publish_pulse(
        &self,
        round: u64,
        signature: PulseSignature,
    ) -> Result<AcceptedPulse, PublishPulseRefusal> {
        let beacon = self.beacon().ok_or(PublishPulseRefusal::NoBeacon)?;
        let (time_ms, now_ms) = (beacon.time_ms(round), self.time_ms());
        if now_ms < time_ms {
            return Err(PublishPulseRefusal::Early {
                round,
                time_ms,
                now_ms,
            });
        }
        if self.table.has::<KeptPulse>(&round) {
            return Err(PublishPulseRefusal::Known { round });
        }
        if !self.rounds_in_use().contains(&round) {
            return Err(PublishPulseRefusal::Unneeded { round });
        }
        beacon
            .verify(round, &signature)
            .map_err(|_| PublishPulseRefusal::Forged { round })?;
        Ok(AcceptedPulse { round, signature })
    }

    pub(crate) fn publish_pulse(&mut self, accepted: &AcceptedPulse) {
        self.table.write(&accepted.round, &KeptPulse(accepted.signature));
    }

    pub(crate) fn kept_pulse(&self, round: u64) -> Option<PulseSignature> {
        self.table
            .read::<KeptPulse>(&round)
            .map(|KeptPulse(signature)| signature)
    }

    /// Whether any pulse is kept.
    pub(crate) fn has_pulses(&self) -> bool {
        self.table.scan::<KeptPulse>(()).next().is_some()
    }

    /// Drops pulses that nothing waits for any more.
    pub(crate) fn drop_idle_pulses(&mut self) {
        let kept: Vec<u64> = self.table.scan::<KeptPulse>(()).map(|(round, _)| round).collect();
        let in_use = self.rounds_in_use();
        for round in kept.into_iter().filter(|round| !in_use.contains(round)) {
            self.table.remove::<KeptPulse>(&round);
        }
    }
}
