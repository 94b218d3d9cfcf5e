//! `agon verify --light`: one row of the ledger, checked without trusting the node that tells it.
//!
//! Headers are followed from a genesis or a block that is trusted, over every change of the committee, to the block
//! whose state is asked about; the row is proven from that block's header. On a ledger without a committee one node
//! decides alone: there the headers are its word, and the answer says so.

use agon_ledger_client::LedgerClient;
use agon_ledger_client::light::{self, FollowError, Trust};
use agon_ledger_state::{EpochRecord, Row, State, verify_row};
use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, BlockNumber, Digest, Hotkey, Netuid, Uid};
use agon_protocol::light::{Finality, LightChain};
use agon_protocol::message::{AccountView, Header, NeuronView, StakeView, SubnetView, WeightRowView};
use agon_protocol::proof::ProofTarget;
use agon_runtime::flags::ExitWith;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::account::{account_json, stake_json};
use crate::metagraph::{neuron_json, row_json};
use crate::output::{percent, percent_of_ppm, yes};
use crate::session::{Session, told};
use crate::subnet::subnet_json;

const EXAMPLES: &str = "Examples:
  agon verify --light --trust GENESIS account 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY
  agon verify --light --trust 400:HASH neuron 1 5
  agon verify --light --trust GENESIS --height 1200 weights 1 0 --json
  agon verify --light --trust GENESIS epoch 1 12
  agon verify --light --trust GENESIS stake 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY 1 5Grw...

GENESIS is the digest that names the ledger, HASH a block's, both 64 hex digits from somebody you trust. A later \
block spares headers: 150 bytes each.

With --json: {\"row\": ..., \"height\", \"hash\", \"time_ms\", \"state_root\", \"trusted\", \"finality\": \
\"trusted\" | \"certified\" | \"told\", \"power\", \"power_of\", \"told_from\", \"proof_bytes\"}; row is null \
where the ledger is proven not to have it.";

/// Flags of `agon verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// Follow headers and check proofs, without the blocks
    #[arg(long, required = true)]
    light: bool,
    /// What to begin at: the digest of the genesis, or a block
    #[arg(long, value_name = "GENESIS | HEIGHT:HASH")]
    trust: Trust,
    /// Height of the block after which the row is read [default: the newest]
    #[arg(long, value_name = "N")]
    height: Option<BlockNumber>,
    #[command(subcommand)]
    row: RowArgs,
}

/// Which row.
#[derive(Clone, Copy, Debug, Subcommand)]
enum RowArgs {
    /// What an account holds: free balance, nonce and all its stake
    Account {
        /// Its address
        address: Account,
    },
    /// A subnet's record and parameters
    Subnet {
        /// Number of the subnet
        netuid: Netuid,
    },
    /// A row of a metagraph
    Neuron {
        /// Number of the subnet
        netuid: Netuid,
        /// Its UID
        uid: Uid,
    },
    /// A validator's revealed weights
    Weights {
        /// Number of the subnet
        netuid: Netuid,
        /// Its UID
        uid: Uid,
    },
    /// What an account has staked on one hotkey
    Stake {
        /// Address of the account
        address: Account,
        /// Number of the subnet
        netuid: Netuid,
        /// Address of the hotkey
        hotkey: Hotkey,
    },
    /// What an epoch paid
    Epoch {
        /// Number of the subnet
        netuid: Netuid,
        /// The tempo that the epoch ended
        tempo: u64,
    },
}

impl From<RowArgs> for ProofTarget {
    fn from(row: RowArgs) -> Self {
        match row {
            RowArgs::Account { address } => Self::Account(address),
            RowArgs::Subnet { netuid } => Self::Subnet(netuid),
            RowArgs::Neuron { netuid, uid } => Self::Neuron(netuid, uid),
            RowArgs::Weights { netuid, uid } => Self::Weights(netuid, uid),
            RowArgs::Epoch { netuid, tempo } => Self::Epoch(netuid, tempo),
            RowArgs::Stake {
                address,
                netuid,
                hotkey,
            } => Self::Stake(address, netuid, hotkey),
        }
    }
}

/// A row and all that was found on the way to it.
struct Verified {
    trust: Trust,
    uri: String,
    header: Header,
    finality: Finality,
    proof_bytes: usize,
    row: Row,
}

/// Runs `agon verify`.
///
/// # Errors
///
/// When the ledger cannot be reached or does not keep the height, or what it tells does not hold.
pub async fn run(session: &Session, args: &VerifyArgs) -> anyhow::Result<()> {
    let client = session.client()?;
    let target = ProofTarget::from(args.row);
    let (told_header, proof) = client.proof(target, args.height).await.map_err(told)?;
    let to = told_header.header.height;
    let chain = followed(&client, args.trust, to).await?;
    let newest = chain.newest().context("the node's headers do not hold")?;
    let Some((header, finality)) = newest.filter(|(header, _)| **header == told_header.header) else {
        anyhow::bail!(
            "the row came with a header of block {to} that is not the one its headers lead to: \
             the node forked or lies, ask another one"
        );
    };
    let row = verify_row(header, &target, &proof).context("the node's proof does not hold")?;
    let verified = Verified {
        trust: args.trust,
        uri: client.uri().to_owned(),
        header: header.clone(),
        finality,
        proof_bytes: proof.encode().len(),
        row,
    };
    session.show(&verified_json(&verified), || {
        format!("{}\n\n{}", row_text(&verified.row, &target), surety(&verified))
    })
}

/// The headers from what is trusted to the block at `to`.
async fn followed(client: &LedgerClient, trust: Trust, to: BlockNumber) -> anyhow::Result<LightChain> {
    let refused = |error: FollowError| anyhow::Error::from(ExitWith::from(error));
    let mut chain = match trust {
        Trust::Genesis(digest) => begin_at_genesis(client, digest).await?,
        Trust::Block(height, _) if height > to => anyhow::bail!(
            "block {to} is before the trusted block {height}: trust an earlier block, or the genesis"
        ),
        Trust::Block(height, hash) => light::begin_at_block(client, height, hash)
            .await
            .map_err(refused)?,
    };
    light::follow(client, &mut chain, to).await.map_err(refused)?;
    Ok(chain)
}

/// The genesis has no header: its committee follows from its own bytes, which the digest covers.
async fn begin_at_genesis(client: &LedgerClient, trusted: Digest) -> anyhow::Result<LightChain> {
    let genesis = client.genesis().await.map_err(told)?;
    let found = genesis.digest();
    if found != trusted {
        anyhow::bail!(
            "the node's ledger has genesis {found}, the trusted one is {trusted}: ask a node of that ledger; \
             to trust a block, write its height before its hash, as in --trust 400:{trusted}"
        );
    }
    let state = State::genesis(&genesis).context("no ledger starts from that genesis")?;
    Ok(LightChain::from_genesis(trusted, state.committee()))
}

/// What the answer rests on, in a sentence for people.
fn surety(verified: &Verified) -> String {
    let Verified {
        trust, header, uri, ..
    } = verified;
    let (height, root) = (header.height, header.state_root);
    match verified.finality {
        Finality::Trusted => format!("proven at height {height}, which is the trusted block"),
        Finality::Certified { power, of } => {
            format!("proven at height {height}, certified by {power} of {of} power, followed from {trust}")
        }
        Finality::Told { from } => format!(
            "proven at height {height} from state root {root}, followed from {trust}\n\
             not certified: from block {from} on one node decides alone, so the headers are the word of {uri}"
        ),
    }
}

fn verified_json(verified: &Verified) -> Value {
    let header = &verified.header;
    let (finality, power, power_of, told_from) = match verified.finality {
        Finality::Trusted => ("trusted", None, None, None),
        Finality::Certified { power, of } => ("certified", Some(power), Some(of), None),
        Finality::Told { from } => ("told", None, None, Some(from.0)),
    };
    let trusted = match verified.trust {
        Trust::Genesis(digest) => json!({ "height": 0, "hash": digest.to_string() }),
        Trust::Block(height, hash) => json!({ "height": height.0, "hash": hash.to_string() }),
    };
    json!({
        "row": rows_json(&verified.row),
        "height": header.height.0,
        "hash": header.hash().to_string(),
        "time_ms": header.time_ms,
        "state_root": header.state_root.to_string(),
        "trusted": trusted,
        "finality": finality,
        "power": power,
        "power_of": power_of,
        "told_from": told_from,
        "proof_bytes": verified.proof_bytes,
    })
}

fn rows_json(row: &Row) -> Value {
    match row {
        Row::Account(account) => account_json(account),
        Row::Subnet(subnet) => subnet.as_ref().map_or(Value::Null, subnet_json),
        Row::Neuron(neuron) => neuron.as_ref().map_or(Value::Null, neuron_json),
        Row::Weights(row) => row.as_ref().map_or(Value::Null, row_json),
        Row::Stake(stake) => stake.as_ref().map_or(Value::Null, stake_json),
        Row::Epoch(record) => record.as_ref().map_or(Value::Null, |record| epoch_json(record)),
        _ => Value::Null,
    }
}

fn epoch_json(record: &EpochRecord) -> Value {
    let amounts = |list: &[Amount]| list.iter().map(|amount| amount.base_units()).collect::<Vec<_>>();
    let hotkeys: Vec<String> = record
        .holders
        .iter()
        .map(|(hotkey, _)| hotkey.to_string())
        .collect();
    json!({
        "netuid": record.netuid.0,
        "tempo": record.tempo,
        "height": record.height.0,
        "pending": record.pending.base_units(),
        "owner_cut": record.payouts.owner_cut.base_units(),
        "hotkeys": hotkeys,
        "incentive": record.outputs.incentive,
        "dividends": record.outputs.dividends,
        "coverage_ppm": record.coverage_ppm,
        "paid_as_miner": amounts(&record.payouts.miners),
        "paid_as_validator": amounts(&record.payouts.validators),
    })
}

fn row_text(row: &Row, target: &ProofTarget) -> String {
    match row {
        Row::Account(account) => account_text(account),
        Row::Subnet(Some(subnet)) => subnet_text(subnet),
        Row::Neuron(Some(neuron)) => neuron_text(neuron),
        Row::Weights(Some(row)) => weights_text(row),
        Row::Epoch(Some(record)) => epoch_text(record),
        Row::Stake(Some(stake)) => stake_text(stake),
        _ => format!("the ledger has no {}", target_text(target)),
    }
}

fn target_text(target: &ProofTarget) -> String {
    match target {
        ProofTarget::Account(account) => format!("account {account}"),
        ProofTarget::Subnet(netuid) => format!("subnet {netuid}"),
        ProofTarget::Neuron(netuid, uid) => format!("UID {uid} on subnet {netuid}"),
        ProofTarget::Weights(netuid, uid) => format!("weights or commits of UID {uid} on subnet {netuid}"),
        ProofTarget::Stake(account, netuid, hotkey) => {
            format!("stake of {account} on {hotkey} in subnet {netuid}")
        }
        ProofTarget::Epoch(netuid, tempo) => {
            format!("record of the epoch of tempo {tempo} on subnet {netuid}: it has not run, or is not kept")
        }
    }
}

fn account_text(account: &AccountView) -> String {
    let AccountView {
        account,
        nonce,
        free,
        stakes,
    } = account;
    let mut lines = vec![format!("account  {account}\nnonce    {nonce}\nfree     {free}")];
    lines.extend(stakes.iter().map(stake_text));
    lines.join("\n")
}

fn stake_text(stake: &StakeView) -> String {
    let StakeView {
        netuid,
        hotkey,
        amount,
    } = stake;
    format!("staked   {amount} on {hotkey} in subnet {netuid}")
}

fn subnet_text(subnet: &SubnetView) -> String {
    format!(
        "subnet   {}\nowner    {}\ntask     {}\nstarted  {}\ntempo    {}\nneurons  {}",
        subnet.netuid,
        subnet.owner,
        subnet.task,
        yes(subnet.started),
        subnet.tempo,
        subnet.neuron_count
    )
}

fn neuron_text(neuron: &NeuronView) -> String {
    format!(
        "uid        {}\nhotkey     {}\ncoldkey    {}\nstake      {}\npermit     {}\nincentive  {} %\n\
         dividends  {} %\ncoverage   {} %\nemission   {}\nearned     {}",
        neuron.uid,
        neuron.hotkey,
        neuron.coldkey,
        neuron.stake,
        yes(neuron.permit),
        percent(neuron.incentive),
        percent(neuron.dividends),
        percent_of_ppm(neuron.coverage_ppm),
        neuron.emission,
        neuron.earned
    )
}

fn weights_text(row: &WeightRowView) -> String {
    let cells = row.weights.iter().map(|(uid, weight)| format!("{uid}:{weight}"));
    let open = row.open_commits.iter().map(|tempo| format!("tempo {tempo}"));
    format!(
        "uid           {}\nweights       {}\nopen commits  {}",
        row.uid,
        cells.collect::<Vec<_>>().join(" "),
        open.collect::<Vec<_>>().join(", ")
    )
}

fn epoch_text(record: &EpochRecord) -> String {
    let sum = |list: &[Amount]| list.iter().copied().sum::<Amount>();
    let payouts = &record.payouts;
    format!(
        "subnet      {}\ntempo       {}\nrun by      block {}\nneurons     {}\nminers      {}\nvalidators  {}\n\
         owner       {}",
        record.netuid,
        record.tempo,
        record.height,
        record.holders.len(),
        sum(&payouts.miners),
        sum(&payouts.validators),
        payouts.owner_cut
    )
}
