//! Each rule of admission refuses what it is for, and nothing else.

use std::collections::BTreeSet;

use agon_protocol::message::Sampling;
use agon_protocol::session::{Ring, SessionInput};
use agon_protocol::sign::{DrawInput, Keypair};

use super::*;

const NOW_MS: u64 = 10_000_000;
const BEACON: Digest = Digest([5; 32]);

/// Nonces in memory, with a switch for a store that cannot be written.
#[derive(Default)]
struct Seen(BTreeSet<(Hotkey, u64)>);

impl Nonces for Seen {
    fn insert(&mut self, sender: Hotkey, nonce: u64, _issued_ms: u64, _now_ms: u64) -> NonceUse {
        if self.0.insert((sender, nonce)) {
            NonceUse::New
        } else {
            NonceUse::Used
        }
    }
}

fn validator() -> Keypair {
    Keypair::from_mini_secret(&[1; 32])
}

fn admission() -> Admission {
    Admission {
        genesis: Digest([9; 32]),
        netuid: Netuid(1),
        miner: Hotkey([2; 32]),
    }
}

fn subnet() -> SubnetSnapshot {
    SubnetSnapshot {
        tempo: 4,
        beacons: BTreeMap::from([(3, Digest([4; 32])), (4, BEACON)]),
        permitted: BTreeMap::from([(validator().hotkey(), 1_000_000)]),
        ..SubnetSnapshot::default()
    }
}

fn challenge() -> Challenge {
    let Admission {
        genesis,
        netuid,
        miner,
    } = admission();
    let input = DrawInput {
        genesis,
        netuid,
        tempo: 4,
        beacon: BEACON,
        round: 0,
    };
    Challenge {
        genesis,
        netuid,
        task: "reading".to_owned(),
        tempo: 4,
        beacon: BEACON,
        round: 0,
        draw: validator().draw(&input).1,
        item_index: 0,
        sender: validator().hotkey(),
        receiver: miner,
        nonce: 1,
        issued_ms: NOW_MS,
        deadline_ms: NOW_MS + 5_000,
        prompt: "Where is Mary?".to_owned(),
        sampling: Sampling {
            temperature_milli: 0,
            top_p_ppm: 1_000_000,
            top_k: 0,
            seed: 0,
        },
        tokens_max: 8,
        tokens_min: 0,
    }
}

/// The rule that a changed challenge breaks, or `None` when it is admitted.
fn rule(change: impl FnOnce(&mut Challenge)) -> Option<&'static str> {
    let mut changed = challenge();
    change(&mut changed);
    let signed = Signed::sign(changed, &validator());
    let admitted = admission().admit(signed, &subnet(), &mut Seen::default(), NOW_MS);
    admitted.err().map(|refusal| refusal.rule())
}

#[test]
fn a_drawn_challenge_of_a_permitted_validator_is_admitted() {
    assert_eq!(rule(|_| ()), None);
}

#[test]
fn each_rule_refuses_what_it_is_for() {
    assert_eq!(
        rule(|challenge| challenge.receiver = Hotkey([3; 32])),
        Some("receiver")
    );
    assert_eq!(rule(|challenge| challenge.netuid = Netuid(2)), Some("subnet"));
    assert_eq!(
        rule(|challenge| challenge.genesis = Digest([8; 32])),
        Some("subnet")
    );
    assert_eq!(
        rule(|challenge| challenge.beacon = Digest([6; 32])),
        Some("tempo")
    );
    assert_eq!(rule(|challenge| challenge.tempo = 9), Some("tempo"));
    assert_eq!(rule(|challenge| challenge.round = 1), Some("draw"));
}

#[test]
fn a_challenge_is_fresh_between_two_bounds() {
    let issued = |issued_ms| {
        rule(|challenge| {
            challenge.issued_ms = issued_ms;
            challenge.deadline_ms = NOW_MS + 10_000;
        })
    };
    assert_eq!(issued(NOW_MS - AGE_MS_MAX), None);
    assert_eq!(issued(NOW_MS - AGE_MS_MAX - 1), Some("stale"));
    assert_eq!(issued(NOW_MS + AHEAD_MS_MAX), None);
    assert_eq!(issued(NOW_MS + AHEAD_MS_MAX + 1), Some("stale"));
    let overdue = |challenge: &mut Challenge| {
        challenge.issued_ms = NOW_MS - 2;
        challenge.deadline_ms = NOW_MS;
    };
    assert_eq!(rule(overdue), Some("stale"));
}

#[test]
fn a_stranger_is_refused_before_its_signature_is_checked() {
    let stranger = Keypair::from_mini_secret(&[3; 32]);
    let signed = Signed::sign(
        Challenge {
            sender: stranger.hotkey(),
            ..challenge()
        },
        &stranger,
    );
    let refusal = admission()
        .admit(signed, &subnet(), &mut Seen::default(), NOW_MS)
        .unwrap_err();
    assert_eq!(
        (refusal.rule(), refusal.code()),
        ("permit", Code::PermissionDenied)
    );
}

#[test]
fn a_session_asks_in_its_own_tempo_only() {
    let input = |tempo| SessionInput {
        genesis: admission().genesis,
        netuid: admission().netuid,
        tempo,
    };
    let mut subnet = subnet();
    let ring = Ring::new(input(4), [validator().hotkey()]).unwrap();
    let session = validator().session(&input(4));
    let certificate = ring.certify(&validator(), &session).unwrap();
    let introduced = ring.verify(&certificate).unwrap();
    subnet.sessions.learn(ring);
    let asked = |subnet: &SubnetSnapshot, tempo: u64, beacon: Digest| {
        let mut challenge = Challenge {
            sender: session.pair.hotkey(),
            tempo,
            beacon,
            ..challenge()
        };
        challenge.draw = session.pair.draw(&challenge.draw_input()).1;
        let signed = Signed::sign(challenge, &session.pair);
        let admitted = admission().admit(signed, subnet, &mut Seen::default(), NOW_MS);
        admitted.err().map(|refusal| refusal.rule())
    };
    assert_eq!(
        asked(&subnet, 4, BEACON),
        Some("permit"),
        "before it is introduced"
    );
    subnet.sessions.introduce(&introduced).unwrap();
    assert_eq!(asked(&subnet, 4, BEACON), None);
    assert_eq!(asked(&subnet, 3, Digest([4; 32])), Some("permit"));
}

#[test]
fn a_bad_signature_is_refused_and_uses_up_no_nonce() {
    let mut seen = Seen::default();
    let other = Signed::sign(
        Challenge {
            nonce: 2,
            ..challenge()
        },
        &validator(),
    );
    let good = Signed::sign(challenge(), &validator());
    let forged = Signed::from_parts(good.bytes().to_vec(), *other.signature()).unwrap();
    let refusal = admission()
        .admit(forged, &subnet(), &mut seen, NOW_MS)
        .unwrap_err();
    assert_eq!(
        (refusal.rule(), refusal.code()),
        ("signature", Code::Unauthenticated)
    );
    assert!(seen.0.is_empty());
    assert!(
        admission()
            .admit(good.clone(), &subnet(), &mut seen, NOW_MS)
            .is_ok()
    );
    let refusal = admission().admit(good, &subnet(), &mut seen, NOW_MS).unwrap_err();
    assert_eq!(
        (refusal.rule(), refusal.code()),
        ("replayed", Code::AlreadyExists)
    );
}

#[test]
fn rules_have_distinct_names_in_a_status() {
    let refusal = Refusal::Permit {
        sender: Hotkey([1; 32]),
        netuid: Netuid(1),
    };
    let status = Status::from(refusal);
    assert_eq!(status.metadata().get(RULE_METADATA).unwrap(), "permit");
}
