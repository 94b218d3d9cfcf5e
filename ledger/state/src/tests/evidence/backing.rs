//! Which revealed rows count: those that the evidence shows.

use super::*;

const MAX: u16 = u16::MAX;
const ASKS: Option<Does> = Some(Does::Asks);
/// A row for one miner alone, which nobody's evidence gives.
const LIFTED: [(u16, u16); 1] = [(3, MAX)];

/// The row of validator 101 that an epoch counted.
fn counted(record: &EpochRecord) -> Vec<(u16, u16)> {
    record.inputs.weights[0].clone()
}

fn fair() -> Vec<(u16, u16)> {
    (3..9).map(|uid| (uid, MAX)).collect()
}

/// A tempo in which validator 101 commits to one row and shows evidence of another, while the others work; the block
/// that ran the epoch of its reveal is open.
fn beside(ledger: &mut Ledger, revealed: &[(u16, u16)], shown: &[(u16, u16)]) -> EpochRecord {
    let row = ledger.weights(revealed);
    let work = Work::of(ledger, 101, |_, _| Does::Asks);
    assert_eq!(work.row(), shown);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.transact(101, work.opening(ledger)).unwrap();
    ledger.close_tempo();
    record(ledger)
}

#[test]
fn a_row_that_the_evidence_shows_counts_from_the_epoch_that_ends_its_reveal() {
    let mut ledger = ledger();
    tempo(&mut ledger, [ASKS; 3]);
    assert_eq!(
        counted(&record(&ledger)),
        [],
        "it is revealed, and the epoch is to come"
    );
    assert_eq!(ledger.neuron(3).incentive, 0);
    ledger.close_tempo();
    assert_eq!(counted(&record(&ledger)), fair());
    assert!(ledger.neuron(3).incentive > 0);
}

#[test]
fn another_row_does_not_count_and_its_maker_is_not_paid() {
    let mut ledger = ledger();
    let honest = beside(&mut ledger, &fair(), &fair());
    assert_eq!((counted(&honest), honest.coverage_ppm[0]), (fair(), 1_000_000));
    let record = beside(&mut ledger, &LIFTED, &fair());
    assert_eq!((counted(&record), record.coverage_ppm[0]), (fair(), 0));
    assert_eq!(record.payouts.validators[0], base(0));
    let rows = ledger.state.weights(SUBNET).unwrap();
    assert_eq!(rows[0].weights.len(), 6, "the other row is gone");
    // The scale of what is revealed does not matter.
    let scaled: Vec<(u16, u16)> = (3..9).map(|uid| (uid, 7)).collect();
    let record = beside(&mut ledger, &scaled, &fair());
    assert_eq!((counted(&record), record.coverage_ppm[0]), (fair(), 1_000_000));
}

#[test]
fn a_row_whose_evidence_is_not_opened_leaves_the_row_before() {
    let mut ledger = ledger();
    beside(&mut ledger, &fair(), &fair());
    let row = ledger.weights(&LIFTED);
    let work = Work::with_right(&ledger, 101, &LIFTED, |_, _| Does::Asks);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    let newest = |ledger: &Ledger| ledger.state.weights(SUBNET).unwrap()[0].weights.len();
    assert_eq!(newest(&ledger), 1, "the newest row is shown while it waits");
    ledger.close_tempo();
    let record = record(&ledger);
    assert_eq!((counted(&record), record.coverage_ppm[0]), (fair(), 0));
    assert_eq!(newest(&ledger), 6);
}

#[test]
fn a_row_of_forged_evidence_does_not_count() {
    let mut ledger = ledger();
    beside(&mut ledger, &fair(), &fair());
    let row = ledger.weights(&fair());
    let work = Work::of(&ledger, 101, |_, _| Does::Forges);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.transact(9, work.answer_report(0)).unwrap();
    ledger.close_tempo();
    assert_eq!(counted(&record(&ledger)), []);
}

#[test]
fn without_commit_reveal_a_row_counts_an_epoch_after_its_tempo() {
    let mut ledger = ledger();
    ledger.ok(1, set("commit_reveal", 0));
    ledger.close_tempo();
    let mut counted_in = Vec::new();
    let mut works: Vec<Work> = Vec::new();
    for right in [fair(), vec![(3, MAX), (4, MAX)], fair()] {
        let work = Work::with_right(&ledger, 101, &right, |_, _| Does::Asks);
        let weights = work.weights(&ledger);
        ledger.transact(101, reveal(&weights)).unwrap();
        ledger.transact(101, work.commit()).unwrap();
        if let Some(before) = works.last() {
            ledger.transact(101, before.opening(&ledger)).unwrap();
        }
        works.push(work);
        ledger.close_tempo();
        counted_in.push(counted(&record(&ledger)));
    }
    assert_ne!(works[0].row(), works[1].row());
    assert_eq!(counted_in, [Vec::new(), works[0].row(), works[1].row()]);
}

#[test]
fn a_longer_reveal_period_counts_when_it_reveals() {
    let mut ledger = ledger();
    ledger.ok(1, set("reveal_period_tempos", 2));
    ledger.close_tempo();
    let row = ledger.weights(&LIFTED);
    let work = Work::with_right(&ledger, 101, &LIFTED, |_, _| Does::Asks);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, work.opening(&ledger)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    assert_eq!(counted(&record(&ledger)), LIFTED);
}

#[test]
fn a_uid_that_changed_hands_is_no_difference() {
    let mut ledger = ledger();
    // Two UIDs that earn nothing, which newcomers replace, the older one first.
    ledger.register(3, [117, 118]);
    ledger.ok(1, set("max_uids", 11));
    ledger.ok(1, set("immunity_blocks", 0));
    ledger.close_tempo();
    // From the tempo after this one on they serve, and all are asked.
    for key in [117, 118] {
        ledger.ok(key, serve());
    }
    ledger.ok(1, set("evidence_miners", 4));
    tempo(&mut ledger, [ASKS; 3]);
    let all: Vec<(u16, u16)> = (3..11).map(|uid| (uid, MAX)).collect();
    let row = ledger.weights(&all);
    let work = Work::with_right(&ledger, 101, &all, |_, _| Does::Asks);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.ok(6, register(131));
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.transact(101, work.opening(&ledger)).unwrap();
    // And one that changes hands while the row waits.
    ledger.ok(6, register(132));
    let uids = [131, 132].map(|key| ledger.state.uid_of(SUBNET, hotkey(key)));
    assert_eq!(uids, [Some(Uid(9)), Some(Uid(10))]);
    ledger.close_tempo();
    let record = record(&ledger);
    let expected = [fair(), vec![(10, 0)]].concat();
    assert_eq!((counted(&record), record.coverage_ppm[0]), (expected, 1_000_000));
}

#[test]
fn a_new_hotkey_keeps_the_row_that_waits() {
    let mut ledger = ledger();
    let row = ledger.weights(&fair());
    let work = Work::of(&ledger, 101, |_, _| Does::Asks);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    let swap = Call::SwapHotkey {
        hotkey: hotkey(101),
        new_hotkey: hotkey(121),
    };
    ledger.transact(2, swap).unwrap();
    ledger.transact(121, work.opening(&ledger)).unwrap();
    ledger.close_tempo();
    assert_eq!(counted(&record(&ledger)), fair());
}

#[test]
fn where_nothing_is_owed_a_row_counts_at_once() {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_openings", 0));
    ledger.close_tempo();
    let row = ledger.weights(&LIFTED);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    assert_eq!(counted(&record(&ledger)), LIFTED);

    // Nobody serves, so nobody can be asked.
    let mut alone = Ledger::with_subnet();
    alone.ok(1, set("evidence_openings", 16));
    alone.register(2, [101]);
    alone.register(3, [111]);
    alone.ok(2, stake(101, units(100)));
    alone.close_tempo();
    let row = alone.weights(&[(1, 1)]);
    alone.transact(101, commit(101, &row)).unwrap();
    alone.close_tempo();
    alone.transact(101, reveal(&row)).unwrap();
    alone.close_tempo();
    assert_eq!(counted(&record(&alone)), [(1, MAX)]);
}

#[test]
fn who_had_no_permit_when_the_tempo_opened_is_not_counted_before_the_next() {
    let mut ledger = ledger();
    // The owner weighs without a permit, and is in no roster yet.
    ledger.register(1, [141]);
    let uid = ledger.state.uid_of(SUBNET, hotkey(141)).unwrap();
    let row = ledger.weights(&LIFTED);
    ledger.transact(141, commit(141, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(141, reveal(&row)).unwrap();
    let work = Work::with_right(&ledger, 141, &LIFTED, |_, _| Does::Asks);
    let row = ledger.weights(&LIFTED);
    ledger.transact(141, commit(141, &row)).unwrap();
    ledger.transact(141, work.commit()).unwrap();
    ledger.close_tempo();
    let counted = |ledger: &Ledger| record(ledger).inputs.weights[usize::from(uid.0)].clone();
    assert_eq!(counted(&ledger), []);
    ledger.transact(141, reveal(&row)).unwrap();
    ledger.transact(141, work.opening(&ledger)).unwrap();
    ledger.close_tempo();
    assert_eq!(counted(&ledger), LIFTED);
}
