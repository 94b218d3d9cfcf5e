//! Validators that give chosen miners more weight than they measured, and what these miners gain by it.
//!
//! Both runs see the same measurements: one with all validators honest, one with the allied ones lifting. The gain is
//! the ratio of what the chosen miners are paid.

use crate::attack::Trial;
use crate::bloc::{Bloc, Court, Falsehood};
use crate::epochs::Epochs;
use crate::evidence::Conduct;
use crate::miners::{Climate, Miners};
use crate::random::Random;
use crate::stakes::normalized;

/// What answers that are always right are worth against those of a median miner, right on three of four items, under
/// the default sharpness: the square of 4/3.
pub const TOLD: f64 = 16.0 / 9.0;

/// Why telling the answers gains something.
pub const TOLD_GAINS: &str = "a validator knows its own questions, so that it can tell its miners the answers and show true \
                              evidence; only clipping limits what that gains";

/// Why forged evidence that nobody can fetch gains something.
pub const FOUND_BY_CHANCE: &str = "of one miner among 64 the beacon picks something in two tempos of five; in the others the forged row \
                                   counts, for the price of a tenth of the stake each time that it is found";

/// What is lifted by whom.
#[derive(Clone, Copy, Debug)]
pub struct Lift {
    /// The validators.
    pub bloc: Bloc,
    /// All miners, worth the same; the chosen ones come first.
    pub miners: usize,
    /// How many are chosen.
    pub chosen: usize,
    /// Noise of measurements.
    pub noise: f64,
    /// What the bloc agrees to give them, in parts of their true weight.
    pub factor: f64,
    /// How the row is false.
    pub falsehood: Falsehood,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lifted {
    /// What the chosen miners were paid, and what they would have been.
    pub miners: (f64, f64),
    /// What the bloc's validators were paid, and what they would have been.
    pub validators: (f64, f64),
    /// Forgeries that were shown.
    pub shown: u32,
}

impl Lift {
    /// Pay with the lift and without, in shares of the emission of one epoch, summed over the epochs.
    #[must_use]
    pub fn run(&self, trial: Trial) -> Lifted {
        let mut random = Random::new("lift", trial.seed);
        let mut evidence = Random::new("lift evidence", trial.seed);
        let miners = Miners::equal(self.miners, Climate::steady(self.noise));
        let mut honest = Epochs::new(&self.bloc.stakes(), self.miners, trial.defence);
        let mut lifting = honest.clone();
        let mut court = Court::new(honest.clone()).forging(0..self.chosen);
        let falsehoods = self.bloc.falsehoods(self.falsehood);
        let conducts = vec![Conduct::Honest; self.bloc.count()];
        let mut lifted = Lifted::default();
        // An epoch before the lift leaves everybody a row that its evidence shows. It is measured without noise, since one
        // draw of it would decide the whole run.
        let rows = vec![vec![1.0; self.miners]; self.bloc.count()];
        let _ = court.step(&rows, &conducts, &vec![None; self.bloc.count()], &mut evidence);
        let _ = (honest.step(&rows), lifting.step(&rows));
        for _ in 0..trial.epochs {
            let rows = miners.measured_by(self.bloc.count(), &mut random);
            let with = self.lift(&rows);
            let fair = honest.step(&rows);
            let paid = if trial.defence.is_on() {
                court.step(&with, &conducts, &falsehoods, &mut evidence)
            } else {
                lifting.step(&with)
            };
            lifted.miners.0 += paid.miners_in(0..self.chosen);
            lifted.miners.1 += fair.miners_in(0..self.chosen);
            lifted.validators.0 += paid.validators_in(self.bloc.members());
            lifted.validators.1 += fair.validators_in(self.bloc.members());
        }
        lifted.shown = court.shown.iter().sum();
        lifted
    }

    fn lift(&self, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut rows = rows.to_vec();
        for row in &mut rows[self.bloc.members()] {
            row[..self.chosen].fill(self.factor / self.miners as f64);
            *row = normalized(std::mem::take(row));
        }
        rows
    }
}

impl Lifted {
    /// What the chosen miners gain: 1 is nothing.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.miners.0 / self.miners.1
    }

    /// What the bloc's validators keep of their dividends.
    #[must_use]
    pub fn kept(&self) -> f64 {
        self.validators.0 / self.validators.1
    }
}
