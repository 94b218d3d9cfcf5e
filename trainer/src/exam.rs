//! Accuracy on items of the task that the model cannot have seen.
//!
//! The items are those that miners are asked: [`Task::item`] with seeds of the exam's own. Training text is
//! drawn for another purpose (`agon_subnets::draw::Purpose`), so no seed gives both.

use agon_model::train::{Batch, Branch, Learner, Passage, Vocabulary};
use agon_subnets::reading::Reading;
use agon_subnets::{Item, Task};
use std::collections::BTreeMap;

use crate::lesson::vocabulary;

/// Items per batch of the exam.
const BATCH_ITEMS: usize = 50;

/// How many answers were right, of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Marks {
    /// Items asked.
    pub asked: usize,
    /// Items whose most likely answer is the reference, followed by the end of the text.
    pub right: usize,
    /// Sum of the probabilities of exactly that: the expected count when answers are sampled at
    /// temperature 1.
    pub expected: f64,
}

impl Marks {
    /// Share of right answers when the most likely token is taken, in percent.
    pub fn greedy_percent(&self) -> f64 {
        100.0 * self.right as f64 / self.asked.max(1) as f64
    }

    /// Expected share of right answers when sampled at temperature 1, in percent.
    pub fn sampled_percent(&self) -> f64 {
        100.0 * self.expected / self.asked.max(1) as f64
    }

    fn add(&mut self, right: bool, probability: f64) {
        self.asked += 1;
        self.right += usize::from(right);
        self.expected += probability;
    }
}

/// The marks of one exam.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Over all items.
    pub all: Marks,
    /// By kind of question.
    pub by_kind: BTreeMap<&'static str, Marks>,
    /// By difficulty.
    pub by_difficulty: BTreeMap<u8, Marks>,
}

/// Asks `count` items of the exam with number `exam`.
pub fn sit(learner: &Learner, exam: u64, count: usize) -> Report {
    let items: Vec<Item> = (0..count as u64)
        .map(|number| Reading.item(seed(exam, number)))
        .collect();
    let vocabulary = vocabulary();
    let mut report = Report::default();
    for items in items.chunks(BATCH_ITEMS) {
        let passages: Vec<Passage> = items.iter().map(|item| passage(item, &vocabulary)).collect();
        let step = learner.predict(&Batch::pack(&passages));
        for (index, item) in items.iter().enumerate() {
            let (word, end) = (2 * index, 2 * index + 1);
            let right = step.right[word] && step.right[end];
            let probability = f64::from(step.probability[word]) * f64::from(step.probability[end]);
            report.all.add(right, probability);
            report
                .by_kind
                .entry(item.kind)
                .or_default()
                .add(right, probability);
            report
                .by_difficulty
                .entry(item.difficulty)
                .or_default()
                .add(right, probability);
        }
    }
    report
}

fn seed(exam: u64, number: u64) -> [u8; 32] {
    let mut seed = *b"agon exam, item seed............";
    seed[16..24].copy_from_slice(&exam.to_le_bytes());
    seed[24..].copy_from_slice(&number.to_le_bytes());
    seed
}

/// The item as the model reads it: the prompt, then the answer and the end of the text.
fn passage(item: &Item, vocabulary: &Vocabulary) -> Passage {
    let mut context = vocabulary.encode(&item.prompt);
    let prompt = context.split_off(context.len().saturating_sub(1));
    let answer = vec![vocabulary.id(&item.reference), Vocabulary::END_ID];
    Passage {
        branches: vec![Branch {
            reads: context.len(),
            prompt,
            answer,
        }],
        context,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_reads_an_item_as_the_published_tokenizer_encodes_its_prompt() {
        let vocabulary = vocabulary();
        let json = vocabulary.tokenizer_json().to_string();
        let tokenizer = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        for number in 0..50 {
            let item = Reading.item(seed(9, number));
            let passage = passage(&item, &vocabulary);
            let read = [&passage.context[..], &passage.branches[0].prompt].concat();
            assert_eq!(
                tokenizer.encode(item.prompt.as_str(), true).unwrap().get_ids(),
                read
            );
            assert_eq!(
                tokenizer.decode(&passage.branches[0].answer, true).unwrap(),
                item.reference
            );
        }
    }
}
