//! Entries in words, for whoever compares two states: what a key is of, and what a value says.
//!
//! A kind that is missing here is shown as bytes, so that a comparison never fails over its words.

use std::fmt::{Debug, Write};

use agon_protocol::id::{Account, Coldkey, Hotkey, Netuid, Uid};

use crate::accounts::{AccountRecord, HotkeyOwner};
use crate::epoch::EpochRecord;
use crate::evidence::{Barred, EvidenceRecord, Roster};
use crate::genesis::{Origin, Progress};
use crate::neuron::{HotkeyUid, Neuron};
use crate::pulse::{KeptPulse, NamedBeacon};
use crate::stake::{Pool, Shares};
use crate::subnet::Subnet;
use crate::table::{Entry, decode_value};
use crate::weights::{BondRow, Commits, SealRounds, SealedRow, WeightRow};

/// Bytes of an unknown key or value that are shown.
const SHOWN_BYTES: usize = 80;

/// An entry of a state in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryWords {
    /// What it is of, as in `neuron 5 of subnet 1`.
    pub key: String,
    /// What it says, field by field; `None` where there is no value.
    pub value: Option<String>,
}

/// Says in words what the entry of `key` with `value` is. Bytes that are no entry are shown in hex.
#[must_use]
pub fn entry_words(key: &[u8], value: Option<&[u8]>) -> EntryWords {
    let words = match key.first() {
        Some(&Origin::KIND) => of::<Origin>(key, value, |()| String::from("origin of the ledger")),
        Some(&Progress::KIND) => of::<Progress>(key, value, |()| String::from("progress of the ledger")),
        Some(&AccountRecord::KIND) => {
            of::<AccountRecord>(key, value, |account: Account| format!("account {account}"))
        }
        Some(&HotkeyOwner::KIND) => {
            of::<HotkeyOwner>(key, value, |hotkey: Hotkey| format!("owner of hotkey {hotkey}"))
        }
        Some(&Subnet::KIND) => of::<Subnet>(key, value, |netuid: Netuid| format!("subnet {netuid}")),
        Some(&Neuron::KIND) => of::<Neuron>(key, value, |at| slot("neuron", at)),
        Some(&HotkeyUid::KIND) => of::<HotkeyUid>(key, value, |(netuid, hotkey)| {
            format!("UID of hotkey {hotkey} on subnet {netuid}")
        }),
        Some(&WeightRow::KIND) => of::<WeightRow>(key, value, |at| slot("weights of neuron", at)),
        Some(&BondRow::KIND) => of::<BondRow>(key, value, |at| slot("bonds of neuron", at)),
        Some(&Commits::KIND) => of::<Commits>(key, value, |at| slot("open commits of neuron", at)),
        Some(&Pool::KIND) => of::<Pool>(key, value, |(netuid, hotkey)| {
            format!("stake on hotkey {hotkey} on subnet {netuid}")
        }),
        Some(&Shares::KIND) => of::<Shares>(key, value, |(coldkey, netuid, hotkey): (Coldkey, _, _)| {
            format!("shares of {coldkey} in the stake on hotkey {hotkey} on subnet {netuid}")
        }),
        Some(&EpochRecord::KIND) => of::<EpochRecord>(key, value, |(netuid, tempo)| {
            format!("record of the epoch of tempo {tempo} on subnet {netuid}")
        }),
        Some(&Roster::KIND) => of::<Roster>(key, value, |(netuid, tempo)| {
            format!("roster of tempo {tempo} on subnet {netuid}")
        }),
        Some(&EvidenceRecord::KIND) => of::<EvidenceRecord>(key, value, |(netuid, tempo, hotkey)| {
            format!("evidence of hotkey {hotkey} of tempo {tempo} on subnet {netuid}")
        }),
        Some(&Barred::KIND) => of::<Barred>(key, value, |(netuid, hotkey)| {
            format!("bar of hotkey {hotkey} on subnet {netuid}")
        }),
        Some(&SealRounds::KIND) => of::<SealRounds>(key, value, |netuid: Netuid| {
            format!("rounds to which weights of subnet {netuid} are sealed")
        }),
        Some(&SealedRow::KIND) => of::<SealedRow>(key, value, |(netuid, tempo, uid)| {
            format!("sealed weights of tempo {tempo} of neuron {uid} of subnet {netuid}")
        }),
        Some(&NamedBeacon::KIND) => of::<NamedBeacon>(key, value, |()| String::from("beacon of the ledger")),
        Some(&KeptPulse::KIND) => of::<KeptPulse>(key, value, |round: u64| format!("pulse of round {round}")),
        _ => None,
    };
    words.unwrap_or_else(|| EntryWords {
        key: format!("entry {}", hex(key)),
        value: value.map(hex),
    })
}

fn slot(what: &str, (netuid, uid): (Netuid, Uid)) -> String {
    format!("{what} {uid} of subnet {netuid}")
}

/// The words of an entry of kind `E`; `None` when the key is none of that kind.
fn of<E: Entry + Debug>(
    key: &[u8],
    value: Option<&[u8]>,
    words: impl FnOnce(E::Key) -> String,
) -> Option<EntryWords> {
    let says = |value: &[u8]| match decode_value::<E>(value) {
        Ok(entry) => format!("{entry:?}"),
        Err(_) => hex(value),
    };
    Some(EntryWords {
        key: words(E::read_key(key)?),
        value: value.map(says),
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN_BYTES) {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    if bytes.len() > SHOWN_BYTES {
        write!(text, ".. ({} bytes)", bytes.len()).expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use agon_protocol::amount::Amount;
    use agon_protocol::codec;

    use super::*;

    #[test]
    fn an_entry_is_named_by_its_key_and_shows_its_fields() {
        let key = Account([1; 32]);
        let value = codec::encode(&AccountRecord {
            nonce: 7,
            free: Amount::from_base_units(5),
        });
        let words = entry_words(&AccountRecord::key_bytes(&key), Some(&value));
        assert_eq!(words.key, format!("account {key}"));
        assert!(words.value.unwrap().contains("nonce: 7"));
        let at = (Netuid(3), Uid(9));
        let words = entry_words(&WeightRow::key_bytes(&at), None);
        assert_eq!(
            (words.key.as_str(), words.value),
            ("weights of neuron 9 of subnet 3", None)
        );
    }

    #[test]
    fn bytes_that_are_no_entry_are_shown_in_hex() {
        let words = entry_words(&[0xff, 1], Some(&[2; 100]));
        assert_eq!(words.key, "entry ff01");
        assert!(words.value.unwrap().ends_with(".. (100 bytes)"));
        let malformed = entry_words(&Subnet::key_bytes(&Netuid(1)), Some(&[0xee]));
        assert_eq!(malformed.value.as_deref(), Some("ee"));
        assert_eq!(entry_words(&[], None).key, "entry ");
    }
}
