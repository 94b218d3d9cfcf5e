//! Judged answers of one item, set against each other and against an anchor.
//!
//! # Players
//!
//! Who plays is the *distinct answer*, not the UID: however many UIDs gave one answer, it is one player and every
//! one of them gets its strength. A clone therefore adds no voice. All who failed to answer are one player too,
//! of score 0. The anchor is the reference answer, and plays in every item; its rating is known, which pins the
//! scale.
//!
//! # Outcomes
//!
//! A judge's score s in 0..1 is read as one trial of whether the answer is accepted. With Jeffreys' prior (half an
//! acceptance and half a rejection, so that one answer never proves anything beyond doubt) an answer is accepted
//! with probability
//!
//! ```text
//! a = (s + 1/2) / (1 + 2 * 1/2)          1/4 for score 0, 1/2 for score 1/2, 3/4 for score 1
//! ```
//!
//! Between two answers of which exactly one is accepted, i is that one in the share
//!
//! ```text
//! w(i, j) = a_i (1 - a_j) / (a_i (1 - a_j) + a_j (1 - a_i))  =  o_i / (o_i + o_j)      with odds o = a / (1 - a)
//! ```
//!
//! of cases: 1/2 for equal scores, 9/10 for score 1 against score 0, and in between by the margin. This is the
//! classical passage from Rasch's model to Bradley and Terry's (Andrich 1978).
//!
//! # Strengths
//!
//! In the model of Bradley and Terry (1952) answer i beats answer j in the share `t_i / (t_i + t_j)` of decisive
//! cases. Wanted are the strengths t that make all outcomes most likely while the anchor's stays what its rating
//! says.
//!
//! **The fit is exact.** With `t_A` the strength of the anchor's rating and `o_A` the odds of its score,
//!
//! ```text
//! t_i = o_i t_A / o_A
//! ```
//!
//! is the one maximum, for any choice of pairs that links everybody to the anchor and any positive weights of them.
//! *Proof.* These strengths give every pair the share `t_i / (t_i + t_j) = o_i / (o_i + o_j)`, which is the one
//! observed, and a pair's part of the likelihood, `w log p + (1 - w) log (1 - p)`, is largest at `p = w`: every part
//! is at its maximum at once, so the sum is. In the logarithms of the strengths each part is strictly concave along
//! the difference of its pair, and every player is linked to the fixed anchor, so no other point reaches the
//! maximum. ∎ Nothing is iterated, and nothing is rounded but the value, once.
//!
//! # Value of an answer
//!
//! A perfect answer has strength 3 = (3/4) / (1/4), a worthless one 1/3. An answer beats a perfect one with
//! probability `p = t / (t + 3)`, which is 1/2 for a perfect one and 1/10 for a worthless one. Its value is
//!
//! ```text
//! v = (p - 1/10) / (1/2 - 1/10), brought into 0..1 and rounded to parts per million:
//! ```
//!
//! 1 = ties with a perfect reference, 0 = no better than no answer. A score of 1/2 has strength 1 and value 0.375.
//! In whole numbers: `value.rs`.
//!
//! # Properties
//!
//! 1. **Nobody is moved by who else plays.** The value of an answer is a function of its own score and the anchor.
//!    Decoys, clones, a majority, the draw of opponents and the weight of each leave it as it is, to the bit; so
//!    opponents are neither drawn nor weighted here, and leaving an answer out changes nobody else's value. By the
//!    formula of the strengths; `tests/compare_properties.rs` fits over drawn and weighted opponents beside it.
//! 2. **The anchor sets the scale.** A tie with the anchor is worth the anchor's rating (`o_i = o_A` gives
//!    `t_i = t_A`), and a peer's agreement is worth nothing: a majority with one wrong answer is one player, with
//!    the score that the judge gave it.
//! 3. **Better is never worth less.** `o` grows with the score, `t` with `o`, `p` with `t`, and rounding keeps the
//!    order.
//! 4. **It is the same on every machine.** Integers only, and the order of answers makes no difference.
//!
//! # Where they end
//!
//! - Property 1 needs scores that the judge gave each answer by itself. Were pairs judged, and judged in a circle (a
//!   beats b, b beats c, c beats a), no strengths would meet all outcomes, and whoever adds an answer to the circle
//!   moves the others. A judge of pairs needs drawn opponents; none of our tasks has one.
//! - A rate of wins over peers has no such property: among two equal miners each wins half, and with one worthless
//!   decoy beside the first both win (1/2 + 9/10) / 2 = 7/10; the decoy itself gets 1/10, so its operator holds
//!   8/15 of all wins in place of 1/2, and more with each.
//! - It rates answers, not who made them. That one mind gives many of them is for [`crate::rating`]'s voices and for
//!   [`crate::capacity`].
//!
//! # Sources
//!
//! R. A. Bradley, M. E. Terry, *Rank analysis of incomplete block designs I*, Biometrika 39 (1952).
//! D. Andrich, *Relationships between the Thurstone and Rasch approaches to item scaling*, Applied Psychological
//! Measurement 2 (1978). H. Jeffreys, *An invariant form for the prior probability*, Proc. R. Soc. A 186 (1946).

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

mod value;

use thiserror::Error;

/// The score of an answer that the judge found perfect, and the rating of a perfect reference.
pub const PPM: u32 = 1_000_000;

/// The most answers one item may have: one of each UID that a subnet can have.
pub const ANSWERS_MAX: usize = 4096;

/// One miner's answer to the item, after judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedAnswer {
    /// Who was asked.
    pub uid: u16,
    /// Hash of the answer; `None` = no answer came, which is a loss against the anchor whatever the score says.
    pub digest: Option<[u8; 32]>,
    /// The judge's score, parts per million.
    pub score_ppm: u32,
}

/// The reference answer, whose rating is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Hash of the reference answer.
    pub digest: [u8; 32],
    /// What the same judge gave it, parts per million.
    pub score_ppm: u32,
    /// What it is known to be worth, parts per million of a perfect reference.
    pub rating_ppm: u32,
}

impl Anchor {
    /// Takes an answer that is right by construction: full score, full rating.
    #[must_use]
    pub const fn perfect(digest: [u8; 32]) -> Self {
        Self {
            digest,
            score_ppm: PPM,
            rating_ppm: PPM,
        }
    }
}

/// Why the answers of an item cannot be compared.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompareError {
    /// More answers than one item may have.
    #[error("{count} answers to one item are more than {ANSWERS_MAX}")]
    AnswersTooMany {
        /// How many were given.
        count: usize,
    },
    /// Two answers of one UID.
    #[error("uid {uid} answered twice")]
    UidTwice {
        /// Whose.
        uid: u16,
    },
    /// A score above the whole.
    #[error("score of uid {uid} is {score_ppm} ppm, above {PPM}")]
    Score {
        /// Whose.
        uid: u16,
        /// What was given.
        score_ppm: u32,
    },
    /// An anchor whose score or rating is above the whole.
    #[error("anchor has score {score_ppm} and rating {rating_ppm} ppm, above {PPM}")]
    AnchorRange {
        /// What the judge gave.
        score_ppm: u32,
        /// What it is said to be worth.
        rating_ppm: u32,
    },
    /// The judge gave nothing to an answer known to be worth something: it cannot judge this item.
    #[error("judge gave 0 to the anchor, which is rated {rating_ppm} ppm")]
    AnchorFailed {
        /// What it is said to be worth.
        rating_ppm: u32,
    },
}

/// What one miner's answer to the item was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuedAnswer {
    /// Who gave it.
    pub uid: u16,
    /// Hash of the answer; `None` = no answer.
    pub digest: Option<[u8; 32]>,
    /// Parts per million of a perfect one.
    pub value_ppm: u32,
    /// Whether another miner's giving the same answer says something about the two.
    pub is_telling: bool,
}

/// The answers to one item, each with what it is worth beside the others and the anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    answers: Vec<ValuedAnswer>,
}

impl Comparison {
    /// The answers, UIDs ascending.
    #[must_use]
    pub fn answers(&self) -> &[ValuedAnswer] {
        &self.answers
    }
}

/// Sets the answers of one item against each other and against the anchor.
///
/// - **Rounding**: values to the nearest part per million, halves up.
/// - The order of `answers` makes no difference.
///
/// # Errors
///
/// [`CompareError`] when a UID answered twice, a score is above [`PPM`], there are more than [`ANSWERS_MAX`]
/// answers, or the judge failed the anchor; then the item says nothing about anyone.
pub fn compare(answers: &[JudgedAnswer], anchor: &Anchor) -> Result<Comparison, CompareError> {
    check_anchor(anchor)?;
    let mut answers = check_answers(answers)?;
    answers.sort_unstable_by_key(|answer| answer.uid);
    if let Some(pair) = answers.windows(2).find(|pair| pair[0].uid == pair[1].uid) {
        return Err(CompareError::UidTwice { uid: pair[0].uid });
    }
    let valued = |answer: &JudgedAnswer| ValuedAnswer {
        uid: answer.uid,
        digest: answer.digest,
        value_ppm: value::value_ppm(answer.score_ppm, anchor),
        is_telling: is_telling(answer, anchor),
    };
    Ok(Comparison {
        answers: answers.iter().map(valued).collect(),
    })
}

/// That two give the reference answer, or another of full score, says only that both are right.
fn is_telling(answer: &JudgedAnswer, anchor: &Anchor) -> bool {
    answer.digest.is_some_and(|digest| digest != anchor.digest) && answer.score_ppm < PPM
}

fn check_anchor(anchor: &Anchor) -> Result<(), CompareError> {
    let &Anchor {
        score_ppm,
        rating_ppm,
        ..
    } = anchor;
    if score_ppm.max(rating_ppm) > PPM {
        return Err(CompareError::AnchorRange {
            score_ppm,
            rating_ppm,
        });
    }
    if score_ppm == 0 && rating_ppm > 0 {
        return Err(CompareError::AnchorFailed { rating_ppm });
    }
    Ok(())
}

/// The answers, with score 0 for those that did not come.
fn check_answers(answers: &[JudgedAnswer]) -> Result<Vec<JudgedAnswer>, CompareError> {
    if answers.len() > ANSWERS_MAX {
        return Err(CompareError::AnswersTooMany { count: answers.len() });
    }
    if let Some(&JudgedAnswer { uid, score_ppm, .. }) = answers.iter().find(|answer| answer.score_ppm > PPM) {
        return Err(CompareError::Score { uid, score_ppm });
    }
    let mut answers = answers.to_vec();
    for answer in answers.iter_mut().filter(|answer| answer.digest.is_none()) {
        answer.score_ppm = 0;
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(uid: u16, text: u8, score_ppm: u32) -> JudgedAnswer {
        JudgedAnswer {
            uid,
            digest: Some([text; 32]),
            score_ppm,
        }
    }

    const ANCHOR: Anchor = Anchor::perfect([0; 32]);

    #[track_caller]
    fn check_refused(answers: &[JudgedAnswer], anchor: &Anchor, expected: &CompareError) {
        assert_eq!(compare(answers, anchor).as_ref(), Err(expected));
    }

    #[test]
    fn the_same_answer_is_worth_the_same_whoever_and_how_many_give_it() {
        let answers = [
            answer(5, 1, 400_000),
            answer(2, 1, 400_000),
            answer(3, 2, PPM),
            answer(9, 1, 400_000),
        ];
        let comparison = compare(&answers, &ANCHOR).expect("comparable");
        let uids: Vec<u16> = comparison.answers().iter().map(|answer| answer.uid).collect();
        assert_eq!(uids, [2, 3, 5, 9]);
        let alone = compare(&answers[..1], &ANCHOR).expect("comparable").answers()[0];
        for (place, uid) in [(0, 2), (2, 5), (3, 9)] {
            assert_eq!(comparison.answers()[place], ValuedAnswer { uid, ..alone });
        }
    }

    #[test]
    fn no_answer_is_worth_nothing_whatever_the_judge_said() {
        let silent = JudgedAnswer {
            uid: 1,
            digest: None,
            score_ppm: PPM,
        };
        let comparison = compare(&[silent], &ANCHOR).expect("comparable");
        let expected = ValuedAnswer {
            uid: 1,
            digest: None,
            value_ppm: 0,
            is_telling: false,
        };
        assert_eq!(comparison.answers(), [expected]);
    }

    #[test]
    fn only_answers_short_of_perfect_tell_miners_apart() {
        let telling = |text, score_ppm| {
            let comparison = compare(&[answer(1, text, score_ppm)], &ANCHOR).expect("comparable");
            comparison.answers()[0].is_telling
        };
        assert!(telling(1, 0) && telling(1, PPM - 1));
        assert!(!telling(1, PPM) && !telling(0, 0));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_its_figures() {
        let many: Vec<JudgedAnswer> = (0..4097).map(|uid| answer(uid, 1, 0)).collect();
        check_refused(&many, &ANCHOR, &CompareError::AnswersTooMany { count: 4097 });
        check_refused(
            &[answer(1, 1, 0), answer(1, 2, 0)],
            &ANCHOR,
            &CompareError::UidTwice { uid: 1 },
        );
        check_refused(
            &[answer(1, 1, PPM + 1)],
            &ANCHOR,
            &CompareError::Score {
                uid: 1,
                score_ppm: PPM + 1,
            },
        );
        let anchor = Anchor {
            score_ppm: PPM + 1,
            ..ANCHOR
        };
        check_refused(
            &[],
            &anchor,
            &CompareError::AnchorRange {
                score_ppm: PPM + 1,
                rating_ppm: PPM,
            },
        );
        check_refused(
            &[],
            &Anchor {
                score_ppm: 0,
                ..ANCHOR
            },
            &CompareError::AnchorFailed { rating_ppm: PPM },
        );
    }
}
