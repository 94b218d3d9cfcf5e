//! `agon-node`: begins, runs and verifies a ledger.

use std::process::ExitCode;

use agon_ledger_node::args::{self, Args};
use clap::Parser;

fn main() -> ExitCode {
    match args::run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => agon_runtime::last_words(error.as_ref()),
    }
}
