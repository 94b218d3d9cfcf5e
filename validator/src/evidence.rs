//! The append-only log of everything a validator did and why: what its weights rest on.
//!
//! One frame holds one [`Record`] in canonical bytes. A round is one record, so that it is there whole or not at
//! all; a frame that was being written when the machine stopped is cut off when the log is opened again.
//! Signed challenges and receipts are kept as they were sent, so that anyone can check them.

use std::path::{Path, PathBuf};

pub use agon_evidence::record::{AnswerRecord, ItemRecord, MinerRecord, Round};
use agon_protocol::codec::{self, CodecError};
use agon_protocol::id::{BlockNumber, Netuid, Uid};
use agon_protocol::message::WeightsCommit;
use agon_runtime::framed_log::{FILE_HEADER_BYTES, FramedLog, Frames, LogError, LogOptions};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

/// Most bytes of a record: a round of 256 miners with answers of a few kilobytes.
pub const RECORD_BYTES_MAX: u32 = 32 * 1024 * 1024;
/// Name of the log in a validator's folder.
pub const FILE_NAME: &str = "evidence.log";
const OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: RECORD_BYTES_MAX,
};

/// One thing a validator did.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum Record {
    /// A round: draw, items, answers, judgements, ratings.
    Round(Box<Round>),
    /// Weights that were committed, revealed, or refused by the ledger.
    Weights(WeightsStep),
    /// Why nothing was done where something was due.
    Abstained(Abstained),
}

/// A step of commit and reveal.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct WeightsStep {
    /// The subnet.
    pub netuid: Netuid,
    /// The tempo whose weights these are.
    pub tempo: u64,
    /// The commit.
    pub commit: WeightsCommit,
    /// The weights.
    pub weights: Vec<(Uid, u16)>,
    /// What was done and what came of it.
    pub result: WeightsResult,
}

/// What came of a step of commit and reveal.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum WeightsResult {
    /// Committed in a block.
    Committed(BlockNumber),
    /// Revealed in a block.
    Revealed(BlockNumber),
    /// The ledger refused, or did not answer.
    Failed(String),
}

/// Why a validator did not judge or did not weigh.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Abstained {
    /// The subnet.
    pub netuid: Netuid,
    /// Its tempo.
    pub tempo: u64,
    /// The round, when it was one.
    pub round: Option<u32>,
    /// When, Unix milliseconds.
    pub time_ms: u64,
    /// Why.
    pub reason: String,
}

/// Why evidence cannot be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The log cannot be opened, read or written.
    #[error("evidence: {0}")]
    Log(#[from] LogError),
    /// A frame is no record.
    #[error("evidence at offset {offset}: {source}")]
    Record {
        /// Where the frame begins.
        offset: u64,
        /// What is wrong.
        source: CodecError,
    },
}

/// The log, open for appending.
#[derive(Debug)]
pub struct Evidence(FramedLog);

impl Evidence {
    /// Opens or creates the log in `dir`; says how many bytes of a torn record were cut off.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Log`].
    pub fn open(dir: &Path) -> Result<(Self, u64), EvidenceError> {
        let (log, recovery) = FramedLog::open(&path(dir), OPTIONS)?;
        Ok((Self(log), recovery.truncated_bytes))
    }

    /// Where the next record will begin.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.end()
    }

    /// The records from the one at `offset` on.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Log`] when no record can begin there.
    pub fn records_from(&self, offset: u64) -> Result<Records, EvidenceError> {
        let offset = offset.max(FILE_HEADER_BYTES);
        Ok(Records(self.0.frames_from(offset)?))
    }

    /// Appends a record and makes it survive a power failure.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Log`].
    pub fn append(&mut self, record: &Record) -> Result<(), EvidenceError> {
        self.0.append_synced(&codec::encode(record))?;
        Ok(())
    }
}

/// Whether a round's record is short enough to be kept.
#[must_use]
pub fn fits(round: &Round) -> bool {
    // One byte for the version, one for the kind of record.
    codec::encode(round).len() < RECORD_BYTES_MAX as usize
}

/// Reads the records in `dir` while a validator may be writing them.
///
/// # Errors
///
/// [`EvidenceError::Log`].
pub fn read(dir: &Path) -> Result<Records, EvidenceError> {
    Ok(Records(FramedLog::frames(&path(dir), OPTIONS)?))
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// The records of a log, oldest first.
#[derive(Debug)]
pub struct Records(Frames);

impl Iterator for Records {
    type Item = Result<Record, EvidenceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = match self.0.next()? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error.into())),
        };
        let record = codec::decode(&frame.payload, RECORD_BYTES_MAX as usize);
        Some(record.map_err(|source| EvidenceError::Record {
            offset: frame.offset,
            source,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abstained(round: u32) -> Record {
        Record::Abstained(Abstained {
            netuid: Netuid(1),
            tempo: 2,
            round: Some(round),
            time_ms: 3,
            reason: "no miner answered".to_owned(),
        })
    }

    #[test]
    fn records_are_read_in_the_order_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut evidence, torn) = Evidence::open(dir.path()).unwrap();
        assert_eq!(torn, 0);
        for round in 0..3 {
            evidence.append(&abstained(round)).unwrap();
        }
        let records: Vec<Record> = read(dir.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(records, [abstained(0), abstained(1), abstained(2)]);
    }

    #[test]
    fn a_torn_record_is_cut_off_and_the_ones_before_it_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (mut evidence, _) = Evidence::open(dir.path()).unwrap();
        evidence.append(&abstained(0)).unwrap();
        evidence.append(&abstained(1)).unwrap();
        drop(evidence);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(path(dir.path()))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() - 3).unwrap();
        let (mut evidence, torn) = Evidence::open(dir.path()).unwrap();
        assert!(torn > 0);
        evidence.append(&abstained(2)).unwrap();
        let records: Vec<Record> = read(dir.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(records, [abstained(0), abstained(2)]);
    }
}
