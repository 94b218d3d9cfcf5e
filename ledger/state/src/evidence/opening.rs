//! Openings: the picked slots and trails of the evidence of the tempo before.
//!
//! What does not show what was asked for is refused, and may be sent again. A step that was committed to and does not
//! follow is no mistake of sending: the opening is applied as a forgery. An opening costs no fee, since it is owed; there
//! is one for each commit, and only whoever made the commit sends it.

use std::fmt;

use agon_evidence::opening::{self, Opened, OpeningError, Shown};
use agon_evidence::slots::Picks;
use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{EvidenceOpening, WeightsLeaf};
use thiserror::Error;

use super::{EvidenceRecord, Penalty, Roster};
use crate::State;
use crate::refusal::{NotRegistered, UnknownSubnet};
use crate::subnet::Subnet;

/// Why an opening is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenEvidenceRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// The hotkey has no UID.
    #[error(transparent)]
    Registered(#[from] NotRegistered),
    /// Not the tempo to open it in.
    #[error(
        "evidence of tempo {tempo} is opened in the tempo after it, this is tempo {running}: open that of the tempo \
         before this one"
    )]
    Window {
        /// Tempo it is of.
        tempo: u64,
        /// The running tempo.
        running: u64,
    },
    /// Nothing was committed.
    #[error("UID {uid} committed to no evidence of tempo {tempo}: there is nothing to open")]
    NotCommitted {
        /// The UID.
        uid: Uid,
        /// The tempo.
        tempo: u64,
    },
    /// Done already.
    #[error(
        "the evidence of tempo {tempo} of UID {uid} was opened or punished before: nothing is left to do"
    )]
    Opened {
        /// The UID.
        uid: Uid,
        /// The tempo.
        tempo: u64,
    },
    /// It does not show what was asked for.
    #[error("{0}: show exactly what was picked of what was committed")]
    Opening(OpeningError),
}

impl OpenEvidenceRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Registered(_) => NotRegistered::RULE,
            Self::Window { .. } => "opening window",
            Self::NotCommitted { .. } => "evidence not committed",
            Self::Opened { .. } => "evidence opened",
            Self::Opening(_) => "opening",
        }
    }
}

/// An accepted opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedOpening {
    /// Which subnet.
    pub netuid: Netuid,
    /// Whose.
    pub uid: Uid,
    /// The name of its stake pools, by which its evidence goes.
    pub name: Hotkey,
    /// The tempo that the evidence is of.
    pub tempo: u64,
    /// What it shows.
    pub outcome: OpeningOutcome,
}

/// What an accepted opening shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpeningOutcome {
    /// Nothing is wrong with it.
    Holds {
        /// What each picked slot shows, in their order.
        shown: Vec<Shown>,
        /// Digest of the row that it shows.
        weights: Digest,
    },
    /// A step that does not follow, and what that costs.
    Forged(Penalty),
}

impl fmt::Display for AcceptedOpening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            netuid, uid, tempo, ..
        } = self;
        match &self.outcome {
            OpeningOutcome::Holds { shown, .. } => {
                let answered = shown.iter().filter(|slot| matches!(slot, Shown::Answered(_)));
                write!(
                    f,
                    "opens {} slots of the evidence of tempo {tempo} of UID {uid} on subnet {netuid}, {} of them answered",
                    shown.len(),
                    answered.count()
                )
            }
            OpeningOutcome::Forged(penalty) => penalty.fmt(f),
        }
    }
}

impl State {
    pub(crate) fn check_open_evidence(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        opening: &EvidenceOpening,
    ) -> Result<AcceptedOpening, OpenEvidenceRefusal> {
        let subnet = self.existing_subnet(netuid)?;
        let (uid, _) = self.registered_neuron(netuid, hotkey)?;
        let (tempo, running) = (opening.tempo, subnet.schedule.tempo);
        if tempo.saturating_add(1) != running {
            return Err(OpenEvidenceRefusal::Window { tempo, running });
        }
        let name = self.pool_name(hotkey).expect("a registered hotkey has an owner");
        let record: Option<EvidenceRecord> = self.table.read(&(netuid, tempo, name));
        let (Some(record), Some(roster)) = (record, self.roster(netuid, tempo)) else {
            return Err(OpenEvidenceRefusal::NotCommitted { uid, tempo });
        };
        if record.shown.is_some() || record.forged {
            return Err(OpenEvidenceRefusal::Opened { uid, tempo });
        }
        let opened = self
            .opened((netuid, &subnet, name), (&roster, &record), opening)
            .map_err(OpenEvidenceRefusal::Opening)?;
        let outcome = match opened {
            Opened::Holds { shown, row } => OpeningOutcome::Holds {
                shown,
                weights: WeightsLeaf::row_digest(&row),
            },
            Opened::Forged(forged) => {
                let step = forged.to_string();
                OpeningOutcome::Forged(self.penalty((netuid, tempo, name), &subnet, step, None))
            }
        };
        Ok(AcceptedOpening {
            netuid,
            uid,
            name,
            tempo,
            outcome,
        })
    }

    /// Checks what is opened in the running tempo, whose beacon picks slots and trails.
    fn opened(
        &self,
        (netuid, subnet, name): (Netuid, &Subnet, Hotkey),
        (roster, record): (&Roster, &EvidenceRecord),
        opened: &EvidenceOpening,
    ) -> Result<Opened, OpeningError> {
        let keys = (record.hotkey, record.asker);
        let context = self.evidence_context((netuid, subnet), roster, opened.tempo, keys);
        let picked = Picks::of(
            &context,
            subnet.schedule.beacon,
            record.commit.root,
            roster.openings,
        );
        let foundation = self.foundation((netuid, opened.tempo, name), roster, record);
        opening::check(&context, &foundation.committed(), &picked, opened)
    }

    pub(crate) fn open_evidence(&mut self, accepted: &AcceptedOpening) {
        match &accepted.outcome {
            OpeningOutcome::Holds { shown, weights } => {
                let key = (accepted.netuid, accepted.tempo, accepted.name);
                self.update_evidence(key, |record| {
                    record.shown = Some(shown.clone());
                    record.weights = Some(*weights);
                });
            }
            OpeningOutcome::Forged(penalty) => self.punish(penalty),
        }
    }

    /// Changes a record that a check found.
    pub(super) fn update_evidence(
        &mut self,
        key: (Netuid, u64, Hotkey),
        update: impl FnOnce(&mut EvidenceRecord),
    ) {
        let mut record: EvidenceRecord = self.table.read(&key).expect("a check found the record");
        update(&mut record);
        self.table.write(&key, &record);
    }
}
