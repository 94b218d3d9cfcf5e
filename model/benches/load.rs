//! Memory and time that loading a model in shards takes, beside the bytes of the model.
//!
//! ```sh
//! cargo bench --bench load -- --device cpu --layers 16
//! ```
//!
//! Makes a Llama of zeros in a temporary folder (files with holes, so nothing is written), loads it, and prints the
//! largest resident set of the process. On a CPU the model itself is part of it; on a GPU it is not.

#![expect(clippy::print_stdout, reason = "a bench's output is its product")]

use std::path::Path;
use std::time::Instant;

use agon_model::{DeviceChoice, Dtype, Engine, LoadOptions, Plan};

#[path = "synthetic/mod.rs"]
#[expect(dead_code, reason = "this bench needs zeros, others random numbers")]
mod synthetic;

const SIZES: synthetic::Sizes = synthetic::Sizes {
    hidden: 1024,
    intermediate: 2816,
    heads: 16,
    kv_heads: 4,
    layers: 16,
    vocabulary: 32_000,
    is_tied: false,
};
const SHARD_LAYERS: usize = 4;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut device, mut layers) = (DeviceChoice::Cpu, SIZES.layers);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--device" => device = arguments.next().expect("a device").parse().expect("a device"),
            "--layers" => layers = arguments.next().expect("a count").parse().expect("a count"),
            // What cargo itself passes.
            _ => {}
        }
    }
    agon_model::start();
    let made = synthetic::Folder::zeros(synthetic::Sizes { layers, ..SIZES }, SHARD_LAYERS);
    measure(made.dir(), device);
}

fn measure(dir: &Path, device: DeviceChoice) {
    let plan = Plan::of_folder(dir).expect("a plan");
    let options = LoadOptions {
        device,
        dtype: Some(Dtype::Bf16),
        slots: 1,
        context_tokens_max: 64,
        ..LoadOptions::default()
    };
    let before = peak_bytes();
    let begun = Instant::now();
    let engine = Engine::load(dir, &options, |_| {}).expect("load");
    let seconds = begun.elapsed().as_secs_f64();
    let grown = peak_bytes() - before;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("device {}", engine.info().device);
    println!("parameters        {:8.1} MB", megabytes(plan.stored_bytes));
    println!("largest shard     {:8.1} MB", megabytes(plan.shard_bytes_max));
    println!("peak of the load  {:8.1} MB", megabytes(grown));
    println!(
        "beyond parameters {:8.1} MB",
        megabytes(grown) - megabytes(plan.stored_bytes)
    );
    println!(
        "{seconds:.2} s, {:.2} GB/s",
        plan.stored_bytes as f64 / 1e9 / seconds
    );
    engine.shutdown();
}

/// The largest resident set that this process had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read the process's status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the status tells the peak");
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    kib * 1024
}
