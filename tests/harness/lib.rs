//! What tests of several roles share: readers instead of models, misbehaviour, a whole subnet in one process.
//!
//! No product code depends on this package. Its binaries `agon-test-miner`, a miner with a `--behave` flag, and
//! `agon-test-validator`, one that breaks the rules, are for `agon localnet` and the end-to-end suite.

pub mod behave;
pub mod process;
pub mod quantise;
pub mod reader;
pub mod relay;
pub mod rogue;
pub mod subnet;
pub mod verify;
