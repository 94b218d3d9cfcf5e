//! What the state's root costs a block, and what a proof weighs: `cargo bench -p agon-ledger-state --bench tree`.
//!
//! Lines are `structure operation/key=value ...  median (fastest-slowest)`, in microseconds, one thread. The same
//! blocks go to three structures: the tree that the ledger has, the list that it had before (leaf digests in a sorted
//! map, all levels above them made anew for each block) and that list with its levels kept from block to block.
//! Every block works on a copy, as a node does. Values have 100 bytes.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "its product is what it prints")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use agon_ledger_state::Tree;
use agon_protocol::id::Digest;
use agon_protocol::proof::{Query, StateProof, inner_digest, leaf_digest, root_digest, value_digest};

/// Runs of each case that are timed.
const RUNS: usize = 11;
/// Bytes of a value.
const VALUE_BYTES: usize = 100;

type Key = Arc<[u8]>;

/// What a block needs of the state.
trait Structure: Clone {
    const NAME: &'static str;
    fn write(&mut self, key: Key, value: Arc<[u8]>);
    fn root(&mut self) -> Digest;
}

impl Structure for Tree {
    const NAME: &'static str = "tree";

    fn write(&mut self, key: Key, value: Arc<[u8]>) {
        self.insert(key, value);
    }

    fn root(&mut self) -> Digest {
        Self::root(self)
    }
}

fn leaf(key: &[u8], value: &[u8]) -> Digest {
    leaf_digest(key, &value_digest(value))
}

fn pair(nodes: &[Digest]) -> Digest {
    match nodes {
        [left, right] => inner_digest(0, left, right),
        _ => nodes[0],
    }
}

/// Leaf digests in a sorted map; everything above them is computed for each block.
#[derive(Clone, Default)]
struct Rebuilt(BTreeMap<Key, (Arc<[u8]>, Digest)>);

impl Structure for Rebuilt {
    const NAME: &'static str = "rebuilt";

    fn write(&mut self, key: Key, value: Arc<[u8]>) {
        let digest = leaf(&key, &value);
        self.0.insert(key, (value, digest));
    }

    fn root(&mut self) -> Digest {
        let mut level: Vec<Digest> = self.0.values().map(|(_, leaf)| *leaf).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(pair).collect();
        }
        root_digest(self.0.len() as u64, &level[0])
    }
}

/// The same with its levels kept: a new key moves every leaf behind it.
#[derive(Clone, Default)]
struct Levels {
    entries: BTreeMap<Key, Arc<[u8]>>,
    keys: Vec<Key>,
    levels: Vec<Vec<Digest>>,
    changed: Vec<usize>,
    stale_from: Option<usize>,
}

impl Structure for Levels {
    const NAME: &'static str = "levels";

    fn write(&mut self, key: Key, value: Arc<[u8]>) {
        match self.keys.binary_search(&key) {
            Ok(index) => self.changed.push(index),
            Err(index) => {
                self.keys.insert(index, Arc::clone(&key));
                if self.levels.is_empty() {
                    self.levels.push(Vec::new());
                }
                self.levels[0].insert(index, leaf(&key, &value));
                self.stale_from = Some(self.stale_from.map_or(index, |from| from.min(index)));
            }
        }
        self.entries.insert(key, value);
    }

    fn root(&mut self) -> Digest {
        for index in &self.changed {
            let key = &self.keys[*index];
            self.levels[0][*index] = leaf(key, &self.entries[key]);
        }
        let mut changed = std::mem::take(&mut self.changed);
        let mut stale_from = self.stale_from.take();
        let mut depth = 0;
        while self.levels[depth].len() > 1 {
            changed = changed.into_iter().map(|index| index / 2).collect();
            changed.sort_unstable();
            changed.dedup();
            stale_from = stale_from.map(|from| from / 2);
            let below = std::mem::take(&mut self.levels[depth]);
            let len = below.len().div_ceil(2);
            if self.levels.len() == depth + 1 {
                self.levels.push(Vec::new());
            }
            let above = &mut self.levels[depth + 1];
            above.resize(len, Digest::default());
            let anew = stale_from.unwrap_or(len)..len;
            for index in changed
                .iter()
                .copied()
                .filter(|index| !anew.contains(index))
                .chain(anew.clone())
            {
                above[index] = pair(&below[2 * index..below.len().min(2 * index + 2)]);
            }
            self.levels[depth] = below;
            depth += 1;
        }
        root_digest(self.keys.len() as u64, &self.levels[depth][0])
    }
}

fn main() {
    for entries in [21_000, 200_000] {
        blocks::<Tree>(entries, Tree::default());
        blocks::<Rebuilt>(entries, Rebuilt::default());
        blocks::<Levels>(entries, Levels::default());
    }
    for entries in [21_000, 200_000] {
        let start = Instant::now();
        let tree = filled(Tree::default(), entries);
        println!(
            "tree build with root/entries={entries} milliseconds: {:.0}",
            start.elapsed().as_secs_f64() * 1e3
        );
        let keys: Vec<Key> = (0..1_000).map(account_key).collect();
        proofs(&format!("accounts={entries} key=present"), &tree, &keys);
        let absent: Vec<Key> = (entries..entries + 1_000).map(account_key).collect();
        proofs(&format!("accounts={entries} key=absent"), &tree, &absent);
    }
    for uids in [256, 4_096] {
        subnet(uids);
    }
    close_keys();
}

/// An account's key: a kind byte and 32 bytes that nobody chose.
fn account_key(number: u64) -> Key {
    [&[2], blake3::hash(&number.to_le_bytes()).as_bytes().as_slice()]
        .concat()
        .into()
}

fn value(number: u64) -> Arc<[u8]> {
    let mut bytes = [0; VALUE_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes.as_slice().into()
}

fn filled<S: Structure>(mut structure: S, entries: u64) -> S {
    let mut keys: Vec<Key> = (0..entries).map(account_key).collect();
    keys.sort_unstable();
    for key in keys {
        structure.write(key, value(0));
    }
    structure.root();
    structure
}

fn blocks<S: Structure>(entries: u64, empty: S) {
    let name = S::NAME;
    let state = filled(empty, entries);
    time(&format!("{name} copy/entries={entries}"), 1, || state.clone());
    for (changed, new) in [(3, 0), (1_000, 0), (1_000, 10)] {
        let mut round = 0;
        let case = format!("{name} block/entries={entries} changed={changed} new={new}");
        time(&case, 1, || {
            round += 1;
            let mut next = state.clone();
            for index in 0..changed {
                let number = match index < new {
                    true => entries + index,
                    false => (index * 7_919 + round * 13) % entries,
                };
                next.write(account_key(number), value(round));
            }
            next.root()
        });
    }
}

/// Sizes and times of the proofs of `keys`.
fn proofs(name: &str, tree: &Tree, keys: &[Key]) {
    let root = tree.root();
    let proofs: Vec<StateProof> = keys.iter().map(|key| tree.prove(Query::Key(key))).collect();
    let mut sizes: Vec<usize> = proofs.iter().map(|proof| proof.encode().len()).collect();
    sizes.sort_unstable();
    println!(
        "tree proof/{name} bytes: median {}, largest {}",
        sizes[sizes.len() / 2],
        sizes[sizes.len() - 1]
    );
    let count = keys.len();
    time(&format!("tree prove/{name}"), count, || {
        keys.iter()
            .map(|key| tree.prove(Query::Key(key)).steps.len())
            .sum::<usize>()
    });
    time(&format!("tree verify/{name}"), count, || {
        proofs
            .iter()
            .zip(keys)
            .all(|(proof, key)| proof.verify(&root, key).is_ok())
    });
}

/// A subnet of `uids` neurons, 64 of 256 or 256 of 4,096 of them validators with full rows, beside 20,000 accounts.
fn subnet(uids: u16) {
    let netuid = 1u16.to_be_bytes();
    let key = |kind: u8, fields: &[u8]| -> Key { [&[kind], netuid.as_slice(), fields].concat().into() };
    let validators = if uids > 256 { 256 } else { 64 };
    let mut tree = filled(Tree::default(), 20_000);
    for uid in 0..uids {
        let fields = uid.to_be_bytes();
        let hotkey = blake3::hash(&fields);
        tree.insert(key(0x05, &fields), vec![1; 220].into());
        tree.insert(key(0x06, hotkey.as_bytes()), vec![1; 3].into());
        tree.insert(key(0x0a, hotkey.as_bytes()), vec![1; 25].into());
        if uid < validators {
            let row: Arc<[u8]> = vec![1; 5 + 4 * usize::from(uids)].into();
            tree.insert(key(0x07, &fields), Arc::clone(&row));
            tree.insert(key(0x08, &fields), row);
        }
    }
    let name = |what| format!("uids={uids} {what}");
    let neurons: Vec<Key> = (0..uids).map(|uid| key(0x05, &uid.to_be_bytes())).collect();
    let pools: Vec<Key> = (0..uids)
        .map(|uid| key(0x0a, blake3::hash(&uid.to_be_bytes()).as_bytes()))
        .collect();
    let rows: Vec<Key> = (0..validators).map(|uid| key(0x07, &uid.to_be_bytes())).collect();
    proofs(&name("entry=neuron"), &tree, &neurons);
    proofs(&name("entry=pool"), &tree, &pools);
    proofs(&name("entry=weights"), &tree, &rows);
    proofs(
        &name("entry=absent_neuron"),
        &tree,
        &[key(0x05, &uids.to_be_bytes())],
    );
    let (prefix, root) = (key(0x05, &[]), tree.root());
    let all = tree.prove(Query::Prefix(&prefix));
    println!(
        "tree proof/{} bytes: {}",
        name("entry=all_neurons"),
        all.encode().len()
    );
    time(&format!("tree verify/{}", name("entry=all_neurons")), 1, || {
        all.verify_prefix(&root, &prefix).is_ok()
    });
}

/// The worst that somebody can do who chooses keys: one near the victim's for each of its bits.
fn close_keys() {
    let mut tree = filled(Tree::default(), 20_000);
    let victim = account_key(5);
    for bit in 0..256 {
        let mut near = victim.to_vec();
        near[1 + bit / 8] ^= 0x80 >> (bit % 8);
        tree.insert(near.into(), value(0));
    }
    proofs(
        "accounts=20000 key=besieged",
        &tree,
        std::slice::from_ref(&victim),
    );
    let mut round = 0;
    time("tree block/entries=20256 changed=1 key=besieged", 1, || {
        round += 1;
        let mut next = tree.clone();
        next.insert(Arc::clone(&victim), value(round));
        next.root()
    });
}

/// Prints how long one of `count` things takes that `work` does.
fn time<T>(name: &str, count: usize, mut work: impl FnMut() -> T) {
    let mut micros: Vec<f64> = (0..=RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed().as_secs_f64() * 1e6 / count as f64
        })
        .skip(1)
        .collect();
    micros.sort_by(f64::total_cmp);
    println!(
        "{name:66} {:11.2} ({:.2}-{:.2})",
        micros[RUNS / 2],
        micros[0],
        micros[RUNS - 1]
    );
}
