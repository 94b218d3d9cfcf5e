//! The state as sorted entries of bytes, with typed access.
//!
//! Everything the ledger remembers is an entry: a key of a kind byte and fixed-length fields, and a value in the
//! canonical encoding. There is no second representation, so what is stored, what the root covers and what the
//! rules read cannot differ. The entries are a [`Tree`]: clones of a table share what neither has changed.

mod key;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use agon_protocol::codec::{self, CodecError};
use agon_protocol::id::Digest;
use agon_protocol::proof::{Query, StateProof};
use borsh::{BorshDeserialize, BorshSerialize};

pub(crate) use self::key::KeyField;
pub use self::tree::Tree;

/// Most bytes of any value: an epoch record of the largest subnet fits.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A kind of entry.
pub(crate) trait Entry: BorshSerialize + BorshDeserialize {
    /// Fields of its key behind the kind byte.
    type Key: KeyField;
    /// First byte of its keys; each kind has its own.
    const KIND: u8;
    /// Base units that an entry holds, where entries of this kind hold any of what was created.
    const HELD: Option<fn(&Self) -> u128> = None;

    /// The key's bytes.
    fn key_bytes(key: &Self::Key) -> Vec<u8> {
        prefix_bytes::<Self>(key)
    }

    /// Reads a key's bytes, kind byte included; `None` when they are not a key of this kind.
    fn read_key(bytes: &[u8]) -> Option<Self::Key> {
        let (kind, mut fields) = bytes.split_first()?;
        let key = Self::Key::read(&mut fields)?;
        (*kind == Self::KIND && fields.is_empty()).then_some(key)
    }
}

/// Bytes that the keys of a kind begin with which share these fields.
pub(crate) fn prefix_bytes<E: Entry>(prefix: &impl KeyField) -> Vec<u8> {
    let mut bytes = vec![E::KIND];
    prefix.write(&mut bytes);
    bytes
}

/// Sorted entries, which of them changed since the changes were last taken, and what all of them hold.
#[derive(Clone, Default)]
pub(crate) struct Table {
    entries: Tree,
    changed: BTreeSet<Arc<[u8]>>,
    held: u128,
}

impl PartialEq for Table {
    /// Tables are equal when their entries are; what was taken from them does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Table({} entries, {} changed)",
            self.entries.count(),
            self.changed.len()
        )
    }
}

impl Table {
    /// The entry at `key`.
    pub(crate) fn read<E: Entry>(&self, key: &E::Key) -> Option<E> {
        self.entries
            .get(&E::key_bytes(key))
            .map(|value| decode_stored(value))
    }

    /// Whether there is an entry at `key`.
    pub(crate) fn has<E: Entry>(&self, key: &E::Key) -> bool {
        self.entries.get(&E::key_bytes(key)).is_some()
    }

    /// Writes the entry at `key`; writing what is there already changes nothing.
    pub(crate) fn write<E: Entry>(&mut self, key: &E::Key, entry: &E) {
        let (key, value) = (E::key_bytes(key), codec::encode(entry));
        let before = self.entries.get(&key);
        if before.is_some_and(|before| **before == *value) {
            return;
        }
        if let Some(held) = E::HELD {
            let before = before.map_or(0, |before| held(&decode_stored(before)));
            self.held = self.held.saturating_sub(before).saturating_add(held(entry));
        }
        let key: Arc<[u8]> = key.into();
        self.entries.insert(Arc::clone(&key), value.into());
        self.changed.insert(key);
    }

    /// Removes the entry at `key`, if there is one.
    pub(crate) fn remove<E: Entry>(&mut self, key: &E::Key) {
        self.remove_bytes::<E>(&E::key_bytes(key));
    }

    /// Removes all entries of one kind whose keys start with `prefix`.
    pub(crate) fn remove_all<E: Entry>(&mut self, prefix: impl KeyField) {
        let found = self.entries.scan(&prefix_bytes::<E>(&prefix));
        let keys: Vec<Arc<[u8]>> = found.map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            self.remove_bytes::<E>(&key);
        }
    }

    fn remove_bytes<E: Entry>(&mut self, key: &[u8]) {
        if let (Some(held), Some(value)) = (E::HELD, self.entries.get(key)) {
            self.held = self.held.saturating_sub(held(&decode_stored(value)));
        }
        if let Some(key) = self.entries.remove(key) {
            self.changed.insert(key);
        }
    }

    /// Base units that all entries hold, kept along with every change.
    pub(crate) const fn held(&self) -> u128 {
        self.held
    }

    /// Base units that the entries of one kind hold, counted anew.
    pub(crate) fn count_held<E: Entry>(&self) -> u128 {
        let Some(held) = E::HELD else { return 0 };
        self.scan::<E>(())
            .map(|(_, entry)| held(&entry))
            .fold(0, u128::saturating_add)
    }

    /// Takes over what the entries that were put in as bytes hold.
    pub(crate) fn set_held(&mut self, held: u128) {
        self.held = held;
    }

    /// Entries of one kind whose keys start with `prefix`, in key order.
    pub(crate) fn scan<E: Entry>(&self, prefix: impl KeyField) -> impl Iterator<Item = (E::Key, E)> {
        let entries = self.entries.scan(&prefix_bytes::<E>(&prefix));
        entries.map(|(key, value)| {
            let key = E::read_key(key).expect("keys were checked when they came in");
            (key, decode_stored(value))
        })
    }

    /// Keys of one kind that start with `prefix` and whose entries `other` lacks or has otherwise.
    pub(crate) fn differing<E: Entry>(&self, other: &Self, prefix: impl KeyField) -> Vec<E::Key> {
        let keys = self
            .entries
            .differing(&other.entries, &prefix_bytes::<E>(&prefix));
        let read = |key: &Arc<[u8]>| E::read_key(key).expect("keys were checked when they came in");
        keys.into_iter().map(read).collect()
    }

    /// Entries of one kind whose keys come after `after`, or all of that kind, in key order.
    pub(crate) fn scan_after<E: Entry>(&self, after: Option<&E::Key>) -> impl Iterator<Item = (E::Key, E)> {
        let from = after.map_or_else(|| vec![E::KIND], E::key_bytes);
        let skipped = after.is_some() && self.entries.get(&from).is_some();
        let entries = self.entries.scan_from(&from).skip(usize::from(skipped));
        entries.map_while(|(key, value)| E::read_key(key).map(|key| (key, decode_stored(value))))
    }

    /// Entries as bytes, in key order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Puts in an entry as bytes that the caller has checked; `false` when the key was there already.
    pub(crate) fn load(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.entries.insert(key.into(), value.into())
    }

    /// Root over all entries.
    pub(crate) fn root(&self) -> Digest {
        self.entries.root()
    }

    /// Shows what there is of what is asked for.
    pub(crate) fn prove(&self, query: Query<'_>) -> StateProof {
        self.entries.prove(query)
    }

    /// Entries written or removed since the last call, with what is there now.
    pub(crate) fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let changed = std::mem::take(&mut self.changed);
        let value = |key: &[u8]| self.entries.get(key).map(|value| value.to_vec());
        changed.iter().map(|key| (key.to_vec(), value(key))).collect()
    }
}

fn decode_stored<E: Entry>(value: &[u8]) -> E {
    decode_value(value).expect("values were encoded here or checked when they came in")
}

/// Decodes a value as kind `E`.
pub(crate) fn decode_value<E: Entry>(value: &[u8]) -> Result<E, CodecError> {
    codec::decode(value, VALUE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::{Netuid, Uid};

    use super::*;

    #[derive(Debug, PartialEq, BorshSerialize, BorshDeserialize)]
    struct Row(u32);

    impl Entry for Row {
        type Key = (Netuid, Uid);
        const KIND: u8 = 7;
        const HELD: Option<fn(&Self) -> u128> = Some(|row| row.0.into());
    }

    fn table(rows: &[(u16, u16, u32)]) -> Table {
        let mut table = Table::default();
        for (netuid, uid, value) in rows {
            table.write(&(Netuid(*netuid), Uid(*uid)), &Row(*value));
        }
        table
    }

    #[test]
    fn a_scan_gives_one_prefix_in_order() {
        let table = table(&[(2, 0, 5), (1, 300, 4), (1, 2, 3), (0, 9, 1)]);
        let found: Vec<u32> = table.scan::<Row>(Netuid(1)).map(|(_, row)| row.0).collect();
        assert_eq!(found, [3, 4]);
        assert_eq!(table.scan::<Row>(()).count(), 4);
    }

    #[test]
    fn the_root_follows_the_entries_and_not_their_history() {
        let mut a = table(&[(1, 1, 1), (1, 2, 2), (1, 3, 3)]);
        a.remove::<Row>(&(Netuid(1), Uid(3)));
        let b = table(&[(1, 2, 2), (1, 1, 1)]);
        assert_eq!((a.root(), &a), (b.root(), &b));
        assert_ne!(a.root(), table(&[(1, 1, 1)]).root());
    }

    #[test]
    fn what_entries_hold_is_kept_along_with_every_change() {
        let mut table = table(&[(1, 1, 10), (1, 2, 20), (2, 1, 30), (1, 1, 5), (1, 1, 5)]);
        assert_eq!((table.held(), table.count_held::<Row>()), (55, 55));
        table.remove::<Row>(&(Netuid(2), Uid(1)));
        table.remove::<Row>(&(Netuid(2), Uid(1)));
        assert_eq!((table.held(), table.count_held::<Row>()), (25, 25));
        table.remove_all::<Row>(Netuid(1));
        assert_eq!((table.held(), table.count_held::<Row>()), (0, 0));
    }

    #[test]
    fn changes_are_told_once_and_only_where_something_changed() {
        let mut table = table(&[(1, 1, 1), (1, 2, 2)]);
        assert_eq!(table.take_changes().len(), 2);
        table.write(&(Netuid(1), Uid(1)), &Row(1));
        assert_eq!(table.take_changes(), []);
        table.remove::<Row>(&(Netuid(1), Uid(2)));
        let key = Row::key_bytes(&(Netuid(1), Uid(2)));
        assert_eq!(table.take_changes(), [(key, None)]);
    }
}
