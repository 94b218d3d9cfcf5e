//! Step 5: which cells of the stored weights count, and each row as shares of one.

use super::fixed::Fixed32;
use super::inputs::EpochInputs;
use super::sparse::Matrix;
use super::stake::is_owner;

/// Step 5. Rows of permitted neurons, without self weights (the owner's excepted) and without weights that are
/// older than the miner they point at, each row divided by its sum.
pub(super) fn usable_weights(inputs: &EpochInputs, permits: &[bool]) -> Matrix {
    let commit_blocks = first_commit_blocks(inputs);
    let cells = inputs.weights.iter().map(Vec::len).sum();
    let mut usable = Matrix::with_capacity(inputs.neuron_count, cells);
    let mut row: Vec<(u16, u16)> = Vec::with_capacity(inputs.neuron_count);
    for (validator, weights) in inputs.weights.iter().enumerate() {
        if permits[validator] {
            let mask = RowMask::new(inputs, validator, commit_blocks[validator]);
            row.clear();
            row.extend(weights.iter().filter(|&&(uid, _)| mask.admits(usize::from(uid))));
            push_normalized(&mut usable, &row);
        }
        usable.end_row();
    }
    usable
}

/// Per UID the lowest block of its commits that are not expired; `None` masks nothing.
fn first_commit_blocks(inputs: &EpochInputs) -> Vec<Option<u64>> {
    let mut blocks: Vec<Option<u64>> = vec![None; inputs.neuron_count];
    if !inputs.commit_reveal {
        return blocks;
    }
    for commit in &inputs.pending_commits {
        let expired = inputs.current_epoch > commit.epoch.saturating_add(inputs.reveal_period);
        if !expired {
            let lowest = &mut blocks[usize::from(commit.uid)];
            *lowest = Some(lowest.map_or(commit.block, |block| block.min(commit.block)));
        }
    }
    blocks
}

/// What one validator's weights may point at.
struct RowMask<'a> {
    block_at_registration: &'a [u64],
    last_update: u64,
    commit_block: Option<u64>,
    /// The validator itself, unless it may weight itself.
    barred: Option<usize>,
}

impl<'a> RowMask<'a> {
    fn new(inputs: &'a EpochInputs, validator: usize, commit_block: Option<u64>) -> Self {
        Self {
            block_at_registration: &inputs.block_at_registration,
            last_update: inputs.last_update[validator],
            commit_block,
            barred: (!is_owner(inputs, validator)).then_some(validator),
        }
    }

    /// Weights set in the block of a registration count as older than it; commits made in it do not.
    fn admits(&self, miner: usize) -> bool {
        let registered = self.block_at_registration[miner];
        let outdated = self.last_update <= registered;
        let committed_before = self.commit_block.is_some_and(|block| block < registered);
        self.barred != Some(miner) && !outdated && !committed_before
    }
}

fn push_normalized(matrix: &mut Matrix, row: &[(u16, u16)]) {
    let sum: u64 = row.iter().map(|&(_, weight)| u64::from(weight)).sum();
    for &(uid, weight) in row {
        matrix.push(uid, Fixed32::ratio(u64::from(weight), sum));
    }
}
