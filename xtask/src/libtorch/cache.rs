//! The folder in the user's cache that holds a set-up, and the link in the checkout that leads to it.
//!
//! ```text
//! <cache>/agon/libtorch-2.11.0-cpu/          complete, or not there at all
//! <cache>/agon/libtorch-2.11.0-cpu.new/      being made; wheels/ in it survives a failure
//! <cache>/agon/libtorch-2.11.0-cpu.lock      held by the one process that makes it
//! <checkout>/.libtorch                       a link to the first
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::lock::{Half, Lock};
use super::{fetch, in_place, tag};
use crate::host::{Host, human_bytes};

/// Written last: a folder with this file is complete.
pub(super) const MARK: &str = "SETUP";

/// Where set-ups are kept: `$XDG_CACHE_HOME/agon`, usually `~/.cache/agon`.
pub(crate) fn cache_folder() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME names a folder: set one of them")?;
    Ok(base.join("agon"))
}

/// Makes `link` lead to a set-up in `cache` that serves `half`, making that first where it is missing.
pub(super) fn fill_and_link(
    host: &Host,
    lock: &Lock,
    half: Half,
    cache: &Path,
    link: &Path,
) -> anyhow::Result<()> {
    let folder = match kept(lock, half, cache) {
        Some(folder) => folder,
        None => fill(host, lock, half, cache)?,
    };
    make_link(&folder, link)?;
    eprintln!(
        "libtorch {} in {}, linked into .libtorch",
        read_mark(&folder),
        folder.display()
    );
    Ok(())
}

/// A set-up in the cache that serves `half`; the one with CUDA first, since it serves both.
fn kept(lock: &Lock, half: Half, cache: &Path) -> Option<PathBuf> {
    [Half::Cuda, half]
        .map(|half| folder_of(lock, half, cache))
        .into_iter()
        .find(|folder| in_place(folder, lock, half).is_some())
}

fn folder_of(lock: &Lock, half: Half, cache: &Path) -> PathBuf {
    cache.join(format!("libtorch-{}-{}", lock.version(), half.tag()))
}

/// Makes the set-up for `half`. One process does the work; others wait for it and find it done.
fn fill(host: &Host, lock: &Lock, half: Half, cache: &Path) -> anyhow::Result<PathBuf> {
    refuse_other_platforms(lock)?;
    fs::create_dir_all(cache).with_context(|| format!("make the cache folder {}", cache.display()))?;
    let folder = folder_of(lock, half, cache);
    let _held = hold(&beside(&folder, "lock"))?;
    if in_place(&folder, lock, half).is_some() {
        return Ok(folder);
    }
    let pip = fetch::Pip::find(host)?;
    require_disk(host, half, cache)?;

    let new = beside(&folder, "new");
    let tree = new.join("tree");
    remove_folder(&tree)?;
    fs::create_dir_all(&tree).with_context(|| format!("make {}", tree.display()))?;
    fetch::wheels(&pip, lock, half, &new, &tree)?;

    let tag = format!("{}\n", tag(lock, half));
    fs::write(tree.join("torch/build-version"), &tag).context("write torch/build-version")?;
    fs::write(tree.join(MARK), &tag).context("write the mark of a complete set-up")?;
    remove_folder(&folder)?;
    fs::rename(&tree, &folder).with_context(|| format!("move the set-up to {}", folder.display()))?;
    remove_folder(&new)?;
    Ok(folder)
}

fn refuse_other_platforms(lock: &Lock) -> anyhow::Result<()> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    if (os, arch) == ("linux", "x86_64") {
        return Ok(());
    }
    bail!(
        "the pinned libtorch is for Linux on x86_64, this is {os} on {arch}\n  \
         Set LIBTORCH to the folder of a libtorch {} for this machine.",
        lock.version()
    )
}

fn require_disk(host: &Host, half: Half, cache: &Path) -> anyhow::Result<()> {
    let needed = half.disk_bytes();
    match host.disk_free_bytes(cache) {
        Some(free) if free < needed => bail!(
            "{} free in {}, and setting up libtorch takes up to {}\n  \
             Make room, or set XDG_CACHE_HOME to a folder on a larger disk.",
            human_bytes(free),
            cache.display(),
            human_bytes(needed)
        ),
        _ => Ok(()),
    }
}

/// Takes the lock file at `path`, waiting for another set-up to end. It is let go when the file is dropped, however
/// this process ends.
fn hold(path: &Path) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("open the lock file {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("another set-up of libtorch is running: waiting for it"),
        Err(TryLockError::Error(error)) => return Err(error).context("lock the cache folder"),
    }
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Puts a link to `folder` at `link`, in one step. A folder that someone put there stays.
fn make_link(folder: &Path, link: &Path) -> anyhow::Result<()> {
    if link.is_dir() && !link.is_symlink() {
        bail!(
            "{} is a folder with another libtorch than the one needed, and not a link of ours\n  \
             Move it away and run this again.",
            link.display()
        );
    }
    let new_link = beside(link, &format!("new-{}", std::process::id()));
    symlink(folder, &new_link).with_context(|| format!("make the link {}", new_link.display()))?;
    fs::rename(&new_link, link).with_context(|| format!("move the link to {}", link.display()))
}

fn read_mark(folder: &Path) -> String {
    fs::read_to_string(folder.join(MARK))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// `path` with `.extension` behind its whole name, dots and all.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}
