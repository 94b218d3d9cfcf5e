//! Decides from distances whether answers came from the model that they should have come from.
//!
//! # The test
//!
//! A verifier measures a distance at each token: how far the token is from the one that the agreed draw chooses, and
//! how far the activation code is from the reference's own state. Honest distances are small and rarely anything but
//! 0; how small depends on devices and number formats, so it is measured ([`Limit::measured`]) and not assumed.
//!
//! With `x` the distance, cut off at `cap`, and for a tilt `l` the measured mean `m(l)` of `exp(l x)`, the product of
//! `exp(l x) / m(l)` over the tokens of an honest answer has a mean of at most 1, so it reaches `1 / a` with a
//! probability of at most `a` (Markov; and at whatever token one stops, Ville 1939). The mean over several tilts
//! keeps that property and needs no guess at what a cheat looks like. Its logarithm is the *doubt*, in nats.
//!
//! Only the sum and the number of distances enter, so doubt about single answers adds up to doubt about a miner.
//!
//! # Assumptions
//!
//! Tokens are taken as independent given an honest miner, and honest machines as none worse than those measured:
//! `m(l)` is the largest over all measured pairs of machines, with one more distance of the size of `cap` put in, so
//! that what was not seen in a small sample is not taken for impossible.

use borsh::{BorshDeserialize, BorshSerialize};

/// Tilts, in units of one over the cap.
const TILTS: [f64; 7] = [0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// Distances are summed in millionths, so that sums are the same on every machine.
const MICRO: f64 = 1e6;

/// Doubt, in nats, at which one answer is rejected: an honest one is once in 10,000.
pub const ANSWER_DOUBT_MAX: f64 = 9.210_340_371_976_184;
/// Doubt, in nats, at which a miner is rejected over its newest audits: an honest one is once in a million.
pub const MINER_DOUBT_MAX: f64 = 13.815_510_557_964_274;

/// What was measured over some tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sum {
    /// Distances.
    pub count: u64,
    /// Their sum, each cut off at the limit's cap, in millionths.
    pub micro: u64,
}

impl Sum {
    /// The two taken together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            micro: self.micro.saturating_add(other.micro),
        }
    }
}

/// What honest distances of one kind look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// A distance counts for this much at most.
    pub cap: f64,
    /// Logarithm of the mean of `exp(tilt / cap * distance)` for each of the seven tilts 0.5, 1, 2, ... 6.
    pub log_means: [f64; TILTS.len()],
}

impl Limit {
    /// Measures the limit from honest distances, one list for each pair of machines that were compared.
    #[must_use]
    pub fn measured(cap: f64, pairs: &[Vec<f64>]) -> Self {
        let log_mean = |tilt: f64| {
            let of_pair = |distances: &Vec<f64>| {
                let sum: f64 = distances
                    .iter()
                    .map(|&distance| (tilt * cut(distance, cap) / cap).exp())
                    .sum();
                ((sum + tilt.exp()) / (distances.len() as f64 + 1.0)).ln()
            };
            pairs.iter().map(of_pair).fold(0.0, f64::max)
        };
        Self {
            cap,
            log_means: TILTS.map(log_mean),
        }
    }

    /// The sum of distances, each cut off at the cap; what is not a number counts as the cap.
    #[must_use]
    pub fn sum(&self, distances: impl IntoIterator<Item = f64>) -> Sum {
        let mut sum = Sum::default();
        for distance in distances {
            let micro = (cut(distance, self.cap) * MICRO).round() as u64;
            sum = sum.and(Sum { count: 1, micro });
        }
        sum
    }

    /// How much the distances speak against an honest miner, in nats; below 0 they speak for one.
    #[must_use]
    pub fn doubt(&self, sum: Sum) -> f64 {
        let scaled = sum.micro as f64 / MICRO / self.cap;
        let exponents = TILTS
            .iter()
            .zip(self.log_means)
            .map(|(tilt, log_mean)| tilt * scaled - sum.count as f64 * log_mean);
        log_mean_exp(&exponents.collect::<Vec<_>>())
    }
}

/// Limits of both kinds of distances, for one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Of tokens, in logits.
    pub margin: Limit,
    /// Of activation codes, 0 to 1.
    pub code: Limit,
}

/// What audits of one or more answers measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Tally {
    /// Of tokens.
    pub margins: Sum,
    /// Of activation codes.
    pub codes: Sum,
}

impl Tally {
    /// The two taken together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            margins: self.margins.and(other.margins),
            codes: self.codes.and(other.codes),
        }
    }
}

impl Limits {
    /// What an audit measured.
    #[must_use]
    pub fn tally(&self, margins: &[f32], codes: &[f32]) -> Tally {
        Tally {
            margins: self.margin.sum(margins.iter().copied().map(f64::from)),
            codes: self.code.sum(codes.iter().copied().map(f64::from)),
        }
    }

    /// How much a tally speaks against an honest miner, in nats: the mean of both kinds, where codes were opened.
    #[must_use]
    pub fn doubt(&self, tally: &Tally) -> f64 {
        let margin = self.margin.doubt(tally.margins);
        if tally.codes.count == 0 {
            return margin;
        }
        log_mean_exp(&[margin, self.code.doubt(tally.codes)])
    }

    /// The doubt about one answer, if it is enough to reject the answer.
    #[must_use]
    pub fn rejection(&self, audit: &Tally) -> Option<f64> {
        let doubt = self.doubt(audit);
        (doubt >= ANSWER_DOUBT_MAX).then_some(doubt)
    }

    /// The doubt about a miner after some audits, if it is enough to reject the miner.
    #[must_use]
    pub fn conviction<'a>(&self, audits: impl IntoIterator<Item = &'a Tally>) -> Option<f64> {
        let together = audits
            .into_iter()
            .fold(Tally::default(), |sum, tally| sum.and(*tally));
        let doubt = self.doubt(&together);
        (doubt >= MINER_DOUBT_MAX).then_some(doubt)
    }
}

fn cut(distance: f64, cap: f64) -> f64 {
    // The comparison is false for what is not a number.
    if distance < cap { distance.max(0.0) } else { cap }
}

/// Logarithm of the mean of exponentials, without overflow.
fn log_mean_exp(exponents: &[f64]) -> f64 {
    let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = exponents.iter().map(|exponent| (exponent - largest).exp()).sum();
    largest + (sum / exponents.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    use super::*;

    fn uniform(random: &mut ChaCha20Rng) -> f64 {
        random.next_u32() as f64 / f64::from(u32::MAX)
    }

    /// `rate` of the tokens differ, by up to `size`.
    fn distances(random: &mut ChaCha20Rng, count: usize, rate: f64, size: f64) -> Vec<f64> {
        let mut one = || {
            if uniform(random) < rate {
                uniform(random) * size
            } else {
                0.0
            }
        };
        (0..count).map(|_| one()).collect()
    }

    fn limit(random: &mut ChaCha20Rng) -> Limit {
        Limit::measured(
            0.25,
            &[
                distances(random, 20_000, 0.01, 0.05),
                distances(random, 20_000, 0.002, 0.1),
            ],
        )
    }

    /// Share of answers that are rejected.
    fn rejected(random: &mut ChaCha20Rng, limit: &Limit, tokens: usize, rate: f64, size: f64) -> f64 {
        let trials = 2_000;
        let count = (0..trials)
            .filter(|_| {
                let sum = limit.sum(distances(random, tokens, rate, size));
                limit.doubt(sum) >= ANSWER_DOUBT_MAX
            })
            .count();
        count as f64 / f64::from(trials)
    }

    #[test]
    fn honest_answers_are_not_rejected_and_cheats_are() {
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let limit = limit(&mut random);
        assert_eq!(rejected(&mut random, &limit, 64, 0.01, 0.05), 0.0);
        assert_eq!(rejected(&mut random, &limit, 4_096, 0.01, 0.05), 0.0);
        assert!(rejected(&mut random, &limit, 64, 0.5, 2.0) > 0.999);
        assert!(rejected(&mut random, &limit, 512, 0.05, 0.5) > 0.99);
    }

    #[test]
    fn small_doubts_about_short_answers_add_up() {
        let mut random = ChaCha20Rng::seed_from_u64(2);
        let limit = limit(&mut random);
        let answer = |random: &mut ChaCha20Rng| limit.sum(distances(random, 8, 0.2, 0.4));
        let first = answer(&mut random);
        assert!(limit.doubt(first) < ANSWER_DOUBT_MAX);
        let all = (0..40).fold(first, |sum, _| sum.and(answer(&mut random)));
        assert!(limit.doubt(all) > MINER_DOUBT_MAX);
    }

    #[test]
    fn nothing_measured_is_no_doubt_and_no_number_is_the_largest_distance() {
        let limit = limit(&mut ChaCha20Rng::seed_from_u64(3));
        assert!(limit.doubt(Sum::default()).abs() < 1e-12);
        let odd = limit.sum([f64::NAN, f64::INFINITY, -1.0, 0.1]);
        assert_eq!((odd.count, odd.micro), (4, 600_000));
    }

    #[test]
    fn codes_alone_can_convict() {
        let mut random = ChaCha20Rng::seed_from_u64(4);
        let limits = Limits {
            margin: limit(&mut random),
            code: Limit::measured(0.1, &[distances(&mut random, 20_000, 1.0, 0.01)]),
        };
        let honest = limits.tally(&[0.0; 32], &[0.005; 32]);
        let cheat = limits.tally(&[0.0; 32], &[0.09; 32]);
        assert!(limits.doubt(&honest) < 1.0, "{}", limits.doubt(&honest));
        assert!(
            limits.doubt(&cheat) > ANSWER_DOUBT_MAX,
            "{}",
            limits.doubt(&cheat)
        );
        let without = limits.tally(&[0.0; 32], &[]);
        assert!(limits.doubt(&without) < 1.0);
    }
}
