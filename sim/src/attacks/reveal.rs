//! A2, selective reveal: a validator sees what the others revealed before it decides what to reveal itself.
//!
//! It reveals last in the window, and takes of the rows it can show the one that pays it most: the newest one or, by
//! revealing nothing, the one that stands from an earlier tempo; and, where several commits of a tempo may be open, any
//! of the rows that it committed to.
//!
//! On: whoever's newest commit was due and not revealed is paid no dividends of that tempo, and a reveal settles every
//! commit before it, so that to show any other row than the newest is to hold the newest back.

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bloc::{Bloc, all_covered};
use crate::epochs::Epochs;
use crate::miners::{Climate, Miners};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Reveal;

/// What the validator may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// To reveal or to leave the standing row.
    Withhold,
    /// Any of its measurement, the consensus of the epoch before and the standing row.
    Commits,
}

impl Attack for Reveal {
    fn name(&self) -> &'static str {
        "selective-reveal"
    }

    fn row(&self) -> &'static str {
        "A2"
    }

    fn about(&self) -> &'static str {
        "A validator looks at what others revealed before it chooses what to reveal, or whether."
    }

    fn figure(&self) -> &'static str {
        "dividends per unit of stake, selective over honest validator"
    }

    fn defence(&self) -> &'static str {
        "Whoever holds its newest commit back is paid no dividends; sealed commits open by themselves."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |label: &str, choice| Case {
            label: label.to_owned(),
            off: Bound::AtLeast(1.0),
            on: Bound::AtMost(0.9),
            open: None,
            explores: false,
            measure: Box::new(move |trial| ratio(choice, trial)),
        };
        vec![
            case("leaves its standing row where that pays more", Choice::Withhold),
            case("commits to three rows and reveals the best", Choice::Commits),
        ]
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 64;

fn ratio(choice: Choice, trial: Trial) -> f64 {
    let mut random = Random::new("selective-reveal", trial.seed);
    let climate = Climate {
        noise: 0.2,
        drift: 0.02,
        churn: 0.0,
    };
    let mut miners = Miners::new(MINERS, climate, &mut random);
    let bloc = Bloc::alone(VALIDATORS, 1.0 / VALIDATORS as f64);
    let last = bloc.honest;
    let mut epochs = Epochs::new(&bloc.stakes(), MINERS, trial.defence);
    let mut consensus: Option<Vec<f64>> = None;
    let mut standing: Option<Vec<f64>> = None;
    let (mut selective, mut honest) = (0.0, 0.0);
    for _ in 0..trial.epochs {
        miners.age(&mut random);
        let mut rows = miners.measured_by(VALIDATORS, &mut random);
        let copied = consensus.clone().filter(|_| choice == Choice::Commits);
        let others = [standing.clone(), copied].into_iter().flatten();
        let fresh = rows[last].clone();
        rows[last] = best(&epochs, &rows, last, others);
        let holds_back = rows[last] != fresh;
        standing = Some(rows[last].clone());
        let mut coverage = all_covered(VALIDATORS);
        if trial.defence.is_on() && holds_back {
            coverage[last] = 0;
        }
        let paid = epochs.step_covered(&rows, &coverage);
        consensus = Some(paid.consensus.iter().map(|share| f64::from(*share)).collect());
        selective += paid.validators[last];
        honest += paid.validators_in(0..last) / last as f64;
    }
    selective / honest
}

/// Of the row it measured and the others, the one that pays `validator` most.
fn best(
    epochs: &Epochs,
    rows: &[Vec<f64>],
    validator: usize,
    others: impl Iterator<Item = Vec<f64>>,
) -> Vec<f64> {
    let pays = |row: &Vec<f64>| {
        let mut rows = rows.to_vec();
        rows[validator].clone_from(row);
        epochs.clone().step(&rows).validators[validator]
    };
    let candidates = others.chain([rows[validator].clone()]);
    let best = candidates.max_by(|left, right| pays(left).total_cmp(&pays(right)));
    best.expect("its own measurement is among them")
}
