//! What a validator writes down of a round, in full: signed challenges and receipts as they were sent, answers,
//! judgements with their reasons. Leaves of the tree are made of it, and nothing else is needed to fold it again.

use std::collections::{BTreeMap, VecDeque};

use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{Challenge, Failure, OpenedWindow, Receipt, Signed};
use agon_protocol::sign::DrawProof;
use agon_scoring::verify::Tally;
use borsh::{BorshDeserialize, BorshSerialize};

/// Newest audits of a miner that are kept.
pub const AUDITS_KEPT: usize = 32;

/// A round that was judged.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Round {
    /// The subnet.
    pub netuid: Netuid,
    /// Its tempo.
    pub tempo: u64,
    /// Number of the round within the tempo.
    pub round: u32,
    /// Number of the round among all of this validator's.
    pub sequence: u64,
    /// When it began, Unix milliseconds.
    pub time_ms: u64,
    /// Whether it is a burst: every miner is asked items of its own at the same moment, to see how many it can answer.
    pub is_burst: bool,
    /// UIDs that changed hands since the round before and start fresh, ascending.
    pub forgotten: Vec<Uid>,
    /// Beacon of the tempo.
    pub beacon: Digest,
    /// Proof that it was drawn.
    pub draw: DrawProof,
    /// Proof of the draw of its audits.
    pub audit_draw: DrawProof,
    /// The items, in the order of their index.
    pub items: Vec<ItemRecord>,
    /// The asked miners and what they were worth after the round, UID ascending.
    pub miners: Vec<MinerRecord>,
    /// Every question and what came of it.
    pub answers: Vec<AnswerRecord>,
}

/// One item of a round.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ItemRecord {
    /// The seed it is made from.
    pub seed: [u8; 32],
    /// Kind of question.
    pub kind: String,
    /// The reference answer.
    pub reference: String,
}

/// One miner of a round.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct MinerRecord {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Its rating after the round, parts per million.
    pub rating_ppm: u32,
}

/// One question to one miner.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct AnswerRecord {
    /// The miner's slot.
    pub uid: Uid,
    /// The challenge as it was sent; its prompt can be made again from the item's seed.
    pub challenge: Signed<Challenge>,
    /// What came back.
    pub outcome: Outcome,
    /// What an audit found, where there was one.
    pub audit: Option<Audit>,
    /// What it is worth, parts per million.
    pub score_ppm: u32,
    /// Why.
    pub reason: String,
    /// Its strength among the answers to the item, parts per million of the reference answer's.
    pub strength_ppm: u32,
}

/// What came of asking a miner.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Outcome {
    /// An answer with a receipt that holds.
    Answered {
        /// The text.
        text: String,
        /// What it is made of, the end of the text included; empty when the miner does not say.
        tokens: Vec<u32>,
        /// Milliseconds from the question to the first piece of text, by our clock.
        first_ms: u32,
        /// Milliseconds from the question to the receipt.
        total_ms: u32,
        /// The miner's signed statement.
        receipt: Box<Signed<Receipt>>,
    },
    /// No answer, or none that can be used.
    Failed {
        /// In which way.
        failure: Failure,
        /// In words, for people.
        reason: String,
    },
}

/// What an audit found about one answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Audit {
    /// What was measured; empty when there was nothing to measure.
    pub tally: Tally,
    /// Windows of codes as the miner opened them.
    pub windows: Vec<OpenedWindow>,
    /// Why the answer alone is rejected, if it is.
    pub failure: Option<String>,
}

impl Audit {
    /// The miner did not open the codes that its receipt commits to.
    #[must_use]
    pub fn withheld(reason: &str) -> Self {
        Self::failed(
            Vec::new(),
            format!("the activation codes were not opened: {reason}"),
        )
    }

    /// The answer alone is rejected.
    #[must_use]
    pub fn failed(windows: Vec<OpenedWindow>, failure: impl Into<String>) -> Self {
        Self {
            tally: Tally::default(),
            windows,
            failure: Some(failure.into()),
        }
    }
}

/// The newest tallies of each miner.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tallies(BTreeMap<Uid, VecDeque<Tally>>);

impl Tallies {
    /// Adds what an audit measured. An audit that failed without a measurement adds nothing: it stands for itself.
    pub fn add(&mut self, uid: Uid, tally: Tally) {
        if tally == Tally::default() {
            return;
        }
        let newest = self.0.entry(uid).or_default();
        newest.push_back(tally);
        if newest.len() > AUDITS_KEPT {
            newest.pop_front();
        }
    }

    /// The newest tallies of a miner, oldest first.
    pub fn of(&self, uid: Uid) -> impl Iterator<Item = &Tally> {
        self.0.get(&uid).into_iter().flatten()
    }

    /// Forgets a miner.
    pub fn forget(&mut self, uid: Uid) {
        self.0.remove(&uid);
    }
}
