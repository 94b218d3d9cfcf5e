//! Failures that others did not see: who may contest them, and what counts in their place.

use agon_protocol::message::Leaf;

use super::*;

const MAX: u16 = u16::MAX;
/// The miner that is accused, and its UID.
const ACCUSED: (u8, Uid) = (111, Uid(3));
const OTHERS: [(u16, u16); 5] = [(4, MAX), (5, MAX), (6, MAX), (7, MAX), (8, MAX)];

/// Validator 102, with three tenths of the stake, says that the accused miner failed and weights the others alone. The
/// other two validators work. No slot is picked but one, so that what is claimed is seldom shown. The tempo after it is
/// running and all rows are revealed; gives the accuser's work and the slot of the claim.
fn accused(openings: u64, weights: [&[(u16, u16)]; 3]) -> (Ledger, Work, u32) {
    accused_where(1, openings, weights)
}

/// As [`accused`], where contests are on or off.
fn accused_where(contests: u64, openings: u64, weights: [&[(u16, u16)]; 3]) -> (Ledger, Work, u32) {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_openings", openings));
    ledger.ok(1, set("evidence_contests", contests));
    ledger.close_tempo();
    let works: Vec<(u8, Work, Weights)> = VALIDATORS
        .iter()
        .zip(weights)
        .map(|((_, key, _), row)| {
            let fails = |uid| *key == 102 && uid == ACCUSED.1;
            let does = |_, uid| if fails(uid) { Does::Fails } else { Does::Asks };
            (
                *key,
                Work::with_right(&ledger, *key, row, does),
                ledger.weights(row),
            )
        })
        .collect();
    for (key, work, row) in &works {
        ledger.transact(*key, commit(*key, row)).unwrap();
        ledger.transact(*key, work.commit()).unwrap();
    }
    ledger.close_tempo();
    for (key, work, row) in &works {
        ledger.transact(*key, reveal(row)).unwrap();
        ledger.transact(*key, work.opening(&ledger)).unwrap();
    }
    let work = works[1].1.clone();
    let claims = |slot: &u32| {
        let Leaf::Answer(answer) = work.opened(*slot).leaf else {
            return false;
        };
        answer.uid == ACCUSED.1
    };
    let slot = (0..SLOTS).find(claims).expect("six miners in six slots");
    (ledger, work, slot)
}

fn fair() -> [(u16, u16); 6] {
    [3, 4, 5, 6, 7, 8].map(|uid| (uid, MAX))
}

/// What the row of the accuser says of the accused in the epoch that comes next.
fn counted(ledger: &mut Ledger) -> Option<u16> {
    ledger.close_tempo();
    let row = record(ledger).inputs.weights[1].clone();
    row.into_iter()
        .find(|(uid, _)| *uid == ACCUSED.1.0)
        .map(|(_, weight)| weight)
}

#[test]
fn a_failure_that_most_stake_did_not_see_is_replaced_by_what_the_others_say() {
    let fair = fair();
    let (mut ledger, work, slot) = accused(1, [&fair, &OTHERS, &fair]);
    let is_shown = work.picked(&ledger) == [slot];
    let alone = counted(&mut ledger.clone());
    assert_eq!(alone, is_shown.then_some(MAX), "nobody contests it");
    let effect = ledger.effect(ACCUSED.0, work.contest(slot, ACCUSED.0));
    let (validator, tempo) = (hotkey(102), work.of.tempo);
    let expected =
        format!("contests a failure of UID 3 on subnet 1 in the evidence of {validator} of tempo {tempo}");
    assert_eq!(effect, expected);
    ledger.transact(ACCUSED.0, work.contest(slot, ACCUSED.0)).unwrap();
    assert_eq!(counted(&mut ledger), Some(MAX));
    assert_eq!(record(&ledger).filled, [Uid(1)]);
    // It stays while the row counts, and the accuser says nothing new.
    assert_eq!(counted(&mut ledger), Some(MAX));
}

#[test]
fn a_failure_that_a_picked_slot_shows_is_contested_by_itself() {
    let fair = fair();
    let (mut ledger, ..) = accused(SLOTS.into(), [&fair, &OTHERS, &fair]);
    assert_eq!(counted(&mut ledger), Some(MAX));
}

#[test]
fn a_failure_that_most_stake_saw_stays() {
    let fair = fair();
    // The largest stake gives the miner nothing either.
    let (mut ledger, work, slot) = accused(SLOTS.into(), [&OTHERS, &OTHERS, &fair]);
    ledger.transact(ACCUSED.0, work.contest(slot, ACCUSED.0)).unwrap();
    assert_eq!(counted(&mut ledger), None);
    assert_eq!(record(&ledger).filled, []);
}

#[test]
fn a_contest_is_of_a_claimed_failure_of_the_sender_with_its_receipt_and_once() {
    let fair = fair();
    let (mut ledger, work, slot) = accused(1, [&fair, &OTHERS, &fair]);
    let other = (0..SLOTS).find(|other| *other != slot).unwrap();
    ledger.refused_now(ACCUSED.0, work.contest(other, ACCUSED.0), "contest failure");
    ledger.refused_now(112, work.contest(slot, ACCUSED.0), "contest failure");
    let sentence = ledger.refused_now(ACCUSED.0, work.contest(slot, 112), "contest receipt");
    assert!(sentence.contains("show that one"), "{sentence}");
    let mut lifted = work.clone();
    lifted.leaves.push(Leaf::NotAsked);
    ledger.refused_now(ACCUSED.0, lifted.contest(slot, ACCUSED.0), "contest root");
    let mut unknown = work.clone();
    unknown.of.validator = hotkey(111);
    ledger.refused_now(ACCUSED.0, unknown.contest(slot, ACCUSED.0), "evidence kept");
    let fee = ledger
        .state
        .fee(&ledger.tx(ACCUSED.0, work.contest(slot, ACCUSED.0)));
    assert!(fee > base(0));
    ledger.transact(ACCUSED.0, work.contest(slot, ACCUSED.0)).unwrap();
    ledger.refused_now(ACCUSED.0, work.contest(slot, ACCUSED.0), "contested");
}

#[test]
fn a_subnet_without_contests_refuses_them_and_counts_every_row_as_it_is() {
    let fair = fair();
    let (mut ledger, work, slot) = accused_where(0, 6, [&fair, &OTHERS, &fair]);
    let sentence = ledger.refused_now(ACCUSED.0, work.contest(slot, ACCUSED.0), "contests off");
    assert!(sentence.contains("evidence_contests"), "{sentence}");
    assert_eq!(counted(&mut ledger), None);
}

#[test]
fn a_row_that_was_counted_is_contested_no_more() {
    let fair = fair();
    let (mut ledger, work, slot) = accused(1, [&fair, &OTHERS, &fair]);
    ledger.close_tempo();
    ledger.refused_now(ACCUSED.0, work.contest(slot, ACCUSED.0), "contest window");
    for _ in 0..3 {
        ledger.close_tempo();
    }
    ledger.refused_now(ACCUSED.0, work.contest(slot, ACCUSED.0), "evidence kept");
}
