//! A decoder's step put together from the kernels, with numbers that mean nothing: tokens a second, and which part
//! of the step takes how long, at every level of this processor in alternation.
//!
//! `cargo bench -p agon-model-kernels --bench step -- [threads]`; the shape is that of the 121 M model of `cargo xtask
//! bench inference`, at 144 positions in the cache. Prompts of 512 tokens go through in pieces of several lengths.
#![expect(clippy::print_stdout, reason = "a bench's output is its product")]

mod clock;

use agon_model_kernels::{
    Cache, CacheShape, Format, Level, Matrix, Mixed, Operand, Panels, Pool, Query, add_rows, attend,
    multiply, normalise, rotate, silu_product,
};

const HIDDEN: usize = 768;
const INTERMEDIATE: usize = 2304;
const LAYERS: usize = 14;
const HEADS: usize = 12;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 64;
const VOCABULARY: usize = 32_000;
const WIDTH: usize = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
const START: usize = 144;
const SLOTS: usize = 32;
const ROUNDS: usize = 7;
const PARTS: [&str; 7] = ["norm", "products", "heads", "cache", "attention", "gate", "head"];

fn main() {
    let threads = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1);
    for format in [Format::Bf16, Format::Int8] {
        let mut model = Model::new(format, threads);
        for rows in [1, 8, 32] {
            model.measure(Load::decoding(rows));
        }
        for [tokens, piece] in [[128, 128], [512, 64], [512, 128], [512, 256], [512, 512]] {
            model.measure(Load::prompt(tokens, piece));
        }
    }
}

/// What goes through the model in one measurement.
#[derive(Clone, Copy)]
struct Load {
    rows: usize,
    /// Tokens in the cache before.
    start: usize,
    tokens: usize,
    /// Tokens of a row in one step.
    piece: usize,
}

impl Load {
    fn decoding(rows: usize) -> Load {
        Load {
            rows,
            start: START,
            tokens: 1,
            piece: 1,
        }
    }

    fn prompt(tokens: usize, piece: usize) -> Load {
        Load {
            rows: 1,
            start: 0,
            tokens,
            piece,
        }
    }
}

struct Model {
    level: Level,
    pool: Pool,
    layers: Vec<[Matrix; 4]>,
    head: Matrix,
    caches: Vec<Cache>,
    normed: Operand,
    attended: Operand,
    gated: Operand,
    product: Panels,
    mixed: Mixed,
    seconds: [f64; PARTS.len()],
    format: Format,
}

fn matrix(format: Format, shape: [usize; 2]) -> Matrix {
    let numbers: Vec<f32> = (0..shape[0] * shape[1])
        .map(|index| (index % 97) as f32 / 970.0 - 0.05)
        .collect();
    Matrix::from_rows(format, shape, &numbers)
}

impl Model {
    fn new(format: Format, threads: usize) -> Model {
        let layer = |_| {
            [
                matrix(format, [WIDTH, HIDDEN]),
                matrix(format, [HIDDEN, HEADS * HEAD_DIM]),
                matrix(format, [2 * INTERMEDIATE, HIDDEN]),
                matrix(format, [HIDDEN, INTERMEDIATE]),
            ]
        };
        let shape = CacheShape {
            slots: SLOTS,
            context_tokens: 512,
            kv_heads: KV_HEADS,
            head_dim: HEAD_DIM,
        };
        Model {
            level: Level::detect(),
            pool: Pool::new(threads),
            layers: (0..LAYERS).map(layer).collect(),
            head: matrix(format, [VOCABULARY, HIDDEN]),
            caches: (0..LAYERS).map(|_| Cache::new(shape)).collect(),
            normed: Operand::new(format, HIDDEN),
            attended: Operand::new(format, HEADS * HEAD_DIM),
            gated: Operand::new(format, INTERMEDIATE),
            product: Panels::default(),
            mixed: Mixed::default(),
            seconds: [0.0; PARTS.len()],
            format,
        }
    }

    fn measure(&mut self, load: Load) {
        let levels: Vec<Level> = Level::available()
            .into_iter()
            .filter(|level| level.is_fast())
            .collect();
        let mut best = vec![(f64::INFINITY, self.seconds); levels.len()];
        for _ in 0..ROUNDS {
            for (best, &level) in best.iter_mut().zip(&levels) {
                self.level = level;
                self.seconds = [0.0; PARTS.len()];
                let start = self.now();
                for first in (0..load.tokens).step_by(load.piece) {
                    self.step(load.rows, load.start + first, load.piece);
                }
                let seconds = self.now() - start;
                if seconds < best.0 {
                    *best = (seconds, self.seconds);
                }
            }
        }
        for (level, (best, parts)) in levels.into_iter().zip(best) {
            self.tell(level, load, best, parts);
        }
    }

    fn tell(&self, level: Level, load: Load, best: f64, parts: [f64; PARTS.len()]) {
        let Load {
            rows, tokens, piece, ..
        } = load;
        let shares: Vec<String> = PARTS
            .iter()
            .zip(parts)
            .map(|(name, part)| format!("{name} {:.2}", part * 1e3))
            .collect();
        println!(
            "step/format={}/threads={}/rows={rows}/tokens={tokens}/piece={piece}/level={level}: {:.2} ms, {:.0} tokens/s; ms: {}",
            self.format,
            self.pool.threads(),
            best * 1e3,
            (rows * tokens) as f64 / best,
            shares.join(", ")
        );
    }

    fn step(&mut self, rows: usize, start: usize, tokens: usize) {
        let count = rows * tokens;
        let mut stream = vec![0.1; count * HIDDEN];
        let mut heads = vec![0.0; count * WIDTH];
        for layer in 0..LAYERS {
            self.norm(&stream);
            self.product(layer, 0, |model| &model.normed);
            self.heads(&mut heads);
            self.write(layer, &heads, start, tokens);
            self.attend(layer, &heads, rows, start, tokens);
            self.product(layer, 1, |model| &model.attended);
            add_rows(self.level, &mut stream, &self.product);
            self.norm(&stream);
            self.product(layer, 2, |model| &model.normed);
            self.gate();
            self.product(layer, 3, |model| &model.gated);
            add_rows(self.level, &mut stream, &self.product);
        }
        stream.truncate(rows * HIDDEN);
        self.norm(&stream);
        let time = self.now();
        multiply(
            self.level,
            &mut self.pool,
            &self.normed,
            &self.head,
            None,
            &mut self.product,
        );
        self.count("head", time);
    }

    fn now(&self) -> f64 {
        clock::seconds(self.pool.threads())
    }

    fn count(&mut self, part: &str, since: f64) {
        if let Some(index) = PARTS.iter().position(|name| *name == part) {
            self.seconds[index] += self.now() - since;
        }
    }

    fn norm(&mut self, stream: &[f32]) {
        let time = self.now();
        let level = self.level;
        self.normed
            .fill(level, &mut self.pool, stream.len() / HIDDEN, |row, out| {
                normalise(
                    level,
                    &stream[row * HIDDEN..(row + 1) * HIDDEN],
                    &[1.0; HIDDEN],
                    1e-5,
                    out,
                );
            });
        self.count("norm", time);
    }

    fn product(&mut self, layer: usize, which: usize, operand: fn(&Model) -> &Operand) {
        let time = self.now();
        let mut product = std::mem::take(&mut self.product);
        let mut pool = std::mem::replace(&mut self.pool, Pool::new(1));
        multiply(
            self.level,
            &mut pool,
            operand(self),
            &self.layers[layer][which],
            None,
            &mut product,
        );
        (self.product, self.pool) = (product, pool);
        self.count("products", time);
    }

    fn heads(&mut self, heads: &mut [f32]) {
        let time = self.now();
        let (level, product) = (self.level, &self.product);
        let mut tokens: Vec<&mut [f32]> = heads.chunks_mut(WIDTH).collect();
        self.pool.for_each(&mut tokens, 8, |index, token| {
            product.read(index, 0, token);
            for head in token.chunks_mut(HEAD_DIM).take(HEADS + KV_HEADS) {
                rotate(level, head, &[0.6; HEAD_DIM / 2], &[0.8; HEAD_DIM / 2]);
            }
        });
        self.count("heads", time);
    }

    fn write(&mut self, layer: usize, heads: &[f32], start: usize, tokens: usize) {
        let time = self.now();
        for (index, token) in heads.chunks(WIDTH).enumerate() {
            let (keys, values) = token[HEADS * HEAD_DIM..].split_at(KV_HEADS * HEAD_DIM);
            for (head, (key, value)) in keys.chunks(HEAD_DIM).zip(values.chunks(HEAD_DIM)).enumerate() {
                self.caches[layer].write([index / tokens, start + index % tokens, head], key, value);
            }
        }
        self.count("cache", time);
    }

    fn attend(&mut self, layer: usize, heads: &[f32], rows: usize, start: usize, tokens: usize) {
        let time = self.now();
        let query = |slot| Query {
            slot,
            start,
            tokens,
            window: usize::MAX,
        };
        let queries: Vec<Query> = (0..rows).map(query).collect();
        let (level, pool) = (self.level, &mut self.pool);
        let group = HEADS / KV_HEADS;
        attend(
            level,
            pool,
            &self.caches[layer],
            group,
            &queries,
            (heads, WIDTH),
            &mut self.mixed,
        );
        let mixed = &self.mixed;
        self.attended
            .fill(level, pool, rows * tokens, |row, out| mixed.read(row, out));
        self.count("attention", time);
    }

    fn gate(&mut self) {
        let time = self.now();
        let (level, product) = (self.level, &self.product);
        self.gated
            .fill(level, &mut self.pool, product.rows(), |row, gate| {
                let mut up = vec![0.0; INTERMEDIATE];
                product.read(row, 0, gate);
                product.read(row, INTERMEDIATE, &mut up);
                silu_product(level, gate, &up);
            });
        self.count("gate", time);
    }
}
