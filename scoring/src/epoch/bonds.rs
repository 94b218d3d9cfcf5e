//! Steps 9 to 11: validators' smoothed claims on miners, and the dividends they bring.
//!
//! There are two models. *Original* bonds are shares of a miner, with stake inside. *Yuma 3* bonds live on a scale
//! of their own from 0 to 1 for every validator and miner; stake enters only when dividends are paid.

use super::Watch;
use super::fixed::Fixed32;
use super::inputs::{BONDS_MOVING_AVERAGE_MAX, EpochInputs};
use super::liquid::liquid_bonds;
use super::sparse::{Matrix, normalize};

/// The bonds after an epoch and what they pay.
pub(super) struct Bonded {
    /// Share of the validators' pot, per UID.
    pub(super) dividends: Vec<Fixed32>,
    /// Bonds on the scale they are stored at, not yet `u16`.
    pub(super) to_store: Matrix,
}

/// Step 9. The weights that bonds follow: before clipping, after it, or between, by `bonds_penalty`.
pub(super) fn weights_for_bonds(
    weights: Matrix,
    clipped: Matrix,
    consensus: &[Fixed32],
    penalty: u16,
) -> Matrix {
    match penalty {
        0 => weights,
        u16::MAX => clipped,
        _ => interpolate(
            &weights,
            consensus,
            Fixed32::ratio(u64::from(penalty), u64::from(u16::MAX)),
        ),
    }
}

/// `w + beta x (clipped w - w)`, cells above 0 only.
fn interpolate(weights: &Matrix, consensus: &[Fixed32], beta: Fixed32) -> Matrix {
    let mut between = Matrix::with_capacity(weights.row_count(), weights.cell_count());
    for row in weights.rows() {
        for (uid, weight) in row {
            let clipped = weight.min(consensus[usize::from(uid)]);
            let value = weight.plus(beta.times(clipped.minus(weight)));
            if value > Fixed32::ZERO {
                between.push(uid, value);
            }
        }
        between.end_row();
    }
    between
}

/// Step 10. Per miner, whether bonds to it are of its present holder: not registered since the last epoch.
pub(super) fn bonds_kept(inputs: &EpochInputs) -> Vec<bool> {
    let last_epoch = match inputs.last_mechanism_step_block {
        0 => inputs.block.saturating_sub(inputs.tempo),
        block => block.saturating_add(1),
    };
    inputs
        .block_at_registration
        .iter()
        .map(|&registered| last_epoch > registered)
        .collect()
}

/// Step 10a. Original bonds.
pub(super) fn original_bonds(
    inputs: &EpochInputs,
    weights_for_bonds: Matrix,
    active_stake: &[Fixed32],
    incentive: &[Fixed32],
    watch: &mut impl Watch,
) -> Bonded {
    let old = shares_of_old_bonds(inputs);
    watch.matrix(|trace| &mut trace.bonds_old_normalized, &old);
    let mut delta = weights_for_bonds;
    delta.update(|row, _, weight| weight.times(active_stake[row]));
    delta.normalize_columns();
    watch.matrix(|trace| &mut trace.bonds_delta_normalized, &delta);
    let mut bonds = moving_average(&delta, &old, alpha(inputs));
    bonds.normalize_columns();
    watch.matrix(|trace| &mut trace.bonds_ema_normalized, &bonds);
    let mut dividends = bonds.row_sums(|column, bond| incentive[column].times(bond));
    normalize(&mut dividends);
    let maxima = bonds.column_maxima();
    bonds.divide_columns(&maxima);
    Bonded {
        dividends,
        to_store: bonds,
    }
}

/// Step 10b. Yuma 3 bonds.
pub(super) fn yuma3_bonds(
    inputs: &EpochInputs,
    weights_for_bonds: &Matrix,
    consensus: &[Fixed32],
    active_stake: &[Fixed32],
    incentive: &[Fixed32],
    watch: &mut impl Watch,
) -> Bonded {
    let old = scaled_old_bonds(inputs);
    watch.matrix(|trace| &mut trace.bonds_old_masked, &old);
    let is_liquid = inputs.liquid_alpha && consensus.iter().any(|&value| value != Fixed32::ZERO);
    let bonds = if is_liquid {
        liquid_bonds(inputs, weights_for_bonds, &old, consensus)
    } else {
        moving_average(weights_for_bonds, &old, alpha(inputs))
    };
    watch.matrix(|trace| &mut trace.bonds_ema, &bonds);
    let mut shares = bonds.clone();
    shares.normalize_columns();
    watch.matrix(|trace| &mut trace.bonds_ema_normalized, &shares);
    let totals = shares.row_sums(|column, share| share.times(incentive[column]));
    watch.vector(|trace| &mut trace.total_bonds_per_validator, &totals);
    let mut dividends: Vec<Fixed32> = totals
        .iter()
        .zip(active_stake)
        .map(|(&total, &stake)| total.times(stake))
        .collect();
    normalize(&mut dividends);
    Bonded {
        dividends,
        to_store: bonds,
    }
}

/// Step 11. Bonds as `u16`, in the rows of those who hold a permit for the next epoch.
pub(super) fn stored_bonds(bonds: &Matrix, next_permits: &[bool]) -> Vec<Vec<(u16, u16)>> {
    bonds
        .rows()
        .zip(next_permits)
        .map(|(row, &permitted)| match permitted {
            true => row.map(|(uid, bond)| (uid, bond.to_u16_share())).collect(),
            false => Vec::new(),
        })
        .collect()
}

/// Share of new weight in a bond: 1 less the share that stays, the latter rounded down.
fn alpha(inputs: &EpochInputs) -> Fixed32 {
    Fixed32::ONE.minus(Fixed32::ratio(
        inputs.bonds_moving_average,
        BONDS_MOVING_AVERAGE_MAX,
    ))
}

/// `alpha x new + (1 - alpha) x old`, cells above 0 only.
fn moving_average(new: &Matrix, old: &Matrix, alpha: Fixed32) -> Matrix {
    let rest = Fixed32::ONE.minus(alpha);
    let mut average = Matrix::with_capacity(new.row_count(), new.cell_count().max(old.cell_count()));
    for (new_row, old_row) in new.rows().zip(old.rows()) {
        let (mut new_row, mut old_row) = (new_row.peekable(), old_row.peekable());
        while let Some(uid) = lower(new_row.peek(), old_row.peek()) {
            let new_part = new_row
                .next_if(|cell| cell.0 == uid)
                .map_or(Fixed32::ZERO, |cell| alpha.times(cell.1));
            let old_part = old_row
                .next_if(|cell| cell.0 == uid)
                .map_or(Fixed32::ZERO, |cell| rest.times(cell.1));
            let value = new_part.plus(old_part);
            if value > Fixed32::ZERO {
                average.push(uid, value);
            }
        }
        average.end_row();
    }
    average
}

fn lower(left: Option<&(u16, Fixed32)>, right: Option<&(u16, Fixed32)>) -> Option<u16> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.0.min(right.0)),
        (one, other) => one.or(other).map(|cell| cell.0),
    }
}

/// Old bonds, masked, each as a share of its column.
fn shares_of_old_bonds(inputs: &EpochInputs) -> Matrix {
    let mut sums = vec![0_u64; inputs.neuron_count];
    for &(uid, bond) in inputs.bonds.iter().flatten() {
        let sum = &mut sums[usize::from(uid)];
        *sum = sum.saturating_add(u64::from(bond));
    }
    masked_bonds(inputs, |uid, bond| {
        Fixed32::ratio(u64::from(bond), sums[usize::from(uid)])
    })
}

/// Old bonds, masked, each on its own scale from 0 to 1.
fn scaled_old_bonds(inputs: &EpochInputs) -> Matrix {
    masked_bonds(inputs, |_, bond| {
        Fixed32::ratio(u64::from(bond), u64::from(u16::MAX))
    })
}

fn masked_bonds(inputs: &EpochInputs, scale: impl Fn(u16, u16) -> Fixed32) -> Matrix {
    let kept = bonds_kept(inputs);
    let cells = inputs.bonds.iter().map(Vec::len).sum();
    let mut bonds = Matrix::with_capacity(inputs.neuron_count, cells);
    for row in &inputs.bonds {
        for &(uid, bond) in row.iter().filter(|&&(uid, _)| kept[usize::from(uid)]) {
            bonds.push(uid, scale(uid, bond));
        }
        bonds.end_row();
    }
    bonds
}
