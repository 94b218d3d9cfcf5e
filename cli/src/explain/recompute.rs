//! An epoch's record computed again, figure by figure.

use std::fmt::Display;

use agon_ledger_state::{EpochRecord, Payouts, apportion, covered};
use agon_protocol::amount::Amount;
use agon_protocol::id::Uid;
use agon_scoring::epoch::{EpochOutputs, Trace, run_traced};
use serde::Serialize;

/// What came of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recomputed {
    /// Whether every figure of the record follows from its inputs.
    pub equal: bool,
    /// The first that does not: which, what is stored, what was computed.
    pub difference: Option<String>,
}

impl Recomputed {
    fn of(compared: Result<(), String>) -> Self {
        Self {
            equal: compared.is_ok(),
            difference: compared.err(),
        }
    }
}

/// What the two halves of a tempo's emission come to, with what was held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halves {
    /// For miners.
    pub miners: Amount,
    /// For validators.
    pub validators: Amount,
}

impl Halves {
    /// After the owner's cut: half of the rest rounded down for miners, what remains for validators, each with what
    /// was held for it.
    #[must_use]
    pub fn of(record: &EpochRecord) -> Self {
        let rest = record.pending.saturating_sub(record.payouts.owner_cut);
        let miners = rest.mul_ratio(1, 2);
        let validators = rest.saturating_sub(miners);
        Self {
            miners: miners.saturating_add(record.miners_held_before),
            validators: validators.saturating_add(record.validators_held_before),
        }
    }
}

/// Computes the epoch of a record again, and what it paid, and compares both with the record.
///
/// Gives the values between the steps as well. The owner's cut is taken as stored: its rate is a parameter of the
/// subnet, not part of the record. So is coverage: what it follows from are the openings of the tempo, in its blocks.
///
/// # Errors
///
/// When the inputs are none that an epoch can be computed from.
pub fn recompute(record: &EpochRecord) -> anyhow::Result<(Trace, Recomputed)> {
    let (outputs, trace) = run_traced(&record.inputs)?;
    let compared = compare(record, &outputs);
    Ok((trace, Recomputed::of(compared)))
}

fn compare(record: &EpochRecord, outputs: &EpochOutputs) -> Result<(), String> {
    let halves = Halves::of(record);
    let emission = halves.miners.saturating_add(halves.validators);
    same(
        "the emission that was divided",
        record.inputs.emission,
        emission.base_units(),
    )?;
    compare_outputs(&record.outputs, outputs)?;
    compare_payouts(record, halves)
}

fn compare_outputs(stored: &EpochOutputs, computed: &EpochOutputs) -> Result<(), String> {
    same_list("activity", &stored.active, &computed.active)?;
    same_list("permit", &stored.validator_permit, &computed.validator_permit)?;
    same_list("stake weight", &stored.stake_weight, &computed.stake_weight)?;
    same_list("consensus", &stored.consensus, &computed.consensus)?;
    same_list(
        "validator trust",
        &stored.validator_trust,
        &computed.validator_trust,
    )?;
    same_list("incentive", &stored.incentive, &computed.incentive)?;
    same_list("dividends", &stored.dividends, &computed.dividends)?;
    same_list("emission", &stored.emission, &computed.emission)?;
    same_list(
        "emission as a miner",
        &stored.server_emission,
        &computed.server_emission,
    )?;
    same_list(
        "emission as a validator",
        &stored.validator_emission,
        &computed.validator_emission,
    )?;
    same("rows of bonds", stored.bonds.len(), computed.bonds.len())?;
    let rows = stored.bonds.iter().zip(&computed.bonds).enumerate();
    match rows
        .into_iter()
        .find(|(_, (stored, computed))| stored != computed)
    {
        None => Ok(()),
        Some((uid, _)) => Err(format!("the bonds of UID {uid} differ")),
    }
}

fn compare_payouts(record: &EpochRecord, halves: Halves) -> Result<(), String> {
    let stored = &record.payouts;
    let computed = payouts(record, halves);
    same_list("pay as a miner", &stored.miners, &computed.miners)?;
    same_list("pay as a validator", &stored.validators, &computed.validators)?;
    same_list("take", &stored.takes, &computed.takes)?;
    within("dust of miners", &stored.dust.miners, &computed.miners)?;
    within(
        "dust of validators",
        &stored.dust.validators,
        &computed.validators,
    )?;
    same(
        "what miners' pay was burned",
        stored.miners_burned,
        computed.miners_burned,
    )?;
    same(
        "what is held for miners",
        stored.miners_held,
        computed.miners_held,
    )?;
    same(
        "what is held for validators",
        stored.validators_held,
        computed.validators_held,
    )
}

/// What the outputs of a record pay: each half in proportion, to the base unit, that of validators after coverage; the
/// owner's own as a miner is burned.
fn payouts(record: &EpochRecord, halves: Halves) -> Payouts {
    let miners = apportion(halves.miners, &record.outputs.server_emission);
    let dividends = covered(&record.outputs.validator_emission, &record.coverage_ppm);
    let validators = apportion(halves.validators, &dividends);
    let sum = |amounts: &[Amount]| amounts.iter().copied().sum::<Amount>();
    let of_owner = record.holders.iter().zip(&miners);
    Payouts {
        owner_cut: record.payouts.owner_cut,
        miners_burned: of_owner
            .filter(|((_, coldkey), _)| *coldkey == record.owner)
            .map(|(_, pay)| *pay)
            .sum(),
        miners_held: halves.miners.saturating_sub(sum(&miners)),
        validators_held: halves.validators.saturating_sub(sum(&validators)),
        takes: takes(&validators, &record.takes_ppm),
        miners,
        validators,
        // What an account could hold is not in the record; what was burned for it is.
        dust: record.payouts.dust.clone(),
    }
}

/// Each dividend's take, rounded down.
fn takes(validators: &[Amount], takes_ppm: &[u64]) -> Vec<Amount> {
    let each = validators.iter().zip(takes_ppm);
    each.map(|(pay, ppm)| pay.mul_ratio(*ppm, 1_000_000)).collect()
}

/// What was burned for being too little can only be checked against the pay that it was part of.
fn within(what: &str, dust: &[(Uid, Amount)], pay: &[Amount]) -> Result<(), String> {
    let excess = dust
        .iter()
        .find(|(uid, amount)| pay.get(usize::from(uid.0)).is_none_or(|pay| amount > pay));
    match excess {
        None => Ok(()),
        Some((uid, amount)) => Err(format!("{what}: {amount} of UID {uid} is more than its pay")),
    }
}

fn same<T: PartialEq + Display>(what: &str, stored: T, computed: T) -> Result<(), String> {
    if stored == computed {
        return Ok(());
    }
    Err(format!("{what} is {stored} in the record, {computed} recomputed"))
}

fn same_list<T: PartialEq + Display>(what: &str, stored: &[T], computed: &[T]) -> Result<(), String> {
    if stored.len() != computed.len() {
        return Err(format!(
            "{what} has {} UIDs in the record, {} recomputed",
            stored.len(),
            computed.len()
        ));
    }
    let pairs = stored.iter().zip(computed).enumerate();
    let differing = pairs
        .into_iter()
        .find(|(_, (stored, computed))| stored != computed);
    match differing {
        None => Ok(()),
        Some((uid, (stored, computed))) => same(&format!("{what} of UID {uid}"), stored, computed),
    }
}
