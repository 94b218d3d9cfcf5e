//! The virtual environment of the programs that ours is compared with.
//!
//! It lies in the user's cache and is named by a hash of what is pinned in it, so that a change makes another one. The
//! wheel of torch brings CUDA along and asks for 2 GB of NVIDIA's libraries; empty libraries of their names stand in for
//! them (`stubs.py`), since nothing here computes on a GPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::host::{Host, INSTALL_PYTHON};
use crate::libtorch::cache_folder;
use crate::repo::Repo;
use crate::run;

const REQUIREMENTS: &str = include_str!("../../bench/requirements.txt");
const STUBS: &str = include_str!("../../bench/stubs.py");
/// Written last: an environment with this file is complete.
const MARK: &str = "COMPLETE";

/// A Python that has everything, and the folder of our scripts.
#[derive(Debug)]
pub(super) struct Python {
    python: PathBuf,
    scripts: PathBuf,
}

impl Python {
    /// Finds the environment, or makes it.
    pub(super) fn ensure(repo: &Repo) -> anyhow::Result<Python> {
        let hash = Sha256::new()
            .chain_update(REQUIREMENTS)
            .chain_update(STUBS)
            .finalize();
        let tag: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let folder = cache_folder()?.join(format!("bench-inference-{tag}"));
        let python = Python {
            python: folder.join("bin/python"),
            scripts: repo.root().join("xtask/bench"),
        };
        if !folder.join(MARK).is_file() {
            python.fill(&folder)?;
            fs::write(folder.join(MARK), "").context("write the mark of a complete environment")?;
        }
        Ok(python)
    }

    /// One of our scripts with its arguments.
    pub(super) fn script(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join(name)).args(args);
        command
    }

    fn fill(&self, folder: &Path) -> anyhow::Result<()> {
        eprintln!(
            "{}: about 1 GB of downloads, and llama.cpp is compiled",
            folder.display()
        );
        let path = folder.to_string_lossy().into_owned();
        let venv = Host::current().command("python3", &["-m", "venv", "--clear", &path]);
        run::step(venv.with_context(|| format!("no python3 on the search path\n  {INSTALL_PYTHON}"))?)?;
        let mut pip = Command::new(&self.python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-compile",
            "-r",
        ])
        .arg(self.scripts.join("requirements.txt"))
        // Pictures are not read here.
        .env("CMAKE_ARGS", "-DLLAVA_BUILD=OFF");
        run::step(pip)?;
        run::step(self.script("stubs.py", &[]))
    }
}
