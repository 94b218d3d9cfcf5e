//! `golden`: the tests that compare with files, and the one way to rewrite those files.

use std::process::ExitCode;

use crate::libtorch::{self, Half};
use crate::repo::{Repo, package_of};
use crate::{run, tidy};

pub(crate) const HELP: &str = "\
Usage: cargo xtask golden [--bless] [arguments of `cargo test`]

Runs the tests of every package that keeps golden files. With --bless they rewrite their files
instead of comparing; read the difference with `git diff` before you commit it, for that
commit is the approval of the change, and CHANGELOG.md says so too.

Examples:
  cargo xtask golden
  cargo xtask golden --bless && git diff --stat
";

/// Set for tests that are to write their golden files. A package that reads it is one that keeps such files.
const BLESS: &str = concat!("AGON", "_BLESS");

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    let bless = args.iter().any(|arg| arg == "--bless");
    let packages = packages_with_golden_files(&repo)?;
    anyhow::ensure!(
        !packages.is_empty(),
        "no package reads {BLESS}, so none keeps golden files"
    );
    let mut test = vec!["test", "--release"];
    test.extend(
        packages
            .iter()
            .flat_map(|package| ["--package", package.as_str()]),
    );
    test.extend(args.iter().map(String::as_str).filter(|arg| *arg != "--bless"));
    let mut command = repo.cargo(&libtorch, &test);
    if bless {
        command.env(BLESS, "1");
    }
    run::to_the_end(command)
}

fn packages_with_golden_files(repo: &Repo) -> anyhow::Result<Vec<String>> {
    let files = tidy::Tree::read(repo.root())?;
    let keeps = |folder: &String| {
        files
            .under(folder)
            .any(|file| file.has_extension("rs") && file.text.contains(BLESS))
    };
    Ok(repo
        .members()?
        .iter()
        .filter(|folder| keeps(folder))
        .map(|folder| package_of(folder))
        .collect())
}
