//! Epochs on a ledger: when they run, what they pay, what they keep.

use agon_scoring::epoch;

use super::*;
use crate::EpochRecord;

/// Two validators of coldkey 2 (UIDs 0, 1), two miners of coldkey 3 (UIDs 2, 3), one of the owner (UID 4), and
/// revealed weights in which the owner's miner has a share. Hotkey 102 leaves all dividends to its stakers.
fn paying() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.register(3, [103, 104]);
    ledger.register(1, [105]);
    let no_take = Call::SetTake {
        hotkey: hotkey(102),
        take_ppm: 0,
    };
    ledger.transact(2, no_take).unwrap();
    ledger.ok(2, stake(101, units(300)));
    ledger.ok(2, stake(102, units(200)));
    ledger.ok(4, stake(102, units(100)));
    ledger.close_tempo();
    let row = ledger.weights(&[(2, 60), (3, 30), (4, 10)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(102, commit(102, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.transact(102, reveal(&row)).unwrap();
    ledger
}

fn record(ledger: &Ledger) -> EpochRecord {
    ledger
        .state
        .epoch_record(SUBNET, ledger.subnet().tempo - 1)
        .unwrap()
}

#[test]
fn a_tempo_opens_with_its_epochs_block_and_takes_its_beacon_from_the_block_before() {
    let mut ledger = Ledger::with_subnet();
    let opened = ledger.state.height();
    let subnet = ledger.subnet();
    assert_eq!((subnet.tempo, subnet.tempo_start), (1, opened));
    assert_eq!(subnet.beacon, block_hash(BlockNumber(opened.0 - 1)));
    assert_eq!(subnet.next_epoch, BlockNumber(opened.0 + 10));
    assert_eq!(ledger.advance(9), []);
    assert_eq!(ledger.subnet().beacon, subnet.beacon);
    assert_eq!(ledger.advance(1).len(), 1);
    assert_eq!(ledger.state.height(), subnet.next_epoch);
    assert_eq!(ledger.subnet().tempo, 2);
}

#[test]
fn an_epoch_pays_every_base_unit_of_its_tempo() {
    let mut ledger = paying();
    let (issued, burned) = (ledger.state.issuance(), ledger.burned());
    let owner_emitted = ledger.subnet().owner_emitted;
    let free = [1, 2, 3].map(|key| ledger.free(key));
    let epoch = ledger.close_tempo();
    let record = record(&ledger);
    let payouts = &record.payouts;

    assert_eq!(record.pending, units(10));
    assert_eq!(payouts.owner_cut, base(1_800_000_000));
    // Nobody had weights before, so two tempos of miners' halves were held.
    assert!(record.miners_held_before > base(0));
    let miners: u64 = payouts.miners.iter().map(|pay| pay.base_units()).sum();
    assert_eq!(miners, record.miners_held_before.base_units() + 4_100_000_000);
    let validators: u64 = payouts.validators.iter().map(|pay| pay.base_units()).sum();
    assert_eq!(
        validators,
        record.validators_held_before.base_units() + 4_100_000_000
    );
    assert_eq!(payouts.held(), base(0));

    // 60, 30 and 10 of 100 parts, within what u16 weights and 32 fraction bits can say.
    for (uid, percent) in [(2, 60), (3, 30), (4, 10)] {
        let ideal = miners / 100 * percent;
        assert!(
            payouts.miners[uid].base_units().abs_diff(ideal) < miners / 20_000,
            "UID {uid}"
        );
    }
    assert_eq!(payouts.miners_burned, payouts.miners[4]);
    assert_eq!(
        epoch.miners_paid.base_units(),
        miners - payouts.miners[4].base_units()
    );
    assert_eq!(
        ledger.free(3).base_units() - free[2].base_units(),
        epoch.miners_paid.base_units()
    );
    assert_eq!(ledger.free(1).base_units() - free[0].base_units(), 1_800_000_000);
    assert_eq!(ledger.free(2), free[1], "dividends are stake");
    assert_eq!(
        ledger.state.issuance(),
        issued.saturating_add(units(10)),
        "what is burned stays counted"
    );
    assert_eq!(ledger.burned().saturating_sub(burned), payouts.miners_burned);
    assert_eq!(epoch.burned, payouts.miners_burned);
    assert_eq!(
        ledger.subnet().owner_emitted,
        owner_emitted.saturating_add(payouts.owner_cut)
    );
}

#[test]
fn dividends_are_shared_by_all_stakers_of_a_hotkey() {
    let mut ledger = paying();
    let worth = |ledger: &Ledger, key: u8| {
        let stakes = ledger.state.account(&coldkey(key).into()).stakes;
        stakes
            .into_iter()
            .find(|held| held.hotkey == hotkey(102))
            .unwrap()
            .amount
            .base_units()
    };
    let before = (worth(&ledger, 2), worth(&ledger, 4));
    ledger.close_tempo();
    let pay = record(&ledger).payouts.validators[1].base_units();
    let gained = (worth(&ledger, 2) - before.0, worth(&ledger, 4) - before.1);
    assert!(
        pay > 0 && gained.0 + gained.1 <= pay && pay - gained.0 - gained.1 <= 2,
        "{gained:?} of {pay}"
    );
    assert!(gained.0.abs_diff(2 * gained.1) <= 3, "{gained:?}");
}

#[test]
fn the_miners_half_is_held_until_a_miner_earns() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.register(3, [102]);
    ledger.ok(2, stake(101, units(100)));
    ledger.close_tempo();
    let (before, epoch) = (ledger.subnet().held, ledger.close_tempo());
    assert_eq!(epoch.miners_paid, base(0));
    assert_eq!(
        epoch.validators_paid,
        base(4_100_000_000),
        "by stake, where nobody weighted anyone"
    );
    assert_eq!(epoch.held, before.saturating_add(base(4_100_000_000)));
}

#[test]
fn a_record_explains_its_epoch() {
    let mut ledger = paying();
    ledger.close_tempo();
    let record = record(&ledger);
    assert_eq!(epoch::run(&record.inputs), Ok(record.outputs.clone()));
    assert_eq!(record.holders.len(), 5);
    for (uid, neuron) in ledger.state.metagraph(SUBNET).unwrap().neurons.iter().enumerate() {
        assert_eq!(neuron.incentive, record.outputs.incentive[uid]);
        assert_eq!(neuron.dividends, record.outputs.dividends[uid]);
        let burned = uid == 4;
        let miner = if burned {
            0
        } else {
            record.payouts.miners[uid].base_units()
        };
        assert_eq!(
            neuron.emission.base_units(),
            miner + record.payouts.validators[uid].base_units()
        );
    }
}

#[test]
fn only_the_newest_records_are_kept() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.advance(10 * 70);
    let tempo = ledger.subnet().tempo;
    let kept: Vec<u64> = (0..tempo)
        .filter(|tempo| ledger.state.epoch_record(SUBNET, *tempo).is_some())
        .collect();
    assert_eq!(kept.len() as u64, crate::EPOCH_RECORDS_MAX);
    assert_eq!(kept.last(), Some(&(tempo - 1)));
}

#[test]
fn a_block_runs_two_epochs_and_the_rest_wait_in_sight_for_the_next() {
    let mut ledger = Ledger::new();
    // The stagger by netuid takes one more block off each later one, so the three fall on one block.
    for key in [1, 2, 3] {
        ledger.ok(key, create());
    }
    let mut ran = Vec::new();
    for _ in 0..80 {
        let epochs: Vec<u16> = ledger.begin().into_iter().map(|epoch| epoch.netuid.0).collect();
        // Due at block 40, run by block 41, and due a tempo after that.
        let third = ledger.state.subnet(Netuid(3)).unwrap();
        let put_off = third.epoch_due < third.next_epoch;
        assert_eq!(put_off, ledger.state.height().0 == 40);
        if !epochs.is_empty() {
            ran.push((ledger.state.height().0, epochs));
        }
    }
    assert_eq!(
        ran,
        [(40, vec![1, 2]), (41, vec![3]), (80, vec![1, 2]), (81, vec![3])]
    );
}

#[test]
fn subnets_share_a_blocks_emission_by_their_stake() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(2, create());
    ledger.ok(2, Call::StartSubnet { netuid: Netuid(2) });
    ledger.register(3, [101]);
    ledger.ok(
        3,
        Call::Register {
            netuid: Netuid(2),
            hotkey: hotkey(101),
            price_max: units(1),
        },
    );
    let pending = |ledger: &Ledger, netuid| {
        ledger
            .state
            .expect_subnet(Netuid(netuid))
            .pots
            .pending
            .base_units()
    };
    let gained = |ledger: &mut Ledger| {
        let before = (pending(ledger, 1), pending(ledger, 2));
        ledger.begin();
        (
            pending(ledger, 1).wrapping_sub(before.0),
            pending(ledger, 2).wrapping_sub(before.1),
        )
    };
    ledger.close_tempo();
    assert_eq!(gained(&mut ledger), (500_000_000, 500_000_000));
    ledger.transact(3, stake(101, units(30))).unwrap();
    let elsewhere = Call::AddStake {
        netuid: Netuid(2),
        hotkey: hotkey(101),
        amount: units(10),
    };
    ledger.transact(3, elsewhere).unwrap();
    // At first all of the average is in proportion to the stake; then that of one moves.
    assert_eq!(gained(&mut ledger), (750_000_000, 250_000_000));
    let more = Call::AddStake {
        netuid: Netuid(2),
        hotkey: hotkey(101),
        amount: units(20),
    };
    ledger.transact(3, more).unwrap();
    let average = |ledger: &Ledger, netuid| {
        ledger
            .state
            .subnet(Netuid(netuid))
            .unwrap()
            .stake_average
            .base_units()
    };
    let gain = gained(&mut ledger);
    let averages = (average(&ledger, 1), average(&ledger, 2));
    // 1 - 2^(-1/20) of what is left in each of two blocks: of 30 twice; of 10, and then of 30.
    let two_blocks = |first: f64, second: f64| {
        let left = 2f64.powf(-0.05);
        let average = first * (1.0 - left);
        second + (average - second) * left
    };
    assert!(
        (averages.0 as f64 - 1e9 * two_blocks(30.0, 30.0)).abs() < 20.0,
        "{averages:?}"
    );
    assert!(
        (averages.1 as f64 - 1e9 * two_blocks(10.0, 30.0)).abs() < 20.0,
        "{averages:?}"
    );
    let share = 1e9 * averages.0 as f64 / (averages.0 + averages.1) as f64;
    assert!((gain.0 as f64 - share).abs() < 1.0);
    assert_eq!(gain.0 + gain.1, 1_000_000_000);
}

#[test]
fn a_subnet_closed_to_registration_or_not_started_leaves_all_to_the_others() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(2, create());
    let pending = |ledger: &Ledger| ledger.state.expect_subnet(SUBNET).pots.pending;
    let before = pending(&ledger);
    ledger.begin();
    assert_eq!(pending(&ledger).saturating_sub(before), units(1));
}

#[test]
fn nothing_is_created_while_no_subnet_earns() {
    let mut ledger = Ledger::new();
    ledger.ok(1, create());
    ledger.advance(50);
    assert_eq!(ledger.state.issuance(), units(9 * FUNDS));
    ledger.ok(1, Call::StartSubnet { netuid: SUBNET });
    ledger.advance(3);
    assert_eq!(ledger.state.issuance(), units(9 * FUNDS + 3));
}

#[test]
fn pay_too_small_to_begin_an_account_is_burned_and_the_record_says_whose() {
    let mut ledger = paying();
    ledger.close_tempo();
    let mut origin = ledger.state.origin();
    origin.block_emission = base(20);
    ledger.state.table.write(&(), &origin);
    ledger.close_tempo();
    // The miners' coldkey keeps nothing: 178,000 is the fee of a transfer.
    let holds = |ledger: &Ledger| ledger.state.account(&coldkey(3).into()).free.base_units();
    let all = base(holds(&ledger) - 178_000);
    ledger.ok(3, transfer(9, all));
    assert_eq!(holds(&ledger), 0);
    let burned = ledger.burned();
    let epoch = ledger.close_tempo();
    let payouts = record(&ledger).payouts;

    // Ten blocks of 20: 36 for the owner, 82 for miners, of which 60 and 30 in 100 are coldkey 3's and the rest the
    // owner's own. The epoch gives 49, 24 and 8; the one that is left goes to the largest remainder of 82 in those parts.
    assert_eq!(payouts.owner_cut, base(36));
    assert_eq!(payouts.miners[2..5], [base(50), base(24), base(8)]);
    assert_eq!(payouts.dust.miners, [(Uid(2), base(50)), (Uid(3), base(24))]);
    assert_eq!((payouts.dust.owner, &payouts.dust.validators), (base(0), &vec![]));
    assert_eq!(payouts.miners_burned, base(8));
    assert_eq!((epoch.burned, epoch.miners_paid), (base(82), base(0)));
    assert_eq!((epoch.owner_paid, epoch.validators_paid), (base(36), base(82)));
    assert_eq!(ledger.burned().saturating_sub(burned), base(82));
    assert_eq!((holds(&ledger), ledger.neuron(2).emission), (0, base(0)));
}

#[test]
fn weights_that_were_not_refreshed_stop_counting_after_the_cutoff() {
    let mut ledger = paying();
    ledger.ok(1, set("activity_cutoff_milli_tempos", 1_900));
    ledger.close_tempo();
    let row = ledger.weights(&[(2, 1)]);
    ledger.transact(102, commit(102, &row)).unwrap();
    let committed = ledger.state.height().0;
    assert!(ledger.neuron(1).active);
    // 1.9 tempos of ten blocks.
    ledger.advance(19);
    assert_eq!(ledger.state.height().0, committed + 19);
    assert!(ledger.neuron(1).active);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.begin();
    assert!(!ledger.neuron(1).active);
    let record = record(&ledger);
    assert_eq!(record.inputs.activity_cutoff_blocks, 19);
    assert!(
        !record.outputs.active[1],
        "the epoch of this block found it silent"
    );
    assert_eq!(
        record.payouts.validators[1],
        base(0),
        "all goes to the one that went on"
    );
    assert!(record.payouts.validators[0] > base(0));
}
