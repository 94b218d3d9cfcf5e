//! A4, a majority of the stake: as the cabal, with more than half, where the median is the cabal's own.
//!
//! On: a proof of forgery does not need a majority; it is a rule of the ledger and no vote.

use super::cabal::{PLAIN, Setting, elsewhere, emission, fair, label};
use crate::attack::{Attack, Bound, Case};
use crate::bloc::Falsehood;

/// The attack.
#[derive(Debug)]
pub(super) struct Majority;

impl Attack for Majority {
    fn name(&self) -> &'static str {
        "majority"
    }

    fn row(&self) -> &'static str {
        "A4"
    }

    fn about(&self) -> &'static str {
        "Validators with a majority of the stake give all weight to miners of their own."
    }

    fn figure(&self) -> &'static str {
        "the majority's emission over its fair share, half by stake and half by utility"
    }

    fn defence(&self) -> &'static str {
        "Fraud proofs are a rule of the ledger and no vote: forged rows do not count, whatever the stake behind them."
    }

    fn cases(&self) -> Vec<Case> {
        let besides = Setting {
            falsehood: Falsehood::BesidesEvidence,
            ..majority(0.6)
        };
        let explored = elsewhere(majority(0.6)).into_iter().map(|setting| Case {
            explores: true,
            ..case(setting, Bound::AtLeast(2.0))
        });
        let measured = [
            case(majority(0.6), Bound::AtLeast(2.0)),
            case(majority(0.51), Bound::Near(3.0)),
            case(besides, Bound::AtLeast(2.0)),
        ];
        measured.into_iter().chain(explored).collect()
    }
}

fn majority(stake: f64) -> Setting {
    Setting {
        stake,
        utility: 0.1,
        ..PLAIN
    }
}

fn case(setting: Setting, off: Bound) -> Case {
    Case {
        label: label(&setting),
        off,
        on: Bound::AtMost(1.1),
        open: None,
        explores: false,
        measure: Box::new(move |trial| emission(&setting, trial) / fair(&setting)),
    }
}
