//! `agon metagraph` and `agon weights`: one subnet's neurons, and what its validators think of them.

mod at_risk;
mod columns;

use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::{BlockNumber, Netuid};
use agon_protocol::message::{Metagraph, MetagraphChanges, NeuronView, WeightRowView};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use self::columns::COLUMNS;
use crate::output::{Align, Table};
use crate::session::{Session, told};

const METAGRAPH_EXAMPLES: &str = "Examples:
  agon metagraph --netuid 1
  agon metagraph --netuid 1 --at 400 --json
  agon metagraph --netuid 1 --sort incentive --columns uid,hotkey,incentive,emission
  agon metagraph --netuid 1 --changes-since 412 --json
  agon metagraph --netuid 1 --at-risk

Shares are percent in the table, and parts of 65535 with --json. Emission is that of the newest epoch.
Rows that may have changed replace those of a copy that was read at or after the height; a node knows changes \
since it was started.";

const WEIGHTS_EXAMPLES: &str = "Examples:
  agon weights --netuid 1
  agon weights --netuid 1 --json

Weights are hidden until their tempo has passed; open commits are those not revealed yet.";

/// Flags of `agon metagraph`.
#[derive(Debug, Args)]
#[command(after_help = METAGRAPH_EXAMPLES)]
pub struct MetagraphArgs {
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
    /// Height of the block after which it is read [default: the newest]
    #[arg(long, value_name = "HEIGHT")]
    at: Option<BlockNumber>,
    /// Only the rows that may have changed since the block at this height; all of them where that is not known
    #[arg(long, value_name = "HEIGHT", conflicts_with = "at")]
    changes_since: Option<BlockNumber>,
    /// Who is replaced next once all UIDs are taken, in order
    #[arg(long, conflicts_with_all = ["at", "changes_since", "columns", "sort"])]
    at_risk: bool,
    /// Columns to show, in this order
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = names())]
    columns: Vec<String>,
    /// Column to sort by: shares and amounts from the largest, the rest from the lowest
    #[arg(long, value_name = "NAME", value_parser = names())]
    sort: Option<String>,
    /// Sort the other way round
    #[arg(long, requires = "sort")]
    reverse: bool,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(COLUMNS.iter().map(|column| column.name))
}

/// Flags of `agon weights`.
#[derive(Debug, Args)]
#[command(after_help = WEIGHTS_EXAMPLES)]
pub struct WeightsArgs {
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
}

/// Runs `agon metagraph`.
///
/// # Errors
///
/// When the ledger does not know subnet or height, or cannot be reached.
pub async fn metagraph(session: &Session, args: &MetagraphArgs) -> anyhow::Result<()> {
    if args.at_risk {
        return at_risk::show(session, args.netuid).await;
    }
    let mut changes = read(&session.client()?, args).await.map_err(told)?;
    if let Some(column) = args.sort.as_deref().and_then(columns::of_name) {
        columns::sort(&mut changes.metagraph.neurons, column, args.reverse);
    }
    session.show(&metagraph_json(args, &changes), || metagraph_text(args, &changes))
}

/// Runs `agon weights`.
///
/// # Errors
///
/// When the ledger does not know the subnet, or cannot be reached.
pub async fn weights(session: &Session, args: &WeightsArgs) -> anyhow::Result<()> {
    let rows = session.client()?.weights(args.netuid).await.map_err(told)?;
    let values: Vec<Value> = rows.iter().map(row_json).collect();
    session.show(&values, || match rows.is_empty() {
        true => format!(
            "no validator of subnet {} has weights or commits yet",
            args.netuid
        ),
        false => weights_table(&rows).to_string(),
    })
}

/// What is read: the whole now or at a height, or what changed since one.
async fn read(client: &LedgerClient, args: &MetagraphArgs) -> Result<MetagraphChanges, ClientError> {
    match args.changes_since {
        Some(since) => client.metagraph_changes(args.netuid, since).await,
        None => Ok(MetagraphChanges {
            since: None,
            metagraph: client.metagraph(args.netuid, args.at).await?,
        }),
    }
}

fn metagraph_text(args: &MetagraphArgs, changes: &MetagraphChanges) -> String {
    let Metagraph {
        netuid,
        height,
        tempo,
        neurons,
        ..
    } = &changes.metagraph;
    let what = match (args.changes_since, changes.since) {
        (None, _) => String::new(),
        (Some(_), Some(since)) => format!(
            ": {} rows that may have changed since block {since}",
            neurons.len()
        ),
        (Some(asked), None) => format!(": whole, since the node knows of no changes back to block {asked}"),
    };
    let table = columns::table(&columns::chosen(&args.columns), neurons);
    format!("subnet {netuid} after block {height}, tempo {tempo}{what}\n{table}")
}

fn metagraph_json(args: &MetagraphArgs, changes: &MetagraphChanges) -> Value {
    let metagraph = &changes.metagraph;
    let rows = metagraph.neurons.iter();
    let mut value = json!({
        "netuid": metagraph.netuid.0,
        "height": metagraph.height.0,
        "hash": metagraph.hash.to_string(),
        "tempo": metagraph.tempo,
        "neurons": rows.map(|neuron| columns::row(&args.columns, neuron)).collect::<Vec<_>>(),
    });
    if args.changes_since.is_some() {
        value["changes_since"] = json!(changes.since.map(|since| since.0));
    }
    value
}

/// A neuron with every field it has.
pub(crate) fn neuron_json(neuron: &NeuronView) -> Value {
    columns::row(&[], neuron)
}

fn weights_table(rows: &[WeightRowView]) -> Table {
    let mut table = Table::new(&[
        ("uid", Align::Right),
        ("open commits", Align::Left),
        ("weights, as uid:weight", Align::Left),
    ]);
    for row in rows {
        let open: Vec<String> = row
            .open_commits
            .iter()
            .map(|tempo| format!("tempo {tempo}"))
            .collect();
        let weights: Vec<String> = row
            .weights
            .iter()
            .map(|(uid, weight)| format!("{uid}:{weight}"))
            .collect();
        table.row([row.uid.to_string(), open.join(", "), weights.join(" ")]);
    }
    table
}

pub(crate) fn row_json(row: &WeightRowView) -> Value {
    json!({
        "uid": row.uid.0,
        "open_commits": row.open_commits,
        "weights": row.weights.iter().map(|(uid, weight)| (uid.0, *weight)).collect::<Vec<_>>(),
    })
}
