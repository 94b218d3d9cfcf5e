//! The task `inference-MODEL`: serve exactly this model, fast.
//!
//! The owner pins a model by the first 16 bytes of its digest, written as 32 hex digits in the task's name; `agon-miner
//! hash --model DIR` prints it. An item is the beginning of a story, and the answer is whatever the model says next,
//! sampled with the seed of the challenge for a fixed number of tokens, so that every miner does the same work.
//!
//! # The judgement
//!
//! What an answer says does not matter, since only the pinned model may say it: that it did is for the validator to
//! verify, and an answer that fails is worth nothing whatever this judgement is. A verified one is worth
//! [`SCORE_PPM_MAX`] times the time it may take over the time it took, at most [`SCORE_PPM_MAX`]. It may take
//! [`FIRST_MS`] to its first token and [`TOKEN_MS`] for each further one: the task's target, beyond which more speed
//! earns nothing.
//!
//! # Work
//!
//! Pay is quality times the work that a miner proves in bursts, up to what it says it can do and [`BURST_ITEMS`]
//! items at once: UIDs that share a machine share what it can do.

use crate::draw::{Draw, Purpose};
use crate::reading::profile;
use crate::reading::story::Story;
use crate::{Given, Item, Judgement, ModelPin, SCORE_PPM_MAX, Task};

/// What the names of these tasks begin with.
pub const NAME_PREFIX: &str = "inference-";
/// Tokens of every answer.
pub const TOKENS: u32 = 48;
/// Milliseconds that the first token may take without loss of score.
pub const FIRST_MS: u32 = 1_000;
/// Milliseconds that each further token may take without loss of score: 25 tokens a second.
pub const TOKEN_MS: u32 = 40;

/// Most items that a miner is asked at the same moment, whatever it says that it can do.
pub const BURST_ITEMS: u32 = 256;

/// Most sentences of a prompt.
const SENTENCES_MAX: usize = 6;

/// The task of serving one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inference {
    name: String,
    pin: ModelPin,
}

impl Inference {
    /// The task that pins this model.
    #[must_use]
    pub fn new(pin: ModelPin) -> Self {
        let name = format!("{NAME_PREFIX}{pin}");
        Self { name, pin }
    }

    /// Reads the task's name; `None` when it is not one of these.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        name.strip_prefix(NAME_PREFIX)?.parse().ok().map(Self::new)
    }
}

impl Task for Inference {
    fn name(&self) -> &str {
        &self.name
    }

    fn summary(&self) -> &'static str {
        "serve the pinned model, verified token by token and paid by speed"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["story"]
    }

    fn item(&self, seed: [u8; 32]) -> Item {
        let mut draw = Draw::new(seed, Purpose::Item);
        let difficulty = draw.pick(&[1u8, 2, 3, 4]);
        let story = Story::tell(&mut draw, &profile(difficulty));
        let sentences = story.sentences();
        let shown = draw.between(1, sentences.len().clamp(1, SENTENCES_MAX));
        Item {
            prompt: sentences[..shown.min(sentences.len())].join(" "),
            reference: String::new(),
            kind: "story",
            difficulty,
            tokens_max: TOKENS,
            tokens_min: TOKENS,
        }
    }

    fn judge(&self, item: &Item, given: &Given<'_>) -> Judgement {
        if given.tokens != item.tokens_max {
            let reason = format!("{} tokens, {} were asked for", given.tokens, item.tokens_max);
            return Judgement { score_ppm: 0, reason };
        }
        let allowed_ms =
            u64::from(FIRST_MS) + u64::from(TOKEN_MS) * u64::from(given.tokens.saturating_sub(1));
        let taken_ms = u64::from(given.total_ms).max(1);
        let score = u64::from(SCORE_PPM_MAX) * allowed_ms / taken_ms;
        let score_ppm = u32::try_from(score).map_or(SCORE_PPM_MAX, |score| score.min(SCORE_PPM_MAX));
        let reason = format!(
            "{} tokens in {taken_ms} ms, the first after {} ms; {allowed_ms} ms are enough",
            given.tokens, given.first_ms
        );
        Judgement { score_ppm, reason }
    }

    fn reads_text(&self) -> bool {
        false
    }

    fn model(&self) -> Option<ModelPin> {
        Some(self.pin)
    }

    fn burst_items(&self) -> Option<u32> {
        Some(BURST_ITEMS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inference() -> Inference {
        Inference::new(ModelPin([0xab; 16]))
    }

    #[track_caller]
    fn check(tokens: u32, total_ms: u32, score_ppm: u32) {
        let task = inference();
        let given = Given {
            text: "",
            tokens,
            first_ms: 10,
            total_ms,
        };
        assert_eq!(task.judge(&task.item([1; 32]), &given).score_ppm, score_ppm);
    }

    #[test]
    fn the_name_tells_the_model_and_nothing_else_is_such_a_name() {
        let name = format!("inference-{}", "ab".repeat(16));
        assert_eq!(inference().name(), name);
        assert_eq!(Inference::parse(&name), Some(inference()));
        for odd in [
            "inference-",
            "inference-ab",
            "reading",
            &name.to_uppercase(),
            &format!("{name}0"),
        ] {
            assert_eq!(Inference::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn speed_pays_up_to_the_target_and_not_beyond() {
        let enough_ms = FIRST_MS + TOKEN_MS * (TOKENS - 1);
        check(TOKENS, enough_ms, SCORE_PPM_MAX);
        check(TOKENS, 1, SCORE_PPM_MAX);
        check(TOKENS, 0, SCORE_PPM_MAX);
        check(TOKENS, enough_ms * 2, SCORE_PPM_MAX / 2);
        check(TOKENS, u32::MAX, 0);
    }

    #[test]
    fn an_answer_of_another_length_is_worth_nothing() {
        check(TOKENS - 1, 10, 0);
        check(0, 0, 0);
    }

    #[test]
    fn items_differ_from_seed_to_seed_and_are_never_empty() {
        let task = inference();
        let prompts: std::collections::BTreeSet<String> =
            (0..=255).map(|seed| task.item([seed; 32]).prompt).collect();
        assert!(prompts.len() > 200 && prompts.iter().all(|prompt| !prompt.is_empty()));
    }
}
