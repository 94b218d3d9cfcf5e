//! The table of chores, and what is printed about them.

use std::fmt;
use std::process::ExitCode;

use crate::{
    USAGE_EXIT_CODE, bench, check, docs, doctor, fuzz, golden, localnet, setup, sim, test, tidy, train,
    verify_bench,
};

/// One chore of the table.
pub(crate) struct Chore {
    pub(crate) name: &'static str,
    /// One line for the overview.
    summary: &'static str,
    /// Usage, what it does, examples.
    text: &'static str,
    /// Its arguments belong to the program that it runs.
    pub(crate) passes_args_on: bool,
    pub(crate) run: fn(&[String]) -> anyhow::Result<ExitCode>,
}

/// Every chore, in the order in which a newcomer meets them.
const CHORES: &[Chore] = &[
    Chore {
        name: "localnet",
        summary: "set up, build, and run a whole subnet on this machine",
        text: localnet::HELP,
        passes_args_on: true,
        run: localnet::run,
    },
    Chore {
        name: "test",
        summary: "set up, build, and run every test",
        text: test::HELP,
        passes_args_on: true,
        run: test::run,
    },
    Chore {
        name: "doctor",
        summary: "say what this machine has and what it lacks",
        text: doctor::HELP,
        passes_args_on: false,
        run: doctor::run,
    },
    Chore {
        name: "setup",
        summary: "fetch libtorch and link it into .libtorch, nothing else",
        text: setup::HELP,
        passes_args_on: false,
        run: setup::run,
    },
    Chore {
        name: "check",
        summary: "tidy, fmt, clippy, doc, test: what CI runs",
        text: check::HELP,
        passes_args_on: false,
        run: check::run,
    },
    Chore {
        name: "tidy",
        summary: "house rules: manifests, module docs, links, layers",
        text: tidy::HELP,
        passes_args_on: false,
        run: tidy::run,
    },
    Chore {
        name: "golden",
        summary: "run the golden tests, or rewrite their files",
        text: golden::HELP,
        passes_args_on: true,
        run: golden::run,
    },
    Chore {
        name: "fuzz",
        summary: "look for inputs that break a decoder or the ledger's rules",
        text: fuzz::HELP,
        passes_args_on: true,
        run: fuzz::run,
    },
    Chore {
        name: "docs",
        summary: "write the documents that come from tables in the code",
        text: docs::HELP,
        passes_args_on: false,
        run: docs::run,
    },
    Chore {
        name: "bench",
        summary: "run the benches",
        text: bench::HELP,
        passes_args_on: true,
        run: bench::run,
    },
    Chore {
        name: "sim",
        summary: "run every simulated attack, with the rules against it and without",
        text: sim::HELP,
        passes_args_on: true,
        run: sim::run,
    },
    Chore {
        name: "verify-bench",
        summary: "measure how well inference is verified",
        text: verify_bench::HELP,
        passes_args_on: true,
        run: verify_bench::run,
    },
    Chore {
        name: "train",
        summary: "train the small models that ship in models/",
        text: train::HELP,
        passes_args_on: true,
        run: train::run,
    },
];

/// A command line that a chore does not understand.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

pub(crate) fn find(name: &str) -> Option<&'static Chore> {
    CHORES.iter().find(|chore| chore.name == name)
}

/// Prints the overview, or the text of one chore.
pub(crate) fn print(name: Option<&str>) -> ExitCode {
    match name.map(|name| (name, find(name))) {
        None => println!("{}", overview()),
        Some((_, Some(chore))) => println!("{}", chore.text.trim_end()),
        Some((name, None)) => return refuse_unknown(name),
    }
    ExitCode::SUCCESS
}

pub(crate) fn refuse_unknown(name: &str) -> ExitCode {
    eprintln!(
        "error: no chore is called `{name}`{}\n\n{}",
        suggestion(name),
        overview()
    );
    ExitCode::from(USAGE_EXIT_CODE)
}

/// Takes the flags of a chore that has no other arguments: true for each of `known` that was given.
pub(crate) fn flags<const N: usize>(args: &[String], known: [&str; N]) -> anyhow::Result<[bool; N]> {
    let mut given = [false; N];
    for arg in args {
        match known.iter().position(|flag| flag == arg) {
            Some(index) => given[index] = true,
            None => return Err(UsageError(format!("unknown argument `{arg}`")).into()),
        }
    }
    Ok(given)
}

fn overview() -> String {
    let width = CHORES.iter().map(|chore| chore.name.len()).max().unwrap_or(0);
    let mut text = String::from("Usage: cargo xtask <chore> [arguments]\n\nChores:\n");
    for chore in CHORES {
        text += &format!("  {:width$}  {}\n", chore.name, chore.summary);
    }
    text += "\n`cargo xtask help <chore>` has the details and examples.\n\n";
    text += "Start here:\n  cargo xtask localnet    miners with better models earn more, in about a minute once built\n";
    text += "  cargo xtask test        every test; needs no GPU";
    text
}

fn suggestion(name: &str) -> String {
    /// More edits than this and the likeness is chance.
    const EDITS_MAX: usize = 2;
    CHORES
        .iter()
        .map(|chore| (edits(name, chore.name), chore.name))
        .filter(|(distance, near)| *distance <= EDITS_MAX || near.starts_with(name))
        .min()
        .map(|(_, near)| format!("; did you mean `{near}`?"))
        .unwrap_or_default()
}

/// Levenshtein distance in bytes.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_chore_brings_the_one_that_was_meant() {
        for (typed, meant) in [
            ("tset", "test"),
            ("localnte", "localnet"),
            ("doc", "docs"),
            ("docto", "doctor"),
            ("chekc", "check"),
        ] {
            assert_eq!(suggestion(typed), format!("; did you mean `{meant}`?"), "{typed}");
        }
        assert_eq!(suggestion("fly"), "");
    }

    #[test]
    fn every_chore_explains_itself_with_an_example() {
        for chore in CHORES {
            assert!(
                chore.text.contains("Usage: cargo xtask "),
                "{} has no usage",
                chore.name
            );
            assert!(chore.text.contains("Examples:"), "{} has no examples", chore.name);
        }
    }

    #[test]
    fn an_unknown_flag_is_refused_by_name() {
        assert_eq!(
            flags(&["--cuda".into()], ["--cuda", "--json"]).unwrap(),
            [true, false]
        );
        let error = flags(&["--cud".into()], ["--cuda"]).unwrap_err();
        assert_eq!(error.to_string(), "unknown argument `--cud`");
    }
}
