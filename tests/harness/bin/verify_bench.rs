//! `agon-verify-bench`: measures the rows VER-1 to VER-7 of `docs/verification.md`; `cargo xtask verify-bench`.
//!
//! # Exit codes
//!
//! 0 when every bound is met, 1 when one is missed or a row could not be measured.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the figures are the product, and its progress is told meanwhile"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use agon_runtime::flags;
use agon_tests::verify::{Lab, ROWS, Row, Settings, Size};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use serde_json::json;

/// Measures how well inference is verified
#[derive(Debug, Parser)]
#[command(name = "agon-verify-bench", version)]
struct Cli {
    /// Fewer trials: minutes become seconds, and intervals wider
    #[arg(long)]
    quick: bool,
    /// Print one JSON object in place of a table
    #[arg(long)]
    json: bool,
    /// Measure this row only; may be given again
    #[arg(long, value_name = "ROW", value_parser = PossibleValuesParser::new(ROWS.map(|(id, _)| id)))]
    only: Vec<String>,
    /// Fixes prompts, seeds and draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Folder of the pinned model, which needs a calibration
    #[arg(long, value_name = "DIR", default_value = "models/large")]
    model: PathBuf,
    /// Folder of the smaller model that cheats serve; it shares the tokenizer
    #[arg(long, value_name = "DIR", default_value = "models/medium")]
    smaller: PathBuf,
    /// Folder of calibrations
    #[arg(long, value_name = "DIR", default_value = "subnets/calibration")]
    calibrations: PathBuf,
}

fn main() -> ExitCode {
    match measure(Cli::parse()) {
        Ok(code) => code,
        Err(error) => flags::last_words(error.as_ref()),
    }
}

fn measure(cli: Cli) -> anyhow::Result<ExitCode> {
    let lab = Lab::open(Settings {
        model: cli.model,
        smaller: cli.smaller,
        calibrations: cli.calibrations,
        seed: cli.seed,
        size: if cli.quick { Size::QUICK } else { Size::FULL },
    })?;
    let mut rows: Vec<Row> = Vec::new();
    for (id, measure) in ROWS {
        if !cli.only.is_empty() && !cli.only.iter().any(|only| only == id) {
            continue;
        }
        let begun = Instant::now();
        let row = measure(&lab)?;
        eprintln!("{id} took {:.1} s", begun.elapsed().as_secs_f64());
        if !cli.json {
            println!("{row}");
        }
        rows.push(row);
    }
    let is_met = rows.iter().all(Row::is_met);
    if cli.json {
        let rows: Vec<_> = rows.iter().map(Row::as_json).collect();
        println!(
            "{}",
            json!({ "seed": lab.settings.seed, "met": is_met, "rows": rows })
        );
    }
    Ok(if is_met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
