//! What the defences cost those who keep to the rules.
//!
//! Evidence is the defence that costs something: a commit and an opening per validator and tempo, and dividends that
//! depend on what was opened. Transactions and bytes are those of a run on the ledger with real evidence beside one
//! without; income is that of honest validators over many epochs.

use serde::Serialize;

use crate::attack::Defence;
use crate::bloc::{MINERS_FAIL, all_covered};
use crate::epochs::{Epochs, upscaled};
use crate::estimate::Estimate;
use crate::evidence::{Conduct, coverage_of};
use crate::field::Field;
use crate::miners::{Climate, Miners};
use crate::random::Random;
use crate::run::Plan;

const VALIDATORS: usize = 4;
const MINERS: usize = 64;
/// Tempos on the ledger: the first has nothing to open yet and is left out.
const TEMPOS: u64 = 3;

/// What evidence costs the honest.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Validators and miners of the run on the ledger.
    pub validators: usize,
    /// Miners.
    pub miners: usize,
    /// Transactions of each validator and tempo that evidence adds.
    pub transactions: f64,
    /// Their bytes, signatures included.
    pub transaction_bytes: f64,
    /// Bytes of state that one tempo's evidence of one validator takes while it is kept.
    pub state_bytes: f64,
    /// Share of the validators' half that honest validators together lose, where miners fail one request in a hundred.
    pub income_lost: Estimate,
    /// How far an honest validator's income is moved from what it would be, as a share of it: root of the mean square
    /// over validators, of whole runs.
    pub income_moved: Estimate,
}

/// Measures what evidence costs under a plan.
#[must_use]
pub fn evidence_cost(plan: &Plan) -> Cost {
    let [with, without] = [true, false].map(|is_on| on_ledger(1, is_on));
    let each = (VALIDATORS as u64 * TEMPOS) as f64;
    let incomes: Vec<(f64, f64)> = (1..=u64::from(plan.seeds()))
        .map(|seed| honest_income(seed, plan.epochs()))
        .collect();
    let (lost, moved): (Vec<f64>, Vec<f64>) = incomes.into_iter().unzip();
    Cost {
        validators: VALIDATORS,
        miners: MINERS,
        transactions: (with.transactions - without.transactions) / each,
        transaction_bytes: (with.transaction_bytes - without.transaction_bytes) / each,
        state_bytes: (with.state_bytes - without.state_bytes) / each,
        income_lost: Estimate::of(&lost),
        income_moved: Estimate::of(&moved),
    }
}

struct Grown {
    transactions: f64,
    transaction_bytes: f64,
    state_bytes: f64,
}

/// What a few tempos add to a ledger.
fn on_ledger(seed: u64, with_evidence: bool) -> Grown {
    let openings = if with_evidence { 16 } else { 0 };
    let parameters = [("evidence_openings", openings), ("weights_rate_limit_blocks", 0)];
    let mut field = Field::new(seed, &[10_000; VALIDATORS], MINERS, &parameters);
    let rows = vec![upscaled(&[1.0; MINERS], VALIDATORS); VALIDATORS];
    let conducts = vec![Conduct::Honest; VALIDATORS];
    let tempo = |field: &mut Field| {
        if with_evidence {
            field.tempo_with_evidence(&rows, &conducts)
        } else {
            field.tempo(&rows)
        }
    };
    tempo(&mut field);
    let size = |field: &Field| (field.ledger.applied(), field.ledger.state_bytes());
    let ((count, bytes), state) = size(&field);
    for _ in 0..TEMPOS {
        tempo(&mut field);
    }
    let ((count_after, bytes_after), state_after) = size(&field);
    Grown {
        transactions: (count_after - count) as f64,
        transaction_bytes: (bytes_after - bytes) as f64,
        state_bytes: state_after as f64 - state as f64,
    }
}

/// The share that honest validators lose together, and how far each is moved, in one run.
fn honest_income(seed: u64, epochs: u32) -> (f64, f64) {
    const HONEST: usize = 16;
    let mut random = Random::new("honest cost", seed);
    let miners = Miners::new(MINERS, Climate::steady(0.2), &mut random);
    let stakes = vec![1_000_000_000; HONEST];
    let mut with = Epochs::new(&stakes, MINERS, Defence::On);
    let mut without = with.clone();
    let (mut paid, mut unasked) = (vec![0.0; HONEST], vec![0.0; HONEST]);
    for _ in 0..epochs {
        let rows = miners.measured_by(HONEST, &mut random);
        let coverage = coverage_of(
            &vec![Conduct::Honest; HONEST],
            &[MINERS_FAIL; MINERS],
            &mut random,
        );
        let each = [
            with.step_covered(&rows, &coverage),
            without.step_covered(&rows, &all_covered(HONEST)),
        ];
        for validator in 0..HONEST {
            paid[validator] += each[0].validators[validator];
            unasked[validator] += each[1].validators[validator];
        }
    }
    let lost = 1.0 - paid.iter().sum::<f64>() / unasked.iter().sum::<f64>();
    let moved = |(with, without): (&f64, &f64)| (with / without - 1.0).powi(2);
    let squares: f64 = paid.iter().zip(&unasked).map(moved).sum();
    (lost, (squares / HONEST as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_costs_two_transactions_a_tempo_and_no_income() {
        let cost = evidence_cost(&Plan::new(20, 2).unwrap());
        assert!((cost.transactions - 2.0).abs() < 1e-9, "{cost:?}");
        // Sixteen leaves of some 700 bytes with ten digests each, the draws of four rounds, and four trails, of which each
        // is an item of 64 miners, an answer and two standings. A window of 256 answers takes 3 kB more.
        assert!((30_000.0..50_000.0).contains(&cost.transaction_bytes), "{cost:?}");
        assert!(
            cost.income_lost.mean.abs() < 1e-6 && cost.income_moved.mean < 0.02,
            "{cost:?}"
        );
    }
}
