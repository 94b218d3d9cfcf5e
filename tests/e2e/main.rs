//! Real binaries on loopback, with real inference: what the localnet shows, and what it leaves behind.

mod kill;
mod localnet;
