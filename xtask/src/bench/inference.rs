//! `bench inference`: this project's decoder beside transformers and llama.cpp, on the same random models.
//!
//! Every engine is a process of its own that holds its model for the whole run; they are asked in turns, so that what
//! happens to the machine happens to all of them. Each uses its own default of how threads wait, which is the best one on
//! a machine that has nothing else to do.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::engine::{Engine, Load};
use super::options::Options;
use super::python::Python;
use super::report::{Cell, Report};
use crate::libtorch::{self, Half, Libtorch};
use crate::repo::Repo;
use crate::run;

/// What is asked in each round. Prompts of batches are short, since only their decoding is compared.
const LOADS: [Load; 3] = [
    Load {
        batch: 1,
        prompt: 128,
        tokens: 32,
    },
    Load {
        batch: 8,
        prompt: 16,
        tokens: 16,
    },
    Load {
        batch: 32,
        prompt: 8,
        tokens: 9,
    },
];

pub(super) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let options = Options::parse(args)?;
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, Half::Cpu)?;
    run::step(repo.cargo(
        &libtorch,
        &[
            "build",
            "--release",
            "--package",
            "agon-model",
            "--example",
            "pace",
        ],
    ))?;
    let python = Python::ensure(&repo)?;
    let work = Work::new(&repo)?;
    let mut report = Report::default();
    for model in &options.models {
        let bench = Bench {
            repo: &repo,
            libtorch: &libtorch,
            python: &python,
            folder: work.0.join(model),
        };
        eprintln!("making the random model of {model} parameters");
        let folder = bench.folder.to_string_lossy().into_owned();
        run::step(python.script("models.py", &[model, &folder]))?;
        for &threads in &options.threads {
            bench.compare(&options, model, threads, &mut report)?;
        }
    }
    if options.engines.iter().any(|engine| engine == "ours") {
        serve(&repo, &libtorch, &options)?;
    }
    print!("{}", report.table());
    if options.json {
        println!("{}", report.json());
    }
    Ok(ExitCode::SUCCESS)
}

/// Requests that come and go: needs the engine alone, and no other program. Prints figures of its own.
fn serve(repo: &Repo, libtorch: &Libtorch, options: &Options) -> anyhow::Result<()> {
    let requests = if options.rounds == (1, 1) { "8" } else { "48" };
    let bench = ["bench", "--package", "agon-model", "--bench", "server"];
    let arguments = ["--", "--device", "cpu", "--requests", requests];
    run::step(repo.cargo(libtorch, &[&bench[..], &arguments].concat()))
}

/// The folder that models and logs lie in; removed at the end, and emptied before.
struct Work(PathBuf);

impl Work {
    fn new(repo: &Repo) -> anyhow::Result<Work> {
        let folder = repo.binary("bench-inference");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Work(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed is removed before the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One model, ready for every engine.
struct Bench<'a> {
    repo: &'a Repo,
    libtorch: &'a Libtorch,
    python: &'a Python,
    folder: PathBuf,
}

impl Bench<'_> {
    /// All batches on so many threads.
    fn compare(
        &self,
        options: &Options,
        model: &str,
        threads: usize,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut engines = Vec::new();
        for name in &options.engines {
            for (format, command) in self.commands(name, threads) {
                engines.push(Engine::start(&format!("{name} {format}"), command, &self.folder)?);
            }
        }
        for load in LOADS {
            eprintln!("{model}, {threads} threads, batch of {}", load.batch);
            let mut cell = Cell::new(model, threads, load.batch);
            let begun = Instant::now();
            let (least, most) = options.rounds;
            while cell.rounds() < least || (cell.rounds() < most && begun.elapsed() < options.time) {
                round(&mut engines, load, options.time, &mut cell)?;
            }
            eprintln!("{}", cell.line());
            report.add(cell);
        }
        Ok(())
    }

    /// How an engine is started, once for each of its number formats.
    fn commands(&self, engine: &str, threads: usize) -> Vec<(&'static str, Command)> {
        let path = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let threads = threads.to_string();
        let ours = |format: &str| {
            let args = [path("model"), format.to_owned(), threads.clone()];
            self.repo.program(self.libtorch, "examples/pace", &args)
        };
        let other = |script: &str, args: &[&str]| {
            let mut command = self.python.script(script, args);
            command.args([&threads]).env("OMP_NUM_THREADS", &threads);
            command
        };
        match engine {
            "ours" => vec![("bf16", ours("bf16")), ("int8", ours("int8"))],
            "transformers" => ["bf16", "f32"]
                .map(|format| (format, other("transformers_engine.py", &[&path("model"), format])))
                .into(),
            _ => ["bf16", "q8"]
                .map(|format| {
                    (
                        format,
                        other("llamacpp_engine.py", &[&path(&format!("{format}.gguf"))]),
                    )
                })
                .into(),
        }
    }
}

/// Asks every engine once, in an order that turns with the rounds; one that has had `time` for itself is done.
fn round(engines: &mut [Engine], load: Load, time: Duration, cell: &mut Cell) -> anyhow::Result<()> {
    let first = cell.rounds();
    for offset in 0..engines.len() {
        let index = (first + offset) % engines.len();
        let engine = &mut engines[index];
        if cell.time_of(&engine.name) > time {
            continue;
        }
        if engine.name == "ours bf16" && load.batch == 1 {
            let (bandwidth, step_bytes) = engine.bandwidth()?;
            cell.add_bound(bandwidth, step_bytes);
        }
        let begun = Instant::now();
        let rates = engine.measure(load)?;
        cell.add(&engine.name, rates, begun.elapsed());
    }
    Ok(())
}
