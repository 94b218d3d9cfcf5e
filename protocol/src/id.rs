//! Identifiers every role agrees on: keys, numbers of subnets and slots, block heights, digests.
//!
//! They are newtypes without arithmetic between kinds, so that a UID cannot be taken for a netuid nor a hotkey
//! for a coldkey. A UID names a *slot* and is reused; identity is the hotkey.

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::ss58::{self, Ss58Error};

/// Declares a 32-byte public key that is shown and read as an SS58 address.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The raw public key.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&ss58::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Ss58Error;

            fn from_str(text: &str) -> Result<Self, Ss58Error> {
                ss58::decode(text).map(Self)
            }
        }
    };
}

key! {
    /// Key that signs online and holds a UID.
    Hotkey
}

key! {
    /// Key that owns stake and hotkeys and stays offline.
    Coldkey
}

key! {
    /// Whoever signs a transaction, a hotkey or a coldkey: the holder of a nonce.
    Account
}

key! {
    /// Key that a member of the committee votes with; it holds nothing and lives on the node.
    ConsensusKey
}

impl From<ConsensusKey> for Account {
    fn from(key: ConsensusKey) -> Self {
        Self(key.0)
    }
}

impl From<Hotkey> for Account {
    fn from(hotkey: Hotkey) -> Self {
        Self(hotkey.0)
    }
}

impl From<Coldkey> for Account {
    fn from(coldkey: Coldkey) -> Self {
        Self(coldkey.0)
    }
}

/// Declares a numeric identifier with a named constructor.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
        )]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

number! {
    /// Number of a subnet.
    Netuid(u16)
}

number! {
    /// Number of a slot in a subnet; reused when its neuron is replaced.
    Uid(u16)
}

number! {
    /// Height of a block; the genesis state is height 0, the first block height 1.
    BlockNumber(u64)
}

impl BlockNumber {
    /// The height after this one; saturates at the end of `u64`, which no ledger reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A domain-separated BLAKE3 digest; see [`crate::codec::digest`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The raw digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}
