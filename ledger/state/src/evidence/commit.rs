//! Commits to evidence: one for each validator and tempo, made in the tempo itself.
//!
//! It does not depend on commit-reveal: weights that are shown at once rest on evidence as well. It costs no fee, since
//! it is owed; there is one, and only validators with a permit make it.

use std::fmt;

use agon_protocol::id::{BlockNumber, Hotkey, Netuid, Uid};
use agon_protocol::message::EvidenceCommit;
use agon_protocol::session::{SessionInput, session_key};
use thiserror::Error;

use super::{EvidenceRecord, Roster};
use crate::State;
use crate::refusal::{NotRegistered, UnknownSubnet};

/// Most leaves of a tempo's evidence: what keeps the way to the root, and so an opening, short.
pub(super) const LEAVES_MAX: u32 = 1 << 20;

/// Why a commit to evidence is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitEvidenceRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// The hotkey has no UID.
    #[error(transparent)]
    Registered(#[from] NotRegistered),
    /// Not of this tempo.
    #[error("the evidence is of tempo {tempo}, this is tempo {running}: commit to that of the running tempo")]
    Tempo {
        /// Tempo it is of.
        tempo: u64,
        /// The running tempo.
        running: u64,
    },
    /// Nothing is asked for.
    #[error("tempo {tempo} of subnet {netuid} asks for no evidence: nothing has to be committed")]
    Off {
        /// Which subnet.
        netuid: Netuid,
        /// The running tempo.
        tempo: u64,
    },
    /// Not from this UID.
    #[error(
        "UID {uid} has no validator permit in tempo {tempo}: the epoch at block {next_epoch} gives permits"
    )]
    Permit {
        /// The UID.
        uid: Uid,
        /// The running tempo.
        tempo: u64,
        /// When permits are given next.
        next_epoch: BlockNumber,
    },
    /// Done already.
    #[error(
        "the evidence of tempo {tempo} was committed at block {height}: nothing can be added to it, commit to that of \
         the next tempo"
    )]
    Committed {
        /// The tempo.
        tempo: u64,
        /// Block of the commit.
        height: BlockNumber,
    },
    /// Nobody could be asked.
    #[error("no other neuron served when tempo {tempo} opened: nothing is owed")]
    NothingOwed {
        /// The tempo.
        tempo: u64,
    },
    /// Asked by a key that the commit does not show, though the tempo is asked in sessions.
    #[error("tempo {tempo} of subnet {netuid} is asked in sessions: commit with the proof of yours")]
    Session {
        /// Which subnet.
        netuid: Netuid,
        /// The tempo.
        tempo: u64,
    },
    /// Asked in a session where that is not the rule.
    #[error("tempo {tempo} of subnet {netuid} is asked with hotkeys: commit without the proof of a session")]
    NoSession {
        /// Which subnet.
        netuid: Netuid,
        /// The tempo.
        tempo: u64,
    },
    /// A proof of something else.
    #[error("the proof is not that of the session of {hotkey} in tempo {tempo}: make it with that hotkey")]
    SessionProof {
        /// The key that draws in the tempo.
        hotkey: Hotkey,
        /// The tempo.
        tempo: u64,
    },
    /// Fewer leaves than slots, or too many.
    #[error(
        "the evidence has {leaf_count} leaves: give one for each of the {slot_count} slots owed and {leaves_max} at \
         most"
    )]
    Leaves {
        /// How many there are.
        leaf_count: u32,
        /// How many slots are owed.
        slot_count: u32,
        /// How many leaves there may be.
        leaves_max: u32,
    },
}

impl CommitEvidenceRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Registered(_) => NotRegistered::RULE,
            Self::Tempo { .. } => "evidence tempo",
            Self::Off { .. } => "evidence off",
            Self::Permit { .. } => "permit",
            Self::Committed { .. } => "evidence committed",
            Self::NothingOwed { .. } => "nothing owed",
            Self::Session { .. } | Self::NoSession { .. } => "evidence session",
            Self::SessionProof { .. } => "session proof",
            Self::Leaves { .. } => "evidence leaves",
        }
    }
}

/// An accepted commit to evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedEvidence {
    /// Which subnet.
    pub netuid: Netuid,
    /// Whose.
    pub uid: Uid,
    /// The name of its stake pools, by which its evidence goes.
    pub name: Hotkey,
    /// The key that it had when the tempo opened.
    pub hotkey: Hotkey,
    /// The key that it draws and asks by.
    pub asker: Hotkey,
    /// The commit.
    pub commit: EvidenceCommit,
    /// How many slots it owes.
    pub slot_count: u32,
    /// The block of the commit.
    pub height: BlockNumber,
}

impl fmt::Display for AcceptedEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "commits UID {} on subnet {} to {} leaves of evidence of tempo {}, of which {} are owed",
            self.uid, self.netuid, self.commit.leaf_count, self.commit.tempo, self.slot_count
        )
    }
}

impl State {
    pub(crate) fn check_commit_evidence(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        commit: EvidenceCommit,
        now: BlockNumber,
    ) -> Result<AcceptedEvidence, CommitEvidenceRefusal> {
        let subnet = self.existing_subnet(netuid)?;
        let (uid, neuron) = self.registered_neuron(netuid, hotkey)?;
        let (tempo, running) = (commit.tempo, subnet.schedule.tempo);
        if tempo != running {
            return Err(CommitEvidenceRefusal::Tempo { tempo, running });
        }
        let roster = self.roster(netuid, tempo).filter(|roster| roster.openings > 0);
        let roster = roster.ok_or(CommitEvidenceRefusal::Off { netuid, tempo })?;
        // A UID that changed hands since has no permit.
        let drawer = roster.drawer(uid).filter(|_| neuron.permit);
        let drawer = drawer.ok_or_else(|| CommitEvidenceRefusal::Permit {
            uid,
            tempo,
            next_epoch: subnet.next_epoch(),
        })?;
        let name = self.pool_name(hotkey).expect("a registered hotkey has an owner");
        if let Some(EvidenceRecord { height, .. }) = self.table.read(&(netuid, tempo, name)) {
            return Err(CommitEvidenceRefusal::Committed { tempo, height });
        }
        let slot_count = self
            .evidence_context((netuid, &subnet), &roster, tempo, (drawer, drawer))
            .slot_count();
        check_leaves(&commit, slot_count)?;
        let asker = self.asker(netuid, &roster, drawer, &commit)?;
        Ok(AcceptedEvidence {
            netuid,
            uid,
            name,
            hotkey: drawer,
            asker,
            commit,
            slot_count,
            height: now,
        })
    }

    /// The key by which `drawer` asks in the tempo of its commit.
    fn asker(
        &self,
        netuid: Netuid,
        roster: &Roster,
        drawer: Hotkey,
        commit: &EvidenceCommit,
    ) -> Result<Hotkey, CommitEvidenceRefusal> {
        let tempo = commit.tempo;
        let input = SessionInput {
            genesis: self.genesis_digest(),
            netuid,
            tempo,
        };
        match (roster.in_sessions, &commit.session) {
            (false, None) => Ok(drawer),
            (false, Some(_)) => Err(CommitEvidenceRefusal::NoSession { netuid, tempo }),
            (true, None) => Err(CommitEvidenceRefusal::Session { netuid, tempo }),
            (true, Some(proof)) => {
                session_key(drawer, &input, proof).map_err(|_| CommitEvidenceRefusal::SessionProof {
                    hotkey: drawer,
                    tempo,
                })
            }
        }
    }

    pub(crate) fn commit_evidence(&mut self, accepted: &AcceptedEvidence) {
        let record = EvidenceRecord {
            hotkey: accepted.hotkey,
            asker: accepted.asker,
            commit: accepted.commit,
            height: accepted.height,
            shown: None,
            weights: None,
            contested: Vec::new(),
            forged: false,
        };
        let key = (accepted.netuid, accepted.commit.tempo, accepted.name);
        self.table.write(&key, &record);
    }
}

fn check_leaves(commit: &EvidenceCommit, slot_count: u32) -> Result<(), CommitEvidenceRefusal> {
    let EvidenceCommit {
        tempo, leaf_count, ..
    } = *commit;
    if slot_count == 0 {
        return Err(CommitEvidenceRefusal::NothingOwed { tempo });
    }
    if leaf_count < slot_count || leaf_count > LEAVES_MAX {
        return Err(CommitEvidenceRefusal::Leaves {
            leaf_count,
            slot_count,
            leaves_max: LEAVES_MAX,
        });
    }
    Ok(())
}
