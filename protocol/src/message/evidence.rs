//! What a validator commits to of a tempo's work, and how a part of it is shown.
//!
//! The evidence of a tempo is a list of leaves under one Merkle root ([`crate::merkle`]), which goes on the ledger
//! before anyone knows which leaves will be asked for. These are the bytes; what a leaf has to say, which leaves are
//! asked for and what follows from them is the crate `evidence`'s.

use std::net::SocketAddr;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{ChallengeHeader, MessageError, Receipt, Signed, at_most};
use crate::id::{Digest, Hotkey, Netuid, Uid};
use crate::sign::DrawProof;
use crate::{codec, merkle};

/// What a validator commits to of one tempo's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct EvidenceCommit {
    /// The tempo.
    pub tempo: u64,
    /// Merkle root over the leaves.
    pub root: Digest,
    /// How many leaves there are.
    pub leaf_count: u32,
    /// Share of the slots owed that the validator says it proves, parts per million.
    pub claimed_ppm: u32,
    /// Where anyone can fetch all of it, if the validator serves it.
    pub served_at: Option<SocketAddr>,
}

impl EvidenceCommit {
    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        at_most("claimed_ppm", self.claimed_ppm as usize, 1_000_000)
    }
}

/// One line of a tempo's evidence.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Leaf {
    /// A question and what came of it.
    Answer(Box<AnswerLeaf>),
    /// A slot that was owed and in which nobody was asked.
    NotAsked,
    /// The answers to one item, set against each other.
    Item(ItemLeaf),
    /// What a UID's answers are worth together.
    Standing(StandingLeaf),
    /// The weights that were made of the standings.
    Weights(WeightsLeaf),
}

impl Leaf {
    /// Most bytes of a leaf that can be shown to the ledger.
    pub const BYTES_MAX: usize = 24 * 1024;

    /// Its digest, as the tree has it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        codec::digest("agon 2026-11 evidence leaf", &codec::encode(self))
    }
}

/// A question to one miner and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AnswerLeaf {
    /// The miner's slot.
    pub uid: Uid,
    /// The question.
    pub header: ChallengeHeader,
    /// What came of it.
    pub result: AnswerResult,
    /// What an audit found, if there was one: the digest of its record in the bundle.
    pub audit: Option<Digest>,
    /// What the answer was judged to be worth, parts per million of the reference.
    pub score_ppm: u32,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum AnswerResult {
    /// An answer with a receipt.
    Answered {
        /// The miner's signed statement.
        receipt: Box<Signed<Receipt>>,
        /// Milliseconds from the question to the first piece of text, by the validator's clock.
        first_ms: u32,
        /// Milliseconds from the question to the receipt.
        total_ms: u32,
    },
    /// No answer, or none that can be used.
    Failed(Failure),
}

/// In which way asking a miner failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub enum Failure {
    /// The miner could not be reached or went away.
    Unreachable,
    /// The deadline passed.
    Late,
    /// The miner's queue is full.
    Busy,
    /// The miner does not accept the validator or its challenge.
    Refused,
    /// The answer breaks a limit, or its receipt does not hold.
    Invalid,
    /// The miner reports a failure of its own.
    Broken,
}

impl Failure {
    /// Name for evidence, logs and metrics; one of a fixed set.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Late => "late",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Broken => "broken",
        }
    }
}

/// The answers to one item and what each is worth against the others.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ItemLeaf {
    /// Round of the validator within the tempo.
    pub round: u32,
    /// Which of the round's items.
    pub item_index: u32,
    /// Digest of the reference answer.
    pub reference: Digest,
    /// The answers, UIDs ascending.
    pub answers: Vec<ItemAnswer>,
}

/// One answer among those to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ItemAnswer {
    /// Who gave it.
    pub uid: Uid,
    /// Digest of the text; `None` = no answer.
    pub digest: Option<Digest>,
    /// What it was judged to be worth, parts per million of the reference.
    pub score_ppm: u32,
    /// What it is worth among the others, parts per million of the reference.
    pub value_ppm: u32,
}

/// Where a UID stands when the weights are made.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StandingLeaf {
    /// The slot.
    pub uid: Uid,
    /// Its newest answers, oldest first.
    pub window: Vec<WindowEntry>,
    /// What they are worth together, parts per million.
    pub rating_ppm: u32,
    /// How many UIDs speak with its voice, itself included.
    pub voices: u32,
    /// What it has proven that it can do at once; 0 where that is not measured.
    pub work: u32,
    /// What it is paid for in proportion to the others.
    pub pay: u64,
}

/// One answer in a UID's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WindowEntry {
    /// Number of the item, counted over all items of the validator.
    pub item: u64,
    /// Digest of the text; `None` = no answer.
    pub digest: Option<Digest>,
    /// What it was worth, parts per million.
    pub value_ppm: u32,
    /// Whether giving the same answer says something about two miners.
    pub is_telling: bool,
}

/// The weights of a tempo, as they were committed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WeightsLeaf {
    /// UIDs ascending, the largest value `u16::MAX`.
    pub row: Vec<(Uid, u16)>,
}

impl WeightsLeaf {
    /// The digest of the leaf that holds this row, as the tree has it.
    #[must_use]
    pub fn digest_of(row: Vec<(Uid, u16)>) -> Digest {
        Leaf::Weights(Self { row }).digest()
    }
}

/// A leaf with the way from it to the root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedLeaf {
    /// Its place, from 0.
    pub index: u32,
    /// The leaf.
    pub leaf: Leaf,
    /// The siblings on the way.
    pub path: Vec<Digest>,
}

impl OpenedLeaf {
    /// Opens the leaf at `index`; `None` when there is no such leaf.
    #[must_use]
    pub fn open(leaves: &[Leaf], digests: &[Digest], index: u32) -> Option<Self> {
        Some(Self {
            index,
            leaf: leaves.get(index as usize)?.clone(),
            path: merkle::path(digests, index as usize)?,
        })
    }

    /// Whether the commit covers this leaf at this place.
    #[must_use]
    pub fn is_of(&self, commit: &EvidenceCommit) -> bool {
        let (count, index) = (commit.leaf_count.into(), self.index.into());
        merkle::root_of(count, index, self.leaf.digest(), &self.path) == Some(commit.root)
    }

    fn validate(&self) -> Result<(), MessageError> {
        at_most("path digests", self.path.len(), merkle::PATH_MAX)
    }
}

/// A leaf by its digest, with the way from it to the root: for whoever knows what the leaf says.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedDigest {
    /// The leaf's digest.
    pub digest: Digest,
    /// The siblings on the way.
    pub path: Vec<Digest>,
}

impl OpenedDigest {
    /// Opens the last leaf; `None` when there is none.
    #[must_use]
    pub fn last(digests: &[Digest]) -> Option<Self> {
        let index = digests.len().checked_sub(1)?;
        Some(Self {
            digest: *digests.get(index)?,
            path: merkle::path(digests, index)?,
        })
    }

    /// Whether the commit covers this leaf as its last.
    #[must_use]
    pub fn is_last_of(&self, commit: &EvidenceCommit) -> bool {
        let count = u64::from(commit.leaf_count);
        let index = count.checked_sub(1);
        let root = index.and_then(|index| merkle::root_of(count, index, self.digest, &self.path));
        root == Some(commit.root)
    }

    fn validate(&self) -> Result<(), MessageError> {
        at_most("path digests", self.path.len(), merkle::PATH_MAX)
    }
}

/// The leaves that a tempo's beacon picked, and the proofs of the draws that they rest on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EvidenceOpening {
    /// The tempo that the evidence is of.
    pub tempo: u64,
    /// Proofs of the draws of the rounds owed, the first round first; those of rounds that were not asked are missing
    /// from the end.
    pub draws: Vec<DrawProof>,
    /// The leaves, indexes ascending.
    pub leaves: Vec<OpenedLeaf>,
    /// The last leaf of the evidence, which holds its weights. Its digest is enough: the ledger has the row that was
    /// revealed, and knows by it whether the evidence gives the same.
    pub weights: OpenedDigest,
}

impl EvidenceOpening {
    /// Most leaves that are opened at once.
    pub const LEAVES_MAX: usize = 64;
    /// Most rounds that can be owed in a tempo.
    pub const ROUNDS_MAX: usize = 64;

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        at_most("draws", self.draws.len(), Self::ROUNDS_MAX)?;
        at_most("leaves", self.leaves.len(), Self::LEAVES_MAX)?;
        self.weights.validate()?;
        self.leaves.iter().try_for_each(OpenedLeaf::validate)
    }
}

/// A step of a validator that does not follow from the rules, shown by the leaves it is made of.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Forgery {
    /// An answer that was not drawn, not asked as it had to be, or not signed by the miner.
    Answer {
        /// The answer.
        answer: OpenedLeaf,
        /// Proofs of the draws of the rounds up to the answer's.
        draws: Vec<DrawProof>,
    },
    /// An answer that is judged otherwise than the task judges it.
    Judgement {
        /// The answer.
        answer: OpenedLeaf,
        /// Its text.
        text: String,
    },
    /// An item in which an answer has another score or text than the answer itself.
    Copied {
        /// The answer.
        answer: OpenedLeaf,
        /// The item.
        item: OpenedLeaf,
    },
    /// An item whose values do not follow from its scores.
    Values {
        /// The item.
        item: OpenedLeaf,
    },
    /// A standing that does not follow from its window.
    Standing {
        /// The standing.
        standing: OpenedLeaf,
    },
    /// A weight that does not follow from the standings.
    Weight {
        /// The weights.
        weights: OpenedLeaf,
        /// Standing of the UID that got the largest weight.
        best: OpenedLeaf,
        /// Standing of the UID whose weight is wrong.
        standing: OpenedLeaf,
    },
}

impl Forgery {
    /// Most bytes of an answer's text that is judged again.
    pub const TEXT_BYTES_MAX: usize = 16 * 1024;

    /// Name of the step.
    #[must_use]
    pub const fn step(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "answer",
            Self::Judgement { .. } => "judgement",
            Self::Copied { .. } => "copied",
            Self::Values { .. } => "values",
            Self::Standing { .. } => "standing",
            Self::Weight { .. } => "weight",
        }
    }

    /// The leaves that show it.
    #[must_use]
    pub fn leaves(&self) -> Vec<&OpenedLeaf> {
        match self {
            Self::Answer { answer, .. } | Self::Judgement { answer, .. } => vec![answer],
            Self::Copied { answer, item } => vec![answer, item],
            Self::Values { item } => vec![item],
            Self::Standing { standing } => vec![standing],
            Self::Weight {
                weights,
                best,
                standing,
            } => vec![weights, best, standing],
        }
    }

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        match self {
            Self::Answer { draws, .. } => {
                at_most("draws", draws.len(), EvidenceOpening::ROUNDS_MAX)?;
            }
            Self::Judgement { text, .. } => at_most("text bytes", text.len(), Self::TEXT_BYTES_MAX)?,
            _ => {}
        }
        self.leaves().into_iter().try_for_each(OpenedLeaf::validate)
    }
}

/// A miner's answer to a failure that is claimed of it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Contest {
    /// The leaf that claims it.
    pub answer: OpenedLeaf,
    /// What the miner signed for the same challenge.
    pub receipt: Signed<Receipt>,
}

impl Contest {
    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        self.answer.validate()
    }
}

/// Whose evidence of which tempo a report or a contest is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct EvidenceOf {
    /// The subnet.
    pub netuid: Netuid,
    /// The validator.
    pub validator: Hotkey,
    /// The tempo.
    pub tempo: u64,
}

/// What the ledger says of the evidence of one tempo: what is owed, by whom, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceView {
    /// The subnet.
    pub netuid: Netuid,
    /// The tempo.
    pub tempo: u64,
    /// Name of the subnet's task.
    pub task: String,
    /// The tempo's beacon.
    pub beacon: Digest,
    /// Rounds that a validator owes.
    pub rounds: u32,
    /// Miners that it owes in a round, at most.
    pub miners: u32,
    /// Slots that are picked of each; 0 = no evidence is asked for.
    pub openings: u32,
    /// Who could be drawn when the tempo opened, UIDs ascending; empty when nobody could.
    pub roster: Vec<(Uid, Hotkey)>,
    /// The validators that committed to evidence, UIDs ascending.
    pub validators: Vec<EvidenceLine>,
}

impl EvidenceView {
    /// What the ledger has of one validator.
    #[must_use]
    pub fn of(&self, validator: Hotkey) -> Option<&EvidenceLine> {
        self.validators.iter().find(|line| line.hotkey == validator)
    }
}

/// What the ledger has of one validator's evidence of a tempo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceLine {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Its commit.
    pub commit: EvidenceCommit,
    /// Whether the picked leaves were shown and hold.
    pub is_opened: bool,
    /// Whether a forgery was found in it.
    pub is_forged: bool,
    /// The share that it proved, parts per million, once the epoch has counted it.
    pub coverage_ppm: Option<u32>,
}
