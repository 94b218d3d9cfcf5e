//! What a block of a thousand transactions costs a ledger: transfers of a thousand accounts, and weight commits of a
//! subnet of 256 UIDs, in a folder as a node has it.
//!
//! `cargo bench -p agon-ledger-node --bench block` prints the parts of it (medians of several runs, milliseconds), and
//! beside them the bound: the signatures, checked together over all cores, and one sync of the block log.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is read by the one who runs it"
)]

#[path = "subnet/mod.rs"]
mod subnet;

use std::time::Instant;

use agon_ledger_node::chain::Ledger;
use agon_ledger_node::folder::Folder;
use agon_ledger_replay::follow::input;
use agon_ledger_state::State;
use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::message::{Block, Call, FinalBlock, Signed};
use agon_runtime::framed_log::{FramedLog, LogOptions};
use subnet::{Bench, NETUID, UIDS};

const RUNS: usize = 11;
const TRANSACTIONS: u16 = 1_000;
/// Long, so that no epoch runs while blocks are timed.
const TEMPO_BLOCKS: u64 = 40;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("ledger"));
    let mut bench = Bench::begin(&folder, TEMPO_BLOCKS, TRANSACTIONS);
    bench.tempos(1);
    for account in 1..=usize::from(TRANSACTIONS) {
        let (to, amount) = (bench.pairs[0].coldkey(), Amount::from_base_units(1_000_000));
        bench.send(usize::from(UIDS) + account, Call::Transfer { to, amount });
    }
    time("transfers", &mut bench);
    let tempo = bench.tempo();
    for number in (1..=250).cycle().take(TRANSACTIONS.into()) {
        let commit = bench.weights(number, tempo).commit(NETUID, bench.hotkey(number));
        let netuid = NETUID;
        bench.send(number, Call::CommitWeights { netuid, commit });
    }
    time("weight commits", &mut bench);
}

/// Times a block of what waits, and makes it at the end.
fn time(what: &str, bench: &mut Bench) {
    let chain = &mut bench.chain;
    let now_ms = chain.head().time_ms;
    let waiting = std::mem::take(&mut bench.waiting);
    let block = chain.propose(waiting.clone(), now_ms).block;
    assert_eq!(block.transactions.len(), usize::from(TRANSACTIONS));
    let bytes = codec::encode(&block);
    let fresh = || codec::decode::<Block>(&bytes, Block::BYTES_MAX).unwrap();

    let signatures = median(|| {
        let block = fresh();
        timed(|| Signed::check_signatures(&block.transactions))
    });
    let dir = tempfile::tempdir().unwrap();
    let frame_bytes_max = FinalBlock::BYTES_MAX as u32;
    let (mut log, _) = FramedLog::open(&dir.path().join("log"), LogOptions { frame_bytes_max }).unwrap();
    let sync = median(|| timed(|| log.append_synced(&bytes).unwrap()));
    let decode = median(|| timed(fresh));
    let (apply, root) = apply(chain.state(), || {
        input(&chain.head(), now_ms, &block.transactions)
    });
    let propose = median(|| timed(|| chain.propose(waiting.clone(), now_ms)));
    let check = median(|| {
        chain.propose(Vec::new(), now_ms);
        let block = fresh();
        timed(|| chain.check(&block).unwrap())
    });
    let bound = signatures + sync;
    println!(
        "block/of={what} signatures {signatures:.2} + sync {sync:.2} = bound {bound:.2}; decode {decode:.2}, apply \
         {apply:.2}, root {root:.2}, propose {propose:.2}, check a block from elsewhere {check:.2}",
    );
    let block = fresh();
    chain.check(&block).unwrap();
    let commit = timed(|| chain.commit(FinalBlock::solo(block)).unwrap());
    println!("block/of={what} commit of a checked block {commit:.2}, once");
}

/// Applies a block without its signatures to copies of a state, then asks for the root.
fn apply<'a>(state: &State, input: impl Fn() -> agon_ledger_state::BlockInput<'a>) -> (f64, f64) {
    let mut roots = Vec::new();
    let apply = median(|| {
        let mut state = state.clone();
        let applied = timed(|| state.apply(input()));
        roots.push(timed(|| state.root()));
        applied
    });
    roots.sort_by(f64::total_cmp);
    (apply, roots[RUNS / 2])
}

fn timed<R>(job: impl FnOnce() -> R) -> f64 {
    let begun = Instant::now();
    let done = job();
    let took = begun.elapsed().as_secs_f64() * 1e3;
    drop(done);
    took
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut times: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}
