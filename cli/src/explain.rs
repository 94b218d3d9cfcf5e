//! `agon explain`: the way from weights to one neuron's pay in one epoch, recomputed from the ledger's record.
//!
//! The record holds everything the epoch was computed from. It is computed again here, and what comes out must be
//! what the ledger stored; so the explanation needs no trust in the node that gave the record.

use agon_ledger_client::LedgerClient;
use agon_ledger_state::EpochRecord;
use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::id::{Netuid, Uid};
use agon_scoring::epoch::{Fixed32, FixedRows, Trace, run_traced};
use clap::Args;
use serde::Serialize;

use crate::output::{Align, Table};
use crate::session::{Session, told};

const EXAMPLES: &str = "Examples:
  agon explain --netuid 1 --uid 5
  agon explain --netuid 1 --uid 5 --epoch 12 --json

An epoch has the number of the tempo it ended; the ledger keeps the newest 64 of a subnet.
Weights of a tempo count once they are revealed, in the epoch after it.";

/// Most bytes of an epoch's record: what the node sends in one message.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Flags of `agon explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
    /// UID whose pay is explained
    #[arg(long, value_name = "UID")]
    uid: Uid,
    /// Tempo that the epoch ended [default: the newest]
    #[arg(long, value_name = "TEMPO")]
    epoch: Option<u64>,
}

/// One validator's part in a miner's pay. Shares are of one.
#[derive(Debug, Serialize)]
struct Voice {
    uid: u16,
    /// Share of the stake that counts.
    stake_share: f64,
    /// Share of its row that it gave this miner.
    weight_share: f64,
    /// What remains of it after clipping at consensus.
    clipped_share: f64,
}

/// A validator's claim on one miner. Shares are of one.
#[derive(Debug, Serialize)]
struct Bond {
    uid: u16,
    /// The validator's share of all bonds on the miner.
    bond_share: f64,
    /// The miner's incentive.
    incentive: f64,
}

/// The way to one neuron's pay. Shares are of one, amounts base units.
#[derive(Debug, Serialize)]
struct Explanation {
    netuid: u16,
    tempo: u64,
    height: u64,
    uid: u16,
    hotkey: String,
    coldkey: String,
    is_owner: bool,
    permit: bool,
    active: bool,
    stake: u64,
    created: u64,
    held_before: u64,
    owner_cut: u64,
    miners_pot: u64,
    /// What of it nobody earned, so that it waits for a later epoch.
    miners_held: u64,
    validators_pot: u64,
    voices: Vec<Voice>,
    consensus: f64,
    incentive: f64,
    validator_trust: f64,
    bonds: Vec<Bond>,
    dividends: f64,
    paid_as_miner: u64,
    burned: u64,
    paid_as_validator: u64,
}

/// Runs `agon explain`.
///
/// # Errors
///
/// When the ledger does not keep the epoch or cannot be reached, or its record does not hold.
pub async fn run(session: &Session, args: &ExplainArgs) -> anyhow::Result<()> {
    let client = session.client()?;
    let tempo = match args.epoch {
        Some(tempo) => tempo,
        None => newest(&client, args.netuid).await?,
    };
    let bytes = client.epoch(args.netuid, tempo).await.map_err(told)?;
    let record: EpochRecord = codec::decode(&bytes, RECORD_BYTES_MAX)?;
    let explanation = explain(&record, args.uid)?;
    session.show(&explanation, || text(&explanation))
}

async fn newest(client: &LedgerClient, netuid: Netuid) -> anyhow::Result<u64> {
    let subnet = client.subnet(netuid).await.map_err(told)?;
    subnet.tempo.checked_sub(1).ok_or_else(|| {
        anyhow::anyhow!(
            "no epoch of subnet {netuid} has run yet: the first runs at block {}",
            subnet.next_epoch
        )
    })
}

fn explain(record: &EpochRecord, uid: Uid) -> anyhow::Result<Explanation> {
    let (outputs, trace) = run_traced(&record.inputs)?;
    anyhow::ensure!(
        outputs == record.outputs,
        "the ledger's record does not follow from its own inputs"
    );
    let index = usize::from(uid.0);
    let lists = [
        record.payouts.miners.len(),
        record.payouts.validators.len(),
        outputs.incentive.len(),
    ];
    let Some((hotkey, coldkey)) = record
        .holders
        .get(index)
        .filter(|_| lists.iter().all(|len| index < *len))
    else {
        anyhow::bail!(
            "subnet {} had {} UIDs in tempo {}, none is {uid}",
            record.netuid,
            record.holders.len(),
            record.tempo
        );
    };
    let pot = |amounts: &[Amount], held: Amount| amounts.iter().copied().sum::<Amount>().saturating_add(held);
    let payouts = &record.payouts;
    let is_owner = *coldkey == record.owner;
    let as_miner = payouts.miners[index].base_units();
    Ok(Explanation {
        netuid: record.netuid.0,
        tempo: record.tempo,
        height: record.height.0,
        uid: uid.0,
        hotkey: hotkey.to_string(),
        coldkey: coldkey.to_string(),
        is_owner,
        permit: record.inputs.validator_permit[index],
        active: outputs.active[index],
        stake: record.inputs.stake[index],
        created: record.pending.base_units(),
        held_before: record
            .miners_held_before
            .saturating_add(record.validators_held_before)
            .base_units(),
        owner_cut: payouts.owner_cut.base_units(),
        miners_pot: pot(&payouts.miners, payouts.miners_held).base_units(),
        miners_held: payouts.miners_held.base_units(),
        validators_pot: pot(&payouts.validators, payouts.validators_held).base_units(),
        voices: voices(&trace, uid.0),
        consensus: share(trace.consensus[index]),
        incentive: share(trace.incentive[index]),
        validator_trust: share(trace.validator_trust[index]),
        bonds: bonds(&trace, index),
        dividends: share(trace.dividends[index]),
        paid_as_miner: if is_owner { 0 } else { as_miner },
        burned: if is_owner { as_miner } else { 0 },
        paid_as_validator: payouts.validators[index].base_units(),
    })
}

fn share(value: Fixed32) -> f64 {
    value.to_bits() as f64 / 2f64.powi(32)
}

fn cell(rows: Option<&FixedRows>, row: usize, column: u16) -> f64 {
    let row = rows.and_then(|rows| rows.get(row));
    let cell = row.and_then(|row| row.iter().find(|(uid, _)| *uid == column));
    cell.map_or(0.0, |(_, value)| share(*value))
}

/// Every validator whose stake counts, and what it said about `uid`.
fn voices(trace: &Trace, uid: u16) -> Vec<Voice> {
    let voice = |(row, stake): (u16, &Fixed32)| Voice {
        uid: row,
        stake_share: share(*stake),
        weight_share: cell(trace.weights_normalized.as_ref(), usize::from(row), uid),
        clipped_share: cell(trace.weights_clipped.as_ref(), usize::from(row), uid),
    };
    (0..=u16::MAX)
        .zip(&trace.active_stake)
        .map(voice)
        .filter(|voice| voice.stake_share > 0.0)
        .collect()
}

/// What the validator at `index` holds of each miner.
fn bonds(trace: &Trace, index: usize) -> Vec<Bond> {
    let row = trace
        .bonds_ema_normalized
        .as_ref()
        .and_then(|rows| rows.get(index));
    let bond = |(uid, value): &(u16, Fixed32)| Bond {
        uid: *uid,
        bond_share: share(*value),
        incentive: trace
            .incentive
            .get(usize::from(*uid))
            .map_or(0.0, |incentive| share(*incentive)),
    };
    row.into_iter()
        .flatten()
        .map(bond)
        .filter(|bond| bond.bond_share > 0.0)
        .collect()
}

fn text(it: &Explanation) -> String {
    let amount = Amount::from_base_units;
    let mut parts = vec![
        format!(
            "UID {} of subnet {}, epoch of tempo {}, block {}\nhotkey {}\ncoldkey {}",
            it.uid, it.netuid, it.tempo, it.height, it.hotkey, it.coldkey
        ),
        format!(
            "created in the tempo {}, held from before {}\nof that: owner {}, miners {}, validators {}",
            amount(it.created),
            amount(it.held_before),
            amount(it.owner_cut),
            amount(it.miners_pot),
            amount(it.validators_pot)
        ),
    ];
    // A validator that nobody took for a miner has no pay as one to explain.
    let is_miner = it.paid_as_miner > 0 || it.burned > 0 || !it.permit;
    parts.extend(is_miner.then(|| miner_text(it)));
    parts.extend(it.permit.then(|| validator_text(it)));
    parts.join("\n\n")
}

fn miner_text(it: &Explanation) -> String {
    if it.miners_held > 0 {
        let held = Amount::from_base_units(it.miners_held);
        return format!(
            "As a miner: nobody's weights counted in this epoch, so {held} waits for the next one"
        );
    }
    let mut table = Table::new(&[
        ("validator", Align::Right),
        ("its stake %", Align::Right),
        ("its weight on this UID %", Align::Right),
        ("after clipping %", Align::Right),
    ]);
    for voice in &it.voices {
        let shares = [voice.stake_share, voice.weight_share, voice.clipped_share].map(hundredths);
        let [stake, weight, clipped] = shares;
        table.row([voice.uid.to_string(), stake, weight, clipped]);
    }
    let burned = match it.burned {
        0 => String::new(),
        burned => format!(
            "; {} is burned, since the subnet's owner holds this UID",
            Amount::from_base_units(burned)
        ),
    };
    format!(
        "As a miner\n{table}\nconsensus {} %: the weight that a majority of stake gives at least\n\
         incentive {} %: its share of the weights that remain, by stake\n\
         {} % of {} = {}{burned}",
        hundredths(it.consensus),
        hundredths(it.incentive),
        hundredths(it.incentive),
        Amount::from_base_units(it.miners_pot),
        Amount::from_base_units(it.paid_as_miner),
    )
}

fn validator_text(it: &Explanation) -> String {
    let mut table = Table::new(&[
        ("miner", Align::Right),
        ("its bond %", Align::Right),
        ("the miner's incentive %", Align::Right),
    ]);
    for bond in &it.bonds {
        table.row([
            bond.uid.to_string(),
            hundredths(bond.bond_share),
            hundredths(bond.incentive),
        ]);
    }
    let [stake, pot, paid] = [it.stake, it.validators_pot, it.paid_as_validator].map(Amount::from_base_units);
    if it.dividends == 0.0 && it.paid_as_validator > 0 {
        return format!(
            "As a validator, with stake {stake}\nnobody's weights counted, so {pot} is shared by stake: {paid}"
        );
    }
    format!(
        "As a validator, with stake {stake}\n{table}\nvalidator trust {} %: what clipping left of its row\n\
         dividends {} % of {pot} = {paid}",
        hundredths(it.validator_trust),
        hundredths(it.dividends),
    )
}

fn hundredths(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}
