//! Where a training run stands: what is shown, drawn as a curve, and kept in its checkpoint.

use agon_subnets::reading::story::Kind;
use serde::{Deserialize, Serialize};

const KINDS: usize = Kind::ALL.len();

/// One point of the curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken.
    pub step: u64,
    /// Seconds of training, earlier runs of the same checkpoint included.
    pub seconds: f64,
    /// Position in the course.
    pub stage: usize,
    /// Mean loss since the last point, in nats per answer token.
    pub loss: f64,
    /// Share of right answers since the last point, in percent.
    pub right_percent: f64,
    /// The same by kind of question, in the order of the task's kinds; none asked gives none.
    pub by_kind_percent: [Option<f64>; KINDS],
    /// Tokens read per second since the last point.
    pub tokens_per_second: f64,
}

/// What a run needs, beside parameters, to go on after a stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Name of the rung, so that a checkpoint is not continued as another.
    pub rung: String,
    /// Seed of the run.
    pub seed: u64,
    /// Steps taken.
    pub step: u64,
    /// Position in the course.
    pub stage: usize,
    /// Steps taken in this stage.
    pub stage_steps: u64,
    /// Running share of right answers in this stage, 0 to 1.
    pub stage_right: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// Tokens read.
    pub tokens: u64,
    /// For each stage that was reached: its first step.
    pub stage_starts: Vec<u64>,
    /// The curve so far.
    pub points: Vec<Point>,
}

/// Weight of one step in [`Progress::stage_right`].
const STEP_WEIGHT: f64 = 0.05;
/// A stage is passed at this share of right answers.
const STAGE_PASSED_AT: f64 = 0.9;
/// No stage is passed in fewer steps.
const STAGE_STEPS_MIN: u64 = 20;
/// After so many steps the next stage follows anyway: it may teach what this one could not.
const STAGE_STEPS_MAX: u64 = 900;

impl Progress {
    /// Stands at the beginning of a rung's course.
    pub fn begin(rung: &str, seed: u64) -> Self {
        Self {
            rung: rung.to_owned(),
            seed,
            stage_starts: vec![0],
            ..Self::default()
        }
    }

    /// Counts a step's answers, and goes to the next stage when this one is passed.
    ///
    /// Says whether it did.
    pub fn count_step(&mut self, right: usize, asked: usize, stage_count: usize) -> bool {
        self.step += 1;
        self.stage_steps += 1;
        if asked > 0 {
            self.stage_right += STEP_WEIGHT * (right as f64 / asked as f64 - self.stage_right);
        }
        let passed = self.stage_right >= STAGE_PASSED_AT && self.stage_steps >= STAGE_STEPS_MIN;
        if !(passed || self.stage_steps >= STAGE_STEPS_MAX) || self.stage + 1 >= stage_count {
            return false;
        }
        self.stage += 1;
        self.stage_steps = 0;
        self.stage_right = 0.0;
        self.stage_starts.push(self.step);
        true
    }
}

/// Sums between two points.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    batches: u64,
    loss: f64,
    tokens: u64,
    by_kind: [(usize, usize); KINDS],
}

impl Tally {
    /// Adds a batch.
    pub fn add_batch(&mut self, loss: f64, tokens: u64) {
        self.batches += 1;
        self.loss += loss;
        self.tokens += tokens;
    }

    /// Adds an answer to a question of the kind at `kind` in the task's list.
    pub fn add_answer(&mut self, kind: usize, right: bool) {
        self.by_kind[kind].0 += usize::from(right);
        self.by_kind[kind].1 += 1;
    }

    /// The point that ends here, after `seconds` since the last one.
    pub fn point(&self, progress: &Progress, seconds: f64) -> Point {
        let percent =
            |(right, asked): (usize, usize)| (asked > 0).then(|| 100.0 * right as f64 / asked as f64);
        let all = self
            .by_kind
            .iter()
            .fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
        Point {
            step: progress.step,
            seconds: progress.seconds,
            stage: progress.stage,
            loss: self.loss / self.batches.max(1) as f64,
            right_percent: percent(all).unwrap_or(0.0),
            by_kind_percent: self.by_kind.map(percent),
            tokens_per_second: self.tokens as f64 / seconds.max(1e-9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_ends_when_nine_in_ten_answers_are_right_for_a_while() {
        let mut progress = Progress::default();
        let steps = (1..)
            .find(|_| progress.count_step(19, 20, 2))
            .expect("the stage is passed");
        assert!((STAGE_STEPS_MIN..100).contains(&steps), "{steps}");
        assert_eq!((progress.stage, progress.stage_steps), (1, 0));
        assert!(
            (0..200).all(|_| !progress.count_step(20, 20, 2)),
            "the last stage does not end"
        );
    }

    #[test]
    fn a_stage_with_too_many_wrong_answers_ends_when_its_steps_are_spent() {
        let mut progress = Progress::default();
        assert!((1..STAGE_STEPS_MAX).all(|_| !progress.count_step(17, 20, 2)));
        assert!(progress.count_step(17, 20, 2));
    }
}
