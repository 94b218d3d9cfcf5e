//! `bench`: the benches, which live beside what they measure.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::{Repo, package_of};
use crate::{run, test};

pub(crate) const HELP: &str = "\
Usage: cargo xtask bench [arguments of `cargo bench`]

Runs the benches of every package that has a benches/ folder, or of those named with --package.

Examples:
  cargo xtask bench
  cargo xtask bench --package agon-scoring
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    let mut packages = Vec::new();
    if !test::names_packages(args) {
        let has_benches = |folder: &&String| repo.root().join(folder).join("benches").is_dir();
        packages = repo
            .members()?
            .iter()
            .filter(has_benches)
            .map(|folder| package_of(folder))
            .collect();
        anyhow::ensure!(!packages.is_empty(), "no package has a benches/ folder");
    }
    let mut bench = vec!["bench", "--benches"];
    bench.extend(
        packages
            .iter()
            .flat_map(|package| ["--package", package.as_str()]),
    );
    bench.extend(args.iter().map(String::as_str));
    run::to_the_end(repo.cargo(&libtorch, &bench))
}
