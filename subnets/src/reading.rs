//! The task `reading`: a short story, and a question that it answers.
//!
//! # The item
//!
//! The seed draws a level (1 to 4, each equally likely), the level fixes the cast and the length of the
//! story ([`profile`]), and the kind of question is drawn by [`KIND_WEIGHTS`]:
//!
//! | level | people | objects | sentences | dropped and handed over | distraction |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 | 3 | 1 | 4 to 5 | no | no |
//! | 2 | 3 | 1 | 5 to 7 | yes | no |
//! | 3 | 4 | 1 | 6 to 8 | yes | yes |
//! | 4 | 4 | 2 | 8 to 10 | yes | yes |
//!
//! Naming the last place or person of the story is right in well under 45 % of the items (a test
//! holds it there), so a model has to keep track of who is where.
//!
//! # The judgement
//!
//! One word is asked for, and the reference is worth [`SCORE_PPM_MAX`]. Case, blanks
//! around, a leading "the" and a final full stop do not matter. Words around the right one cost
//! [`EXTRA_WORD_PPM`] each, down to [`WORDY_PPM_MIN`]. A wrong name of the right category alone earns
//! [`CATEGORY_PPM`]; several names of that category earn nothing, so listing all of them does not pay.

pub mod story;

use crate::draw::{Draw, Purpose};
use crate::{Given, Item, Judgement, SCORE_PPM_MAX, Task};
use story::{Kind, NOBODY, PEOPLE, PLACES, Profile, Question, Story};

/// The task's name.
pub const NAME: &str = "reading";
/// The sentence that every prompt begins with.
pub const INSTRUCTION: &str = "Read the story and answer with one word.";
/// What every prompt ends with, after the question.
pub const ANSWER_MARK: &str = "Answer:";
/// Levels of difficulty; [`Item::difficulty`] is 1 to this.
pub const LEVELS: u8 = 4;
/// How often each of [`Kind::ALL`] is asked, in parts of their sum.
pub const KIND_WEIGHTS: [usize; 3] = [8, 5, 7];
/// What each word beyond the right one costs, in parts per million.
pub const EXTRA_WORD_PPM: u32 = 150_000;
/// The least that the right word among others earns, in parts per million.
pub const WORDY_PPM_MIN: u32 = 250_000;
/// What a wrong name of the right category earns, in parts per million.
pub const CATEGORY_PPM: u32 = 50_000;
/// How much of an answer is read, in bytes; a longer one is no answer in one word.
pub const ANSWER_BYTES_MAX: usize = 256;

/// Tokens of answer a miner is asked for: a word and its end, with room for tokenizers that split words.
const TOKENS_MAX: u32 = 8;
/// How many stories are told until one has an answer to the drawn kind of question.
const STORIES_MAX: usize = 64;

/// The task `reading`.
#[derive(Clone, Copy, Debug)]
pub struct Reading;

impl Task for Reading {
    fn name(&self) -> &str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "short stories about who is where and who has what, and one question about each"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["person", "holder", "object"]
    }

    fn item(&self, seed: [u8; 32]) -> Item {
        let mut draw = Draw::new(seed, Purpose::Item);
        let difficulty = draw.pick(&[1u8, 2, 3, 4]);
        let kind = Kind::ALL[draw.weighted(&KIND_WEIGHTS)];
        let (story, question) = tell_and_ask(&mut draw, &profile(difficulty), kind);
        Item {
            prompt: prompt(story.sentences(), &question.text),
            reference: question.answer.to_owned(),
            kind: question.kind.name(),
            difficulty,
            tokens_max: TOKENS_MAX,
            tokens_min: 0,
        }
    }

    fn judge(&self, item: &Item, given: &Given<'_>) -> Judgement {
        judge(&item.reference, given.text)
    }
}

/// The story's profile at a level; a level outside 1 to [`LEVELS`] counts as the nearest of them.
pub fn profile(level: u8) -> Profile {
    let (people, objects, sentences_min, sentences_max) = match level {
        0 | 1 => (3, 1, 4, 5),
        2 => (3, 1, 5, 7),
        3 => (4, 1, 6, 8),
        _ => (4, 2, 8, 10),
    };
    Profile {
        people,
        places: PLACES.len(),
        objects,
        sentences_min,
        sentences_max,
        exchange: level >= 2,
        distraction: level >= 3,
    }
}

/// Puts instruction, sentences and question into the one form in which miners see them.
pub fn prompt(sentences: &[String], question: &str) -> String {
    format!(
        "{INSTRUCTION}\n\n{}\n\n{question}\n{ANSWER_MARK}",
        sentences.join(" ")
    )
}

/// Tells stories until one answers a question of `kind`.
///
/// A story without any object is rare; after [`STORIES_MAX`] of them a person is asked about instead.
fn tell_and_ask(draw: &mut Draw, profile: &Profile, kind: Kind) -> (Story, Question) {
    for _ in 0..STORIES_MAX {
        let story = Story::tell(draw, profile);
        if let Some(question) = story.question(draw, story.sentences().len(), kind) {
            return (story, question);
        }
    }
    let story = Story::tell(draw, profile);
    let question = story.question(draw, story.sentences().len(), Kind::Person);
    (
        story,
        question.expect("the first sentence of a story places somebody"),
    )
}

fn judge(reference: &str, answer: &str) -> Judgement {
    if answer.len() > ANSWER_BYTES_MAX {
        return verdict(0, format!("{} bytes, where one word was asked for", answer.len()));
    }
    let words = plain_words(answer);
    let category = category_of(reference);
    let named_in_order = words.iter().filter(|word| category.contains(word));
    let mut named: Vec<&str> = named_in_order.map(String::as_str).collect();
    named.sort_unstable();
    named.dedup();
    let extra = u32::try_from(words.len().saturating_sub(1)).unwrap_or(u32::MAX);
    match named[..] {
        [] => verdict(0, "names nothing that was asked for".to_owned()),
        [name] if name == reference.to_lowercase() => match extra {
            0 => verdict(SCORE_PPM_MAX, "exact".to_owned()),
            _ => verdict(
                SCORE_PPM_MAX
                    .saturating_sub(extra.saturating_mul(EXTRA_WORD_PPM))
                    .max(WORDY_PPM_MIN),
                format!("right among {extra} other words"),
            ),
        },
        [_] if extra == 0 => verdict(CATEGORY_PPM, "wrong, but of the right category".to_owned()),
        [_] => verdict(0, "wrong".to_owned()),
        _ => verdict(0, format!("names {} where one was asked for", named.len())),
    }
}

fn verdict(score_ppm: u32, reason: String) -> Judgement {
    Judgement { score_ppm, reason }
}

/// Splits an answer into lower-case words without the marks around them, and drops a leading "the".
fn plain_words(answer: &str) -> Vec<String> {
    let bare = |word: &str| {
        word.trim_matches(|mark: char| !mark.is_alphanumeric())
            .to_lowercase()
    };
    let mut words: Vec<String> = answer
        .split_whitespace()
        .map(bare)
        .filter(|word| !word.is_empty())
        .collect();
    if words.len() > 1 && words[0] == "the" {
        words.remove(0);
    }
    words
}

/// All answers, in lower case, that the question could have had.
fn category_of(reference: &str) -> Vec<String> {
    let names: Vec<&str> = if PLACES.contains(&reference) {
        PLACES.to_vec()
    } else {
        PEOPLE.iter().copied().chain([NOBODY]).collect()
    };
    names.into_iter().map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests;
