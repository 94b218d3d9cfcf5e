//! Chores of the repository: `cargo xtask <chore>`.
//!
//! A chore sets up what it needs (libtorch, see [`libtorch`]) and then calls cargo or one of Agon's own binaries.
//! Nothing of the product lives here, and nothing here is needed to run it. This binary has few dependencies on
//! purpose: it is the first thing a newcomer waits for.
//!
//! Standard output belongs to what a chore runs; whatever the chore itself has to say goes to standard error.
//!
//! # Exit codes
//!
//! 0 when all went well, 1 when a chore failed, 2 for a command line that is not understood, else the code of the
//! program that the chore ran.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore's output is its product"
)]

mod bench;
mod check;
mod docs;
mod doctor;
mod fuzz;
mod golden;
mod help;
mod host;
mod json;
mod libtorch;
mod localnet;
mod repo;
mod run;
mod setup;
mod sim;
mod test;
mod tidy;
mod train;
mod verify_bench;

use std::process::ExitCode;

/// Exit code for a command line that is not understood, as clap's own programs have it.
const USAGE_EXIT_CODE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match args.split_first() {
        None => return print_overview(),
        Some((name, rest)) => (name.as_str(), rest),
    };
    if matches!(name, "help" | "-h" | "--help") {
        return help::print(rest.first().map(String::as_str));
    }
    let Some(chore) = help::find(name) else {
        return help::refuse_unknown(name);
    };
    if asks_for_help(chore, rest) {
        return help::print(Some(chore.name));
    }
    match (chore.run)(rest) {
        Ok(code) => code,
        Err(error) => last_words(name, &error),
    }
}

fn print_overview() -> ExitCode {
    help::print(None);
    ExitCode::from(USAGE_EXIT_CODE)
}

/// Says whether `--help` is meant for the chore: behind it stands a program with a help of its own only where the
/// chore passes its arguments on, and then `cargo xtask help <chore>` is the way to the chore's text.
fn asks_for_help(chore: &help::Chore, args: &[String]) -> bool {
    let asked = |arg: &String| arg == "--help" || arg == "-h";
    if chore.passes_args_on {
        args.len() == 1 && asked(&args[0])
    } else {
        args.iter().any(asked)
    }
}

fn last_words(chore: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<help::UsageError>() {
        eprintln!("error: {usage}\n\n`cargo xtask help {chore}` shows what it takes.");
        return ExitCode::from(USAGE_EXIT_CODE);
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
