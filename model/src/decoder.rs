//! The decoder: tokens of several texts in, logits of their next tokens out, with a key-value cache per slot.
//!
//! [`Backend`] is the seam that schedules and references look through; [`Decoder`] fills it on libtorch, and
//! [`crate::native`] on this project's own kernels.
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

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use crate::config::Config;
use crate::rope::{Angles, attention_factor, depends_on_reach, frequencies};

/// Tokens of one text whose logits are held at the same time when a text is scored.
pub(crate) const SCORED_TOGETHER: usize = 64;

/// Parameters by their name in the checkpoint.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// How much a decoder can hold at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) slots: usize,
    pub(crate) context_tokens: usize,
}

/// What one slot takes in during a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'tokens> {
    pub(crate) slot: usize,
    /// Tokens that the slot's cache already holds.
    pub(crate) start: usize,
    /// Tokens to add, at least one.
    pub(crate) tokens: &'tokens [u32],
    /// Tokens of the whole prompt, so that a prompt in chunks is rotated like one in a piece. What the slot holds
    /// after the step counts where that is more. Only dynamically scaled models look at it.
    pub(crate) reach: usize,
}

impl Row<'_> {
    /// Tokens that decide how the row is rotated.
    pub(crate) fn length(&self) -> usize {
        self.reach.max(self.start + self.tokens.len())
    }
}

/// Whatever turns tokens into logits, slot by slot. Scripted ones stand in for decoders in tests.
pub(crate) trait Backend {
    /// Takes in the rows' tokens; returns what is known of each row's next token.
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError>;

    /// Copies the first `tokens` positions of one slot over another.
    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError>;

    /// Whether what is kept of a prompt of so many tokens depends on that number, so that no other prompt can use it.
    fn depends_on_reach(&self, tokens: usize) -> bool;
}

/// A backend that also says what it thinks of tokens that were given.
pub(crate) trait Scorer: Backend {
    /// Takes in one row; hands `each` what is known after each of its last `count` tokens, in order: logits and state.
    ///
    /// The head is applied to [`SCORED_TOGETHER`] tokens at a time, so that a large vocabulary takes little memory.
    fn score(
        &mut self,
        row: &Row<'_>,
        count: usize,
        each: &mut dyn FnMut(&[f32], &[f32]),
    ) -> Result<(), TchError>;
}

/// A decoder, whatever computes it.
pub(crate) type AnyDecoder = Box<dyn Scorer + Send>;

impl Backend for AnyDecoder {
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
        self.as_mut().forward(rows)
    }

    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError> {
        self.as_mut().move_slot(from, to, tokens)
    }

    fn depends_on_reach(&self, tokens: usize) -> bool {
        self.as_ref().depends_on_reach(tokens)
    }
}

/// What the model says of the next tokens of some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    vocabulary: usize,
    width: usize,
    logits: Vec<f32>,
    hidden: Vec<f32>,
}

impl Outputs {
    /// Logits `[rows, vocabulary]` and states `[rows, width]`, row by row; the width may be 0.
    pub(crate) fn new(vocabulary: usize, logits: Vec<f32>, hidden: Vec<f32>) -> Outputs {
        let rows = logits.len() / vocabulary.max(1);
        let width = hidden.len() / rows.max(1);
        Outputs {
            vocabulary,
            width,
            logits,
            hidden,
        }
    }

    /// Logits of one row's next token, `[vocabulary]`.
    pub(crate) fn logits(&self, row: usize) -> &[f32] {
        &self.logits[row * self.vocabulary..(row + 1) * self.vocabulary]
    }

    /// The state after the final norm that they were made from, `[hidden]`.
    pub(crate) fn hidden(&self, row: usize) -> &[f32] {
        &self.hidden[row * self.width..(row + 1) * self.width]
    }
}

/// The parameters that an architecture needs, by name, with their shapes.
pub(crate) fn parameter_shapes(config: &Config) -> BTreeMap<String, Vec<usize>> {
    let Config {
        vocabulary,
        hidden,
        intermediate,
        ..
    } = *config;
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let mut shapes = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| shapes.insert(name, shape.to_vec());
    add("model.embed_tokens.weight".to_owned(), &[vocabulary, hidden]);
    add("model.norm.weight".to_owned(), &[hidden]);
    if !config.is_tied {
        add("lm_head.weight".to_owned(), &[vocabulary, hidden]);
    }
    for layer in 0..config.layers {
        let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{layer}.{name}"), shape);
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        for (projection, rows) in [("q", queries), ("k", keys), ("v", keys)] {
            add(&format!("self_attn.{projection}_proj.weight"), &[rows, hidden]);
            if config.architecture.has_attention_bias() {
                add(&format!("self_attn.{projection}_proj.bias"), &[rows]);
            }
        }
        if config.architecture.has_head_norms() {
            add("self_attn.q_norm.weight", &[config.head_dim]);
            add("self_attn.k_norm.weight", &[config.head_dim]);
        }
        add("self_attn.o_proj.weight", &[hidden, queries]);
        add("mlp.gate_proj.weight", &[intermediate, hidden]);
        add("mlp.up_proj.weight", &[intermediate, hidden]);
        add("mlp.down_proj.weight", &[hidden, intermediate]);
    }
    shapes
}

/// One layer's parameters; what is multiplied with the same input is joined into one matrix.
struct Layer {
    attention_norm: Tensor,
    /// Queries, keys and values, one below the other.
    qkv: Tensor,
    qkv_bias: Option<Tensor>,
    /// Gains of the norms of queries and keys, `[heads + kv_heads, head_dim]`.
    head_norms: Option<Tensor>,
    output: Tensor,
    mlp_norm: Tensor,
    /// Gate and up, one below the other.
    gate_up: Tensor,
    down: Tensor,
}

/// The format of the key-value cache: on a CPU attention over 16-bit floats is three times slower.
pub(crate) fn cache_kind(kind: Kind, device: Device) -> Kind {
    if device == Device::Cpu { Kind::Float } else { kind }
}

/// Keys and values of one layer, `[slots, context + 1, kv_heads, head_dim]` each.
struct LayerCache {
    keys: Tensor,
    values: Tensor,
}

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
}

/// What all layers of one step share.
struct Step {
    /// `[rows * width]`, padded row by row.
    tokens: Tensor,
    positions: Tensor,
    slots: Tensor,
    /// Index in `tokens` of each row's last real token.
    last: Tensor,
    rows: i64,
    width: i64,
    /// Positions that any row attends to.
    span: i64,
    /// Which cached positions each query may see, `[rows, 1, group * width, span]`; `None` when all may see all.
    mask: Option<Tensor>,
    /// The same for layers with a sliding window.
    window_mask: Option<Tensor>,
    rotation: Rotation,
    /// The first slot, when the rows' slots are consecutive: then the cache is read in place.
    first_slot: Option<i64>,
    /// The rows' slots, one each.
    row_slots: Tensor,
}

impl Decoder {
    /// Joins parameters, which have the shapes of [`parameter_shapes`], into a decoder with empty caches.
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

    fn step(&self, rows: &[Row<'_>]) -> Result<Step, TchError> {
        let width = rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0);
        let span = rows
            .iter()
            .map(|row| row.start + row.tokens.len())
            .max()
            .unwrap_or(0);
        if span > self.room.context_tokens || rows.iter().any(|row| row.slot >= self.room.slots) {
            return Err(TchError::Shape(format!(
                "{span} positions do not fit {:?}",
                self.room
            )));
        }
        let layout = Layout::new(rows, width, self.room.context_tokens);
        let positions = self.place(&layout.positions)?;
        let group = (self.config.heads / self.config.kv_heads) as i64;
        let sees_all = width == 1 && rows.iter().all(|row| row.start + 1 == span);
        let rotation = match self.rope.of_lengths(&self.config, rows, &layout, width)? {
            Some(rotation) => rotation,
            None => self.rope.at(&positions)?,
        };
        let (rows_count, width, span) = (rows.len() as i64, width as i64, span as i64);
        let shape = [rows_count, group, width, span];
        let mask = if sees_all {
            None
        } else {
            Some(self.mask(&positions, shape, None)?)
        };
        let window_mask = match &self.config.window {
            Some(window) if (window.tokens as i64) < span => {
                Some(self.mask(&positions, shape, Some(window.tokens as i64))?)
            }
            _ => mask.as_ref().map(Tensor::shallow_clone),
        };
        Ok(Step {
            tokens: self.place(&layout.tokens)?,
            rotation,
            window_mask,
            positions,
            slots: self.place(&layout.slots)?,
            last: self.place(&layout.last)?,
            rows: rows_count,
            width,
            span,
            mask,
            first_slot: consecutive_from(rows),
            row_slots: self.place(&rows.iter().map(|row| row.slot as i64).collect::<Vec<_>>())?,
        })
    }

    /// A query sees the cached positions up to its own; with a window, the last of them, its own included.
    fn mask(
        &self,
        positions: &Tensor,
        [rows, group, width, span]: [i64; 4],
        window: Option<i64>,
    ) -> Result<Tensor, TchError> {
        let cached = Tensor::f_arange(span, (Kind::Int64, self.device))?;
        let own = positions.f_view([rows, 1, 1, width, 1])?;
        let mut seen = cached.f_le_tensor(&own)?;
        if let Some(window) = window {
            seen = seen.f_logical_and(&cached.f_gt_tensor(&own.f_sub_scalar(window)?)?)?;
        }
        seen.f_expand([rows, 1, group, width, span], false)?
            .f_reshape([rows, 1, group * width, span])
    }

    fn place(&self, numbers: &[i64]) -> Result<Tensor, TchError> {
        Tensor::f_from_slice(numbers)?.f_to_device(self.device)
    }
}

impl Backend for Decoder {
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
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

    fn depends_on_reach(&self, tokens: usize) -> bool {
        depends_on_reach(&self.config, tokens)
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

/// The rows of a step as flat lists, padded on the right to one width.
struct Layout {
    tokens: Vec<i64>,
    positions: Vec<i64>,
    slots: Vec<i64>,
    last: Vec<i64>,
}

impl Layout {
    fn new(rows: &[Row<'_>], width: usize, padding_position: usize) -> Layout {
        let count = rows.len() * width;
        let mut layout = Layout {
            tokens: Vec::with_capacity(count),
            positions: Vec::with_capacity(count),
            slots: Vec::with_capacity(count),
            last: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            layout
                .last
                .push((layout.tokens.len() + row.tokens.len()) as i64 - 1);
            for column in 0..width {
                let token = row.tokens.get(column);
                layout.tokens.push(token.map_or(0, |&token| i64::from(token)));
                let position = if token.is_some() {
                    row.start + column
                } else {
                    padding_position
                };
                layout.positions.push(position as i64);
                layout.slots.push(row.slot as i64);
            }
        }
        layout
    }
}

/// The first row's slot, if the others follow it one by one.
fn consecutive_from(rows: &[Row<'_>]) -> Option<i64> {
    let first = rows.first()?.slot;
    let consecutive = rows
        .iter()
        .enumerate()
        .all(|(index, row)| row.slot == first + index);
    consecutive.then_some(first as i64)
}

impl Layer {
    fn assemble(config: &Config, tensors: &mut Tensors, layer: usize) -> Result<Layer, TchError> {
        let mut take = |name: &str| take(tensors, &format!("model.layers.{layer}.{name}"));
        let mut qkv = Vec::new();
        let mut qkv_bias = Vec::new();
        for projection in ["q", "k", "v"] {
            qkv.push(take(&format!("self_attn.{projection}_proj.weight"))?);
            if config.architecture.has_attention_bias() {
                qkv_bias.push(take(&format!("self_attn.{projection}_proj.bias"))?);
            }
        }
        let gate_up = [take("mlp.gate_proj.weight")?, take("mlp.up_proj.weight")?];
        let head_norms = if config.architecture.has_head_norms() {
            let gains = |norm: Tensor, heads: usize| norm.f_expand([heads as i64, -1], false);
            Some(Tensor::f_cat(
                &[
                    gains(take("self_attn.q_norm.weight")?, config.heads)?,
                    gains(take("self_attn.k_norm.weight")?, config.kv_heads)?,
                ],
                0,
            )?)
        } else {
            None
        };
        Ok(Layer {
            head_norms,
            attention_norm: take("input_layernorm.weight")?,
            qkv: Tensor::f_cat(&qkv, 0)?,
            qkv_bias: if qkv_bias.is_empty() {
                None
            } else {
                Some(Tensor::f_cat(&qkv_bias, 0)?)
            },
            output: take("self_attn.o_proj.weight")?,
            mlp_norm: take("post_attention_layernorm.weight")?,
            gate_up: Tensor::f_cat(&gate_up, 0)?,
            down: take("mlp.down_proj.weight")?,
        })
    }

    fn mlp(&self, normed: &Tensor, intermediate: usize) -> Result<Tensor, TchError> {
        let width = intermediate as i64;
        let gate_up = normed.f_linear(&self.gate_up, None::<&Tensor>)?;
        let gate = gate_up.f_narrow(-1, 0, width)?.f_silu()?;
        gate.f_mul(&gate_up.f_narrow(-1, width, width)?)?
            .f_linear(&self.down, None::<&Tensor>)
    }
}

impl LayerCache {
    fn empty(config: &Config, room: Room, kind: Kind, device: Device) -> Result<LayerCache, TchError> {
        // One position more than the context: padding writes there.
        let shape = [
            room.slots,
            room.context_tokens + 1,
            config.kv_heads,
            config.head_dim,
        ];
        let shape = shape.map(|length| length as i64);
        let empty = || Tensor::f_zeros(shape, (kind, device));
        Ok(LayerCache {
            keys: empty()?,
            values: empty()?,
        })
    }

    fn write(&mut self, step: &Step, keys: &Tensor, values: &Tensor) -> Result<(), TchError> {
        let places = [Some(&step.slots), Some(&step.positions)];
        let _ = self.keys.f_index_put_(&places, keys, false)?;
        let _ = self.values.f_index_put_(&places, values, false)?;
        Ok(())
    }

    /// Keys and values of the rows, `[rows, kv_heads, span, head_dim]`.
    fn read(&self, step: &Step) -> Result<(Tensor, Tensor), TchError> {
        let part = |cache: &Tensor| {
            let seen = cache.f_narrow(1, 0, step.span)?;
            let rows = match step.first_slot {
                Some(first) => seen.f_narrow(0, first, step.rows)?,
                None => seen.f_index_select(0, &step.row_slots)?,
            };
            rows.f_transpose(1, 2)
        };
        Ok((part(&self.keys)?, part(&self.values)?))
    }
}

/// Cosines and sines of the rotary angles, `[context + 1, head_dim]` each.
struct Rope {
    cosines: Tensor,
    sines: Tensor,
}

/// [`Rope`] at the positions of one step, `[tokens, 1, head_dim]`.
struct Rotation {
    cosines: Tensor,
    sines: Tensor,
    half: i64,
}

impl Rope {
    fn new(config: &Config, context_tokens: usize, kind: Kind, device: Device) -> Result<Rope, TchError> {
        let frequencies = frequencies(config, 0);
        let mut angles = Angles::default();
        for position in 0..=context_tokens {
            angles.push(position, &frequencies, attention_factor(config));
        }
        Rope::place(&angles, config.head_dim, kind, device)
    }

    fn place(angles: &Angles, head_dim: usize, kind: Kind, device: Device) -> Result<Rope, TchError> {
        let place = |numbers: &[f32]| {
            Tensor::f_from_slice(numbers)?
                .f_view([-1, head_dim as i64])?
                .f_to_kind(kind)?
                .f_to_device(device)
        };
        Ok(Rope {
            cosines: place(&angles.cosines)?,
            sines: place(&angles.sines)?,
        })
    }

    /// The rotation of rows whose frequencies depend on their lengths; `None` where the tables hold for all.
    fn of_lengths(
        &self,
        config: &Config,
        rows: &[Row<'_>],
        layout: &Layout,
        width: usize,
    ) -> Result<Option<Rotation>, TchError> {
        if !rows.iter().any(|row| depends_on_reach(config, row.length())) {
            return Ok(None);
        }
        let mut angles = Angles::default();
        for (row, positions) in rows.iter().zip(layout.positions.chunks(width)) {
            let frequencies = frequencies(config, row.length());
            for &position in positions {
                angles.push(position as usize, &frequencies, attention_factor(config));
            }
        }
        let (kind, device) = (self.cosines.kind(), self.cosines.device());
        let Rope { cosines, sines } = Rope::place(&angles, config.head_dim, kind, device)?;
        Ok(Some(Rotation {
            cosines: cosines.f_unsqueeze(1)?,
            sines: sines.f_unsqueeze(1)?,
            half: config.head_dim as i64 / 2,
        }))
    }

    fn at(&self, positions: &Tensor) -> Result<Rotation, TchError> {
        let half = self.cosines.size().last().map_or(0, |length| length / 2);
        let at = |table: &Tensor| table.f_index_select(0, positions)?.f_unsqueeze(1);
        Ok(Rotation {
            cosines: at(&self.cosines)?,
            sines: at(&self.sines)?,
            half,
        })
    }
}

impl Rotation {
    /// Rotates `[tokens, heads, head_dim]`; the second half of a head is the other coordinate of the first.
    fn apply(&self, heads: &Tensor) -> Result<Tensor, TchError> {
        heads
            .f_mul(&self.cosines)?
            .f_addcmul(&heads.f_roll([self.half], [-1])?, &self.sines)
    }
}

fn take(tensors: &mut Tensors, name: &str) -> Result<Tensor, TchError> {
    let missing = || TchError::TensorNameNotFound(name.to_owned(), "the checkpoint".to_owned());
    tensors.remove(name).ok_or_else(missing)
}

#[cfg(test)]
mod tests;
