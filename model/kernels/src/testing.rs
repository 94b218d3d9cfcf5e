//! What the tests share: numbers from a seed, and distances.

/// Numbers from a seed.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 up to 1.
    pub(crate) fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Nearly normal: sums of twelve.
    pub(crate) fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| (0..12).map(|_| self.next()).sum::<f32>() - 6.0)
            .collect()
    }
}

/// The largest distance, over the root mean square of what was expected.
#[track_caller]
pub(crate) fn relative_distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = expected.iter().map(|number| number * number).sum::<f64>();
    let scale = (square / expected.len() as f64).sqrt().max(1e-30);
    found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (f64::from(*found) - expected).abs() / scale)
        .fold(0.0, f64::max)
}
