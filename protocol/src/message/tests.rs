//! Tests of signing, limits and round trips of the messages.

use super::*;
use crate::id::{BlockNumber, Digest};

fn vote(seed: u8, round: u32) -> Signed<Vote> {
    let pair = Keypair::from_mini_secret(&[seed; 32]);
    let vote = Vote {
        genesis: Digest([1; 32]),
        height: BlockNumber(7),
        round,
        kind: VoteKind::Prevote,
        block: None,
        voter: pair.consensus_key(),
    };
    Signed::sign(vote, &pair)
}

/// As it comes from outside, with `signature` over it.
fn received(vote: &Signed<Vote>, signature: Signature) -> Signed<Vote> {
    Signed::from_parts(vote.bytes().to_vec(), signature).unwrap()
}

#[test]
fn signatures_that_are_checked_together_hold_as_each_alone() {
    let votes: Vec<Signed<Vote>> = (0..200).map(|round| vote((round % 7) as u8, round)).collect();
    let fresh: Vec<_> = votes.iter().map(|it| received(it, *it.signature())).collect();
    Signed::check_signatures(&fresh);
    assert!(fresh.iter().all(|it| it.holds.load(Ordering::Acquire)));
    assert_eq!(fresh, votes);
}

#[test]
fn a_copy_learns_that_a_signature_holds_only_from_the_very_same_message() {
    let known = vote(3, 1);
    known.check_signature().unwrap();
    let learned = |copy: Signed<Vote>| {
        copy.learn_from(&known);
        copy.holds.load(Ordering::Acquire)
    };
    assert!(learned(received(&known, *known.signature())));
    assert!(!learned(received(&known, *vote(3, 2).signature())));
    assert!(!learned(received(&vote(3, 2), *known.signature())));
    let unchecked = received(&known, *known.signature());
    unchecked.learn_from(&received(&known, *known.signature()));
    assert!(!unchecked.holds.load(Ordering::Acquire));
}

#[test]
fn one_bad_signature_among_many_is_found() {
    let votes: Vec<Signed<Vote>> = (0..100).map(|round| vote(3, round)).collect();
    let mut mixed: Vec<_> = votes.iter().map(|it| received(it, *it.signature())).collect();
    mixed[41] = received(&votes[41], *votes[42].signature());
    Signed::check_signatures(&mixed);
    let bad: Vec<usize> = (0..mixed.len())
        .filter(|index| mixed[*index].check_signature().is_err())
        .collect();
    assert_eq!(bad, [41]);
    // Nor does it hold later, or in a clone.
    assert!(mixed[41].clone().check_signature().is_err());
}
