//! The end of a subnet.

use super::*;

fn dissolve() -> Call {
    Call::DissolveSubnet { netuid: SUBNET }
}

/// A subnet of ten blocks a tempo that has paid its owner twice, with three stakers on two hotkeys and weights.
fn full_of_life() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.register(3, [103]);
    ledger.ok(2, stake(101, units(300)));
    ledger.ok(4, stake(101, base(7_000_000_001)));
    ledger.ok(5, stake(102, units(100)));
    ledger.close_tempo();
    let row = ledger.weights(&[(2, 60)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    ledger.advance(3);
    ledger
}

#[test]
fn only_the_owner_ends_a_subnet() {
    let mut ledger = full_of_life();
    ledger.refused(2, dissolve(), "owner");
    ledger.ok(1, dissolve());
    let sentence = ledger.refused(1, dissolve(), "subnet");
    assert_eq!(
        sentence,
        "there is no subnet 1: it was dissolved, and what was staked on it returns by itself"
    );
    ledger.refused(2, stake(101, units(1)), "subnet");
    ledger.refused(1, Call::DissolveSubnet { netuid: Netuid(2) }, "subnet");
}

#[test]
fn stake_returns_to_the_base_unit_and_the_lock_less_what_the_owner_was_paid() {
    let mut ledger = full_of_life();
    let before = ledger.state.holdings();
    let subnet = ledger.state.expect_subnet(SUBNET);
    let worth = |ledger: &Ledger, key: u8| -> u64 {
        let stakes = ledger.state.account(&coldkey(key).into()).stakes;
        stakes.iter().map(|stake| stake.amount.base_units()).sum()
    };
    let stakers = [2, 4, 5];
    let worths = stakers.map(|key| worth(&ledger, key));
    let free = stakers.map(|key| ledger.free(key).base_units());
    let (owner, burned) = (ledger.free(1), ledger.burned());
    let pots = subnet.pots.pending.saturating_add(subnet.pots.held());
    assert!(subnet.owner_emitted > base(0) && pots > base(0));

    // The block of the call creates one more unit before.
    let pots = pots.saturating_add(units(1));
    let returned = units(100).saturating_sub(subnet.owner_emitted);
    ledger.begin();
    let effect = ledger.effect(1, dissolve());
    assert_eq!(
        effect,
        format!(
            "dissolves subnet 1, returns {returned} of its lock and {} of stake to whom they belong, and burns {} of \
             its lock and {pots} that no epoch paid",
            before.staked, subnet.owner_emitted
        )
    );
    ledger.transact(1, dissolve()).unwrap();
    assert_eq!(ledger.free(1).saturating_sub(owner), returned);
    assert_eq!(
        ledger.burned().saturating_sub(burned),
        pots.saturating_add(subnet.owner_emitted)
    );
    assert_eq!(ledger.state.holdings().locked, base(0));
    assert_eq!(ledger.state.holdings().staked, before.staked, "on its way");

    ledger.begin();
    assert_eq!(ledger.state.holdings().staked, base(0));
    let gains: Vec<u64> = (0..3)
        .map(|index| ledger.free(stakers[index]).base_units() - free[index])
        .collect();
    assert_eq!(gains.iter().sum::<u64>(), before.staked.base_units());
    for (gain, worth) in gains.iter().zip(worths) {
        assert!((worth..=worth + 1).contains(gain), "{gain} of {worth}");
    }
    ledger.begin();
    let left = ledger
        .state
        .entries()
        .filter(|(key, _)| (0x04..=0x10).contains(&key[0]))
        .count();
    assert_eq!(left, 0, "no entry of the subnet is left");
}

#[test]
fn an_owner_who_was_paid_more_than_the_lock_gets_none_of_it() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.ok(2, stake(101, units(1)));
    ledger.advance(600);
    assert!(ledger.subnet().owner_emitted > units(100));
    let effect = ledger.effect(1, dissolve());
    assert!(
        effect.starts_with("dissolves subnet 1, returns 0 of its lock")
            && effect.contains("burns 100 of its lock"),
        "{effect}"
    );
}

#[test]
fn a_netuid_is_never_given_again() {
    let mut ledger = full_of_life();
    ledger.ok(1, dissolve());
    ledger.ok(1, create());
    let netuids: Vec<u16> = ledger
        .state
        .subnets()
        .iter()
        .map(|subnet| subnet.netuid.0)
        .collect();
    assert_eq!(netuids, [2]);
    ledger.refused(2, register(101), "subnet");
    let elsewhere = Call::Register {
        netuid: Netuid(2),
        hotkey: hotkey(101),
        price_max: units(1),
    };
    ledger.ok(2, elsewhere);
}

#[test]
fn a_block_returns_a_bounded_number_of_stakes() {
    let mut ledger = full_of_life();
    // As many stakes more than a block looks at, each of its own coldkey.
    let hotkey = hotkey(101);
    let mut pool = ledger.state.pool(SUBNET, hotkey);
    for index in 0..1_500u16 {
        let mut key = [0xee; 32];
        key[..2].copy_from_slice(&index.to_be_bytes());
        let shares = crate::stake::Shares(1_000);
        ledger.state.table.write(&(Coldkey(key), SUBNET, hotkey), &shares);
        pool.shares += 1_000;
    }
    ledger.state.table.write(&(SUBNET, hotkey), &pool);
    let staked = ledger.state.holdings().staked;
    let holders = |ledger: &Ledger| ledger.state.table.scan::<crate::stake::Shares>(()).count();
    let stakes = holders(&ledger);
    ledger.ok(1, dissolve());
    let total = ledger.state.holdings().total();
    ledger.begin();
    assert_eq!(holders(&ledger), stakes - 1_024);
    assert!(ledger.state.holdings().staked < staked);
    ledger.begin();
    assert_eq!((holders(&ledger), ledger.state.holdings().staked), (0, base(0)));
    assert_eq!(
        ledger.state.holdings().total(),
        total,
        "nothing is created without a subnet"
    );
}
