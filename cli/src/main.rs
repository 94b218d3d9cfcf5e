//! `agon`: the operator's tool.

use std::process::ExitCode;

use agon_cli::{Cli, output, run};
use agon_runtime::flags;
use clap::Parser;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough, as in `agon metagraph | head`.
        Err(error) if error.is::<output::Closed>() => ExitCode::SUCCESS,
        Err(error) => flags::last_words(error.as_ref()),
    }
}
