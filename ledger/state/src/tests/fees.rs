//! Fees, the existential deposit, and what is burned.

use super::*;
use crate::{NetworkParameterId, STAKE_MIN};

/// Bytes of format version, genesis, signer, nonce and signature.
const FRAME_BYTES: u64 = 1 + 32 + 32 + 8 + 64;
/// Fee of a transfer: its call has a kind, a receiver and an amount.
const TRANSFER_FEE: u64 = (FRAME_BYTES + 1 + 32 + 8) * 1_000;
/// Fee of an announcement of an axon with one model whose name has five letters.
const AXON_FEE: u64 = (FRAME_BYTES + 1 + 2 + 5 + 2 + 4 + 2 + 4 + 32 + 4 + 5) * 1_000;

const DEPOSIT: u64 = 500;

fn held(ledger: &Ledger, key: u8) -> u64 {
    ledger.state.account(&coldkey(key).into()).free.base_units()
}

/// A ledger whose coldkey 20 has exactly so much.
fn with(base_units: u64) -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(9, transfer(20, base(base_units)));
    assert_eq!(held(&ledger, 20), base_units);
    ledger
}

#[test]
fn a_fee_is_of_each_byte_and_burned() {
    let mut ledger = Ledger::new();
    let tx = ledger.tx(1, transfer(2, units(3)));
    assert_eq!(tx.bytes().len() as u64 + 64, TRANSFER_FEE / 1_000);
    assert_eq!(ledger.state.fee(&tx), base(TRANSFER_FEE));
    let checked = ledger.state.check(&tx).unwrap();
    let text = checked.to_string();
    assert!(
        text.ends_with(&format!("; {} pays a fee of 0.000178", coldkey(1))),
        "{text}"
    );
    let issuance = ledger.state.issuance();
    ledger.ok(1, transfer(2, units(3)));
    assert_eq!(held(&ledger, 1), units(FUNDS - 3).base_units() - TRANSFER_FEE);
    assert_eq!(ledger.state.burned(), base(TRANSFER_FEE));
    assert_eq!(ledger.state.holdings().burned, base(TRANSFER_FEE));
    assert_eq!(ledger.state.issuance(), issuance);
}

#[test]
fn a_refused_transaction_costs_nothing() {
    let mut ledger = Ledger::new();
    ledger.refused(1, transfer(2, units(FUNDS + 1)), "balance");
    assert_eq!(
        (held(&ledger, 1), ledger.state.burned()),
        (units(FUNDS).base_units(), base(0))
    );
}

#[test]
fn a_registration_burns_its_price_and_the_fee() {
    let mut ledger = Ledger::with_subnet();
    let burned = ledger.state.burned();
    let fee = ledger.state.fee(&ledger.tx(2, register(101))).base_units();
    ledger.ok(2, register(101));
    assert_eq!(ledger.state.burned().saturating_sub(burned), base(500_000 + fee));
    assert_eq!(held(&ledger, 2), units(FUNDS).base_units() - 500_000 - fee);
}

#[test]
fn the_coldkey_pays_for_what_its_hotkey_signs() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    let before = held(&ledger, 2);
    let axon = |port| Call::ServeAxon {
        netuid: SUBNET,
        axon: agon_protocol::message::Axon {
            ip: [127, 0, 0, 1].into(),
            port,
            protocol: 1,
            at_once: 8,
            models: vec![agon_protocol::message::AxonModel::named(Digest([1; 32]), "small")],
        },
    };
    ledger.ok(101, axon(4_000));
    assert_eq!(before - held(&ledger, 2), AXON_FEE);

    // Leaves the coldkey half of the next fee.
    let left = AXON_FEE / 2;
    ledger.ok(2, transfer(3, base(held(&ledger, 2) - TRANSFER_FEE - left)));
    let sentence = ledger.refused(101, axon(4_001), "fee");
    assert_eq!(
        sentence,
        format!(
            "the fee is {}, paid by {}, which has {}, after the call {}: add {} first",
            base(AXON_FEE),
            coldkey(2),
            base(left),
            base(left),
            base(AXON_FEE - left)
        )
    );
}

#[test]
fn a_call_that_leaves_too_little_for_its_fee_is_refused() {
    let mut ledger = with(units(1).base_units());
    let sentence = ledger.refused(20, transfer(2, units(1)), "fee");
    assert_eq!(
        sentence,
        format!(
            "the fee is 0.000178, paid by {}, which has 1, after the call 0: add 0.000178 first",
            coldkey(20)
        )
    );
    ledger.ok(20, transfer(2, base(units(1).base_units() - TRANSFER_FEE)));
    let account = ledger.state.account(&coldkey(20).into());
    assert_eq!(
        (account.free, account.nonce),
        (base(0), 1),
        "an emptied account keeps its nonce"
    );
}

#[test]
fn a_transfer_creates_no_dust() {
    let mut ledger = Ledger::new();
    let sentence = ledger.refused(1, transfer(20, base(DEPOSIT - 1)), "existential deposit");
    assert_eq!(
        sentence,
        format!(
            "{} would have 0.000000499, less than the existential deposit of 0.0000005: transfer at least 0.0000005",
            coldkey(20)
        )
    );
    ledger.ok(1, transfer(20, base(DEPOSIT)));
    ledger.ok(1, transfer(20, base(1)));
    assert_eq!(held(&ledger, 20), DEPOSIT + 1);
}

#[test]
fn a_transfer_leaves_no_dust() {
    let mut ledger = with(units(1).base_units());
    let free = units(1).base_units() - TRANSFER_FEE;
    let sentence = ledger.refused(20, transfer(2, base(free - DEPOSIT + 1)), "existential deposit");
    assert_eq!(
        sentence,
        format!(
            "{} would be left with 0.000000499, less than the existential deposit of 0.0000005: transfer {} to empty \
             the account, or at most {} to keep it",
            coldkey(20),
            base(free),
            base(free - DEPOSIT)
        )
    );
    let mut emptied = ledger.clone();
    emptied.ok(20, transfer(2, base(free)));
    assert_eq!(held(&emptied, 20), 0);
    ledger.ok(20, transfer(2, base(free - DEPOSIT)));
    assert_eq!(held(&ledger, 20), DEPOSIT);
}

#[test]
fn other_calls_leave_no_dust_either() {
    let mut ledger = with(units(1).base_units());
    ledger.register(2, [101]);
    let fee = ledger
        .state
        .fee(&ledger.tx(20, stake(101, units(1))))
        .base_units();
    let all = units(1).base_units() - fee;
    let sentence = ledger.refused(20, stake(101, base(all - 1)), "existential deposit");
    assert_eq!(
        sentence,
        format!(
            "the fee is {}, paid by {}, which has 1 and would be left with 0.000000001, less than the existential \
             deposit of 0.0000005: add 0.000000499 first, or spend the rest as well",
            base(fee),
            coldkey(20)
        )
    );
    ledger.ok(20, stake(101, base(all)));
    // Nothing is left but the stake, and the fee comes out of what is taken back.
    assert_eq!(held(&ledger, 20), 0);
    ledger.refused(20, unstake(101, base(1)), "fee");
    ledger.ok(20, unstake(101, STAKE_MIN));
    assert_eq!(held(&ledger, 20), STAKE_MIN.base_units() - fee);
}

#[test]
fn pay_too_small_for_an_account_is_burned_and_recorded() {
    let mut ledger = Ledger::with_subnet();
    ledger.begin();
    let burned = ledger.state.burned();
    assert_eq!(
        ledger.state.pay_out(coldkey(20), base(DEPOSIT - 1)),
        base(DEPOSIT - 1)
    );
    // The sums below do not hold: what was paid out was nobody's.
    assert_eq!(ledger.state.burned().saturating_sub(burned), base(DEPOSIT - 1));
    assert_eq!(held(&ledger, 20), 0);
    assert_eq!(ledger.state.pay_out(coldkey(20), base(DEPOSIT)), base(0));
    assert_eq!(ledger.state.pay_out(coldkey(20), base(1)), base(0));
    assert_eq!(held(&ledger, 20), DEPOSIT + 1);
}

#[test]
fn a_genesis_holds_no_dust() {
    let mut genesis = genesis();
    genesis.accounts[3].amount = base(DEPOSIT - 1);
    let error = State::genesis(&genesis).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has 0.000000499, less than the existential deposit of 0.0000005: give it that or more",
            coldkey(4)
        )
    );
}

#[test]
fn the_presets_figures_are_those_tested_here() {
    let ledger = Ledger::new();
    assert_eq!(ledger.state.network(NetworkParameterId::FeePerByte), 1_000);
    assert_eq!(
        ledger.state.network(NetworkParameterId::ExistentialDeposit),
        DEPOSIT
    );
}
