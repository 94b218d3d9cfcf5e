//! `test`: every suite, with the binaries that the end-to-end suite starts.

use std::process::ExitCode;

use crate::libtorch::{self, Half, Libtorch};
use crate::repo::Repo;
use crate::run;

pub(crate) const HELP: &str = "\
Usage: cargo xtask test [arguments of `cargo test`]

Sets up libtorch, builds every binary in release, then runs `cargo test --workspace --release`
with your arguments. Needs no GPU and nothing beyond loopback.

Examples:
  cargo xtask test
  cargo xtask test epoch                        tests whose name contains `epoch`
  cargo xtask test --package agon-scoring       one package
  cargo xtask test --package agon-tests --test e2e -- --nocapture
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    run_suites(&repo, &libtorch, args)
}

/// Builds the binaries that end-to-end tests start, then tests.
pub(crate) fn run_suites(repo: &Repo, libtorch: &Libtorch, args: &[String]) -> anyhow::Result<ExitCode> {
    run::step(repo.build_binaries(libtorch))?;
    let mut test = vec!["test", "--release"];
    if !names_packages(args) {
        test.push("--workspace");
    }
    test.extend(args.iter().map(String::as_str));
    run::to_the_end(repo.cargo(libtorch, &test))
}

/// Says whether the caller picks packages; `--workspace` beside that would win over it.
pub(crate) fn names_packages(args: &[String]) -> bool {
    let before_separator = args.iter().take_while(|arg| *arg != "--");
    before_separator
        .into_iter()
        .any(|arg| arg.starts_with("-p") || arg == "--package" || arg.starts_with("--package="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picked_package_is_seen_before_the_separator_only() {
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(names_packages(&args("--package agon-scoring")));
        assert!(names_packages(&args("epoch -p agon-scoring")));
        assert!(!names_packages(&args("epoch -- -p")));
    }
}
