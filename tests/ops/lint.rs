//! The rules of `promtool check metrics`, as far as they speak of names and help texts.

use std::collections::{BTreeMap, BTreeSet};

/// What is said against a text in Prometheus' format; nothing of one that is fine.
pub(crate) fn problems(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut helps, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let mut series = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            if helps.insert(name, help.trim()).is_some() {
                found.push(format!("{name}: two help texts"));
            }
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            if kinds.insert(name, kind).is_some() {
                found.push(format!("{name}: two types"));
            }
        } else {
            let sample = line.rsplit_once(' ').map_or(line, |(sample, _)| sample);
            if !series.insert(sample) {
                found.push(format!("{sample}: there twice"));
            }
        }
    }
    for (name, kind) in &kinds {
        let help = helps.get(name).copied().unwrap_or_default();
        found.extend(of_metric(name, kind, help));
    }
    let undeclared = series.iter().map(|sample| family(sample, &kinds));
    found.extend(undeclared.filter_map(Result::err));
    found
}

/// The declared metric that a sample belongs to.
fn family<'a>(sample: &'a str, kinds: &BTreeMap<&str, &str>) -> Result<&'a str, String> {
    let name = sample.split('{').next().unwrap_or(sample);
    let bare = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let bare = name.strip_suffix(suffix)?;
        (kinds.get(bare) == Some(&"histogram")).then_some(bare)
    });
    let family = bare.unwrap_or(name);
    match kinds.contains_key(family) {
        true => Ok(family),
        false => Err(format!("{sample}: no type")),
    }
}

/// Units that have a base unit, and abbreviations of units.
const ODD_UNITS: [&str; 16] = [
    "ms",
    "s",
    "us",
    "ns",
    "sec",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "gb",
    "kilobytes",
    "percent",
];
/// What the format adds by itself.
const RESERVED: [&str; 4] = ["count", "sum", "bucket", "info"];

fn of_metric(name: &str, kind: &str, help: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: &str| found.push(format!("{name}: {what}"));
    let words: Vec<&str> = name.split('_').collect();
    let is_plain =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    if help.is_empty() {
        say("no help text");
    }
    if !name.chars().all(is_plain) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        say("a name is lower case and underscores");
    }
    if (kind == "counter") != name.ends_with("_total") {
        say("counters end in _total, and nothing else does");
    }
    if words.last().is_some_and(|last| RESERVED.contains(last)) {
        say("the last word is one that the format adds by itself");
    }
    if ["counter", "gauge", "histogram", "summary"]
        .iter()
        .any(|kind| words.contains(kind))
    {
        say("a name does not say its type");
    }
    if words.iter().any(|word| ODD_UNITS.contains(word)) {
        say("a name has base units, written out");
    }
    if !["counter", "gauge", "histogram"].contains(&kind) {
        say("no such type here");
    }
    found
}

#[track_caller]
fn check(text: &str, words: &str) {
    let found = problems(text).join("; ");
    assert!(found.contains(words), "{text:?} gave {found:?}");
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let of = |name: &str, kind: &str| format!("# HELP {name} Help.\n# TYPE {name} {kind}\n{name} 1\n");
    assert_eq!(
        problems(&of("agon_things_total", "counter")),
        Vec::<String>::new()
    );
    check("# TYPE agon_things gauge\nagon_things 1\n", "no help text");
    check("agon_things 1\n", "no type");
    check(&of("agon_things", "counter"), "_total");
    check(&of("agon_things_total", "gauge"), "_total");
    check(&of("agon_Things", "gauge"), "lower case");
    check(&of("agon_wait_ms", "gauge"), "base units");
    check(&of("agon_things_count", "gauge"), "by itself");
    check(&of("agon_gauge_things", "gauge"), "its type");
    let twice = of("agon_things", "gauge").repeat(2);
    check(&twice, "two help texts");
    check(&twice, "two types");
    check(&twice, "there twice");
}
