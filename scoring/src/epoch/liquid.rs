//! Liquid alpha, part of step 10b: bonds that move faster the further weight and consensus, or weight and bond,
//! are apart.
//!
//! Per cell, with weight w, old bond b (0 where there is none) and consensus c:
//!
//! - distance d = w - c where w is at least b, else b - w, brought into 0..1;
//! - sigmoid s = 1 / (1 + exp(-steepness / 100 x (d - 1/2)));
//! - alpha a = low + s x (high - low), brought into low..high;
//! - new bond = (1 - a) x b + a x w, at most 1.
//!
//! Only cells that have a weight get a bond: a bond whose weight is absent is gone at once, one whose weight is an
//! explicit 0 decays. That is how the reference's sparse path does it, and it is kept on purpose.
//!
//! The exponential is what costs here. A distance of 0 is by far the most frequent (every weight at or below
//! consensus that did not fall), so its alpha is computed once.

use super::fixed::Fixed32;
use super::inputs::EpochInputs;
use super::sparse::Matrix;

/// Bonds after an epoch with liquid alpha, on the scale from 0 to 1; cells above 0 only.
pub(super) fn liquid_bonds(
    inputs: &EpochInputs,
    weights: &Matrix,
    old: &Matrix,
    consensus: &[Fixed32],
) -> Matrix {
    let alphas = Alphas::new(inputs);
    let mut bonds = Matrix::with_capacity(weights.row_count(), weights.cell_count());
    for (row, old_row) in weights.rows().zip(old.rows()) {
        let mut old_row = old_row.peekable();
        for (uid, weight) in row {
            while old_row.next_if(|cell| cell.0 < uid).is_some() {}
            let bond = old_row
                .next_if(|cell| cell.0 == uid)
                .map_or(Fixed32::ZERO, |cell| cell.1);
            let value = alphas.step(weight, bond, consensus[usize::from(uid)]);
            if value > Fixed32::ZERO {
                bonds.push(uid, value);
            }
        }
        bonds.end_row();
    }
    bonds
}

/// The curve from distance to alpha.
struct Alphas {
    low: Fixed32,
    high: Fixed32,
    /// `-steepness / 100`.
    slope: Fixed32,
    at_no_distance: Fixed32,
}

impl Alphas {
    fn new(inputs: &EpochInputs) -> Self {
        let of_u16 = |value: u16| Fixed32::ratio(u64::from(value), u64::from(u16::MAX));
        let size = Fixed32::ratio(u64::from(inputs.alpha_sigmoid_steepness.unsigned_abs()), 100);
        let slope = if inputs.alpha_sigmoid_steepness > 0 {
            Fixed32::ZERO.minus(size)
        } else {
            size
        };
        let (low, high) = (of_u16(inputs.alpha_low), of_u16(inputs.alpha_high));
        let mut curve = Self {
            low,
            high,
            slope,
            at_no_distance: Fixed32::ZERO,
        };
        curve.at_no_distance = curve.alpha(Fixed32::ZERO);
        curve
    }

    /// The new bond of one cell.
    fn step(&self, weight: Fixed32, bond: Fixed32, consensus: Fixed32) -> Fixed32 {
        let distance = if weight >= bond {
            weight.minus(consensus)
        } else {
            bond.minus(weight)
        };
        let alpha = match distance.clamp(Fixed32::ZERO, Fixed32::ONE) {
            Fixed32::ZERO => self.at_no_distance,
            distance => self.alpha(distance),
        };
        let kept = Fixed32::ONE.minus(alpha).times(bond);
        kept.plus(alpha.times(weight).max(Fixed32::ZERO))
            .min(Fixed32::ONE)
    }

    fn alpha(&self, distance: Fixed32) -> Fixed32 {
        let power = self.slope.times(distance.minus(Fixed32::HALF));
        let sigmoid = Fixed32::ONE.over(Fixed32::ONE.plus(power.exp()));
        let alpha = self.low.plus(sigmoid.times(self.high.minus(self.low)));
        // In this order, so that `low` wins where it lies above `high`.
        alpha.min(self.high).max(self.low)
    }
}
