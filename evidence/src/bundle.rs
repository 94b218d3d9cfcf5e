//! A tempo's evidence in full, and the tree that is made of it.
//!
//! The leaves stand in this order: the slots owed, each with the answer to its round's first item; all other answers as
//! they were asked; the items; the standings; the weights.

use std::collections::BTreeSet;

use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    AnswerLeaf, EvidenceCommit, EvidenceOpening, Leaf, OpenedDigest, OpenedLeaf, StandingLeaf, WeightsLeaf,
    WindowEntry,
};
use agon_protocol::sign::DrawProof;
use agon_protocol::{codec, merkle};
use agon_scoring::rating::{Entry, Ratings, Standing, Window};
use agon_scoring::weights::{WeightPolicy, WeightsError, pay, weights};
use agon_subnets::Task;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::Context;
use crate::answer::Draws;
use crate::fold::{Memory, item_leaf, result_of};
use crate::record::{AnswerRecord, Audit, Round};

/// Most bytes of a bundle that are read.
pub const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most rounds of a tempo: those whose draws can be shown to the ledger at once.
pub const ROUNDS_MAX: u32 = 64;

/// Everything that a validator's weights of one tempo rest on.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Bundle {
    /// The ledger: digest of its genesis.
    pub genesis: Digest,
    /// The subnet.
    pub netuid: Netuid,
    /// The tempo.
    pub tempo: u64,
    /// The validator.
    pub validator: Hotkey,
    /// Its own slot, which it gives no weight.
    pub own_uid: Uid,
    /// What it remembered when the tempo opened.
    pub carried: Memory,
    /// Proofs of the draws of the rounds 0, 1 and so on, up to the last that was judged.
    pub draws: Vec<DrawProof>,
    /// The rounds that were judged, with their values.
    pub rounds: Vec<Round>,
    /// UIDs that changed hands after the last of them.
    pub forgotten: Vec<Uid>,
    /// Where everyone stood at the end.
    pub standings: Vec<StandingLeaf>,
    /// The weights that were made of it.
    pub row: Vec<(Uid, u16)>,
}

/// What a tempo ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where everyone stands, UIDs ascending.
    pub standings: Vec<StandingLeaf>,
    /// The weights, UIDs ascending.
    pub row: Vec<(Uid, u16)>,
}

impl Outcome {
    /// What the rules make of what a validator remembers at the end of a tempo; it gives its own slot no weight.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when there is nobody to weigh.
    pub fn of(memory: &Memory, own_uid: Uid, policy: &WeightPolicy) -> Result<Self, WeightsError> {
        let mut standings = memory.ratings.standings();
        memory.capacity.measure(&mut standings);
        let others: Vec<Standing> = standings.into_iter().filter(|it| it.uid != own_uid.0).collect();
        let row = weights(&others, policy)?;
        let leaves: Result<Vec<StandingLeaf>, WeightsError> = others
            .iter()
            .map(|standing| leaf(&memory.ratings, standing, policy))
            .collect();
        Ok(Self {
            standings: leaves?,
            row: row.into_iter().map(|(uid, weight)| (Uid(uid), weight)).collect(),
        })
    }
}

/// How standings turn into weights on a subnet with this task.
#[must_use]
pub fn policy(task: &dyn Task) -> WeightPolicy {
    WeightPolicy {
        pays_work: task.burst_items().is_some(),
        ..WeightPolicy::default()
    }
}

fn leaf(ratings: &Ratings, standing: &Standing, policy: &WeightPolicy) -> Result<StandingLeaf, WeightsError> {
    let window = ratings.windows().get(&standing.uid);
    Ok(StandingLeaf {
        uid: Uid(standing.uid),
        window: window.map(entries).unwrap_or_default(),
        rating_ppm: standing.rating_ppm,
        voices: standing.voices,
        work: standing.work,
        pay: pay(standing, policy)?,
    })
}

fn entries(window: &Window) -> Vec<WindowEntry> {
    let entry = |entry: &Entry| WindowEntry {
        item: entry.item,
        digest: entry.digest.map(Digest),
        value_ppm: entry.value_ppm,
        is_telling: entry.is_telling,
    };
    window.entries().iter().map(entry).collect()
}

impl Bundle {
    /// The leaves of the tree.
    #[must_use]
    pub fn leaves(&self, context: &Context<'_>) -> Vec<Leaf> {
        let slots = self.slots(context);
        let in_slots: BTreeSet<(u32, u32, Uid)> = slots.iter().flatten().map(|it| place(it)).collect();
        let is_elsewhere = |answer: &&AnswerRecord| !in_slots.contains(&place(answer));
        let others = self
            .rounds
            .iter()
            .flat_map(|round| &round.answers)
            .filter(is_elsewhere);
        let compared = self.rounds.iter().filter(|round| !round.is_burst);
        let items = compared.flat_map(|round| {
            let indexes = 0..round.items.len();
            indexes.map(|index| Leaf::Item(item_leaf(round, index)))
        });
        let slots = slots.iter().map(|slot| slot.map_or(Leaf::NotAsked, answer_leaf));
        let standings = self.standings.iter().cloned().map(Leaf::Standing);
        let weights = Leaf::Weights(WeightsLeaf {
            row: self.row.clone(),
        });
        slots
            .chain(others.map(answer_leaf))
            .chain(items)
            .chain(standings)
            .chain([weights])
            .collect()
    }

    /// The record of each slot owed, where it was asked.
    fn slots(&self, context: &Context<'_>) -> Vec<Option<&AnswerRecord>> {
        let draws = Draws::check(context, &self.draws).ok();
        let per_round = context.miners_per_round().max(1);
        let record = |slot: u32| {
            let uid = draws.as_ref()?.miner(context, slot)?;
            let round = self.rounds.iter().find(|round| round.round == slot / per_round)?;
            let is_it =
                |answer: &&AnswerRecord| answer.uid == uid && answer.challenge.message().item_index == 0;
            round.answers.iter().find(is_it)
        };
        (0..context.slot_count()).map(record).collect()
    }

    /// The commit to this bundle.
    #[must_use]
    pub fn commit(&self, context: &Context<'_>, served_at: Option<std::net::SocketAddr>) -> EvidenceCommit {
        let leaves = self.leaves(context);
        let digests: Vec<Digest> = leaves.iter().map(Leaf::digest).collect();
        let slots = context.slot_count() as usize;
        let asked = leaves
            .iter()
            .take(slots)
            .filter(|leaf| matches!(leaf, Leaf::Answer(_)))
            .count();
        let claimed = asked.saturating_mul(1_000_000) / slots.max(1);
        EvidenceCommit {
            tempo: self.tempo,
            root: merkle::root(&digests),
            leaf_count: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
            claimed_ppm: u32::try_from(claimed).unwrap_or(1_000_000),
            served_at,
        }
    }

    /// The leaves at `picked` with their paths, and the place of the weights.
    ///
    /// # Panics
    ///
    /// Never: the weights are a leaf of every bundle.
    #[must_use]
    pub fn open(&self, context: &Context<'_>, picked: &[u32]) -> EvidenceOpening {
        let leaves = self.leaves(context);
        let digests: Vec<Digest> = leaves.iter().map(Leaf::digest).collect();
        let owed = self.draws.iter().copied().take(context.rounds as usize);
        EvidenceOpening {
            tempo: self.tempo,
            draws: owed.collect(),
            leaves: picked
                .iter()
                .filter_map(|index| OpenedLeaf::open(&leaves, &digests, *index))
                .collect(),
            weights: OpenedDigest::last(&digests).expect("the weights are a leaf"),
        }
    }
}

/// Round, item and UID of an answer: no two of a tempo share them.
const fn place(answer: &AnswerRecord) -> (u32, u32, Uid) {
    let challenge = answer.challenge.message();
    (challenge.round, challenge.item_index, answer.uid)
}

/// What the tree has of an answer.
fn answer_leaf(answer: &AnswerRecord) -> Leaf {
    Leaf::Answer(Box::new(AnswerLeaf {
        uid: answer.uid,
        header: answer.challenge.message().header(),
        result: result_of(&answer.outcome),
        audit: answer.audit.as_ref().map(audit_digest),
        score_ppm: answer.score_ppm,
    }))
}

fn audit_digest(audit: &Audit) -> Digest {
    codec::digest("agon 2026-11 audit record", &codec::encode(audit))
}
