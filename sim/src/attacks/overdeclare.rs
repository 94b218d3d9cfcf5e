//! B8, declared capacity: a miner says that it can do ten times what it can.
//!
//! Off: pay follows what is declared, as where capacity is announced and not proven.
//! On: a level is proven burst by burst, falls by 30 % where it was not met, and freezes after four failures.

use agon_scoring::capacity::Capacity;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bursts::{Machine, burst};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Overdeclare;

impl Attack for Overdeclare {
    fn name(&self) -> &'static str {
        "overdeclare"
    }

    fn row(&self) -> &'static str {
        "B8"
    }

    fn about(&self) -> &'static str {
        "A miner declares ten times the capacity that it has."
    }

    fn figure(&self) -> &'static str {
        "the miner's income over what it is with a true declaration"
    }

    fn defence(&self) -> &'static str {
        "Work counts what was verified in bursts; what a UID is asked falls and freezes where it fails."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |at_once: u32| Case {
            label: format!("{at_once} answers at once, {} declared", 10 * at_once),
            off: Bound::Near(10.0),
            on: Bound::AtMost(1.0),
            open: None,
            explores: false,
            measure: Box::new(move |trial| income(at_once, 10, trial) / income(at_once, 1, trial)),
        };
        vec![case(16), case(4), case(100)]
    }
}

const LOST: f64 = 0.005;
const BURSTS_IN_EPOCH: u32 = 2;

/// Work over all bursts of a miner that declares so many times what it can do.
fn income(at_once: u32, times: u32, trial: Trial) -> f64 {
    let machine = Machine {
        at_once,
        uids: 0..1,
        declared: times * at_once,
        lost: LOST,
    };
    if !trial.defence.is_on() {
        return f64::from(machine.declared);
    }
    let mut random = Random::new("overdeclare", trial.seed);
    let mut capacity = Capacity::default();
    let mut income = 0.0;
    for _ in 0..trial.epochs * BURSTS_IN_EPOCH {
        burst(std::slice::from_ref(&machine), &mut capacity, &mut random);
        income += f64::from(capacity.work(0));
    }
    income
}
