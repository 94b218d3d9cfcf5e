//! The two keys of a node: what it votes with, and what its peers know it by.
//!
//! Each is a file of 64 hex digits, the seed, that only its owner may read. Neither is derived from anything, and
//! neither holds money. A consensus key runs on one machine only: with two, its member says two things in one round
//! and loses its bond. A consensus key is made together with the record of what it signed, in `engine/`; a node that
//! finds the one without the other is silent until it can know that it contradicts nothing.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agon_ledger_committee::{RecordError, begin_record};
use agon_protocol::id::BlockNumber;
use agon_protocol::sign::Keypair;
use agon_protocol::timelock::BeaconSecret;
use agon_runtime::files::{self, WriteError};
use rand_core::{OsRng, RngCore};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::folder::Folder;

/// Permission bits of a key file.
const MODE: u32 = 0o600;
/// Permission bits that nobody but the owner may have.
const OTHERS: u32 = 0o077;
/// Bytes of a key file: the digits and an end of line.
const FILE_BYTES: usize = 65;

/// Why a node has no key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} can be read by others: `chmod 600` it, and make a new key if somebody may have", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// It is no key.
    #[error("{} holds no key: 64 hex digits and an end of line are expected", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The record of what a new key signs could not be begun.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The keys of one node.
#[derive(Clone)]
pub struct NodeKeys {
    /// What it votes with.
    pub consensus: Keypair,
    /// Ed25519 seed of its identity towards its peers.
    pub transport: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKeys({})", self.consensus.consensus_key())
    }
}

impl NodeKeys {
    /// Reads the keys in `dir`, and makes those that are missing.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when one is there and cannot be used, or cannot be written.
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        let (consensus, transport) = (dir.join("consensus.key"), dir.join("transport.key"));
        Ok(Self {
            consensus: if consensus.exists() {
                Keypair::from_mini_secret(&*read(&consensus)?)
            } else {
                make_consensus(dir, &consensus)?
            },
            transport: if transport.exists() {
                read(&transport)?
            } else {
                let seed = new_seed();
                write(&transport, &seed)?;
                seed
            },
        })
    }

    /// Declares that the consensus key in `dir` signed nothing above `height`, whatever is known of it.
    ///
    /// # Errors
    ///
    /// [`KeyError::Record`].
    pub fn signed_up_to(&self, dir: &Path, height: BlockNumber) -> Result<(), KeyError> {
        let engine = Folder::new(dir).engine();
        Ok(begin_record(&engine, &self.consensus.consensus_key(), height)?)
    }
}

/// The secret of a beacon of the node's own, if the folder holds one.
///
/// # Errors
///
/// [`KeyError`] when it is there and cannot be used.
pub fn beacon_secret(folder: &Folder) -> Result<Option<BeaconSecret>, KeyError> {
    let path = folder.beacon_secret();
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(BeaconSecret::from_seed(&*read(&path)?)))
}

/// Makes the secret of a beacon of the node's own, unless the folder holds one.
///
/// # Errors
///
/// [`KeyError`] when one is there and cannot be used, or it cannot be written.
pub fn make_beacon_secret(folder: &Folder) -> Result<BeaconSecret, KeyError> {
    if let Some(secret) = beacon_secret(folder)? {
        return Ok(secret);
    }
    let seed = new_seed();
    write(&folder.beacon_secret(), &seed)?;
    Ok(BeaconSecret::from_seed(&seed))
}

/// A new key that has signed nothing. The record comes first: a key without one would have to be silent.
fn make_consensus(dir: &Path, path: &Path) -> Result<Keypair, KeyError> {
    let seed = new_seed();
    let pair = Keypair::from_mini_secret(&seed);
    begin_record(&Folder::new(dir).engine(), &pair.consensus_key(), BlockNumber(0))?;
    write(path, &seed)?;
    Ok(pair)
}

fn new_seed() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *seed);
    seed
}

fn write(path: &Path, seed: &[u8; 32]) -> Result<(), WriteError> {
    let text = Zeroizing::new(format!("{}\n", hex::encode(seed)));
    files::write_atomic(path, text.as_bytes(), MODE)
}

fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let path = path.to_owned();
    let failed = |source| KeyError::Read {
        path: path.clone(),
        source,
    };
    let metadata = fs::metadata(&path).map_err(failed)?;
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(KeyError::Open { path });
    }
    if metadata.len() > FILE_BYTES as u64 {
        return Err(KeyError::Malformed { path });
    }
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
    let mut seed = Zeroizing::new([0; 32]);
    match hex::decode_to_slice(text.trim_end(), &mut *seed) {
        Ok(()) => Ok(seed),
        Err(_) => Err(KeyError::Malformed { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_of_its_own_is_made_when_asked_for_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        assert!(beacon_secret(&folder).unwrap().is_none());
        let made = make_beacon_secret(&folder).unwrap().public_key();
        assert_eq!(make_beacon_secret(&folder).unwrap().public_key(), made);
        assert_eq!(beacon_secret(&folder).unwrap().unwrap().public_key(), made);
        fs::write(folder.beacon_secret(), "12").unwrap();
        assert!(matches!(beacon_secret(&folder), Err(KeyError::Malformed { .. })));
    }

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let keys = NodeKeys::open(dir.path()).unwrap();
        let again = NodeKeys::open(dir.path()).unwrap();
        assert_eq!(keys.consensus.public(), again.consensus.public());
        assert_eq!(*keys.transport, *again.transport);
        let path = dir.path().join("consensus.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(NodeKeys::open(dir.path()), Err(KeyError::Open { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "12", &"0".repeat(63), &"0".repeat(66), &"g".repeat(64)] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(NodeKeys::open(dir.path()), Err(KeyError::Malformed { .. })),
                "{text:?}"
            );
        }
    }
}
