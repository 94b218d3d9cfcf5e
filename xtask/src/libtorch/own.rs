//! A libtorch that the user brings: `LIBTORCH` in the environment.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::Libtorch;
use crate::repo::Repo;

/// What the user set `LIBTORCH` to, if anything. Under cargo the variable always holds something: our own folder,
/// from `.cargo/config.toml`, unless the user has set another.
pub(super) fn variable(repo: &Repo) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("LIBTORCH").filter(|value| !value.is_empty())?);
    (folder != repo.own_libtorch()).then_some(folder)
}

/// Accepts `folder` where it holds libtorch of `version`, whatever build of it.
pub(super) fn check(folder: &Path, version: &str) -> anyhow::Result<Libtorch> {
    let advice = format!("point LIBTORCH at libtorch {version}, or unset it and one is fetched");
    let folder = folder
        .canonicalize()
        .with_context(|| format!("LIBTORCH is {}; {advice}", folder.display()))?;
    if !folder.join("lib/libtorch_cpu.so").is_file() {
        bail!(
            "LIBTORCH is {}, which has no lib/libtorch_cpu.so; {advice}",
            folder.display()
        );
    }
    let found = version_of(&folder)
        .with_context(|| format!("no build-version or version.py in {}; {advice}", folder.display()))?;
    if found.split('+').next() != Some(version) {
        bail!(
            "LIBTORCH is {}, which is version {found}; {advice}",
            folder.display()
        );
    }
    Ok(Libtorch {
        folder,
        version: found,
        is_own: true,
    })
}

/// The version as the C++ archive notes it (`build-version`), or as a Python package does (`version.py`).
fn version_of(folder: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim().trim_matches(['\'', '"']).to_owned())
}
