//! The epoch: weights, stake and bonds in; consensus, validator trust, incentive, dividends and emission out.
//!
//! A pure function of [`EpochInputs`], the same integers on every machine. It is what the ledger pays by, what a
//! validator previews its weights with and what `agon epoch` calculates. It does not decide *when* an epoch runs,
//! nor what becomes of amounts that rounding loses.
//!
//! # Source
//!
//! The algorithm is Yuma consensus as Subtensor runs it (`opentensor/subtensor`, runtime 425), both bond models
//! and liquid alpha, bit for bit: the golden vectors under `tests/golden/data/yuma` hold with tolerance 0.
//!
//! # Steps
//!
//! | step | what | where |
//! | --- | --- | --- |
//! | 1 | activity: `last_update + cutoff < block` is inactive | `stake` |
//! | 2 | stake below the threshold is 0 (not the owner's); shares of the rest | `stake` |
//! | 3 | permits in force are last epoch's, and the owner's; new ones go to the largest stakes | `stake` |
//! | 4 | active stake: shares of those active and permitted | `stake` |
//! | 5 | weights: drop rows without permit, the diagonal, cells older than their miner; rows sum to 1 | `weights` |
//! | 6 | consensus: stake-weighted median at majority kappa, not normalised | `consensus` |
//! | 7 | clip at consensus; validator trust is what is left of a row | `consensus` |
//! | 8 | incentive: clipped weights weighed by active stake, shares of one | `consensus` |
//! | 9 | weights for bonds: between full and clipped weights by the penalty | `bonds` |
//! | 10 | old bonds of replaced miners go; moving average of bonds; dividends | `bonds`, `liquid` |
//! | 11 | bonds are stored for those with a new permit | `bonds` |
//! | 12 | emission by incentive and dividends, or by stake where there is neither | `emission` |
//!
//! # Numbers
//!
//! [`Fixed32`] says how each operation rounds. Weights and bonds enter as ratios of whole numbers.
//!
//! # Departures from the reference
//!
//! - Stake is summed in 128 bits, so totals of `2^63` and above, which the reference cannot hold, are exact here.
//! - A `bonds_moving_average` above one million is refused; so are UIDs out of range or out of order.

#![deny(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod bonds;
mod consensus;
mod emission;
#[cfg(feature = "serde")]
pub mod file;
mod fixed;
mod inputs;
mod liquid;
mod outputs;
mod sparse;
mod stake;
mod weights;

pub use fixed::Fixed32;
pub use inputs::{BONDS_MOVING_AVERAGE_MAX, EpochError, EpochInputs, NEURONS_MAX, PendingCommit};
pub use outputs::{EpochOutputs, FixedRows, Trace};

use bonds::{Bonded, original_bonds, stored_bonds, weights_for_bonds, yuma3_bonds};
use sparse::Matrix;

/// Computes one epoch.
///
/// - **Rounding**: as [`Fixed32`] says; amounts of base units are rounded down and may sum to less than the emission.
/// - **Source**: the module documentation.
///
/// # Errors
///
/// [`EpochError`] when a list has the wrong length or a row is malformed; nothing else can fail.
pub fn run(inputs: &EpochInputs) -> Result<EpochOutputs, EpochError> {
    inputs.validate()?;
    Ok(epoch(inputs, &mut Unwatched))
}

/// Computes one epoch and keeps every value between its steps.
///
/// # Errors
///
/// As [`run`].
pub fn run_traced(inputs: &EpochInputs) -> Result<(EpochOutputs, Trace), EpochError> {
    inputs.validate()?;
    let mut trace = Trace::default();
    let outputs = epoch(inputs, &mut trace);
    Ok((outputs, trace))
}

/// Someone who may look at the values between steps, at a cost only if it does.
trait Watch {
    fn vector(&mut self, place: fn(&mut Trace) -> &mut Vec<Fixed32>, values: &[Fixed32]);
    fn matrix(&mut self, place: fn(&mut Trace) -> &mut Option<FixedRows>, matrix: &Matrix);
}

/// Nobody.
struct Unwatched;

impl Watch for Unwatched {
    fn vector(&mut self, _: fn(&mut Trace) -> &mut Vec<Fixed32>, _: &[Fixed32]) {}
    fn matrix(&mut self, _: fn(&mut Trace) -> &mut Option<FixedRows>, _: &Matrix) {}
}

fn epoch(inputs: &EpochInputs, watch: &mut impl Watch) -> EpochOutputs {
    let active = stake::active_flags(inputs);
    let stake = stake::stake_shares(inputs);
    let permits = stake::permits_in_force(inputs);
    let next_permits = stake::permits_for_next_epoch(inputs, &stake);
    let active_stake = stake::active_stake(&stake, &active, &permits);

    let weights = weights::usable_weights(inputs, &permits);
    watch.matrix(|trace| &mut trace.weights_normalized, &weights);
    let kappa = Fixed32::ratio(u64::from(inputs.kappa), u64::from(u16::MAX));
    let consensus = consensus::consensus(&weights, &active_stake, kappa);
    let clipped = consensus::clip(&weights, &consensus);
    watch.matrix(|trace| &mut trace.weights_clipped, &clipped);
    let validator_trust = consensus::validator_trust(&clipped);
    let incentive = consensus::incentive(&clipped, &active_stake);

    let for_bonds = weights_for_bonds(weights, clipped, &consensus, inputs.bonds_penalty);
    let bonded = bond(inputs, for_bonds, &consensus, &active_stake, &incentive, watch);
    let shares = emission::emission_shares(&incentive, &bonded.dividends, &active_stake, &stake);

    watch.vector(|trace| &mut trace.normalized_stake, &stake);
    watch.vector(|trace| &mut trace.active_stake, &active_stake);
    watch.vector(|trace| &mut trace.consensus, &consensus);
    watch.vector(|trace| &mut trace.validator_trust, &validator_trust);
    watch.vector(|trace| &mut trace.incentive, &incentive);
    watch.vector(|trace| &mut trace.dividends, &bonded.dividends);
    watch.vector(|trace| &mut trace.normalized_server_emission, &shares.server);
    watch.vector(
        |trace| &mut trace.normalized_validator_emission,
        &shares.validator,
    );
    watch.vector(|trace| &mut trace.normalized_combined_emission, &shares.combined);
    EpochOutputs {
        active,
        stake_weight: to_u16(&stake),
        consensus: to_u16(&consensus),
        validator_trust: to_u16(&validator_trust),
        incentive: to_u16(&incentive),
        dividends: to_u16(&bonded.dividends),
        emission: emission::amounts(&shares.combined, inputs.emission),
        server_emission: emission::amounts(&shares.server, inputs.emission),
        validator_emission: emission::amounts(&shares.validator, inputs.emission),
        bonds: stored_bonds(&bonded.to_store, &next_permits),
        validator_permit: next_permits,
    }
}

/// Step 10, in the model that the subnet runs.
fn bond(
    inputs: &EpochInputs,
    weights_for_bonds: Matrix,
    consensus: &[Fixed32],
    active_stake: &[Fixed32],
    incentive: &[Fixed32],
    watch: &mut impl Watch,
) -> Bonded {
    if !inputs.yuma3 {
        return original_bonds(inputs, weights_for_bonds, active_stake, incentive, watch);
    }
    watch.matrix(|trace| &mut trace.weights_for_bonds, &weights_for_bonds);
    yuma3_bonds(
        inputs,
        &weights_for_bonds,
        consensus,
        active_stake,
        incentive,
        watch,
    )
}

fn to_u16(values: &[Fixed32]) -> Vec<u16> {
    values.iter().map(|value| value.to_u16_share()).collect()
}
