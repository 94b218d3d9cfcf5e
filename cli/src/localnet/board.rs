//! The table that one watches: who earns what, and why, at one moment.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use agon_ledger_client::LedgerClient;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Netuid, Uid};
use agon_protocol::message::{Metagraph, NeuronView, WeightRowView};
use serde::{Deserialize, Serialize};

use super::attacks::Attack;
use super::cast::Member;
use super::stage::{Actor, Folder};
use crate::output::{Align, Table, percent, percent_of_ppm, units};
use crate::session::told;

/// The file in which a validator tells how it stands.
const STATUS_FILE: &str = "status.json";
/// Most bytes of it: some hundred for each of 4,096 UIDs.
const STATUS_BYTES_MAX: u64 = 1024 * 1024;

/// One neuron at one moment. Amounts are base units, shares parts of 65535.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its slot.
    pub uid: u16,
    /// Its key.
    pub hotkey: String,
    /// `miner` or `validator`.
    pub role: &'static str,
    /// The rung's name, or the way it cheats; none for a validator.
    pub model: Option<&'static str>,
    /// The attack that it joined for, if it did.
    pub attack: Option<&'static str>,
    /// Mean of what the validators think of it, 0 to 1; none before any asked it.
    pub rating: Option<f64>,
    /// Mean of the weights that validators revealed on it, 0 to 1; none before any did.
    pub weight: Option<f64>,
    /// Share of the miners' pay in the newest epoch.
    pub incentive: u16,
    /// Share of the validators' pay in the newest epoch.
    pub dividends: u16,
    /// Paid by the newest epoch.
    pub emission: u64,
    /// Paid since it was registered.
    pub earned: u64,
    /// Share of its work that a validator has proven, by which the newest epoch multiplied its dividends, parts per
    /// million; none for a miner.
    pub coverage_ppm: Option<u32>,
    /// Stake on it now; 0 for a miner.
    pub stake: u64,
    /// When a validator last had an answer from it, or, for a validator, when it last said how it stands; Unix
    /// milliseconds.
    pub last_seen_ms: Option<u64>,
}

/// What is read of a validator's status; other fields are passed over.
#[derive(Debug, Deserialize)]
struct Status {
    time_ms: u64,
    #[serde(default)]
    ratings: Vec<Rating>,
}

#[derive(Debug, Deserialize)]
struct Rating {
    uid: u16,
    rating: f64,
    #[serde(default)]
    last_answer_ms: Option<u64>,
}

/// Reads ledger and validators.
#[derive(Debug)]
pub struct Board {
    client: LedgerClient,
    netuid: Netuid,
    members: Vec<(agon_protocol::id::Hotkey, Member)>,
    statuses: Vec<(String, PathBuf)>,
}

impl Board {
    /// A board of `actors`, in their order.
    #[must_use]
    pub fn new(client: LedgerClient, netuid: Netuid, actors: &[Actor], folder: &Folder) -> Self {
        let status = |actor: &Actor| {
            let name = actor.member.name.clone();
            let path = folder.member(&name).join(STATUS_FILE);
            (name, path)
        };
        let validators = actors.iter().filter(|actor| !actor.is_miner());
        Self {
            client,
            netuid,
            members: actors
                .iter()
                .map(|actor| (actor.hotkey, actor.member.clone()))
                .collect(),
            statuses: validators.map(status).collect(),
        }
    }

    /// How everybody stands now, and whether somebody holds a validator permit.
    ///
    /// # Errors
    ///
    /// When the ledger does not answer.
    pub async fn read(&self) -> anyhow::Result<(Vec<Row>, bool)> {
        let metagraph = self.client.metagraph(self.netuid, None).await.map_err(told)?;
        let weights = self.client.weights(self.netuid).await.map_err(told)?;
        let statuses: BTreeMap<&str, Status> = self
            .statuses
            .iter()
            .filter_map(|(name, path)| read_status(path).map(|status| (name.as_str(), status)))
            .collect();
        let permitted = metagraph.neurons.iter().any(|neuron| neuron.permit);
        Ok((rows(&self.members, &metagraph, &weights, &statuses), permitted))
    }
}

/// A status that is missing or cannot be read is none: the table shows what there is.
fn read_status(path: &Path) -> Option<Status> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .ok()?
        .take(STATUS_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn rows(
    members: &[(agon_protocol::id::Hotkey, Member)],
    metagraph: &Metagraph,
    weights: &[WeightRowView],
    statuses: &BTreeMap<&str, Status>,
) -> Vec<Row> {
    let row = |(hotkey, member): &(_, Member)| {
        metagraph
            .by_hotkey(hotkey)
            .map(|neuron| row(member, neuron, weights, statuses))
    };
    members.iter().filter_map(row).collect()
}

fn row(
    member: &Member,
    neuron: &NeuronView,
    weights: &[WeightRowView],
    statuses: &BTreeMap<&str, Status>,
) -> Row {
    let is_miner = member.part.stake().is_zero();
    let of_uid = |status| ratings_of(status, neuron.uid);
    let ratings: Vec<&Rating> = statuses.values().filter_map(of_uid).collect();
    let answered = ratings.iter().filter_map(|rating| rating.last_answer_ms).max();
    Row {
        uid: neuron.uid.0,
        hotkey: neuron.hotkey.to_string(),
        role: member.role(),
        model: member.model(),
        attack: member.attack.map(Attack::name),
        rating: mean(ratings.iter().map(|rating| rating.rating)),
        weight: if is_miner {
            mean_weight(weights, neuron.uid)
        } else {
            None
        },
        incentive: neuron.incentive,
        dividends: neuron.dividends,
        emission: neuron.emission.base_units(),
        earned: neuron.earned.base_units(),
        coverage_ppm: (!is_miner).then_some(neuron.coverage_ppm),
        stake: neuron.stake.base_units(),
        last_seen_ms: match is_miner {
            true => answered,
            false => statuses.get(member.name.as_str()).map(|status| status.time_ms),
        },
    }
}

fn ratings_of(status: &Status, uid: Uid) -> Option<&Rating> {
    status.ratings.iter().find(|rating| rating.uid == uid.0)
}

fn mean_weight(rows: &[WeightRowView], uid: Uid) -> Option<f64> {
    let revealed = rows.iter().filter(|row| !row.weights.is_empty());
    mean(revealed.map(|row| {
        let weight = row
            .weights
            .iter()
            .find(|(weighted, _)| *weighted == uid)
            .map_or(0, |(_, weight)| *weight);
        f64::from(weight) / f64::from(u16::MAX)
    }))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// The rows for people, at the time `now_ms`.
#[must_use]
pub fn table(rows: &[Row], now_ms: u64) -> Table {
    let mut table = Table::new(&[
        ("uid", Align::Right),
        ("role", Align::Left),
        ("model", Align::Left),
        ("attack", Align::Left),
        ("rating", Align::Right),
        ("weight", Align::Right),
        ("incentive %", Align::Right),
        ("dividends %", Align::Right),
        ("coverage %", Align::Right),
        ("emission", Align::Right),
        ("earned", Align::Right),
        ("stake", Align::Right),
        ("last seen", Align::Right),
    ]);
    for row in rows {
        table.row([
            row.uid.to_string(),
            row.role.to_owned(),
            row.model.unwrap_or_default().to_owned(),
            row.attack.unwrap_or_default().to_owned(),
            fraction(row.rating),
            fraction(row.weight),
            share(row.incentive),
            share(row.dividends),
            row.coverage_ppm.map_or_else(|| "-".to_owned(), percent_of_ppm),
            units(Amount::from_base_units(row.emission)),
            units(Amount::from_base_units(row.earned)),
            staked(row.stake),
            row.last_seen_ms
                .map_or_else(|| "-".to_owned(), |seen_ms| ago(now_ms, seen_ms)),
        ]);
    }
    table
}

fn fraction(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn share(parts: u16) -> String {
    if parts == 0 {
        "-".to_owned()
    } else {
        percent(parts)
    }
}

fn staked(stake: u64) -> String {
    match stake {
        0 => "-".to_owned(),
        stake => units(Amount::from_base_units(stake)),
    }
}

fn ago(now_ms: u64, then_ms: u64) -> String {
    match now_ms.saturating_sub(then_ms) / 1_000 {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds => format!("{} min ago", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_with_or_without_what_later_builds_add() {
        let old: Status =
            serde_json::from_str(r#"{"time_ms":5,"ratings":[{"uid":3,"rating":0.5,"items":2}]}"#).unwrap();
        assert_eq!(
            (old.ratings[0].rating, old.ratings[0].last_answer_ms),
            (0.5, None)
        );
        let new = r#"{"time_ms":5,"tempo":1,"ratings":[{"uid":3,"rating":0.5,"last_answer_ms":4}]}"#;
        let new: Status = serde_json::from_str(new).unwrap();
        assert_eq!(new.ratings[0].last_answer_ms, Some(4));
    }

    #[test]
    fn a_validator_that_left_a_miner_out_gave_it_nothing() {
        let row = |weights: &[(u16, u16)]| WeightRowView {
            uid: Uid(0),
            weights: weights.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect(),
            open_commits: Vec::new(),
        };
        assert_eq!(mean_weight(&[], Uid(3)), None);
        assert_eq!(mean_weight(&[row(&[])], Uid(3)), None);
        assert_eq!(
            mean_weight(&[row(&[(3, u16::MAX)]), row(&[(4, 9)])], Uid(3)),
            Some(0.5)
        );
    }

    #[test]
    fn ages_are_told_in_seconds_first() {
        assert_eq!(ago(10_000, 8_500), "1 s ago");
        assert_eq!(ago(10_000, 20_000), "0 s ago");
        assert_eq!(ago(500_000, 0), "8 min ago");
    }
}
