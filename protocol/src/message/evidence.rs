//! What a validator commits to of a tempo's work, and how a part of it is shown.
//!
//! The evidence of a tempo is a list of leaves under one Merkle root ([`crate::merkle`]), which goes on the ledger
//! before anyone knows which leaves will be asked for. These are the bytes; what a leaf has to say, which leaves are
//! asked for and what follows from them is the crate `evidence`'s.

use std::net::SocketAddr;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{ChallengeHeader, MessageError, Receipt, Signed, at_most};
use crate::id::{Digest, Hotkey, Netuid, Uid};
use crate::session::{Ring, SessionInput};
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
    /// What shows whose session asked, where the tempo is asked in sessions.
    pub session: Option<DrawProof>,
}

impl EvidenceCommit {
    /// Most canonical bytes.
    pub const BYTES_MAX: usize = 256;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StandingLeaf {
    /// The slot.
    pub uid: Uid,
    /// How many answers its window has.
    pub item_count: u32,
    /// Digest over what each of them was worth, so that a leaf is short and its window shown only where it is asked for.
    pub values: Digest,
    /// Digest over the texts of the answers, which decide about voices.
    pub texts: Digest,
    /// What they are worth together, parts per million.
    pub rating_ppm: u32,
    /// How many UIDs speak with its voice, itself included.
    pub voices: u32,
    /// What it has proven that it can do at once; 0 where that is not measured.
    pub work: u32,
    /// What it is paid for in proportion to the others.
    pub pay: u64,
}

/// What one answer in a UID's window was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Worth {
    /// Number of the item, counted over all items of the validator.
    pub item: u64,
    /// Parts per million.
    pub value_ppm: u32,
}

/// The weights of a tempo, as they were committed, and where the other leaves stand.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WeightsLeaf {
    /// UIDs ascending, the largest value `u16::MAX`.
    pub row: Vec<(Uid, u16)>,
    /// UIDs that have a standing and no weight, ascending.
    pub unpaid: Vec<Uid>,
    /// Number of the tempo's first item, counted over all items of the validator.
    pub first_item: u64,
    /// What each round left behind, the first round first.
    pub rounds: Vec<RoundCount>,
}

/// How many leaves a round has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RoundCount {
    /// Items that were compared; 0 for a burst and for a round that says nothing.
    pub items: u32,
    /// Answers beside those in slots.
    pub others: u32,
}

impl WeightsLeaf {
    /// The digest of a row, by which the ledger knows whether the evidence gives the row that was revealed.
    #[must_use]
    pub fn row_digest(row: &[(Uid, u16)]) -> Digest {
        codec::digest("agon 2026-11 evidence row", &codec::encode(&row.to_vec()))
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

/// The leaves that a tempo's beacon picked, and the proofs of the draws that they rest on.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EvidenceOpening {
    /// The tempo that the evidence is of.
    pub tempo: u64,
    /// Proofs of the draws of the rounds, the first round first; those of rounds that were not asked are missing from
    /// the end.
    pub draws: Vec<DrawProof>,
    /// The leaves of the picked slots, indexes ascending.
    pub leaves: Vec<OpenedLeaf>,
    /// The text of each answer among them, in their order; empty where the task does not read it.
    pub texts: Vec<String>,
    /// The weights: the last leaf.
    pub weights: OpenedLeaf,
    /// What the trails have in common.
    pub rest: TrailRest,
    /// The trails, in the order in which they were picked; none where nobody has a standing.
    pub trails: Vec<Trail>,
}

impl EvidenceOpening {
    /// Most leaves that are opened at once.
    pub const LEAVES_MAX: usize = 64;
    /// Most rounds that can be owed in a tempo.
    pub const ROUNDS_MAX: usize = 64;
    /// Most trails.
    pub const TRAILS_MAX: usize = 4;
    /// Most bytes of a text that is shown: twice what a task that reads texts lets a miner answer.
    pub const TEXT_BYTES_MAX: usize = 1024;

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        at_most("draws", self.draws.len(), Self::ROUNDS_MAX)?;
        at_most("leaves", self.leaves.len(), Self::LEAVES_MAX)?;
        at_most("texts", self.texts.len(), Self::LEAVES_MAX)?;
        at_most("trails", self.trails.len(), Self::TRAILS_MAX)?;
        for text in &self.texts {
            at_most("text bytes", text.len(), Self::TEXT_BYTES_MAX)?;
        }
        self.leaves.iter().try_for_each(OpenedLeaf::validate)?;
        self.weights.validate()?;
        self.rest.validate()?;
        self.trails.iter().try_for_each(Trail::validate)
    }
}

/// A way from weights back to a signed answer: each step of it can be repeated by whoever sees it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Trail {
    /// The standing of a UID.
    pub standing: OpenedLeaf,
    /// What its newest answers were worth, oldest first.
    pub window: Vec<Worth>,
    /// Its standing in the tempo before, where the validator committed to evidence and it had one.
    pub carried: Option<Carried>,
    /// One of its answers of the tempo, where its window has some.
    pub answer: Option<TrailAnswer>,
}

impl Trail {
    /// Most answers of a window.
    pub const WINDOW_MAX: usize = 256;

    /// The leaves of the tempo's own tree.
    #[must_use]
    pub fn leaves(&self) -> Vec<&OpenedLeaf> {
        let answer = self.answer.iter().flat_map(|shown| [&shown.item, &shown.answer]);
        [&self.standing].into_iter().chain(answer).collect()
    }

    fn validate(&self) -> Result<(), MessageError> {
        at_most("window answers", self.window.len(), Self::WINDOW_MAX)?;
        if let Some(carried) = &self.carried {
            carried.standing.validate()?;
        }
        if let Some(answer) = &self.answer {
            at_most("text bytes", answer.text.len(), EvidenceOpening::TEXT_BYTES_MAX)?;
        }
        self.leaves().into_iter().try_for_each(OpenedLeaf::validate)
    }
}

/// What a window was carried over from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Carried {
    /// The UID's standing in the evidence of the tempo before.
    pub standing: OpenedLeaf,
    /// Digest over those of its answers that are too old to be carried on.
    pub dropped: Digest,
}

/// An answer in a window, as it was compared and as it was given.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TrailAnswer {
    /// The item.
    pub item: OpenedLeaf,
    /// The answer.
    pub answer: OpenedLeaf,
    /// Its text; empty where there is none or the task does not read it.
    pub text: String,
}

/// What all trails of an opening rest on, beside the weights.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TrailRest {
    /// The standing of the largest weight, of equals the lowest UID; `None` where there are no weights.
    pub best: Option<OpenedLeaf>,
    /// The weights of the tempo before, where the validator committed to evidence in it.
    pub before: Option<OpenedLeaf>,
}

impl TrailRest {
    fn validate(&self) -> Result<(), MessageError> {
        let leaves = self.best.iter().chain(&self.before);
        leaves.into_iter().try_for_each(OpenedLeaf::validate)
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
        /// What its answers were worth.
        window: Vec<Worth>,
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
    /// A trail on which some step does not follow: a window that is not what was answered or carried over, a leaf that is
    /// not where it has to be.
    Trail {
        /// Proofs of the draws of all rounds.
        draws: Vec<DrawProof>,
        /// The weights.
        weights: OpenedLeaf,
        /// What the trail rests on beside them.
        rest: Box<TrailRest>,
        /// The trail.
        trail: Box<Trail>,
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
            Self::Trail { .. } => "trail",
        }
    }

    /// The leaves of the tempo's own tree that show it.
    #[must_use]
    pub fn leaves(&self) -> Vec<&OpenedLeaf> {
        match self {
            Self::Answer { answer, .. } | Self::Judgement { answer, .. } => vec![answer],
            Self::Copied { answer, item } => vec![answer, item],
            Self::Values { item } => vec![item],
            Self::Standing { standing, .. } => vec![standing],
            Self::Weight {
                weights,
                best,
                standing,
            } => vec![weights, best, standing],
            Self::Trail {
                weights, rest, trail, ..
            } => {
                let shared = [weights].into_iter().chain(&rest.best);
                shared.chain(trail.leaves()).collect()
            }
        }
    }

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        match self {
            Self::Answer { draws, .. } => {
                at_most("draws", draws.len(), EvidenceOpening::ROUNDS_MAX)?;
            }
            Self::Judgement { text, .. } => at_most("text bytes", text.len(), Self::TEXT_BYTES_MAX)?,
            Self::Standing { window, .. } => at_most("window answers", window.len(), Trail::WINDOW_MAX)?,
            Self::Trail {
                draws, rest, trail, ..
            } => {
                at_most("draws", draws.len(), EvidenceOpening::ROUNDS_MAX)?;
                rest.validate()?;
                trail.validate()?;
            }
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
    /// Answers that each of them said it can give at once, in their order.
    pub at_once: Vec<u16>,
    /// Whether validators ask in sessions, which do not tell who they are ([`crate::session`]), or with their hotkeys.
    pub in_sessions: bool,
    /// Who had a permit when the tempo opened, UIDs ascending: the ring of its sessions.
    pub permitted: Vec<(Uid, Hotkey)>,
    /// The validators that committed to evidence, UIDs ascending.
    pub validators: Vec<EvidenceLine>,
}

impl EvidenceView {
    /// What the ledger has of one validator.
    #[must_use]
    pub fn of(&self, validator: Hotkey) -> Option<&EvidenceLine> {
        self.validators.iter().find(|line| line.hotkey == validator)
    }

    /// The ring that sessions of the tempo are certified by; `None` where it is asked with hotkeys.
    #[must_use]
    pub fn ring(&self, genesis: Digest) -> Option<Ring> {
        let input = self.session_input(genesis);
        let permitted = self.permitted.iter().map(|(_, hotkey)| *hotkey);
        self.in_sessions.then(|| Ring::new(input, permitted).ok())?
    }

    /// What sessions of the tempo are of.
    #[must_use]
    pub const fn session_input(&self, genesis: Digest) -> SessionInput {
        SessionInput {
            genesis,
            netuid: self.netuid,
            tempo: self.tempo,
        }
    }
}

/// What the ledger has of one validator's evidence of a tempo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceLine {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// The key that it drew and asked by: its session's, or its hotkey.
    pub asker: Hotkey,
    /// Its commit.
    pub commit: EvidenceCommit,
    /// Whether the picked leaves were shown and hold.
    pub is_opened: bool,
    /// Whether a forgery was found in it.
    pub is_forged: bool,
    /// The share that it proved, parts per million, once the epoch has counted it.
    pub coverage_ppm: Option<u32>,
}
