//! Ratings to `u16` weights, which is where floating point ends.
//!
//! The weight of a UID is proportional to
//!
//! ```text
//! rating ^ sharpness / voices        0 for a rating below the floor
//! ```
//!
//! - The **floor** keeps out garbage and those who are mostly away: a lucky hit now and then is not work.
//! - The **sharpness** lets better models earn more than proportionally, so that serving the best model once pays
//!   more than serving a poor one twice.
//! - **Voices** are the UIDs that answer as one ([`crate::rating`]); they share what one of them would get. The
//!   division comes after the power, so that k clones together earn exactly what one would.
//! - At most `count_max` UIDs get a weight, the best ones; of equals the lower UIDs.
//!
//! The largest weight becomes `u16::MAX`, the others follow in proportion, rounded to nearest; what rounds to 0 is
//! left out.

use thiserror::Error;

use crate::rating::Standing;

/// The largest exponent; beyond it only the best UID would be paid.
pub const SHARPNESS_MAX: u32 = 8;

/// How ratings turn into pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightPolicy {
    /// Ratings below this get nothing, parts per million.
    pub floor_ppm: u32,
    /// Exponent on the rating, 1 to [`SHARPNESS_MAX`]; 1 = proportional.
    pub sharpness: u32,
    /// The most UIDs that get a weight, at least 1.
    pub count_max: usize,
}

impl Default for WeightPolicy {
    /// A floor at a fifth of the reference, squares, and as many UIDs as a subnet can have.
    fn default() -> Self {
        Self {
            floor_ppm: 200_000,
            sharpness: 2,
            count_max: 4096,
        }
    }
}

/// Why ratings give no weights.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum WeightsError {
    /// Nobody reaches the floor: there is nobody to pay, and the validator abstains.
    #[error("none of {count} ratings reaches the floor of {floor_ppm} ppm")]
    AllZero {
        /// How many ratings were given.
        count: usize,
        /// The floor.
        floor_ppm: u32,
    },
    /// A rating that is none.
    #[error("rating of uid {uid} is {rating}, outside 0 to 1")]
    Rating {
        /// Whose.
        uid: u16,
        /// What was given.
        rating: f64,
    },
    /// Nobody speaks with this UID's voice, not even itself.
    #[error("uid {uid} has no voice")]
    Voices {
        /// Whose.
        uid: u16,
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

/// Turns standings into a row of weights.
///
/// - **Shape**: `(uid, weight)` for those who get one, UIDs ascending; never empty.
/// - **Units**: parts of the largest, which is `u16::MAX`.
/// - **Rounding**: to nearest; what would be 0 is left out.
///
/// # Errors
///
/// [`WeightsError::AllZero`] when no rating is positive and reaches the floor; the others for malformed arguments.
pub fn weights(standings: &[Standing], policy: &WeightPolicy) -> Result<Vec<(u16, u16)>, WeightsError> {
    check_policy(policy)?;
    check_standings(standings)?;
    let mut pay: Vec<(u16, f64)> = standings
        .iter()
        .map(|standing| (standing.uid, pay(standing, policy)))
        .filter(|pay| pay.1 > 0.0)
        .collect();
    // Stable, so the lower UIDs come first among equals.
    pay.sort_by(|left, right| right.1.total_cmp(&left.1));
    pay.truncate(policy.count_max);
    let Some(&(_, largest)) = pay.first() else {
        return Err(WeightsError::AllZero {
            count: standings.len(),
            floor_ppm: policy.floor_ppm,
        });
    };
    let mut row: Vec<(u16, u16)> = pay
        .into_iter()
        .map(|(uid, pay)| (uid, upscale(pay, largest)))
        .collect();
    row.retain(|&(_, weight)| weight > 0);
    row.sort_unstable();
    Ok(row)
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

fn check_standings(standings: &[Standing]) -> Result<(), WeightsError> {
    let mut previous = None;
    for &Standing {
        uid, rating, voices, ..
    } in standings
    {
        if !(0.0..=1.0).contains(&rating) {
            return Err(WeightsError::Rating { uid, rating });
        }
        if voices == 0 {
            return Err(WeightsError::Voices { uid });
        }
        match previous {
            Some(previous) if uid <= previous => {
                return Err(WeightsError::UidsNotAscending { uid, previous });
            }
            _ => previous = Some(uid),
        }
    }
    Ok(())
}

/// What a UID's answers are worth, before scaling; within 0..=1.
fn pay(standing: &Standing, policy: &WeightPolicy) -> f64 {
    if standing.rating * 1e6 < f64::from(policy.floor_ppm) {
        return 0.0;
    }
    let exponent = i32::try_from(policy.sharpness).expect("checked against SHARPNESS_MAX");
    standing.rating.powi(exponent) / standing.voices as f64
}

fn upscale(pay: f64, largest: f64) -> u16 {
    (pay / largest * f64::from(u16::MAX)).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(uid: u16, rating: f64) -> Standing {
        Standing {
            uid,
            rating,
            item_count: 1,
            voices: 1,
        }
    }

    fn standings(ratings: &[f64]) -> Vec<Standing> {
        (0..)
            .zip(ratings)
            .map(|(uid, &rating)| standing(uid, rating))
            .collect()
    }

    #[track_caller]
    fn check(ratings: &[f64], policy: &WeightPolicy, expected: &[(u16, u16)]) {
        assert_eq!(weights(&standings(ratings), policy).as_deref(), Ok(expected));
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
    };

    #[test]
    fn weights_are_those_worked_by_hand() {
        check(&[1.0, 0.5], &SQUARES, &[(0, 65535), (1, 16384)]);
        check(
            &[0.4, 0.8],
            &WeightPolicy {
                sharpness: 1,
                ..SQUARES
            },
            &[(0, 32768), (1, 65535)],
        );
        check(&[0.3], &SQUARES, &[(0, 65535)]);
    }

    #[test]
    fn the_floor_keeps_out_what_is_below_it() {
        check(&[0.9, 0.2, 0.199_999, 0.0], &SQUARES, &[(0, 65535), (1, 3236)]);
        check(
            &[1.0, 0.001],
            &WeightPolicy {
                floor_ppm: 0,
                ..SQUARES
            },
            &[(0, 65535)],
        );
    }

    #[test]
    fn one_voice_is_paid_once() {
        let mut standings = standings(&[0.8, 0.8, 0.8]);
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
            &[0.5, 0.9, 0.9, 0.9],
            &WeightPolicy {
                count_max: 2,
                ..SQUARES
            },
            &[(1, 65535), (2, 65535)],
        );
    }

    #[test]
    fn nobody_to_pay_is_an_error() {
        check_refused(&[], &SQUARES, "none of 0 ratings reaches the floor of 200000 ppm");
        check_refused(
            &standings(&[0.1, 0.0]),
            &SQUARES,
            "none of 2 ratings reaches the floor of 200000 ppm",
        );
        let no_floor = WeightPolicy {
            floor_ppm: 0,
            ..SQUARES
        };
        check_refused(
            &standings(&[0.0]),
            &no_floor,
            "none of 1 ratings reaches the floor of 0 ppm",
        );
    }

    #[test]
    fn malformed_arguments_are_refused_with_their_figures() {
        for rating in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            let message = format!("rating of uid 0 is {rating}, outside 0 to 1");
            check_refused(&[standing(0, rating)], &SQUARES, &message);
        }
        let no_voice = Standing {
            voices: 0,
            ..standing(4, 1.0)
        };
        check_refused(&[no_voice], &SQUARES, "uid 4 has no voice");
        let twice = [standing(3, 1.0), standing(3, 1.0)];
        check_refused(&twice, &SQUARES, "uid 3 comes after uid 3; uids must ascend");
        let flat = WeightPolicy {
            sharpness: 0,
            ..SQUARES
        };
        check_refused(&[standing(0, 1.0)], &flat, "sharpness 0 is outside 1 to 8");
        let nobody = WeightPolicy {
            count_max: 0,
            ..SQUARES
        };
        check_refused(&[standing(0, 1.0)], &nobody, "count_max is 0");
    }
}
