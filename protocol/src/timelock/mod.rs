//! Rows of weights that open by themselves: sealed to a pulse of a beacon that is yet to come.
//!
//! A beacon signs the number of each round when the round's time has come, and nothing else: an unchained beacon in the
//! manner of drand's quicknet. Whoever has the signature, the round's pulse, opens what was sealed to the round; before,
//! nobody can but who holds the beacon's secret. What drand's threshold holds together, on a beacon of one node's
//! ([`BeaconSecret`]) one node holds: it can open early, and it is for networks on one machine.
//!
//! # Format of a seal
//!
//! | bytes | what |
//! | --- | --- |
//! | 128 | a key of 16 bytes, encrypted to the round as drand's timelock has it: a point of G2, two masked blocks |
//! | the rest | [`Weights`] in canonical bytes under ChaCha20-Poly1305: the key is the digest of those 16 bytes, the nonce 0 |
//!
//! The key and the seed of its encryption are a digest of round and weights. Their salt is 32 random bytes that nobody
//! knows before the weights are shown, so no other randomness is needed, and weights that are sealed again after a
//! restart give the same bytes. The length of a seal tells how many UIDs are weighted.

mod ibe;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use ark_bls12_381::{Fr, G2Affine};
use ark_ff::AdditiveGroup;
use borsh::{BorshDeserialize, BorshSerialize};
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use thiserror::Error;

use crate::codec;
use crate::message::{MessageError, Weights, at_most};

/// Domain of the key and the seed of a seal.
const SEAL_CONTEXT: &str = "agon 2026-12 timelock seal";
/// Domain of the key that the row is under.
const ROW_KEY_CONTEXT: &str = "agon 2026-12 timelock row key";
/// Domain of the exponent of a beacon of one node's.
const SECRET_CONTEXT: &str = "agon 2026-12 beacon secret";
/// Bytes by which an authenticated ciphertext is longer than what is in it.
const TAG_BYTES: usize = 16;

/// Public key of a beacon: a point of G2, compressed.
#[derive(Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BeaconKey(pub [u8; ibe::G2_BYTES]);

/// Signature over a round: a point of G1, compressed.
#[derive(Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PulseSignature(pub [u8; ibe::G1_BYTES]);

macro_rules! hex_bytes {
    ($($name:ident: $len:expr),*) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut key = Self([0; $len]);
                hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut key.0)?;
                Ok(key)
            }
        })*
    };
}

hex_bytes!(BeaconKey: ibe::G2_BYTES, PulseSignature: ibe::G1_BYTES);

/// A beacon: who signs, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Beacon {
    /// Whose signatures are pulses.
    pub public_key: BeaconKey,
    /// Time of round 1, Unix milliseconds.
    pub first_ms: u64,
    /// Time from one round to the next, milliseconds.
    pub period_ms: u64,
}

/// Why a beacon cannot be one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BeaconError {
    /// The key is no point of the group, or the one that every signature fits.
    #[error("the beacon's public key is not a point of G2 that can be one")]
    PublicKey,
    /// Rounds too short or too long.
    #[error(
        "the beacon's period of {period_ms} ms is not from {} to {} ms",
        Beacon::PERIOD_MS_MIN,
        Beacon::PERIOD_MS_MAX
    )]
    Period {
        /// What was given.
        period_ms: u64,
    },
}

/// A signature that is not the round's pulse.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the signature is not the beacon's over round {round}")]
pub struct NoPulse {
    /// Which round.
    pub round: u64,
}

impl Beacon {
    /// Shortest period: less would only measure the network.
    pub const PERIOD_MS_MIN: u64 = 100;
    /// Longest period: an hour.
    pub const PERIOD_MS_MAX: u64 = 3_600_000;

    /// Drand's quicknet, chain 52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971: a round every three
    /// seconds since 2023-08-23. Figures from its own `/info`.
    #[must_use]
    pub fn quicknet() -> Self {
        let key = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451\
                   0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
        Self {
            public_key: key.parse().expect("192 hex digits"),
            first_ms: 1_692_803_367_000,
            period_ms: 3_000,
        }
    }

    /// Checks key and period.
    ///
    /// # Errors
    ///
    /// [`BeaconError`] naming what cannot be.
    pub fn validate(&self) -> Result<(), BeaconError> {
        let period_ms = self.period_ms;
        if !(Self::PERIOD_MS_MIN..=Self::PERIOD_MS_MAX).contains(&period_ms) {
            return Err(BeaconError::Period { period_ms });
        }
        self.key().map(drop)
    }

    fn key(&self) -> Result<G2Affine, BeaconError> {
        ibe::public_key(&self.public_key.0).ok_or(BeaconError::PublicKey)
    }

    /// When a round's pulse is made, Unix milliseconds; rounds start from 1.
    #[must_use]
    pub const fn time_ms(&self, round: u64) -> u64 {
        let since = round.saturating_sub(1).saturating_mul(self.period_ms);
        self.first_ms.saturating_add(since)
    }

    /// The first round whose time is not before `time_ms`.
    #[must_use]
    pub const fn round_from(&self, time_ms: u64) -> u64 {
        let since = time_ms.saturating_sub(self.first_ms);
        let periods = if self.period_ms == 0 {
            0
        } else {
            since.div_ceil(self.period_ms)
        };
        periods.saturating_add(1)
    }

    /// Checks that `signature` is the pulse of `round`.
    ///
    /// Costs a few milliseconds.
    ///
    /// # Errors
    ///
    /// [`NoPulse`] when it is not, or the beacon has no key.
    pub fn verify(&self, round: u64, signature: &PulseSignature) -> Result<(), NoPulse> {
        let (key, signature) = (self.key().ok(), ibe::signature(&signature.0));
        match (key, signature) {
            (Some(key), Some(signature)) if ibe::verify(&key, round, &signature) => Ok(()),
            _ => Err(NoPulse { round }),
        }
    }

    /// Seals weights to the pulse of `round`. Their salt has to be random and known to nobody else.
    ///
    /// # Errors
    ///
    /// [`BeaconError`] when the beacon's key is none.
    pub fn seal(&self, round: u64, weights: &Weights) -> Result<SealedWeights, BeaconError> {
        let key = self.key()?;
        let row = codec::encode(weights);
        let secret = codec::digest(SEAL_CONTEXT, &codec::encode(&(round, &row))).0;
        let (row_key, seed) = halves(&secret);
        let mut bytes = ibe::encrypt(&key, round, &row_key, &seed).to_vec();
        let sealed = row_cipher(&row_key).encrypt(&Nonce::default(), row.as_slice());
        bytes.extend(sealed.expect("a row is far shorter than what the cipher takes"));
        Ok(SealedWeights(bytes))
    }
}

fn halves(bytes: &[u8; 32]) -> ([u8; ibe::MESSAGE_BYTES], [u8; ibe::MESSAGE_BYTES]) {
    let half = |from: usize| std::array::from_fn(|index| bytes[from + index]);
    (half(0), half(ibe::MESSAGE_BYTES))
}

/// Each key has one row, so the nonce is always 0.
fn row_cipher(row_key: &[u8; ibe::MESSAGE_BYTES]) -> ChaCha20Poly1305 {
    let key = codec::digest(ROW_KEY_CONTEXT, row_key).0;
    ChaCha20Poly1305::new(&key.into())
}

/// Weights under a seal, as they came: whether they open, the pulse shows.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SealedWeights(pub Vec<u8>);

impl fmt::Debug for SealedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedWeights({} bytes)", self.0.len())
    }
}

/// Why a seal does not open.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealFault {
    /// Too few bytes for any row.
    #[error("the seal is shorter than its key")]
    Short,
    /// The pulse is no point of the group.
    #[error("the pulse is not a signature")]
    Pulse,
    /// No point at its beginning.
    #[error("the seal does not begin with a point of G2")]
    Point,
    /// To another round or beacon, or tampered with.
    #[error("the key of the seal does not open with this pulse")]
    Key,
    /// The row was not sealed with that key.
    #[error("the row does not open with the key of the seal")]
    Row,
    /// What is sealed is something else.
    #[error("what was sealed is no row of weights")]
    Weights,
}

impl SealedWeights {
    /// Most bytes: a row with all UIDs that a subnet may have.
    pub const BYTES_MAX: usize = ibe::CIPHERTEXT_BYTES + TAG_BYTES + Weights::BYTES_MAX;

    /// Opens the seal with the pulse of its round.
    ///
    /// Costs a few milliseconds, and as much for a seal that does not open.
    ///
    /// # Errors
    ///
    /// [`SealFault`] naming what does not open.
    pub fn open(&self, pulse: &PulseSignature) -> Result<Weights, SealFault> {
        let (key, row) = self.0.split_first_chunk().ok_or(SealFault::Short)?;
        let signature = ibe::signature(&pulse.0).ok_or(SealFault::Pulse)?;
        let row_key = ibe::decrypt(&signature, key).map_err(|fault| match fault {
            ibe::Undecrypted::Point => SealFault::Point,
            ibe::Undecrypted::Mismatch => SealFault::Key,
        })?;
        let row = row_cipher(&row_key).decrypt(&Nonce::default(), row);
        let row = row.map_err(|_| SealFault::Row)?;
        let weights: Weights = codec::decode(&row, Weights::BYTES_MAX).map_err(|_| SealFault::Weights)?;
        weights.validate().map_err(|_| SealFault::Weights)?;
        Ok(weights)
    }

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        at_most("sealed bytes", self.0.len(), Self::BYTES_MAX)
    }
}

/// The secret of a beacon that one node holds. `Debug` does not show it; it is wiped on drop.
pub struct BeaconSecret(Fr);

impl fmt::Debug for BeaconSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BeaconSecret of {}", self.public_key())
    }
}

impl Drop for BeaconSecret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl BeaconSecret {
    /// The secret that 32 random bytes give.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let mut bytes = [0; 64];
        let mut hasher = blake3::Hasher::new_derive_key(SECRET_CONTEXT);
        hasher.update(seed);
        hasher.finalize_xof().fill(&mut bytes);
        let secret = ibe::secret(&bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        assert_ne!(secret, Fr::ZERO, "no seed is known that gives 0");
        Self(secret)
    }

    /// The key that its pulses are checked with.
    #[must_use]
    pub fn public_key(&self) -> BeaconKey {
        BeaconKey(ibe::public_key_of(&self.0))
    }

    /// The pulse of a round. Whoever asks decides whether its time has come.
    #[must_use]
    pub fn sign(&self, round: u64) -> PulseSignature {
        PulseSignature(ibe::sign(&self.0, round))
    }
}
