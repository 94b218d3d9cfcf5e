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

/// A batch, and what each of its questions was.
#[derive(Clone, Debug)]
pub struct Lesson {
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

/// Makes the lesson of a step, of about `tokens` tokens: a function of course, stage, step and seed.
pub fn lesson(stages: &[Stage], vocabulary: &Vocabulary, order: Order, seed: u64, tokens: usize) -> Lesson {
    let Order { stage, step } = order;
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&step.to_le_bytes());
    let mut draw = Draw::new(key, Purpose::Training);
    let (mut passages, mut asked, mut count) = (Vec::new(), Vec::new(), 0);
    while count < tokens {
        let repeats = stage > 0 && draw.below(REPEATED_ONE_IN) == 0;
        let of = if repeats { draw.below(stage) } else { stage };
        let (passage, questions) = passage(&mut draw, &stages[of], !repeats, vocabulary);
        count += passage.token_count();
        passages.push(passage);
        asked.push(questions);
    }
    Lesson {
        batch: Batch::pack(&passages),
        asked,
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
    lessons: Receiver<Lesson>,
}

impl Maker {
    /// Starts the thread. It ends when the maker is dropped.
    pub fn start(stages: &'static [Stage], seed: u64, tokens: usize) -> Self {
        let (orders, taken) = sync_channel::<Order>(2);
        let (made, lessons) = sync_channel(2);
        std::thread::spawn(move || {
            let vocabulary = vocabulary();
            for order in taken {
                if made
                    .send(lesson(stages, &vocabulary, order, seed, tokens))
                    .is_err()
                {
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
    pub fn take(&self) -> Lesson {
        self.lessons
            .recv()
            .expect("the maker's thread lives as long as its channels")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::WHOLE;

    #[test]
    fn a_lesson_is_fixed_by_stage_step_and_seed() {
        let make = |stage, step, seed| lesson(WHOLE, &vocabulary(), Order { stage, step }, seed, 500).batch;
        assert_eq!(make(2, 7, 1), make(2, 7, 1));
        assert_ne!(make(2, 7, 1), make(2, 8, 1));
        assert_ne!(make(2, 7, 1), make(2, 7, 2));
    }

    #[test]
    fn no_lesson_has_a_word_that_the_vocabulary_lacks() {
        for stage in 0..WHOLE.len() {
            let lesson = lesson(WHOLE, &vocabulary(), Order { stage, step: 1 }, 1, 3_000);
            let Batch {
                rows,
                length,
                ids,
                mask,
                ..
            } = &lesson.batch;
            let used = |at: usize| {
                mask[at * length..(at + 1) * length]
                    .iter()
                    .filter(|&&seen| seen == 0.0)
                    .count()
                    > 1
            };
            let unknown = (0..rows * length).filter(|&at| used(at) && ids[at] == 0).count();
            assert_eq!(unknown, 0, "stage {}", WHOLE[stage].name);
        }
    }

    #[test]
    fn about_one_passage_in_five_repeats_earlier_stages() {
        let last = Order {
            stage: WHOLE.len() - 1,
            step: 3,
        };
        let lesson = lesson(WHOLE, &vocabulary(), last, 1, 40_000);
        let repeated = lesson
            .asked
            .iter()
            .filter(|asked| asked.iter().all(|asked| !asked.counts))
            .count();
        let part = lesson.asked.len() / repeated;
        assert!((3..=7).contains(&part), "{repeated} of {}", lesson.asked.len());
    }
}
