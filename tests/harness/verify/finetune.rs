//! Trains the pinned model on, as someone would who serves a fine-tune of it: on continuing the task's stories.

use std::path::Path;

use agon_model::train::{Batch, Branch, Learner, Passage, Vocabulary, open_folder, write_folder};
use agon_subnets::draw::{Draw, Purpose};
use agon_subnets::reading::story::{Story, phrases, words};
use agon_subnets::reading::{ANSWER_MARK, INSTRUCTION, LEVELS, profile};
use anyhow::Context;

/// Steps of training.
const STEPS: u64 = 60;
/// Stories of one step.
const STORIES: usize = 16;
/// Learning rate: a tenth of what such models are trained with from nothing.
const RATE: f64 = 2e-4;

/// Writes a fine-tune of the model of the folder `from`, one of the ladder's, into `to`.
pub(super) fn fine_tune(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut learner = open_folder(from).with_context(|| format!("train {} on", from.display()))?;
    let vocabulary = vocabulary();
    for step in 0..STEPS {
        learner.step(&[&lesson(step, &vocabulary)], RATE);
    }
    save(&learner, &vocabulary, from, to)
}

/// The model as it is served: everything but the parameters is the pinned model's own.
fn save(learner: &Learner, vocabulary: &Vocabulary, from: &Path, to: &Path) -> anyhow::Result<()> {
    write_folder(to, learner, vocabulary)?;
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        std::fs::copy(from.join(name), to.join(name)).with_context(|| format!("copy {name}"))?;
    }
    Ok(())
}

/// The ladder's vocabulary: all of the task's words and phrases.
fn vocabulary() -> Vocabulary {
    let mut fixed = vec![INSTRUCTION.to_owned(), format!("?\n{ANSWER_MARK}")];
    fixed.extend(phrases());
    Vocabulary::new(&fixed, &words())
}

/// Stories whose every token but the first is to be learned.
fn lesson(step: u64, vocabulary: &Vocabulary) -> Batch {
    let mut key = [0xf7; 32];
    key[..8].copy_from_slice(&step.to_le_bytes());
    let mut draw = Draw::new(key, Purpose::Training);
    let mut story = || {
        let level = draw.between(1, usize::from(LEVELS));
        let story = Story::tell(&mut draw, &profile(level as u8));
        let tokens = vocabulary.encode(&story.sentences().join(" "));
        Passage {
            context: tokens[..1].to_vec(),
            branches: vec![Branch {
                reads: 1,
                prompt: tokens[1..2].to_vec(),
                answer: tokens[2..].to_vec(),
            }],
        }
    };
    let stories: Vec<Passage> = (0..STORIES).map(|_| story()).collect();
    Batch::pack(&stories)
}
