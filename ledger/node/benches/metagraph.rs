//! What a reader of a large metagraph waits for: `cargo bench -p agon-ledger-node --bench metagraph`.
//!
//! A node in memory makes a block every 20 ms; its subnet has 4,096 UIDs, each with an axon. A client on a connection
//! of its own over loopback asks for the whole metagraph and for what changed since the block before, and turns the
//! answer into working types. Lines are `operation/key=value ...  median ms (fastest-slowest), bytes`, the bytes being
//! those of the answer's message.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "its product is what it prints")]
#![expect(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use agon_ledger_client::LedgerClient;
use agon_ledger_node::{Config, Memory, Storage};
use agon_protocol::amount::Amount;
use agon_protocol::grpc::v1;
use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::message::{Axon, AxonModel, Call, Genesis, GenesisAccount, Metagraph, Preset};
use agon_protocol::sign::Keypair;
use agon_runtime::{Clock, Net, Shutdown};
use futures::future::join_all;
use prost::Message;

const NETUID: Netuid = Netuid(1);
const UIDS: u16 = 4_096;
/// Coldkeys that register hotkeys side by side.
const COLDKEYS: u16 = 64;
const BLOCK_MS: u64 = 20;
/// Questions of each kind that are timed.
const RUNS: usize = 101;

#[tokio::main]
async fn main() {
    let (told, address) = tokio::sync::oneshot::channel();
    let shutdown = Shutdown::new();
    let config = Config {
        storage: Storage::Memory(Memory::new(genesis())),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        block_ms: BLOCK_MS,
        peers: None,
        axons: agon_ledger_node::axons::Addresses::Public,
        pulses: None,
    };
    let ready = move |address| told.send(address).unwrap();
    let node = agon_ledger_node::run(config, Net::tcp(), Clock::system(), shutdown.clone(), ready);
    let node = tokio::spawn(node);
    let uri = format!("http://{}", address.await.unwrap());
    let begun = Instant::now();
    build(&uri).await;
    println!(
        "built a subnet of {UIDS} UIDs in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let client = connect(&uri);
    whole(&client).await;
    since_the_last_block(&client).await;
    after_a_change(&client).await;
    after_an_epoch(&client).await;
    shutdown.request();
    node.await.unwrap().unwrap();
}

fn connect(uri: &str) -> LedgerClient {
    LedgerClient::new(&Net::tcp(), uri).unwrap()
}

fn coldkey(number: u16) -> Keypair {
    let [high, low] = number.to_be_bytes();
    Keypair::from_mini_secret(&std::array::from_fn(|at| [1, high, low][at.min(2)]))
}

fn hotkey(number: u16) -> Keypair {
    let [high, low] = number.to_be_bytes();
    Keypair::from_mini_secret(&std::array::from_fn(|at| [2, high, low][at.min(2)]))
}

fn genesis() -> Genesis {
    let amount = Amount::from_units(20_000).unwrap();
    let account = |number| GenesisAccount {
        coldkey: coldkey(number).coldkey(),
        amount,
    };
    Genesis {
        name: String::from("bench"),
        preset: Preset::Localnet,
        time_ms: 1_000,
        block_emission: Amount::from_units(1).unwrap(),
        committee: Vec::new(),
        beacon: None,
        // Hotkeys announce and so pay fees.
        accounts: (0..COLDKEYS)
            .map(account)
            .chain((0..UIDS).map(|number| GenesisAccount {
                coldkey: hotkey(number).coldkey(),
                amount: Amount::from_units(1).unwrap(),
            }))
            .collect(),
    }
}

/// A started subnet with all its UIDs taken and serving.
async fn build(uri: &str) {
    let (client, owner) = (connect(uri), coldkey(0));
    let send = async |call| client.send(&owner, call).await.unwrap();
    let lock_max = Amount::from_units(10_000).unwrap();
    let task = String::from("reading");
    send(Call::CreateSubnet { task, lock_max }).await;
    send(Call::StartSubnet { netuid: NETUID }).await;
    for (name, value) in [("max_uids", u64::from(UIDS)), ("immunity_blocks", 1_000_000)] {
        let name = String::from(name);
        send(Call::SetParameter {
            netuid: NETUID,
            name,
            value,
        })
        .await;
    }
    while client.subnet(NETUID).await.unwrap().parameter("max_uids") != Some(u64::from(UIDS)) {
        tokio::time::sleep(Duration::from_millis(BLOCK_MS)).await;
    }
    join_all((0..COLDKEYS).map(|number| populate(uri, number))).await;
}

/// Registers one coldkey's part of the hotkeys, and announces where they serve.
async fn populate(uri: &str, number: u16) {
    let (client, pair) = (connect(uri), coldkey(number));
    for hotkey in (number..UIDS).step_by(COLDKEYS.into()).map(hotkey) {
        let register = Call::Register {
            netuid: NETUID,
            hotkey: hotkey.hotkey(),
            price_max: Amount::from_units(100).unwrap(),
        };
        client.send(&pair, register).await.unwrap();
        let axon = Axon {
            ip: Ipv4Addr::new(192, 0, 2, 1).into(),
            port: 8_091,
            protocol: Axon::PROTOCOL,
            at_once: 8,
            models: vec![AxonModel::named(Digest([7; 32]), "llama-3.2-1b-instruct")],
        };
        let announce = Call::ServeAxon { netuid: NETUID, axon };
        client.send(&hotkey, announce).await.unwrap();
    }
}

async fn whole(client: &LedgerClient) {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let metagraph = client.metagraph(NETUID, None).await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(metagraph.neurons.len(), usize::from(UIDS));
    }
    let metagraph = client.metagraph(NETUID, None).await.unwrap();
    report("metagraph/whole", times, &metagraph);
}

/// Asks right after each block for what it changed; mostly nothing.
async fn since_the_last_block(client: &LedgerClient) {
    let (mut times, mut newest) = (Vec::new(), client.head().await.unwrap().height);
    let mut last = None;
    while times.len() < RUNS {
        let begun = Instant::now();
        let changes = client.metagraph_changes(NETUID, newest).await.unwrap();
        let elapsed = begun.elapsed();
        assert!(changes.since.is_some());
        if changes.metagraph.height > newest && changes.metagraph.neurons.len() < usize::from(UIDS) {
            newest = changes.metagraph.height;
            times.push(elapsed);
            last = Some(changes.metagraph);
        }
    }
    report("metagraph/since=last-block", times, &last.unwrap());
}

/// One neuron's stake changes in a block; asks for what changed since the block before that.
async fn after_a_change(client: &LedgerClient) {
    let (mut times, mut last, pair) = (Vec::new(), None, coldkey(1));
    for number in 0..20 {
        let call = Call::AddStake {
            netuid: NETUID,
            hotkey: hotkey(number).hotkey(),
            amount: Amount::from_units(1).unwrap(),
        };
        let height = client.send(&pair, call).await.unwrap().height;
        let begun = Instant::now();
        let changes = client
            .metagraph_changes(NETUID, BlockNumber(height.0 - 1))
            .await
            .unwrap();
        times.push(begun.elapsed());
        assert!(!changes.metagraph.neurons.is_empty());
        last = Some(changes.metagraph);
    }
    report("metagraph/since=last-block stake=1", times, &last.unwrap());
}

/// An epoch writes the rows of which it found something else than the one before.
async fn after_an_epoch(client: &LedgerClient) {
    let (mut times, mut last) = (Vec::new(), None);
    for _ in 0..3 {
        let epoch = client.subnet(NETUID).await.unwrap().next_epoch;
        while client.head().await.unwrap().height < epoch {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let begun = Instant::now();
        let changes = client
            .metagraph_changes(NETUID, BlockNumber(epoch.0 - 1))
            .await
            .unwrap();
        times.push(begun.elapsed());
        assert!(changes.since.is_some());
        last = Some(changes.metagraph);
    }
    report("metagraph/since=last-block epoch=1", times, &last.unwrap());
}

fn report(name: &str, mut times: Vec<Duration>, answer: &Metagraph) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let (fastest, median, slowest) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{name} uids={UIDS} rows={}  {:.2} ms ({:.2}-{:.2}), {} bytes",
        answer.neurons.len(),
        ms(median),
        ms(fastest),
        ms(slowest),
        v1::Metagraph::from(answer.clone()).encoded_len()
    );
}
