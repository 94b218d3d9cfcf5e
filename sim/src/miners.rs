//! Miners as their validators see them: a quality each, and what measuring it gives.

use crate::random::Random;
use crate::stakes::normalized;

/// Spread of quality over miners: deviation of its logarithm.
const QUALITY_SIGMA: f64 = 0.5;

/// How miners differ, change, and are measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Climate {
    /// Deviation of the logarithm of one validator's measurement in one epoch.
    pub noise: f64,
    /// Deviation of the logarithm by which a quality moves in one epoch.
    pub drift: f64,
    /// Probability that a miner is another one in the next epoch.
    pub churn: f64,
}

impl Climate {
    /// Miners that never change.
    #[must_use]
    pub const fn steady(noise: f64) -> Self {
        Self {
            noise,
            drift: 0.0,
            churn: 0.0,
        }
    }
}

/// The miners of a subnet.
#[derive(Clone, Debug)]
pub struct Miners {
    quality: Vec<f64>,
    climate: Climate,
}

impl Miners {
    /// Miners of log-normal quality.
    #[must_use]
    pub fn new(count: usize, climate: Climate, random: &mut Random) -> Self {
        let quality = (0..count).map(|_| random.log_normal(QUALITY_SIGMA)).collect();
        Self { quality, climate }
    }

    /// Miners that are all the same.
    #[must_use]
    pub fn equal(count: usize, climate: Climate) -> Self {
        Self {
            quality: vec![1.0; count],
            climate,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.quality.len()
    }

    /// True quality of each; 1 is the median.
    #[must_use]
    pub fn quality(&self) -> &[f64] {
        &self.quality
    }

    /// An epoch passes.
    pub fn age(&mut self, random: &mut Random) {
        let Climate { drift, churn, .. } = self.climate;
        if drift == 0.0 && churn == 0.0 {
            return;
        }
        for quality in &mut self.quality {
            *quality = if random.chance(churn) {
                random.log_normal(QUALITY_SIGMA)
            } else {
                *quality * random.log_normal(drift)
            };
        }
    }

    /// The weights of a validator that measured everybody in this epoch: shares of one.
    #[must_use]
    pub fn measured(&self, random: &mut Random) -> Vec<f64> {
        let noise = self.climate.noise;
        let seen = self.quality.iter();
        normalized(seen.map(|quality| quality * random.log_normal(noise)).collect())
    }

    /// The rows of `count` validators that each measured for themselves.
    #[must_use]
    pub fn measured_by(&self, count: usize, random: &mut Random) -> Vec<Vec<f64>> {
        (0..count).map(|_| self.measured(random)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_miners_stay_and_others_move() {
        let mut random = Random::new("miners", 1);
        let mut steady = Miners::new(8, Climate::steady(0.2), &mut random);
        let before = steady.quality().to_vec();
        steady.age(&mut random);
        assert_eq!(steady.quality(), before);
        let climate = Climate {
            noise: 0.2,
            drift: 0.1,
            churn: 0.0,
        };
        let mut moving = Miners::new(8, climate, &mut random);
        let before = moving.quality().to_vec();
        moving.age(&mut random);
        assert!(
            moving
                .quality()
                .iter()
                .zip(&before)
                .all(|(now, then)| now != then)
        );
    }

    #[test]
    fn without_noise_all_validators_measure_the_truth() {
        let mut random = Random::new("miners", 1);
        let miners = Miners::new(8, Climate::steady(0.0), &mut random);
        let truth = normalized(miners.quality().to_vec());
        for row in miners.measured_by(3, &mut random) {
            assert!(
                row.iter()
                    .zip(&truth)
                    .all(|(seen, true_)| (seen - true_).abs() < 1e-12)
            );
        }
    }
}
