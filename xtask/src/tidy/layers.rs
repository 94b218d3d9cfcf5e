//! Layers: packages depend downwards only, and pure ones on nothing that could make them impure.

use super::manifests::{Dependency, Kind, dependencies, entries};
use super::{Tree, Violation};
use crate::repo::package_of;

/// Folder of each member with its height; a package depends on lower ones only, so neighbours never meet.
const HEIGHTS: [(&str, u8); 20] = [
    ("protocol", 0),
    ("scoring", 1),
    ("runtime", 1),
    ("subnets", 1),
    ("evidence", 2),
    ("ledger/client", 3),
    ("model", 2),
    ("model/kernels", 0),
    ("ledger/committee", 2),
    ("ledger/state", 3),
    ("miner", 4),
    ("validator", 4),
    ("trainer", 3),
    ("ledger/replay", 4),
    ("sim", 4),
    ("ledger/node", 5),
    ("fuzz", 6),
    ("cli", 6),
    ("tests", 7),
    ("xtask", 0),
];

/// Members whose results must be the same on every machine.
const PURE: [&str; 6] = [
    "protocol",
    "scoring",
    "subnets",
    "evidence",
    "ledger/state",
    "sim",
];
/// What brings clocks, disks, sockets, threads or chance.
const IMPURE: [&str; 9] = [
    "tokio",
    "tokio-",
    "sled",
    "tch",
    "torch-sys",
    "tonic",
    "hyper",
    "mio",
    "rayon",
];
/// The only member that names tensors.
const TENSORS: &str = "model";

pub(super) fn check(tree: &Tree, members: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in members {
        let path = format!("{folder}/Cargo.toml");
        let Some(file) = tree.file(&path) else { continue };
        let mut report = |line, advice| {
            found.push(Violation {
                path: path.clone(),
                line,
                rule: "layers",
                advice,
            })
        };
        let Some(height) = height_of(&package_of(folder)) else {
            report(
                1,
                format!("`{folder}` has no height: add it to xtask/src/tidy/layers.rs"),
            );
            continue;
        };
        for dependency in dependencies(&entries(&file.text)) {
            if let Some(advice) = objection(folder, height, &dependency) {
                report(dependency.line, advice);
            }
        }
    }
    found.extend(check_pure_settings(tree));
    found
}

/// What speaks against `dependency` of the member in `folder`, if anything does.
fn objection(folder: &str, height: u8, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    let ships = dependency.kind != Kind::Dev;
    if ships && height_of(name).is_some_and(|other| other >= height) {
        return Some(format!(
            "`{name}` is not below `{folder}`: move what both need down, or turn the dependency round"
        ));
    }
    if matches!(name, "tch" | "torch-sys") && folder != TENSORS {
        return Some(format!(
            "only `{TENSORS}` names tensors: put the call behind its interface"
        ));
    }
    if dependency.kind == Kind::Normal && !dependency.is_optional && PURE.contains(&folder) && is_impure(name)
    {
        return Some(format!(
            "`{folder}` is pure: do without `{name}`, or make it optional and off by default"
        ));
    }
    None
}

fn is_impure(name: &str) -> bool {
    IMPURE.iter().any(|impure| {
        name == *impure
            || (name.starts_with(impure) && (impure.ends_with('-') || name.as_bytes()[impure.len()] == b'-'))
    })
}

fn height_of(package: &str) -> Option<u8> {
    HEIGHTS
        .iter()
        .find(|(folder, _)| package_of(folder) == package)
        .map(|(_, height)| *height)
}

/// Clippy reads the nearest `clippy.toml` and no other, so each pure crate has one, and all have the same.
fn check_pure_settings(tree: &Tree) -> Vec<Violation> {
    let path_of = |folder: &str| format!("{folder}/clippy.toml");
    let model = path_of(PURE[0]);
    let expected = tree.file(&model).map(|file| &file.text);
    let differs = |folder: &&&str| tree.file(&path_of(folder)).map(|file| &file.text) != expected;
    PURE.iter()
        .filter(|folder| tree.has(&format!("{folder}/Cargo.toml")))
        .filter(differs)
        .map(|folder| Violation {
            path: path_of(folder),
            line: 1,
            rule: "layers",
            advice: format!("a pure crate bans clocks and hash maps: make it the same as {model}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(folder: &str, manifest: &str, expected: &[&str]) {
        let path = format!("{folder}/Cargo.toml");
        let tree = Tree::of(&[
            (&path, manifest),
            ("protocol/clippy.toml", "a"),
            ("scoring/clippy.toml", "a"),
        ]);
        let found: Vec<String> = check(&tree, &[folder.to_owned()])
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_dependency_downwards_is_in_order() {
        check_one(
            "miner",
            "[dependencies]\nagon-model.workspace = true\ntokio.workspace = true\n",
            &[],
        );
    }

    #[test]
    fn a_dependency_upwards_or_sideways_is_found() {
        check_one(
            "miner",
            "[dependencies]\nagon-validator.workspace = true\n",
            &[
                "miner/Cargo.toml:2: layers: `agon-validator` is not below `miner`: move what both need down, or turn the dependency round",
            ],
        );
    }

    #[test]
    fn a_test_may_look_upwards() {
        check_one(
            "protocol",
            "[dev-dependencies]\nagon-scoring.workspace = true\n",
            &[],
        );
    }

    #[test]
    fn a_pure_crate_has_an_impure_dependency_only_as_an_option() {
        check_one(
            "scoring",
            "[dependencies]\ntonic-prost = { workspace = true, optional = true }\n",
            &[],
        );
        check_one(
            "scoring",
            "[dependencies]\ntonic-prost.workspace = true\n",
            &[
                "scoring/Cargo.toml:2: layers: `scoring` is pure: do without `tonic-prost`, or make it optional and off by default",
            ],
        );
    }

    #[test]
    fn tensors_are_named_in_one_crate_only() {
        check_one("model", "[dependencies]\ntch.workspace = true\n", &[]);
        check_one(
            "miner",
            "[dependencies]\ntch.workspace = true\n",
            &["miner/Cargo.toml:2: layers: only `model` names tensors: put the call behind its interface"],
        );
    }

    #[test]
    fn names_that_only_begin_alike_are_not_impure() {
        assert!(is_impure("tokio-util") && is_impure("tonic-health") && is_impure("sled"));
        assert!(!is_impure("miow") && !is_impure("sledgehammer"));
    }
}
