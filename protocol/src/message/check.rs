//! A hotkey's wish that a node tries its axon.
//!
//! It names no address: a node tries what the ledger has, so that nobody can point it anywhere else.

use std::net::SocketAddr;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Axon, Message, MessageError};
use crate::id::{Account, BlockNumber, Digest, Hotkey, Netuid};
use crate::sign::Purpose;

/// What a hotkey signs to have its axon tried.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AxonCheck {
    /// The ledger.
    pub genesis: Digest,
    /// The subnet on which the axon is announced.
    pub netuid: Netuid,
    /// Whose axon; it signs.
    pub hotkey: Hotkey,
    /// When it was asked, Unix milliseconds.
    pub issued_ms: u64,
}

impl Message for AxonCheck {
    const PURPOSE: Purpose = Purpose::AxonCheck;
    const DIGEST_CONTEXT: &'static str = "agon 2026-11 axon check digest";
    const BYTES_MAX: usize = 128;

    fn signer(&self) -> Account {
        self.hotkey.into()
    }

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

/// How far a node came when it tried an axon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxonReach {
    /// A miner answers that it serves.
    Serving,
    /// Something answers, but no miner that serves.
    Other,
    /// The port is closed.
    Closed,
    /// Nothing answers in time.
    Silent,
    /// The address is not a public one, and the node does not try others.
    NotPublic,
}

/// What a node says of an axon it tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxonCheckView {
    /// How far it came.
    pub reach: AxonReach,
    /// The axon on the ledger.
    pub axon: Axon,
    /// Block of its announcement.
    pub axon_height: BlockNumber,
    /// How long it took, milliseconds.
    pub elapsed_ms: u32,
}

impl AxonCheckView {
    /// The address that was tried.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.axon.socket_addr()
    }
}
