//! What an epoch gives: the numbers that are stored and paid, and on request every value in between.

use borsh::{BorshDeserialize, BorshSerialize};

use super::Watch;
use super::fixed::Fixed32;
use super::sparse::Matrix;

/// The result of one epoch. Lists have one entry per UID; `u16` values are parts of 65535.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EpochOutputs {
    /// Whether weights were refreshed within the activity cutoff.
    pub active: Vec<bool>,
    /// Permits of the next epoch.
    pub validator_permit: Vec<bool>,
    /// Share of all stake that counts.
    pub stake_weight: Vec<u16>,
    /// Stake-weighted median of the weights received.
    pub consensus: Vec<u16>,
    /// Share of a validator's row that survived clipping.
    pub validator_trust: Vec<u16>,
    /// Share of the miners' pot.
    pub incentive: Vec<u16>,
    /// Share of the validators' pot.
    pub dividends: Vec<u16>,
    /// Base units from both pots together; deregistration looks at this one.
    pub emission: Vec<u64>,
    /// Base units earned as a miner.
    pub server_emission: Vec<u64>,
    /// Base units earned as a validator.
    pub validator_emission: Vec<u64>,
    /// Bonds to be stored: rows of `(uid, bond)`, UIDs ascending.
    pub bonds: Vec<Vec<(u16, u16)>>,
}

/// Rows of `(uid, value)`, UIDs ascending.
pub type FixedRows = Vec<Vec<(u16, Fixed32)>>;

/// The values between the steps of one epoch, unrounded; empty where the bond model has no such step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Trace {
    /// Step 2.
    pub normalized_stake: Vec<Fixed32>,
    /// Step 4.
    pub active_stake: Vec<Fixed32>,
    /// Step 6.
    pub consensus: Vec<Fixed32>,
    /// Step 7.
    pub validator_trust: Vec<Fixed32>,
    /// Step 8.
    pub incentive: Vec<Fixed32>,
    /// Step 10.
    pub dividends: Vec<Fixed32>,
    /// Step 12, as a miner.
    pub normalized_server_emission: Vec<Fixed32>,
    /// Step 12, as a validator.
    pub normalized_validator_emission: Vec<Fixed32>,
    /// Step 12, both.
    pub normalized_combined_emission: Vec<Fixed32>,
    /// Step 5.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub weights_normalized: Option<FixedRows>,
    /// Step 7.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub weights_clipped: Option<FixedRows>,
    /// Step 10a, original bonds.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub bonds_old_normalized: Option<FixedRows>,
    /// Step 10a, original bonds.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub bonds_delta_normalized: Option<FixedRows>,
    /// Step 9, shown for Yuma 3.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub weights_for_bonds: Option<FixedRows>,
    /// Step 10b, Yuma 3.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub bonds_old_masked: Option<FixedRows>,
    /// Step 10b, Yuma 3.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub bonds_ema: Option<FixedRows>,
    /// Step 10, both models.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none", default))]
    pub bonds_ema_normalized: Option<FixedRows>,
    /// Step 10b, Yuma 3.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty", default))]
    pub total_bonds_per_validator: Vec<Fixed32>,
}

impl Watch for Trace {
    fn vector(&mut self, place: fn(&mut Trace) -> &mut Vec<Fixed32>, values: &[Fixed32]) {
        *place(self) = values.to_vec();
    }

    fn matrix(&mut self, place: fn(&mut Trace) -> &mut Option<FixedRows>, matrix: &Matrix) {
        *place(self) = Some(matrix.to_rows());
    }
}
