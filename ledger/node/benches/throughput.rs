//! How many transactions a ledger takes into final blocks, and how soon: one node alone and a committee of four, each
//! node a process of its own on this machine, with real peers, real folders, and clients over gRPC in this process.
//!
//! `cargo bench -p agon-ledger-node --bench throughput -- [SECONDS] [solo | committee]` prints, beside each figure,
//! what bounds it in the same run: signatures that all cores check together, and syncs of a log. What a node's process
//! took of cores and of memory is printed as well, and how long after its proposal a block is final, which is less
//! than what a client waits: its transaction has to be proposed first. Clients sign as they go, on the same cores.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is read by the one who runs it"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agon_ledger_node::Peers;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Digest};
use agon_protocol::message::{Call, GenesisAccount, Signed, Transaction};
use agon_protocol::sign::Keypair;
use agon_runtime::Clock;
use agon_runtime::framed_log::{FramedLog, LogOptions};
use support::Client;
use support::cluster::Cluster;
use tokio::task::JoinSet;

/// Connections to the nodes, spread over them.
const CLIENTS: u16 = 64;
/// Accounts, where as many transactions as possible are wanted: each has one on its way.
const MANY: u16 = 1_000;
/// Units in which the system counts a process's time on cores.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is loaded, and how.
struct Case {
    name: &'static str,
    /// None: one node that decides alone.
    members: u8,
    accounts: u16,
    block_ms: u64,
}

#[rustfmt::skip]
const CASES: [Case; 6] = [
    Case { name: "solo", members: 0, accounts: MANY, block_ms: 10 },
    Case { name: "solo", members: 0, accounts: CLIENTS, block_ms: 10 },
    Case { name: "committee", members: 4, accounts: MANY, block_ms: 10 },
    Case { name: "committee", members: 4, accounts: CLIENTS, block_ms: 10 },
    Case { name: "committee idle", members: 4, accounts: 0, block_ms: 10 },
    Case { name: "committee paced", members: 4, accounts: CLIENTS, block_ms: 1_000 },
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seconds = args.iter().find_map(|it| it.parse().ok()).unwrap_or(10);
    let only = args.iter().find(|it| it.starts_with(char::is_alphabetic));
    signatures();
    flushes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for case in &CASES {
        if only.is_none_or(|only| case.name.starts_with(only.as_str())) {
            runtime.block_on(load(case, Duration::from_secs(seconds)));
        }
    }
}

/// Signatures checked in blocks of a thousand.
fn signatures() {
    let signed: Vec<Signed<Transaction>> = (0..1_000)
        .map(|number| payment(Digest::default(), &pair(number), Coldkey([1; 32]), 0))
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

fn payment(genesis: Digest, pair: &Keypair, to: Coldkey, nonce: u64) -> Signed<Transaction> {
    let call = Call::Transfer {
        to,
        amount: Amount::from_base_units(1_000_000),
    };
    let signer = pair.coldkey().into();
    let transaction = Transaction {
        genesis,
        signer,
        nonce,
        call,
    };
    Signed::sign(transaction, pair)
}

/// A node of the real binary; killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(cluster: &Cluster, index: usize, block_ms: u64) -> Self {
        let place = &cluster.places[index];
        let Peers { listen, peers, .. } = cluster.peers_of(index);
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon-node"));
        command.args(["run", "--die-with-parent", "--log", "error"]);
        command.args(["--listen", &place.ledger.to_string()]);
        command.args(["--block-ms", &block_ms.to_string()]);
        if !peers.is_empty() {
            command.args(["--listen-peers", &listen.to_string()]);
        }
        for peer in peers {
            command.args(["--peer", &format!("{}={}", peer.address, peer.ledger)]);
        }
        command.arg("--dir").arg(place.folder.dir());
        // The engine complains loudly of peers that are not up yet.
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "node {index} did not start");
        Self(child)
    }

    /// Seconds on a core so far.
    fn core_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = |index: usize| {
            fields
                .split_whitespace()
                .nth(index)
                .unwrap()
                .parse::<f64>()
                .unwrap()
        };
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    /// Memory it has now, in MB.
    fn resident_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1_024.0 / 1e6
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nodes of a ledger on which each account has funds.
async fn start(case: &Case, pairs: &[Keypair]) -> (Cluster, Vec<Process>) {
    let mut genesis = support::genesis();
    let amount = Amount::from_units(100).unwrap();
    genesis.accounts.extend(pairs.iter().map(|pair| GenesisAccount {
        coldkey: pair.coldkey(),
        amount,
    }));
    let cluster = Cluster::begin_from(genesis, case.members);
    let nodes = (0..cluster.places.len())
        .map(|index| Process::start(&cluster, index, case.block_ms))
        .collect();
    cluster.reached(0, 3).await;
    (cluster, nodes)
}

/// Loads a ledger for `limit`, and prints what it took.
async fn load(case: &Case, limit: Duration) {
    let pairs: Vec<Keypair> = (0..case.accounts).map(pair).collect();
    let to = pair(0).coldkey();
    let (cluster, nodes) = start(case, &pairs).await;
    let genesis = cluster.genesis.digest();
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| cluster.client(usize::from(number) % cluster.places.len()))
        .collect();
    let first = cluster.client(0).head().await.height.0;
    let busy = || nodes.iter().map(Process::core_seconds).sum::<f64>();
    let busy_before = busy();
    let mut senders = JoinSet::new();
    let begun = Instant::now();
    let follower = tokio::spawn(follow(cluster.client(0), first + 1, begun + limit));
    for (pair, client) in pairs.into_iter().zip(clients.iter().cycle()) {
        senders.spawn(send(client.clone(), genesis, (pair, to), begun + limit));
    }
    let mut waits = Vec::new();
    while let Some(sent) = senders.join_next().await {
        waits.extend(sent.unwrap());
    }
    tokio::time::sleep((begun + limit).saturating_duration_since(Instant::now())).await;
    let seconds = begun.elapsed().as_secs_f64();
    let blocks = cluster.client(0).head().await.height.0 - first;
    waits.sort_unstable();
    let mut finals = follower.await.unwrap();
    finals.sort_unstable();
    let cores = (busy() - busy_before) / seconds / nodes.len() as f64;
    let memory = nodes.iter().map(Process::resident_mb).fold(0.0, f64::max);
    println!(
        "{}, {} ms blocks, {CLIENTS} clients, {} accounts with one on its way each: {:.0} tx/s, final after p50 {:.1} ms, \
         p99 {:.1} ms; {:.1} blocks/s, each final {:.1} ms after its proposal, p99 {:.0} ms; a node took {cores:.2} cores and {memory:.0} MB",
        case.name,
        case.block_ms,
        case.accounts,
        waits.len() as f64 / seconds,
        ms_of(&waits, 0.5),
        ms_of(&waits, 0.99),
        blocks as f64 / seconds,
        finals.iter().sum::<Duration>().as_secs_f64() * 1e3 / finals.len().max(1) as f64,
        ms_of(&finals, 0.99),
    );
}

/// The wait, in ms, that a part of the sorted `waits` does not exceed.
fn ms_of(waits: &[Duration], part: f64) -> f64 {
    let index = waits.len().saturating_sub(1) as f64 * part;
    waits
        .get(index as usize)
        .map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
}

/// How long after its proposal each block from `height` on was known to a client to be final, until `end`.
async fn follow(mut client: Client, height: u64, end: Instant) -> Vec<Duration> {
    let mut events = client.events(height).await;
    let mut waits = Vec::new();
    while let Ok(Ok(Some(event))) = tokio::time::timeout_at(end.into(), events.message()).await {
        let now_ms = Clock::system().now_ms();
        waits.push(Duration::from_millis(now_ms.saturating_sub(event.time_ms)));
    }
    waits
}

/// Payments of one account until `end`, one after the other; gives how long each took to be final.
async fn send(
    mut client: Client,
    genesis: Digest,
    (pair, to): (Keypair, Coldkey),
    end: Instant,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    for nonce in 0.. {
        let transaction = payment(genesis, &pair, to, nonce);
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
