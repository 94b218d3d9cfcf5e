//! C8, the unlucky freeze: for 100 tempos no validator gets a transaction through, as when a chain stands still.
//!
//! Off: where nobody has weights that count, the validators' half goes by stake, for no work at all.
//! On: without evidence nobody is covered; the half is held, and goes by the ordinary rule once work is shown again.

use agon_protocol::amount::Amount;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::field::Field;

/// The attack.
#[derive(Debug)]
pub(super) struct Halt;

impl Attack for Halt {
    fn name(&self) -> &'static str {
        "halt"
    }

    fn row(&self) -> &'static str {
        "C8"
    }

    fn about(&self) -> &'static str {
        "No validator gets anything onto the ledger for 100 tempos."
    }

    fn figure(&self) -> &'static str {
        "share of the validators' half of those tempos that is paid for no work"
    }

    fn defence(&self) -> &'static str {
        "Where no evidence arrives the half is held, not shifted."
    }

    fn cases(&self) -> Vec<Case> {
        vec![Case {
            label: String::from("4 validators of unequal stake, 8 miners, on the ledger"),
            off: Bound::AtLeast(0.99),
            on: Bound::AtMost(0.0),
            open: None,
            explores: false,
            measure: Box::new(paid_for_nothing),
        }]
    }
}

const TEMPOS: u32 = 100;

fn paid_for_nothing(trial: Trial) -> f64 {
    let openings = if trial.defence.is_on() { 16 } else { 0 };
    let parameters = [("evidence_openings", openings)];
    let mut field = Field::new(trial.seed, &[1_000, 2_000, 3_000, 4_000], 8, &parameters);
    let (mut paid, mut half) = (0, 0);
    for _ in 0..TEMPOS {
        let Some(record) = field.ledger.close_tempo() else {
            continue;
        };
        let validators: Amount = record.payouts.validators.iter().copied().sum();
        let miners: Amount = record.payouts.miners.iter().copied().sum();
        assert_eq!(miners, Amount::ZERO, "nobody has weights");
        paid += validators.base_units();
        let owners = record.payouts.owner_cut.base_units();
        half += (record.pending.base_units() - owners) / 2;
    }
    paid as f64 / half as f64
}
