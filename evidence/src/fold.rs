//! Folds judged rounds into what a validator remembers of its miners: the one way from answers to standings.
//!
//! The round's record is all it reads, so that folding it again gives the same, after a crash or by whoever checks it.

use std::collections::BTreeMap;

use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::{AnswerResult, ItemAnswer, ItemLeaf, answer_digest};
use agon_scoring::capacity::{Burst, Capacity};
use agon_scoring::compare::{Anchor, CompareError, JudgedAnswer, compare};
use agon_scoring::rating::Ratings;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::record::{AnswerRecord, Outcome, Round, Tallies};

/// What a validator remembers of its miners from one round to the next.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Memory {
    /// The windows of answers.
    pub ratings: Ratings,
    /// What the newest audits of each UID measured.
    pub audits: Tallies,
    /// What each UID has proven that it can do at once, where the task pays for that.
    pub capacity: Capacity,
}

impl Memory {
    /// Forgets everything about a UID, because someone else holds it now.
    pub fn forget(&mut self, uid: Uid) {
        self.ratings.forget(uid.0);
        self.audits.forget(uid);
        self.capacity.forget(uid.0);
    }

    /// Compares the answers of each item, adds them to the windows, and writes values and ratings into the record. A burst
    /// is counted instead: it says how much a miner can do, not how well.
    ///
    /// Gives the items that cannot be compared and say nothing about anyone.
    pub fn fold(&mut self, round: &mut Round) -> Vec<(usize, CompareError)> {
        round.forgotten.iter().for_each(|uid| self.forget(*uid));
        let items = match round.is_burst {
            true => 0..0,
            false => 0..round.items.len(),
        };
        let failed = items.filter_map(|index| self.fold_item(round, index).err().map(|error| (index, error)));
        let failed = failed.collect();
        if round.is_burst {
            self.capacity.record(&bursts(round));
        }
        for answer in &round.answers {
            if let Some(audit) = &answer.audit {
                self.audits.add(answer.uid, audit.tally);
            }
        }
        let standings = self.ratings.standings();
        for miner in &mut round.miners {
            let standing = standings.iter().find(|standing| Uid(standing.uid) == miner.uid);
            miner.rating_ppm = standing.map_or(0, |standing| standing.rating_ppm);
        }
        failed
    }

    fn fold_item(&mut self, round: &mut Round, index: usize) -> Result<(), CompareError> {
        let anchor = Anchor::perfect(answer_digest(&round.items[index].reference).0);
        let of_item = |answer: &&mut AnswerRecord| answer.challenge.message().item_index as usize == index;
        let mut answers: Vec<&mut AnswerRecord> = round.answers.iter_mut().filter(of_item).collect();
        let judged: Vec<JudgedAnswer> = answers.iter().map(|answer| judged(answer)).collect();
        let comparison = compare(&judged, &anchor)?;
        self.ratings.record(&comparison);
        for answer in &mut answers {
            let value = comparison
                .answers()
                .iter()
                .find(|value| Uid(value.uid) == answer.uid);
            answer.strength_ppm = value.map_or(0, |value| value.value_ppm);
        }
        Ok(())
    }
}

/// What came of a burst for each UID, ascending: an answer that was worth something is verified.
fn bursts(round: &Round) -> Vec<Burst> {
    let mut by_uid: BTreeMap<u16, Burst> = BTreeMap::new();
    for answer in &round.answers {
        let uid = answer.uid.0;
        let burst = by_uid.entry(uid).or_insert(Burst {
            uid,
            asked: 0,
            verified: 0,
        });
        burst.asked += 1;
        burst.verified += u32::from(answer.score_ppm > 0);
    }
    by_uid.into_values().collect()
}

fn judged(answer: &AnswerRecord) -> JudgedAnswer {
    JudgedAnswer {
        uid: answer.uid.0,
        digest: digest_of(&answer.outcome).map(|digest| digest.0),
        score_ppm: answer.score_ppm,
    }
}

/// Digest of the text of an outcome, if there is one.
#[must_use]
pub fn digest_of(outcome: &Outcome) -> Option<Digest> {
    match outcome {
        Outcome::Answered { text, .. } => Some(answer_digest(text)),
        Outcome::Failed { .. } => None,
    }
}

/// What an answer leaf says of an outcome.
#[must_use]
pub fn result_of(outcome: &Outcome) -> AnswerResult {
    match outcome {
        Outcome::Answered {
            receipt,
            first_ms,
            total_ms,
            ..
        } => AnswerResult::Answered {
            receipt: receipt.clone(),
            first_ms: *first_ms,
            total_ms: *total_ms,
        },
        Outcome::Failed { failure, .. } => AnswerResult::Failed(*failure),
    }
}

/// The leaf of an item of a round that was folded.
#[must_use]
pub fn item_leaf(round: &Round, index: usize) -> ItemLeaf {
    let of_item = |answer: &&AnswerRecord| answer.challenge.message().item_index as usize == index;
    let line = |answer: &AnswerRecord| ItemAnswer {
        uid: answer.uid,
        digest: digest_of(&answer.outcome),
        score_ppm: answer.score_ppm,
        value_ppm: answer.strength_ppm,
    };
    let mut answers: Vec<ItemAnswer> = round.answers.iter().filter(of_item).map(line).collect();
    answers.sort_unstable_by_key(|answer| answer.uid);
    ItemLeaf {
        round: round.round,
        item_index: u32::try_from(index).unwrap_or(u32::MAX),
        reference: answer_digest(&round.items[index].reference),
        answers,
    }
}
