//! `train`: the ladder of small models, trained here.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::Repo;
use crate::run;

pub(crate) const HELP: &str = "\
Usage: cargo xtask train [arguments of `agon-train`]

Sets up libtorch, builds Agon's binaries in release, and becomes `agon-train`.
The arguments are its own; `cargo xtask train -- --help` shows them.

Examples:
  cargo xtask train --rung tiny --out target/tiny --minutes 2
  cargo xtask train --rung tiny --out target/tiny --resume
  cargo xtask train -- --help
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    run::step(repo.build_binaries(&libtorch))?;
    Err(run::become_program(repo.program(
        &libtorch,
        "agon-train",
        &run::passed_on(args),
    )))
}
