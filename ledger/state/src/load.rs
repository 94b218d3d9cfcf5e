//! States from stored entries, and entries of states.

use std::fmt::Write;

use agon_protocol::codec::CodecError;
use thiserror::Error;

use crate::State;
use crate::accounts::{AccountRecord, HotkeyOwner, OwnedHotkey};
use crate::committee::{Candidate, InForce, KeyUse, RecentBlock};
use crate::dissolution::Returning;
use crate::epoch::EpochRecord;
use crate::evidence::{Barred, EvidenceRecord, Roster};
use crate::genesis::{Origin, Progress};
use crate::invariants::InvariantBroken;
use crate::neuron::{HotkeyUid, Neuron};
use crate::pulse::{KeptPulse, NamedBeacon};
use crate::stake::{Pool, Shares, Take};
use crate::subnet::Subnet;
use crate::swaps::{ColdkeySwap, Retired};
use crate::table::{Entry, Table, decode_value};
use crate::weights::{BondRow, Commits, SealRounds, SealedRow, WeightRow};

/// Why entries are not a state.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// A key of no kind this build knows.
    #[error("entry {key} has a key of no known kind")]
    Key {
        /// The key in hex, its first bytes.
        key: String,
    },
    /// A value that is not what its key says.
    #[error("entry {key} is malformed: {error}")]
    Value {
        /// The key in hex, its first bytes.
        key: String,
        /// What is wrong with it.
        error: CodecError,
    },
    /// A key twice.
    #[error("entry {key} comes twice")]
    Duplicate {
        /// The key in hex, its first bytes.
        key: String,
    },
    /// No record that every state has.
    #[error("the entries hold no {what}")]
    Missing {
        /// Which record.
        what: &'static str,
    },
    /// Entries that cannot be together.
    #[error(transparent)]
    Broken(#[from] InvariantBroken),
}

impl State {
    /// The state that has exactly these entries: what [`State::entries`] gives, or a store that follows
    /// [`State::take_changes`].
    ///
    /// # Errors
    ///
    /// [`LoadError`] when an entry is malformed or the entries are not those of one state.
    pub fn from_entries(entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, LoadError> {
        let mut table = Table::default();
        for (key, value) in entries {
            check_entry(&key, &value)?;
            if !table.load(&key, &value) {
                return Err(LoadError::Duplicate { key: shown(&key) });
            }
        }
        for (what, present) in [
            ("origin", table.has::<Origin>(&())),
            ("progress", table.has::<Progress>(&())),
        ] {
            if !present {
                return Err(LoadError::Missing { what });
            }
        }
        let mut state = Self { table };
        let held = state.count_held();
        state.table.set_held(held);
        state.check_invariants()?;
        Ok(state)
    }

    /// Every entry, in key order.
    pub fn entries(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.table
            .entries()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
    }
}

/// Checks that key and value are of one kind, exactly.
fn check_entry(key: &[u8], value: &[u8]) -> Result<(), LoadError> {
    match key.first() {
        Some(&Origin::KIND) => check_kind::<Origin>(key, value),
        Some(&Progress::KIND) => check_kind::<Progress>(key, value),
        Some(&AccountRecord::KIND) => check_kind::<AccountRecord>(key, value),
        Some(&HotkeyOwner::KIND) => check_kind::<HotkeyOwner>(key, value),
        Some(&Subnet::KIND) => check_kind::<Subnet>(key, value),
        Some(&Neuron::KIND) => check_kind::<Neuron>(key, value),
        Some(&HotkeyUid::KIND) => check_kind::<HotkeyUid>(key, value),
        Some(&WeightRow::KIND) => check_kind::<WeightRow>(key, value),
        Some(&BondRow::KIND) => check_kind::<BondRow>(key, value),
        Some(&Commits::KIND) => check_kind::<Commits>(key, value),
        Some(&Pool::KIND) => check_kind::<Pool>(key, value),
        Some(&Shares::KIND) => check_kind::<Shares>(key, value),
        Some(&OwnedHotkey::KIND) => check_kind::<OwnedHotkey>(key, value),
        Some(&Take::KIND) => check_kind::<Take>(key, value),
        Some(&Retired::KIND) => check_kind::<Retired>(key, value),
        Some(&ColdkeySwap::KIND) => check_kind::<ColdkeySwap>(key, value),
        Some(&Candidate::KIND) => check_kind::<Candidate>(key, value),
        Some(&KeyUse::KIND) => check_kind::<KeyUse>(key, value),
        Some(&InForce::KIND) => check_kind::<InForce>(key, value),
        Some(&RecentBlock::KIND) => check_kind::<RecentBlock>(key, value),
        Some(&Returning::KIND) => check_kind::<Returning>(key, value),
        Some(&EpochRecord::KIND) => check_kind::<EpochRecord>(key, value),
        Some(&Roster::KIND) => check_kind::<Roster>(key, value),
        Some(&EvidenceRecord::KIND) => check_kind::<EvidenceRecord>(key, value),
        Some(&Barred::KIND) => check_kind::<Barred>(key, value),
        Some(&SealRounds::KIND) => check_kind::<SealRounds>(key, value),
        Some(&SealedRow::KIND) => check_kind::<SealedRow>(key, value),
        Some(&NamedBeacon::KIND) => check_kind::<NamedBeacon>(key, value),
        Some(&KeptPulse::KIND) => check_kind::<KeptPulse>(key, value),
        _ => Err(LoadError::Key { key: shown(key) }),
    }
}

fn check_kind<E: Entry>(key: &[u8], value: &[u8]) -> Result<(), LoadError> {
    if E::read_key(key).is_none() {
        return Err(LoadError::Key { key: shown(key) });
    }
    match decode_value::<E>(value) {
        Ok(_) => Ok(()),
        Err(error) => Err(LoadError::Value {
            key: shown(key),
            error,
        }),
    }
}

/// The first bytes of a key in hex; the longest key that is one is shown whole.
fn shown(key: &[u8]) -> String {
    let mut text = String::new();
    for byte in key.iter().take(80) {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
    }
    text
}
