//! What a localnet tells: one JSON object for each event on standard output, or lines and a live table for people.
//!
//! Names of events and fields stay as they are. Amounts are base units, shares parts of 65535.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use agon_protocol::message::EpochView;
use agon_runtime::Clock;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::audits::Audit;
use super::board::{Row, table};
use super::income::Income;
use crate::output::{note, print, print_json};

/// How often a live table is drawn.
const REDRAW: Duration = Duration::from_secs(1);

/// One event.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// Every process runs, every validator has its stake.
    Started {
        /// The ledger's address.
        ledger: String,
        /// Where everything is.
        folder: String,
        /// The subnet.
        netuid: u16,
        /// Address of each miner by name.
        miners: BTreeMap<String, String>,
        /// Time since the command was given.
        seconds: f64,
    },
    /// An epoch ran.
    Epoch {
        /// The tempo it ended.
        tempo: u64,
        /// The block that ran it.
        height: u64,
        /// Paid to miners.
        miners_paid: u64,
        /// Paid to validators.
        validators_paid: u64,
        /// Paid to the owner.
        owner_paid: u64,
        /// Held because nobody earned it.
        held: u64,
    },
    /// A tempo ended in which validators held permits.
    Tempo {
        /// Its number on the ledger.
        tempo: u64,
        /// Its number among those that count, from 1.
        counted: u64,
        /// Everybody.
        rows: &'a [Row],
    },
    /// The end.
    Summary(Box<Summary>),
}

/// One neuron in the summary.
#[derive(Debug, Serialize)]
pub struct Neuron {
    uid: u16,
    hotkey: String,
    role: &'static str,
    model: Option<&'static str>,
    attack: Option<&'static str>,
    incentive: u16,
    dividends: u16,
    coverage_ppm: Option<u32>,
    emission: u64,
    stake: u64,
    rating: Option<f64>,
    weight: Option<f64>,
}

impl From<&Row> for Neuron {
    fn from(row: &Row) -> Self {
        Self {
            uid: row.uid,
            hotkey: row.hotkey.clone(),
            role: row.role,
            model: row.model,
            attack: row.attack,
            incentive: row.incentive,
            dividends: row.dividends,
            coverage_ppm: row.coverage_ppm,
            emission: row.earned,
            stake: row.stake,
            rating: row.rating,
            weight: row.weight,
        }
    }
}

/// The end of a run.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Everybody; `emission` is what it was paid over the run.
    pub neurons: Vec<Neuron>,
    /// What each attack earned beside the honest.
    pub attacks: Vec<Income>,
    /// Whether the weights of each validator follow from its evidence.
    pub audits: Vec<Audit>,
    /// Tempos that counted.
    pub tempos: u64,
    /// Epochs that paid miners.
    pub epochs_paid: u64,
    /// From the command to the first of them.
    pub seconds_to_first_paid_epoch: Option<f64>,
    /// From the command to the end.
    pub seconds: f64,
    /// Most memory that all processes together had resident.
    pub resident_bytes_peak: u64,
    /// All base units before the first transaction.
    pub issuance_before: u64,
    /// All base units at the end, as the replay of all blocks finds it.
    pub issuance_after: Option<u64>,
    /// Where they are.
    pub holdings: Value,
    /// Whether what all hold sums to the issuance.
    pub holdings_match: bool,
    /// What `agon-node verify` says of the folder.
    pub verify: Value,
}

/// Where events are told.
#[derive(Debug)]
pub struct Report {
    json: bool,
    live: bool,
    began: Instant,
    drawn: Option<Instant>,
    lines_drawn: usize,
}

impl Report {
    /// For programs with `json`; else for people, live where standard output is a terminal.
    #[must_use]
    pub fn new(json: bool, began: Instant) -> Self {
        let live = !json && io::stdout().is_terminal();
        Self {
            json,
            live,
            began,
            drawn: None,
            lines_drawn: 0,
        }
    }

    /// Seconds since the command was given.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0
    }

    /// Says what is being done, on standard error.
    pub fn step(&mut self, text: &str) {
        // A live table stands where the line would go. A closed standard output shows up with the next event.
        let _ = self.erase();
        note(format!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    /// Tells an event; people get `text`.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub fn tell(&mut self, event: &Event<'_>, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            return print_json(event);
        }
        let text = text();
        if text.is_empty() {
            return Ok(());
        }
        self.erase()?;
        print(text)
    }

    /// Whether there is a live table, which makes others superfluous.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// Whether a live table is due.
    #[must_use]
    pub fn wants_rows(&self) -> bool {
        self.live && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW)
    }

    /// Draws the live table in place of the one before.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub fn draw(&mut self, head: &str, rows: &[Row]) -> anyhow::Result<()> {
        if !self.live {
            return Ok(());
        }
        let text = format!("{head}\n{}", table(rows, Clock::system().now_ms()));
        self.erase()?;
        // Lines are cut at the right edge instead of wrapped, so that their number is known.
        print(format!("\x1b[?7l{text}\x1b[?7h"))?;
        self.lines_drawn = text.lines().count();
        self.drawn = Some(Instant::now());
        Ok(())
    }

    fn erase(&mut self) -> anyhow::Result<()> {
        if self.lines_drawn > 0 {
            let mut stdout = io::stdout().lock();
            write!(stdout, "\x1b[{}A\x1b[J", self.lines_drawn)?;
            stdout.flush()?;
            self.lines_drawn = 0;
        }
        Ok(())
    }
}

impl Event<'_> {
    /// An epoch as the ledger tells it.
    #[must_use]
    pub const fn of_epoch(epoch: &EpochView, height: u64) -> Self {
        Self::Epoch {
            tempo: epoch.tempo,
            height,
            miners_paid: epoch.miners_paid.base_units(),
            validators_paid: epoch.validators_paid.base_units(),
            owner_paid: epoch.owner_paid.base_units(),
            held: epoch.held.base_units(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_itself() {
        let event = Event::Tempo {
            tempo: 3,
            counted: 1,
            rows: &[],
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"tempo","tempo":3,"counted":1,"rows":[]}"#
        );
    }

    #[test]
    fn the_summary_is_one_flat_object() {
        let summary = Summary {
            neurons: Vec::new(),
            attacks: Vec::new(),
            audits: Vec::new(),
            tempos: 2,
            epochs_paid: 1,
            seconds_to_first_paid_epoch: Some(31.5),
            seconds: 33.0,
            resident_bytes_peak: 7,
            issuance_before: 1,
            issuance_after: Some(2),
            holdings: Value::Null,
            holdings_match: true,
            verify: Value::Null,
        };
        let value = serde_json::to_value(Event::Summary(Box::new(summary))).unwrap();
        assert_eq!(
            (&value["event"], &value["issuance_after"]),
            (&"summary".into(), &2.into())
        );
    }
}
