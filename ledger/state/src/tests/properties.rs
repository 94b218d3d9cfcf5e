//! What holds for any sequence of transactions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{BlockInput, LoadError, TABLE};

/// A wish of a random test; what it refers to need not exist.
#[derive(Clone, Debug)]
enum Wish {
    Blocks(u64),
    Call(u8, Call),
    /// Commits to a row of the running tempo and keeps it in mind.
    Commit(u8, Vec<(u16, u16)>),
    /// Reveals the newest row kept in mind.
    Reveal(u8),
    /// The first two validators commit to a row, reveal it in the next tempo and are paid by its epoch.
    Round(Vec<(u16, u16)>),
}

fn netuid() -> impl Strategy<Value = Netuid> {
    prop_oneof![8 => Just(1), 2 => Just(2), 1 => 0u16..5].prop_map(Netuid)
}

fn any_hotkey() -> impl Strategy<Value = Hotkey> {
    (101u8..116).prop_map(hotkey)
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        4 => (0u64..200).prop_map(units),
        2 => (0u64..3_000_000_000).prop_map(base),
        1 => any::<u64>().prop_map(base),
    ]
}

fn parameter() -> impl Strategy<Value = (String, u64)> {
    (0..TABLE.len(), any::<u64>(), 0u8..3).prop_map(|(index, value, kind)| {
        let row = &TABLE[index];
        let value = match kind {
            0 => value,
            1 => row.min + value % ((row.max - row.min).min(19) + 1),
            _ => row.localnet,
        };
        (row.name.to_owned(), value)
    })
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => (1u8..12, amount()).prop_map(|(to, amount)| transfer(to, amount)),
        1 => amount().prop_map(|lock_max| Call::CreateSubnet { task: String::from("reading"), lock_max }),
        2 => netuid().prop_map(|netuid| Call::StartSubnet { netuid }),
        1 => prop_oneof![1 => Just(1), 3 => Just(2), 2 => 3u16..5]
            .prop_map(|netuid| Call::DissolveSubnet { netuid: Netuid(netuid) }),
        3 => (netuid(), parameter())
            .prop_map(|(netuid, (name, value))| Call::SetParameter { netuid, name, value }),
        8 => (netuid(), any_hotkey(), amount())
            .prop_map(|(netuid, hotkey, price_max)| Call::Register { netuid, hotkey, price_max }),
        6 => (netuid(), any_hotkey(), amount())
            .prop_map(|(netuid, hotkey, amount)| Call::AddStake { netuid, hotkey, amount }),
        4 => (netuid(), any_hotkey(), amount())
            .prop_map(|(netuid, hotkey, amount)| Call::RemoveStake { netuid, hotkey, amount }),
        3 => ((netuid(), any_hotkey()), (netuid(), any_hotkey()), amount())
            .prop_map(|(from, to, amount)| Call::MoveStake { from, to, amount }),
        1 => (any_hotkey(), 0u32..200_000).prop_map(|(hotkey, take_ppm)| Call::SetTake { hotkey, take_ppm }),
        2 => (any_hotkey(), any_hotkey())
            .prop_map(|(hotkey, new_hotkey)| Call::SwapHotkey { hotkey, new_hotkey }),
        1 => (1u8..12).prop_map(|key| Call::AnnounceColdkeySwap { new_coldkey: coldkey(key) }),
        1 => Just(Call::DisputeColdkeySwap),
        2 => (1u8..12).prop_map(|key| Call::ExecuteColdkeySwap { coldkey: coldkey(key) }),
    ]
}

fn row() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::btree_map(prop_oneof![9 => 0u16..6, 1 => 6u16..14], any::<u16>(), 0..6)
        .prop_map(|row: BTreeMap<u16, u16>| row.into_iter().collect())
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        2 => (1u64..15).prop_map(Wish::Blocks),
        8 => (1u8..10, call()).prop_map(|(key, call)| Wish::Call(key, call)),
        2 => (101u8..105, row()).prop_map(|(key, row)| Wish::Commit(key, row)),
        1 => (101u8..105).prop_map(Wish::Reveal),
        2 => row().prop_map(Wish::Round),
    ]
}

/// Carries out wishes; [`Ledger`] checks after each that sums hold and that a refusal changed nothing.
fn grant(ledger: &mut Ledger, wishes: Vec<Wish>) {
    let mut rows: BTreeMap<u8, Vec<Weights>> = BTreeMap::new();
    for wish in wishes {
        match wish {
            Wish::Blocks(blocks) => drop(ledger.advance(blocks)),
            Wish::Call(key, call) => drop(ledger.transact(key, call)),
            Wish::Round(row) => round(ledger, &row),
            Wish::Commit(key, row) => {
                let row = ledger.weights(&row);
                rows.entry(key).or_default().push(row.clone());
                drop(ledger.transact(key, commit(key, &row)));
            }
            Wish::Reveal(key) => {
                if let Some(row) = rows.entry(key).or_default().pop() {
                    drop(ledger.transact(key, reveal(&row)));
                }
            }
        }
    }
}

/// What is refused on the way is refused: a validator may have lost its UID, its permit or its stake.
fn round(ledger: &mut Ledger, row: &[(u16, u16)]) {
    let row = ledger.weights(row);
    let validators = [101, 102];
    let committed = validators.map(|key| ledger.transact(key, commit(key, &row)).is_ok());
    ledger.advance(10);
    let revealed = validators.map(|key| ledger.transact(key, reveal(&row)).is_ok());
    assert!(
        revealed
            .iter()
            .zip(committed)
            .all(|(revealed, committed)| committed || !revealed)
    );
    ledger.advance(10);
}

fn small_subnet() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("max_uids", 12));
    ledger.ok(1, set("immunity_blocks", 5));
    ledger.register(2, 101..=106);
    ledger.ok(3, stake(101, units(50)));
    ledger.ok(4, stake(102, units(20)));
    ledger.close_tempo();
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_transactions_conserve_sums_and_never_panic(wishes in prop::collection::vec(wish(), 1..120)) {
        let mut ledger = small_subnet();
        grant(&mut ledger, wishes);
        prop_assert_eq!(ledger.state.holdings().total(), ledger.state.issuance());
    }

    #[test]
    fn a_state_is_the_same_after_a_journey_through_a_store(wishes in prop::collection::vec(wish(), 1..60)) {
        let mut ledger = small_subnet();
        let mut store: BTreeMap<Vec<u8>, Vec<u8>> = ledger.state.entries().collect();
        ledger.state.take_changes();
        grant(&mut ledger, wishes);
        for (key, value) in ledger.state.take_changes() {
            match value {
                Some(value) => drop(store.insert(key, value)),
                None => drop(store.remove(&key)),
            }
        }
        prop_assert_eq!(&store, &ledger.state.entries().collect::<BTreeMap<_, _>>());
        let loaded = State::from_entries(store).unwrap();
        prop_assert_eq!(loaded.root(), ledger.state.root());
        prop_assert_eq!(&loaded, &ledger.state);
    }

    #[test]
    fn bytes_that_are_no_state_are_refused_and_never_panic(
        index: prop::sample::Index,
        position: prop::sample::Index,
        flip in 1u8..,
        drop_entry: bool,
    ) {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = small_subnet().state.entries().collect();
        let index = index.index(entries.len());
        if drop_entry {
            entries.remove(index);
        } else {
            let value = &mut entries[index].1;
            let position = position.index(value.len());
            value[position] ^= flip;
        }
        // Some changes make another valid state; none may make one whose sums or references are off.
        if let Ok(mut state) = State::from_entries(entries) {
            prop_assert_eq!(state.check_invariants(), Ok(()));
            let height = state.height();
            if height.0 < u64::MAX {
                state.begin_block(height.next(), block_hash(height), 0);
            }
        }
    }
}

#[test]
fn applying_a_block_is_beginning_it_and_its_transactions_in_order() {
    let mut ledger = small_subnet();
    let transactions = [
        ledger.tx(1, transfer(2, units(1))),
        ledger.tx(9, transfer(2, units(FUNDS + 1))),
    ];
    let mut applied = ledger.state.clone();
    let height = ledger.state.height();
    let input = BlockInput {
        height: height.next(),
        parent: block_hash(height),
        time_ms: height.0,
        forms_committee: false,
        transactions: &transactions,
    };
    let outcome = applied.apply(input);
    ledger.begin();
    let transactions = transactions.iter();
    let one_by_one: Vec<_> = transactions
        .map(|tx| ledger.state.transact(tx).map(drop))
        .collect();
    assert_eq!(outcome.outcomes, one_by_one);
    assert!(one_by_one[0].is_ok() && one_by_one[1].is_err());
    assert_eq!((&applied, applied.root()), (&ledger.state, ledger.state.root()));
}

#[test]
fn entries_of_no_known_kind_or_twice_the_same_are_refused() {
    let entries: Vec<(Vec<u8>, Vec<u8>)> = small_subnet().state.entries().collect();
    let with = |entry: (Vec<u8>, Vec<u8>)| State::from_entries(entries.iter().cloned().chain([entry]));
    assert!(matches!(with((vec![0xff], vec![1])), Err(LoadError::Key { .. })));
    assert!(matches!(with((vec![], vec![1])), Err(LoadError::Key { .. })));
    assert!(matches!(
        with(entries[0].clone()),
        Err(LoadError::Duplicate { .. })
    ));
    assert!(matches!(
        State::from_entries([]),
        Err(LoadError::Missing { what: "origin" })
    ));
}
