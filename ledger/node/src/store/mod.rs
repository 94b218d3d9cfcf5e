//! What a node keeps of its state between blocks: a cache of the block log that spares a replay at start.
//!
//! A `Store` holds the state's entries, what each block did before its transactions, every committee there ever was, and one head
//! record that says which block all of it belongs to. A block is one batch, so that after a crash
//! the store is that of some block. The block log is the truth: blocks that a store lacks are applied from the log, and
//! a store that cannot be read, or does not agree with the log, is set aside and built anew.

mod memory;
mod sled;

use std::fmt;

use agon_ledger_state::Begun;
use agon_protocol::codec::{self, CodecError};
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::Committee;
use thiserror::Error;

pub(crate) use self::memory::MemoryStore;
pub(crate) use self::sled::SledStore;
use crate::chain::Head;

/// Entries of a state, as bytes.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;
/// Entries that a block wrote or removed, with what is there now.
pub(crate) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Most canonical bytes of what a block did before its transactions: epochs of every subnet there can be, and as many
/// opened seals as a preset may let a block open, each with a sentence, fit.
const BEGUN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most canonical bytes of a head, which has a fixed length.
const HEAD_BYTES_MAX: usize = 256;
/// Bytes of the checksum behind it.
const CHECKSUM_BYTES: usize = 32;

/// The head record: version, fields, and blake3 of both.
fn encode_head(head: &Head) -> Vec<u8> {
    let mut bytes = codec::encode(head);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

fn decode_head(bytes: &[u8]) -> Result<Head, StoreError> {
    let split = bytes
        .len()
        .checked_sub(CHECKSUM_BYTES)
        .ok_or(StoreError::HeadChecksum)?;
    let (body, checksum) = bytes.split_at(split);
    if blake3::hash(body).as_bytes() != checksum {
        return Err(StoreError::HeadChecksum);
    }
    codec::decode(body, HEAD_BYTES_MAX).map_err(|source| StoreError::Record { what: "head", source })
}

/// Why a store cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed.
    #[error("the state store failed")]
    Database(#[from] ::sled::Error),
    /// The database panicked while it was opened.
    #[error("the state store is damaged: {reason}")]
    Panicked {
        /// What it said.
        reason: String,
    },
    /// The head record is not what was written.
    #[error("the head record of the state store has a wrong checksum")]
    HeadChecksum,
    /// A record is not the encoding of what it should be.
    #[error("the {what} record of the state store is malformed")]
    Record {
        /// Which record.
        what: &'static str,
        /// What is wrong with it.
        source: CodecError,
    },
}

/// Keeps a state and its head between runs. All of a block goes in at once or not at all, and none before the one
/// before it.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Which block the entries belong to; `None` for a store that was never filled.
    fn head(&self) -> Result<Option<Head>, StoreError>;

    /// The state's entries, in key order.
    fn entries(&self) -> Result<Entries, StoreError>;

    /// What the block at `height` did before its transactions.
    fn begun(&self, height: BlockNumber) -> Result<Begun, StoreError>;

    /// The committee of a digest that a header names, if it was ever noted.
    fn committee(&self, digest: Digest) -> Result<Option<Committee>, StoreError>;

    /// Keeps a committee that a block appoints. Called before the block is committed, which makes it durable; one
    /// that is noted for a block that never came is known to no header and harms nobody.
    fn note_committee(&self, committee: &Committee) -> Result<(), StoreError>;

    /// Takes one block in; durable once [`flush`](Self::flush) has returned.
    fn commit(&self, head: Head, changes: &Changes, begun: &Begun) -> Result<(), StoreError>;

    /// Makes what was taken in durable.
    fn flush(&self) -> Result<(), StoreError>;

    /// Fills an empty store with the state after `head` and what earlier blocks did before their transactions, durably.
    /// The head goes in last, so that a store whose filling was interrupted has none.
    fn fill(&self, head: Head, entries: Entries, begun: &[(BlockNumber, Begun)]) -> Result<(), StoreError>;
}

/// First byte of every key of the one tree.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Table {
    Head = b'h',
    State = b's',
    Begun = b'e',
    Committee = b'c',
}

fn key(table: Table, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(rest.len() + 1);
    key.push(table as u8);
    key.extend_from_slice(rest);
    key
}

/// Every write of a block as key and value, the head included.
fn writes(head: Head, changes: &Changes, begun: &Begun) -> Changes {
    let mut writes: Changes = changes
        .iter()
        .map(|(entry, value)| (key(Table::State, entry), value.clone()))
        .collect();
    if !begun.is_empty() {
        writes.push(begun_write(head.height, begun));
    }
    writes.push((key(Table::Head, &[]), Some(encode_head(&head))));
    writes
}

fn begun_write(height: BlockNumber, begun: &Begun) -> (Vec<u8>, Option<Vec<u8>>) {
    (
        key(Table::Begun, &height.0.to_be_bytes()),
        Some(codec::encode(begun)),
    )
}

fn committee_write(committee: &Committee) -> (Vec<u8>, Option<Vec<u8>>) {
    (
        key(Table::Committee, committee.digest().as_bytes()),
        Some(codec::encode(committee)),
    )
}

fn decode_committee(bytes: &[u8]) -> Result<Committee, StoreError> {
    codec::decode(bytes, Committee::BYTES_MAX).map_err(|source| StoreError::Record {
        what: "committee",
        source,
    })
}

/// Every write that fills a store, without the head.
fn filling(entries: Entries, begun: &[(BlockNumber, Begun)]) -> Changes {
    let entries = entries
        .into_iter()
        .map(|(entry, value)| (key(Table::State, &entry), Some(value)));
    let begun = begun
        .iter()
        .map(|(height, of_block)| begun_write(*height, of_block));
    entries.chain(begun).collect()
}

fn decode_begun(bytes: Option<&[u8]>) -> Result<Begun, StoreError> {
    let Some(bytes) = bytes else {
        return Ok(Begun::default());
    };
    codec::decode(bytes, BEGUN_BYTES_MAX).map_err(|source| StoreError::Record {
        what: "block's beginning",
        source,
    })
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::{ConsensusKey, Hotkey, Netuid, Uid};
    use agon_protocol::message::{EpochView, Member, OpenedSealView};

    use super::*;

    fn head(height: u64) -> Head {
        let digest = Digest([height as u8; 32]);
        Head {
            height: BlockNumber(height),
            hash: digest,
            time_ms: height,
            state_root: digest,
        }
    }

    fn begun(tempos: &[u64]) -> Begun {
        let epoch = |tempo: &u64| EpochView {
            tempo: *tempo,
            ..EpochView::default()
        };
        let opened = |tempo: &u64| OpenedSealView {
            netuid: Netuid(1),
            tempo: *tempo,
            uid: Uid(2),
            fault: Some(String::from("the seal is shorter than its key")),
        };
        Begun {
            epochs: tempos.iter().map(epoch).collect(),
            opened: tempos.iter().map(opened).collect(),
        }
    }

    /// What every store does, so that memory can stand in for the disk.
    fn check_store(store: &dyn Store) {
        assert_eq!(store.head().unwrap(), None);
        let entries = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())];
        store
            .fill(head(3), entries.clone(), &[(BlockNumber(2), begun(&[7]))])
            .unwrap();
        assert_eq!(store.head().unwrap(), Some(head(3)));
        assert_eq!(store.entries().unwrap(), entries);

        let changes = vec![(b"a".to_vec(), None), (b"c".to_vec(), Some(b"3".to_vec()))];
        store.commit(head(4), &changes, &begun(&[8, 9])).unwrap();
        assert_eq!(store.head().unwrap(), Some(head(4)));
        let entries = store.entries().unwrap();
        assert_eq!(
            entries,
            [(b"b".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())]
        );
        let kept = |height| store.begun(BlockNumber(height)).unwrap();
        assert_eq!(
            (kept(2), kept(3), kept(4)),
            (begun(&[7]), begun(&[]), begun(&[8, 9]))
        );
        let member = Member {
            consensus_key: ConsensusKey([1; 32]),
            hotkey: Hotkey([2; 32]),
            power: 3,
        };
        let committee = Committee::new(vec![member]).unwrap();
        assert_eq!(store.committee(committee.digest()).unwrap(), None);
        store.note_committee(&committee).unwrap();
        assert_eq!(store.committee(committee.digest()).unwrap(), Some(committee));
        assert_eq!(store.entries().unwrap().len(), 2);
    }

    #[test]
    fn memory_and_sled_keep_the_same() {
        let dir = tempfile::tempdir().unwrap();
        check_store(&MemoryStore::default());
        let sled = SledStore::open(dir.path()).unwrap();
        check_store(&sled);
        drop(sled);
        let again = SledStore::open(dir.path()).unwrap();
        assert_eq!(again.head().unwrap(), Some(head(4)));
        assert_eq!(again.entries().unwrap().len(), 2);
    }

    #[test]
    fn a_changed_head_record_is_noticed() {
        let bytes = encode_head(&head(5));
        assert_eq!(decode_head(&bytes).unwrap(), head(5));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(matches!(decode_head(&changed), Err(StoreError::HeadChecksum)));
            assert!(decode_head(&bytes[..index]).is_err());
        }
    }
}
