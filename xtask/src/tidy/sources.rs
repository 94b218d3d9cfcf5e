//! Source files: what each opens with, what none contains.

use super::tree::TextFile;
use super::{Tree, Violation};

/// Macros and attributes that leave work undone or switched off, with what to do instead. Each name is written in two
/// parts, so that this file does not contain it.
const UNFINISHED: [(&str, &str); 6] = [
    (concat!("to", "do!("), "finish it, or leave it out"),
    (concat!("unimple", "mented!("), "finish it, or leave it out"),
    (concat!("db", "g!("), "remove it, or use `tracing`"),
    (
        concat!("#[ig", "nore"),
        "make the test quick and reliable enough to run always, or remove it",
    ),
    (concat!("#[should", "_panic"), "return an error and assert it"),
    (concat!("FIX", "ME"), "mend it, or open an issue"),
];

/// First components of absolute paths that differ from machine to machine.
const PRIVATE_FOLDERS: [&str; 5] = ["home", "root", "Users", "work", "mnt"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.with_extension("rs") {
        check_module_doc(file, &mut found);
        check_unfinished(file, &mut found);
    }
    for file in tree.files() {
        check_private_paths(file, &mut found);
    }
    found
}

/// Build scripts are exempt: they have one purpose, and their name says it.
fn check_module_doc(file: &TextFile, found: &mut Vec<Violation>) {
    let is_build_script = file.path == "build.rs" || file.path.ends_with("/build.rs");
    if !is_build_script && !file.text.starts_with("//!") {
        let advice = "open the file with `//!`: what it is for, and what it does not do".to_owned();
        found.push(Violation {
            path: file.path.clone(),
            line: 1,
            rule: "module doc",
            advice,
        });
    }
}

fn check_unfinished(file: &TextFile, found: &mut Vec<Violation>) {
    for (line, text) in file.numbered_lines() {
        for (word, instead) in UNFINISHED {
            if text.contains(word) {
                let advice = format!("`{word}` is not kept here: {instead}");
                found.push(Violation {
                    path: file.path.clone(),
                    line,
                    rule: "unfinished",
                    advice,
                });
            }
        }
    }
}

fn check_private_paths(file: &TextFile, found: &mut Vec<Violation>) {
    for (line, text) in file.numbered_lines() {
        for folder in PRIVATE_FOLDERS {
            if names_folder(text, folder) {
                let advice = format!(
                    "a path below the folder `{folder}` exists on one machine only: make it relative, or an argument"
                );
                found.push(Violation {
                    path: file.path.clone(),
                    line,
                    rule: "machine path",
                    advice,
                });
            }
        }
    }
}

/// True where `text` has `/folder/` at the beginning of a path.
fn names_folder(text: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    let begins = |at: usize| {
        text[..at]
            .chars()
            .next_back()
            .is_none_or(|c| !c.is_alphanumeric() && !"._-~/}*".contains(c))
    };
    text.match_indices(&path).any(|(at, _)| begins(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_one(path: &str, text: &str, expected: &[(usize, &str)]) {
        let found = check(&Tree::of(&[(path, text)]));
        let found: Vec<(usize, &str)> = found
            .iter()
            .map(|violation| (violation.line, violation.rule))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_rust_file_opens_with_its_purpose() {
        check_one("a/src/lib.rs", "//! Why.\n", &[]);
        check_one("a/build.rs", "fn main() {}\n", &[]);
        check_one("a/src/lib.rs", "use std::fs;\n", &[(1, "module doc")]);
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        for (word, _) in UNFINISHED {
            check_one("a.rs", &format!("//! Why.\n    {word}\n"), &[(2, "unfinished")]);
        }
    }

    #[test]
    fn a_path_of_one_machine_is_found_wherever_it_begins() {
        for folder in PRIVATE_FOLDERS {
            check_one(
                "a.md",
                &format!("see `/{folder}/someone/file`\n"),
                &[(1, "machine path")],
            );
            check_one(
                "a.md",
                &format!("https://example.org/{folder}/page, src/{folder}/mod.rs, ~/{folder}/x\n"),
                &[],
            );
        }
    }
}
