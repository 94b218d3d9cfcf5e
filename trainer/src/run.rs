//! The teaching itself: orders lessons, takes steps, keeps checkpoints, says how it goes.

use crate::lesson::{Maker, Order, Part, Syllabus};
use crate::progress::{Progress, Tally};
use crate::rung::Rung;
use agon_model::train::{Batch, Learner, Step};
use agon_subnets::reading::story::Kind;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Steps over which the learning rate rises to its highest.
const WARM_UP_STEPS: f64 = 50.0;
/// The part of a run after which the learning rate falls.
const FALL_FROM: f64 = 0.6;
/// What is left of the learning rate at the end.
const RATE_LEFT: f64 = 0.03;
/// Steps between two points of the curve and two lines of progress.
const POINT_STEPS: u64 = 50;
/// Time between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is taught.
    pub rung: &'static Rung,
    /// Fixes parameters at the start and all lessons.
    pub seed: u64,
    /// A bound on the time; the learning rate falls to reach its end by then.
    pub minutes_max: Option<f64>,
    /// Threads that each compute their part of every step.
    pub threads: usize,
    /// Where the checkpoint is kept.
    pub work: PathBuf,
    /// Whether to go on from that checkpoint.
    pub resume: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps, or all of the time, were spent.
    Finished,
    /// It was asked to stop; the checkpoint holds its state.
    Stopped,
}

/// A run in progress.
#[derive(Debug)]
pub struct Run {
    config: Config,
    /// The model.
    pub learner: Learner,
    /// How far it is.
    pub progress: Progress,
}

impl Run {
    /// Begins, or goes on from the checkpoint.
    ///
    /// # Errors
    ///
    /// When there is no checkpoint to go on from, or it is of another rung or seed.
    pub fn prepare(config: Config) -> Result<Self> {
        let mut learner = Learner::new(config.rung.shape(), config.seed as i64);
        let mut progress = Progress::begin(config.rung.name, config.seed);
        if config.resume {
            progress = read_progress(&config.work)?;
            if progress.rung != config.rung.name || progress.seed != config.seed {
                bail!(
                    "the checkpoint is of rung {} with seed {}",
                    progress.rung,
                    progress.seed
                );
            }
            learner
                .load_checkpoint(&config.work.join(PARAMETERS))
                .context("read the checkpoint")?;
        }
        Ok(Self {
            config,
            learner,
            progress,
        })
    }

    /// What is taught.
    pub fn rung(&self) -> &'static Rung {
        self.config.rung
    }

    /// Teaches until the steps or the time are spent, or `stop` is set; writes progress lines to `out`.
    ///
    /// # Errors
    ///
    /// When a checkpoint cannot be written.
    pub fn teach(&mut self, stop: &AtomicBool, out: &mut dyn Write) -> Result<Ended> {
        let rung = self.config.rung;
        let maker = Maker::start(Syllabus {
            stages: rung.stages,
            seed: self.config.seed,
            tokens: rung.tokens,
            parts: self.config.threads.max(1),
        });
        maker.order(self.next_order(0));
        let earlier_seconds = self.progress.seconds;
        let (started, mut saved, mut shown) = (Instant::now(), Instant::now(), Instant::now());
        let mut tally = Tally::default();
        while self.part_done() < 1.0 {
            if stop.load(Ordering::Relaxed) {
                self.save()?;
                return Ok(Ended::Stopped);
            }
            maker.order(self.next_order(1));
            self.step(&maker.take(), &mut tally, out)?;
            self.progress.seconds = earlier_seconds + started.elapsed().as_secs_f64();
            if self.progress.step.is_multiple_of(POINT_STEPS) {
                self.show(&std::mem::take(&mut tally), shown.elapsed(), out)?;
                shown = Instant::now();
            }
            if saved.elapsed() >= CHECKPOINT_EVERY {
                self.save()?;
                saved = Instant::now();
            }
        }
        self.save()?;
        Ok(Ended::Finished)
    }

    fn next_order(&self, ahead: u64) -> Order {
        Order {
            stage: self.progress.stage,
            step: self.progress.step + ahead,
        }
    }

    fn step(&mut self, lesson: &[Part], tally: &mut Tally, out: &mut dyn Write) -> Result<()> {
        let rate = self.config.rung.rate * self.rate_factor();
        let batches: Vec<&Batch> = lesson.iter().map(|part| &part.batch).collect();
        let steps = self.learner.step(&batches, rate);
        let (mut right, mut asked) = (0, 0);
        for (part, step) in lesson.iter().zip(&steps) {
            let tokens = part.batch.ids.len() as u64;
            tally.add_batch(step.loss, tokens);
            self.progress.tokens += tokens;
            let counts = count_answers(part, step, tally);
            (right, asked) = (right + counts.0, asked + counts.1);
        }
        let stages = self.config.rung.stages;
        if self.progress.count_step(right, asked, stages.len()) {
            let (step, name) = (self.progress.step, stages[self.progress.stage].name);
            writeln!(
                out,
                "step {step}: stage passed after {:.0} s, next: {name}",
                self.progress.seconds
            )?;
        }
        Ok(())
    }

    /// How much of the run is done, by steps or by time, whichever is further.
    fn part_done(&self) -> f64 {
        let steps = self.progress.step as f64 / self.config.rung.steps as f64;
        let minutes = self
            .config
            .minutes_max
            .map_or(0.0, |max| self.progress.seconds / (60.0 * max));
        steps.max(minutes)
    }

    fn rate_factor(&self) -> f64 {
        let warm = ((self.progress.step + 1) as f64 / WARM_UP_STEPS).min(1.0);
        let fallen = ((self.part_done() - FALL_FROM) / (1.0 - FALL_FROM)).clamp(0.0, 1.0);
        warm * (1.0 - fallen * (1.0 - RATE_LEFT))
    }

    fn show(&mut self, tally: &Tally, since: Duration, out: &mut dyn Write) -> Result<()> {
        let point = tally.point(&self.progress, since.as_secs_f64());
        let kinds: Vec<String> = Kind::ALL
            .iter()
            .zip(point.by_kind_percent)
            .filter_map(|(kind, percent)| percent.map(|percent| format!("{} {percent:.1}", kind.name())))
            .collect();
        writeln!(
            out,
            "step {:>6}/{} {:>5.0} s  {:<16} loss {:.4}  right {:>5.1} %  ({})  {:.0} tokens/s",
            point.step,
            self.config.rung.steps,
            point.seconds,
            self.config.rung.stages[point.stage].name,
            point.loss,
            point.right_percent,
            kinds.join(", "),
            point.tokens_per_second,
        )?;
        out.flush()?;
        self.progress.points.push(point);
        Ok(())
    }

    /// Writes the checkpoint beside the old one and puts it in its place.
    fn save(&self) -> Result<()> {
        let work = &self.config.work;
        std::fs::create_dir_all(work).with_context(|| format!("make folder {}", work.display()))?;
        let parameters = work.join("next.safetensors");
        self.learner
            .save_checkpoint(&parameters)
            .context("write the checkpoint")?;
        let progress = work.join("next.json");
        std::fs::write(&progress, serde_json::to_vec(&self.progress)?).context("write the progress")?;
        std::fs::rename(parameters, work.join(PARAMETERS)).context("put the checkpoint in its place")?;
        std::fs::rename(progress, work.join(PROGRESS)).context("put the progress in its place")
    }
}

const PARAMETERS: &str = "checkpoint.safetensors";
const PROGRESS: &str = "progress.json";

/// Reads the progress that a checkpoint was saved with.
///
/// # Errors
///
/// When there is none, or it is not ours.
pub fn read_progress(work: &Path) -> Result<Progress> {
    let path = work.join(PROGRESS);
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("understand {}", path.display()))
}

/// Counts answers' first tokens: all of them for the tally, those that count for the stage as result.
fn count_answers(part: &Part, step: &Step, tally: &mut Tally) -> (usize, usize) {
    let (mut right_count, mut asked_count) = (0, 0);
    for (target, &right) in part.batch.targets.iter().zip(&step.right) {
        if target.offset > 0 {
            continue;
        }
        let asked = part.asked[target.passage][target.branch];
        if asked.counts {
            asked_count += 1;
            right_count += usize::from(right);
            let kind = Kind::ALL.iter().position(|&kind| kind == asked.kind).unwrap_or(0);
            tally.add_answer(kind, right);
        }
    }
    (right_count, asked_count)
}
