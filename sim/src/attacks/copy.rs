//! A1, weight copying: a validator uses what others found out instead of asking miners itself.
//!
//! The copier knows the consensus of the honest validators' rows, `lag` epochs late, and hands it in as its own row.
//! Honest validators measure with noise, and consensus is a median that averages this noise away, so that the copier
//! is clipped less than those it copies from: with steady miners it earns more than they do, for nothing.
//!
//! Off: without commits the copier sees the rows of the same epoch (lag 0), with commits those of `lag` epochs ago;
//! the figures to be met are those of the table that was measured of the published formulas.
//! On: the ledger's bonds, commits with the default reveal period, and dividends multiplied by evidence coverage.

use agon_ledger_state::ParameterId;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::epochs::{Epochs, FULL_PPM, default_of, upscaled};
use crate::evidence::{Conduct, coverage_of};
use crate::field::Field;
use crate::miners::{Climate, Miners};
use crate::random::Random;
use crate::stakes::{StakeTable, base_units, normalized};

/// Epochs before anything is counted, as a share of all: bonds need time to settle.
const WARM_UP: f64 = 1.0 / 6.0;
/// Share of requests that a miner fails of whoever asks.
const MINERS_FAIL: f64 = 0.01;

/// The attack.
#[derive(Debug)]
pub(super) struct Copy;

/// One setting of it.
#[derive(Clone, Debug)]
struct Setting {
    validators: usize,
    miners: usize,
    stakes: StakeTable,
    climate: Climate,
    /// Epochs by which the copier is late without the defence.
    lag: usize,
    copier: Conduct,
}

impl Attack for Copy {
    fn name(&self) -> &'static str {
        "copy-weights"
    }

    fn row(&self) -> &'static str {
        "A1"
    }

    fn about(&self) -> &'static str {
        "A validator hands in the consensus of the others as its own weights and asks nobody."
    }

    fn figure(&self) -> &'static str {
        "dividends per unit of stake, copier over honest validator"
    }

    fn defence(&self) -> &'static str {
        "Dividends are multiplied by evidence coverage: receipts for slots of the validator's own draw."
    }

    fn cases(&self) -> Vec<Case> {
        // Noise, drift, churn, lag, and the ratio that was measured of the published design.
        const MEASURED: [(f64, f64, f64, usize, f64); 7] = [
            (0.2, 0.0, 0.0, 0, 1.08),
            (0.1, 0.0, 0.0, 0, 1.04),
            (0.4, 0.0, 0.0, 0, 1.15),
            (0.2, 0.0, 0.0, 1, 1.05),
            (0.4, 0.0, 0.0, 1, 1.11),
            (0.2, 0.2, 0.02, 1, 0.99),
            (0.2, 0.2, 0.02, 10, 0.79),
        ];
        let measured = MEASURED.iter().map(|&(noise, drift, churn, lag, ratio)| {
            let setting = Setting {
                climate: Climate { noise, drift, churn },
                lag,
                ..plain(Conduct::Silent)
            };
            case(setting, Bound::Near(ratio), 0.02)
        });
        let others = [(Conduct::Idle, 0.02), (Conduct::Part(0.1), 0.11)]
            .map(|(conduct, bound)| case(plain(conduct), Bound::Near(1.08), bound));
        measured
            .chain(others)
            .chain([on_ledger()])
            .chain(explored())
            .collect()
    }
}

fn plain(copier: Conduct) -> Setting {
    Setting {
        validators: 16,
        miners: 64,
        stakes: StakeTable::Equal,
        climate: Climate::steady(0.2),
        lag: 0,
        copier,
    }
}

/// Other stakes, sizes, noise and change, where no figure was measured before: copying pays, and that is what the rule
/// is for.
fn explored() -> Vec<Case> {
    let mut cases = Vec::new();
    for stakes in StakeTable::ALL {
        for (validators, miners) in [(16, 256), (64, 64), (64, 256)] {
            let setting = Setting {
                validators,
                miners,
                stakes,
                ..plain(Conduct::Silent)
            };
            cases.push(explored_case(setting, 1.0));
        }
    }
    for stakes in [StakeTable::TopFive, StakeTable::HeavyTailed] {
        cases.extend([0.1, 0.2, 0.4].map(|noise| {
            let climate = Climate::steady(noise);
            let setting = Setting {
                stakes,
                climate,
                ..plain(Conduct::Silent)
            };
            explored_case(setting, 1.0)
        }));
        cases.extend(SIZES_THAT_DRIFT.map(|(validators, miners)| drifting(validators, miners, stakes)));
    }
    cases
}

/// Validators and miners where miners change.
const SIZES_THAT_DRIFT: [(usize, usize); 2] = [(16, 64), (64, 256)];
/// What copying late has to pay at least where miners change, by the table of published figures: 0.79 ten epochs late.
const DRIFTING_PAYS: f64 = 0.7;

/// The noisiest measurements of miners that change, copied an epoch late.
fn drifting(validators: usize, miners: usize, stakes: StakeTable) -> Case {
    let setting = Setting {
        validators,
        miners,
        stakes,
        climate: Climate {
            noise: 0.4,
            drift: 0.2,
            churn: 0.02,
        },
        lag: 1,
        ..plain(Conduct::Silent)
    };
    explored_case(setting, DRIFTING_PAYS)
}

fn explored_case(setting: Setting, pays_at_least: f64) -> Case {
    Case {
        explores: true,
        ..case(setting, Bound::AtLeast(pays_at_least), 0.02)
    }
}

/// The same with blocks, transactions and real evidence; few tempos, since each takes a hundred signatures.
fn on_ledger() -> Case {
    Case {
        label: String::from("5 validators, 9 miners, noise 0.2, lag 1, on the ledger with real evidence"),
        off: Bound::AtLeast(1.0),
        on: Bound::AtMost(0.02),
        open: None,
        explores: true,
        measure: Box::new(ratio_on_ledger),
    }
}

/// Dividends of the copier over the mean of the four honest validators of the same stake, in the last half of the
/// tempos. Off, rows are committed too, and bonds are those of the published design.
fn ratio_on_ledger(trial: Trial) -> f64 {
    const HONEST: usize = 4;
    const MINERS: usize = 9;
    const TEMPOS: u32 = 40;
    let (openings, yuma3) = if trial.defence.is_on() { (16, 1) } else { (0, 0) };
    let parameters = [
        ("evidence_openings", openings),
        ("yuma3", yuma3),
        ("weights_rate_limit_blocks", 0),
    ];
    let mut field = Field::new(trial.seed, &[20_000; HONEST + 1], MINERS, &parameters);
    let mut random = Random::new("copy-weights on the ledger", trial.seed);
    let miners = Miners::new(MINERS, Climate::steady(0.2), &mut random);
    let mut conducts = vec![Conduct::Honest; HONEST];
    conducts.push(Conduct::Silent);
    let mut copied = vec![1.0; MINERS];
    let mut pay = Pay::default();
    for tempo in 0..TEMPOS {
        let mut rows = miners.measured_by(HONEST, &mut random);
        rows.push(copied);
        let stored: Vec<_> = rows.iter().map(|row| upscaled(row, HONEST + 1)).collect();
        let record = field
            .tempo_with_evidence(&stored, &conducts)
            .expect("UIDs are held");
        let seen = &record.outputs.consensus[HONEST + 1..];
        copied = seen.iter().map(|share| f64::from(*share)).collect();
        if tempo >= TEMPOS / 2 {
            let paid = |uid: usize| record.payouts.validators[uid].base_units() as f64;
            pay.honest += (0..HONEST).map(paid).sum::<f64>();
            pay.copier += paid(HONEST);
        }
        if copied.iter().sum::<f64>() == 0.0 {
            copied = vec![1.0; MINERS];
        }
    }
    pay.copier / (pay.honest / HONEST as f64)
}

fn case(setting: Setting, off: Bound, at_most: f64) -> Case {
    Case {
        label: label(&setting),
        off,
        on: Bound::AtMost(at_most),
        open: None,
        explores: false,
        measure: Box::new(move |trial| ratio(&setting, trial)),
    }
}

fn label(setting: &Setting) -> String {
    let Setting {
        validators,
        miners,
        stakes,
        climate,
        lag,
        ..
    } = setting;
    let moves = if climate.drift > 0.0 {
        format!("drift {}", climate.drift)
    } else {
        String::from("steady miners")
    };
    let work = match setting.copier {
        Conduct::Idle => ", says that all failed",
        Conduct::Part(_) => ", asks in a tenth of its slots",
        _ => "",
    };
    format!(
        "{validators} validators, {miners} miners, {stakes}, noise {}, {moves}, lag {lag}{work}",
        climate.noise
    )
}

/// Dividends per stake of the copier over those of the honest validators.
fn ratio(setting: &Setting, trial: Trial) -> f64 {
    let mut random = Random::new("copy-weights", trial.seed);
    let mut miners = Miners::new(setting.miners, setting.climate, &mut random);
    let honest = setting.stakes.shares(setting.validators);
    let mut seen = Epochs::new(&base_units(&honest), setting.miners, trial.defence);
    let stakes = [honest, vec![1.0 / setting.validators as f64]].concat();
    let mut epochs = Epochs::new(&base_units(&normalized(stakes)), setting.miners, trial.defence);
    let mut pay = Pay::default();
    let mut history = Vec::new();
    let lag = if trial.defence.is_on() {
        default_of(ParameterId::RevealPeriodTempos) as usize
    } else {
        setting.lag
    };
    for epoch in 0..trial.epochs {
        miners.age(&mut random);
        let mut rows = miners.measured_by(setting.validators, &mut random);
        history.push(seen.consensus(&rows));
        rows.push(history[history.len().saturating_sub(1 + lag)].clone());
        let coverage = coverage(setting, trial, &mut random);
        let paid = epochs.step_covered(&rows, &coverage);
        if f64::from(epoch) >= WARM_UP * f64::from(trial.epochs) {
            pay.honest += paid.validators_in(0..setting.validators);
            pay.copier += paid.validators[setting.validators];
        }
    }
    // The honest hold as many stakes of the copier's size as there are of them.
    pay.copier / (pay.honest / setting.validators as f64)
}

#[derive(Default)]
struct Pay {
    honest: f64,
    copier: f64,
}

fn coverage(setting: &Setting, trial: Trial, random: &mut Random) -> Vec<u32> {
    if !trial.defence.is_on() {
        return vec![FULL_PPM; setting.validators + 1];
    }
    let mut conducts = vec![Conduct::Honest; setting.validators];
    conducts.push(setting.copier.clone());
    coverage_of(&conducts, &vec![MINERS_FAIL; setting.miners], random)
}
