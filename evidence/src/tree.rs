//! The tree that is made of a bundle: its leaves, where each stands, and the ways from them to the root.
//!
//! The places are those of [`crate::sections`], which the weights' leaf, the last one, tells whoever is shown a leaf.

use std::collections::{BTreeMap, BTreeSet};

use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::{
    AnswerLeaf, Carried, EvidenceOpening, Forgery, Leaf, OpenedLeaf, RoundCount, StandingLeaf, Trail,
    TrailAnswer, TrailRest, WeightsLeaf, Worth,
};
use agon_protocol::{codec, merkle};
use agon_subnets::Task;

use crate::Context;
use crate::answer::Draws;
use crate::bundle::{Bundle, ROUNDS_MAX};
use crate::fold::{item_leaf, result_of};
use crate::record::{AnswerRecord, Audit, Outcome, Round};
use crate::sections::{Sections, standing_of};
use crate::slots::Picks;
use crate::window::{START, kept_count, link_after, worth};

/// Round, item and UID of an answer: no two of a tempo share them.
type Place = (u32, u32, Uid);

/// A bundle with its leaves.
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    bundle: &'a Bundle,
    leaves: Vec<Leaf>,
    digests: Vec<Digest>,
    answers: BTreeMap<Place, (u32, &'a AnswerRecord)>,
    items: BTreeMap<(u32, u32), u32>,
}

impl<'a> Tree<'a> {
    /// Makes the leaves of a bundle.
    #[must_use]
    pub fn of(context: &Context<'_>, bundle: &'a Bundle) -> Self {
        let mut tree = Self {
            bundle,
            leaves: Vec::new(),
            digests: Vec::new(),
            answers: BTreeMap::new(),
            items: BTreeMap::new(),
        };
        let others = tree.add_answers(context);
        let rounds = tree.add_items(&others);
        let weights = weights_leaf(bundle, rounds);
        let of_uid: BTreeMap<Uid, &StandingLeaf> =
            bundle.standings.iter().map(|leaf| (leaf.uid, leaf)).collect();
        let uids = weights.row.iter().map(|cell| &cell.0).chain(&weights.unpaid);
        let standings = uids.filter_map(|uid| of_uid.get(uid));
        tree.leaves.extend(standings.map(|leaf| Leaf::Standing(**leaf)));
        tree.leaves.push(Leaf::Weights(weights));
        tree.digests = tree.leaves.iter().map(Leaf::digest).collect();
        tree
    }

    /// Adds the slots and then the other answers, and gives how many of these each round has.
    fn add_answers(&mut self, context: &Context<'_>) -> BTreeMap<u32, u32> {
        let records = self.bundle.rounds.iter().flat_map(|round| &round.answers);
        let mut left: BTreeMap<Place, &'a AnswerRecord> =
            records.map(|answer| (place(answer), answer)).collect();
        let draws = Draws::check(context, &self.bundle.draws).ok();
        let per_round = context.miners_per_round().max(1);
        for slot in 0..context.slot_count() {
            let miner = draws.as_ref().and_then(|draws| draws.miner(context, slot));
            let of_slot = miner.and_then(|uid| left.remove_entry(&(slot / per_round, 0, uid)));
            match of_slot {
                Some((_, record)) => self.add_answer(record),
                None => self.leaves.push(Leaf::NotAsked),
            }
        }
        let mut counts = BTreeMap::new();
        for ((round, ..), record) in left {
            *counts.entry(round).or_insert(0) += 1;
            self.add_answer(record);
        }
        counts
    }

    fn add_answer(&mut self, record: &'a AnswerRecord) {
        self.answers.insert(place(record), (self.leaf_count(), record));
        self.leaves.push(Leaf::Answer(Box::new(answer_leaf(record))));
    }

    /// Adds the items of rounds that were compared, and gives what each round of the tempo left behind.
    fn add_items(&mut self, others: &BTreeMap<u32, u32>) -> Vec<RoundCount> {
        let rounds = self.bundle.rounds.iter().filter(|round| round.round < ROUNDS_MAX);
        let mut rounds: Vec<&'a Round> = rounds.collect();
        rounds.sort_unstable_by_key(|round| round.round);
        let mut counts = Vec::new();
        for round in rounds {
            let items = if round.is_burst { 0 } else { round.items.len() };
            for index in 0..items {
                let leaf = item_leaf(round, index);
                self.items
                    .insert((leaf.round, leaf.item_index), self.leaf_count());
                self.leaves.push(Leaf::Item(leaf));
            }
            counts.resize(round.round as usize, RoundCount::default());
            counts.push(RoundCount {
                items: u32::try_from(items).unwrap_or(u32::MAX),
                others: others.get(&round.round).copied().unwrap_or(0),
            });
        }
        counts
    }

    /// The leaves, in their order.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// How many there are.
    #[must_use]
    pub fn leaf_count(&self) -> u32 {
        u32::try_from(self.leaves.len()).unwrap_or(u32::MAX)
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Digest {
        merkle::root(&self.digests)
    }

    /// The leaf at `index` with its path; `None` when there is no such leaf.
    #[must_use]
    pub fn leaf(&self, index: u32) -> Option<OpenedLeaf> {
        OpenedLeaf::open(&self.leaves, &self.digests, index)
    }

    /// What the tree has of an answer; a path is as long to make as the tree is, and is not made here.
    #[must_use]
    pub fn answer_leaf(&self, of: &AnswerRecord) -> Option<&AnswerLeaf> {
        let (index, _) = self.answers.get(&place(of))?;
        match self.leaves.get(*index as usize)? {
            Leaf::Answer(leaf) => Some(leaf),
            _ => None,
        }
    }

    /// The leaf of an answer.
    #[must_use]
    pub fn answer(&self, of: &AnswerRecord) -> Option<OpenedLeaf> {
        self.leaf(self.answers.get(&place(of))?.0)
    }

    /// The leaf of an item of a round.
    #[must_use]
    pub fn item(&self, round: u32, item_index: u32) -> Option<OpenedLeaf> {
        self.leaf(*self.items.get(&(round, item_index))?)
    }

    /// The leaf of a UID's standing.
    #[must_use]
    pub fn standing(&self, uid: Uid) -> Option<OpenedLeaf> {
        self.leaf(standing_of(self.weights_leaf()?, self.leaf_count(), uid)?)
    }

    /// The leaf of the weights.
    #[must_use]
    pub fn weights(&self) -> Option<OpenedLeaf> {
        self.leaf(self.leaf_count().checked_sub(1)?)
    }

    fn weights_leaf(&self) -> Option<&WeightsLeaf> {
        match self.leaves.last() {
            Some(Leaf::Weights(leaf)) => Some(leaf),
            _ => None,
        }
    }

    fn sections(&self, context: &Context<'_>) -> Option<Sections<'_>> {
        Sections::of(context, self.leaf_count(), self.weights_leaf()?).ok()
    }

    /// What was picked of the tree; see [`Bundle::open`].
    #[must_use]
    pub fn opening(
        &self,
        context: &Context<'_>,
        picked: &Picks,
        before: Option<&Tree<'_>>,
    ) -> Option<EvidenceOpening> {
        let sections = self.sections(context)?;
        let task = agon_subnets::task(context.task)?;
        let leaves = picked.slots.iter().map(|slot| self.leaf(*slot));
        let slots = self
            .answers
            .values()
            .filter(|(index, _)| picked.slots.contains(index));
        let mut texts: Vec<(u32, String)> = slots
            .filter(|(_, record)| matches!(record.outcome, Outcome::Answered { .. }))
            .map(|(index, record)| (*index, text(&*task, record)))
            .collect();
        texts.sort_unstable_by_key(|text| text.0);
        let places = (0..)
            .zip(&picked.trails)
            .map_while(|(number, pick)| Some((sections.picked(number, pick)?, pick)));
        let trails = places.map(|(place, pick)| {
            let chosen = |fresh: &[Worth]| {
                let place = pick.answer.checked_rem(fresh.len() as u64)?;
                Some(fresh.get(usize::try_from(place).ok()?)?.item)
            };
            self.trail(&sections, &*task, place, before, chosen)
        });
        Some(EvidenceOpening {
            tempo: self.bundle.tempo,
            draws: self.bundle.draws.clone(),
            leaves: leaves.collect::<Option<_>>()?,
            texts: texts.into_iter().map(|text| text.1).collect(),
            weights: self.weights()?,
            rest: self.rest(&sections, before)?,
            trails: trails.collect::<Option<_>>()?,
        })
    }

    /// What trails rest on beside the weights.
    fn rest(&self, sections: &Sections<'_>, before: Option<&Tree<'_>>) -> Option<TrailRest> {
        let best = sections
            .best()
            .map(|place| self.leaf(sections.standing(place)?.1));
        let before = before.map(Tree::weights);
        // What there is has to be shown.
        Some(TrailRest {
            best: best.map_or(Some(None), |leaf| leaf.map(Some))?,
            before: before.map_or(Some(None), |leaf| leaf.map(Some))?,
        })
    }

    /// The trail from the standing at `place` to the tempo's answer whose item `chosen` gives.
    fn trail(
        &self,
        sections: &Sections<'_>,
        task: &dyn Task,
        place: usize,
        before: Option<&Tree<'_>>,
        chosen: impl Fn(&[Worth]) -> Option<u64>,
    ) -> Option<Trail> {
        let (uid, standing) = sections.standing(place)?;
        let window = worth(self.bundle.window(uid)?);
        let first_item = sections.weights().first_item;
        let fresh = &window[window.partition_point(|worth| worth.item < first_item)..];
        let answer = match chosen(fresh) {
            Some(item) => Some(self.trail_answer(sections, task, item, uid)?),
            None => None,
        };
        Some(Trail {
            standing: self.leaf(standing)?,
            carried: before.and_then(|before| before.carried(uid, fresh.len())),
            answer,
            window,
        })
    }

    fn trail_answer(
        &self,
        sections: &Sections<'_>,
        task: &dyn Task,
        item: u64,
        uid: Uid,
    ) -> Option<TrailAnswer> {
        let item = sections.item(item)?;
        let (answer, record) = self.answers.get(&(item.round, item.item_index, uid))?;
        Some(TrailAnswer {
            item: self.leaf(item.leaf)?,
            answer: self.leaf(*answer)?,
            text: text(task, record),
        })
    }

    /// What a window that this tree's tempo ends with is to the tempo after it, which adds `added` answers.
    fn carried(&self, uid: Uid, added: usize) -> Option<Carried> {
        let window = worth(self.bundle.window(uid)?);
        let kept = kept_count(window.len(), added);
        Some(Carried {
            standing: self.standing(uid)?,
            dropped: link_after(START, &window[..window.len() - kept]),
        })
    }

    /// The report of a trail from a UID's standing: to its answer to the item of that number, where it is of this tempo
    /// and in its window, else to its oldest of the tempo.
    #[must_use]
    pub fn trail_of(
        &self,
        context: &Context<'_>,
        uid: Uid,
        item: Option<u64>,
        before: Option<&Tree<'_>>,
    ) -> Option<Forgery> {
        let sections = self.sections(context)?;
        let task = agon_subnets::task(context.task)?;
        let place = (0..sections.standing_count())
            .find(|place| sections.standing(*place).map(|it| it.0) == Some(uid))?;
        let chosen = |fresh: &[Worth]| {
            let mut items = fresh.iter().map(|worth| worth.item);
            let oldest = items.clone().next();
            items.find(|other| Some(*other) == item).or(oldest)
        };
        Some(Forgery::Trail {
            draws: self.bundle.draws.clone(),
            weights: self.weights()?,
            rest: Box::new(self.rest(&sections, before)?),
            trail: Box::new(self.trail(&sections, &*task, place, before, chosen)?),
        })
    }
}

/// The last leaf: UIDs with a standing that are in the row, and those that are not.
fn weights_leaf(bundle: &Bundle, rounds: Vec<RoundCount>) -> WeightsLeaf {
    let paid: BTreeSet<Uid> = bundle.row.iter().map(|cell| cell.0).collect();
    let is_unpaid = |uid: &Uid| !paid.contains(uid);
    let uids = bundle.standings.iter().map(|standing| standing.uid);
    WeightsLeaf {
        row: bundle.row.clone(),
        unpaid: uids.filter(is_unpaid).collect(),
        first_item: bundle.carried.ratings.items_recorded(),
        rounds,
    }
}

/// The text that is shown of an answer.
fn text(task: &dyn Task, record: &AnswerRecord) -> String {
    match &record.outcome {
        Outcome::Answered { text, .. } if task.reads_text() => text.clone(),
        _ => String::new(),
    }
}

const fn place(answer: &AnswerRecord) -> Place {
    let challenge = answer.challenge.message();
    (challenge.round, challenge.item_index, answer.uid)
}

/// What the tree has of an answer.
fn answer_leaf(answer: &AnswerRecord) -> AnswerLeaf {
    AnswerLeaf {
        uid: answer.uid,
        header: answer.challenge.message().header(),
        result: result_of(&answer.outcome),
        audit: answer.audit.as_ref().map(audit_digest),
        score_ppm: answer.score_ppm,
    }
}

fn audit_digest(audit: &Audit) -> Digest {
    codec::digest("agon 2026-11 audit record", &codec::encode(audit))
}
