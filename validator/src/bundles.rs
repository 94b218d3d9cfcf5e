//! The evidence of the newest tempos, one file each, kept for whoever asks for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agon_evidence::bundle::{BYTES_MAX, Bundle};
use agon_protocol::codec::{self, CodecError};
use agon_runtime::files::{WriteError, write_atomic};
use thiserror::Error;

/// Tempos whose evidence is kept, as many as the ledger keeps epochs of.
pub const TEMPOS_KEPT: usize = 64;
const FOLDER: &str = "bundles";

/// Why evidence cannot be kept or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The folder cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file is longer than any evidence.
    #[error("{} has {bytes} bytes, more than {BYTES_MAX}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The file is no evidence.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CodecError,
    },
}

/// The files in a validator's folder.
#[derive(Clone, Debug)]
pub struct Bundles(PathBuf);

impl Bundles {
    /// Opens or creates them in `dir`.
    ///
    /// # Errors
    ///
    /// [`BundleError::Folder`].
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let path = dir.join(FOLDER);
        match fs::create_dir_all(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(BundleError::Folder { path, source }),
        }
    }

    /// Keeps a tempo's evidence, and removes that of tempos more than [`TEMPOS_KEPT`] ago.
    ///
    /// # Errors
    ///
    /// [`BundleError`].
    pub fn keep(&self, bundle: &Bundle) -> Result<(), BundleError> {
        write_atomic(&self.path(bundle.tempo), &codec::encode(bundle), 0o644)?;
        let tempos = self.tempos()?;
        let surplus = tempos.len().saturating_sub(TEMPOS_KEPT);
        for tempo in &tempos[..surplus] {
            let path = self.path(*tempo);
            fs::remove_file(&path).map_err(|source| BundleError::Folder { path, source })?;
        }
        Ok(())
    }

    /// The tempos that are kept, ascending.
    ///
    /// # Errors
    ///
    /// [`BundleError::Folder`].
    pub fn tempos(&self) -> Result<Vec<u64>, BundleError> {
        let failed = |source| BundleError::Folder {
            path: self.0.clone(),
            source,
        };
        let mut tempos = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            tempos.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        tempos.sort_unstable();
        Ok(tempos)
    }

    /// The evidence of `tempo`; `None` when it is not kept.
    ///
    /// # Errors
    ///
    /// [`BundleError`].
    pub fn read(&self, tempo: u64) -> Result<Option<Bundle>, BundleError> {
        let path = self.path(tempo);
        if !path.exists() {
            return Ok(None);
        }
        read(&path).map(Some)
    }

    /// Where the evidence of `tempo` is, if it is kept.
    #[must_use]
    pub fn path(&self, tempo: u64) -> PathBuf {
        self.0.join(tempo.to_string())
    }
}

/// Reads a tempo's evidence from a file.
///
/// # Errors
///
/// [`BundleError`].
pub fn read(path: &Path) -> Result<Bundle, BundleError> {
    let failed = |source| BundleError::Folder {
        path: path.to_owned(),
        source,
    };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > BYTES_MAX as u64 {
        let path = path.to_owned();
        return Err(BundleError::TooLong { path, bytes });
    }
    let bytes = fs::read(path).map_err(failed)?;
    codec::decode(&bytes, BYTES_MAX).map_err(|source| BundleError::Damaged {
        path: path.to_owned(),
        source,
    })
}
