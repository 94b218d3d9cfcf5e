//! The parts of a layer, with the memory that they compute in, which is kept from one step to the next.

use agon_model_kernels::{
    Cache, Format, Level, Matrix, Mixed, Operand, Panels, Pool, Query, add_rows, attend, multiply, normalise,
    rotate, silu_product,
};

use super::parameters::Layer;
use super::step::Step;
use crate::config::Config;

/// Tokens that one thread prepares at a time.
const GRAIN: usize = 8;

/// Threads and memory of a decoder.
pub(super) struct Work {
    level: Level,
    pool: Pool,
    /// Normed rows of the stream.
    normed: Operand,
    /// What attention comes to.
    attended: Operand,
    /// What the gate lets through.
    gated: Operand,
    product: Panels,
    mixed: Mixed,
    /// Queries, keys and values of each token, one head behind the other.
    heads: Vec<f32>,
}

impl Work {
    pub(super) fn new(config: &Config, format: Format, level: Level, threads: usize) -> Work {
        Work {
            level,
            pool: Pool::new(threads),
            normed: Operand::new(format, config.hidden),
            attended: Operand::new(format, config.heads * config.head_dim),
            gated: Operand::new(format, config.intermediate),
            product: Panels::default(),
            mixed: Mixed::default(),
            heads: Vec::new(),
        }
    }

    /// The stream that `tokens` begin with, `[tokens, hidden]`.
    pub(super) fn embed(&mut self, table: &Matrix, tokens: &[u32]) -> Vec<f32> {
        let mut stream = vec![0.0; tokens.len() * table.columns()];
        let mut rows: Vec<&mut [f32]> = stream.chunks_mut(table.columns()).collect();
        self.pool.for_each(&mut rows, GRAIN, |index, row| {
            table.read_row(tokens[index] as usize, row);
        });
        stream
    }

    /// Queries, keys and values of all tokens; keys and values go to the cache.
    pub(super) fn take_in(
        &mut self,
        config: &Config,
        layer: &Layer,
        stream: &[f32],
        step: &Step,
        cache: &mut Cache,
    ) {
        self.norm(stream, &layer.attention_norm, config.norm_epsilon);
        let bias = layer.qkv_bias.as_deref();
        let Self { level, pool, .. } = self;
        multiply(*level, pool, &self.normed, &layer.qkv, bias, &mut self.product);
        self.turn_heads(config, layer, step);
        let keys = config.heads * config.head_dim;
        let values = keys + config.kv_heads * config.head_dim;
        for (token, &[slot, position]) in self.heads.chunks(layer.qkv.rows()).zip(&step.places) {
            let keys = token[keys..values].chunks(config.head_dim);
            let values = token[values..].chunks(config.head_dim);
            for (head, (key, value)) in keys.zip(values).enumerate() {
                cache.write([slot, position, head], key, value);
            }
        }
    }

    /// Takes the heads of each token out of the product; norms those of queries and keys where the model does, and
    /// rotates them.
    fn turn_heads(&mut self, config: &Config, layer: &Layer, step: &Step) {
        let (level, product) = (self.level, &self.product);
        let width = layer.qkv.rows();
        self.heads.resize(step.tokens.len() * width, 0.0);
        let mut tokens: Vec<&mut [f32]> = self.heads.chunks_mut(width).collect();
        self.pool.for_each(&mut tokens, GRAIN, |index, token| {
            product.read(index, 0, token);
            let (cosines, sines) = step.turns.at(index);
            let mut unscaled = vec![0.0; config.head_dim];
            let heads = token.chunks_mut(config.head_dim).enumerate();
            for (number, head) in heads.take(config.heads + config.kv_heads) {
                if let Some(gains) = &layer.head_norms {
                    let gains = &gains[usize::from(number >= config.heads)];
                    unscaled.copy_from_slice(head);
                    normalise(level, &unscaled, gains, config.norm_epsilon as f32, head);
                }
                rotate(level, head, cosines, sines);
            }
        });
    }

    /// Leaves in stream and heads the wanted tokens alone.
    pub(super) fn keep_wanted(&mut self, step: &Step, stream: &mut Vec<f32>) {
        let count = step.tokens.len().max(1);
        for numbers in [stream, &mut self.heads] {
            let width = numbers.len() / count;
            for (to, &from) in step.wanted.iter().enumerate() {
                numbers.copy_within(from * width..(from + 1) * width, to * width);
            }
            numbers.truncate(step.wanted.len() * width);
        }
    }

    /// Adds what the queries' tokens see to the stream.
    pub(super) fn attend(
        &mut self,
        config: &Config,
        layer: &Layer,
        cache: &Cache,
        queries: &[Query],
        stream: &mut [f32],
    ) {
        let (group, width) = (config.heads / config.kv_heads, layer.qkv.rows());
        let Self {
            level, pool, mixed, ..
        } = self;
        attend(*level, pool, cache, group, queries, (&self.heads, width), mixed);
        let rows = stream.len() / config.hidden;
        self.attended
            .fill(*level, pool, rows, |row, out| mixed.read(row, out));
        multiply(
            *level,
            pool,
            &self.attended,
            &layer.output,
            None,
            &mut self.product,
        );
        add_rows(*level, stream, &self.product);
    }

    /// Adds what the gated layer makes of the stream to it.
    pub(super) fn feed_forward(&mut self, config: &Config, layer: &Layer, stream: &mut [f32]) {
        self.norm(stream, &layer.mlp_norm, config.norm_epsilon);
        let Self {
            level,
            pool,
            product,
            gated,
            ..
        } = self;
        let level = *level;
        multiply(level, pool, &self.normed, &layer.gate_up, None, product);
        gated.fill(level, pool, product.rows(), |row, gate| {
            let mut up = vec![0.0; gate.len()];
            product.read(row, 0, gate);
            product.read(row, gate.len(), &mut up);
            silu_product(level, gate, &up);
        });
        multiply(level, pool, gated, &layer.down, None, product);
        add_rows(level, stream, product);
    }

    fn norm(&mut self, stream: &[f32], gains: &[f32], epsilon: f64) {
        let (level, width) = (self.level, gains.len());
        let rows = stream.len() / width;
        self.normed.fill(level, &mut self.pool, rows, |row, out| {
            normalise(
                level,
                &stream[row * width..(row + 1) * width],
                gains,
                epsilon as f32,
                out,
            );
        });
    }

    /// The normed rows of the stream, in `f32`.
    pub(super) fn norm_rows(&mut self, stream: &[f32], gains: &[f32], epsilon: f64) -> Vec<f32> {
        let mut normed = vec![0.0; stream.len()];
        let rows = stream.chunks(gains.len()).zip(normed.chunks_mut(gains.len()));
        rows.for_each(|(row, out)| normalise(self.level, row, gains, epsilon as f32, out));
        normed
    }

    /// Logits, `[rows, vocabulary]`, of normed rows.
    pub(super) fn logits(&mut self, head: &Matrix, normed: &[f32]) -> Vec<f32> {
        let Self {
            level, pool, product, ..
        } = self;
        let (level, width) = (*level, head.columns());
        let rows = normed.len() / width;
        self.normed.fill(level, pool, rows, |row, out| {
            out.copy_from_slice(&normed[row * width..(row + 1) * width]);
        });
        multiply(level, pool, &self.normed, head, None, product);
        let mut logits = vec![0.0; rows * head.rows()];
        let mut parts: Vec<&mut [f32]> = logits.chunks_mut(head.rows()).collect();
        pool.for_each(&mut parts, 1, |row, out| product.read(row, 0, out));
        logits
    }
}
