//! The command line of `agon-node`: what was typed, and what it means.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use agon_ledger_replay::follow::Position;
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey};
use agon_protocol::message::{Genesis, GenesisAccount, GenesisMember, Preset};
use agon_protocol::sign::Keypair;
use agon_protocol::timelock::Beacon;
use agon_protocol::wallet::HotkeyName;
use agon_runtime::flags::{ChildFlags, LogFlags, MetricsFlags, WalletsDirFlag};
use agon_runtime::{Clock, Net, Shutdown, telemetry};
use anyhow::Context;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::axons::Addresses;
use crate::folder::{self, Folder};
use crate::keys::{NodeKeys, beacon_secret, make_beacon_secret};
use crate::promote::{self, Promoted};
use crate::pulses::PulseSource;
use crate::snapshot::commands;
use crate::verify::{self, Report};
use crate::{BLOCK_MS_MAX, BLOCK_MS_MIN, Config, Peer, Peers, Storage, metrics};

const EXAMPLES: &str = "\
Examples:
  Begin a ledger with one funded account, run it, and audit it once it has stopped:
    agon-node init --dir ./ledger --fund 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY=1000000
    agon-node run --dir ./ledger
    agon-node verify --dir ./ledger

  One node of a committee of four, whose others were begun with the same genesis:
    agon-node keys --dir ./ledger
    agon-node init --dir ./ledger --genesis ./genesis.bin
    agon-node run --dir ./ledger --listen 0.0.0.0:9944 --listen-peers 0.0.0.0:9945 --wallet operator \\
      --peer 10.0.0.2:9945=http://10.0.0.2:9944 --peer 10.0.0.3:9945=http://10.0.0.3:9944 \\
      --peer 10.0.0.4:9945=http://10.0.0.4:9944

  A fast one on a free port, which is printed and written to ./ledger/address:
    agon-node run --dir ./ledger --listen 127.0.0.1:0 --block-ms 250

Exit codes: 0 stopped as asked or verified, 1 failure or a ledger that does not verify, 2 usage.";

/// Keeps the ledger of a network: orders transactions, runs epochs, answers queries
#[derive(Debug, Parser)]
#[command(name = "agon-node", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    log: LogFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a ledger: write its genesis into a folder
    Init(InitArgs),
    /// Run the ledger in a folder
    Run(RunArgs),
    /// Show the keys of a node, and make them where they are missing
    Keys(KeysArgs),
    /// Write a state, or blocks with the states around them, into one file
    Export(commands::ExportArgs),
    /// Begin a ledger from a state in a file, checked against a trusted hash
    Import(commands::ImportArgs),
    /// Fetch a state from a running node and begin a ledger from it
    Join(commands::JoinArgs),
    /// Make the state store of a stopped ledger anew, which gives back unused space
    Compact(commands::CompactArgs),
    /// End the time in which one node decides alone: form the committee of all candidates that are ready
    Promote(PromoteArgs),
    /// Replay a stopped ledger from its genesis and compare everything with what is stored
    Verify(VerifyArgs),
}

#[derive(Debug, ClapArgs)]
struct InitArgs {
    /// Folder of the ledger; made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Begin with the genesis in this file, which another node of the ledger made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["preset", "name", "fund", "members", "beacon", "block_emission"])]
    genesis: Option<PathBuf>,
    /// Default times of subnets: of a public network, or of one that is watched on one machine
    #[arg(long, value_enum, default_value = "localnet")]
    preset: PresetArg,
    /// Name of the network, for people [default: the preset's]
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// A balance that exists from the start, in whole units; may be repeated
    #[arg(long, value_name = "ADDRESS=AMOUNT")]
    fund: Vec<Fund>,
    /// A member of the committee from the start, with its bond in whole units; may be repeated. `agon-node keys` shows
    /// a node's consensus key. Without members one node decides alone
    #[arg(long = "member", value_name = "HOTKEY,COLDKEY,CONSENSUS_KEY=BOND", value_parser = member)]
    members: Vec<GenesisMember>,
    /// Whose pulses open sealed weights. `quicknet` is drand's; with `own` this node holds the secret and could open early
    #[arg(long, value_enum, default_value = "none")]
    beacon: BeaconArg,
    /// What a block creates before any halving, in whole units
    #[arg(long, value_name = "AMOUNT", default_value = "1")]
    block_emission: Amount,
}

#[derive(Debug, ClapArgs)]
struct RunArgs {
    /// Folder of the ledger
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where to listen; port 0 takes a free one. The address is printed, and written to DIR/address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9944")]
    listen: SocketAddr,
    /// Time between blocks, milliseconds; the same on every node of a committee
    #[arg(long, value_name = "MS", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(BLOCK_MS_MIN..=BLOCK_MS_MAX))]
    block_ms: u64,
    /// Where to listen for the other nodes of a committee
    #[arg(
        long,
        value_name = "ADDR",
        env = "AGON_NODE_LISTEN_PEERS",
        default_value = "0.0.0.0:9945"
    )]
    listen_peers: SocketAddr,
    /// Another node: where it listens for its peers, and where it answers as a ledger; may be repeated
    #[arg(
        long = "peer",
        value_name = "HOST:PORT=LEDGER_URI",
        env = "AGON_NODE_PEERS",
        value_delimiter = ','
    )]
    peers: Vec<Peer>,
    /// Wallet of the hotkey that this node votes for: with it the node renews its readiness and reports equivocation
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
    /// Name of that hotkey in the wallet
    #[arg(long, value_name = "NAME", default_value = "default", requires = "wallet")]
    hotkey: String,
    #[command(flatten)]
    wallets: WalletsDirFlag,
    /// Try axons at private addresses too, when a miner asks whether its port can be reached; for networks that live
    /// in a private one. A node that listens on loopback tries loopback without it
    #[arg(long)]
    check_private_axons: bool,
    /// HTTP relay of the ledger's beacon, as in `https://api.drand.sh/CHAIN_HASH`: with it the node brings the pulses that
    /// sealed weights wait for. A node that holds the secret of a beacon makes them itself
    #[arg(long, value_name = "URL", env = "AGON_NODE_BEACON")]
    beacon: Option<String>,
    #[command(flatten)]
    metrics: MetricsFlags,
    #[command(flatten)]
    child: ChildFlags,
}

#[derive(Debug, ClapArgs)]
struct KeysArgs {
    /// Folder of the node's ledger; made where it is missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Declare that the consensus key signed nothing above this height. Only for a key whose record is lost, in a
    /// committee that cannot go on without it: if it is not true, the key may contradict itself and lose its bond
    #[arg(long, value_name = "HEIGHT")]
    signed_up_to: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct PromoteArgs {
    /// Folder of the stopped node's ledger
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct VerifyArgs {
    /// Folder of the ledger
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object: the report, or `{"ok":false,"error":...}`
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BeaconArg {
    None,
    Own,
    Quicknet,
}

/// Time between the rounds of a beacon of a node's own, milliseconds: two blocks of a network that is watched.
const OWN_PERIOD_MS: u64 = 500;

impl BeaconArg {
    /// The beacon of a ledger that begins in `folder` at `time_ms`.
    fn meaning(self, folder: &Folder, time_ms: u64) -> anyhow::Result<Option<Beacon>> {
        Ok(match self {
            Self::None => None,
            Self::Quicknet => Some(Beacon::quicknet()),
            Self::Own => {
                let dir = folder.dir();
                std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
                Some(Beacon {
                    public_key: make_beacon_secret(folder)?.public_key(),
                    first_ms: time_ms,
                    period_ms: OWN_PERIOD_MS,
                })
            }
        })
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PresetArg {
    Localnet,
    Mainnet,
}

/// A funded account, as typed.
#[derive(Clone, Copy, Debug)]
struct Fund {
    coldkey: Coldkey,
    amount: Amount,
}

impl FromStr for Fund {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, amount) = text.split_once('=').ok_or("write ADDRESS=AMOUNT")?;
        let coldkey = address.parse().map_err(|error| format!("{error}"))?;
        let amount = amount.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { coldkey, amount })
    }
}

fn member(text: &str) -> Result<GenesisMember, String> {
    let (keys, bond) = text
        .split_once('=')
        .ok_or("write HOTKEY,COLDKEY,CONSENSUS_KEY=BOND")?;
    let keys: Vec<&str> = keys.split(',').collect();
    let [hotkey, coldkey, consensus_key] = keys.as_slice() else {
        return Err(format!("{} keys where three are expected", keys.len()));
    };
    let told = |error: agon_protocol::ss58::Ss58Error| error.to_string();
    Ok(GenesisMember {
        hotkey: hotkey.parse().map_err(told)?,
        coldkey: coldkey.parse().map_err(told)?,
        consensus_key: consensus_key.parse().map_err(told)?,
        bond: bond.parse().map_err(|error| format!("{error}"))?,
    })
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, ledger) = text.split_once('=').ok_or("write HOST:PORT=LEDGER_URI")?;
        Ok(Self {
            address: address.to_owned(),
            ledger: ledger.to_owned(),
        })
    }
}

fn name(text: &str) -> Result<String, String> {
    const BYTES_MAX: usize = 64;
    match text.len() {
        1..=BYTES_MAX => Ok(text.to_owned()),
        bytes => Err(format!("a name has 1 to {BYTES_MAX} bytes, not {bytes}")),
    }
}

impl PresetArg {
    const fn meaning(self) -> (Preset, &'static str) {
        match self {
            Self::Localnet => (Preset::Localnet, "localnet"),
            Self::Mainnet => (Preset::Mainnet, "mainnet"),
        }
    }
}

/// Does what was typed.
///
/// # Errors
///
/// Whatever the command ran into, with what it was about to do.
pub fn run(args: Args) -> anyhow::Result<()> {
    args.log.init()?;
    match args.command {
        Command::Init(args) => init(args),
        Command::Run(args) => run_node(args),
        Command::Keys(args) => keys(&args),
        Command::Export(args) => commands::export(args),
        Command::Import(args) => commands::import(args),
        Command::Join(args) => commands::join(args),
        Command::Compact(args) => commands::compact(&args),
        Command::Promote(args) => promote(&args),
        Command::Verify(args) => verify(&args),
    }
}

#[expect(clippy::print_stdout, reason = "what was made is the product of the command")]
fn init(args: InitArgs) -> anyhow::Result<()> {
    let folder = Folder::new(&args.dir);
    let genesis = match &args.genesis {
        Some(file) => folder::read_genesis_file(file)?,
        None => new_genesis(args, &folder)?,
    };
    Position::genesis(&genesis).context("begin a ledger")?;
    folder.begin(&genesis)?;
    println!("genesis {} in {}", genesis.digest(), folder.genesis().display());
    Ok(())
}

fn new_genesis(args: InitArgs, folder: &Folder) -> anyhow::Result<Genesis> {
    let (preset, preset_name) = args.preset.meaning();
    let time_ms = Clock::system().now_ms();
    Ok(Genesis {
        name: args.name.unwrap_or_else(|| preset_name.to_owned()),
        preset,
        time_ms,
        block_emission: args.block_emission,
        accounts: args
            .fund
            .iter()
            .map(|fund| GenesisAccount {
                coldkey: fund.coldkey,
                amount: fund.amount,
            })
            .collect(),
        committee: args.members,
        beacon: args.beacon.meaning(folder, time_ms)?,
    })
}

#[expect(clippy::print_stdout, reason = "the keys are the product of the command")]
fn keys(args: &KeysArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("make {}", args.dir.display()))?;
    let keys = NodeKeys::open(&args.dir)?;
    if let Some(height) = args.signed_up_to {
        let _lock = agon_runtime::files::lock_dir(&args.dir)?;
        keys.signed_up_to(&args.dir, BlockNumber(height))?;
    }
    let consensus = keys.consensus.consensus_key();
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "consensus_key": consensus.to_string() })
        );
    } else {
        println!("consensus key  {consensus}");
    }
    Ok(())
}

fn run_node(args: RunArgs) -> anyhow::Result<()> {
    args.child.apply()?;
    let hotkey = match &args.wallet {
        Some(wallet) => Some(member_hotkey(&args.wallets, wallet, &args.hotkey)?),
        None => None,
    };
    let folder = Folder::new(args.dir);
    let pulses = pulse_source(&folder, args.beacon)?;
    let config = Config {
        storage: Storage::Disk(folder),
        listen: args.listen,
        block_ms: args.block_ms,
        peers: Some(Peers {
            listen: args.listen_peers,
            peers: args.peers,
            hotkey,
        }),
        axons: Addresses::of(args.listen, args.check_private_axons),
        pulses,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        if let Some(addr) = args.metrics.metrics_addr {
            let bound = telemetry::serve_metrics(addr, &shutdown).await?;
            telemetry::describe(metrics::ALL);
            tracing::info!(address = %bound, "metrics shown");
        }
        crate::run(config, Net::tcp(), Clock::system(), shutdown, print_address).await?;
        Ok(())
    })
}

/// The folder's own beacon comes before a relay: nobody else makes its pulses.
fn pulse_source(folder: &Folder, relay: Option<String>) -> anyhow::Result<Option<PulseSource>> {
    let own = beacon_secret(folder)?.map(|secret| PulseSource::Own(Arc::new(secret)));
    Ok(own.or(relay.map(PulseSource::Relay)))
}

fn member_hotkey(wallets: &WalletsDirFlag, wallet: &str, hotkey: &str) -> anyhow::Result<Keypair> {
    Ok(HotkeyName { wallet, hotkey }.read(&wallets.dir()?)?)
}

#[expect(
    clippy::print_stdout,
    reason = "what was formed is the product of the command"
)]
fn promote(args: &PromoteArgs) -> anyhow::Result<()> {
    let promoted = promote::promote(&Folder::new(&args.dir), &Clock::system())
        .with_context(|| format!("promote {}", args.dir.display()))?;
    let Promoted {
        height,
        hash,
        committee,
    } = &promoted;
    if args.json {
        let members = committee.members().iter().map(|member| {
            serde_json::json!({
                "hotkey": member.hotkey.to_string(),
                "consensus_key": member.consensus_key.to_string(),
                "power": member.power,
            })
        });
        let members: Vec<_> = members.collect();
        println!(
            "{}",
            serde_json::json!({ "height": height.0, "hash": hash.to_string(), "members": members })
        );
        return Ok(());
    }
    println!("block {height} with hash {hash} formed the committee:");
    for member in committee.members() {
        println!("  {}  power {}", member.hotkey, member.power);
    }
    println!("run its nodes with --listen-peers and --peer; a new node trusts the hash above");
    Ok(())
}

/// One line on standard output, for whoever started the node on port 0.
fn print_address(address: SocketAddr) {
    let mut stdout = std::io::stdout();
    // A closed standard output is no reason to stop: the address is in a file as well.
    let _ = writeln!(stdout, "{address}").and_then(|()| stdout.flush());
}

#[expect(clippy::print_stdout, reason = "the report is the product of the command")]
fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let verified = verify::verify(&Folder::new(&args.dir));
    if args.json {
        println!("{}", as_json(&verified));
    } else if let Ok(report) = &verified {
        print!("{}", as_text(report));
    }
    verified
        .map(drop)
        .with_context(|| format!("verify {}", args.dir.display()))
}

fn as_json(verified: &Result<Report, verify::VerifyError>) -> serde_json::Value {
    match verified {
        Ok(report) => {
            let mut value = serde_json::to_value(report).expect("strings and numbers have a JSON form");
            value["ok"] = true.into();
            value
        }
        Err(error) => serde_json::json!({ "ok": false, "error": agon_runtime::flags::sentence(error) }),
    }
}

fn as_text(report: &Report) -> String {
    let Report {
        name,
        genesis,
        height,
        hash,
        state_root,
        transactions,
        epochs,
        ..
    } = report;
    let holdings = report.holdings.0;
    let begin = match report.base_height {
        0 => String::from("the genesis"),
        height => {
            format!("the snapshot of block {height}; what was before is not kept, and not checked here")
        }
    };
    let stored = match report.stored_height {
        Some(stored) if stored == *height => format!("that of block {stored}, as it should be"),
        Some(stored) => format!("that of block {stored}; the blocks behind it are applied at the next start"),
        None => String::from("missing; built from the blocks at the next start"),
    };
    format!(
        "ledger      {name}, genesis {genesis}\n\
         begins from {begin}\n\
         blocks      up to {height}, with {transactions} transactions and {epochs} epochs; every hash and state root \
         agrees\n\
         newest      {hash}\n\
         state root  {state_root}\n\
         state       {stored}\n\
         issuance    {} = {} free + {} staked + {} locked + {} bonded + {} pending + {} held + {} burned\n",
        Amount::from_base_units(report.issuance),
        holdings.free,
        holdings.staked,
        holdings.locked,
        holdings.bonded,
        holdings.pending,
        holdings.held,
        holdings.burned,
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_fund_is_an_address_and_whole_units() {
        let fund: Fund = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY=1.5"
            .parse()
            .unwrap();
        assert_eq!(fund.amount.base_units(), 1_500_000_000);
        for text in [
            "5GrwvaEF=1",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "=1",
        ] {
            assert!(text.parse::<Fund>().is_err(), "{text} was read");
        }
    }
}
