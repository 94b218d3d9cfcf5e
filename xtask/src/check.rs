//! `check`: what CI runs, step by step, each with its duration.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::host::Host;
use crate::libtorch::{self, Half, Libtorch};
use crate::repo::Repo;
use crate::{help, run, test, tidy};

pub(crate) const HELP: &str = "\
Usage: cargo xtask check

Runs tidy, fmt, clippy, doc and test, warnings denied, and stops at the first that fails.
This is all that CI does.

Examples:
  cargo xtask check
  cargo xtask tidy && cargo fmt --check        the quick half, by hand
";

type Step = fn(&Repo, &Libtorch) -> anyhow::Result<()>;

/// Quick steps first.
const STEPS: [(&str, Step); 5] = [
    ("tidy", check_tidy),
    ("fmt", check_fmt),
    ("clippy", check_clippy),
    ("doc", check_doc),
    ("test", check_tests),
];

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let [] = help::flags(args, [])?;
    let repo = Repo::locate()?;
    require_components()?;
    let started = Instant::now();
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    let mut summary = vec![line("setup", "ok", started.elapsed())];
    let failure = run_steps(&repo, &libtorch, &mut summary);
    eprintln!("\ncheck: {} in all", seconds(started.elapsed()));
    for line in summary {
        eprintln!("{line}");
    }
    failure.map(|()| ExitCode::SUCCESS)
}

fn run_steps(repo: &Repo, libtorch: &Libtorch, summary: &mut Vec<String>) -> anyhow::Result<()> {
    let mut failure = Ok(());
    for (name, step) in STEPS {
        if failure.is_err() {
            summary.push(format!("  {name:8} not run"));
            continue;
        }
        eprintln!("\n== {name}");
        let started = Instant::now();
        failure = step(repo, libtorch);
        let verdict = if failure.is_ok() { "ok" } else { "FAILED" };
        summary.push(line(name, verdict, started.elapsed()));
    }
    failure
}

fn check_tidy(repo: &Repo, _: &Libtorch) -> anyhow::Result<()> {
    tidy::require(repo)
}

fn check_fmt(repo: &Repo, _: &Libtorch) -> anyhow::Result<()> {
    run::step(repo.plain_cargo(&["fmt", "--all", "--check"]))
}

/// In release like everything else, so that build scripts (libtorch's wrappers foremost) run once.
fn check_clippy(repo: &Repo, libtorch: &Libtorch) -> anyhow::Result<()> {
    let args = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    run::step(repo.cargo(libtorch, &args))
}

/// Libraries, and this binary; the other binaries are thin and named like their libraries. `--examples` is there for
/// the reason given in [`Repo::build_binaries`].
fn check_doc(repo: &Repo, libtorch: &Libtorch) -> anyhow::Result<()> {
    let targets = ["--lib", "--bin", "agon-xtask", "--examples"];
    let mut doc = repo.cargo(libtorch, &["doc", "--release", "--workspace", "--no-deps"]);
    doc.args(targets);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run::step(doc)
}

fn check_tests(repo: &Repo, libtorch: &Libtorch) -> anyhow::Result<()> {
    let code = test::run_suites(repo, libtorch, &[])?;
    ensure!(code == ExitCode::SUCCESS, "tests failed");
    Ok(())
}

/// Names the components that a minimal installation of Rust leaves out.
fn require_components() -> anyhow::Result<()> {
    let host = Host::current();
    for (component, program) in [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")] {
        if host.first_line(program, &["--version"]).is_none() {
            bail!("{component} is not installed\n  With rustup: rustup component add {component}");
        }
    }
    Ok(())
}

fn line(name: &str, verdict: &str, took: Duration) -> String {
    format!("  {name:8} {verdict:8} {}", seconds(took))
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}
