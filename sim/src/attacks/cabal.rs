//! A3, a cabal: validators with a minority of the stake weight their own miners and nobody else.
//!
//! As in the two-team game of the published design: honest validators give the cabal's miners the share `u` of their
//! weight, its true utility, and all miners measure alike but for noise; the cabal gives its own miners everything.
//! A fair share is half of the emission by stake and half by utility.
//!
//! On: a row that does not follow from its evidence is shown to the ledger before it pays ([`Court`]). The rows of
//! the cabal cannot follow from evidence, since its validators draw all miners alike. Where it commits to true evidence
//! and reveals another row, that row does not count, and what its evidence showed before the game stands.

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bloc::{Bloc, Court, Falsehood};
use crate::epochs::Epochs;
use crate::evidence::Conduct;
use crate::random::Random;
use crate::stakes::{StakeTable, normalized};

/// The attack.
#[derive(Debug)]
pub(super) struct Cabal;

/// One setting of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) validators: usize,
    pub(super) miners: usize,
    /// The cabal's share of the stake.
    pub(super) stake: f64,
    /// The cabal's share of what miners are worth; it runs a quarter of them.
    pub(super) utility: f64,
    pub(super) noise: f64,
    pub(super) stakes: StakeTable,
    pub(super) falsehood: Falsehood,
}

impl Attack for Cabal {
    fn name(&self) -> &'static str {
        "cabal"
    }

    fn row(&self) -> &'static str {
        "A3"
    }

    fn about(&self) -> &'static str {
        "Validators with a minority of the stake give all weight to miners of their own."
    }

    fn figure(&self) -> &'static str {
        "the cabal's emission over its fair share, half by stake and half by utility"
    }

    fn defence(&self) -> &'static str {
        "Weights can be recomputed from evidence; a row that does not follow is shown to the ledger and does not count."
    }

    fn cases(&self) -> Vec<Case> {
        const MEASURED: [(f64, f64); 4] = [(0.4, 1.22), (0.45, 1.44), (0.49, 1.41), (0.3, 1.0)];
        let measured = MEASURED
            .iter()
            .map(|&(stake, ratio)| case(Setting { stake, ..PLAIN }, Bound::Near(ratio)));
        let besides = Setting {
            stake: 0.45,
            falsehood: Falsehood::BesidesEvidence,
            ..PLAIN
        };
        let unseen = Setting {
            falsehood: Falsehood::Unseen,
            ..besides
        };
        measured
            .chain([case(besides, Bound::Near(1.44)), case(unseen, Bound::Near(1.44))])
            .chain(explored())
            .collect()
    }
}

pub(super) const PLAIN: Setting = Setting {
    validators: 16,
    miners: 64,
    stake: 0.4,
    utility: 0.3,
    noise: 0.4,
    stakes: StakeTable::Equal,
    falsehood: Falsehood::InEvidence,
};

fn explored() -> Vec<Case> {
    let sizes = [(16, 256), (64, 64), (64, 256)];
    let setting = |(validators, miners)| Setting {
        validators,
        miners,
        stake: 0.45,
        ..PLAIN
    };
    let sizes = sizes.map(setting).into_iter();
    let spread = elsewhere(Setting { stake: 0.45, ..PLAIN });
    let explored = sizes.chain(spread).map(|setting| Case {
        explores: true,
        ..case(setting, Bound::AtLeast(1.02))
    });
    explored.collect()
}

/// A setting under other noise and other tables of stake, and in a large subnet with heavy-tailed stakes.
///
/// Not with noise 0.1: consensus is so sharp there that a cabal with 0.45 of the stake earns 0.94 to 0.98 of its fair
/// share without any defence.
pub(super) fn elsewhere(plain: Setting) -> Vec<Setting> {
    let mut settings: Vec<Setting> = [0.2, 0.3].map(|noise| Setting { noise, ..plain }).into();
    for stakes in [StakeTable::TopFive, StakeTable::HeavyTailed] {
        settings.extend([0.3, 0.4].map(|noise| Setting {
            noise,
            stakes,
            ..plain
        }));
    }
    settings.push(Setting {
        validators: 64,
        miners: 256,
        stakes: StakeTable::HeavyTailed,
        ..plain
    });
    settings
}

fn case(setting: Setting, off: Bound) -> Case {
    Case {
        label: label(&setting),
        off,
        on: Bound::AtMost(1.02),
        open: None,
        explores: false,
        measure: Box::new(move |trial| emission(&setting, trial) / fair(&setting)),
    }
}

pub(super) fn label(setting: &Setting) -> String {
    let Setting {
        validators,
        miners,
        stake,
        utility,
        noise,
        stakes,
        falsehood,
    } = setting;
    format!(
        "{validators} validators, {miners} miners, {stakes}, stake {stake}, utility {utility}, noise {noise}, {}",
        falsehood.name()
    )
}

/// What the cabal would get by stake and utility alone.
pub(super) fn fair(setting: &Setting) -> f64 {
    (setting.stake + setting.utility) / 2.0
}

/// The cabal's share of all emission.
pub(super) fn emission(setting: &Setting, trial: Trial) -> f64 {
    let mut random = Random::new("cabal", trial.seed);
    let bloc = Bloc::new(setting.validators, setting.stake).spread(setting.stakes);
    let own = setting.miners - setting.miners / 4..setting.miners;
    let mut epochs = Epochs::new(&bloc.stakes(), setting.miners, trial.defence);
    // Its rows give others nothing, so that the answers of all are forged.
    let mut court = Court::new(epochs.clone()).forging(0..setting.miners);
    let conducts = vec![Conduct::Honest; bloc.count()];
    let falsehoods = bloc.falsehoods(setting.falsehood);
    let mut sum = 0.0;
    if setting.falsehood == Falsehood::BesidesEvidence {
        // An epoch before the game leaves everybody a row that its evidence shows. It is measured without noise, since
        // one draw of it would decide the whole run.
        let exact = Setting {
            noise: 0.0,
            ..*setting
        };
        let all = Bloc {
            honest: bloc.count(),
            allied: 0,
            ..bloc
        };
        let _ = court.step(
            &rows(&exact, &all, &mut random),
            &conducts,
            &vec![None; bloc.count()],
            &mut random,
        );
    }
    for _ in 0..trial.epochs {
        let rows = rows(setting, &bloc, &mut random);
        let paid = if trial.defence.is_on() {
            court.step(&rows, &conducts, &falsehoods, &mut random)
        } else {
            epochs.step(&rows)
        };
        sum += paid.miners_in(own.clone()) + paid.validators_in(bloc.members());
    }
    sum / f64::from(trial.epochs)
}

fn rows(setting: &Setting, bloc: &Bloc, random: &mut Random) -> Vec<Vec<f64>> {
    let own = setting.miners / 4;
    let others = setting.miners - own;
    let (utility, noise) = (setting.utility, setting.noise);
    let mut rows = Vec::with_capacity(bloc.count());
    for _ in 0..bloc.honest {
        let mut row = scaled(alike(others, noise, random), 1.0 - utility);
        row.extend(scaled(alike(own, noise, random), utility));
        rows.push(row);
    }
    for _ in 0..bloc.allied {
        let mut row = vec![0.0; others];
        row.extend(alike(own, noise, random));
        rows.push(row);
    }
    rows
}

/// Weights of miners that are worth the same, measured with noise: shares of one.
fn alike(count: usize, noise: f64, random: &mut Random) -> Vec<f64> {
    normalized(
        (0..count)
            .map(|_| (1.0 + noise * random.normal()).max(0.0))
            .collect(),
    )
}

fn scaled(row: Vec<f64>, factor: f64) -> Vec<f64> {
    row.into_iter().map(|weight| weight * factor).collect()
}
