//! The decoder on this project's own kernels: what computes on a CPU that has the instructions for them.
//!
//! It is the same function of the same parameters as [`crate::decoder::Decoder`], which computes on libtorch and is
//! what this one is tested beside. The tokens of a step's rows lie one behind the other, with no padding; sums run in
//! `f32` whatever the format of the parameters. In the last layer only the tokens whose outputs are asked for go
//! beyond the cache.

mod parameters;
mod step;
mod work;

use agon_model_kernels::{Cache, CacheShape, Level};
use tch::TchError;

use crate::backend::{Backend, Outputs, Room, Row, SCORED_TOGETHER, Scorer};
use crate::config::Config;

pub(crate) use parameters::Parameters;
use step::{Step, Turns};
use work::Work;

/// A model in memory with its caches.
pub(crate) struct NativeDecoder {
    config: Config,
    room: Room,
    parameters: Parameters,
    caches: Vec<Cache>,
    /// Rotations of all positions, for texts whose length does not change them.
    turns: Turns,
    work: Work,
}

/// The shape of one layer's cache.
pub(crate) fn cache_shape(config: &Config, room: Room) -> CacheShape {
    CacheShape {
        slots: room.slots,
        context_tokens: room.context_tokens,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
    }
}

impl NativeDecoder {
    /// A decoder with empty caches, which computes on `threads` threads.
    pub(crate) fn new(
        config: Config,
        parameters: Parameters,
        level: Level,
        threads: usize,
        room: Room,
    ) -> NativeDecoder {
        let shape = cache_shape(&config, room);
        NativeDecoder {
            turns: Turns::of_positions(&config, room.context_tokens),
            caches: (0..config.layers).map(|_| Cache::new(shape)).collect(),
            work: Work::new(&config, parameters.format(), level, threads),
            parameters,
            room,
            config,
        }
    }

    /// Refuses rows that do not fit the room or the vocabulary.
    fn check(&self, rows: &[Row<'_>]) -> Result<(), TchError> {
        for row in rows {
            let end = row.start + row.tokens.len();
            if row.slot >= self.room.slots || end > self.room.context_tokens {
                let problem = format!(
                    "slot {} with {end} positions does not fit {:?}",
                    row.slot, self.room
                );
                return Err(TchError::Shape(problem));
            }
            if let Some(token) = row
                .tokens
                .iter()
                .find(|&&token| token as usize >= self.config.vocabulary)
            {
                let problem = format!("token {token}, the model knows {}", self.config.vocabulary);
                return Err(TchError::Shape(problem));
            }
        }
        Ok(())
    }

    /// Takes in the rows' tokens; returns states after the final norm, `[wanted, hidden]`, of the last `wanted` tokens
    /// of each row.
    fn hidden(&mut self, rows: &[Row<'_>], wanted: usize) -> Result<Vec<f32>, TchError> {
        self.check(rows)?;
        let step = Step::new(&self.config, &self.turns, rows, wanted);
        let Self {
            config,
            parameters,
            caches,
            work,
            ..
        } = self;
        let mut stream = work.embed(&parameters.embedding, &step.tokens);
        for (index, (layer, cache)) in parameters.layers.iter().zip(caches).enumerate() {
            work.take_in(config, layer, &stream, &step, cache);
            let is_last = index + 1 == config.layers;
            if is_last {
                work.keep_wanted(&step, &mut stream);
            }
            let queries = step.queries(config, index, is_last);
            work.attend(config, layer, cache, &queries, &mut stream);
            work.feed_forward(config, layer, &mut stream);
        }
        Ok(work.norm_rows(&stream, &parameters.norm, config.norm_epsilon))
    }

    /// What states after the final norm say.
    fn outputs(&mut self, hidden: Vec<f32>) -> Outputs {
        let logits = self.work.logits(self.parameters.head(), &hidden);
        Outputs::new(self.config.vocabulary, logits, hidden)
    }
}

impl Backend for NativeDecoder {
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
        let hidden = self.hidden(rows, 1)?;
        Ok(self.outputs(hidden))
    }

    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError> {
        if from.max(to) >= self.room.slots || tokens > self.room.context_tokens {
            let problem = format!("{tokens} positions from slot {from} to {to} of {:?}", self.room);
            return Err(TchError::Shape(problem));
        }
        for cache in &mut self.caches {
            cache.copy_slot(from, to, tokens);
        }
        Ok(())
    }
}

impl Scorer for NativeDecoder {
    fn score(
        &mut self,
        row: &Row<'_>,
        count: usize,
        each: &mut dyn FnMut(&[f32], &[f32]),
    ) -> Result<(), TchError> {
        let hidden = self.hidden(std::slice::from_ref(row), count)?;
        for part in hidden.chunks(SCORED_TOGETHER * self.config.hidden) {
            let outputs = self.outputs(part.to_vec());
            for index in 0..part.len() / self.config.hidden {
                each(outputs.logits(index), outputs.hidden(index));
            }
        }
        Ok(())
    }
}
