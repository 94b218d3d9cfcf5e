//! Shares and curves with the intervals that belong to them: what a count of trials can and cannot say.

/// Two-sided 95 %, in standard deviations.
const Z: f64 = 1.959_963_984_540_054;
/// Probability in each tail of an interval.
const TAIL: f64 = 0.025;
/// Halvings of an interval: more than a double can tell apart.
const HALVINGS: usize = 60;

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The least that the trials allow.
    pub low: f64,
    /// The most that the trials allow.
    pub high: f64,
}

/// The share of `hits` among `trials`, with the interval of Clopper and Pearson (1934), which is never too short.
#[must_use]
pub(super) fn share(hits: usize, trials: usize) -> Estimate {
    let value = hits as f64 / trials.max(1) as f64;
    let low = bisect(|p| hits == 0 || 1.0 - at_most(hits - 1, trials, p) >= TAIL);
    let high = bisect(|p| hits < trials && at_most(hits, trials, p) <= TAIL);
    Estimate {
        value,
        low: if hits == 0 { 0.0 } else { low },
        high: if hits >= trials { 1.0 } else { high },
    }
}

/// The smallest probability from which on `is_reached` holds; 1 where it never does.
fn bisect(is_reached: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_reached(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The probability of at most `hits` among `trials` when each hits with probability `p`, 0 < p < 1.
fn at_most(hits: usize, trials: usize, p: f64) -> f64 {
    let odds = (p / (1.0 - p)).ln();
    let mut log_term = trials as f64 * (1.0 - p).ln();
    let mut sum = log_term.exp();
    for count in 1..=hits {
        log_term += ((trials + 1 - count) as f64 / count as f64).ln() + odds;
        sum += log_term.exp();
    }
    sum.min(1.0)
}

/// The area under the curve of `honest` against `cheats`: how often the score of a cheat is above that of an honest
/// one, ties counted by half. The interval is Newcombe's (2006, method 5), which has a length at 1 as well.
///
/// # Panics
///
/// When one of the two is empty.
#[must_use]
pub(super) fn auc(honest: &[f64], cheats: &[f64]) -> Estimate {
    assert!(
        !honest.is_empty() && !cheats.is_empty(),
        "both kinds of trials are needed"
    );
    let mut sorted = honest.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |score: f64| {
        let less = sorted.partition_point(|&other| other < score);
        let no_more = sorted.partition_point(|&other| other <= score);
        (less + no_more) as f64 / 2.0
    };
    let pairs = honest.len() as f64 * cheats.len() as f64;
    let value = cheats.iter().map(|&score| below(score)).sum::<f64>() / pairs;
    let deviation = |area: f64| Z * area_variance(area, honest.len() as f64, cheats.len() as f64).sqrt();
    Estimate {
        value,
        low: bisect(|area| area + deviation(area) >= value).min(value),
        high: 1.0 - bisect(|rest| 1.0 - rest - deviation(1.0 - rest) <= value).min(1.0 - value),
    }
}

/// Variance of the area under a curve (Hanley and McNeil 1982, with Newcombe's mean size for both kinds).
fn area_variance(area: f64, honest: f64, cheats: f64) -> f64 {
    let others = f64::midpoint(honest, cheats) - 1.0;
    let spread = 1.0 + others * (1.0 - area) / (2.0 - area) + others * area / (1.0 + area);
    (area * (1.0 - area) * spread / (honest * cheats)).max(0.0)
}

/// The mean of some numbers with the normal 95 % interval.
#[must_use]
pub(super) fn mean(values: &[f64]) -> Estimate {
    let count = values.len().max(1) as f64;
    let value = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|other| (other - value).powi(2)).sum();
    let deviation = Z * (squares / (count - 1.0).max(1.0) / count).sqrt();
    Estimate {
        value,
        low: value - deviation,
        high: value + deviation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Estimate, expected: [f64; 3]) {
        for (found, expected) in [found.value, found.low, found.high].iter().zip(expected) {
            assert!((found - expected).abs() < 5e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn shares_have_the_intervals_of_the_tables() {
        // 0 of n: the upper end is 1 - 0.025^(1/n); 1 of 10 and 5 of 10 are in every table.
        check(share(0, 5_000), [0.0, 0.0, 0.000_737_5]);
        check(share(1, 10), [0.1, 0.002_529, 0.445_016]);
        check(share(5, 10), [0.5, 0.187_086, 0.812_914]);
        check(share(10, 10), [1.0, 0.691_503, 1.0]);
    }

    #[test]
    fn areas_count_ties_by_half_and_are_never_certain() {
        let honest = [0.0, 0.0, 1.0, 2.0];
        assert_eq!(auc(&honest, &[3.0, 4.0]).value, 1.0);
        assert_eq!(auc(&honest, &[0.0]).value, 0.25);
        assert_eq!(auc(&honest, &[1.5, 1.0]).value, (3.0 + 2.5) / 8.0);
        let perfect = auc(&[0.0; 200], &[1.0; 200]);
        assert!(
            perfect.low > 0.98 && perfect.low < 0.995 && perfect.high == 1.0,
            "{perfect:?}"
        );
        let even = auc(&[0.0; 50], &[0.0; 50]);
        assert!(even.low < 0.45 && even.high > 0.55, "{even:?}");
    }

    #[test]
    fn means_have_their_interval() {
        let found = mean(&[1.0, 2.0, 3.0, 4.0]);
        let half = Z * (5.0f64 / 3.0 / 4.0).sqrt();
        check(found, [2.5, 2.5 - half, 2.5 + half]);
    }
}
