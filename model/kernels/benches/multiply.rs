//! Products of a decoder's sizes at every level of this processor, in alternation: microseconds, gigabytes of
//! parameters or billions of products a second, and each level's speed beside the one below it.
//!
//! `cargo bench -p agon-model-kernels --bench multiply -- [threads] [bf16 | f32 | int8]`; beside it stands what a plain
//! read of memory reaches. Matrices rotate, so that no cache holds them.
#![expect(clippy::print_stdout, reason = "a bench's output is its product")]

mod clock;

use std::hint::black_box;

use agon_model_kernels::{Format, Level, Matrix, Operand, Panels, Pool, multiply};

/// Bytes of parameters that rotate: far beyond every cache.
const ROTATING_BYTES: usize = 160 << 20;
const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.iter().find_map(|text| text.parse().ok()).unwrap_or(1);
    let only = arguments.iter().find_map(|text| text.parse::<Format>().ok());
    let mut pool = Pool::new(threads);
    println!("level {}, {threads} threads", Level::detect());
    println!("read: {:.1} GB/s", read_rate(&mut pool) / 1e9);
    for [outputs, columns] in [[2304, 768], [768, 2304]] {
        for format in [Format::F32, Format::Bf16, Format::Int8] {
            if only.is_none_or(|only| only == format) {
                measure_shape(&mut pool, format, outputs, columns);
            }
        }
    }
}

fn measure_shape(pool: &mut Pool, format: Format, outputs: usize, columns: usize) {
    let numbers: Vec<f32> = (0..outputs * columns)
        .map(|index| (index % 97) as f32 / 97.0 - 0.5)
        .collect();
    let pack = |_| Matrix::from_rows(format, [outputs, columns], &numbers);
    let matrices: Vec<Matrix> = (0..ROTATING_BYTES / 4 / (outputs * columns)).map(pack).collect();
    for rows in [1, 4, 8, 16, 32, 64, 128] {
        measure(pool, &matrices, &numbers[..columns], rows);
    }
}

/// The best of a few rounds, in each of which all levels have a turn.
fn measure(pool: &mut Pool, matrices: &[Matrix], row: &[f32], rows: usize) {
    let levels: Vec<Level> = Level::available()
        .into_iter()
        .filter(|level| level.is_fast())
        .collect();
    let mut best = vec![f64::INFINITY; levels.len()];
    for _ in 0..ROUNDS {
        for (best, &level) in best.iter_mut().zip(&levels) {
            *best = best.min(seconds(pool, level, matrices, row, rows));
        }
    }
    let (outputs, columns) = (matrices[0].rows(), matrices[0].columns());
    let mut before = None;
    for (best, level) in best.into_iter().zip(levels) {
        println!(
            "multiply/format={}/rows={rows}/shape={outputs}x{columns}/level={level}: {:.1} us, {:.1} GB/s, {:.1} G products/s, {}",
            matrices[0].format(),
            best * 1e6,
            matrices[0].bytes() as f64 / best / 1e9,
            (rows * outputs * columns) as f64 / best / 1e9,
            before.map_or_else(String::new, |before: f64| format!("{:.2} times", before / best)),
        );
        before = Some(best);
    }
}

/// Seconds that a product takes on average.
fn seconds(pool: &mut Pool, level: Level, matrices: &[Matrix], row: &[f32], rows: usize) -> f64 {
    let mut operand = Operand::new(matrices[0].format(), row.len());
    let mut out = Panels::default();
    let start = clock::seconds(pool.threads());
    for matrix in matrices {
        operand.fill(level, pool, rows, |_, out| out.copy_from_slice(row));
        multiply(level, pool, &operand, matrix, None, &mut out);
    }
    black_box(&out);
    (clock::seconds(pool.threads()) - start) / matrices.len() as f64
}

/// Bytes a second that sums of a large array read.
fn read_rate(pool: &mut Pool) -> f64 {
    let array: Vec<u64> = (0..ROTATING_BYTES / 8).map(|index| index as u64).collect();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = clock::seconds(pool.threads());
        let mut parts: Vec<(&[u64], u64)> = array.chunks(1 << 14).map(|part| (part, 0)).collect();
        pool.for_each(&mut parts, 4, |_, (part, sum)| {
            *sum = part.iter().fold(0, |sum, number| sum ^ number);
        });
        black_box(&parts);
        best = best.min(clock::seconds(pool.threads()) - start);
    }
    ROTATING_BYTES as f64 / best
}
