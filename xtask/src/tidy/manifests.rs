//! Manifests: versions live in the workspace, members inherit.

use super::{Tree, Violation};
use crate::repo::package_of;

/// What every member takes from the workspace.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// One `key = value` of a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    /// Name of the table it stands in, as `dev-dependencies`.
    pub(super) table: String,
    pub(super) key: String,
    /// With line breaks of a multi-line value replaced by spaces.
    pub(super) value: String,
}

/// One dependency of a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) is_optional: bool,
    is_inherited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Build,
    Dev,
}

pub(super) fn check(tree: &Tree, members: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for folder in members {
        let path = format!("{folder}/Cargo.toml");
        match tree.file(&path) {
            Some(file) => check_member(&path, folder, &entries(&file.text), &mut found),
            None => found.push(violation(
                "Cargo.toml",
                1,
                format!("member `{folder}` has no {path}: add it"),
            )),
        }
    }
    found
}

fn check_member(path: &str, folder: &str, entries: &[Entry], found: &mut Vec<Violation>) {
    let has = |table: &str, key: &str, value: &str| {
        entries.iter().any(|entry| {
            (entry.table.as_str(), entry.key.as_str(), entry.value.as_str()) == (table, key, value)
        })
    };
    let package = package_of(folder);
    if !has("package", "name", &format!("\"{package}\"")) {
        found.push(violation(
            path,
            1,
            format!("folder `{folder}` holds the package `{package}`: name it so"),
        ));
    }
    for key in INHERITED {
        if !has("package", &format!("{key}.workspace"), "true") {
            found.push(violation(
                path,
                1,
                format!("write `{key}.workspace = true` under [package]"),
            ));
        }
    }
    if !has("lints", "workspace", "true") {
        found.push(violation(
            path,
            1,
            "write `workspace = true` under [lints]".to_owned(),
        ));
    }
    for dependency in dependencies(entries)
        .iter()
        .filter(|dependency| !dependency.is_inherited)
    {
        let name = &dependency.name;
        let advice = format!(
            "give `{name}` its version in the root [workspace.dependencies], and write `{name}.workspace = true` here"
        );
        found.push(violation(path, dependency.line, advice));
    }
}

fn violation(path: &str, line: usize, advice: String) -> Violation {
    Violation {
        path: path.to_owned(),
        line,
        rule: "manifest",
        advice,
    }
}

/// The dependencies among `entries`.
pub(super) fn dependencies(entries: &[Entry]) -> Vec<Dependency> {
    entries.iter().filter_map(dependency).collect()
}

fn dependency(entry: &Entry) -> Option<Dependency> {
    let (table, name_in_table) = match entry.table.rsplit_once("dependencies.") {
        Some((before, name)) => (format!("{before}dependencies"), Some(name)),
        None => (entry.table.clone(), None),
    };
    let kind = match table.rsplit('.').next() {
        Some("dependencies") => Kind::Normal,
        Some("build-dependencies") => Kind::Build,
        Some("dev-dependencies") => Kind::Dev,
        _ => return None,
    };
    let (name, field) = match name_in_table {
        // `[dependencies.name]`: each key is a field of it, and the first one would speak for all.
        Some(name) => (name, "table"),
        None => entry.key.split_once('.').unwrap_or((&entry.key, "")),
    };
    let says = |what: &str| entry.value.split([',', '{', '}']).any(|part| part.trim() == what);
    Some(Dependency {
        line: entry.line,
        name: name.to_owned(),
        kind,
        is_optional: says("optional = true"),
        is_inherited: (field == "workspace" && entry.value == "true") || says("workspace = true"),
    })
}

/// Reads the part of TOML that manifests are written in: tables, and keys with values that may span lines.
pub(super) fn entries(text: &str) -> Vec<Entry> {
    let mut table = String::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut open_brackets = 0;
    for (index, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        if open_brackets > 0 {
            let entry = entries.last_mut().expect("a bracket was opened by an entry");
            entry.value = format!("{} {line}", entry.value);
        } else if let Some(name) = line.strip_prefix('[') {
            table = name.trim_matches(['[', ']']).to_owned();
            continue;
        } else if let Some((key, value)) = line.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            entries.push(Entry {
                line: index + 1,
                table: table.clone(),
                key,
                value,
            });
        }
        open_brackets += bracket_balance(line);
    }
    entries
}

fn bracket_balance(line: &str) -> i32 {
    line.chars().fold(0, |balance, c| match c {
        '[' | '{' => balance + 1,
        ']' | '}' => balance - 1,
        _ => balance,
    })
}

/// Cuts a comment off; a `#` inside quotes is not one.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (index, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..index],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[package]
name = \"agon-scoring\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
thiserror.workspace = true # why
tokio = { workspace = true, features = [\"net\"], optional = true }

[lints]
workspace = true
";

    #[track_caller]
    fn check_one(manifest: &str, expected: &[&str]) {
        let tree = Tree::of(&[("scoring/Cargo.toml", manifest)]);
        let found: Vec<String> = check(&tree, &["scoring".to_owned()])
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_manifest_that_inherits_everything_is_in_order() {
        check_one(GOOD, &[]);
    }

    #[test]
    fn a_version_in_a_member_is_found_with_its_line() {
        check_one(
            &GOOD.replace("thiserror.workspace = true", "thiserror = \"2\""),
            &[
                "scoring/Cargo.toml:10: manifest: give `thiserror` its version in the root [workspace.dependencies], and write `thiserror.workspace = true` here",
            ],
        );
    }

    #[test]
    fn a_member_without_lints_is_found() {
        check_one(
            &GOOD.replace("[lints]\nworkspace = true\n", ""),
            &["scoring/Cargo.toml:1: manifest: write `workspace = true` under [lints]"],
        );
    }

    #[test]
    fn a_package_is_named_after_its_folder() {
        check_one(
            &GOOD.replace("agon-scoring", "scoring"),
            &[
                "scoring/Cargo.toml:1: manifest: folder `scoring` holds the package `agon-scoring`: name it so",
            ],
        );
    }

    #[test]
    fn values_may_span_lines() {
        let found = entries("[features]\ngrpc = [\n  \"dep:tonic\", # why\n]\nlast = 1\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].value, "[ \"dep:tonic\", ]");
        assert_eq!((found[1].line, found[1].key.as_str()), (5, "last"));
    }

    #[test]
    fn optional_dependencies_are_told_apart() {
        let found = dependencies(&entries(GOOD));
        assert_eq!(
            found
                .iter()
                .map(|d| (d.name.as_str(), d.is_optional))
                .collect::<Vec<_>>(),
            [("thiserror", false), ("tokio", true)]
        );
    }
}
