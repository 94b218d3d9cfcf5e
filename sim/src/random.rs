//! Chance, from a seed: the same purpose and seed give the same numbers in every run.
//!
//! Exponentials and logarithms come from the platform's mathematics library, so a last digit may differ between
//! platforms; nothing a ledger depends on is computed from them.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random {
    source: ChaCha8Rng,
    /// The second of two normal numbers, which are made in pairs.
    spare: Option<f64>,
}

/// `2^-53`: what 53 random bits are multiplied by to lie within 0..1.
const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;

impl Random {
    /// The stream of a purpose under a seed; streams of different purposes tell nothing about each other.
    #[must_use]
    pub fn new(purpose: &str, seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("agon.sim.v1 random");
        hasher.update(&seed.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Self {
            source: ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()),
            spare: None,
        }
    }

    /// A number of 0..1, each of `2^53` equally likely.
    pub fn unit(&mut self) -> f64 {
        (self.source.next_u64() >> 11) as f64 * UNIT
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// An index below `bound`, which is positive and small beside `2^53`, so that the bias is too.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.unit() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// 32 random bytes, for keys and digests.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.source.fill_bytes(&mut bytes);
        bytes
    }

    /// A number of the normal distribution with mean 0 and deviation 1.
    ///
    /// **Source**: the polar method; G. Marsaglia, T. A. Bray, *A convenient method for generating normal variables*,
    /// SIAM Review 6 (1964).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// A number whose logarithm is normal with mean 0 and deviation `sigma`.
    pub fn log_normal(&mut self, sigma: f64) -> f64 {
        (self.normal() * sigma).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_purposes_differ() {
        let take = |purpose, seed| {
            let mut random = Random::new(purpose, seed);
            [random.unit(), random.normal(), random.normal()]
        };
        assert_eq!(take("a", 1), take("a", 1));
        assert_ne!(take("a", 1), take("a", 2));
        assert_ne!(take("a", 1), take("b", 1));
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut random = Random::new("normal", 1);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..100_000 {
            let x = random.normal();
            sum += x;
            squares += x * x;
        }
        // Standard errors are 0.003 and 0.0045.
        assert!((sum / 1e5).abs() < 0.013, "{sum}");
        assert!((squares / 1e5 - 1.0).abs() < 0.018, "{squares}");
    }

    #[test]
    fn indices_stay_below_their_bound_and_reach_it() {
        let mut random = Random::new("below", 1);
        let mut seen = [0; 5];
        (0..1000).for_each(|_| seen[random.below(5)] += 1);
        assert!(seen.iter().all(|count| *count > 140), "{seen:?}");
    }
}
