//! What a node says to input that is wrong: a table of kinds, each with the status it gets.
//!
//! Requests are sent as bytes, so that they may be anything. After the table the ledger is where empty blocks would
//! have brought it, and the process is not larger than after the first rounds.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

#[path = "../support/mod.rs"]
mod support;

mod ask;
mod bytes;
mod requests;
mod rules;

use agon_ledger_node::folder::Folder;
use agon_ledger_replay::follow::Position;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Hotkey, Netuid};
use agon_protocol::message::Call;
use ask::{Case, Cases, ask};
use rules::NONCES;
use support::{Client, Node, account, begin, genesis, pair, transfer};

/// Rounds before memory is looked at: allocators, pools and caches fill.
const ROUNDS_BEFORE: usize = 6;
/// Rounds after which it is looked at again.
const ROUNDS: usize = 20;
/// What 20 rounds of some 200 refusals may leave: blocks go on meanwhile and are indexed. One leaked request in
/// each round would be more.
const GROWTH_BYTES_MAX: u64 = 8 * 1024 * 1024;

fn table() -> Vec<Case> {
    let mut cases = Cases::default();
    bytes::malformed(&mut cases);
    bytes::limits(&mut cases);
    rules::envelopes(&mut cases);
    rules::rules(&mut cases);
    requests::queries(&mut cases);
    requests::proofs(&mut cases);
    requests::relays(&mut cases);
    requests::axon_checks(&mut cases);
    bytes::wire(&mut cases);
    cases.0
}

/// Subnet 1 of account 0, started, with hotkey 100; account 0 has used as many nonces as [`NONCES`] says.
async fn prepare(client: &mut Client) {
    let price_max = Amount::from_units(1_000).unwrap();
    let hotkey = Hotkey(pair(100).public());
    let (netuid, task) = (Netuid(1), String::from("reading"));
    client
        .must(
            0,
            Call::CreateSubnet {
                task,
                lock_max: price_max,
            },
        )
        .await;
    client.must(0, Call::StartSubnet { netuid }).await;
    client
        .must(
            0,
            Call::Register {
                netuid,
                hotkey,
                price_max,
            },
        )
        .await;
    client.must(0, transfer(100, 5_000_000_000)).await;
    for (number, nonce) in NONCES {
        assert_eq!(client.account(account(number)).await.nonce, nonce);
    }
}

/// Resident memory of this process, in which the node runs.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1_024
}

/// Replays the node's blocks up to `newest`; those after `last` have to be empty.
async fn check_only_empty_blocks_since(client: &mut Client, last: u64, newest: u64) {
    let mut position = Position::genesis(&genesis()).unwrap();
    for height in 1..=newest {
        let block = client.block(height).await;
        assert!(
            height <= last || block.transactions.is_empty(),
            "block {height} took something"
        );
        position.extend(&block).unwrap();
    }
}

#[tokio::test]
async fn every_kind_of_bad_input_gets_its_status_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    begin(dir.path());
    let node = Node::start(&Folder::new(dir.path())).await;
    let mut client = node.client();
    prepare(&mut client).await;
    let last = client.head().await.height.0;
    let channel = agon_runtime::Net::tcp()
        .channel(&format!("http://{}", node.address), Default::default())
        .unwrap();
    let table = table();
    let mut names: Vec<String> = table
        .iter()
        .map(|case| format!("{} {}", case.method, case.name))
        .collect();
    names.sort();
    names.dedup();
    assert!(
        names.len() == table.len() && table.len() >= 200,
        "{} kinds",
        table.len()
    );

    let mut wrong = Vec::new();
    for case in &table {
        wrong.extend(ask(&channel, case).await.err());
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );

    let mut before = 0;
    for round in 1..=ROUNDS_BEFORE + ROUNDS {
        for case in &table {
            ask(&channel, case).await.unwrap();
        }
        if round == ROUNDS_BEFORE {
            before = resident_bytes();
        }
    }
    let growth = resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{ROUNDS} rounds left {growth} bytes");

    let newest = client.head().await.height.0;
    check_only_empty_blocks_since(&mut client, last, newest).await;
    node.stop().await;
}
