//! How many transactions a ledger takes into final blocks, and how soon: one node alone and a committee of four, all
//! in this process with their clients, over real gRPC, real peers and real folders.
//!
//! `cargo bench -p agon-ledger-node --bench throughput -- [SECONDS]` prints, beside each figure, what bounds it in the
//! same run: signatures that all cores check together, and syncs of a log.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is read by the one who runs it"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use agon_ledger_node::{Config, Storage};
use agon_protocol::amount::Amount;
use agon_protocol::id::Digest;
use agon_protocol::message::{Call, GenesisAccount, Signed, Transaction};
use agon_protocol::sign::Keypair;
use agon_runtime::framed_log::{FramedLog, LogOptions};
use agon_runtime::{Clock, Net, Shutdown};
use support::Client;
use support::cluster::Cluster;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Connections to the nodes, spread over them.
const CLIENTS: u16 = 64;
/// Accounts, where as many transactions as possible are wanted: each has one on its way.
const MANY: u16 = 1_000;

fn main() {
    let seconds = std::env::args()
        .skip(1)
        .find_map(|it| it.parse().ok())
        .unwrap_or(10);
    let limit = Duration::from_secs(seconds);
    signatures();
    flushes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for (members, accounts, block_ms) in [
            (0, MANY, 10),
            (0, CLIENTS, 10),
            (4, MANY, 10),
            (4, CLIENTS, 10),
            (4, CLIENTS, 1_000),
        ] {
            load(members, accounts, block_ms, limit).await;
        }
    });
}

/// Signatures checked in blocks of a thousand.
fn signatures() {
    let signed: Vec<Signed<Transaction>> = (0..1_000)
        .map(|number| payment(Digest::default(), number, 0))
        .collect();
    let (mut best, mut alone) = (f64::MAX, f64::MAX);
    for _ in 0..7 {
        let fresh = || -> Vec<Signed<Transaction>> {
            let parts = signed.iter().map(|it| (it.bytes().to_vec(), *it.signature()));
            parts
                .map(|(bytes, signature)| Signed::from_parts(bytes, signature).unwrap())
                .collect()
        };
        let (together, one_by_one) = (fresh(), fresh());
        let begun = Instant::now();
        Signed::check_signatures(&together);
        best = best.min(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        one_by_one.iter().for_each(|it| it.check_signature().unwrap());
        alone = alone.min(begun.elapsed().as_secs_f64());
    }
    println!(
        "signatures/s: {:.0} together over all cores, {:.0} one after the other",
        1e3 / best,
        1e3 / alone
    );
}

/// Syncs of blocks of a thousand transfers.
fn flushes() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        frame_bytes_max: 1 << 20,
    };
    let (mut log, _) = FramedLog::open(&dir.path().join("log"), options).unwrap();
    let block = vec![7; 220_000];
    let begun = Instant::now();
    for _ in 0..50 {
        log.append_synced(&block).unwrap();
    }
    println!(
        "one sync of 220 kB: {:.2} ms",
        begun.elapsed().as_secs_f64() * 20.0
    );
}

fn pair(number: u16) -> Keypair {
    let mut seed = [9; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    Keypair::from_mini_secret(&seed)
}

fn payment(genesis: Digest, number: u16, nonce: u64) -> Signed<Transaction> {
    let pair = pair(number);
    let call = Call::Transfer {
        to: self::pair(0).coldkey(),
        amount: Amount::from_base_units(1_000_000),
    };
    let signer = pair.coldkey().into();
    Signed::sign(
        Transaction {
            genesis,
            signer,
            nonce,
            call,
        },
        &pair,
    )
}

/// Nodes of a ledger on which each account has funds.
async fn start(members: u8, accounts: u16, block_ms: u64) -> (Cluster, Vec<(Shutdown, JoinHandle<()>)>) {
    let mut genesis = support::genesis();
    let amount = Amount::from_units(100).unwrap();
    genesis
        .accounts
        .extend((0..accounts).map(|number| GenesisAccount {
            coldkey: pair(number).coldkey(),
            amount,
        }));
    let cluster = Cluster::begin_from(genesis, members);
    let mut nodes = Vec::new();
    for (index, place) in cluster.places.iter().enumerate() {
        let config = Config {
            storage: Storage::Disk(place.folder.clone()),
            listen: place.ledger,
            block_ms,
            peers: Some(cluster.peers_of(index)),
        };
        let (shutdown, (tell, told)) = (Shutdown::new(), oneshot::channel());
        let ready = move |_| tell.send(()).unwrap();
        let run = agon_ledger_node::run(config, Net::tcp(), Clock::system(), shutdown.clone(), ready);
        nodes.push((shutdown, tokio::spawn(async { run.await.unwrap() })));
        told.await.unwrap();
    }
    cluster.reached(0, 3).await;
    (cluster, nodes)
}

/// Loads a ledger for `limit`, and prints what it took.
async fn load(members: u8, accounts: u16, block_ms: u64, limit: Duration) {
    let (cluster, nodes) = start(members, accounts, block_ms).await;
    let genesis = cluster.genesis.digest();
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| cluster.client(usize::from(number) % cluster.places.len()))
        .collect();
    let first = cluster.client(0).head().await.height.0;
    let mut senders = JoinSet::new();
    let begun = Instant::now();
    for (number, client) in (0..accounts).zip(clients.iter().cycle()) {
        senders.spawn(send(client.clone(), genesis, number, begun + limit));
    }
    let mut waits = Vec::new();
    while let Some(sent) = senders.join_next().await {
        waits.extend(sent.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let blocks = cluster.client(0).head().await.height.0 - first;
    waits.sort_unstable();
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{members} members, {block_ms} ms blocks, {CLIENTS} clients, {accounts} accounts with one on its way each: \
         {:.0} tx/s, final after p50 {:.1} ms, p99 {:.1} ms; {:.1} blocks/s",
        waits.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        blocks as f64 / seconds,
    );
    for (shutdown, _) in &nodes {
        shutdown.request();
    }
    for (_, node) in nodes {
        node.await.unwrap();
    }
}

/// Payments of one account until `end`, one after the other; gives how long each took to be final.
async fn send(mut client: Client, genesis: Digest, number: u16, end: Instant) -> Vec<Duration> {
    let mut waits = Vec::new();
    for nonce in 0.. {
        let transaction = payment(genesis, number, nonce);
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let reply = client.submit(&transaction).await.unwrap();
        assert_eq!(reply.refusal, None);
        waits.push(begun.elapsed());
    }
    waits
}
