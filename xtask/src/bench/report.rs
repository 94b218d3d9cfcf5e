//! What was measured, in medians and in ratios of what was measured in the same round.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::engine::Rates;
use crate::json;

/// The model that ratios speak of.
const MODEL: &str = "120M";

/// Everything about one model, count of threads and batch.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    model: String,
    threads: usize,
    batch: usize,
    /// Rates of each engine, one for each round.
    rates: BTreeMap<String, Vec<Rates>>,
    /// How long each engine took for them.
    times: BTreeMap<String, Duration>,
    /// Steps per second that memory allows, one for each round.
    bounds: Vec<f64>,
    /// Bytes per second that memory gives, likewise.
    bandwidths: Vec<f64>,
}

impl Cell {
    pub(super) fn new(model: &str, threads: usize, batch: usize) -> Cell {
        Cell {
            model: model.to_owned(),
            threads,
            batch,
            rates: BTreeMap::new(),
            times: BTreeMap::new(),
            bounds: Vec::new(),
            bandwidths: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, engine: &str, rates: Rates, time: Duration) {
        self.rates.entry(engine.to_owned()).or_default().push(rates);
        *self.times.entry(engine.to_owned()).or_default() += time;
    }

    /// How long an engine has been measured.
    pub(super) fn time_of(&self, engine: &str) -> Duration {
        self.times.get(engine).copied().unwrap_or_default()
    }

    pub(super) fn add_bound(&mut self, bandwidth: f64, step_bytes: f64) {
        self.bandwidths.push(bandwidth);
        self.bounds.push(bandwidth / step_bytes);
    }

    /// Rounds so far; a slow engine may have sat out the last of them.
    pub(super) fn rounds(&self) -> usize {
        self.rates.values().map(Vec::len).max().unwrap_or(0)
    }

    /// Median tokens per second of decoding, for a line of progress.
    pub(super) fn line(&self) -> String {
        let one = |(name, rates): (&String, &Vec<Rates>)| {
            format!(
                "{name} {:.0}",
                median(rates.iter().map(|rates| rates.decode).collect())
            )
        };
        let all: Vec<String> = self.rates.iter().map(one).collect();
        format!("  {} rounds, tokens/s: {}", self.rounds(), all.join(", "))
    }

    fn decode(&self, engine: &str) -> Option<Vec<f64>> {
        let rates = self.rates.get(engine)?;
        Some(rates.iter().map(|rates| rates.decode).collect())
    }

    fn prompt(&self, engine: &str) -> Option<Vec<f64>> {
        let rates = self.rates.get(engine)?;
        Some(rates.iter().map(|rates| rates.prompt).collect())
    }
}

/// All cells.
#[derive(Debug, Default)]
pub(super) struct Report {
    cells: Vec<Cell>,
}

/// Ratios by name: batch, our engine, the other, and whether it is about prompts.
const RATIOS: [(&str, usize, &str, &str, bool); 11] = [
    ("transformers_bf16_b1", 1, "ours bf16", "transformers bf16", false),
    ("transformers_bf16_b8", 8, "ours bf16", "transformers bf16", false),
    (
        "transformers_bf16_b32",
        32,
        "ours bf16",
        "transformers bf16",
        false,
    ),
    ("llamacpp_bf16_b1", 1, "ours bf16", "llamacpp bf16", false),
    ("llamacpp_bf16_b8", 8, "ours bf16", "llamacpp bf16", false),
    ("llamacpp_bf16_b32", 32, "ours bf16", "llamacpp bf16", false),
    ("llamacpp_q8_b1", 1, "ours int8", "llamacpp q8", false),
    ("llamacpp_q8_b32", 32, "ours int8", "llamacpp q8", false),
    (
        "transformers_bf16_prefill",
        1,
        "ours bf16",
        "transformers bf16",
        true,
    ),
    ("llamacpp_bf16_prefill", 1, "ours bf16", "llamacpp bf16", true),
    ("llamacpp_q8_prefill", 1, "ours int8", "llamacpp q8", true),
];

impl Report {
    pub(super) fn add(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// One line for each cell and engine.
    pub(super) fn table(&self) -> String {
        let mut table = format!(
            "{:>6} {:>7} {:>5}  {:18} {:>12} {:>12}\n",
            "model", "threads", "batch", "engine", "decode tok/s", "prompt tok/s"
        );
        for cell in &self.cells {
            let place = format!("{:>6} {:>7} {:>5}", cell.model, cell.threads, cell.batch);
            for name in cell.rates.keys() {
                let of = |rates: Option<Vec<f64>>| rates.map_or(0.0, median);
                let (decode, prompt) = (of(cell.decode(name)), of(cell.prompt(name)));
                // Writing to a text cannot fail.
                let _ = writeln!(table, "{place}  {name:18} {decode:>12.1} {prompt:>12.1}");
            }
            if !cell.bounds.is_empty() {
                let (bound, bandwidth) = (median(cell.bounds.clone()), median(cell.bandwidths.clone()));
                let name = format!("memory {:.1} GB/s", bandwidth / 1e9);
                let _ = writeln!(table, "{place}  {name:18} {bound:>12.1}");
            }
        }
        for (name, value) in self.ratios() {
            let _ = writeln!(table, "{name}: {value:.2}");
        }
        table
    }

    /// Medians of the ratios of each round; of several counts of threads, the lowest.
    fn ratios(&self) -> Vec<(&'static str, f64)> {
        let mut ratios = Vec::new();
        for (name, batch, own, other, is_prompt) in RATIOS {
            let of = |cell: &Cell, engine: &str| match is_prompt {
                true => cell.prompt(engine),
                false => cell.decode(engine),
            };
            let worst = self.worst(batch, |cell| Some((of(cell, own)?, of(cell, other)?)));
            ratios.extend(worst.map(|value| (name, value)));
        }
        let bound = |cell: &Cell| match cell.bounds.is_empty() {
            true => None,
            false => Some((cell.decode("ours bf16")?, cell.bounds.clone())),
        };
        ratios.extend(self.worst(1, bound).map(|value| ("bandwidth_b1", value)));
        ratios
    }

    /// The lowest median of ratios of `pairs` among the cells of the model that ratios speak of.
    fn worst(&self, batch: usize, pairs: impl Fn(&Cell) -> Option<(Vec<f64>, Vec<f64>)>) -> Option<f64> {
        let cells = self
            .cells
            .iter()
            .filter(|cell| cell.model == MODEL && cell.batch == batch);
        let ratio = |(own, other): (Vec<f64>, Vec<f64>)| {
            median(own.iter().zip(&other).map(|(own, other)| own / other).collect())
        };
        cells.filter_map(pairs).map(ratio).reduce(f64::min)
    }

    /// One line: ratios, then every median.
    pub(super) fn json(&self) -> String {
        let pair = |(name, value): &(&str, f64)| format!("{}:{value:.3}", json::string(name));
        let ratios: Vec<String> = self.ratios().iter().map(pair).collect();
        let mut cells = Vec::new();
        for cell in &self.cells {
            for (name, rates) in &cell.rates {
                let of = |rate: fn(&Rates) -> f64| median(rates.iter().map(rate).collect());
                cells.push(format!(
                    "{{\"model\":{},\"threads\":{},\"batch\":{},\"engine\":{},\"decode\":{:.1},\"prompt\":{:.1},\"rounds\":{}}}",
                    json::string(&cell.model),
                    cell.threads,
                    cell.batch,
                    json::string(name),
                    of(|rates| rates.decode),
                    of(|rates| rates.prompt),
                    rates.len()
                ));
            }
        }
        let bandwidths: Vec<f64> = self
            .cells
            .iter()
            .flat_map(|cell| cell.bandwidths.clone())
            .collect();
        let bandwidth = if bandwidths.is_empty() {
            0.0
        } else {
            median(bandwidths)
        };
        format!(
            "{{\"ratios\":{{{}}},\"bandwidth_bytes_per_second\":{bandwidth:.0},\"tokens_per_second\":[{}]}}",
            ratios.join(","),
            cells.join(",")
        )
    }
}

/// The middle of `values`, or the mean of the two in the middle; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(threads: usize, ours: &[f64], theirs: &[f64]) -> Cell {
        let mut cell = Cell::new(MODEL, threads, 1);
        for (name, rates) in [("ours bf16", ours), ("llamacpp bf16", theirs)] {
            for &decode in rates {
                let prompt = 2.0 * decode;
                cell.add(name, Rates { prompt, decode }, Duration::from_secs(1));
            }
        }
        cell
    }

    #[test]
    fn ratios_are_medians_over_rounds_and_the_lowest_over_threads() {
        let mut report = Report::default();
        let mut one = cell(1, &[10.0, 30.0, 12.0], &[10.0, 10.0, 10.0]);
        for _ in 0..3 {
            one.add_bound(120.0, 5.0);
        }
        report.add(one);
        report.add(cell(2, &[11.0, 11.0], &[10.0, 10.0]));
        let found: Vec<_> = report.ratios();
        let expected = [
            ("llamacpp_bf16_b1", 1.1),
            ("llamacpp_bf16_prefill", 1.1),
            ("bandwidth_b1", 0.5),
        ];
        assert_eq!(found, expected);
        let json = report.json();
        assert!(
            json.starts_with("{\"ratios\":{\"llamacpp_bf16_b1\":1.100,"),
            "{json}"
        );
        assert!(report.table().contains("memory 0.0 GB/s"));
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![3.0, 1.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
