//! The rows VER-1 to VER-7 of `docs/verification.md`, small: what holds for a few dozen trials of the shipped models.
//!
//! `SEED=17 cargo test -p agon-tests --test verify` runs them under another seed; `cargo xtask verify-bench` runs them
//! in full. Times are not tested, only what travels and what is decided.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends, and says its seed"
)]

use std::path::PathBuf;

use agon_tests::verify::{Figure, Lab, ROWS, Settings, Size, bytes};

fn lab() -> Lab {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    println!("SEED={seed}");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    Lab::open(Settings {
        model: root.join("models/large"),
        smaller: root.join("models/medium"),
        calibrations: root.join("subnets/calibration"),
        seed,
        size: Size::TEST,
    })
    .unwrap()
}

#[track_caller]
fn check(id: &str) {
    let (_, measure) = ROWS.into_iter().find(|(known, _)| *known == id).unwrap();
    let row = measure(&lab()).unwrap();
    println!("{row}");
    assert!(row.is_met(), "{row}");
}

#[test]
fn honest_answers_pass_in_every_format_number_of_threads_and_batch() {
    check("VER-1");
}

#[test]
fn weights_of_four_bits_are_told_by_their_tokens_and_sooner_with_codes() {
    check("VER-2");
}

#[test]
fn other_models_prompts_and_contexts_are_caught_within_one_answer() {
    check("VER-3");
}

#[test]
fn a_draft_by_a_smaller_model_is_caught_whatever_its_codes_say() {
    check("VER-4");
}

#[test]
fn a_miner_that_mixes_in_a_cheaper_model_is_found() {
    check("VER-5");
}

#[test]
fn verification_sends_at_most_sixteen_bytes_a_token() {
    let figures = bytes(&lab()).unwrap();
    assert!(figures.iter().all(Figure::is_met), "{figures:?}");
}

#[test]
fn an_honest_miner_that_is_accused_is_cleared_and_a_cheat_is_not() {
    check("VER-7");
}
