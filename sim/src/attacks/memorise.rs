//! B5 and B6, memory in place of a model: every past challenge and its answer are kept.
//!
//! Off: items come from a public set of a few hundred, as where a benchmark is the subnet.
//! On: every item is made from a seed that the draw gives, by the very task that the subnet pays. What was not seen
//! before is answered with the answer that was right most often.

use std::collections::BTreeMap;
use std::sync::Arc;

use agon_scoring::compare::{Anchor, JudgedAnswer, PPM, compare};
use agon_scoring::draw::Draw;
use agon_scoring::rating::Ratings;
use agon_scoring::weights::WeightPolicy;
use agon_subnets::{Given, Item, Task};

use crate::attack::{Attack, Bound, Case, Trial};
use crate::contest::pays;
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Memorise;

impl Attack for Memorise {
    fn name(&self) -> &'static str {
        "memorise"
    }

    fn row(&self) -> &'static str {
        "B5"
    }

    fn about(&self) -> &'static str {
        "A miner answers from a memory of past challenges and has no model."
    }

    fn figure(&self) -> &'static str {
        "income over that of a miner that is always right"
    }

    fn defence(&self) -> &'static str {
        "Items are made from seeds of a draw, so that none comes twice."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |per_epoch: u32, explores| Case {
            label: format!("{per_epoch} items remembered of each epoch"),
            off: Bound::AtLeast(0.95),
            on: Bound::AtMost(0.05),
            open: None,
            explores,
            measure: Box::new(move |trial| income(per_epoch * trial.epochs, trial)),
        };
        vec![case(10, false), case(100, true)]
    }
}

/// Items of the public set.
const PUBLIC: u32 = 300;
/// Items that are asked after those that are remembered.
const ASKED: u32 = 256;

/// Items of one subnet, by their place in the order asked.
struct Items {
    task: Arc<dyn Task>,
    draw: Draw,
    is_public: bool,
}

impl Items {
    fn item(&self, index: u32) -> Item {
        let index = if self.is_public { index % PUBLIC } else { index };
        self.task.item(self.draw.item_seed(index))
    }
}

/// Past challenges with their answers, and what to say to others.
struct Memory {
    answers: BTreeMap<String, String>,
    guess: String,
}

impl Memory {
    fn of(items: impl Iterator<Item = Item>) -> Self {
        let (mut answers, mut frequent) = (BTreeMap::new(), BTreeMap::<String, u32>::new());
        for item in items {
            *frequent.entry(item.reference.clone()).or_default() += 1;
            answers.insert(item.prompt, item.reference);
        }
        let guess = frequent.into_iter().max_by_key(|(_, count)| *count);
        Self {
            answers,
            guess: guess.map_or_else(String::new, |(answer, _)| answer),
        }
    }

    fn answer(&self, item: &Item) -> &str {
        self.answers.get(&item.prompt).unwrap_or(&self.guess)
    }
}

fn income(remembered: u32, trial: Trial) -> f64 {
    let items = Items {
        task: agon_subnets::task("reading").expect("the task ships with the subnets"),
        draw: Draw::new(Random::new("memorise", trial.seed).bytes()),
        is_public: !trial.defence.is_on(),
    };
    let memory = Memory::of((0..remembered).map(|index| items.item(index)));
    let mut ratings = Ratings::default();
    for index in remembered..remembered + ASKED {
        let item = items.item(index);
        let judged = items.task.judge(&item, &Given::text(memory.answer(&item)));
        let given = |uid, score_ppm| JudgedAnswer {
            uid,
            digest: Some([u8::from(score_ppm < PPM); 32]),
            score_ppm,
        };
        let answers = [given(0, judged.score_ppm), given(1, PPM)];
        ratings.record(&compare(&answers, &Anchor::perfect([0; 32])).expect("two UIDs, scores in range"));
    }
    let paid = pays(&ratings.standings(), &WeightPolicy::default(), trial.defence);
    paid[0] / paid[1]
}
