//! How far long work is, for those who wait for it.

use std::time::{Duration, Instant};

use thiserror::Error;

/// How far a long piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is counted, as in `entries`.
    pub what: &'static str,
    /// How many are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// Whoever waits does not want it any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("interrupted")]
pub struct Interrupted;

/// Who is told how far a piece of work is, and may end it.
pub type Watch<'a> = &'a mut dyn FnMut(Step) -> Result<(), Interrupted>;

/// For work that nobody watches.
///
/// # Errors
///
/// Never.
pub const fn unwatched(_: Step) -> Result<(), Interrupted> {
    Ok(())
}

/// Time between two lines about the same work.
const INTERVAL: Duration = Duration::from_secs(2);

/// Turns many steps into few lines for people.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    last: Instant,
}

impl Pace {
    /// Begins now; the first line comes only when the work is not done soon.
    #[must_use]
    pub fn begin() -> Self {
        Self { last: Instant::now() }
    }

    /// A line about `step`, if one is due.
    pub fn line(&mut self, step: Step) -> Option<String> {
        if self.last.elapsed() < INTERVAL {
            return None;
        }
        self.last = Instant::now();
        let Step { what, done, total } = step;
        Some(match total {
            0 => format!("{what}: {done}"),
            total => format!("{what}: {done} of {total}"),
        })
    }
}
