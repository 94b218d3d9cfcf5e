//! Keys and values of the tokens that a text has so far, laid out for [`super::attend`].

use crate::lines::{Floats, LANES, PANEL, on_large_pages};

/// How much a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Texts.
    pub slots: usize,
    /// Positions of a text.
    pub context_tokens: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers of a key and of a value.
    pub head_dim: usize,
}

impl CacheShape {
    /// Positions whose keys lie together; a text has room for a multiple of them.
    pub const BLOCK_TOKENS: usize = PANEL;

    fn blocks(&self) -> usize {
        self.context_tokens.div_ceil(PANEL)
    }

    /// Lines of a value that are computed together: the fewest of 1, 2 and 4 that hold a head, if any do.
    pub(super) fn lines(&self) -> usize {
        match self.head_dim {
            ..=16 => 1,
            17..=32 => 2,
            _ => 4,
        }
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        let lines = 4 * self.blocks() * self.head_dim + self.parts() * self.context_tokens * self.lines();
        self.slots * self.kv_heads * lines * size_of::<Floats>()
    }

    /// Parts of that many lines in a value.
    fn parts(&self) -> usize {
        self.head_dim.div_ceil(self.lines() * LANES)
    }
}

/// Keys and values of one layer.
#[derive(Clone)]
pub struct Cache {
    pub(super) shape: CacheShape,
    /// `[slot][head][block][head_dim][64 positions]`
    pub(super) keys: Vec<[Floats; 4]>,
    /// `[slot][head][part][position][line]`
    pub(super) values: Vec<Floats>,
}

impl Cache {
    /// A cache of zeros.
    ///
    /// # Panics
    ///
    /// When a length of the shape is zero.
    pub fn new(shape: CacheShape) -> Cache {
        let CacheShape {
            slots,
            context_tokens,
            kv_heads,
            head_dim,
        } = shape;
        assert!(
            slots * context_tokens * kv_heads * head_dim > 0,
            "an empty cache: {shape:?}"
        );
        let heads = slots * kv_heads;
        let zeros = Floats::of(0.0);
        let (steps, lines) = (
            shape.blocks() * head_dim,
            shape.parts() * context_tokens * shape.lines(),
        );
        let mut keys = on_large_pages(heads * steps);
        keys.resize(heads * steps, [zeros; 4]);
        let mut values = on_large_pages(heads * lines);
        values.resize(heads * lines, zeros);
        Cache { shape, keys, values }
    }

    /// Sets key and value, `[head_dim]` each, of one head at one position of one slot.
    ///
    /// # Panics
    ///
    /// When there is no such place, or a length is not the head's.
    pub fn write(&mut self, [slot, position, head]: [usize; 3], key: &[f32], value: &[f32]) {
        let shape = self.shape;
        assert!(
            slot < shape.slots && position < shape.context_tokens && head < shape.kv_heads,
            "slot {slot}, position {position}, head {head} of {shape:?}"
        );
        assert!(
            key.len() == shape.head_dim && value.len() == shape.head_dim,
            "a key of {} and a value of {} numbers",
            key.len(),
            value.len()
        );
        let (line, lane) = (position % PANEL / LANES, position % LANES);
        let blocks = self.keys_of(slot, head);
        let block = &mut self.keys[blocks][position / PANEL * shape.head_dim..];
        for (step, &number) in block.iter_mut().zip(key) {
            step[line].0[lane] = number;
        }
        let values = self.values_of(slot, head);
        let lines = shape.lines();
        for (part, numbers) in value.chunks(lines * LANES).enumerate() {
            let start = (part * shape.context_tokens + position) * lines;
            let own = &mut self.values[values.clone()][start..start + lines];
            for (line, numbers) in own.iter_mut().zip(numbers.chunks(LANES)) {
                line.0[..numbers.len()].copy_from_slice(numbers);
            }
        }
    }

    /// Copies the first `tokens` positions of one slot over another; what lies behind them there is lost.
    ///
    /// # Panics
    ///
    /// When there are no such slots or positions.
    pub fn copy_slot(&mut self, from: usize, to: usize, tokens: usize) {
        let shape = self.shape;
        assert!(
            from.max(to) < shape.slots && tokens <= shape.context_tokens,
            "{tokens} positions of slot {from} to slot {to} of {shape:?}"
        );
        let steps = tokens.div_ceil(PANEL) * shape.head_dim;
        let lines = tokens * shape.lines();
        for head in 0..shape.kv_heads {
            let (source, target) = (self.keys_of(from, head).start, self.keys_of(to, head).start);
            self.keys.copy_within(source..source + steps, target);
            let (source, target) = (self.values_of(from, head).start, self.values_of(to, head).start);
            for part in 0..shape.parts() {
                let offset = part * shape.context_tokens * shape.lines();
                let source = source + offset;
                self.values.copy_within(source..source + lines, target + offset);
            }
        }
    }

    pub(super) fn keys_of(&self, slot: usize, head: usize) -> std::ops::Range<usize> {
        let length = self.shape.blocks() * self.shape.head_dim;
        let start = (slot * self.shape.kv_heads + head) * length;
        start..start + length
    }

    pub(super) fn values_of(&self, slot: usize, head: usize) -> std::ops::Range<usize> {
        let length = self.shape.parts() * self.shape.context_tokens * self.shape.lines();
        let start = (slot * self.shape.kv_heads + head) * length;
        start..start + length
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cache")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
