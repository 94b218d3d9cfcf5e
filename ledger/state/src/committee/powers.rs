//! Who is in the next committee, and with which power: whole numbers, the same on every machine.
//!
//! # The entry bound
//!
//! What stays has the power `S`, the sum of its capped powers; what enters gets at most `(S - 1) / 2` together,
//! rounded down, which is less than a third of the sum. It is handed out in the order of powers; the last gets what
//! is left of it, and its full power in the next era.
//!
//! # The exit bound
//!
//! Of the members that do not show that they are ready, as many go as have less than a third of the power in force
//! together. A committee that makes blocks has more than two thirds of its power at work, so whoever goes beyond that
//! is alive: its messages were lost or left out, or it was never told to send them. Were all of those to go at once, the
//! few that others let through would be the committee.
//!
//! # The cap
//!
//! With four members or more no power is a third of the sum or more: powers are cut at the highest level at which
//! that holds, like water that stands in vessels. The level is found by halving.
//!
//! Two members that stay have more than two thirds of the sum together, whoever enters, so one of them has more
//! than a third: with fewer than three that stay the cap waits for the next era.

use std::cmp::Reverse;

use agon_protocol::id::{ConsensusKey, Hotkey};

/// Fewest members with which a cap below a third is possible.
const CAPPED_MIN: usize = 4;

/// Somebody who qualifies: its power, first before and then after caps and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hopeful {
    pub(super) consensus_key: ConsensusKey,
    pub(super) hotkey: Hotkey,
    pub(super) power: u64,
}

/// The first committee: the most powerful, under the cap.
pub(super) fn found(hopefuls: Vec<Hopeful>, members_max: usize) -> Vec<Hopeful> {
    elect(hopefuls, Vec::new(), members_max)
}

/// The next committee of those that stay and those that would enter.
pub(super) fn elect(
    mut staying: Vec<Hopeful>,
    mut entering: Vec<Hopeful>,
    members_max: usize,
) -> Vec<Hopeful> {
    most_powerful_first(&mut staying);
    most_powerful_first(&mut entering);
    staying.truncate(members_max);
    let admitted = admit(&mut staying, entering, members_max);
    let powers = |hopefuls: &[Hopeful]| -> Vec<u64> { hopefuls.iter().map(|it| it.power).collect() };
    let (stay, enter) = share_out(&powers(&staying), &powers(&admitted));
    let given = staying
        .into_iter()
        .chain(admitted)
        .zip(stay.into_iter().chain(enter));
    given
        .map(|(hopeful, power)| Hopeful { power, ..hopeful })
        .filter(|hopeful| hopeful.power > 0)
        .collect()
}

fn most_powerful_first(hopefuls: &mut [Hopeful]) {
    hopefuls.sort_by_key(|it| (Reverse(it.power), it.consensus_key));
}

/// Who enters, where there is room. A full committee gives the place of its weakest member to somebody stronger,
/// as long as those who enter fit the entry bound without any of them being cut.
fn admit(staying: &mut Vec<Hopeful>, entering: Vec<Hopeful>, members_max: usize) -> Vec<Hopeful> {
    let mut admitted: Vec<Hopeful> = Vec::new();
    for hopeful in entering {
        let count = staying.len().saturating_add(admitted.len());
        if count < members_max {
            admitted.push(hopeful);
            continue;
        }
        let Some((weakest, others)) = staying.split_last() else {
            break;
        };
        let powers = |of: &[Hopeful]| of.iter().map(|it| it.power).fold(0, u64::saturating_add);
        let entered = powers(&admitted).saturating_add(hopeful.power);
        if weakest.power >= hopeful.power || entered > entry_budget(powers(others)) {
            break;
        }
        staying.pop();
        admitted.push(hopeful);
    }
    admitted
}

/// How many go, in this order, of members that are not ready any more: less than a third of the power `in_force`.
pub(super) fn going_count(lapsed: impl Iterator<Item = u64>, in_force: u64) -> usize {
    let sums = lapsed.scan(0_u64, |sum, power| {
        *sum = sum.saturating_add(power);
        Some(*sum)
    });
    sums.take_while(|sum| sum.saturating_mul(3) < in_force).count()
}

/// Most power that may enter beside `staying`: less than a third of the sum.
const fn entry_budget(staying: u64) -> u64 {
    staying.saturating_sub(1) / 2
}

/// The powers of those that stay and of those that enter, each list the strongest first.
fn share_out(staying: &[u64], entering: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let members = staying.len().saturating_add(entering.len());
    let highest = staying.iter().chain(entering).copied().max().unwrap_or(0);
    let uncut = cut(staying, entering, highest);
    if members < CAPPED_MIN || staying.len() < CAPPED_MIN.saturating_sub(1) || is_balanced(&uncut) {
        return uncut;
    }
    // At level 1 it holds: three that stay and one that enters, or four that stay, have 1 each at least.
    let (mut holds, mut fails) = (1, highest);
    while fails.saturating_sub(holds) > 1 {
        let level = holds.saturating_add(fails.saturating_sub(holds) / 2);
        if is_balanced(&cut(staying, entering, level)) {
            holds = level;
        } else {
            fails = level;
        }
    }
    cut(staying, entering, holds)
}

/// Powers cut at `level`, and those that enter at what the entry bound leaves them.
fn cut(staying: &[u64], entering: &[u64], level: u64) -> (Vec<u64>, Vec<u64>) {
    let stay: Vec<u64> = staying.iter().map(|power| level.min(*power)).collect();
    let mut left = entry_budget(stay.iter().copied().fold(0, u64::saturating_add));
    let enter = entering.iter().map(|power| {
        let given = left.min(level).min(*power);
        left = left.saturating_sub(given);
        given
    });
    let enter = enter.collect();
    (stay, enter)
}

/// Whether nobody has a third of the sum.
fn is_balanced((stay, enter): &(Vec<u64>, Vec<u64>)) -> bool {
    let all = || stay.iter().chain(enter).copied();
    let highest = all().max().unwrap_or(0);
    highest.saturating_mul(3) < all().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hopeful(number: u8, power: u64) -> Hopeful {
        Hopeful {
            consensus_key: ConsensusKey([number; 32]),
            hotkey: Hotkey([number; 32]),
            power,
        }
    }

    /// Elects from powers; entrants are numbered from 100. Gives numbers and powers, by number.
    fn elected(staying: &[u64], entering: &[u64], members_max: usize) -> Vec<(u8, u64)> {
        let from = |first: u8, powers: &[u64]| -> Vec<Hopeful> {
            let numbered = (first..).zip(powers);
            numbered.map(|(number, power)| hopeful(number, *power)).collect()
        };
        let elected = elect(from(0, staying), from(100, entering), members_max);
        let mut powers: Vec<(u8, u64)> = elected
            .iter()
            .map(|it| (it.consensus_key.0[0], it.power))
            .collect();
        powers.sort_unstable();
        powers
    }

    #[track_caller]
    fn check(staying: &[u64], entering: &[u64], expected: &[(u8, u64)]) {
        assert_eq!(elected(staying, entering, 64), expected);
    }

    #[test]
    fn powers_are_cut_at_the_highest_level_below_a_third() {
        check(&[10, 10, 10, 10], &[], &[(0, 10), (1, 10), (2, 10), (3, 10)]);
        // 14 of 43 is less than a third, 15 of 44 is more.
        check(&[100, 10, 10, 9], &[], &[(0, 14), (1, 10), (2, 10), (3, 9)]);
        // Two are cut: 8 of 25.
        check(&[100, 90, 5, 4], &[], &[(0, 8), (1, 8), (2, 5), (3, 4)]);
        check(&[100, 1, 1, 1], &[], &[(0, 1), (1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn fewer_than_four_are_not_cut() {
        check(&[100, 1, 1], &[], &[(0, 100), (1, 1), (2, 1)]);
        check(&[7], &[], &[(0, 7)]);
    }

    #[test]
    fn those_who_enter_get_less_than_a_third_in_the_order_of_their_powers() {
        check(&[10], &[10], &[(0, 10), (100, 4)]);
        check(&[10], &[2, 3], &[(0, 10), (100, 1), (101, 3)]);
        check(&[10], &[2, 2, 2], &[(0, 10), (100, 2), (101, 2)]);
        check(&[1], &[5], &[(0, 1)]);
        // Three that stay with 30 leave 14, which is less than a third of 44.
        check(&[10, 10, 10], &[50], &[(0, 10), (1, 10), (2, 10), (100, 14)]);
    }

    #[test]
    fn less_than_a_third_of_the_power_goes_for_want_of_readiness() {
        for (lapsed, in_force, expected) in [
            (&[][..], 4, 0),
            (&[1], 4, 1),
            (&[1], 3, 0),
            (&[1, 1, 1], 4, 1),
            (&[1, 1, 1], 10, 3),
            (&[1, 5, 1], 10, 1),
        ] {
            let going = going_count(lapsed.iter().copied(), in_force);
            assert_eq!(going, expected, "{lapsed:?} of {in_force}");
        }
    }

    #[test]
    fn a_full_committee_gives_its_weakest_places_to_the_stronger() {
        assert_eq!(elected(&[30, 20, 5], &[6, 4], 3), [(0, 30), (1, 20), (100, 6)]);
        assert_eq!(elected(&[30, 20, 5], &[5], 3), [(0, 30), (1, 20), (2, 5)]);
        // It would have more than a third.
        assert_eq!(elected(&[30, 20, 5], &[25], 3), [(0, 30), (1, 20), (2, 5)]);
        assert_eq!(elected(&[3, 2, 1], &[], 2), [(0, 3), (1, 2)]);
    }

    #[test]
    fn equal_powers_enter_in_the_order_of_their_keys() {
        assert_eq!(elected(&[30, 30], &[5, 5], 3), [(0, 30), (1, 30), (100, 5)]);
    }

    proptest! {
        #[test]
        fn a_committee_keeps_cap_entry_bound_and_size(
            staying in prop::collection::vec(1u64..1 << 44, 1..70),
            entering in prop::collection::vec(prop_oneof![1u64..1 << 44, 1u64..100], 0..70),
            members_max in 1usize..=64,
        ) {
            let elected = elected(&staying, &entering, members_max);
            let sum: u64 = elected.iter().map(|(_, power)| power).sum();
            let entered: u64 = elected.iter().filter(|(it, _)| *it >= 100).map(|(_, power)| power).sum();
            let stayed = elected.iter().filter(|(it, _)| *it < 100).count();
            prop_assert!(stayed >= 1 && elected.len() <= members_max);
            prop_assert!(entered == 0 || 3 * entered < sum, "{} of {}", entered, sum);
            if elected.len() >= CAPPED_MIN && stayed >= CAPPED_MIN - 1 {
                prop_assert!(elected.iter().all(|(_, power)| 3 * power < sum));
            }
        }
    }
}
