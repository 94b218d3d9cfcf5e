//! Runs cases over seeds, and says what came of them.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;

use serde::Serialize;
use thiserror::Error;

use crate::attack::{Attack, Bound, Case, Defence, Trial};
use crate::estimate::Estimate;

/// Fewest seeds from which an interval can be told.
pub const SEEDS_MIN: u32 = 2;
/// Most seeds and epochs of a case: beyond these a run takes days and says nothing more.
pub const COUNT_MAX: u32 = 100_000;
/// Fewest epochs: bonds need some to settle, and those are left out of the figures.
pub const EPOCHS_MIN: u32 = 20;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    epochs: u32,
    seeds: u32,
    first_seed: u64,
    explores: bool,
    threads: NonZeroUsize,
}

/// Why nothing can be run.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// Too few or too many seeds.
    #[error("{seeds} seeds are outside {SEEDS_MIN} to {COUNT_MAX}")]
    Seeds {
        /// What was asked for.
        seeds: u32,
    },
    /// Too few or too many epochs.
    #[error("{epochs} epochs are outside {EPOCHS_MIN} to {COUNT_MAX}")]
    Epochs {
        /// What was asked for.
        epochs: u32,
    },
}

impl Plan {
    /// Runs of `epochs` epochs under `seeds` seeds from 1 on, on one thread, without the exploration of parameters.
    ///
    /// # Errors
    ///
    /// [`PlanError`] when either is out of range.
    pub fn new(epochs: u32, seeds: u32) -> Result<Self, PlanError> {
        if !(SEEDS_MIN..=COUNT_MAX).contains(&seeds) {
            return Err(PlanError::Seeds { seeds });
        }
        if !(EPOCHS_MIN..=COUNT_MAX).contains(&epochs) {
            return Err(PlanError::Epochs { epochs });
        }
        Ok(Self {
            epochs,
            seeds,
            first_seed: 1,
            explores: false,
            threads: NonZeroUsize::MIN,
        })
    }

    /// The same from another first seed.
    #[must_use]
    pub const fn from_seed(self, first_seed: u64) -> Self {
        Self { first_seed, ..self }
    }

    /// The same with the exploration of parameters.
    #[must_use]
    pub const fn exploring(self, explores: bool) -> Self {
        Self { explores, ..self }
    }

    /// The same over several threads; how many makes no difference to any figure.
    #[must_use]
    pub const fn on_threads(self, threads: NonZeroUsize) -> Self {
        Self { threads, ..self }
    }

    /// Epochs of each run.
    #[must_use]
    pub const fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Seeds of each case.
    #[must_use]
    pub const fn seeds(&self) -> u32 {
        self.seeds
    }
}

/// What a case came to.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// What sets the case apart.
    pub label: String,
    /// The figure with the defence off, where that was run.
    pub off: Option<Estimate>,
    /// What it has to be.
    pub off_bound: Bound,
    /// The figure with the defence on, where that was run.
    pub on: Option<Estimate>,
    /// What it has to be.
    pub on_bound: Bound,
    /// Why the bound is missed, where it is known to be.
    pub open: Option<&'static str>,
}

/// What can be said of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Whatever was run is as it has to be.
    Holds,
    /// The bound is missed, and it is known why.
    Open,
    /// The bound is missed.
    Missed,
    /// The attack did not pay with the defence off, so that nothing is shown.
    Void,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Open => "open",
            Self::Missed => "missed",
            Self::Void => "void",
        }
    }
}

impl CaseReport {
    /// What can be said of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.off.is_some_and(|off| !self.off_bound.holds(&off)) {
            Verdict::Void
        } else if self.on.is_none_or(|on| self.on_bound.holds(&on)) {
            Verdict::Holds
        } else if self.open.is_some() {
            Verdict::Open
        } else {
            Verdict::Missed
        }
    }

    fn slack(&self) -> f64 {
        let slack = |bound: Bound, estimate: Option<Estimate>| {
            estimate.map_or(f64::INFINITY, |estimate| {
                bound.slack(&estimate) / bound.figure().abs().max(1e-9)
            })
        };
        let on = slack(self.on_bound, self.on);
        if self.verdict() == Verdict::Void {
            f64::NEG_INFINITY
        } else {
            on
        }
    }
}

/// What an attack came to.
#[derive(Clone, Debug, Serialize)]
pub struct AttackReport {
    /// Its name.
    pub attack: &'static str,
    /// Its row in the table of attacks.
    pub row: &'static str,
    /// What the attacker does.
    pub about: &'static str,
    /// What the figures are.
    pub figure: &'static str,
    /// The rules that answer it.
    pub defence: &'static str,
    /// Its cases.
    pub cases: Vec<CaseReport>,
}

/// An attack in one line: its case that is closest to failing.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub attack: &'static str,
    /// Its row in the table of attacks.
    pub row: &'static str,
    /// The case.
    pub case: String,
    /// Mean with the defence off.
    pub off: Option<f64>,
    /// Mean with the defence on.
    pub on: Option<f64>,
    /// 95 % interval with the defence on.
    pub interval: Option<[f64; 2]>,
    /// The bound with the defence on.
    pub bound: f64,
    /// Whether all its cases pass.
    pub pass: bool,
}

impl AttackReport {
    /// The worst that can be said of its cases.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdicts = || self.cases.iter().map(CaseReport::verdict);
        let worst = [Verdict::Void, Verdict::Missed, Verdict::Open];
        let found = worst
            .into_iter()
            .find(|verdict| verdicts().any(|of_case| of_case == *verdict));
        found.unwrap_or(Verdict::Holds)
    }

    /// The attack in one line; `None` when it has no case in this plan.
    #[must_use]
    pub fn line(&self) -> Option<Line> {
        let by_slack = |left: &&CaseReport, right: &&CaseReport| left.slack().total_cmp(&right.slack());
        let case = self.cases.iter().min_by(by_slack)?;
        Some(Line {
            attack: self.attack,
            row: self.row,
            case: case.label.clone(),
            off: case.off.map(|off| off.mean),
            on: case.on.map(|on| on.mean),
            interval: case.on.map(|on| [on.low, on.high]),
            bound: case.on_bound.figure(),
            pass: self.verdict() == Verdict::Holds,
        })
    }
}

/// Runs an attack with the defence off and on, or one of the two.
#[must_use]
pub fn run(attack: &dyn Attack, plan: &Plan, only: Option<Defence>) -> AttackReport {
    let cases = attack.cases().into_iter();
    let chosen = cases.filter(|case| plan.explores || !case.explores);
    AttackReport {
        attack: attack.name(),
        row: attack.row(),
        about: attack.about(),
        figure: attack.figure(),
        defence: attack.defence(),
        cases: chosen.map(|case| run_case(&case, plan, only)).collect(),
    }
}

fn run_case(case: &Case, plan: &Plan, only: Option<Defence>) -> CaseReport {
    let estimate = |defence| {
        let wanted = only.is_none_or(|only| only == defence);
        wanted.then(|| Estimate::of(&figures(case, plan, defence)))
    };
    CaseReport {
        label: case.label.clone(),
        off: estimate(Defence::Off),
        off_bound: case.off,
        on: estimate(Defence::On),
        on_bound: case.on,
        open: case.open,
    }
}

/// The figure of each seed, in the order of seeds whatever thread made it.
fn figures(case: &Case, plan: &Plan, defence: Defence) -> Vec<f64> {
    let seeds: Vec<u64> = (0..u64::from(plan.seeds))
        .map(|index| plan.first_seed.wrapping_add(index))
        .collect();
    let trial = |seed| Trial {
        defence,
        epochs: plan.epochs,
        seed,
    };
    let figures = Mutex::new(vec![0.0; seeds.len()]);
    thread::scope(|scope| {
        for worker in 0..plan.threads.get() {
            let (seeds, figures) = (&seeds, &figures);
            scope.spawn(move || {
                for index in (worker..seeds.len()).step_by(plan.threads.get()) {
                    let figure = (case.measure)(trial(seeds[index]));
                    figures.lock().expect("no worker panics while it holds the lock")[index] = figure;
                }
            });
        }
    });
    figures
        .into_inner()
        .expect("no worker panics while it holds the lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Toy;

    impl Attack for Toy {
        fn name(&self) -> &'static str {
            "toy"
        }
        fn row(&self) -> &'static str {
            "T1"
        }
        fn about(&self) -> &'static str {
            "Pays one more with the defence off."
        }
        fn figure(&self) -> &'static str {
            "units"
        }
        fn defence(&self) -> &'static str {
            "None."
        }
        fn cases(&self) -> Vec<Case> {
            let case = |label: &str, on, explores| Case {
                label: label.to_owned(),
                off: Bound::Near(1.5),
                on: Bound::AtMost(on),
                open: None,
                explores,
                measure: Box::new(|trial| {
                    let extra = if trial.defence.is_on() { 0.0 } else { 1.0 };
                    extra + (trial.seed % 2) as f64
                }),
            };
            vec![
                case("wide", 2.0, false),
                case("narrow", 1.0, false),
                case("more", 0.5, true),
            ]
        }
    }

    fn plan(seeds: u32) -> Plan {
        Plan::new(EPOCHS_MIN, seeds).unwrap()
    }

    #[test]
    fn the_line_is_of_the_case_that_is_closest_to_failing() {
        let report = run(&Toy, &plan(10), None);
        let line = report.line().unwrap();
        assert_eq!(
            (line.case.as_str(), line.off, line.on),
            ("narrow", Some(1.5), Some(0.5))
        );
        assert!(line.pass);
        let explored = run(&Toy, &plan(10).exploring(true), None);
        assert_eq!(explored.line().unwrap().case, "more");
        assert_eq!(explored.verdict(), Verdict::Missed);
    }

    #[test]
    fn a_case_whose_attack_does_not_pay_is_void() {
        let mut case = Toy.cases().remove(0);
        case.off = Bound::AtLeast(1.4);
        let report = run_case(&case, &plan(10), None);
        assert_eq!(report.verdict(), Verdict::Void);
        case.off = Bound::Near(1.5);
        case.on = Bound::AtMost(0.1);
        case.open = Some("known");
        assert_eq!(run_case(&case, &plan(10), None).verdict(), Verdict::Open);
    }

    #[test]
    fn threads_and_sides_change_no_figure() {
        let alone = run(&Toy, &plan(7), None);
        let many = run(&Toy, &plan(7).on_threads(NonZeroUsize::new(3).unwrap()), None);
        assert_eq!(alone.cases[0].on, many.cases[0].on);
        let half = run(&Toy, &plan(7), Some(Defence::On));
        assert_eq!((half.cases[0].off, half.cases[0].on), (None, alone.cases[0].on));
    }

    #[test]
    fn plans_out_of_range_are_refused() {
        assert_eq!(Plan::new(200, 1), Err(PlanError::Seeds { seeds: 1 }));
        assert_eq!(Plan::new(19, 50), Err(PlanError::Epochs { epochs: 19 }));
        assert_eq!(
            Plan::new(200, COUNT_MAX + 1).unwrap_err().to_string(),
            "100001 seeds are outside 2 to 100000"
        );
    }
}
