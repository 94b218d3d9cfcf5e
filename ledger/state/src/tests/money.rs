//! Balances, nonces, subnets and parameters, stake.

use agon_protocol::message::Message;
use agon_protocol::sign::Signature;

use super::*;
use crate::{STAKE_MIN, SUBNET_LOCK};

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
    assert_eq!(ledger.state.transact(&first), Ok(()));
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
    let effect = ledger.state.check(&tx).unwrap();
    assert_eq!(
        effect.to_string(),
        format!("burns 0.0005 and gives {} UID 0 on subnet 1", hotkey(101))
    );
    ledger.begin();
    assert_eq!(ledger.state.transact(&tx), Ok(()));
    assert_eq!(ledger.neuron(0).hotkey, hotkey(101));
}

#[test]
fn a_subnet_locks_its_price_and_gets_the_next_number() {
    let mut ledger = Ledger::new();
    ledger.ok(1, create());
    ledger.ok(2, create());
    assert_eq!(ledger.free(1), units(FUNDS).saturating_sub(SUBNET_LOCK));
    assert_eq!(
        ledger.state.holdings().locked.base_units(),
        2 * SUBNET_LOCK.base_units()
    );
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
    ledger.refused(1, call, "lock limit");
    ledger.refused(55, create(), "balance");
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
    ledger.ok(1, set("min_allowed_weights", 3));
    assert_eq!(ledger.subnet().parameters, before.parameters);
    ledger.close_tempo();
    assert_eq!(ledger.subnet().parameter("min_allowed_weights"), Some(3));
    assert_eq!(ledger.subnet().tempo, before.tempo + 1);
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
