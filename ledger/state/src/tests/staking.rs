//! Nomination: the take, its limits and its pay; stake that moves between pools.

use super::*;
use crate::{NetworkParameterId, STAKE_MIN};

fn take(key: u8, take_ppm: u32) -> Call {
    Call::SetTake {
        hotkey: hotkey(key),
        take_ppm,
    }
}

fn move_stake(from: u8, to: (u16, u8), amount: Amount) -> Call {
    Call::MoveStake {
        from: (SUBNET, hotkey(from)),
        to: (Netuid(to.0), hotkey(to.1)),
        amount,
    }
}

/// What coldkey `key` has staked on hotkey `on` in [`SUBNET`].
fn staked(ledger: &Ledger, key: u8, on: u8) -> Amount {
    let account = ledger.state.account(&coldkey(key).into());
    let mut stakes = account.stakes.into_iter();
    stakes
        .find(|stake| stake.netuid == SUBNET && stake.hotkey == hotkey(on))
        .map_or(Amount::ZERO, |stake| stake.amount)
}

/// Validator 101 of coldkey 2, staked by `stakers`, and miner 102 of coldkey 3; a tempo's weights are revealed and
/// the next epoch pays.
fn about_to_pay(stakers: &[(u8, u64)], take_ppm: u32) -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.register(3, [102]);
    if take_ppm != 180_000 {
        ledger.ok(2, take(101, take_ppm));
    }
    for (key, amount) in stakers {
        ledger.ok(*key, stake(101, units(*amount)));
    }
    ledger.close_tempo();
    let row = ledger.weights(&[(1, 1)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger
}

#[test]
fn stake_that_would_be_left_without_a_share_goes_along() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.ok(2, stake(101, STAKE_MIN));
    // As if dividends had made each of its 2,000,000 shares worth more than the smallest stake.
    let dividends = units(4_200);
    ledger.state.debit(coldkey(5), dividends);
    let mut pool = ledger.state.pool(SUBNET, hotkey(101));
    pool.total = pool.total.saturating_add(dividends);
    ledger.state.table.write(&(SUBNET, hotkey(101)), &pool);
    let mut subnet = ledger.state.expect_subnet(SUBNET);
    subnet.staked = pool.total;
    ledger.state.table.write(&SUBNET, &subnet);

    let worth = staked(&ledger, 2, 101);
    let all_but_the_smallest_stake = worth.saturating_sub(STAKE_MIN);
    let free = ledger.free(2);
    ledger.ok(2, unstake(101, all_but_the_smallest_stake));
    assert_eq!(ledger.free(2).saturating_sub(free), worth);
    assert_eq!(staked(&ledger, 2, 101), base(0));
}

/// What one epoch did to the stake on hotkey 101 and to free balances.
struct Gains {
    /// What validators were paid.
    paid: u64,
    /// Stake of coldkeys 2 and 4 before.
    staked: [u64; 2],
    /// What each has more, as stake.
    stake: [u64; 2],
    /// What each has more, as free balance.
    free: [u64; 2],
}

fn gains(stakers: &[(u8, u64)], take_ppm: u32) -> Gains {
    let mut ledger = about_to_pay(stakers, take_ppm);
    let stakes = |ledger: &Ledger| [2, 4].map(|key| staked(ledger, key, 101).base_units());
    let frees = |ledger: &Ledger| [2, 4].map(|key| ledger.free(key).base_units());
    let (staked, free) = (stakes(&ledger), frees(&ledger));
    let paid = ledger.close_tempo().validators_paid.base_units();
    let more = |after: [u64; 2], before: [u64; 2]| [after[0] - before[0], after[1] - before[1]];
    Gains {
        paid,
        staked,
        stake: more(stakes(&ledger), staked),
        free: more(frees(&ledger), free),
    }
}

#[test]
fn a_take_is_more_stake_of_a_coldkey_that_has_stake_there() {
    let gains = gains(&[(2, 100), (4, 300)], 100_000);
    let (paid, [own, staker]) = (gains.paid, gains.stake);
    assert!(paid > 1_000_000_000, "{paid}");
    let taken = paid / 10;
    let share = u128::from(gains.staked[0]) * u128::from(paid - taken);
    let of_rest = u64::try_from(share / u128::from(gains.staked[0] + gains.staked[1])).unwrap();
    assert!(own.abs_diff(taken + of_rest) <= 2, "{own} of {paid}");
    assert!(
        (paid - 2..=paid).contains(&(own + staker)),
        "{own} and {staker} of {paid}"
    );
    assert_eq!(gains.free, [0, 0]);
}

#[test]
fn a_take_is_free_balance_of_a_coldkey_without_stake_there() {
    let gains = gains(&[(4, 300)], 100_000);
    let taken = gains.paid / 10;
    assert_eq!(gains.free, [taken, 0]);
    assert_eq!(gains.stake, [0, gains.paid - taken]);
}

#[test]
fn a_hotkey_that_never_set_a_take_takes_the_most() {
    let gains = gains(&[(4, 300)], 180_000);
    assert_eq!(gains.free[0], gains.paid * 18 / 100);
}

#[test]
fn without_a_take_the_stakers_share_all() {
    let gains = gains(&[(4, 300)], 0);
    assert_eq!((gains.free, gains.stake), ([0, 0], [0, gains.paid]));
}

#[test]
fn the_record_of_an_epoch_tells_the_takes() {
    let mut ledger = about_to_pay(&[(4, 300)], 100_000);
    let epoch = ledger.close_tempo();
    let record = ledger.state.epoch_record(SUBNET, epoch.tempo).unwrap();
    let paid = record.payouts.validators[0];
    assert_eq!(record.payouts.takes, [paid.mul_ratio(1, 10), Amount::ZERO]);
}

#[test]
fn a_take_is_lowered_at_any_time_and_raised_once_in_an_interval_after_any_change() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.refused(3, take(101, 0), "hotkey owner");
    ledger.refused(2, take(109, 0), "hotkey owner");
    ledger.refused(2, take(101, 180_001), "take maximum");
    ledger.refused(2, take(101, 180_000), "take");
    ledger.ok(2, take(101, 100_000));
    ledger.ok(2, take(101, 50_000));
    let changed = ledger.state.height().0;
    let interval = ledger.state.network(NetworkParameterId::TakeRaiseBlocks);
    let sentence = ledger.refused(2, take(101, 50_001), "take raise");
    assert!(
        sentence.contains(&format!("raised from block {} on", changed + interval)),
        "{sentence}"
    );
    while ledger.state.height().0 < changed + interval - 1 {
        ledger.begin();
    }
    ledger.refused_now(2, take(101, 60_000), "take raise");
    ledger.ok(2, take(101, 60_000));
    ledger.refused(2, take(101, 60_001), "take raise");
    ledger.ok(2, take(101, 0));
    assert_eq!(ledger.state.take_ppm(hotkey(101)), 0);
}

#[test]
fn stake_moves_between_hotkeys_and_subnets_to_the_base_unit() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.ok(1, create());
    ledger.ok(
        3,
        Call::Register {
            netuid: Netuid(2),
            hotkey: hotkey(103),
            price_max: units(100),
        },
    );
    ledger.ok(4, stake(101, units(50)));
    let free = ledger.free(4);
    ledger.ok(4, move_stake(101, (1, 102), units(20)));
    assert_eq!(staked(&ledger, 4, 101), units(30));
    assert_eq!(staked(&ledger, 4, 102), units(20));
    ledger.ok(4, move_stake(101, (2, 103), units(10)));
    let account = ledger.state.account(&coldkey(4).into());
    let amounts: Vec<_> = account.stakes.iter().map(|it| (it.netuid.0, it.amount)).collect();
    assert_eq!(
        amounts.iter().map(|(_, amount)| *amount).sum::<Amount>(),
        units(50)
    );
    assert!(amounts.contains(&(2, units(10))));
    assert_eq!(ledger.free(4), free);
}

#[test]
fn a_move_keeps_the_rules_of_where_it_leaves_and_where_it_enters() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.ok(4, stake(101, units(50)));
    ledger.refused(4, move_stake(101, (1, 101), units(1)), "stake move");
    ledger.refused(4, move_stake(101, (1, 102), units(51)), "stake");
    ledger.refused(4, move_stake(101, (1, 102), base(0)), "amount");
    ledger.refused(4, move_stake(101, (2, 102), units(1)), "subnet");
    ledger.refused(4, move_stake(101, (1, 103), units(1)), "registered");
    let below = base(STAKE_MIN.base_units() - 1);
    ledger.refused(4, move_stake(101, (1, 102), below), "stake minimum");
    ledger.refused(3, move_stake(101, (1, 102), units(1)), "stake");
    // What would be left behind goes along.
    ledger.begin();
    let all = staked(&ledger, 4, 101);
    ledger
        .transact(4, move_stake(101, (1, 102), all.saturating_sub(below)))
        .unwrap();
    assert_eq!(staked(&ledger, 4, 102), all);
    assert_eq!(staked(&ledger, 4, 101), Amount::ZERO);
}
