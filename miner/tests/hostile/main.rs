//! Hostile clients on loopback against the real service: honest requests succeed, and nothing grows.
//!
//! Whether they are as fast as before is measured by `cargo bench -p agon-miner --bench hostile`.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use agon_miner::CONNECTIONS;
use support::{Bench, WINDOW_BYTES, babble, from, half_open, trickle};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

/// Honest requests of one test, and those of them that must succeed.
const HONEST: usize = 200;
const HONEST_SUCCEED: usize = 198;
/// What a process may grow by under attack: buffers of all connections that are allowed, and no more.
const GROWTH_BYTES_MAX: u64 = 192 << 20;

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

/// Asks honest questions, eight at a time over one connection, while `attack` goes on.
async fn check_honest(bench: &Arc<Bench>, mut attack: JoinSet<()>) {
    let channel = bench.channel(1, WINDOW_BYTES);
    let before = resident_bytes();
    let mut honest = JoinSet::new();
    for _ in 0..8 {
        let (bench, channel) = (Arc::clone(bench), channel.clone());
        honest.spawn(async move {
            let mut succeeded = 0;
            for _ in 0..HONEST / 8 {
                succeeded += usize::from(bench.ask(channel.clone(), "hello").await);
            }
            succeeded
        });
    }
    let succeeded: usize = honest.join_all().await.into_iter().sum();
    let grown = resident_bytes().saturating_sub(before);
    attack.abort_all();
    while let Some(ended) = attack.join_next().await {
        assert!(
            !ended.is_err_and(|error| error.is_panic()),
            "a hostile client saw what it should not"
        );
    }
    bench.shutdown.request();
    assert!(succeeded >= HONEST_SUCCEED, "{succeeded} of {HONEST}");
    assert!(grown < GROWTH_BYTES_MAX, "grew by {grown} bytes");
}

async fn bench() -> Arc<Bench> {
    Bench::new(16, Duration::from_millis(1)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_stop_honest_requests() {
    let bench = bench().await;
    let mut attack = JoinSet::new();
    for host in 2..10 {
        let bench = Arc::clone(&bench);
        attack.spawn(async move {
            loop {
                let channel = bench.channel(host, WINDOW_BYTES);
                let refusals = [
                    bench.ask_as_stranger(channel.clone()).await,
                    bench.ask_forged(channel).await,
                ];
                assert!(refusals.iter().all(Result::is_err), "nobody else is answered");
                babble(host, bench.addr).await;
            }
        });
    }
    check_honest(&bench, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_and_slow_connections_do_not_stop_honest_requests() {
    let bench = bench().await;
    let mut attack = JoinSet::new();
    for index in 0..400 {
        let (host, to) = (2 + u8::try_from(index % 8).unwrap(), bench.addr);
        attack.spawn(async move {
            let _held = half_open(host, to).await;
            trickle(host, to, Duration::from_secs(1)).await;
        });
    }
    check_honest(&bench, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_do_not_stop_honest_requests() {
    let bench = bench().await;
    let mut attack = JoinSet::new();
    for _ in 0..64 {
        let bench = Arc::clone(&bench);
        attack.spawn(async move {
            let _held = bench.ask_and_not_read(bench.channel(2, 0)).await;
            std::future::pending::<()>().await;
        });
    }
    check_honest(&bench, attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_took_all_it_may_is_cut_off_and_others_are_not() {
    let bench = bench().await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS.per_address_max {
        held.push(half_open(2, bench.addr).await.unwrap());
    }
    let mut beyond = from(2, bench.addr).await.unwrap();
    assert!(matches!(beyond.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(bench.ask(bench.channel(1, WINDOW_BYTES), "hello").await);
    bench.shutdown.request();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_was_admitted_once_comes_back_when_strangers_hold_all_other_places() {
    let bench = bench().await;
    assert!(bench.ask(bench.channel(1, WINDOW_BYTES), "hello").await);
    let open_to_all = CONNECTIONS.connections_max - CONNECTIONS.known_only;
    let mut held = Vec::new();
    for index in 0..open_to_all {
        let host = 2 + u8::try_from(index / CONNECTIONS.per_address_max).unwrap();
        held.push(half_open(host, bench.addr).await.unwrap());
    }
    let mut stranger = from(100, bench.addr).await.unwrap();
    assert!(matches!(stranger.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(bench.ask(bench.channel(1, WINDOW_BYTES), "hello").await);
    bench.shutdown.request();
}
