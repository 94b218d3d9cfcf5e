//! Balances, nonces, subnets and parameters, stake.

use agon_protocol::message::{AnnouncedView, Message};
use agon_protocol::sign::Signature;

use super::*;
use crate::{STAKE_MIN, SUBNET_LOCK_FLOOR};

#[test]
fn a_transfer_moves_exactly_its_amount() {
    let mut ledger = Ledger::new();
    ledger.ok(1, transfer(20, units(3)));
    assert_eq!((ledger.free(1), ledger.free(20)), (units(FUNDS - 3), units(3)));
    ledger.ok(20, transfer(20, units(1)));
    assert_eq!(ledger.free(20), units(3), "to oneself");
}

#[test]
fn a_transfer_of_nothing_or_of_too_much_is_refused() {
    let mut ledger = Ledger::new();
    ledger.refused(1, transfer(2, base(0)), "amount");
    let sentence = ledger.refused(1, transfer(2, units(FUNDS + 2)), "balance");
    assert_eq!(
        sentence,
        "the free balance is 10000 and 10002 is needed: add 2 first"
    );
    ledger.refused(77, transfer(2, base(1)), "balance");
}

#[test]
fn a_transaction_applies_once_and_in_order() {
    let mut ledger = Ledger::new();
    ledger.begin();
    let first = ledger.tx(1, transfer(2, units(1)));
    ledger.state.transact(&first).unwrap();
    let again = ledger.state.transact(&first).unwrap_err();
    assert_eq!(
        (again.rule(), again.to_string().as_str()),
        ("nonce", "nonce 0 was used before: sign again with nonce 1")
    );

    let mut ahead = ledger.tx(1, transfer(2, units(1))).message().clone();
    ahead.nonce = 5;
    let ahead = ledger.state.transact(&Signed::sign(ahead, &pair(1))).unwrap_err();
    assert_eq!(
        ahead.to_string(),
        "nonce 5 is too far, the account's next is 1: submit the earlier ones first"
    );
}

#[test]
fn a_transaction_of_another_ledger_or_another_key_is_refused() {
    let mut ledger = Ledger::new();
    ledger.begin();
    let mut foreign = ledger.tx(1, transfer(2, units(1))).message().clone();
    foreign.genesis = Digest([9; 32]);
    assert_eq!(
        ledger
            .state
            .transact(&Signed::sign(foreign, &pair(1)))
            .unwrap_err()
            .rule(),
        "genesis"
    );

    let tx = ledger.tx(1, transfer(2, units(1)));
    let other = pair(2).sign(Transaction::PURPOSE, tx.bytes());
    let forged = Signed::from_parts(tx.bytes().to_vec(), other).unwrap();
    assert_eq!(ledger.state.transact(&forged).unwrap_err().rule(), "signature");
    let forged = Signed::from_parts(tx.bytes().to_vec(), Signature([0; 64])).unwrap();
    assert_eq!(ledger.state.check(&forged).unwrap_err().rule(), "signature");
}

#[test]
fn what_breaks_the_form_of_a_message_is_refused_and_not_believed() {
    let mut ledger = Ledger::new();
    let task = "x".repeat(65);
    ledger.refused(
        1,
        Call::CreateSubnet {
            task,
            lock_max: units(1_000),
        },
        "form",
    );
    ledger.refused(
        1,
        Call::CreateSubnet {
            task: String::from("Reading!"),
            lock_max: units(1_000),
        },
        "task name",
    );
}

#[test]
fn a_dry_run_says_what_the_block_then_does() {
    let mut ledger = Ledger::with_subnet();
    let tx = ledger.tx(2, register(101));
    let checked = ledger.state.check(&tx).unwrap();
    assert_eq!(
        checked.effect.to_string(),
        format!("burns 0.0005 and gives {} UID 0 on subnet 1", hotkey(101))
    );
    ledger.begin();
    assert_eq!(ledger.state.transact(&tx), Ok(checked));
    assert_eq!(ledger.neuron(0).hotkey, hotkey(101));
}

#[test]
fn a_subnet_locks_its_price_and_gets_the_next_number() {
    let mut ledger = Ledger::new();
    ledger.ok(1, create());
    ledger.begin();
    ledger.begin();
    ledger.ok(2, create());
    assert_eq!(ledger.free(1), units(FUNDS).saturating_sub(SUBNET_LOCK_FLOOR));
    // Three blocks after the first, 3/400 of what the doubled lock has above the floor are gone.
    let locked = units(FUNDS).saturating_sub(ledger.free(2));
    assert_eq!(locked.base_units(), 199_250_000_000);
    assert_eq!(ledger.state.holdings().locked, units(100).saturating_add(locked));
    let owners: Vec<(u16, Coldkey)> = ledger
        .state
        .subnets()
        .into_iter()
        .map(|subnet| (subnet.netuid.0, subnet.owner))
        .collect();
    assert_eq!(owners, [(1, coldkey(1)), (2, coldkey(2))]);
}

#[test]
fn a_subnet_locks_no_more_than_the_call_allows() {
    let mut ledger = Ledger::new();
    let call = Call::CreateSubnet {
        task: String::from("reading"),
        lock_max: units(99),
    };
    let sentence = ledger.refused(1, call.clone(), "lock limit");
    assert_eq!(
        sentence,
        "a subnet locks 100 and the limit of this call is 99: allow 100 or more, or wait, the lock falls to 100 by \
         block 400"
    );
    ledger.refused(55, create(), "balance");
    ledger.ok(1, create());
    let sentence = ledger.refused(1, call, "lock limit");
    assert!(sentence.starts_with("a subnet locks 199.75 and"), "{sentence}");
    assert!(sentence.ends_with("falls to 100 by block 403"), "{sentence}");
}

#[test]
fn a_lock_doubles_with_each_creation_and_falls_to_its_floor_in_a_line() {
    let mut ledger = Ledger::new();
    let mut locked = Vec::new();
    ledger.begin();
    for key in [1, 2, 3] {
        let before = ledger.free(key);
        ledger.transact(key, create()).unwrap();
        locked.push(before.saturating_sub(ledger.free(key)));
    }
    assert_eq!(locked, [units(100), units(200), units(400)]);
    // 800 falls to 100 in 400 blocks.
    ledger.advance(99);
    assert_eq!(ledger.state.subnet_lock(), units(625));
    ledger.advance(200);
    assert_eq!(ledger.state.subnet_lock(), units(275));
    ledger.advance(1_000);
    assert_eq!(ledger.state.subnet_lock(), units(100));
}

#[test]
fn only_the_owner_starts_a_subnet_and_only_once() {
    let mut ledger = Ledger::new();
    let start = || Call::StartSubnet { netuid: SUBNET };
    assert_eq!(
        ledger.refused(1, start(), "subnet"),
        "there is no subnet 1: none was created yet"
    );
    ledger.ok(1, create());
    ledger.refused(2, start(), "owner");
    ledger.ok(1, start());
    ledger.refused(1, start(), "started");
    assert!(ledger.subnet().started);
}

#[test]
fn a_parameter_changes_when_the_next_tempo_opens() {
    let mut ledger = Ledger::with_subnet();
    let before = ledger.subnet();
    let effect = ledger.effect(1, set("min_allowed_weights", 3));
    assert_eq!(
        effect,
        format!(
            "sets min_allowed_weights of subnet 1 from 1 to 3 when tempo {} opens, at block {} if no epoch is put off",
            before.tempo + 1,
            before.next_epoch
        )
    );
    ledger.ok(1, set("min_allowed_weights", 3));
    assert_eq!(ledger.subnet().parameters, before.parameters);
    let announced = AnnouncedView {
        name: String::from("min_allowed_weights"),
        value: 3,
        tempo: before.tempo + 1,
        height: before.next_epoch,
    };
    assert_eq!(ledger.subnet().announced, [announced]);
    ledger.close_tempo();
    assert_eq!(ledger.subnet().announced, []);
    assert_eq!(ledger.subnet().parameter("min_allowed_weights"), Some(3));
    assert_eq!(ledger.subnet().tempo, before.tempo + 1);
}

#[test]
fn on_a_public_network_a_change_waits_for_two_tempos() {
    let mut ledger = Ledger::mainnet();
    ledger.ok(1, create());
    ledger.ok(1, set("tempo_blocks", 10));
    let first = ledger.subnet();
    // The first tempo is a block shorter, by the stagger of subnet 1.
    assert_eq!(first.next_epoch, BlockNumber(1 + 360 - 1));
    assert_eq!(first.announced[0].tempo, 2);
    assert_eq!(first.announced[0].height, BlockNumber(360 + 360));
    ledger.close_tempo();
    // A second announcement takes the place of the first, with its own notice; another parameter knows of the first.
    ledger.ok(1, set("kappa", 40_000));
    assert_eq!(ledger.subnet().announced[1].height, BlockNumber(730));
    ledger.ok(1, set("tempo_blocks", 20));
    let (tempo, kappa) = (&ledger.subnet().announced[0], &ledger.subnet().announced[1]);
    assert_eq!(
        (tempo.value, tempo.tempo, tempo.height),
        (20, 3, BlockNumber(1_080))
    );
    assert_eq!(
        (kappa.value, kappa.tempo, kappa.height),
        (40_000, 3, BlockNumber(1_080))
    );
    ledger.close_tempo();
    assert_eq!(ledger.subnet().parameter("tempo_blocks"), Some(360));
    ledger.close_tempo();
    assert_eq!(ledger.state.height(), BlockNumber(1_080));
    assert_eq!(ledger.subnet().parameter("tempo_blocks"), Some(20));
    assert_eq!(ledger.subnet().parameter("kappa"), Some(40_000));
}

#[test]
fn values_are_in_order_in_each_tempo_to_come() {
    let mut ledger = Ledger::mainnet();
    ledger.ok(1, create());
    ledger.ok(1, set("alpha_high", 60_000));
    ledger.close_tempo();
    // In force from tempo 2 on, so a lower bound from tempo 3 on may be as high.
    ledger.ok(1, set("alpha_low", 60_000));
    let sentence = ledger.refused(1, set("alpha_high", 59_999), "parameter order");
    assert_eq!(
        sentence,
        "alpha_low would be 60000 and alpha_high 59999 in tempo 3, the first may not be larger: set the other one before"
    );
    ledger.ok(1, set("alpha_low", 50_000));
    ledger.ok(1, set("alpha_high", 59_999));
}

#[test]
fn a_parameter_keeps_its_bounds_its_order_and_its_setter() {
    let mut ledger = Ledger::with_subnet();
    ledger.refused(2, set("kappa", 1), "owner");
    ledger.refused(1, set("kapa", 1), "parameter name");
    ledger.refused(1, set("min_non_immune_uids", 1), "parameter setter");
    let sentence = ledger.refused(1, set("kappa", 65_536), "parameter bounds");
    assert_eq!(sentence, "kappa cannot be 65536: give a value from 0 to 65535");
    ledger.refused(1, set("alpha_low", 60_000), "parameter order");
    ledger.ok(1, set("alpha_high", 60_000));
    ledger.ok(1, set("alpha_low", 60_000));
    ledger.register(2, [101, 102]);
    ledger.refused(1, set("max_uids", 1), "uids taken");
}

#[test]
fn stake_comes_back_as_it_went_when_nothing_was_earned() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    let before = ledger.free(2);
    ledger.ok(2, stake(101, units(5)));
    ledger.ok(3, stake(101, units(7)));
    assert_eq!(ledger.neuron(0).stake, units(12));
    ledger.ok(2, unstake(101, units(2)));
    assert_eq!(
        ledger.state.account(&coldkey(2).into()).stakes[0].amount,
        units(3)
    );
    ledger.ok(2, unstake(101, units(3)));
    assert_eq!(ledger.free(2), before);
    assert_eq!(ledger.state.account(&coldkey(2).into()).stakes, []);
}

#[test]
fn stake_needs_a_uid_a_minimum_and_the_money() {
    let mut ledger = Ledger::with_subnet();
    ledger.refused(2, stake(101, units(5)), "registered");
    ledger.register(2, [101]);
    ledger.refused(2, stake(101, base(STAKE_MIN.base_units() - 1)), "stake minimum");
    ledger.refused(2, stake(101, units(FUNDS)), "balance");
    ledger.ok(2, stake(101, STAKE_MIN));
    ledger.refused(3, unstake(101, base(1)), "stake");
    ledger.refused(2, unstake(101, base(0)), "amount");
    ledger.refused(2, unstake(101, base(STAKE_MIN.base_units() + 1)), "stake");
}

#[test]
fn what_would_be_left_below_the_minimum_is_taken_along() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    let before = ledger.free(2);
    ledger.ok(2, stake(101, units(5)));
    ledger.ok(
        2,
        unstake(101, base(units(5).base_units() - STAKE_MIN.base_units() + 1)),
    );
    assert_eq!(ledger.free(2), before);
}
