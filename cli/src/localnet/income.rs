//! What each attack earned, beside those who did the same without cheating.
//!
//! Validators are compared by what they earned for each unit of stake that they began with; miners by what they earned
//! for each UID. An operator with several UIDs for one model is compared, with all of them together, with one honest
//! miner of that model.

use agon_protocol::amount::{Amount, BASE_UNITS_PER_UNIT};
use serde::Serialize;

use super::attacks::Attack;
use super::board::Row;
use super::cast::{Member, Part};
use super::stage::Actor;
use crate::output::{Align, Table, units};

/// What income is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Whole units of stake at the start.
    Stake,
    /// UIDs.
    Uid,
    /// Operators.
    Operator,
}

impl Per {
    const fn words(self) -> &'static str {
        match self {
            Self::Stake => "unit of stake",
            Self::Uid => "UID",
            Self::Operator => "operator",
        }
    }
}

/// What the validators or the miners of one attack earned over the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Income {
    /// The attack.
    pub attack: &'static str,
    /// `miner` or `validator`.
    pub role: &'static str,
    /// Its slots.
    pub uids: Vec<u16>,
    /// What they earned together, base units.
    pub earned: u64,
    /// What the next two are of.
    pub per: Per,
    /// What each of these earned, base units.
    pub each: f64,
    /// What each of the honest ones earned, base units.
    pub honest: f64,
    /// How much of what is honestly earned that is; none where the honest earned nothing.
    pub ratio: Option<f64>,
}

/// The incomes of all attacks among `actors`, by what `rows` say of them at the end.
#[must_use]
pub fn incomes(actors: &[Actor], rows: &[Row]) -> Vec<Income> {
    let known = |actor: &Actor| {
        let hotkey = actor.hotkey.to_string();
        let row = rows.iter().find(|row| row.hotkey == hotkey)?;
        Some((actor.member.clone(), row.clone()))
    };
    of(&actors.iter().filter_map(known).collect::<Vec<_>>())
}

type Known = (Member, Row);

fn of(all: &[Known]) -> Vec<Income> {
    let mut kinds: Vec<(Attack, &'static str)> = Vec::new();
    for (member, _) in all {
        if let Some(attack) = member.attack
            && !kinds.contains(&(attack, member.role()))
        {
            kinds.push((attack, member.role()));
        }
    }
    let income = |(attack, role)| income(all, attack, role);
    kinds.into_iter().map(income).collect()
}

fn income(all: &[Known], attack: Attack, role: &'static str) -> Income {
    let is_own = |(member, _): &&Known| member.attack == Some(attack) && member.role() == role;
    let own: Vec<&Known> = all.iter().filter(is_own).collect();
    let per = match (role, attack) {
        ("validator", _) => Per::Stake,
        (_, Attack::Sybil) => Per::Operator,
        _ => Per::Uid,
    };
    let serves = |part: Part| match attack {
        Attack::Sybil => own.iter().any(|(member, _)| member.part == part),
        _ => true,
    };
    let is_honest = |(member, _): &&Known| {
        member.is_honest() && member.role() == role && (per == Per::Stake || serves(member.part))
    };
    let honest: Vec<&Known> = all.iter().filter(is_honest).collect();
    let each = earned(&own) as f64 / count(&own, per);
    let honestly = match honest.is_empty() {
        true => 0.0,
        // Every honest operator has one UID.
        false => earned(&honest) as f64 / count(&honest, if per == Per::Stake { per } else { Per::Uid }),
    };
    Income {
        attack: attack.name(),
        role,
        uids: own.iter().map(|(_, row)| row.uid).collect(),
        earned: earned(&own),
        per,
        each,
        honest: honestly,
        ratio: (honestly > 0.0).then(|| each / honestly),
    }
}

fn earned(of: &[&Known]) -> u64 {
    of.iter().map(|(_, row)| row.earned).sum()
}

fn count(of: &[&Known], per: Per) -> f64 {
    match per {
        Per::Operator => 1.0,
        Per::Uid => of.len() as f64,
        Per::Stake => {
            let stakes = of.iter().map(|(member, _)| member.part.stake().base_units());
            stakes.sum::<u64>() as f64 / BASE_UNITS_PER_UNIT as f64
        }
    }
}

/// The incomes for people.
#[must_use]
pub fn table(incomes: &[Income]) -> Table {
    let mut table = Table::new(&[
        ("attack", Align::Left),
        ("role", Align::Left),
        ("uids", Align::Left),
        ("earned", Align::Right),
        ("per", Align::Left),
        ("each", Align::Right),
        ("honest", Align::Right),
        ("of honest", Align::Right),
    ]);
    // Far below what a float holds exactly.
    let amount = |base_units: f64| units(Amount::from_base_units(base_units as u64));
    for income in incomes {
        let uids: Vec<String> = income.uids.iter().map(u16::to_string).collect();
        table.row([
            income.attack.to_owned(),
            income.role.to_owned(),
            uids.join(" "),
            units(Amount::from_base_units(income.earned)),
            income.per.words().to_owned(),
            amount(income.each),
            amount(income.honest),
            income
                .ratio
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}")),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::attacks::join;
    use super::super::cast::{Ask, cast};
    use super::*;

    fn row(member: &Member, uid: u16, earned: u64) -> Known {
        let row = Row {
            uid,
            hotkey: String::new(),
            role: member.role(),
            model: member.model(),
            attack: member.attack.map(Attack::name),
            rating: None,
            weight: None,
            incentive: 0,
            dividends: 0,
            emission: 0,
            earned,
            coverage_ppm: None,
            stake: 0,
            last_seen_ms: None,
        };
        (member.clone(), row)
    }

    /// Every member earned what `earned` says of it.
    fn played(with: &[Attack], earned: impl Fn(&Member) -> u64) -> Vec<Income> {
        let cast = join(cast(2, 3, Ask::Reading), with);
        let rows = (0..)
            .zip(&cast)
            .map(|(uid, member)| row(member, uid, earned(member)));
        of(&rows.collect::<Vec<_>>())
    }

    #[test]
    fn without_attacks_there_is_nothing_to_compare() {
        assert_eq!(played(&[], |_| 7), []);
    }

    #[test]
    fn validators_are_compared_by_their_stake() {
        let by_stake = |member: &Member| match member.part {
            Part::Copier { stake } => stake.base_units() / 2,
            part => part.stake().base_units(),
        };
        let incomes = played(&[Attack::Copier], by_stake);
        assert_eq!((incomes[0].per, incomes[0].ratio), (Per::Stake, Some(0.5)));
    }

    #[test]
    fn all_uids_of_an_operator_are_compared_with_one_miner_of_the_model() {
        let by_model = |member: &Member| match member.model() {
            Some("large") => 100,
            Some(_) => 10,
            None => 0,
        };
        let incomes = played(&[Attack::Sybil, Attack::Garbage], by_model);
        assert_eq!((incomes[0].attack, incomes[0].ratio), ("sybil", Some(3.0)));
        assert_eq!((incomes[0].earned, incomes[0].uids.len()), (300, 3));
        // Garbage is beside every honest miner: 100, 10 and 10.
        assert_eq!((incomes[1].each, incomes[1].honest), (10.0, 40.0));
    }

    #[test]
    fn a_cabal_has_an_income_for_each_role_and_none_is_compared_with_nothing() {
        let incomes = played(&[Attack::Cabal], |_| 0);
        let roles: Vec<_> = incomes.iter().map(|income| (income.role, income.ratio)).collect();
        assert_eq!(roles, [("validator", None), ("miner", None)]);
    }
}
