//! Stories and questions as batches of tokens.

use crate::course::Stage;
use agon_model::train::{Batch, Branch, Passage, Vocabulary};
use agon_subnets::draw::{Draw, Purpose};
use agon_subnets::reading::story::{Kind, Story, phrases, words};
use agon_subnets::reading::{ANSWER_MARK, INSTRUCTION};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Of a batch's tokens, one in this many repeats earlier stages.
const REPEATED_ONE_IN: usize = 5;

/// The tokenizer's phrases and words: all of the task's, and the ends of every prompt.
pub fn vocabulary() -> Vocabulary {
    let mut fixed = vec![INSTRUCTION.to_owned(), asked_to_answer("?")];
    fixed.extend(phrases());
    Vocabulary::new(&fixed, &words())
}

/// A question with what follows it in every prompt.
fn asked_to_answer(question: &str) -> String {
    format!("{question}\n{ANSWER_MARK}")
}

/// A batch for one thread, and what each of its questions was.
#[derive(Clone, Debug)]
pub struct Part {
    /// The tokens.
    pub batch: Batch,
    /// For each passage and each branch: what was asked.
    pub asked: Vec<Vec<Asked>>,
}

/// What a branch asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its kind.
    pub kind: Kind,
    /// Whether it is asked after the whole story of the stage that is being taught, and so tells whether the
    /// stage is passed.
    pub counts: bool,
}

/// What lessons are made from.
#[derive(Clone, Debug)]
pub struct Syllabus {
    /// The stages of the course.
    pub stages: &'static [Stage],
    /// Fixes all stories, together with the step.
    pub seed: u64,
    /// Tokens per lesson, about.
    pub tokens: usize,
    /// Into how many parts of about the same size a lesson is divided.
    pub parts: usize,
}

impl Syllabus {
    /// Makes the lesson of a step: the same for the same order, whenever it is made.
    pub fn lesson(&self, vocabulary: &Vocabulary, order: Order) -> Vec<Part> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&order.step.to_le_bytes());
        let mut draw = Draw::new(key, Purpose::Training);
        (0..self.parts)
            .map(|_| self.part(&mut draw, vocabulary, order.stage))
            .collect()
    }

    fn part(&self, draw: &mut Draw, vocabulary: &Vocabulary, stage: usize) -> Part {
        let (mut passages, mut asked, mut count) = (Vec::new(), Vec::new(), 0);
        while count * self.parts < self.tokens {
            let repeats = stage > 0 && draw.below(REPEATED_ONE_IN) == 0;
            let of = if repeats { draw.below(stage) } else { stage };
            let (passage, questions) = passage(draw, &self.stages[of], !repeats, vocabulary);
            count += passage.token_count();
            passages.push(passage);
            asked.push(questions);
        }
        Part {
            batch: Batch::pack(&passages),
            asked,
        }
    }
}

/// One story with half as many questions again as sentences, half of them after the whole story.
fn passage(draw: &mut Draw, stage: &Stage, counts: bool, vocabulary: &Vocabulary) -> (Passage, Vec<Asked>) {
    let profile = stage.profile(draw);
    let story = Story::tell(draw, &profile);
    let sentence_count = story.sentences().len();
    let mut context = vocabulary.encode(INSTRUCTION);
    let mut read = vec![context.len()];
    for sentence in story.sentences() {
        context.extend(vocabulary.encode(sentence));
        read.push(context.len());
    }
    let (mut branches, mut asked, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..sentence_count + sentence_count / 2 {
        let whole = number % 2 == 0;
        let after = if whole {
            sentence_count
        } else {
            draw.between(1, sentence_count)
        };
        let kind = stage.kind(draw);
        let Some(question) = story.question(draw, after, kind) else {
            continue;
        };
        let text = (after, question.text);
        if texts.contains(&text) {
            continue;
        }
        let prompt = vocabulary.encode(&asked_to_answer(&text.1));
        let mut answer = vec![vocabulary.id(question.answer)];
        if branches.is_empty() {
            answer.push(Vocabulary::END_ID);
        }
        branches.push(Branch {
            reads: read[after],
            prompt,
            answer,
        });
        asked.push(Asked {
            kind,
            counts: counts && after == sentence_count,
        });
        texts.push(text);
    }
    (Passage { context, branches }, asked)
}

/// What the teacher asks the lesson's maker for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Position in the course.
    pub stage: usize,
    /// The step that will use it.
    pub step: u64,
}

/// Makes lessons on a thread of its own, one ahead of the teacher.
#[derive(Debug)]
pub struct Maker {
    orders: SyncSender<Order>,
    lessons: Receiver<Vec<Part>>,
}

impl Maker {
    /// Starts the thread. It ends when the maker is dropped.
    pub fn start(syllabus: Syllabus) -> Self {
        let (orders, taken) = sync_channel::<Order>(2);
        let (made, lessons) = sync_channel(2);
        std::thread::spawn(move || {
            let vocabulary = vocabulary();
            for order in taken {
                if made.send(syllabus.lesson(&vocabulary, order)).is_err() {
                    return;
                }
            }
        });
        Self { orders, lessons }
    }

    /// Orders a lesson; at most two may be on order.
    pub fn order(&self, order: Order) {
        self.orders
            .send(order)
            .expect("the maker's thread lives as long as its channels");
    }

    /// Waits for the lesson that was ordered first.
    pub fn take(&self) -> Vec<Part> {
        self.lessons
            .recv()
            .expect("the maker's thread lives as long as its channels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::WHOLE;

    fn make(stage: usize, step: u64, seed: u64, tokens: usize, parts: usize) -> Vec<Part> {
        Syllabus {
            stages: WHOLE,
            seed,
            tokens,
            parts,
        }
        .lesson(&vocabulary(), Order { stage, step })
    }

    #[test]
    fn a_lesson_is_fixed_by_stage_step_and_seed() {
        let batch = |stage, step, seed| make(stage, step, seed, 500, 1).remove(0).batch;
        assert_eq!(batch(2, 7, 1), batch(2, 7, 1));
        assert_ne!(batch(2, 7, 1), batch(2, 8, 1));
        assert_ne!(batch(2, 7, 1), batch(2, 7, 2));
    }

    #[test]
    fn the_parts_of_a_lesson_are_different_and_together_as_large_as_the_whole() {
        let places = |parts: &[Part]| parts.iter().map(|part| part.batch.ids.len()).sum::<usize>();
        let parts = make(3, 1, 1, 3_000, 2);
        assert_ne!(parts[0].batch, parts[1].batch);
        assert!(places(&parts).abs_diff(places(&make(3, 1, 1, 3_000, 1))) < 600);
    }

    #[test]
    fn no_lesson_has_a_word_that_the_vocabulary_lacks() {
        for (stage, Stage { name, .. }) in WHOLE.iter().enumerate() {
            let Batch {
                rows,
                length,
                ids,
                mask,
                ..
            } = make(stage, 1, 1, 3_000, 1).remove(0).batch;
            let seen = |at: usize| {
                mask[at * length..(at + 1) * length]
                    .iter()
                    .filter(|&&seen| seen == 0.0)
            };
            let unknown = (0..rows * length)
                .filter(|&at| seen(at).count() > 1 && ids[at] == 0)
                .count();
            assert_eq!(unknown, 0, "stage {name}");
        }
    }

    #[test]
    fn about_one_passage_in_five_repeats_earlier_stages() {
        let asked = make(WHOLE.len() - 1, 3, 1, 40_000, 1).remove(0).asked;
        let repeated = asked
            .iter()
            .filter(|asked| asked.iter().all(|asked| !asked.counts))
            .count();
        assert!(
            (3..=7).contains(&(asked.len() / repeated)),
            "{repeated} of {}",
            asked.len()
        );
    }
}
