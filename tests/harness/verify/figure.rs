//! What a row has to say: figures with their intervals and the bounds that they are held against.

use std::fmt;

use serde_json::{Value, json};

use super::stats::Estimate;

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Nothing: it is reported.
    None,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, and on what.
    pub what: String,
    /// The figure and its interval; both ends are the value where there is no chance in it.
    pub estimate: Estimate,
    /// Trials behind it.
    pub trials: usize,
    /// What it is held against.
    pub bound: Bound,
}

impl Figure {
    /// A figure that is reported and held against nothing.
    #[must_use]
    pub fn new(what: impl Into<String>, estimate: Estimate, trials: usize) -> Self {
        Self {
            what: what.into(),
            estimate,
            trials,
            bound: Bound::None,
        }
    }

    /// A figure without chance.
    #[must_use]
    pub fn plain(what: impl Into<String>, value: f64, trials: usize) -> Self {
        let estimate = Estimate {
            value,
            low: value,
            high: value,
        };
        Self::new(what, estimate, trials)
    }

    /// Holds the figure against a bound.
    #[must_use]
    pub fn bound(mut self, bound: Bound) -> Self {
        self.bound = bound;
        self
    }

    /// Whether the value, not its interval, keeps to the bound.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(limit) => self.estimate.value <= limit,
            Bound::AtLeast(limit) => self.estimate.value >= limit,
            Bound::None => true,
        }
    }

    fn as_json(&self) -> Value {
        let (kind, limit) = match self.bound {
            Bound::AtMost(limit) => ("at most", Some(limit)),
            Bound::AtLeast(limit) => ("at least", Some(limit)),
            Bound::None => ("reported", None),
        };
        json!({
            "what": self.what,
            "value": self.estimate.value,
            "low": self.estimate.low,
            "high": self.estimate.high,
            "trials": self.trials,
            "bound": kind,
            "limit": limit,
            "met": self.is_met(),
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Estimate { value, low, high } = self.estimate;
        write!(f, "{:62} {value:10.5}", self.what)?;
        if low < high {
            write!(f, "  ({low:.5} to {high:.5})")?;
        }
        write!(f, "  of {}", self.trials)?;
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        match self.bound {
            Bound::AtMost(limit) => write!(f, "  at most {limit}: {verdict}"),
            Bound::AtLeast(limit) => write!(f, "  at least {limit}: {verdict}"),
            Bound::None => Ok(()),
        }
    }
}

/// All figures of one test.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `VER-1` to `VER-7`.
    pub id: &'static str,
    /// What is tested.
    pub title: &'static str,
    /// What was found.
    pub figures: Vec<Figure>,
}

impl Row {
    /// Whether every bound is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.figures.iter().all(Figure::is_met)
    }

    /// The row for programs.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({
            "id": self.id,
            "title": self.title,
            "met": self.is_met(),
            "figures": self.figures.iter().map(Figure::as_json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.id, self.title)?;
        self.figures
            .iter()
            .try_for_each(|figure| writeln!(f, "  {figure}"))
    }
}
