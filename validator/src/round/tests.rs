//! Plans are drawn, outcomes are judged, and faults of our own are not held against miners.

use agon_protocol::message::{Environment, FinishReason, Receipt, Trace, answer_digest};

use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

const READING: agon_subnets::reading::Reading = agon_subnets::reading::Reading;

fn pair() -> Keypair {
    Keypair::from_mini_secret(&[1; 32])
}

fn miners(count: u16) -> Vec<Miner> {
    (0..count)
        .map(|uid| Miner {
            uid: Uid(uid),
            hotkey: Hotkey([uid as u8 + 10; 32]),
            addr: Some(SocketAddr::from(([127, 0, 0, 1], 9000 + uid))),
        })
        .collect()
}

fn planned(round: u32, miner_count: u16) -> Plan {
    let pair = pair();
    let setting = Setting {
        pair: &pair,
        genesis: Digest([1; 32]),
        netuid: Netuid(1),
        tempo: 3,
        beacon: Digest([2; 32]),
        round,
        task: &READING,
    };
    let size = Size {
        miners: 4,
        items: 2,
        deadline_ms: 5_000,
    };
    plan(
        &setting,
        &size,
        &miners(miner_count),
        None,
        &mut NonceCounter::default(),
        NOW_MS,
    )
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed {
        failure,
        reason: "because".to_owned(),
    }
}

#[test]
fn every_challenge_of_a_round_carries_the_proof_of_its_draw() {
    let plan = planned(0, 6);
    assert_eq!(plan.asks.len(), 8, "four of six miners, two items each");
    for ask in &plan.asks {
        let challenge = ask.challenge.message();
        assert_eq!(challenge.receiver, ask.miner.hotkey);
        let draw =
            agon_protocol::sign::verify_draw(&pair().public(), &challenge.draw_input(), &challenge.draw);
        assert!(draw.is_ok());
        assert!(ask.challenge.check_signature().is_ok());
    }
}

#[test]
fn nonces_grow_and_sampling_seeds_differ_by_miner() {
    let plan = planned(0, 6);
    let nonces: Vec<u64> = plan
        .asks
        .iter()
        .map(|ask| ask.challenge.message().nonce)
        .collect();
    assert!(nonces.is_sorted_by(|a, b| a < b));
    let mut seeds: Vec<u64> = plan
        .asks
        .iter()
        .map(|ask| ask.challenge.message().sampling.seed)
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), plan.asks.len());
}

#[test]
fn a_round_is_the_same_when_it_is_planned_again_and_another_one_differs() {
    let again = [planned(0, 6), planned(0, 6)];
    assert_eq!(again[0].asks, again[1].asks);
    assert_eq!(again[0].audit_proof, again[1].audit_proof);
    assert_ne!(planned(0, 6).items, planned(1, 6).items);
}

#[test]
fn miners_that_were_not_asked_in_the_tempo_are_asked_first() {
    let uids = |round| {
        let plan = planned(round, 8);
        let mut uids: Vec<u16> = plan.asks.iter().map(|ask| ask.miner.uid.0).collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    };
    let mut both = [uids(0), uids(1)].concat();
    both.sort_unstable();
    assert_eq!(both, (0..8).collect::<Vec<u16>>());
}

#[test]
fn a_burst_asks_everybody_for_items_of_its_own() {
    let pair = pair();
    let setting = Setting {
        pair: &pair,
        genesis: Digest([1; 32]),
        netuid: Netuid(1),
        tempo: 3,
        beacon: Digest([2; 32]),
        round: 9,
        task: &READING,
    };
    let size = Size {
        miners: 1,
        items: 1,
        deadline_ms: 5_000,
    };
    let questions = vec![(Uid(0), 0..1), (Uid(1), 1..4), (Uid(2), 4..4)];
    let plan = plan(
        &setting,
        &size,
        &miners(3),
        Some(questions),
        &mut NonceCounter::default(),
        NOW_MS,
    );
    let asked: Vec<(u16, u32)> = plan
        .asks
        .iter()
        .map(|ask| (ask.miner.uid.0, ask.item_index))
        .collect();
    assert_eq!(asked, [(0, 0), (1, 1), (1, 2), (1, 3)]);
    assert!(plan.is_burst && plan.items.len() == 4);
}

#[test]
fn miners_come_from_the_roster_and_those_that_left_have_no_address() {
    let roster: Vec<(Uid, Hotkey)> = miners(3).iter().map(|miner| (miner.uid, miner.hotkey)).collect();
    let metagraph = Metagraph {
        netuid: Netuid(1),
        height: agon_protocol::id::BlockNumber(1),
        hash: Digest([0; 32]),
        tempo: 1,
        neurons: Vec::new(),
    };
    let drawable = super::miners(&roster, &metagraph, roster[1].1);
    let uids: Vec<u16> = drawable.iter().map(|miner| miner.uid.0).collect();
    assert_eq!(uids, [0, 2]);
    assert!(drawable.iter().all(|miner| miner.addr.is_none()));
    assert_eq!(super::miners(&[], &metagraph, roster[1].1), []);
}

#[test]
fn a_failure_to_answer_scores_nothing() {
    let plan = planned(0, 4);
    let mut outcomes = vec![failed(Failure::Broken); plan.asks.len()];
    outcomes[0] = failed(Failure::Refused);
    let scores = judge(&READING, &plan, &outcomes, &Audits::default()).unwrap();
    assert!(scores.iter().all(|score| score.score_ppm == 0));
    assert!(
        scores[0].reason.contains("refused"),
        "one that refuses alone has failed to answer"
    );
}

#[test]
fn a_validator_abstains_when_the_fault_is_its_own() {
    let plan = planned(0, 4);
    let abstains = |outcome: Outcome| {
        let outcomes = vec![outcome; plan.asks.len()];
        judge(&READING, &plan, &outcomes, &Audits::default()).unwrap_err()
    };
    assert!(abstains(failed(Failure::Unreachable)).contains("network"));
    assert!(abstains(failed(Failure::Late)).contains("network"));
    assert!(abstains(failed(Failure::Refused)).contains("refuse"));
    assert_eq!(
        judge(&READING, &planned(0, 0), &[], &Audits::default()).unwrap_err(),
        "no miner serves"
    );
}

#[test]
fn the_nonce_counter_never_repeats_whatever_the_clock_does() {
    let mut nonces = NonceCounter::default();
    let times = [5, 5, 4, 6, 6];
    let drawn: Vec<u64> = times.iter().map(|&now_ms| nonces.next(now_ms)).collect();
    assert!(drawn.is_sorted_by(|a, b| a < b), "{drawn:?}");
}

#[test]
fn half_the_miners_cannot_freeze_ratings_by_refusing() {
    let plan = planned(0, 4);
    let mut outcomes = vec![failed(Failure::Refused); plan.asks.len()];
    let pair = Keypair::from_mini_secret(&[9; 32]);
    let receipt = Receipt {
        challenge: plan.asks[0].challenge.digest(),
        answer: answer_digest("kitchen"),
        miner: pair.hotkey(),
        prompt_tokens: 1,
        answer_tokens: 1,
        trace: Trace::of(&[], &[]),
        received_ms: 1,
        first_token_ms: 1,
        finished_ms: 1,
        finish: FinishReason::EndOfText,
        model: Digest([0; 32]),
        environment: Environment {
            dtype: "f32".into(),
            device: "cpu".into(),
            libtorch: "none".into(),
        },
    };
    let receipt = Box::new(Signed::sign(receipt, &pair));
    outcomes[0] = Outcome::Answered {
        text: "kitchen".into(),
        tokens: Vec::new(),
        first_ms: 1,
        total_ms: 1,
        receipt,
    };
    let scores = judge(&READING, &plan, &outcomes, &Audits::default()).unwrap();
    assert_eq!(
        scores.len(),
        plan.asks.len(),
        "one answer proves that our challenges are good"
    );
}
