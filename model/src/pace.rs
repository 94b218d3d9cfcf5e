//! How fast a model has been at its best lately, to tell what cannot be done in time any more. No clock.
//!
//! The estimate is meant to be too low rather than too high, so that nothing is dropped that had a chance: it is
//! made of best times, and knows nothing of who else waits.

use std::time::Duration;

/// A best time grows by at most this part for each slower sample, so that an outlier counts for little.
const FORGETTING: f64 = 0.01;
/// What is left of the estimates after each request that was dropped for them: wrong ones cannot drop requests for
/// ever, also where nothing runs any more that would correct them.
const DOUBT: f64 = 0.9;

/// The best times lately, in seconds; nothing is known before the first sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pace {
    step: Option<f64>,
    prompt_token: Option<f64>,
}

impl Pace {
    /// Learns from a turn in which `prompt_tokens` were taken in and `rows` requests made a step.
    pub(crate) fn learn(&mut self, prompt_tokens: u64, rows: usize, took: Duration) {
        let took = took.as_secs_f64();
        if prompt_tokens == 0 && rows > 0 {
            approach(&mut self.step, took);
        } else if prompt_tokens > 0 {
            let steps = if rows > 0 { self.step.unwrap_or(0.0) } else { 0.0 };
            let each = (took - steps).max(0.0) / prompt_tokens as f64;
            approach(&mut self.prompt_token, each);
        }
    }

    /// What it takes at least until `tokens` tokens follow a prompt of which `prompt_tokens` are left; the first
    /// comes with the prompt's end.
    pub(crate) fn at_least(&self, prompt_tokens: usize, tokens: u32) -> Duration {
        let prompt = prompt_tokens as f64 * self.prompt_token.unwrap_or(0.0);
        let steps = f64::from(tokens.saturating_sub(1)) * self.step.unwrap_or(0.0);
        Duration::try_from_secs_f64(prompt + steps).unwrap_or(Duration::MAX)
    }

    /// Notes that a request was dropped for what [`Pace::at_least`] said.
    pub(crate) fn doubt(&mut self) {
        for best in [&mut self.step, &mut self.prompt_token].into_iter().flatten() {
            *best *= DOUBT;
        }
    }
}

/// Takes a better sample at once, and comes a little nearer to a worse one.
fn approach(best: &mut Option<f64>, sample: f64) {
    *best = Some(match *best {
        Some(best) => sample.min(best * (1.0 + FORGETTING)),
        None => sample,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What 100 prompt tokens and 11 of an answer take at least, in milliseconds, after turns of
    /// (prompt tokens, rows, milliseconds).
    #[track_caller]
    fn check(turns: &[(u64, usize, u32)], expected_ms: u128) {
        let mut pace = Pace::default();
        for &(prompt_tokens, rows, took_ms) in turns {
            pace.learn(prompt_tokens, rows, took_ms * MS);
        }
        assert_eq!(pace.at_least(100, 11).as_micros().div_ceil(1000), expected_ms);
    }

    #[test]
    fn nothing_is_too_late_before_anything_was_measured() {
        check(&[], 0);
        check(&[(0, 0, 500)], 0);
    }

    #[test]
    fn steps_and_prompts_are_told_apart() {
        check(&[(0, 4, 3)], 30);
        check(&[(50, 0, 25)], 50);
        // A turn with both: what the step does not explain is the prompt's.
        check(&[(0, 4, 3), (50, 4, 28)], 80);
    }

    #[test]
    fn the_best_counts_and_is_forgotten_slowly() {
        check(&[(0, 1, 2), (0, 1, 100)], 21);
        check(&[(0, 1, 100), (0, 1, 2)], 20);
        let slow = [(0, 1, 2)].into_iter().chain([(0, 1, 10); 200]);
        check(&slow.collect::<Vec<_>>(), 100);
    }

    #[test]
    fn a_wrong_estimate_does_not_drop_requests_for_ever() {
        let mut pace = Pace::default();
        pace.learn(0, 1, 3600 * 1000 * MS);
        for _ in 0..150 {
            pace.doubt();
        }
        assert!(pace.at_least(1, 2) < Duration::from_secs(1));
    }

    #[test]
    fn an_estimate_beyond_all_time_is_no_panic() {
        let mut pace = Pace::default();
        pace.learn(1, 0, Duration::MAX);
        assert_eq!(pace.at_least(usize::MAX, 1), Duration::MAX);
    }
}
