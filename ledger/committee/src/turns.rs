//! Whose turn it is to propose.
//!
//! Turns go around so that each member has as many as its power is worth, spread evenly, and every member has some.
//! Members of equal power take turns one after the other. The order depends on the committee alone.

use agon_protocol::id::{BlockNumber, ConsensusKey};
use agon_protocol::message::Committee;

/// Turns of an average member before the order repeats: how finely power is told apart.
const TURNS_PER_MEMBER: u64 = 4;

/// The order of proposers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turns(Vec<ConsensusKey>);

impl Turns {
    /// The order for a committee.
    ///
    /// In each step every member gains its weight, the one that has most takes the turn and pays for all.
    pub(crate) fn of(committee: &Committee) -> Self {
        let power = committee.power().max(1);
        let turns = TURNS_PER_MEMBER * committee.members().len() as u64;
        let mut members: Vec<(ConsensusKey, i128, i128)> = committee
            .members()
            .iter()
            .map(|member| {
                let weight = u128::from(member.power) * u128::from(turns) / u128::from(power);
                (
                    member.consensus_key,
                    i128::try_from(weight.max(1)).unwrap_or(1),
                    0,
                )
            })
            .collect();
        let total: i128 = members.iter().map(|(_, weight, _)| weight).sum();
        let mut order = Vec::new();
        for _ in 0..total {
            for (_, weight, credit) in &mut members {
                *credit += *weight;
            }
            // The first of those with most, so that equals go in the order of their keys.
            let next = members.iter_mut().rev().max_by_key(|(_, _, credit)| *credit);
            if let Some((key, _, credit)) = next {
                *credit -= total;
                order.push(*key);
            }
        }
        Self(order)
    }

    /// Who proposes in a round; `None` without members.
    pub(crate) fn proposer(&self, height: BlockNumber, round: u32) -> Option<ConsensusKey> {
        let count = u64::try_from(self.0.len()).ok().filter(|count| *count > 0)?;
        let turn = (height.0 % count + u64::from(round) % count) % count;
        self.0.get(usize::try_from(turn).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::Hotkey;
    use agon_protocol::message::Member;

    use super::*;

    fn turns(powers: &[u64]) -> Vec<u8> {
        let members = powers.iter().zip(0..).map(|(power, id)| Member {
            consensus_key: ConsensusKey([id; 32]),
            hotkey: Hotkey([id; 32]),
            power: *power,
        });
        let turns = Turns::of(&Committee::new(members.collect()).unwrap());
        turns.0.iter().map(|key| key.0[0]).collect()
    }

    #[test]
    fn equal_members_take_turns_one_after_the_other() {
        assert_eq!(turns(&[5, 5, 5])[..6], [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn turns_follow_power_and_nobody_has_none() {
        let order = turns(&[2, 1, 1]);
        let count = |id| order.iter().filter(|turn| **turn == id).count();
        assert_eq!((count(0), count(1), count(2)), (6, 3, 3));
        assert!(order.windows(3).all(|three| three != [0, 0, 0]), "{order:?}");
        let order = turns(&[1_000_000, 1_000_000, 1]);
        assert!(order.contains(&2));
    }

    #[test]
    fn every_round_of_a_height_has_the_next_in_turn() {
        let members = (0..4).map(|id| Member {
            consensus_key: ConsensusKey([id; 32]),
            hotkey: Hotkey([id; 32]),
            power: 1,
        });
        let turns = Turns::of(&Committee::new(members.collect()).unwrap());
        let of = |height, round| turns.proposer(BlockNumber(height), round).unwrap().0[0];
        assert_eq!((0..4).map(|round| of(6, round)).collect::<Vec<_>>(), [2, 3, 0, 1]);
        assert_eq!(
            of(u64::MAX, u32::MAX),
            (u64::MAX % 4 + u64::from(u32::MAX) % 4) as u8 % 4
        );
        assert_eq!(Turns(Vec::new()).proposer(BlockNumber(1), 0), None);
    }
}
