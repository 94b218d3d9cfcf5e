//! Unbiased draws from a seed, the same on every machine.
//!
//! The bytes are ChaCha20's key stream (`rand_chacha` 0.3); what is done with them is written out here
//! rather than left to a library's distributions, which may change between releases.

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// What a seed is used for: the ChaCha20 stream number, so that one purpose never sees another's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Items that miners are asked, and fresh items for evaluation.
    Item,
    /// Text that models are trained on. No item can be equal to it by sharing a seed.
    Training,
}

impl Purpose {
    fn stream(self) -> u64 {
        match self {
            Self::Item => 0,
            Self::Training => 1,
        }
    }
}

/// A sequence of draws that is fixed by a seed and a purpose.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha20Rng);

impl Draw {
    /// Starts the draws of `seed` for one purpose.
    pub fn new(seed: [u8; 32], purpose: Purpose) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        rng.set_stream(purpose.stream());
        Self(rng)
    }

    /// Draws a number from 0 up to and without `bound`, each equally likely.
    ///
    /// Rejects the incomplete last run of `bound` values among the 2^64, so no value is favoured.
    ///
    /// # Panics
    ///
    /// When `bound` is 0: there is nothing to draw from.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "a draw needs something to choose from");
        let bound = bound as u64;
        let rejected = (u64::MAX % bound + 1) % bound;
        loop {
            let value = self.0.next_u64();
            if value <= u64::MAX - rejected {
                return usize::try_from(value % bound).expect("below a bound that was a usize");
            }
        }
    }

    /// Draws from `low` to `high`, both included.
    ///
    /// # Panics
    ///
    /// When `low` is above `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        assert!(low <= high, "a range is given from low to high");
        low + self.below(high - low + 1)
    }

    /// Draws one entry of `choices`, each equally likely.
    ///
    /// # Panics
    ///
    /// When `choices` is empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Draws the index of one of `weights`, in proportion to them.
    ///
    /// # Panics
    ///
    /// When all weights are 0.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        unreachable!("a draw below the sum of the weights falls into one of them")
    }

    /// Draws `count` different entries of `pool` in random order (Fisher-Yates).
    ///
    /// # Panics
    ///
    /// When `pool` is shorter than `count`.
    pub fn sample<T: Copy>(&mut self, pool: &[T], count: usize) -> Vec<T> {
        assert!(count <= pool.len(), "a sample is not larger than its pool");
        let mut pool = pool.to_vec();
        for index in 0..count {
            let other = self.between(index, pool.len() - 1);
            pool.swap(index, other);
        }
        pool.truncate(count);
        pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_fixed_by_seed_and_purpose() {
        let numbers = |purpose| -> Vec<usize> {
            let mut draw = Draw::new([7; 32], purpose);
            (0..8).map(|_| draw.below(1000)).collect()
        };
        assert_eq!(numbers(Purpose::Item), numbers(Purpose::Item));
        assert_ne!(numbers(Purpose::Item), numbers(Purpose::Training));
    }

    #[test]
    fn every_value_is_about_equally_likely() {
        let mut draw = Draw::new([1; 32], Purpose::Item);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[draw.below(7)] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_600..=10_400).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_weight_of_zero_is_never_drawn() {
        let mut draw = Draw::new([2; 32], Purpose::Item);
        assert!((0..1_000).all(|_| draw.weighted(&[0, 3, 0, 1]) % 2 == 1));
    }

    #[test]
    fn a_sample_has_no_entry_twice() {
        let mut draw = Draw::new([3; 32], Purpose::Item);
        for count in 0..=9 {
            let mut sample = draw.sample(&[0, 1, 2, 3, 4, 5, 6, 7, 8], count);
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), count);
        }
    }
}
