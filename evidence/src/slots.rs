//! What a validator owes in a tempo: which miners in which round, and which of it is asked for.
//!
//! A round draws its miners from the tempo's roster. Those that no earlier round of the tempo drew come first, then
//! those whose last round is longest ago; [`Draw::uids`] orders the rest. So the draws of all rounds before are
//! needed to know one, and nothing else.
//!
//! Slot k is place `k mod m` of round `k / m`, where m miners are owed in each round. It is leaf k of the tree.

use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::EvidenceOpening;
use agon_scoring::draw::{Candidate, Draw};

use crate::Context;

const CONTEXT_PICKS: &str = "agon.evidence.v1 picks";
const CONTEXT_TRAILS: &str = "agon.evidence.v1 trails";

/// Trails that are picked of each validator's evidence: a cabal that forges what a fifth of the weight rests on is
/// found by them alone in more than half of the tempos, and they take less room in an opening than its slots.
pub const TRAILS: usize = EvidenceOpening::TRAILS_MAX;

/// What is asked for of a validator's evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picks {
    /// The slots, ascending.
    pub slots: Vec<u32>,
    /// Where the trails start.
    pub trails: Vec<TrailPick>,
}

impl Picks {
    /// What the beacon of the tempo after picks of the evidence under `root`: `openings` slots, and the trails.
    #[must_use]
    pub fn of(context: &Context<'_>, beacon: Digest, root: Digest, openings: u32) -> Self {
        Self {
            slots: picks(beacon, root, context.slot_count(), openings),
            trails: trails(beacon, root),
        }
    }
}

/// Two random numbers that lead a trail from the weights to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailPick {
    /// Picks the standing.
    pub standing: u64,
    /// Picks one of the tempo's answers in its window.
    pub answer: u64,
}

/// Where the trails start. The remainders that are taken of these numbers are all equally likely, but for less than
/// one part in 2^40.
#[must_use]
pub fn trails(beacon: Digest, root: Digest) -> Vec<TrailPick> {
    let key = blake3::derive_key(CONTEXT_TRAILS, &[beacon.0, root.0].concat());
    let mut numbers = blake3::Hasher::new_keyed(&key).finalize_xof();
    let mut number = || {
        let mut bytes = [0; 8];
        numbers.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    let pick = |_| TrailPick {
        standing: number(),
        answer: number(),
    };
    (0..TRAILS).map(pick).collect()
}

/// The miners of each round, in the order drawn: `count` of `candidates` for each VRF output, all of them when there
/// are no more.
#[must_use]
pub fn schedule(candidates: &[Uid], outputs: &[[u8; 32]], count: usize) -> Vec<Vec<Uid>> {
    let never_asked = |uid: &Uid| Candidate {
        uid: uid.0,
        last_asked_round: None,
    };
    let mut asked: Vec<Candidate> = candidates.iter().map(never_asked).collect();
    let mut rounds = Vec::with_capacity(outputs.len());
    for (round, output) in (0u64..).zip(outputs) {
        let drawn = Draw::new(*output).uids(&asked, count);
        for candidate in asked
            .iter_mut()
            .filter(|candidate| drawn.contains(&candidate.uid))
        {
            candidate.last_asked_round = Some(round);
        }
        rounds.push(drawn.into_iter().map(Uid).collect());
    }
    rounds
}

/// The slots that are asked for, ascending: `count` different ones of `slot_count`, all of them when there are no
/// more. Each is equally likely; the beacon, which nobody knew when `root` was committed, decides.
#[must_use]
pub fn picks(beacon: Digest, root: Digest, slot_count: u32, count: u32) -> Vec<u32> {
    let key = blake3::derive_key(CONTEXT_PICKS, &[beacon.0, root.0].concat());
    let slot = |slot: u16| Candidate {
        uid: slot,
        last_asked_round: None,
    };
    let last = u16::try_from(slot_count).unwrap_or(u16::MAX);
    let slots: Vec<Candidate> = (0..last).map(slot).collect();
    let drawn = Draw::new(key).uids(&slots, count as usize);
    let mut picks: Vec<u32> = drawn.into_iter().map(u32::from).collect();
    picks.sort_unstable();
    picks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uids(range: std::ops::Range<u16>) -> Vec<Uid> {
        range.map(Uid).collect()
    }

    #[test]
    fn nobody_is_asked_again_before_everybody_was_asked_once() {
        let outputs: Vec<[u8; 32]> = (0..6).map(|round| [round; 32]).collect();
        let rounds = schedule(&uids(0..9), &outputs, 3);
        for cycle in rounds.chunks(3) {
            let mut asked: Vec<Uid> = cycle.concat();
            asked.sort_unstable();
            assert_eq!(asked, uids(0..9));
        }
    }

    #[test]
    fn a_round_depends_on_the_rounds_before_it_and_on_none_after() {
        let outputs = [[1; 32], [2; 32], [3; 32]];
        let all = schedule(&uids(0..20), &outputs, 7);
        assert_eq!(schedule(&uids(0..20), &outputs[..2], 7), all[..2]);
        let others = schedule(&uids(0..20), &[[9; 32], [2; 32]], 7);
        assert_ne!(others[1], all[1]);
    }

    #[test]
    fn more_miners_than_there_are_is_all_of_them() {
        assert_eq!(schedule(&uids(0..2), &[[1; 32]], 5)[0].len(), 2);
        assert_eq!(schedule(&[], &[[1; 32]], 5), [Vec::new()]);
    }

    #[test]
    fn picks_are_different_slots_and_differ_by_beacon_and_root() {
        let picked = picks(Digest([1; 32]), Digest([2; 32]), 256, 16);
        assert!(picked.is_sorted_by(|left, right| left < right) && picked.len() == 16);
        assert!(picked.iter().all(|slot| *slot < 256));
        assert_ne!(picked, picks(Digest([3; 32]), Digest([2; 32]), 256, 16));
        assert_ne!(picked, picks(Digest([1; 32]), Digest([3; 32]), 256, 16));
        assert_eq!(picks(Digest([1; 32]), Digest([2; 32]), 3, 16), [0, 1, 2]);
    }

    #[test]
    fn trails_differ_from_each_other_and_by_beacon_and_root() {
        let picked = trails(Digest([1; 32]), Digest([2; 32]));
        assert_eq!(picked.len(), TRAILS);
        let numbers = picked.iter().flat_map(|pick| [pick.standing, pick.answer]);
        assert_eq!(
            numbers.collect::<std::collections::BTreeSet<_>>().len(),
            2 * TRAILS
        );
        assert_ne!(picked, trails(Digest([3; 32]), Digest([2; 32])));
        assert_ne!(picked, trails(Digest([1; 32]), Digest([3; 32])));
    }
}
