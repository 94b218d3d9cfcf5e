//! Registration on a ledger: prices, owners of hotkeys, replacement.

use agon_protocol::message::{Axon, AxonModel, WeightRowView};

use super::*;

/// What [`Ledger::with_subnet`] leaves as the price: the floor.
const FLOOR: u64 = 500_000;

#[test]
fn the_price_rises_with_each_registration_and_halves_with_each_half_life() {
    let mut ledger = Ledger::with_subnet();
    ledger.begin();
    let mut prices = Vec::new();
    for key in 101..=104 {
        let before = ledger.free(2);
        ledger.transact(2, register(key)).unwrap();
        prices.push(before.saturating_sub(ledger.free(2)).base_units());
    }
    assert_eq!(prices, [FLOOR, 630_000, 793_800, 1_000_188]);
    assert_eq!(ledger.burned().base_units(), prices.iter().sum::<u64>());
    // 1000188 * 1.26 = 1260236.88; the view tells the price of the next block.
    ledger.advance(39);
    assert_eq!(ledger.subnet().registration_price, base(1_260_236 / 2));
    ledger.advance(40);
    assert_eq!(ledger.subnet().registration_price, base(FLOOR));
}

#[test]
fn nobody_is_charged_more_than_the_limit() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.begin();
    let price = ledger.state.subnet(SUBNET).unwrap().registration_price;
    let call = Call::Register {
        netuid: SUBNET,
        hotkey: hotkey(102),
        price_max: base(FLOOR),
    };
    let sentence = ledger.refused_now(3, call, "price limit");
    assert!(
        price > base(FLOOR) && sentence.contains("the price halves every 40 blocks"),
        "{sentence}"
    );
    ledger.refused_now(66, register(102), "balance");
}

#[test]
fn a_hotkey_has_one_coldkey_and_one_uid() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.refused(3, register(101), "registered");
    ledger.ok(3, create());
    let elsewhere = |price_max| Call::Register {
        netuid: Netuid(2),
        hotkey: hotkey(101),
        price_max,
    };
    ledger.refused(3, elsewhere(units(1)), "hotkey owner");
    ledger.ok(2, elsewhere(units(1)));
}

#[test]
fn a_closed_subnet_registers_nobody_and_earns_nothing() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("registration_open", 0));
    ledger.close_tempo();
    let issuance = ledger.state.issuance();
    ledger.refused(2, register(101), "registration open");
    assert_eq!(ledger.state.issuance(), issuance);
}

#[test]
fn an_announced_lower_limit_lets_nobody_slip_in_before_it_is_in_force() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    ledger.ok(1, set("max_uids", 3));
    ledger.ok(3, register(103));
    ledger.ok(3, register(104));
    assert_eq!(ledger.subnet().neuron_count, 3, "the fourth replaced one");
    ledger.close_tempo();
    ledger.state.check_invariants().unwrap();
}

/// Twelve UIDs, none immune, all taken: 0 and 1 by coldkey 2, the rest by coldkey 3.
fn full() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("max_uids", 12));
    ledger.ok(1, set("immunity_blocks", 0));
    ledger.close_tempo();
    ledger.register(2, [101, 102]);
    ledger.register(3, 103..=112);
    ledger
}

#[test]
fn the_longest_registered_of_those_who_earn_nothing_is_replaced() {
    let mut ledger = full();
    let effect = ledger.effect(4, register(120));
    assert!(
        effect.ends_with(&format!("UID 0 on subnet 1, replacing {}", hotkey(101))),
        "{effect}"
    );
    ledger.ok(4, register(120));
    assert_eq!(
        (ledger.neuron(0).hotkey, ledger.neuron(0).coldkey),
        (hotkey(120), coldkey(4))
    );
    assert_eq!(ledger.subnet().neuron_count, 12);
    ledger.ok(2, register(101));
    assert_eq!(
        ledger.neuron(1).hotkey,
        hotkey(101),
        "a replaced hotkey can come back, to another UID"
    );
}

#[test]
fn while_all_are_immune_the_weakest_immune_one_goes() {
    let mut ledger = full();
    ledger.ok(1, set("immunity_blocks", 1_000));
    ledger.close_tempo();
    ledger.ok(4, register(120));
    assert_eq!(ledger.neuron(0).hotkey, hotkey(120));
}

#[test]
fn a_full_subnet_refuses_when_too_few_are_out_of_immunity() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("max_uids", 10));
    ledger.ok(1, set("immunity_blocks", 0));
    ledger.close_tempo();
    ledger.register(2, 101..=110);
    let sentence = ledger.refused(4, register(120), "subnet full");
    assert!(
        sentence.contains("10 of them are out of immunity, more than 10 are needed"),
        "{sentence}"
    );
}

#[test]
fn a_replaced_uid_is_cleared_everywhere_and_its_stake_can_be_withdrawn() {
    let mut ledger = full();
    ledger.ok(2, stake(101, units(10)));
    ledger.ok(2, stake(102, units(20)));
    let axon = Axon {
        ip: [127, 0, 0, 1].into(),
        port: 4_000,
        protocol: Axon::PROTOCOL,
        at_once: 8,
        models: vec![AxonModel::named(Digest([1; 32]), "small")],
    };
    ledger.ok(101, Call::ServeAxon { netuid: SUBNET, axon });
    ledger.close_tempo();
    // Both validators weight each other and a miner, and their bonds form.
    let rows = [
        (101, ledger.weights(&[(1, 1), (5, 9)])),
        (102, ledger.weights(&[(0, 1), (5, 9)])),
    ];
    for (key, row) in &rows {
        ledger.ok(*key, commit(*key, row));
    }
    ledger.close_tempo();
    for (key, row) in &rows {
        ledger.ok(*key, reveal(row));
    }
    let open = ledger.weights(&[(5, 1)]);
    ledger.ok(101, commit(101, &open));
    ledger.close_tempo();
    assert!(ledger.neuron(0).permit && ledger.neuron(0).dividends > 0);
    assert!(ledger.neuron(0).axon.is_some() && ledger.neuron(0).earned > base(0));

    // Everyone but UID 0 and the UIDs after it is made safe by their emission; UID 0 is made the weakest.
    ledger.state.table.write(&(SUBNET, Uid(0)), &{
        let mut neuron = ledger.state.expect_neuron(SUBNET, Uid(0));
        neuron.scores.emission = 0;
        neuron
    });
    ledger.ok(4, register(120));
    let fresh = ledger.neuron(0);
    assert_eq!(fresh.hotkey, hotkey(120));
    assert_eq!(
        (
            fresh.consensus,
            fresh.incentive,
            fresh.dividends,
            fresh.validator_trust
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(
        (fresh.permit, fresh.axon, fresh.stake, fresh.earned),
        (false, None, base(0), base(0))
    );
    assert_eq!(fresh.registered, ledger.state.height());
    assert_eq!(fresh.last_update, ledger.state.height());
    let rows = ledger.state.weights(SUBNET).unwrap();
    let kept = WeightRowView {
        uid: Uid(1),
        weights: vec![(Uid(0), 0), (Uid(5), 65_535)],
        open_commits: vec![],
    };
    assert_eq!(rows, [kept]);
    let bonds = ledger.state.table.scan::<crate::weights::BondRow>(SUBNET);
    assert!(
        bonds
            .into_iter()
            .all(|((_, uid), row)| uid != Uid(0) && row.0.iter().all(|(on, _)| *on != Uid(0)))
    );

    let worth = ledger
        .state
        .account(&coldkey(2).into())
        .stakes
        .into_iter()
        .find(|held| held.hotkey == hotkey(101));
    let worth = worth.unwrap().amount;
    assert!(worth > units(10), "dividends joined the pool");
    ledger.refused(2, stake(101, units(1)), "registered");
    let before = ledger.free(2);
    ledger.ok(2, unstake(101, worth));
    assert_eq!(ledger.free(2), before.saturating_add(worth));
}

#[test]
fn the_order_of_replacement_is_told_before_it_happens() {
    let mut ledger = full();
    let order = ledger.state.at_risk(SUBNET).unwrap();
    let uids: Vec<u16> = order.iter().map(|at_risk| at_risk.uid.0).collect();
    assert_eq!(
        uids,
        (0..12).collect::<Vec<u16>>(),
        "two of twelve can go, the others have to stay"
    );
    assert!(
        order
            .iter()
            .all(|at_risk| !at_risk.immune && at_risk.immunity_left_blocks == 0)
    );
    ledger.ok(4, register(120));
    assert_eq!(ledger.neuron(0).hotkey, hotkey(120));
    assert_eq!(ledger.state.at_risk(SUBNET).unwrap()[0].uid, Uid(1));
    assert_eq!(ledger.state.at_risk(Netuid(9)), None);
}

#[test]
fn immunity_lasts_until_an_epoch_has_judged_the_newcomer() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("immunity_blocks", 15));
    ledger.register(2, [101]);
    ledger.ok(2, stake(101, units(100)));
    ledger.close_tempo();
    ledger.register(3, [102, 103]);
    let registered = ledger.neuron(1).registered.0;
    let risk = |ledger: &Ledger, uid| {
        let order = ledger.state.at_risk(SUBNET).unwrap();
        let at_risk = order.into_iter().find(|at_risk| at_risk.uid == Uid(uid)).unwrap();
        (at_risk.immune, at_risk.immunity_left_blocks, at_risk.judged)
    };
    let now = ledger.state.height().0 + 1;
    assert_eq!(risk(&ledger, 1), (true, registered + 15 - now, false));
    // The period ends without any weights.
    ledger.advance(20);
    assert_eq!(risk(&ledger, 1), (true, 0, false));

    // Weights on 102 alone, committed when 103 was there for more than a tempo as well: silence is a judgement too.
    let row = ledger.weights(&[(1, 1)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.register(3, [104]);
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    assert_eq!(
        risk(&ledger, 1),
        (true, 0, false),
        "no epoch has counted them yet"
    );
    ledger.close_tempo();
    assert_eq!(risk(&ledger, 1), (false, 0, true));
    assert_eq!(risk(&ledger, 2), (false, 0, true));
    ledger.advance(20);
    assert_eq!(risk(&ledger, 3), (true, 0, false), "registered after the commit");

    // An explicit 0 judges.
    let row = ledger.weights(&[(1, 1), (3, 0)]);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    assert_eq!(risk(&ledger, 3), (false, 0, true));
}

#[test]
fn an_axon_changes_at_most_once_in_its_interval_and_the_refusal_names_the_next_block() {
    let mut ledger = Ledger::with_subnet();
    ledger.ok(1, set("axon_rate_limit_blocks", 7));
    ledger.register(2, [101]);
    ledger.close_tempo();
    let serve = |port| Call::ServeAxon {
        netuid: SUBNET,
        axon: Axon {
            ip: [127, 0, 0, 1].into(),
            port,
            protocol: Axon::PROTOCOL,
            at_once: 8,
            models: vec![AxonModel::named(Digest([1; 32]), "small")],
        },
    };
    ledger.ok(101, serve(4_000));
    let at = ledger.state.height().0;
    ledger.advance(5);
    let sentence = ledger.refused(101, serve(4_001), "rate limit");
    let expected = format!(
        "the axon of UID 0 was announced at block {at}: the next change is allowed at block {}",
        at + 7
    );
    assert_eq!(sentence, expected);
    ledger.ok(101, serve(4_001));
    assert_eq!(ledger.neuron(0).axon_height.0, at + 7);
}
