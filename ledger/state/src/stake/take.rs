//! Take: the share of a hotkey's dividends that its coldkey keeps before the stakers share the rest.
//!
//! A hotkey that never said otherwise takes the most that is allowed, so that nobody works below price for not
//! having read this; stakers see each take before they stake. A lower take holds at once. A higher one is allowed
//! once in an interval, counted from the newest change either way: a take that was lowered to draw stake cannot
//! jump back the next day.
//!
//! # Pay
//!
//! The take of a dividend is rounded down. The rest joins the pool first; then the take joins it as stake of the
//! coldkey, at what a share is worth by then, if the coldkey has stake there already. If it has none, or the take
//! buys no whole share, the take is paid into its free balance. A dividend of a hotkey without any stake goes to
//! the coldkey whole.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid};
use agon_protocol::message::OwnedHotkeyView;
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::Pool;
use crate::State;
use crate::neuron::Neuron;
use crate::parameters::NetworkParameterId;
use crate::refusal::NotHotkeyOwner;
use crate::supply::{minus, plus};
use crate::table::Entry;

/// The take of a hotkey that set one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Take {
    pub(crate) take_ppm: u32,
    /// Block of the newest change.
    pub(crate) changed: BlockNumber,
}

impl Entry for Take {
    type Key = Hotkey;
    const KIND: u8 = 0x21;
}

/// Why a take is not set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetTakeRefusal {
    /// Not the signer's hotkey.
    #[error(transparent)]
    Hotkey(#[from] NotHotkeyOwner),
    /// Too much.
    #[error("a take of {take_ppm} parts per million is more than is allowed: set {take_max_ppm} or less")]
    Maximum {
        /// What was asked for.
        take_ppm: u32,
        /// The most that is allowed.
        take_max_ppm: u64,
    },
    /// Nothing would change.
    #[error("the take of {hotkey} is {take_ppm} parts per million already: there is nothing left to do")]
    Same {
        /// The hotkey.
        hotkey: Hotkey,
        /// Its take.
        take_ppm: u32,
    },
    /// Raised too soon.
    #[error(
        "the take of {hotkey} was changed at block {changed}: it may be raised from block {allowed} on, \
         and lowered at any time"
    )]
    RaiseInterval {
        /// The hotkey.
        hotkey: Hotkey,
        /// Block of the newest change.
        changed: BlockNumber,
        /// First block that takes a raise.
        allowed: BlockNumber,
    },
}

impl SetTakeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Hotkey(_) => NotHotkeyOwner::RULE,
            Self::Maximum { .. } => "take maximum",
            Self::Same { .. } => "take",
            Self::RaiseInterval { .. } => "take raise",
        }
    }
}

/// An accepted change of a take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeChange {
    /// Whose.
    pub hotkey: Hotkey,
    /// What it was, in parts per million.
    pub take_ppm: u64,
    /// What it is from now on.
    pub take_next_ppm: u32,
    /// The block of the change.
    pub height: BlockNumber,
}

impl fmt::Display for TakeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sets the take of {} from {} to {} parts per million",
            self.hotkey, self.take_ppm, self.take_next_ppm
        )
    }
}

impl State {
    /// The share of its dividends that a hotkey's coldkey keeps, in parts per million.
    #[must_use]
    pub fn take_ppm(&self, hotkey: Hotkey) -> u64 {
        let take: Option<Take> = self.table.read(&hotkey);
        take.map_or_else(
            || self.network(NetworkParameterId::TakeMaxPpm),
            |take| u64::from(take.take_ppm),
        )
    }

    /// A hotkey as its coldkey sees it.
    pub(crate) fn owned_hotkey(&self, hotkey: Hotkey) -> OwnedHotkeyView {
        let take: Option<Take> = self.table.read(&hotkey);
        let take_ppm = self.take_ppm(hotkey);
        OwnedHotkeyView {
            hotkey,
            take_ppm: u32::try_from(take_ppm).unwrap_or(u32::MAX),
            take_changed: take.map(|take| take.changed),
            raise_from: take.map_or(BlockNumber(0), |take| self.raise_allowed(&take)),
        }
    }

    /// First block that takes a raise.
    fn raise_allowed(&self, take: &Take) -> BlockNumber {
        let interval = self.network(NetworkParameterId::TakeRaiseBlocks);
        BlockNumber(take.changed.0.saturating_add(interval))
    }

    pub(crate) fn check_set_take(
        &self,
        signer: Coldkey,
        hotkey: Hotkey,
        take_ppm: u32,
        now: BlockNumber,
    ) -> Result<TakeChange, SetTakeRefusal> {
        self.check_hotkey_owner(hotkey, signer)?;
        let take_max_ppm = self.network(NetworkParameterId::TakeMaxPpm);
        if u64::from(take_ppm) > take_max_ppm {
            return Err(SetTakeRefusal::Maximum {
                take_ppm,
                take_max_ppm,
            });
        }
        let present = self.take_ppm(hotkey);
        if u64::from(take_ppm) == present {
            return Err(SetTakeRefusal::Same { hotkey, take_ppm });
        }
        if u64::from(take_ppm) > present {
            self.check_raise(hotkey, now)?;
        }
        Ok(TakeChange {
            hotkey,
            take_ppm: present,
            take_next_ppm: take_ppm,
            height: now,
        })
    }

    fn check_raise(&self, hotkey: Hotkey, now: BlockNumber) -> Result<(), SetTakeRefusal> {
        let Some(take) = self.table.read::<Take>(&hotkey) else {
            return Ok(());
        };
        let allowed = self.raise_allowed(&take);
        if now < allowed {
            return Err(SetTakeRefusal::RaiseInterval {
                hotkey,
                changed: take.changed,
                allowed,
            });
        }
        Ok(())
    }

    pub(crate) fn set_take(&mut self, change: &TakeChange) {
        let take = Take {
            take_ppm: change.take_next_ppm,
            changed: change.height,
        };
        self.table.write(&change.hotkey, &take);
    }

    /// The take of each neuron; none where no staker would share the rest.
    pub(crate) fn takes_ppm(&self, netuid: Netuid, neurons: &[Neuron]) -> Vec<u64> {
        let take = |neuron: &Neuron| match self.pool(netuid, neuron.hotkey).shares {
            0 => 0,
            _ => self.take_ppm(neuron.hotkey),
        };
        neurons.iter().map(take).collect()
    }

    /// Pays a dividend, of which `take` is the coldkey's; gives what became stake, which the caller counts, and what
    /// was burned because it was too little for the coldkey to exist.
    pub(crate) fn pay_dividends(
        &mut self,
        netuid: Netuid,
        neuron: &Neuron,
        pay: Amount,
        take: Amount,
    ) -> (Amount, Amount) {
        let Neuron { hotkey, coldkey, .. } = *neuron;
        let mut pool = self.pool(netuid, hotkey);
        if pool.shares == 0 {
            return (Amount::ZERO, self.pay_out(coldkey, pay));
        }
        let rest = minus(pay, take);
        pool.total = plus(pool.total, rest);
        let held = self.shares(coldkey, netuid, hotkey);
        let bought = pool.shares_for(take);
        if held == 0 || bought == 0 {
            self.write_stake((coldkey, netuid, hotkey), pool, held);
            return (rest, self.pay_out(coldkey, take));
        }
        let pool = Pool {
            total: plus(pool.total, take),
            shares: pool.shares.saturating_add(bought),
        };
        self.write_stake((coldkey, netuid, hotkey), pool, held.saturating_add(bought));
        (pay, Amount::ZERO)
    }
}
