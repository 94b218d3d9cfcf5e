//! Keys by which a validator asks without saying who it is.
//!
//! A miner that knows who asks can serve those with much stake alone. So a validator asks by a key of its own for each
//! tempo, its *session*, and shows with a [`ring::Certificate`] that the key is a permitted validator's of that tempo,
//! but not whose. When it has asked everything it shows on the ledger whose session it was.
//!
//! # What it is made of
//!
//! - The hotkey `H = x G` evaluates a VRF over [`SessionInput`], and the session's key is `S = H + t G`, where `t` is hashed
//!   from `H` and the VRF's output: soft derivation, as wallets have it. Pre-output and proof are shown with the commit.
//! - Its *tag* is `I = x B`, where `B` is the point that `H` and the input are hashed to under a label of its own. There
//!   is one for each key and tempo, and the certificate shows it.
//!
//! The two have to be of different points. The output of the VRF is a hash of public things and its pre-output, so a
//! certificate that showed that would let anyone derive `S` of each member in turn and see which one it is.
//!
//! Nobody can tell which `H` an `S` belongs to without the output, and whoever is shown `H` and the proof computes `S`
//! ([`session_key`]). No hotkey can choose its `S`, and all of it is fixed before the tempo's beacon is known, so draws
//! by `S` are as little chosen as those by `H`.
//!
//! # What it does not do
//!
//! It hides no address and no time of a request. The certificate does not show that `S` is the session of its tag:
//! a validator that certifies another key is found out when it commits to its evidence, which has no draws by `S` then.

pub mod ring;
#[cfg(test)]
mod tests;

use borsh::{BorshDeserialize, BorshSerialize};
use schnorrkel::PublicKey;
use schnorrkel::derive::{ChainCode, Derivation};

pub use self::ring::{Certificate, Introduced, Ring};
use crate::codec;
use crate::id::{Digest, Hotkey, Netuid};
use crate::sign::{DrawProof, Keypair, NoEntropy, SignError, verify_draw_of};

/// Label of the VRF that a session's key is derived from.
const SESSION_LABEL: &[u8] = b"agon/v1/session";
/// Label of the points whose multiples are tags.
const TAG_LABEL: &[u8] = b"agon/v1/session-tag";
/// Context of the bytes that a session's key is derived by.
const SESSION_OUTPUT_CONTEXT: &[u8] = b"agon/v1/session-output";
/// Index of the derivation of a session's key.
const SESSION_INDEX: &[u8] = b"agon/v1/session-key";

/// What a session is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SessionInput {
    /// Digest of the genesis: which ledger.
    pub genesis: Digest,
    /// Which subnet.
    pub netuid: Netuid,
    /// Which tempo of the subnet.
    pub tempo: u64,
}

impl SessionInput {
    fn transcript(&self, label: &'static [u8]) -> merlin::Transcript {
        let mut transcript = merlin::Transcript::new(label);
        transcript.append_message(b"input", &codec::encode(self));
        transcript
    }
}

/// A hotkey's key for one tempo, with the proof of whose it is.
#[derive(Clone, Debug)]
pub struct Session {
    /// The key, which draws and signs challenges.
    pub pair: Keypair,
    /// What the hotkey has one of in the tempo.
    pub tag: [u8; 32],
    /// What shows whose it is, and for that reason is kept until everything is asked.
    pub proof: DrawProof,
}

impl Keypair {
    /// The key's session of `input`: always the same.
    #[must_use]
    pub fn session(&self, input: &SessionInput) -> Session {
        let (output, proof) = self.draw_of(input.transcript(SESSION_LABEL), SESSION_OUTPUT_CONTEXT);
        let tag = self.schnorrkel().vrf_create_hash(input.transcript(TAG_LABEL));
        let (pair, _) = self
            .schnorrkel()
            .derived_key_simple_rng(ChainCode(output), SESSION_INDEX, NoEntropy);
        Session {
            pair: Self::from_schnorrkel(pair),
            tag: tag.to_preout().to_bytes(),
            proof,
        }
    }
}

/// The key of `hotkey`'s session of `input`, which `proof` shows.
///
/// # Errors
///
/// [`SignError::PublicKey`] where the hotkey is not a key, [`SignError::Draw`] where the proof is not its own.
pub fn session_key(hotkey: Hotkey, input: &SessionInput, proof: &DrawProof) -> Result<Hotkey, SignError> {
    let output = verify_draw_of(
        &hotkey.0,
        input.transcript(SESSION_LABEL),
        proof,
        SESSION_OUTPUT_CONTEXT,
    )?;
    let key = PublicKey::from_bytes(&hotkey.0).map_err(|_| SignError::PublicKey)?;
    let (session, _) = key.derived_key_simple(ChainCode(output), SESSION_INDEX);
    Ok(Hotkey(session.to_bytes()))
}
