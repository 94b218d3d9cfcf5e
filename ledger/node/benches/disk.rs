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

use std::fs;
use std::path::Path;
use std::time::Instant;

use agon_ledger_node::chain::{Chain, Ledger};
use agon_ledger_node::folder::Folder;
use agon_ledger_node::open;
use agon_ledger_node::snapshot::export::{Wanted, export};
use agon_ledger_node::snapshot::{compact, import};
use agon_ledger_replay::export::unwatched;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    Call, FinalBlock, Genesis, GenesisAccount, Preset, Signed, Transaction, Weights,
};
use agon_protocol::sign::Keypair;

const UIDS: u16 = 256;
const NETUID: Netuid = Netuid(1);
const STEP_BLOCKS: u64 = 1_000;

fn units(units: u64) -> Amount {
    Amount::from_units(units).unwrap()
}

fn pair(number: u16) -> Keypair {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    Keypair::from_mini_secret(&seed)
}

/// A ledger and those who write to it: key 0 owns the subnet and all hotkeys, keys 1 to 256 are the hotkeys.
struct Bench {
    chain: Chain,
    genesis: Digest,
    pairs: Vec<Keypair>,
    nonces: Vec<u64>,
    waiting: Vec<Signed<Transaction>>,
}

impl Bench {
    fn begin(folder: &Folder, tempo_blocks: u64) -> Self {
        let pairs: Vec<Keypair> = (0..=UIDS).map(pair).collect();
        let genesis = Genesis {
            name: String::from("disk"),
            preset: Preset::Localnet,
            time_ms: 0,
            block_emission: units(1),
            accounts: vec![GenesisAccount {
                coldkey: Coldkey(pairs[0].public()),
                amount: units(1_000_000),
            }],
            committee: Vec::new(),
        };
        folder.begin(&genesis).unwrap();
        let mut bench = Self {
            chain: open::open(folder, &genesis).unwrap(),
            genesis: genesis.digest(),
            nonces: vec![0; pairs.len()],
            pairs,
            waiting: Vec::new(),
        };
        bench.set_up(tempo_blocks);
        bench
    }

    fn set_up(&mut self, tempo_blocks: u64) {
        self.owner(Call::CreateSubnet {
            task: String::from("reading"),
            lock_max: units(10_000),
        });
        for (name, value) in [
            ("registration_bump_ppm", 1_000_000),
            ("max_validators", UIDS.into()),
            ("weights_rate_limit_blocks", 0),
            ("tempo_blocks", tempo_blocks),
        ] {
            let name = name.to_owned();
            self.owner(Call::SetParameter {
                netuid: NETUID,
                name,
                value,
            });
        }
        self.owner(Call::StartSubnet { netuid: NETUID });
        // The parameters come into force.
        self.tempos(3);
        for number in 1..=usize::from(UIDS) {
            let hotkey = self.hotkey(number);
            self.owner(Call::Register {
                netuid: NETUID,
                hotkey,
                price_max: units(100),
            });
            let amount = units(10 + number as u64 % 7);
            self.owner(Call::AddStake {
                netuid: NETUID,
                hotkey,
                amount,
            });
            if self.waiting.len() > 200 {
                self.block();
            }
        }
        // The permits come.
        self.tempos(2);
    }

    fn hotkey(&self, number: usize) -> Hotkey {
        Hotkey(self.pairs[number].public())
    }

    fn owner(&mut self, call: Call) {
        self.send(0, call);
    }

    fn send(&mut self, number: usize, call: Call) {
        let pair = &self.pairs[number];
        let transaction = Transaction {
            genesis: self.genesis,
            signer: Account(pair.public()),
            nonce: self.nonces[number],
            call,
        };
        self.nonces[number] += 1;
        self.waiting.push(Signed::sign(transaction, pair));
    }

    fn height(&self) -> u64 {
        self.chain.head().height.0
    }

    fn tempo(&self) -> u64 {
        self.chain.state().subnet(NETUID).map_or(0, |subnet| subnet.tempo)
    }

    /// Makes one block of what waits.
    fn block(&mut self) {
        let time_ms = self.height() * 12_000;
        let proposal = self.chain.propose(std::mem::take(&mut self.waiting), time_ms);
        assert!(proposal.refused.is_empty(), "{}", proposal.refused[0].1);
        self.chain.check(&proposal.block).unwrap();
        self.chain.commit(FinalBlock::solo(proposal.block)).unwrap();
    }

    fn tempos(&mut self, count: u64) {
        self.block();
        let until = self.tempo() + count;
        while self.tempo() < until {
            self.block();
        }
    }

    fn weights(&self, number: usize, tempo: u64) -> Weights {
        let others = (0..UIDS).filter(|uid| usize::from(*uid) + 1 != number);
        let value = |uid: u16| 1 + (u64::from(uid) * 37 + number as u64 * 11 + tempo * 5) as u16 % 60_000;
        Weights {
            tempo,
            uids: others.clone().map(Uid).collect(),
            values: others.map(value).collect(),
            salt: [number as u8; 32],
            version: 0,
        }
    }

    /// Makes blocks until `height`: in the first blocks of each tempo everybody reveals the weights of the last one
    /// and commits new ones, in blocks of 64 neurons.
    fn run_until(&mut self, height: u64, committed: &mut Option<u64>) {
        while self.height() < height {
            let tempo = self.tempo();
            if *committed == Some(tempo) {
                self.block();
                continue;
            }
            let before = committed.replace(tempo);
            for numbers in (1..=usize::from(UIDS)).collect::<Vec<_>>().chunks(64) {
                for number in numbers {
                    if let Some(before) = before {
                        let weights = self.weights(*number, before);
                        self.send(
                            *number,
                            Call::RevealWeights {
                                netuid: NETUID,
                                weights,
                            },
                        );
                    }
                    let commit = self.weights(*number, tempo).commit(NETUID, self.hotkey(*number));
                    self.send(
                        *number,
                        Call::CommitWeights {
                            netuid: NETUID,
                            commit,
                        },
                    );
                }
                self.block();
            }
        }
    }
}

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
    let mut bench = Bench::begin(&folder, tempo_blocks);
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
