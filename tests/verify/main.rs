//! The rows VER-1 to VER-7 of `docs/verification.md`, small: bounds that hold for a few dozen trials of small models.
//!
//! `SEED=17 cargo test -p agon-tests --test verify` runs them under another seed; `cargo xtask verify-bench` runs them in full.
