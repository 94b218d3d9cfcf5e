//! C6, growth as an attack: a validator writes to the ledger as often as it may.
//!
//! It commits to weights at every chance. Off: no rate limit, and as many open commits as the rules can allow.
//! On: the default rate limit and number of open commits.

use crate::attack::{Attack, Bound, Case, Trial};
use crate::field::Field;
use crate::ledger::{commit, weights};

/// The attack.
#[derive(Debug)]
pub(super) struct Grow;

impl Attack for Grow {
    fn name(&self) -> &'static str {
        "grow"
    }

    fn row(&self) -> &'static str {
        "C6"
    }

    fn about(&self) -> &'static str {
        "A validator fills the ledger with commits as fast as its quotas allow."
    }

    fn figure(&self) -> &'static str {
        "bytes of state and transactions with the attacker over those without"
    }

    fn defence(&self) -> &'static str {
        "Commits have a rate limit and a number that may be open, and cost a fee for each byte."
    }

    fn cases(&self) -> Vec<Case> {
        vec![Case {
            label: String::from("one of 16 validators, 16 miners, on the ledger"),
            off: Bound::AtLeast(1.2),
            on: Bound::AtMost(1.1),
            open: None,
            explores: false,
            measure: Box::new(|trial| bytes(trial, true) / bytes(trial, false)),
        }]
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 16;
/// Blocks of a tempo, as on a network on one machine; the default rate limit leaves three commits in it.
const TEMPO_BLOCKS: u64 = 40;
/// Blocks of the attack: two rate limits, so that the ordinary commit of the tempo is taken after them as well.
const ATTACK_BLOCKS: u8 = 22;
const COMMITS_PER_BLOCK: u8 = 4;
/// Tempos for each ten epochs of the plan: the log grows by the same in each.
const TEMPOS_SHARE: u32 = 10;

fn bytes(trial: Trial, with_attacker: bool) -> f64 {
    let mut parameters = vec![("evidence_openings", 0), ("tempo_blocks", TEMPO_BLOCKS)];
    if !trial.defence.is_on() {
        parameters.extend([("weights_rate_limit_blocks", 0), ("open_commits_max", 100)]);
    }
    let mut field = Field::new(trial.seed, &[10_000; VALIDATORS], MINERS, &parameters);
    let row: Vec<(u16, u16)> = (VALIDATORS..VALIDATORS + MINERS)
        .map(|uid| (u16::try_from(uid).expect("few UIDs"), 1))
        .collect();
    let before = size(&field);
    for _ in 0..trial.epochs.div_ceil(TEMPOS_SHARE) {
        if with_attacker {
            commit_often(&mut field, &row);
        }
        field.tempo(&vec![row.clone(); VALIDATORS]);
    }
    size(&field) - before
}

/// Commits at every chance of the first half of a tempo; what the ledger refuses costs nothing.
fn commit_often(field: &mut Field, row: &[(u16, u16)]) {
    let attacker = field.validators[0].clone();
    for block in 0..ATTACK_BLOCKS {
        for salt in 0..COMMITS_PER_BLOCK {
            let mut weights = weights(field.ledger.tempo(), row);
            weights.salt[..2].copy_from_slice(&[block, salt]);
            field.ledger.submit(&attacker.hotkey, commit(&attacker, &weights));
        }
        field.ledger.block();
    }
}

fn size(field: &Field) -> f64 {
    let (_, transaction_bytes) = field.ledger.applied();
    (field.ledger.state_bytes() + transaction_bytes) as f64
}
