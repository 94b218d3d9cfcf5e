//! Coverage, and what it makes of dividends.

use super::*;
use crate::{COVERAGE_FULL_PPM, covered};

const FULL: u32 = COVERAGE_FULL_PPM;
const ASKS: Option<Does> = Some(Does::Asks);

/// The coverage of the three validators.
fn coverage(record: &EpochRecord) -> [u32; 3] {
    [0, 1, 2].map(|uid| record.coverage_ppm[uid])
}

/// What the three validators were paid as such.
fn pay(record: &EpochRecord) -> [u64; 3] {
    [0, 1, 2].map(|uid| record.payouts.validators[uid].base_units())
}

#[test]
fn work_that_is_shown_is_paid_in_full() {
    let mut ledger = ledger();
    let record = paid(&mut ledger, [ASKS; 3]);
    assert_eq!(coverage(&record), [FULL; 3]);
    let half = record.payouts.validators.iter().map(|pay| pay.base_units());
    assert_eq!(
        half.sum::<u64>(),
        4_100_000_000 + record.validators_held_before.base_units()
    );
    assert!(pay(&record).iter().all(|pay| *pay > 0), "{:?}", pay(&record));
    assert_eq!(
        [0, 1, 2, 3].map(|uid| ledger.neuron(uid).coverage_ppm),
        [FULL, FULL, FULL, 0],
        "who owes nothing covers nothing"
    );
}

#[test]
fn a_copier_without_receipts_earns_nothing_whatever_its_weights_and_stake() {
    let mut ledger = ledger();
    paid(&mut ledger, [ASKS; 3]);
    let honest = paid(&mut ledger.clone(), [ASKS; 3]);
    // The largest stake copies; the row that it worked for stands.
    let record = paid(&mut ledger, [None, ASKS, ASKS]);
    assert_eq!(coverage(&record), [0, FULL, FULL]);
    assert!(record.outputs.validator_emission[0] > record.outputs.validator_emission[1]);
    assert_eq!(pay(&record)[0], 0);
    assert_eq!(
        pay(&record).iter().sum::<u64>(),
        pay(&honest).iter().sum::<u64>(),
        "the half goes to those who worked"
    );
    let (dividend, covered) = (
        record.outputs.validator_emission[0],
        ledger.state.expect_neuron(SUBNET, Uid(0)).scores.emission,
    );
    assert_eq!(
        covered,
        record.outputs.emission[0] - dividend,
        "deregistration sees it too"
    );
}

#[test]
fn who_commits_and_shows_nothing_earns_nothing() {
    let mut ledger = ledger();
    let row = row(&ledger);
    let work = Work::of(&ledger, 101, |_, _| Does::Asks);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    assert_eq!(coverage(&record(&ledger)), [0, 0, 0]);
}

#[test]
fn a_part_of_the_work_earns_that_part() {
    let mut ledger = ledger();
    let half = |slot: u32, _| {
        if slot < SLOTS / 2 { Does::Asks } else { Does::Skips }
    };
    let mut works = [101, 102].map(|key| Work::of(&ledger, key, half));
    works[1].claimed_ppm = 200_000;
    let rows: BTreeMap<u8, Weights> = [101, 102]
        .into_iter()
        .zip(&works)
        .map(|(key, work)| (key, work.weights(&ledger)))
        .collect();
    for (key, work) in [101, 102].into_iter().zip(&works) {
        ledger.transact(key, commit(key, &rows[&key])).unwrap();
        ledger.transact(key, work.commit()).unwrap();
    }
    ledger.close_tempo();
    for (key, work) in [101, 102].into_iter().zip(&works) {
        ledger.transact(key, reveal(&rows[&key])).unwrap();
        ledger.transact(key, work.opening(&ledger)).unwrap();
    }
    ledger.close_tempo();
    let record = record(&ledger);
    assert_eq!(
        coverage(&record),
        [500_000, 200_000, 0],
        "at most what was claimed"
    );
    let dividends = covered(&record.outputs.validator_emission, &record.coverage_ppm);
    let half = record.payouts.validators.iter().copied().sum::<Amount>();
    assert_eq!(record.payouts.validators, crate::apportion(half, &dividends));
}

#[test]
fn where_nobody_shows_work_the_half_is_held_and_goes_to_those_who_show_it_next() {
    let mut ledger = ledger();
    paid(&mut ledger, [ASKS; 3]);
    let record = paid(&mut ledger, [None; 3]);
    assert!(record.outputs.validator_emission.iter().any(|pay| *pay > 0));
    let held = record.payouts.validators_held;
    assert_eq!(
        held.base_units(),
        record.validators_held_before.base_units() + 4_100_000_000
    );
    assert_eq!(record.payouts.validators_paid(), base(0));
    // The tempo that runs now has no evidence before it either.
    let record = paid(&mut ledger, [None, ASKS, None]);
    assert_eq!(record.payouts.validators_held, base(0));
    assert_eq!(pay(&record)[0], 0);
    assert_eq!(
        pay(&record)[1],
        record.validators_held_before.base_units() + 4_100_000_000
    );
}

#[test]
fn a_miner_that_is_away_costs_little_when_others_see_it_too() {
    let mut ledger = ledger();
    let away = Uid(3);
    let sees = |_: u32, uid: Uid| if uid == away { Does::Fails } else { Does::Asks };
    let works = [101, 102, 103].map(|key| Work::of(&ledger, key, sees));
    let rows: BTreeMap<u8, Weights> = [101, 102, 103]
        .into_iter()
        .zip(&works)
        .map(|(key, work)| (key, work.weights(&ledger)))
        .collect();
    for (key, work) in [101, 102, 103].into_iter().zip(&works) {
        ledger.transact(key, commit(key, &rows[&key])).unwrap();
        ledger.transact(key, work.commit()).unwrap();
    }
    ledger.close_tempo();
    for (key, work) in [101, 102, 103].into_iter().zip(&works) {
        ledger.transact(key, reveal(&rows[&key])).unwrap();
        ledger.transact(key, work.opening(&ledger)).unwrap();
    }
    ledger.close_tempo();
    assert_eq!(
        coverage(&record(&ledger)),
        [FULL; 3],
        "six miners in six slots: each saw it away"
    );
}

#[test]
fn failures_that_others_do_not_see_prove_nothing() {
    let mut ledger = ledger();
    let record = paid(&mut ledger, [Some(Does::Fails), ASKS, ASKS]);
    assert_eq!(coverage(&record), [0, FULL, FULL]);
}

#[test]
fn without_openings_dividends_are_paid_in_full() {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_openings", 0));
    let record = paid(&mut ledger, [ASKS, None, None]);
    assert_eq!(coverage(&record), [FULL, 0, 0], "it was on in the tempo before");
    let record = paid(&mut ledger, [None; 3]);
    assert_eq!(record.coverage_ppm, [FULL; 9]);
    assert!(pay(&record).iter().all(|pay| *pay > 0));
}

#[test]
fn before_there_is_a_roster_dividends_are_held_and_not_shared_by_stake() {
    let mut ledger = Ledger::new();
    ledger.ok(1, create());
    ledger.ok(1, Call::StartSubnet { netuid: SUBNET });
    ledger.register(2, [101]);
    ledger.ok(2, stake(101, units(100)));
    ledger.close_tempo();
    let epoch = ledger.close_tempo();
    let record = record(&ledger);
    assert!(
        record.outputs.validator_emission[0] > 0,
        "it would be paid by its stake"
    );
    assert_eq!(epoch.validators_paid, base(0));
    assert_eq!(
        record.payouts.validators_held,
        ledger.state.expect_subnet(SUBNET).pots.validators_held
    );
}
