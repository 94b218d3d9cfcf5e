//! The committee's rules on a ledger: candidates, eras, bonds, punishment.
//!
//! The consensus key of a hotkey has its number and 100 more.

use agon_protocol::message::{Committee, Equivocation, GenesisMember, SeatView, Statement, Vote, VoteKind};

use super::*;
use crate::{NetworkParameterId, RECENT_BLOCKS};

const ERA: u64 = 40;
const READY: u64 = 120;
const UNBONDING: u64 = 120;

/// The consensus key of hotkey `key`.
fn voter(key: u8) -> Keypair {
    pair(key + 100)
}

fn join_with(key: u8, consensus: &Keypair, bond: Amount) -> Call {
    let statement = Statement::Join {
        genesis: genesis().digest(),
        hotkey: hotkey(key),
    };
    Call::JoinCommittee {
        hotkey: hotkey(key),
        consensus_key: consensus.consensus_key(),
        proof: statement.sign(consensus),
        bond,
    }
}

fn join(key: u8, bond: u64) -> Call {
    join_with(key, &voter(key), units(bond))
}

fn leave(key: u8) -> Call {
    Call::LeaveCommittee { hotkey: hotkey(key) }
}

fn ready_at(key: u8, height: BlockNumber, hash: Digest) -> Call {
    let statement = Statement::Ready {
        genesis: genesis().digest(),
        height,
        hash,
    };
    Call::CommitteeReady {
        height,
        hash,
        proof: statement.sign(&voter(key)),
    }
}

/// Readiness over the block before the open one.
fn ready(ledger: &Ledger, key: u8) -> Call {
    let before = BlockNumber(ledger.state.height().0 - 1);
    ready_at(key, before, block_hash(before))
}

fn vote(key: u8, height: u64, block: u8) -> Signed<Vote> {
    let vote = Vote {
        genesis: genesis().digest(),
        height: BlockNumber(height),
        round: 0,
        kind: VoteKind::Precommit,
        block: Some(Digest([block; 32])),
        voter: voter(key).consensus_key(),
    };
    Signed::sign(vote, &voter(key))
}

fn report(key: u8, height: u64) -> Call {
    Call::ReportEquivocation {
        evidence: Box::new(Equivocation {
            first: vote(key, height, 1),
            second: vote(key, height, 2),
        }),
    }
}

impl Ledger {
    /// A ledger where coldkey 2 owns the hotkeys 101 to 108.
    fn with_hotkeys() -> Self {
        let mut ledger = Self::with_subnet();
        ledger.register(2, 101..=108);
        ledger
    }

    /// Joins hotkeys with bonds, in whole units, and makes them ready in one block.
    fn candidates(&mut self, bonds: &[(u8, u64)]) {
        self.begin();
        for (key, bond) in bonds {
            self.transact(2, join(*key, *bond)).unwrap();
        }
        self.ready(bonds.iter().map(|(key, _)| *key));
    }

    /// Renews readiness in the open block.
    fn ready(&mut self, keys: impl IntoIterator<Item = u8>) {
        for key in keys {
            let call = ready(self, key);
            self.transact(key, call).unwrap();
        }
    }

    /// A ledger with a committee of these hotkeys and bonds.
    fn with_committee(bonds: &[(u8, u64)]) -> Self {
        let mut ledger = Self::with_hotkeys();
        ledger.candidates(bonds);
        assert!(ledger.state.form_committee());
        ledger
    }

    /// Begins blocks until one opens an era; that block is open afterwards.
    fn open_era(&mut self) {
        self.begin();
        while !self.state.height().0.is_multiple_of(ERA) {
            self.begin();
        }
    }

    /// Powers of the committee in thousands, by the number of the hotkey.
    fn powers(&self) -> Vec<(u8, u64)> {
        let committee = self.state.committee();
        let number = |hotkey: &Hotkey| (101..=130).find(|key| self::hotkey(*key) == *hotkey).unwrap();
        let member = |member: &agon_protocol::message::Member| (number(&member.hotkey), member.power / 1_000);
        let mut powers: Vec<_> = committee.members().iter().map(member).collect();
        powers.sort_unstable();
        powers
    }

    fn seat(&self, key: u8) -> Option<SeatView> {
        let seats = self.state.committee_view().seats;
        seats.into_iter().find(|seat| seat.hotkey == hotkey(key))
    }
}

/// Part of the scripted run: a committee of two of coldkey 3's hotkeys, an era, a punishment.
pub(super) fn script(ledger: &mut Ledger) {
    let keys: Vec<u8> = (103..=112)
        .filter(|key| ledger.state.hotkey_owner(hotkey(*key)) == Some(coldkey(3)))
        .take(2)
        .collect();
    ledger.begin();
    for key in &keys {
        ledger.transact(3, join(*key, 150)).unwrap();
    }
    ledger.ready(keys.iter().copied());
    assert!(ledger.state.form_committee());
    ledger.open_era();
    ledger.ok(3, leave(keys[0]));
    let height = ledger.state.height().0;
    ledger.ok(5, report(keys[1], height));
    ledger.open_era();
}

#[test]
fn the_times_of_these_tests_are_those_of_the_preset() {
    let ledger = Ledger::new();
    let times = [
        NetworkParameterId::CommitteeEraBlocks,
        NetworkParameterId::CommitteeReadyBlocks,
        NetworkParameterId::CommitteeUnbondingBlocks,
    ];
    assert_eq!(times.map(|id| ledger.state.network(id)), [ERA, READY, UNBONDING]);
}

#[test]
fn a_candidate_locks_its_bond_and_proves_its_key() {
    let mut ledger = Ledger::with_hotkeys();
    ledger.refused(3, join(101, 100), "hotkey owner");
    ledger.refused(2, join(101, 99), "bond minimum");
    ledger.refused(2, join(101, FUNDS), "balance");
    // A proof by another key, and one for another hotkey.
    let forged = Call::JoinCommittee {
        hotkey: hotkey(101),
        consensus_key: voter(101).consensus_key(),
        proof: Statement::Join {
            genesis: genesis().digest(),
            hotkey: hotkey(102),
        }
        .sign(&voter(101)),
        bond: units(100),
    };
    ledger.refused(2, forged, "consensus key proof");
    let free = ledger.free(2);
    ledger.ok(2, join(101, 150));
    assert_eq!(free.saturating_sub(ledger.free(2)), units(150));
    assert_eq!(ledger.state.holdings().bonded, units(150));
    ledger.refused(2, join(101, 100), "joined");
    ledger.refused(2, join_with(102, &voter(101), units(100)), "consensus key");
}

#[test]
fn a_hotkey_that_nobody_owns_belongs_to_the_coldkey_that_joins_with_it() {
    let mut ledger = Ledger::with_hotkeys();
    ledger.ok(2, join(109, 100));
    assert_eq!(ledger.state.hotkey_owner(hotkey(109)), Some(coldkey(2)));
    ledger.refused(3, leave(109), "hotkey owner");
    ledger.begin();
    let ready = ready(&ledger, 109);
    ledger.ok(109, ready);
}

#[test]
fn readiness_is_over_one_of_the_newest_blocks() {
    let mut ledger = Ledger::with_hotkeys();
    ledger.advance(50);
    ledger.begin();
    let now = ledger.state.height().0;
    let at = |height| ready_at(101, BlockNumber(height), block_hash(BlockNumber(height)));
    ledger.refused_now(101, at(now - 1), "candidate");
    ledger.transact(2, join(101, 100)).unwrap();
    ledger.refused_now(2, at(now - 1), "candidate");
    ledger.refused_now(101, at(now), "ready height");
    let sentence = ledger.refused_now(101, at(now - 1 - RECENT_BLOCKS), "ready height");
    let expected = format!("sign one from {} to {}", now - RECENT_BLOCKS, now - 1);
    assert!(sentence.contains(&expected), "{sentence}");
    ledger.refused_now(
        101,
        ready_at(101, BlockNumber(now - 1), Digest([3; 32])),
        "ready hash",
    );
    let other = Call::CommitteeReady {
        height: BlockNumber(now - 1),
        hash: block_hash(BlockNumber(now - 1)),
        proof: Statement::Join {
            genesis: genesis().digest(),
            hotkey: hotkey(101),
        }
        .sign(&voter(101)),
    };
    ledger.refused_now(101, other, "consensus key proof");
    ledger.transact(101, at(now - RECENT_BLOCKS)).unwrap();
    ledger.transact(101, at(now - 1)).unwrap();
    assert_eq!(ledger.seat(101).unwrap().ready_until, BlockNumber(now + READY));
}

#[test]
fn a_ledger_of_one_node_gets_its_first_committee_when_it_asks_for_one() {
    let mut ledger = Ledger::with_hotkeys();
    assert!(!ledger.state.can_form_committee() && !ledger.state.form_committee());
    ledger.ok(2, join(101, 100));
    ledger.ok(2, join(102, 300));
    assert!(!ledger.state.form_committee(), "nobody is ready");
    ledger.open_era();
    assert!(ledger.state.committee().is_empty());
    ledger.ready([101, 102]);
    assert!(ledger.state.can_form_committee() && ledger.state.form_committee());
    assert_eq!(ledger.powers(), [(101, 100), (102, 300)]);
    assert!(!ledger.state.can_form_committee() && !ledger.state.form_committee());
    assert_ne!(ledger.state.committee().digest(), Committee::default().digest());
    assert_eq!(ledger.state.check_invariants(), Ok(()));
}

#[test]
fn power_is_bond_and_stake_over_all_subnets() {
    let mut ledger = Ledger::with_hotkeys();
    ledger.ok(1, create());
    ledger.ok(
        2,
        Call::Register {
            netuid: Netuid(2),
            hotkey: hotkey(101),
            price_max: units(100),
        },
    );
    ledger.candidates(&[(101, 100), (102, 100)]);
    for (netuid, amount) in [(SUBNET, 50), (Netuid(2), 25)] {
        let call = Call::AddStake {
            netuid,
            hotkey: hotkey(101),
            amount: units(amount),
        };
        ledger.transact(4, call).unwrap();
    }
    assert!(ledger.state.form_committee());
    assert_eq!(ledger.powers(), [(101, 175), (102, 100)]);
}

#[test]
fn an_era_lets_new_members_in_with_less_than_a_third_and_drops_who_is_not_ready() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    ledger.candidates(&[(103, 400)]);
    let before = ledger.state.committee();
    ledger.advance(1);
    assert_eq!(ledger.state.committee(), before, "between eras nothing changes");
    ledger.open_era();
    // 300 of 900 would be a third.
    assert_eq!(ledger.powers(), [(101, 300), (102, 300), (103, 299)]);
    ledger.open_era();
    assert_eq!(ledger.powers(), [(101, 300), (102, 300), (103, 400)]);
    ledger.ready([101, 103]);
    ledger.open_era();
    ledger.open_era();
    ledger.ready([101]);
    ledger.open_era();
    assert_eq!(ledger.powers(), [(101, 300), (103, 400)]);
}

#[test]
fn a_committee_whose_members_all_fell_silent_stays_as_it_is() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    let before = ledger.state.committee();
    ledger.advance(2 * READY);
    assert_eq!(ledger.state.committee(), before);
    // Who is ready then comes in beside them, and does not take over.
    ledger.candidates(&[(103, 100)]);
    ledger.open_era();
    assert_eq!(ledger.powers(), [(101, 300), (102, 300), (103, 100)]);
    ledger.open_era();
    assert_eq!(ledger.powers(), [(101, 300), (102, 300), (103, 100)]);
}

#[test]
fn less_than_a_third_goes_at_a_time_for_want_of_readiness_the_longest_silent_first() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300), (103, 300), (104, 300)]);
    ledger.open_era();
    ledger.ready([103, 101]);
    ledger.open_era();
    ledger.ready([101]);
    while ledger.state.height().0 < READY + 2 * ERA {
        ledger.begin();
    }
    // 102 and 104 were silent for equally long; each has a quarter.
    let first = if voter(102).consensus_key() < voter(104).consensus_key() {
        102
    } else {
        104
    };
    let left = if first == 102 { 104 } else { 102 };
    assert_eq!(ledger.powers(), [(101, 300), (103, 300), (left, 300)]);
    ledger.ready([101]);
    // A third is not less than a third.
    ledger.open_era();
    assert_eq!(ledger.powers(), [(101, 300), (103, 300), (left, 300)]);
}

#[test]
fn who_leaves_is_out_with_the_next_era_and_has_its_bond_back_after_the_delay() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    ledger.refused(3, leave(101), "hotkey owner");
    ledger.refused(2, leave(103), "candidate");
    ledger.ok(2, leave(101));
    let left = ledger.state.height().0;
    ledger.refused(2, leave(101), "leaving");
    ledger.begin();
    let call = ready(&ledger, 101);
    ledger.refused_now(101, call, "leaving");
    ledger.open_era();
    assert_eq!(ledger.powers(), [(102, 300)]);
    let free = ledger.free(2);
    while ledger.state.height().0 < left + UNBONDING {
        assert_eq!(ledger.free(2), free);
        ledger.refused(2, join(101, 100), "joined");
    }
    ledger.open_era();
    assert_eq!(ledger.free(2).saturating_sub(free), units(300));
    assert_eq!(ledger.seat(101), None);
    ledger.ok(2, join(101, 100));
}

#[test]
fn the_last_member_stays_in_force_and_its_bond_locked() {
    let mut ledger = Ledger::with_committee(&[(101, 300)]);
    ledger.ok(2, leave(101));
    ledger.advance(3 * UNBONDING);
    assert_eq!(ledger.powers(), [(101, 300)]);
    assert_eq!(ledger.state.holdings().bonded, units(300));
    ledger.candidates(&[(102, 100)]);
    ledger.open_era();
    ledger.open_era();
    assert_eq!(ledger.powers(), [(102, 100)]);
    let free = ledger.free(2);
    ledger.advance(UNBONDING + ERA);
    assert_eq!(ledger.free(2).saturating_sub(free), units(300));
}

#[test]
fn a_member_that_contradicts_itself_loses_its_bond_once() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    let now = ledger.state.height().0;
    let free = ledger.free(5);
    ledger.begin();
    let burned = ledger.burned();
    ledger.transact(5, report(101, now)).unwrap();
    assert_eq!(ledger.free(5).saturating_sub(free), units(30));
    assert_eq!(ledger.burned().saturating_sub(burned), units(270));
    ledger.refused(5, report(101, now), "slashed");
    ledger.refused(5, report(101, now + 1), "slashed");
    assert_eq!(ledger.powers(), [(101, 300), (102, 300)], "until the next era");
    ledger.open_era();
    assert_eq!(ledger.powers(), [(102, 300)]);
    ledger.advance(UNBONDING + ERA);
    assert_eq!(ledger.seat(101), None);
    ledger.refused(2, join(101, 100), "consensus key");
    ledger.ok(2, join_with(101, &pair(240), units(100)));
}

#[test]
fn a_report_needs_two_votes_of_a_bonded_key_that_are_not_too_old() {
    let mut ledger = Ledger::with_committee(&[(101, 300)]);
    ledger.advance(UNBONDING + 10);
    let now = ledger.state.height().0 + 1;
    let same = Call::ReportEquivocation {
        evidence: Box::new(Equivocation {
            first: vote(101, now, 1),
            second: vote(101, now, 1),
        }),
    };
    ledger.begin();
    ledger.refused_now(5, same, "evidence");
    ledger.refused_now(5, report(102, now), "voter");
    let sentence = ledger.refused_now(5, report(101, now - UNBONDING - 1), "evidence age");
    assert!(sentence.contains(&format!("block {} or later", now - UNBONDING)));
    ledger.transact(5, report(101, now - UNBONDING)).unwrap();
}

#[test]
fn who_left_is_punished_while_its_bond_is_locked() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    let voted = ledger.state.height().0;
    ledger.ok(2, leave(101));
    ledger.open_era();
    ledger.ok(5, report(101, voted));
    assert_eq!(ledger.state.holdings().bonded, units(300));
}

#[test]
fn a_new_hotkey_keeps_the_place_of_the_old_one() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    let swap = Call::SwapHotkey {
        hotkey: hotkey(101),
        new_hotkey: hotkey(121),
    };
    ledger.ok(2, swap);
    assert_eq!(ledger.powers(), [(101, 300), (102, 300)], "until the next era");
    ledger.begin();
    let before = BlockNumber(ledger.state.height().0 - 1);
    let Call::CommitteeReady { height, hash, proof } = ready_at(101, before, block_hash(before)) else {
        panic!();
    };
    ledger
        .transact(121, Call::CommitteeReady { height, hash, proof })
        .unwrap();
    ledger.open_era();
    assert_eq!(ledger.powers(), [(102, 300), (121, 300)]);
    ledger.ok(2, leave(121));
}

#[test]
fn a_bond_follows_its_hotkey_to_a_new_coldkey() {
    let mut ledger = Ledger::with_committee(&[(101, 300), (102, 300)]);
    ledger.ok(
        2,
        Call::AnnounceColdkeySwap {
            new_coldkey: coldkey(20),
        },
    );
    ledger.advance(40);
    ledger.ok(2, Call::ExecuteColdkeySwap { coldkey: coldkey(2) });
    assert_eq!(ledger.seat(101).unwrap().coldkey, coldkey(20));
    let free = ledger.free(20);
    ledger.ok(20, leave(101));
    ledger.advance(UNBONDING + ERA);
    assert_eq!(ledger.free(20).saturating_sub(free), units(300));
}

fn founded(members: &[(u8, u8, u64)]) -> Result<State, crate::GenesisError> {
    let member = |(key, consensus, bond): &(u8, u8, u64)| GenesisMember {
        hotkey: hotkey(*key),
        coldkey: coldkey(20),
        consensus_key: pair(*consensus).consensus_key(),
        bond: units(*bond),
    };
    State::genesis(&Genesis {
        committee: members.iter().map(member).collect(),
        ..genesis()
    })
}

#[test]
fn members_of_the_genesis_decide_from_the_first_block_on() {
    let state = founded(&[(101, 201, 100), (102, 202, 300)]).unwrap();
    let mut ledger = Ledger {
        state,
        ..Ledger::new()
    };
    assert_eq!(ledger.powers(), [(101, 100), (102, 300)]);
    assert_eq!(ledger.state.holdings().bonded, units(400));
    assert_eq!(ledger.state.issuance(), units(9 * FUNDS + 400));
    assert_eq!(ledger.state.check_invariants(), Ok(()));
    assert_eq!(ledger.seat(101).unwrap().coldkey, coldkey(20));
    for height in 1..=READY {
        ledger
            .state
            .begin_block(BlockNumber(height), block_hash(BlockNumber(height - 1)), 0);
    }
    assert_eq!(ledger.powers(), [(101, 100), (102, 300)]);
}

#[test]
fn a_genesis_whose_committee_cannot_be_is_refused() {
    let error = |members: &[(u8, u8, u64)]| founded(members).unwrap_err();
    assert!(matches!(
        error(&[(101, 201, 100), (101, 202, 100)]),
        crate::GenesisError::Member { .. }
    ));
    assert!(matches!(
        error(&[(101, 201, 100), (102, 201, 100)]),
        crate::GenesisError::Member { .. }
    ));
    assert!(matches!(
        error(&[(101, 201, 99)]),
        crate::GenesisError::Bond { .. }
    ));
    assert_eq!(error(&[(101, 201, 21_000_000)]), crate::GenesisError::Supply);
    let many: Vec<(u8, u8, u64)> = (0..65).map(|it| (it, it + 100, 100)).collect();
    assert!(matches!(
        error(&many),
        crate::GenesisError::Members { count: 65, .. }
    ));
}

#[test]
fn a_block_forms_the_first_committee_after_its_transactions() {
    let mut ledger = Ledger::with_hotkeys();
    ledger.ok(2, join(101, 100));
    let (height, hash) = (ledger.state.height(), block_hash(ledger.state.height()));
    let transactions = [ledger.tx(101, ready_at(101, height, hash))];
    let input = |forms_committee| crate::BlockInput {
        height: height.next(),
        parent: hash,
        time_ms: height.0,
        forms_committee,
        transactions: &transactions,
    };
    let mut alone = ledger.state.clone();
    assert_eq!(alone.apply(input(false)).outcomes, [Ok(())]);
    assert!(alone.committee().is_empty());
    assert_eq!(ledger.state.apply(input(true)).outcomes, [Ok(())]);
    assert_eq!(ledger.powers(), [(101, 100)]);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Wish {
        Blocks(u64),
        Join(u8, u64),
        Leave(u8),
        Ready(u8),
        Report(u8),
        Form,
        Stake(u8, u64),
        Swap(u8, u8),
    }

    fn wish() -> impl Strategy<Value = Wish> {
        let key = || 101u8..109;
        prop_oneof![
            4 => (1u64..60).prop_map(Wish::Blocks),
            4 => (key(), 90u64..900).prop_map(|(key, bond)| Wish::Join(key, bond)),
            1 => key().prop_map(Wish::Leave),
            8 => key().prop_map(Wish::Ready),
            1 => key().prop_map(Wish::Report),
            1 => Just(Wish::Form),
            2 => (key(), 1u64..500).prop_map(|(key, amount)| Wish::Stake(key, amount)),
            1 => (key(), 121u8..129).prop_map(|(old, new)| Wish::Swap(old, new)),
        ]
    }

    /// Checks what a change from one committee to that of `state` has to keep.
    fn check_change(before: &Committee, state: &State) {
        let after = &state.committee();
        assert!(before.is_empty() || !after.is_empty());
        if before == after || before.is_empty() {
            return;
        }
        let entered =
            |member: &&agon_protocol::message::Member| before.member(&member.consensus_key).is_none();
        let power: u64 = after.members().iter().filter(entered).map(|it| it.power).sum();
        assert!(power == 0 || 3 * power < after.power(), "{before:?} to {after:?}");
        let lapsed = |seat: &SeatView| {
            let went = after.member(&seat.consensus_key).is_none();
            let power = before.member(&seat.consensus_key).map_or(0, |it| it.power);
            if went && seat.leaving.is_none() { power } else { 0 }
        };
        let lapsed: u64 = state.committee_view().seats.iter().map(lapsed).sum();
        assert!(
            lapsed == 0 || 3 * lapsed < before.power(),
            "{before:?} to {after:?}"
        );
        let stayed = after.members().len() - after.members().iter().filter(entered).count();
        if after.members().len() >= 4 && stayed >= 3 {
            assert!(
                after.members().iter().all(|it| 3 * it.power < after.power()),
                "{after:?}"
            );
        }
    }

    fn grant(ledger: &mut Ledger, wish: &Wish) {
        match wish {
            Wish::Blocks(blocks) => {
                for _ in 0..*blocks {
                    let before = ledger.state.committee();
                    ledger.begin();
                    check_change(&before, &ledger.state);
                }
            }
            Wish::Join(key, bond) => drop(ledger.transact(2, join(*key, *bond))),
            Wish::Leave(key) => drop(ledger.transact(2, leave(*key))),
            Wish::Ready(key) => {
                let call = ready(ledger, *key);
                drop(ledger.transact(*key, call));
            }
            Wish::Report(key) => {
                let height = ledger.state.height().0;
                drop(ledger.transact(5, report(*key, height)));
            }
            Wish::Form => {
                let could = ledger.state.can_form_committee();
                assert_eq!(ledger.state.form_committee(), could);
            }
            Wish::Stake(key, amount) => drop(ledger.transact(4, stake(*key, units(*amount)))),
            Wish::Swap(old, new) => {
                let swap = Call::SwapHotkey {
                    hotkey: hotkey(*old),
                    new_hotkey: hotkey(*new),
                };
                drop(ledger.transact(2, swap));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_calls_keep_cap_entry_bound_and_sums(wishes in prop::collection::vec(wish(), 1..80)) {
            let mut ledger = Ledger::with_hotkeys();
            for wish in &wishes {
                grant(&mut ledger, wish);
                prop_assert_eq!(ledger.state.check_invariants(), Ok(()));
            }
            prop_assert_eq!(ledger.state.holdings().total(), ledger.state.issuance());
            let loaded = State::from_entries(ledger.state.entries()).unwrap();
            prop_assert_eq!(loaded, ledger.state);
        }
    }
}
