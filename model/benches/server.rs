//! An engine under the load of a server: requests of mixed lengths that arrive at random, answered together and, for
//! comparison in the same run, one after the other.
//!
//! ```sh
//! cargo bench -p agon-model --bench server -- --device cpu --requests 48
//! ```
//!
//! Three scenarios, from one seed: `poisson` (gaps between arrivals are exponential, at twice the rate that one after
//! the other can serve), `burst` (all at once), `shared` (prompts that begin alike, against prompts of the same
//! lengths that do not). The model is a random Llama of 28 million parameters, made in a temporary folder.
//!
//! Time to first token counts from the arrival, waiting included. The last line is one JSON object.

#![expect(clippy::print_stdout, reason = "a bench's output is its product")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use agon_model::{DeviceChoice, Engine, EngineStats, Event, LoadOptions, Request};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Value, json};

#[path = "synthetic/mod.rs"]
#[expect(dead_code, reason = "this bench needs random numbers, others zeros")]
mod synthetic;

const SIZES: synthetic::Sizes = synthetic::Sizes {
    hidden: 512,
    intermediate: 1408,
    heads: 8,
    kv_heads: 4,
    layers: 8,
    vocabulary: 8192,
    is_tied: true,
};

/// Requests at the same time, when answered together.
const SLOTS: usize = 16;
/// Tokens of prompts and answers: from, to.
const PROMPT_TOKENS: (u64, u64) = (16, 256);
const ANSWER_TOKENS: (u64, u64) = (8, 64);
/// Tokens that the prompts of `shared` begin with in common, and those of each one's own.
const SHARED_TOKENS: usize = 384;
const OWN_TOKENS: u64 = 16;

struct Options {
    device: DeviceChoice,
    requests: usize,
    seed: u64,
    threads: usize,
}

/// A request and when it arrives, counted from the start.
#[derive(Clone)]
struct Arrival {
    at: Duration,
    request: Request,
}

/// What became of a run.
struct Outcome {
    seconds: f64,
    tokens: u64,
    /// Sorted, in seconds.
    first_tokens: Vec<f64>,
    stats: EngineStats,
}

fn main() {
    let options = options();
    agon_model::start();
    let made = synthetic::Folder::random(SIZES);
    let (dir, words) = (made.dir(), synthetic::words(SIZES));
    println!(
        "seed {}, {} requests, {} threads",
        options.seed, options.requests, options.threads
    );
    let mut report = serde_json::Map::new();
    report.insert("bench".to_owned(), json!("server"));
    for (name, result) in [
        ("poisson", poisson(&options, dir, &words)),
        ("burst", burst(&options, dir, &words)),
        ("shared", shared(&options, dir, &words)),
    ] {
        report.insert(name.to_owned(), result);
    }
    println!("{}", Value::Object(report));
}

fn options() -> Options {
    let mut options = Options {
        device: DeviceChoice::Auto,
        requests: 48,
        seed: 17,
        threads: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|text| text.parse().ok())
                .expect("a number")
        };
        match argument.as_str() {
            "--requests" => options.requests = number(),
            "--threads" => options.threads = number(),
            "--seed" => options.seed = number() as u64,
            "--device" => options.device = arguments.next().expect("a device").parse().expect("a device"),
            // What cargo itself passes.
            _ => {}
        }
    }
    options
}

/// Arrivals at twice the rate that one after the other can serve.
fn poisson(options: &Options, dir: &Path, words: &[String]) -> Value {
    let mut arrivals = mixed(options, words);
    // How long one takes by itself is the mean over a few.
    let few: Vec<Arrival> = arrivals.iter().take(6).cloned().collect();
    let alone = run(options, dir, 1, &few);
    let gap = alone.seconds / few.len() as f64 / 2.0;
    let mut random = ChaCha20Rng::seed_from_u64(options.seed ^ 1);
    let mut at = 0.0;
    for arrival in &mut arrivals {
        arrival.at = Duration::from_secs_f64(at);
        at += -uniform(&mut random).ln() * gap;
    }
    println!("poisson: a request each {:.0} ms on average", gap * 1e3);
    both("poisson", options, dir, &arrivals)
}

/// All at once.
fn burst(options: &Options, dir: &Path, words: &[String]) -> Value {
    both("burst", options, dir, &mixed(options, words))
}

/// The same arrivals, together and one after the other.
fn both(name: &str, options: &Options, dir: &Path, arrivals: &[Arrival]) -> Value {
    let together = run(options, dir, SLOTS, arrivals);
    let one_by_one = run(options, dir, 1, arrivals);
    compare(name, ["together", "one by one"], &together, &one_by_one)
}

/// Prompts that begin alike, and prompts of the same lengths that differ in their first token.
fn shared(options: &Options, dir: &Path, words: &[String]) -> Value {
    let alike = story(options, words, false);
    let unlike = story(options, words, true);
    let reused = run(options, dir, SLOTS, &alike);
    let computed = run(options, dir, SLOTS, &unlike);
    let [hits, offered] = [&reused, &computed].map(|run| run.stats.hit_tokens + run.stats.prompt_tokens);
    assert_eq!(hits, offered, "both have prompts of the same lengths");
    println!(
        "shared: {:.0} % of prompt tokens were there already ({:.0} % where none are alike)",
        100.0 * reused.stats.hit_tokens as f64 / offered as f64,
        100.0 * computed.stats.hit_tokens as f64 / offered as f64
    );
    compare("shared", ["alike", "unlike"], &reused, &computed)
}

fn compare(name: &str, names: [&str; 2], one: &Outcome, other: &Outcome) -> Value {
    let result = json!({
        names[0]: one.tell(name, names[0]),
        names[1]: other.tell(name, names[1]),
        "tokens_per_second_ratio": ratio(one.tokens_per_second(), other.tokens_per_second()),
        "first_token_p50_ratio": ratio(other.percentile_ms(50), one.percentile_ms(50)),
        "first_token_p99_ratio": ratio(other.percentile_ms(99), one.percentile_ms(99)),
    });
    println!(
        "{name}: {} times the tokens/s, first token {} (p50) and {} (p99) times as soon",
        result["tokens_per_second_ratio"], result["first_token_p50_ratio"], result["first_token_p99_ratio"]
    );
    result
}

impl Outcome {
    fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    fn percentile_ms(&self, percent: usize) -> f64 {
        let place = (self.first_tokens.len() * percent).div_ceil(100).max(1);
        self.first_tokens[place - 1] * 1e3
    }

    fn tell(&self, scenario: &str, name: &str) -> Value {
        let batch = self.stats.step_rows as f64 / self.stats.steps.max(1) as f64;
        let [speed, p50, p99] = [
            self.tokens_per_second(),
            self.percentile_ms(50),
            self.percentile_ms(99),
        ];
        println!(
            "server/scenario={scenario}/{name:11} {speed:8.1} tokens/s, first token p50 {p50:8.1} ms, p99 {p99:8.1} ms, \
             {batch:4.1} rows a step"
        );
        json!({
            "tokens_per_second": tenths(speed), "first_token_p50_ms": tenths(p50), "first_token_p99_ms": tenths(p99),
            "rows_per_step": tenths(batch), "tokens": self.tokens, "seconds": self.seconds,
            "prompt_tokens": self.stats.prompt_tokens, "hit_tokens": self.stats.hit_tokens,
        })
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn ratio(one: f64, other: f64) -> f64 {
    (one / other * 100.0).round() / 100.0
}

/// Sends each request when it arrives and waits for all answers.
fn run(options: &Options, dir: &Path, slots: usize, arrivals: &[Arrival]) -> Outcome {
    let load = LoadOptions {
        device: options.device,
        slots,
        context_tokens_max: 1024,
        queue_max: arrivals.len(),
        threads: options.threads,
        ..LoadOptions::default()
    };
    let engine = Engine::load(dir, &load, |_| {}).expect("load the model");
    warm_up(&engine, &arrivals[0].request);
    let before = engine.stats();
    let started = Instant::now();
    let waiting: Vec<_> = arrivals
        .iter()
        .map(|arrival| send(&engine, arrival, started))
        .collect();
    let answers: Vec<(f64, u64)> = waiting
        .into_iter()
        .map(|one| one.join().expect("an answer"))
        .collect();
    let seconds = started.elapsed().as_secs_f64();
    engine.shutdown();
    let mut first_tokens: Vec<f64> = answers.iter().map(|&(first, _)| first).collect();
    first_tokens.sort_by(f64::total_cmp);
    let after = engine.stats();
    Outcome {
        seconds,
        tokens: answers.iter().map(|&(_, tokens)| tokens).sum(),
        first_tokens,
        stats: EngineStats {
            steps: after.steps - before.steps,
            step_rows: after.step_rows - before.step_rows,
            prompt_tokens: after.prompt_tokens - before.prompt_tokens,
            hit_tokens: after.hit_tokens - before.hit_tokens,
            ..after
        },
    }
}

/// Lets libtorch set itself up, with words that no prompt begins with.
fn warm_up(engine: &Engine, like: &Request) {
    let words: Vec<&str> = like.prompt.split(' ').rev().collect();
    let request = Request {
        prompt: words.join(" "),
        tokens_max: 4,
        ..Request::default()
    };
    engine
        .submit(request)
        .expect("take a request")
        .wait()
        .expect("answer it");
}

/// Waits for the arrival, then sends; the thread tells the seconds to the first token, and the tokens of the answer.
fn send(engine: &Engine, arrival: &Arrival, started: Instant) -> thread::JoinHandle<(f64, u64)> {
    thread::sleep((started + arrival.at).saturating_duration_since(Instant::now()));
    let arrived = Instant::now();
    let mut generation = engine.submit(arrival.request.clone()).expect("take a request");
    thread::spawn(move || {
        let mut first = None;
        loop {
            match generation.next_blocking() {
                Some(Event::Text(_)) => {
                    first.get_or_insert_with(|| arrived.elapsed().as_secs_f64());
                }
                Some(Event::Done(finish, _)) => return (first.expect("a text"), u64::from(finish.tokens)),
                other => panic!("the answer ended with {other:?}"),
            }
        }
    })
}

/// Requests of mixed lengths, each prompt with a beginning of its own.
fn mixed(options: &Options, words: &[String]) -> Vec<Arrival> {
    let mut random = ChaCha20Rng::seed_from_u64(options.seed);
    (0..options.requests)
        .map(|index| {
            let length = spread(&mut random, PROMPT_TOKENS);
            let own = std::iter::once(words[index % words.len()].clone());
            let prompt = own.chain(drawn(&mut random, words, length - 1));
            let tokens_max = spread(&mut random, ANSWER_TOKENS);
            arrival(prompt, tokens_max)
        })
        .collect()
}

/// Prompts of one story and a question each; with `is_unlike`, each has another first word.
fn story(options: &Options, words: &[String], is_unlike: bool) -> Vec<Arrival> {
    let mut random = ChaCha20Rng::seed_from_u64(options.seed ^ 2);
    let story = drawn(&mut random, words, SHARED_TOKENS as u64);
    (0..options.requests)
        .map(|index| {
            let mut prompt = story.clone();
            if is_unlike {
                prompt[0] = words[index % words.len()].clone();
            }
            prompt.extend(drawn(&mut random, words, OWN_TOKENS));
            arrival(prompt.into_iter(), ANSWER_TOKENS.0)
        })
        .collect()
}

fn arrival(prompt: impl Iterator<Item = String>, tokens: u64) -> Arrival {
    let tokens = tokens as u32;
    let request = Request {
        prompt: prompt.collect::<Vec<_>>().join(" "),
        tokens_max: tokens,
        tokens_min: tokens,
        ..Request::default()
    };
    Arrival {
        at: Duration::ZERO,
        request,
    }
}

fn drawn(random: &mut ChaCha20Rng, words: &[String], count: u64) -> Vec<String> {
    (0..count)
        .map(|_| words[random.next_u32() as usize % words.len()].clone())
        .collect()
}

/// Between the two, short ones as often as long ones: uniform in the logarithm.
fn spread(random: &mut ChaCha20Rng, (from, to): (u64, u64)) -> u64 {
    let (from, to) = (from as f64, to as f64);
    (from * (to / from).powf(uniform(random))).round() as u64
}

/// In (0, 1].
fn uniform(random: &mut ChaCha20Rng) -> f64 {
    (f64::from(random.next_u32()) + 1.0) / (f64::from(u32::MAX) + 1.0)
}
