//! Emission: what a block creates and for whom, and how a subnet's share of it is paid at its epoch.
//!
//! # Between subnets
//!
//! A block's emission goes to the subnets that are started and open to registration, in proportion to the stake on
//! them, evenly when there is none. Without such a subnet nothing is created.
//!
//! # Within a subnet
//!
//! At the epoch the owner takes its cut of what the tempo brought. The rest is halved: one half for miners in
//! proportion to their incentive, one for validators in proportion to their dividends; an odd base unit goes to the
//! validators' half. Where nobody earned, the half is held and joins the next epoch's. A miner that belongs to the
//! subnet's owner earns, but its pay is burned. Miners are paid to their coldkeys. Of a validator's dividends its
//! coldkey gets the take and the stakers share the rest: see `stake::take`.
//!
//! # Departure from the reference
//!
//! - A half that no miner earned is held for the next epoch instead of going to the validators.
//! - Shares are rounded so that they sum to the half; the reference drops what rounding loses.

use agon_protocol::amount::Amount;
use agon_protocol::id::Netuid;
use agon_scoring::epoch::EpochOutputs;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::neuron::Neuron;
use crate::parameters::ParameterId;
use crate::subnet::{Pots, Subnet};
use crate::supply::{apportion, block_emission, minus, plus, total};

/// What a subnet hands out at one epoch, before anyone's share is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Halves {
    pub(crate) owner_cut: Amount,
    /// With what was held for miners.
    pub(crate) miners: Amount,
    /// With what was held for validators.
    pub(crate) validators: Amount,
}

impl Halves {
    pub(crate) fn of(pots: &Pots, owner_cut_ppm: u64) -> Self {
        let owner_cut = pots.pending.mul_ratio(owner_cut_ppm, 1_000_000);
        let rest = minus(pots.pending, owner_cut);
        let miners = rest.mul_ratio(1, 2);
        Self {
            owner_cut,
            miners: plus(pots.miners_held, miners),
            validators: plus(pots.validators_held, minus(rest, miners)),
        }
    }

    /// What the epoch divides.
    pub(crate) const fn emission(&self) -> Amount {
        plus(self.miners, self.validators)
    }
}

/// What became of a tempo's emission, to the base unit: cut, pay, what was burned and what is held sum to what the
/// tempo brought and what was held before.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Payouts {
    /// Paid to the owner's coldkey.
    pub owner_cut: Amount,
    /// Earned as a miner, per UID; burned where the UID is the owner's.
    pub miners: Vec<Amount>,
    /// The part of it that was burned.
    pub miners_burned: Amount,
    /// Earned as a validator with its stakers, per UID.
    pub validators: Vec<Amount>,
    /// The part of it that is the take of the validator's coldkey, per UID.
    pub takes: Vec<Amount>,
    /// The miners' half, if no miner earned.
    pub miners_held: Amount,
    /// The validators' half, if no validator earned.
    pub validators_held: Amount,
}

impl Payouts {
    /// `takes_ppm` is each UID's take.
    pub(crate) fn of(
        halves: &Halves,
        outputs: &EpochOutputs,
        subnet: &Subnet,
        neurons: &[Neuron],
        takes_ppm: &[u64],
    ) -> Self {
        let miners = apportion(halves.miners, &outputs.server_emission);
        let validators = apportion(halves.validators, &outputs.validator_emission);
        let of_owner = |neuron: &Neuron| neuron.coldkey == subnet.owner;
        let burned = neurons
            .iter()
            .zip(&miners)
            .filter(|(neuron, _)| of_owner(neuron))
            .map(|(_, pay)| *pay);
        Self {
            owner_cut: halves.owner_cut,
            miners_burned: total(burned),
            miners_held: minus(halves.miners, total(miners.iter().copied())),
            validators_held: minus(halves.validators, total(validators.iter().copied())),
            takes: takes(&validators, takes_ppm),
            miners,
            validators,
        }
    }

    /// Paid to miners, without what was burned.
    #[must_use]
    pub fn miners_paid(&self) -> Amount {
        minus(total(self.miners.iter().copied()), self.miners_burned)
    }

    /// Paid to validators and their stakers.
    #[must_use]
    pub fn validators_paid(&self) -> Amount {
        total(self.validators.iter().copied())
    }

    /// Held for the next epoch.
    #[must_use]
    pub const fn held(&self) -> Amount {
        plus(self.miners_held, self.validators_held)
    }
}

impl State {
    /// Creates the emission of a block and adds it to what the subnets pay next.
    pub(crate) fn mint(&mut self) {
        let earning: Vec<(Netuid, Subnet)> = self
            .table
            .scan::<Subnet>(())
            .filter(|(_, subnet)| subnet.earns())
            .collect();
        if earning.is_empty() {
            return;
        }
        let mut progress = self.progress();
        let created = block_emission(self.origin().block_emission, progress.issuance());
        progress.created = plus(progress.created, created);
        self.write_progress(&progress);
        let shares = apportion(created, &stake_or_even(&earning));
        for ((netuid, mut subnet), share) in earning.into_iter().zip(shares) {
            subnet.pots.pending = plus(subnet.pots.pending, share);
            self.table.write(&netuid, &subnet);
        }
    }

    /// Pays what an epoch found. The neurons' records are left to the caller.
    pub(crate) fn pay(&mut self, netuid: Netuid, subnet: &mut Subnet, neurons: &[Neuron], payouts: &Payouts) {
        self.credit(subnet.owner, payouts.owner_cut);
        self.burn(payouts.miners_burned);
        for (neuron, pay) in neurons.iter().zip(&payouts.miners) {
            if neuron.coldkey != subnet.owner {
                self.credit(neuron.coldkey, *pay);
            }
        }
        let dividends = payouts.validators.iter().zip(&payouts.takes);
        for (neuron, (pay, take)) in neurons.iter().zip(dividends) {
            let staked = self.pay_dividends(netuid, neuron, *pay, *take);
            subnet.staked = plus(subnet.staked, staked);
        }
        subnet.pots = Pots {
            pending: Amount::ZERO,
            miners_held: payouts.miners_held,
            validators_held: payouts.validators_held,
        };
    }
}

/// Each share's take, rounded down.
fn takes(shares: &[Amount], takes_ppm: &[u64]) -> Vec<Amount> {
    let each = shares.iter().zip(takes_ppm);
    each.map(|(share, ppm)| share.mul_ratio(*ppm, 1_000_000))
        .collect()
}

/// What a neuron was paid: all it earned, without a miner's pay that was burned.
pub(crate) fn paid(subnet: &Subnet, neuron: &Neuron, as_miner: Amount, as_validator: Amount) -> Amount {
    let as_miner = if neuron.coldkey == subnet.owner {
        Amount::ZERO
    } else {
        as_miner
    };
    plus(as_miner, as_validator)
}

/// The owner's cut applies to a tempo's emission only once: what was held had its cut taken already.
pub(crate) fn halves_of(subnet: &Subnet) -> Halves {
    Halves::of(&subnet.pots, subnet.parameters.value(ParameterId::OwnerCutPpm))
}

fn stake_or_even(earning: &[(Netuid, Subnet)]) -> Vec<u64> {
    if earning.iter().all(|(_, subnet)| subnet.staked.is_zero()) {
        return vec![1; earning.len()];
    }
    earning
        .iter()
        .map(|(_, subnet)| subnet.staked.base_units())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn amount(base_units: u64) -> Amount {
        Amount::from_base_units(base_units)
    }

    #[test]
    fn the_cut_is_taken_from_the_tempo_and_not_from_what_was_held() {
        let pots = Pots {
            pending: amount(101),
            miners_held: amount(7),
            validators_held: amount(5),
        };
        let halves = Halves::of(&pots, 180_000);
        // 18 of 101, rounded down; 83 left, 41 and 42.
        let expected = Halves {
            owner_cut: amount(18),
            miners: amount(48),
            validators: amount(47),
        };
        assert_eq!(halves, expected);
        assert_eq!(halves.emission(), amount(95));
    }
}
