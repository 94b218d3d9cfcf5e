//! Remembers which nonces were used, so that no challenge is answered twice, across restarts too.
//!
//! A nonce is kept until its challenge would be refused as stale anyway, which bounds the store by what permitted
//! validators can send in that time. Each nonce is appended to a log before its challenge is worked on; the log
//! is rewritten with what is still alive when it has grown. Appends survive the end of the process; after a power
//! failure the last of them may be missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agon_protocol::codec;
use agon_protocol::id::Hotkey;
use agon_runtime::framed_log::{FramedLog, LogError, LogOptions};
use thiserror::Error;
use tracing::{error, info, warn};

use crate::admission::{AGE_MS_MAX, AHEAD_MS_MAX, NonceUse, Nonces};

/// Living nonces of one sender: more than it can use in the time they live, and 3 MiB at most.
const NONCES_PER_SENDER_MAX: usize = 65_536;
/// The log is rewritten when it has this many entries, and twice what was alive when it was written last.
const ENTRIES_BEFORE_REWRITE: usize = 65_536;
/// Bytes of an entry: version, key, nonce, time.
const ENTRY_BYTES: u32 = 1 + 32 + 8 + 8;
const OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: ENTRY_BYTES,
};

/// Why the replay store cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The folder cannot be made.
    #[error("create {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The log cannot be opened, read or written.
    #[error("replay store: {0}")]
    Log(#[from] LogError),
    /// The rewritten log cannot take the old one's place.
    #[error("replace {}: {source}", path.display())]
    Replace {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The store of used nonces.
#[derive(Debug)]
pub struct Replay {
    /// Living nonces and when their challenges were made.
    living: BTreeMap<Hotkey, BTreeMap<u64, u64>>,
    /// What was used until then is not known, so challenges made until then count as used.
    blind_until_ms: u64,
    log: Option<Log>,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: FramedLog,
    entries: usize,
    /// At so many entries it is rewritten.
    entries_max: usize,
}

type Entry = (Hotkey, u64, u64);

/// Stands in the log for nobody: its time is the end of what is not known.
const BLIND: Hotkey = Hotkey([0; 32]);

impl Replay {
    /// A store that forgets when the process ends; for tests and simulations.
    #[must_use]
    pub const fn in_memory() -> Self {
        Self {
            living: BTreeMap::new(),
            blind_until_ms: 0,
            log: None,
        }
    }

    /// Opens the store in `dir`, with every nonce that is still alive at `now_ms`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`].
    pub fn open(dir: &Path, now_ms: u64) -> Result<Self, ReplayError> {
        std::fs::create_dir_all(dir).map_err(|source| ReplayError::Folder {
            path: dir.to_owned(),
            source,
        })?;
        let path = dir.join("nonces.log");
        let mut replay = Self::in_memory();
        let (file, recovery) = match FramedLog::open(&path, OPTIONS) {
            Err(LogError::Damaged { .. }) => {
                replay.blind_until_ms = now_ms.saturating_add(AHEAD_MS_MAX);
                open_anew(&path)?
            }
            opened => opened?,
        };
        for frame in file.frames_from(agon_runtime::framed_log::FILE_HEADER_BYTES)? {
            match codec::decode::<Entry>(&frame?.payload, ENTRY_BYTES as usize) {
                Ok((BLIND, _, until_ms)) => replay.blind_until_ms = replay.blind_until_ms.max(until_ms),
                Ok((sender, nonce, issued_ms)) if is_alive(issued_ms, now_ms) => {
                    replay.living.entry(sender).or_default().insert(nonce, issued_ms);
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "an entry of the replay store is not readable"),
            }
        }
        info!(entries = recovery.frames, living = replay.len(), "replay store");
        drop(file);
        replay.log = Some(rewrite(&path, &replay.living, replay.blind_until_ms)?);
        Ok(replay)
    }

    /// How many nonces are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.living.values().map(BTreeMap::len).sum()
    }

    /// Whether no nonce is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn forget_dead(&mut self, sender: &Hotkey, now_ms: u64) {
        if let Some(nonces) = self.living.get_mut(sender) {
            nonces.retain(|_, issued_ms| is_alive(*issued_ms, now_ms));
        }
    }

    /// Appends to the log; without that a nonce does not count as noted.
    fn write(&mut self, entry: &Entry, now_ms: u64) -> Result<(), ReplayError> {
        let Some(log) = &mut self.log else { return Ok(()) };
        if log.entries >= log.entries_max {
            self.living.retain(|_, nonces| {
                nonces.retain(|_, issued_ms| is_alive(*issued_ms, now_ms));
                !nonces.is_empty()
            });
            *log = rewrite(&log.path, &self.living, self.blind_until_ms)?;
        }
        log.file.append(&codec::encode(entry))?;
        log.entries += 1;
        Ok(())
    }
}

impl Nonces for Replay {
    fn insert(&mut self, sender: Hotkey, nonce: u64, issued_ms: u64, now_ms: u64) -> NonceUse {
        let nonces = self.living.entry(sender).or_default();
        if issued_ms < self.blind_until_ms || nonces.contains_key(&nonce) {
            return NonceUse::Used;
        }
        if nonces.len() >= NONCES_PER_SENDER_MAX {
            self.forget_dead(&sender, now_ms);
        }
        if self
            .living
            .get(&sender)
            .is_some_and(|nonces| nonces.len() >= NONCES_PER_SENDER_MAX)
        {
            return NonceUse::TooMany;
        }
        if let Err(error) = self.write(&(sender, nonce, issued_ms), now_ms) {
            error!(%error, "a nonce could not be written down, so its challenge is refused");
            return NonceUse::NotNoted;
        }
        self.living.entry(sender).or_default().insert(nonce, issued_ms);
        NonceUse::New
    }
}

/// Puts a damaged log aside and begins a new one.
fn open_anew(path: &Path) -> Result<(FramedLog, agon_runtime::framed_log::Recovery), ReplayError> {
    let aside = path.with_extension("log.damaged");
    warn!(aside = %aside.display(), "the replay store is damaged; challenges made before now count as used");
    std::fs::rename(path, &aside).map_err(|source| ReplayError::Replace {
        path: path.to_owned(),
        source,
    })?;
    Ok(FramedLog::open(path, OPTIONS)?)
}

const fn is_alive(issued_ms: u64, now_ms: u64) -> bool {
    issued_ms.saturating_add(AGE_MS_MAX) >= now_ms
}

/// Writes the living nonces to a new log and puts it in the old one's place.
fn rewrite(
    path: &Path,
    living: &BTreeMap<Hotkey, BTreeMap<u64, u64>>,
    blind_until_ms: u64,
) -> Result<Log, ReplayError> {
    let fresh = path.with_extension("log.new");
    let replaced = |source| ReplayError::Replace {
        path: path.to_owned(),
        source,
    };
    if fresh.exists() {
        std::fs::remove_file(&fresh).map_err(replaced)?;
    }
    let (mut file, _) = FramedLog::open(&fresh, OPTIONS)?;
    file.append(&codec::encode(&(BLIND, 0u64, blind_until_ms)))?;
    let mut entries = 1;
    for (sender, nonces) in living {
        for (nonce, issued_ms) in nonces {
            file.append(&codec::encode(&(*sender, *nonce, *issued_ms)))?;
            entries += 1;
        }
    }
    file.sync()?;
    std::fs::rename(&fresh, path).map_err(replaced)?;
    agon_runtime::files::sync_dir_of(path).map_err(replaced)?;
    let entries_max = ENTRIES_BEFORE_REWRITE.max(entries * 2);
    Ok(Log {
        path: path.to_owned(),
        file,
        entries,
        entries_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_000_000;
    const SENDER: Hotkey = Hotkey([7; 32]);

    fn note(replay: &mut Replay, nonce: u64, now_ms: u64) -> NonceUse {
        replay.insert(SENDER, nonce, now_ms, now_ms)
    }

    #[test]
    fn a_nonce_is_new_once_for_each_sender() {
        let mut replay = Replay::in_memory();
        assert_eq!(note(&mut replay, 1, NOW_MS), NonceUse::New);
        assert_eq!(note(&mut replay, 1, NOW_MS), NonceUse::Used);
        assert_eq!(note(&mut replay, 2, NOW_MS), NonceUse::New);
        assert_eq!(replay.insert(Hotkey([8; 32]), 1, NOW_MS, NOW_MS), NonceUse::New);
    }

    #[test]
    fn a_nonce_stays_used_across_a_restart_for_as_long_as_its_challenge_is_fresh() {
        let dir = tempfile::tempdir().unwrap();
        let mut replay = Replay::open(dir.path(), NOW_MS).unwrap();
        assert_eq!(note(&mut replay, 1, NOW_MS), NonceUse::New);
        drop(replay);
        let mut replay = Replay::open(dir.path(), NOW_MS + AGE_MS_MAX).unwrap();
        assert_eq!(note(&mut replay, 1, NOW_MS), NonceUse::Used);
        drop(replay);
        let replay = Replay::open(dir.path(), NOW_MS + AGE_MS_MAX + 1).unwrap();
        assert!(replay.is_empty(), "its challenge would be refused as stale");
    }

    #[test]
    fn after_damage_whatever_was_made_before_counts_as_used() {
        let dir = tempfile::tempdir().unwrap();
        let mut replay = Replay::open(dir.path(), NOW_MS).unwrap();
        for nonce in 0..4 {
            assert_eq!(note(&mut replay, nonce, NOW_MS), NonceUse::New);
        }
        drop(replay);
        let path = dir.path().join("nonces.log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let mut replay = Replay::open(dir.path(), NOW_MS + 5).unwrap();
        assert_eq!(note(&mut replay, 9, NOW_MS), NonceUse::Used);
        drop(replay);
        let mut replay = Replay::open(dir.path(), NOW_MS + 6).unwrap();
        assert_eq!(
            note(&mut replay, 9, NOW_MS + 4),
            NonceUse::Used,
            "a second restart remembers"
        );
        assert_eq!(note(&mut replay, 9, NOW_MS + 5 + AHEAD_MS_MAX), NonceUse::New);
    }

    #[test]
    fn a_sender_has_a_bounded_number_of_living_nonces() {
        let mut replay = Replay::in_memory();
        for nonce in 0..NONCES_PER_SENDER_MAX as u64 {
            assert_eq!(note(&mut replay, nonce, NOW_MS), NonceUse::New);
        }
        assert_eq!(note(&mut replay, u64::MAX, NOW_MS), NonceUse::TooMany);
        assert_eq!(
            note(&mut replay, u64::MAX, NOW_MS + AGE_MS_MAX + 1),
            NonceUse::New
        );
        assert_eq!(replay.len(), 1);
    }
}
