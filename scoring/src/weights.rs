//! Standings to pay, and pay to `u16` weights.
//!
//! The pay of a UID is
//!
//! ```text
//! rating ^ sharpness * work / voices        0 for a rating below the floor, or too few verified answers
//! ```
//!
//! - The **floor** keeps out garbage and those who are mostly away: a lucky hit now and then is not work.
//! - Nobody is paid before some answers were **verified**, so that a slot which is registered anew for each immunity
//!   period earns nothing while it is new.
//! - The **sharpness** lets better models earn more than proportionally, so that serving the best model once pays
//!   more than serving a poor one twice.
//! - The **work** is what the UID has proven that it can do at once ([`crate::capacity`]); it counts only where the
//!   task is about capacity ([`WeightPolicy::pays_work`]).
//! - **Voices** are the UIDs that answer as one ([`crate::rating`]); they share what one of them would get. The
//!   division comes after the power, so that k clones together earn exactly what one would.
//! - At most `count_max` UIDs get a weight, the best paid ones; of equals the lower UIDs.
//!
//! The largest weight becomes `u16::MAX`, the others follow in proportion, rounded to nearest; what rounds to 0 is
//! left out. Integers only: whoever has the standings has the weights, to the bit.

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

use std::cmp::Reverse;

use thiserror::Error;

use crate::compare::PPM;
use crate::rating::Standing;

/// The largest exponent; beyond it only the best UID would be paid.
pub const SHARPNESS_MAX: u32 = 8;

/// The most work that a UID can have proven.
pub const WORK_MAX: u32 = 65_536;

/// Pay of a perfect rating for a work of 1, with a voice of its own. A rating at a fifth of the reference still has
/// eight digits at the largest sharpness, and the largest work still fits.
pub const PAY_ONE: u64 = 100_000_000_000_000;

/// How ratings turn into pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightPolicy {
    /// Ratings below this get nothing, parts per million.
    pub floor_ppm: u32,
    /// Exponent on the rating, 1 to [`SHARPNESS_MAX`]; 1 = proportional.
    pub sharpness: u32,
    /// The most UIDs that get a weight, at least 1.
    pub count_max: usize,
    /// Answers in the window that must have been worth something before a UID is paid.
    pub verified_min: u32,
    /// Whether pay is proportional to the proven work: only for tasks whose answers nobody can have without doing
    /// the work of each.
    pub pays_work: bool,
}

impl Default for WeightPolicy {
    /// A floor at a fifth of the reference, squares, as many UIDs as a subnet can have, four verified answers, and
    /// no regard to capacity.
    fn default() -> Self {
        Self {
            floor_ppm: 200_000,
            sharpness: 2,
            count_max: 4096,
            verified_min: 4,
            pays_work: false,
        }
    }
}

/// Why ratings give no weights.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsError {
    /// Nobody reaches the floor: there is nobody to pay, and the validator abstains.
    #[error("none of {count} ratings reaches the floor of {floor_ppm} ppm with enough verified answers")]
    AllZero {
        /// How many ratings were given.
        count: usize,
        /// The floor.
        floor_ppm: u32,
    },
    /// A rating that is none.
    #[error("rating of uid {uid} is {rating_ppm} ppm, above {PPM}")]
    Rating {
        /// Whose.
        uid: u16,
        /// What was given.
        rating_ppm: u32,
    },
    /// Nobody speaks with this UID's voice, not even itself.
    #[error("uid {uid} has no voice")]
    Voices {
        /// Whose.
        uid: u16,
    },
    /// Work that cannot have been proven.
    #[error("work of uid {uid} is {work}, above {WORK_MAX}")]
    Work {
        /// Whose.
        uid: u16,
        /// What was given.
        work: u32,
    },
    /// UIDs that do not ascend, or one given twice.
    #[error("uid {uid} comes after uid {previous}; uids must ascend")]
    UidsNotAscending {
        /// The UID out of order.
        uid: u16,
        /// The one before it.
        previous: u16,
    },
    /// A sharpness out of range.
    #[error("sharpness {sharpness} is outside 1 to {SHARPNESS_MAX}")]
    Sharpness {
        /// What was given.
        sharpness: u32,
    },
    /// A policy under which nobody may be paid.
    #[error("count_max is 0")]
    CountMax,
}

/// Turns standings into a row of weights: [`scale`] of every [`pay`].
///
/// - **Shape**: `(uid, weight)` for those who get one, UIDs ascending; never empty.
/// - **Units**: parts of the largest, which is `u16::MAX`.
/// - **Rounding**: to nearest, halves up; what would be 0 is left out.
///
/// # Errors
///
/// [`WeightsError::AllZero`] when nobody is paid; the others for malformed arguments.
pub fn weights(standings: &[Standing], policy: &WeightPolicy) -> Result<Vec<(u16, u16)>, WeightsError> {
    check_policy(policy)?;
    check_order(standings)?;
    let pays: Result<Vec<(u16, u64)>, WeightsError> = standings
        .iter()
        .map(|standing| Ok((standing.uid, pay(standing, policy)?)))
        .collect();
    let row = scale(&pays?, policy.count_max);
    if row.is_empty() {
        return Err(WeightsError::AllZero {
            count: standings.len(),
            floor_ppm: policy.floor_ppm,
        });
    }
    Ok(row)
}

/// Gives what one UID is paid, before scaling.
///
/// - **Units**: [`PAY_ONE`] is a perfect rating with a voice of its own, for a work of 1 or where work is not paid.
/// - **Rounding**: down, at each multiplication of the power and at the division by voices, so clones never gain.
///
/// # Errors
///
/// [`WeightsError`] for a policy or a standing out of range.
pub fn pay(standing: &Standing, policy: &WeightPolicy) -> Result<u64, WeightsError> {
    check_policy(policy)?;
    check_standing(standing)?;
    if standing.rating_ppm < policy.floor_ppm || standing.verified_count < policy.verified_min {
        return Ok(0);
    }
    let power = (0..policy.sharpness).fold(u128::from(PAY_ONE), |power, _| {
        power * u128::from(standing.rating_ppm) / u128::from(PPM)
    });
    let work = if policy.pays_work { standing.work } else { 1 };
    let pay = power * u128::from(work) / u128::from(standing.voices);
    Ok(u64::try_from(pay).expect("PAY_ONE times the largest work fits"))
}

/// Scales what UIDs are paid to a row of weights, the `count_max` best paid ones; of equals the lower UIDs.
///
/// - **Shape**: `(uid, weight)` for those who get one, UIDs ascending; empty when nobody is paid.
/// - **Units**: parts of the largest, which is `u16::MAX`.
/// - **Rounding**: to nearest, halves up; what would be 0 is left out.
#[must_use]
pub fn scale(pays: &[(u16, u64)], count_max: usize) -> Vec<(u16, u16)> {
    let mut paid: Vec<(u16, u64)> = pays.iter().copied().filter(|&(_, pay)| pay > 0).collect();
    paid.sort_unstable_by_key(|&(uid, pay)| (Reverse(pay), uid));
    paid.truncate(count_max);
    let largest = paid.first().map_or(1, |&(_, pay)| pay);
    let mut row: Vec<(u16, u16)> = paid
        .into_iter()
        .map(|(uid, pay)| (uid, upscale(pay, largest)))
        .filter(|&(_, weight)| weight > 0)
        .collect();
    row.sort_unstable();
    row
}

fn check_policy(policy: &WeightPolicy) -> Result<(), WeightsError> {
    if !(1..=SHARPNESS_MAX).contains(&policy.sharpness) {
        return Err(WeightsError::Sharpness {
            sharpness: policy.sharpness,
        });
    }
    if policy.count_max == 0 {
        return Err(WeightsError::CountMax);
    }
    Ok(())
}

fn check_order(standings: &[Standing]) -> Result<(), WeightsError> {
    match standings.windows(2).find(|pair| pair[0].uid >= pair[1].uid) {
        Some(pair) => Err(WeightsError::UidsNotAscending {
            uid: pair[1].uid,
            previous: pair[0].uid,
        }),
        None => Ok(()),
    }
}

fn check_standing(standing: &Standing) -> Result<(), WeightsError> {
    let &Standing {
        uid,
        rating_ppm,
        voices,
        work,
        ..
    } = standing;
    if rating_ppm > PPM {
        return Err(WeightsError::Rating { uid, rating_ppm });
    }
    if voices == 0 {
        return Err(WeightsError::Voices { uid });
    }
    if work > WORK_MAX {
        return Err(WeightsError::Work { uid, work });
    }
    Ok(())
}

/// `pay` in parts of `largest`, which is at least as large, to nearest, halves up.
fn upscale(pay: u64, largest: u64) -> u16 {
    let (pay, largest) = (u128::from(pay), u128::from(largest));
    let weight = (2 * pay * u128::from(u16::MAX) + largest) / (2 * largest);
    u16::try_from(weight).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(uid: u16, rating_ppm: u32) -> Standing {
        Standing {
            uid,
            rating_ppm,
            item_count: 9,
            verified_count: 9,
            voices: 1,
            work: 0,
        }
    }

    fn standings(ratings_ppm: &[u32]) -> Vec<Standing> {
        (0..)
            .zip(ratings_ppm)
            .map(|(uid, &rating_ppm)| standing(uid, rating_ppm))
            .collect()
    }

    #[track_caller]
    fn check(ratings_ppm: &[u32], policy: &WeightPolicy, expected: &[(u16, u16)]) {
        assert_eq!(weights(&standings(ratings_ppm), policy).as_deref(), Ok(expected));
    }

    #[track_caller]
    fn check_refused(standings: &[Standing], policy: &WeightPolicy, message: &str) {
        assert_eq!(
            weights(standings, policy).expect_err("refused").to_string(),
            message
        );
    }

    const SQUARES: WeightPolicy = WeightPolicy {
        floor_ppm: 200_000,
        sharpness: 2,
        count_max: 4096,
        verified_min: 4,
        pays_work: false,
    };

    #[test]
    fn weights_are_those_worked_by_hand() {
        check(&[1_000_000, 500_000], &SQUARES, &[(0, 65535), (1, 16384)]);
        check(
            &[400_000, 800_000],
            &WeightPolicy {
                sharpness: 1,
                ..SQUARES
            },
            &[(0, 32768), (1, 65535)],
        );
        check(&[300_000], &SQUARES, &[(0, 65535)]);
    }

    #[test]
    fn the_floor_keeps_out_what_is_below_it() {
        check(
            &[900_000, 200_000, 199_999, 0],
            &SQUARES,
            &[(0, 65535), (1, 3236)],
        );
        check(
            &[1_000_000, 1_000],
            &WeightPolicy {
                floor_ppm: 0,
                ..SQUARES
            },
            &[(0, 65535)],
        );
    }

    #[test]
    fn one_voice_is_paid_once() {
        let mut standings = standings(&[800_000, 800_000, 800_000]);
        standings[1].voices = 2;
        standings[2].voices = 2;
        assert_eq!(
            weights(&standings, &SQUARES),
            Ok(vec![(0, 65535), (1, 32768), (2, 32768)])
        );
    }

    #[test]
    fn only_the_best_are_paid_and_of_equals_the_lower_uids() {
        check(
            &[500_000, 900_000, 900_000, 900_000],
            &WeightPolicy {
                count_max: 2,
                ..SQUARES
            },
            &[(1, 65535), (2, 65535)],
        );
    }

    #[test]
    fn nobody_to_pay_is_an_error() {
        check_refused(
            &[],
            &SQUARES,
            "none of 0 ratings reaches the floor of 200000 ppm with enough verified answers",
        );
        check_refused(
            &standings(&[100_000, 0]),
            &SQUARES,
            "none of 2 ratings reaches the floor of 200000 ppm with enough verified answers",
        );
        let no_floor = WeightPolicy {
            floor_ppm: 0,
            ..SQUARES
        };
        check_refused(
            &standings(&[0]),
            &no_floor,
            "none of 1 ratings reaches the floor of 0 ppm with enough verified answers",
        );
    }

    #[test]
    fn malformed_arguments_are_refused_with_their_figures() {
        let message = "rating of uid 0 is 1000001 ppm, above 1000000";
        check_refused(&[standing(0, PPM + 1)], &SQUARES, message);
        let work = Standing {
            work: WORK_MAX + 1,
            ..standing(0, PPM)
        };
        check_refused(&[work], &SQUARES, "work of uid 0 is 65537, above 65536");
        let no_voice = Standing {
            voices: 0,
            ..standing(4, PPM)
        };
        check_refused(&[no_voice], &SQUARES, "uid 4 has no voice");
        let twice = [standing(3, PPM), standing(3, PPM)];
        check_refused(&twice, &SQUARES, "uid 3 comes after uid 3; uids must ascend");
        let flat = WeightPolicy {
            sharpness: 0,
            ..SQUARES
        };
        check_refused(&[standing(0, PPM)], &flat, "sharpness 0 is outside 1 to 8");
        let nobody = WeightPolicy {
            count_max: 0,
            ..SQUARES
        };
        check_refused(&[standing(0, PPM)], &nobody, "count_max is 0");
    }

    #[test]
    fn a_new_uid_waits_for_its_first_verified_answers() {
        let mut standings = standings(&[PPM, PPM]);
        standings[1].verified_count = 3;
        assert_eq!(weights(&standings, &SQUARES), Ok(vec![(0, u16::MAX)]));
    }

    #[test]
    fn work_counts_only_where_the_policy_says_so() {
        let mut standings = standings(&[PPM, PPM]);
        (standings[0].work, standings[1].work) = (1, 4);
        assert_eq!(weights(&standings, &SQUARES), Ok(vec![(0, 65535), (1, 65535)]));
        let policy = WeightPolicy {
            pays_work: true,
            ..SQUARES
        };
        assert_eq!(weights(&standings, &policy), Ok(vec![(0, 16384), (1, 65535)]));
    }

    #[test]
    fn the_largest_pay_fits_and_the_smallest_has_digits_to_spare() {
        let policy = WeightPolicy {
            sharpness: SHARPNESS_MAX,
            pays_work: true,
            ..SQUARES
        };
        let largest = Standing {
            work: WORK_MAX,
            ..standing(0, PPM)
        };
        assert_eq!(pay(&largest, &policy), Ok(PAY_ONE * 65_536));
        let smallest = Standing {
            work: 1,
            ..standing(0, 200_000)
        };
        // 0.2^8 = 0.00000256
        assert_eq!(pay(&smallest, &policy), Ok(256_000_000));
    }
}
