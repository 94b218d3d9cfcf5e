//! Weights that open by themselves, and what it costs to hold weights back.

use agon_protocol::timelock::{Beacon, BeaconSecret, PulseSignature, SealedWeights};
use proptest::prelude::*;

use super::evidence::{Does, Work, serve};
use super::*;
use crate::EpochRecord;

fn secret() -> BeaconSecret {
    BeaconSecret::from_seed(&[6; 32])
}

fn beacon() -> Beacon {
    Beacon {
        public_key: secret().public_key(),
        first_ms: 0,
        period_ms: 1_000,
    }
}

const ROW: [(u16, u16); 2] = [(2, 30), (3, 10)];

/// A ledger with a beacon and a block each second. Validators 101 and 104 (UIDs 0, 1) of coldkey 2 have the same stake,
/// 102 and 103 (UIDs 2, 3) are miners of coldkey 3; tempos have 10 blocks. The block that opened the tempo is open.
fn sealing() -> Ledger {
    let genesis = Genesis {
        beacon: Some(beacon()),
        ..genesis()
    };
    let mut ledger = Ledger {
        block_ms: 1_000,
        ..Ledger::of(&genesis)
    }
    .and_subnet();
    ledger.register(2, [101, 104]);
    ledger.register(3, [102, 103]);
    for key in [101, 104] {
        ledger.ok(2, stake(key, units(100)));
    }
    ledger.close_tempo();
    ledger
}

impl Ledger {
    fn seal_round(&self) -> u64 {
        self.subnet().seal_round.expect("a round is fixed")
    }

    /// A sealed commit to a row of the running tempo.
    fn sealed(&self, key: u8, row: &Weights) -> Call {
        self.sealed_as(key, row, row)
    }

    /// A commit to one row beside which another is sealed.
    fn sealed_as(&self, key: u8, committed: &Weights, sealed: &Weights) -> Call {
        Call::CommitTimelocked {
            netuid: SUBNET,
            commit: committed.commit(SUBNET, hotkey(key)),
            sealed: beacon().seal(self.seal_round(), sealed).unwrap(),
        }
    }

    /// Begins blocks until one is of the time of `round`.
    fn wait_for(&mut self, round: u64) {
        while self.state.time_ms() < beacon().time_ms(round) {
            self.begin();
        }
    }

    /// Publishes a pulse as soon as it may be, by somebody whom the ledger never saw.
    fn publish(&mut self, round: u64) {
        self.wait_for(round);
        self.transact(250, pulse(round)).unwrap();
    }

    fn row(&self, uid: u16) -> Vec<(Uid, u16)> {
        let rows = self.state.weights(SUBNET).unwrap();
        let of_uid = rows.into_iter().find(|row| row.uid == Uid(uid));
        of_uid.map(|row| row.weights).unwrap_or_default()
    }

    /// Ends the tempo and gives the record of its epoch.
    fn epoch(&mut self) -> EpochRecord {
        let EpochView { tempo, .. } = self.close_tempo();
        self.state.epoch_record(SUBNET, tempo).unwrap()
    }
}

fn pulse(round: u64) -> Call {
    Call::PublishPulse {
        round,
        signature: secret().sign(round),
    }
}

#[test]
fn a_tempo_has_a_round_that_is_not_before_its_planned_end() {
    let ledger = sealing();
    let subnet = ledger.subnet();
    // Ten blocks of a second from here, a sixteenth of a tempo later, and the next whole second.
    let now_ms = ledger.state.time_ms();
    let round = ledger.seal_round();
    assert_eq!(beacon().time_ms(round), now_ms + 10_000 + 1_000);
    assert_eq!(subnet.tempo_start, ledger.state.height());
    assert_eq!(Ledger::with_subnet().subnet().seal_round, None);

    // Where weights are revealed later, the round is later.
    let mut ledger = ledger;
    ledger.ok(1, set("reveal_period_tempos", 3));
    ledger.close_tempo();
    let ahead_ms = beacon().time_ms(ledger.seal_round()) - ledger.state.time_ms();
    assert_eq!(ahead_ms, 30_000 + 1_000);
    ledger.ok(1, set("commit_reveal", 0));
    ledger.close_tempo();
    assert_eq!(ledger.subnet().seal_round, None, "nothing is committed to");
}

#[test]
fn the_plan_is_that_a_tempo_takes_as_long_as_the_one_before() {
    let mut ledger = sealing();
    ledger.block_ms = 3_000;
    // Time never goes back; the blocks so far count as three seconds from here on.
    ledger.close_tempo();
    ledger.close_tempo();
    let ahead_ms = beacon().time_ms(ledger.seal_round()) - ledger.state.time_ms();
    assert_eq!(ahead_ms, 32_000, "30 s, a sixteenth, and the next round");
}

#[test]
fn the_first_tempo_of_a_subnet_has_no_round_and_says_what_to_do() {
    let genesis = Genesis {
        beacon: Some(beacon()),
        ..genesis()
    };
    let mut ledger = Ledger::of(&genesis);
    ledger.ok(1, create());
    assert_eq!(ledger.subnet().seal_round, None);
    // The owner's UID weighs without a permit.
    ledger.ok(1, set("weights_rate_limit_blocks", 0));
    ledger.ok(1, register(101));
    let row = ledger.weights(&[(0, 1)]);
    let call = Call::CommitTimelocked {
        netuid: SUBNET,
        commit: row.commit(SUBNET, hotkey(101)),
        sealed: SealedWeights(Vec::new()),
    };
    ledger.advance(20);
    assert_eq!(ledger.subnet().tempo, 0);
    let sentence = ledger.refused_now(101, call, "seal round");
    assert!(sentence.contains("commit to the digest alone"), "{sentence}");
}

#[test]
fn sealed_weights_open_by_themselves_in_the_reveal_tempo() {
    let mut ledger = sealing();
    let row = ledger.weights(&ROW);
    let round = ledger.seal_round();
    let effect = ledger.effect(101, ledger.sealed(101, &row));
    let expected = format!(
        "commits UID 0 on subnet 1 to weights of tempo 2, to be opened in tempo 3 by the pulse of round {round}"
    );
    assert_eq!(effect, expected);
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    let committed = ledger.state.height();
    assert_eq!(ledger.state.weights(SUBNET).unwrap()[0].open_commits, [2]);
    ledger.publish(round);
    assert_eq!((ledger.row(0), ledger.opened.len()), (Vec::new(), 0));
    ledger.begin();
    let opened = OpenedSealView {
        netuid: SUBNET,
        tempo: 2,
        uid: Uid(0),
        fault: None,
    };
    assert_eq!(ledger.opened, [opened]);
    assert_eq!(ledger.row(0), [(Uid(2), 65_535), (Uid(3), 21_845)]);
    assert_eq!(ledger.neuron(0).last_update, committed);
    assert!(!ledger.state.has_pulses(), "nothing waits for the pulse any more");
    let record = ledger.epoch();
    assert_eq!(record.coverage_ppm, [1_000_000; 4]);
    assert!(record.payouts.validators[0] > Amount::ZERO);
}

/// Validator 101 seals the row that its evidence gives, or another; the evidence's row, and the epoch in which it opened.
#[track_caller]
fn sealed_with_evidence(is_another: bool) -> (Vec<(u16, u16)>, EpochRecord) {
    let mut ledger = sealing();
    ledger.ok(1, set("evidence_openings", 4));
    for key in [102, 103] {
        ledger.ok(key, serve());
    }
    ledger.close_tempo();
    ledger.close_tempo();
    let work = Work::of(&ledger, 101, |_, _| Does::Asks);
    let row = match is_another {
        true => ledger.weights(&ROW),
        false => work.weights(&ledger),
    };
    let round = ledger.seal_round();
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    ledger.transact(101, work.commit()).unwrap();
    ledger.publish(round);
    ledger.begin();
    assert_eq!(ledger.row(0).len(), 2, "it is open");
    ledger.transact(101, work.opening(&ledger)).unwrap();
    (work.row(), ledger.epoch())
}

#[test]
fn a_row_that_opens_by_itself_counts_if_the_evidence_shows_it() {
    let (row, record) = sealed_with_evidence(false);
    assert_eq!(record.inputs.weights[0], row);
    assert_eq!(record.coverage_ppm[0], 1_000_000);
    let (_, record) = sealed_with_evidence(true);
    assert_eq!(record.inputs.weights[0], []);
    assert_eq!(record.coverage_ppm[0], 0);
}

#[test]
fn a_pulse_that_comes_before_the_tempo_ends_waits_for_the_reveal_tempo() {
    let mut ledger = sealing();
    ledger.ok(1, set("tempo_blocks", 30));
    ledger.close_tempo();
    ledger.close_tempo();
    // The tempo is planned with 30 blocks, and takes 40 by the time that its blocks have.
    let row = ledger.weights(&ROW);
    let round = ledger.seal_round();
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    ledger.block_ms = 2_000;
    ledger.publish(round);
    let tempo = ledger.subnet().tempo;
    ledger.advance(3);
    assert_eq!((ledger.subnet().tempo, ledger.row(0)), (tempo, Vec::new()));
    ledger.close_tempo();
    ledger.begin();
    assert_eq!(ledger.row(0).len(), 2);
}

#[test]
fn commits_are_sealed_before_the_rounds_time_and_by_the_rules_of_commits() {
    let mut ledger = sealing();
    let row = ledger.weights(&ROW);
    ledger.refused_now(102, ledger.sealed(102, &row), "permit");
    ledger.refused_now(110, ledger.sealed(110, &row), "registered");
    ledger.ok(1, set("tempo_blocks", 60));
    ledger.ok(1, set("open_commits_max", 2));
    ledger.close_tempo();
    let row = ledger.weights(&ROW);
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.refused_now(101, ledger.sealed(101, &row), "open commits");
    // Blocks that take longer than planned bring the round before the tempo's end.
    ledger.block_ms = 2_000;
    let call = ledger.sealed(104, &row);
    let round_ms = beacon().time_ms(ledger.seal_round());
    while ledger.state.time_ms() + ledger.block_ms < round_ms {
        ledger.begin();
    }
    let mut timely = ledger.clone();
    timely.transact(104, call.clone()).unwrap();
    ledger.wait_for(ledger.seal_round());
    let sentence = ledger.refused_now(104, call, "seal time");
    assert!(
        sentence.ends_with("commit to the digest alone, everybody can open a seal to that round"),
        "{sentence}"
    );
    ledger.transact(104, commit(104, &row)).unwrap();
}

#[test]
fn a_ledger_without_a_beacon_takes_neither_seals_nor_pulses() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.ok(2, stake(101, units(100)));
    ledger.close_tempo();
    let row = ledger.weights(&[(0, 1)]);
    let call = Call::CommitTimelocked {
        netuid: SUBNET,
        commit: row.commit(SUBNET, hotkey(101)),
        sealed: beacon().seal(1, &row).unwrap(),
    };
    let sentence = ledger.refused_now(101, call, "seal round");
    assert_eq!(
        sentence,
        "no round of a beacon is fixed for tempo 2 of subnet 1: commit to the digest alone"
    );
    let sentence = ledger.refused_now(250, pulse(1), "beacon");
    assert!(sentence.starts_with("this ledger names no beacon"), "{sentence}");
    assert_eq!(ledger.state.pulses_awaited(u64::MAX), [] as [u64; 0]);
}

#[test]
fn a_pulse_is_taken_once_when_its_time_has_come_and_something_waits() {
    let mut ledger = sealing();
    let row = ledger.weights(&ROW);
    let round = ledger.seal_round();
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    let sentence = ledger.refused_now(250, pulse(round), "pulse time");
    assert!(sentence.ends_with("wait for it"), "{sentence}");
    assert_eq!(
        ledger.state.pulses_awaited(ledger.state.time_ms()),
        [] as [u64; 0]
    );
    ledger.wait_for(round);
    assert_eq!(ledger.state.pulses_awaited(ledger.state.time_ms()), [round]);
    ledger.refused_now(250, pulse(round - 1), "pulse needed");
    for signature in [
        secret().sign(round - 1),
        BeaconSecret::from_seed(&[7; 32]).sign(round),
        PulseSignature([0; 48]),
        PulseSignature([0xff; 48]),
    ] {
        let forged = Call::PublishPulse { round, signature };
        let sentence = ledger.refused_now(250, forged, "pulse signature");
        assert!(sentence.contains("not the beacon's over round"), "{sentence}");
    }
    let free = ledger.state.account(&coldkey(9).into()).free;
    ledger.transact(9, pulse(round)).unwrap();
    assert_eq!(
        ledger.state.account(&coldkey(9).into()).free,
        free,
        "without a fee"
    );
    ledger.refused_now(250, pulse(round), "pulse known");
    assert_eq!(ledger.state.pulses_awaited(u64::MAX), [] as [u64; 0]);
    ledger.begin();
    assert_eq!(ledger.row(0).len(), 2);
    ledger.refused_now(250, pulse(round), "pulse needed");
}

#[test]
fn a_block_opens_so_many_seals_and_the_next_the_rest() {
    let mut ledger = sealing();
    let keys: Vec<u8> = (130..170).collect();
    ledger.register(2, keys.iter().copied());
    for key in &keys {
        ledger.ok(2, stake(*key, units(50)));
    }
    ledger.ok(1, set("tempo_blocks", 60));
    ledger.close_tempo();
    ledger.close_tempo();
    let row = ledger.weights(&ROW);
    for key in &keys {
        ledger.transact(*key, ledger.sealed(*key, &row)).unwrap();
    }
    ledger.publish(ledger.seal_round());
    let mut counts = Vec::new();
    for _ in 0..3 {
        ledger.opened.clear();
        ledger.begin();
        counts.push(ledger.opened.len());
        assert!(ledger.opened.iter().all(|opened| opened.fault.is_none()));
    }
    assert_eq!(counts, [32, 8, 0]);
    assert!(!ledger.state.has_pulses());
}

#[test]
fn whoever_waits_for_room_in_the_blocks_is_paid() {
    let mut ledger = sealing();
    // With a row before it, so that there is something to be paid for.
    let first = ledger.weights(&ROW);
    ledger.transact(101, commit(101, &first)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&first)).unwrap();
    let row = ledger.weights(&ROW);
    let round = ledger.seal_round();
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    ledger.close_tempo();
    let due = ledger.state.expect_subnet(SUBNET);
    assert_eq!(ledger.state.unrevealed(SUBNET, &due), [Uid(0)].into());
    ledger.publish(round);
    // The pulse is there and no block has opened the seal yet.
    assert_eq!(ledger.state.unrevealed(SUBNET, &due), [].into());
}

#[test]
fn a_beacon_that_is_silent_loses_nothing_to_whoever_reveals_by_hand() {
    let mut ledger = sealing();
    let row = ledger.weights(&ROW);
    let round = ledger.seal_round();
    for key in [101, 104] {
        ledger.transact(key, ledger.sealed(key, &row)).unwrap();
    }
    ledger.close_tempo();
    ledger.advance(3);
    ledger.transact(101, reveal(&row)).unwrap();
    assert_eq!(ledger.row(0).len(), 2);
    let record = ledger.epoch();
    assert_eq!(record.coverage_ppm, [1_000_000, 0, 1_000_000, 1_000_000]);
    assert!(record.payouts.validators[0] > Amount::ZERO);
    assert_eq!(record.payouts.validators[1], Amount::ZERO);
    // What was sealed is gone with the tempo, and the pulse is of no use.
    ledger.refused_now(250, pulse(round), "pulse needed");
    assert_eq!(ledger.state.rounds_in_use(), [].into());
}

#[test]
fn what_does_not_open_or_follow_is_dropped_with_an_event_and_pays_nothing() {
    #[track_caller]
    fn check(sealed: impl FnOnce(&Ledger, &Weights) -> Call, fault: &str) {
        let mut ledger = sealing();
        let row = ledger.weights(&ROW);
        let round = ledger.seal_round();
        ledger.transact(101, sealed(&ledger, &row)).unwrap();
        ledger.transact(104, ledger.sealed(104, &row)).unwrap();
        ledger.publish(round);
        ledger.begin();
        let faults: Vec<_> = ledger
            .opened
            .iter()
            .map(|opened| opened.fault.as_deref())
            .collect();
        assert_eq!(faults.len(), 2);
        assert!(faults[0].unwrap().contains(fault), "{faults:?}");
        assert_eq!((faults[1], ledger.row(0)), (None, Vec::new()));
        // The commit itself can still be revealed by hand, as any other.
        let mut by_hand = ledger.clone();
        let is_broken = row.commit(SUBNET, hotkey(101)) != committed(&ledger);
        if !is_broken {
            by_hand.transact(101, reveal(&row)).unwrap();
            assert_eq!(by_hand.epoch().coverage_ppm[0], 1_000_000);
        }
        let record = ledger.epoch();
        assert_eq!(record.coverage_ppm[..2], [0, 1_000_000]);
        assert_eq!(record.payouts.validators[0], Amount::ZERO);
        assert!(record.payouts.validators[1] > Amount::ZERO);
    }

    fn committed(ledger: &Ledger) -> agon_protocol::message::WeightsCommit {
        agon_protocol::message::WeightsCommit(ledger.state.commits(SUBNET, Uid(0)).0[0].digest)
    }

    fn with(ledger: &Ledger, row: &Weights, sealed: SealedWeights) -> Call {
        let Call::CommitTimelocked { netuid, commit, .. } = ledger.sealed(101, row) else {
            unreachable!("a sealed commit is one");
        };
        Call::CommitTimelocked {
            netuid,
            commit,
            sealed,
        }
    }

    check(
        |ledger, row| with(ledger, row, SealedWeights(vec![0; 300])),
        "does not begin with a point",
    );
    check(
        |ledger, row| with(ledger, row, SealedWeights(Vec::new())),
        "shorter than its key",
    );
    check(
        |ledger, row| {
            let other = beacon().seal(ledger.seal_round() + 1, row).unwrap();
            with(ledger, row, other)
        },
        "does not open with this pulse",
    );
    check(
        |ledger, row| {
            let other = ledger.weights(&[(2, 1), (3, 2)]);
            ledger.sealed_as(101, row, &other)
        },
        "none is to these weights",
    );
    check(
        |ledger, row| {
            let copied = ledger.sealed(104, row);
            let Call::CommitTimelocked { commit, .. } = copied else {
                unreachable!("a sealed commit is one");
            };
            // Somebody else's commit and seal.
            let Call::CommitTimelocked { sealed, .. } = ledger.sealed(104, row) else {
                unreachable!("a sealed commit is one");
            };
            Call::CommitTimelocked {
                netuid: SUBNET,
                commit,
                sealed,
            }
        },
        "none is to these weights",
    );
    check(
        |ledger, _| ledger.sealed(101, &ledger.weights(&[(3, 1), (2, 2)])),
        "give UIDs in ascending order",
    );
    check(
        |ledger, _| ledger.sealed(101, &ledger.weights(&[(9, 1)])),
        "does not exist",
    );
}

#[test]
fn a_validator_that_reveals_selectively_earns_nothing_more() {
    /// Pay of both validators in the last six of eight tempos, in which the second reveals where `reveals` says so. What
    /// was held before anybody weighed is paid in the second.
    fn paid(reveals: impl Fn(u16) -> bool) -> [Amount; 2] {
        let mut ledger = sealing();
        let mut shown: Option<Weights> = None;
        let mut paid = [Amount::ZERO; 2];
        for round in 0..8_u16 {
            if let Some(row) = shown.take() {
                ledger.transact(101, reveal(&row)).unwrap();
                if reveals(round) {
                    ledger.transact(104, reveal(&row)).unwrap();
                }
            }
            let row = ledger.weights(&[(2, 30 + round), (3, 10)]);
            ledger.transact(101, commit(101, &row)).unwrap();
            ledger.transact(104, commit(104, &row)).unwrap();
            shown = Some(row);
            let record = ledger.epoch();
            for (sum, pay) in paid
                .iter_mut()
                .zip(record.payouts.validators)
                .filter(|_| round >= 2)
            {
                *sum = sum.saturating_add(pay);
            }
        }
        paid
    }
    let [_, honest] = paid(|_| true);
    let [_, half] = paid(|round| round % 2 == 1);
    let [other, never] = paid(|round| round == 1);
    // It reveals in three tempos of six, and the bar is nine tenths of what an honest one earns.
    assert!(
        half > Amount::ZERO && half.base_units() * 10 <= honest.base_units() * 9,
        "{half} of {honest}"
    );
    // The row that it revealed once still weighs, and brings it nothing.
    assert_eq!(never, Amount::ZERO);
    assert!(other > honest, "what it forgoes is paid to the others");
}

#[test]
fn of_two_commits_the_newest_stands_and_settles_the_other() {
    let mut ledger = sealing();
    let [first, second] = [[(2, 1)], [(3, 1)]].map(|row| ledger.weights(&row));
    for row in [&first, &second] {
        ledger.transact(101, commit(101, row)).unwrap();
        ledger.transact(104, commit(104, row)).unwrap();
    }
    ledger.close_tempo();
    // The older one may be shown, and does not count as having revealed.
    ledger.transact(104, reveal(&first)).unwrap();
    ledger.transact(101, reveal(&second)).unwrap();
    ledger.refused_now(101, reveal(&first), "commit");
    let record = ledger.epoch();
    assert_eq!(record.coverage_ppm[..2], [1_000_000, 0]);
}

#[test]
fn a_commit_that_was_sent_twice_is_revealed_once() {
    let mut ledger = sealing();
    let row = ledger.weights(&ROW);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&row)).unwrap();
    assert_eq!(
        ledger.state.rounds_in_use(),
        [].into(),
        "what was sealed is settled"
    );
    assert_eq!(ledger.epoch().coverage_ppm[0], 1_000_000);
}

#[test]
fn a_shorter_reveal_period_punishes_nobody_whose_window_it_closes() {
    let mut ledger = sealing();
    ledger.ok(1, set("reveal_period_tempos", 3));
    ledger.close_tempo();
    let row = ledger.weights(&ROW);
    ledger.transact(101, commit(101, &row)).unwrap();
    ledger.ok(1, set("reveal_period_tempos", 1));
    // The next tempo opens with a period of 1: the commit was due in it, and is in it.
    let record = ledger.epoch();
    assert_eq!(record.coverage_ppm[0], 1_000_000);
    let late = ledger.weights(&ROW);
    ledger.transact(101, commit(101, &late)).unwrap();
    ledger.transact(101, reveal(&row)).unwrap();
    ledger.close_tempo();
    ledger.transact(101, reveal(&late)).unwrap();
    assert_eq!(ledger.epoch().coverage_ppm[0], 1_000_000);
}

#[test]
fn seals_go_with_their_commits_uids_and_subnets_and_states_with_them_load() {
    let mut ledger = sealing();
    let row = ledger.weights(&ROW);
    let round = ledger.seal_round();
    ledger.transact(101, ledger.sealed(101, &row)).unwrap();
    ledger.transact(104, ledger.sealed(104, &row)).unwrap();
    ledger.publish(round);
    let loaded = State::from_entries(ledger.state.entries()).unwrap();
    assert_eq!(loaded, ledger.state);
    assert_eq!(loaded.rounds_in_use(), [round].into());

    let mut cleared = ledger.clone();
    cleared.state.clear_uid(SUBNET, Uid(0), hotkey(101));
    assert_eq!(
        cleared
            .state
            .table
            .scan::<crate::weights::SealedRow>(SUBNET)
            .count(),
        1
    );

    ledger
        .transact(1, Call::DissolveSubnet { netuid: SUBNET })
        .unwrap();
    assert_eq!(ledger.state.rounds_in_use(), [].into());
    ledger.begin();
    assert!(!ledger.state.has_pulses());
}

#[test]
fn a_genesis_names_a_beacon_that_can_be_one() {
    for broken in [
        Beacon {
            period_ms: 1,
            ..beacon()
        },
        Beacon {
            public_key: agon_protocol::timelock::BeaconKey([0; 96]),
            ..beacon()
        },
    ] {
        let genesis = Genesis {
            beacon: Some(broken),
            ..genesis()
        };
        assert!(matches!(
            State::genesis(&genesis),
            Err(crate::GenesisError::Beacon(_))
        ));
    }
    assert_eq!(sealing().state.beacon(), Some(beacon()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the row, sealed or by hand: the same weights, or the same rule against them.
    #[test]
    fn sealed_weights_open_to_the_row_that_a_reveal_gives(
        row in proptest::collection::vec((0u16..6, any::<u16>()), 0..5),
        sorted in any::<bool>(),
        salt in any::<[u8; 32]>(),
    ) {
        let mut row = row;
        if sorted {
            row.sort_unstable();
            row.dedup_by_key(|(uid, _)| *uid);
        }
        let mut sealed = sealing();
        let mut weights = sealed.weights(&row);
        weights.salt = salt;
        let mut by_hand = sealed.clone();
        let round = sealed.seal_round();
        sealed.transact(101, sealed.sealed(101, &weights)).unwrap();
        by_hand.transact(101, commit(101, &weights)).unwrap();
        sealed.publish(round);
        sealed.begin();
        by_hand.wait_for(round);
        by_hand.begin();
        let outcome = by_hand.transact(101, reveal(&weights));
        let fault = sealed.opened[0].fault.clone();
        prop_assert_eq!(fault, outcome.err().map(|refusal| refusal.to_string()));
        prop_assert_eq!(sealed.row(0), by_hand.row(0));
        prop_assert_eq!(sealed.neuron(0).last_update, by_hand.neuron(0).last_update);
        let [sealed, by_hand] = [sealed.epoch(), by_hand.epoch()];
        prop_assert_eq!(sealed.outputs, by_hand.outputs);
        prop_assert_eq!(sealed.coverage_ppm, by_hand.coverage_ppm);
        prop_assert_eq!(sealed.payouts.miners, by_hand.payouts.miners);
    }
}
