//! `verify-bench`: how well inference is verified, measured.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::Repo;
use crate::run;

pub(crate) const HELP: &str = "\
Usage: cargo xtask verify-bench [arguments of `agon-verify-bench`]

Sets up libtorch, builds Agon's binaries in release, and measures the rows VER-1 to VER-7 of
docs/verification.md: false alarms about honest answers, tokens until each kind of cheat is
caught, bytes and time. Paths are relative to the checkout. Exit code 1 where a bound is missed.
The arguments are the program's own; `cargo xtask verify-bench -- --help` shows them.

Examples:
  cargo xtask verify-bench
  cargo xtask verify-bench --quick --only VER-2
  cargo xtask verify-bench --json --seed 7
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    run::step(repo.build_binaries(&libtorch))?;
    let mut bench = repo.program(&libtorch, "agon-verify-bench", &run::passed_on(args));
    bench.current_dir(repo.root());
    Err(run::become_program(bench))
}
