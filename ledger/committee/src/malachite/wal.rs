//! The engine's record of votes, before the engine reads it.
//!
//! The engine waits for an operator when an entry of its record is damaged, since it might contradict what the entry
//! said. Here that cannot happen: [`crate::record`] holds the key to what it signed. So a record that cannot be read
//! is set aside, and the engine begins a new one. And where that record is damaged, this one stands in.

use std::fs;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use agon_protocol::id::BlockNumber;
use malachitebft_app_channel::app::events::RxEvent;
use malachitebft_app_channel::app::wal::Log;
use malachitebft_engine::util::events::Event;
use tokio::sync::broadcast::error::TryRecvError;
use tracing::warn;

use super::types::Context;
use crate::CommitteeError;
use crate::voice::EngineLog;

/// Its name in the engine's folder.
pub(super) const VOTES: &str = "votes.wal";
/// Bytes of the record before the first vote.
const HEADER_BYTES: u64 = 12;
/// Bytes that are looked at; it begins anew at each height, and votes are small.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Removes a record that a crash left without its header, and sets one aside that cannot be read. Gives what is left.
pub(super) fn mend(path: &Path) -> Result<EngineLog, CommitteeError> {
    let bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(EngineLog::default()),
        Err(error) => return Err(failed(path)(error)),
    };
    if bytes < HEADER_BYTES {
        warn!(path = %path.display(), "removed a record of votes that was not begun");
        fs::remove_file(path).map_err(failed(path))?;
        return Ok(EngineLog::default());
    }
    match check(path) {
        Ok(height) => Ok(EngineLog {
            bytes: read(path).map_err(failed(path))?,
            height: Some(height),
        }),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
            set_aside(path, &error.to_string())?;
            Ok(EngineLog::default())
        }
        Err(error) => Err(failed(path)(error)),
    }
}

/// Sets the record aside if it is why the engine ended, so that the next start does not end the same way.
pub(super) fn set_aside_if_blamed(path: &Path, events: &mut RxEvent<Context>) -> Result<(), CommitteeError> {
    loop {
        match events.try_recv() {
            Ok(Event::WalCorrupted(error)) => return set_aside(path, &error.to_string()),
            Ok(Event::WalReplayError(error)) => return set_aside(path, &error.to_string()),
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Reads every entry; gives the height that they are of.
fn check(path: &Path) -> Result<BlockNumber, Error> {
    let mut log = Log::open(path)?;
    log.iter()?.try_for_each(|entry| entry.map(drop))?;
    Ok(BlockNumber(log.sequence()))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn set_aside(path: &Path, reason: &str) -> Result<(), CommitteeError> {
    let aside = path.with_extension("damaged");
    warn!(aside = %aside.display(), reason, "set a record of votes aside that is of no use");
    fs::rename(path, aside).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(Error) -> CommitteeError + '_ {
    |source| CommitteeError::Dir {
        dir: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_makes_room_for_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(VOTES);
        mend(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, [0; 5]).unwrap();
        mend(&path).unwrap();
        assert!(!path.exists());

        let mut log = Log::open(&path).unwrap();
        for entry in [[1; 80], [2; 80]] {
            log.append(entry).unwrap();
        }
        log.flush().unwrap();
        drop(log);
        let whole = fs::read(&path).unwrap();
        let found = mend(&path).unwrap();
        assert_eq!((found.bytes, found.height), (whole.clone(), Some(BlockNumber(0))));

        for at in [0, 40] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            fs::write(&path, bytes).unwrap();
            assert_eq!(mend(&path).unwrap().height, None);
            assert!(!path.exists(), "byte {at}");
        }
    }
}
