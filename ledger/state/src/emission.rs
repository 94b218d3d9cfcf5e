//! Emission: what a block creates and for whom, and how a subnet's share of it is paid at its epoch.
//!
//! # Between subnets
//!
//! A block's emission goes to the subnets that are started and open to registration, in proportion to the moving
//! average of the stake on them, evenly when there is none. Without such a subnet nothing is created. The average of
//! every subnet moves with each block, by half of the distance to the stake in the network's
//! `stake_average_half_life_blocks`; stake that is shown for a few blocks only moves little emission.
//!
//! # Within a subnet
//!
//! At the epoch the owner takes its cut of what the tempo brought. The rest is halved: one half for miners in
//! proportion to their incentive, one for validators in proportion to their dividends times the coverage of their
//! evidence (see `evidence`), which is 0 for whoever did not reveal weights that were due (see `weights`); an odd base
//! unit goes to the validators' half. Where nobody earned, the half is held and joins the next epoch's. A miner that belongs to the
//! subnet's owner earns, but its pay is burned. Miners are paid to their coldkeys. Of a validator's dividends its
//! coldkey gets the take and the stakers share the rest: see `stake::take`. Pay to a free balance that would be too
//! small for an account to exist is burned.
//!
//! # Departure from the reference
//!
//! - A half that no miner earned is held for the next epoch instead of going to the validators.
//! - Shares are rounded so that they sum to the half; the reference drops what rounding loses.

use agon_protocol::amount::Amount;
use agon_protocol::id::{Netuid, Uid};
use agon_scoring::epoch::EpochOutputs;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::decay::halved;
use crate::neuron::Neuron;
use crate::parameters::{NetworkParameterId, ParameterId};
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
    /// The validators' half, if no validator earned or none of those who did has shown evidence.
    pub validators_held: Amount,
    /// Burned because it was too little for its receiver to exist.
    pub dust: Dust,
}

/// Pay that was burned because a free balance would have been below the existential deposit with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Dust {
    /// Of the owner's cut.
    pub owner: Amount,
    /// Of what UIDs earned as miners, ascending.
    pub miners: Vec<(Uid, Amount)>,
    /// Of what UIDs earned as validators, ascending.
    pub validators: Vec<(Uid, Amount)>,
}

impl Dust {
    /// What a UID earned in either way and did not get.
    #[must_use]
    pub fn of_uid(&self, uid: Uid) -> Amount {
        let lists = self.miners.iter().chain(&self.validators);
        total(lists.filter(|(of, _)| *of == uid).map(|(_, amount)| *amount))
    }
}

impl Payouts {
    /// `dividends` are those of the outputs times each UID's coverage, `takes_ppm` each UID's take.
    pub(crate) fn of(
        halves: &Halves,
        outputs: &EpochOutputs,
        dividends: &[u64],
        subnet: &Subnet,
        neurons: &[Neuron],
        takes_ppm: &[u64],
    ) -> Self {
        let miners = apportion(halves.miners, &outputs.server_emission);
        let validators = apportion(halves.validators, dividends);
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
            dust: Dust::default(),
        }
    }

    /// Paid to miners, without what was burned.
    #[must_use]
    pub fn miners_paid(&self) -> Amount {
        let burned = plus(self.miners_burned, sum(&self.dust.miners));
        minus(total(self.miners.iter().copied()), burned)
    }

    /// Paid to validators and their stakers, without what was burned.
    #[must_use]
    pub fn validators_paid(&self) -> Amount {
        minus(total(self.validators.iter().copied()), sum(&self.dust.validators))
    }

    /// Paid to the owner, without what was burned.
    #[must_use]
    pub const fn owner_paid(&self) -> Amount {
        minus(self.owner_cut, self.dust.owner)
    }

    /// Burned: what the owner's own miners earned, and dust.
    #[must_use]
    pub fn burned(&self) -> Amount {
        let dust = plus(sum(&self.dust.miners), sum(&self.dust.validators));
        plus(self.miners_burned, plus(self.dust.owner, dust))
    }

    /// Held for the next epoch.
    #[must_use]
    pub const fn held(&self) -> Amount {
        plus(self.miners_held, self.validators_held)
    }
}

impl State {
    /// Moves the subnets' averages of stake, creates the emission of a block and adds it to what the subnets pay next.
    pub(crate) fn mint(&mut self) {
        let mut subnets: Vec<(Netuid, Subnet)> = self.table.scan::<Subnet>(()).collect();
        let half_life_blocks = self.network(NetworkParameterId::StakeAverageHalfLifeBlocks);
        for (_, subnet) in &mut subnets {
            subnet.stake_average = moved(subnet.stake_average, subnet.staked, half_life_blocks);
        }
        self.create(&mut subnets);
        for (netuid, subnet) in subnets {
            self.table.write(&netuid, &subnet);
        }
    }

    fn create(&mut self, subnets: &mut [(Netuid, Subnet)]) {
        let mut earning: Vec<&mut Subnet> = subnets
            .iter_mut()
            .map(|(_, subnet)| subnet)
            .filter(|subnet| subnet.earns())
            .collect();
        if earning.is_empty() {
            return;
        }
        let mut progress = self.progress();
        let created = block_emission(self.origin().block_emission, progress.created);
        progress.created = plus(progress.created, created);
        self.write_progress(&progress);
        let shares = apportion(created, &average_or_even(&earning));
        for (subnet, share) in earning.iter_mut().zip(shares) {
            subnet.pots.pending = plus(subnet.pots.pending, share);
        }
    }

    /// Pays what an epoch found, and notes what was too little to be paid. The neurons' records are left to the caller.
    pub(crate) fn pay(
        &mut self,
        netuid: Netuid,
        subnet: &mut Subnet,
        neurons: &[Neuron],
        payouts: &mut Payouts,
    ) {
        let mut dust = Dust {
            owner: self.pay_out(subnet.owner, payouts.owner_cut),
            ..Dust::default()
        };
        subnet.owner_emitted = plus(subnet.owner_emitted, payouts.owner_cut);
        self.burn(payouts.miners_burned);
        for ((uid, neuron), pay) in (0..=u16::MAX).zip(neurons).zip(&payouts.miners) {
            if neuron.coldkey != subnet.owner {
                note(&mut dust.miners, uid, self.pay_out(neuron.coldkey, *pay));
            }
        }
        for (index, neuron) in (0..=u16::MAX).zip(neurons) {
            let (pay, take) = (
                payouts.validators[usize::from(index)],
                payouts.takes[usize::from(index)],
            );
            let (staked, burned) = self.pay_dividends(netuid, neuron, pay, take);
            subnet.staked = plus(subnet.staked, staked);
            note(&mut dust.validators, index, burned);
        }
        payouts.dust = dust;
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

fn note(dust: &mut Vec<(Uid, Amount)>, uid: u16, burned: Amount) {
    if !burned.is_zero() {
        dust.push((Uid(uid), burned));
    }
}

fn sum(dust: &[(Uid, Amount)]) -> Amount {
    total(dust.iter().map(|(_, amount)| *amount))
}

fn average_or_even(earning: &[&mut Subnet]) -> Vec<u64> {
    if earning.iter().all(|subnet| subnet.stake_average.is_zero()) {
        return vec![1; earning.len()];
    }
    earning
        .iter()
        .map(|subnet| subnet.stake_average.base_units())
        .collect()
}

/// An average a block later.
///
/// - **Formula**: `stake + (average - stake) * 2^-(1 / half-life)`.
/// - **Rounding**: the distance that is left is rounded down, so the stake is reached in the end.
fn moved(average: Amount, stake: Amount, half_life_blocks: u64) -> Amount {
    match average.checked_sub(stake) {
        Some(above) => plus(stake, halved(above, 1, half_life_blocks)),
        None => minus(stake, halved(minus(stake, average), 1, half_life_blocks)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn amount(base_units: u64) -> Amount {
        Amount::from_base_units(base_units)
    }

    #[test]
    fn an_average_covers_half_the_way_in_a_half_life_and_gets_there() {
        #[track_caller]
        fn check(from: u64, stake: u64, blocks: u64, expected: u64) {
            let average = (0..blocks).fold(amount(from), |average, _| moved(average, amount(stake), 20));
            assert_eq!(average, amount(expected));
        }
        // One block: 1 - 2^(-1/20) of the way, 0.0340636711 by a rounded exponent.
        check(0, 1_000_000_000, 1, 34_063_671);
        check(1_000_000_000, 0, 1, 965_936_329);
        check(0, 1_000_000_000, 20, 500_000_005);
        check(1_000_000_000, 0, 20, 499_999_995);
        check(0, 1_000_000_000, 2_000, 1_000_000_000);
        check(1_000_000_000, 0, 2_000, 0);
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
