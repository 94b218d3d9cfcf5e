//! A validator's row of weights: first committed as a digest, revealed later.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{MessageError, at_most};
use crate::codec;
use crate::id::{Digest, Hotkey, Netuid, Uid};

/// Digest of weights and salt, bound to subnet, tempo and hotkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct WeightsCommit(pub Digest);

/// A validator's weights for one tempo, as revealed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Weights {
    /// The tempo in which they were committed.
    pub tempo: u64,
    /// The weighted UIDs, ascending.
    pub uids: Vec<Uid>,
    /// One value for each UID; the ledger scales the largest to `u16::MAX`.
    pub values: Vec<u16>,
    /// Random bytes that keep the commit from being guessed.
    #[cfg_attr(feature = "serde", serde(with = "crate::json::hex32"))]
    pub salt: [u8; 32],
    /// Version of the rules by which they were made; the subnet may require a smallest one.
    pub version: u64,
}

impl Weights {
    /// Most UIDs of a row: the most a subnet may have.
    pub const UIDS_MAX: usize = 4_096;

    /// Most canonical bytes: tempo, UIDs and values with their counts, salt and version behind the version byte.
    pub const BYTES_MAX: usize = 1 + 8 + 2 * (4 + 2 * Self::UIDS_MAX) + 32 + 8;

    /// The commit to these weights by `hotkey` on `netuid`.
    #[must_use]
    pub fn commit(&self, netuid: Netuid, hotkey: Hotkey) -> WeightsCommit {
        let bytes = codec::encode(&(netuid, hotkey, self));
        WeightsCommit(codec::digest("agon 2026-11 weights commit", &bytes))
    }

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        at_most("uids", self.uids.len(), Self::UIDS_MAX)?;
        at_most("values", self.values.len(), Self::UIDS_MAX)
    }
}
