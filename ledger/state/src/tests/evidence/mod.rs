//! Evidence on a ledger: what is owed, committed, opened, paid and punished.
//!
//! Validators are 101 of coldkey 2, 102 of coldkey 4 and 103 of coldkey 5, on UIDs 0 to 2; miners are 111 to 116 of
//! coldkey 3, on UIDs 3 to 8. Two rounds of three miners are owed.

mod backing;
mod bytes;
mod contesting;
mod forging;
mod paying;
mod random;
mod rules;
mod sessions;
mod work;

pub(super) use self::work::{Does, Work, serve};

use super::*;
use crate::EpochRecord;

/// Validators with their coldkeys and stakes.
const VALIDATORS: [(u8, u8, u64); 3] = [(2, 101, 600), (4, 102, 300), (5, 103, 100)];
const MINERS: std::ops::RangeInclusive<u8> = 111..=116;
/// Slots that each validator owes.
const SLOTS: u32 = 6;

/// Evidence is on and asked with hotkeys, every slot is opened, all three validators have permits and all six miners serve; the first block of
/// a tempo is open.
fn ledger() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    for (name, value) in [
        ("evidence_rounds", 2),
        ("evidence_miners", 3),
        ("evidence_openings", SLOTS.into()),
        ("evidence_sessions", 0),
    ] {
        ledger.ok(1, set(name, value));
    }
    for (coldkey, hotkey, _) in VALIDATORS {
        ledger.register(coldkey, [hotkey]);
    }
    ledger.register(3, MINERS);
    for key in MINERS {
        ledger.ok(key, serve());
    }
    for (coldkey, hotkey, amount) in VALIDATORS {
        ledger.ok(coldkey, stake(hotkey, units(amount)));
    }
    ledger.close_tempo();
    ledger
}

/// For the golden roots: one tempo's evidence of two validators, shown by one and found to be forged of the other.
pub(super) fn script(ledger: &mut Ledger, [honest, forger]: [u8; 2]) {
    ledger.ok(1, set("evidence_openings", 4));
    let registered = |key: &u8| ledger.state.uid_of(SUBNET, hotkey(*key)).is_some();
    let others = (101..=u8::MAX).filter(|key| ![honest, forger].contains(key));
    let miners: Vec<u8> = others.filter(registered).take(2).collect();
    for key in miners {
        ledger.ok(key, serve());
    }
    ledger.close_tempo();
    ledger.close_tempo();
    let works = [(honest, Does::Asks), (forger, Does::Forges)]
        .map(|(key, does)| (key, Work::of(ledger, key, |_, _| does)));
    for (key, work) in &works {
        ledger.transact(*key, work.commit()).unwrap();
    }
    ledger.close_tempo();
    let [(_, shown), (_, forged)] = &works;
    ledger.transact(honest, shown.opening(ledger)).unwrap();
    ledger.transact(9, forged.answer_report(1)).unwrap();
    ledger.close_tempo();
}

/// The record of the epoch that ran last.
fn record(ledger: &Ledger) -> EpochRecord {
    let tempo = ledger.subnet().tempo - 1;
    ledger.state.epoch_record(SUBNET, tempo).unwrap()
}

/// All validators weight all miners alike.
fn row(ledger: &Ledger) -> Weights {
    ledger.weights(&[3, 4, 5, 6, 7, 8].map(|uid| (uid, 1)))
}

/// The evidence and weights of one tempo, until the epoch that pays by them; the running tempo is the next one then.
/// A validator without anything to do commits to weights alone, as a copier would.
fn tempo(ledger: &mut Ledger, does: [Option<Does>; 3]) -> Vec<Option<Work>> {
    let row = row(ledger);
    let works: Vec<Option<Work>> = VALIDATORS
        .iter()
        .zip(does)
        .map(|((_, key, _), does)| does.map(|does| Work::of(ledger, *key, |_, _| does)))
        .collect();
    for ((_, key, _), work) in VALIDATORS.iter().zip(&works) {
        ledger.transact(*key, commit(*key, &row)).unwrap();
        if let Some(work) = work {
            ledger.transact(*key, work.commit()).unwrap();
        }
    }
    ledger.close_tempo();
    for ((_, key, _), work) in VALIDATORS.iter().zip(&works) {
        ledger.transact(*key, reveal(&row)).unwrap();
        if let Some(work) = work {
            ledger.transact(*key, work.opening(ledger)).unwrap();
        }
    }
    works
}

/// As [`tempo`], and the epoch that pays by it.
fn paid(ledger: &mut Ledger, does: [Option<Does>; 3]) -> EpochRecord {
    tempo(ledger, does);
    ledger.close_tempo();
    record(ledger)
}
