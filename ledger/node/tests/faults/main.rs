//! What a committee of four survives: no block that was acknowledged is lost, no two nodes have different blocks, nobody
//! panics, and every node ends level.
//!
//! The members are processes of the real binary under a load of transfers; only a member that has to lie, or whose
//! clock has to be wrong, runs in this process. After each fault [`fleet::Fleet::check`] compares everything.
//!
//! | module | what goes wrong |
//! | --- | --- |
//! | `kills` | SIGKILL of one member, of all |
//! | `disk` | no room, damaged and lost files |
//! | `clocks` | a clock that jumps |
//! | `network` | members cut off from each other, a proposer that is silent |
//! | `hosts` | members on hosts of their own, of which one loses its line |
//! | `byzantine` | a member that breaks the rules, one that says two things |
//! | `figures` | what a fault costs: printed, not checked |
//!
//! `SEED=17` chooses the moments, not their exact effect: the machine has its say. A short form is the default. At
//! length, as before a release, and with the figures of `docs/performance.md`:
//!
//! ```text
//! FAULT_RUNS=50 FIGURE_SECONDS=60 FIGURE_BLOCKS=1000 cargo test --release -p agon-ledger-node --test faults -- --nocapture
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a failure here is read by the one who caused it"
)]

#[path = "../support/mod.rs"]
mod support;

mod byzantine;
mod clocks;
mod disk;
mod figures;
mod fleet;
mod hosts;
mod kills;
mod links;
mod load;
mod network;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Runs of each fault where `FAULT_RUNS` does not say.
const RUNS: u32 = 2;

/// A number from the environment.
fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// How often each fault is tried.
fn runs() -> u32 {
    number("FAULT_RUNS", RUNS)
}

/// Chance for one test.
fn random() -> ChaCha20Rng {
    let seed = number("SEED", 17);
    println!("SEED={seed}");
    ChaCha20Rng::seed_from_u64(seed.into())
}

/// A number below `bound`.
fn below(random: &mut ChaCha20Rng, bound: u64) -> u64 {
    random.next_u64() % bound
}
