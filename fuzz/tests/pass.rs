//! Every target takes its corpus and a fixed number of mutations: a second's worth each, so that none can rot.
//!
//! `cargo xtask fuzz` runs them longer, and knows which code they reach.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

use agon_fuzz::engine::Session;
use agon_fuzz::{TARGETS, Target, corpus};

/// Where chance begins; `SEED=17` begins elsewhere.
fn seed() -> u64 {
    std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap())
}

fn pass(target: &'static Target) -> Result<(), String> {
    let mut session = Session::new(target, seed());
    session
        .try_corpus()
        .and_then(|()| (0..target.quick_runs).try_for_each(|_| session.step()))
        .map_err(|finding| format!("{} (SEED={}): {finding}", target.name, seed()))
}

#[test]
fn every_target_takes_its_corpus_and_what_mutations_make_of_it() {
    // One after the other: how much memory a run takes is measured for the whole process.
    let found: Vec<String> = TARGETS.iter().filter_map(|target| pass(target).err()).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_target_has_a_place_of_its_own_and_seeds() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert!(names.is_sorted(), "the table is in order of names");
    for target in TARGETS {
        assert!(!(target.seeds)().is_empty(), "{} has no seeds", target.name);
    }
    for entry in std::fs::read_dir(corpus::folder()).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            names.contains(&name.as_str()),
            "corpus/{name} belongs to no target"
        );
    }
}
