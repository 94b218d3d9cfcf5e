//! Whole tempos of one validator, honest and forged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod fixture;
mod steps;
mod trails;
