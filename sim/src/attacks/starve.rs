//! A10, small validators are starved: a miner serves only the validators with the most stake.
//!
//! Off: a challenge names who asks. The miner keeps the weight of those it serves and saves the work for the others.
//! On: the subnet is asked in sessions (`evidence_sessions` 1). The miner sees the tempo's session keys and tags, here
//! real ones, and after each tempo whose they were, since commits show it. It serves whom it recognises as large, and
//! the lowest keys where it recognises too few.
//! Where the subnet takes contests (`evidence_contests` 1) it contests the failures that the others claim, with receipts
//! that it signs late; that pays once it serves most of them by number, which is why contests are off by default.
//!
//! A session hides no address. The last case is of a miner that knows the validators by theirs.

use std::collections::BTreeMap;

use agon_protocol::id::{Digest, Netuid};
use agon_protocol::session::SessionInput;
use agon_protocol::sign::Keypair;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::bloc::all_covered;
use crate::epochs::Epochs;
use crate::miners::{Climate, Miners};
use crate::random::Random;
use crate::stakes::{StakeTable, base_units};

/// The attack.
#[derive(Debug)]
pub(super) struct Starve;

impl Attack for Starve {
    fn name(&self) -> &'static str {
        "starve-small"
    }

    fn row(&self) -> &'static str {
        "A10"
    }

    fn about(&self) -> &'static str {
        "A miner answers only the validators with the most stake."
    }

    fn figure(&self) -> &'static str {
        "income per answered request, selective over honest miner"
    }

    fn defence(&self) -> &'static str {
        "Validators ask by a key of the tempo, which a commit shows to be theirs when they have asked everything."
    }

    fn cases(&self) -> Vec<Case> {
        vec![
            case(4, Knows::Sessions, 2.3),
            case(5, Knows::Sessions, 2.1),
            case(12, Knows::Sessions, 1.16),
            case(12, Knows::SessionsAndContests, 1.16),
            total(),
            case(4, Knows::Addresses, 2.3),
        ]
    }
}

const VALIDATORS: usize = 16;
const MINERS: usize = 64;
/// Why the bound is missed where validators are known by their addresses.
const ADDRESSES_TELL: &str = "a session hides no address, and commits tell whose it was in tempos before";

/// Why it is missed where the subnet takes contests.
const CONTESTS_PAY: &str = "nobody can tell a receipt that was signed late from one that a validator hides";

/// By what the miner tells validators apart where they ask in sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    /// Keys and tags.
    Sessions,
    /// The same, where the subnet takes contests.
    SessionsAndContests,
    /// The addresses that requests come from.
    Addresses,
}

fn case(served: usize, knows: Knows, off: f64) -> Case {
    let by = match knows {
        Knows::Sessions => "",
        Knows::SessionsAndContests => ", and contests what the others claim",
        Knows::Addresses => ", which it knows by their addresses",
    };
    Case {
        label: format!("answers {served} of 16 validators, five large stakes{by}"),
        off: Bound::Near(off),
        on: Bound::AtMost(1.0),
        open: match knows {
            Knows::Sessions => None,
            Knows::SessionsAndContests => Some(CONTESTS_PAY),
            Knows::Addresses => Some(ADDRESSES_TELL),
        },
        explores: false,
        measure: Box::new(move |trial| income(served, knows, trial) / (served as f64 / VALIDATORS as f64)),
    }
}

fn total() -> Case {
    Case {
        label: String::from("answers 4 of 16 validators: all its income over that of an honest miner"),
        off: Bound::Near(0.55),
        on: Bound::AtMost(0.5),
        open: None,
        explores: false,
        measure: Box::new(|trial| income(4, Knows::Sessions, trial)),
    }
}

/// Income of the selective miner over what it would be with honest work.
fn income(served: usize, knows: Knows, trial: Trial) -> f64 {
    let mut random = Random::new("starve-small", trial.seed);
    let miners = Miners::equal(MINERS, Climate::steady(0.1));
    let stakes = base_units(&StakeTable::TopFive.shares(VALIDATORS));
    let mut honest = Epochs::new(&stakes, MINERS, trial.defence);
    let mut epochs = honest.clone();
    let in_sessions = trial.defence.is_on() && knows != Knows::Addresses;
    let contests = trial.defence.is_on() && knows == Knows::SessionsAndContests;
    let mut seen = in_sessions.then(|| Seen::new(trial.seed));
    let (mut selective, mut fair) = (0.0, 0.0);
    for tempo in 0..trial.epochs {
        let mut rows = miners.measured_by(VALIDATORS, &mut random);
        fair += honest.step(&rows).miners[0];
        // Validators stand in the order of their stakes.
        let chosen = match &mut seen {
            Some(seen) => seen.choose(served, tempo.into()),
            None => (0..served).collect(),
        };
        let others: Vec<usize> = (0..VALIDATORS).filter(|place| !chosen.contains(place)).collect();
        others.iter().for_each(|place| rows[*place][0] = 0.0);
        let contested: Vec<(usize, usize)> = match contests {
            true => others.iter().map(|place| (*place, 0)).collect(),
            false => Vec::new(),
        };
        let paid = epochs.step_contested(&rows, &all_covered(VALIDATORS), &contested);
        selective += paid.miners[0];
    }
    selective / fair
}

/// The validators' keys, and what a miner has seen of their sessions.
struct Seen {
    hotkeys: Vec<Keypair>,
    /// Keys and tags of past tempos, with the place of whose they were.
    linked: BTreeMap<[u8; 32], usize>,
}

impl Seen {
    fn new(seed: u64) -> Self {
        let mut keys = Random::new("starve-small hotkeys", seed);
        let hotkeys = (0..VALIDATORS).map(|_| Keypair::from_mini_secret(&keys.bytes()));
        Self {
            hotkeys: hotkeys.collect(),
            linked: BTreeMap::new(),
        }
    }

    /// Whom the miner serves in `tempo`: those it recognises, the largest first, then the lowest keys. When the tempo is
    /// over it learns whose sessions these were.
    fn choose(&mut self, served: usize, tempo: u64) -> Vec<usize> {
        let input = SessionInput {
            genesis: Digest([1; 32]),
            netuid: Netuid(1),
            tempo,
        };
        let sessions = self.hotkeys.iter().map(|hotkey| {
            let session = hotkey.session(&input);
            [session.pair.public(), session.tag]
        });
        let sessions: Vec<[[u8; 32]; 2]> = sessions.collect();
        let known = |bytes: &[u8; 32]| self.linked.get(bytes).copied();
        let rank = |place: &usize| {
            let session = &sessions[*place];
            let recognised = session.iter().find_map(known);
            (recognised.unwrap_or(VALIDATORS), session[0])
        };
        let mut places: Vec<usize> = (0..VALIDATORS).collect();
        places.sort_by_key(rank);
        places.truncate(served);
        for (place, session) in sessions.iter().enumerate() {
            self.linked.extend(session.map(|bytes| (bytes, place)));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Defence::{Off, On};

    #[test]
    fn what_commits_told_of_sessions_says_nothing_of_the_next_tempos() {
        let mut seen = Seen::new(1);
        let tempos = 40;
        let mut served = [0; VALIDATORS];
        for tempo in 0..tempos {
            for place in seen.choose(4, tempo) {
                served[place] += 1;
            }
        }
        assert_eq!(
            seen.linked.len(),
            2 * VALIDATORS * tempos as usize,
            "no key and no tag came twice"
        );
        // Four of sixteen in each of 40 tempos are 50 for the five large ones, give or take 6; they alone would be 160.
        let large: u32 = served[..5].iter().sum();
        assert!((25..=75).contains(&large), "{served:?}");
    }

    #[test]
    fn who_is_recognised_is_served_first() {
        let mut seen = Seen::new(1);
        seen.choose(4, 7);
        assert_eq!(seen.choose(4, 7), [0, 1, 2, 3]);
    }

    #[test]
    fn selective_answers_pay_where_requests_tell_who_asks_and_not_in_sessions() {
        let mean = |served, knows, defence| {
            let run = |seed| {
                let trial = Trial {
                    defence,
                    epochs: 40,
                    seed,
                };
                income(served, knows, trial)
            };
            (0..4).map(run).sum::<f64>() / 4.0
        };
        let per_request = |income: f64| income * 4.0;
        let (off, on) = (mean(4, Knows::Sessions, Off), mean(4, Knows::Sessions, On));
        let by_address = mean(4, Knows::Addresses, On);
        println!(
            "income per request: off {:.3}, in sessions {:.3}, by address {:.3}",
            per_request(off),
            per_request(on),
            per_request(by_address)
        );
        assert!(per_request(off) > 2.0 && per_request(by_address) > 2.0);
        assert!(per_request(on) < 1.0 && on < 0.5);
    }
}
