//! `bench`: the benches, which live beside what they measure, and comparisons with other programs, which live here.

mod engine;
mod inference;
mod options;
mod python;
mod report;

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::{Repo, package_of};
use crate::{run, test};

pub(crate) const HELP: &str = "\
Usage: cargo xtask bench [arguments of `cargo bench`]
       cargo xtask bench inference [options]

Runs the benches of every package that has a benches/ folder, or of those named with --package.

`inference` compares this project's decoder with transformers' `generate` and llama.cpp on the same random models, in
one run and in turns. Both are installed into a virtual environment of their own in the user's cache, which takes 1 GB of
downloads and some minutes once; Python 3.11 or newer, a C++ compiler and binutils are needed. Nothing else may run
meanwhile if the figures are to mean anything. Then ours alone serves requests that arrive at random, answered together
and one after the other.

Options of `inference`:
  --json            print one JSON object in the last line: ratios, and tokens per second of every engine
  --quick           one round of each measurement: whether it works, not how fast it is
  --engines LIST    of ours, transformers, llamacpp (all)
  --models LIST     of 25M, 120M (both)
  --threads LIST    counts of threads (1,2)
  --seconds N       for each model, count of threads and batch, once every engine was asked (20)

Examples:
  cargo xtask bench
  cargo xtask bench --package agon-scoring
  cargo xtask bench inference --models 120M --threads 1 --json
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    if let Some((first, rest)) = args.split_first()
        && first == "inference"
    {
        return inference::run(rest);
    }
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
