//! Who may commit to what, show it, and when.

use agon_protocol::message::{
    Carried, EvidenceOpening, ItemAnswer, ItemLeaf, Leaf, Message, OpenedLeaf, RoundCount, StandingLeaf,
    Trail, TrailAnswer, TrailRest, WeightsLeaf, Worth,
};

use super::work::signed_by;
use super::*;

/// Work of validator 101 in the running tempo.
fn work(ledger: &Ledger) -> Work {
    Work::of(ledger, 101, |_, _| Does::Asks)
}

#[test]
fn a_roster_is_who_serves_and_who_has_a_permit_when_a_tempo_opens() {
    let mut ledger = ledger();
    let tempo = ledger.subnet().tempo;
    let roster = ledger.state.roster(SUBNET, tempo).unwrap();
    assert_eq!(roster.beacon, ledger.subnet().beacon);
    let of = |uids: std::ops::Range<u16>| -> Vec<(Uid, Hotkey)> {
        uids.map(|uid| (Uid(uid), ledger.neuron(uid).hotkey)).collect()
    };
    assert_eq!(
        (roster.validators.clone(), roster.miners.clone()),
        (of(0..3), of(3..9))
    );
    // Who serves later is in the next one.
    ledger.ok(103, serve());
    assert_eq!(ledger.state.roster(SUBNET, tempo), Some(roster));
    ledger.close_tempo();
    let next = ledger.state.roster(SUBNET, tempo + 1).unwrap();
    assert_eq!(next.miners[0], (Uid(2), hotkey(103)));
    let own = Work::of(&ledger, 103, |_, uid| {
        assert_ne!(uid, Uid(2), "nobody draws itself");
        Does::Asks
    });
    ledger.transact(103, own.commit()).unwrap();
}

#[test]
fn rosters_and_evidence_are_kept_until_they_cannot_be_punished() {
    let mut ledger = ledger();
    let tempo = ledger.subnet().tempo;
    let work = work(&ledger);
    ledger.transact(101, work.commit()).unwrap();
    for _ in 0..3 {
        ledger.close_tempo();
        assert!(ledger.state.roster(SUBNET, tempo).is_some());
    }
    let report = work.answer_report(0);
    ledger.refused_now(9, report.clone(), "forgery");
    ledger.close_tempo();
    assert_eq!(ledger.state.roster(SUBNET, tempo), None);
    ledger.refused_now(9, report, "evidence kept");
}

#[test]
fn evidence_is_committed_once_in_its_own_tempo_by_who_has_a_permit() {
    let mut ledger = ledger();
    let work = work(&ledger);
    let mut early = work.clone();
    early.of.tempo += 1;
    ledger.refused_now(101, early.commit(), "evidence tempo");
    ledger.refused_now(111, work.commit(), "permit");
    ledger.refused_now(9, work.commit(), "registered");
    let effect = ledger.effect(101, work.commit());
    let tempo = work.of.tempo;
    assert_eq!(
        effect,
        format!("commits UID 0 on subnet 1 to 47 leaves of evidence of tempo {tempo}, of which 6 are owed")
    );
    ledger.transact(101, work.commit()).unwrap();
    let sentence = ledger.refused(101, work.commit(), "evidence committed");
    assert!(sentence.contains("nothing can be added"), "{sentence}");
    ledger.close_tempo();
    ledger.refused_now(102, work.commit(), "evidence tempo");
}

#[test]
fn there_is_a_leaf_for_every_slot_and_more_may_follow() {
    let mut ledger = ledger();
    let mut work = work(&ledger);
    work.leaves.truncate(5);
    let sentence = ledger.refused_now(101, work.commit(), "evidence leaves");
    assert!(sentence.starts_with("the evidence has 5 leaves"), "{sentence}");
    work.leaves.extend([Leaf::NotAsked, Leaf::NotAsked]);
    let Call::CommitEvidence { netuid, mut evidence } = work.commit() else {
        unreachable!("a commit is made");
    };
    evidence.leaf_count = u32::MAX;
    ledger.refused_now(101, Call::CommitEvidence { netuid, evidence }, "evidence leaves");
    evidence = work.evidence();
    evidence.claimed_ppm = 1_000_001;
    ledger.refused_now(101, Call::CommitEvidence { netuid, evidence }, "form");
    ledger.transact(101, work.commit()).unwrap();
}

#[test]
fn nothing_is_committed_where_nothing_is_asked_for() {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_openings", 0));
    ledger.close_tempo();
    let work = work(&ledger);
    ledger.refused_now(101, work.commit(), "evidence off");

    let mut alone = Ledger::with_subnet();
    alone.ok(1, set("evidence_openings", 16));
    alone.register(2, [101]);
    alone.ok(2, stake(101, units(100)));
    alone.close_tempo();
    let work = Work::of(&alone, 101, |_, _| Does::Asks);
    alone.refused_now(101, work.commit(), "nothing owed");
}

#[test]
fn evidence_is_opened_once_in_the_tempo_after_its_own() {
    let mut ledger = ledger();
    let work = work(&ledger);
    ledger.transact(101, work.commit()).unwrap();
    ledger.refused_now(101, work.opening(&ledger), "opening window");
    ledger.close_tempo();
    let opening = work.opening(&ledger);
    ledger.refused_now(102, opening.clone(), "evidence not committed");
    ledger.refused_now(9, opening.clone(), "registered");
    let effect = ledger.effect(101, opening.clone());
    let tempo = work.of.tempo;
    assert_eq!(
        effect,
        format!("opens 6 slots of the evidence of tempo {tempo} of UID 0 on subnet 1, 6 of them answered")
    );
    ledger.transact(101, opening.clone()).unwrap();
    ledger.refused_now(101, opening.clone(), "evidence opened");
    ledger.close_tempo();
    ledger.refused_now(101, opening, "opening window");
}

#[test]
fn an_opening_shows_exactly_what_was_picked_or_is_refused_and_may_be_sent_again() {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_openings", 2));
    ledger.close_tempo();
    let work = work(&ledger);
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    let picked = work.picked(&ledger);
    assert_eq!(picked.len(), 2);
    let others: Vec<u32> = (0..SLOTS).filter(|slot| !picked.contains(slot)).take(2).collect();
    ledger.refused_now(101, work.opening_of(&ledger, &others), "opening");
    ledger.refused_now(101, work.opening_of(&ledger, &picked[..1]), "opening");
    ledger.refused_now(101, work.opening_of(&ledger, &[]), "opening");
    // Another leaf in a picked one's place is not under the root.
    let mut other = work.clone();
    other.leaves[picked[0] as usize] = Leaf::NotAsked;
    ledger.refused_now(101, other.opening_of(&ledger, &picked), "opening");
    // Weights that are not under the root.
    let other = Work::with_right(&ledger, 101, &[(3, 1)], |_, _| Does::Asks);
    let (
        Call::OpenEvidence { mut opening, netuid },
        Call::OpenEvidence {
            opening: of_other, ..
        },
    ) = (
        work.opening_of(&ledger, &picked),
        other.opening_of(&ledger, &picked),
    )
    else {
        unreachable!("openings are made");
    };
    opening.weights = of_other.weights;
    ledger.refused_now(101, Call::OpenEvidence { netuid, opening }, "opening");
    // Draws of another key, or too few of them.
    let mut other = work.clone();
    other.draws = Work::of(&ledger, 102, |_, _| Does::Asks).draws;
    ledger.refused_now(101, other.opening_of(&ledger, &picked), "opening");
    other.draws.clear();
    ledger.refused_now(101, other.opening_of(&ledger, &picked), "opening");
    ledger.transact(101, work.opening_of(&ledger, &picked)).unwrap();
}

#[test]
fn what_is_owed_costs_no_fee_and_a_report_does() {
    let mut ledger = ledger();
    let work = work(&ledger);
    let tx = ledger.tx(101, work.commit());
    assert_eq!(ledger.state.fee(&tx), base(0));
    let burned = ledger.state.burned();
    ledger.transact(101, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.transact(101, work.opening(&ledger)).unwrap();
    assert_eq!(ledger.state.burned(), burned);
    let report = ledger.tx(9, work.answer_report(0));
    assert!(ledger.state.fee(&report) > base(0));
}

/// Weights of as many UIDs as a subnet can have, of as many rounds as a tempo can have.
fn largest_weights() -> Leaf {
    Leaf::Weights(WeightsLeaf {
        row: (0..4096).map(|uid| (Uid(uid), u16::MAX)).collect(),
        unpaid: Vec::new(),
        first_item: u64::MAX,
        rounds: vec![RoundCount::default(); EvidenceOpening::ROUNDS_MAX],
    })
}

fn standing() -> Leaf {
    Leaf::Standing(StandingLeaf {
        uid: Uid(0),
        item_count: 256,
        values: Digest::default(),
        texts: Digest::default(),
        rating_ppm: 0,
        voices: 1,
        work: 0,
        pay: 0,
    })
}

/// A full window, and an item of as many miners as a round can owe.
fn largest_trail(under: impl Fn(Leaf) -> OpenedLeaf, answer: Leaf) -> Trail {
    let line = ItemAnswer {
        uid: Uid(0),
        digest: Some(Digest::default()),
        score_ppm: 0,
        value_ppm: 0,
    };
    let miners_max = usize::try_from(crate::ParameterId::EvidenceMiners.row().max).unwrap();
    let item = Leaf::Item(ItemLeaf {
        round: 0,
        item_index: 0,
        reference: Digest::default(),
        answers: vec![line; miners_max],
    });
    let worth = Worth {
        item: 0,
        value_ppm: 0,
    };
    Trail {
        standing: under(standing()),
        window: vec![worth; Trail::WINDOW_MAX],
        carried: Some(Carried {
            standing: under(standing()),
            dropped: Digest::default(),
        }),
        answer: Some(TrailAnswer {
            item: under(item),
            answer: under(answer),
            text: "x".repeat(EvidenceOpening::TEXT_BYTES_MAX),
        }),
    }
}

#[test]
fn the_largest_opening_fits_into_a_transaction() {
    let ledger = ledger();
    let mut opened = work(&ledger).opened(0);
    let Leaf::Answer(answer) = &mut opened.leaf else {
        unreachable!("the slot was asked");
    };
    answer.header.task = "x".repeat(64);
    answer.audit = Some(Digest::default());
    let agon_protocol::message::AnswerResult::Answered { receipt, .. } = &mut answer.result else {
        unreachable!("the miner answered");
    };
    let mut message = receipt.message().clone();
    let environment = &mut message.environment;
    for text in [
        &mut environment.dtype,
        &mut environment.device,
        &mut environment.libtorch,
    ] {
        *text = "x".repeat(64);
    }
    **receipt = signed_by(&message, 111);
    // A tree of 2^20 leaves.
    opened.path = vec![Digest::default(); 20];
    let under = |leaf: Leaf| OpenedLeaf {
        leaf,
        ..opened.clone()
    };
    let openings_max = usize::try_from(crate::ParameterId::EvidenceOpenings.row().max).unwrap();
    let opening = EvidenceOpening {
        tempo: u64::MAX,
        draws: vec![work(&ledger).draws[0]; EvidenceOpening::ROUNDS_MAX],
        leaves: vec![opened.clone(); openings_max],
        texts: vec!["x".repeat(EvidenceOpening::TEXT_BYTES_MAX); openings_max],
        weights: under(largest_weights()),
        rest: TrailRest {
            best: Some(under(standing())),
            before: Some(under(largest_weights())),
        },
        trails: vec![largest_trail(under, opened.leaf.clone()); EvidenceOpening::TRAILS_MAX],
    };
    let tx = ledger.tx(
        101,
        Call::OpenEvidence {
            netuid: SUBNET,
            opening: Box::new(opening),
        },
    );
    let bytes = tx.bytes().len();
    assert!(bytes <= Transaction::BYTES_MAX, "{bytes} bytes");
    assert!(Signed::<Transaction>::from_parts(tx.bytes().to_vec(), *tx.signature()).is_ok());
}

#[test]
fn a_validator_that_replaces_its_hotkey_shows_what_it_did_under_the_old_one() {
    let mut ledger = ledger();
    let work = work(&ledger);
    ledger.transact(101, work.commit()).unwrap();
    let swap = Call::SwapHotkey {
        hotkey: hotkey(101),
        new_hotkey: hotkey(121),
    };
    ledger.transact(2, swap).unwrap();
    ledger.refused_now(121, work.commit(), "evidence committed");
    ledger.close_tempo();
    ledger.refused_now(101, work.opening(&ledger), "registered");
    ledger.transact(121, work.opening(&ledger)).unwrap();
    ledger.close_tempo();
    assert_eq!(record(&ledger).coverage_ppm[0], 1_000_000);
}

#[test]
fn a_key_that_came_after_the_beacon_does_not_draw() {
    let mut ledger = ledger();
    let swap = Call::SwapHotkey {
        hotkey: hotkey(101),
        new_hotkey: hotkey(121),
    };
    ledger.transact(2, swap).unwrap();
    // With the new key other miners would be drawn: it may commit, and what it shows is not the roster's key's.
    let work = Work::of(&ledger, 121, |_, _| Does::Asks);
    ledger.transact(121, work.commit()).unwrap();
    ledger.close_tempo();
    ledger.refused_now(121, work.opening(&ledger), "opening");
    ledger.close_tempo();
    assert_eq!(record(&ledger).coverage_ppm[0], 0);
}

#[test]
fn the_view_of_a_tempo_tells_what_is_owed_and_what_came_of_it() {
    let mut ledger = ledger();
    let of = |ledger: &Ledger, tempo| ledger.state.evidence_view(SUBNET, tempo);
    let tempo = ledger.subnet().tempo;
    let view = of(&ledger, tempo).unwrap();
    assert_eq!((view.rounds, view.miners, view.openings), (2, 3, SLOTS));
    assert_eq!(
        (view.task.as_str(), view.beacon),
        ("reading", ledger.subnet().beacon)
    );
    assert_eq!((view.roster.len(), view.validators.len()), (6, 0));
    let works = super::tempo(&mut ledger, [Some(Does::Asks), None, Some(Does::Asks)]);
    let lines = of(&ledger, tempo).unwrap().validators;
    assert_eq!(lines.len(), 2);
    let (commit, key) = (works[2].as_ref().unwrap().evidence(), hotkey(103));
    assert_eq!(
        (lines[1].uid, lines[1].hotkey, lines[1].commit),
        (Uid(2), key, commit)
    );
    assert_eq!((lines[1].is_opened, lines[1].coverage_ppm), (true, None));
    ledger.close_tempo();
    let view = of(&ledger, tempo).unwrap();
    assert_eq!(view.of(key).unwrap().coverage_ppm, Some(1_000_000));
    assert_eq!(of(&ledger, ledger.subnet().tempo + 1), None);
    assert_eq!(ledger.state.evidence_view(Netuid(7), tempo), None);
    let fresh = {
        let mut fresh = Ledger::new();
        fresh.ok(1, create());
        fresh
    };
    let first = of(&fresh, 0).unwrap();
    assert_eq!((first.roster, first.openings), (Vec::new(), 16));
}

#[test]
fn evidence_goes_with_its_subnet() {
    let mut ledger = ledger();
    tempo(&mut ledger, [Some(Does::Forges), Some(Does::Asks), None]);
    let netuid = SUBNET;
    ledger.ok(1, Call::DissolveSubnet { netuid });
    assert_eq!(ledger.state.roster(SUBNET, 2), None);
    ledger.advance(3);
}
