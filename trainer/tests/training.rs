//! A whole small run: the loss falls, a stopped run goes on, the folder is complete.

use agon_model::train::{open_folder, write_folder};
use agon_trainer::card::{self, Record};
use agon_trainer::lesson::vocabulary;
use agon_trainer::run::{Config, Ended, Run};
use agon_trainer::{curve, exam, rung};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn config(work: &Path, resume: bool) -> Config {
    let rung = rung::rung("tiny").expect("a rung of the ladder");
    Config {
        rung,
        seed: 1,
        minutes_max: None,
        threads: 2,
        work: work.to_owned(),
        resume,
    }
}

#[test]
fn a_tiny_rung_learns_in_seconds_and_is_published_with_its_card() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::prepare(config(&folder.path().join("work"), false)).unwrap();
    let mut shown = Vec::new();
    assert_eq!(
        run.teach(&AtomicBool::new(false), &mut shown).unwrap(),
        Ended::Finished
    );

    let points = &run.progress.points;
    assert!(points.last().unwrap().loss < points[0].loss / 2.0, "{points:?}");
    assert_eq!(String::from_utf8(shown).unwrap().lines().count(), points.len());

    let out = folder.path().join("tiny");
    write_folder(&out, &run.learner, &vocabulary()).unwrap();
    curve::write(&out, points, run.rung().stages).unwrap();
    let record = Record::of(&run.progress, 2);
    record.write(&out).unwrap();
    let report = exam::sit(&open_folder(&out).unwrap(), 1, 100);
    card::write(&out, run.rung(), &Record::read(&out).unwrap(), 1, &report).unwrap();
    let card = std::fs::read_to_string(out.join(card::CARD_FILE)).unwrap();
    assert!(
        card.contains("100 fresh items") && card.contains("--rung tiny"),
        "{card}"
    );
}

#[test]
fn a_stopped_run_goes_on_from_its_checkpoint() {
    let work = tempfile::tempdir().unwrap();
    let mut run = Run::prepare(config(work.path(), false)).unwrap();
    let ended = run.teach(&AtomicBool::new(true), &mut Vec::new()).unwrap();
    assert_eq!(ended, Ended::Stopped);

    let mut resumed = Run::prepare(config(work.path(), true)).unwrap();
    assert_eq!(resumed.progress, run.progress);
    assert_eq!(
        resumed.teach(&AtomicBool::new(false), &mut Vec::new()).unwrap(),
        Ended::Finished
    );
    assert_eq!(resumed.progress.step, resumed.rung().steps);
}

#[test]
fn a_checkpoint_of_another_seed_is_not_continued() {
    let work = tempfile::tempdir().unwrap();
    let mut run = Run::prepare(config(work.path(), false)).unwrap();
    run.teach(&AtomicBool::new(true), &mut Vec::new()).unwrap();
    let error = Run::prepare(Config {
        seed: 2,
        ..config(work.path(), true)
    })
    .unwrap_err();
    assert!(error.to_string().contains("seed 1"), "{error}");
}
