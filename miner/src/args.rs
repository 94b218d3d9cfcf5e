//! The command line of `agon-miner`: what was typed, and what it means.

use std::net::SocketAddr;
use std::path::PathBuf;

use agon_model::{Arithmetic, DeviceChoice, Dtype, LoadOptions};
use agon_protocol::id::Netuid;
use agon_protocol::message::Axon;
use agon_protocol::sign::Keypair;
use agon_protocol::wallet::{HotkeyName, role_folder};
use agon_runtime::flags::{ChildFlags, LedgerFlags, LogFlags, MetricsFlags, WalletFlags};
use clap::{Args, Parser, Subcommand};

use crate::Config;
use crate::hub::name::ModelSource;

/// Answers computed at the same time, unless told otherwise.
const SLOTS: u16 = 16;

const EXAMPLES: &str = "Examples:
  agon-miner serve --wallet mine --hotkey gpu0 --netuid 1 --model models/large
  agon-miner fit --model Qwen/Qwen2.5-0.5B-Instruct --device cuda:0
  agon-miner serve --wallet mine --hotkey gpu0 --netuid 1 --model Qwen/Qwen2.5-0.5B-Instruct \\
      --device cuda:0 --listen 0.0.0.0:8091 --announce 203.0.113.7:8091
  agon-miner serve --wallet mine --hotkey gpu0 --netuid 1 --model models/large --model models/small
  agon-miner hash --model models/large
  agon-miner doctor --wallet mine --hotkey gpu0 --netuid 1 --model models/large

Models by name are looked for in the cache of Hugging Face's tools, then fetched into it; HF_HOME, HF_TOKEN,
HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean there. SIGHUP makes serve look at its models again.

Exit codes: 0 stopped as asked, 1 failure, 2 usage, 3 refused by the ledger, 4 ledger out of reach.";

/// Serves a model to the validators of a subnet.
#[derive(Debug, Parser)]
#[command(name = "agon-miner", version, after_help = EXAMPLES)]
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

/// What the miner can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a model: announce, answer, sign receipts
    Serve(Box<ServeArgs>),
    /// Say whether a model fits a device and how fast it can be, without fetching it
    Fit(FitArgs),
    /// Print the digest of a model, by which tasks pin it and receipts name it
    Hash(HashArgs),
    /// Say whether everything that serving needs is there, and what to do where it is not
    Doctor(Box<DoctorArgs>),
}

/// Flags of `hash`.
#[derive(Debug, Args)]
pub struct HashArgs {
    /// Folder of the model in Hugging Face's layout, or its name on the hub: ORG/NAME or ORG/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    pub model: ModelSource,
    /// Read the model even if its digest is kept beside it, and say when they differ
    #[arg(long)]
    pub check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Wallet and hotkey.
    #[command(flatten)]
    pub wallet: WalletFlags,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    pub netuid: Netuid,
    /// A model that is to be served: a folder, or its name on the hub; may be repeated
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Vec<ModelSource>,
    /// How models are held.
    #[command(flatten)]
    pub hold: HoldArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `serve` that do not name the model.
#[derive(Debug, Args)]
pub struct MinerArgs {
    /// Wallet and hotkey.
    #[command(flatten)]
    pub wallet: WalletFlags,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    pub netuid: Netuid,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8091")]
    pub listen: SocketAddr,
    /// Address to announce on the ledger, when it is not the one listened on
    #[arg(long, value_name = "ADDR")]
    pub announce: Option<SocketAddr>,
    /// Answers that it says it can give at the same moment: tasks that pay for work ask no more of it in a burst
    /// [default: as many as --slots]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=Axon::AT_ONCE_MAX as i64))]
    pub at_once: Option<u16>,
    /// Folder of the miner's own state [default: miner-NETUID-HOTKEY beside the wallets]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Do not contest failures that validators claim in their evidence; each contest costs a fee
    #[arg(long)]
    pub no_contest: bool,
    /// Metrics.
    #[command(flatten)]
    pub metrics: MetricsFlags,
    /// How it ends with its parent.
    #[command(flatten)]
    pub child: ChildFlags,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Everything but the model.
    #[command(flatten)]
    pub miner: MinerArgs,
    /// Folder of a model in Hugging Face's layout, or its name on the hub: ORG/NAME or ORG/NAME@REVISION. May be
    /// repeated: the first answers unless a task pins another
    #[arg(long = "model", value_name = "MODEL", required = true)]
    pub models: Vec<ModelSource>,
    /// How models are held.
    #[command(flatten)]
    pub hold: HoldArgs,
}

/// Flags of `fit`.
#[derive(Debug, Args)]
pub struct FitArgs {
    /// Model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags that name the model and how it runs.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Folder of the model in Hugging Face's layout, or its name on the hub: ORG/NAME or ORG/NAME@REVISION
    #[arg(long, value_name = "MODEL")]
    pub model: ModelSource,
    /// How it is held.
    #[command(flatten)]
    pub hold: HoldArgs,
}

/// Flags that say how models are held; each model has slots, context and queue of its own.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Where to compute: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Number format: f32 or bf16 [default: what suits device and model]; int8 is faster on a CPU, and another model to
    /// verified tasks
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<Dtype>,
    /// Answers computed at the same time
    #[arg(long, value_name = "COUNT", default_value_t = SLOTS.into())]
    pub slots: usize,
    /// Longest prompt and answer together, tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 2_048)]
    pub context: usize,
    /// Challenges that may wait for a slot; one more is refused
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    pub queue: usize,
    /// Threads that compute
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub threads: usize,
}

impl HoldArgs {
    /// How a model is to be held.
    #[must_use]
    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            device: self.device,
            dtype: self.dtype,
            arithmetic: Arithmetic::Auto,
            slots: self.slots,
            context_tokens_max: self.context,
            queue_max: self.queue,
            threads: self.threads,
        }
    }
}

impl MinerArgs {
    /// Reads the hotkey and resolves every default.
    ///
    /// # Errors
    ///
    /// When wallet or hotkey cannot be read.
    pub fn config(&self, ledger: &LedgerFlags) -> anyhow::Result<Config> {
        let wallets = self.wallet.wallets.dir()?;
        let pair = read_hotkey(&self.wallet)?;
        let state_dir = self.state_dir.clone();
        let state_dir =
            state_dir.unwrap_or_else(|| role_folder(&wallets, "miner", self.netuid, pair.hotkey()));
        Ok(Config {
            pair,
            netuid: self.netuid,
            ledger: ledger.ledger.clone(),
            listen: self.listen,
            announce: self.announce,
            at_once: self.at_once.unwrap_or(SLOTS),
            state_dir: Some(state_dir),
            contests: !self.no_contest,
        })
    }
}

impl ServeArgs {
    /// As [`MinerArgs::config`]; at once it gives as many answers as it computes together, unless told otherwise.
    ///
    /// # Errors
    ///
    /// As [`MinerArgs::config`].
    pub fn config(&self, ledger: &LedgerFlags) -> anyhow::Result<Config> {
        let slots = u16::try_from(self.hold.slots).unwrap_or(Axon::AT_ONCE_MAX);
        let config = self.miner.config(ledger)?;
        Ok(Config {
            at_once: self.miner.at_once.unwrap_or(slots.clamp(1, Axon::AT_ONCE_MAX)),
            ..config
        })
    }
}

/// Reads the hotkey of a wallet.
///
/// # Errors
///
/// When wallet or hotkey cannot be read.
pub fn read_hotkey(flags: &WalletFlags) -> anyhow::Result<Keypair> {
    let WalletFlags {
        wallet,
        hotkey,
        wallets,
    } = flags;
    Ok(HotkeyName { wallet, hotkey }.read(&wallets.dir()?)?)
}
