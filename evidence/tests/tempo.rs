//! A whole tempo of one validator, honest and with one step forged at a time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use agon_evidence::bundle::{Bundle, Outcome, policy};
use agon_evidence::coverage::{Account, coverage};
use agon_evidence::fold::Memory;
use agon_evidence::forgery::{self, Forged, NoForgery};
use agon_evidence::opening::{self, Opened, OpeningError, Shown};
use agon_evidence::recompute::{Difference, Equal, OnLedger, recompute};
use agon_evidence::record::{AnswerRecord, ItemRecord, MinerRecord, Outcome as Answer, Round};
use agon_evidence::slots::{picks, schedule};
use agon_evidence::{Context, answer};
use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    Challenge, Environment, EvidenceCommit, Failure, FinishReason, Forgery, Leaf, Receipt, Sampling, Signed,
    Trace, answer_digest,
};
use agon_protocol::sign::{DrawInput, Keypair};
use agon_scoring::draw::Draw;
use agon_subnets::{Given, Item, Task};

const MINERS: u16 = 6;
const ROUNDS: u32 = 3;
const PER_ROUND: u32 = 4;
const ITEMS: u32 = 8;
const TASK: agon_subnets::reading::Reading = agon_subnets::reading::Reading;

fn pair(number: u8) -> Keypair {
    Keypair::from_mini_secret(&[number; 32])
}

fn validator() -> Keypair {
    pair(100)
}

fn miner(uid: Uid) -> Keypair {
    pair(u8::try_from(uid.0).unwrap() + 1)
}

fn roster() -> Vec<(Uid, Hotkey)> {
    let mut roster: Vec<(Uid, Hotkey)> = (0..MINERS)
        .map(Uid)
        .map(|uid| (uid, miner(uid).hotkey()))
        .collect();
    roster.push((Uid(MINERS), validator().hotkey()));
    roster
}

fn context(roster: &[(Uid, Hotkey)]) -> Context<'_> {
    Context {
        genesis: Digest([1; 32]),
        netuid: Netuid(1),
        task: TASK.name(),
        tempo: 7,
        beacon: Digest([2; 32]),
        validator: validator().hotkey(),
        roster,
        rounds: ROUNDS,
        miners: PER_ROUND,
    }
}

fn input(context: &Context<'_>, round: u32) -> DrawInput {
    DrawInput {
        genesis: context.genesis,
        netuid: context.netuid,
        tempo: context.tempo,
        beacon: context.beacon,
        round,
    }
}

/// Miner 5 is away; the others answer rightly, uid 0 in every second round only.
fn text_of(uid: Uid, round: u32, item: &Item) -> Option<String> {
    match uid.0 {
        5 => None,
        0 if round % 2 == 1 => Some("nowhere".to_owned()),
        _ => Some(item.reference.clone()),
    }
}

fn receipt(challenge: &Signed<Challenge>, text: &str, pair: &Keypair) -> Signed<Receipt> {
    let message = Receipt {
        challenge: challenge.digest(),
        answer: answer_digest(text),
        miner: pair.hotkey(),
        prompt_tokens: 10,
        answer_tokens: 2,
        trace: Trace::of(&[1, 2], &[[0; 16]; 2]),
        received_ms: 1,
        first_token_ms: 2,
        finished_ms: 3,
        finish: FinishReason::EndOfText,
        model: Digest([9; 32]),
        environment: Environment {
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            libtorch: "2.11.0".to_owned(),
        },
    };
    Signed::sign(message, pair)
}

fn ask(context: &Context<'_>, round: u32, uid: Uid, item_index: u32) -> AnswerRecord {
    let (output, draw) = validator().draw(&input(context, round));
    let item = &TASK.item(Draw::new(output).item_seed(item_index));
    let challenge = Challenge {
        genesis: context.genesis,
        netuid: context.netuid,
        task: context.task.to_owned(),
        tempo: context.tempo,
        beacon: context.beacon,
        round,
        draw,
        item_index,
        sender: context.validator,
        receiver: miner(uid).hotkey(),
        nonce: u64::from(round) << 32 | u64::from(item_index) << 16 | u64::from(uid.0),
        issued_ms: 1_000,
        deadline_ms: 9_000,
        prompt: item.prompt.clone(),
        sampling: Sampling {
            temperature_milli: 1_000,
            top_p_ppm: 1_000_000,
            top_k: 0,
            seed: Draw::new(output).sampling_seed(uid.0, item_index),
        },
        tokens_max: item.tokens_max,
        tokens_min: item.tokens_min,
    };
    let challenge = Signed::sign(challenge, &validator());
    let outcome = match text_of(uid, round, item) {
        Some(text) => Answer::Answered {
            receipt: Box::new(receipt(&challenge, &text, &miner(uid))),
            text,
            tokens: vec![1, 2],
            first_ms: 5,
            total_ms: 9,
        },
        None => Answer::Failed {
            failure: Failure::Unreachable,
            reason: "nobody there".to_owned(),
        },
    };
    AnswerRecord {
        uid,
        score_ppm: score(item, &outcome),
        challenge,
        outcome,
        audit: None,
        reason: String::new(),
        strength_ppm: 0,
    }
}

fn score(item: &Item, outcome: &Answer) -> u32 {
    match outcome {
        Answer::Answered { text, .. } => {
            let given = Given {
                text,
                tokens: 2,
                first_ms: 5,
                total_ms: 9,
            };
            TASK.judge(item, &given).score_ppm
        }
        Answer::Failed { .. } => 0,
    }
}

fn round(context: &Context<'_>, number: u32, drawn: &[Uid]) -> Round {
    let (output, draw) = validator().draw(&input(context, number));
    let asks = (0..ITEMS).flat_map(|item| drawn.iter().map(move |uid| (*uid, item)));
    let item = |index| {
        let seed = Draw::new(output).item_seed(index);
        let Item { kind, reference, .. } = TASK.item(seed);
        ItemRecord {
            seed,
            kind: kind.to_owned(),
            reference,
        }
    };
    let miner = |uid: &Uid| MinerRecord {
        uid: *uid,
        hotkey: miner(*uid).hotkey(),
        rating_ppm: 0,
    };
    Round {
        netuid: context.netuid,
        tempo: context.tempo,
        round: number,
        sequence: number.into(),
        time_ms: 1,
        is_burst: false,
        forgotten: Vec::new(),
        beacon: context.beacon,
        draw,
        audit_draw: validator().draw_audits(&input(context, number)).1,
        items: (0..ITEMS).map(item).collect(),
        miners: drawn.iter().map(miner).collect(),
        answers: asks.map(|(uid, item)| ask(context, number, uid, item)).collect(),
    }
}

/// The bundle of an honest tempo, in which `change` may forge the rounds before they are folded.
fn bundle_with(context: &Context<'_>, change: impl Fn(&mut Round)) -> Bundle {
    let (outputs, draws): (Vec<_>, Vec<_>) = (0..ROUNDS)
        .map(|round| validator().draw(&input(context, round)))
        .unzip();
    let drawn = schedule(&context.candidates(), &outputs, PER_ROUND as usize);
    let mut memory = Memory::default();
    let mut rounds = Vec::new();
    for (number, drawn) in (0..).zip(&drawn) {
        let mut round = round(context, number, drawn);
        change(&mut round);
        assert_eq!(memory.fold(&mut round), []);
        rounds.push(round);
    }
    let outcome = Outcome::of(&memory, Uid(MINERS), &policy(&TASK)).unwrap();
    Bundle {
        genesis: context.genesis,
        netuid: context.netuid,
        tempo: context.tempo,
        validator: context.validator,
        own_uid: Uid(MINERS),
        carried: Memory::default(),
        draws,
        rounds,
        forgotten: Vec::new(),
        standings: outcome.standings,
        row: outcome.row,
    }
}

fn honest(context: &Context<'_>) -> Bundle {
    bundle_with(context, |_| ())
}

fn audit(context: &Context<'_>, bundle: &Bundle) -> Result<Equal, Box<Difference>> {
    let commit = bundle.commit(context, None);
    let on_ledger = OnLedger {
        commit: &commit,
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
    let commit = bundle.commit(&context, None);
    let forged = forgery::check(&context, &commit, &proof).unwrap();
    // The same report about evidence that it is not of says nothing.
    let other = EvidenceCommit {
        root: Digest([0; 32]),
        ..commit
    };
    assert!(matches!(
        forgery::check(&context, &other, &proof),
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
    let commit = bundle.commit(&context, None);
    assert_eq!(commit.claimed_ppm, 1_000_000);
    let all: Vec<u32> = (0..context.slot_count()).collect();
    let opening = bundle.open(&context, &all);
    let Ok(Opened::Holds(shown)) = opening::check(&context, &commit, &all, &opening) else {
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
    let commit = bundle.commit(&context, None);
    let picked = picks(Digest([5; 32]), commit.root, context.slot_count(), 4);
    let opening = bundle.open(&context, &picked);
    assert!(matches!(
        opening::check(&context, &commit, &picked, &opening),
        Ok(Opened::Holds(_))
    ));
    let others: Vec<u32> = picked
        .iter()
        .map(|slot| (slot + 1) % context.slot_count())
        .collect();
    assert!(matches!(
        opening::check(&context, &commit, &others, &opening),
        Err(OpeningError::Picks { .. })
    ));
    let mut swapped = opening.clone();
    swapped.leaves[0].leaf = Leaf::NotAsked;
    assert!(matches!(
        opening::check(&context, &commit, &picked, &swapped),
        Err(OpeningError::Root { .. })
    ));
    let mut without_draws = opening.clone();
    without_draws.draws.clear();
    assert!(matches!(
        opening::check(&context, &commit, &picked, &without_draws),
        Err(OpeningError::Draws { .. })
    ));
    let mut misplaced = opening.clone();
    misplaced.weights.digest = Leaf::NotAsked.digest();
    assert_eq!(
        opening::check(&context, &commit, &picked, &misplaced),
        Err(OpeningError::Weights {
            leaf_count: commit.leaf_count
        })
    );
    let mut foreign = opening;
    foreign.draws.swap(0, 1);
    assert!(matches!(
        opening::check(&context, &commit, &picked, &foreign),
        Err(OpeningError::Draw(_))
    ));
}

#[test]
fn who_did_a_third_of_the_work_proves_a_third() {
    let roster = roster();
    let context = context(&roster);
    let mut bundle = honest(&context);
    bundle.rounds.truncate(1);
    bundle.draws.truncate(1);
    let commit = bundle.commit(&context, None);
    assert_eq!(commit.claimed_ppm, 333_333);
    let all: Vec<u32> = (0..context.slot_count()).collect();
    let opening = bundle.open(&context, &all);
    let Ok(Opened::Holds(shown)) = opening::check(&context, &commit, &all, &opening) else {
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
    let commit = bundle.commit(&context, None);
    let all: Vec<u32> = (0..context.slot_count()).collect();
    let opened = opening::check(&context, &commit, &all, &bundle.open(&context, &all));
    assert!(matches!(opened, Ok(Opened::Forged { .. })));
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
    let commit = bundle.commit(&context, None);
    let all: Vec<u32> = (0..commit.leaf_count).collect();
    let opening = bundle.open(&context, &all);
    let opened = |is_it: fn(&Leaf) -> bool| {
        opening
            .leaves
            .iter()
            .filter(move |opened| is_it(&opened.leaf))
            .cloned()
    };
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
    reports.extend(
        standings
            .iter()
            .cloned()
            .map(|standing| Forgery::Standing { standing }),
    );
    for best in &standings {
        reports.extend(standings.iter().map(|standing| Forgery::Weight {
            weights: weights.clone(),
            best: best.clone(),
            standing: standing.clone(),
        }));
    }
    assert!(reports.len() > 100);
    for report in reports {
        assert!(forgery::check(&context, &commit, &report).is_err(), "{report:?}");
    }
}
