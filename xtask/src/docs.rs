//! `docs`: the documents that are written from tables in the code.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::Repo;
use crate::{help, run};

pub(crate) const HELP: &str = "\
Usage: cargo xtask docs [--check]

Writes docs/parameters.md from the tables of parameters in ledger/state. With --check it says
whether the file is what the tables say, as `cargo xtask test` and `cargo xtask check` do too.

Examples:
  cargo xtask docs && git diff docs
  cargo xtask docs --check
";

/// Set for a test that is to write its file instead of comparing with it.
const BLESS: &str = concat!("AGON", "_BLESS");

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let [check] = help::flags(args, ["--check"])?;
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    let mut command = repo.cargo(
        &libtorch,
        &[
            "test",
            "--release",
            "--package",
            "agon-cli",
            "--lib",
            "documented",
        ],
    );
    if !check {
        command.env(BLESS, "1");
    }
    run::to_the_end(command)
}
