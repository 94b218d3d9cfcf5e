//! Folds a judged round into the ratings: the one way from answers to standings.
//!
//! The round's record is all it reads, so that folding it again from the evidence gives the same ratings, after a
//! crash or by whoever checks them.

use agon_protocol::id::Uid;
use agon_protocol::message::answer_digest;
use agon_scoring::compare::{Anchor, JudgedAnswer, compare};
use tracing::warn;

use crate::evidence::{AnswerRecord, Round};
use crate::query::Outcome;
use crate::state::State;

/// Compares the answers of each item, adds them to the windows, and writes strengths and ratings into the record.
pub fn fold(state: &mut State, round: &mut Round) {
    for index in 0..round.items.len() {
        fold_item(state, round, index);
    }
    for answer in &round.answers {
        if let Some(audit) = &answer.audit {
            state.audits.add(answer.uid, audit.tally);
        }
        state.last_asked.insert(answer.uid, round.sequence);
    }
    let standings = state.ratings.standings();
    for miner in &mut round.miners {
        let standing = standings.iter().find(|standing| Uid(standing.uid) == miner.uid);
        miner.rating_ppm = standing.map_or(0, |standing| standing.rating_ppm);
    }
}

fn fold_item(state: &mut State, round: &mut Round, index: usize) {
    let of_item = |answer: &&mut AnswerRecord| answer.challenge.message().item_index as usize == index;
    let anchor = Anchor::perfect(answer_digest(&round.items[index].reference).0);
    let mut answers: Vec<&mut AnswerRecord> = round.answers.iter_mut().filter(of_item).collect();
    let judged: Vec<JudgedAnswer> = answers.iter().map(|answer| judged(answer)).collect();
    let comparison = match compare(&judged, &anchor) {
        Ok(comparison) => comparison,
        Err(error) => {
            warn!(%error, item = index, "an item cannot be compared and says nothing");
            return;
        }
    };
    state.ratings.record(&comparison);
    for answer in &mut answers {
        let value = comparison
            .answers()
            .iter()
            .find(|value| Uid(value.uid) == answer.uid);
        answer.strength_ppm = value.map_or(0, |value| value.value_ppm);
    }
}

fn judged(answer: &AnswerRecord) -> JudgedAnswer {
    let digest = match &answer.outcome {
        Outcome::Answered { text, .. } => Some(answer_digest(text).0),
        Outcome::Failed { .. } => None,
    };
    JudgedAnswer {
        uid: answer.uid.0,
        digest,
        score_ppm: answer.score_ppm,
    }
}
