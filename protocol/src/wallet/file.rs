//! Files as the wallet needs them: private, whole or absent, bounded, and never through a link.
//!
//! A new file is written beside its place, synced, and moved there in one step, so that after a crash
//! there is the old file, the new one, or none, but no half of one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use super::error::WalletError;

/// The largest key file that is read; the largest that is written has about 2 KiB.
pub(super) const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The most entries of one folder that are listed: far more keys than anyone names by hand.
pub(super) const ENTRIES_MAX: usize = 4096;

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const GROUP_AND_WORLD: u32 = 0o077;
const GROUP_AND_WORLD_WRITE: u32 = 0o022;

/// What is done where a key exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The existing key stays, and the call fails.
    Refuse,
    /// The existing key is replaced; without its words it is gone for good.
    Replace,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Its owner alone; anything else is refused.
    Owner,
    /// Anyone may read it, but only its owner may write it.
    Anyone,
}

/// Reads a file whole.
pub(super) fn read(path: &Path, audience: Audience) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    check_parent(path)?;
    let file = open(path, libc::O_NOFOLLOW)?;
    let metadata = file.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(WalletError::NotAFile {
            path: path.to_owned(),
        });
    }
    let forbidden = match audience {
        Audience::Owner => GROUP_AND_WORLD,
        Audience::Anyone => GROUP_AND_WORLD_WRITE,
    };
    check_mode(path, metadata.permissions().mode(), forbidden, FILE_MODE)?;
    read_bounded(path, file)
}

/// Reads a file of another wallet whole, wherever it lies and whoever may read it; says whether others may.
pub(super) fn read_foreign(path: &Path) -> Result<(Zeroizing<Vec<u8>>, bool), WalletError> {
    let file = open(path, 0)?;
    let metadata = file.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(WalletError::NotAFile {
            path: path.to_owned(),
        });
    }
    let others_may_read = metadata.permissions().mode() & GROUP_AND_WORLD != 0;
    Ok((read_bounded(path, file)?, others_may_read))
}

fn read_bounded(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, WalletError> {
    // Room for all of it at once: a growing buffer would leave copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 64));
    let read = file
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(WalletError::TooLarge {
            path: path.to_owned(),
            bytes_max: FILE_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Writes a file whole, readable by its owner only, and makes it last.
pub(super) fn write(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), WalletError> {
    place(check_parent(path)?, path, bytes, existing)
}

/// Writes a file as [`write`] does, into a folder that need not be the wallet's.
pub(super) fn write_foreign(path: &Path, bytes: &[u8], existing: Existing) -> Result<(), WalletError> {
    if path.file_name().is_none() {
        return Err(WalletError::NotAFile {
            path: path.to_owned(),
        });
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    place(folder.unwrap_or(Path::new(".")), path, bytes, existing)
}

fn place(folder: &Path, path: &Path, bytes: &[u8], existing: Existing) -> Result<(), WalletError> {
    let temporary = Temporary::create(path)?;
    temporary.fill(bytes)?;
    match existing {
        Existing::Replace => fs::rename(&temporary.path, path).map_err(io_error("replace", path))?,
        // A link, unlike a rename, fails where something is there already, in the same instant.
        Existing::Refuse => fs::hard_link(&temporary.path, path).map_err(|problem| match problem.kind() {
            io::ErrorKind::AlreadyExists => WalletError::Exists {
                path: path.to_owned(),
            },
            _ => io_error("create", path)(problem),
        })?,
    }
    drop(temporary);
    sync_folder(folder)
}

/// Removes a file, if it is there, and makes that last.
pub(super) fn remove(path: &Path) -> Result<(), WalletError> {
    let folder = check_parent(path)?;
    match fs::remove_file(path) {
        Ok(()) => sync_folder(folder),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(problem) => Err(io_error("remove", path)(problem)),
    }
}

/// Whether anything, be it a dangling link, has this name.
pub(super) fn exists(path: &Path) -> Result<bool, WalletError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(problem) => Err(io_error("look at", path)(problem)),
    }
}

/// Makes a folder and those above it, open to the owner only, unless it is there.
pub(super) fn create_folder(path: &Path) -> Result<(), WalletError> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(io_error("create", path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Refuses what is not a folder, and a folder in which others could exchange files.
pub(super) fn check_folder(path: &Path) -> Result<(), WalletError> {
    let metadata = fs::symlink_metadata(path).map_err(io_error("open", path))?;
    if !metadata.is_dir() {
        return Err(WalletError::NotAFolder {
            path: path.to_owned(),
        });
    }
    check_mode(
        path,
        metadata.permissions().mode(),
        GROUP_AND_WORLD_WRITE,
        FOLDER_MODE,
    )
}

/// The names in a folder, sorted; names that are not UTF-8 are left out, a missing folder is empty.
pub(super) fn entries(path: &Path) -> Result<Vec<String>, WalletError> {
    let folder = match fs::read_dir(path) {
        Ok(folder) => folder,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(io_error("list", path)(problem)),
    };
    let mut names = Vec::new();
    for (count, entry) in folder.enumerate() {
        if count == ENTRIES_MAX {
            return Err(WalletError::TooMany {
                path: path.to_owned(),
                count_max: ENTRIES_MAX,
            });
        }
        names.extend(entry.map_err(io_error("list", path))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn check_parent(path: &Path) -> Result<&Path, WalletError> {
    let folder = path
        .parent()
        .expect("a key file lies in the folder of its wallet");
    check_folder(folder)?;
    Ok(folder)
}

fn check_mode(path: &Path, mode: u32, forbidden: u32, wanted: u32) -> Result<(), WalletError> {
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(WalletError::Mode {
        path: path.to_owned(),
        mode: mode & 0o7777,
        wanted,
    })
}

fn open(path: &Path, flags: i32) -> Result<File, WalletError> {
    // Without O_NONBLOCK, opening a pipe would wait for its other end.
    let flags = flags | libc::O_NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|problem| match problem.raw_os_error() {
            Some(libc::ELOOP) => WalletError::NotAFile {
                path: path.to_owned(),
            },
            _ => io_error("read", path)(problem),
        })
}

fn sync_folder(path: &Path) -> Result<(), WalletError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("sync", path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalletError {
    move |problem| match problem.kind() {
        io::ErrorKind::NotFound => WalletError::Missing {
            path: path.to_owned(),
        },
        _ => WalletError::Io {
            action,
            path: path.to_owned(),
            problem,
        },
    }
}

/// A file under a name of its own, gone when dropped.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// Creates an empty file beside `target`. The dot in front keeps it out of every listing.
    fn create(target: &Path) -> Result<Self, WalletError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = target
            .file_name()
            .expect("a key file has a name")
            .to_string_lossy();
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = target.with_file_name(format!(".{name}.{}-{count}.new", std::process::id()));
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&path)
            {
                Ok(file) => return Ok(Self { path, file }),
                // Left by a process of the same number that was killed; the next name is free some time.
                Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {}
                Err(problem) => return Err(io_error("create", &path)(problem)),
            }
        }
    }

    fn fill(&self, bytes: &[u8]) -> Result<(), WalletError> {
        (&self.file)
            .write_all(bytes)
            .and_then(|()| self.file.sync_all())
            .map_err(io_error("write", &self.path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove, which is as well.
        let _ = fs::remove_file(&self.path);
    }
}
