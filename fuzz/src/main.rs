//! `agon-fuzz`: runs fuzz targets for some time, and keeps what they find.
//!
//! Started by `cargo xtask fuzz`, which builds it so that it knows which code a run reaches.
//!
//! # Exit codes
//!
//! 0 when nothing was found, 1 when something was, 2 for a command line that is not understood.
#![expect(clippy::print_stdout, reason = "the findings are the product")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use agon_fuzz::engine::{Finding, Progress, Session, distilled};
use agon_fuzz::{TARGETS, Target, corpus, is_instrumented, targets};
use anyhow::Context as _;
use clap::Parser;

/// Time between two lines about the same target.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Most inputs of a target in the checkout, beside those that once broke something.
const CORPUS_MAX: usize = 8;
/// How names of inputs begin that once broke something, and stay.
const BROKE: &str = "broke-";
/// Runs between two looks at the clock.
const RUNS_AT_A_TIME: u32 = 16;

/// Fuzzes every target in turn, or those that are named.
#[derive(Debug, Parser)]
#[command(name = "agon-fuzz")]
struct Args {
    /// Targets to run; all when none is named.
    targets: Vec<String>,
    /// Minutes for each target.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Where chance begins: the same seed tries the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try the input in this file alone, once, on the one target that is named.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Keep in the corpus of the checkout the few inputs that reach most beyond the seeds; names that begin with
    /// `broke-` stay.
    #[arg(long)]
    keep: bool,
    /// Tell the targets and what they do, and run none.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Says whether nothing was found.
fn run(args: &Args) -> anyhow::Result<bool> {
    if args.list {
        for Target { name, about, .. } in TARGETS {
            println!("{name:18} {about}");
        }
        return Ok(true);
    }
    let chosen = chosen(&args.targets)?;
    if let Some(path) = &args.input {
        let [target] = chosen.as_slice() else {
            anyhow::bail!("an input is tried on one target: name it");
        };
        return try_file(target, path);
    }
    anyhow::ensure!(
        args.minutes > 0.0 && args.minutes < 100_000.0,
        "--minutes is {}, a number above 0 and below 100000 is needed",
        args.minutes
    );
    if !is_instrumented() {
        println!("this build does not tell which code a run reaches: `cargo xtask fuzz` makes one that does");
    }
    let mut is_clean = true;
    for target in chosen {
        is_clean &= fuzz(target, args)?;
    }
    Ok(is_clean)
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| {
        targets::find(name).with_context(|| format!("no target is called `{name}`: --list tells them"))
    };
    names.iter().map(find).collect()
}

fn try_file(target: &'static Target, path: &PathBuf) -> anyhow::Result<bool> {
    let input = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let tried = Session::new(target, 0).try_input(&input);
    match &tried {
        Ok(_) => println!("{}: nothing broke", target.name),
        Err(finding) => println!("{}: {finding}", target.name),
    }
    Ok(tried.is_ok())
}

fn fuzz(target: &'static Target, args: &Args) -> anyhow::Result<bool> {
    let mut session = Session::new(target, args.seed);
    let begun = Instant::now();
    let found = until_found(
        target,
        &mut session,
        begun + Duration::from_secs_f64(args.minutes * 60.0),
    );
    tell(target, &session.progress(), begun.elapsed());
    if args.keep {
        let kept = keep(target, session.finds())?;
        println!("{}: {kept} inputs in the corpus", target.name);
    }
    let Err(finding) = found else {
        return Ok(true);
    };
    let folder = corpus::folder().with_file_name("found");
    let path = corpus::write(&folder, target, &finding.input).context("write the finding")?;
    println!("{}: {finding}\n  kept as {}", target.name, path.display());
    Ok(false)
}

/// Makes the corpus in the checkout the best of what it has and what was found; gives how many that are.
fn keep(target: &'static Target, finds: &[Vec<u8>]) -> anyhow::Result<usize> {
    let folder = corpus::folder();
    let files = corpus::read(&folder, target).context("read the corpus")?;
    let (broke, rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|(name, _)| name.starts_with(BROKE));
    let inputs = rest.iter().map(|(_, input)| input).chain(finds);
    let kept = distilled(target, inputs.cloned().collect(), CORPUS_MAX);
    for (name, _) in &rest {
        std::fs::remove_file(folder.join(target.name).join(name)).context("clear the corpus")?;
    }
    for input in &kept {
        corpus::write(&folder, target, input).context("write the corpus")?;
    }
    Ok(kept.len() + broke.len())
}

fn until_found(target: &Target, session: &mut Session, end: Instant) -> Result<(), Finding> {
    session.try_corpus()?;
    let begun = Instant::now();
    let mut told = begun;
    while Instant::now() < end {
        for _ in 0..RUNS_AT_A_TIME {
            session.step()?;
        }
        if told.elapsed() >= REPORT_EVERY {
            told = Instant::now();
            tell(target, &session.progress(), begun.elapsed());
        }
    }
    Ok(())
}

fn tell(target: &Target, progress: &Progress, elapsed: Duration) {
    let Progress {
        runs,
        inputs,
        edges,
        slowest,
    } = progress;
    let speed = *runs as f64 / elapsed.as_secs_f64().max(0.001);
    println!(
        "{:18} {runs:>9} runs, {speed:>7.0}/s, {inputs:>5} inputs, {edges:>6} edges, slowest {:.0} ms",
        target.name,
        slowest.as_secs_f64() * 1e3
    );
}
