//! Words and bytes every role agrees on: identifiers, amounts, canonical encoding, signatures, messages, wallets.
//!
//! A type belongs here when two roles must agree on its bytes. Nothing here opens a socket or reads a clock.
//!
//! | module | holds |
//! | --- | --- |
//! | [`id`], [`amount`] | hotkeys, coldkeys, UIDs, netuids, heights, digests; base units |
//! | [`codec`] | the canonical encoding of everything hashed or signed |
//! | [`sign`] | schnorrkel signatures and verifiable draws, one context per kind of message |
//! | [`ss58`], [`mod@derive`] | addresses; mnemonics and derivation paths |
//! | [`merkle`] | one digest for a list, and proofs of its leaves |
//! | [`message`] | challenges, receipts, transactions, blocks, and what a node tells about its state |
//! | [`session`] | keys by which a validator asks without saying who it is |
//! | [`timelock`] | weights that open by themselves, by the pulses of a beacon |
//! | [`light`] | following a ledger by its headers and the certificates of its committee |
//! | [`proof`] | what is and what is not in a state, shown from its root |
//! | `serde` (feature) | calls as JSON |
//! | `wallet` (feature) | wallet folders and key files |
//! | `grpc` (feature) | generated stubs, and the one place where wire messages become working types |

pub mod amount;
pub mod codec;
pub mod derive;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod id;
#[cfg(feature = "serde")]
mod json;
pub mod light;
pub mod merkle;
pub mod message;
pub mod proof;
pub mod session;
pub mod sign;
pub mod ss58;
pub mod timelock;
#[cfg(feature = "wallet")]
pub mod wallet;
