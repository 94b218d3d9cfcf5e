//! `agon epoch`: runs epochs on inputs from a file, as a what-if calculator.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use agon_protocol::amount::Amount;
use agon_scoring::epoch::EpochOutputs;
use agon_scoring::epoch::file::{Detail, EpochReport, FileReport, run_file};
use anyhow::Context;
use clap::Args;

use crate::output::{Align, Table, percent, units, yes};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  agon epoch inputs.json
  agon epoch inputs.json --json
  agon epoch inputs.json --json --trace      with every value between the steps
  agon epoch - < inputs.json

FILE is {\"epochs\": [{\"inputs\": {...}}, ...]}: stakes, weights, bonds and parameters of a subnet \
before an epoch. Weights and bonds are rows of [uid, value]. The arithmetic is the one that the ledger \
pays by, to the last bit.

With --json one line is printed: {\"epochs\": [{\"incentive\": [...], \"dividends\": [...], ...}]}.";

/// Most bytes of a file: an epoch of 4,096 neurons with full rows takes some 300 MB.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Flags of `agon epoch`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EpochArgs {
    /// File of epoch inputs, `-` for standard input
    file: PathBuf,
    /// Print the values between the steps as well, as integers with 32 fraction bits
    #[arg(long, requires = "json")]
    trace: bool,
}

/// Runs `agon epoch`.
///
/// # Errors
///
/// When the file cannot be read, or its inputs do not fit together.
pub fn run(session: &Session, args: &EpochArgs) -> anyhow::Result<()> {
    let bytes = read(args)?;
    let detail = if args.trace {
        Detail::Trace
    } else {
        Detail::Outputs
    };
    let report = run_file(&bytes, detail).with_context(|| format!("{}", args.file.display()))?;
    session.show(&report, || report_text(&report))
}

fn read(args: &EpochArgs) -> anyhow::Result<Vec<u8>> {
    if args.file.as_os_str() == "-" {
        return bounded(std::io::stdin().lock()).context("read standard input");
    }
    let path = args.file.display();
    let file = File::open(&args.file).with_context(|| format!("open {path}"))?;
    bounded(file).with_context(|| format!("read {path}"))
}

fn bounded(source: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        anyhow::bail!("more than {FILE_BYTES_MAX} bytes: split the epochs over several files");
    }
    Ok(bytes)
}

fn report_text(report: &FileReport) -> String {
    let epoch =
        |(index, report): (usize, &EpochReport)| format!("epoch {index}\n{}", outputs_table(&report.outputs));
    let epochs: Vec<String> = report.epochs.iter().enumerate().map(epoch).collect();
    epochs.join("\n\n")
}

fn outputs_table(outputs: &EpochOutputs) -> Table {
    let mut table = Table::new(&[
        ("uid", Align::Right),
        ("active", Align::Left),
        ("permit next", Align::Left),
        ("stake %", Align::Right),
        ("consensus %", Align::Right),
        ("incentive %", Align::Right),
        ("v.trust %", Align::Right),
        ("dividends %", Align::Right),
        ("as miner", Align::Right),
        ("as validator", Align::Right),
    ]);
    for uid in 0..outputs.incentive.len() {
        table.row([
            uid.to_string(),
            yes(outputs.active[uid]),
            yes(outputs.validator_permit[uid]),
            percent(outputs.stake_weight[uid]),
            percent(outputs.consensus[uid]),
            percent(outputs.incentive[uid]),
            percent(outputs.validator_trust[uid]),
            percent(outputs.dividends[uid]),
            units(Amount::from_base_units(outputs.server_emission[uid])),
            units(Amount::from_base_units(outputs.validator_emission[uid])),
        ]);
    }
    table
}
