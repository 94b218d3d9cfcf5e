//! Registration: what a UID costs and who gets which.
//!
//! # Price
//!
//! The price halves with every half-life that passes and is multiplied by a bump at every registration, between a
//! floor and a ceiling. It is burned. A full subnet replaces somebody: see [`crate::AtRisk`].

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid, Uid};
use thiserror::Error;

use crate::State;
use crate::decay::halved;
use crate::neuron::{HotkeyUid, Neuron};
use crate::parameters::{ParameterId, Parameters};
use crate::refusal::{HotkeyUsed, ShortOfFunds, UnknownSubnet};
use crate::replacement::Candidates;
use crate::subnet::Subnet;

/// Why a registration is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// The subnet takes nobody.
    #[error("subnet {netuid} is closed to registration: its owner has to set registration_open to 1")]
    Closed {
        /// Which subnet.
        netuid: Netuid,
    },
    /// The hotkey has a UID.
    #[error("{hotkey} holds UID {uid} on subnet {netuid} already: register another hotkey")]
    Registered {
        /// Which subnet.
        netuid: Netuid,
        /// The hotkey.
        hotkey: Hotkey,
        /// Its UID.
        uid: Uid,
    },
    /// The hotkey is somebody else's.
    #[error("{hotkey} belongs to {coldkey}: sign with that coldkey or use another hotkey")]
    HotkeyOwned {
        /// The hotkey.
        hotkey: Hotkey,
        /// Its coldkey.
        coldkey: Coldkey,
    },
    /// The hotkey was replaced by another.
    #[error(transparent)]
    HotkeyUsed(#[from] HotkeyUsed),
    /// The price is more than the call allows.
    #[error(
        "a UID on subnet {netuid} costs {price} and the limit of this call is {price_max}: \
         allow more, or wait, the price halves every {half_life_blocks} blocks"
    )]
    PriceMax {
        /// Which subnet.
        netuid: Netuid,
        /// The price in this block.
        price: Amount,
        /// The most the call allows.
        price_max: Amount,
        /// Blocks in which the price halves.
        half_life_blocks: u64,
    },
    /// The free balance is too small.
    #[error(transparent)]
    Balance(#[from] ShortOfFunds),
    /// Nobody can be replaced.
    #[error(
        "all {max_uids} UIDs of subnet {netuid} are taken and {non_immune} of them are out of immunity, \
         more than {min_non_immune} are needed to replace one: wait for immunity to end"
    )]
    Full {
        /// Which subnet.
        netuid: Netuid,
        /// How many UIDs it has.
        max_uids: u64,
        /// UIDs that could be replaced but for the bound.
        non_immune: u64,
        /// The bound.
        min_non_immune: u64,
    },
}

impl RegisterRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Closed { .. } => "registration open",
            Self::Registered { .. } => "registered",
            Self::HotkeyOwned { .. } => "hotkey owner",
            Self::HotkeyUsed(_) => HotkeyUsed::RULE,
            Self::PriceMax { .. } => "price limit",
            Self::Balance(_) => ShortOfFunds::RULE,
            Self::Full { .. } => "subnet full",
        }
    }
}

/// An accepted registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Which subnet.
    pub netuid: Netuid,
    /// Who gets the UID.
    pub hotkey: Hotkey,
    /// Who pays.
    pub coldkey: Coldkey,
    /// What is burned.
    pub price: Amount,
    /// The UID it gets.
    pub uid: Uid,
    /// Whose UID it was, if it is taken.
    pub replaces: Option<Hotkey>,
    /// The block of the registration.
    pub height: BlockNumber,
}

impl State {
    pub(crate) fn check_register(
        &self,
        coldkey: Coldkey,
        netuid: Netuid,
        hotkey: Hotkey,
        price_max: Amount,
        now: BlockNumber,
    ) -> Result<Registration, RegisterRefusal> {
        let subnet = self.existing_subnet(netuid)?;
        if !subnet.parameters.is_on(ParameterId::RegistrationOpen) {
            return Err(RegisterRefusal::Closed { netuid });
        }
        self.check_hotkey_free(coldkey, netuid, hotkey)?;
        let price = price_at(&subnet, now);
        if price > price_max {
            let half_life_blocks = subnet.parameters.value(ParameterId::RegistrationHalfLifeBlocks);
            return Err(RegisterRefusal::PriceMax {
                netuid,
                price,
                price_max,
                half_life_blocks,
            });
        }
        self.check_free(coldkey, price)?;
        let (uid, replaces) = self.slot(netuid, &subnet, now)?;
        Ok(Registration {
            netuid,
            hotkey,
            coldkey,
            price,
            uid,
            replaces,
            height: now,
        })
    }

    fn check_hotkey_free(
        &self,
        coldkey: Coldkey,
        netuid: Netuid,
        hotkey: Hotkey,
    ) -> Result<(), RegisterRefusal> {
        if let Some(uid) = self.uid_of(netuid, hotkey) {
            return Err(RegisterRefusal::Registered { netuid, hotkey, uid });
        }
        self.check_hotkey_unused(hotkey)?;
        match self.hotkey_owner(hotkey) {
            Some(owner) if owner != coldkey => Err(RegisterRefusal::HotkeyOwned {
                hotkey,
                coldkey: owner,
            }),
            _ => Ok(()),
        }
    }

    /// The next free UID, or the one that is replaced and its hotkey.
    fn slot(
        &self,
        netuid: Netuid,
        subnet: &Subnet,
        now: BlockNumber,
    ) -> Result<(Uid, Option<Hotkey>), RegisterRefusal> {
        // An announced lower limit holds at once: UIDs are only ever replaced, so no more may come before it is in force.
        let in_force = subnet.parameters.value(ParameterId::MaxUids);
        let announced = subnet.announced.get(&ParameterId::MaxUids);
        let max_uids = announced.map_or(in_force, |announced| in_force.min(announced.value));
        if u64::from(subnet.neuron_count) < max_uids {
            return Ok((Uid(subnet.neuron_count), None));
        }
        let neurons = self.neurons(netuid);
        let candidates = Candidates::of(subnet, &neurons, now);
        let min_non_immune = subnet.parameters.value(ParameterId::MinNonImmuneUids);
        let non_immune = candidates.non_immune_count();
        let full = || RegisterRefusal::Full {
            netuid,
            max_uids,
            non_immune,
            min_non_immune,
        };
        let uid = candidates.choose(min_non_immune).ok_or_else(full)?;
        Ok((uid, Some(neurons[usize::from(uid.0)].hotkey)))
    }

    pub(crate) fn register(&mut self, registration: &Registration) {
        let Registration {
            netuid,
            hotkey,
            coldkey,
            price,
            uid,
            height,
            ..
        } = *registration;
        self.debit(coldkey, price);
        self.burn(price);
        self.own_hotkey(hotkey, coldkey);
        let mut subnet = self.expect_subnet(netuid);
        match registration.replaces {
            Some(replaced) => self.clear_uid(netuid, uid, replaced),
            None => subnet.neuron_count = subnet.neuron_count.saturating_add(1),
        }
        subnet.price = bumped(price, &subnet.parameters);
        subnet.price_block = height;
        self.table.write(&netuid, &subnet);
        self.table
            .write(&(netuid, uid), &Neuron::new(hotkey, coldkey, height));
        self.table.write(&(netuid, hotkey), &HotkeyUid(uid));
    }
}

/// The price of a UID at `now`.
///
/// - **Formula**: `price after the newest registration * 2^-(blocks since / half-life)`, then floor and ceiling.
/// - **Rounding**: down; the exponent is taken in 2^-32 parts.
pub(crate) fn price_at(subnet: &Subnet, now: BlockNumber) -> Amount {
    let blocks = now.0.saturating_sub(subnet.price_block.0);
    let half_life = subnet.parameters.value(ParameterId::RegistrationHalfLifeBlocks);
    bounded(halved(subnet.price, blocks, half_life), &subnet.parameters)
}

/// The price that the next registration starts from.
fn bumped(price: Amount, parameters: &Parameters) -> Amount {
    let bumped = price.mul_ratio(parameters.value(ParameterId::RegistrationBumpPpm), 1_000_000);
    bounded(bumped, parameters)
}

fn bounded(price: Amount, parameters: &Parameters) -> Amount {
    let floor = parameters.amount(ParameterId::RegistrationPriceFloor);
    price
        .min(parameters.amount(ParameterId::RegistrationPriceCeiling))
        .max(floor)
}
