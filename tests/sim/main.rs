//! Whole subnets on simulated links: who earns what, what a fault costs, and that a seed replays a run.
//!
//! `SEED=17 cargo test -p agon-tests --test sim` runs the suite under another seed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on ends, and says its seed"
)]

mod adversary;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use agon_miner::backend::{Backend, BackendError, ModelIdentity, Parts, Prompt};
use agon_protocol::id::Hotkey;
use agon_tests::behave::{Behaviour, Misbehaving};
use agon_tests::reader::Reader;
use agon_tests::subnet::{Cast, Picture, simulate};
use agon_validator::evidence::{self, Record};

fn seed() -> u64 {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    println!("SEED={seed}");
    seed
}

fn reader(name: &str, accuracy_ppm: u32) -> Arc<dyn Backend> {
    Arc::new(Reader::new(name, accuracy_ppm))
}

fn cheater(behaviour: Behaviour) -> Arc<dyn Backend> {
    let honest: Box<dyn Backend> = Box::new(Reader::new("large", 900_000));
    Arc::new(Misbehaving::new(behaviour, Some(honest)))
}

fn cast(miners: Vec<Arc<dyn Backend>>, tempos: u64) -> Cast {
    Cast {
        miners,
        validators: vec![500, 300, 200],
        tempos,
        in_sessions: false,
        weather: Box::new(|_| ()),
    }
}

fn run(seed: u64, cast: Cast) -> (Picture, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (simulate(seed, cast, dir.path()), dir)
}

#[test]
fn better_readers_earn_more_and_cheaters_next_to_nothing() {
    let miners = vec![
        reader("large", 900_000),
        reader("medium", 650_000),
        reader("small", 400_000),
        cheater(Behaviour::Garbage),
        cheater(Behaviour::Truncate),
        cheater(Behaviour::Offline),
        cheater(Behaviour::Copy),
    ];
    let (picture, _dir) = run(seed(), cast(miners, 3));
    let earned = picture.earned();
    assert!(earned[0] > earned[1] && earned[1] > earned[2], "{earned:?}");
    let honest: u64 = earned[..3].iter().sum();
    for (cheater, amount) in ["garbage", "truncate", "offline", "copy"]
        .iter()
        .zip(&earned[3..])
    {
        assert!(amount * 50 < honest, "{cheater} earned {amount} beside {honest}");
    }
}

#[test]
fn a_seed_replays_a_run_to_the_last_bit() {
    let miners = || vec![reader("large", 900_000), reader("small", 400_000)];
    let (first, _first_dir) = run(seed(), cast(miners(), 2));
    let (second, _second_dir) = run(seed(), cast(miners(), 2));
    for (first, second) in first.blocks.iter().zip(&second.blocks) {
        assert_eq!(first, second, "block {}", first.header.height);
    }
    assert_eq!(first.metagraph, second.metagraph);
    assert_eq!(first.state_root, second.state_root);
}

#[test]
fn a_miner_that_is_cut_off_loses_pay_and_nobody_hangs() {
    let miners = vec![
        reader("steady", 900_000),
        reader("cut off", 900_000),
        reader("other", 900_000),
    ];
    let mut cast = cast(miners, 4);
    cast.weather = Box::new(|height| {
        if height == 45 {
            for validator in 0..3 {
                turmoil::hold("miner-1", format!("validator-{validator}"));
            }
        }
    });
    let (picture, _dir) = run(seed(), cast);
    let earned = picture.earned();
    assert!(earned[1] * 2 < earned[0], "{earned:?}");
}

/// A reader that writes down who asks it.
struct Watchful {
    reader: Reader,
    senders: Arc<Mutex<BTreeSet<Hotkey>>>,
}

impl Backend for Watchful {
    fn identity(&self) -> &ModelIdentity {
        self.reader.identity()
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        self.senders.lock().unwrap().insert(prompt.sender);
        assert_eq!(prompt.sender_share_ppm, 1_000_000 / 3, "sessions are all alike");
        self.reader.answer(prompt)
    }
}

#[test]
fn in_sessions_no_miner_sees_who_asks_and_evidence_is_paid_as_ever() {
    let senders = Arc::new(Mutex::new(BTreeSet::new()));
    let watchful = Watchful {
        reader: Reader::new("large", 900_000),
        senders: Arc::clone(&senders),
    };
    let miners = vec![Arc::new(watchful) as Arc<dyn Backend>, reader("small", 400_000)];
    let mut cast = cast(miners, 4);
    cast.in_sessions = true;
    let (picture, _dir) = run(seed(), cast);
    let senders = senders.lock().unwrap();
    let hotkeys = picture.metagraph.neurons.iter().map(|neuron| neuron.hotkey);
    assert!(hotkeys.into_iter().all(|hotkey| !senders.contains(&hotkey)));
    assert_eq!(picture.evidence.validators.len(), 3);
    for line in &picture.evidence.validators {
        assert!(senders.contains(&line.asker), "{line:?}");
        assert!(
            line.asker != line.hotkey && line.is_opened && !line.is_forged,
            "{line:?}"
        );
        assert!(line.coverage_ppm.is_some_and(|ppm| ppm > 900_000), "{line:?}");
    }
    let earned = picture.earned();
    assert!(earned[0] > earned[1], "{earned:?}");
}

#[test]
fn a_validator_without_reachable_miners_abstains_and_says_so() {
    let mut cast = cast(vec![reader("steady", 900_000), reader("other", 700_000)], 4);
    cast.weather = Box::new(|height| {
        if height == 45 {
            for miner in 0..2 {
                turmoil::hold(format!("miner-{miner}"), "validator-2");
            }
        }
    });
    let (picture, _dir) = run(seed(), cast);
    let records: Vec<Record> = evidence::read(&picture.validator_dirs[2])
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let abstained = records.iter().any(|record| {
        matches!(record, Record::Abstained(abstained) if abstained.reason.contains("can be reached"))
    });
    assert!(abstained, "{} records", records.len());
    let earned = picture.earned();
    assert!(earned[0] > earned[1], "the others judged on: {earned:?}");
}
