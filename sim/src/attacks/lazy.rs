//! A7, the lazy validator: it spares itself part of the work and signs all of it.
//!
//! Two ways: it judges only half of the answers and calls the others right, or it asks only half of the miners it
//! drew. Off: nobody looks, its row is a little flatter than others', and clipping costs it next to nothing.
//! On: slots in which nobody was asked are not covered; a judgement that the task does not give is a forgery, which
//! whoever has the text of the answer can show.

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bloc::{Bloc, Court, Falsehood};
use crate::epochs::Epochs;
use crate::evidence::Conduct;
use crate::miners::{Climate, Miners};
use crate::random::Random;
use crate::stakes::normalized;

/// The attack.
#[derive(Debug)]
pub(super) struct Lazy;

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spared {
    /// Half of the judgements.
    Judging,
    /// Half of the questions.
    Asking,
}

impl Attack for Lazy {
    fn name(&self) -> &'static str {
        "lazy-audit"
    }

    fn row(&self) -> &'static str {
        "A7"
    }

    fn about(&self) -> &'static str {
        "A validator leaves out half of its work and signs as if it had done all."
    }

    fn figure(&self) -> &'static str {
        "dividends per unit of stake, lazy over honest validator"
    }

    fn defence(&self) -> &'static str {
        "Slots that were not asked are not covered, and judgements of exact tasks can be repeated by anyone."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |label: &str, spared| Case {
            label: label.to_owned(),
            off: Bound::AtLeast(0.6),
            on: Bound::AtMost(0.6),
            open: None,
            explores: false,
            measure: Box::new(move |trial| ratio(spared, trial)),
        };
        vec![
            case("judges half of the answers, exact task", Spared::Judging),
            case("asks in half of its slots", Spared::Asking),
        ]
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 64;

fn ratio(spared: Spared, trial: Trial) -> f64 {
    let mut random = Random::new("lazy-audit", trial.seed);
    let mut evidence = Random::new("lazy-audit evidence", trial.seed);
    let miners = Miners::new(MINERS, Climate::steady(0.2), &mut random);
    let bloc = Bloc::alone(VALIDATORS, 1.0 / VALIDATORS as f64);
    let last = bloc.honest;
    let mut epochs = Epochs::new(&bloc.stakes(), MINERS, trial.defence);
    let mut court = Court::new(epochs.clone());
    let mut conducts = vec![Conduct::Honest; VALIDATORS];
    let mut falsehoods = vec![None; VALIDATORS];
    match spared {
        Spared::Judging => falsehoods[last] = Some(Falsehood::InEvidence),
        Spared::Asking => conducts[last] = Conduct::Part(0.5),
    }
    let (mut lazy, mut honest) = (0.0, 0.0);
    for _ in 0..trial.epochs {
        let mut rows = miners.measured_by(VALIDATORS, &mut random);
        if spared == Spared::Judging {
            rows[last] = half_judged(&rows[last]);
        }
        let paid = if trial.defence.is_on() {
            court.step(&rows, &conducts, &falsehoods, &mut evidence)
        } else {
            epochs.step(&rows)
        };
        lazy += paid.validators[last];
        honest += paid.validators_in(0..last) / last as f64;
    }
    lazy / honest
}

/// Half of the answers count as if the best miner had given them.
fn half_judged(row: &[f64]) -> Vec<f64> {
    let best = row.iter().copied().fold(0.0, f64::max);
    normalized(row.iter().map(|weight| (weight + best) / 2.0).collect())
}
