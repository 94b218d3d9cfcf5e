//! Fuzz targets: every decoder of bytes from outside, and the ledger's rules over any sequence of transactions.
//!
//! A [`Target`] takes bytes and panics where something does not hold: that nothing else panics, that what was
//! decoded encodes to the same bytes, that a proof shows the truth or nothing, that no base unit appears. The engine
//! feeds it a corpus and what mutations make of it. In a build that is instrumented (`cargo xtask fuzz`) inputs that
//! reach new code join the corpus; in an ordinary one (`cargo xtask test`) the engine mutates blindly, which is
//! enough to keep the targets from rotting.
//!
//! | module | holds |
//! | --- | --- |
//! | [`targets`] | what is fuzzed, and what has to hold |
//! | [`engine`] | one target, its corpus, and the loop |
//! | [`corpus`] | inputs in files |
//! | `mutate` | inputs made of other inputs |
//! | `coverage` | which code a run reached, where the build tells |
//! | `meter` | how much memory a run took |
//!
//! The choice of this engine is explained in `docs/decisions/0017-fuzzing.md`.

pub mod corpus;
mod coverage;
pub mod engine;
mod meter;
mod mutate;
pub mod targets;

pub use coverage::is_instrumented;
pub use targets::{TARGETS, Target};
