//! Measures how well inference is verified: the rows VER-1 to VER-7 of `docs/verification.md`.
//!
//! Answers come from the real engine, from honest machines and from cheats; they are measured by the real verifier
//! and judged by `scoring::verify` with the calibration that ships. Tests run the rows small, with bounds that small
//! models reach; `cargo xtask verify-bench` runs them in full. Nothing here decides anything in the product.

mod costs;
mod disputes;
mod figure;
mod finetune;
mod honest;
mod lab;
mod miner;
mod mixed;
mod power;
mod stats;

pub use costs::bytes;
pub use figure::{Bound, Figure, Row};
pub use lab::{Lab, Settings, Size};
pub use stats::Estimate;

/// What makes one row.
type Measure = fn(&Lab) -> anyhow::Result<Row>;

/// Every row, by its id.
pub const ROWS: [(&str, Measure); 7] = [
    ("VER-1", honest::row),
    ("VER-2", power::quantised),
    ("VER-3", power::others),
    ("VER-4", power::drafted),
    ("VER-5", mixed::row),
    ("VER-6", costs::row),
    ("VER-7", disputes::row),
];
