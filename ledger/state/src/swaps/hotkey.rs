//! A hotkey replaced by a fresh key of the same coldkey, everywhere and at once.
//!
//! The new hotkey has what the old one had on every subnet: UID, scores, permit, bonds, weights, open commits (they
//! are revealed as they were made), axon, earnings, registration and its immunity, and besides its stake with all
//! its stakers, its take and its place in the committee. A price is burned.
//!
//! The old hotkey is used up: it cannot be registered again nor replace another. So is everything made for it
//! alone; nobody can impersonate the neuron with a key that was given up because it leaked.
//!
//! # Work
//!
//! One entry per subnet. Stakers are not touched: pools keep the name of the first hotkey in the line, which the
//! owner's record of the newest one tells.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Hotkey, Netuid, Uid};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::neuron::HotkeyUid;
use crate::parameters::NetworkParameterId;
use crate::refusal::{HotkeyUsed, NotHotkeyOwner, ShortOfFunds};
use crate::stake::Take;
use crate::subnet::Subnet;
use crate::table::Entry;

/// A hotkey that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Retired {
    /// For the first of a line, whose name the pools keep, the newest hotkey; for the others the next one.
    pub(crate) now: Hotkey,
}

impl Entry for Retired {
    type Key = Hotkey;
    const KIND: u8 = 0x22;
}

/// Why a hotkey is not replaced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwapHotkeyRefusal {
    /// Not the signer's hotkey.
    #[error(transparent)]
    Hotkey(#[from] NotHotkeyOwner),
    /// The new key is a hotkey.
    #[error("{hotkey} is a hotkey of {coldkey} already: use a key that was never a hotkey here")]
    Taken {
        /// The new key.
        hotkey: Hotkey,
        /// Whose it is.
        coldkey: Coldkey,
    },
    /// The new key was a hotkey.
    #[error(transparent)]
    Used(#[from] HotkeyUsed),
    /// The new key is the coldkey.
    #[error("{coldkey} is the coldkey that signs: a hotkey signs online, use a key of its own")]
    IsColdkey {
        /// The signer.
        coldkey: Coldkey,
    },
    /// The free balance is too small.
    #[error(transparent)]
    Balance(#[from] ShortOfFunds),
}

impl SwapHotkeyRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Hotkey(_) => NotHotkeyOwner::RULE,
            Self::Taken { .. } => "new hotkey",
            Self::Used(_) => HotkeyUsed::RULE,
            Self::IsColdkey { .. } => "new hotkey is the coldkey",
            Self::Balance(_) => ShortOfFunds::RULE,
        }
    }
}

/// An accepted replacement of a hotkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotkeySwap {
    /// Whose.
    pub coldkey: Coldkey,
    /// What goes.
    pub hotkey: Hotkey,
    /// What comes.
    pub new_hotkey: Hotkey,
    /// What is burned.
    pub price: Amount,
    /// The UIDs that change their hotkey.
    pub uids: Vec<(Netuid, Uid)>,
}

impl fmt::Display for HotkeySwap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "burns {} and puts {} in the place of {} for good, with its stake and {} UIDs",
            self.price,
            self.new_hotkey,
            self.hotkey,
            self.uids.len()
        )
    }
}

impl State {
    /// Checks that a key is no hotkey that was replaced.
    pub(crate) fn check_hotkey_unused(&self, hotkey: Hotkey) -> Result<(), HotkeyUsed> {
        match self.table.read(&hotkey) {
            Some(Retired { now }) => Err(HotkeyUsed { hotkey, now }),
            None => Ok(()),
        }
    }

    /// The hotkey whose pools go by `name`.
    pub(crate) fn hotkey_named(&self, name: Hotkey) -> Hotkey {
        self.table
            .read::<Retired>(&name)
            .map_or(name, |retired| retired.now)
    }

    pub(crate) fn check_swap_hotkey(
        &self,
        coldkey: Coldkey,
        hotkey: Hotkey,
        new_hotkey: Hotkey,
    ) -> Result<HotkeySwap, SwapHotkeyRefusal> {
        self.check_hotkey_owner(hotkey, coldkey)?;
        self.check_hotkey_unused(new_hotkey)?;
        if let Some(owner) = self.hotkey_owner(new_hotkey) {
            return Err(SwapHotkeyRefusal::Taken {
                hotkey: new_hotkey,
                coldkey: owner,
            });
        }
        if new_hotkey.0 == coldkey.0 {
            return Err(SwapHotkeyRefusal::IsColdkey { coldkey });
        }
        let price = self.network_amount(NetworkParameterId::HotkeySwapPrice);
        self.check_free(coldkey, price)?;
        Ok(HotkeySwap {
            coldkey,
            hotkey,
            new_hotkey,
            price,
            uids: self.uids_of(hotkey),
        })
    }

    /// The UIDs of a hotkey on all subnets.
    pub(crate) fn uids_of(&self, hotkey: Hotkey) -> Vec<(Netuid, Uid)> {
        let netuids = self.table.scan::<Subnet>(()).map(|(netuid, _)| netuid);
        netuids
            .filter_map(|netuid| self.uid_of(netuid, hotkey).map(|uid| (netuid, uid)))
            .collect()
    }

    pub(crate) fn swap_hotkey(&mut self, swap: &HotkeySwap) {
        let HotkeySwap {
            hotkey, new_hotkey, ..
        } = *swap;
        self.debit(swap.coldkey, swap.price);
        self.burn(swap.price);
        let owner = self.take_owner(hotkey);
        self.write_owner(new_hotkey, owner);
        for used in [hotkey, owner.pools] {
            self.table.write(&used, &Retired { now: new_hotkey });
        }
        if let Some(take) = self.table.read::<Take>(&hotkey) {
            self.table.remove::<Take>(&hotkey);
            self.table.write(&new_hotkey, &take);
        }
        self.rename_candidate(hotkey, new_hotkey);
        for key @ (netuid, uid) in swap.uids.iter().copied() {
            let mut neuron = self.expect_neuron(netuid, uid);
            neuron.hotkey = new_hotkey;
            self.table.write(&key, &neuron);
            self.table.remove::<HotkeyUid>(&(netuid, hotkey));
            self.table.write(&(netuid, new_hotkey), &HotkeyUid(uid));
        }
    }
}
