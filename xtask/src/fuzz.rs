//! `fuzz`: the fuzz targets, built so that they know which code they reach.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::Repo;
use crate::run;

pub(crate) const HELP: &str = "\
Usage: cargo xtask fuzz [TARGET...] [--minutes N] [--seed N] [--keep] [--list] [--input FILE]

Runs the fuzz targets one after the other, or those that are named, a minute each or as many as
you say. Builds this workspace's crates once more, with LLVM's coverage counters, in a folder of
cargo's own beside the ordinary ones; dependencies are not built again. What breaks something is
kept in fuzz/found/TARGET. With --keep, fuzz/corpus holds the few inputs that reach most. Works on
the stable toolchain; `cargo xtask test` runs the same targets for a second each.

Examples:
  cargo xtask fuzz
  cargo xtask fuzz --minutes 10 ledger
  cargo xtask fuzz --list
  cargo xtask fuzz ledger --input fuzz/found/ledger/0123456789abcdef
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    let mut build = repo.cargo(
        &libtorch,
        // The whole workspace, so that dependencies have the features that they have everywhere else.
        &[
            "build",
            "--release",
            "--workspace",
            "--bin",
            "agon-fuzz",
            "--examples",
        ],
    );
    build.env("RUSTC_WORKSPACE_WRAPPER", repo.root().join("fuzz/instrument.sh"));
    run::step(build)?;
    run::to_the_end(repo.program(&libtorch, "agon-fuzz", &run::passed_on(args)))
}
