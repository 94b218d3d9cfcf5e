//! A back end that reads the stories of the task `reading` by rule, as a model of a chosen accuracy would.
//!
//! It knows the stories' few verbs and follows people and things through them. With its accuracy as probability it
//! gives the right word, otherwise another name of the same kind. Chance comes from the challenge's sampling seed,
//! as in a real model, so that a run can be replayed.

use std::collections::BTreeMap;

use agon_miner::backend::{Backend, BackendError, MadeOf, ModelIdentity, Part, Parts, Prompt};
use agon_protocol::codec;
use agon_protocol::message::{Environment, FinishReason};
use agon_subnets::reading::story::{NOBODY, PEOPLE, PLACES};
use futures::stream::{self, StreamExt};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// A scripted miner's mind.
#[derive(Clone, Debug)]
pub struct Reader {
    identity: ModelIdentity,
    accuracy_ppm: u32,
}

impl Reader {
    /// A reader that is right in `accuracy_ppm` of a million answers.
    #[must_use]
    pub fn new(name: &str, accuracy_ppm: u32) -> Self {
        let environment = Environment {
            dtype: "none".to_owned(),
            device: "none".to_owned(),
            libtorch: "none".to_owned(),
        };
        let digest = codec::digest("agon 2026-11 scripted reader", name.as_bytes());
        Self {
            identity: ModelIdentity {
                name: name.to_owned(),
                digest,
                environment,
            },
            accuracy_ppm,
        }
    }

    fn word(&self, prompt: &Prompt) -> String {
        let Some(right) = read(&prompt.text) else {
            return "unknown".to_owned();
        };
        let mut random = ChaCha20Rng::seed_from_u64(prompt.sampling.seed);
        if random.next_u64() % 1_000_000 < u64::from(self.accuracy_ppm) {
            return right;
        }
        let names = if PLACES.contains(&right.as_str()) {
            PLACES
        } else {
            PEOPLE
        };
        let others: Vec<&&str> = names.iter().filter(|name| **name != right).collect();
        (*others[(random.next_u64() % others.len() as u64) as usize]).to_owned()
    }
}

impl Backend for Reader {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        let prompt_tokens = prompt.text.split_whitespace().count() as u32;
        let parts = [
            Ok(Part::Text(self.word(&prompt))),
            Ok(Part::Done {
                finish: FinishReason::EndOfText,
                prompt_tokens,
                answer_tokens: 1,
                made_of: MadeOf::default(),
            }),
        ];
        Ok(stream::iter(parts).boxed())
    }
}

/// The right answer to a prompt of the task `reading`, or `None` when this reader does not understand it.
#[must_use]
pub fn read(prompt: &str) -> Option<String> {
    let mut world = World::default();
    let mut question = None;
    for line in prompt.lines().filter(|line| !line.is_empty()) {
        if line.ends_with('?') {
            question = Some(line.trim_end_matches('?'));
        }
        line.split_inclusive('.')
            .for_each(|sentence| world.hear(sentence.trim().trim_end_matches('.')));
    }
    world.answer(question?)
}

/// Who is where, and who or what place has each thing.
#[derive(Debug, Default)]
struct World {
    places: BTreeMap<String, String>,
    holders: BTreeMap<String, String>,
    lying: BTreeMap<String, String>,
}

impl World {
    fn hear(&mut self, sentence: &str) {
        let words: Vec<&str> = sentence.split_whitespace().collect();
        match words.as_slice() {
            [person, "went" | "walked" | "ran", "to", "the", place] => {
                self.places.insert((*person).to_owned(), (*place).to_owned());
            }
            [person, "took" | "grabbed", "the", thing] => {
                self.lying.remove(*thing);
                self.holders.insert((*thing).to_owned(), (*person).to_owned());
            }
            [person, "dropped" | "left", "the", thing] => {
                self.holders.remove(*thing);
                let place = self.places.get(*person).cloned().unwrap_or_default();
                self.lying.insert((*thing).to_owned(), place);
            }
            [_, "gave" | "handed", "the", thing, "to", person] => {
                self.holders.insert((*thing).to_owned(), (*person).to_owned());
            }
            _ => {}
        }
    }

    fn answer(&self, question: &str) -> Option<String> {
        let words: Vec<&str> = question.split_whitespace().collect();
        match words.as_slice() {
            ["Where", "is", "the", thing] => match self.holders.get(*thing) {
                Some(holder) => self.places.get(holder).cloned(),
                None => self.lying.get(*thing).cloned(),
            },
            ["Where", "is", person] => self.places.get(*person).cloned(),
            ["Who", "has", "the", thing] => Some(
                self.holders
                    .get(*thing)
                    .cloned()
                    .unwrap_or_else(|| NOBODY.to_owned()),
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_by_rule_answers_every_item_of_the_task() {
        let task = agon_subnets::task("reading").unwrap();
        for number in 0..2_000u16 {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&number.to_le_bytes());
            let item = task.item(seed);
            assert_eq!(
                read(&item.prompt).as_ref(),
                Some(&item.reference),
                "{}",
                item.prompt
            );
        }
    }
}
