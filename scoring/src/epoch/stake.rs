//! Steps 1 to 4: who is active, how stake is shared, who may set weights.

use super::fixed::Fixed32;
use super::inputs::EpochInputs;
use super::sparse::normalize;

/// Step 1. A neuron is active while `last_update + cutoff` has not passed `block`.
pub(super) fn active_flags(inputs: &EpochInputs) -> Vec<bool> {
    let is_active = |&updated: &u64| updated.saturating_add(inputs.activity_cutoff_blocks) >= inputs.block;
    inputs.last_update.iter().map(is_active).collect()
}

/// Step 2. Each stake as a share of all stake that counts.
///
/// Rounded down to 64 and then to 32 fraction bits, which is the same as at once to 32.
pub(super) fn stake_shares(inputs: &EpochInputs) -> Vec<Fixed32> {
    let counted: Vec<u64> = inputs
        .stake
        .iter()
        .enumerate()
        .map(|(uid, &stake)| {
            if stake >= inputs.stake_threshold || is_owner(inputs, uid) {
                stake
            } else {
                0
            }
        })
        .collect();
    // At most 4096 stakes of 64 bits each: 76 bits.
    let total: u128 = counted.iter().map(|&stake| u128::from(stake)).sum();
    counted.into_iter().map(|stake| share(stake, total)).collect()
}

fn share(stake: u64, total: u128) -> Fixed32 {
    let bits = (u128::from(stake) << 32).checked_div(total).unwrap_or(0);
    Fixed32::from_bits(
        i64::try_from(bits).expect("a part is at most the total, so the share is at most 2^32"),
    )
}

/// Step 3, first half. The permits in force now: those of the epoch before, and the owner's.
pub(super) fn permits_in_force(inputs: &EpochInputs) -> Vec<bool> {
    with_owner(inputs, inputs.validator_permit.clone())
}

/// Step 3, second half. The permits of the next epoch: the largest stakes, and the owner.
///
/// Of equal stakes the higher UIDs win. No stake, no permit.
pub(super) fn permits_for_next_epoch(inputs: &EpochInputs, stake: &[Fixed32]) -> Vec<bool> {
    let mut permits: Vec<bool> = stake.iter().map(|&share| share != Fixed32::ZERO).collect();
    let validators_max = usize::try_from(inputs.max_allowed_validators).unwrap_or(usize::MAX);
    let mut ascending: Vec<usize> = (0..stake.len()).collect();
    ascending.sort_by_key(|&uid| stake[uid]);
    for &uid in &ascending[..stake.len().saturating_sub(validators_max)] {
        permits[uid] = false;
    }
    with_owner(inputs, permits)
}

/// Step 4. Stake of those who are active and permitted, as shares of one.
pub(super) fn active_stake(stake: &[Fixed32], active: &[bool], permits: &[bool]) -> Vec<Fixed32> {
    let mut shares: Vec<Fixed32> = stake
        .iter()
        .zip(active.iter().zip(permits))
        .map(|(&share, (&active, &permitted))| if active && permitted { share } else { Fixed32::ZERO })
        .collect();
    normalize(&mut shares);
    shares
}

pub(super) fn is_owner(inputs: &EpochInputs, uid: usize) -> bool {
    inputs.owner_uid.is_some_and(|owner| usize::from(owner) == uid)
}

fn with_owner(inputs: &EpochInputs, mut permits: Vec<bool>) -> Vec<bool> {
    if let Some(owner) = inputs.owner_uid {
        permits[usize::from(owner)] = true;
    }
    permits
}
