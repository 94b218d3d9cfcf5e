//! Keys, addresses and signatures agree with other sr25519 wallets, case by case.
//!
//! The cases were made by running substrate-interface, py-sr25519-bindings and bittensor-wallet
//! (versions in each file under `made_with`); all keys are public test keys.

#![expect(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

use agon_protocol::derive::{Mnemonic, SecretUri};
use agon_protocol::sign::{Keypair, Purpose, Signature, verify};
use agon_protocol::ss58;
use serde_json::Value;

/// The cases of one file, the array under `key`.
fn cases(file: &str, key: &str) -> Vec<Value> {
    let path = format!(
        "{}/../tests/golden/data/keys/{file}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {path}: {error}"));
    let file: Value = serde_json::from_str(&text).unwrap();
    file[key].as_array().unwrap().clone()
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field]
        .as_str()
        .unwrap_or_else(|| panic!("{case} has no text {field}"))
}

fn bytes<const LEN: usize>(case: &Value, field: &str) -> [u8; LEN] {
    hex::decode(text(case, field)).unwrap().try_into().unwrap()
}

fn signature_of(case: &Value) -> Signature {
    Signature(bytes(case, "signature_hex"))
}

#[track_caller]
fn check_key(case: &Value, pair: &Keypair) {
    assert_eq!(pair.public(), bytes(case, "public_key"), "{case}");
    assert_eq!(ss58::encode(&pair.public()), text(case, "ss58_42"), "{case}");
    assert_eq!(ss58::decode(text(case, "ss58_42")), Ok(pair.public()), "{case}");
    assert_eq!(
        Keypair::from_secret_bytes(&pair.secret_bytes()).unwrap().public(),
        pair.public(),
        "{case}"
    );
}

#[track_caller]
fn check_secret(case: &Value, pair: &Keypair, ends_softly: bool) {
    // After a soft step the nonce seed (the second half) is free; the scalar is not.
    let len = if ends_softly { 32 } else { 64 };
    let expected: [u8; 64] = bytes(case, "secret_key_schnorrkel");
    assert_eq!(pair.secret_bytes()[..len], expected[..len], "{case}");
}

/// True when the last part of a path is preceded by one slash.
fn ends_softly(path: &str) -> bool {
    path.rfind('/').is_some_and(|last| !path[..last].ends_with('/'))
}

#[test]
fn words_paths_and_passwords_give_the_keys_of_other_wallets() {
    let cases = cases("derivation", "cases");
    assert_eq!(cases.len(), 17);
    for case in &cases {
        let uri = SecretUri::parse(text(case, "uri")).unwrap();
        let pair = uri.keypair();
        check_key(case, &pair);
        check_secret(case, &pair, ends_softly(text(case, "path")));
        let message = hex::decode(text(case, "message_hex")).unwrap();
        assert_eq!(
            verify(&pair.public(), Purpose::Text, &message, &signature_of(case)),
            Ok(()),
            "{case}"
        );
        if case.get("mini_secret").is_some() {
            assert_eq!(*uri.seed().unwrap(), bytes(case, "mini_secret"), "{case}");
        }
        let phrase = text(case, "phrase");
        assert_eq!(*Mnemonic::parse(phrase).unwrap().phrase(), phrase);
    }
}

#[test]
fn seeds_give_the_keys_of_other_wallets() {
    let cases = cases("seeds", "cases");
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let pair = Keypair::from_mini_secret(&bytes(case, "mini_secret"));
        check_key(case, &pair);
        check_secret(case, &pair, false);
        let uri = SecretUri::parse(&format!("0x{}", text(case, "mini_secret"))).unwrap();
        assert_eq!(uri.keypair().secret_bytes(), pair.secret_bytes());
    }
}

#[test]
fn signatures_of_other_wallets_hold_or_fail_as_plain_verification_says() {
    let cases = cases("signatures", "cases");
    assert_eq!(cases.len(), 12);
    for case in &cases {
        let message = hex::decode(text(case, "message_hex")).unwrap();
        let result = verify(
            &bytes(case, "public_key"),
            Purpose::Text,
            &message,
            &signature_of(case),
        );
        assert_eq!(
            result.is_ok(),
            case["valid"].as_bool().unwrap(),
            "{case}: {result:?}"
        );
    }
}

#[test]
fn addresses_of_every_format_read_and_write_as_elsewhere() {
    let cases = cases("ss58", "good");
    assert_eq!(cases.len(), 28);
    for case in &cases {
        let (key, address) = (bytes(case, "public_key"), text(case, "address"));
        let format = u16::try_from(case["format"].as_u64().unwrap()).unwrap();
        assert_eq!(ss58::encode_with(format, &key).unwrap(), address, "{case}");
        assert_eq!(ss58::decode_any(address), Ok((format, key)), "{case}");
        assert_eq!(ss58::decode(address).is_ok(), format == ss58::FORMAT, "{case}");
    }
}

#[test]
fn bad_addresses_are_refused() {
    let cases = cases("ss58", "bad");
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let address = text(case, "address");
        assert!(
            ss58::decode(address).is_err() && ss58::decode_any(address).is_err(),
            "{case}"
        );
    }
}
