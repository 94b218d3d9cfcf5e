//! Joining, leaving, and showing readiness.
//!
//! A hotkey has one consensus key and a consensus key one hotkey. A hotkey that nobody owns belongs to the coldkey
//! that joins with it, as with a registration: a member needs a bond, not a UID. The coldkey signs what locks its money; the
//! hotkey signs readiness, which its node renews.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, ConsensusKey, Digest, Hotkey};
use agon_protocol::message::Statement;
use agon_protocol::sign::Signature;
use thiserror::Error;

use super::{Candidate, KeyUse, RECENT_BLOCKS, RecentBlock};
use crate::State;
use crate::parameters::NetworkParameterId;
use crate::refusal::{HotkeyUsed, NotHotkeyOwner, ShortOfFunds};

/// A consensus key's signature that does not hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "the proof is not signed by the consensus key {consensus_key} over this ledger and {over}: sign it with that key"
)]
pub struct BadProof {
    /// Who should have signed.
    pub consensus_key: ConsensusKey,
    /// What should have been signed.
    pub over: &'static str,
}

impl BadProof {
    const RULE: &str = "consensus key proof";
}

/// A hotkey that is no candidate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{hotkey} is no candidate for the committee: its coldkey has to join it first")]
pub struct NotCandidate {
    /// The hotkey.
    pub hotkey: Hotkey,
}

impl NotCandidate {
    const RULE: &str = "candidate";
}

/// Why a hotkey does not become a candidate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinCommitteeRefusal {
    /// Another coldkey's hotkey.
    #[error(transparent)]
    Hotkey(#[from] NotHotkeyOwner),
    /// The hotkey was replaced.
    #[error(transparent)]
    Used(#[from] HotkeyUsed),
    /// It is one.
    #[error(
        "{hotkey} is a candidate with the consensus key {consensus_key} already: leave, and wait for the bond, to \
         join with another"
    )]
    Joined {
        /// The hotkey.
        hotkey: Hotkey,
        /// Its consensus key.
        consensus_key: ConsensusKey,
    },
    /// The key votes for another hotkey.
    #[error("the consensus key {consensus_key} votes for {hotkey}: make another key")]
    KeyTaken {
        /// The key.
        consensus_key: ConsensusKey,
        /// Whose it is.
        hotkey: Hotkey,
    },
    /// The key contradicted itself.
    #[error("the consensus key {consensus_key} was slashed and never votes again: make another key")]
    KeySlashed {
        /// The key.
        consensus_key: ConsensusKey,
    },
    /// Too small a bond.
    #[error("a bond of {bond} is less than the smallest: lock {bond_min} or more")]
    Minimum {
        /// What was offered.
        bond: Amount,
        /// The smallest bond.
        bond_min: Amount,
    },
    /// The key did not sign.
    #[error(transparent)]
    Proof(#[from] BadProof),
    /// The free balance is too small.
    #[error(transparent)]
    Balance(#[from] ShortOfFunds),
}

impl JoinCommitteeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Hotkey(_) => NotHotkeyOwner::RULE,
            Self::Used(_) => HotkeyUsed::RULE,
            Self::Joined { .. } => "joined",
            Self::KeyTaken { .. } | Self::KeySlashed { .. } => "consensus key",
            Self::Minimum { .. } => "bond minimum",
            Self::Proof(_) => BadProof::RULE,
            Self::Balance(_) => ShortOfFunds::RULE,
        }
    }
}

/// Why a hotkey does not stop being a candidate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveCommitteeRefusal {
    /// Not the signer's hotkey.
    #[error(transparent)]
    Hotkey(#[from] NotHotkeyOwner),
    /// It is none.
    #[error(transparent)]
    Candidate(#[from] NotCandidate),
    /// Done already.
    #[error(
        "{hotkey} is leaving since block {since}: its bond comes back by itself after {delay_blocks} blocks"
    )]
    Leaving {
        /// The hotkey.
        hotkey: Hotkey,
        /// From when the delay counts.
        since: BlockNumber,
        /// The delay.
        delay_blocks: u64,
    },
}

impl LeaveCommitteeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Hotkey(_) => NotHotkeyOwner::RULE,
            Self::Candidate(_) => NotCandidate::RULE,
            Self::Leaving { .. } => "leaving",
        }
    }
}

/// Why readiness is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitteeReadyRefusal {
    /// The signer is no candidate.
    #[error(transparent)]
    Candidate(#[from] NotCandidate),
    /// It left or was slashed.
    #[error("{hotkey} is leaving since block {since}: it can join again when its bond came back")]
    Leaving {
        /// The hotkey.
        hotkey: Hotkey,
        /// From when the delay of its bond counts.
        since: BlockNumber,
    },
    /// Not one of the newest blocks.
    #[error("block {height} is not among the newest: sign one from {oldest} to {newest}")]
    Height {
        /// The block that was named.
        height: BlockNumber,
        /// The oldest that counts.
        oldest: BlockNumber,
        /// The newest that counts.
        newest: BlockNumber,
    },
    /// Another block.
    #[error("block {height} has the hash {expected}, not {hash}: follow this ledger and sign again")]
    Hash {
        /// The block that was named.
        height: BlockNumber,
        /// The hash that was named.
        hash: Digest,
        /// Its hash.
        expected: Digest,
    },
    /// The key did not sign.
    #[error(transparent)]
    Proof(#[from] BadProof),
}

impl CommitteeReadyRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Candidate(_) => NotCandidate::RULE,
            Self::Leaving { .. } => "leaving",
            Self::Height { .. } => "ready height",
            Self::Hash { .. } => "ready hash",
            Self::Proof(_) => BadProof::RULE,
        }
    }
}

/// An accepted candidacy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Who pays.
    pub coldkey: Coldkey,
    /// The candidate.
    pub hotkey: Hotkey,
    /// The key it votes with.
    pub consensus_key: ConsensusKey,
    /// What is locked.
    pub amount: Amount,
}

impl fmt::Display for Bond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "locks {} and makes {} a candidate for the committee with the consensus key {}",
            self.amount, self.hotkey, self.consensus_key
        )
    }
}

/// An accepted end of a candidacy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Who leaves.
    pub hotkey: Hotkey,
    /// What is returned.
    pub bond: Amount,
    /// The block from which the delay counts.
    pub height: BlockNumber,
    /// The delay.
    pub delay_blocks: u64,
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "takes {} out of the committee with its next era and returns {} some {} blocks later",
            self.hotkey, self.bond, self.delay_blocks
        )
    }
}

/// Accepted readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Who is ready.
    pub hotkey: Hotkey,
    /// Until when.
    pub ready_until: BlockNumber,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hotkey, until) = (self.hotkey, self.ready_until);
        write!(
            f,
            "counts {hotkey} as ready for the committee until block {until}"
        )
    }
}

impl State {
    pub(crate) fn check_join_committee(
        &self,
        coldkey: Coldkey,
        hotkey: Hotkey,
        consensus_key: ConsensusKey,
        proof: &Signature,
        bond: Amount,
    ) -> Result<Bond, JoinCommitteeRefusal> {
        self.check_hotkey_unused(hotkey)?;
        if self.hotkey_owner(hotkey).is_some() {
            self.check_hotkey_owner(hotkey, coldkey)?;
        }
        self.check_key_unused(hotkey, consensus_key)?;
        let bond_min = self.network_amount(NetworkParameterId::CommitteeBondMin);
        if bond < bond_min {
            return Err(JoinCommitteeRefusal::Minimum { bond, bond_min });
        }
        let genesis = self.genesis_digest();
        let statement = Statement::Join { genesis, hotkey };
        check_proof(&statement, consensus_key, proof, "the hotkey")?;
        self.check_free(coldkey, bond)?;
        Ok(Bond {
            coldkey,
            hotkey,
            consensus_key,
            amount: bond,
        })
    }

    fn check_key_unused(
        &self,
        hotkey: Hotkey,
        consensus_key: ConsensusKey,
    ) -> Result<(), JoinCommitteeRefusal> {
        if let Some(Candidate { consensus_key, .. }) = self.candidate(hotkey) {
            return Err(JoinCommitteeRefusal::Joined {
                hotkey,
                consensus_key,
            });
        }
        match self.table.read(&consensus_key) {
            Some(KeyUse::By(hotkey)) => Err(JoinCommitteeRefusal::KeyTaken {
                consensus_key,
                hotkey,
            }),
            Some(KeyUse::Slashed) => Err(JoinCommitteeRefusal::KeySlashed { consensus_key }),
            None => Ok(()),
        }
    }

    pub(crate) fn join_committee(&mut self, bond: &Bond) {
        self.debit(bond.coldkey, bond.amount);
        self.own_hotkey(bond.hotkey, bond.coldkey);
        let candidate = Candidate {
            consensus_key: bond.consensus_key,
            bond: bond.amount,
            ready_until: BlockNumber(0),
            leaving: None,
        };
        self.table.write(&bond.hotkey, &candidate);
        self.table.write(&bond.consensus_key, &KeyUse::By(bond.hotkey));
    }

    pub(crate) fn check_leave_committee(
        &self,
        signer: Coldkey,
        hotkey: Hotkey,
        now: BlockNumber,
    ) -> Result<Leaving, LeaveCommitteeRefusal> {
        self.check_hotkey_owner(hotkey, signer)?;
        let candidate = self.candidate(hotkey).ok_or(NotCandidate { hotkey })?;
        let delay_blocks = self.network(NetworkParameterId::CommitteeUnbondingBlocks);
        if let Some(since) = candidate.leaving {
            return Err(LeaveCommitteeRefusal::Leaving {
                hotkey,
                since,
                delay_blocks,
            });
        }
        Ok(Leaving {
            hotkey,
            bond: candidate.bond,
            height: now,
            delay_blocks,
        })
    }

    pub(crate) fn leave_committee(&mut self, leaving: &Leaving) {
        self.update_candidate(leaving.hotkey, |candidate| {
            candidate.leaving = Some(leaving.height);
        });
    }

    pub(crate) fn check_committee_ready(
        &self,
        hotkey: Hotkey,
        height: BlockNumber,
        hash: Digest,
        proof: &Signature,
        now: BlockNumber,
    ) -> Result<Readiness, CommitteeReadyRefusal> {
        let candidate = self.candidate(hotkey).ok_or(NotCandidate { hotkey })?;
        if let Some(since) = candidate.leaving {
            return Err(CommitteeReadyRefusal::Leaving { hotkey, since });
        }
        self.check_recent(height, hash)?;
        let genesis = self.genesis_digest();
        let statement = Statement::Ready {
            genesis,
            height,
            hash,
        };
        check_proof(&statement, candidate.consensus_key, proof, "the block")?;
        let ready_blocks = self.network(NetworkParameterId::CommitteeReadyBlocks);
        Ok(Readiness {
            hotkey,
            ready_until: BlockNumber(now.0.saturating_add(ready_blocks)),
        })
    }

    fn check_recent(&self, height: BlockNumber, hash: Digest) -> Result<(), CommitteeReadyRefusal> {
        let recent: Option<RecentBlock> = self.table.read(&(height.0 % RECENT_BLOCKS));
        match recent.filter(|recent| recent.height == height) {
            Some(recent) if recent.hash == hash => Ok(()),
            Some(recent) => Err(CommitteeReadyRefusal::Hash {
                height,
                hash,
                expected: recent.hash,
            }),
            None => {
                let newest = self.height().0.saturating_sub(1);
                let oldest = newest.saturating_sub(RECENT_BLOCKS.saturating_sub(1));
                Err(CommitteeReadyRefusal::Height {
                    height,
                    oldest: BlockNumber(oldest),
                    newest: BlockNumber(newest),
                })
            }
        }
    }

    pub(crate) fn committee_ready(&mut self, readiness: &Readiness) {
        self.update_candidate(readiness.hotkey, |candidate| {
            candidate.ready_until = readiness.ready_until;
        });
    }

    pub(super) fn update_candidate(&mut self, hotkey: Hotkey, update: impl FnOnce(&mut Candidate)) {
        let mut candidate = self.candidate(hotkey).expect("a check found the candidate");
        update(&mut candidate);
        self.table.write(&hotkey, &candidate);
    }
}

fn check_proof(
    statement: &Statement,
    consensus_key: ConsensusKey,
    proof: &Signature,
    over: &'static str,
) -> Result<(), BadProof> {
    let held = statement.verify(&consensus_key, proof);
    held.map_err(|_| BadProof { consensus_key, over })
}
