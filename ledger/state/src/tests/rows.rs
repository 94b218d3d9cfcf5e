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
    let proof = RowProof::decode(&state.prove(&target).encode()).unwrap();
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

#[test]
fn a_wrong_byte_in_a_rows_proofs_shows_nothing() {
    let Ledger { state, .. } = ledger();
    let header = header(&state);
    for target in [
        ProofTarget::Account(Account(pair(4).public())),
        ProofTarget::Neuron(SUBNET, Uid(1)),
        ProofTarget::Weights(SUBNET, Uid(1)),
    ] {
        let bytes = state.prove(&target).encode();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let shown = RowProof::decode(&changed).map(|proof| verify_row(&header, &target, &proof).is_ok());
            assert!(
                !shown.unwrap_or(false),
                "byte {index} of {} for {target:?}",
                bytes.len()
            );
        }
    }
}

#[test]
fn proofs_of_another_row_or_in_another_number_are_refused() {
    let Ledger { state, .. } = ledger();
    let header = header(&state);
    let target = ProofTarget::Neuron(SUBNET, Uid(1));
    let other = state.prove(&ProofTarget::Neuron(SUBNET, Uid(0)));
    assert!(matches!(
        verify_row(&header, &target, &other),
        Err(RowError::Proof(_))
    ));
    let mut proof = state.prove(&target);
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
