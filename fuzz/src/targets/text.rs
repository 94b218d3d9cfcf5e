//! What people type and programs write: what is read and written again is read as the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use agon_protocol::amount::Amount;
use agon_protocol::derive::{Mnemonic, SecretUri};
use agon_protocol::id::{Account, BlockNumber, Digest, Hotkey, Netuid};
use agon_protocol::message::Call;
use agon_protocol::sign::Signature;
use agon_protocol::ss58;
use agon_scoring::epoch;

use super::sample;

fn same<T: FromStr + Display + Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let shown = value.to_string();
        assert_eq!(shown.parse::<T>().ok().as_ref(), Some(&value), "{shown}");
    }
}

pub(super) fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    same::<Amount>(text);
    same::<Account>(text);
    same::<Hotkey>(text);
    same::<Digest>(text);
    same::<Signature>(text);
    same::<Netuid>(text);
    same::<BlockNumber>(text);
    if let Ok((format, key)) = ss58::decode_any(text) {
        let shown = ss58::encode_with(format, &key).expect("a format that was read can be written");
        assert_eq!(ss58::decode_any(&shown).ok(), Some((format, key)));
    }
    if let Ok(words) = Mnemonic::parse(text) {
        let again = Mnemonic::parse(&words.phrase()).expect("words that were read can be read again");
        assert_eq!(*again.phrase(), *words.phrase());
    }
    if let Ok(uri) = SecretUri::parse(text) {
        let _ = (uri.keypair().public(), uri.seed());
    }
}

pub(super) fn text_seeds() -> Vec<Vec<u8>> {
    let words = Mnemonic::twelve_words(&[9; 16]).phrase();
    let seeds = [
        sample::coldkey(1).to_string(),
        ss58::encode_with(0, &[4; 32]).expect("format 0 exists"),
        ss58::encode_with(300, &[4; 32]).expect("format 300 exists"),
        String::from("18446744073.709551615"),
        String::from("0.000000001"),
        Digest([7; 32]).to_string(),
        Signature([7; 64]).to_string(),
        words.to_string(),
        format!("{}//0/soft///pass", words.as_str()),
        String::from("//Alice//stash"),
        format!("0x{}//1", Digest([7; 32])),
        String::from("65535"),
    ];
    seeds.map(String::into_bytes).into()
}

pub(super) fn call_json(bytes: &[u8]) {
    let Ok(call) = serde_json::from_slice::<Call>(bytes) else {
        return;
    };
    let shown = serde_json::to_string(&call).expect("every call has a JSON form");
    let again: Call = serde_json::from_str(&shown).expect("what was written is read");
    assert_eq!(again, call, "{shown}");
}

pub(super) fn call_seeds() -> Vec<Vec<u8>> {
    let calls = sample::calls().into_iter();
    calls
        .map(|(_, call)| serde_json::to_vec(&call).expect("every call has a JSON form"))
        .collect()
}

/// Inputs that fit together are computed without a panic, and pay no more than there is.
pub(super) fn epoch_json(bytes: &[u8]) {
    let Ok(epochs) = epoch::file::parse(bytes) else {
        return;
    };
    for inputs in &epochs {
        if let Ok(outputs) = epoch::run(inputs) {
            let paid = outputs.emission.iter().map(|amount| u128::from(*amount));
            assert!(
                paid.sum::<u128>() <= u128::from(inputs.emission),
                "more was paid than there is"
            );
        }
    }
}

/// The smallest golden epochs.
pub(super) fn epoch_seeds() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/data/yuma");
    let files = std::fs::read_dir(folder).expect("the checkout can be read");
    let mut seeds: Vec<Vec<u8>> = files
        .filter_map(|file| std::fs::read(file.ok()?.path()).ok())
        .filter_map(|json| smallest_epoch(&json))
        .filter(|seed| seed.len() <= 4_096)
        .collect();
    seeds.sort();
    seeds
}

/// The file with its first epoch alone, and of it the inputs.
fn smallest_epoch(json: &[u8]) -> Option<Vec<u8>> {
    let file: serde_json::Value = serde_json::from_slice(json).ok()?;
    let inputs = file.get("epochs")?.get(0)?.get("inputs")?;
    let seed = serde_json::json!({ "epochs": [{ "inputs": inputs }] });
    Some(seed.to_string().into_bytes())
}
