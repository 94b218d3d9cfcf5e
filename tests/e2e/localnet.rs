//! `agon localnet`: better models earn more, cheaters next to nothing, sums are exact, nothing is left behind.

use std::path::Path;
use std::process::Command;

use agon_tests::process::{Process, binaries, binary, mentioning, signal};
use serde_json::Value;

pub(crate) const TEST_MINER: &str = env!("CARGO_BIN_EXE_agon-test-miner");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub(crate) fn localnet(dir: &Path, arguments: &[&str]) -> Process {
    let mut command = Command::new(binary(&binaries(TEST_MINER), "agon"));
    command
        .current_dir(REPOSITORY)
        .args(["localnet", "--json", "--dir"])
        .arg(dir.join("net"))
        .args(arguments);
    Process::start(&mut command, &dir.join("localnet.log"))
}

pub(crate) fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Reads events until one of that kind.
fn until(localnet: &mut Process, kind: &str) -> Value {
    while let Some(line) = localnet.line() {
        let event = event(&line);
        if event["event"] == kind {
            return event;
        }
    }
    panic!("localnet ended without an event {kind:?}");
}

#[track_caller]
pub(crate) fn assert_nothing_left(dir: &Path) {
    let left = mentioning(&dir.display().to_string());
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// Mean incentive of the neurons that are shown with this model.
fn incentive(summary: &Value, model: &str) -> f64 {
    let neurons = summary["neurons"].as_array().unwrap();
    let of_model = neurons.iter().filter(|neuron| neuron["model"] == model);
    let incentives: Vec<f64> = of_model
        .map(|neuron| neuron["incentive"].as_f64().unwrap())
        .collect();
    assert!(!incentives.is_empty(), "nobody serves {model}");
    incentives.iter().sum::<f64>() / incentives.len() as f64
}

#[test]
fn a_pinned_model_is_paid_and_a_smaller_or_a_coarser_one_under_its_name_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut localnet = localnet(
        dir.path(),
        &["--task", "inference", "--miners", "6", "--tempos", "2"],
    );
    let lines = localnet.rest();
    let status = localnet.wait();
    let log = std::fs::read_to_string(dir.path().join("localnet.log")).unwrap();
    assert!(status.success(), "{status}\n{log}");
    let summary = event(lines.last().expect("a summary"));
    let large = incentive(&summary, "large");
    for cheater in ["smaller", "quantised", "offline"] {
        let incentive = incentive(&summary, cheater);
        assert!(
            incentive < large / 20.0,
            "{cheater} has {incentive} beside {large}"
        );
    }
    assert_eq!(summary["holdings_match"], true, "{}", summary["holdings"]);
}

#[test]
fn two_tempos_pay_better_models_more_and_cheaters_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut localnet = localnet(dir.path(), &["--tempos", "2"]);
    let lines = localnet.rest();
    let status = localnet.wait();
    let log = std::fs::read_to_string(dir.path().join("localnet.log")).unwrap();
    assert!(status.success(), "{status}\n{log}");
    let summary = event(lines.last().expect("a summary"));
    assert_eq!(summary["event"], "summary");

    let [small, medium, large] = ["small", "medium", "large"].map(|model| incentive(&summary, model));
    assert!(small < medium && medium < large, "{small} {medium} {large}");
    for cheater in ["garbage", "truncate", "offline"] {
        let incentive = incentive(&summary, cheater);
        assert!(
            incentive < large / 20.0,
            "{cheater} has {incentive} beside {large}"
        );
    }

    assert_eq!(summary["holdings_match"], true, "{}", summary["holdings"]);
    let earned: u64 = summary["neurons"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|n| n["emission"].as_u64())
        .sum();
    let (before, after) = (&summary["issuance_before"], &summary["issuance_after"]);
    assert!(
        before.as_u64().unwrap() < after.as_u64().unwrap(),
        "{before} {after}"
    );
    assert!(earned > 0);

    let mut verify = Command::new(binary(&binaries(TEST_MINER), "agon-node"));
    let verified = verify
        .args(["verify", "--json", "--dir"])
        .arg(dir.path().join("net/node"))
        .output()
        .unwrap();
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    assert_nothing_left(dir.path());
}

#[test]
fn an_interrupt_ends_everything_and_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut localnet = localnet(
        dir.path(),
        &["--tempos", "0", "--miners", "3", "--validators", "1"],
    );
    until(&mut localnet, "started");
    localnet.signal("INT");
    localnet.rest();
    localnet.wait();
    assert_nothing_left(dir.path());
}

#[test]
fn a_child_that_crashes_ends_everything_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut localnet = localnet(
        dir.path(),
        &["--tempos", "0", "--miners", "3", "--validators", "1"],
    );
    until(&mut localnet, "started");
    let children = mentioning(&dir.path().display().to_string());
    let victim = children
        .iter()
        .find(|(_, line)| line.contains("agon-validator"))
        .expect("a validator");
    signal(victim.0, "KILL");
    localnet.rest();
    assert_eq!(localnet.wait().code(), Some(1));
    assert_nothing_left(dir.path());
}

#[test]
fn a_localnet_that_is_killed_takes_its_children_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut localnet = localnet(
        dir.path(),
        &["--tempos", "0", "--miners", "3", "--validators", "1"],
    );
    until(&mut localnet, "started");
    assert!(!mentioning(&dir.path().display().to_string()).is_empty());
    localnet.kill();
    // Each child is told by the kernel, a moment later; the suite's own time limit ends a wait in vain.
    while mentioning(&dir.path().display().to_string())
        .iter()
        .any(|(_, line)| !line.is_empty())
    {
        std::thread::yield_now();
    }
}
