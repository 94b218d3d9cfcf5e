//! Attention over a cache of keys and values in `f32`.
//!
//! Keys lie in blocks of 64 positions, transposed, and values in lines of up to 64 numbers: so both halves of
//! attention are the product that [`crate::multiply`] makes of a panel, with keys and values in the matrix's place.
//! The queries that share a head of keys, of one token and of neighbouring ones, go through as the rows of one tile.

mod cache;
#[cfg(test)]
mod tests;

pub use cache::{Cache, CacheShape};

use crate::elementwise::exp;
use crate::level::{Level, for_level};
use crate::lines::{Floats, LANES, PANEL};
use crate::operand::TILE;
use crate::pool::Pool;
use crate::tile::multiply_f32;

/// Tokens of one slot whose queries look at the cache, each at the positions up to its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The slot.
    pub slot: usize,
    /// Position of the first token; its key and value, and those of the others, are in the cache.
    pub start: usize,
    /// How many tokens there are, at positions `start`, `start + 1` and so on.
    pub tokens: usize,
    /// Positions in sight of a token, its own included, at least one; `usize::MAX` for all.
    pub window: usize,
}

/// What attention comes to, for each token and head.
#[derive(Clone, Debug, Default)]
pub struct Mixed {
    group: usize,
    head_dim: usize,
    tiles: Vec<TileOf>,
    /// The first tile of each token's query, tiles for each head of keys, and the token's number in its query.
    tokens: Vec<[usize; 3]>,
    /// `[tile][row][head_dim]`, with room for six rows.
    numbers: Vec<f32>,
}

/// Queries that go through together.
#[derive(Clone, Copy, Debug)]
struct TileOf {
    query: Query,
    /// Number of the query's first token among all tokens.
    token: usize,
    /// Head of keys.
    head: usize,
    /// The first row, counted over tokens and the heads of the group.
    first: usize,
    rows: usize,
}

impl Mixed {
    /// Writes the heads of token `token`, `[heads * head_dim]`; tokens are counted over all queries.
    ///
    /// # Panics
    ///
    /// When there is no such token or `out` has another length.
    pub fn read(&self, token: usize, out: &mut [f32]) {
        let [first, tiles_of_a_head, number] = self.tokens[token];
        for (head, out) in out.chunks_exact_mut(self.head_dim).enumerate() {
            let row = number * self.group + head % self.group;
            let tile = first + head / self.group * tiles_of_a_head + row / TILE;
            let start = (tile * TILE + row % TILE) * self.head_dim;
            out.copy_from_slice(&self.numbers[start..start + self.head_dim]);
        }
    }

    fn plan(&mut self, queries: &[Query], group: usize, shape: &CacheShape) {
        (self.group, self.head_dim) = (group, shape.head_dim);
        self.tiles.clear();
        self.tokens.clear();
        for &query in queries {
            let (rows, token) = (query.tokens * group, self.tokens.len());
            let place = |number| [self.tiles.len(), rows.div_ceil(TILE), number];
            self.tokens.extend((0..query.tokens).map(place));
            for head in 0..shape.kv_heads {
                self.tiles.extend((0..rows).step_by(TILE).map(|first| TileOf {
                    query,
                    token,
                    head,
                    first,
                    rows: TILE.min(rows - first),
                }));
            }
        }
        self.numbers.resize(self.tiles.len() * TILE * shape.head_dim, 0.0);
    }
}

/// Attends with `heads`, `[tokens, heads * head_dim]` with `stride` numbers from token to token, to `cache`.
///
/// Scores are scaled by one over the root of `head_dim`. Head `h` of the queries looks at head `h / group` of the
/// keys, where `group` is `heads / kv_heads`.
///
/// # Panics
///
/// When the queries reach beyond the cache, or `heads` is too short for their tokens.
pub fn attend(
    level: Level,
    pool: &mut Pool,
    cache: &Cache,
    group: usize,
    queries: &[Query],
    (heads, stride): (&[f32], usize),
    mixed: &mut Mixed,
) {
    let shape = cache.shape;
    let tokens: usize = queries.iter().map(|query| query.tokens).sum();
    let width = group * shape.kv_heads * shape.head_dim;
    assert!(
        width <= stride,
        "{width} numbers of a token, {stride} from one to the next"
    );
    assert!(
        heads.len() + (stride - width) >= tokens * stride,
        "queries of {tokens} tokens"
    );
    for query in queries {
        assert!(
            query.slot < shape.slots
                && query.start + query.tokens <= shape.context_tokens
                && query.window > 0,
            "{query:?} beyond {shape:?}"
        );
    }
    mixed.plan(queries, group, &shape);
    let tiles = &mixed.tiles;
    let mut parts: Vec<&mut [f32]> = mixed.numbers.chunks_mut(TILE * shape.head_dim).collect();
    pool.for_each(&mut parts, 1, |index, out| {
        let tile = tiles[index];
        let inputs = inputs_of(&tile, &shape, group, (heads, stride));
        let tile = (&tile, tiles.get(index + 1));
        match shape.lines() {
            1 => attend_tile::<1>(level, cache, tile, group, &inputs, out),
            2 => attend_tile::<2>(level, cache, tile, group, &inputs, out),
            _ => attend_tile::<4>(level, cache, tile, group, &inputs, out),
        }
    });
}

/// The scaled queries of a tile, `[head_dim][rows]`.
fn inputs_of(tile: &TileOf, shape: &CacheShape, group: usize, (heads, stride): (&[f32], usize)) -> Vec<u32> {
    let scale = 1.0 / (shape.head_dim as f32).sqrt();
    let mut inputs = vec![0; shape.head_dim * tile.rows];
    for row in 0..tile.rows {
        let (token, head) = ((tile.first + row) / group, (tile.first + row) % group);
        let start = (tile.token + token) * stride + (tile.head * group + head) * shape.head_dim;
        let own = inputs.iter_mut().skip(row).step_by(tile.rows);
        for (input, number) in own.zip(&heads[start..start + shape.head_dim]) {
            *input = (number * scale).to_bits();
        }
    }
    inputs
}

fn attend_tile<const W: usize>(
    level: Level,
    cache: &Cache,
    (tile, next): (&TileOf, Option<&TileOf>),
    group: usize,
    inputs: &[u32],
    out: &mut [f32],
) {
    let shape = cache.shape;
    let (mut sight, positions) = tile.sight(group);
    let rows = tile.rows;
    let mut scores = vec![[0.0; PANEL]; positions.len().div_ceil(PANEL) * rows];
    let values = &cache.values[cache.values_of(tile.query.slot, tile.head)];
    // While keys are at work their values are fetched, and with the values the keys of the next tile.
    let mut fetched = values[positions.start * W..positions.end * W].chunks(4 * shape.head_dim);
    let keys = tile.keys(cache).chunks(shape.head_dim);
    for (block, scores) in keys.skip(positions.start / PANEL).zip(scores.chunks_mut(rows)) {
        let (next, _) = fetched.next().unwrap_or_default().as_chunks();
        multiply_f32::<4>(level, block, next, inputs, scores);
    }
    let mut shares = vec![0; positions.len() * rows];
    {
        let (scores, shares, sight) = (&mut scores[..], &mut shares[..], &mut sight[..rows]);
        for_level!(
            level,
            share(scores: &mut [[f32; PANEL]], shares: &mut [u32], sight: &mut [Sight])
        );
    }
    let next = next.filter(|next| (next.query.slot, next.head) != (tile.query.slot, tile.head));
    let next = next.map_or(&[][..], |next| next.keys(cache).as_flattened().as_chunks().0);
    let next = next.get(..positions.len()).unwrap_or_default();
    let (values, _) = values.as_chunks::<W>();
    let mut mixed = [[0.0; PANEL]; TILE];
    for (part, values) in values.chunks(shape.context_tokens).enumerate() {
        multiply_f32::<W>(
            level,
            &values[positions.clone()],
            next,
            &shares,
            &mut mixed[..rows],
        );
        for ((out, mixed), sight) in out.chunks_mut(shape.head_dim).zip(&mixed[..rows]).zip(&sight) {
            let out = &mut out[part * W * LANES..];
            for (out, mixed) in out.iter_mut().zip(&mixed[..W * LANES]) {
                *out = mixed / sight.sum;
            }
        }
    }
}

/// What one row sees, counted from the tile's first position.
#[derive(Clone, Copy, Default)]
struct Sight {
    first: usize,
    end: usize,
    /// Sum of its shares.
    sum: f32,
}

impl TileOf {
    /// All keys of the tile's text and head.
    fn keys<'cache>(&self, cache: &'cache Cache) -> &'cache [[Floats; 4]] {
        &cache.keys[cache.keys_of(self.query.slot, self.head)]
    }

    /// What each row sees, and all positions that the tile looks at, from the start of a block.
    fn sight(&self, group: usize) -> ([Sight; TILE], std::ops::Range<usize>) {
        let Query { start, window, .. } = self.query;
        let end_of = |row: usize| start + (self.first + row) / group + 1;
        let start_of = |row: usize| end_of(row).saturating_sub(window);
        let first = start_of(0) / PANEL * PANEL;
        let mut sight = [Sight::default(); TILE];
        for (row, sight) in sight.iter_mut().enumerate().take(self.rows) {
            sight.first = start_of(row) - first;
            sight.end = end_of(row) - first;
        }
        (sight, first..end_of(self.rows - 1))
    }
}

/// Turns scores, `[block][row][64]`, into shares before division by their sums, `[position][row]`: powers of e,
/// the largest 1, and 0 for what a row does not see.
#[inline(always)]
fn share(scores: &mut [[f32; PANEL]], shares: &mut [u32], sight: &mut [Sight]) {
    let rows = sight.len();
    for (row, sight) in sight.iter_mut().enumerate() {
        let blocks = sight.end.div_ceil(PANEL);
        let mut largest = [f32::NEG_INFINITY; LANES];
        for block in 0..blocks {
            let scores = &mut scores[block * rows + row];
            hide(scores, sight, block, f32::NEG_INFINITY);
            for lanes in scores.as_chunks::<LANES>().0 {
                for (largest, score) in largest.iter_mut().zip(lanes) {
                    *largest = if *score > *largest { *score } else { *largest };
                }
            }
        }
        let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = [0.0; LANES];
        for block in 0..blocks {
            let scores = &mut scores[block * rows + row];
            for score in scores.iter_mut() {
                *score = exp(*score - largest);
            }
            hide(scores, sight, block, 0.0);
            for lanes in scores.as_chunks::<LANES>().0 {
                for (sum, score) in sum.iter_mut().zip(lanes) {
                    *sum += score;
                }
            }
        }
        sight.sum = sum.into_iter().sum();
        // Blocks behind the last that it sees still hold scores.
        for block in blocks..scores.len() / rows {
            scores[block * rows + row] = [0.0; PANEL];
        }
    }
    for (shares, scores) in shares.chunks_mut(PANEL * rows).zip(scores.chunks(rows)) {
        for (row, scores) in scores.iter().enumerate() {
            for (share, score) in shares.iter_mut().skip(row).step_by(rows).zip(scores) {
                *share = score.to_bits();
            }
        }
    }
}

/// Replaces the scores of a block that a row does not see.
#[inline(always)]
fn hide(scores: &mut [f32; PANEL], sight: &Sight, block: usize, by: f32) {
    let within = |position: usize| position.saturating_sub(block * PANEL).min(PANEL);
    scores[..within(sight.first)].fill(by);
    scores[within(sight.end)..].fill(by);
}
