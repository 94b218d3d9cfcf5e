//! `sim`: every simulated attack, with the rules against it and without.

use std::process::ExitCode;

use crate::help::UsageError;
use crate::libtorch::{self, Half};
use crate::repo::Repo;
use crate::run;

pub(crate) const HELP: &str = "\
Usage: cargo xtask sim [--full] [arguments of `agon sim`]

Builds `agon` in release and runs every simulated attack: the quick cut by default (200 epochs,
12 seeds), with --full all of it (200 epochs, 50 seeds, other stakes and sizes of subnets), which
takes a quarter of an hour on two cores that have nothing else to do. Exit code 1 where a bound is
missed or an attack does not pay with its defence off. Other arguments are those of `agon sim`.

Examples:
  cargo xtask sim
  cargo xtask sim --json
  cargo xtask sim --full --report attacks.html
";

const QUICK: [&str; 4] = ["--epochs", "200", "--seeds", "12"];
const FULL: [&str; 5] = ["--epochs", "200", "--seeds", "50", "--explore"];

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let mut passed = run::passed_on(args);
    let is_full = passed.iter().any(|arg| arg == "--full");
    passed.retain(|arg| arg != "--full");
    if let Some(taken) = passed
        .iter()
        .find(|arg| matches!(arg.as_str(), "--epochs" | "--seeds" | "--attack"))
    {
        return Err(UsageError(format!(
            "{taken} is decided here: call `agon sim` for runs of your own"
        ))
        .into());
    }
    let plan: &[&str] = if is_full { &FULL } else { &QUICK };
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    run::step(repo.cargo(&libtorch, &["build", "--release", "-p", "agon-cli"]))?;
    let mut words: Vec<String> = ["sim", "--all"]
        .iter()
        .chain(plan)
        .map(|word| (*word).to_owned())
        .collect();
    words.extend(passed);
    Err(run::become_program(repo.program(&libtorch, "agon", &words)))
}
