//! Tempos of one validator, honest or forged, for the tests of evidence.

use agon_evidence::Context;
use agon_evidence::bundle::{Bundle, Outcome, policy};
use agon_evidence::fold::Memory;
use agon_evidence::record::{AnswerRecord, ItemRecord, MinerRecord, Outcome as Answer, Round};
use agon_evidence::slots::schedule;
use agon_evidence::trail::Committed;
use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    Challenge, Environment, EvidenceCommit, Failure, FinishReason, Receipt, Sampling, Signed, Trace,
    answer_digest,
};
use agon_protocol::session::SessionInput;
use agon_protocol::sign::{DrawInput, Keypair};
use agon_scoring::draw::Draw;
use agon_subnets::{Given, Item, Task};

pub(crate) const MINERS: u16 = 6;
pub(crate) const ROUNDS: u32 = 3;
const PER_ROUND: u32 = 4;
pub(crate) const ITEMS: u32 = 8;
pub(crate) const TASK: agon_subnets::reading::Reading = agon_subnets::reading::Reading;

pub(crate) fn pair(number: u8) -> Keypair {
    Keypair::from_mini_secret(&[number; 32])
}

pub(crate) fn validator() -> Keypair {
    pair(100)
}

/// The key by which the validator asks in a tempo, which does not tell who it is.
pub(crate) fn asker(tempo: u64) -> Keypair {
    let input = SessionInput {
        genesis: Digest([1; 32]),
        netuid: Netuid(1),
        tempo,
    };
    validator().session(&input).pair
}

pub(crate) fn miner(uid: Uid) -> Keypair {
    pair(u8::try_from(uid.0).unwrap() + 1)
}

pub(crate) fn roster() -> Vec<(Uid, Hotkey)> {
    let mut roster: Vec<(Uid, Hotkey)> = (0..MINERS)
        .map(Uid)
        .map(|uid| (uid, miner(uid).hotkey()))
        .collect();
    roster.push((Uid(MINERS), validator().hotkey()));
    roster
}

/// The tempo that most tests are about.
pub(crate) const TEMPO: u64 = 7;

pub(crate) fn context(roster: &[(Uid, Hotkey)]) -> Context<'_> {
    context_of(roster, TEMPO)
}

pub(crate) fn context_of(roster: &[(Uid, Hotkey)], tempo: u64) -> Context<'_> {
    Context {
        genesis: Digest([1; 32]),
        netuid: Netuid(1),
        task: TASK.name(),
        tempo,
        beacon: Digest([u8::try_from(tempo).unwrap(); 32]),
        validator: validator().hotkey(),
        asker: asker(tempo).hotkey(),
        roster,
        at_once: &[8; MINERS as usize + 1],
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

/// Miner 5 is away; the others answer rightly, uid 0 in all rounds but the first.
fn text_of(uid: Uid, round: u32, item: &Item) -> Option<String> {
    match uid.0 {
        5 => None,
        0 if round == 0 => Some("nowhere".to_owned()),
        _ => Some(item.reference.clone()),
    }
}

pub(crate) fn receipt(challenge: &Signed<Challenge>, text: &str, pair: &Keypair) -> Signed<Receipt> {
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
    let (output, draw) = asker(context.tempo).draw(&input(context, round));
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
        sender: context.asker,
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
    let challenge = Signed::sign(challenge, &asker(context.tempo));
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
    let (output, draw) = asker(context.tempo).draw(&input(context, number));
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
        audit_draw: asker(context.tempo).draw_audits(&input(context, number)).1,
        items: (0..ITEMS).map(item).collect(),
        miners: drawn.iter().map(miner).collect(),
        answers: asks.map(|(uid, item)| ask(context, number, uid, item)).collect(),
    }
}

/// The bundle of an honest tempo, in which `change` may forge the rounds before they are folded, and what the validator
/// remembers after it.
pub(crate) fn bundle_after(
    context: &Context<'_>,
    carried: &Memory,
    rounds_asked: u32,
    change: impl Fn(&mut Round),
) -> (Bundle, Memory) {
    let (outputs, draws): (Vec<_>, Vec<_>) = (0..rounds_asked)
        .map(|round| asker(context.tempo).draw(&input(context, round)))
        .unzip();
    let drawn = schedule(&context.candidates(), &outputs, PER_ROUND as usize);
    let mut memory = carried.clone();
    let mut rounds = Vec::new();
    for (number, drawn) in (0..).zip(&drawn) {
        let mut round = round(context, number, drawn);
        change(&mut round);
        assert_eq!(memory.fold(&mut round), []);
        rounds.push(round);
    }
    let outcome = Outcome::of(&memory, Uid(MINERS), &policy(&TASK)).unwrap();
    let bundle = Bundle {
        genesis: context.genesis,
        netuid: context.netuid,
        tempo: context.tempo,
        validator: context.validator,
        own_uid: Uid(MINERS),
        carried: carried.clone(),
        draws,
        rounds,
        forgotten: Vec::new(),
        standings: outcome.standings,
        windows: outcome.windows,
        row: outcome.row,
    };
    (bundle, memory)
}

/// The bundle of a first tempo.
pub(crate) fn bundle_with(context: &Context<'_>, change: impl Fn(&mut Round)) -> Bundle {
    bundle_after(context, &Memory::default(), ROUNDS, change).0
}

pub(crate) fn honest(context: &Context<'_>) -> Bundle {
    bundle_with(context, |_| ())
}

/// What the ledger has of evidence of a first tempo.
pub(crate) fn committed(commit: &EvidenceCommit) -> Committed<'_> {
    Committed {
        commit,
        before: None,
        settled: &[],
    }
}
