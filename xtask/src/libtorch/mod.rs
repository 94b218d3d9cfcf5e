//! libtorch: found, or fetched from the PyTorch wheel.
//!
//! Whoever sets `LIBTORCH` has the last word ([`own`]). Otherwise `.libtorch` in the checkout is a link to a folder in
//! the user's cache ([`cache`]), so that a second clone needs no download. What is not there yet is fetched with pip
//! and checked against pinned hashes ([`fetch`], [`lock`]).
//!
//! # Why the wheel
//!
//! Every machine that reaches the Python package index can fetch it, and the index keeps old versions. pip has no
//! partial download, so 544 MB come down of which 500 MB on disk stay: headers, shared objects, licences. Nothing
//! Python is kept, so the Python on this machine may be of any version. The NVIDIA libraries in it are under a licence
//! of their own, which is why they are fetched and never committed.

mod cache;
mod fetch;
mod graphs;
mod lock;
mod own;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

pub(crate) use cache::cache_folder;
pub(crate) use graphs::build as build_graphs;
pub(crate) use lock::Half;

use crate::host::Host;
use crate::repo::Repo;
use lock::Lock;

/// A libtorch that builds can use.
#[derive(Debug)]
pub(crate) struct Libtorch {
    /// What `LIBTORCH` names: the folder with `include` and `lib`.
    pub(crate) folder: PathBuf,
    /// As `2.11.0+cpu`.
    pub(crate) version: String,
    /// It is the user's own, not ours.
    pub(crate) is_own: bool,
}

impl Libtorch {
    /// Says whether NVIDIA cards can be used with it.
    pub(crate) fn has_cuda(&self) -> bool {
        self.folder.join("lib/libtorch_cuda.so").is_file()
    }

    /// Says whether models can record CUDA graphs with it.
    pub(crate) fn has_graphs(&self) -> bool {
        self.folder.join("lib").join(graphs::LIBRARY).is_file()
    }
}

/// Gives a libtorch of the pinned version that serves `half`, fetching it if need be.
///
/// # Errors
///
/// Each says what to install or to do: no compiler, Python or pip, no network, no room on the disk, a file with a
/// wrong hash, a `LIBTORCH` of another version.
pub(crate) fn ensure(repo: &Repo, half: Half) -> anyhow::Result<Libtorch> {
    let lock = Lock::pinned()?;
    let host = Host::current();
    host.require_compilers()?;
    if let Some(folder) = own::variable(repo) {
        let libtorch = own::check(&folder, lock.version())?;
        eprintln!(
            "libtorch {} at {} (your LIBTORCH)",
            libtorch.version,
            libtorch.folder.display()
        );
        if half == Half::Cuda && !libtorch.has_cuda() {
            bail!(
                "your LIBTORCH has no CUDA half: unset it, or point it at one that has lib/libtorch_cuda.so"
            );
        }
        return Ok(libtorch);
    }
    let link = repo.root().join(".libtorch");
    if let Some(libtorch) = in_place(&link, &lock, half) {
        return Ok(libtorch);
    }
    let cache = cache_folder()?;
    cache::fill_and_link(&host, &lock, half, &cache, &link)?;
    in_place(&link, &lock, half).context("libtorch was set up and is not there")
}

/// Says what [`ensure`] would find without fetching anything.
pub(crate) fn look(repo: &Repo) -> anyhow::Result<Option<Libtorch>> {
    let lock = Lock::pinned()?;
    match own::variable(repo) {
        Some(folder) => own::check(&folder, lock.version()).map(Some),
        None => Ok(in_place(&repo.root().join(".libtorch"), &lock, Half::Cpu)),
    }
}

/// The version that `tch` is pinned to.
pub(crate) fn pinned_version() -> anyhow::Result<String> {
    Ok(Lock::pinned()?.version().to_owned())
}

/// The set-up behind `link`, where it is complete, of the pinned version, and serves `half`.
fn in_place(link: &Path, lock: &Lock, half: Half) -> Option<Libtorch> {
    let version = fs::read_to_string(link.join(cache::MARK)).ok()?.trim().to_owned();
    let halves: &[Half] = if half == Half::Cuda {
        &[Half::Cuda]
    } else {
        &[Half::Cpu, Half::Cuda]
    };
    let serves = halves.iter().any(|half| version == tag(lock, *half));
    let folder = link.join("torch");
    let complete = folder.join("lib/libtorch_cpu.so").is_file();
    (serves && complete).then_some(Libtorch {
        folder,
        version,
        is_own: false,
    })
}

/// As `2.11.0+cpu`: what is written into `build-version`, which torch-sys compares with its own version.
fn tag(lock: &Lock, half: Half) -> String {
    format!("{}+{}", lock.version(), half.tag())
}
