//! The command line of `agon-validator`: what was typed, and what it means.

use std::net::SocketAddr;
use std::path::PathBuf;

use agon_protocol::id::Netuid;
use agon_protocol::wallet::{HotkeyName, role_folder};
use agon_runtime::flags::{ChildFlags, LedgerFlags, LogFlags, MetricsFlags, WalletFlags};
use clap::{Args, Parser, Subcommand};

use crate::Config;
use crate::round::Size;

const EXAMPLES: &str = "Examples:
  agon-validator run --wallet mine --hotkey val0 --netuid 1
  agon-validator run --wallet mine --hotkey val0 --netuid 1 --ledger http://10.0.0.5:9944 --miners 32

  agon-validator run --wallet mine --hotkey val0 --netuid 1 --listen 0.0.0.0:9946 --announce 203.0.113.7:9946
  agon-validator run --wallet mine --hotkey val0 --netuid 2 --reference models/large
  agon-validator calibrate --model models/large

Exit codes: 0 stopped as asked, 1 failure, 2 usage, 3 refused by the ledger, 4 ledger out of reach.";

/// Where calibrations are, from the root of the repository.
const CALIBRATIONS: &str = "subnets/calibration";

const CALIBRATE_EXAMPLES: &str = "Examples:
  agon-validator calibrate --model models/large
  agon-validator calibrate --model ~/models/Qwen2.5-0.5B-Instruct --answers 100
  agon-validator calibrate --model models/large --formats f32

Answers are made in several settings (number format, threads, requests at the same time, every CUDA device
that is there) and checked in several; the file holds what was measured for each pair, and the limits
that validators reject by.";

/// Scores the miners of a subnet and sets weights.
#[derive(Debug, Parser)]
#[command(name = "agon-validator", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Ledger.
    #[command(flatten)]
    pub ledger: LedgerFlags,
    /// Logs.
    #[command(flatten)]
    pub log: LogFlags,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What the validator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw, ask, judge, rate, commit and reveal, until stopped
    Run(Box<RunArgs>),
    /// Measure how far honest answers of a model are from each other, for tasks that pin it
    Calibrate(CalibrateArgs),
}

/// Flags that name the model which answers are verified against.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// Folder of the model that the task pins, in Hugging Face's layout; needed for such tasks only
    #[arg(long, value_name = "DIR")]
    pub reference: Option<PathBuf>,
    /// Folder of calibrations, one file for each model
    #[arg(long, value_name = "DIR", default_value = CALIBRATIONS)]
    pub calibrations: PathBuf,
    /// Share of answers that are audited, percent; a miner in doubt is audited at every answer
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub audit_percent: u32,
}

/// Flags of `calibrate`.
#[derive(Debug, Args)]
#[command(after_help = CALIBRATE_EXAMPLES)]
pub struct CalibrateArgs {
    /// Folder of the model, in Hugging Face's layout
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Folder that the calibration is written to
    #[arg(long, value_name = "DIR", default_value = CALIBRATIONS)]
    pub out: PathBuf,
    /// Number formats in which answers are to be admitted; f32 alone tells the finest cheats
    #[arg(long, value_name = "FORMAT,...", value_delimiter = ',', default_value = "f32,bf16", value_parser = ["f32", "bf16"])]
    pub formats: Vec<String>,
    /// Answers in each setting
    #[arg(long, value_name = "COUNT", default_value_t = 400, value_parser = clap::value_parser!(u16).range(50..))]
    pub answers: u16,
    /// Print the calibration as JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Wallet and hotkey.
    #[command(flatten)]
    pub wallet: WalletFlags,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    pub netuid: Netuid,
    /// Folder of state, evidence and status [default: validator-NETUID-HOTKEY beside the wallets]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Most miners that a round asks, where the subnet does not say how many are owed
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = miners)]
    pub miners: usize,
    /// Items that each of them is asked in a round
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub items: u32,
    /// Time from the beginning of one round to the next, milliseconds; less where the rounds that the subnet asks for in
    /// a tempo would not fit into it
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(50..=3_600_000))]
    pub round_ms: u64,
    /// Time for an answer, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 12_000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    pub deadline_ms: u64,
    /// Address on which evidence is served to auditors; port 0 takes a free one [default: none]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Address that auditors are told, for hosts behind a router [default: that of --listen]
    #[arg(long, value_name = "ADDR", requires = "listen")]
    pub announce: Option<SocketAddr>,
    /// Do not look at the evidence of other validators, nor report forgeries
    #[arg(long)]
    pub no_watch: bool,
    /// Reference model.
    #[command(flatten)]
    pub reference: ReferenceArgs,
    /// Metrics.
    #[command(flatten)]
    pub metrics: MetricsFlags,
    /// How it ends with its parent.
    #[command(flatten)]
    pub child: ChildFlags,
}

/// Most miners of a round: their channels and answers are held at the same time.
const MINERS_MAX: usize = 256;

fn miners(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MINERS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("a round asks 1 to {MINERS_MAX} miners")),
    }
}

impl RunArgs {
    /// Reads the hotkey and resolves every default; the reference model is not loaded here.
    ///
    /// # Errors
    ///
    /// When wallet or hotkey cannot be read.
    pub fn config(&self, ledger: &LedgerFlags) -> anyhow::Result<Config> {
        let WalletFlags {
            wallet,
            hotkey,
            wallets,
        } = &self.wallet;
        let wallets = wallets.dir()?;
        let pair = HotkeyName { wallet, hotkey }.read(&wallets)?;
        let dir = self.dir.clone();
        let dir = dir.unwrap_or_else(|| role_folder(&wallets, "validator", self.netuid, pair.hotkey()));
        Ok(Config {
            pair,
            netuid: self.netuid,
            ledger: ledger.ledger.clone(),
            dir,
            size: Size {
                miners: self.miners,
                items: self.items,
                deadline_ms: self.deadline_ms,
            },
            round_ms: self.round_ms,
            reference: None,
            watches: !self.no_watch,
            listen: self.listen,
            served_at: self.announce,
        })
    }
}
