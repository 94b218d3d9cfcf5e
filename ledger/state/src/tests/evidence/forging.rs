//! Forged evidence: how it comes out, and what it costs.

use agon_protocol::message::Forgery;

use super::work::WRONG;
use super::*;
use crate::EpochRecord;

/// Validator 101, with three fifths of the stake, forges one slot among true ones and commits; the tempo after it is
/// running. Weights are revealed.
fn forged_by_the_largest() -> (Ledger, Work) {
    let mut ledger = ledger();
    // A staker that has done nothing wrong.
    ledger.ok(6, stake(101, units(50)));
    let row = row(&ledger);
    let work = Work::of(&ledger, 101, |slot, _| match slot {
        2 => Does::Forges,
        _ => Does::Asks,
    });
    let honest = Work::of(&ledger, 102, |_, _| Does::Asks);
    for (key, work) in [(101, &work), (102, &honest)] {
        ledger.transact(key, commit(key, &row)).unwrap();
        ledger.transact(key, work.commit()).unwrap();
    }
    ledger.close_tempo();
    for key in [101, 102] {
        ledger.transact(key, reveal(&row)).unwrap();
    }
    ledger.transact(102, honest.opening(&ledger)).unwrap();
    (ledger, work)
}

/// What coldkey `key` has staked on hotkey 101.
fn staked(ledger: &Ledger, key: u8) -> u64 {
    let stakes = ledger.state.account(&coldkey(key).into()).stakes;
    let on = stakes.into_iter().find(|stake| stake.hotkey == hotkey(101));
    on.map_or(0, |stake| stake.amount.base_units())
}

/// Shares are slashed, and what they are worth is rounded down.
#[track_caller]
fn check_tenth(slashed: u64, before: u64) {
    assert!((before / 10).abs_diff(slashed) <= 1, "{slashed} of {before}");
}

fn weighs(ledger: &Ledger, uid: u16) -> bool {
    let rows = ledger.state.weights(SUBNET).unwrap();
    rows.iter()
        .any(|row| row.uid == Uid(uid) && !row.weights.is_empty())
}

#[track_caller]
fn check_punished(mut ledger: Ledger, slashed: u64, others: u64) {
    assert!(slashed > 0);
    assert!(staked(&ledger, 6) >= others, "what others staked stays theirs");
    assert!(!weighs(&ledger, 0) && weighs(&ledger, 1));
    assert!(!ledger.neuron(0).permit);
    let running = ledger.subnet().tempo;
    let weights = row(&ledger);
    let sentence = ledger.refused_now(101, commit(101, &weights), "barred");
    assert!(sentence.contains(&format!("tempo {}", running + 2)), "{sentence}");

    // This epoch and the next give no permit and no pay; the one after does.
    for _ in 0..2 {
        ledger.close_tempo();
        let record: EpochRecord = record(&ledger);
        assert_eq!(record.coverage_ppm[0], 0);
        assert_eq!(record.payouts.validators[0], base(0));
        let is_over = ledger.subnet().tempo == running + 2;
        assert_eq!(ledger.neuron(0).permit, is_over);
    }
    let work = Work::of(&ledger, 101, |_, _| Does::Asks);
    ledger.transact(101, work.commit()).unwrap();
    let weights = row(&ledger);
    ledger.transact(101, commit(101, &weights)).unwrap();
}

#[test]
fn a_forged_leaf_that_is_opened_is_punished_and_all_of_the_slash_is_burned() {
    let (mut ledger, work) = forged_by_the_largest();
    let (before, others) = (staked(&ledger, 2), staked(&ledger, 6));
    let (burned, free) = (ledger.burned(), ledger.free(2));
    let effect = ledger.effect(101, work.opening(&ledger));
    assert!(
        effect.contains("for forged evidence") && effect.contains("leaf 2"),
        "{effect}"
    );
    ledger.transact(101, work.opening(&ledger)).unwrap();
    let slashed = before - staked(&ledger, 2);
    check_tenth(slashed, before);
    assert_eq!(ledger.burned().saturating_sub(burned), base(slashed));
    assert_eq!(ledger.free(2), free);
    ledger.refused_now(101, work.opening(&ledger), "evidence opened");
    ledger.refused_now(9, work.answer_report(2), "punished");
    check_punished(ledger, slashed, others);
}

#[test]
fn a_report_takes_the_row_of_three_fifths_of_the_stake_and_pays_its_reporter() {
    let (mut ledger, work) = forged_by_the_largest();
    let (before, others) = (staked(&ledger, 2), staked(&ledger, 6));
    let (burned, free) = (ledger.burned(), ledger.free(9));
    ledger.refused_now(9, work.answer_report(1), "forgery");
    ledger.transact(9, work.answer_report(2)).unwrap();
    let slashed = before - staked(&ledger, 2);
    let reward = ledger.free(9).saturating_sub(free);
    check_tenth(slashed, before);
    assert_eq!(reward, base(slashed / 10));
    assert_eq!(
        ledger.burned().saturating_sub(burned),
        base(slashed).saturating_sub(reward)
    );
    ledger.refused_now(8, work.answer_report(2), "punished");
    ledger.refused_now(101, work.opening(&ledger), "evidence opened");
    check_punished(ledger, slashed, others);
}

#[test]
fn weights_of_the_rest_decide_after_a_report() {
    let (mut ledger, work) = forged_by_the_largest();
    ledger.transact(9, work.answer_report(2)).unwrap();
    ledger.close_tempo();
    let record = record(&ledger);
    assert_eq!(record.inputs.weights[0], []);
    assert!(!record.inputs.validator_permit[0]);
    assert_eq!(record.coverage_ppm[..3], [0, 1_000_000, 0]);
    assert!(record.payouts.validators[1] > base(0));
    let paid = record.payouts.miners.iter().copied().sum::<Amount>();
    assert_eq!(record.payouts.miners_held, base(0));
    assert!(paid > base(0));
}

#[test]
fn a_judgement_that_the_task_does_not_give_is_punished() {
    let mut ledger = ledger();
    let work = Work::of(&ledger, 101, |slot, _| match slot {
        0 => Does::Flatters,
        _ => Does::Asks,
    });
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    let report = |text: &str| {
        work.report(Forgery::Judgement {
            answer: work.opened(0),
            text: text.to_owned(),
        })
    };
    ledger.refused_now(9, report("another text"), "forgery");
    let effect = ledger.effect(9, report(WRONG));
    assert!(effect.contains("judged 1000000 ppm"), "{effect}");
    ledger.transact(9, report(WRONG)).unwrap();
    assert!(!ledger.neuron(0).permit);
}

/// Nobody has the bundle, and nobody reports anything: the validator's own opening shows it.
#[track_caller]
fn check_shown_by_itself(does: Does, expected: &str) {
    let mut ledger = ledger();
    let before = staked(&ledger, 2);
    let work = Work::of(&ledger, 101, |_, _| does);
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    let effect = ledger.effect(101, work.opening(&ledger));
    assert!(
        effect.contains("for forged evidence") && effect.contains(expected),
        "{effect}"
    );
    ledger.transact(101, work.opening(&ledger)).unwrap();
    check_tenth(before - staked(&ledger, 2), before);
    assert!(!ledger.neuron(0).permit);
    ledger.close_tempo();
    assert_eq!(record(&ledger).coverage_ppm[0], 0);
}

#[test]
fn flattered_answers_in_slots_are_judged_again_when_they_are_opened() {
    check_shown_by_itself(Does::Flatters, "judged 1000000 ppm");
}

#[test]
fn flattered_answers_beside_the_slots_are_found_on_trails() {
    check_shown_by_itself(Does::FlattersBeside, "judged 1000000 ppm");
}

/// A validator that works two tempos on end, and is opened after the second; `change` may forge how it goes on.
fn second_tempo(change: impl Fn(&mut Ledger) -> Work) -> (Ledger, Work) {
    let mut ledger = ledger();
    let first = Work::of(&ledger, 101, |_, _| Does::Asks);
    ledger.transact(101, first.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, first.opening(&ledger)).unwrap();
    let second = change(&mut ledger);
    ledger.transact(101, second.commit()).unwrap();
    ledger.close_tempo();
    (ledger, second)
}

#[test]
fn windows_go_on_from_the_tempo_before() {
    let (mut ledger, second) = second_tempo(|ledger| Work::of(ledger, 101, |_, _| Does::Asks));
    ledger.transact(101, second.opening(&ledger)).unwrap();
    ledger.close_tempo();
    assert_eq!(record(&ledger).coverage_ppm[0], 1_000_000);
}

#[test]
fn who_begins_anew_after_a_commit_is_found_by_its_opening() {
    let (ledger, second) = second_tempo(|ledger| Work::forgetting(ledger, 101, &[], |_, _| Does::Asks));
    let effect = ledger.effect(101, second.opening(&ledger));
    assert!(effect.contains("the first item has number 0"), "{effect}");
}

#[test]
fn who_committed_to_nothing_in_the_tempo_before_may_begin_anew() {
    let mut ledger = ledger();
    ledger.close_tempo();
    let work = Work::of(&ledger, 101, |_, _| Does::Asks);
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, work.opening(&ledger)).unwrap();
}

#[test]
fn a_miner_that_changed_hands_is_not_carried_on() {
    let (mut ledger, second) = second_tempo(|ledger| {
        let swap = Call::SwapHotkey {
            hotkey: hotkey(113),
            new_hotkey: hotkey(133),
        };
        ledger.transact(3, swap).unwrap();
        Work::forgetting(ledger, 101, &[Uid(5)], |_, _| Does::Asks)
    });
    ledger.transact(101, second.opening(&ledger)).unwrap();
    assert!(ledger.neuron(0).permit);
}

#[test]
fn a_report_is_of_a_validator_a_tempo_and_leaves_that_it_committed_to() {
    let (mut ledger, work) = forged_by_the_largest();
    let with = |change: &dyn Fn(&mut Work)| {
        let mut other = work.clone();
        change(&mut other);
        other.answer_report(2)
    };
    ledger.refused_now(9, with(&|work| work.of.tempo += 1), "evidence kept");
    ledger.refused_now(9, with(&|work| work.of.validator = hotkey(103)), "evidence kept");
    ledger.refused_now(9, with(&|work| work.of.netuid = Netuid(7)), "subnet");
    ledger.refused_now(9, with(&|work| work.of.validator = hotkey(102)), "forgery");
    ledger.refused_now(9, with(&|work| drop(work.leaves.pop())), "forgery");
    ledger.refused_now(9, with(&|work| work.draws.clear()), "forgery");
}

#[test]
fn each_commit_is_punished_once_and_another_one_again() {
    let mut ledger = ledger();
    let first = Work::of(&ledger, 101, |_, _| Does::Forges);
    ledger.transact(101, first.commit()).unwrap();
    ledger.close_tempo();
    let second = Work::of(&ledger, 101, |_, _| Does::Forges);
    ledger.transact(101, second.commit()).unwrap();
    let before = staked(&ledger, 2);
    ledger.transact(9, first.answer_report(0)).unwrap();
    ledger.refused_now(9, first.answer_report(1), "punished");
    let between = staked(&ledger, 2);
    ledger.close_tempo();
    ledger.transact(9, second.answer_report(0)).unwrap();
    check_tenth(before - between, before);
    assert!(staked(&ledger, 2) < between);
    let until = ledger.subnet().tempo + 2;
    while ledger.subnet().tempo < until {
        assert!(!ledger.neuron(0).permit);
        ledger.close_tempo();
    }
    assert!(ledger.neuron(0).permit);
}

#[test]
fn a_new_hotkey_carries_the_forgeries_of_the_old_one() {
    let (mut ledger, work) = forged_by_the_largest();
    let swap = Call::SwapHotkey {
        hotkey: hotkey(101),
        new_hotkey: hotkey(121),
    };
    ledger.transact(2, swap).unwrap();
    ledger.transact(9, work.answer_report(2)).unwrap();
    assert!(!ledger.neuron(0).permit);
    let again = Call::SwapHotkey {
        hotkey: hotkey(121),
        new_hotkey: hotkey(122),
    };
    ledger.transact(2, again).unwrap();
    let weights = row(&ledger);
    ledger.refused_now(122, commit(122, &weights), "barred");
    ledger.close_tempo();
    assert!(!ledger.neuron(0).permit);
}

#[test]
fn an_owner_that_forges_has_no_exemption_left() {
    let mut ledger = ledger();
    ledger.register(1, [104]);
    ledger.ok(1, stake(104, units(50)));
    ledger.close_tempo();
    let work = Work::of(&ledger, 104, |_, _| Does::Forges);
    ledger.transact(104, work.commit()).unwrap();
    ledger.transact(9, work.answer_report(0)).unwrap();
    let weights = row(&ledger);
    ledger.refused_now(104, commit(104, &weights), "barred");
    ledger.close_tempo();
    assert_eq!(record(&ledger).inputs.owner_uid, None);
    assert!(!ledger.neuron(9).permit);
}

#[test]
fn who_has_no_stake_of_its_own_loses_everything_else() {
    let mut ledger = ledger();
    ledger.register(8, [105]);
    ledger.ok(6, stake(105, units(50)));
    ledger.close_tempo();
    let work = Work::of(&ledger, 105, |_, _| Does::Forges);
    ledger.transact(105, work.commit()).unwrap();
    ledger.close_tempo();
    let (burned, free) = (ledger.burned(), ledger.free(9));
    ledger.transact(9, work.answer_report(0)).unwrap();
    assert_eq!((ledger.burned(), ledger.free(9)), (burned, free));
    assert!(!ledger.neuron(9).permit);
}
