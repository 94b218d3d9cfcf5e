//! What an epoch is computed from, and the one place where it is checked.
//!
//! After [`EpochInputs::validate`] every list has one entry per UID and every UID named in a row exists, so the
//! steps index without looking again.

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

/// The most neurons one epoch takes; rows of a full subnet of this size are 16 million cells.
pub const NEURONS_MAX: usize = 4096;

/// `bonds_moving_average` counts parts of this.
pub const BONDS_MOVING_AVERAGE_MAX: u64 = 1_000_000;

/// The whole state of one subnet that an epoch reads.
///
/// Per-neuron lists have [`EpochInputs::neuron_count`] entries, index = UID. With feature `serde` the field names
/// of the JSON schema are those below, `neuron_count` being `n`.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct EpochInputs {
    /// Length of every per-neuron list.
    #[cfg_attr(feature = "serde", serde(rename = "n"))]
    pub neuron_count: usize,
    /// Height at which the epoch runs.
    pub block: u64,
    /// Blocks between two epochs.
    pub tempo: u64,
    /// Blocks after which unrefreshed weights stop counting.
    pub activity_cutoff_blocks: u64,
    /// Height of the last epoch; 0 = none ran, then `block - tempo` stands in.
    pub last_mechanism_step_block: u64,
    /// Base units of stake per UID.
    pub stake: Vec<u64>,
    /// Stake strictly below this counts as 0, except the owner's.
    pub stake_threshold: u64,
    /// Height at which each UID last set or committed weights.
    pub last_update: Vec<u64>,
    /// Height at which each UID was taken by its present holder.
    pub block_at_registration: Vec<u64>,
    /// Permits written by the epoch before; this one uses them.
    pub validator_permit: Vec<bool>,
    /// Per UID its row of `(uid, weight)`, UIDs ascending; a cell of 0 is not the same as no cell.
    pub weights: Vec<Vec<(u16, u16)>>,
    /// Per UID its stored row of `(uid, bond)`, UIDs ascending.
    pub bonds: Vec<Vec<(u16, u16)>>,
    /// Majority of stake that consensus asks for, in parts of 65535.
    pub kappa: u16,
    /// How much of the clipping reaches bonds, in parts of 65535.
    pub bonds_penalty: u16,
    /// Share of the old bonds that stays, in parts of [`BONDS_MOVING_AVERAGE_MAX`].
    pub bonds_moving_average: u64,
    /// How many permits are given out.
    pub max_allowed_validators: u64,
    /// Chooses the bond model: off = shares of a miner, on = one scale per validator and miner.
    pub yuma3: bool,
    /// Lets bonds move at a speed of their own per cell; only read with `yuma3`.
    pub liquid_alpha: bool,
    /// Slowest share of new weight in a liquid bond, in parts of 65535.
    pub alpha_low: u16,
    /// Fastest share of new weight in a liquid bond, in parts of 65535.
    pub alpha_high: u16,
    /// Slope of the sigmoid between the two, times 100.
    pub alpha_sigmoid_steepness: i16,
    /// Whether weights are committed before they are shown; turns on the mask by `pending_commits`.
    pub commit_reveal: bool,
    /// Commits that are not revealed yet, in queue order.
    pub pending_commits: Vec<PendingCommit>,
    /// Number of the running epoch, to tell which commits are expired.
    pub current_epoch: u64,
    /// Epochs from commit to reveal.
    pub reveal_period: u64,
    /// The owner's UID: always permitted, exempt from the threshold, may weight itself.
    pub owner_uid: Option<u16>,
    /// Base units to hand out.
    pub emission: u64,
}

/// A commit of weights that is still hidden. In JSON it is `[uid, epoch, block]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "(u16, u64, u64)", into = "(u16, u64, u64)")
)]
pub struct PendingCommit {
    /// Who committed.
    pub uid: u16,
    /// Epoch in which the commit was made.
    pub epoch: u64,
    /// Height at which the commit was made.
    pub block: u64,
}

impl From<(u16, u64, u64)> for PendingCommit {
    fn from((uid, epoch, block): (u16, u64, u64)) -> Self {
        Self { uid, epoch, block }
    }
}

impl From<PendingCommit> for (u16, u64, u64) {
    fn from(commit: PendingCommit) -> Self {
        (commit.uid, commit.epoch, commit.block)
    }
}

/// Why an epoch cannot run on its inputs.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpochError {
    /// More neurons than an epoch takes.
    #[error("{count} neurons are more than the {NEURONS_MAX} an epoch takes")]
    NeuronsTooMany {
        /// How many were given.
        count: usize,
    },
    /// A per-neuron list of the wrong length.
    #[error("list `{list}` has {len} entries for {count} neurons")]
    Length {
        /// Which list.
        list: &'static str,
        /// Its length.
        len: usize,
        /// How many neurons there are.
        count: usize,
    },
    /// A UID that nobody holds.
    #[error("`{list}` names uid {uid}, but there are {count} neurons")]
    UidUnknown {
        /// Where it was named.
        list: &'static str,
        /// The UID.
        uid: u16,
        /// How many neurons there are.
        count: usize,
    },
    /// A row whose UIDs do not ascend, or name one twice.
    #[error("row {row} of `{list}` names uid {uid} after uid {previous}; uids must ascend")]
    UidsNotAscending {
        /// Weights or bonds.
        list: &'static str,
        /// Whose row.
        row: usize,
        /// The UID out of order.
        uid: u16,
        /// The UID before it.
        previous: u16,
    },
    /// A share of old bonds above the whole.
    #[error("bonds moving average {value} is above {BONDS_MOVING_AVERAGE_MAX}")]
    BondsMovingAverage {
        /// The value given.
        value: u64,
    },
}

impl EpochInputs {
    /// Checks lengths, UIDs and the one parameter whose type is wider than its range.
    ///
    /// # Errors
    ///
    /// The first [`EpochError`] met, in the order of its variants.
    pub fn validate(&self) -> Result<(), EpochError> {
        let count = self.neuron_count;
        if count > NEURONS_MAX {
            return Err(EpochError::NeuronsTooMany { count });
        }
        self.validate_lengths()?;
        let named = self.owner_uid.map(|uid| ("owner_uid", uid));
        let commits = self
            .pending_commits
            .iter()
            .map(|commit| ("pending_commits", commit.uid));
        for (list, uid) in named.into_iter().chain(commits) {
            check_known(list, uid, count)?;
        }
        validate_rows("weights", &self.weights, count)?;
        validate_rows("bonds", &self.bonds, count)?;
        if self.bonds_moving_average > BONDS_MOVING_AVERAGE_MAX {
            return Err(EpochError::BondsMovingAverage {
                value: self.bonds_moving_average,
            });
        }
        Ok(())
    }

    fn validate_lengths(&self) -> Result<(), EpochError> {
        let lengths = [
            ("stake", self.stake.len()),
            ("last_update", self.last_update.len()),
            ("block_at_registration", self.block_at_registration.len()),
            ("validator_permit", self.validator_permit.len()),
            ("weights", self.weights.len()),
            ("bonds", self.bonds.len()),
        ];
        let count = self.neuron_count;
        match lengths.into_iter().find(|&(_, len)| len != count) {
            Some((list, len)) => Err(EpochError::Length { list, len, count }),
            None => Ok(()),
        }
    }
}

fn validate_rows(list: &'static str, rows: &[Vec<(u16, u16)>], count: usize) -> Result<(), EpochError> {
    for (row, cells) in rows.iter().enumerate() {
        let mut previous = None;
        for &(uid, _) in cells {
            check_known(list, uid, count)?;
            match previous {
                Some(previous) if uid <= previous => {
                    return Err(EpochError::UidsNotAscending {
                        list,
                        row,
                        uid,
                        previous,
                    });
                }
                _ => previous = Some(uid),
            }
        }
    }
    Ok(())
}

fn check_known(list: &'static str, uid: u16, count: usize) -> Result<(), EpochError> {
    if usize::from(uid) < count {
        Ok(())
    } else {
        Err(EpochError::UidUnknown { list, uid, count })
    }
}
