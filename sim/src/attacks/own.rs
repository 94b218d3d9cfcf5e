//! A5, weight on own miners under other keys: a validator lifts miners of its own that nobody can tell are its own.
//!
//! Off: the published design masks only a validator's weight on its own UID, and clipping is all that is left.
//! On: a lifted row does not follow from evidence. A validator that instead tells its miners the answers to its own
//! questions has evidence that follows; what is left of its lift is clipped at consensus.

use crate::attack::{Attack, Bound, Case};
use crate::bloc::Bloc;
use crate::lift::{Lift, TOLD};

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
            follows: true,
            ..PLAIN
        };
        vec![
            case(
                "a tenth of the stake, tenfold weight",
                Bound::AtLeast(1.03),
                forged,
            ),
            case(
                "a tenth of the stake, miners are told the answers",
                Bound::AtLeast(1.0),
                told,
            ),
        ]
    }
}

const PLAIN: Lift = Lift {
    bloc: Bloc::alone(16, 0.1),
    miners: 64,
    chosen: 5,
    noise: 0.2,
    factor: 10.0,
    follows: false,
};

fn case(label: &str, off: Bound, lift: Lift) -> Case {
    Case {
        label: label.to_owned(),
        off,
        on: Bound::AtMost(1.03),
        open: None,
        explores: false,
        measure: Box::new(move |trial| lift.run(trial).gain()),
    }
}
