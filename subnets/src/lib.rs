//! What a subnet asks its miners, and how an answer is judged.
//!
//! A [`Task`] turns 32 bytes into an [`Item`] (a prompt with its perfect answer) and an answer into a
//! [`Judgement`]. Both are pure functions of what they are given: no clock, no float, no hash map, so that
//! every validator makes the same item from the same draw and gives the same answer the same score.
//!
//! Tasks are found by name in [`tasks`]. A new one is a file beside [`reading`] and a line in that list.
//! Who is asked, when, and what a score is worth is decided elsewhere (`scoring` and `validator`).

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

pub mod draw;
pub mod reading;

/// The score of a perfect answer, in parts per million.
pub const SCORE_PPM_MAX: u32 = 1_000_000;

/// One question with everything that is needed to ask and to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What the miner's model reads: plain English, at most a few hundred words.
    pub prompt: String,
    /// The perfect answer: the anchor that a miner's answer is compared with.
    pub reference: String,
    /// The kind of question, for statistics by kind. One of [`Task::kinds`].
    pub kind: &'static str,
    /// How hard the item is within its task, from 1 upward.
    pub difficulty: u8,
    /// How many tokens of answer a miner is asked for.
    pub tokens_max: u32,
}

/// What an answer is worth, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Parts per million of a perfect answer, 0 to [`SCORE_PPM_MAX`].
    pub score_ppm: u32,
    /// A short phrase for people who read the evidence.
    pub reason: String,
}

/// Something that miners can be asked, again and again, without end.
pub trait Task: Send + Sync {
    /// The name in the registry and in a subnet's parameters: one lower-case word.
    fn name(&self) -> &'static str;

    /// One sentence for people who choose a task.
    fn summary(&self) -> &'static str;

    /// Every value that [`Item::kind`] takes, in the order in which statistics are shown.
    fn kinds(&self) -> &'static [&'static str];

    /// Makes the item of `seed`.
    ///
    /// The same seed gives the same item on every machine and in every release that has the same golden
    /// files. Seeds come from a verifiable draw, so nobody can choose a convenient one.
    fn item(&self, seed: [u8; 32]) -> Item;

    /// Scores `answer`, which may be any text at all, against `item`.
    ///
    /// Never panics, and its work is bounded however long the answer is.
    fn judge(&self, item: &Item, answer: &str) -> Judgement;
}

static TASKS: &[&dyn Task] = &[&reading::Reading];

/// Lists all tasks, in the order in which they were added.
pub fn tasks() -> &'static [&'static dyn Task] {
    TASKS
}

/// Finds a task by its [`Task::name`].
pub fn task(name: &str) -> Option<&'static dyn Task> {
    TASKS.iter().copied().find(|task| task.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_task_is_found_by_its_own_name_and_no_two_share_one() {
        let names: BTreeSet<&str> = tasks().iter().map(|task| task.name()).collect();
        assert_eq!(names.len(), tasks().len());
        for name in names {
            assert_eq!(task(name).expect("a listed task").name(), name);
        }
        assert!(task("no such task").is_none());
    }

    #[test]
    fn every_task_gives_its_own_reference_full_marks() {
        for task in tasks() {
            for seed in 0..200u8 {
                let item = task.item([seed; 32]);
                assert!(task.kinds().contains(&item.kind), "{}", item.kind);
                assert_eq!(
                    task.judge(&item, &item.reference).score_ppm,
                    SCORE_PPM_MAX,
                    "{item:?}"
                );
            }
        }
    }
}
