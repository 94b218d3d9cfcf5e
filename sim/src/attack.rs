//! What an attack is to the simulator: cases, a figure for each, and what that figure has to be.
//!
//! # With and without
//!
//! Each case is run twice. With the defence **off** the subnet is as published designs have it, and the attack must
//! pay what was published or measured of it: a test of a defence against an attack that does not work says nothing,
//! so such a case is *void*. With the defence **on** the subnet follows Agon's rules, and the figure must stay within
//! the bound with its whole 95 % interval.

use std::fmt;

use serde::Serialize;

use crate::estimate::Estimate;

/// Whether the rules against an attack are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defence {
    /// As published designs have it.
    Off,
    /// Agon's rules.
    On,
}

impl Defence {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// One run of a case.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Which rules.
    pub defence: Defence,
    /// How many epochs the subnet runs; a case that needs none ignores it.
    pub epochs: u32,
    /// The seed.
    pub seed: u64,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The whole interval at or below this.
    AtMost(f64),
    /// The whole interval at or above this.
    AtLeast(f64),
    /// The mean within a tenth of this, or the interval holds it: a figure that was published or measured before.
    Near(f64),
}

/// How far from a published figure the mean may lie, as a share of it.
const NEAR: f64 = 0.1;

impl Bound {
    /// Whether an estimate keeps to it.
    #[must_use]
    pub fn holds(self, estimate: &Estimate) -> bool {
        match self {
            Self::AtMost(bound) => estimate.high <= bound,
            Self::AtLeast(bound) => estimate.low >= bound,
            Self::Near(figure) => {
                let is_inside = estimate.low <= figure && figure <= estimate.high;
                (estimate.mean - figure).abs() <= NEAR * figure.abs() || is_inside
            }
        }
    }

    /// The number in it.
    #[must_use]
    pub const fn figure(self) -> f64 {
        match self {
            Self::AtMost(figure) | Self::AtLeast(figure) | Self::Near(figure) => figure,
        }
    }

    /// How far inside the bound an estimate is, negative outside: to find the case that is closest to failing.
    #[must_use]
    pub fn slack(self, estimate: &Estimate) -> f64 {
        match self {
            Self::AtMost(bound) => bound - estimate.high,
            Self::AtLeast(bound) => estimate.low - bound,
            Self::Near(figure) => NEAR * figure.abs() - (estimate.mean - figure).abs(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(figure) => write!(f, "<= {figure}"),
            Self::AtLeast(figure) => write!(f, ">= {figure}"),
            Self::Near(figure) => write!(f, "about {figure}"),
        }
    }
}

/// Computes the figure of one trial.
pub type Measure = Box<dyn Fn(Trial) -> f64 + Send + Sync>;

/// One setting in which an attack is tried.
pub struct Case {
    /// What sets it apart, in a few words.
    pub label: String,
    /// What the figure has to be with the defence off; otherwise the case is void.
    pub off: Bound,
    /// What it has to be with the defence on.
    pub on: Bound,
    /// Why the bound is missed, where it is known to be.
    pub open: Option<&'static str>,
    /// Whether it belongs to the exploration of parameters only and is left out of the fast cut.
    pub explores: bool,
    /// The figure.
    pub measure: Measure,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({}: off {}, on {})", self.label, self.off, self.on)
    }
}

/// A way to cheat.
pub trait Attack: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// Its row in the table of attacks, as in `A1`.
    fn row(&self) -> &'static str;
    /// What the attacker does, in one sentence.
    fn about(&self) -> &'static str;
    /// What the figure is, with its unit.
    fn figure(&self) -> &'static str;
    /// The rules that answer it, in one sentence.
    fn defence(&self) -> &'static str;
    /// The settings in which it is tried, the plainest first.
    fn cases(&self) -> Vec<Case>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bound: Bound, low: f64, high: f64, holds: bool) {
        let estimate = Estimate {
            mean: (low + high) / 2.0,
            low,
            high,
        };
        assert_eq!(bound.holds(&estimate), holds, "{bound} {estimate:?}");
        if !matches!(bound, Bound::Near(_)) {
            assert_eq!(bound.slack(&estimate) >= 0.0, holds);
        }
    }

    #[test]
    fn a_bound_takes_the_whole_interval() {
        check(Bound::AtMost(1.0), 0.8, 1.0, true);
        check(Bound::AtMost(1.0), 0.8, 1.01, false);
        check(Bound::AtLeast(1.0), 1.0, 1.3, true);
        check(Bound::AtLeast(1.0), 0.9, 1.3, false);
    }

    #[test]
    fn a_published_figure_is_met_within_a_tenth_or_within_the_noise() {
        check(Bound::Near(2.0), 2.1, 2.2, true);
        check(Bound::Near(2.0), 2.2, 2.3, false);
        check(Bound::Near(2.0), 1.9, 3.5, true);
    }
}
