//! `tidy`: house rules that no compiler checks.
//!
//! One file per kind of rule: [`manifests`] and [`layers`] read `Cargo.toml`, [`sources`] reads Rust and every other
//! text, [`links`] reads Markdown. A violation names file and line, the rule, and what to do. The same rules run as a
//! test of this package, over the checkout it lies in.

mod layers;
mod links;
mod manifests;
mod sources;
mod tree;

use std::fmt;
use std::process::ExitCode;

use anyhow::bail;

pub(crate) use tree::Tree;

use crate::help;
use crate::repo::Repo;

pub(crate) const HELP: &str = "\
Usage: cargo xtask tidy

Checks house rules: manifests inherit versions and lints, packages depend downwards only, pure
crates stay pure, every Rust file says what it is for, nothing is left unfinished or switched
off, relative links in Markdown lead somewhere, no file names a folder of someone's machine.
Prints file:line, the rule, and what to do; exit code 1 where there is anything to print.

Examples:
  cargo xtask tidy
";

/// One place where a rule does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    path: String,
    /// Counted from 1.
    line: usize,
    rule: &'static str,
    /// What is wrong, and what to do.
    advice: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let [] = help::flags(args, [])?;
    require(&Repo::locate()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints every violation, and fails where there is one.
pub(crate) fn require(repo: &Repo) -> anyhow::Result<()> {
    let tree = Tree::read(repo.root())?;
    let violations = violations(&tree, &repo.members()?);
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => eprintln!("tidy: {} files, all in order", tree.files().len()),
        count => bail!("{count} house rules broken"),
    }
    Ok(())
}

fn violations(tree: &Tree, members: &[String]) -> Vec<Violation> {
    let mut found = manifests::check(tree, members);
    found.extend(layers::check(tree, members));
    found.extend(sources::check(tree));
    found.extend(links::check(tree));
    found.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_keeps_its_house_rules() {
        let repo = Repo::locate().unwrap();
        let tree = Tree::read(repo.root()).unwrap();
        let found: Vec<String> = violations(&tree, &repo.members().unwrap())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }

    #[test]
    fn a_violation_is_printed_as_file_and_line_rule_and_advice() {
        let violation = Violation {
            path: "a/b.rs".into(),
            line: 3,
            rule: "module doc",
            advice: "say what it is for".into(),
        };
        assert_eq!(violation.to_string(), "a/b.rs:3: module doc: say what it is for");
    }
}
