//! One tempo, honest and with one step forged at a time: what is recomputed, opened and reported.

use agon_evidence::bundle::Bundle;
use agon_evidence::coverage::{Account, coverage};
use agon_evidence::fold::Memory;
use agon_evidence::forgery::{self, Forged, NoForgery};
use agon_evidence::opening::{self, Opened, OpeningError, Shown};
use agon_evidence::recompute::{Difference, Equal, OnLedger, recompute};
use agon_evidence::record::Outcome as Answer;
use agon_evidence::slots::{Picks, trails};
use agon_evidence::tree::Tree;
use agon_evidence::window::worth;
use agon_evidence::{Context, answer};
use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::{EvidenceCommit, Forgery, Leaf, OpenedLeaf, Signed};

use crate::fixture::{
    ITEMS, MINERS, ROUNDS, bundle_after, bundle_with, committed, context, honest, miner, pair, receipt,
    roster,
};

/// Every slot, and trails.
fn all_slots(context: &Context<'_>, commit: &EvidenceCommit) -> Picks {
    Picks {
        slots: (0..context.slot_count()).collect(),
        trails: trails(Digest([5; 32]), commit.root),
    }
}

fn audit(context: &Context<'_>, bundle: &Bundle) -> Result<Equal, Box<Difference>> {
    let commit = bundle.commit(context, None, None);
    let on_ledger = OnLedger {
        commit: &commit,
        before: None,
        revealed: Some(&bundle.row),
    };
    recompute(context, &on_ledger, bundle)
}

/// The difference is found, and proven to the ledger by `step`.
#[track_caller]
fn check_forged(bundle: &Bundle, line: &str, step: &str) -> Forged {
    let roster = roster();
    let context = context(&roster);
    let difference = audit(&context, bundle).unwrap_err();
    assert!(difference.line.contains(line), "{difference:?}");
    let proof = difference.forgery.expect("the ledger can check it");
    assert_eq!(proof.step(), step);
    let commit = bundle.commit(&context, None, None);
    let forged = forgery::check(&context, &committed(&commit), &proof).unwrap();
    // The same report about evidence that it is not of says nothing.
    let other = EvidenceCommit {
        root: Digest([0; 32]),
        ..commit
    };
    assert!(matches!(
        forgery::check(&context, &committed(&other), &proof),
        Err(NoForgery::Root { .. })
    ));
    forged
}

#[test]
fn an_honest_tempo_is_recomputed_to_the_last_weight() {
    let roster = roster();
    let context = context(&roster);
    let equal = audit(&context, &honest(&context)).unwrap();
    assert_eq!((equal.rounds, equal.answers, equal.slots), (3, 96, (12, 12)));
    assert_eq!(equal.rejected, 0);
}

#[test]
fn every_slot_opens_and_covers_what_it_shows() {
    let roster = roster();
    let context = context(&roster);
    let bundle = honest(&context);
    let commit = bundle.commit(&context, None, None);
    assert_eq!(commit.claimed_ppm, 1_000_000);
    let all = all_slots(&context, &commit);
    let opening = bundle.open(&context, &all, None).unwrap();
    let Ok(Opened::Holds { shown, .. }) = opening::check(&context, &committed(&commit), &all, &opening)
    else {
        panic!("an honest opening holds");
    };
    let failed = shown
        .iter()
        .filter(|shown| matches!(shown, Shown::Failed(Uid(5))))
        .count();
    let answered = shown
        .iter()
        .filter(|shown| matches!(shown, Shown::Answered(_)))
        .count();
    assert!(failed > 0 && failed + answered == 12);
    let account = Account {
        claimed_ppm: commit.claimed_ppm,
        shown,
    };
    // Nobody else's slots say anything about miner 5.
    let expected = answered * 1_000_000 / 12;
    assert_eq!(coverage(&[account]), [u32::try_from(expected).unwrap()]);
}

#[test]
fn an_opening_of_other_slots_or_other_leaves_is_refused() {
    let roster = roster();
    let context = context(&roster);
    let bundle = honest(&context);
    let commit = bundle.commit(&context, None, None);
    let picked = Picks::of(&context, Digest([5; 32]), commit.root, 4);
    let opening = bundle.open(&context, &picked, None).unwrap();
    assert!(matches!(
        opening::check(&context, &committed(&commit), &picked, &opening),
        Ok(Opened::Holds { .. })
    ));
    let next = |slot: &u32| (slot + 1) % context.slot_count();
    let others = Picks {
        slots: picked.slots.iter().map(next).collect(),
        ..picked.clone()
    };
    assert!(matches!(
        opening::check(&context, &committed(&commit), &others, &opening),
        Err(OpeningError::Picks { .. })
    ));
    let mut swapped = opening.clone();
    swapped.leaves[0].leaf = Leaf::NotAsked;
    assert!(matches!(
        opening::check(&context, &committed(&commit), &picked, &swapped),
        Err(OpeningError::Root { .. })
    ));
    let mut without_draws = opening.clone();
    without_draws.draws.clear();
    assert!(matches!(
        opening::check(&context, &committed(&commit), &picked, &without_draws),
        Err(OpeningError::Draws { .. })
    ));
    let mut foreign = opening;
    foreign.draws.swap(0, 1);
    assert!(matches!(
        opening::check(&context, &committed(&commit), &picked, &foreign),
        Err(OpeningError::Draw(_))
    ));
}

#[test]
fn who_did_a_third_of_the_work_proves_a_third() {
    let roster = roster();
    let context = context(&roster);
    let (bundle, _) = bundle_after(&context, &Memory::default(), 1, |_| ());
    let commit = bundle.commit(&context, None, None);
    assert_eq!(commit.claimed_ppm, 333_333);
    let all = all_slots(&context, &commit);
    let opening = bundle.open(&context, &all, None).unwrap();
    let Ok(Opened::Holds { shown, .. }) = opening::check(&context, &committed(&commit), &all, &opening)
    else {
        panic!("what was not asked is no forgery");
    };
    assert_eq!(shown.iter().filter(|shown| **shown == Shown::NotAsked).count(), 8);
}

#[test]
fn a_receipt_of_ones_own_making_is_a_forgery_in_an_opening_and_in_a_report() {
    let roster = roster();
    let context = context(&roster);
    // The validator invents an answer of the miner that is away.
    let bundle = bundle_with(&context, |round| {
        for answer in round.answers.iter_mut().filter(|answer| answer.uid == Uid(5)) {
            let mut forged = receipt(&answer.challenge, "kitchen", &pair(77)).message().clone();
            forged.miner = miner(Uid(5)).hotkey();
            let bytes = agon_protocol::codec::encode(&forged);
            let signature = *receipt(&answer.challenge, "kitchen", &pair(77)).signature();
            answer.outcome = Answer::Answered {
                text: "kitchen".to_owned(),
                tokens: vec![1, 2],
                first_ms: 5,
                total_ms: 9,
                receipt: Box::new(Signed::from_parts(bytes, signature).unwrap()),
            };
        }
    });
    let forged = check_forged(&bundle, "the answer", "answer");
    assert!(matches!(
        forged,
        Forged::Answer {
            broken: answer::Broken::Signature,
            ..
        }
    ));
    let commit = bundle.commit(&context, None, None);
    let all = all_slots(&context, &commit);
    let opened = opening::check(
        &context,
        &committed(&commit),
        &all,
        &bundle.open(&context, &all, None).unwrap(),
    );
    assert!(matches!(opened, Ok(Opened::Forged(_))));
}

#[test]
fn a_generous_judgement_is_proven_by_the_answer_and_its_text() {
    let roster = roster();
    let bundle = bundle_with(&context(&roster), |round| {
        let wrong = round.answers.iter_mut().filter(|answer| answer.uid == Uid(0));
        wrong.for_each(|answer| answer.score_ppm = 900_000);
    });
    let forged = check_forged(&bundle, "the judgement", "judgement");
    assert!(matches!(
        forged,
        Forged::Judgement {
            found_ppm: 900_000,
            ..
        }
    ));
}

#[test]
fn a_value_that_does_not_follow_is_proven_by_its_item() {
    let roster = roster();
    let mut bundle = honest(&context(&roster));
    bundle.rounds[1].answers[2].strength_ppm ^= 3;
    check_forged(&bundle, "the value among all answers", "values");
}

#[test]
fn a_standing_that_does_not_follow_is_proven_by_itself() {
    let roster = roster();
    let mut bundle = honest(&context(&roster));
    bundle.standings[0].pay += 1;
    check_forged(&bundle, "the standing", "standing");
}

#[test]
fn a_weight_that_does_not_follow_is_proven_by_two_standings() {
    let roster = roster();
    let mut bundle = honest(&context(&roster));
    let least = bundle.row.iter_mut().min_by_key(|cell| cell.1).unwrap();
    least.1 = u16::MAX - 1;
    check_forged(&bundle, "the weight", "weight");
}

#[test]
fn honest_evidence_proves_no_forgery_whatever_is_shown_of_it() {
    let roster = roster();
    let context = context(&roster);
    let bundle = honest(&context);
    let commit = bundle.commit(&context, None, None);
    let tree = Tree::of(&context, &bundle);
    let all: Vec<OpenedLeaf> = (0..commit.leaf_count)
        .filter_map(|index| tree.leaf(index))
        .collect();
    let opened = |is_it: fn(&Leaf) -> bool| all.iter().filter(move |opened| is_it(&opened.leaf)).cloned();
    let answers: Vec<_> = opened(|leaf| matches!(leaf, Leaf::Answer(_))).collect();
    let items: Vec<_> = opened(|leaf| matches!(leaf, Leaf::Item(_))).collect();
    let standings: Vec<_> = opened(|leaf| matches!(leaf, Leaf::Standing(_))).collect();
    let weights = opened(|leaf| matches!(leaf, Leaf::Weights(_))).next().unwrap();
    let mut reports: Vec<Forgery> = Vec::new();
    for answer in &answers {
        reports.push(Forgery::Answer {
            answer: answer.clone(),
            draws: bundle.draws.clone(),
        });
        let texts = ["nowhere", "kitchen"].into_iter().map(str::to_owned);
        let given = bundle
            .rounds
            .iter()
            .flat_map(|round| &round.items)
            .map(|item| item.reference.clone());
        reports.extend(texts.chain(given).map(|text| Forgery::Judgement {
            answer: answer.clone(),
            text,
        }));
        reports.extend(items.iter().map(|item| Forgery::Copied {
            answer: answer.clone(),
            item: item.clone(),
        }));
    }
    reports.extend(items.iter().cloned().map(|item| Forgery::Values { item }));
    reports.extend(standings.iter().flat_map(|standing| {
        bundle.windows.iter().map(|window| Forgery::Standing {
            standing: standing.clone(),
            window: worth(window),
        })
    }));
    for (uid, item) in (0..MINERS).flat_map(|uid| (0..u64::from(ROUNDS * ITEMS)).map(move |item| (uid, item)))
    {
        reports.extend(tree.trail_of(&context, Uid(uid), Some(item), None));
    }
    for best in &standings {
        reports.extend(standings.iter().map(|standing| Forgery::Weight {
            weights: weights.clone(),
            best: best.clone(),
            standing: standing.clone(),
        }));
    }
    assert!(reports.len() > 100);
    for report in reports {
        assert!(
            forgery::check(&context, &committed(&commit), &report).is_err(),
            "{report:?}"
        );
    }
}
