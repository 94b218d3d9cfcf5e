//! Tests of signing, limits and round trips of the messages.

use super::*;
use crate::id::{BlockNumber, Digest, Hotkey, Netuid};
use crate::sign::DrawInput;

fn vote(seed: u8, round: u32) -> Signed<Vote> {
    let pair = Keypair::from_mini_secret(&[seed; 32]);
    let vote = Vote {
        genesis: Digest([1; 32]),
        height: BlockNumber(7),
        round,
        kind: VoteKind::Prevote,
        block: None,
        voter: pair.consensus_key(),
    };
    Signed::sign(vote, &pair)
}

/// As it comes from outside, with `signature` over it.
fn received(vote: &Signed<Vote>, signature: Signature) -> Signed<Vote> {
    Signed::from_parts(vote.bytes().to_vec(), signature).unwrap()
}

#[test]
fn signatures_that_are_checked_together_hold_as_each_alone() {
    let votes: Vec<Signed<Vote>> = (0..200).map(|round| vote((round % 7) as u8, round)).collect();
    let fresh: Vec<_> = votes.iter().map(|it| received(it, *it.signature())).collect();
    Signed::check_signatures(&fresh);
    assert!(fresh.iter().all(|it| it.holds.load(Ordering::Acquire)));
    assert_eq!(fresh, votes);
}

#[test]
fn a_copy_learns_that_a_signature_holds_only_from_the_very_same_message() {
    let known = vote(3, 1);
    known.check_signature().unwrap();
    let learned = |copy: Signed<Vote>| {
        copy.learn_from(&known);
        copy.holds.load(Ordering::Acquire)
    };
    assert!(learned(received(&known, *known.signature())));
    assert!(!learned(received(&known, *vote(3, 2).signature())));
    assert!(!learned(received(&vote(3, 2), *known.signature())));
    let unchecked = received(&known, *known.signature());
    unchecked.learn_from(&received(&known, *known.signature()));
    assert!(!unchecked.holds.load(Ordering::Acquire));
}

#[test]
fn one_bad_signature_among_many_is_found() {
    let votes: Vec<Signed<Vote>> = (0..100).map(|round| vote(3, round)).collect();
    let mut mixed: Vec<_> = votes.iter().map(|it| received(it, *it.signature())).collect();
    mixed[41] = received(&votes[41], *votes[42].signature());
    Signed::check_signatures(&mixed);
    let bad: Vec<usize> = (0..mixed.len())
        .filter(|index| mixed[*index].check_signature().is_err())
        .collect();
    assert_eq!(bad, [41]);
    // Nor does it hold later, or in a clone.
    assert!(mixed[41].clone().check_signature().is_err());
}

/// One of each kind that is signed outside of blocks, with every field set, by the key of the seed `[7; 32]`.
fn samples() -> String {
    let pair = Keypair::from_mini_secret(&[7; 32]);
    let (genesis, netuid) = (Digest([1; 32]), Netuid(3));
    let (_, draw) = pair.draw(&DrawInput {
        genesis,
        netuid,
        tempo: 5,
        beacon: Digest([2; 32]),
        round: 4,
    });
    let challenge = Challenge {
        genesis,
        netuid,
        task: "reading".to_owned(),
        tempo: 5,
        beacon: Digest([2; 32]),
        round: 4,
        draw,
        item_index: 1,
        sender: pair.hotkey(),
        receiver: Hotkey([9; 32]),
        nonce: 77,
        issued_ms: 1_000,
        deadline_ms: 13_000,
        prompt: "Where is the ball? \u{1f3c0}".to_owned(),
        sampling: Sampling {
            temperature_milli: 1_000,
            top_p_ppm: 950_000,
            top_k: 40,
            seed: 11,
        },
        tokens_max: 64,
        tokens_min: 2,
    };
    let receipt = Receipt {
        challenge: challenge.header().digest(),
        answer: answer_digest("In the garden."),
        miner: pair.hotkey(),
        prompt_tokens: 12,
        answer_tokens: 4,
        trace: Trace::of(&[1, 2, 3, 4], &[]),
        received_ms: 1_010,
        first_token_ms: 1_020,
        finished_ms: 1_050,
        finish: FinishReason::EndOfText,
        model: Digest([8; 32]),
        environment: Environment {
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            libtorch: "2.11.0".to_owned(),
        },
    };
    let check = AxonCheck {
        genesis,
        netuid,
        hotkey: pair.hotkey(),
        issued_ms: 1_000,
    };
    [
        line("challenge", Signed::sign(challenge, &pair)),
        line("receipt", Signed::sign(receipt, &pair)),
        line("axon_check", Signed::sign(check, &pair)),
        line("vote", vote(7, 2)),
    ]
    .concat()
}

fn line<M: Message>(name: &str, signed: Signed<M>) -> String {
    let (bytes, digest) = (hex::encode(signed.bytes()), signed.digest());
    format!("{name} {bytes} {digest} {}\n", signed.signature())
}

#[test]
fn signed_messages_have_the_bytes_on_file() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/data/keys/messages.txt"
    );
    let heading =
        "# name, canonical bytes, digest, signature; written by protocol, AGON_BLESS=1 rewrites it\n";
    let lines = format!("{heading}{}", samples());
    if std::env::var_os("AGON_BLESS").is_some() {
        std::fs::write(path, &lines).unwrap();
    }
    assert_eq!(
        lines,
        std::fs::read_to_string(path).unwrap(),
        "signed bytes changed; if that is meant, bless it and say so in the changelog"
    );
}
