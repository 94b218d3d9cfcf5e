//! A11, the owner's abuse: it turns the subnet's parameters against everybody else.
//!
//! The owner raises the stake threshold above everybody's stake. Its own always counts, so that its row is the only
//! one, and it names miners that it runs under another coldkey.
//!
//! Off: a change is in force at once, as if there were no notice. On: parameters are announced; within the notice
//! nothing changes, and whoever sees it can take its stake and leave.

use agon_ledger_state::EpochRecord;
use agon_protocol::message::Call;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::field::Field;
use crate::ledger::{Actor, SUBNET, register, set, stake, units};

/// The attack.
#[derive(Debug)]
pub(super) struct Owner;

impl Attack for Owner {
    fn name(&self) -> &'static str {
        "owner"
    }

    fn row(&self) -> &'static str {
        "A11"
    }

    fn about(&self) -> &'static str {
        "The owner sets parameters under which only its own weights count."
    }

    fn figure(&self) -> &'static str {
        "outsiders' income in the tempos after the owner acts, over their income before"
    }

    fn defence(&self) -> &'static str {
        "Parameters are bounded and announced; within the notice nothing changes and stake can be taken away."
    }

    fn cases(&self) -> Vec<Case> {
        vec![Case {
            label: String::from("4 validators, 8 miners, the owner's validator and two miners of its own"),
            off: Bound::AtMost(0.1),
            on: Bound::AtLeast(0.9),
            open: None,
            explores: false,
            measure: Box::new(kept),
        }]
    }
}

const VALIDATORS: usize = 4;
/// Miners of outsiders, then two of the owner's under a coldkey of their own.
const MINERS: usize = 10;
const OUTSIDERS: std::ops::Range<usize> = 0..VALIDATORS + MINERS - 2;

/// Tempos that settle bonds.
const SETTLING: usize = 5;
/// More than anybody's stake, in base units.
const THRESHOLD: u64 = 40_000_000_000_000;
/// The notice, and the tempo whose epoch takes the permits away.
const TEMPOS_UNTIL_ALONE: usize = 2;

fn kept(trial: Trial) -> f64 {
    let parameters = [("evidence_openings", 0), ("weights_rate_limit_blocks", 0)];
    let mut field = Field::new(trial.seed, &[30_000; VALIDATORS], MINERS, &parameters);
    let owner = Field::owner(trial.seed);
    field.ledger.must(&owner.coldkey, register(&owner));
    field.ledger.must(&owner.coldkey, stake(&owner, units(30_000)));
    field.ledger.close_tempo();
    field.validators.push(owner.clone());
    for _ in 0..SETTLING {
        field.tempo(&rows());
    }
    let before = income(&mut field);
    field
        .ledger
        .must(&owner.coldkey, set("stake_threshold", THRESHOLD));
    assert!(can_leave(&mut field), "the old parameters are in force");
    if !trial.defence.is_on() {
        // Without a notice the first tempo to be looked at is the first in which only the owner's row counts.
        for _ in 0..TEMPOS_UNTIL_ALONE {
            field.tempo(&rows());
        }
    }
    income(&mut field) / before
}

/// Everybody weights all miners alike, the owner only those that it runs.
fn rows() -> Vec<Vec<(u16, u16)>> {
    let uid = |index: usize| u16::try_from(index).expect("few UIDs");
    let all: Vec<(u16, u16)> = (VALIDATORS..VALIDATORS + MINERS)
        .map(|index| (uid(index), 1))
        .collect();
    let own = (OUTSIDERS.end..VALIDATORS + MINERS)
        .map(|index| (uid(index), 1))
        .collect();
    let mut rows = vec![all; VALIDATORS];
    rows.push(own);
    rows
}

/// What outsiders are paid in the next tempo, in base units.
fn income(field: &mut Field) -> f64 {
    let record: EpochRecord = field.tempo(&rows()).expect("UIDs are held");
    let payouts = record.payouts;
    let of_uid = |uid: usize| payouts.miners[uid].base_units() + payouts.validators[uid].base_units();
    OUTSIDERS.map(of_uid).sum::<u64>() as f64
}

/// Whether an outsider can take its stake away.
fn can_leave(field: &mut Field) -> bool {
    let leaver: Actor = field.validators[0].clone();
    let leave = Call::RemoveStake {
        netuid: SUBNET,
        hotkey: leaver.hotkey.hotkey(),
        amount: units(1_000),
    };
    field.ledger.try_call(&leaver.coldkey, leave).is_ok()
}
