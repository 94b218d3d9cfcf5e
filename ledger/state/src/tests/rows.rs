//! Rows proven from a root say what the ordinary queries say, and nothing else.

use agon_protocol::message::Header;
use agon_protocol::proof::{ProofTarget, RowProof};

use super::*;
use crate::{Row, RowError, verify_row};

/// Two miners, a validator with open commits, revealed weights and a new hotkey, an epoch with pay.
fn ledger() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.ok(2, stake(101, units(300)));
    ledger.ok(4, stake(101, units(200)));
    ledger.close_tempo();
    let row = ledger.weights(&[(1, 5)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    let row = ledger.weights(&[(1, 9)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    let swap = Call::SwapHotkey {
        hotkey: hotkey(101),
        new_hotkey: hotkey(111),
    };
    ledger.transact(2, swap).unwrap();
    ledger
}

fn header(state: &State) -> Header {
    Header {
        height: state.height(),
        parent: Digest::default(),
        time_ms: 0,
        transactions: Digest::default(),
        state_root: state.root(),
        next_committee: Digest::default(),
    }
}

#[track_caller]
fn check(state: &State, target: ProofTarget, expected: &Row) {
    let proof = RowProof::decode(&state.prove(&target).unwrap().encode()).unwrap();
    assert_eq!(verify_row(&header(state), &target, &proof).as_ref(), Ok(expected));
}

#[test]
fn a_proven_row_is_what_the_query_says() {
    let Ledger { state, .. } = ledger();
    for key in [1, 2, 3, 4, 101, 102, 200] {
        let account = Account(pair(key).public());
        check(
            &state,
            ProofTarget::Account(account),
            &Row::Account(state.account(&account)),
        );
    }
    for netuid in [0, 1, 2].map(Netuid) {
        check(
            &state,
            ProofTarget::Subnet(netuid),
            &Row::Subnet(state.subnet(netuid)),
        );
        let neurons = state
            .metagraph(netuid)
            .map(|metagraph| metagraph.neurons)
            .unwrap_or_default();
        let weights = state.weights(netuid).unwrap_or_default();
        for uid in [0, 1, 2, 300].map(Uid) {
            let neuron = neurons.iter().find(|neuron| neuron.uid == uid);
            check(
                &state,
                ProofTarget::Neuron(netuid, uid),
                &Row::Neuron(neuron.cloned()),
            );
            let row = weights.iter().find(|row| row.uid == uid);
            check(
                &state,
                ProofTarget::Weights(netuid, uid),
                &Row::Weights(row.cloned()),
            );
        }
        for tempo in 0..6 {
            let record = state.epoch_record(netuid, tempo).map(Box::new);
            check(&state, ProofTarget::Epoch(netuid, tempo), &Row::Epoch(record));
        }
    }
    // None of this was empty talk.
    let neuron = &state.metagraph(SUBNET).unwrap().neurons[1];
    assert!(neuron.earned > Amount::ZERO);
    assert_eq!(state.account(&Account(pair(4).public())).stakes.len(), 1);
    let weights = &state.weights(SUBNET).unwrap()[0];
    assert_eq!((weights.weights.len(), weights.open_commits.len()), (1, 1));
    assert!(state.epoch_record(SUBNET, 2).is_some());
}

/// Rows that are there and rows that are not, with a name each.
fn targets() -> [(&'static str, ProofTarget); 11] {
    let account = |key| Account(pair(key).public());
    [
        ("account", ProofTarget::Account(account(4))),
        ("account_unknown", ProofTarget::Account(account(200))),
        ("subnet", ProofTarget::Subnet(SUBNET)),
        ("subnet_unknown", ProofTarget::Subnet(Netuid(2))),
        ("neuron", ProofTarget::Neuron(SUBNET, Uid(1))),
        ("neuron_unknown", ProofTarget::Neuron(SUBNET, Uid(300))),
        ("weights", ProofTarget::Weights(SUBNET, Uid(0))),
        ("weights_unknown", ProofTarget::Weights(SUBNET, Uid(1))),
        ("epoch", ProofTarget::Epoch(SUBNET, 2)),
        ("stake", ProofTarget::Stake(account(4), SUBNET, hotkey(111))),
        (
            "stake_unknown",
            ProofTarget::Stake(account(4), SUBNET, hotkey(102)),
        ),
    ]
}

#[test]
fn a_wrong_byte_anywhere_in_a_rows_proofs_shows_nothing() {
    let Ledger { state, .. } = ledger();
    let header = header(&state);
    for (name, target) in targets() {
        let bytes = state.prove(&target).unwrap().encode();
        for index in 0..bytes.len() {
            for flip in [1, 0x10, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[index] ^= flip;
                let shown =
                    RowProof::decode(&changed).map(|proof| verify_row(&header, &target, &proof).is_ok());
                assert!(
                    !shown.unwrap_or(false),
                    "byte {index} of {} for {name}, changed by {flip}",
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn a_stake_is_proven_by_itself_under_the_name_its_hotkey_has_now() {
    let Ledger { state, .. } = ledger();
    let account = Account(pair(4).public());
    let stakes = state.account(&account).stakes;
    assert_eq!((stakes.len(), stakes[0].hotkey), (1, hotkey(111)));
    let stake = |key| ProofTarget::Stake(account, SUBNET, hotkey(key));
    check(&state, stake(111), &Row::Stake(Some(stakes[0].clone())));
    // The name it had before is nobody's any more.
    for key in [101, 102, 200] {
        check(&state, stake(key), &Row::Stake(None));
    }
    let elsewhere = ProofTarget::Stake(account, Netuid(2), hotkey(111));
    check(&state, elsewhere, &Row::Stake(None));
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// For another implementation: canonical bytes of header, target and proofs of each row, in hex.
fn golden(state: &State) -> String {
    let mut lines = String::from(
        "# name, header, target and proofs in canonical bytes; written by ledger/state, AGON_BLESS=1 rewrites it\n",
    );
    let header = to_hex(&agon_protocol::codec::encode(&header(state)));
    for (name, target) in targets() {
        let proof = to_hex(&state.prove(&target).unwrap().encode());
        let target = to_hex(&agon_protocol::codec::encode(&target));
        lines.push_str(&format!("{name} {header} {target} {proof}\n"));
    }
    lines
}

#[test]
fn proofs_have_the_bytes_on_file_and_those_show_the_rows() {
    let Ledger { state, .. } = ledger();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/data/ledger/proofs.txt"
    );
    let lines = golden(&state);
    if std::env::var_os("AGON_BLESS").is_some() {
        std::fs::write(file, &lines).unwrap();
    }
    let on_file = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        lines, on_file,
        "bytes of proofs changed; if that is meant, bless it and say so in the changelog"
    );
    for (line, (name, target)) in on_file.lines().skip(1).zip(targets()) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [found, header, asked, proof] = fields.as_slice() else {
            panic!("{line}");
        };
        assert_eq!(*found, name);
        let decode = |text: &str| from_hex(text);
        let header: Header = agon_protocol::codec::decode(&decode(header), 1_024).unwrap();
        let asked: ProofTarget = agon_protocol::codec::decode(&decode(asked), 1_024).unwrap();
        let proof = RowProof::decode(&decode(proof)).unwrap();
        assert_eq!(asked, target);
        let row = verify_row(&header, &asked, &proof).unwrap();
        let is_there = !matches!(
            row,
            Row::Subnet(None) | Row::Neuron(None) | Row::Weights(None) | Row::Epoch(None) | Row::Stake(None)
        );
        assert_eq!(
            is_there,
            !name.ends_with("_unknown") || name == "account_unknown",
            "{name}"
        );
    }
}

#[test]
fn proofs_of_another_row_or_in_another_number_are_refused() {
    let Ledger { state, .. } = ledger();
    let header = header(&state);
    let target = ProofTarget::Neuron(SUBNET, Uid(1));
    let other = state.prove(&ProofTarget::Neuron(SUBNET, Uid(0))).unwrap();
    assert!(matches!(
        verify_row(&header, &target, &other),
        Err(RowError::Proof(_))
    ));
    let mut proof = state.prove(&target).unwrap();
    proof.proofs.push(proof.proofs[0].clone());
    assert_eq!(
        verify_row(&header, &target, &proof),
        Err(RowError::Count { found: 5 })
    );
    proof.proofs.truncate(2);
    assert_eq!(
        verify_row(&header, &target, &proof),
        Err(RowError::Count { found: 2 })
    );
}
