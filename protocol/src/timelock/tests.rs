//! Known pulses of quicknet, seals from end to end, and what does not open.

use super::*;
use crate::id::Uid;

/// Pulse of quicknet's round 1000, as <https://api.drand.sh> tells it and the tests of crate `tlock` 0.0.10 have it.
const PULSE_1000: &str =
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

/// The bytes 1 to 16, encrypted to that pulse by crate `tlock` 0.0.10.
const CIPHERTEXT_1000: &str = "a3d93ae7e4404cae41428e92ae9d5fcd0fa790a617923b5b6c19c8cb718347570f9daeaea3d9e99bda24d110880e663c\
    1779675a8df68c894b074543e7c95c0cdbc08d18148d8b4a09a58051101614f2ee95a871d3c37ad3670b84d789f0175c\
    d2b5fe725b8615900d2f12af18a2d25174a559a1938b512c2b61ccc3eb6e2a1e";

fn pulse_1000() -> PulseSignature {
    PULSE_1000.parse().unwrap()
}

fn weights(uids: u16, salt: u8) -> Weights {
    Weights {
        tempo: 3,
        uids: (0..uids).map(Uid).collect(),
        values: (0..uids).collect(),
        salt: [salt; 32],
        version: 1,
    }
}

fn secret() -> BeaconSecret {
    BeaconSecret::from_seed(&[4; 32])
}

fn beacon() -> Beacon {
    Beacon {
        public_key: secret().public_key(),
        first_ms: 1_000,
        period_ms: 500,
    }
}

#[test]
fn a_known_pulse_of_quicknet_holds_for_its_round_only() {
    let quicknet = Beacon::quicknet();
    assert_eq!(quicknet.validate(), Ok(()));
    assert_eq!(quicknet.verify(1_000, &pulse_1000()), Ok(()));
    for round in [0, 999, 1_001, u64::MAX] {
        assert_eq!(quicknet.verify(round, &pulse_1000()), Err(NoPulse { round }));
    }
    assert_eq!(
        beacon().verify(1_000, &pulse_1000()),
        Err(NoPulse { round: 1_000 })
    );
    assert_eq!(secret().sign(7).to_string().len(), PULSE_1000.len());
}

#[test]
fn what_another_implementation_encrypted_decrypts() {
    let ciphertext: [u8; ibe::CIPHERTEXT_BYTES] = hex::decode(CIPHERTEXT_1000).unwrap().try_into().unwrap();
    let signature = ibe::signature(&pulse_1000().0).unwrap();
    let message = ibe::decrypt(&signature, &ciphertext);
    assert_eq!(message, Ok(std::array::from_fn(|index| index as u8 + 1)));
    // The same message and another seed give another ciphertext, which decrypts to the same.
    let key = Beacon::quicknet().key().unwrap();
    let ours = ibe::encrypt(&key, 1_000, &message.unwrap(), &[9; 16]);
    assert_ne!(ours, ciphertext);
    assert_eq!(ibe::decrypt(&signature, &ours), message);
}

#[test]
fn sealed_weights_open_with_the_pulse_of_their_round_and_no_other() {
    for (uids, salt) in [(0, 1), (1, 2), (300, 3), (4_096, 4)] {
        let row = weights(uids, salt);
        let sealed = beacon().seal(9, &row).unwrap();
        assert!(sealed.0.len() <= SealedWeights::BYTES_MAX);
        assert_eq!(sealed.open(&secret().sign(9)), Ok(row));
        assert_eq!(sealed.open(&secret().sign(10)), Err(SealFault::Key));
        let other = BeaconSecret::from_seed(&[5; 32]);
        assert_eq!(sealed.open(&other.sign(9)), Err(SealFault::Key));
    }
    let longest = beacon().seal(9, &weights(4_096, 4)).unwrap();
    assert_eq!(longest.0.len(), SealedWeights::BYTES_MAX);
}

#[test]
fn sealing_is_a_function_of_round_and_weights() {
    let seal = |round, salt| beacon().seal(round, &weights(2, salt)).unwrap();
    assert_eq!(seal(9, 1), seal(9, 1));
    assert_ne!(seal(9, 1), seal(10, 1));
    assert_ne!(seal(9, 1), seal(9, 2));
}

#[test]
fn a_seal_with_a_wrong_byte_anywhere_does_not_open() {
    let sealed = beacon().seal(9, &weights(2, 1)).unwrap();
    let pulse = secret().sign(9);
    // The point is long and slow to read: every eighth of its bytes, and every byte behind it.
    let indices = (0..ibe::G2_BYTES).step_by(8).chain(ibe::G2_BYTES..sealed.0.len());
    for index in indices {
        for flip in [1, 0x80] {
            let mut changed = sealed.clone();
            changed.0[index] ^= flip;
            assert!(changed.open(&pulse).is_err(), "byte {index} changed by {flip}");
        }
    }
    for len in [0, 1, 127, 128, 143, 144, sealed.0.len() - 1] {
        let cut = SealedWeights(sealed.0[..len].to_vec());
        assert!(cut.open(&pulse).is_err(), "{len} bytes");
    }
    let empty = SealedWeights(Vec::new());
    assert_eq!(empty.open(&pulse), Err(SealFault::Short));
    let no_pulse = PulseSignature([0; 48]);
    assert_eq!(sealed.open(&no_pulse), Err(SealFault::Pulse));
    assert_eq!(SealedWeights(vec![0; 200]).open(&pulse), Err(SealFault::Point));
}

#[test]
fn what_is_sealed_has_to_be_a_row() {
    let (row_key, seed) = ([1; 16], [2; 16]);
    let mut bytes = ibe::encrypt(&beacon().key().unwrap(), 9, &row_key, &seed).to_vec();
    let text = row_cipher(&row_key).encrypt(&Nonce::default(), &b"no row"[..]);
    bytes.extend(text.unwrap());
    let sealed = SealedWeights(bytes);
    assert_eq!(sealed.open(&secret().sign(9)), Err(SealFault::Weights));
    assert_eq!(sealed.validate(), Ok(()));
    let long = SealedWeights(vec![0; SealedWeights::BYTES_MAX + 1]);
    assert!(long.validate().is_err());
}

#[test]
fn a_key_that_any_signature_fits_is_none() {
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    for key in [infinity, [0; 96], [0xff; 96]] {
        let beacon = Beacon {
            public_key: BeaconKey(key),
            ..beacon()
        };
        assert_eq!(beacon.validate(), Err(BeaconError::PublicKey));
        let mut nothing = [0; 48];
        nothing[0] = 0xc0;
        assert!(beacon.verify(1, &PulseSignature(nothing)).is_err());
        assert!(beacon.seal(1, &weights(1, 1)).is_err());
    }
    let fast = Beacon {
        period_ms: 99,
        ..beacon()
    };
    assert_eq!(fast.validate(), Err(BeaconError::Period { period_ms: 99 }));
}

#[test]
fn rounds_are_counted_from_one_and_none_is_before_its_time() {
    #[track_caller]
    fn check(time_ms: u64, round: u64) {
        assert_eq!(beacon().round_from(time_ms), round);
        assert!(beacon().time_ms(round) >= time_ms.min(u64::MAX - 500));
    }
    check(0, 1);
    check(1_000, 1);
    check(1_001, 2);
    check(1_500, 2);
    check(1_501, 3);
    assert_eq!(beacon().time_ms(0), 1_000);
    assert_eq!(beacon().time_ms(3), 2_000);
    assert_eq!(beacon().time_ms(u64::MAX), u64::MAX);
    // Round 1000 of quicknet was made 999 periods after its first.
    assert_eq!(Beacon::quicknet().time_ms(1_000), 1_692_806_364_000);
    assert_eq!(Beacon::quicknet().round_from(1_692_806_364_000), 1_000);
}

#[test]
fn a_genesis_without_a_beacon_has_the_bytes_it_always_had() {
    use crate::amount::Amount;
    use crate::message::{Genesis, Preset};
    let without = Genesis {
        name: String::from("test"),
        preset: Preset::Localnet,
        time_ms: 5,
        block_emission: Amount::from_base_units(7),
        accounts: Vec::new(),
        committee: Vec::new(),
        beacon: None,
    };
    let fields = (String::from("test"), Preset::Localnet, 5_u64, 7_u64, 0_u32, 0_u32);
    let bytes = codec::encode(&without);
    assert_eq!(bytes, codec::encode(&fields));
    assert_eq!(codec::decode(&bytes, Genesis::BYTES_MAX), Ok(without.clone()));
    let with = Genesis {
        beacon: Some(beacon()),
        ..without.clone()
    };
    let bytes = codec::encode(&with);
    assert_eq!(codec::decode(&bytes, Genesis::BYTES_MAX), Ok(with.clone()));
    assert_ne!(with.digest(), without.digest());
    for len in codec::encode(&without).len() + 1..bytes.len() {
        assert!(codec::decode::<Genesis>(&bytes[..len], Genesis::BYTES_MAX).is_err());
    }
}
