//! Contests: a miner answers a failure that a validator's evidence claims of it with its own receipt.
//!
//! A receipt can be signed late, so it proves nothing, and nobody is punished by it. It marks what the validator's row of
//! that tempo says of the miner as contested: where most of the other validators' stake gives the miner weight, their mean
//! counts in its place ([`agon_scoring::contest`]). There is one contest of each validator, tempo and miner, and it is kept
//! as long as the evidence.
//!
//! Contests are off unless a subnet's owner turns them on. They protect a miner from false accusations, and they also let
//! one that answers a little more than half of the validators be paid by all: nobody can tell the two apart.

use std::fmt;

use agon_protocol::id::{Hotkey, Netuid, Uid};
use agon_protocol::message::{AnswerLeaf, AnswerResult, Contest, EvidenceOf, Leaf, Receipt, Signed};
use thiserror::Error;

use crate::State;
use crate::parameters::ParameterId;
use crate::refusal::UnknownSubnet;
use crate::subnet::Subnet;

/// Why a contest is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContestFailureRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// The subnet has none.
    #[error("subnet {netuid} takes no contests: its owner turns them on with evidence_contests 1")]
    Off {
        /// Which subnet.
        netuid: Netuid,
    },
    /// Nothing that could be contested.
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
    /// The row has been counted.
    #[error(
        "weights of tempo {tempo} were counted when tempo {last} ended, this is tempo {running}: contest what is \
         claimed of a newer tempo"
    )]
    Late {
        /// Tempo that the evidence is of.
        tempo: u64,
        /// The last in which it can be contested.
        last: u64,
        /// The running tempo.
        running: u64,
    },
    /// Not what was committed to.
    #[error("leaf {index} is not under the committed root: show a leaf of the evidence as it was committed")]
    Root {
        /// Its place.
        index: u32,
    },
    /// Nothing is claimed of the sender.
    #[error(
        "leaf {index} claims no failure of {miner}: a miner contests the failures that are claimed of itself"
    )]
    NoFailure {
        /// Its place.
        index: u32,
        /// The sender.
        miner: Hotkey,
    },
    /// Not the receipt for that challenge.
    #[error("the receipt is not one that {miner} signed for the challenge of leaf {index}: show that one")]
    Receipt {
        /// The leaf's place.
        index: u32,
        /// The sender.
        miner: Hotkey,
    },
    /// Done already.
    #[error("UID {uid} contested a failure in this evidence of tempo {tempo} before: one contest is enough")]
    Contested {
        /// The miner.
        uid: Uid,
        /// The tempo.
        tempo: u64,
    },
}

impl ContestFailureRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Off { .. } => "contests off",
            Self::Unknown { .. } => "evidence kept",
            Self::Late { .. } => "contest window",
            Self::Root { .. } => "contest root",
            Self::NoFailure { .. } => "contest failure",
            Self::Receipt { .. } => "contest receipt",
            Self::Contested { .. } => "contested",
        }
    }
}

/// An accepted contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedContest {
    /// The evidence, by the validator's key that committed to it.
    pub of: EvidenceOf,
    /// The name of the validator's stake pools, by which its evidence goes.
    pub name: Hotkey,
    /// The miner.
    pub uid: Uid,
}

impl fmt::Display for AcceptedContest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EvidenceOf {
            netuid,
            validator,
            tempo,
        } = self.of;
        write!(
            f,
            "contests a failure of UID {} on subnet {netuid} in the evidence of {validator} of tempo {tempo}",
            self.uid
        )
    }
}

impl State {
    pub(crate) fn check_contest_failure(
        &self,
        miner: Hotkey,
        of: &EvidenceOf,
        contest: &Contest,
    ) -> Result<AcceptedContest, ContestFailureRefusal> {
        let EvidenceOf {
            netuid,
            validator,
            tempo,
        } = *of;
        let subnet = self.existing_subnet(netuid)?;
        if !subnet.parameters.is_on(ParameterId::EvidenceContests) {
            return Err(ContestFailureRefusal::Off { netuid });
        }
        let found = self.evidence_of(netuid, tempo, validator);
        let (name, record) = found.ok_or(ContestFailureRefusal::Unknown {
            netuid,
            validator,
            tempo,
        })?;
        let (last, running) = (counted_in(&subnet, tempo), subnet.schedule.tempo);
        if running > last {
            return Err(ContestFailureRefusal::Late { tempo, last, running });
        }
        let index = contest.answer.index;
        if !contest.answer.is_of(&record.commit) {
            return Err(ContestFailureRefusal::Root { index });
        }
        let answer = failure_of(&contest.answer.leaf, miner);
        let answer = answer.ok_or(ContestFailureRefusal::NoFailure { index, miner })?;
        if !is_receipt_for(answer, &contest.receipt) {
            return Err(ContestFailureRefusal::Receipt { index, miner });
        }
        let roster = self.roster(netuid, tempo);
        let uid = roster.and_then(|roster| roster.uid_of(miner));
        let uid = uid.ok_or(ContestFailureRefusal::NoFailure { index, miner })?;
        if record.contested.contains(&uid) {
            return Err(ContestFailureRefusal::Contested { uid, tempo });
        }
        Ok(AcceptedContest { of: *of, name, uid })
    }

    pub(crate) fn contest_failure(&mut self, accepted: &AcceptedContest) {
        let EvidenceOf { netuid, tempo, .. } = accepted.of;
        self.update_evidence((netuid, tempo, accepted.name), |record| {
            record.contested.push(accepted.uid);
            record.contested.sort_unstable();
        });
    }
}

/// The last tempo in which a row of `tempo` can begin to count: that of its reveal, or of the opening of its evidence.
fn counted_in(subnet: &Subnet, tempo: u64) -> u64 {
    let wait_tempos = match subnet.parameters.is_on(ParameterId::CommitReveal) {
        true => subnet.parameters.value(ParameterId::RevealPeriodTempos),
        false => 0,
    };
    tempo.saturating_add(wait_tempos.max(1))
}

fn failure_of(leaf: &Leaf, miner: Hotkey) -> Option<&AnswerLeaf> {
    match leaf {
        Leaf::Answer(answer) if answer.header.receiver == miner => {
            matches!(answer.result, AnswerResult::Failed(_)).then_some(answer)
        }
        _ => None,
    }
}

fn is_receipt_for(answer: &AnswerLeaf, receipt: &Signed<Receipt>) -> bool {
    let said = receipt.message();
    said.miner == answer.header.receiver
        && said.challenge == answer.header.digest()
        && receipt.check_signature().is_ok()
}
