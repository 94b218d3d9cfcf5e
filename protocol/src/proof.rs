//! What is and what is not in the ledger's state, shown to somebody who knows nothing but its root.
//!
//! # The tree
//!
//! The state is a set of entries, each a key and a value of bytes. Its root is that of a binary tree whose shape
//! follows from the keys alone:
//!
//! - The *path* of a key are bits: for each byte a 1 and the byte's eight bits, the highest first, and a 0 behind
//!   the last byte. So bit `9 i` says whether there is a byte `i`, no path is the beginning of another, and paths
//!   are ordered as keys are.
//! - Where several entries meet, an inner node stands for the first bit in which their paths differ. Left of it are
//!   the entries that have a 0 there, right those that have a 1. A single entry is a leaf.
//! - A leaf is `H(0x00, length of the key as 4 bytes, key, H(value))`, an inner node is
//!   `H(0x01, bit as 2 bytes, left, right)`, the root is `D(number of entries as 8 bytes, top)`. `H` is plain
//!   BLAKE3, `D` is [`codec::digest`] in the domain `agon 2026-12 state root`, numbers are little-endian. The top of
//!   an empty state is 32 zero bytes.
//!
//! The first byte keeps a leaf from passing for an inner node, the number keeps states of different sizes apart,
//! the digest of the value lets a value be proven without being shown.
//!
//! # Why a proof holds
//!
//! Whoever looks for a key goes left or right at each inner node by the key's own bit, without comparing anything
//! before the end: either the leaf there has the key, or no leaf does. A proof is that walk: bit and the digest of
//! the other side for each node, and what was found at the end. Each bit is in the digest of its node, so nobody can
//! pretend that a node asks for another one, and all ways lead to the root.
//!
//! The same holds for all keys with one beginning: they lie below one node, together with nothing else. A proof of
//! a prefix ends with every entry there, so it shows also that none is left out.
//!
//! # Bounds
//!
//! A walk has at most one node for each bit of a key. Somebody who chooses keys close to another one can make its
//! walk that long, at the price of an entry for each node: [`STEPS_MAX`] nodes of 34 bytes, never more.

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::codec::{self, CodecError};
use crate::id::{Account, Digest, Hotkey, Netuid, Uid};

/// Most bytes of a key. The longest of the ledger's are some 70.
pub const KEY_BYTES_MAX: usize = 128;
/// Most inner nodes above a leaf: one for each bit of a path.
pub const STEPS_MAX: usize = 9 * KEY_BYTES_MAX + 1;

const LEAF: u8 = 0x00;
const INNER: u8 = 0x01;
const ROOT_CONTEXT: &str = "agon 2026-12 state root";

/// Digest of an entry, given the digest of its value.
///
/// # Panics
///
/// When the key has more bytes than 4 GiB.
#[must_use]
pub fn leaf_digest(key: &[u8], value: &Digest) -> Digest {
    let key_len = u32::try_from(key.len()).expect("keys are a few dozen bytes");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[LEAF]);
    hasher.update(&key_len.to_le_bytes());
    hasher.update(key);
    hasher.update(value.as_bytes());
    Digest(*hasher.finalize().as_bytes())
}

/// Digest of a value, as a leaf has it.
#[must_use]
pub fn value_digest(value: &[u8]) -> Digest {
    Digest(*blake3::hash(value).as_bytes())
}

/// Digest of an inner node.
#[must_use]
pub fn inner_digest(bit: u16, left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [INNER; 67];
    bytes[1..3].copy_from_slice(&bit.to_le_bytes());
    bytes[3..35].copy_from_slice(left.as_bytes());
    bytes[35..].copy_from_slice(right.as_bytes());
    Digest(*blake3::hash(&bytes).as_bytes())
}

/// Root of a state with so many entries below `top`.
#[must_use]
pub fn root_digest(entry_count: u64, top: &Digest) -> Digest {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(&entry_count.to_le_bytes());
    bytes[8..].copy_from_slice(top.as_bytes());
    codec::digest(ROOT_CONTEXT, &bytes)
}

/// A bit of a key's path; 0 behind its end.
#[must_use]
pub fn path_bit(key: &[u8], bit: u16) -> bool {
    let (index, place) = (usize::from(bit / 9), bit % 9);
    match (key.get(index), place) {
        (None, _) => false,
        (Some(_), 0) => true,
        (Some(byte), place) => byte >> (8 - place) & 1 == 1,
    }
}

/// The first bit in which the paths of two keys differ; `None` when the keys are equal.
///
/// # Panics
///
/// When they differ only behind their first 7,281 bytes.
#[must_use]
pub fn first_difference(a: &[u8], b: &[u8]) -> Option<u16> {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let place = match (a.get(equal), b.get(equal)) {
        (None, None) => return None,
        (Some(a), Some(b)) => 1 + (a ^ b).leading_zeros() as usize,
        _ => 0,
    };
    let bit = 9 * equal + place;
    Some(u16::try_from(bit).expect("keys are a few dozen bytes"))
}

/// What is asked for: one key, or every key with a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query<'a> {
    /// The entry of this key.
    Key(&'a [u8]),
    /// All entries whose keys start with this; none that start otherwise.
    Prefix(&'a [u8]),
}

impl<'a> Query<'a> {
    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Key(bytes) | Self::Prefix(bytes) => bytes,
        }
    }

    /// How many bits of a path it fixes: bits from here on are not its business.
    #[must_use]
    pub const fn bits(&self) -> usize {
        match self {
            Self::Key(key) => 9 * key.len() + 1,
            Self::Prefix(prefix) => 9 * prefix.len(),
        }
    }

    /// Whether a key is among those asked for.
    #[must_use]
    pub fn is_met_by(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(asked) => key == *asked,
            Self::Prefix(asked) => key.starts_with(asked),
        }
    }
}

/// Why a proof shows nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofError {
    /// The bytes are no proof.
    #[error("the proof is malformed: {0}")]
    Codec(#[from] CodecError),
    /// A key or a prefix of more bytes than a key may have.
    #[error("a key has {found} bytes, {bound} at most")]
    KeyTooLong {
        /// How many it has.
        found: usize,
        /// How many it may have.
        bound: usize,
    },
    /// The nodes do not ask for later and later bits.
    #[error("node {index} of the walk asks for bit {bit}, which is not behind that of the node before")]
    Order {
        /// Which node.
        index: usize,
        /// Its bit.
        bit: u16,
    },
    /// The walk goes where the question does not lead.
    #[error("node {index} of the walk asks for bit {bit}, where the walk turns away from what was asked for")]
    Astray {
        /// Which node.
        index: usize,
        /// Its bit.
        bit: u16,
    },
    /// What stands at the end is no answer to the question.
    #[error("the proof is of something else: {what}")]
    OtherQuestion {
        /// What does not fit.
        what: &'static str,
    },
    /// The walk leads to another root: a byte of proof, key, value or root is wrong.
    #[error("the proof leads to root {found}, not to {expected}: do not trust what it came with")]
    Root {
        /// Where it leads.
        found: Digest,
        /// Where it should lead.
        expected: Digest,
    },
}

/// A node of the walk, seen from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Step {
    /// Which bit it asks for.
    pub bit: u16,
    /// Digest of the side that the walk does not take.
    pub other: Digest,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// What stands at the end of the walk.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum End {
    /// The state has no entries at all.
    Nothing,
    /// All entries asked for, in key order; at least one.
    Found(Vec<Entry>),
    /// The first leaf below the place where they would be: a key that was not asked for.
    Other {
        /// Its key.
        key: Vec<u8>,
        /// Digest of its value.
        value: Digest,
    },
}

/// Shows what a state has, or that it does not have it: see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StateProof {
    /// How many entries the state has.
    pub entry_count: u64,
    /// The walk, from the top down.
    pub steps: Vec<Step>,
    /// Where it ends.
    pub end: End,
}

impl StateProof {
    /// Most canonical bytes of a proof: above what the longest value of an entry takes, which has 64 MiB.
    pub const BYTES_MAX: usize = 80 * 1024 * 1024;

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// How many bytes it adds to those of a [`RowProof`], a few less at most.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let end = match &self.end {
            End::Nothing => 0,
            End::Found(entries) => {
                let bytes = |entry: &Entry| 8 + entry.key.len() + entry.value.len();
                4 + entries.iter().map(bytes).sum::<usize>()
            }
            End::Other { key, .. } => 4 + key.len() + 32,
        };
        8 + 4 + 34 * self.steps.len() + 1 + end
    }

    /// Bounds and parses a proof; it shows nothing before it is verified.
    ///
    /// # Errors
    ///
    /// [`ProofError::Codec`] when the bytes are too many or no proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        Ok(codec::decode(bytes, Self::BYTES_MAX)?)
    }

    /// The value of `key` in the state of this root, or `None` when it is shown that the state has no such key.
    ///
    /// # Errors
    ///
    /// [`ProofError`] when the proof shows neither.
    pub fn verify(&self, root: &Digest, key: &[u8]) -> Result<Option<&[u8]>, ProofError> {
        let found = self.verify_query(root, Query::Key(key))?;
        Ok(found.first().map(|entry| entry.value.as_slice()))
    }

    /// Every entry whose key starts with `prefix` in the state of this root, in key order.
    ///
    /// # Errors
    ///
    /// [`ProofError`] when the proof does not show them all.
    pub fn verify_prefix(&self, root: &Digest, prefix: &[u8]) -> Result<&[Entry], ProofError> {
        self.verify_query(root, Query::Prefix(prefix))
    }

    fn verify_query(&self, root: &Digest, query: Query<'_>) -> Result<&[Entry], ProofError> {
        bounded(query.bytes())?;
        self.check_order()?;
        let (top, found) = match &self.end {
            End::Nothing => (self.nothing()?, [].as_slice()),
            End::Found(entries) => (self.found(query, entries)?, entries.as_slice()),
            End::Other { key, value } => (self.other(query, key, value)?, [].as_slice()),
        };
        let leads_to = root_digest(self.entry_count, &top);
        if leads_to != *root {
            return Err(ProofError::Root {
                found: leads_to,
                expected: *root,
            });
        }
        Ok(found)
    }

    fn check_order(&self) -> Result<(), ProofError> {
        let pairs = self.steps.windows(2).enumerate();
        for (index, pair) in pairs {
            if pair[1].bit <= pair[0].bit {
                let (index, bit) = (index + 1, pair[1].bit);
                return Err(ProofError::Order { index, bit });
            }
        }
        Ok(())
    }

    fn nothing(&self) -> Result<Digest, ProofError> {
        if self.entry_count != 0 || !self.steps.is_empty() {
            let what = "a state with entries is not empty";
            return Err(ProofError::OtherQuestion { what });
        }
        Ok(Digest::default())
    }

    fn found(&self, query: Query<'_>, entries: &[Entry]) -> Result<Digest, ProofError> {
        for Entry { key, .. } in entries {
            bounded(key)?;
            if !query.is_met_by(key) {
                let what = "it has an entry that was not asked for";
                return Err(ProofError::OtherQuestion { what });
            }
        }
        if !entries.windows(2).all(|pair| pair[0].key < pair[1].key) {
            let what = "its entries are not in key order";
            return Err(ProofError::OtherQuestion { what });
        }
        let Some(first) = entries.first() else {
            let what = "it says that entries were found and has none";
            return Err(ProofError::OtherQuestion { what });
        };
        let deep = self
            .steps
            .iter()
            .position(|step| usize::from(step.bit) >= query.bits());
        if let Some(index) = deep {
            let bit = self.steps[index].bit;
            return Err(ProofError::Astray { index, bit });
        }
        Ok(self.climb(&first.key, subtree_digest(entries)))
    }

    fn other(&self, query: Query<'_>, key: &[u8], value: &Digest) -> Result<Digest, ProofError> {
        bounded(key)?;
        if query.is_met_by(key) {
            let what = "it hides the value of what was asked for";
            return Err(ProofError::OtherQuestion { what });
        }
        for (index, Step { bit, .. }) in self.steps.iter().enumerate() {
            // Below the place the first leaf is taken, so that there is one proof and not several.
            let asked = usize::from(*bit) < query.bits() && query_bit(query, *bit);
            if path_bit(key, *bit) != asked {
                return Err(ProofError::Astray { index, bit: *bit });
            }
        }
        Ok(self.climb(key, leaf_digest(key, value)))
    }

    /// The digest of the top, from that of the end of the walk.
    fn climb(&self, key: &[u8], end: Digest) -> Digest {
        self.steps
            .iter()
            .rev()
            .fold(end, |below, Step { bit, other }| match path_bit(key, *bit) {
                false => inner_digest(*bit, &below, other),
                true => inner_digest(*bit, other, &below),
            })
    }
}

fn query_bit(query: Query<'_>, bit: u16) -> bool {
    path_bit(query.bytes(), bit)
}

fn bounded(key: &[u8]) -> Result<(), ProofError> {
    match key.len() {
        found if found > KEY_BYTES_MAX => Err(ProofError::KeyTooLong {
            found,
            bound: KEY_BYTES_MAX,
        }),
        _ => Ok(()),
    }
}

/// Digest of the node above all of `entries`, which are in key order and at least one.
///
/// As deep as keys have bits at most, since each step down fixes one more.
fn subtree_digest(entries: &[Entry]) -> Digest {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Digest::default();
    };
    let Some(bit) = first_difference(&first.key, &last.key) else {
        return leaf_digest(&first.key, &value_digest(&first.value));
    };
    let middle = entries.partition_point(|entry| !path_bit(&entry.key, bit));
    let (left, right) = entries.split_at(middle);
    inner_digest(bit, &subtree_digest(left), &subtree_digest(right))
}

/// Root of the state that has exactly these entries, in key order; keys that come twice count as one.
///
/// What a tree that is kept up to date must agree with, and all that another implementation needs.
#[must_use]
pub fn root_of(entries: &[Entry]) -> Digest {
    root_digest(entries.len() as u64, &subtree_digest(entries))
}

/// A row of what the ledger tells, which can be proven.
///
/// The committee is not among them: each header names the one of the next block by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ProofTarget {
    /// An account's nonce, free balance and all its stake.
    Account(Account),
    /// A subnet's record and parameters.
    Subnet(Netuid),
    /// A row of a metagraph.
    Neuron(Netuid, Uid),
    /// A validator's revealed weights and its open commits.
    Weights(Netuid, Uid),
    /// Everything that explains the epoch that ended a tempo.
    Epoch(Netuid, u64),
    /// What an account has staked on one hotkey in one subnet.
    Stake(Account, Netuid, Hotkey),
}

/// The proofs of all entries that a row is made of, in the order in which they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RowProof {
    /// One for each key or prefix.
    pub proofs: Vec<StateProof>,
}

impl RowProof {
    /// Most canonical bytes; they travel in chunks. Every row but one fits by construction: an account with tens of
    /// thousands of stakes does not, and each of them is a row of its own ([`ProofTarget::Stake`]).
    pub const BYTES_MAX: usize = StateProof::BYTES_MAX;

    /// Canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Bounds and parses the proofs; they show nothing before they are verified.
    ///
    /// # Errors
    ///
    /// [`ProofError::Codec`] when the bytes are too many or no proofs.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        Ok(codec::decode(bytes, Self::BYTES_MAX)?)
    }
}

#[cfg(test)]
mod tests;
