//! `agon-train`: trains one rung of the ladder and writes its folder with its card.

#![allow(clippy::print_stdout, reason = "progress is what this program is for")]

use agon_model::train::{open_folder, write_folder};
use agon_trainer::card::{self, Record};
use agon_trainer::exam::{self, Report};
use agon_trainer::lesson::vocabulary;
use agon_trainer::run::{Config, Ended, Run};
use agon_trainer::rung::{self, RUNGS, Rung};
use agon_trainer::{curve, interrupt};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The rungs that ship, lowest first.
const LADDER: [&str; 3] = ["small", "medium", "large"];

const EXAMPLES: &str = "Examples:
  agon-train                                       # the whole ladder into models/, about an hour
  agon-train --rung large --threads 2              # one rung
  agon-train --rung large --threads 2 --resume     # on from where Ctrl-C stopped it
  agon-train --rung tiny --out /somewhere/tiny     # seconds, to see that it works";

/// Trains the ladder of small models, or one rung of it.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Which rung: tiny, small, medium or large [default: small, medium and large, one after the other]
    #[arg(long)]
    rung: Option<String>,
    /// Folder for the model, its card and its curve [default: models/RUNG]
    #[arg(long, requires = "rung")]
    out: Option<PathBuf>,
    /// Fixes the parameters at the start and all stories
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after this many minutes at most; the learning rate falls in time
    #[arg(long)]
    minutes: Option<f64>,
    /// Threads that share the work of each step
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Go on from the checkpoint of an earlier run that was stopped
    #[arg(long)]
    resume: bool,
    /// Folder for the checkpoint [default: target/train/RUNG]
    #[arg(long, requires = "rung")]
    work: Option<PathBuf>,
    /// Train nothing: examine the model in the folder again and rewrite its card
    #[arg(long, conflicts_with_all = ["resume", "minutes"])]
    examine: bool,
    /// Number of the exam: another number asks other items
    #[arg(long, default_value_t = 1)]
    exam: u64,
    /// Items in the exam
    #[arg(long, default_value_t = 4_000)]
    items: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(ended) => ended,
        Err(error) => {
            println!("agon-train: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    let names = args.rung.as_deref().map_or(LADDER.to_vec(), |name| vec![name]);
    let rungs: Vec<&'static Rung> = names.into_iter().map(find_rung).collect::<Result<_>>()?;
    for rung in rungs {
        let out = args
            .out
            .clone()
            .unwrap_or_else(|| Path::new("models").join(rung.name));
        if !args.examine && teach(args, rung, &out)? == Ended::Stopped {
            println!("stopped; the same command with --resume goes on");
            break;
        }
        show(rung, &examine(args, rung, &out)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn find_rung(name: &str) -> Result<&'static Rung> {
    let names: Vec<&str> = RUNGS.iter().map(|rung| rung.name).collect();
    rung::rung(name).with_context(|| format!("no rung is named {name}; there are {}", names.join(", ")))
}

/// Trains, and writes everything but the card's marks.
fn teach(args: &Args, rung: &'static Rung, out: &Path) -> Result<Ended> {
    let work = args
        .work
        .clone()
        .unwrap_or_else(|| Path::new("target/train").join(rung.name));
    let config = Config {
        threads: args.threads,
        rung,
        seed: args.seed,
        minutes_max: args.minutes,
        work,
        resume: args.resume,
    };
    let mut run = Run::prepare(config)?;
    println!(
        "rung {}: {} parameters, {} steps",
        rung.name,
        rung.shape().parameter_count(),
        rung.steps
    );
    let ended = run.teach(interrupt::watch()?.as_ref(), &mut stdout())?;
    if ended == Ended::Finished {
        write_folder(out, &run.learner, &vocabulary()).context("write the model")?;
        curve::write(out, &run.progress.points, rung.stages)?;
        Record::of(&run.progress, args.threads).write(out)?;
    }
    Ok(ended)
}

/// Examines the model as it was written, rounded to bf16, and writes its card.
fn examine(args: &Args, rung: &Rung, out: &Path) -> Result<Report> {
    let record = Record::read(out)?;
    if record.rung != rung.name {
        bail!("{} holds rung {}, not {}", out.display(), record.rung, rung.name);
    }
    let learner = open_folder(out).context("open the model")?;
    let report = exam::sit(&learner, args.exam, args.items);
    card::write(out, rung, &record, args.exam, &report)?;
    Ok(report)
}

fn show(rung: &Rung, report: &Report) {
    let by_kind = report
        .by_kind
        .iter()
        .map(|(kind, marks)| format!("{kind} {:.1}", marks.greedy_percent()));
    println!(
        "rung {}: {:.1} % of {} fresh items, {:.1} % when sampled ({})",
        rung.name,
        report.all.greedy_percent(),
        report.all.asked,
        report.all.sampled_percent(),
        by_kind.collect::<Vec<_>>().join(", ")
    );
}
