//! `localnet`: from a clean clone to a running subnet.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::Repo;
use crate::run;

pub(crate) const HELP: &str = "\
Usage: cargo xtask localnet [arguments of `agon localnet`]

Sets up libtorch, builds Agon's binaries in release, and becomes `agon localnet`: a ledger,
validators and miners as real processes on loopback.
The arguments are its own; `cargo xtask localnet -- --help` shows them.
Standard output is agon's alone, so --json can be piped.

Examples:
  cargo xtask localnet
  cargo xtask localnet --miners 4 --validators 2 --tempos 2
  cargo xtask localnet --json | tail -n 1
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    run::step(repo.build_binaries(&libtorch))?;

    let mut passed = vec!["localnet".to_owned()];
    passed.extend(run::passed_on(args));
    Err(run::become_program(repo.program(&libtorch, "agon", &passed)))
}
