//! Epochs one after the other, by the very function that the ledger pays by, without blocks and transactions.
//!
//! Validators hold the first UIDs, miners the ones after. Everybody is active, every validator has a permit, and all
//! of an epoch's emission goes to the two halves: an owner's cut would change no ratio. That this pays what a ledger
//! pays is held by the tests of this file.
//!
//! # Coverage
//!
//! A validator's dividends are multiplied by its evidence coverage before the validators' half is divided, as
//! `ledger/state` does at the end of a tempo; where nobody is covered the half is held.

use agon_ledger_state::{COVERAGE_FULL_PPM, ParameterId, apportion, covered};
use agon_protocol::amount::Amount;
use agon_protocol::message::Preset;
use agon_scoring::contest::fill;
use agon_scoring::epoch::{EpochInputs, EpochOutputs, run};

use crate::attack::Defence;

/// Base units handed out in each epoch of a simulation: so many that rounding is below a billionth.
const EMISSION: u64 = 2_000_000_000_000_000;
/// Full coverage, parts per million.
pub const FULL_PPM: u32 = COVERAGE_FULL_PPM;

/// The state of a subnet between epochs.
#[derive(Clone, Debug)]
pub struct Epochs {
    inputs: EpochInputs,
    validator_count: usize,
}

/// What an epoch paid, in shares of its emission, and the consensus it found.
#[derive(Clone, Debug)]
pub struct Paid {
    /// Each miner's pay.
    pub miners: Vec<f64>,
    /// Each validator's pay.
    pub validators: Vec<f64>,
    /// The consensus on each miner, in parts of `u16::MAX`, not normalised.
    pub consensus: Vec<u16>,
}

impl Paid {
    /// What all miners of a range of indices were paid.
    #[must_use]
    pub fn miners_in(&self, range: std::ops::Range<usize>) -> f64 {
        self.miners[range].iter().sum()
    }

    /// What all validators of a range of indices were paid.
    #[must_use]
    pub fn validators_in(&self, range: std::ops::Range<usize>) -> f64 {
        self.validators[range].iter().sum()
    }
}

impl Epochs {
    /// A subnet before its first epoch.
    ///
    /// With the defence off, bonds are those of the published design, shares of a miner; with it on they are the
    /// ledger's. All other parameters are the defaults of a public network, which both have in common.
    #[must_use]
    pub fn new(stakes: &[u64], miner_count: usize, defence: Defence) -> Self {
        let validator_count = stakes.len();
        let neuron_count = validator_count + miner_count;
        let mut stake = stakes.to_vec();
        stake.resize(neuron_count, 0);
        let tempo = default_of(ParameterId::TempoBlocks);
        let inputs = EpochInputs {
            neuron_count,
            block: tempo,
            tempo,
            activity_cutoff_blocks: tempo,
            stake,
            last_update: vec![1; neuron_count],
            block_at_registration: vec![0; neuron_count],
            validator_permit: (0..neuron_count).map(|uid| uid < validator_count).collect(),
            weights: vec![Vec::new(); neuron_count],
            bonds: vec![Vec::new(); neuron_count],
            kappa: default_u16(ParameterId::Kappa),
            bonds_penalty: default_u16(ParameterId::BondsPenalty),
            bonds_moving_average: default_of(ParameterId::BondsMovingAverage),
            max_allowed_validators: validator_count as u64,
            yuma3: defence.is_on() && default_of(ParameterId::Yuma3) == 1,
            emission: EMISSION,
            ..EpochInputs::default()
        };
        Self {
            inputs,
            validator_count,
        }
    }

    /// How many validators there are.
    #[must_use]
    pub const fn validator_count(&self) -> usize {
        self.validator_count
    }

    /// Gives a validator its permit or takes it away; without one its stake does not even vote 0.
    pub fn permit(&mut self, validator: usize, is_permitted: bool) {
        self.inputs.validator_permit[validator] = is_permitted;
    }

    /// Runs an epoch on one row of weights over the miners for each validator; an empty row is none.
    #[must_use]
    pub fn step(&mut self, rows: &[Vec<f64>]) -> Paid {
        let covered = vec![FULL_PPM; self.validator_count];
        self.step_covered(rows, &covered)
    }

    /// As [`Epochs::step`], with each validator's coverage in parts per million.
    #[must_use]
    pub fn step_covered(&mut self, rows: &[Vec<f64>], coverage_ppm: &[u32]) -> Paid {
        self.step_contested(rows, coverage_ppm, &[])
    }

    /// As [`Epochs::step_covered`], where miners contest what validators say of them: pairs of a validator and a miner by
    /// their indices.
    #[must_use]
    pub fn step_contested(
        &mut self,
        rows: &[Vec<f64>],
        coverage_ppm: &[u32],
        contested: &[(usize, usize)],
    ) -> Paid {
        let outputs = self.run(rows, contested);
        self.inputs.bonds.clone_from(&outputs.bonds);
        self.inputs.last_mechanism_step_block = self.inputs.block;
        self.inputs.block += self.inputs.tempo;
        self.inputs.last_update.fill(self.inputs.block);
        self.paid(&outputs, coverage_ppm)
    }

    /// What the consensus on each miner would be, without running the epoch: anybody who sees all rows can know it.
    #[must_use]
    pub fn consensus(&mut self, rows: &[Vec<f64>]) -> Vec<f64> {
        let outputs = self.run(rows, &[]);
        let miners = &outputs.consensus[self.validator_count..];
        miners.iter().map(|share| f64::from(*share)).collect()
    }

    fn run(&mut self, rows: &[Vec<f64>], contested: &[(usize, usize)]) -> EpochOutputs {
        for (uid, row) in rows.iter().enumerate() {
            self.inputs.weights[uid] = upscaled(row, self.validator_count);
        }
        let uids = |(validator, miner): &(usize, usize)| (uid(*validator), uid(self.validator_count + miner));
        let contested = contested.iter().map(uids).collect();
        self.inputs.weights = fill(&self.inputs.weights, &self.inputs.stake, &contested);
        run(&self.inputs).expect("lists have one length and rows ascend")
    }

    fn paid(&self, outputs: &EpochOutputs, coverage_ppm: &[u32]) -> Paid {
        let half = Amount::from_base_units(EMISSION / 2);
        let dividends = &outputs.validator_emission[..self.validator_count];
        let share = |amount: Amount| amount.base_units() as f64 / EMISSION as f64;
        Paid {
            miners: apportion(half, &outputs.server_emission[self.validator_count..])
                .into_iter()
                .map(share)
                .collect(),
            validators: apportion(half, &covered(dividends, coverage_ppm))
                .into_iter()
                .map(share)
                .collect(),
            consensus: outputs.consensus[self.validator_count..].to_vec(),
        }
    }
}

/// The default of a subnet's parameter on a public network.
#[must_use]
pub fn default_of(id: ParameterId) -> u64 {
    id.row().default_in(Preset::Mainnet)
}

fn default_u16(id: ParameterId) -> u16 {
    u16::try_from(default_of(id)).expect("the table bounds it by u16::MAX")
}

/// A row as the ledger stores it: the largest weight is `u16::MAX`, the first miner's UID is `first_uid`, and what
/// rounds to 0 is left out.
#[must_use]
pub fn upscaled(row: &[f64], first_uid: usize) -> Vec<(u16, u16)> {
    let largest = row.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 {
        return Vec::new();
    }
    let cell = |(miner, weight): (usize, &f64)| {
        (
            uid(first_uid + miner),
            (weight / largest * f64::from(u16::MAX)).round() as u16,
        )
    };
    let cells = row.iter().enumerate().map(cell);
    cells.filter(|(_, weight)| *weight > 0).collect()
}

fn uid(index: usize) -> u16 {
    u16::try_from(index).expect("a subnet has at most 4096 UIDs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_validators_and_miners_share_equally() {
        let mut epochs = Epochs::new(&[100, 100], 2, Defence::Off);
        let paid = epochs.step(&[vec![1.0, 1.0], vec![1.0, 1.0]]);
        for pay in paid.miners.iter().chain(&paid.validators) {
            assert!((pay - 0.25).abs() < 1e-6, "{paid:?}");
        }
    }

    #[test]
    fn coverage_moves_dividends_to_those_who_are_covered() {
        let mut epochs = Epochs::new(&[100, 100, 100], 2, Defence::On);
        let rows = vec![vec![1.0, 1.0]; 3];
        let paid = epochs.step_covered(&rows, &[FULL_PPM, FULL_PPM / 2, 0]);
        assert!((paid.validators[0] - 1.0 / 3.0).abs() < 1e-6, "{paid:?}");
        assert!((paid.validators[1] - 1.0 / 6.0).abs() < 1e-6, "{paid:?}");
        assert_eq!(paid.validators[2], 0.0);
        let held = epochs.step_covered(&rows, &[0, 0, 0]);
        assert_eq!(held.validators.iter().sum::<f64>(), 0.0);
    }

    #[test]
    fn rows_are_scaled_to_their_largest() {
        assert_eq!(upscaled(&[0.5, 0.0, 1.0], 3), [(3, 32768), (5, 65535)]);
        assert_eq!(upscaled(&[0.0, 0.0], 3), []);
    }
}
