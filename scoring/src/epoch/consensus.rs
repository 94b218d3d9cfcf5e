//! Steps 6 to 8: the weight each miner is granted by the majority, and what follows from it.
//!
//! Step 6 is a stake-weighted median. Of the distinct weights that a miner was given (0 from every active
//! validator that left it out) it is the lowest one such that the stake at or below it exceeds the minority; when
//! there is none, the highest. That weight is unique, so how it is searched for cannot change the result.

use super::fixed::Fixed32;
use super::sparse::{Matrix, normalize, sum};

/// A weight and the stake behind it.
type Vote = (Fixed32, Fixed32);

/// Step 6. Consensus per miner, at majority `kappa` of active stake; not normalised. Silent stake votes 0.
pub(super) fn consensus(weights: &Matrix, active_stake: &[Fixed32], kappa: Fixed32) -> Vec<Fixed32> {
    let voters: Vec<usize> = (0..active_stake.len())
        .filter(|&uid| active_stake[uid] > Fixed32::ZERO)
        .collect();
    let mut voter_stake: Vec<Fixed32> = voters.iter().map(|&uid| active_stake[uid]).collect();
    normalize(&mut voter_stake);
    let election = Election {
        voter_count: voters.len(),
        stake_total: sum(&voter_stake),
        minority: sum(&voter_stake).minus(kappa),
    };
    let mut columns = VotesByMiner::collect(weights, &voters, &voter_stake);
    (0..weights.row_count())
        .map(|miner| election.median(columns.votes_for(miner)))
        .collect()
}

/// What all medians of one epoch share.
struct Election {
    voter_count: usize,
    stake_total: Fixed32,
    minority: Fixed32,
}

impl Election {
    /// The median of the positive votes and of 0 from everyone else.
    fn median(&self, votes: &mut [Vote]) -> Fixed32 {
        let stake_for = votes.iter().fold(Fixed32::ZERO, |sum, vote| sum.plus(vote.1));
        let stake_silent = self.stake_total.minus(stake_for);
        let someone_silent = votes.len() < self.voter_count;
        if votes.is_empty() || (someone_silent && stake_silent > self.minority) {
            return Fixed32::ZERO;
        }
        lowest_above(votes, stake_silent, self.minority)
    }
}

/// The lowest weight such that `below` plus the stake at or under it exceeds `minority`, or else the highest.
///
/// Halves the votes in each round, so it is linear in their number. `votes` is not empty.
fn lowest_above(mut votes: &mut [Vote], mut below: Fixed32, minority: Fixed32) -> Fixed32 {
    loop {
        let middle = votes.len() / 2;
        let (lower, &mut (weight, stake), upper) = votes.select_nth_unstable_by_key(middle, |vote| vote.0);
        let below_middle = lower.iter().fold(below, |sum, vote| sum.plus(vote.1));
        let to_middle = below_middle.plus(stake);
        if below_middle > minority && !lower.is_empty() {
            votes = lower;
        } else if to_middle > minority || upper.is_empty() {
            return weight;
        } else {
            votes = upper;
            below = to_middle;
        }
    }
}

/// The positive votes, miner after miner.
struct VotesByMiner {
    votes: Vec<Vote>,
    ends: Vec<usize>,
}

impl VotesByMiner {
    fn collect(weights: &Matrix, voters: &[usize], voter_stake: &[Fixed32]) -> Self {
        let miners = weights.row_count();
        let positive = |voter: usize| {
            let (uids, values) = weights.row(voter);
            uids.iter()
                .zip(values)
                .filter(|&(_, &weight)| weight > Fixed32::ZERO)
        };
        let mut next = vec![0_usize; miners];
        for (&uid, _) in voters.iter().flat_map(|&voter| positive(voter)) {
            next[usize::from(uid)] = next[usize::from(uid)].saturating_add(1);
        }
        let mut total = 0_usize;
        for count in &mut next {
            let start = total;
            total = total.saturating_add(*count);
            *count = start;
        }
        let mut votes = vec![Vote::default(); total];
        for (&voter, &stake) in voters.iter().zip(voter_stake) {
            for (&uid, &weight) in positive(voter) {
                let slot = &mut next[usize::from(uid)];
                votes[*slot] = (weight, stake);
                *slot = slot.saturating_add(1);
            }
        }
        Self { votes, ends: next }
    }

    fn votes_for(&mut self, miner: usize) -> &mut [Vote] {
        let start = miner.checked_sub(1).map_or(0, |before| self.ends[before]);
        &mut self.votes[start..self.ends[miner]]
    }
}

/// Step 7. No weight above consensus; what is clipped away to nothing is no cell any more.
pub(super) fn clip(weights: &Matrix, consensus: &[Fixed32]) -> Matrix {
    let mut clipped = Matrix::with_capacity(weights.row_count(), weights.cell_count());
    for row in weights.rows() {
        for (uid, weight) in row {
            let limit = consensus[usize::from(uid)];
            if limit != Fixed32::ZERO || weight == Fixed32::ZERO {
                clipped.push(uid, weight.min(limit));
            }
        }
        clipped.end_row();
    }
    clipped
}

/// Step 7. The share of each row that survived clipping.
pub(super) fn validator_trust(clipped: &Matrix) -> Vec<Fixed32> {
    clipped.row_sums(|_, weight| weight)
}

/// Step 8. Clipped weights weighed by stake, as shares of one.
pub(super) fn incentive(clipped: &Matrix, active_stake: &[Fixed32]) -> Vec<Fixed32> {
    let mut incentive = vec![Fixed32::ZERO; clipped.row_count()];
    for (row, &stake) in clipped.rows().zip(active_stake) {
        for (uid, weight) in row {
            let granted = &mut incentive[usize::from(uid)];
            *granted = granted.plus(stake.times(weight));
        }
    }
    normalize(&mut incentive);
    incentive
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The median written as the text has it: pivots, open bounds and all.
    fn median_by_the_text(votes: &[Vote], total: Fixed32, minority: Fixed32) -> Fixed32 {
        let stake = |set: &[Vote]| set.iter().fold(Fixed32::ZERO, |sum, vote| sum.plus(vote.1));
        let (mut low, mut high, mut set) = (Fixed32::ZERO, total, votes.to_vec());
        loop {
            match set.as_slice() {
                [] => return Fixed32::ZERO,
                [only] => return only.0,
                _ => {}
            }
            let pivot = set[set.len() / 2].0;
            let lower: Vec<Vote> = set.iter().copied().filter(|vote| vote.0 < pivot).collect();
            let upper: Vec<Vote> = set.iter().copied().filter(|vote| vote.0 > pivot).collect();
            if minority < low.plus(stake(&lower)) && !lower.is_empty() {
                high = low.plus(stake(&lower));
                set = lower;
            } else if high.minus(stake(&upper)) <= minority && !upper.is_empty() {
                low = high.minus(stake(&upper));
                set = upper;
            } else {
                return pivot;
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn the_median_is_the_one_of_the_text(
            votes in proptest::collection::vec((0_i64..6, 1_i64..9), 1..12),
            kappa in -3_i64..80,
        ) {
            let votes: Vec<Vote> =
                votes.into_iter().map(|(w, s)| (Fixed32::from_bits(w), Fixed32::from_bits(s))).collect();
            let stake_total = votes.iter().fold(Fixed32::ZERO, |sum, vote| sum.plus(vote.1));
            let minority = stake_total.minus(Fixed32::from_bits(kappa));
            let mut positive: Vec<Vote> = votes.iter().copied().filter(|vote| vote.0 > Fixed32::ZERO).collect();
            let election = Election { voter_count: votes.len(), stake_total, minority };
            proptest::prop_assert_eq!(
                election.median(&mut positive),
                median_by_the_text(&votes, stake_total, minority)
            );
        }
    }
}
