//! What the tool prints: products to standard output, everything else to standard error.
//!
//! Tables are for people: columns are aligned, numbers shortened, addresses cut in the middle. Programs ask for
//! JSON, in which nothing is shortened: amounts are whole numbers of base units, keys are addresses, shares are
//! parts of 65535 as the ledger keeps them.

use std::fmt::{self, Display};
use std::io::{self, Write};

use agon_protocol::amount::{Amount, BASE_UNITS_PER_UNIT};
use serde::Serialize;
use thiserror::Error;

/// Letters kept at each end of a shortened address: enough to tell the keys of one table apart.
const ADDRESS_END_CHARS: usize = 6;

/// Whoever read standard output went away.
#[derive(Debug, Error)]
#[error("standard output was closed")]
pub struct Closed;

/// Writes one line, or several, to standard output.
///
/// # Errors
///
/// [`Closed`] when nobody reads any more; any other failure of the system.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        written => Ok(written?),
    }
}

/// Writes a value as one line of JSON to standard output.
///
/// # Errors
///
/// As [`print()`].
pub fn print_json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print(serde_json::to_string(value)?)
}

/// Says something to whoever started the tool, on standard error.
pub fn note(text: impl Display) {
    // Nobody to tell it to is no reason to fail.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// To which side a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names and sentences.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header, for people. The last column is not padded.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell for each column.
    ///
    /// # Panics
    ///
    /// When the row has another length: our own mistake.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells.into());
    }

    /// Adds a row, one cell for each column, where the columns are chosen by whoever reads.
    ///
    /// # Panics
    ///
    /// As [`Table::row`].
    pub fn cells(&mut self, cells: Vec<String>) {
        assert_eq!(
            cells.len(),
            self.columns.len(),
            "a row has a cell for each column"
        );
        self.rows.push(cells);
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([self.columns[column].0.chars().count()])
                .max()
                .unwrap_or(0)
        };
        (0..self.columns.len()).map(width).collect()
    }

    fn write_row<'a>(
        &self,
        f: &mut fmt::Formatter<'_>,
        widths: &[usize],
        cells: impl Iterator<Item = &'a str>,
    ) -> fmt::Result {
        let mut line = String::new();
        for ((cell, (_, align)), width) in cells.zip(&self.columns).zip(widths) {
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                Align::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        f.write_str(line.trim_end())
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        self.write_row(f, &widths, self.columns.iter().map(|(name, _)| *name))?;
        for row in &self.rows {
            f.write_str("\n")?;
            self.write_row(f, &widths, row.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

/// A key's address, cut in the middle.
#[must_use]
pub fn short(address: impl Display) -> String {
    let address = address.to_string();
    let (Some(head), Some(tail)) = (
        address.get(..ADDRESS_END_CHARS),
        address
            .len()
            .checked_sub(ADDRESS_END_CHARS)
            .and_then(|at| address.get(at..)),
    ) else {
        return address;
    };
    if address.len() <= 2 * ADDRESS_END_CHARS {
        address
    } else {
        format!("{head}..{tail}")
    }
}

/// An amount in whole units with three decimals, rounded down.
#[must_use]
pub fn units(amount: Amount) -> String {
    let milli = amount.base_units() / (BASE_UNITS_PER_UNIT / 1000);
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

/// Parts of 65535 as a percentage with two decimals.
#[must_use]
pub fn percent(parts: u16) -> String {
    format!("{:.2}", f64::from(parts) * 100.0 / f64::from(u16::MAX))
}

/// Parts per million as a percentage with two decimals, cut off.
#[must_use]
pub fn percent_of_ppm(ppm: u32) -> String {
    format!("{}.{:02}", ppm / 10_000, ppm / 100 % 100)
}

/// `yes`, or nothing.
#[must_use]
pub fn yes(is_so: bool) -> String {
    if is_so { "yes".to_owned() } else { String::new() }
}

/// `text` on one line of at most `chars_max` letters.
#[must_use]
pub fn one_line(text: &str, chars_max: usize) -> String {
    let clean: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if clean.chars().count() <= chars_max {
        return clean;
    }
    let kept: String = clean.chars().take(chars_max.saturating_sub(2)).collect();
    format!("{kept}..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[
            ("uid", Align::Right),
            ("name", Align::Left),
            ("note", Align::Left),
        ]);
        table.row(["1".into(), "a".into(), "x".into()]);
        table.row(["1000".into(), "longer".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            " uid  name    note\n   1  a       x\n1000  longer"
        );
    }

    #[test]
    fn amounts_are_rounded_down_for_people() {
        assert_eq!(units(Amount::from_base_units(1_999_999)), "0.001");
        assert_eq!(units(Amount::from_base_units(12_345_678_901)), "12.345");
    }

    #[test]
    fn addresses_keep_their_ends() {
        assert_eq!(
            short("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
            "5Grwva..GKutQY"
        );
        assert_eq!(short("5Grwva"), "5Grwva");
        assert_eq!(short(""), "");
    }

    #[test]
    fn a_text_from_outside_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{1b}[2J", 40), "a b [2J");
        assert_eq!(one_line("abcdef", 4), "ab..");
    }
}
