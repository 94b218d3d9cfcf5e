//! `agon committee`: who makes blocks final, and how to become or stop being one of them.
//!
//! A member has three keys: the coldkey locks the bond, the hotkey says that its node is ready, the consensus key, which
//! lives in the node's folder, votes. Joining and readiness carry a proof by the consensus key; where that key is on
//! another machine, `agon committee prove` makes the proof there.

use std::path::{Path, PathBuf};

use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::id::{ConsensusKey, Digest, Hotkey};
use agon_protocol::message::{Call, CommitteeView, Equivocation, SeatView, Statement};
use agon_protocol::sign::{Keypair, Signature};
use agon_runtime::flags::ExitWith;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::keys::{ColdkeyFlags, read_file};
use crate::output::{Align, Table, short};
use crate::session::{Caution, Session, SubmitFlags, submit, told};

const EXAMPLES: &str = "Examples:
  agon committee list
  agon committee join --wallet house --hotkey v0 --bond 1000 --node-dir /var/lib/agon
  agon committee prove --node-dir /var/lib/agon --hotkey 5Grw...            on a node without the coldkey
  agon committee join --wallet house --hotkey v0 --bond 1000 --consensus-key 5Abc... --proof 0x...
  agon committee ready --wallet house --hotkey v0 --node-dir /var/lib/agon
  agon committee leave --wallet house --hotkey v0
  agon committee report --wallet mine --evidence 120-0-5Abc....bin

A candidate whose node is ready counts from the next era on. A bond comes back some time after its member left.
A consensus key runs on one machine only: with two, its member contradicts itself and loses its bond.";

/// File of the consensus key in a node's folder.
const CONSENSUS_KEY: &str = "consensus.key";
/// Bytes of that file: 64 hex digits and an end of line.
const CONSENSUS_KEY_BYTES_MAX: u64 = 65;
/// Most bytes of a file with two votes.
const EVIDENCE_BYTES_MAX: u64 = 4_096;

/// Flags of `agon committee`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CommitteeArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show members and candidates, their bonds and power
    List,
    /// Lock a bond and make a hotkey a candidate
    Join(Join),
    /// Say that a candidate's node follows the ledger
    Ready(Ready),
    /// Stop being a candidate; the bond comes back later
    Leave(Leave),
    /// Show that a member contradicted itself, for a part of its bond
    Report(Report),
    /// Print the consensus key of a node, and its proof for joining
    Prove(Prove),
}

#[derive(Debug, Args)]
struct Join {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey of the candidate: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY", default_value = "default")]
    hotkey: String,
    /// What is locked, in whole units
    #[arg(long, value_name = "AMOUNT")]
    bond: Amount,
    /// Folder of the node, with its consensus key
    #[arg(long, value_name = "DIR", required_unless_present = "proof")]
    node_dir: Option<PathBuf>,
    /// The consensus key, where its folder is on another machine
    #[arg(long, value_name = "ADDRESS", conflicts_with = "node_dir", requires = "proof")]
    consensus_key: Option<ConsensusKey>,
    /// That key's proof, from agon committee prove
    #[arg(long, value_name = "HEX", requires = "consensus_key")]
    proof: Option<Signature>,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Ready {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey of the candidate: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY", default_value = "default")]
    hotkey: String,
    /// Folder of the node, with its consensus key
    #[arg(long, value_name = "DIR")]
    node_dir: PathBuf,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Leave {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey of the candidate: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY", default_value = "default")]
    hotkey: String,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Report {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// File with the two votes, from the evidence folder of a node
    #[arg(long, value_name = "FILE")]
    evidence: PathBuf,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Prove {
    /// Folder of the node, with its consensus key
    #[arg(long, value_name = "DIR")]
    node_dir: PathBuf,
    /// Hotkey that is to join
    #[arg(long, value_name = "ADDRESS")]
    hotkey: Hotkey,
}

/// Runs `agon committee`.
///
/// # Errors
///
/// When the ledger refuses it or cannot be reached, or a key cannot be read.
pub async fn run(session: &Session, args: &CommitteeArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::List => list(session).await,
        Command::Join(args) => join(session, args).await,
        Command::Ready(args) => ready(session, args).await,
        Command::Leave(args) => leave(session, args).await,
        Command::Report(args) => report(session, args).await,
        Command::Prove(args) => prove(session, args).await,
    }
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let committee = session.client()?.committee().await.map_err(told)?;
    session.show(&committee_json(&committee), || committee_text(&committee))
}

async fn join(session: &Session, args: &Join) -> anyhow::Result<()> {
    let hotkey = args.coldkey.hotkey(&args.hotkey)?;
    let (consensus_key, proof) = match (&args.node_dir, args.consensus_key, args.proof) {
        (Some(dir), ..) => {
            let pair = consensus_pair(dir)?;
            let genesis = genesis(session).await?;
            (
                pair.consensus_key(),
                Statement::Join { genesis, hotkey }.sign(&pair),
            )
        }
        (None, Some(key), Some(proof)) => (key, proof),
        _ => return Err(ExitWith::usage("name --node-dir, or --consensus-key and --proof").into()),
    };
    let call = Call::JoinCommittee {
        hotkey,
        consensus_key,
        proof,
        bond: args.bond,
    };
    send(session, &args.coldkey.coldkey()?, args.submit, call).await
}

async fn ready(session: &Session, args: &Ready) -> anyhow::Result<()> {
    let consensus = consensus_pair(&args.node_dir)?;
    let head = session.client()?.head().await.map_err(told)?;
    let (genesis, height, hash) = (head.genesis, head.height, head.hash);
    let statement = Statement::Ready {
        genesis,
        height,
        hash,
    };
    let call = Call::CommitteeReady {
        height,
        hash,
        proof: statement.sign(&consensus),
    };
    let pair = args.coldkey.open()?.hotkey(&args.hotkey)?;
    submit(session, args.submit, &pair, call, Caution::None)
        .await
        .map(drop)
}

async fn leave(session: &Session, args: &Leave) -> anyhow::Result<()> {
    let hotkey = args.coldkey.hotkey(&args.hotkey)?;
    let call = Call::LeaveCommittee { hotkey };
    send(session, &args.coldkey.coldkey()?, args.submit, call).await
}

async fn report(session: &Session, args: &Report) -> anyhow::Result<()> {
    let bytes = read_file(&args.evidence, EVIDENCE_BYTES_MAX)?;
    let evidence: Equivocation = codec::decode(&bytes, EVIDENCE_BYTES_MAX as usize)
        .with_context(|| format!("{} holds no two votes", args.evidence.display()))?;
    let call = Call::ReportEquivocation {
        evidence: Box::new(evidence),
    };
    send(session, &args.coldkey.coldkey()?, args.submit, call).await
}

async fn prove(session: &Session, args: &Prove) -> anyhow::Result<()> {
    let pair = consensus_pair(&args.node_dir)?;
    let genesis = genesis(session).await?;
    let hotkey = args.hotkey;
    let proof = Statement::Join { genesis, hotkey }.sign(&pair);
    let key = pair.consensus_key();
    let value = json!({
        "hotkey": hotkey.to_string(),
        "consensus_key": key.to_string(),
        "proof": format!("0x{proof}"),
    });
    session.show(&value, || {
        format!("--hotkey {hotkey} --consensus-key {key} --proof 0x{proof}")
    })
}

async fn send(session: &Session, pair: &Keypair, flags: SubmitFlags, call: Call) -> anyhow::Result<()> {
    submit(session, flags, pair, call, Caution::Ask).await.map(drop)
}

async fn genesis(session: &Session) -> anyhow::Result<Digest> {
    Ok(session.client()?.head().await.map_err(told)?.genesis)
}

/// The consensus key in a node's folder.
fn consensus_pair(dir: &Path) -> anyhow::Result<Keypair> {
    let path = dir.join(CONSENSUS_KEY);
    let bytes = Zeroizing::new(read_file(&path, CONSENSUS_KEY_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
    let seed: Digest = text
        .parse()
        .map_err(|_| anyhow::anyhow!("{} holds no key: agon-node keys makes one", path.display()))?;
    Ok(Keypair::from_mini_secret(&seed.0))
}

fn committee_text(committee: &CommitteeView) -> String {
    let CommitteeView {
        height,
        next_era,
        seats,
    } = committee;
    if seats.is_empty() {
        return format!("no members and no candidates after block {height}: one node makes the blocks");
    }
    let power: u64 = seats.iter().map(|seat| seat.voting_power).sum();
    let mut table = Table::new(&[
        ("hotkey", Align::Left),
        ("consensus key", Align::Left),
        ("bond", Align::Right),
        ("power", Align::Right),
        ("votes with", Align::Right),
        ("votes %", Align::Right),
        ("ready until", Align::Right),
        ("", Align::Left),
    ]);
    for seat in seats {
        table.row([
            short(seat.hotkey),
            short(seat.consensus_key),
            seat.bond.to_string(),
            seat.power.to_string(),
            seat.voting_power.to_string(),
            share(seat.voting_power, power),
            seat.ready_until.to_string(),
            standing(seat, committee),
        ]);
    }
    format!("committee after block {height}; the next is computed in block {next_era}\n{table}")
}

fn standing(seat: &SeatView, committee: &CommitteeView) -> String {
    match (
        seat.leaving,
        seat.voting_power,
        seat.ready_until > committee.height,
    ) {
        (Some(since), ..) => format!("leaving since block {since}"),
        (None, 0, false) => String::from("candidate, not ready: agon committee ready"),
        (None, 0, true) => String::from("candidate"),
        (None, _, false) => String::from("member, not ready any more"),
        (None, _, true) => String::from("member"),
    }
}

fn share(part: u64, whole: u64) -> String {
    let hundredths = (u128::from(part) * 10_000)
        .checked_div(u128::from(whole))
        .unwrap_or(0);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn committee_json(committee: &CommitteeView) -> Value {
    let seat = |seat: &SeatView| {
        json!({
            "hotkey": seat.hotkey.to_string(),
            "coldkey": seat.coldkey.to_string(),
            "consensus_key": seat.consensus_key.to_string(),
            "bond": seat.bond.base_units(),
            "power": seat.power,
            "voting_power": seat.voting_power,
            "ready_until": seat.ready_until.0,
            "leaving": seat.leaving.map(|since| since.0),
        })
    };
    json!({
        "height": committee.height.0,
        "next_era": committee.next_era.0,
        "seats": committee.seats.iter().map(seat).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consensus_key_is_read_from_the_nodes_folder() {
        let dir = tempfile::tempdir().unwrap();
        let refused = consensus_pair(dir.path()).unwrap_err();
        assert!(format!("{refused:#}").contains(CONSENSUS_KEY));
        let path = dir.path().join(CONSENSUS_KEY);
        std::fs::write(&path, format!("{}\n", "07".repeat(32))).unwrap();
        assert_eq!(
            consensus_pair(dir.path()).unwrap().public(),
            Keypair::from_mini_secret(&[7; 32]).public()
        );
        std::fs::write(&path, "07").unwrap();
        assert!(consensus_pair(dir.path()).is_err());
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!([share(1, 3), share(0, 0)], ["33.33", "0.00"]);
    }
}
