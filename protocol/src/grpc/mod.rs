//! Generated gRPC stubs, and the one place where wire messages become working types.
//!
//! Everything that came over the wire passes a `TryFrom` here, which bounds and validates it; behind this edge
//! everything is valid. Working types become wire messages by `From`.

mod accounts;
mod check;
mod events;
mod evidence;
mod metagraphs;
mod proofs;
mod signed;
mod subnets;
pub mod trace;

use crate::amount::Amount;
use crate::id::{Digest, Netuid, Uid};
use crate::message::{self, Message, MessageError, Signed, at_most};
use crate::session::Certificate;
use crate::sign::Signature;

pub use self::proofs::proven;

/// The generated messages, clients and servers of `proto/agon/v1`.
#[expect(missing_docs, reason = "generated code, documented in proto/")]
pub mod v1 {
    tonic::include_proto!("agon.v1");
}

/// The compiled schemas, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Request metadata that names the sender's hotkey.
pub const SENDER_METADATA: &str = "agon-hotkey";
/// Request metadata that names the miner a request is meant for.
pub const RECEIVER_METADATA: &str = "agon-receiver";

/// Most bytes a message to or from a miner may have: a signed challenge and its framing.
pub const MINER_MESSAGE_BYTES_MAX: usize = message::Challenge::BYTES_MAX + 1024;
/// Most bytes a message of an introduction may have: a certificate and its framing.
pub const INTRODUCTION_BYTES_MAX: usize = Certificate::BYTES_MAX + 64;
/// Most bytes a message to or from a ledger node may have: a block, or a metagraph of 4,096 neurons.
pub const LEDGER_MESSAGE_BYTES_MAX: usize = message::Block::BYTES_MAX + 1024;

/// Most headers of one reply.
pub const LIGHT_HEADERS_MAX: usize = 1_000;

/// Most bytes of the record of an epoch: the longest value of an entry of the state.
pub const EPOCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most hotkeys that one reply tells of a coldkey.
pub const HOTKEYS_MAX: usize = 4_096;

/// Most entries of any list in a reply of a node; more than any honest node sends.
const LIST_MAX: usize = 65_536;
/// Most bytes of a name or sentence in a reply of a node.
const TEXT_BYTES_MAX: usize = 4_096;

fn key(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], MessageError> {
    bytes.try_into().map_err(|_| MessageError::Invalid {
        field,
        reason: format!("{} bytes instead of 32", bytes.len()),
    })
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, MessageError> {
    key(field, bytes).map(Digest)
}

fn narrow(field: &'static str, value: u32) -> Result<u16, MessageError> {
    u16::try_from(value).map_err(|_| MessageError::TooLarge {
        field,
        value: value.into(),
        bound: u16::MAX.into(),
    })
}

fn netuid(value: u32) -> Result<Netuid, MessageError> {
    narrow("netuid", value).map(Netuid)
}

fn uid(value: u32) -> Result<Uid, MessageError> {
    narrow("uid", value).map(Uid)
}

fn amount(base_units: u64) -> Amount {
    Amount::from_base_units(base_units)
}

fn text(field: &'static str, text: String) -> Result<String, MessageError> {
    at_most(field, text.len(), TEXT_BYTES_MAX)?;
    Ok(text)
}

/// Converts a bounded list, item by item.
fn list<W, T>(field: &'static str, items: Vec<W>) -> Result<Vec<T>, MessageError>
where
    T: TryFrom<W, Error = MessageError>,
{
    at_most(field, items.len(), LIST_MAX)?;
    items.into_iter().map(T::try_from).collect()
}

/// Takes a signed message out of its two wire fields.
///
/// # Errors
///
/// [`MessageError`] when bytes or signature break a limit; the signature is not checked.
pub fn signed<T: Message>(bytes: Vec<u8>, signature: &[u8]) -> Result<Signed<T>, MessageError> {
    let signature = Signature::try_from(signature)?;
    Signed::from_parts(bytes, signature)
}
