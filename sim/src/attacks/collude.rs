//! B10, a majority of miners that gives the same wrong answer.
//!
//! Off: with no reference, an answer is scored by the share of the other miners that gave it too.
//! On: an answer is scored by its judge, beside the anchor; agreement counts for nothing.

use agon_scoring::rating::Standing;
use agon_scoring::weights::WeightPolicy;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::contest::{Answer, Model, pays, standings};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Collude;

impl Attack for Collude {
    fn name(&self) -> &'static str {
        "collude"
    }

    fn row(&self) -> &'static str {
        "B10"
    }

    fn about(&self) -> &'static str {
        "Sixty of a hundred miners agree on the same wrong answer to every item."
    }

    fn figure(&self) -> &'static str {
        "the colluding miners' share of all pay"
    }

    fn defence(&self) -> &'static str {
        "Answers are judged and valued beside an anchor; that peers agree counts for nothing."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |accuracy: f64| Case {
            label: format!(
                "38 of 64 collude, the others are right on {:.0} %",
                accuracy * 100.0
            ),
            off: Bound::AtLeast(0.6),
            on: Bound::AtMost(0.05),
            open: None,
            explores: false,
            measure: Box::new(move |trial| share(Model::right_on(accuracy), trial)),
        };
        vec![case(0.9), case(0.5)]
    }
}

const MINERS: usize = 64;
const COLLUDING: usize = 38;
const AGREED: u16 = 9;

fn share(honest: Model, trial: Trial) -> f64 {
    let mut random = Random::new("collude", trial.seed);
    let mut agreement = vec![0.0; MINERS];
    let mut standings = standings(|| {
        let own = |uid| match uid < COLLUDING {
            true => Some(AGREED),
            false => honest.answer(&mut random),
        };
        let answers: Vec<Answer> = (0..MINERS).map(own).collect();
        for (uid, sum) in agreement.iter_mut().enumerate() {
            let same = answers.iter().filter(|answer| **answer == answers[uid]).count() - 1;
            *sum += same as f64 / (MINERS - 1) as f64;
        }
        answers
    });
    if !trial.defence.is_on() {
        standings = standings
            .into_iter()
            .zip(agreement)
            .map(|(standing, sum)| scored_by_peers(standing, sum))
            .collect();
    }
    let paid = pays(&standings, &WeightPolicy::default(), trial.defence);
    paid[..COLLUDING].iter().sum::<f64>() / paid.iter().sum::<f64>()
}

/// The standing that the mean agreement with others gives.
fn scored_by_peers(standing: Standing, agreement_sum: f64) -> Standing {
    let mean = agreement_sum / f64::from(standing.item_count);
    Standing {
        rating_ppm: (mean * 1e6).round() as u32,
        verified_count: standing.item_count,
        ..standing
    }
}
