//! Real binaries on loopback, with real inference: what the localnet shows, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod attacks;
mod kill;
mod localnet;
