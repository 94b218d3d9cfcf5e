//! Step 12: how the epoch's emission is shared between miners and validators.

use super::fixed::Fixed32;
use super::sparse::sum;

/// Shares of the emission, per UID.
pub(super) struct Shares {
    /// What each earned as a miner.
    pub(super) server: Vec<Fixed32>,
    /// What each earned as a validator.
    pub(super) validator: Vec<Fixed32>,
    /// Both together; deregistration looks at this one.
    pub(super) combined: Vec<Fixed32>,
}

/// Incentive and dividends over the sum of both. Where nobody earned anything, validators share by active stake,
/// or by all stake where none is active.
pub(super) fn emission_shares(
    incentive: &[Fixed32],
    dividends: &[Fixed32],
    active_stake: &[Fixed32],
    stake: &[Fixed32],
) -> Shares {
    let earned: Vec<Fixed32> = incentive
        .iter()
        .zip(dividends)
        .map(|(&miner, &own)| miner.plus(own))
        .collect();
    let total = sum(&earned);
    if total == Fixed32::ZERO {
        let someone_active = active_stake.iter().any(|&share| share != Fixed32::ZERO);
        let by_stake = if someone_active { active_stake } else { stake };
        return Shares {
            server: vec![Fixed32::ZERO; stake.len()],
            validator: by_stake.to_vec(),
            combined: by_stake.to_vec(),
        };
    }
    let of_total = |values: &[Fixed32]| values.iter().map(|value| value.over(total)).collect();
    Shares {
        server: of_total(incentive),
        validator: of_total(dividends),
        combined: of_total(&earned),
    }
}

/// Base units for each share, rounded down; what rounding loses is not handed out.
pub(super) fn amounts(shares: &[Fixed32], emission: u64) -> Vec<u64> {
    shares.iter().map(|share| share.share_of(emission)).collect()
}
