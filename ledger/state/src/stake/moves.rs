//! Moving stake from one pool to another: to another hotkey, another subnet, or both.
//!
//! What leaves the one pool enters the other to the base unit, without touching the free balance. The rules of
//! removing hold where it leaves, those of adding where it enters.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Hotkey, Netuid};
use thiserror::Error;

use super::{AddStakeRefusal, RemoveStakeRefusal, STAKE_MIN, StakeMove};
use crate::State;

/// Why stake is not moved.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveStakeRefusal {
    /// Nothing would change.
    #[error(
        "the stake is on {hotkey} in subnet {netuid} already: name another hotkey or subnet to move it to"
    )]
    Same {
        /// Which subnet.
        netuid: Netuid,
        /// The hotkey.
        hotkey: Hotkey,
    },
    /// It cannot leave.
    #[error(transparent)]
    Remove(#[from] RemoveStakeRefusal),
    /// It cannot enter.
    #[error(transparent)]
    Add(#[from] AddStakeRefusal),
}

impl MoveStakeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Same { .. } => "stake move",
            Self::Remove(refusal) => refusal.rule(),
            Self::Add(refusal) => refusal.rule(),
        }
    }
}

/// An accepted move of stake between pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StakeTransfer {
    /// What leaves.
    pub removed: StakeMove,
    /// What enters: the same amount.
    pub added: StakeMove,
}

impl fmt::Display for StakeTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.removed, &self.added);
        write!(
            f,
            "moves stake of {} from {} in subnet {} to {} in subnet {}",
            from.amount, from.hotkey, from.netuid, to.hotkey, to.netuid
        )
    }
}

impl State {
    /// As with a removal, what would remain below [`STAKE_MIN`] goes along.
    pub(crate) fn check_move_stake(
        &self,
        coldkey: Coldkey,
        from: (Netuid, Hotkey),
        to: (Netuid, Hotkey),
        amount: Amount,
    ) -> Result<StakeTransfer, MoveStakeRefusal> {
        if from == to {
            let (netuid, hotkey) = from;
            return Err(MoveStakeRefusal::Same { netuid, hotkey });
        }
        let removed = self.check_remove_stake(coldkey, from.0, from.1, amount)?;
        let added = self.check_move_in(coldkey, to, removed.amount)?;
        Ok(StakeTransfer { removed, added })
    }

    fn check_move_in(
        &self,
        coldkey: Coldkey,
        (netuid, hotkey): (Netuid, Hotkey),
        amount: Amount,
    ) -> Result<StakeMove, AddStakeRefusal> {
        self.existing_subnet(netuid)?;
        self.registered_neuron(netuid, hotkey)?;
        if amount < STAKE_MIN {
            return Err(AddStakeRefusal::Minimum { amount });
        }
        self.check_shares(coldkey, netuid, hotkey, amount)
    }

    pub(crate) fn move_stake(&mut self, transfer: &StakeTransfer) {
        self.take_from_pool(&transfer.removed);
        self.put_into_pool(&transfer.added);
    }
}
