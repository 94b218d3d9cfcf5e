//! The ways to cheat, one file each.

mod accuse;
mod bribe;
mod cabal;
mod churn;
mod collude;
mod copy;
mod decoys;
mod equivocate;
mod grind;
mod grow;
mod halt;
mod lazy;
mod majority;
mod memorise;
mod overdeclare;
mod own;
mod owner;
mod receipts;
mod relay;
mod reveal;
mod starve;
mod sybil;
mod withhold;

use crate::attack::Attack;

/// Every attack, in the order of its rows.
pub const ATTACKS: [&dyn Attack; 23] = [
    &copy::Copy,
    &reveal::Reveal,
    &cabal::Cabal,
    &majority::Majority,
    &own::Own,
    &bribe::Bribe,
    &lazy::Lazy,
    &accuse::Accuse,
    &starve::Starve,
    &owner::Owner,
    &sybil::Sybil,
    &relay::Relay,
    &memorise::Memorise,
    &overdeclare::Overdeclare,
    &decoys::Decoys,
    &collude::Collude,
    &churn::Churn,
    &grind::Grind,
    &withhold::Withhold,
    &equivocate::Equivocate,
    &receipts::Receipts,
    &grow::Grow,
    &halt::Halt,
];

/// The attack of a name or row.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Attack> {
    let is_named = |attack: &&&dyn Attack| attack.name() == name || attack.row().eq_ignore_ascii_case(name);
    ATTACKS.iter().find(is_named).copied()
}

/// A row of the table of attacks that needs real processes, and where it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The row.
    pub row: &'static str,
    /// What the attacker does.
    pub about: &'static str,
    /// Where it is tried.
    pub tried_in: &'static str,
}

/// Rows that are not simulated, since what they attack is a process, a socket or a build.
pub const ELSEWHERE: [Elsewhere; 9] = [
    Elsewhere {
        row: "A9",
        about: "Crashes validators by crafted answers.",
        tried_in: "fuzz, miner/tests/hostile and tests/verify",
    },
    Elsewhere {
        row: "B3",
        about: "Has another model answer where one is pinned.",
        tried_in: "tests/verify and `cargo xtask verify-bench`",
    },
    Elsewhere {
        row: "B4",
        about: "Serves a smaller or quantised model on a part of all requests.",
        tried_in: "tests/verify and `cargo xtask verify-bench`",
    },
    Elsewhere {
        row: "B6",
        about: "Keeps earlier answers in a cache.",
        tried_in: "`memorise`, whose memory is such a cache",
    },
    Elsewhere {
        row: "B7",
        about: "Answers fast and badly, or too short.",
        tried_in: "subnets/src/inference.rs: speed pays up to its target, another length nothing",
    },
    Elsewhere {
        row: "B12",
        about: "Posts answers before the challenge exists.",
        tried_in: "miner/src/admission and evidence/src/answer.rs: receipts name a challenge, and that its draw",
    },
    Elsewhere {
        row: "B13",
        about: "Floods rivals' endpoints, with and without stake.",
        tried_in: "miner/tests/hostile",
    },
    Elsewhere {
        row: "C3",
        about: "Feeds a node or a miner a false ledger.",
        tried_in: "ledger/node/tests/light.rs and ledger/node/tests/faults",
    },
    Elsewhere {
        row: "C7",
        about: "Poisons a package or forces an update.",
        tried_in: "nothing updates itself; Cargo.lock and deny.toml pin what is built",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_attack_is_found_by_name_and_row() {
        let names: BTreeSet<&str> = ATTACKS.iter().map(|attack| attack.name()).collect();
        assert_eq!(names.len(), ATTACKS.len());
        for attack in ATTACKS {
            assert_eq!(find(attack.name()).map(Attack::name), Some(attack.name()));
            assert!(find(&attack.row().to_lowercase()).is_some());
            assert!(attack.about().ends_with('.') && attack.defence().ends_with('.'));
            assert!(
                attack.cases().iter().any(|case| !case.explores),
                "{}",
                attack.name()
            );
        }
        assert!(find("nothing").is_none());
    }
}
