//! What is hashed or signed: there is one byte string for each value, and no other decodes.

use std::fmt::Debug;

use agon_ledger_replay::follow::Position;
use agon_ledger_state::State;
use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::message::{
    Block, CODE_BYTES, Call, Certificate, Challenge, Committee, Environment, Equivocation, FinalBlock,
    FinishReason, Genesis, Message, Receipt, Sampling, Signed, Trace, Transaction, answer_digest,
};
use agon_protocol::sign::{DrawInput, Signature};
use borsh::{BorshDeserialize, BorshSerialize};

use super::sample::{self, hotkey, pair, sign};

/// What the bytes decode to, if anything; it must encode to the same bytes.
pub(super) fn canonical<T>(bytes: &[u8], bytes_max: usize) -> Option<T>
where
    T: BorshSerialize + BorshDeserialize,
{
    let value: T = codec::decode(bytes, bytes_max).ok()?;
    assert_eq!(codec::encode(&value), bytes, "a value has one byte string");
    Some(value)
}

fn message<T: Message + Debug + PartialEq>(bytes: &[u8]) -> Option<Signed<T>> {
    let signed = Signed::<T>::from_parts(bytes.to_vec(), Signature([7; 64])).ok()?;
    assert!(
        bytes.len() <= T::BYTES_MAX,
        "bytes are bounded before they are parsed"
    );
    assert_eq!(
        codec::encode(signed.message()),
        bytes,
        "a message has one byte string"
    );
    let again = codec::encode(&signed);
    let carried: Signed<T> = codec::decode(&again, again.len()).expect("what was encoded decodes");
    assert_eq!((&carried, carried.digest()), (&signed, signed.digest()));
    // Seven times 64 is nobody's signature.
    assert!(signed.check_signature().is_err());
    Some(signed)
}

pub(super) fn transaction(bytes: &[u8]) {
    let Some(signed) = message::<Transaction>(bytes) else {
        return;
    };
    let call = &signed.message().call;
    let json = serde_json::to_string(call).expect("every call has a JSON form");
    let again: Call = serde_json::from_str(&json).expect("what was written is read");
    assert_eq!(&again, call, "{json}");
    let state = &sample::solo().now.state;
    assert!(state.check(&signed).is_err(), "a forged transaction is refused");
}

pub(super) fn transaction_seeds() -> Vec<Vec<u8>> {
    let genesis = sample::solo().genesis.digest();
    let calls = sample::calls().into_iter();
    calls
        .map(|(number, call)| sign(genesis, number, 0, call).bytes().to_vec())
        .collect()
}

pub(super) fn payload_seeds() -> Vec<Vec<u8>> {
    let genesis = sample::solo().genesis.digest();
    let mut weights = sample::weights(3);
    weights.uids.clear();
    weights.values.clear();
    let mut axon = sample::axon();
    axon.ip = [0xfe80, 0, 0, 0, 0, 0, 0, 1].into();
    let netuid = Netuid(1);
    [
        Call::RevealWeights { netuid, weights },
        Call::ServeAxon { netuid, axon },
    ]
    .map(|call| sign(genesis, 17, 5, call).bytes().to_vec())
    .into()
}

/// A block follows the sample's ledger only if it is the one that does.
pub(super) fn block(bytes: &[u8]) {
    let Some(block) = canonical::<FinalBlock>(bytes, FinalBlock::BYTES_MAX) else {
        return;
    };
    let header = &block.block.header;
    let _ = (
        block.block.hash(),
        Block::transactions_digest(&block.block.transactions),
    );
    for sample in [sample::solo(), sample::decided()] {
        let height = usize::try_from(header.height.0).unwrap_or(usize::MAX);
        let Some((true_block, before)) = height
            .checked_sub(1)
            .and_then(|index| Some((sample.blocks.get(index)?, index)))
        else {
            continue;
        };
        let mut position = Position::genesis(&sample.genesis).expect("the sample's genesis is valid");
        if let Some(last) = before.checked_sub(1).map(|index| &sample.blocks[index]) {
            position.head.height = last.block.header.height;
            position.head.hash = last.block.hash();
            position.head.time_ms = last.block.header.time_ms;
            position.head.state_root = last.block.header.state_root;
            position.state = sample.states[before].clone();
        }
        if position.follow(&block).is_ok() {
            assert_eq!(position.state.check_invariants(), Ok(()));
            // Nobody but a member can make another one; with one node alone, anybody could.
            let is_forged = block.certificate.is_some() && header.hash() != true_block.block.hash();
            assert!(!is_forged, "a block was taken that no committee signed");
        }
    }
}

pub(super) fn block_seeds() -> Vec<Vec<u8>> {
    let of = |sample: &'static sample::Sample| [&sample.blocks[0], &sample.blocks[3], &sample.blocks[20]];
    let blocks = of(sample::solo()).into_iter().chain(of(sample::decided()));
    blocks.map(codec::encode).collect()
}

fn certificate_of() -> (Digest, Committee, Certificate) {
    let sample = sample::decided();
    let genesis = sample.genesis.digest();
    let block = &sample.blocks[0];
    let [one, _] = sample::committees();
    (genesis, one, sample::certified(&block.block.header, genesis))
}

pub(super) fn certificate(bytes: &[u8]) {
    let Some(found) = canonical::<Certificate>(bytes, Certificate::BYTES_MAX) else {
        return;
    };
    let (genesis, committee, certificate) = certificate_of();
    let block = certificate.block;
    if found
        .verify(genesis, &committee, certificate.height, block)
        .is_ok()
    {
        // A signature is a point and a number with one form each, and the round is what was signed.
        assert_eq!(
            found, certificate,
            "another certificate has the committee's power"
        );
    }
}

pub(super) fn certificate_seeds() -> Vec<Vec<u8>> {
    let (_, _, certificate) = certificate_of();
    let empty = Certificate {
        signatures: Vec::new(),
        ..certificate.clone()
    };
    let twice = Certificate {
        signatures: certificate.signatures.repeat(2),
        ..certificate.clone()
    };
    [certificate, empty, twice].map(|it| codec::encode(&it)).into()
}

pub(super) fn committee(bytes: &[u8]) {
    let Some(committee) = canonical::<Committee>(bytes, Committee::BYTES_MAX) else {
        return;
    };
    if committee.validate().is_err() {
        return;
    }
    let (power, quorum) = (committee.power(), committee.quorum());
    assert!(power <= Committee::POWER_MAX);
    assert!(
        u128::from(quorum) * 3 > u128::from(power) * 2,
        "a quorum is more than two thirds"
    );
    assert!(committee.is_empty() || quorum <= power);
    for member in committee.members() {
        assert_eq!(committee.member(&member.consensus_key), Some(member));
    }
    let sorted = Committee::new(committee.members().to_vec());
    assert_eq!(sorted.as_ref(), Ok(&committee));
    assert_eq!(committee.digest() == Digest::default(), committee.is_empty());
}

pub(super) fn committee_seeds() -> Vec<Vec<u8>> {
    let [one, three] = sample::committees();
    [Committee::default(), one, three]
        .map(|it| codec::encode(&it))
        .into()
}

pub(super) fn equivocation(bytes: &[u8]) {
    let Some(found) = canonical::<Equivocation>(bytes, 1_024) else {
        return;
    };
    let genesis = sample::solo().genesis.digest();
    if let Ok(voter) = found.verify(genesis) {
        assert_eq!(voter, pair(sample::VOTER).consensus_key());
        assert_ne!(found.first.message().block, found.second.message().block);
    }
}

pub(super) fn equivocation_seeds() -> Vec<Vec<u8>> {
    let genesis = sample::solo().genesis.digest();
    let [first, second] = [1, 2].map(|block| sample::vote(genesis, block));
    let same = Equivocation {
        first: first.clone(),
        second: first.clone(),
    };
    [Equivocation { first, second }, same]
        .map(|it| codec::encode(&it))
        .into()
}

/// What is taken has sums that are right, and goes on.
pub(super) fn genesis(bytes: &[u8]) {
    let Some(genesis) = canonical::<Genesis>(bytes, Genesis::BYTES_MAX) else {
        return;
    };
    let Ok(mut state) = State::genesis(&genesis) else {
        return;
    };
    assert_eq!(state.check_invariants(), Ok(()));
    assert_eq!(state.genesis_digest(), genesis.digest());
    state.begin_block(BlockNumber(1), genesis.digest(), genesis.time_ms);
    assert_eq!(state.check_invariants(), Ok(()));
}

pub(super) fn genesis_seeds() -> Vec<Vec<u8>> {
    [sample::solo(), sample::decided()]
        .map(|sample| codec::encode(&sample.genesis))
        .into()
}

pub(super) fn challenge(bytes: &[u8]) {
    if let Some(signed) = message::<Challenge>(bytes) {
        let challenge = signed.message();
        assert!(challenge.deadline_ms - challenge.issued_ms <= Challenge::LIFETIME_MS_MAX);
        let _ = challenge.draw_input();
    }
}

pub(super) fn challenge_seeds() -> Vec<Vec<u8>> {
    let input = DrawInput {
        genesis: sample::solo().genesis.digest(),
        netuid: Netuid(1),
        tempo: 4,
        beacon: Digest([8; 32]),
        round: 2,
    };
    let (_, draw) = pair(17).draw(&input);
    let challenge = Challenge {
        genesis: input.genesis,
        netuid: input.netuid,
        task: String::from("reading"),
        tempo: input.tempo,
        beacon: input.beacon,
        round: input.round,
        draw,
        item_index: 0,
        sender: hotkey(17),
        receiver: hotkey(18),
        nonce: 9,
        issued_ms: 1_000,
        deadline_ms: 13_000,
        prompt: String::from("Who has the ball?"),
        sampling: Sampling {
            temperature_milli: 700,
            top_p_ppm: 950_000,
            top_k: 40,
            seed: 3,
        },
        tokens_max: 32,
        tokens_min: 0,
    };
    vec![codec::encode(&challenge)]
}

pub(super) fn receipt(bytes: &[u8]) {
    if let Some(signed) = message::<Receipt>(bytes) {
        let receipt = signed.message();
        assert!(
            receipt.received_ms <= receipt.first_token_ms && receipt.first_token_ms <= receipt.finished_ms
        );
    }
}

pub(super) fn receipt_seeds() -> Vec<Vec<u8>> {
    let receipt = Receipt {
        challenge: Digest([1; 32]),
        answer: answer_digest("Ann"),
        miner: hotkey(18),
        prompt_tokens: 5,
        answer_tokens: 1,
        trace: Trace::of(&[7, 8], &[[3; CODE_BYTES]; 2]),
        received_ms: 1,
        first_token_ms: 2,
        finished_ms: 3,
        finish: FinishReason::Stop,
        model: Digest([3; 32]),
        environment: Environment {
            dtype: String::from("f32"),
            device: String::from("cpu"),
            libtorch: String::from("2.11.0"),
        },
    };
    vec![codec::encode(&receipt)]
}
