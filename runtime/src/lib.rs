//! Where clock, randomness, transport and disk enter, and the habits every process shares.
//!
//! Roles take what they need from here as values ([`Clock`], [`Entropy`], [`Net`], [`Shutdown`]), so that the same
//! `run(config, shutdown)` serves a real process and a simulated subnet in which time, randomness and links are
//! given. No other crate of the workspace asks the operating system for the time or for random bytes.
//!
//! What it does not do: it knows no message, no key and no rule of the ledger.

pub mod clock;
pub mod entropy;
pub mod files;
pub mod flags;
pub mod framed_log;
pub mod net;
pub mod shutdown;
pub mod telemetry;

pub use clock::Clock;
pub use entropy::Entropy;
pub use flags::last_words;
pub use framed_log::FramedLog;
pub use net::Net;
pub use shutdown::Shutdown;
