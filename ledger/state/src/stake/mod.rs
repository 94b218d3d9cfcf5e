//! Stake: share pools, one for each hotkey and subnet.
//!
//! A pool holds base units; stakers hold shares of it. Dividends are added to the pool, so each share is worth more
//! and nobody has to be paid one by one. Every rounding goes against the one who adds or removes, and what it
//! leaves stays in the pool: a share is never worth less than before.
//!
//! A pool's key keeps the name of the hotkey it was made for. A hotkey that replaced another goes by that name too
//! (see `swaps`), so that replacing a hotkey touches none of its stakers.
//!
//! # Invariants
//!
//! - The shares of a pool's stakers sum to the pool's shares, and a pool without shares does not exist.
//! - A pool holds at least one base unit for each share.

mod moves;
mod take;

use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Hotkey, Netuid};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

pub use self::moves::{MoveStakeRefusal, StakeTransfer};
pub(crate) use self::take::Take;
pub use self::take::{SetTakeRefusal, TakeChange};
use crate::State;
use crate::accounts::HotkeyOwner;
use crate::refusal::{NotRegistered, ShortOfFunds, UnknownSubnet};
use crate::supply::{minus, plus};
use crate::table::Entry;

/// Least that can be added as stake, and least that may remain: 0.002 whole units.
pub const STAKE_MIN: Amount = Amount::from_base_units(2_000_000);

/// The stake on one hotkey in one subnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Pool {
    pub(crate) total: Amount,
    pub(crate) shares: u128,
}

impl Entry for Pool {
    type Key = (Netuid, Hotkey);
    const KIND: u8 = 0x0a;
    const HELD: Option<fn(&Self) -> u128> = Some(|pool| pool.total.base_units().into());
}

/// A coldkey's shares of one pool, by the pool's name. The coldkey leads the key, so that what an account holds lies together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Shares(pub(crate) u128);

impl Entry for Shares {
    type Key = (Coldkey, Netuid, Hotkey);
    const KIND: u8 = 0x0b;
}

impl Pool {
    /// Shares that `amount` buys, rounded down; a new pool has one share for each base unit.
    fn shares_for(&self, amount: Amount) -> u128 {
        if self.shares == 0 {
            return u128::from(amount.base_units());
        }
        let product = self.product(u128::from(amount.base_units()), self.shares);
        product
            .checked_div(u128::from(self.total.base_units()))
            .unwrap_or(0)
    }

    /// Shares that must go for `amount` to leave, rounded up.
    fn shares_of(&self, amount: Amount) -> u128 {
        let product = self.product(u128::from(amount.base_units()), self.shares);
        product.div_ceil(u128::from(self.total.base_units()).max(1))
    }

    /// What shares are worth, rounded down.
    pub(crate) fn worth(&self, shares: u128) -> Amount {
        let product = self.product(shares, u128::from(self.total.base_units()));
        let worth = product.checked_div(self.shares).unwrap_or(0);
        Amount::from_base_units(u64::try_from(worth).expect("a part of the pool's total"))
    }

    /// Shares never outnumber base units, so both factors fit 64 bits.
    fn product(&self, a: u128, b: u128) -> u128 {
        a.checked_mul(b).expect("shares and base units are below 2^64")
    }
}

/// Why stake is not added.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddStakeRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// The hotkey has no UID.
    #[error(transparent)]
    Registered(#[from] NotRegistered),
    /// Too little.
    #[error("{amount} is less than the smallest stake: add {STAKE_MIN} or more")]
    Minimum {
        /// What was asked for.
        amount: Amount,
    },
    /// Too little to buy a share.
    #[error("{amount} buys no share of the pool of {hotkey}, one is worth {share}: add that or more")]
    Share {
        /// The hotkey.
        hotkey: Hotkey,
        /// What was asked for.
        amount: Amount,
        /// What a share is worth, rounded up.
        share: Amount,
    },
    /// The free balance is too small.
    #[error(transparent)]
    Balance(#[from] ShortOfFunds),
}

impl AddStakeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Registered(_) => NotRegistered::RULE,
            Self::Minimum { .. } => "stake minimum",
            Self::Share { .. } => "stake share",
            Self::Balance(_) => ShortOfFunds::RULE,
        }
    }
}

/// Why stake is not removed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveStakeRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// Nothing would move.
    #[error("the amount is 0: remove at least {}", Amount::from_base_units(1))]
    Nothing,
    /// The coldkey has less there.
    #[error(
        "the stake on {hotkey} in subnet {netuid} is worth {worth} and {amount} was asked for: remove at most {worth}"
    )]
    Worth {
        /// Which subnet.
        netuid: Netuid,
        /// The hotkey.
        hotkey: Hotkey,
        /// What the coldkey's shares are worth.
        worth: Amount,
        /// What was asked for.
        amount: Amount,
    },
}

impl RemoveStakeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Nothing => "amount",
            Self::Worth { .. } => "stake",
        }
    }
}

/// An accepted move between free balance and stake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StakeMove {
    /// Whose.
    pub coldkey: Coldkey,
    /// Which subnet.
    pub netuid: Netuid,
    /// The hotkey.
    pub hotkey: Hotkey,
    /// What leaves the one and enters the other.
    pub amount: Amount,
    /// Shares of the pool that are made or go.
    pub shares: u128,
}

impl State {
    pub(crate) fn check_add_stake(
        &self,
        coldkey: Coldkey,
        netuid: Netuid,
        hotkey: Hotkey,
        amount: Amount,
    ) -> Result<StakeMove, AddStakeRefusal> {
        self.existing_subnet(netuid)?;
        self.registered_neuron(netuid, hotkey)?;
        if amount < STAKE_MIN {
            return Err(AddStakeRefusal::Minimum { amount });
        }
        self.check_free(coldkey, amount)?;
        self.check_shares(coldkey, netuid, hotkey, amount)
    }

    /// Finds the shares that `amount` buys.
    fn check_shares(
        &self,
        coldkey: Coldkey,
        netuid: Netuid,
        hotkey: Hotkey,
        amount: Amount,
    ) -> Result<StakeMove, AddStakeRefusal> {
        let pool = self.pool(netuid, hotkey);
        let shares = pool.shares_for(amount);
        if shares == 0 {
            let share = plus(pool.worth(1), Amount::from_base_units(1));
            return Err(AddStakeRefusal::Share {
                hotkey,
                amount,
                share,
            });
        }
        Ok(StakeMove {
            coldkey,
            netuid,
            hotkey,
            amount,
            shares,
        })
    }

    pub(crate) fn add_stake(&mut self, added: &StakeMove) {
        self.debit(added.coldkey, added.amount);
        self.put_into_pool(added);
    }

    /// Makes the shares of what the caller took from elsewhere.
    fn put_into_pool(&mut self, added: &StakeMove) {
        let mut pool = self.pool(added.netuid, added.hotkey);
        pool.total = plus(pool.total, added.amount);
        pool.shares = pool.shares.saturating_add(added.shares);
        let held = self.shares(added.coldkey, added.netuid, added.hotkey);
        self.write_stake(
            (added.coldkey, added.netuid, added.hotkey),
            pool,
            held.saturating_add(added.shares),
        );
        let mut subnet = self.expect_subnet(added.netuid);
        subnet.staked = plus(subnet.staked, added.amount);
        self.table.write(&added.netuid, &subnet);
    }

    /// What would remain below [`STAKE_MIN`], or without a share of the pool, is taken along: nobody is left with stake
    /// too small to see.
    pub(crate) fn check_remove_stake(
        &self,
        coldkey: Coldkey,
        netuid: Netuid,
        hotkey: Hotkey,
        amount: Amount,
    ) -> Result<StakeMove, RemoveStakeRefusal> {
        self.existing_subnet(netuid)?;
        if amount.is_zero() {
            return Err(RemoveStakeRefusal::Nothing);
        }
        let pool = self.pool(netuid, hotkey);
        let held = self.shares(coldkey, netuid, hotkey);
        let worth = pool.worth(held);
        if amount > worth {
            return Err(RemoveStakeRefusal::Worth {
                netuid,
                hotkey,
                worth,
                amount,
            });
        }
        let shares = pool.shares_of(amount);
        let takes_all = shares >= held || minus(worth, amount) < STAKE_MIN;
        let (amount, shares) = if takes_all {
            (worth, held)
        } else {
            (amount, shares)
        };
        Ok(StakeMove {
            coldkey,
            netuid,
            hotkey,
            amount,
            shares,
        })
    }

    pub(crate) fn remove_stake(&mut self, removed: &StakeMove) {
        self.take_from_pool(removed);
        self.credit(removed.coldkey, removed.amount);
    }

    /// Drops the shares of what the caller puts elsewhere.
    pub(crate) fn take_from_pool(&mut self, removed: &StakeMove) {
        let mut pool = self.pool(removed.netuid, removed.hotkey);
        pool.total = minus(pool.total, removed.amount);
        pool.shares = pool
            .shares
            .checked_sub(removed.shares)
            .expect("a staker's shares are the pool's");
        let held = self.shares(removed.coldkey, removed.netuid, removed.hotkey);
        let left = held
            .checked_sub(removed.shares)
            .expect("no more shares go than the staker has");
        self.write_stake((removed.coldkey, removed.netuid, removed.hotkey), pool, left);
        let mut subnet = self.expect_subnet(removed.netuid);
        subnet.staked = minus(subnet.staked, removed.amount);
        self.table.write(&removed.netuid, &subnet);
    }

    /// The stake on a hotkey; none on one that nobody owns.
    pub(crate) fn pool(&self, netuid: Netuid, hotkey: Hotkey) -> Pool {
        let name = self.pool_name(hotkey);
        name.map(|name| self.pool_of_name(netuid, name))
            .unwrap_or_default()
    }

    /// The pool of a name that an entry holds.
    pub(crate) fn pool_of_name(&self, netuid: Netuid, name: Hotkey) -> Pool {
        self.table.read(&(netuid, name)).unwrap_or_default()
    }

    /// The name under which the pools of a hotkey are kept.
    pub(crate) fn pool_name(&self, hotkey: Hotkey) -> Option<Hotkey> {
        self.table.read::<HotkeyOwner>(&hotkey).map(|owner| owner.pools)
    }

    fn shares(&self, coldkey: Coldkey, netuid: Netuid, hotkey: Hotkey) -> u128 {
        let name = self.pool_name(hotkey);
        name.map_or(0, |name| self.shares_of_name(coldkey, netuid, name))
    }

    pub(crate) fn shares_of_name(&self, coldkey: Coldkey, netuid: Netuid, name: Hotkey) -> u128 {
        let shares: Option<Shares> = self.table.read(&(coldkey, netuid, name));
        shares.unwrap_or_default().0
    }

    fn write_stake(&mut self, (coldkey, netuid, hotkey): (Coldkey, Netuid, Hotkey), pool: Pool, held: u128) {
        let name = self.pool_name(hotkey).expect("a check found the hotkey owned");
        match held {
            0 => self.table.remove::<Shares>(&(coldkey, netuid, name)),
            _ => self.table.write(&(coldkey, netuid, name), &Shares(held)),
        }
        match pool.shares {
            0 => self.table.remove::<Pool>(&(netuid, name)),
            _ => self.table.write(&(netuid, name), &pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn pool(total: u64, shares: u128) -> Pool {
        Pool {
            total: Amount::from_base_units(total),
            shares,
        }
    }

    #[test]
    fn shares_are_rounded_against_the_staker() {
        // A share is worth 1.5 base units.
        let pool = pool(30, 20);
        assert_eq!(pool.shares_for(Amount::from_base_units(10)), 6);
        assert_eq!(pool.shares_of(Amount::from_base_units(10)), 7);
        assert_eq!(pool.worth(7), Amount::from_base_units(10));
        assert_eq!(pool.worth(20), Amount::from_base_units(30));
    }

    #[test]
    fn the_first_stake_has_a_share_for_each_base_unit() {
        assert_eq!(Pool::default().shares_for(Amount::from_base_units(77)), 77);
        assert_eq!(Pool::default().worth(0), Amount::ZERO);
    }

    proptest! {
        #[test]
        fn no_one_gains_by_adding_and_removing(
            total in 1u64..21_000_000_000_000_000,
            part in 1u64..=1_000_000,
            amount in 1u64..21_000_000_000_000_000,
        ) {
            let shares = (u128::from(total) * u128::from(part)).div_ceil(1_000_000);
            let pool = pool(total, shares);
            let amount = Amount::from_base_units(amount);
            let bought = pool.shares_for(amount);
            let after = Pool { total: plus(pool.total, amount), shares: shares + bought };
            prop_assert!(after.worth(bought) <= amount);
            prop_assert!(after.shares <= u128::from(after.total.base_units()));
            // What the others hold is worth no less than before.
            prop_assert!(after.worth(shares) >= pool.total);
            if let Some(taken) = after.worth(bought).checked_sub(Amount::from_base_units(1)) {
                prop_assert!(after.shares_of(taken) <= bought);
            }
        }
    }
}
