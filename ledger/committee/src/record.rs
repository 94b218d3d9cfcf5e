//! What this node's consensus key has signed: the memory that keeps it from saying two things in one round.
//!
//! The engine has a log of its own, from which it goes on after a crash. This record is beside it and does not depend
//! on it: it is asked before every signature, and where the engine's log was lost, cut or begun anew, the key says
//! what it said before. It is made together with the key, so a key without a record is one that has been elsewhere,
//! and [`crate::voice`] keeps it silent.
//!
//! A vote is in the file before it leaves this process, so a crash of the process loses nothing. The file is not
//! synced for each vote: the engine's log is, before the vote is sent, and after a loss of power has what this file
//! may lack.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, ConsensusKey, Digest};
use agon_protocol::message::{Signed, Vote, VoteKind};
use agon_protocol::sign::{Keypair, Signature};
use agon_runtime::files;
use agon_runtime::framed_log::{FILE_HEADER_BYTES, FramedLog, LogError, LogOptions};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;
use tracing::warn;

/// Longest entry: a vote and its signature.
const ENTRY_BYTES_MAX: usize = 512;
/// The file begins anew, at the next height, once it is longer than this.
const FILE_BYTES: u64 = 256 * 1024;
/// Digits of the key in the name of its file, so that no other key's record is taken for it.
const NAME_DIGITS: usize = 16;
/// How the file is opened.
const OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: ENTRY_BYTES_MAX as u32,
};

/// Why the record cannot be kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file failed.
    #[error("keep a record of what was signed")]
    Log(#[from] LogError),
    /// The file, or its folder, could not be made or moved.
    #[error("make {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A record that was made a moment ago is not there.
    #[error("the record of what was signed vanished from {}: let nobody else use the folder", dir.display())]
    Vanished {
        /// The folder.
        dir: PathBuf,
    },
}

/// Why the key signs nothing at a height.
#[derive(Debug, Error)]
pub(crate) enum NotSigned {
    /// What was signed there is not known any more.
    #[error(
        "the key may have signed at height {height} before, its record says only what it signed from {from} on"
    )]
    Forgotten { height: BlockNumber, from: BlockNumber },
    /// It could not be written down.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// One frame of the file.
#[derive(BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
enum Entry {
    /// Whatever was signed up to this height is not in the file.
    UpTo(BlockNumber),
    /// A vote in canonical bytes, and its signature.
    Said(Vec<u8>, Signature),
}

/// What one key has signed: all of the newest height, and that nothing was signed above it.
#[derive(Debug)]
pub(crate) struct Record {
    log: FramedLog,
    path: PathBuf,
    /// Nothing is signed up to here: whether it was is not known.
    up_to: BlockNumber,
    /// What was signed at the newest height.
    said: Vec<Signed<Vote>>,
    /// The block that the key is bound to at that height, because it signed a precommit for it that the engine does
    /// not know of.
    bound: Option<(BlockNumber, Digest)>,
}

/// What there is of a key's record.
#[derive(Debug)]
pub(crate) enum Found {
    /// A record.
    Whole(Record),
    /// One that cannot be read, and was set aside.
    Damaged,
    /// None.
    Nothing,
}

/// Begins the record of a key that has signed nothing above height `up_to`: of one that was just made, at 0.
///
/// An earlier record of the key is replaced. `dir` is the engine's folder, see [`crate::Config::dir`].
///
/// # Errors
///
/// [`RecordError`].
pub fn begin_record(dir: &Path, key: &ConsensusKey, up_to: BlockNumber) -> Result<(), RecordError> {
    fs::create_dir_all(dir).map_err(|source| RecordError::File {
        path: dir.to_owned(),
        source,
    })?;
    write_new(&path_of(dir, key), &[Entry::UpTo(up_to)]).map(drop)
}

fn path_of(dir: &Path, key: &ConsensusKey) -> PathBuf {
    let digits: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
    dir.join(format!("signed-{}.log", &digits[..NAME_DIGITS]))
}

/// Writes a file with these entries, synced, and moves it into place.
fn write_new(path: &Path, entries: &[Entry]) -> Result<FramedLog, RecordError> {
    let failed = |source| RecordError::File {
        path: path.to_owned(),
        source,
    };
    let new = path.with_extension("new");
    if new.exists() {
        fs::remove_file(&new).map_err(failed)?;
    }
    let (mut log, _) = FramedLog::open(&new, OPTIONS)?;
    for entry in entries {
        log.append(&codec::encode(entry))?;
    }
    log.sync()?;
    drop(log);
    fs::rename(&new, path).map_err(failed)?;
    files::sync_dir_of(path).map_err(failed)?;
    Ok(FramedLog::open(path, OPTIONS)?.0)
}

impl Record {
    /// Opens the record of `key` in `dir`.
    pub(crate) fn open(dir: &Path, key: &ConsensusKey) -> Result<Found, RecordError> {
        let path = path_of(dir, key);
        if !path.exists() {
            return Ok(Found::Nothing);
        }
        match Self::read(path.clone()) {
            Ok(Some(record)) => Ok(Found::Whole(record)),
            Ok(None) | Err(LogError::Damaged { .. } | LogError::NotALog { .. }) => {
                let aside = path.with_extension("damaged");
                warn!(path = %path.display(), aside = %aside.display(), "the record of what was signed is damaged");
                fs::rename(&path, aside).map_err(|source| RecordError::File { path, source })?;
                Ok(Found::Damaged)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the file says; `None` where it does not begin as it should.
    fn read(path: PathBuf) -> Result<Option<Self>, LogError> {
        let (log, _) = FramedLog::open(&path, OPTIONS)?;
        let mut up_to = None;
        let mut said: Vec<Signed<Vote>> = Vec::new();
        for frame in log.frames_from(FILE_HEADER_BYTES)? {
            match codec::decode::<Entry>(&frame?.payload, ENTRY_BYTES_MAX) {
                Ok(Entry::UpTo(height)) => up_to = Some(height),
                Ok(Entry::Said(bytes, signature)) => {
                    let Ok(vote) = Signed::<Vote>::from_parts(bytes, signature) else {
                        return Ok(None);
                    };
                    said.retain(|before| before.message().height == vote.message().height);
                    said.push(vote);
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(up_to.map(|up_to| Self {
            log,
            path,
            up_to,
            said,
            bound: None,
        }))
    }

    /// The newest height at which the key may have signed something.
    pub(crate) fn newest(&self) -> BlockNumber {
        let newest = self.said.first().map(|vote| vote.message().height);
        newest.unwrap_or_default().max(self.up_to)
    }

    /// Whether all that was signed at the newest height is here.
    pub(crate) fn knows_newest(&self) -> bool {
        self.up_to < self.newest()
    }

    /// Compares with the engine's log: a precommit that is not in it binds the key to its block, since the engine
    /// does not know that it is locked.
    pub(crate) fn compare(&mut self, engine_log: &[u8]) {
        let precommit = self.said.iter().rev().find_map(|vote| {
            let Vote {
                kind, height, block, ..
            } = vote.message();
            let block = block.filter(|_| *kind == VoteKind::Precommit)?;
            Some(((*height, block), vote.signature().0))
        });
        self.bound = precommit.and_then(|(bound, signature)| {
            let is_known = engine_log
                .windows(signature.len())
                .any(|bytes| bytes == signature);
            (!is_known).then_some(bound)
        });
    }

    /// The key's word of this height, round and kind: what it said before, or else `vote`, signed and written down.
    pub(crate) fn sign(&mut self, vote: Vote, pair: &Keypair) -> Result<Signed<Vote>, NotSigned> {
        let newest = self.newest();
        if vote.height <= self.up_to || vote.height < newest {
            return Err(NotSigned::Forgotten {
                height: vote.height,
                from: newest.max(self.up_to.next()),
            });
        }
        let said = self.said.iter().find(|said| is_same_word(said.message(), &vote));
        if let Some(said) = said {
            if *said.message() != vote {
                warn!(height = %vote.height, round = vote.round, "said again what was said before");
            }
            return Ok(said.clone());
        }
        if vote.height > newest {
            self.begin_height()?;
        }
        let signed = Signed::sign(self.bind(vote), pair);
        let entry = Entry::Said(signed.bytes().to_vec(), *signed.signature());
        self.log
            .append(&codec::encode(&entry))
            .map_err(RecordError::from)?;
        self.said.push(signed.clone());
        Ok(signed)
    }

    /// What may be said by a key that is bound to a block: that block or none.
    fn bind(&self, mut vote: Vote) -> Vote {
        let is_vote = !matches!(vote.kind, VoteKind::Proposal { .. });
        if let Some((height, block)) = self.bound
            && is_vote
            && height == vote.height
            && vote.block.is_some_and(|other| other != block)
        {
            warn!(%height, round = vote.round, "said nothing for another block than the one signed for before");
            vote.block = None;
        }
        vote
    }

    /// Forgets the votes of heights that are over.
    fn begin_height(&mut self) -> Result<(), RecordError> {
        let over = self.newest();
        self.said.clear();
        if self.log.end() > FILE_BYTES {
            self.log = write_new(&self.path, &[Entry::UpTo(over)])?;
            self.up_to = over;
        }
        Ok(())
    }
}

/// Whether a key may say only one of the two.
fn is_same_word(a: &Vote, b: &Vote) -> bool {
    let kind = std::mem::discriminant::<VoteKind>;
    (a.genesis, a.height, a.round, a.voter) == (b.genesis, b.height, b.round, b.voter)
        && kind(&a.kind) == kind(&b.kind)
}

#[cfg(test)]
mod tests {
    use agon_protocol::message::Equivocation;

    use super::*;

    const GENESIS: Digest = Digest([9; 32]);

    fn pair() -> Keypair {
        Keypair::from_mini_secret(&[1; 32])
    }

    fn vote(height: u64, round: u32, kind: VoteKind, block: Option<u8>) -> Vote {
        Vote {
            genesis: GENESIS,
            height: BlockNumber(height),
            round,
            kind,
            block: block.map(|byte| Digest([byte; 32])),
            voter: pair().consensus_key(),
        }
    }

    fn open(dir: &Path) -> Option<Record> {
        match Record::open(dir, &pair().consensus_key()).unwrap() {
            Found::Whole(record) => Some(record),
            Found::Damaged | Found::Nothing => None,
        }
    }

    fn begin(dir: &Path, up_to: u64) -> Record {
        begin_record(dir, &pair().consensus_key(), BlockNumber(up_to)).unwrap();
        open(dir).unwrap()
    }

    #[test]
    fn a_key_repeats_its_word_whatever_it_is_asked_to_say_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = begin(dir.path(), 0);
        for kind in [
            VoteKind::Proposal { locked_round: None },
            VoteKind::Prevote,
            VoteKind::Precommit,
        ] {
            let first = record.sign(vote(5, 0, kind, Some(1)), &pair()).unwrap();
            for block in [Some(2), None, Some(1)] {
                let again = record.sign(vote(5, 0, kind, block), &pair()).unwrap();
                assert_eq!(again, first);
            }
            drop(record);
            record = open(dir.path()).unwrap();
            let again = record.sign(vote(5, 0, kind, Some(3)), &pair()).unwrap();
            assert_eq!(again, first);
        }
        let other = record.sign(vote(5, 1, VoteKind::Prevote, Some(2)), &pair());
        assert_eq!(other.unwrap().message().block, Some(Digest([2; 32])));
    }

    #[test]
    fn nothing_is_signed_where_it_is_not_known_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = begin(dir.path(), 7);
        assert!(!record.knows_newest());
        let prevote = |height| vote(height, 0, VoteKind::Prevote, Some(1));
        for height in [0, 6, 7] {
            let signed = record.sign(prevote(height), &pair());
            assert!(matches!(signed, Err(NotSigned::Forgotten { .. })), "{height}");
        }
        record.sign(prevote(8), &pair()).unwrap();
        record.sign(prevote(12), &pair()).unwrap();
        assert!(record.knows_newest());
        for height in [8, 11] {
            let signed = record.sign(prevote(height), &pair());
            assert!(matches!(signed, Err(NotSigned::Forgotten { .. })), "{height}");
        }
    }

    #[test]
    fn a_record_that_is_missing_damaged_or_of_another_key_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).is_none());
        let other = Keypair::from_mini_secret(&[2; 32]).consensus_key();
        begin_record(dir.path(), &other, BlockNumber(0)).unwrap();
        assert!(open(dir.path()).is_none());

        let mut record = begin(dir.path(), 0);
        for height in 1..4 {
            record
                .sign(vote(height, 0, VoteKind::Prevote, None), &pair())
                .unwrap();
        }
        let path = record.path.clone();
        drop(record);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(open(dir.path()).is_none());
        assert!(path.with_extension("damaged").exists());
        assert!(open(dir.path()).is_none());
    }

    #[test]
    fn the_file_begins_anew_at_a_new_height_and_knows_what_was_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = begin(dir.path(), 0);
        let mut height = 0;
        while record.up_to == BlockNumber(0) {
            height += 1;
            for kind in [VoteKind::Prevote, VoteKind::Precommit] {
                record.sign(vote(height, 0, kind, Some(1)), &pair()).unwrap();
            }
        }
        assert!(record.log.end() < FILE_BYTES);
        drop(record);
        let mut record = open(dir.path()).unwrap();
        assert_eq!(record.newest(), BlockNumber(height));
        let before = record.sign(vote(height - 1, 0, VoteKind::Prevote, Some(2)), &pair());
        assert!(matches!(before, Err(NotSigned::Forgotten { .. })));
    }

    #[test]
    fn a_precommit_that_the_engine_forgot_still_binds() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = begin(dir.path(), 0);
        let precommit = record
            .sign(vote(3, 0, VoteKind::Precommit, Some(1)), &pair())
            .unwrap();
        drop(record);
        let prevote = |engine_log: &[u8], round, block| {
            let mut record = open(dir.path()).unwrap();
            record.compare(engine_log);
            let signed = record.sign(vote(3, round, VoteKind::Prevote, Some(block)), &pair());
            signed.unwrap().message().block
        };
        // The engine remembers, and knows what unlocks it.
        let whole = [&[0; 40], precommit.signature().0.as_slice(), &[0; 40]].concat();
        assert_eq!(prevote(&whole, 1, 2), Some(Digest([2; 32])));
        assert_eq!(prevote(&[0; 200], 2, 1), Some(Digest([1; 32])));
        assert_eq!(prevote(&[0; 200], 3, 2), None);
    }

    #[test]
    fn a_key_without_its_record_could_contradict_itself_and_lose_its_bond() {
        let dir = tempfile::tempdir().unwrap();
        let before = begin(dir.path(), 0)
            .sign(vote(5, 0, VoteKind::Prevote, Some(1)), &pair())
            .unwrap();
        // Its folder is lost; as if nothing had been signed, which only a new key may say of itself.
        let again = begin(dir.path(), 0)
            .sign(vote(5, 0, VoteKind::Prevote, Some(2)), &pair())
            .unwrap();
        let evidence = Equivocation {
            first: before,
            second: again,
        };
        assert_eq!(evidence.verify(GENESIS), Ok(pair().consensus_key()));
    }
}
