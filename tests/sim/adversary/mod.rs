//! Every attack of `agon sim`, one file each, in a cut that takes seconds: few seeds, few epochs.
//!
//! Without the defence the attack has to pay, or nothing is shown; with it its bound has to hold, or be known to be
//! missed. `cargo xtask sim --full` runs all of it.

mod accuse;
mod bribe;
mod cabal;
mod churn;
mod collude;
mod copy;
mod decoys;
mod equivocate;
mod grind;
mod grow;
mod halt;
mod lazy;
mod majority;
mod memorise;
mod overdeclare;
mod own;
mod owner;
mod receipts;
mod relay;
mod reveal;
mod starve;
mod sybil;
mod withhold;

use std::num::NonZeroUsize;
use std::thread;

use agon_sim::attacks::{ATTACKS, find};
use agon_sim::report::with_interval;
use agon_sim::run::{CaseReport, Plan, Verdict, run};

/// Runs an attack with the defence off and on.
#[track_caller]
fn check(attack: &str, epochs: u32, seeds: u32) {
    let attack = find(attack).expect("a name of the list");
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let plan = Plan::new(epochs, seeds)
        .expect("a plan within its bounds")
        .on_threads(threads);
    let report = run(attack, &plan, None);
    report.cases.iter().for_each(print);
    let verdict = report.verdict();
    assert!(
        matches!(verdict, Verdict::Holds | Verdict::Open),
        "{}: {verdict:?}",
        report.attack
    );
    for case in report.cases.iter().filter(|case| case.open.is_some()) {
        assert_eq!(
            case.verdict(),
            Verdict::Open,
            "{}: the bound holds and is no longer open",
            case.label
        );
    }
}

fn print(case: &CaseReport) {
    let shown = |estimate: &Option<_>| estimate.as_ref().map(with_interval).unwrap_or_default();
    println!(
        "{}: off {} ({}), on {} ({}), {}",
        case.label,
        shown(&case.off),
        case.off_bound,
        shown(&case.on),
        case.on_bound,
        case.verdict().name()
    );
}

/// The attacks that have a file here, by the name of their file's test.
#[test]
fn every_attack_is_tried() {
    let tried = include_str!("mod.rs")
        .lines()
        .filter(|line| line.starts_with("mod "))
        .count();
    assert_eq!(tried, ATTACKS.len());
}
