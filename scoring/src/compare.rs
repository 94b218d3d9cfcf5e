//! Judged answers of one item, set against each other and against an anchor.
//!
//! # Players
//!
//! Who plays is the *distinct answer*, not the UID: however many UIDs gave one answer, it is one player and every
//! one of them gets its strength. A clone therefore adds no voice. All who failed to answer are one player too,
//! of score 0. The anchor is the reference answer; its rating is known, which pins the scale.
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
//! w(i, j) = a_i (1 - a_j) / (a_i (1 - a_j) + a_j (1 - a_i))
//! ```
//!
//! of cases: 1/2 for equal scores, 9/10 for score 1 against score 0, and in between by the margin. This is the
//! classical passage from Rasch's model to Bradley and Terry's (Andrich 1978). It has the property that a fit needs
//! against decoys: the shares of all pairs are those of the strengths a / (1 - a), whoever else plays, so adding
//! answers, weak ones included, moves nobody's strength.
//!
//! # Weights
//!
//! Each answer meets the anchor with weight 1 and its peers with weight 1 between them all, so that the anchor
//! counts as much as a crowd does. A majority that agrees on a wrong answer gains nothing by being many.
//!
//! # Sources
//!
//! R. A. Bradley, M. E. Terry, *Rank analysis of incomplete block designs I*, Biometrika 39 (1952).
//! D. Andrich, *Relationships between the Thurstone and Rasch approaches to item scaling*, Applied Psychological
//! Measurement 2 (1978). H. Jeffreys, *An invariant form for the prior probability*, Proc. R. Soc. A 186 (1946).

use std::collections::BTreeMap;

use thiserror::Error;

/// The score of an answer that the judge found perfect, and the rating of a perfect reference.
pub const PPM: u32 = 1_000_000;

/// The most answers one item may have: half a million pairs, 13 MB and a few milliseconds.
pub const ANSWERS_MAX: usize = 1024;

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

/// A distinct answer to the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Player {
    /// Hash of the answer; `None` = no answer.
    pub digest: Option<[u8; 32]>,
    /// The judge's score, parts per million.
    pub score_ppm: u32,
}

/// How two players fared against each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Index of a player.
    pub(crate) first: usize,
    /// Index of the other; the anchor's is the number of players.
    pub(crate) second: usize,
    /// Share of decisive cases that went to the first, above 0 and below 1.
    pub(crate) share: f64,
    /// How much this pair counts, above 0.
    pub(crate) weight: f64,
}

/// All pairs of distinct answers to one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    anchor: Anchor,
    players: Vec<Player>,
    /// UIDs ascending, each with the index of its player.
    player_of_uid: Vec<(u16, usize)>,
    outcomes: Vec<Outcome>,
}

impl Comparison {
    /// The anchor.
    #[must_use]
    pub const fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The distinct answers, in ascending order.
    #[must_use]
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// The UIDs that were asked, ascending, each with the index of its answer in [`Comparison::players`].
    #[must_use]
    pub fn player_of_uid(&self) -> &[(u16, usize)] {
        &self.player_of_uid
    }

    /// The outcomes of all pairs.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// Whether two miners giving this answer says something about them.
    ///
    /// That two give the reference answer, or another of full score, says only that both are right.
    #[must_use]
    pub fn is_telling(&self, player: &Player) -> bool {
        player.digest.is_some_and(|digest| digest != self.anchor.digest) && player.score_ppm < PPM
    }
}

/// Sets the answers of one item against each other and against the anchor.
///
/// The order of `answers` makes no difference.
///
/// # Errors
///
/// [`CompareError`] when a UID answered twice, a score is above [`PPM`], there are more than [`ANSWERS_MAX`]
/// answers, or the judge failed the anchor; then the item says nothing about anyone.
pub fn compare(answers: &[JudgedAnswer], anchor: &Anchor) -> Result<Comparison, CompareError> {
    check_anchor(anchor)?;
    let by_uid = check_answers(answers)?;
    let mut players: Vec<Player> = by_uid.values().copied().collect();
    players.sort_unstable();
    players.dedup();
    let player_of_uid = by_uid
        .iter()
        .map(|(&uid, player)| {
            (
                uid,
                players
                    .binary_search(player)
                    .expect("every answer became a player"),
            )
        })
        .collect();
    let outcomes = outcomes(&players, anchor);
    Ok(Comparison {
        anchor: *anchor,
        players,
        player_of_uid,
        outcomes,
    })
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

fn check_answers(answers: &[JudgedAnswer]) -> Result<BTreeMap<u16, Player>, CompareError> {
    if answers.len() > ANSWERS_MAX {
        return Err(CompareError::AnswersTooMany { count: answers.len() });
    }
    let mut by_uid = BTreeMap::new();
    for &JudgedAnswer {
        uid,
        digest,
        score_ppm,
    } in answers
    {
        if score_ppm > PPM {
            return Err(CompareError::Score { uid, score_ppm });
        }
        let score_ppm = if digest.is_some() { score_ppm } else { 0 };
        if by_uid.insert(uid, Player { digest, score_ppm }).is_some() {
            return Err(CompareError::UidTwice { uid });
        }
    }
    Ok(by_uid)
}

fn outcomes(players: &[Player], anchor: &Anchor) -> Vec<Outcome> {
    let peer_count = players.len().saturating_sub(1);
    let peer_weight = 1.0 / peer_count.max(1) as f64;
    let mut outcomes = Vec::with_capacity(players.len() * (peer_count + 2) / 2);
    for (first, player) in players.iter().enumerate() {
        for (second, peer) in players.iter().enumerate().skip(first + 1) {
            let share = share(player.score_ppm, peer.score_ppm);
            outcomes.push(Outcome {
                first,
                second,
                share,
                weight: peer_weight,
            });
        }
        let share = share(player.score_ppm, anchor.score_ppm);
        outcomes.push(Outcome {
            first,
            second: players.len(),
            share,
            weight: 1.0,
        });
    }
    outcomes
}

/// Share of decisive cases in which an answer of score `own_ppm` beats one of score `other_ppm`.
fn share(own_ppm: u32, other_ppm: u32) -> f64 {
    let (own, other) = (acceptance(own_ppm), acceptance(other_ppm));
    let (win, loss) = (own * (1.0 - other), other * (1.0 - own));
    win / (win + loss)
}

/// Probability that an answer of this score is accepted, after one trial and Jeffreys' prior: 1/4 to 3/4.
pub(crate) fn acceptance(score_ppm: u32) -> f64 {
    (f64::from(score_ppm) / f64::from(PPM) + 0.5) / 2.0
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
    fn check_share(own_ppm: u32, other_ppm: u32, expected: f64) {
        let got = share(own_ppm, other_ppm);
        assert!(
            (got - expected).abs() < 1e-12,
            "{own_ppm} against {other_ppm}: {got}, expected {expected}"
        );
    }

    #[track_caller]
    fn check_refused(answers: &[JudgedAnswer], anchor: &Anchor, expected: &CompareError) {
        assert_eq!(compare(answers, anchor).as_ref(), Err(expected));
    }

    #[test]
    fn shares_are_those_worked_by_hand() {
        check_share(PPM, PPM, 0.5);
        check_share(PPM, 0, 0.9);
        check_share(0, PPM, 0.1);
        check_share(PPM / 2, PPM, 0.25);
        check_share(PPM / 2, 0, 0.75);
    }

    #[test]
    fn the_same_answer_from_many_is_one_player() {
        let answers = [
            answer(5, 1, 0),
            answer(2, 1, 0),
            answer(3, 2, PPM),
            answer(9, 1, 0),
        ];
        let comparison = compare(&answers, &ANCHOR).expect("comparable");
        assert_eq!(comparison.players().len(), 2);
        assert_eq!(comparison.player_of_uid(), [(2, 0), (3, 1), (5, 0), (9, 0)]);
        assert_eq!(comparison.outcomes().len(), 3);
    }

    #[test]
    fn no_answer_scores_nothing_whatever_the_judge_said() {
        let silent = JudgedAnswer {
            uid: 1,
            digest: None,
            score_ppm: PPM,
        };
        let comparison = compare(&[silent], &ANCHOR).expect("comparable");
        assert_eq!(
            comparison.players(),
            [Player {
                digest: None,
                score_ppm: 0
            }]
        );
    }

    #[test]
    fn only_answers_short_of_perfect_tell_miners_apart() {
        let comparison = compare(&[], &ANCHOR).expect("comparable");
        let telling = |digest, score_ppm| comparison.is_telling(&Player { digest, score_ppm });
        assert!(telling(Some([1; 32]), 0) && telling(Some([1; 32]), PPM - 1));
        assert!(!telling(Some([1; 32]), PPM) && !telling(Some([0; 32]), 0) && !telling(None, 0));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_its_figures() {
        let many: Vec<JudgedAnswer> = (0..1025).map(|uid| answer(uid, 1, 0)).collect();
        check_refused(&many, &ANCHOR, &CompareError::AnswersTooMany { count: 1025 });
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
