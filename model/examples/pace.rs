//! How fast a model answers, as one of the engines of `cargo xtask bench inference`.
//!
//! ```sh
//! cargo run --release -p agon-model --example pace -- FOLDER DTYPE THREADS
//! ```
//!
//! Reads lines `BATCH PROMPT TOKENS`; answers each with tokens per second of the prompts and of decoding, through the
//! whole engine: schedule, sampling, activation codes and text included. `bandwidth` is answered with the bytes that
//! memory gives per second and the bytes that a step of one request reads at least.
#![expect(clippy::print_stdout, reason = "the figures are the product")]

use std::io::BufRead as _;
use std::path::Path;
use std::time::Instant;

use agon_model::{Arithmetic, DeviceChoice, DeviceProbe, Engine, LoadOptions, Plan, Request};

/// Requests at the same time, at most.
const SLOTS: usize = 32;
/// Tokens of prompt and answer together, at most.
const CONTEXT_TOKENS: usize = 512;

type Problem = Box<dyn std::error::Error>;

fn main() -> Result<(), Problem> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, dtype, threads] = arguments.as_slice() else {
        return Err("give FOLDER DTYPE THREADS".into());
    };
    agon_model::start();
    // `libtorch` before the format says what computes it, for comparison.
    let (arithmetic, dtype) = match dtype.strip_prefix("libtorch-") {
        Some(dtype) => (Arithmetic::Libtorch, dtype),
        None => (Arithmetic::Auto, dtype.as_str()),
    };
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        dtype: Some(dtype.parse()?),
        arithmetic,
        slots: SLOTS,
        context_tokens_max: CONTEXT_TOKENS,
        threads: threads.parse()?,
        ..LoadOptions::default()
    };
    let engine = Engine::load(folder.as_ref(), &options, |_| {})?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (first, second) = if line == "bandwidth" {
            bound(folder.as_ref(), &options)?
        } else {
            measure(&engine, &line)?
        };
        println!("{first} {second}");
    }
    engine.shutdown();
    Ok(())
}

/// Bytes that memory gives per second, and bytes that a step of one short text reads.
fn bound(folder: &Path, options: &LoadOptions) -> Result<(f64, f64), Problem> {
    let probe = DeviceProbe::measure(options.device, options.threads)?;
    let plan = Plan::of_folder(folder)?;
    let steps_per_second = plan.tokens_per_second(&plan.need(options)?, 1, 0, probe.bandwidth);
    Ok((probe.bandwidth, probe.bandwidth / steps_per_second))
}

fn measure(engine: &Engine, line: &str) -> Result<(f64, f64), Problem> {
    let numbers: Vec<usize> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [batch, prompt, tokens] = numbers[..] else {
        return Err(format!("{line:?} is not BATCH PROMPT TOKENS").into());
    };
    let start = Instant::now();
    let mut running = Vec::new();
    for index in 0..batch {
        running.push(engine.submit(request(engine, index, prompt, tokens))?);
    }
    // All advance by one token in each step once the last prompt is in, so the last one speaks for all.
    let mut last = running.pop().ok_or("a batch has at least one request")?;
    last.next_blocking();
    let first = Instant::now();
    last.wait()?;
    let end = Instant::now();
    for generation in running {
        generation.wait()?;
    }
    let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds;
    Ok((
        rate(batch * prompt, (first - start).as_secs_f64()),
        rate(batch * (tokens - 1), (end - first).as_secs_f64()),
    ))
}

/// A prompt of as many words, each of which is a token.
fn request(engine: &Engine, index: usize, prompt: usize, tokens: usize) -> Request {
    let vocabulary = engine.info().vocabulary;
    let words: Vec<String> = (0..prompt)
        .map(|position| format!("w{}", (index * 7919 + position * 104_729) % vocabulary))
        .collect();
    Request {
        prompt: words.join(" "),
        tokens_max: tokens as u32,
        ..Request::default()
    }
}
