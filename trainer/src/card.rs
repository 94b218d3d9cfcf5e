//! The model card: what was taught, how it went, and what the model can do.
//!
//! The card is written anew whenever the task's generator changes and the model sits its exam again; what
//! training left behind is kept beside it in [`RECORD_FILE`].

use crate::course::Stage;
use crate::exam::{Marks, Report};
use crate::progress::Progress;
use crate::rung::Rung;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// File of the record, beside the card.
pub const RECORD_FILE: &str = "training.json";
/// File of the card.
pub const CARD_FILE: &str = "README.md";

/// How a model was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the rung.
    pub rung: String,
    /// Seed of parameters and lessons.
    pub seed: u64,
    /// Steps taken.
    pub steps: u64,
    /// Tokens read.
    pub tokens: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Threads that shared the work.
    pub threads: usize,
    /// Mean loss over the last steps, in nats per answer token.
    pub loss: f64,
    /// For each stage of the course that was reached: its first step.
    pub stage_starts: Vec<u64>,
}

impl Record {
    /// Sums up a run.
    pub fn of(progress: &Progress, threads: usize) -> Self {
        Self {
            rung: progress.rung.clone(),
            seed: progress.seed,
            steps: progress.step,
            tokens: progress.tokens,
            seconds: progress.seconds,
            threads,
            loss: progress.points.last().map_or(f64::NAN, |point| point.loss),
            stage_starts: progress.stage_starts.clone(),
        }
    }

    /// Writes the record to `folder`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = format!("{}\n", serde_json::to_string_pretty(self)?);
        std::fs::write(folder.join(RECORD_FILE), json).with_context(|| format!("write {RECORD_FILE}"))
    }

    /// Reads the record beside a card.
    ///
    /// # Errors
    ///
    /// When there is none, or it is not ours.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD_FILE);
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("understand {}", path.display()))
    }
}

/// Writes the card to `folder`.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(folder: &Path, rung: &Rung, record: &Record, exam: u64, report: &Report) -> Result<()> {
    let text = card(rung, record, exam, report);
    std::fs::write(folder.join(CARD_FILE), text).with_context(|| format!("write {CARD_FILE}"))
}

/// The text of the card, in Markdown.
pub fn card(rung: &Rung, record: &Record, exam: u64, report: &Report) -> String {
    let mut text = format!("# {}: a rung of Agon's ladder\n\n", rung.name);
    let shape = rung.shape();
    let _ = write!(
        text,
        "A Qwen2 model of {} parameters for the task `reading`, trained from nothing by Agon's own trainer.\n\
         It reads short stories in the task's words and answers one question with one word; it can do nothing else.\n\n\
         | | |\n| --- | --- |\n\
         | shape | width {}, {} layers, {} heads, feed-forward {}, vocabulary {} (word level) |\n\
         | format | Hugging Face folder, bf16, tied embeddings |\n\
         | data | stories and questions of the task's generator, made as training goes, never repeated |\n\
         | course | {} |\n\
         | steps | {} of about {} tokens, {:.1} million tokens in all |\n\
         | optimizer | AdamW, learning rate {} with warm-up, falling over the last part |\n\
         | loss at the end | {:.4} nats per answer token |\n\
         | seed | {} |\n\
         | wall time | {:.0} minutes with {} thread(s), on two cores shared with other work |\n\
         | command | `{}` |\n\n",
        shape.parameter_count(),
        shape.width,
        shape.layers,
        shape.heads,
        shape.mlp,
        shape.vocab,
        course(rung.stages, &record.stage_starts),
        record.steps,
        rung.tokens,
        record.tokens as f64 / 1e6,
        rung.rate,
        record.loss,
        record.seed,
        (record.seconds / 60.0).ceil(),
        record.threads,
        command(rung, record),
    );
    text += &marks(exam, report);
    text += "\n![loss and right answers over steps](curve.svg)\n\n\
             The same as numbers: `curve.csv`. The licence is that of the repository, MIT or Apache-2.0.\n";
    text
}

fn command(rung: &Rung, record: &Record) -> String {
    format!(
        "cargo run --release -p agon-trainer -- --rung {0} --out models/{0} --seed {1} --threads {2}",
        rung.name, record.seed, record.threads
    )
}

fn course(stages: &[Stage], starts: &[u64]) -> String {
    let named = stages
        .iter()
        .zip(starts)
        .map(|(stage, step)| format!("{} (from step {step})", stage.name));
    named.collect::<Vec<_>>().join(", ")
}

fn marks(exam: u64, report: &Report) -> String {
    let mut text = format!(
        "## Accuracy\n\n{} fresh items of the task (exam {exam}; no training text shares a seed with them).\n\
         *Greedy* takes the most likely word; *sampled* is what is expected at temperature 1.\n\n\
         | items | count | greedy | sampled |\n| --- | --- | --- | --- |\n",
        report.all.asked
    );
    let mut line = |name: &str, marks: &Marks| {
        let (greedy, sampled) = (marks.greedy_percent(), marks.sampled_percent());
        let _ = writeln!(
            text,
            "| {name} | {} | {greedy:.1} % | {sampled:.1} % |",
            marks.asked
        );
    };
    line("**all**", &report.all);
    for (kind, marks) in &report.by_kind {
        line(kind, marks);
    }
    for (level, marks) in &report.by_difficulty {
        line(&format!("difficulty {level}"), marks);
    }
    text
}
