//! Registration: what a UID costs, who gets which, and who has to go.
//!
//! # Price
//!
//! The price halves with every half-life that passes and is multiplied by a bump at every registration, between a
//! floor and a ceiling. It is burned.
//!
//! # Who goes
//!
//! A full subnet replaces, as Subtensor does (runtime 425): the owner's oldest UIDs are never replaced. Of the
//! others the best candidate is the one with the lowest emission in the newest epoch, then the earliest
//! registration, then the lowest UID, found once among UIDs out of immunity and once among immune ones. If more
//! UIDs than the subnet must keep are out of immunity, the candidate out of immunity goes, else the immune one;
//! without any, registration is refused.
//!
//! A replaced UID is cleared everywhere: scores, permit, axon, its own weights, bonds and commits, and bonds on it;
//! weights on it become 0. Stake on the replaced hotkey stays where it is and can be withdrawn.

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid, Uid};
use thiserror::Error;

use crate::State;
use crate::neuron::{HotkeyUid, Neuron, owner_uids};
use crate::parameters::{ParameterId, Parameters};
use crate::refusal::{HotkeyUsed, ShortOfFunds, UnknownSubnet};
use crate::subnet::Subnet;
use crate::weights::{BondRow, Commits, WeightRow};

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
        let max_uids = in_force.min(subnet.parameters_announced().value(ParameterId::MaxUids));
        if u64::from(subnet.neuron_count) < max_uids {
            return Ok((Uid(subnet.neuron_count), None));
        }
        let neurons = self.neurons(netuid);
        let candidates = Candidates::of(subnet, &neurons, now);
        let min_non_immune = subnet.parameters.value(ParameterId::MinNonImmuneUids);
        let non_immune = candidates.non_immune_count;
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

    fn clear_uid(&mut self, netuid: Netuid, uid: Uid, hotkey: Hotkey) {
        self.table.remove::<HotkeyUid>(&(netuid, hotkey));
        self.table.remove::<WeightRow>(&(netuid, uid));
        self.table.remove::<BondRow>(&(netuid, uid));
        self.table.remove::<Commits>(&(netuid, uid));
        let rows: Vec<_> = self.table.scan::<WeightRow>(netuid).collect();
        for (key, mut row) in rows {
            row.forget(uid);
            self.table.write(&key, &row);
        }
        let rows: Vec<_> = self.table.scan::<BondRow>(netuid).collect();
        for (key, mut row) in rows {
            row.0.retain(|(on, _)| *on != uid);
            self.write_bonds(key, &row);
        }
    }
}

/// Who could be replaced.
struct Candidates {
    non_immune: Option<Uid>,
    non_immune_count: u64,
    immune: Option<Uid>,
}

impl Candidates {
    fn of(subnet: &Subnet, neurons: &[Neuron], now: BlockNumber) -> Self {
        let protected_count = subnet.parameters.value(ParameterId::OwnerProtectedUids);
        let mut protected = owner_uids(subnet, neurons);
        protected.truncate(usize::try_from(protected_count).expect("the table bounds it by 10"));

        let open = (0..=u16::MAX)
            .map(Uid)
            .zip(neurons)
            .filter(|(uid, _)| !protected.contains(uid));
        let (immune, non_immune): (Vec<_>, Vec<_>) =
            open.partition(|(_, neuron)| neuron.is_immune(now, &subnet.parameters));
        Self {
            non_immune_count: non_immune.len() as u64,
            non_immune: weakest(&non_immune),
            immune: weakest(&immune),
        }
    }

    fn choose(&self, min_non_immune: u64) -> Option<Uid> {
        if self.non_immune_count > min_non_immune {
            self.non_immune
        } else {
            self.immune
        }
    }
}

/// Lowest emission, then earliest registration, then lowest UID.
fn weakest(candidates: &[(Uid, &Neuron)]) -> Option<Uid> {
    let key = |(uid, neuron): &&(Uid, &Neuron)| (neuron.scores.emission, neuron.registered, *uid);
    candidates.iter().min_by_key(key).map(|(uid, _)| *uid)
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

/// `ROOTS[k] = 2^(64 - 2^-(k+1))`, rounded down: what a set bit of the exponent's fraction multiplies by.
const ROOTS: [u64; 32] = {
    let mut roots = [0; 32];
    // 2^127 is 2^(64 - 1/2) squared, and each next root is that of the one before times 2^64.
    let mut square = 1u128 << 127;
    let mut index = 0;
    while index < 32 {
        let root = square.isqrt();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the root of a square below 2^128 is below 2^64"
        )]
        {
            roots[index] = root as u64;
        }
        square = root << 64;
        index += 1;
    }
    roots
};

/// `amount * 2^-(blocks / half_life)`, rounded down.
fn halved(amount: Amount, blocks: u64, half_life: u64) -> Amount {
    let whole = blocks.checked_div(half_life).unwrap_or(0);
    let part = u128::from(blocks.checked_rem(half_life).unwrap_or(0));
    let fraction = (part << 32).checked_div(u128::from(half_life)).unwrap_or(0);
    let shift = u32::try_from(whole).unwrap_or(u32::MAX).saturating_add(64);
    let product = u128::from(amount.base_units())
        .checked_mul(power(fraction))
        .expect("at most 2^64 times a u64");
    let value = product.checked_shr(shift).unwrap_or(0);
    Amount::from_base_units(u64::try_from(value).expect("the upper half of a product fits"))
}

/// `2^(64 - fraction / 2^32)` for a fraction below 2^32, rounded down at each set bit.
fn power(fraction: u128) -> u128 {
    let mut power = 1u128 << 64;
    for (index, root) in (0u32..).zip(ROOTS) {
        if (fraction >> 31u32.saturating_sub(index)) & 1 == 1 {
            power = power
                .checked_mul(u128::from(root))
                .expect("at most 2^64 times a u64")
                >> 64;
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agon_protocol::id::Digest;
    use agon_protocol::message::Preset;
    use proptest::prelude::*;

    use super::*;
    use crate::subnet::{Pots, Schedule};

    #[track_caller]
    fn check_halved(amount: u64, blocks: u64, half_life: u64, expected: u64) {
        let halved = halved(Amount::from_base_units(amount), blocks, half_life);
        assert_eq!(halved.base_units(), expected);
    }

    #[test]
    fn a_price_halves_in_each_half_life_and_in_between_follows_the_curve() {
        check_halved(1_000_000_000, 0, 40, 1_000_000_000);
        check_halved(1_000_000_000, 1, 40, 982_820_598);
        check_halved(1_000_000_000, 20, 40, 707_106_781);
        check_halved(1_000_000_000, 39, 40, 508_739_846);
        check_halved(1_000_000_000, 40, 40, 500_000_000);
        check_halved(1_000_000_000, 100, 40, 176_776_695);
        check_halved(500_000, 360, 360, 250_000);
        check_halved(u64::MAX, 0, 1, u64::MAX);
        check_halved(u64::MAX, 64, 1, 0);
        check_halved(u64::MAX, u64::MAX, 1, 0);
    }

    proptest! {
        #[test]
        fn a_price_never_rises_by_waiting(amount: u64, half_life in 1u64..1_000_000, blocks in 0u64..10_000_000) {
            let amount = Amount::from_base_units(amount);
            prop_assert!(halved(amount, blocks.saturating_add(1), half_life) <= halved(amount, blocks, half_life));
        }
    }

    const OWNER: Coldkey = Coldkey([1; 32]);
    const NOW: BlockNumber = BlockNumber(1_000);
    /// Registered long ago, or lately: the immunity period is 100 blocks.
    const OLD: u64 = 500;
    const NEW: u64 = 950;

    fn subnet() -> Subnet {
        let mut parameters = Parameters::of_preset(Preset::Mainnet);
        parameters.set(ParameterId::ImmunityBlocks, 100);
        let schedule = Schedule {
            tempo: 0,
            tempo_start: BlockNumber(0),
            beacon: Digest::default(),
            epoch_base: BlockNumber(0),
            epoch_last: BlockNumber(0),
        };
        Subnet {
            owner: OWNER,
            task: String::new(),
            locked: Amount::ZERO,
            started: true,
            schedule,
            price: Amount::ZERO,
            price_block: BlockNumber(0),
            neuron_count: 0,
            staked: Amount::ZERO,
            pots: Pots::default(),
            parameters,
            announced: BTreeMap::new(),
        }
    }

    fn neuron(owner: Coldkey, emission: u64, registered: u64) -> Neuron {
        let mut neuron = Neuron::new(Hotkey([0; 32]), owner, BlockNumber(registered));
        neuron.scores.emission = emission;
        neuron
    }

    /// Who goes among neurons of `(emission, registered)` that are not the owner's.
    #[track_caller]
    fn check_replaced(neurons: &[(u64, u64)], expected: Option<u16>) {
        let other = Coldkey([2; 32]);
        let neurons: Vec<Neuron> = neurons
            .iter()
            .map(|(emission, registered)| neuron(other, *emission, *registered))
            .collect();
        let candidates = Candidates::of(&subnet(), &neurons, NOW);
        assert_eq!(candidates.choose(10), expected.map(Uid));
    }

    fn with(count: usize, rest: &[(u64, u64)]) -> Vec<(u64, u64)> {
        [vec![(100, OLD); count], rest.to_vec()].concat()
    }

    #[test]
    fn more_than_ten_must_be_out_of_immunity_before_one_of_them_goes() {
        check_replaced(&with(11, &[(0, NEW)]), Some(0));
        check_replaced(&with(10, &[(0, NEW)]), Some(10));
        check_replaced(&with(10, &[(500, NEW), (400, NEW)]), Some(11));
        check_replaced(&with(10, &[]), None);
        check_replaced(&with(11, &[]), Some(0));
        check_replaced(&[(5, NEW), (4, NEW)], Some(1));
    }

    #[test]
    fn immunity_ends_with_its_last_block() {
        check_replaced(&with(10, &[(0, 900)]), Some(10));
        check_replaced(&with(10, &[(0, 901), (9, 902)]), Some(10));
        // At block 1000 the UID of block 901 is immune, that of block 900 is not: it makes eleven, and is weakest.
        check_replaced(&with(10, &[(0, 900), (0, 901)]), Some(10));
        check_replaced(&with(9, &[(0, 900), (7, 901)]), Some(10));
    }

    #[test]
    fn lowest_emission_goes_then_earliest_registration_then_lowest_uid() {
        check_replaced(&with(11, &[(99, OLD), (98, OLD)]), Some(12));
        check_replaced(&with(11, &[(98, OLD), (98, OLD - 1)]), Some(12));
        check_replaced(&with(11, &[(98, OLD), (98, OLD)]), Some(11));
    }

    #[test]
    fn the_owners_oldest_uid_stays() {
        let other = Coldkey([2; 32]);
        let mut neurons = vec![neuron(other, 100, OLD); 12];
        neurons[3] = neuron(OWNER, 0, OLD);
        neurons[7] = neuron(OWNER, 50, OLD);
        let chosen = |neurons: &[Neuron]| Candidates::of(&subnet(), neurons, NOW).choose(10);
        assert_eq!(owner_uids(&subnet(), &neurons), [Uid(3), Uid(7)]);
        assert_eq!(
            chosen(&neurons),
            Some(Uid(7)),
            "one UID is protected, the lower of equally old ones"
        );
        neurons[7].registered = BlockNumber(OLD - 1);
        assert_eq!(chosen(&neurons), Some(Uid(3)));
        neurons[5] = neuron(OWNER, 0, OLD - 2);
        assert_eq!(chosen(&neurons), Some(Uid(3)));
        // Eleven that may go are needed beside the protected one.
        assert_eq!(chosen(&neurons[1..]), None);
    }
}
