//! The epoch against its golden vectors, tolerance 0 on every field of `expected`, `fixed32` included.

use std::fs;
use std::path::{Path, PathBuf};

use agon_scoring::epoch::file::{Detail, parse, run_file};
use agon_scoring::epoch::{EpochInputs, EpochOutputs, run};
use serde_json::Value;

/// How many cases the folder holds; a case that went missing must not pass unseen.
const CASE_COUNT: usize = 24;

/// The one case whose epochs are alternatives to each other and not a sequence.
const ALTERNATIVES: &str = "19-kappa-tie-half.json";

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/yuma");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("golden folder")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert_eq!(paths.len(), CASE_COUNT, "cases in {}", folder.display());
    paths
}

/// Panics at the first field of `expected` that `got` lacks or has differently.
#[track_caller]
fn check_fields(case: &Path, epoch: usize, expected: &Value, got: &Value) {
    for (field, value) in expected.as_object().expect("an object") {
        let ours = got
            .get(field)
            .unwrap_or_else(|| panic!("{}: no field {field}", case.display()));
        if field == "fixed32" {
            check_fields(case, epoch, value, ours);
        } else {
            assert_eq!(value, ours, "{}: epoch {epoch}, field {field}", case.display());
        }
    }
}

#[test]
fn every_golden_epoch_gives_the_same_integers() {
    for path in cases() {
        let json = fs::read(&path).expect("golden file");
        let report = run_file(&json, Detail::Trace).expect("golden inputs are valid");
        let ours = serde_json::to_value(&report).expect("a report is JSON");
        let golden: Value = serde_json::from_slice(&json).expect("golden file is JSON");
        let golden_epochs = golden["epochs"].as_array().expect("epochs");
        assert_eq!(golden_epochs.len(), report.epochs.len());
        for (index, golden_epoch) in golden_epochs.iter().enumerate() {
            check_fields(&path, index, &golden_epoch["expected"], &ours["epochs"][index]);
        }
    }
}

#[test]
fn chained_golden_epochs_give_the_same_integers() {
    for path in cases().into_iter().filter(|path| !path.ends_with(ALTERNATIVES)) {
        let golden = parse(&fs::read(&path).expect("golden file")).expect("golden inputs");
        let mut before: Option<EpochOutputs> = None;
        for (index, given) in golden.iter().enumerate() {
            let inputs = chain(given, before.take());
            assert_eq!(run(&inputs), run(given), "{}: epoch {index}", path.display());
            before = Some(run(&inputs).expect("valid inputs"));
        }
    }
}

/// The inputs of an epoch with bonds and permits from our own result of the epoch before.
fn chain(given: &EpochInputs, before: Option<EpochOutputs>) -> EpochInputs {
    match before {
        None => given.clone(),
        Some(before) => EpochInputs {
            bonds: before.bonds,
            validator_permit: before.validator_permit,
            ..given.clone()
        },
    }
}
