//! The store on disk: one sled tree, and one batch for each block.
//!
//! Everything is in the default tree, under a table byte, because batches of different trees are not atomic
//! together. sled's own timer is off: when to flush is the caller's business. sled writes its log in order, so what a
//! crash leaves are whole batches up to one of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

use agon_ledger_state::Begun;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::Committee;
use sled::{Batch, Config, Db};

use super::{
    Changes, Entries, Store, StoreError, Table, committee_write, decode_begun, decode_committee, decode_head,
    filling, key, writes,
};
use crate::chain::Head;

/// Bytes of pages sled keeps in memory. The state itself is in memory anyway.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Writes of one batch while a store is filled.
const FILL_BATCH_WRITES: usize = 1_000;

/// How often a folder is tried that is still locked, and how long apart: sled's threads let go of a store a little
/// after it was closed. Two seconds in all; a node that runs keeps it locked for longer.
const LOCKED_ATTEMPTS: u32 = 100;
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// A state store in a folder of its own.
#[derive(Debug)]
pub(crate) struct SledStore {
    db: Db,
}

impl SledStore {
    /// Opens the store in `dir`, creating it where it is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when sled refuses the folder, or panics over it as it does over some damage.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let config = Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        for _ in 0..LOCKED_ATTEMPTS {
            match open_once(&config) {
                Err(StoreError::Database(error)) if is_locked(&error) => thread::sleep(LOCKED_PAUSE),
                opened => return opened.map(|db| Self { db }),
            }
        }
        open_once(&config).map(|db| Self { db })
    }

    fn write(&self, changes: Changes) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch)?;
        Ok(())
    }
}

fn open_once(config: &Config) -> Result<Db, StoreError> {
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    let db = opened.map_err(|panic| StoreError::Panicked {
        reason: panic_message(&*panic),
    })??;
    Ok(db)
}

/// Whether somebody has the folder open; sled says so in words only.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
        .to_owned()
}

impl Store for SledStore {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        let record = self.db.get(key(Table::Head, &[]))?;
        record.map(|bytes| decode_head(&bytes)).transpose()
    }

    fn entries(&self) -> Result<Entries, StoreError> {
        let prefix = key(Table::State, &[]);
        let entry = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item?;
            Ok((key[prefix.len()..].to_vec(), value.to_vec()))
        };
        self.db.scan_prefix(&prefix).map(entry).collect()
    }

    fn begun(&self, height: BlockNumber) -> Result<Begun, StoreError> {
        let record = self.db.get(key(Table::Begun, &height.0.to_be_bytes()))?;
        decode_begun(record.as_deref())
    }

    fn committee(&self, digest: Digest) -> Result<Option<Committee>, StoreError> {
        let record = self.db.get(key(Table::Committee, digest.as_bytes()))?;
        record.map(|bytes| decode_committee(&bytes)).transpose()
    }

    fn note_committee(&self, committee: &Committee) -> Result<(), StoreError> {
        self.write(vec![committee_write(committee)])
    }

    fn commit(&self, head: Head, changes: &Changes, begun: &Begun) -> Result<(), StoreError> {
        self.write(writes(head, changes, begun))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        Ok(())
    }

    fn fill(&self, head: Head, entries: Entries, begun: &[(BlockNumber, Begun)]) -> Result<(), StoreError> {
        let writes_without_head = filling(entries, begun);
        for batch in writes_without_head.chunks(FILL_BATCH_WRITES) {
            self.write(batch.to_vec())?;
        }
        self.flush()?;
        self.commit(head, &Changes::new(), &Begun::default())?;
        self.flush()
    }
}
