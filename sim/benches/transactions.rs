//! What a sealed commit, a pulse and a report of a forgery weigh, and what they cost a node:
//! `cargo bench -p agon-sim --bench transactions`.
//!
//! Lines are `transaction/key=value ...  bytes  median (fastest-slowest)  signature`, in microseconds, one thread: a
//! block with the transaction less the median of one without, both on copies of one ledger, and beside it what its
//! signature takes to check, which a node does once, before. What the block checks and writes is in it; the root of the
//! state is not.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "its product is what it prints")]

use std::hint::black_box;
use std::time::Instant;

use agon_evidence::answer::Draws;
use agon_protocol::codec;
use agon_protocol::id::{Account, Digest, Uid};
use agon_protocol::merkle;
use agon_protocol::message::{
    Call, EvidenceCommit, EvidenceOf, Forgery, ItemAnswer, ItemLeaf, Leaf, OpenedLeaf, Signed, Transaction,
    answer_digest,
};
use agon_protocol::sign::Keypair;
use agon_protocol::timelock::{Beacon, BeaconSecret};
use agon_sim::evidence::Conduct;
use agon_sim::field::Field;
use agon_sim::ledger::{Actor, Ledger, SUBNET, pair, register, stake, units, weights};
use agon_sim::work::Tempo;

/// Runs of each case that are timed.
const RUNS: usize = 31;

fn main() {
    println!("transaction/parameters  bytes  median (fastest-slowest)  signature, in us, {RUNS} runs");
    sealed_commits();
    forgeries(4);
    forgeries(64);
}

/// Microseconds of a block with what was submitted, fastest first.
fn blocks(ledger: &Ledger) -> Vec<f64> {
    let time = |_| {
        let mut ledger = ledger.clone();
        let began = Instant::now();
        let applied = black_box(ledger.block());
        let elapsed = began.elapsed().as_secs_f64() * 1e6;
        assert!(
            applied.outcomes.iter().all(Result::is_ok),
            "{:?}",
            applied.outcomes
        );
        elapsed
    };
    let mut elapsed: Vec<f64> = (0..RUNS).map(time).collect();
    elapsed.sort_by(f64::total_cmp);
    elapsed
}

fn measure(name: &str, ledger: &Ledger, signer: &Keypair, call: Call) {
    let empty = blocks(ledger)[RUNS / 2];
    let signature = signature(signer, call.clone());
    let mut with = ledger.clone();
    with.submit(signer, call);
    let elapsed = blocks(&with);
    with.block();
    let bytes = with.applied().1 - ledger.applied().1;
    let [median, fastest, slowest] = [RUNS / 2, 0, RUNS - 1].map(|place| elapsed[place] - empty);
    println!("{name}  {bytes}  {median:.0} ({fastest:.0}-{slowest:.0})  {signature:.0}");
}

/// Median time to check the signature of a transaction that came as bytes.
fn signature(signer: &Keypair, call: Call) -> f64 {
    let transaction = Transaction {
        genesis: Digest([0; 32]),
        signer: Account(signer.public()),
        nonce: 0,
        call,
    };
    let bytes = codec::encode(&Signed::sign(transaction, signer));
    let time = |_| {
        let came: Signed<Transaction> = codec::decode(&bytes, bytes.len()).expect("just encoded");
        let began = Instant::now();
        black_box(came.check_signature()).expect("just signed");
        began.elapsed().as_secs_f64() * 1e6
    };
    let mut elapsed: Vec<f64> = (0..RUNS).map(time).collect();
    elapsed.sort_by(f64::total_cmp);
    elapsed[RUNS / 2]
}

const BLOCK_MS: u64 = 1_000;

fn sealed_commits() {
    let secret = BeaconSecret::from_seed(&[6; 32]);
    let beacon = Beacon {
        public_key: secret.public_key(),
        first_ms: 0,
        period_ms: BLOCK_MS,
    };
    let actors: Vec<Actor> = (0..3).map(|number| Actor::new(1, number)).collect();
    let parameters = [("tempo_blocks", 10), ("weights_rate_limit_blocks", 0)];
    let mut ledger = Ledger::timed(&actors, &parameters, Some(beacon), BLOCK_MS);
    let validator = &actors[1];
    actors[1..]
        .iter()
        .for_each(|actor| ledger.submit(&actor.coldkey, register(actor)));
    ledger.block();
    ledger.submit(&validator.coldkey, stake(validator, units(1_000)));
    ledger.close_tempo();
    let round = ledger.subnet().seal_round.expect("the tempo before had a pace");
    let call = |uids: u16| {
        let row: Vec<(u16, u16)> = (0..uids).map(|uid| (uid, u16::MAX)).collect();
        let weights = weights(ledger.tempo(), &row);
        Call::CommitTimelocked {
            netuid: SUBNET,
            commit: weights.commit(SUBNET, validator.hotkey.hotkey()),
            sealed: beacon.seal(round, &weights).expect("the beacon has a key"),
        }
    };
    for uids in [64, 256, 1024] {
        measure(
            &format!("commit_timelocked/uids={uids}"),
            &ledger,
            &validator.hotkey,
            call(uids),
        );
    }
    ledger.must(&validator.hotkey, call(64));
    while ledger.state().time_ms() + BLOCK_MS < beacon.time_ms(round) {
        ledger.block();
    }
    let signature = secret.sign(round);
    let stranger = pair(1, 99, "stranger");
    measure(
        "publish_pulse/seals=1",
        &ledger,
        &stranger,
        Call::PublishPulse { round, signature },
    );
}

/// Reports of the kinds that take longest: an answer takes the draws of all rounds owed, an item all its answers.
fn forgeries(rounds: u32) {
    let parameters = [
        ("evidence_rounds", u64::from(rounds)),
        ("evidence_miners", 16),
        ("weights_rate_limit_blocks", 0),
        ("evidence_sessions", 0),
    ];
    let mut field = Field::new(1, &[10_000; 4], 64, &parameters);
    field.tempo_with_evidence(&vec![vec![(4, u16::MAX)]; 4], &vec![Conduct::Honest; 4]);
    let validator = field.validators[0].clone();
    let tempo = tempo(&field, &validator, rounds);
    let draws = tempo.draws();
    let slots = tempo.context().slot_count();
    let mut leaves: Vec<Leaf> = (0..slots - 1).map(|slot| answer(&tempo, &draws, slot)).collect();
    leaves.push(unsigned(&tempo, &draws, slots - 1));
    leaves.push(item(256));
    let digests: Vec<Digest> = leaves.iter().map(Leaf::digest).collect();
    let opened = |index| OpenedLeaf::open(&leaves, &digests, index).expect("one of the leaves");
    let evidence = EvidenceCommit {
        tempo: tempo.context().tempo,
        root: merkle::root(&digests),
        leaf_count: slots + 1,
        claimed_ppm: 1_000_000,
        served_at: None,
        session: None,
    };
    field.ledger.must(
        &validator.hotkey,
        Call::CommitEvidence {
            netuid: SUBNET,
            evidence,
        },
    );
    let report = |name: String, forgery| {
        let of = EvidenceOf {
            netuid: SUBNET,
            validator: validator.hotkey.hotkey(),
            tempo: evidence.tempo,
        };
        let forgery = Box::new(forgery);
        measure(
            &name,
            &field.ledger,
            &field.miners[0].coldkey,
            Call::ReportForgery { of, forgery },
        );
    };
    let proofs = tempo.proofs().to_vec();
    let forged = Forgery::Answer {
        answer: opened(slots - 1),
        draws: proofs,
    };
    report(format!("report_forgery/kind=answer rounds={rounds}"), forged);
    let forged = Forgery::Values { item: opened(slots) };
    report(
        format!("report_forgery/kind=values answers=256 rounds={rounds}"),
        forged,
    );
}

fn tempo(field: &Field, validator: &Actor, rounds: u32) -> Tempo {
    let subnet = field.ledger.subnet();
    let miners: Vec<(Uid, Actor)> = (4..).map(Uid).zip(field.miners.iter().cloned()).collect();
    let of = (field.ledger.state().genesis_digest(), subnet.tempo, subnet.beacon);
    let keys = (validator.hotkey.hotkey(), &validator.hotkey);
    Tempo::draw(of, keys, &miners, (rounds, 16))
}

fn answer(tempo: &Tempo, draws: &Draws, slot: u32) -> Leaf {
    Leaf::Answer(Box::new(tempo.slot(draws, slot).expect("each slot has a miner")))
}

/// The leaf of a slot with a receipt that somebody else signed.
fn unsigned(tempo: &Tempo, draws: &Draws, slot: u32) -> Leaf {
    let honest = tempo.slot(draws, slot).expect("each slot has a miner");
    let (header, signer) = (&honest.header, pair(1, 99, "stranger"));
    Leaf::Answer(Box::new(tempo.answered(
        header.round,
        honest.uid,
        header.receiver,
        &signer,
    )))
}

/// An item of many answers, none of whose values follow.
fn item(count: u16) -> Leaf {
    let answer = |uid| ItemAnswer {
        uid: Uid(uid),
        digest: Some(answer_digest(&uid.to_string())),
        score_ppm: u32::from(uid) * 1_000,
        value_ppm: 1,
    };
    Leaf::Item(ItemLeaf {
        round: 0,
        item_index: 0,
        reference: answer_digest("the reference"),
        answers: (0..count).map(answer).collect(),
    })
}
