//! The files in `ops/` against what the binaries declare: no dashboard without its metric, no metric without its name.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod lint;

use std::collections::BTreeSet;
use std::path::Path;

use agon_runtime::net;
use agon_runtime::telemetry::{self, Metric};
use serde_json::Value;

/// Every metric that node, miner and validator declare.
fn declared() -> Vec<Metric> {
    [
        agon_ledger_node::metrics::ALL,
        agon_miner::METRICS,
        agon_validator::METRICS,
        net::METRICS,
    ]
    .concat()
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of metrics in an expression, as they are declared.
fn names(expression: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = expression.split(|character| !is_part(character));
    words
        .filter(|word| word.starts_with("agon_"))
        .map(|word| {
            let bare = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix));
            bare.unwrap_or(word).to_owned()
        })
        .collect()
}

/// Every text under the key `expr`, however deep.
fn expressions(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("expr", Value::String(text)) => vec![text.as_str()],
                _ => expressions(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

fn declared_names() -> BTreeSet<String> {
    declared().iter().map(|metric| metric.name().to_owned()).collect()
}

#[test]
fn the_dashboard_shows_every_declared_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(&read("grafana/agon.json")).unwrap();
    let shown: BTreeSet<String> = expressions(&dashboard).into_iter().flat_map(names).collect();
    assert_eq!(shown, declared_names());
}

#[test]
fn alerts_speak_of_declared_metrics() {
    let alerts = read("alerts.yml");
    let (named, declared) = (names(&alerts), declared_names());
    let unknown: Vec<_> = named.difference(&declared).collect();
    assert!(unknown.is_empty() && !named.is_empty(), "{unknown:?}");
}

#[test]
fn each_role_is_scraped_where_its_unit_shows_its_metrics() {
    let config = read("prometheus.yml");
    for role in ["miner", "node", "validator"] {
        let unit = read(&format!("systemd/agon-{role}.service"));
        let (_, after) = unit.split_once("--metrics-addr ").unwrap();
        let address = after.split_whitespace().next().unwrap();
        let job = format!("job_name: agon-{role}\n    static_configs:\n      - targets: [\"{address}\"]");
        assert!(config.contains(&job), "{job}");
    }
}

#[test]
fn what_is_declared_keeps_the_rules_of_promtool() {
    let text = telemetry::sample(&declared());
    assert_eq!(lint::problems(&text), Vec::<String>::new());
    for name in declared_names() {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn no_metric_is_declared_twice() {
    assert_eq!(declared_names().len(), declared().len());
}
