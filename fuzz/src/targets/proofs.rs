//! Proofs and headers: they show the truth, or nothing.

use std::sync::OnceLock;

use agon_ledger_state::{Row, State, verify_row};
use agon_protocol::codec;
use agon_protocol::id::{Account, Netuid, Uid};
use agon_protocol::light::{Finality, LightChain, LightHeader};
use agon_protocol::message::Header;
use agon_protocol::proof::{Entry, ProofTarget, RowProof, StateProof};

use super::canonical::canonical;
use super::sample::{self, hotkey, pair};

/// Rows that proofs are tried on: what is there, and what is not.
fn rows() -> [ProofTarget; 10] {
    let netuid = Netuid(1);
    [
        ProofTarget::Account(Account(pair(3).public())),
        ProofTarget::Account(Account(pair(25).public())),
        ProofTarget::Subnet(netuid),
        ProofTarget::Subnet(Netuid(2)),
        ProofTarget::Neuron(netuid, Uid(1)),
        ProofTarget::Neuron(netuid, Uid(9)),
        ProofTarget::Weights(netuid, Uid(0)),
        ProofTarget::Epoch(netuid, 3),
        ProofTarget::Stake(Account(pair(3).public()), netuid, hotkey(17)),
        ProofTarget::Stake(Account(pair(3).public()), netuid, hotkey(18)),
    ]
}

fn proof_of(state: &State, target: ProofTarget) -> RowProof {
    state.prove(&target).expect("rows of a small state are short")
}

fn newest() -> (&'static Header, &'static State) {
    let sample = sample::solo();
    let block = sample.blocks.last().expect("the sample has blocks");
    (&block.block.header, &sample.now.state)
}

/// What honest proofs show of each row.
fn truth() -> &'static [(ProofTarget, Row)] {
    static TRUTH: OnceLock<Vec<(ProofTarget, Row)>> = OnceLock::new();
    TRUTH.get_or_init(|| {
        let (header, state) = newest();
        let shown = |target: ProofTarget| {
            let row = verify_row(header, &target, &proof_of(state, target));
            (target, row.expect("an honest proof holds"))
        };
        rows().map(shown).into()
    })
}

/// The first byte says which row is asked for.
pub(super) fn row_proof(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let Some(proof) = canonical::<RowProof>(bytes, RowProof::BYTES_MAX) else {
        return;
    };
    let (header, _) = newest();
    let (target, row) = &truth()[usize::from(*which) % truth().len()];
    if let Ok(shown) = verify_row(header, target, &proof) {
        assert_eq!(&shown, row, "a proof shows of {target:?} what is not so");
    }
}

pub(super) fn row_seeds() -> Vec<Vec<u8>> {
    let (_, state) = newest();
    let seed = |(which, target): (u8, ProofTarget)| {
        let mut bytes = vec![which];
        bytes.extend(proof_of(state, target).encode());
        bytes
    };
    (0..).zip(rows()).map(seed).collect()
}

/// The entries of the newest state.
fn entries() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| {
        let (_, state) = newest();
        state.entries().map(|(key, value)| Entry { key, value }).collect()
    })
}

/// The first byte says which key is asked for; the second how many bytes of it are a prefix, 0 for all of them as a
/// key.
pub(super) fn state_proof(bytes: &[u8]) {
    let [which, prefix, bytes @ ..] = bytes else {
        return;
    };
    let Some(proof) = canonical::<StateProof>(bytes, StateProof::BYTES_MAX) else {
        return;
    };
    let (header, root) = (newest().0, newest().0.state_root);
    let entry = &entries()[usize::from(*which) % entries().len()];
    assert_eq!(header.state_root, root);
    if *prefix == 0 {
        // The neighbour of a key is not there, unless it is.
        for key in [entry.key.clone(), [entry.key.as_slice(), &[0]].concat()] {
            let there = entries().iter().find(|entry| entry.key == key);
            if let Ok(shown) = proof.verify(&root, &key) {
                assert_eq!(shown, there.map(|entry| entry.value.as_slice()), "of a key");
            }
        }
        return;
    }
    let prefix = &entry.key[..usize::from(*prefix).min(entry.key.len())];
    if let Ok(shown) = proof.verify_prefix(&root, prefix) {
        let there: Vec<&Entry> = entries()
            .iter()
            .filter(|entry| entry.key.starts_with(prefix))
            .collect();
        assert!(shown.iter().eq(there), "of a prefix");
    }
}

/// A proof is of a key or of all that begins like it, so seeds of both come from the proofs of rows.
pub(super) fn key_seeds() -> Vec<Vec<u8>> {
    let (_, state) = newest();
    let mut seeds = Vec::new();
    for target in rows() {
        for proof in proof_of(state, target).proofs {
            let found = proof_key(&proof).and_then(|key| entries().iter().position(|entry| entry.key == key));
            let which = found.and_then(|index| u8::try_from(index).ok()).unwrap_or(0);
            for prefix in [0, 33] {
                let mut bytes = vec![which, prefix];
                bytes.extend(proof.encode());
                seeds.push(bytes);
            }
        }
    }
    seeds
}

fn proof_key(proof: &StateProof) -> Option<Vec<u8>> {
    match &proof.end {
        agon_protocol::proof::End::Found(entries) => entries.first().map(|entry| entry.key.clone()),
        _ => None,
    }
}

/// A light client that trusts the genesis follows the committee's ledger, and no other.
pub(super) fn light_headers(bytes: &[u8]) {
    let Some(headers) = canonical::<Vec<LightHeader>>(bytes, 64 * 1_024) else {
        return;
    };
    let sample = sample::decided();
    let genesis = sample.genesis.digest();
    let mut chain = LightChain::from_genesis(genesis, sample.states[0].committee());
    for header in headers {
        let before = chain.height();
        match chain.extend(header) {
            Ok(()) => assert_eq!(chain.height(), before.next()),
            Err(_) => assert_eq!(chain.height(), before),
        }
        if let Ok(Some((header, Finality::Certified { power, of }))) = chain.newest() {
            assert!(power <= of);
            let index = usize::try_from(header.height.0).unwrap_or(usize::MAX);
            let block = sample.blocks.get(index - 1);
            assert_eq!(
                block.map(|block| block.block.hash()),
                Some(header.hash()),
                "a forged header"
            );
        }
    }
}

pub(super) fn header_seeds() -> Vec<Vec<u8>> {
    let light = |sample: &'static sample::Sample, count: usize| {
        let header = |block: &agon_protocol::message::FinalBlock| LightHeader {
            header: block.block.header.clone(),
            certificate: block.certificate.clone(),
            next_committee: None,
        };
        let headers: Vec<LightHeader> = sample.blocks.iter().take(count).map(header).collect();
        codec::encode(&headers)
    };
    vec![
        light(sample::decided(), 1),
        light(sample::decided(), 4),
        light(sample::solo(), 3),
    ]
}
