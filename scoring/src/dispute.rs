//! What happens when one validator accuses a miner and the miner denies it: two other validators measure again.
//!
//! An accusation is that the audits of some answers together show another model than the pinned one
//! ([`Limits::conviction`]). What was answered is in the evidence, signed by the miner, so anyone who has the model
//! can measure the same answers. Three votes decide: the accuser's, and those of two validators that a draw chose.
//! Machines differ, and so do the numbers that they measure; each vote goes by the same calibrated limits, which
//! allow for that, and the numbers themselves are not compared.
//!
//! The majority wins and the other side pays: the accuser for a dismissed accusation, the miner for an upheld one.
//! What is paid, and by which transaction, is the ledger's.
//!
//! # How far this goes
//!
//! The draw's output must not be known when the accusation is made, or an accuser would wait for friendly judges. With
//! a share `q` of all validators in league with the accuser, one of the two judges is with probability
//! `1 - (1 - q)^2`: one friend is enough to convict. In league with the miner, both have to be: `q^2`.

use crate::draw::{Candidate, Draw};
use crate::verify::{Limits, Tally};

/// Validators that measure again.
pub const JUDGES: usize = 2;

const CONTEXT_JUDGES: &str = "agon.scoring.draw.v1 judges";

/// How a dispute ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A judge agrees with the accuser: the miner pays.
    Upheld,
    /// No judge does: the accuser pays.
    Dismissed,
    /// A judge did not answer, and without it there is no majority: nobody pays, and other judges may be drawn.
    Open,
}

/// Draws the validators that measure again, in ascending order, from all but the accuser; `None` when there are too
/// few. Every pair is equally likely, and a validator that is also the accused is no judge.
#[must_use]
pub fn judges(
    vrf_output: &[u8; 32],
    validators: &[u16],
    accuser: u16,
    accused: u16,
) -> Option<[u16; JUDGES]> {
    let others: Vec<Candidate> = validators
        .iter()
        .filter(|uid| **uid != accuser && **uid != accused)
        .map(|&uid| Candidate {
            uid,
            last_asked_round: None,
        })
        .collect();
    let draw = Draw::new(blake3::derive_key(CONTEXT_JUDGES, vrf_output));
    let mut drawn: [u16; JUDGES] = draw.uids(&others, JUDGES).try_into().ok()?;
    drawn.sort_unstable();
    Some(drawn)
}

/// Decides by what each judge measured of the answers in question; `None` is a judge that did not answer in time.
#[must_use]
pub fn verdict(limits: &Limits, measured: &[Option<Vec<Tally>>; JUDGES]) -> Verdict {
    let convicts = |tallies: &Vec<Tally>| limits.conviction(tallies).is_some();
    let votes: Vec<bool> = measured.iter().flatten().map(convicts).collect();
    if votes.contains(&true) {
        Verdict::Upheld
    } else if votes.len() == JUDGES {
        Verdict::Dismissed
    } else {
        Verdict::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Limit;

    fn limits() -> Limits {
        Limits {
            margin: Limit::measured(0.25, &[vec![0.0; 1_000]]),
            code: Limit::measured(0.1, &[vec![0.01; 1_000]]),
        }
    }

    /// What a judge measures: `margin` at each of 64 tokens of two answers.
    fn rerun(margin: f32) -> Option<Vec<Tally>> {
        Some(vec![limits().tally(&[margin; 64], &[]); 2])
    }

    #[track_caller]
    fn check(measured: [Option<Vec<Tally>>; JUDGES], expected: Verdict) {
        assert_eq!(verdict(&limits(), &measured), expected);
    }

    #[test]
    fn the_majority_of_accuser_and_judges_decides() {
        check([rerun(0.0), rerun(0.0)], Verdict::Dismissed);
        check([rerun(0.2), rerun(0.0)], Verdict::Upheld);
        check([rerun(0.2), rerun(0.2)], Verdict::Upheld);
    }

    #[test]
    fn a_judge_that_is_silent_leaves_it_open_unless_the_other_agrees_with_the_accuser() {
        check([None, rerun(0.0)], Verdict::Open);
        check([None, None], Verdict::Open);
        check([rerun(0.2), None], Verdict::Upheld);
    }

    #[test]
    fn judges_are_two_others_and_neither_the_accuser_nor_the_accused() {
        let mut drawn_count = [0_u32; 7];
        for output in 0..2_000_u32 {
            let mut vrf_output = [0; 32];
            vrf_output[..4].copy_from_slice(&output.to_le_bytes());
            let drawn = judges(&vrf_output, &[0, 1, 2, 3, 4, 5, 6], 2, 5).unwrap();
            assert!(drawn[0] < drawn[1]);
            for uid in drawn {
                drawn_count[usize::from(uid)] += 1;
            }
        }
        assert_eq!((drawn_count[2], drawn_count[5]), (0, 0));
        // 800 expected; the standard deviation is 22.
        for uid in [0, 1, 3, 4, 6] {
            assert!((690..910).contains(&drawn_count[uid]), "{drawn_count:?}");
        }
    }

    #[test]
    fn with_fewer_than_two_others_there_is_no_dispute() {
        assert_eq!(judges(&[1; 32], &[0, 1], 0, 9), None);
        assert_eq!(judges(&[1; 32], &[0, 1, 2], 0, 2), None);
        assert_eq!(judges(&[1; 32], &[2, 0, 1], 0, 9), Some([1, 2]));
    }
}
