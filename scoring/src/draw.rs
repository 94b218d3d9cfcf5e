//! The draw of a round: whom to ask, which items, with which sampling seeds.
//!
//! A validator's VRF output decides everything, so that nobody can predict or retry a draw and whoever has the
//! proof can repeat it. This module does not check proofs.
//!
//! # Streams
//!
//! Each purpose has a generator of its own: ChaCha20 (`rand_chacha` 0.3, RFC 8439 rounds, 64-bit stream number)
//! whose key is `blake3::derive_key(context, vrf_output)`. Learning one stream tells nothing about another.
//!
//! | purpose | context | stream number | read |
//! | --- | --- | --- | --- |
//! | UIDs | `agon.scoring.draw.v1 uids` | 0 | `u64` after `u64` |
//! | item seed | `agon.scoring.draw.v1 item` | index of the item | first 32 bytes |
//! | sampling seed | `agon.scoring.draw.v1 sampling` | `uid << 32 + index` of the item | first `u64`, little-endian |
//! | burst | `agon.scoring.draw.v1 burst` | 0 | `u64` after `u64`, a number below [`BURST_ONE_IN`]: 0 is a burst |
//!
//! # Order of UIDs
//!
//! Candidates are put in ascending order, shuffled (Fisher-Yates from the last place down; a number below n is
//! `x mod n` of the first `x` that is at least `2^64 mod n`, so every number is equally likely), then sorted by the
//! round in which they were last asked, those never asked first. The shuffle stands where rounds are equal. The
//! first `count` are drawn, each once. In what order the caller lists candidates makes no difference.
//!
//! Bytes are pinned by `tests/golden/data/draw`.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

const CONTEXT_UIDS: &str = "agon.scoring.draw.v1 uids";
const CONTEXT_ITEM: &str = "agon.scoring.draw.v1 item";
const CONTEXT_SAMPLING: &str = "agon.scoring.draw.v1 sampling";

const CONTEXT_BURST: &str = "agon.scoring.draw.v1 burst";
const CONTEXT_AUDIT: &str = "agon.scoring.draw.v1 audit";
const CONTEXT_WINDOW: &str = "agon.scoring.draw.v1 window";

/// One round in so many is a burst ([`crate::capacity`]), so that what a machine does at once is measured while most
/// rounds stay small.
pub const BURST_ONE_IN: usize = 8;

/// A UID that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The slot of the miner.
    pub uid: u16,
    /// The round in which this validator last asked it; `None` = never since it took the slot.
    pub last_asked_round: Option<u64>,
}

/// Everything that one VRF output decides.
#[derive(Clone, Debug)]
pub struct Draw {
    vrf_output: [u8; 32],
}

impl Draw {
    /// Starts from the output of the round's VRF.
    #[must_use]
    pub const fn new(vrf_output: [u8; 32]) -> Self {
        Self { vrf_output }
    }

    /// Draws `count` UIDs without replacement, long-unasked first; all of them when there are no more.
    ///
    /// A UID listed twice is drawn at most once, with its lowest `last_asked_round`.
    #[must_use]
    pub fn uids(&self, candidates: &[Candidate], count: usize) -> Vec<u16> {
        let mut order = candidates.to_vec();
        order.sort_unstable();
        order.dedup_by_key(|candidate| candidate.uid);
        shuffle(&mut order, &mut self.generator(CONTEXT_UIDS, 0));
        order.sort_by_key(|candidate| candidate.last_asked_round);
        order
            .into_iter()
            .map(|candidate| candidate.uid)
            .take(count)
            .collect()
    }

    /// Gives the seed from which the task makes item `index` of the round.
    #[must_use]
    pub fn item_seed(&self, index: u32) -> [u8; 32] {
        let mut seed = [0; 32];
        self.generator(CONTEXT_ITEM, u64::from(index))
            .fill_bytes(&mut seed);
        seed
    }

    /// Gives the seed with which `uid` samples its answer to item `index`; no two miners share one.
    #[must_use]
    pub fn sampling_seed(&self, uid: u16, index: u32) -> u64 {
        let stream = u64::from(uid) << 32 | u64::from(index);
        self.generator(CONTEXT_SAMPLING, stream).next_u64()
    }

    /// Whether the round is a burst, where the task is about capacity: nobody knows before it is asked.
    #[must_use]
    pub fn is_burst(&self) -> bool {
        below(BURST_ONE_IN, &mut self.generator(CONTEXT_BURST, 0)) == 0
    }

    fn generator(&self, context: &str, stream: u64) -> ChaCha20Rng {
        generator(&self.vrf_output, context, stream)
    }
}

fn generator(vrf_output: &[u8; 32], context: &str, stream: u64) -> ChaCha20Rng {
    let mut generator = ChaCha20Rng::from_seed(blake3::derive_key(context, vrf_output));
    generator.set_stream(stream);
    generator
}

/// What the draw of a round's audits decides, from a VRF output of its own.
#[derive(Clone, Debug)]
pub struct AuditDraw {
    vrf_output: [u8; 32],
}

impl AuditDraw {
    /// Starts from the output of the VRF.
    #[must_use]
    pub const fn new(vrf_output: [u8; 32]) -> Self {
        Self { vrf_output }
    }

    /// A number below a million for the answer of `uid` to item `index`: it is audited when the number is below the
    /// share of audits in parts per million.
    #[must_use]
    pub fn ppm(&self, uid: u16, index: u32) -> u32 {
        let ppm = below(1_000_000, &mut self.generator(CONTEXT_AUDIT, uid, index));
        u32::try_from(ppm).expect("below a million")
    }

    /// A number below `bound` for that answer; `None` when `bound` is 0.
    #[must_use]
    pub fn below(&self, uid: u16, index: u32, bound: u32) -> Option<u32> {
        let bound = usize::try_from(bound).ok().filter(|bound| *bound > 0)?;
        let number = below(bound, &mut self.generator(CONTEXT_WINDOW, uid, index));
        u32::try_from(number).ok()
    }

    fn generator(&self, context: &str, uid: u16, index: u32) -> ChaCha20Rng {
        generator(&self.vrf_output, context, u64::from(uid) << 32 | u64::from(index))
    }
}

/// Puts `items` in an order of which all are equally likely (Fisher-Yates; Durstenfeld 1964).
fn shuffle<T>(items: &mut [T], random: &mut impl RngCore) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, random));
    }
}

/// A number below `bound`, each equally likely. `bound` is positive.
fn below(bound: usize, random: &mut impl RngCore) -> usize {
    let bound = bound as u64;
    let rejected_below = bound.wrapping_neg() % bound;
    loop {
        let number = random.next_u64();
        if number >= rejected_below {
            return usize::try_from(number % bound).expect("bound came from a usize");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never_asked(uids: impl IntoIterator<Item = u16>) -> Vec<Candidate> {
        uids.into_iter()
            .map(|uid| Candidate {
                uid,
                last_asked_round: None,
            })
            .collect()
    }

    /// `(uid, last asked round)`; 0 stands for never.
    #[track_caller]
    fn check(candidates: &[(u16, u64)], count: usize, always_drawn: &[u16], drawn_len: usize) {
        let candidates: Vec<Candidate> = candidates
            .iter()
            .map(|&(uid, round)| Candidate {
                uid,
                last_asked_round: (round > 0).then_some(round),
            })
            .collect();
        for output in 0..50 {
            let drawn = Draw::new([output; 32]).uids(&candidates, count);
            assert_eq!(drawn.len(), drawn_len);
            assert!(always_drawn.iter().all(|uid| drawn.contains(uid)), "{drawn:?}");
        }
    }

    #[test]
    fn those_unasked_for_longest_are_drawn_first() {
        check(&[(1, 9), (2, 3), (3, 7), (4, 0)], 2, &[4, 2], 2);
        check(&[(1, 9), (2, 3), (3, 7), (4, 3)], 3, &[2, 4, 3], 3);
    }

    #[test]
    fn nobody_is_drawn_twice_and_no_more_than_there_are() {
        check(&[(1, 0), (2, 0)], 5, &[1, 2], 2);
        check(&[(7, 0), (7, 4), (7, 2)], 3, &[7], 1);
        check(&[], 3, &[], 0);
        check(&[(1, 0)], 0, &[], 0);
    }

    #[test]
    fn the_order_of_candidates_makes_no_difference() {
        let draw = Draw::new([7; 32]);
        assert_eq!(
            draw.uids(&never_asked(0..40), 10),
            draw.uids(&never_asked((0..40).rev()), 10)
        );
    }

    #[test]
    fn every_candidate_is_as_likely_as_every_other() {
        let mut drawn_count = [0_u32; 8];
        for output in 0..4000_u32 {
            let mut vrf_output = [0; 32];
            vrf_output[..4].copy_from_slice(&output.to_le_bytes());
            for uid in Draw::new(vrf_output).uids(&never_asked(0..8), 2) {
                drawn_count[usize::from(uid)] += 1;
            }
        }
        // 1000 expected; the standard deviation is 27.
        assert!(
            drawn_count.iter().all(|count| (860..1140).contains(count)),
            "{drawn_count:?}"
        );
    }

    #[test]
    fn small_bounds_reject_what_would_favour_small_numbers() {
        struct Numbers(Vec<u64>);
        impl RngCore for Numbers {
            fn next_u64(&mut self) -> u64 {
                self.0.remove(0)
            }
            fn next_u32(&mut self) -> u32 {
                0
            }
            fn fill_bytes(&mut self, _: &mut [u8]) {}
            fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), rand_core::Error> {
                Ok(())
            }
        }
        // 2^64 mod 3 is 1, so 0 is rejected and 1 is the first number that counts.
        assert_eq!(below(3, &mut Numbers(vec![0, 1])), 1);
        assert_eq!(below(1, &mut Numbers(vec![0])), 0);
    }

    #[test]
    fn one_round_in_eight_is_a_burst() {
        let bursts = (0..4000_u32).filter(|output| {
            let mut vrf_output = [0; 32];
            vrf_output[..4].copy_from_slice(&output.to_le_bytes());
            Draw::new(vrf_output).is_burst()
        });
        // 500 expected; the standard deviation is 21.
        assert!((395..605).contains(&bursts.count()));
    }

    #[test]
    fn seeds_differ_by_uid_item_and_round() {
        let (draw, other) = (Draw::new([1; 32]), Draw::new([2; 32]));
        assert_ne!(draw.item_seed(0), draw.item_seed(1));
        assert_ne!(draw.item_seed(0), other.item_seed(0));
        assert_ne!(draw.sampling_seed(0, 1), draw.sampling_seed(1, 0));
        assert_ne!(draw.sampling_seed(0, 0), other.sampling_seed(0, 0));
    }
}
