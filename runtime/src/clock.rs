//! The one place that reads the time of day.
//!
//! A [`Clock`] is either the machine's or a simulated one, which starts at a given time and advances with tokio's
//! clock: under a paused runtime, time passes only when every task sleeps. Inside a network simulation it follows
//! the time of the simulation, which all hosts share and which a restart of a host does not set back.
//!
//! Durations on one machine (deadlines, intervals) need no `Clock`: `tokio::time` measures them, and is simulated
//! just as well.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// How long [`Clock::sleep_until_ms`] sleeps before it looks at the machine's clock again, which may have been set
/// meanwhile.
const RECHECK: Duration = Duration::from_secs(1);

/// Tells the time of day; cheap to clone, and clones agree.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Skewed(Arc<AtomicI64>),
    Simulated {
        epoch_ms: u64,
        origin: Arc<OnceLock<Instant>>,
    },
}

impl Clock {
    /// The machine's clock. It may jump, in both directions, when somebody sets it.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// The machine's clock, but wrong: ahead by as many milliseconds as `skew_ms` says, behind where it is negative.
    /// It jumps when somebody changes that, for tests of what a wrong clock does.
    pub fn skewed(skew_ms: Arc<AtomicI64>) -> Self {
        Self(Source::Skewed(skew_ms))
    }

    /// A clock that shows `epoch_ms` when it is first read (inside a network simulation: when the simulation began)
    /// and advances with tokio's clock.
    ///
    /// - **Units**: milliseconds since 1970-01-01T00:00:00Z.
    pub fn simulated(epoch_ms: u64) -> Self {
        Self(Source::Simulated {
            epoch_ms,
            origin: Arc::default(),
        })
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, rounded down; 0 on a machine whose clock is set before that.
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Source::System => as_ms(since_1970()),
            Source::Skewed(skew_ms) => {
                as_ms(since_1970()).saturating_add_signed(skew_ms.load(Ordering::Relaxed))
            }
            Source::Simulated { epoch_ms, origin } => {
                epoch_ms.saturating_add(as_ms(simulated_elapsed(origin)))
            }
        }
    }

    /// Sleeps until [`now_ms`](Self::now_ms) is at least `at_ms`; returns at once when it already is.
    pub async fn sleep_until_ms(&self, at_ms: u64) {
        loop {
            let left = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(self.step(left)).await;
        }
    }

    fn step(&self, left: Duration) -> Duration {
        match self.0 {
            Source::System | Source::Skewed(_) => left.min(RECHECK),
            Source::Simulated { .. } => left,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is where the time of day enters")]
fn since_1970() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

/// Instants of different hosts of a simulation cannot be subtracted, so its own count of time goes first.
fn simulated_elapsed(origin: &OnceLock<Instant>) -> Duration {
    #[cfg(feature = "simulation")]
    if let Some(elapsed) = turmoil::sim_elapsed() {
        return elapsed;
    }
    origin.get_or_init(Instant::now).elapsed()
}

fn as_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_time_passes_only_while_everyone_sleeps() {
        let clock = Clock::simulated(1_000);
        assert_eq!(clock.now_ms(), 1_000);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(clock.now_ms(), 3_601_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_at_the_time_it_named_and_not_before() {
        let clock = Clock::simulated(1_000);
        clock.sleep_until_ms(61_234).await;
        assert_eq!(clock.now_ms(), 61_234);
        clock.sleep_until_ms(5).await;
        assert_eq!(clock.now_ms(), 61_234);
    }

    #[tokio::test(start_paused = true)]
    async fn clones_agree_on_the_time() {
        let clock = Clock::simulated(7);
        let clone = clock.clone();
        assert_eq!(clock.now_ms(), 7);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!((clock.now_ms(), clone.now_ms()), (12, 12));
    }

    #[test]
    fn a_skewed_clock_is_wrong_by_what_it_was_told() {
        let skew_ms = Arc::new(AtomicI64::new(0));
        let clock = Clock::skewed(Arc::clone(&skew_ms));
        for wrong in [3_600_000, -3_600_000] {
            skew_ms.store(wrong, Ordering::Relaxed);
            let right = Clock::system().now_ms();
            assert!(clock.now_ms() >= right.saturating_add_signed(wrong));
            assert!(clock.now_ms() <= Clock::system().now_ms().saturating_add_signed(wrong));
        }
        skew_ms.store(i64::MIN, Ordering::Relaxed);
        assert_eq!(clock.now_ms(), 0);
    }

    #[test]
    fn the_system_clock_shows_a_time_after_this_was_written() {
        assert!(Clock::system().now_ms() > 1_750_000_000_000);
    }
}
