//! What tests of several roles share: readers instead of models, misbehaviour, a whole subnet in one process.
//!
//! No product code depends on this package. Its binary `agon-test-miner` is a miner with a `--behave` flag, for
//! `agon localnet` and the end-to-end suite.

pub mod behave;
pub mod process;
pub mod quantise;
pub mod reader;
pub mod subnet;
pub mod verify;
