//! B1, many UIDs of one machine.
//!
//! Off: every UID is paid for the quality of its answers; a machine with 32 UIDs is paid 32 times, and the figures to
//! be met are its shares among 63 others. Each UID answers under a seed of its own, so that none is a clone.
//! On: pay is quality times work proven in bursts that reach all UIDs at once; two bursts in each epoch. The operator
//! joins when the others have proven what they can do. Its share with k UIDs and with one is measured over the same
//! bursts from the first on, so that what a UID loses as a newcomer is in the figure, once.
//!
//! Who speaks with whose voice is found from each UID's answers; their rating is one, that of their one model, since
//! the chance of a window is not what is asked for.

use agon_scoring::capacity::Capacity;
use agon_scoring::rating::Standing;
use agon_scoring::weights::WeightPolicy;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bursts::{Machine, burst};
use crate::contest::{Answer, Model, pays, standings};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Sybil;

impl Attack for Sybil {
    fn name(&self) -> &'static str {
        "sybil"
    }

    fn row(&self) -> &'static str {
        "B1"
    }

    fn about(&self) -> &'static str {
        "An operator registers many UIDs and serves them all from one machine."
    }

    fn figure(&self) -> &'static str {
        "the operator's share of all pay over its share with one UID"
    }

    fn defence(&self) -> &'static str {
        "Pay follows work proven in bursts that reach every UID at the same moment."
    }

    fn cases(&self) -> Vec<Case> {
        let measured = [(2, 1.97), (4, 3.82), (8, 7.2), (32, 21.6)];
        let case = |(count, off)| Case {
            label: format!("{count} UIDs beside 63 machines"),
            off: Bound::Near(off),
            on: Bound::AtMost(1.02),
            open: None,
            explores: false,
            measure: Box::new(move |trial| share(count, trial) / share(1, trial)),
        };
        measured.map(case).into()
    }
}

/// Machines of others, one UID each.
const OTHERS: u16 = 63;
/// Answers at once that each machine can give.
const AT_ONCE: u32 = 32;
const LOST: f64 = 0.005;
const MODEL: Model = Model::right_on(0.9);
const BURSTS_IN_EPOCH: u32 = 2;
/// Bursts before the operator joins.
const BURSTS_BEFORE: u32 = 32;

fn share(uids: u16, trial: Trial) -> f64 {
    let mut random = Random::new("sybil", trial.seed);
    let mut standings = of_one_model(OTHERS + uids, &mut random);
    let policy = WeightPolicy {
        pays_work: trial.defence.is_on(),
        ..WeightPolicy::default()
    };
    if !trial.defence.is_on() {
        return operators_share(&pays(&standings, &policy, trial.defence));
    }
    let (machines, mut capacity) = (machines(uids), Capacity::default());
    for _ in 0..BURSTS_BEFORE {
        burst(&machines[..usize::from(OTHERS)], &mut capacity, &mut random);
    }
    let bursts = trial.epochs * BURSTS_IN_EPOCH;
    let mut sum = 0.0;
    for _ in 0..bursts {
        burst(&machines, &mut capacity, &mut random);
        capacity.measure(&mut standings);
        sum += operators_share(&pays(&standings, &policy, trial.defence));
    }
    sum / f64::from(bursts)
}

/// Miners of one model with a seed each, all rated at their mean.
fn of_one_model(uids: u16, random: &mut Random) -> Vec<Standing> {
    let mut standings = standings(|| -> Vec<Answer> { (0..uids).map(|_| MODEL.answer(random)).collect() });
    let sum: u32 = standings.iter().map(|standing| standing.rating_ppm).sum();
    for standing in &mut standings {
        standing.rating_ppm = sum / u32::from(uids);
    }
    standings
}

fn operators_share(pays: &[f64]) -> f64 {
    pays[usize::from(OTHERS)..].iter().sum::<f64>() / pays.iter().sum::<f64>()
}

/// The others, then the operator's machine, whose UIDs share what it can do and declare no more.
fn machines(uids: u16) -> Vec<Machine> {
    let machine = |uids: std::ops::Range<u16>, declared| Machine {
        at_once: AT_ONCE,
        uids,
        declared,
        lost: LOST,
    };
    let mut machines: Vec<Machine> = (0..OTHERS).map(|uid| machine(uid..uid + 1, AT_ONCE)).collect();
    machines.push(machine(OTHERS..OTHERS + uids, AT_ONCE.div_ceil(u32::from(uids))));
    machines
}
