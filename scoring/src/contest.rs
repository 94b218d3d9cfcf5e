//! Contested weights: what a validator says of a miner that others see otherwise.
//!
//! A validator that says a miner failed proves nothing by it, and a miner's receipt proves no more, since it can be signed
//! late. What decides is what the others say: where the larger part of the other validators gives the miner weight, by
//! stake and by number, the contested cell is replaced by what they give on average, so that neither the failure nor the
//! contest moves anything. Otherwise the cell stays. By stake alone, a miner could answer a few validators with most of the
//! stake and contest what the others say; by number alone, validators with hardly any stake could speak for it.
//!
//! # Formula
//!
//! - Others of a cell are the validators with stake and a row, but for the row's own and the miner itself.
//! - For and against are the others whose weight on the miner is above 0, and 0. More are for it than against it, and
//!   they have more stake.
//! - The mean is over others who are not contested about the same miner themselves, by stake, of the weight's share of its
//!   row, cut at the median of these shares, by stake as well. The epoch cuts what is above its median, so a plain mean
//!   would be worth more than the rows that it is of: 3.7 % to a miner that four tenths of the stake accuse, where weights
//!   have a noise of a fifth.
//! - A filled row has the means as shares, and keeps the proportions of the cells that are not filled.

use std::collections::{BTreeMap, BTreeSet};

/// A validator's weights: UIDs ascending, and the weight of each.
pub type Row = Vec<(u16, u16)>;

/// One, as shares are counted.
const ONE: u128 = 1 << 32;

/// The rows with contested weights replaced.
///
/// - **Shape**: a row and a stake for each UID; an empty row is none. A contested pair is a validator and a miner, by UID.
/// - **Units**: stakes are base units, weights are parts of the largest, which is `u16::MAX` in rows that are filled.
/// - **Rounding**: shares and means down to 2^-32, filled weights to the nearest, halves up.
/// - Rows without contested pairs, and those whose pairs the others do not contradict, come back as they are.
#[must_use]
pub fn fill(rows: &[Row], stakes: &[u64], contested: &BTreeSet<(u16, u16)>) -> Vec<Row> {
    let miners: BTreeSet<u16> = contested.iter().map(|(_, miner)| *miner).collect();
    let said: BTreeMap<u16, Said> = miners
        .into_iter()
        .map(|miner| (miner, Said::of(rows, stakes, contested, miner)))
        .collect();
    let mut filled = rows.to_vec();
    for (validator, (row, stake)) in (0..=u16::MAX).zip(rows.iter().zip(stakes)) {
        let own = contested.range((validator, 0)..=(validator, u16::MAX));
        let shares: BTreeMap<u16, u128> = own
            .filter(|_| !row.is_empty())
            .filter_map(|(_, miner)| {
                Some((*miner, said.get(miner)?.mean_beside(weight(row, *miner), *stake)?))
            })
            .collect();
        if !shares.is_empty() {
            filled[usize::from(validator)] = with_shares(row, &shares);
        }
    }
    filled
}

/// Validators that say the same of a miner.
#[derive(Clone, Copy, Default)]
struct Side {
    stake: u128,
    count: u64,
}

impl Side {
    fn add(&mut self, stake: u128) {
        self.stake += stake;
        self.count += u64::from(stake > 0);
    }

    fn without(self, stake: u128) -> Self {
        Self {
            stake: self.stake.saturating_sub(stake),
            count: self.count.saturating_sub(u64::from(stake > 0)),
        }
    }

    fn outweighs(self, other: Self) -> bool {
        self.stake > other.stake && self.count > other.count
    }
}

/// What all validators say of one miner.
struct Said {
    /// Those who give it weight.
    given: Side,
    /// Those who give it none.
    refused: Side,
    /// Mean share, cut at the median, by those who are not contested about it, if there are any.
    mean: Option<u128>,
}

impl Said {
    fn of(rows: &[Row], stakes: &[u64], contested: &BTreeSet<(u16, u16)>, miner: u16) -> Self {
        let (mut given, mut refused, mut heard) = (Side::default(), Side::default(), Vec::new());
        for (validator, (row, stake)) in (0..=u16::MAX).zip(rows.iter().zip(stakes)) {
            let (stake, sum) = (u128::from(*stake), sum(row));
            if validator == miner || sum == 0 {
                continue;
            }
            let weight = u128::from(weight(row, miner));
            let side = if weight > 0 { &mut given } else { &mut refused };
            side.add(stake);
            if !contested.contains(&(validator, miner)) {
                heard.push((weight * ONE / sum, stake));
            }
        }
        Self {
            given,
            refused,
            mean: clipped_mean(heard),
        }
    }

    /// The mean of the others, where most of them give weight; `weight` and `stake` are those of the row itself.
    fn mean_beside(&self, weight: u16, stake: u64) -> Option<u128> {
        let stake = u128::from(stake);
        let (given, refused) = match weight {
            0 => (self.given, self.refused.without(stake)),
            _ => (self.given.without(stake), self.refused),
        };
        self.mean.filter(|_| given.outweighs(refused))
    }
}

/// The mean of shares by their stakes, each cut at the largest share that at least half of the stake reaches.
fn clipped_mean(mut heard: Vec<(u128, u128)>) -> Option<u128> {
    heard.sort_unstable_by(|left, right| right.cmp(left));
    let total: u128 = heard.iter().map(|(_, stake)| stake).sum();
    let mut above = 0;
    let median = heard.iter().find(|(_, stake)| {
        above += stake;
        2 * above >= total
    })?;
    // Stakes of 64 bits times shares of 33, of at most 65,536 rows.
    let cut = heard.iter().map(|(share, stake)| stake * (*share).min(median.0));
    cut.sum::<u128>().checked_div(total)
}

/// The row with these shares of one on some UIDs, the others in proportion to each other on what is left of it.
fn with_shares(row: &Row, shares: &BTreeMap<u16, u128>) -> Row {
    let kept = row.iter().filter(|(uid, _)| !shares.contains_key(uid));
    let kept_sum: u128 = kept.clone().map(|(_, weight)| u128::from(*weight)).sum();
    let left = ONE.saturating_sub(shares.values().sum());
    let mut cells: BTreeMap<u16, u128> = kept
        .map(|(uid, weight)| (*uid, u128::from(*weight) * left))
        .collect();
    cells.extend(shares.iter().map(|(uid, share)| (*uid, share * kept_sum.max(1))));
    upscaled(cells).unwrap_or_else(|| row.clone())
}

/// Scales cells so that the largest is `u16::MAX`; `None` when all are 0.
fn upscaled(cells: BTreeMap<u16, u128>) -> Option<Row> {
    let largest = cells.values().copied().max().filter(|largest| *largest > 0)?;
    let scaled = |cell: u128| {
        let nearest = (cell * u128::from(u16::MAX) + largest / 2) / largest;
        u16::try_from(nearest).expect("at most u16::MAX for a cell of at most the largest")
    };
    Some(cells.into_iter().map(|(uid, cell)| (uid, scaled(cell))).collect())
}

fn sum(row: &Row) -> u128 {
    row.iter().map(|(_, weight)| u128::from(*weight)).sum()
}

fn weight(row: &Row, uid: u16) -> u16 {
    let place = row.binary_search_by_key(&uid, |(on, _)| *on);
    place.map_or(0, |place| row[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u16 = u16::MAX;

    /// Validators are the first UIDs, and have the stakes; all rows are over the miners 10, 11 and 12.
    #[track_caller]
    fn check(rows: &[[u16; 3]], stakes: &[u64], contested: &[(u16, u16)], expected: &[[u16; 3]]) {
        let row = |weights: &[u16; 3]| (10..).zip(weights.iter().copied()).collect::<Row>();
        let rows: Vec<Row> = rows.iter().map(row).collect();
        let filled = fill(&rows, stakes, &contested.iter().copied().collect());
        assert_eq!(filled, expected.iter().map(row).collect::<Vec<Row>>());
    }

    #[test]
    fn what_most_stake_contradicts_is_replaced_by_the_mean_of_the_others() {
        let even = [MAX; 3];
        check(
            &[even, even, [0, MAX, MAX]],
            &[3, 3, 4],
            &[(2, 10)],
            &[even, even, even],
        );
        // A third of one row by stake 1, two thirds of another by stake 3, where a quarter of the largest is rounded
        // down: 7/12 is given on average, and 5/24 is left for each of the others.
        check(
            &[even, [MAX, MAX / 4, MAX / 4], [0, 7, 7]],
            &[1, 3, 2],
            &[(2, 10)],
            &[even, [MAX, MAX / 4, MAX / 4], [MAX, 23_405, 23_405]],
        );
    }

    #[test]
    fn what_is_above_the_median_is_cut_as_the_epoch_cuts_it() {
        // Shares of 3/4, 1/2 and 1/4 by equal stakes: the median is 1/2, and the mean below it 5/12.
        check(
            &[[3, 1, 0], [2, 2, 0], [1, 3, 0], [0, 1, 0]],
            &[1, 1, 1, 1],
            &[(3, 10)],
            &[[3, 1, 0], [2, 2, 0], [1, 3, 0], [46_811, MAX, 0]],
        );
    }

    #[test]
    fn what_most_stake_agrees_with_stays() {
        let without = [0, MAX, MAX];
        check(
            &[[MAX; 3], without, without],
            &[3, 4, 4],
            &[(1, 10), (2, 10)],
            &[[MAX; 3], without, without],
        );
        // A tie says nothing.
        check(
            &[[MAX; 3], without, without],
            &[4, 4, 1],
            &[(2, 10)],
            &[[MAX; 3], without, without],
        );
    }

    #[test]
    fn accusers_do_not_dilute_the_mean_for_each_other() {
        let (even, without) = ([MAX; 3], [0, MAX, MAX]);
        check(
            &[even, even, without, without],
            &[3, 3, 2, 2],
            &[(2, 10), (3, 10)],
            &[even; 4],
        );
    }

    #[test]
    fn most_stake_does_not_speak_for_most_validators_nor_most_validators_for_most_stake() {
        let (even, without) = ([MAX; 3], [0, MAX, MAX]);
        for rows in [[even, without, without], [without, even, even]] {
            let rows = [rows[0], rows[1], rows[2], without];
            check(&rows, &[9, 1, 1, 1], &[(3, 10)], &rows);
        }
    }

    #[test]
    fn ones_own_stake_and_that_of_the_miner_decide_nothing() {
        let row = |weights: &[(u16, u16)]| weights.to_vec();
        // Validator 1 is the contested miner, and validator 2 gives it less than the others on purpose.
        let rows = [
            row(&[(0, MAX), (1, MAX)]),
            row(&[(1, MAX)]),
            row(&[(0, MAX), (1, 1)]),
        ];
        let contested: BTreeSet<_> = [(2, 1)].into();
        let filled = fill(&rows, &[1, 9, 9], &contested);
        assert_eq!(filled[2], [(0, MAX), (1, MAX)]);
        assert_eq!(fill(&rows, &[0, 9, 9], &contested), rows, "nobody else has stake");
    }

    #[test]
    fn a_row_of_contested_miners_alone_takes_the_shares_of_the_others() {
        check(
            &[[MAX, MAX / 2, MAX], [0, MAX, 0]],
            &[1, 1],
            &[(1, 10), (1, 11), (1, 12)],
            &[[MAX, MAX / 2, MAX], [MAX, MAX / 2, MAX]],
        );
        let empty = vec![vec![(10, MAX)], Vec::new()];
        assert_eq!(
            fill(&empty, &[1, 1], &[(1, 10)].into()),
            empty,
            "who says nothing is not made to speak"
        );
    }
}
