//! `agon subnet params`: the one table of parameters, for people, programs and the documentation.
//!
//! The rows come from `ledger/state`; there is no second list. `docs/parameters.md` is written from them as well, by
//! `cargo xtask docs`, and a test compares it.

use std::fmt::Write as _;

use agon_ledger_state::{NETWORK_TABLE, Parameter, SetBy, TABLE};
use agon_protocol::id::Netuid;
use agon_protocol::message::{AnnouncedView, SubnetView};
use clap::Args;
use serde_json::{Value, json};

use crate::output::{Align, Table};
use crate::session::{Session, told};

const EXAMPLES: &str = "Examples:
  agon subnet params                        meaning, bounds, defaults
  agon subnet params --netuid 1             and the values there, with what was announced
  agon subnet params --netuid 1 --json

A change is announced on the ledger and comes into force when a later tempo opens; nothing changes within one.";

/// Flags of `agon subnet params`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Params {
    /// Number of a subnet whose values are shown as well
    #[arg(long, value_name = "N")]
    netuid: Option<Netuid>,
}

pub(super) async fn params(session: &Session, args: &Params) -> anyhow::Result<()> {
    let subnet = match args.netuid {
        None => None,
        Some(netuid) => Some(session.client()?.subnet(netuid).await.map_err(told)?),
    };
    let of_subnets = TABLE.iter().map(|row| {
        let mut json = row_json(row);
        json["of"] = json!("subnet");
        if let Some(subnet) = &subnet {
            let announced = announced(subnet, row.name);
            json["value"] = json!(subnet.parameter(row.name));
            json["announced"] = json!(announced.map(announced_json));
        }
        json
    });
    let of_network = NETWORK_TABLE.iter().map(|row| {
        let mut json = row_json(row);
        json["of"] = json!("network");
        json
    });
    let values: Vec<Value> = of_subnets.chain(of_network).collect();
    session.show(&values, || match &subnet {
        None => defaults_text(),
        Some(subnet) => values_text(subnet),
    })
}

/// Parameters of one subnet: value, what it is about to become, bounds.
pub(super) fn values_text(subnet: &SubnetView) -> String {
    let mut table = Table::new(&[
        ("parameter", Align::Left),
        ("value", Align::Right),
        ("announced", Align::Left),
        ("min", Align::Right),
        ("max", Align::Right),
        ("set by", Align::Left),
        ("meaning", Align::Left),
    ]);
    for row in TABLE {
        let value = subnet.parameter(row.name);
        table.row([
            row.name.to_owned(),
            value.map_or_else(String::new, |value| value.to_string()),
            announced(subnet, row.name).map_or_else(String::new, |next| {
                format!("{} at block {}", next.value, next.height)
            }),
            row.min.to_string(),
            row.max.to_string(),
            setter(row.set_by).to_owned(),
            row.about.to_owned(),
        ]);
    }
    table.to_string()
}

fn announced<'a>(subnet: &'a SubnetView, name: &str) -> Option<&'a AnnouncedView> {
    subnet.announced.iter().find(|announced| announced.name == name)
}

fn announced_json(announced: &AnnouncedView) -> Value {
    json!({ "value": announced.value, "tempo": announced.tempo, "height": announced.height.0 })
}

fn defaults_text() -> String {
    format!(
        "Parameters of a subnet\n{}\n\nParameters of the network\n{}",
        defaults(TABLE),
        defaults(NETWORK_TABLE)
    )
}

fn defaults<Id>(rows: &[Parameter<Id>]) -> Table {
    let mut table = Table::new(&[
        ("parameter", Align::Left),
        ("mainnet", Align::Right),
        ("localnet", Align::Right),
        ("min", Align::Right),
        ("max", Align::Right),
        ("set by", Align::Left),
        ("meaning", Align::Left),
    ]);
    for row in rows {
        table.row([
            row.name.to_owned(),
            row.mainnet.to_string(),
            row.localnet.to_string(),
            row.min.to_string(),
            row.max.to_string(),
            setter(row.set_by).to_owned(),
            row.about.to_owned(),
        ]);
    }
    table
}

const fn setter(set_by: SetBy) -> &'static str {
    match set_by {
        SetBy::Owner => "owner",
        SetBy::Preset => "preset",
        _ => "other",
    }
}

fn row_json<Id>(row: &Parameter<Id>) -> Value {
    json!({
        "name": row.name,
        "about": row.about,
        "mainnet": row.mainnet,
        "localnet": row.localnet,
        "min": row.min,
        "max": row.max,
        "set_by": setter(row.set_by),
    })
}

/// The text of `docs/parameters.md`.
#[must_use]
pub fn document() -> String {
    format!(
        "# Parameters\n\n\
         This file is written by `cargo xtask docs` from the tables in `ledger/state`; change those.\n\
         `agon subnet params` prints the same, with `--netuid` the values of a subnet and what was announced for it.\n\n\
         Units are in the names: `_blocks`, `_tempos`, `_ppm` (parts per million).\n\
         Shares without a unit are parts of 65535, amounts are base units: 1,000,000,000 make one unit.\n\
         Localnet shortens times and changes nothing else.\n\n\
         ## Of a subnet\n\n\
         The owner announces a change with `agon subnet set`.\n\
         It comes into force when a tempo opens, `notice_tempos` later; nothing changes within a tempo.\n\n\
         {}\n\
         ## Of the network\n\n\
         What the preset of a ledger fixes for all of it.\n\n\
         {}",
        markdown(TABLE),
        markdown(NETWORK_TABLE)
    )
}

fn markdown<Id>(rows: &[Parameter<Id>]) -> String {
    let mut text = String::from(
        "| name | meaning | mainnet | localnet | from | to | set by |\n\
         | --- | --- | ---: | ---: | ---: | ---: | --- |\n",
    );
    for row in rows {
        let numbers = [row.mainnet, row.localnet, row.min, row.max].map(grouped);
        let [mainnet, localnet, min, max] = numbers;
        let (name, about, setter) = (row.name, row.about, setter(row.set_by));
        // A string takes whatever is written to it.
        let _ = writeln!(
            text,
            "| `{name}` | {about} | {mainnet} | {localnet} | {min} | {max} | {setter} |"
        );
    }
    text
}

/// Digits in groups of three.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        assert_eq!(
            [0, 999, 1_000, 21_000_000].map(grouped),
            ["0", "999", "1,000", "21,000,000"]
        );
    }

    /// With `AGON_BLESS` set it writes the file instead.
    #[test]
    fn the_documented_parameters_are_those_of_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/parameters.md");
        if std::env::var_os("AGON_BLESS").is_some() {
            std::fs::write(&path, document()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == document(),
            "docs/parameters.md is not what the tables say: cargo xtask docs writes it"
        );
    }
}
