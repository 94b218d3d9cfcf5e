//! What a subnet asks its miners, and how an answer is judged.
//!
//! A [`Task`] turns 32 bytes into an [`Item`] (a prompt with its perfect answer) and an answer into a
//! [`Judgement`]. Both are pure functions of what they are given: no clock, no float, no hash map, so that
//! every validator makes the same item from the same draw and gives the same answer the same score.
//!
//! Tasks are found by name with [`task`]. A new one is a file beside [`reading`] and a line there.
//! Who is asked, when, and what a score is worth is decided elsewhere (`scoring` and `validator`).

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub mod draw;
pub mod inference;
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
    /// The model's own end of the text does not count before this many.
    pub tokens_min: u32,
}

/// What a miner gave, and how fast, by the validator's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given<'a> {
    /// The text.
    pub text: &'a str,
    /// Tokens that it is made of, the end of the text included.
    pub tokens: u32,
    /// Milliseconds from the question to the first piece of text.
    pub first_ms: u32,
    /// Milliseconds from the question to the receipt.
    pub total_ms: u32,
}

impl<'a> Given<'a> {
    /// A text of which nothing else is known.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// The first 16 bytes of a model's digest: enough that nobody finds another model with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelPin(pub [u8; 16]);

impl ModelPin {
    /// The pin of the model with this digest.
    #[must_use]
    pub fn of(digest: &[u8; 32]) -> Self {
        let mut pin = [0; 16];
        pin.copy_from_slice(&digest[..16]);
        Self(pin)
    }
}

impl fmt::Display for ModelPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text is not 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPin;

impl FromStr for ModelPin {
    type Err = NoPin;

    fn from_str(text: &str) -> Result<Self, NoPin> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(NoPin);
        }
        let mut pin = [0; 16];
        for (byte, digits) in pin.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| NoPin)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoPin)?;
        }
        Ok(Self(pin))
    }
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
    /// The name in a subnet's parameters: one lower-case word, and what it pins, if it does.
    fn name(&self) -> &str;

    /// One sentence for people who choose a task.
    fn summary(&self) -> &'static str;

    /// Every value that [`Item::kind`] takes, in the order in which statistics are shown.
    fn kinds(&self) -> &'static [&'static str];

    /// Makes the item of `seed`.
    ///
    /// The same seed gives the same item on every machine and in every release that has the same golden
    /// files. Seeds come from a verifiable draw, so nobody can choose a convenient one.
    fn item(&self, seed: [u8; 32]) -> Item;

    /// Scores what was given, which may be any text at all, against `item`.
    ///
    /// Never panics, and its work is bounded however long the answer is.
    fn judge(&self, item: &Item, given: &Given<'_>) -> Judgement;

    /// Whether [`Task::judge`] reads the text. Where it does, texts are shown to the ledger, which judges them again; no
    /// answer of such a task is longer than a kilobyte.
    fn reads_text(&self) -> bool {
        true
    }

    /// The model that answers have to come from, where the task pays for one model only. Then answers are verified
    /// against it, and one that fails is worth nothing.
    fn model(&self) -> Option<ModelPin> {
        None
    }

    /// The most items that a miner is asked at the same moment, where the task pays for the work that miners prove in
    /// such bursts: what a miner can do beyond that earns nothing more.
    ///
    /// Only for tasks of which nobody can have an answer without doing the work of it.
    fn burst_items(&self) -> Option<u32> {
        None
    }
}

/// The names of all tasks, in the order in which they were added; capitals stand for what the owner puts in.
pub const NAMES: &[&str] = &["reading", "inference-MODEL"];

/// Finds a task by its [`Task::name`].
pub fn task(name: &str) -> Option<Arc<dyn Task>> {
    if name == reading::NAME {
        return Some(Arc::new(reading::Reading));
    }
    inference::Inference::parse(name).map(|task| -> Arc<dyn Task> { Arc::new(task) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every task, with a model of zeros where one is pinned.
    fn tasks() -> Vec<Arc<dyn Task>> {
        let name = |name: &&str| name.replace("MODEL", &"0".repeat(32));
        NAMES
            .iter()
            .map(|listed| task(&name(listed)).expect("a listed task"))
            .collect()
    }

    #[test]
    fn every_task_is_found_by_its_own_name_and_no_two_share_one() {
        let names: BTreeSet<String> = tasks().iter().map(|task| task.name().to_owned()).collect();
        assert_eq!(names.len(), NAMES.len());
        for name in names {
            assert_eq!(task(&name).expect("a listed task").name(), name);
        }
        assert!(task("no such task").is_none());
    }

    #[test]
    fn every_task_gives_its_own_reference_full_marks() {
        for task in tasks() {
            for seed in 0..200u8 {
                let item = task.item([seed; 32]);
                assert!(task.kinds().contains(&item.kind), "{}", item.kind);
                let given = Given {
                    tokens: item.tokens_max,
                    ..Given::text(&item.reference)
                };
                assert_eq!(task.judge(&item, &given).score_ppm, SCORE_PPM_MAX, "{item:?}");
            }
        }
    }
}
