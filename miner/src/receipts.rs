//! Keeps the receipts of the newest tempos, across restarts too, so that a failure that a validator claims can be
//! contested.
//!
//! Each tempo has a log of its own, which goes as a whole when nothing of that tempo can be contested any more. Appends
//! survive the end of the process; after a power failure the last of them may be missing. A damaged log is dropped: what
//! was in it is not contested, and nothing else depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agon_protocol::codec;
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::message::{Message, Receipt, Signed};
use agon_runtime::framed_log::{FILE_HEADER_BYTES, FramedLog, LogError, LogOptions};
use thiserror::Error;
use tracing::{info, warn};

/// Tempos whose receipts are kept: the running one and those before it whose weights may still wait for their epoch.
const TEMPOS_KEPT: u64 = 4;
/// Receipts of one tempo: 64 validators that each ask 256 questions, and 16 MiB at most.
const RECEIPTS_PER_TEMPO_MAX: usize = 16_384;
/// Bytes of an entry: the sender, and the receipt with its signature.
const ENTRY_BYTES: u32 = 32 + 4 + 64 + Receipt::BYTES_MAX as u32;
const OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: ENTRY_BYTES,
};

/// Why the receipts cannot be kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiptsError {
    /// The folder cannot be made or read.
    #[error("receipts in {}: {source}; choose another folder with --state-dir", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A log cannot be opened, read or written.
    #[error("receipts: {0}")]
    Log(#[from] LogError),
}

/// The receipts of the newest tempos.
#[derive(Debug, Default)]
pub struct Receipts {
    tempos: BTreeMap<u64, Kept>,
    dir: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the digest of the challenge.
    receipts: BTreeMap<Digest, Signed<Receipt>>,
    senders: BTreeSet<Hotkey>,
    log: Option<FramedLog>,
}

type Entry = (Hotkey, Signed<Receipt>);

impl Receipts {
    /// Opens the receipts in `dir`, with all that were kept.
    ///
    /// # Errors
    ///
    /// [`ReceiptsError`].
    pub fn open(dir: &Path) -> Result<Self, ReceiptsError> {
        let folder = |source| ReceiptsError::Folder {
            path: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(folder)?;
        let mut receipts = Self {
            tempos: BTreeMap::new(),
            dir: Some(dir.to_owned()),
        };
        for file in std::fs::read_dir(dir).map_err(folder)? {
            let path = file.map_err(folder)?.path();
            let Some(tempo) = tempo_of(&path) else { continue };
            match Kept::open(&path) {
                Ok(kept) => {
                    receipts.tempos.insert(tempo, kept);
                }
                Err(LogError::Damaged { .. }) => {
                    warn!(
                        tempo,
                        "receipts are damaged, and what is claimed of that tempo is not contested"
                    );
                    std::fs::remove_file(&path).map_err(folder)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let count: usize = receipts.tempos.values().map(|kept| kept.receipts.len()).sum();
        info!(receipts = count, tempos = receipts.tempos.len(), "receipts");
        Ok(receipts)
    }

    /// Keeps a receipt for a challenge of a tempo. One that cannot be written down is kept until the process ends.
    pub fn keep(&mut self, tempo: u64, sender: Hotkey, receipt: &Signed<Receipt>) {
        self.forget_before(tempo.saturating_sub(TEMPOS_KEPT - 1));
        if self
            .tempos
            .last_key_value()
            .is_some_and(|(newest, _)| tempo.saturating_add(TEMPOS_KEPT) <= *newest)
        {
            return;
        }
        let path = self.dir.as_ref().map(|dir| dir.join(name_of(tempo)));
        let kept = self
            .tempos
            .entry(tempo)
            .or_insert_with(|| Kept::begin(path.as_deref()));
        if kept.receipts.len() >= RECEIPTS_PER_TEMPO_MAX {
            return;
        }
        if let Some(log) = &mut kept.log
            && let Err(error) = log.append(&codec::encode(&(sender, receipt.clone())))
        {
            warn!(%error, tempo, "a receipt is not written down");
        }
        kept.add((sender, receipt.clone()));
    }

    /// Whether a sender was answered in a tempo.
    #[must_use]
    pub fn have_of(&self, tempo: u64, sender: &Hotkey) -> bool {
        self.tempos
            .get(&tempo)
            .is_some_and(|kept| kept.senders.contains(sender))
    }

    /// The receipt for a challenge of a tempo.
    #[must_use]
    pub fn of(&self, tempo: u64, challenge: &Digest) -> Option<&Signed<Receipt>> {
        self.tempos.get(&tempo)?.receipts.get(challenge)
    }

    fn forget_before(&mut self, oldest: u64) {
        let kept = self.tempos.split_off(&oldest);
        let old = std::mem::replace(&mut self.tempos, kept);
        let Some(dir) = &self.dir else { return };
        for tempo in old.into_keys() {
            if let Err(error) = std::fs::remove_file(dir.join(name_of(tempo))) {
                warn!(%error, tempo, "old receipts are not removed");
            }
        }
    }
}

impl Kept {
    fn open(path: &Path) -> Result<Self, LogError> {
        let (log, _) = FramedLog::open(path, OPTIONS)?;
        let mut kept = Self::default();
        for frame in log.frames_from(FILE_HEADER_BYTES)? {
            match codec::decode::<Entry>(&frame?.payload, ENTRY_BYTES as usize) {
                Ok(entry) => kept.add(entry),
                Err(error) => warn!(%error, "a receipt that was kept is not readable"),
            }
        }
        kept.log = Some(log);
        Ok(kept)
    }

    /// A tempo's first receipt; without a log where there is no folder or it does not take one.
    fn begin(path: Option<&Path>) -> Self {
        let Some(path) = path else { return Self::default() };
        Self::open(path).unwrap_or_else(|error| {
            warn!(%error, "receipts of a tempo are not written down");
            Self::default()
        })
    }

    fn add(&mut self, (sender, receipt): Entry) {
        self.senders.insert(sender);
        self.receipts.insert(receipt.message().challenge, receipt);
    }
}

fn name_of(tempo: u64) -> String {
    format!("receipts-{tempo}.log")
}

fn tempo_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("receipts-")?.strip_suffix(".log")?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use agon_protocol::message::{Environment, FinishReason, Trace};
    use agon_protocol::sign::Keypair;

    use super::*;

    const SENDER: Hotkey = Hotkey([7; 32]);

    /// A receipt of miner 2 for a challenge.
    pub(crate) fn receipt(challenge: Digest) -> Signed<Receipt> {
        let pair = Keypair::from_mini_secret(&[2; 32]);
        let receipt = Receipt {
            challenge,
            answer: Digest([1; 32]),
            miner: pair.hotkey(),
            prompt_tokens: 1,
            answer_tokens: 1,
            trace: Trace::of(&[1], &[[0; 16]]),
            received_ms: 1,
            first_token_ms: 1,
            finished_ms: 1,
            finish: FinishReason::EndOfText,
            model: Digest([3; 32]),
            environment: Environment {
                dtype: "f32".into(),
                device: "cpu".into(),
                libtorch: "none".into(),
            },
        };
        Signed::sign(receipt, &pair)
    }

    fn files(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn receipts_are_there_after_a_restart_and_go_with_their_tempo() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (Digest([1; 32]), Digest([2; 32]));
        let mut receipts = Receipts::open(dir.path()).unwrap();
        receipts.keep(5, SENDER, &receipt(first));
        receipts.keep(6, SENDER, &receipt(second));
        drop(receipts);
        let mut receipts = Receipts::open(dir.path()).unwrap();
        assert_eq!(receipts.of(5, &first), Some(&receipt(first)));
        assert_eq!(receipts.of(5, &second), None);
        assert!(receipts.have_of(6, &SENDER) && !receipts.have_of(6, &Hotkey([8; 32])));
        receipts.keep(9, SENDER, &receipt(first));
        assert_eq!((receipts.of(5, &first), files(dir.path())), (None, 2));
        // A challenge of long ago changes nothing.
        receipts.keep(5, SENDER, &receipt(first));
        assert_eq!((receipts.of(5, &first), files(dir.path())), (None, 2));
    }

    #[test]
    fn a_damaged_log_is_dropped_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut receipts = Receipts::open(dir.path()).unwrap();
        for number in 0..3 {
            receipts.keep(5, SENDER, &receipt(Digest([number; 32])));
            receipts.keep(6, SENDER, &receipt(Digest([number; 32])));
        }
        drop(receipts);
        let path = dir.path().join(name_of(5));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let receipts = Receipts::open(dir.path()).unwrap();
        assert!(!receipts.have_of(5, &SENDER) && receipts.have_of(6, &SENDER));
        assert_eq!(files(dir.path()), 1);
    }
}
