//! A5, weight on own miners under other keys: a validator lifts miners of its own that nobody can tell are its own.
//!
//! Off: the published design masks only a validator's weight on its own UID, and clipping is all that is left.
//! On: a lifted row does not follow from evidence. A validator that instead tells its miners the answers to its own
//! questions has evidence that follows; what is left of its lift is clipped at consensus.

use crate::attack::{Attack, Bound, Case};
use crate::bloc::{Bloc, Falsehood};
use crate::lift::{Lift, TOLD, TOLD_GAINS};

/// The attack.
#[derive(Debug)]
pub(super) struct Own;

impl Attack for Own {
    fn name(&self) -> &'static str {
        "own-miners"
    }

    fn row(&self) -> &'static str {
        "A5"
    }

    fn about(&self) -> &'static str {
        "A validator lifts five miners of its own, which it runs under other keys."
    }

    fn figure(&self) -> &'static str {
        "income of the five miners over what it would be with an honest validator"
    }

    fn defence(&self) -> &'static str {
        "Weights can be recomputed from evidence; what can be told to own miners is clipped at consensus."
    }

    fn cases(&self) -> Vec<Case> {
        let forged = PLAIN;
        let told = Lift {
            factor: TOLD,
            falsehood: Falsehood::InAnswers,
            ..PLAIN
        };
        let besides = Lift {
            falsehood: Falsehood::BesidesEvidence,
            ..PLAIN
        };
        let unseen = Lift {
            falsehood: Falsehood::Unseen,
            ..PLAIN
        };
        vec![
            case(forged, Bound::AtLeast(1.03), None),
            case(told, Bound::AtLeast(1.0), Some(TOLD_GAINS)),
            case(besides, Bound::AtLeast(1.03), None),
            case(unseen, Bound::AtLeast(1.03), None),
        ]
    }
}

const PLAIN: Lift = Lift {
    bloc: Bloc::alone(16, 0.1),
    miners: 64,
    chosen: 5,
    noise: 0.2,
    factor: 10.0,
    falsehood: Falsehood::InEvidence,
};

fn case(lift: Lift, off: Bound, open: Option<&'static str>) -> Case {
    Case {
        label: format!("a tenth of the stake, {}", lift.falsehood.name()),
        off,
        on: Bound::AtMost(1.03),
        open,
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).gain()),
    }
}
