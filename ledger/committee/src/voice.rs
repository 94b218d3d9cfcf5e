//! Whether a node may sign, and from when on.
//!
//! A member that says two things in one round loses its bond, and with more than a third of them the committee its
//! safety. So a node signs only what it can know not to contradict:
//!
//! - **With its record** ([`crate::record`]) it signs at once. Where its blocks end below what the key signed, as
//!   after a loss of blocks, it is silent until it has caught up with itself.
//! - **With a damaged record and a whole log of the engine's** for the height that comes next it signs at once: that
//!   log has what was signed there, and nothing was signed above. This is what a loss of power may leave, and it may
//!   leave it on every member at once.
//! - **Without a record** (its folder was lost and only the keys are left, or both files are damaged) it is silent until
//!   it has stored a block whose time is [`SURE_MS`] past the node's start. Whatever the key signed before the start
//!   was at a height whose parent was decided before it. A block may be of a time at most [`AHEAD_MS_MAX`] past the
//!   clocks of those who sign it, so this one was decided after the start, and is at that height or above. The key
//!   signs from the next block on, and its record begins there.
//!
//! A new key comes with its record, so a new committee begins at once. If more members than it can do without lose
//! their records together, no block comes that could end their silence, and their operators have to say from where
//! on the keys may sign ([`crate::begin_record`]).
//!
//! A clock that is behind would make old blocks look new. Such a node finds blocks of the future, and waits anew from
//! each of them on.

use std::path::{Path, PathBuf};

use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Signed, Vote};
use agon_protocol::sign::Keypair;
use tracing::{info, warn};

use crate::AHEAD_MS_MAX;
use crate::record::{self, Found, NotSigned, Record, RecordError};

/// How far past the start of a node without a record the time of a block has to be: as far as the clocks of those
/// who signed it may be behind the block's, and as much again for our own.
pub(crate) const SURE_MS: u64 = 2 * AHEAD_MS_MAX;
/// The engine's own log, as far as it could be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineLog {
    /// All of it; what is missing binds the key, and frees nothing.
    pub(crate) bytes: Vec<u8>,
    /// The height that it is of, where every entry is whole.
    pub(crate) height: Option<BlockNumber>,
}

/// Why a node signs nothing for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// Until this block is stored: its key has signed up to there.
    Past(BlockNumber),
    /// Until a block of a time [`SURE_MS`] later than this is stored: what its key signed is not known.
    Unknown { since_ms: u64 },
}

/// A consensus key, as far as its node may use it.
#[derive(Debug)]
pub(crate) struct Voice {
    dir: PathBuf,
    pair: Keypair,
    record: Option<Record>,
    silence: Option<Silence>,
}

impl Voice {
    /// What the key in the folder `dir` may do when `next` is the next height.
    pub(crate) fn open(
        dir: &Path,
        pair: &Keypair,
        next: BlockNumber,
        engine_log: &EngineLog,
        now_ms: u64,
    ) -> Result<Self, RecordError> {
        let mut record = open_record(dir, pair, next, engine_log)?;
        if let Some(record) = &mut record {
            record.compare(&engine_log.bytes);
        }
        let silence = silence(record.as_ref(), next, now_ms);
        match silence {
            Some(Silence::Past(height)) => {
                warn!(%height, "its blocks end below what it signed: signs nothing until it has stored this block");
            }
            Some(Silence::Unknown { .. }) => warn!(
                seconds = SURE_MS / 1_000,
                "no record of what the consensus key signed: signs nothing until the committee has made a block this \
                 much later than now. If no blocks come because others have lost theirs too, see \
                 `agon-node keys --signed-up-to`"
            ),
            None => {}
        }
        Ok(Self {
            dir: dir.to_owned(),
            pair: pair.clone(),
            record,
            silence,
        })
    }

    /// Whether the node may sign.
    pub(crate) const fn speaks(&self) -> bool {
        self.silence.is_none()
    }

    /// The key's word: `vote`, or what it said in its place before.
    ///
    /// # Errors
    ///
    /// Why it says nothing.
    pub(crate) fn sign(&mut self, vote: Vote) -> Result<Signed<Vote>, NotSigned> {
        match &mut self.record {
            Some(record) if self.silence.is_none() => record.sign(vote, &self.pair),
            _ => Err(NotSigned::Forgotten {
                height: vote.height,
                from: BlockNumber(u64::MAX),
            }),
        }
    }

    /// Lets go of the record, whoever else still holds the key: it says nothing from here on.
    pub(crate) fn close(&mut self) {
        self.record = None;
    }

    /// A block was stored: whether the node may sign from the next one on.
    pub(crate) fn stored(
        &mut self,
        height: BlockNumber,
        time_ms: u64,
        now_ms: u64,
    ) -> Result<bool, RecordError> {
        let ends = match &mut self.silence {
            None => return Ok(true),
            Some(Silence::Past(past)) => height >= *past,
            Some(Silence::Unknown { since_ms }) if time_ms > now_ms.saturating_add(AHEAD_MS_MAX) => {
                *since_ms = (*since_ms).max(time_ms);
                false
            }
            Some(Silence::Unknown { since_ms }) => {
                let ends = time_ms > since_ms.saturating_add(SURE_MS);
                if ends {
                    self.record = Some(begin(&self.dir, &self.pair, height)?);
                }
                ends
            }
        };
        if ends {
            self.silence = None;
            info!(%height, "signs again from the next block on");
        }
        Ok(ends)
    }
}

fn silence(record: Option<&Record>, next: BlockNumber, now_ms: u64) -> Option<Silence> {
    let Some(record) = record else {
        return Some(Silence::Unknown { since_ms: now_ms });
    };
    let newest = record.newest();
    let may_sign = newest < next || (newest == next && record.knows_newest());
    (!may_sign).then_some(Silence::Past(newest))
}

/// The key's record, made anew where the engine's log stands in for it; `None` where it is not known what was signed.
fn open_record(
    dir: &Path,
    pair: &Keypair,
    next: BlockNumber,
    engine_log: &EngineLog,
) -> Result<Option<Record>, RecordError> {
    // A node that is silent has an empty log, and no record that could be damaged.
    let stands_in = engine_log
        .height
        .is_some_and(|height| height == next || height.next() == next);
    match Record::open(dir, &pair.consensus_key())? {
        Found::Whole(record) => Ok(Some(record)),
        Found::Damaged if stands_in => {
            info!(height = %next, "the engine's log has what was signed");
            Ok(Some(begin(dir, pair, BlockNumber(next.0.saturating_sub(1)))?))
        }
        Found::Damaged | Found::Nothing => Ok(None),
    }
}

fn begin(dir: &Path, pair: &Keypair, up_to: BlockNumber) -> Result<Record, RecordError> {
    let key = pair.consensus_key();
    record::begin_record(dir, &key, up_to)?;
    match Record::open(dir, &key)? {
        Found::Whole(record) => Ok(record),
        Found::Damaged | Found::Nothing => Err(RecordError::Vanished { dir: dir.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::Digest;
    use agon_protocol::message::VoteKind;

    use super::*;

    const START_MS: u64 = 1_000_000;

    fn pair() -> Keypair {
        Keypair::from_mini_secret(&[1; 32])
    }

    fn voice(dir: &Path, next: u64) -> Voice {
        voice_beside(dir, next, None)
    }

    /// A voice beside an engine's log of that height, without entries.
    fn voice_beside(dir: &Path, next: u64, height: Option<u64>) -> Voice {
        let engine_log = EngineLog {
            height: height.map(BlockNumber),
            ..EngineLog::default()
        };
        Voice::open(dir, &pair(), BlockNumber(next), &engine_log, START_MS).unwrap()
    }

    fn prevote(height: u64) -> Vote {
        Vote {
            genesis: Digest::default(),
            height: BlockNumber(height),
            round: 0,
            kind: VoteKind::Prevote,
            block: None,
            voter: pair().consensus_key(),
        }
    }

    /// Blocks of these heights and times are stored; whether the node may sign then.
    #[track_caller]
    fn check(voice: &mut Voice, blocks: &[(u64, u64)], now_ms: u64, speaks: bool) {
        for (height, time_ms) in blocks {
            voice.stored(BlockNumber(*height), *time_ms, now_ms).unwrap();
        }
        assert_eq!(voice.speaks(), speaks);
        let next = blocks.last().map_or(1, |(height, _)| height + 1);
        assert_eq!(voice.sign(prevote(next)).is_ok(), speaks);
    }

    #[test]
    fn a_new_key_signs_at_once() {
        let dir = tempfile::tempdir().unwrap();
        record::begin_record(dir.path(), &pair().consensus_key(), BlockNumber(0)).unwrap();
        check(&mut voice(dir.path(), 1), &[], START_MS, true);
    }

    #[test]
    fn a_key_without_a_record_is_silent_until_a_block_was_surely_made_after_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut lost = voice(dir.path(), 1);
        let later = START_MS + SURE_MS;
        check(&mut lost, &[], START_MS, false);
        check(
            &mut lost,
            &[(1, 1_000), (500, START_MS), (501, later)],
            later,
            false,
        );
        check(&mut lost, &[(502, later + 1)], later, true);
        drop(lost);
        // It knows from then on what it signed, and never signs below.
        let mut again = voice(dir.path(), 504);
        assert!(again.speaks());
        again.sign(prevote(504)).unwrap();
        assert!(again.sign(prevote(502)).is_err());
    }

    #[test]
    fn a_clock_that_is_behind_does_not_make_old_blocks_new() {
        let dir = tempfile::tempdir().unwrap();
        let mut lost = voice(dir.path(), 1);
        let hour = 3_600_000;
        let blocks: Vec<(u64, u64)> = (1..100)
            .map(|height| (height, START_MS + hour + height))
            .collect();
        check(&mut lost, &blocks, START_MS + 1_000, false);
        check(
            &mut lost,
            &[(100, START_MS + hour + 5_000)],
            START_MS + hour,
            false,
        );
        check(
            &mut lost,
            &[(101, START_MS + hour + 100 + SURE_MS)],
            START_MS + hour + SURE_MS,
            true,
        );
    }

    #[test]
    fn a_node_that_lost_blocks_is_silent_where_it_signed_before() {
        let dir = tempfile::tempdir().unwrap();
        record::begin_record(dir.path(), &pair().consensus_key(), BlockNumber(0)).unwrap();
        let mut before = voice(dir.path(), 1);
        before.sign(prevote(40)).unwrap();
        drop(before);
        let mut cut = voice(dir.path(), 20);
        check(&mut cut, &[(20, 1), (39, 1)], START_MS, false);
        check(&mut cut, &[(40, 1)], START_MS, true);
    }

    #[test]
    fn a_node_that_stopped_within_a_height_goes_on_there() {
        let dir = tempfile::tempdir().unwrap();
        record::begin_record(dir.path(), &pair().consensus_key(), BlockNumber(0)).unwrap();
        let said = voice(dir.path(), 1).sign(prevote(40)).unwrap();
        let mut again = voice(dir.path(), 40);
        assert!(again.speaks());
        assert_eq!(again.sign(prevote(40)).unwrap(), said);
    }

    #[test]
    fn the_engines_log_stands_in_for_a_damaged_record_of_its_height_only() {
        for (height, missing, speaks) in [
            (Some(40), false, true),
            (Some(39), false, true),
            (Some(38), false, false),
            (Some(41), false, false),
            (None, false, false),
            (Some(40), true, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            record::begin_record(dir.path(), &pair().consensus_key(), BlockNumber(0)).unwrap();
            let entry = std::fs::read_dir(dir.path()).unwrap().next().unwrap();
            let path = entry.unwrap().path();
            if missing {
                std::fs::remove_file(path).unwrap();
            } else {
                std::fs::write(path, [7; 99]).unwrap();
            }
            let mut voice = voice_beside(dir.path(), 40, height);
            assert_eq!(voice.speaks(), speaks, "{height:?}");
            assert_eq!(voice.sign(prevote(40)).is_ok(), speaks, "{height:?}");
            drop(voice);
            // What was set aside is no record any more.
            assert_eq!(voice_beside(dir.path(), 40, None).speaks(), speaks, "{height:?}");
        }
    }
}
