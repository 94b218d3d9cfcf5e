//! The rungs of the ladder: how large each model is, and what it is taught for how long.

use crate::course::{FIRST, MIX_ONLY, PEOPLE_ONLY, Stage, WHOLE};
use crate::lesson::vocabulary;
use agon_model::train::Shape;

/// One model of the ladder.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// Its name and its folder's.
    pub name: &'static str,
    /// Width of the residual stream.
    pub width: i64,
    /// Number of layers.
    pub layers: i64,
    /// Attention heads.
    pub heads: i64,
    /// Width of the feed-forward part.
    pub mlp: i64,
    /// The stages it goes through; the last one lasts until the steps are spent.
    pub stages: &'static [Stage],
    /// Steps in all.
    pub steps: u64,
    /// Tokens per step, about.
    pub tokens: usize,
    /// Highest learning rate.
    pub rate: f64,
}

/// The ladder, from the weakest model up.
pub const RUNGS: &[Rung] = &[
    Rung {
        name: "tiny",
        width: 32,
        layers: 2,
        heads: 2,
        mlp: 64,
        stages: FIRST,
        steps: 150,
        tokens: 1_500,
        rate: 1e-2,
    },
    Rung {
        name: "small",
        width: 64,
        layers: 2,
        heads: 2,
        mlp: 128,
        stages: MIX_ONLY,
        steps: 80,
        tokens: 3_000,
        rate: 3e-3,
    },
    Rung {
        name: "medium",
        width: 64,
        layers: 2,
        heads: 2,
        mlp: 128,
        stages: PEOPLE_ONLY,
        steps: 1_100,
        tokens: 3_000,
        rate: 3e-3,
    },
    Rung {
        name: "large",
        width: 96,
        layers: 4,
        heads: 4,
        mlp: 192,
        stages: WHOLE,
        steps: 4_900,
        tokens: 3_000,
        rate: 3e-3,
    },
];

/// Finds a rung by its name.
pub fn rung(name: &str) -> Option<&'static Rung> {
    RUNGS.iter().find(|rung| rung.name == name)
}

impl Rung {
    /// The model's size.
    pub fn shape(&self) -> Shape {
        let Self {
            width,
            layers,
            heads,
            mlp,
            ..
        } = *self;
        Shape {
            vocab: vocabulary().len() as i64,
            width,
            layers,
            heads,
            mlp,
        }
    }
}
