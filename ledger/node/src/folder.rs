//! A node's folder: what is in it, and how it begins.
//!
//! | name | holds |
//! | --- | --- |
//! | `genesis.bin`, `genesis.json` | what the ledger starts from: canonical bytes, and the same for people |
//! | `snapshot.bin` | the state that the blocks begin from, where that is not the genesis: part of the truth |
//! | `blocks.log` | every block: the truth |
//! | `state/` | the state after the newest block: a cache of the log |
//! | `state.aside/` | a state that could not be read, kept for whoever wants to know why; only the newest |
//! | `served/` | snapshots in the making for those who fetch them; may be deleted |
//! | `address` | where the running node listens |
//! | `consensus.key`, `transport.key` | what a node of a committee votes with, and what its peers know it by: secret |
//! | `engine/` | what the consensus engine has to remember after a crash |
//! | `evidence/` | proofs that members said two things in one round, one file each |
//! | `lock` | held by the process that uses the folder |
//!
//! Only `genesis.bin`, `snapshot.bin` (where there is one) and `blocks.log` need to be copied to move a ledger.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agon_protocol::codec::{self, CodecError};
use agon_protocol::message::{Genesis, Preset};
use agon_runtime::files::{self, LockError, WriteError};
use serde::Serialize;
use thiserror::Error;

/// Permission bits of what a node writes for others to read: none of it is secret.
const MODE: u32 = 0o644;

/// Names of what is in a node's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    dir: PathBuf,
}

/// Why a ledger could not be begun, or its beginning not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// There is a ledger already.
    #[error("{} exists already: choose another folder for a new ledger", path.display())]
    Exists {
        /// Its genesis.
        path: PathBuf,
    },
    /// There is no ledger.
    #[error("there is no ledger in {}: begin one with `agon-node init --dir {}`", dir.display(), dir.display())]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// The genesis cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file of an earlier process cannot be removed.
    #[error("remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The genesis is not one.
    #[error("{} is not a genesis: restore it from a copy", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The folder is in use, or cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A genesis as people read it.
#[derive(Debug, Serialize)]
struct Readable<'a> {
    digest: String,
    name: &'a str,
    preset: &'static str,
    time_ms: u64,
    block_emission: String,
    accounts: Vec<ReadableAccount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beacon: Option<ReadableBeacon>,
}

#[derive(Debug, Serialize)]
struct ReadableBeacon {
    public_key: String,
    first_ms: u64,
    period_ms: u64,
}

#[derive(Debug, Serialize)]
struct ReadableAccount {
    coldkey: String,
    amount: String,
}

impl Folder {
    /// The folder at `dir`; nothing is read yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Canonical bytes of the genesis.
    pub fn genesis(&self) -> PathBuf {
        self.dir.join("genesis.bin")
    }

    /// The genesis for people.
    pub fn genesis_json(&self) -> PathBuf {
        self.dir.join("genesis.json")
    }

    /// The block log.
    pub fn blocks(&self) -> PathBuf {
        self.dir.join("blocks.log")
    }

    /// The state that the blocks begin from; there is none where they begin from the genesis.
    pub fn snapshot(&self) -> PathBuf {
        self.dir.join("snapshot.bin")
    }

    /// The state store.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What became of a state store that could not be read.
    pub fn state_aside(&self) -> PathBuf {
        self.dir.join("state.aside")
    }

    /// Where the running node listens, as `host:port`.
    pub fn address(&self) -> PathBuf {
        self.dir.join("address")
    }

    /// The secret of a beacon of the node's own; there is none where pulses come from elsewhere.
    pub fn beacon_secret(&self) -> PathBuf {
        self.dir.join("beacon.key")
    }

    /// What the consensus engine remembers.
    pub fn engine(&self) -> PathBuf {
        self.dir.join("engine")
    }

    /// Proofs of equivocation.
    pub fn evidence(&self) -> PathBuf {
        self.dir.join("evidence")
    }

    /// Begins a ledger: writes its genesis.
    ///
    /// # Errors
    ///
    /// [`FolderError::Exists`] where there is one already, and whatever writing runs into.
    pub fn begin(&self, genesis: &Genesis) -> Result<(), FolderError> {
        let _lock = files::lock_dir(&self.dir)?;
        if self.genesis().exists() {
            return Err(FolderError::Exists { path: self.genesis() });
        }
        self.write_genesis(genesis)
    }

    /// Writes the genesis of a ledger into a folder that the caller has locked.
    ///
    /// # Errors
    ///
    /// [`FolderError::Write`].
    pub(crate) fn write_genesis(&self, genesis: &Genesis) -> Result<(), FolderError> {
        let readable =
            serde_json::to_vec_pretty(&readable(genesis)).expect("strings and numbers have a JSON form");
        files::write_atomic(&self.genesis_json(), &readable, MODE)?;
        // Last, because it is what makes the folder a ledger.
        files::write_atomic(&self.genesis(), &codec::encode(genesis), MODE)?;
        Ok(())
    }

    /// Reads the genesis.
    ///
    /// # Errors
    ///
    /// [`FolderError::Missing`] where no ledger was begun, [`FolderError::Read`], [`FolderError::Malformed`].
    pub fn read_genesis(&self) -> Result<Genesis, FolderError> {
        match read_genesis_file(&self.genesis()) {
            Err(FolderError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(FolderError::Missing {
                    dir: self.dir.clone(),
                })
            }
            read => read,
        }
    }

    /// Takes back where an earlier process listened.
    ///
    /// # Errors
    ///
    /// [`FolderError::Remove`].
    pub(crate) fn remove_address(&self) -> Result<(), FolderError> {
        let path = self.address();
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FolderError::Remove { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Tells where the node listens.
    ///
    /// # Errors
    ///
    /// [`FolderError::Write`].
    pub(crate) fn write_address(&self, address: std::net::SocketAddr) -> Result<(), FolderError> {
        Ok(files::write_atomic(
            &self.address(),
            format!("{address}\n").as_bytes(),
            MODE,
        )?)
    }
}

/// Reads the genesis in a file.
///
/// # Errors
///
/// [`FolderError::Read`], [`FolderError::Malformed`].
pub fn read_genesis_file(path: &Path) -> Result<Genesis, FolderError> {
    let bytes = read_bounded(path, Genesis::BYTES_MAX).map_err(|source| FolderError::Read {
        path: path.to_owned(),
        source,
    })?;
    codec::decode(&bytes, Genesis::BYTES_MAX).map_err(|source| FolderError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// Reads a file, but not much more than `bytes_max` of it.
fn read_bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn readable(genesis: &Genesis) -> Readable<'_> {
    let accounts = genesis.accounts.iter().map(|account| ReadableAccount {
        coldkey: account.coldkey.to_string(),
        amount: account.amount.to_string(),
    });
    Readable {
        digest: genesis.digest().to_string(),
        name: &genesis.name,
        preset: match genesis.preset {
            Preset::Mainnet => "mainnet",
            Preset::Localnet => "localnet",
        },
        time_ms: genesis.time_ms,
        block_emission: genesis.block_emission.to_string(),
        accounts: accounts.collect(),
        beacon: genesis.beacon.map(|beacon| ReadableBeacon {
            public_key: beacon.public_key.to_string(),
            first_ms: beacon.first_ms,
            period_ms: beacon.period_ms,
        }),
    }
}
