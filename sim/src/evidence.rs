//! The evidence of modelled validators: which slots each owed, what it would show of those that are picked, and what
//! coverage the ledger's own arithmetic gives for that.
//!
//! Draws, schedule, picks and coverage are those of `agon-evidence`. Modelled is only what a validator did in each
//! slot: asked and got a receipt, asked and got none, or did not ask. Receipts are not signed here; that none can be
//! shown without the miner's signature is the attack `receipts`.

use agon_evidence::coverage::{Account, PPM, coverage};
use agon_evidence::opening::Shown;
use std::ops::Range;

use agon_evidence::Context;
use agon_evidence::sections::Sections;
use agon_evidence::slots::{picks, schedule, trails};
use agon_ledger_state::ParameterId;
use agon_protocol::id::{Digest, Hotkey, Uid};
use agon_protocol::message::WeightsLeaf;

use crate::epochs::{default_of, upscaled};
use crate::ledger::SUBNET;
use crate::random::Random;
use crate::work::TASK;

/// How a validator goes about the slots it owes.
#[derive(Clone, Debug, PartialEq)]
pub enum Conduct {
    /// Asks in every slot and shows what came.
    Honest,
    /// Asks in this share of slots, and claims as much.
    Part(f64),
    /// Asks in every slot, and says that these miners failed whatever they answered.
    Accuses(Vec<usize>),
    /// As [`Conduct::Accuses`], and lets nobody fetch its evidence.
    AccusesUnseen(Vec<usize>),
    /// Asks nobody, and says that everybody failed.
    Idle,
    /// Commits to nothing.
    Silent,
}

/// Coverage of each validator in a tempo of `miner_count` miners, parts per million.
///
/// `fails` says how likely a miner is to fail one request of whoever asks; miners are the UIDs from 0 on.
#[must_use]
pub fn coverage_of(conducts: &[Conduct], fails: &[f64], random: &mut Random) -> Vec<u32> {
    coverage(&accounts_of(conducts, fails, random))
}

/// What each validator claims and shows of a tempo, as [`coverage_of`] counts it.
#[must_use]
pub fn accounts_of(conducts: &[Conduct], fails: &[f64], random: &mut Random) -> Vec<Account> {
    let beacon = Digest(random.bytes());
    let account = |conduct: &Conduct| account(conduct, fails, beacon, random);
    conducts.iter().map(account).collect()
}

fn account(conduct: &Conduct, fails: &[f64], beacon: Digest, random: &mut Random) -> Account {
    let claimed_ppm = match conduct {
        Conduct::Part(share) => (share * f64::from(PPM)) as u32,
        Conduct::Silent => 0,
        Conduct::Honest | Conduct::Accuses(_) | Conduct::AccusesUnseen(_) | Conduct::Idle => PPM,
    };
    let shown = match conduct {
        Conduct::Silent => Vec::new(),
        _ => picked_miners(fails.len(), beacon, random)
            .into_iter()
            .map(|miner| shown(conduct, miner, fails[usize::from(miner.0)], random))
            .collect(),
    };
    Account { claimed_ppm, shown }
}

/// The miners of the picked slots of one validator.
fn picked_miners(miner_count: usize, beacon: Digest, random: &mut Random) -> Vec<Uid> {
    let [rounds, miners, openings] = [
        ParameterId::EvidenceRounds,
        ParameterId::EvidenceMiners,
        ParameterId::EvidenceOpenings,
    ]
    .map(|id| u32::try_from(default_of(id)).expect("the table bounds it by 256"));
    let candidates: Vec<Uid> = (0..=u16::MAX).take(miner_count).map(Uid).collect();
    let outputs: Vec<[u8; 32]> = (0..rounds).map(|_| random.bytes()).collect();
    let slots = schedule(&candidates, &outputs, miners as usize).concat();
    let slot_count = u32::try_from(slots.len()).expect("as many as rounds times miners");
    let picked = picks(beacon, Digest(random.bytes()), slot_count, openings);
    picked.into_iter().map(|slot| slots[slot as usize]).collect()
}

/// Whether an opening shows by itself that evidence is forged: it judges all answers of the miners `forged` otherwise than
/// their answers were, and gives `row`. A picked slot of such a miner shows it, and a trail that starts at one.
#[must_use]
pub fn is_found_by_itself(row: &[f64], forged: &Range<usize>, random: &mut Random) -> bool {
    let beacon = Digest(random.bytes());
    let slots = picked_miners(row.len(), beacon, random);
    let is_forged = |uid: &Uid| forged.contains(&usize::from(uid.0));
    slots.iter().any(is_forged) || trail_starts(row, beacon, random).iter().any(is_forged)
}

/// The miners at whose standings the trails start.
fn trail_starts(row: &[f64], beacon: Digest, random: &mut Random) -> Vec<Uid> {
    let row: Vec<(Uid, u16)> = upscaled(row, 0)
        .into_iter()
        .map(|(uid, weight)| (Uid(uid), weight))
        .collect();
    let weights = WeightsLeaf {
        row,
        unpaid: Vec::new(),
        first_item: 0,
        rounds: Vec::new(),
    };
    // Nothing but the standings matters here, so the tree has nothing else.
    let context = Context {
        genesis: Digest::default(),
        netuid: SUBNET,
        task: TASK,
        tempo: 0,
        beacon,
        validator: Hotkey([0; 32]),
        asker: Hotkey([0; 32]),
        roster: &[],
        at_once: &[],
        rounds: 0,
        miners: 0,
    };
    let leaf_count = u32::try_from(weights.row.len() + 1).expect("few UIDs");
    let sections = Sections::of(&context, leaf_count, &weights).expect("a row by the rules");
    let picked = trails(beacon, Digest(random.bytes()));
    let places = picked
        .iter()
        .enumerate()
        .filter_map(|(number, pick)| sections.picked(number, pick));
    places
        .filter_map(|place| Some(sections.standing(place)?.0))
        .collect()
}

fn shown(conduct: &Conduct, miner: Uid, fails: f64, random: &mut Random) -> Shown {
    let asks = match conduct {
        Conduct::Part(share) => random.chance(*share),
        Conduct::Honest | Conduct::Accuses(_) | Conduct::AccusesUnseen(_) => true,
        Conduct::Idle | Conduct::Silent => false,
    };
    let is_up = !random.chance(fails);
    match conduct {
        Conduct::Idle => Shown::Failed(miner),
        _ if !asks => Shown::NotAsked,
        Conduct::Accuses(accused) | Conduct::AccusesUnseen(accused)
            if accused.contains(&usize::from(miner.0)) =>
        {
            Shown::Failed(miner)
        }
        _ if is_up => Shown::Answered(miner),
        _ => Shown::Failed(miner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn mean_ppm(conduct: Conduct, fails: f64) -> f64 {
        let mut random = Random::new("evidence", 1);
        let mut conducts = vec![Conduct::Honest; 15];
        conducts.push(conduct);
        let fails = vec![fails; 64];
        let tempos = 200;
        let of_last = |_| f64::from(coverage_of(&conducts, &fails, &mut random)[15]);
        (0..tempos).map(of_last).sum::<f64>() / f64::from(tempos)
    }

    #[test]
    fn who_does_all_the_work_is_covered_in_full_and_who_does_none_not_at_all() {
        assert_eq!(mean_ppm(Conduct::Honest, 0.0), f64::from(PPM));
        assert_eq!(mean_ppm(Conduct::Silent, 0.0), 0.0);
        // Without a receipt there is no coverage, whatever others say of the same miners.
        assert_eq!(mean_ppm(Conduct::Idle, 0.0), 0.0);
    }

    /// How often an opening shows a forgery by itself, and how often its trails alone do.
    fn found(row: &[f64], forged: &Range<usize>) -> (f64, f64) {
        let mut random = Random::new("found", 1);
        let tempos = 2_000;
        let (mut by_all, mut by_trails) = (0, 0);
        for _ in 0..tempos {
            by_all += u32::from(is_found_by_itself(row, forged, &mut random));
            let beacon = Digest(random.bytes());
            let starts = trail_starts(row, beacon, &mut random);
            by_trails += u32::from(starts.iter().any(|uid| forged.contains(&usize::from(uid.0))));
        }
        (
            f64::from(by_all) / f64::from(tempos),
            f64::from(by_trails) / f64::from(tempos),
        )
    }

    #[test]
    fn forged_evidence_that_nobody_can_fetch_is_found_as_often_as_chance_has_it() {
        // A cabal forges the answers of a fifth of the miners, and weights them as all others or tenfold.
        let (all, trails) = found(&[1.0; 64], &(0..13));
        let share: f64 = 13.0 / 64.0;
        assert!((trails - (1.0 - (1.0 - share).powi(4))).abs() < 0.04, "{trails}");
        assert!(all > 0.97, "{all}");
        let mut lifted = [1.0; 64];
        lifted[..13].fill(10.0);
        let (all, trails) = found(&lifted, &(0..13));
        assert!(all > 0.99 && trails > 0.9, "{all} {trails}");
        // One miner of 64, lifted tenfold: in more than a third of the tempos.
        let mut lifted = [1.0; 64];
        lifted[0] = 10.0;
        let (all, trails) = found(&lifted, &(0..1));
        assert!((0.36..0.52).contains(&all) && trails > 0.2, "{all} {trails}");
        assert_eq!(found(&[1.0; 64], &(0..0)), (0.0, 0.0));
    }

    #[test]
    fn part_of_the_work_is_covered_in_part() {
        let tenth = mean_ppm(Conduct::Part(0.1), 0.0);
        assert!((0.05..=0.1).contains(&(tenth / f64::from(PPM))), "{tenth}");
    }

    #[test]
    fn failures_that_everybody_sees_cost_what_they_deserve() {
        let honest = mean_ppm(Conduct::Honest, 0.02) / f64::from(PPM);
        // Where few others opened a slot of the same miner, a failure is not excused.
        assert!((0.97..1.0).contains(&honest), "{honest}");
    }
}
