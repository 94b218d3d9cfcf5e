//! Who takes part in a localnet: decided from two numbers, before anything is started.

use agon_protocol::amount::Amount;

use super::attacks::Attack;

/// Name of a hotkey, where its wallet has no other.
pub const HOTKEY: &str = "default";

/// From this many miners on, the last three cheat.
const MINERS_WITH_CHEATERS: u16 = 6;
/// Stake of the first validator, whole units; each further one has less, so that stakes differ and, from three
/// validators on, none has a majority.
const STAKE_UNITS: u64 = 1_000;
/// How much less the next validator has.
const STAKE_STEP_UNITS: u64 = 150;
/// What the last of many validators still has.
const STAKE_UNITS_MIN: u64 = 100;

/// What the subnet of a localnet asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Ask {
    /// Questions about short stories: better models earn more
    #[default]
    Reading,
    /// The outputs of one pinned model, verified: whoever serves another one is found out
    Inference,
}

/// A rung of the ladder of models that are shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The best.
    Large,
    /// In between.
    Medium,
    /// The least.
    Small,
}

impl Rung {
    /// Every rung, the best first.
    pub const ALL: [Self; 3] = [Self::Large, Self::Medium, Self::Small];

    /// Name of the rung and of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Medium => "medium",
            Self::Small => "small",
        }
    }
}

/// A way to cheat that the test miner plays. Each has the best model at hand, where it uses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cheat {
    /// Answers words at random.
    Garbage,
    /// Answers the beginning of what its model says.
    Truncate,
    /// Is away most of the time.
    Offline,
    /// Serves a smaller model under the name of the pinned one.
    Smaller,
    /// Serves the pinned model with weights of four bits.
    Quantised,
}

impl Cheat {
    /// The three ways of a subnet that asks this, in the order in which they join.
    const fn of(ask: Ask) -> [Self; 3] {
        match ask {
            Ask::Reading => [Self::Garbage, Self::Truncate, Self::Offline],
            Ask::Inference => [Self::Smaller, Self::Quantised, Self::Offline],
        }
    }

    /// The model behind it.
    #[must_use]
    pub const fn rung(self) -> Rung {
        match self {
            Self::Smaller => Rung::Medium,
            _ => Rung::Large,
        }
    }

    /// Name of the way, as the test miner takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Truncate => "truncate",
            Self::Offline => "offline",
            Self::Smaller => "smaller",
            Self::Quantised => "quantised",
        }
    }
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Asks and weighs.
    Validator {
        /// Stake on its hotkey.
        stake: Amount,
    },
    /// Answers with a model.
    Miner(Rung),
    /// Takes part to be found out.
    Cheater(Cheat),
    /// Passes challenges on to an honest miner.
    Relay,
    /// Asks nobody and weighs as others did.
    Copier {
        /// Stake on its hotkey.
        stake: Amount,
    },
    /// Asks, and judges the other members of its cabal as perfect.
    Colluder {
        /// Stake on its hotkey.
        stake: Amount,
    },
}

impl Part {
    /// What it stakes on itself; nothing for a miner.
    #[must_use]
    pub const fn stake(self) -> Amount {
        match self {
            Self::Validator { stake } | Self::Copier { stake } | Self::Colluder { stake } => stake,
            Self::Miner(_) | Self::Cheater(_) | Self::Relay => Amount::ZERO,
        }
    }
}

/// One neuron of a localnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of its folder and its log.
    pub name: String,
    /// Name of its wallet. Members of one wallet have one operator, whose one process serves all of them.
    pub wallet: String,
    /// Name of its hotkey in the wallet.
    pub hotkey: String,
    /// What it does.
    pub part: Part,
    /// The attack that it belongs to, if it joined for one.
    pub attack: Option<Attack>,
}

impl Member {
    /// A member of the ordinary cast.
    #[must_use]
    pub fn ordinary(name: String, part: Part) -> Self {
        Self {
            wallet: name.clone(),
            hotkey: HOTKEY.to_owned(),
            name,
            part,
            attack: None,
        }
    }

    /// A member that joined for an attack.
    #[must_use]
    pub fn attacking(attack: Attack, name: String, part: Part) -> Self {
        Self {
            attack: Some(attack),
            ..Self::ordinary(name, part)
        }
    }

    /// `miner` or `validator`.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        match self.part {
            Part::Validator { .. } | Part::Copier { .. } | Part::Colluder { .. } => "validator",
            Part::Miner(_) | Part::Cheater(_) | Part::Relay => "miner",
        }
    }

    /// The rung's name or the way it cheats, `None` for a validator.
    #[must_use]
    pub const fn model(&self) -> Option<&'static str> {
        match self.part {
            Part::Validator { .. } | Part::Copier { .. } | Part::Colluder { .. } => None,
            Part::Miner(rung) => Some(rung.name()),
            Part::Cheater(cheat) => Some(cheat.name()),
            Part::Relay => Some("none"),
        }
    }

    /// Whether it takes part as anybody should.
    #[must_use]
    pub const fn is_honest(&self) -> bool {
        self.attack.is_none() && matches!(self.part, Part::Validator { .. } | Part::Miner(_))
    }
}

/// The cast: validators, then miners with better models first, then cheaters.
#[must_use]
pub fn cast(validators: u16, miners: u16, ask: Ask) -> Vec<Member> {
    let validators = (0..validators).map(|index| {
        let stake = stake(index);
        Member::ordinary(format!("validator-{index}"), Part::Validator { stake })
    });
    let miners = (0..)
        .zip(parts(miners, ask))
        .map(|(index, part): (u16, Part)| Member::ordinary(format!("miner-{index}"), part));
    validators.chain(miners).collect()
}

/// Stake of the validator that is number `index`, from 0.
pub fn stake(index: u16) -> Amount {
    let units = STAKE_UNITS
        .saturating_sub(STAKE_STEP_UNITS * u64::from(index))
        .max(STAKE_UNITS_MIN);
    Amount::from_units(units).expect("a thousand units fit an amount")
}

fn parts(miners: u16, ask: Ask) -> Vec<Part> {
    let cheaters = Cheat::of(ask);
    let cheaters: &[Cheat] = if miners < MINERS_WITH_CHEATERS {
        &[]
    } else {
        &cheaters
    };
    let honest = usize::from(miners) - cheaters.len();
    let served: &[Rung] = match ask {
        Ask::Reading => &Rung::ALL,
        Ask::Inference => &[Rung::Large],
    };
    let rungs = served.len();
    // Every rung the same number of times, the best ones once more where that does not come out even.
    let honest = served.iter().enumerate().flat_map(|(place, rung)| {
        let count = honest / rungs + usize::from(place < honest % rungs);
        std::iter::repeat_n(Part::Miner(*rung), count)
    });
    honest
        .chain(cheaters.iter().map(|cheat| Part::Cheater(*cheat)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(miners: u16, models: &[&str]) {
        let cast = cast(0, miners, Ask::Reading);
        let found: Vec<&str> = cast.iter().filter_map(Member::model).collect();
        assert_eq!(found, models);
    }

    #[test]
    fn every_rung_appears_and_three_cheat_once_there_are_six() {
        check(1, &["large"]);
        check(3, &["large", "medium", "small"]);
        check(5, &["large", "large", "medium", "medium", "small"]);
        check(6, &["large", "medium", "small", "garbage", "truncate", "offline"]);
        check(
            8,
            &[
                "large", "large", "medium", "medium", "small", "garbage", "truncate", "offline",
            ],
        );
    }

    #[test]
    fn where_one_model_is_pinned_all_honest_miners_serve_it() {
        let cast = cast(0, 6, Ask::Inference);
        let found: Vec<&str> = cast.iter().filter_map(Member::model).collect();
        assert_eq!(
            found,
            ["large", "large", "large", "smaller", "quantised", "offline"]
        );
    }

    #[test]
    fn stakes_differ_and_no_validator_of_three_has_a_majority() {
        let stakes: Vec<u64> = (0..3).map(|index| stake(index).base_units()).collect();
        assert!(stakes.is_sorted_by(|one, next| one > next));
        assert!(stakes[0] < stakes[1] + stakes[2]);
        assert!(!stake(u16::MAX).is_zero());
    }

    #[test]
    fn names_tell_members_apart() {
        let names: Vec<String> = cast(2, 2, Ask::Reading)
            .into_iter()
            .map(|member| member.name)
            .collect();
        assert_eq!(names, ["validator-0", "validator-1", "miner-0", "miner-1"]);
    }
}
