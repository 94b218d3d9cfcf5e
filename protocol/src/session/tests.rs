//! Sessions and certificates: whose they are, what nobody learns from them, and which bytes are refused.

use proptest::prelude::*;
use schnorrkel::vrf::VRFPreOut;

use super::ring::{CertificateError, RingError};
use super::*;
use crate::sign::{DrawInput, Purpose, verify, verify_draw};

fn pair(seed: u8) -> Keypair {
    Keypair::from_mini_secret(&[seed; 32])
}

const INPUT: SessionInput = SessionInput {
    genesis: Digest([1; 32]),
    netuid: Netuid(1),
    tempo: 3,
};

fn ring(seeds: std::ops::Range<u8>) -> Ring {
    Ring::new(INPUT, seeds.map(|seed| pair(seed).hotkey())).unwrap()
}

/// Member `seed`'s certificate in the ring of the seeds 1 to 5.
fn certificate(seed: u8) -> Certificate {
    let session = pair(seed).session(&INPUT);
    ring(1..6).certify(&pair(seed), &session).unwrap()
}

#[track_caller]
fn check_refused(certificate: &Certificate, expected: &CertificateError) {
    assert_eq!(ring(1..6).verify(certificate).as_ref(), Err(expected));
}

#[test]
fn a_session_is_the_same_every_time_and_another_for_each_key_and_input() {
    let key = |seed: u8, input: &SessionInput| pair(seed).session(input).pair.hotkey();
    let tempo = SessionInput { tempo: 4, ..INPUT };
    let netuid = SessionInput {
        netuid: Netuid(2),
        ..INPUT
    };
    let genesis = SessionInput {
        genesis: Digest([2; 32]),
        ..INPUT
    };
    assert_eq!(key(1, &INPUT), key(1, &INPUT));
    let others = [
        key(2, &INPUT),
        key(1, &tempo),
        key(1, &netuid),
        key(1, &genesis),
        pair(1).hotkey(),
    ];
    assert!(!others.contains(&key(1, &INPUT)));
}

#[test]
fn whoever_is_shown_hotkey_and_proof_computes_the_sessions_key_and_nobody_elses() {
    let session = pair(1).session(&INPUT);
    let shown = |hotkey, input: &SessionInput| session_key(hotkey, input, &session.proof);
    assert_eq!(shown(pair(1).hotkey(), &INPUT), Ok(session.pair.hotkey()));
    assert!(shown(pair(2).hotkey(), &INPUT).is_err());
    assert!(shown(pair(1).hotkey(), &SessionInput { tempo: 4, ..INPUT }).is_err());
    assert!(shown(Hotkey([0xff; 32]), &INPUT).is_err());
}

#[test]
fn a_session_signs_and_draws_like_any_key() {
    let session = pair(1).session(&INPUT).pair;
    let signature = session.sign(Purpose::Challenge, b"where is the ball");
    let (key, hotkey) = (session.public(), pair(1).public());
    assert_eq!(
        verify(&key, Purpose::Challenge, b"where is the ball", &signature),
        Ok(())
    );
    assert!(verify(&hotkey, Purpose::Challenge, b"where is the ball", &signature).is_err());
    let input = DrawInput {
        genesis: INPUT.genesis,
        netuid: INPUT.netuid,
        tempo: INPUT.tempo,
        beacon: Digest([7; 32]),
        round: 0,
    };
    let (output, proof) = session.draw(&input);
    assert_eq!(verify_draw(&key, &input, &proof), Ok(output));
    assert!(verify_draw(&hotkey, &input, &proof).is_err());
}

#[test]
fn every_member_certifies_its_session_and_is_told_from_no_other_member() {
    let of = |seed: u8| (certificate(seed), pair(seed).session(&INPUT));
    let length = certificate(1).to_bytes().len();
    assert_eq!(length, 1 + 8 + 3 * 32 + 4 + 5 * 32);
    for (certificate, session) in (1..6).map(of) {
        let introduced = ring(1..6).verify(&certificate).unwrap();
        assert_eq!(introduced.key(), session.pair.hotkey());
        assert_eq!(introduced.tag(), session.tag);
        assert_eq!(introduced.tempo(), INPUT.tempo);
        let bytes = certificate.to_bytes();
        assert_eq!(bytes.len(), length);
        assert_eq!(Certificate::from_bytes(&bytes), Ok(certificate));
        for seed in 1..6 {
            let hotkey = pair(seed).hotkey();
            assert!(
                !bytes.windows(32).any(|window| window == hotkey.0),
                "no hotkey is in it"
            );
        }
    }
}

#[test]
fn a_member_alone_certifies_too() {
    let session = pair(1).session(&INPUT);
    let alone = ring(1..2);
    let certificate = alone.certify(&pair(1), &session).unwrap();
    assert!(alone.verify(&certificate).is_ok());
}

#[test]
fn two_sessions_of_one_member_and_tempo_have_one_tag() {
    let (own, borrowed) = (pair(1).session(&INPUT), pair(9).session(&INPUT).pair);
    let second = Session {
        pair: borrowed,
        ..own.clone()
    };
    let ring = ring(1..6);
    let tags = [&own, &second].map(|session| {
        let certificate = ring.certify(&pair(1), session).unwrap();
        ring.verify(&certificate).unwrap().tag()
    });
    assert_eq!(tags[0], tags[1]);
    assert_ne!(tags[0], certificate(2).tag);
}

#[test]
fn tags_of_two_tempos_have_nothing_in_common() {
    let next = SessionInput { tempo: 4, ..INPUT };
    assert_ne!(pair(1).session(&INPUT).tag, pair(1).session(&next).tag);
}

/// The key that `hotkey`'s session would have if `shown` were the pre-output of its VRF under `label`.
fn guess(hotkey: Hotkey, label: &'static [u8], shown: [u8; 32]) -> Hotkey {
    let key = PublicKey::from_bytes(&hotkey.0).unwrap();
    let pre_output = VRFPreOut::from_bytes(&shown).unwrap();
    let in_out = pre_output
        .attach_input_hash(&key, INPUT.transcript(label))
        .unwrap();
    let code = ChainCode(in_out.make_bytes(SESSION_OUTPUT_CONTEXT));
    Hotkey(key.derived_key_simple(code, SESSION_INDEX).0.to_bytes())
}

#[test]
fn nobody_learns_from_a_certificate_whose_session_it_is_by_trying_all_members() {
    let certificate = certificate(2);
    for seed in 1..6 {
        for label in [SESSION_LABEL, TAG_LABEL] {
            let guessed = guess(pair(seed).hotkey(), label, certificate.tag);
            assert_ne!(guessed, certificate.key);
        }
    }
    // What is shown with the commit is what the guess lacks.
    let shown = pair(2).session(&INPUT).proof.pre_output;
    assert_eq!(guess(pair(2).hotkey(), SESSION_LABEL, shown), certificate.key);
}

#[test]
fn strangers_certify_nothing() {
    let (stranger, ring) = (pair(9), ring(1..6));
    let session = stranger.session(&INPUT);
    let refused = CertificateError::NotAMember {
        hotkey: stranger.hotkey(),
        tempo: 3,
    };
    assert_eq!(ring.certify(&stranger, &session), Err(refused));
    // A ring that the stranger is in gives a certificate that closes there alone.
    let own = Ring::new(INPUT, [1, 2, 3, 4, 9].map(|seed| pair(seed).hotkey())).unwrap();
    let forged = own.certify(&stranger, &session).unwrap();
    assert!(own.verify(&forged).is_ok());
    assert_eq!(ring.verify(&forged), Err(CertificateError::Open));
}

#[test]
fn a_certificate_holds_for_its_key_tag_and_ring_only() {
    let certificate = certificate(1);
    let elsewhere = |input: SessionInput| Ring::new(input, (1..6).map(|seed| pair(seed).hotkey())).unwrap();
    let rings = [
        elsewhere(SessionInput {
            netuid: Netuid(2),
            ..INPUT
        }),
        elsewhere(SessionInput {
            genesis: Digest([2; 32]),
            ..INPUT
        }),
        ring(2..7),
        Ring::new(INPUT, [2, 1, 3, 4, 5].map(|seed| pair(seed).hotkey())).unwrap(),
    ];
    for other in rings {
        assert_eq!(other.verify(&certificate), Err(CertificateError::Open));
    }
    let other = self::certificate(2);
    check_refused(
        &Certificate {
            key: other.key,
            ..certificate.clone()
        },
        &CertificateError::Open,
    );
    check_refused(
        &Certificate {
            tag: other.tag,
            ..certificate
        },
        &CertificateError::Open,
    );
}

#[test]
fn what_costs_nothing_is_checked_first() {
    let mut late = certificate(1);
    late.tempo = 4;
    check_refused(&late, &CertificateError::Tempo { found: 4, tempo: 3 });
    let mut short = certificate(1);
    short.responses.pop();
    check_refused(&short, &CertificateError::Members { found: 4, members: 5 });
    let longest = Certificate {
        responses: vec![[0; 32]; Ring::MEMBERS_MAX],
        ..certificate(1)
    };
    assert!(longest.to_bytes().len() <= Certificate::BYTES_MAX);
    let too_long = Certificate {
        responses: vec![[0; 32]; Ring::MEMBERS_MAX + 3],
        ..longest
    };
    assert!(Certificate::from_bytes(&too_long.to_bytes()).is_err());
}

/// The order of the group, little-endian: the smallest number that is not canonical.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// `number` plus the order: the same number to arithmetic, other bytes.
fn plus_order(number: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    let mut sum = [0; 32];
    for ((sum, a), b) in sum.iter_mut().zip(number).zip(ORDER) {
        let digit = u16::from(a) + u16::from(b) + carry;
        *sum = digit as u8;
        carry = digit >> 8;
    }
    sum
}

#[test]
fn other_bytes_of_the_same_numbers_and_points_are_refused() {
    let encoding = |field| CertificateError::Encoding { field };
    let mut altered = certificate(1);
    altered.challenge = plus_order(altered.challenge);
    check_refused(&altered, &encoding("challenge"));
    let mut altered = certificate(1);
    altered.responses[4] = plus_order(altered.responses[4]);
    check_refused(&altered, &encoding("response"));
    for (field, bytes) in [("identity", [0; 32]), ("no point", [0xff; 32])] {
        let mut altered = certificate(1);
        altered.tag = bytes;
        assert_eq!(ring(1..6).verify(&altered), Err(encoding("tag")), "{field}");
    }
    let mut altered = certificate(1);
    altered.key = Hotkey([0xff; 32]);
    check_refused(&altered, &encoding("key"));
}

#[test]
fn keys_that_nobody_holds_are_no_members() {
    let odd = [
        Hotkey([0; 32]),
        pair(1).hotkey(),
        Hotkey([0xff; 32]),
        pair(2).hotkey(),
    ];
    let ring = Ring::new(INPUT, odd).unwrap();
    assert_eq!(ring.member_count(), 2);
    let certificate = ring.certify(&pair(2), &pair(2).session(&INPUT)).unwrap();
    assert!(ring.verify(&certificate).is_ok());
    assert_eq!(Ring::new(INPUT, [Hotkey([0; 32])]), Err(RingError::Empty));
    let many = (0..=Ring::MEMBERS_MAX as u8).map(|seed| pair(seed).hotkey());
    let refused = RingError::TooMany {
        members: 65,
        members_max: 64,
    };
    assert_eq!(Ring::new(INPUT, many), Err(refused));
}

#[test]
fn certificates_are_the_same_every_time_and_share_no_nonce() {
    assert_eq!(certificate(1), certificate(1));
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..6 {
        let certificate = certificate(seed);
        for number in certificate.responses.into_iter().chain([certificate.challenge]) {
            assert!(seen.insert(number), "a nonce twice would give the key away");
        }
    }
}

/// Hotkeys of seeds, the session of one of them, its proof and its certificate, for another implementation.
#[test]
fn sessions_have_the_bytes_on_file() {
    let session = pair(2).session(&INPUT);
    let fields = [
        ("input", codec::encode(&INPUT)),
        ("ring", (1..6).flat_map(|seed| pair(seed).public()).collect()),
        ("hotkey", pair(2).public().to_vec()),
        ("session", session.pair.public().to_vec()),
        ("proof", codec::encode(&session.proof)),
        ("certificate", certificate(2).to_bytes()),
    ];
    let mut lines = String::from("# name, and bytes in hex; written by protocol, AGON_BLESS=1 rewrites it\n");
    for (name, bytes) in fields {
        lines.push_str(&format!("{name} {}\n", hex::encode(bytes)));
    }
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/data/keys/sessions.txt"
    );
    if std::env::var_os("AGON_BLESS").is_some() {
        std::fs::write(file, &lines).unwrap();
    }
    assert_eq!(
        lines,
        std::fs::read_to_string(file).unwrap(),
        "bytes of sessions changed; if that is meant, bless it and say so in the changelog"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_altered_certificate_is_refused(seed in 1u8..6, place in 0usize..269, bit in 0u8..8) {
        let mut bytes = certificate(seed).to_bytes();
        bytes[place] ^= 1 << bit;
        if let Ok(altered) = Certificate::from_bytes(&bytes) {
            prop_assert!(ring(1..6).verify(&altered).is_err());
        }
    }

    #[test]
    fn any_member_of_any_ring_certifies(count in 1u8..20, own in 0u8..20, tempo in any::<u64>()) {
        let own = own % count;
        let input = SessionInput { tempo, ..INPUT };
        let ring = Ring::new(input, (0..count).map(|seed| pair(seed).hotkey())).unwrap();
        let session = pair(own).session(&input);
        let certificate = ring.certify(&pair(own), &session).unwrap();
        prop_assert_eq!(ring.verify(&certificate).map(|it| it.key()), Ok(session.pair.hotkey()));
    }

    #[test]
    fn no_bytes_make_a_certificate(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(certificate) = Certificate::from_bytes(&bytes) {
            prop_assert!(ring(1..6).verify(&certificate).is_err());
        }
    }
}
