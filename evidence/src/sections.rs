//! Where each leaf of a tree stands, by the table that the weights' leaf has.
//!
//! ```text
//! slots owed | other answers, by round, item and UID | items, by round and index
//!            | standings: those with a weight, then those without, UIDs ascending | weights
//! ```
//!
//! Whoever has the last leaf knows the place of every other one, and how many there are. So there is one leaf for an
//! item and one for a UID: a second, false one has no place to stand, and a leaf that is not what its place says was
//! not put there by the rules.

use agon_protocol::id::Uid;
use agon_protocol::message::{EvidenceOpening, RoundCount, WeightsLeaf};

use crate::Context;
use crate::answer::Draws;
use crate::slots::TrailPick;

/// The places of a tree's leaves.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    weights: &'a WeightsLeaf,
    leaf_count: u32,
    slot_count: u32,
    rounds_owed: u32,
    miners_per_round: u32,
}

/// Where an item stands, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemPlace {
    /// Place of its leaf.
    pub leaf: u32,
    /// Its round.
    pub round: u32,
    /// Which of the round's items.
    pub item_index: u32,
}

impl<'a> Sections<'a> {
    /// The places of `leaf_count` leaves.
    ///
    /// # Errors
    ///
    /// What is wrong with the weights' leaf, in words, when no tree by the rules can have it.
    pub fn of(
        context: &Context<'_>,
        leaf_count: u32,
        weights: &'a WeightsLeaf,
    ) -> Result<Self, &'static str> {
        check_lists(weights)?;
        let sections = Self {
            weights,
            leaf_count,
            slot_count: context.slot_count(),
            rounds_owed: context.rounds,
            miners_per_round: context.miners_per_round(),
        };
        sections.check_counts()?;
        Ok(sections)
    }

    fn check_counts(&self) -> Result<(), &'static str> {
        if self.weights.rounds.len() > EvidenceOpening::ROUNDS_MAX {
            return Err("it counts more rounds than a tempo has");
        }
        if !(0..)
            .zip(&self.weights.rounds)
            .all(|(round, count)| self.is_possible(round, count))
        {
            return Err("a round has other answers than those of its items");
        }
        let sum = |of: fn(&RoundCount) -> u32| {
            self.weights
                .rounds
                .iter()
                .map(|count| u64::from(of(count)))
                .sum::<u64>()
        };
        let (others, items) = (sum(|count| count.others), sum(|count| count.items));
        let standings = self.standing_count() as u64;
        let counted = u64::from(self.slot_count) + others + items + standings + 1;
        if counted != u64::from(self.leaf_count) {
            return Err("its table does not count the leaves that there are");
        }
        match self.weights.first_item.checked_add(items) {
            Some(_) => Ok(()),
            None => Err("its items have no numbers"),
        }
    }

    /// Whether a round can have left so much: an answer of each drawn miner to each item, of which the first stands in a
    /// slot where the round is owed. A round beyond those owed may be a burst, which has answers and no items.
    fn is_possible(&self, round: u32, count: &RoundCount) -> bool {
        let is_owed = round < self.rounds_owed;
        let beside = u64::from(count.items.saturating_sub(u32::from(is_owed)));
        let others = beside * u64::from(self.miners_per_round);
        u64::from(count.others) == others || (count.items == 0 && !is_owed)
    }

    /// The row, and everything else that the weights' leaf says.
    #[must_use]
    pub const fn weights(&self) -> &'a WeightsLeaf {
        self.weights
    }

    /// How many UIDs have a standing.
    #[must_use]
    pub fn standing_count(&self) -> usize {
        standing_count(self.weights)
    }

    /// The UID of a standing, and the place of its leaf; `None` when there are fewer.
    #[must_use]
    pub fn standing(&self, place: usize) -> Option<(Uid, u32)> {
        let leaf = standing_leaf(self.weights, self.leaf_count, place)?;
        let row = &self.weights.row;
        let uid = match row.get(place) {
            Some((uid, _)) => *uid,
            None => *self.weights.unpaid.get(place - row.len())?,
        };
        Some((uid, leaf))
    }

    /// The standing of the largest weight, of equals the lowest UID; `None` where there are no weights.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        self.weights
            .row
            .iter()
            .position(|(_, weight)| *weight == u16::MAX)
    }

    /// The standing at which the trail of a pick starts: those of even number by weight, the others each UID alike, so
    /// that neither whoever is lifted nor whoever is held down is left out. `None` where nobody has a standing.
    #[must_use]
    pub fn picked(&self, number: usize, pick: &TrailPick) -> Option<usize> {
        let count = u64::try_from(self.standing_count()).ok()?;
        if number % 2 == 1 || self.weights.row.is_empty() {
            return usize::try_from(pick.standing.checked_rem(count)?).ok();
        }
        let whole: u64 = self
            .weights
            .row
            .iter()
            .map(|(_, weight)| u64::from(*weight))
            .sum();
        let mut point = pick.standing.checked_rem(whole)?;
        self.weights.row.iter().position(|(_, weight)| {
            let is_here = point < u64::from(*weight);
            point = point.saturating_sub((*weight).into());
            is_here
        })
    }

    /// Where the item of a number stands; `None` when the tempo has no such item.
    #[must_use]
    pub fn item(&self, number: u64) -> Option<ItemPlace> {
        let mut left = number.checked_sub(self.weights.first_item)?;
        let others: u32 = self.weights.rounds.iter().map(|count| count.others).sum();
        let leaf = (self.slot_count + others).checked_add(u32::try_from(left).ok()?)?;
        for (round, count) in (0..).zip(&self.weights.rounds) {
            if left < u64::from(count.items) {
                let item_index = u32::try_from(left).ok()?;
                return Some(ItemPlace {
                    leaf,
                    round,
                    item_index,
                });
            }
            left -= u64::from(count.items);
        }
        None
    }

    /// Where the answer of `uid` to an item stands; `None` when its round did not draw it.
    #[must_use]
    pub fn answer(&self, draws: &Draws, item: &ItemPlace, uid: Uid) -> Option<u32> {
        let drawn = draws.round(item.round);
        let place = drawn.iter().position(|other| *other == uid)?;
        let is_owed = item.round < self.rounds_owed;
        if is_owed && item.item_index == 0 {
            return Some(item.round * self.miners_per_round + u32::try_from(place).ok()?);
        }
        let rounds = self.weights.rounds.iter().take(item.round as usize);
        let before: u32 = rounds.map(|count| count.others).sum();
        let items = item.item_index - u32::from(is_owed);
        let lower = drawn.iter().filter(|other| **other < uid).count();
        Some(self.slot_count + before + items * self.miners_per_round + u32::try_from(lower).ok()?)
    }

    /// Numbers of the items that `uid` was drawn for, ascending.
    #[must_use]
    pub fn items_of(&self, draws: &Draws, uid: Uid) -> Vec<u64> {
        let (mut number, mut items) = (self.weights.first_item, Vec::new());
        for (round, count) in (0..).zip(&self.weights.rounds) {
            let next = number + u64::from(count.items);
            if draws.round(round).contains(&uid) {
                items.extend(number..next);
            }
            number = next;
        }
        items
    }

    /// Whether anything of a round was compared.
    #[must_use]
    pub fn has_items(&self, round: u32) -> bool {
        let count = self.weights.rounds.get(round as usize);
        count.is_some_and(|count| count.items > 0)
    }
}

fn check_lists(weights: &WeightsLeaf) -> Result<(), &'static str> {
    let WeightsLeaf { row, unpaid, .. } = weights;
    if !row.is_sorted_by(|left, right| left.0 < right.0) || !unpaid.is_sorted_by(|left, right| left < right) {
        return Err("its uids do not ascend");
    }
    if unpaid
        .iter()
        .any(|uid| row.binary_search_by_key(uid, |cell| cell.0).is_ok())
    {
        return Err("it has a uid twice");
    }
    let largest = row.iter().map(|cell| cell.1).max();
    match largest {
        None | Some(u16::MAX) => Ok(()),
        Some(_) => Err("its largest weight is not the largest there is"),
    }
}

/// How many UIDs have a standing beside these weights.
fn standing_count(weights: &WeightsLeaf) -> usize {
    weights.row.len() + weights.unpaid.len()
}

/// The leaf of a standing among `leaf_count`, counted from the last leaf, which the weights are.
fn standing_leaf(weights: &WeightsLeaf, leaf_count: u32, place: usize) -> Option<u32> {
    let after = standing_count(weights)
        .checked_sub(place)
        .filter(|after| *after > 0)?;
    leaf_count.checked_sub(1)?.checked_sub(u32::try_from(after).ok()?)
}

/// The leaf of the standing of `uid` in a tree that ends in these weights; `None` when it has none.
#[must_use]
pub fn standing_of(weights: &WeightsLeaf, leaf_count: u32, uid: Uid) -> Option<u32> {
    let WeightsLeaf { row, unpaid, .. } = weights;
    let paid = row.binary_search_by_key(&uid, |cell| cell.0).ok();
    let place = paid.or_else(|| unpaid.binary_search(&uid).ok().map(|place| row.len() + place))?;
    standing_leaf(weights, leaf_count, place)
}

/// Number of the first item after the tempo of these weights; `None` when it has no number.
#[must_use]
pub fn next_item(weights: &WeightsLeaf) -> Option<u64> {
    let items = weights.rounds.iter().map(|count| u64::from(count.items)).sum();
    weights.first_item.checked_add(items)
}
