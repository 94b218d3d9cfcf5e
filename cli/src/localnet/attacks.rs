//! Who joins a localnet to cheat it, beside the ordinary cast: each a known attack, played by real processes.

use agon_protocol::amount::Amount;

use super::cast::{Cheat, Member, Part, Rung, stake};

/// A known attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Attack {
    /// A validator that does no work and gives the weights that others revealed
    Copier,
    /// One operator with one model and three UIDs
    Sybil,
    /// A miner without a model that passes its challenges on to an honest one
    Relay,
    /// A miner that answers words at random
    Garbage,
    /// Two validators with 30 % of all stake who judge the garbage of two miners of theirs as perfect
    Cabal,
}

/// UIDs of the one operator.
const SYBIL_UIDS: u16 = 3;
/// Validators of a cabal, and its miners.
const CABAL_SIZE: u16 = 2;
/// Stake of a cabal's validators together, as a ratio to that of all others: 30 % of the whole.
const CABAL_STAKE: (u64, u64) = (3, 7);

impl Attack {
    /// Its name, as it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copier => "copier",
            Self::Sybil => "sybil",
            Self::Relay => "relay",
            Self::Garbage => "garbage",
            Self::Cabal => "cabal",
        }
    }
}

/// Adds the members of each attack to the ordinary `cast`, every attack once.
#[must_use]
pub fn join(mut cast: Vec<Member>, with: &[Attack]) -> Vec<Member> {
    let mut with = with.to_vec();
    // The cabal's stake is a share of everybody else's, and it is the last.
    with.sort_unstable();
    with.dedup();
    for attack in with {
        let members = members(attack, &cast);
        cast.extend(members);
    }
    cast
}

fn members(attack: Attack, cast: &[Member]) -> Vec<Member> {
    let one = |part| vec![Member::attacking(attack, attack.name().to_owned(), part)];
    match attack {
        Attack::Copier => {
            let validators = cast
                .iter()
                .filter(|member| !member.part.stake().is_zero())
                .count();
            let index = u16::try_from(validators).unwrap_or(u16::MAX);
            one(Part::Copier { stake: stake(index) })
        }
        Attack::Sybil => (0..SYBIL_UIDS).map(sybil).collect(),
        Attack::Relay => one(Part::Relay),
        Attack::Garbage => one(Part::Cheater(Cheat::Garbage)),
        Attack::Cabal => cabal(cast),
    }
}

/// One of the UIDs of the one wallet.
fn sybil(index: u16) -> Member {
    let name = format!("sybil-{index}");
    Member {
        wallet: Attack::Sybil.name().to_owned(),
        hotkey: name.clone(),
        ..Member::attacking(Attack::Sybil, name, Part::Miner(Rung::Large))
    }
}

fn cabal(cast: &[Member]) -> Vec<Member> {
    let others = cast.iter().map(|member| member.part.stake());
    let others = others.fold(Amount::ZERO, Amount::saturating_add);
    let (numerator, denominator) = CABAL_STAKE;
    let stake = others.mul_ratio(numerator, denominator * u64::from(CABAL_SIZE));
    let validators =
        (0..CABAL_SIZE).map(|index| (format!("cabal-validator-{index}"), Part::Colluder { stake }));
    let miners = (0..CABAL_SIZE).map(|index| (format!("cabal-miner-{index}"), Part::Cheater(Cheat::Garbage)));
    validators
        .chain(miners)
        .map(|(name, part)| Member::attacking(Attack::Cabal, name, part))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::cast::{Ask, cast};
    use super::*;

    fn joined(with: &[Attack]) -> Vec<Member> {
        join(cast(3, 3, Ask::Reading), with).split_off(6)
    }

    #[test]
    fn a_subset_joins_in_any_order_and_each_once() {
        assert_eq!(joined(&[]), []);
        let names =
            |with: &[Attack]| -> Vec<String> { joined(with).into_iter().map(|member| member.name).collect() };
        assert_eq!(
            names(&[Attack::Relay, Attack::Copier, Attack::Relay]),
            ["copier", "relay"]
        );
        assert_eq!(
            names(&[Attack::Cabal]),
            [
                "cabal-validator-0",
                "cabal-validator-1",
                "cabal-miner-0",
                "cabal-miner-1"
            ]
        );
    }

    #[test]
    fn one_wallet_holds_all_uids_of_the_sybil() {
        let members = joined(&[Attack::Sybil]);
        assert_eq!(members.len(), usize::from(SYBIL_UIDS));
        assert!(members.iter().all(|member| member.wallet == "sybil"));
        assert!(members.iter().all(|member| member.hotkey == member.name));
    }

    #[test]
    fn a_cabal_has_three_tenths_of_the_stake_whoever_else_joins() {
        let everybody = join(cast(3, 3, Ask::Reading), &[Attack::Cabal, Attack::Copier]);
        let stake = |is_of: fn(&Member) -> bool| -> u64 {
            let members = everybody.iter().filter(|member| is_of(member));
            members.map(|member| member.part.stake().base_units()).sum()
        };
        let cabal = stake(|member| member.attack == Some(Attack::Cabal));
        let share = cabal * 1_000 / stake(|_| true);
        assert!((299..=300).contains(&share), "{share}");
    }
}
