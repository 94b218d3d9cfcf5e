//! A store in memory, for simulations and tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agon_ledger_state::Begun;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::Committee;

use super::{
    Changes, Entries, Store, StoreError, Table, committee_write, decode_begun, decode_committee, decode_head,
    filling, key, writes,
};
use crate::chain::Head;

/// The same keys and values as on disk, in a map.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MemoryStore {
    fn map(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        // A batch is applied without a step that can panic, so a poisoned map is a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, changes: Changes) {
        let mut map = self.map();
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
    }
}

impl Store for MemoryStore {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.map()
            .get(&key(Table::Head, &[]))
            .map(|bytes| decode_head(bytes))
            .transpose()
    }

    fn entries(&self) -> Result<Entries, StoreError> {
        let prefix = key(Table::State, &[]);
        let map = self.map();
        let entries = map
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix));
        Ok(entries
            .map(|(key, value)| (key[prefix.len()..].to_vec(), value.clone()))
            .collect())
    }

    fn begun(&self, height: BlockNumber) -> Result<Begun, StoreError> {
        decode_begun(
            self.map()
                .get(&key(Table::Begun, &height.0.to_be_bytes()))
                .map(Vec::as_slice),
        )
    }

    fn committee(&self, digest: Digest) -> Result<Option<Committee>, StoreError> {
        self.map()
            .get(&key(Table::Committee, digest.as_bytes()))
            .map(|bytes| decode_committee(bytes))
            .transpose()
    }

    fn note_committee(&self, committee: &Committee) -> Result<(), StoreError> {
        self.write(vec![committee_write(committee)]);
        Ok(())
    }

    fn commit(&self, head: Head, changes: &Changes, begun: &Begun) -> Result<(), StoreError> {
        self.write(writes(head, changes, begun));
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn fill(&self, head: Head, entries: Entries, begun: &[(BlockNumber, Begun)]) -> Result<(), StoreError> {
        self.write(filling(entries, begun));
        self.write(writes(head, &Changes::new(), &Begun::default()));
        Ok(())
    }
}
