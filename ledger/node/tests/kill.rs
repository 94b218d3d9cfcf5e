//! A node that is killed at any moment loses nothing it acknowledged.
//!
//! The real binary runs under a load of transfers and is ended with SIGKILL, again and again. `SEED=17 cargo test -p
//! agon-ledger-node --test kill` repeats the choice of moments, not their exact effect: the machine has its say.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_ledger_node::folder::Folder;
use agon_ledger_node::verify::verify;
use agon_protocol::id::Digest;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use support::{ACCOUNTS, BLOCK_MS, Client, account, begin, genesis, sign, transfer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often the node is killed.
const KILLS: u32 = 50;
/// Most acknowledgements before a kill.
const ACKNOWLEDGED_MAX: u32 = 40;

/// The binary at work on a folder.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Folder) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agon-node"))
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--block-ms",
                &BLOCK_MS.to_string(),
            ])
            .arg("--dir")
            .arg(folder.dir())
            .arg("--die-with-parent")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{line:?} is no address"));
        assert_eq!(std::fs::read_to_string(folder.address()).unwrap(), line);
        Self { child, address }
    }

    /// SIGKILL: nothing in the process gets to run any more.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What the node told to be stored.
#[derive(Default)]
struct Told {
    /// Transactions and the blocks that hold them, by account and nonce.
    acknowledged: BTreeMap<(u8, u64), (Digest, u64)>,
    /// Blocks seen as the head.
    blocks: BTreeMap<u64, Vec<u8>>,
}

/// Transfers by one account, one after the other, until the node is gone.
async fn load(
    mut client: Client,
    number: u8,
    told: Arc<Mutex<Told>>,
    acknowledged: mpsc::UnboundedSender<()>,
) {
    let request = agon_protocol::grpc::v1::GetAccountRequest {
        account: account(number).0.to_vec(),
    };
    let Ok(reply) = client.stub.get_account(request).await else {
        return;
    };
    for nonce in reply.into_inner().nonce.. {
        let call = transfer((number + 1) % ACCOUNTS, 1 + nonce);
        let transaction = sign(genesis().digest(), number, nonce, call);
        let Ok(reply) = client.submit(&transaction).await else {
            return;
        };
        assert_eq!(reply.refusal, None, "account {number}, nonce {nonce}");
        told.lock()
            .unwrap()
            .acknowledged
            .insert((number, nonce), (transaction.digest(), reply.height));
        // Nobody counts any more once the node is killed.
        let _ = acknowledged.send(());
    }
}

/// Records every block the node tells about.
async fn watch(mut client: Client, told: Arc<Mutex<Told>>) {
    let request = agon_protocol::grpc::v1::EventsRequest { from_height: 0 };
    let Ok(events) = client.stub.events(request).await else {
        return;
    };
    let mut events = events.into_inner();
    while let Ok(Some(event)) = events.message().await {
        told.lock().unwrap().blocks.insert(event.height, event.hash);
    }
}

/// Loads a node and kills it after `acknowledgements` and then some.
async fn load_and_kill(process: Process, told: &Arc<Mutex<Told>>, acknowledgements: u32, then: Duration) {
    let (acknowledged, mut heard) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(watch(Client::at(process.address), Arc::clone(told)));
    for number in 0..ACCOUNTS {
        let client = Client::at(process.address);
        tasks.spawn(load(client, number, Arc::clone(told), acknowledged.clone()));
    }
    drop(acknowledged);
    for _ in 0..acknowledgements {
        heard.recv().await.expect("the node lives until it is killed");
    }
    // Not to wait for anything: the moment within the making of a block is what this test varies.
    tokio::time::sleep(then).await;
    process.kill();
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Everything that was told since `from` is still there.
async fn check_nothing_is_lost(client: &mut Client, told: &Told, from: u64) {
    let newest = client.head().await.height.0;
    for (height, hash) in told.blocks.range(from..) {
        assert!(
            *height <= newest,
            "block {height} was told, the newest is {newest}"
        );
        assert_eq!(
            client.block(*height).await.hash().0.to_vec(),
            *hash,
            "block {height} is another one"
        );
    }
    for ((number, nonce), (digest, height)) in &told.acknowledged {
        if *height >= from {
            let block = client.block(*height).await;
            let held = block
                .transactions
                .iter()
                .any(|transaction| transaction.digest() == *digest);
            assert!(held, "nonce {nonce} of account {number} is not in block {height}");
        }
    }
    for number in 0..ACCOUNTS {
        let acknowledged = told.acknowledged.range((number, 0)..=(number, u64::MAX)).count() as u64;
        let applied = client.account(account(number)).await.nonce;
        assert!(
            applied >= acknowledged,
            "account {number}: {acknowledged} acknowledged, {applied} applied"
        );
    }
}

fn seed() -> u64 {
    std::env::var("SEED").map_or(17, |seed| seed.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_whenever_the_node_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path());
    let told = Arc::new(Mutex::new(Told::default()));
    let mut random = ChaCha20Rng::seed_from_u64(seed());
    println!("SEED={}", seed());
    let mut checked = 1;
    for kill in 0..KILLS {
        let process = Process::start(&folder);
        let mut client = Client::at(process.address);
        let before = std::mem::take(&mut *told.lock().unwrap());
        check_nothing_is_lost(&mut client, &before, checked).await;
        checked = before.blocks.keys().next_back().copied().unwrap_or(checked);
        *told.lock().unwrap() = before;

        let acknowledgements = 1 + random.next_u32() % ACKNOWLEDGED_MAX;
        let then = Duration::from_micros(u64::from(random.next_u32()) % (1_000 * BLOCK_MS));
        load_and_kill(process, &told, acknowledgements, then).await;
        // Every other time the node itself is the first to open what the kill left.
        if kill % 2 == 0 {
            verify(&folder).unwrap();
        }
    }
    let process = Process::start(&folder);
    let told = std::mem::take(&mut *told.lock().unwrap());
    check_nothing_is_lost(&mut Client::at(process.address), &told, 0).await;
    process.kill();
    let report = verify(&folder).unwrap();
    assert!(report.transactions >= told.acknowledged.len() as u64);
    println!(
        "{KILLS} kills, {} blocks, {} transactions acknowledged",
        report.height,
        told.acknowledged.len()
    );
}
