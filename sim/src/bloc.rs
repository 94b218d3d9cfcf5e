//! Validators of which some follow a leader, and what becomes of those once their weights are shown to be forged.

use std::ops::Range;

use agon_evidence::coverage::{Account, coverage};
use agon_evidence::opening::Shown;

use crate::epochs::{Epochs, FULL_PPM, Paid};
use crate::evidence::{Conduct, accounts_of, is_found_by_itself};
use crate::random::Random;
use crate::stakes::{StakeTable, base_units};

/// Tempos without a permit after a forgery was shown: that of the proof and the next.
const TEMPOS_BARRED: u32 = 2;
/// Share of its own stake that a validator loses for a forgery.
pub const SLASH: f64 = 0.1;
/// Share of requests that a miner fails of whoever asks.
pub const MINERS_FAIL: f64 = 0.01;

/// How a row comes not to be what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Falsehood {
    /// The evidence says the same, in a step that does not follow and that anyone can repeat.
    InEvidence,
    /// The same, in evidence that the validator lets nobody fetch: it is found by what it has to open.
    Unseen,
    /// The evidence is true, and another row is revealed.
    BesidesEvidence,
    /// The evidence follows, since the validator helped its miners to what they were measured by.
    InAnswers,
}

impl Falsehood {
    /// Its name in labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InEvidence => "forged in the evidence",
            Self::Unseen => "forged in evidence that nobody can fetch",
            Self::BesidesEvidence => "another row than in the evidence",
            Self::InAnswers => "miners are told the answers",
        }
    }
}

/// Honest validators first, then the allied ones; stake is spread alike within each camp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bloc {
    /// Honest validators.
    pub honest: usize,
    /// Validators of the bloc, at least one.
    pub allied: usize,
    /// Share of all stake that the bloc holds.
    pub share: f64,
    /// How each camp's stake is spread over its validators.
    pub table: StakeTable,
}

impl Bloc {
    /// A bloc with this share of the stake and as much of `validators`, but for one on each side.
    #[must_use]
    pub fn new(validators: usize, share: f64) -> Self {
        let honest = (validators as f64 * (1.0 - share)).round() as usize;
        let honest = honest.clamp(1, validators - 1);
        Self {
            honest,
            allied: validators - honest,
            share,
            table: StakeTable::Equal,
        }
    }

    /// The same camps with their stake spread by another table.
    #[must_use]
    pub const fn spread(self, table: StakeTable) -> Self {
        Self { table, ..self }
    }

    /// One validator with this share of the stake beside `validators - 1` others.
    #[must_use]
    pub const fn alone(validators: usize, share: f64) -> Self {
        Self {
            honest: validators - 1,
            allied: 1,
            share,
            table: StakeTable::Equal,
        }
    }

    /// All validators.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.honest + self.allied
    }

    /// Indices of the bloc.
    #[must_use]
    pub const fn members(&self) -> std::ops::Range<usize> {
        self.honest..self.count()
    }

    /// In which way each validator's row is false, when the bloc's are false in this way.
    #[must_use]
    pub fn falsehoods(&self, falsehood: Falsehood) -> Vec<Option<Falsehood>> {
        let of = |index| self.members().contains(&index).then_some(falsehood);
        (0..self.count()).map(of).collect()
    }

    /// Stake of each, in base units.
    #[must_use]
    pub fn stakes(&self) -> Vec<u64> {
        let camp = |count, stake: f64| {
            self.table
                .shares(count)
                .into_iter()
                .map(move |share| share * stake)
        };
        let honest = camp(self.honest, 1.0 - self.share);
        let shares: Vec<f64> = honest.chain(camp(self.allied, self.share)).collect();
        base_units(&shares)
    }
}

/// A subnet under the ledger's rules about evidence, for validators of which some forge.
///
/// A forged row is shown to the ledger while it waits for its epoch: evidence is committed one tempo before the epoch
/// that pays for it. The row goes, the permit is gone for `TEMPOS_BARRED` tempos, coverage is 0 and a share of the
/// stake is lost. Then the validator is back, and may forge again.
///
/// Evidence that nobody can fetch is found in the tempos in which the beacon picks something of what is forged, by the
/// picks that the ledger makes; then the same follows.
///
/// A row that is not the one in the evidence does not count: the newest that the evidence showed stands in its place, and
/// the validator is not paid. What a row says of a miner that posted its receipt against the failure that the evidence
/// claims is filled in by the function that the ledger uses.
#[derive(Clone, Debug)]
pub struct Court {
    epochs: Epochs,
    barred: Vec<u32>,
    /// The newest row of each validator that its evidence showed.
    backed: Vec<Vec<f64>>,
    /// Miners whose answers are forged in evidence that nobody can fetch.
    forged: Range<usize>,
    /// Whether the subnet takes contests.
    takes_contests: bool,
    /// Forgeries that were shown, for each validator.
    pub shown: Vec<u32>,
}

impl Court {
    /// A subnet before its first epoch.
    #[must_use]
    pub fn new(epochs: Epochs) -> Self {
        let count = epochs.validator_count();
        Self {
            epochs,
            barred: vec![0; count],
            backed: vec![Vec::new(); count],
            forged: 0..0,
            takes_contests: false,
            shown: vec![0; count],
        }
    }

    /// The same, where evidence that nobody can fetch forges the answers of these miners.
    #[must_use]
    pub fn forging(self, forged: Range<usize>) -> Self {
        Self { forged, ..self }
    }

    /// The same, where the subnet takes contests.
    #[must_use]
    pub fn with_contests(self) -> Self {
        Self {
            takes_contests: true,
            ..self
        }
    }

    /// Runs an epoch in which the validators hand in rows that are false in these ways. Where the subnet takes contests,
    /// miners contest what is claimed of them as `contests` has it.
    #[must_use]
    pub fn step(
        &mut self,
        rows: &[Vec<f64>],
        conducts: &[Conduct],
        falsehoods: &[Option<Falsehood>],
        random: &mut Random,
    ) -> Paid {
        let miner_count = rows.first().map_or(0, Vec::len);
        let accounts = accounts_of(conducts, &vec![MINERS_FAIL; miner_count], random);
        let mut coverage = coverage(&accounts);
        let mut rows = rows.to_vec();
        for (validator, row) in rows.iter_mut().enumerate() {
            let is_free = self.barred[validator] == 0;
            let is_shown = match falsehoods[validator] {
                Some(Falsehood::InEvidence) => is_free,
                Some(Falsehood::Unseen) => is_free && is_found_by_itself(row, &self.forged, random),
                _ => false,
            };
            match falsehoods[validator] {
                _ if is_shown => {
                    self.barred[validator] = TEMPOS_BARRED;
                    self.shown[validator] += 1;
                }
                Some(Falsehood::BesidesEvidence) => {
                    row.clone_from(&self.backed[validator]);
                    coverage[validator] = 0;
                }
                _ => self.backed[validator].clone_from(row),
            }
            let is_barred = self.barred[validator] > 0;
            self.epochs.permit(validator, !is_barred);
            if is_barred {
                self.barred[validator] -= 1;
                row.clear();
                coverage[validator] = 0;
            }
        }
        let contested = match self.takes_contests {
            true => contests(conducts, &accounts),
            false => Vec::new(),
        };
        self.epochs.step_contested(&rows, &coverage, &contested)
    }
}

/// Pairs of a validator and a miner whose failure is contested, both by their indices: an accused miner contests every
/// failure that it did not have and that it finds in evidence, and what picked slots show is contested by itself.
fn contests(conducts: &[Conduct], accounts: &[Account]) -> Vec<(usize, usize)> {
    let mut contested = Vec::new();
    for (validator, (conduct, account)) in conducts.iter().zip(accounts).enumerate() {
        if let Conduct::Accuses(accused) = conduct {
            contested.extend(accused.iter().map(|miner| (validator, *miner)));
        }
        for shown in &account.shown {
            if let Shown::Failed(miner) = shown {
                contested.push((validator, usize::from(miner.0)));
            }
        }
    }
    contested
}

/// Full coverage for everybody: the rules of a subnet without evidence.
#[must_use]
pub fn all_covered(count: usize) -> Vec<u32> {
    vec![FULL_PPM; count]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Defence;

    #[test]
    fn a_bloc_has_its_share_of_stake_and_one_validator_at_least_stays_honest() {
        let bloc = Bloc::new(16, 0.4);
        assert_eq!((bloc.honest, bloc.allied), (10, 6));
        let stakes = bloc.stakes();
        let allied: u64 = stakes[bloc.members()].iter().sum();
        let all: u64 = stakes.iter().sum();
        assert!((allied as f64 / all as f64 - 0.4).abs() < 1e-9);
        assert_eq!(Bloc::new(4, 0.99).honest, 1);
    }

    #[test]
    fn a_bloc_keeps_its_share_however_it_is_spread() {
        for table in StakeTable::ALL {
            let bloc = Bloc::new(16, 0.45).spread(table);
            let stakes = bloc.stakes();
            let allied: u64 = stakes[bloc.members()].iter().sum();
            let all: u64 = stakes.iter().sum();
            assert!((allied as f64 / all as f64 - 0.45).abs() < 1e-9, "{table}");
            let is_uneven = stakes[0] > stakes[bloc.honest - 1] && stakes[bloc.honest] > stakes[15];
            assert_eq!(is_uneven, table != StakeTable::Equal, "{table}");
        }
    }

    #[test]
    fn a_forged_row_neither_counts_nor_earns_whatever_the_stake_behind_it() {
        let bloc = Bloc::new(4, 0.75);
        let mut court = Court::new(Epochs::new(&bloc.stakes(), 2, Defence::On));
        let forged = bloc.falsehoods(Falsehood::InEvidence);
        let mut rows = vec![vec![1.0, 1.0]; 1];
        rows.extend(vec![vec![0.0, 1.0]; 3]);
        let mut random = Random::new("court", 1);
        for _ in 0..5 {
            let paid = court.step(&rows, &vec![Conduct::Honest; 4], &forged, &mut random);
            assert_eq!(paid.validators_in(bloc.members()), 0.0);
            assert!((paid.miners[0] - paid.miners[1]).abs() < 1e-6, "{paid:?}");
        }
        assert_eq!(court.shown, [0, 3, 3, 3], "in the first, third and fifth epoch");
    }

    #[test]
    fn a_row_beside_the_evidence_leaves_the_one_before_and_earns_nothing() {
        let bloc = Bloc::new(4, 0.75);
        let mut court = Court::new(Epochs::new(&bloc.stakes(), 2, Defence::On));
        let (fair, lifted) = (vec![1.0, 1.0], vec![0.0, 1.0]);
        let conducts = vec![Conduct::Honest; 4];
        let mut random = Random::new("court", 1);
        let mut step = |rows: &[Vec<f64>], falsehoods: &[Option<Falsehood>]| {
            court.step(rows, &conducts, falsehoods, &mut random)
        };
        let _ = step(&vec![fair.clone(); 4], &[None; 4]);
        let rows = [fair, lifted.clone(), lifted.clone(), lifted];
        let paid = step(&rows, &bloc.falsehoods(Falsehood::BesidesEvidence));
        assert_eq!(paid.validators_in(bloc.members()), 0.0);
        assert!((paid.miners[0] - paid.miners[1]).abs() < 1e-6, "{paid:?}");
        let paid = step(&rows, &[None; 4]);
        assert!(
            paid.miners[1] > 2.0 * paid.miners[0],
            "it counts where it is shown: {paid:?}"
        );
    }
}
