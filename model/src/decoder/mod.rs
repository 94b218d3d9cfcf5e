//! The decoder: tokens of several texts in, logits of their next tokens out, with a key-value cache per slot.
//!
//! This one computes on libtorch; [`crate::native`] is the same function on this project's own kernels.
//!
//! One function serves prompts and single steps alike: each row brings the tokens that its slot has not seen yet,
//! and rows of different lengths and positions go through together. Shorter rows are padded on the right; padding
//! writes its keys and values to one position behind the context, which nobody reads.
//!
//! Grouped-query attention needs no copies of keys and values: the queries that share a head of keys are laid out
//! as if they were further query positions of that head.
//!
//! Source of the architectures: "Attention is all you need" (2017), rotary positions as in RoFormer (2021), RMS
//! norm (2019), grouped queries (2023); parameter names and rotation by halves as in Hugging Face checkpoints.

mod cache;
mod fixed;
mod layer;
mod rotation;
mod step;

use tch::{Device, Kind, TchError, Tensor};
use tracing::warn;

use crate::backend::{Backend, Outputs, Room, Row, SCORED_TOGETHER, Scorer};
use crate::config::Config;
use cache::LayerCache;
use fixed::FixedSteps;
use layer::{Layer, take};
use rotation::Rope;
use step::Step;

pub(crate) use cache::cache_kind;
pub(crate) use layer::Tensors;

/// A model in memory with its caches.
pub(crate) struct Decoder {
    config: Config,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Tensor,
    rope: Rope,
    cache: Vec<LayerCache>,
    cache_kind: Kind,
    kind: Kind,
    device: Device,
    room: Room,
    /// Where a device records steps; `None` where it does not, or once it failed to.
    fixed: Option<FixedSteps>,
}

impl Decoder {
    /// Joins parameters, which have the shapes of [`parameter_shapes`](crate::shapes::parameter_shapes), into a decoder with empty caches.
    pub(crate) fn assemble(
        config: Config,
        mut tensors: Tensors,
        kind: Kind,
        device: Device,
        room: Room,
    ) -> Result<Decoder, TchError> {
        let layers = (0..config.layers)
            .map(|layer| Layer::assemble(&config, &mut tensors, layer))
            .collect::<Result<_, _>>()?;
        let embedding = take(&mut tensors, "model.embed_tokens.weight")?;
        let head = if config.is_tied {
            embedding.shallow_clone()
        } else {
            take(&mut tensors, "lm_head.weight")?
        };
        let cache_kind = cache_kind(kind, device);
        let fixed = FixedSteps::on(device, &config, room)?;
        Ok(Decoder {
            embedding,
            layers,
            norm: take(&mut tensors, "model.norm.weight")?,
            head,
            rope: Rope::new(&config, room.context_tokens, kind, device)?,
            cache: (0..config.layers)
                .map(|_| LayerCache::empty(&config, room, cache_kind, device))
                .collect::<Result<_, _>>()?,
            cache_kind,
            kind,
            device,
            room,
            fixed,
            config,
        })
    }

    /// Takes in the rows' tokens; returns the last layer's output after the final norm, `[rows * width, hidden]`,
    /// where width is the longest row; shorter rows are padded on the right.
    fn hidden(&mut self, step: &Step) -> Result<Tensor, TchError> {
        let mut stream = Tensor::f_embedding(&self.embedding, &step.tokens, -1, false, false)?;
        for layer in 0..self.layers.len() {
            let normed = self.rms_norm(&stream, &self.layers[layer].attention_norm)?;
            stream = stream.f_add(&self.attend(layer, &normed, step)?)?;
            let normed = self.rms_norm(&stream, &self.layers[layer].mlp_norm)?;
            stream = stream.f_add(&self.layers[layer].mlp(&normed, self.config.intermediate)?)?;
        }
        self.rms_norm(&stream, &self.norm)
    }

    /// Logits in `f32` on the device, `[.., vocabulary]`, of normed outputs `[.., hidden]`.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor, TchError> {
        hidden
            .f_linear(&self.head, None::<&Tensor>)?
            .f_to_kind(Kind::Float)
    }

    /// What states `[rows, hidden]` after the final norm say, in plain numbers.
    fn outputs(&self, hidden: &Tensor) -> Result<Outputs, TchError> {
        let logits = numbers(&self.logits(hidden)?)?;
        Ok(Outputs::new(self.config.vocabulary, logits, numbers(hidden)?))
    }

    /// As [`Backend::forward`], by a recorded step; `None` where there is none for these rows.
    ///
    /// After a failure nothing is recorded or repeated any more. It costs no answer: an ordinary step writes the same
    /// positions of the cache anew.
    fn forward_fixed(&mut self, rows: &[Row<'_>]) -> Option<Outputs> {
        let mut fixed = self.fixed.take()?;
        match fixed.forward(self, rows) {
            Ok(outputs) => {
                self.fixed = Some(fixed);
                outputs
            }
            Err(problem) => {
                warn!(%problem, "decoding steps are not recorded any more");
                None
            }
        }
    }

    fn rms_norm(&self, input: &Tensor, weight: &Tensor) -> Result<Tensor, TchError> {
        input.f_rms_norm(
            [self.config.hidden as i64],
            Some(weight),
            self.config.norm_epsilon,
        )
    }

    /// Attention of one layer, its keys and values added to the cache first.
    fn attend(&mut self, layer: usize, normed: &Tensor, step: &Step) -> Result<Tensor, TchError> {
        let Config {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self.config;
        let [heads, kv_heads, head_dim] = [heads, kv_heads, head_dim].map(|count| count as i64);
        let group = heads / kv_heads;
        let Layer {
            qkv,
            qkv_bias,
            head_norms,
            output,
            ..
        } = &self.layers[layer];
        let qkv = normed
            .f_linear(qkv, qkv_bias.as_ref())?
            .f_view([-1, heads + 2 * kv_heads, head_dim])?;
        let mut turning = qkv.f_narrow(1, 0, heads + kv_heads)?;
        if let Some(gains) = head_norms {
            let unscaled = turning.f_rms_norm([head_dim], None::<&Tensor>, self.config.norm_epsilon)?;
            turning = unscaled.f_mul(gains)?;
        }
        let rotated = step.rotation.apply(&turning)?.f_to_kind(self.cache_kind)?;
        let values = qkv
            .f_narrow(1, heads + kv_heads, kv_heads)?
            .f_to_kind(self.cache_kind)?;
        let cache = &mut self.cache[layer];
        cache.write(step, &rotated.f_narrow(1, heads, kv_heads)?, &values)?;
        let queries = rotated
            .f_narrow(1, 0, heads)?
            .f_view([step.rows, step.width, kv_heads, group, head_dim])?
            .f_permute([0, 2, 3, 1, 4])?
            .f_reshape([step.rows, kv_heads, group * step.width, head_dim])?;
        let (keys, values) = cache.read(step)?;
        let mixed = Tensor::f_scaled_dot_product_attention(
            &queries,
            &keys,
            &values,
            self.mask_of(layer, step),
            0.0,
            false,
            None,
            false,
        )?;
        mixed
            .f_view([step.rows, kv_heads, group, step.width, head_dim])?
            .f_permute([0, 3, 1, 2, 4])?
            .f_reshape([step.rows * step.width, heads * head_dim])?
            .f_to_kind(self.kind)?
            .f_linear(output, None::<&Tensor>)
    }

    /// What the queries of a layer may see.
    fn mask_of<'step>(&self, layer: usize, step: &'step Step) -> Option<&'step Tensor> {
        let window = self.config.window.as_ref();
        if window.is_some_and(|window| window.layers[layer]) {
            step.window_mask.as_ref()
        } else {
            step.mask.as_ref()
        }
    }
}

impl Backend for Decoder {
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
        if let Some(outputs) = self.forward_fixed(rows) {
            return Ok(outputs);
        }
        let step = self.step(rows)?;
        let hidden = self.hidden(&step)?.f_index_select(0, &step.last)?;
        self.outputs(&hidden)
    }

    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError> {
        let part =
            |cache: &Tensor, slot: usize| cache.f_select(0, slot as i64)?.f_narrow(0, 0, tokens as i64);
        for LayerCache { keys, values } in &self.cache {
            for cache in [keys, values] {
                part(cache, to)?.f_copy_(&part(cache, from)?)?;
            }
        }
        Ok(())
    }
}

impl Scorer for Decoder {
    fn score(
        &mut self,
        row: &Row<'_>,
        count: usize,
        each: &mut dyn FnMut(&[f32], &[f32]),
    ) -> Result<(), TchError> {
        let step = self.step(std::slice::from_ref(row))?;
        let hidden = self.hidden(&step)?;
        let mut from = row.tokens.len() - count;
        while from < row.tokens.len() {
            let together = SCORED_TOGETHER.min(row.tokens.len() - from);
            let outputs = self.outputs(&hidden.f_narrow(0, from as i64, together as i64)?)?;
            (0..together).for_each(|index| each(outputs.logits(index), outputs.hidden(index)));
            from += together;
        }
        Ok(())
    }
}

fn place(numbers: &[i64], device: Device) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(numbers)?.f_to_device(device)
}

/// A tensor's numbers in `f32`, row by row.
fn numbers(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let mut numbers = vec![0.0; tensor.numel()];
    let count = numbers.len();
    tensor
        .f_to_kind(Kind::Float)?
        .f_contiguous()?
        .f_copy_data(&mut numbers, count)?;
    Ok(numbers)
}

#[cfg(test)]
mod tests;
