//! Files that are whole or absent, and folders that belong to one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The file in a folder that [`lock_dir`] locks. It stays behind, empty, when the lock is given back.
pub const LOCK_FILE: &str = "lock";

/// Why a file could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
#[error("write {}", path.display())]
pub struct WriteError {
    /// The file that was to be written; what it held before is untouched.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Replaces the file at `path` by `bytes`: whoever reads it, whenever the machine stops, finds the old content or
/// the new one.
///
/// `mode` holds the permission bits of the new file (`0o600` for secrets), from its first byte on. The bytes go to
/// a temporary file beside it, which is synced and renamed; then the folder is synced.
///
/// # Errors
///
/// [`WriteError`] with the path; the temporary file is removed.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    let temporary = temporary_beside(path);
    write_new(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .and_then(|()| sync_dir_of(path))
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}

/// Makes the entry of `path` in its folder durable, as is needed after a file is created, renamed or removed.
///
/// # Errors
///
/// What the operating system says when the folder cannot be opened or synced.
pub fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// A name beside `path` that no other writer of this or another process uses.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.tmp", std::process::id()))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Why a folder could not be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds the folder.
    #[error("{} is in use by another process: stop that process, or name another folder", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder or its lock file could not be created or locked.
    #[error("take {}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Keeps a folder for this process until it is dropped, or until the process ends in whatever way.
#[derive(Debug)]
#[must_use = "the folder is given back when this is dropped"]
pub struct DirLock {
    _file: File,
}

/// Takes the folder `dir` for this process, creating it (mode 0700) where it is missing.
///
/// # Errors
///
/// [`LockError::InUse`] when another [`DirLock`] on it lives, in this process or another; [`LockError::Io`] when it
/// cannot be created or locked.
pub fn lock_dir(dir: &Path) -> Result<DirLock, LockError> {
    let io_error = |source| LockError::Io {
        dir: dir.to_owned(),
        source,
    };
    let file = create_lock_file(dir).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(DirLock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(LockError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

fn create_lock_file(dir: &Path) -> io::Result<File> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK_FILE))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_the_mode_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        for (bytes, mode) in [(&b"first and longer"[..], 0o600), (b"second", 0o644)] {
            write_atomic(&path, bytes, mode).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing temporary stays"
        );
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let occupied = dir.path().join("folder");
        fs::create_dir(&occupied).unwrap();
        let error = write_atomic(&occupied, b"x", 0o600).unwrap_err();
        assert_eq!(error.to_string(), format!("write {}", occupied.display()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_belongs_to_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let held = lock_dir(&folder).unwrap();
        let error = lock_dir(&folder).unwrap_err();
        assert!(
            matches!(&error, LockError::InUse { dir } if *dir == folder),
            "{error}"
        );
        drop(held);
        let _again = lock_dir(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = lock_dir(&file.join("sub")).unwrap_err();
        assert!(error.to_string().contains("file/sub"), "{error}");
    }
}
