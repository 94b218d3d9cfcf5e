//! `agon metagraph` and `agon weights`: one subnet's neurons, and what its validators think of them.

use agon_protocol::id::{BlockNumber, Netuid};
use agon_protocol::message::{Axon, Metagraph, NeuronView, WeightRowView};
use clap::Args;
use serde_json::{Value, json};

use crate::output::{Align, Table, one_line, percent, short, units, yes};
use crate::session::{Session, told};

const METAGRAPH_EXAMPLES: &str = "Examples:
  agon metagraph --netuid 1
  agon metagraph --netuid 1 --at 400 --json

Shares are percent in the table, and parts of 65535 with --json. Emission is that of the newest epoch.";

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
    let metagraph = session
        .client()?
        .metagraph(args.netuid, args.at)
        .await
        .map_err(told)?;
    session.show(&metagraph_json(&metagraph), || {
        let Metagraph {
            netuid,
            height,
            tempo,
            ..
        } = &metagraph;
        format!(
            "subnet {netuid} after block {height}, tempo {tempo}\n{}",
            metagraph_table(&metagraph)
        )
    })
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

fn metagraph_table(metagraph: &Metagraph) -> Table {
    let mut table = Table::new(&[
        ("uid", Align::Right),
        ("hotkey", Align::Left),
        ("stake", Align::Right),
        ("permit", Align::Left),
        ("active", Align::Left),
        ("consensus %", Align::Right),
        ("incentive %", Align::Right),
        ("v.trust %", Align::Right),
        ("dividends %", Align::Right),
        ("emission", Align::Right),
        ("earned", Align::Right),
        ("updated", Align::Right),
        ("axon", Align::Left),
        ("model", Align::Left),
    ]);
    for neuron in &metagraph.neurons {
        let axon = neuron.axon.as_ref();
        table.row([
            neuron.uid.to_string(),
            short(neuron.hotkey),
            units(neuron.stake),
            yes(neuron.permit),
            yes(neuron.active),
            percent(neuron.consensus),
            percent(neuron.incentive),
            percent(neuron.validator_trust),
            percent(neuron.dividends),
            units(neuron.emission),
            units(neuron.earned),
            neuron.last_update.to_string(),
            axon.map_or_else(String::new, |axon| axon.socket_addr().to_string()),
            axon.map_or_else(String::new, |axon| one_line(&axon.model_name, 20)),
        ]);
    }
    table
}

fn metagraph_json(metagraph: &Metagraph) -> Value {
    json!({
        "netuid": metagraph.netuid.0,
        "height": metagraph.height.0,
        "hash": metagraph.hash.to_string(),
        "tempo": metagraph.tempo,
        "neurons": metagraph.neurons.iter().map(neuron_json).collect::<Vec<_>>(),
    })
}

fn neuron_json(neuron: &NeuronView) -> Value {
    json!({
        "uid": neuron.uid.0,
        "hotkey": neuron.hotkey.to_string(),
        "coldkey": neuron.coldkey.to_string(),
        "axon": neuron.axon.as_ref().map(|axon| axon_json(axon, neuron.axon_height)),
        "stake": neuron.stake.base_units(),
        "permit": neuron.permit,
        "active": neuron.active,
        "registered": neuron.registered.0,
        "last_update": neuron.last_update.0,
        "consensus": neuron.consensus,
        "incentive": neuron.incentive,
        "validator_trust": neuron.validator_trust,
        "dividends": neuron.dividends,
        "emission": neuron.emission.base_units(),
        "earned": neuron.earned.base_units(),
    })
}

fn axon_json(axon: &Axon, height: BlockNumber) -> Value {
    json!({
        "address": axon.socket_addr().to_string(),
        "protocol": axon.protocol,
        "model": axon.model.to_string(),
        "model_name": axon.model_name,
        "height": height.0,
    })
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

fn row_json(row: &WeightRowView) -> Value {
    json!({
        "uid": row.uid.0,
        "open_commits": row.open_commits,
        "weights": row.weights.iter().map(|(uid, weight)| (uid.0, *weight)).collect::<Vec<_>>(),
    })
}
