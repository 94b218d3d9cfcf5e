//! Miners as one validator judges them: answers to items, compared, rated and paid by `agon-scoring`.
//!
//! An answer is a number; [`RIGHT`] is the reference. Miner m holds UID m. What is left out is the network: an answer
//! comes or it does not.

use agon_scoring::compare::{Anchor, JudgedAnswer, PPM, compare};
use agon_scoring::rating::{Ratings, Standing, WINDOW_ITEMS_MAX};
use agon_scoring::weights::{WeightPolicy, pay};

use crate::attack::Defence;
use crate::random::Random;

/// The reference answer; others are wrong.
pub const RIGHT: u16 = 0;

/// One miner's answer to an item, or none.
pub type Answer = Option<u16>;

/// What answers with some chance of being right.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Probability of the right answer.
    pub accuracy: f64,
    /// How many wrong answers there are, each equally likely.
    pub wrong_answers: u16,
}

impl Model {
    /// A model of this accuracy, that errs in one of four ways.
    #[must_use]
    pub const fn right_on(accuracy: f64) -> Self {
        Self {
            accuracy,
            wrong_answers: 4,
        }
    }

    /// An answer under a sampling seed of its own.
    pub fn answer(&self, random: &mut Random) -> Answer {
        if random.chance(self.accuracy) {
            return Some(RIGHT);
        }
        let wrong = random.below(usize::from(self.wrong_answers));
        Some(1 + u16::try_from(wrong).expect("below a u16"))
    }
}

/// Where everybody stands after a full window of items; `item` gives everybody's answers to one.
pub fn standings(mut item: impl FnMut() -> Vec<Answer>) -> Vec<Standing> {
    let mut ratings = Ratings::default();
    for _ in 0..WINDOW_ITEMS_MAX {
        record(&mut ratings, &item());
    }
    ratings.standings()
}

/// Judges the answers to one item and adds them to the windows.
pub fn record(ratings: &mut Ratings, answers: &[Answer]) {
    let judged: Vec<JudgedAnswer> = (0..)
        .zip(answers)
        .map(|(uid, answer)| JudgedAnswer {
            uid,
            digest: answer.map(digest),
            score_ppm: if *answer == Some(RIGHT) { PPM } else { 0 },
        })
        .collect();
    let anchor = Anchor::perfect(digest(RIGHT));
    ratings.record(&compare(&judged, &anchor).expect("each UID answers once, with a score in range"));
}

fn digest(answer: u16) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..2].copy_from_slice(&answer.to_le_bytes());
    digest
}

/// What each standing is paid. With the defence off every UID has a voice of its own, as published designs have it.
#[must_use]
pub fn pays(standings: &[Standing], policy: &WeightPolicy, defence: Defence) -> Vec<f64> {
    let paid = |standing: &Standing| {
        let voices = if defence.is_on() { standing.voices } else { 1 };
        pay(&Standing { voices, ..*standing }, policy).expect("scoring made the standing") as f64
    };
    standings.iter().map(paid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_paid_by_the_square_of_its_accuracy_and_silence_nothing() {
        let model = Model::right_on(0.8);
        let mut random = Random::new("contest", 1);
        let standings = standings(|| vec![model.answer(&mut random), None]);
        let pays = pays(&standings, &WeightPolicy::default(), Defence::On);
        let expected = (f64::from(standings[0].rating_ppm) / 1e6).powi(2);
        assert!((f64::from(standings[0].rating_ppm) / 1e6 - 0.8).abs() < 0.15);
        assert!((pays[0] / 1e14 - expected).abs() < 1e-6);
        assert_eq!(pays[1], 0.0);
    }

    #[test]
    fn clones_have_one_voice_with_the_defence_on() {
        let model = Model::right_on(0.6);
        let mut random = Random::new("contest", 1);
        let standings = standings(|| vec![model.answer(&mut random); 2]);
        let sum = |defence| {
            pays(&standings, &WeightPolicy::default(), defence)
                .iter()
                .sum::<f64>()
        };
        assert!((sum(Defence::Off) / sum(Defence::On) - 2.0).abs() < 1e-6);
    }
}
