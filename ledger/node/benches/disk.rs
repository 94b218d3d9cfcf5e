//! How much a ledger grows on disk: a subnet of 256 UIDs, each of which commits and reveals weights for all others in
//! every tempo, in a folder as a node has it.
//!
//! `cargo bench -p agon-ledger-node --bench disk -- [BLOCKS] [TEMPO_BLOCKS]` prints, every 1,000 blocks, what the
//! block log and the store take and took more than before; then what compaction and a new beginning from a snapshot
//! leave of it. Blocks come as fast as they can, so figures of time mean little here.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is read by the one who runs it"
)]

#[path = "subnet/mod.rs"]
mod subnet;

use std::fs;
use std::path::Path;
use std::time::Instant;

use agon_ledger_node::chain::Ledger;
use agon_ledger_node::folder::Folder;
use agon_ledger_node::open;
use agon_ledger_node::snapshot::export::{Wanted, export};
use agon_ledger_node::snapshot::{compact, import};
use agon_ledger_replay::export::unwatched;
use subnet::{Bench, UIDS};

const STEP_BLOCKS: u64 = 1_000;

/// Bytes of a file, or of all files below a folder, as the disk counts them.
fn bytes_of(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).unwrap();
    if metadata.is_file() {
        return metadata.blocks() * 512;
    }
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| bytes_of(&entry.unwrap().path())).sum()
}

fn kib(bytes: u64) -> u64 {
    bytes / 1024
}

/// Bytes of the state's entries by the first byte of their keys, the largest first.
fn print_kinds(bench: &Bench) {
    let mut kinds = [(0u64, 0u64); 256];
    for (key, value) in bench.chain.state().entries() {
        let kind = &mut kinds[usize::from(key[0])];
        kind.0 += (key.len() + value.len()) as u64;
        kind.1 += 1;
    }
    let mut kinds: Vec<_> = (0..256).zip(kinds).filter(|(_, kind)| kind.1 > 0).collect();
    kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.0));
    for (kind, (bytes, entries)) in kinds.iter().take(5) {
        println!("state/kind={kind:#04x} {} KiB in {entries} entries", kib(*bytes));
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let blocks = numbers.first().copied().unwrap_or(3 * STEP_BLOCKS);
    let tempo_blocks = numbers.get(1).copied().unwrap_or(360);
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path().join("ledger"));
    let mut bench = Bench::begin(&folder, tempo_blocks, 0);
    let begun = Instant::now();
    let mut committed = None;
    let sizes = || (bytes_of(&folder.blocks()), bytes_of(&folder.state()));
    let (mut log, mut store) = sizes();
    let from = bench.height();
    println!(
        "uids={UIDS} tempo_blocks={tempo_blocks} begins at block {from}: log {} KiB, store {} KiB",
        kib(log),
        kib(store)
    );
    for step in 1..=blocks / STEP_BLOCKS {
        bench.run_until(from + step * STEP_BLOCKS, &mut committed);
        let (log_now, store_now) = sizes();
        println!(
            "growth/blocks={} log +{} KiB = {} KiB, store {:+} KiB = {} KiB, {} s",
            step * STEP_BLOCKS,
            kib(log_now - log),
            kib(log_now),
            store_now as i64 / 1024 - store as i64 / 1024,
            kib(store_now),
            begun.elapsed().as_secs(),
        );
        (log, store) = (log_now, store_now);
    }
    print_kinds(&bench);
    let head = bench.chain.head();
    drop(bench);
    let begun = Instant::now();
    let snapshot = dir.path().join("snapshot");
    export(&folder, &Wanted::Newest, &snapshot, &mut unwatched).unwrap();
    println!(
        "export/newest {} KiB, {} s",
        kib(bytes_of(&snapshot)),
        begun.elapsed().as_secs()
    );
    let compacted = compact::compact(&folder).unwrap();
    println!(
        "compact store {} -> {} KiB",
        kib(compacted.bytes_before),
        kib(compacted.bytes_now)
    );
    let again = Folder::new(dir.path().join("again"));
    import::import(&snapshot, again.dir(), Some(head.hash), &mut unwatched).unwrap();
    let chain = open::open(&again, &again.read_genesis().unwrap()).unwrap();
    assert_eq!(chain.head(), head);
    drop(chain);
    println!(
        "import folder {} KiB: snapshot {} KiB, store {} KiB, log {} KiB",
        kib(bytes_of(again.dir())),
        kib(bytes_of(&again.snapshot())),
        kib(bytes_of(&again.state())),
        kib(bytes_of(&again.blocks())),
    );
}
