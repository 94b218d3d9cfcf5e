//! Products of a decoder's sizes: microseconds, and gigabytes of parameters or billions of products a second.
//!
//! `cargo bench -p agon-model-kernels --bench multiply [threads]`; beside it stands what a plain read of memory
//! reaches. Matrices rotate, so that no cache holds them.
#![expect(clippy::print_stdout, reason = "a bench's output is its product")]

use std::hint::black_box;
use std::time::Instant;

use agon_model_kernels::{Format, Level, Matrix, Operand, Panels, Pool, multiply};

/// Bytes of parameters that rotate: far beyond every cache.
const ROTATING_BYTES: usize = 160 << 20;
const ROUNDS: usize = 7;

fn main() {
    let threads = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1);
    let mut pool = Pool::new(threads);
    println!("level {}, {threads} threads", Level::detect());
    println!("read: {:.1} GB/s", read_rate(&mut pool) / 1e9);
    for [outputs, columns] in [[2304, 768], [768, 2048]] {
        for format in [Format::F32, Format::Bf16, Format::Int8] {
            for rows in [1, 4, 8, 16, 32, 128] {
                measure(&mut pool, format, [rows, outputs, columns]);
            }
        }
    }
}

fn measure(pool: &mut Pool, format: Format, [rows, outputs, columns]: [usize; 3]) {
    let level = Level::detect();
    let numbers: Vec<f32> = (0..outputs * columns)
        .map(|index| (index % 97) as f32 / 97.0 - 0.5)
        .collect();
    let pack = |_| Matrix::from_rows(format, [outputs, columns], &numbers);
    let matrices: Vec<Matrix> = (0..ROTATING_BYTES / 4 / (outputs * columns)).map(pack).collect();
    let mut operand = Operand::new(format, columns);
    let mut out = Panels::default();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for matrix in &matrices {
            operand.fill(level, pool, rows, |_, out| {
                out.copy_from_slice(&numbers[..columns])
            });
            multiply(level, pool, &operand, matrix, None, &mut out);
        }
        best = best.min(start.elapsed().as_secs_f64() / matrices.len() as f64);
    }
    black_box(&out);
    let bytes = matrices[0].bytes() as f64;
    let products = (rows * outputs * columns) as f64;
    println!(
        "multiply/format={format}/rows={rows}/shape={outputs}x{columns}: {:.1} us, {:.1} GB/s, {:.1} G products/s",
        best * 1e6,
        bytes / best / 1e9,
        products / best / 1e9
    );
}

/// Bytes a second that sums of a large array read.
fn read_rate(pool: &mut Pool) -> f64 {
    let array: Vec<u64> = (0..ROTATING_BYTES / 8).map(|index| index as u64).collect();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut parts: Vec<(&[u64], u64)> = array.chunks(1 << 14).map(|part| (part, 0)).collect();
        pool.for_each(&mut parts, 4, |_, (part, sum)| {
            *sum = part.iter().fold(0, |sum, number| sum ^ number);
        });
        black_box(&parts);
        best = best.min(start.elapsed().as_secs_f64());
    }
    ROTATING_BYTES as f64 / best
}
