//! What all layers of one step share: its tokens, where they stand, and how they are rotated.

use agon_model_kernels::Query;

use crate::backend::Row;
use crate::config::Config;
use crate::rope::{attention_factor, depends_on_reach, frequencies};

/// Cosines and sines of the rotary angles of a list of tokens, `head_dim / 2` of each, token by token.
#[derive(Debug)]
pub(super) struct Turns {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// One step of the model.
#[derive(Debug)]
pub(super) struct Step {
    /// The tokens of all rows, one behind the other.
    pub(super) tokens: Vec<u32>,
    /// Slot and position of each token.
    pub(super) places: Vec<[usize; 2]>,
    pub(super) turns: Turns,
    /// Which tokens go beyond the last layer's cache, ascending.
    pub(super) wanted: Vec<usize>,
    /// The rows, and the wanted ends of the rows.
    queries: [Vec<Query>; 2],
}

impl Step {
    /// A step that takes in `rows` and is asked for the last `wanted` tokens of each.
    pub(super) fn new(config: &Config, table: &Turns, rows: &[Row<'_>], wanted: usize) -> Step {
        let mut step = Step {
            tokens: Vec::new(),
            places: Vec::new(),
            turns: Turns::none(table.half),
            wanted: Vec::new(),
            queries: [Vec::new(), Vec::new()],
        };
        for row in rows {
            let (count, first) = (row.tokens.len(), step.tokens.len());
            let wanted = wanted.min(count);
            step.tokens.extend_from_slice(row.tokens);
            step.places
                .extend((row.start..row.start + count).map(|position| [row.slot, position]));
            step.wanted.extend(first + count - wanted..first + count);
            step.turns.add_row(config, table, row);
            for (queries, tokens) in step.queries.iter_mut().zip([count, wanted]) {
                queries.push(Query {
                    slot: row.slot,
                    start: row.start + count - tokens,
                    tokens,
                    window: usize::MAX,
                });
            }
        }
        step
    }

    /// The queries of layer `layer`: of all tokens, or of the wanted ones.
    pub(super) fn queries(&self, config: &Config, layer: usize, only_wanted: bool) -> Vec<Query> {
        let slides = config.window.as_ref().filter(|window| window.layers[layer]);
        let window = slides.map_or(usize::MAX, |window| window.tokens);
        self.queries[usize::from(only_wanted)]
            .iter()
            .map(|&query| Query { window, ..query })
            .collect()
    }
}

impl Turns {
    fn none(half: usize) -> Turns {
        Turns {
            half,
            cosines: Vec::new(),
            sines: Vec::new(),
        }
    }

    /// The rotations of positions `0..count` in texts whose length does not matter.
    pub(super) fn of_positions(config: &Config, count: usize) -> Turns {
        let mut turns = Turns::none(config.head_dim / 2);
        let frequencies = frequencies(config, 0);
        (0..count).for_each(|position| turns.add(config, position, &frequencies));
        turns
    }

    /// Cosines and sines of token `index`.
    pub(super) fn at(&self, index: usize) -> (&[f32], &[f32]) {
        let own = index * self.half..(index + 1) * self.half;
        (&self.cosines[own.clone()], &self.sines[own])
    }

    fn add_row(&mut self, config: &Config, table: &Turns, row: &Row<'_>) {
        let positions = row.start..row.start + row.tokens.len();
        if depends_on_reach(config, row.length()) {
            let frequencies = frequencies(config, row.length());
            positions.for_each(|position| self.add(config, position, &frequencies));
            return;
        }
        let own = positions.start * self.half..positions.end * self.half;
        self.cosines.extend_from_slice(&table.cosines[own.clone()]);
        self.sines.extend_from_slice(&table.sines[own]);
    }

    fn add(&mut self, config: &Config, position: usize, frequencies: &[f32]) {
        let attention = attention_factor(config);
        for frequency in frequencies {
            let (sine, cosine) = (position as f32 * frequency).sin_cos();
            self.cosines.push(attention * cosine);
            self.sines.push(attention * sine);
        }
    }
}
