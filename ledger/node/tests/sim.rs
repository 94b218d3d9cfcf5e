//! A node in a simulated network: in memory, under a virtual clock, the same in every run.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_ledger_node::{Config, Memory, Storage};
use agon_protocol::id::Digest;
use agon_runtime::{Clock, Net, Shutdown};
use support::{BLOCK_MS, Client, genesis, sign, transfer};

const PORT: u16 = 9944;

/// Submits ten transfers over slow links, with a crash of the node's host in between; gives the blocks' hashes.
fn run(seed: u64) -> Vec<Digest> {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(60))
        .min_message_latency(Duration::from_millis(5))
        .max_message_latency(Duration::from_millis(80))
        .rng_seed(seed)
        .enable_tokio_io()
        .build();
    let memory = Memory::new(genesis());
    sim.host("node", move || {
        let config = Config {
            storage: Storage::Memory(memory.clone()),
            listen: ([0, 0, 0, 0], PORT).into(),
            block_ms: BLOCK_MS,
            peers: None,
            axons: agon_ledger_node::axons::Addresses::Public,
            pulses: None,
        };
        async move {
            let clock = Clock::simulated(1_000_000);
            agon_ledger_node::run(config, Net::simulated(), clock, Shutdown::new(), |_| ()).await?;
            Ok(())
        }
    });
    let hashes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&hashes);
    sim.client("client", async move {
        let mut client = Client::new(&Net::simulated(), &format!("http://node:{PORT}"));
        for nonce in 0..10 {
            let reply = client
                .submit(&sign(genesis().digest(), 1, nonce, transfer(2, 5)))
                .await?;
            let hash = client.block(reply.height).await.hash();
            seen.lock().unwrap().push(hash);
        }
        Ok(())
    });
    sim.run().unwrap();
    let hashes = hashes.lock().unwrap().clone();
    assert_eq!(hashes.len(), 10);
    hashes
}

#[test]
fn a_simulated_ledger_is_the_same_in_every_run() {
    assert_eq!(run(17), run(17));
    assert_ne!(
        run(17),
        run(18),
        "another seed has other latencies, so other block times"
    );
}
