//! Honest requests beside hostile ones: time and success, quiet and hostile in alternation in one run.
//!
//! ```text
//! cargo bench -p agon-miner --bench hostile
//! ```
//!
//! Eight honest askers over one connection ask for answers of 24 tokens, 5 ms apart, as a model would make them. The
//! hostile half: 1,000 strangers a second, each over a connection of its own (a third name an unknown key, a third
//! forge a signature, a third speak no HTTP/2), 128 connections that say nothing, 128 that send a byte a second, and
//! 32 readers with the validator's own key that never read. All of it shares one machine with the miner.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]
#![expect(clippy::print_stdout, reason = "its product is what it prints")]

#[path = "../tests/hostile/support.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{Bench, WINDOW_BYTES, babble, half_open, trickle};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(6);
const ASKERS: usize = 8;
const TOKENS: usize = 24;
const TOKEN_PAUSE: Duration = Duration::from_millis(5);
/// Strangers come in handfuls, a hundred times a second.
const HANDFUL: u64 = 10;
const HANDFUL_PAUSE: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Tally {
    times_ms: Vec<f64>,
    failed: usize,
}

fn main() {
    let (serving, hostile) = (runtime(2), runtime(1));
    let bench = serving.block_on(Bench::new(TOKENS, TOKEN_PAUSE));
    let (mut quiet, mut attacked) = (Tally::default(), Tally::default());
    let strangers = Arc::new(AtomicU64::new(0));
    // A round that nobody counts, for what happens once.
    serving.block_on(ask_honestly(&bench, &mut Tally::default()));
    for _ in 0..ROUNDS {
        serving.block_on(ask_honestly(&bench, &mut quiet));
        let attack = hostile.spawn(attack(Arc::clone(&bench), Arc::clone(&strangers)));
        serving.block_on(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            ask_honestly(&bench, &mut attacked).await;
        });
        attack.abort();
        // What is left of the attack is cut off before it is quiet again.
        std::thread::sleep(Duration::from_secs(2));
    }
    report(quiet, attacked, strangers.load(Ordering::Relaxed));
    bench.shutdown.request();
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("threads to run on")
}

async fn ask_honestly(bench: &Arc<Bench>, tally: &mut Tally) {
    let (channel, until) = (bench.channel(1, WINDOW_BYTES), Instant::now() + ROUND);
    let mut askers = JoinSet::new();
    for _ in 0..ASKERS {
        let (bench, channel) = (Arc::clone(bench), channel.clone());
        askers.spawn(async move {
            let mut tally = Tally::default();
            while Instant::now() < until {
                let started = Instant::now();
                match bench.ask(channel.clone(), "hello").await {
                    true => tally.times_ms.push(started.elapsed().as_secs_f64() * 1e3),
                    false => tally.failed += 1,
                }
            }
            tally
        });
    }
    for one in askers.join_all().await {
        tally.times_ms.extend(one.times_ms);
        tally.failed += one.failed;
    }
}

/// Attacks until it is dropped.
async fn attack(bench: Arc<Bench>, strangers: Arc<AtomicU64>) {
    let to = bench.addr;
    let mut held = JoinSet::new();
    for index in 0..128u8 {
        held.spawn(async move {
            let _socket = half_open(2 + index % 4, to).await;
            std::future::pending::<()>().await;
        });
        held.spawn(trickle(6 + index % 4, to, Duration::from_secs(1)));
    }
    for _ in 0..32 {
        let bench = Arc::clone(&bench);
        held.spawn(async move {
            let _stream = bench.ask_and_not_read(bench.channel(10, 0)).await;
            std::future::pending::<()>().await;
        });
    }
    let mut ticks = tokio::time::interval(HANDFUL_PAUSE);
    loop {
        ticks.tick().await;
        for _ in 0..HANDFUL {
            let number = strangers.fetch_add(1, Ordering::Relaxed);
            held.spawn(stranger(Arc::clone(&bench), number));
        }
        while held.try_join_next().is_some() {}
    }
}

async fn stranger(bench: Arc<Bench>, number: u64) {
    let host = 20 + (number % 100) as u8;
    match number % 3 {
        0 => drop(bench.ask_as_stranger(bench.channel(host, WINDOW_BYTES)).await),
        1 => drop(bench.ask_forged(bench.channel(host, WINDOW_BYTES)).await),
        _ => babble(host, bench.addr).await,
    }
}

fn report(mut quiet: Tally, mut attacked: Tally, strangers: u64) {
    let [before, under] = [&mut quiet, &mut attacked].map(|tally| {
        tally.times_ms.sort_by(f64::total_cmp);
        let at = |share: f64| tally.times_ms[((tally.times_ms.len() - 1) as f64 * share) as usize];
        (at(0.5), at(0.95), at(0.99))
    });
    for (name, tally, (p50, p95, p99)) in [("quiet", &quiet, before), ("hostile", &attacked, under)] {
        let all = tally.times_ms.len() + tally.failed;
        let success = 100.0 * tally.times_ms.len() as f64 / all as f64;
        println!(
            "hostile/{name}: {all} requests, {success:.2} % succeed, p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms"
        );
    }
    let seconds = ROUNDS as f64 * (ROUND.as_secs_f64() + 1.0);
    println!("hostile/strangers: {:.0} a second", strangers as f64 / seconds);
    println!("hostile/p95_ratio: {:.3}", under.1 / before.1);
}
