//! Keys that take the place of others.

use super::*;
use crate::{COLDKEY_SWAP_ENTRIES_MAX, NetworkParameterId};

fn swap(old: u8, new: u8) -> Call {
    Call::SwapHotkey {
        hotkey: hotkey(old),
        new_hotkey: hotkey(new),
    }
}

fn announce(new: u8) -> Call {
    Call::AnnounceColdkeySwap {
        new_coldkey: coldkey(new),
    }
}

fn execute(old: u8) -> Call {
    Call::ExecuteColdkeySwap {
        coldkey: coldkey(old),
    }
}

fn stakes(ledger: &Ledger, key: u8) -> Vec<(u16, Hotkey, Amount)> {
    let account = ledger.state.account(&coldkey(key).into());
    let stake = |it: agon_protocol::message::StakeView| (it.netuid.0, it.hotkey, it.amount);
    account.stakes.into_iter().map(stake).collect()
}

/// Validator 101 of coldkey 2 with stakers, miners 102 and 103, permits given.
fn running() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.register(3, [103]);
    ledger.ok(2, stake(101, units(100)));
    ledger.ok(4, stake(101, units(300)));
    ledger.close_tempo();
    ledger
}

#[test]
fn a_new_hotkey_has_the_uid_the_scores_and_the_stake_of_the_old_one() {
    let mut ledger = running();
    let row = ledger.weights(&[(1, 1), (2, 3)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    ledger.ok(
        2,
        Call::SetTake {
            hotkey: hotkey(101),
            take_ppm: 1,
        },
    );
    let (before, free) = (ledger.neuron(0), ledger.free(2));
    assert!(before.permit && before.dividends > 0);
    ledger.ok(2, swap(101, 111));
    let expected = NeuronView {
        hotkey: hotkey(111),
        ..before
    };
    assert_eq!(ledger.neuron(0), expected);
    let price = ledger.state.network_amount(NetworkParameterId::HotkeySwapPrice);
    assert_eq!(free.saturating_sub(ledger.free(2)), price);
    assert_eq!(ledger.state.take_ppm(hotkey(111)), 1);
    assert_eq!(stakes(&ledger, 4)[0].1, hotkey(111));
    let weights = ledger.state.weights(SUBNET).unwrap();
    assert_eq!(weights[0].uid, Uid(0));
}

#[test]
fn stake_on_a_new_hotkey_is_moved_by_its_name_only_and_earns_as_before() {
    let mut ledger = running();
    ledger.ok(2, swap(101, 111));
    ledger.ok(2, swap(111, 112));
    ledger.refused(4, unstake(101, units(1)), "stake");
    ledger.refused(4, unstake(111, units(1)), "stake");
    ledger.refused(4, stake(101, units(1)), "registered");
    ledger.ok(4, unstake(112, units(100)));
    ledger.ok(5, stake(112, units(100)));
    let before = stakes(&ledger, 4)[0].2;
    assert!(before >= units(200));
    let row = ledger.weights(&[(1, 1)]);
    ledger.transact(112, commit(112, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(112, reveal(&row)).unwrap();
    ledger.close_tempo();
    assert!(stakes(&ledger, 4)[0].2 > before);
}

#[test]
fn open_commits_are_revealed_by_the_new_hotkey_as_the_old_one_made_them() {
    let mut ledger = running();
    let row = ledger.weights(&[(1, 1)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.ok(2, swap(101, 111));
    let later = ledger.weights(&[(2, 1)]);
    ledger.ok(111, commit(111, &later));
    ledger.close_tempo();
    ledger.refused_now(101, reveal(&row), "registered");
    ledger.transact(111, reveal(&row)).unwrap();
    ledger.transact(111, reveal(&later)).unwrap();
    assert_eq!(
        ledger.state.weights(SUBNET).unwrap()[0].weights,
        [(Uid(2), 65_535)]
    );
}

#[test]
fn a_replaced_hotkey_is_used_up() {
    let mut ledger = running();
    ledger.ok(2, swap(101, 111));
    let sentence = ledger.refused(2, register(101), "hotkey used");
    assert!(
        sentence.contains(&format!("replaced by {}", hotkey(111))),
        "{sentence}"
    );
    ledger.refused(3, register(101), "hotkey used");
    ledger.refused(2, swap(102, 101), "hotkey used");
    ledger.refused(2, swap(101, 112), "hotkey owner");
    ledger.ok(2, swap(111, 112));
    ledger.refused(2, register(111), "hotkey used");
}

#[test]
fn a_hotkey_is_replaced_by_its_coldkey_with_a_fresh_key_for_a_price() {
    let mut ledger = running();
    ledger.refused(3, swap(101, 111), "hotkey owner");
    ledger.refused(2, swap(110, 111), "hotkey owner");
    ledger.refused(2, swap(101, 103), "new hotkey");
    ledger.refused(2, swap(101, 101), "new hotkey");
    ledger.refused(2, swap(101, 2), "new hotkey is the coldkey");
    let price = ledger.state.network_amount(NetworkParameterId::HotkeySwapPrice);
    let spare = ledger.free(3).saturating_sub(price).saturating_add(base(1));
    ledger.ok(3, transfer(9, spare));
    ledger.refused(3, swap(103, 111), "balance");
}

#[test]
fn a_coldkey_hands_over_all_it_has_after_the_delay() {
    let mut ledger = running();
    ledger.ok(2, create());
    ledger.ok(20 - 11, transfer(20, units(1)));
    ledger.ok(2, announce(20));
    let due = ledger.state.height().0 + ledger.state.network(NetworkParameterId::ColdkeySwapDelayBlocks);
    let sentence = ledger.refused(2, execute(2), "swap due");
    assert!(sentence.contains(&format!("due at block {due}")), "{sentence}");
    while ledger.state.height().0 < due - 1 {
        ledger.begin();
    }
    ledger.refused_now(2, execute(2), "swap due");
    ledger.refused_now(3, execute(2), "swap signer");
    let holds = |ledger: &Ledger| ledger.state.account(&coldkey(2).into()).free;
    let (free, before) = (holds(&ledger), stakes(&ledger, 2));
    ledger.ok(20, execute(2));
    assert_eq!(holds(&ledger), Amount::ZERO);
    assert_eq!(ledger.free(20), free.saturating_add(units(1)));
    assert_eq!((stakes(&ledger, 2), stakes(&ledger, 20)), (vec![], before));
    assert_eq!(ledger.neuron(0).coldkey, coldkey(20));
    assert_eq!(ledger.neuron(2).coldkey, coldkey(3));
    let owners: Vec<_> = ledger.state.subnets().into_iter().map(|it| it.owner).collect();
    assert_eq!(owners, [coldkey(1), coldkey(20)]);
    ledger.refused(2, execute(2), "no swap");
    // The new coldkey acts as the old one did.
    ledger.ok(20, unstake(101, units(1)));
    ledger.ok(20, swap(102, 112));
}

#[test]
fn stake_of_both_coldkeys_on_one_hotkey_is_added() {
    let mut ledger = running();
    ledger.ok(4, announce(2));
    ledger.advance(40);
    ledger.begin();
    let sum: Amount = [2, 4].map(|key| stakes(&ledger, key)[0].2).into_iter().sum();
    ledger.transact(4, execute(4)).unwrap();
    let [(1, on, worth)] = stakes(&ledger, 2)[..] else {
        panic!("{:?}", stakes(&ledger, 2));
    };
    // Two shares that were rounded down apart are worth at most one base unit more together.
    let more = worth.checked_sub(sum).unwrap();
    assert!(on == hotkey(101) && more <= base(1), "{worth} of {sum}");
}

#[test]
fn a_disputed_swap_is_off_and_the_next_waits_for_another_delay() {
    let mut ledger = running();
    ledger.refused(2, Call::DisputeColdkeySwap, "no swap");
    ledger.refused(2, announce(2), "new coldkey");
    ledger.refused(2, announce(103), "new coldkey");
    ledger.ok(2, announce(20));
    ledger.refused(2, announce(21), "swap announced");
    ledger.ok(2, Call::DisputeColdkeySwap);
    let disputed = ledger.state.height().0;
    ledger.refused(2, Call::DisputeColdkeySwap, "no swap");
    let sentence = ledger.refused(2, announce(20), "swap disputed");
    assert!(
        sentence.contains(&format!("announced at block {}", disputed + 40)),
        "{sentence}"
    );
    while ledger.state.height().0 < disputed + 39 {
        ledger.begin();
    }
    ledger.refused_now(2, execute(2), "no swap");
    ledger.refused_now(2, announce(20), "swap disputed");
    ledger.ok(2, announce(21));
}

#[test]
fn a_large_coldkey_is_handed_over_in_several_transactions() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("max_uids", 400));
    ledger.close_tempo();
    let count = COLDKEY_SWAP_ENTRIES_MAX + 44;
    for index in 0..u16::try_from(count).unwrap() {
        let mut key = [7; 32];
        key[..2].copy_from_slice(&index.to_be_bytes());
        ledger.begin();
        ledger.begin();
        let call = Call::Register {
            netuid: SUBNET,
            hotkey: Hotkey(key),
            price_max: units(100),
        };
        let tx = ledger.tx(2, call);
        ledger.state.transact(&tx).unwrap();
        for _ in 0..60 {
            let height = ledger.state.height();
            ledger
                .state
                .begin_block(height.next(), block_hash(height), height.0);
        }
    }
    ledger.ok(2, announce(20));
    ledger.advance(40);
    let of = |ledger: &Ledger, key| {
        let neurons = ledger.state.metagraph(SUBNET).unwrap().neurons;
        neurons
            .iter()
            .filter(|neuron| neuron.coldkey == coldkey(key))
            .count()
    };
    let tx = ledger.tx(2, execute(2));
    let effect = ledger.state.check(&tx).unwrap().effect.to_string();
    assert!(effect.ends_with("more is left, send this again"), "{effect}");
    ledger.ok(2, execute(2));
    assert_eq!(of(&ledger, 20), COLDKEY_SWAP_ENTRIES_MAX);
    ledger.ok(2, execute(2));
    assert_eq!((of(&ledger, 2), of(&ledger, 20)), (0, count));
    ledger.refused(2, execute(2), "no swap");
}
