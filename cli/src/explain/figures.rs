//! One neuron's path through an epoch, in the integers that the ledger computes with.
//!
//! Fractions are `_q32`: integers of which `2^32` make one, as [`Fixed32`] keeps them. They are given for every step,
//! so that whoever reads them can add them up: `granted_q32` of the voices sum to the granted weight, that over
//! everybody's is the incentive, the incentive's part of the earned amounts times the miners' half is the pay.

use agon_ledger_state::{EpochRecord, covered};
use agon_protocol::amount::Amount;
use agon_protocol::id::Uid;
use agon_scoring::epoch::{EpochInputs, Fixed32, FixedRows, Trace};
use serde::Serialize;

use super::recompute::{Halves, Recomputed, recompute};

/// The way to one neuron's pay. Amounts are base units.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Number of the subnet.
    pub netuid: u16,
    /// The tempo that the epoch ended.
    pub tempo: u64,
    /// First block of that tempo.
    pub tempo_start: u64,
    /// Block that ran the epoch.
    pub height: u64,
    /// The neuron.
    pub uid: u16,
    /// Its key.
    pub hotkey: String,
    /// The owner of its key.
    pub coldkey: String,
    /// Whether that is the subnet's owner.
    pub is_owner: bool,
    /// Whether its weights could count in this epoch.
    pub permit: bool,
    /// Whether its weights were fresh enough.
    pub active: bool,
    /// Stake on its hotkey.
    pub stake: u64,
    /// What the tempo brought and where it went.
    pub emission: Emission,
    /// The way to its pay as a miner.
    pub miner: MinerPath,
    /// The way to its pay as a validator; none for who had no permit and no such pay.
    pub validator: Option<ValidatorPath>,
    /// Paid in all, without what was burned.
    pub paid: u64,
    /// Whether all of it follows from the record's inputs.
    pub recomputed: Recomputed,
}

/// What a tempo brought to the subnet and where it went: `created` and `held_before` are `owner_cut` and both halves.
#[derive(Debug, Serialize)]
pub struct Emission {
    /// Created for the subnet in the tempo.
    pub created: u64,
    /// Held from earlier tempos.
    pub held_before: u64,
    /// Paid to the owner's coldkey.
    pub owner_cut: u64,
    /// What is divided between miners; it is the sum of the next four.
    pub miners_half: u64,
    /// Paid to them.
    pub miners_paid: u64,
    /// Burned, because the owner holds the UIDs that earned it.
    pub miners_burned: u64,
    /// Burned, because a free balance would have been too small to exist with it.
    pub miners_dust: u64,
    /// Held, because no miner earned.
    pub miners_held: u64,
    /// What is divided between validators; it is the sum of the next three.
    pub validators_half: u64,
    /// Paid to them and their stakers.
    pub validators_paid: u64,
    /// Burned, because a free balance would have been too small to exist with it.
    pub validators_dust: u64,
    /// Held, because no validator earned, or none of those who did has shown evidence.
    pub validators_held: u64,
}

impl Emission {
    fn of(record: &EpochRecord, halves: Halves) -> Self {
        let held_before = record
            .miners_held_before
            .saturating_add(record.validators_held_before);
        let payouts = &record.payouts;
        Self {
            created: record.pending.base_units(),
            held_before: held_before.base_units(),
            owner_cut: payouts.owner_cut.base_units(),
            miners_half: halves.miners.base_units(),
            miners_paid: payouts.miners_paid().base_units(),
            miners_burned: payouts.miners_burned.base_units(),
            miners_dust: dust_in(&payouts.dust.miners).base_units(),
            miners_held: payouts.miners_held.base_units(),
            validators_half: halves.validators.base_units(),
            validators_paid: payouts.validators_paid().base_units(),
            validators_dust: dust_in(&payouts.dust.validators).base_units(),
            validators_held: payouts.validators_held.base_units(),
        }
    }
}

/// A share of a half: `half x earned / earned_by_all`, rounded by largest remainder, is `amount`.
#[derive(Debug, Serialize)]
pub struct Portion {
    /// The half that is divided.
    pub half: u64,
    /// What the epoch granted this UID: its fraction of the whole emission, rounded down; of dividends what coverage
    /// leaves.
    pub earned: u64,
    /// The same of all UIDs.
    pub earned_by_all: u64,
    /// Whether the remainder was large enough to be rounded up by one base unit.
    pub rounded_up: bool,
    /// What came of it.
    pub amount: u64,
}

impl Portion {
    fn of(half: Amount, earned: &[u64], index: usize, amount: Amount) -> Self {
        let half = half.base_units();
        let sum: u128 = earned.iter().map(|earned| u128::from(*earned)).sum();
        let product = u128::from(half) * u128::from(earned[index]);
        let rounded_down = product.checked_div(sum).unwrap_or(0);
        let amount = amount.base_units();
        Self {
            half,
            earned: earned[index],
            earned_by_all: u64::try_from(sum).unwrap_or(u64::MAX),
            rounded_up: u128::from(amount) > rounded_down,
            amount,
        }
    }
}

/// The way to a miner's pay.
#[derive(Debug, Serialize)]
pub struct MinerPath {
    /// What each validator with a permit said.
    pub voices: Vec<Voice>,
    /// The majority of stake that consensus asks for, parts of 65535.
    pub kappa: u16,
    /// The largest weight that this majority grants at least.
    pub consensus_q32: i64,
    /// Sum of the voices' `granted_q32`.
    pub granted_q32: i64,
    /// The same sum of all miners together.
    pub granted_to_all_q32: i64,
    /// The former over the latter.
    pub incentive_q32: i64,
    /// The same in parts of 65535, as the metagraph shows it.
    pub incentive: u16,
    /// The share of the miners' half.
    pub portion: Portion,
    /// Paid to the coldkey.
    pub paid: u64,
    /// Burned instead, because the coldkey is the subnet's owner.
    pub burned: u64,
    /// Burned instead, because the coldkey's free balance would have been too small to exist with it.
    pub dust: u64,
}

/// What one validator said about a miner.
#[derive(Debug, Serialize)]
pub struct Voice {
    /// The validator.
    pub uid: u16,
    /// Its key.
    pub hotkey: String,
    /// Stake on its hotkey.
    pub stake: u64,
    /// Why its weight on this miner does not count, if it does not.
    pub silent: Option<&'static str>,
    /// Its share of the stake of those who count.
    pub stake_q32: i64,
    /// Its weight on this miner as revealed, parts of its largest.
    pub weight: u16,
    /// The same as a share of its row.
    pub weight_q32: i64,
    /// What clipping at consensus leaves of that.
    pub clipped_q32: i64,
    /// Stake share times clipped weight, rounded down.
    pub granted_q32: i64,
}

/// The way to a validator's pay.
#[derive(Debug, Serialize)]
pub struct ValidatorPath {
    /// Its bonds.
    pub bonds: Vec<Bond>,
    /// Share of its row that clipping left.
    pub validator_trust_q32: i64,
    /// Sum of the bonds' `claim_q32`.
    pub claims_q32: i64,
    /// Its share of the stake of those who count.
    pub stake_q32: i64,
    /// Claims times stake share, with bonds of their own scale (Yuma 3); otherwise the claims, which hold stake.
    pub weighed_q32: i64,
    /// The same of all validators together.
    pub weighed_of_all_q32: i64,
    /// The former over the latter.
    pub dividends_q32: i64,
    /// The same in parts of 65535, as the metagraph shows it.
    pub dividends: u16,
    /// Whether nobody earned anything, so that the half was shared by stake.
    pub by_stake: bool,
    /// What the epoch granted it before coverage.
    pub uncovered: u64,
    /// Share of the work of the tempo before that its evidence has proven, parts per million.
    pub coverage_ppm: u32,
    /// The share of the validators' half.
    pub portion: Portion,
    /// Paid, to its coldkey and the stake on its hotkey.
    pub paid: u64,
    /// The part of what it earned that is the coldkey's take.
    pub take: u64,
    /// Burned instead, because the coldkey's free balance would have been too small to exist with it.
    pub dust: u64,
}

/// A validator's claim on one miner.
#[derive(Debug, Serialize)]
pub struct Bond {
    /// The miner.
    pub uid: u16,
    /// Its key.
    pub hotkey: String,
    /// The bond before the epoch.
    pub old_q32: i64,
    /// The weight it moved towards.
    pub weight_q32: i64,
    /// The bond after it.
    pub bond_q32: i64,
    /// The validator's share of all bonds on the miner.
    pub share_q32: i64,
    /// The miner's incentive.
    pub incentive_q32: i64,
    /// Share times incentive, rounded down.
    pub claim_q32: i64,
}

impl Explanation {
    /// Explains one UID of a record.
    ///
    /// # Errors
    ///
    /// When the record has no such UID, its lists differ in length, or its inputs are none.
    pub fn of(record: &EpochRecord, uid: Uid) -> anyhow::Result<Self> {
        let index = index_of(record, uid)?;
        let (trace, recomputed) = recompute(record)?;
        let halves = Halves::of(record);
        let (hotkey, coldkey) = record.holders[index];
        let miner = miner_path(record, &trace, halves, uid);
        let permit = is_permitted(&record.inputs, index);
        let validator = validator_path(record, &trace, halves, index);
        let validator = validator.filter(|path| permit || path.paid > 0);
        Ok(Self {
            netuid: record.netuid.0,
            tempo: record.tempo,
            tempo_start: record.tempo_start.0,
            height: record.height.0,
            uid: uid.0,
            hotkey: hotkey.to_string(),
            coldkey: coldkey.to_string(),
            is_owner: coldkey == record.owner,
            permit,
            active: record.outputs.active[index],
            stake: record.inputs.stake[index],
            emission: Emission::of(record, halves),
            paid: miner.paid + validator.as_ref().map_or(0, |path| path.paid),
            miner,
            validator,
            recomputed,
        })
    }
}

/// The place of `uid` in every list of the record, which comes from outside.
fn index_of(record: &EpochRecord, uid: Uid) -> anyhow::Result<usize> {
    let (inputs, outputs, payouts) = (&record.inputs, &record.outputs, &record.payouts);
    let count = record.holders.len();
    let lengths = [
        inputs.neuron_count,
        inputs.stake.len(),
        inputs.validator_permit.len(),
        inputs.weights.len(),
        record.coverage_ppm.len(),
        outputs.active.len(),
        outputs.incentive.len(),
        outputs.dividends.len(),
        outputs.server_emission.len(),
        outputs.validator_emission.len(),
        payouts.miners.len(),
        payouts.validators.len(),
        payouts.takes.len(),
    ];
    if let Some(odd) = lengths.into_iter().find(|length| *length != count) {
        anyhow::bail!("the record is of {count} UIDs, and of {odd} in another place");
    }
    let index = usize::from(uid.0);
    anyhow::ensure!(
        index < count,
        "subnet {} had {count} UIDs in tempo {}, none is {uid}",
        record.netuid,
        record.tempo
    );
    Ok(index)
}

fn is_permitted(inputs: &EpochInputs, index: usize) -> bool {
    let is_owner = inputs.owner_uid.is_some_and(|owner| usize::from(owner) == index);
    inputs.validator_permit[index] || is_owner
}

fn cell(rows: Option<&FixedRows>, row: usize, column: u16) -> Fixed32 {
    let row = rows.and_then(|rows| rows.get(row));
    let cell = row.and_then(|row| {
        row.binary_search_by_key(&column, |(uid, _)| *uid)
            .ok()
            .map(|at| row[at].1)
    });
    cell.unwrap_or_default()
}

fn sum(values: impl IntoIterator<Item = Fixed32>) -> Fixed32 {
    values.into_iter().fold(Fixed32::ZERO, Fixed32::plus)
}

fn miner_path(record: &EpochRecord, trace: &Trace, halves: Halves, uid: Uid) -> MinerPath {
    let index = usize::from(uid.0);
    let amount = record.payouts.miners[index];
    let is_owner = record.holders[index].1 == record.owner;
    let dust = dust_of(&record.payouts.dust.miners, uid);
    let (paid, burned) = match is_owner {
        true => (0, amount.base_units()),
        false => (amount.saturating_sub(dust).base_units(), 0),
    };
    let voices: Vec<Voice> = (0..record.holders.len())
        .filter(|row| is_permitted(&record.inputs, *row))
        .map(|row| voice(record, trace, row, uid.0))
        .collect();
    MinerPath {
        granted_q32: voices.iter().map(|voice| voice.granted_q32).sum(),
        voices,
        kappa: record.inputs.kappa,
        consensus_q32: trace.consensus[index].to_bits(),
        granted_to_all_q32: granted_to_all(trace).to_bits(),
        incentive_q32: trace.incentive[index].to_bits(),
        incentive: record.outputs.incentive[index],
        portion: Portion::of(halves.miners, &record.outputs.server_emission, index, amount),
        paid,
        burned,
        dust: dust.base_units(),
    }
}

/// What of the pay of `uid` was burned as dust.
fn dust_of(list: &[(Uid, Amount)], uid: Uid) -> Amount {
    list.iter()
        .filter(|(of, _)| *of == uid)
        .map(|(_, amount)| *amount)
        .sum()
}

fn dust_in(list: &[(Uid, Amount)]) -> Amount {
    list.iter().map(|(_, amount)| *amount).sum()
}

fn granted_to_all(trace: &Trace) -> Fixed32 {
    let rows = trace.weights_clipped.iter().flatten().zip(&trace.active_stake);
    sum(rows.flat_map(|(row, stake)| row.iter().map(|(_, weight)| stake.times(*weight))))
}

fn voice(record: &EpochRecord, trace: &Trace, row: usize, uid: u16) -> Voice {
    let (inputs, stake) = (&record.inputs, trace.active_stake[row]);
    let raw = inputs.weights[row].iter().find(|(on, _)| *on == uid);
    let weight = raw.map_or(0, |(_, weight)| *weight);
    let usable = cell(trace.weights_normalized.as_ref(), row, uid);
    let clipped = cell(trace.weights_clipped.as_ref(), row, uid);
    let silent = if !record.outputs.active[row] {
        Some("inactive: no fresh weights")
    } else if stake == Fixed32::ZERO {
        Some("no stake that counts")
    } else if inputs.weights[row].is_empty() {
        Some("no weights that count")
    } else if row == usize::from(uid) && usable == Fixed32::ZERO {
        Some("no weight on oneself")
    } else if weight > 0 && usable == Fixed32::ZERO {
        Some("older than the UID's holder")
    } else {
        None
    };
    Voice {
        // The record was found to have as many rows as UIDs.
        uid: row as u16,
        hotkey: record.holders[row].0.to_string(),
        stake: inputs.stake[row],
        silent,
        stake_q32: stake.to_bits(),
        weight,
        weight_q32: usable.to_bits(),
        clipped_q32: clipped.to_bits(),
        granted_q32: stake.times(clipped).to_bits(),
    }
}

fn validator_path(
    record: &EpochRecord,
    trace: &Trace,
    halves: Halves,
    index: usize,
) -> Option<ValidatorPath> {
    let yuma3 = record.inputs.yuma3;
    let stake = *trace.active_stake.get(index)?;
    let weigh = |claims: Fixed32, stake: Fixed32| if yuma3 { claims.times(stake) } else { claims };
    let bonds = bonds(record, trace, index);
    let claims: i64 = bonds.iter().map(|bond| bond.claim_q32).sum();
    let all = (0..trace.active_stake.len()).map(|row| weigh(claims_of(trace, row), trace.active_stake[row]));
    let amount = record.payouts.validators[index];
    let uncovered = &record.outputs.validator_emission;
    let earned = covered(uncovered, &record.coverage_ppm);
    let dust = dust_of(&record.payouts.dust.validators, Uid(index as u16));
    Some(ValidatorPath {
        bonds,
        validator_trust_q32: trace.validator_trust[index].to_bits(),
        claims_q32: claims,
        stake_q32: stake.to_bits(),
        weighed_q32: weigh(Fixed32::from_bits(claims), stake).to_bits(),
        weighed_of_all_q32: sum(all).to_bits(),
        dividends_q32: trace.dividends[index].to_bits(),
        dividends: record.outputs.dividends[index],
        by_stake: nobody_earned(trace) && amount > Amount::ZERO,
        uncovered: uncovered[index],
        coverage_ppm: record.coverage_ppm[index],
        portion: Portion::of(halves.validators, &earned, index, amount),
        paid: amount.saturating_sub(dust).base_units(),
        dust: dust.base_units(),
        take: record.payouts.takes[index].base_units(),
    })
}

fn nobody_earned(trace: &Trace) -> bool {
    let earned = trace.incentive.iter().chain(&trace.dividends);
    sum(earned.copied()) == Fixed32::ZERO
}

fn claims_of(trace: &Trace, row: usize) -> Fixed32 {
    let rows = trace.bonds_ema_normalized.as_ref();
    let row = rows.and_then(|rows| rows.get(row)).map_or(&[][..], Vec::as_slice);
    sum(row
        .iter()
        .map(|(uid, share)| share.times(trace.incentive[usize::from(*uid)])))
}

/// What the validator at `index` holds of each miner, before or after the epoch.
fn bonds(record: &EpochRecord, trace: &Trace, index: usize) -> Vec<Bond> {
    let (old, new, after) = match record.inputs.yuma3 {
        true => (
            &trace.bonds_old_masked,
            &trace.weights_for_bonds,
            &trace.bonds_ema,
        ),
        false => (
            &trace.bonds_old_normalized,
            &trace.bonds_delta_normalized,
            &trace.bonds_ema_normalized,
        ),
    };
    let bond = |uid: u16| {
        let share = cell(trace.bonds_ema_normalized.as_ref(), index, uid);
        let incentive = trace.incentive[usize::from(uid)];
        Bond {
            uid,
            hotkey: record.holders[usize::from(uid)].0.to_string(),
            old_q32: cell(old.as_ref(), index, uid).to_bits(),
            weight_q32: cell(new.as_ref(), index, uid).to_bits(),
            bond_q32: cell(after.as_ref(), index, uid).to_bits(),
            share_q32: share.to_bits(),
            incentive_q32: incentive.to_bits(),
            claim_q32: share.times(incentive).to_bits(),
        }
    };
    (0..record.holders.len())
        .map(|uid| bond(uid as u16))
        .filter(|bond| bond.old_q32 > 0 || bond.weight_q32 > 0 || bond.bond_q32 > 0)
        .collect()
}
