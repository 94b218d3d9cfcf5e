//! Signatures and verifiable draws: schnorrkel over Ristretto, one signing context for each kind of message.
//!
//! Signing is deterministic. The nonce of a signature comes from the transcript and the secret nonce seed alone,
//! as in Ed25519, so that a run can be replayed from its seed to the byte. Verification is the ordinary one; any
//! sr25519 implementation accepts these signatures.
//!
//! # Draws
//!
//! [`Keypair::draw`] evaluates a VRF over a [`DrawInput`]: one output per key and input, unpredictable to
//! everyone else until it is shown, checkable by everyone with [`verify_draw`].

use std::fmt;
use std::str::FromStr;

use borsh::{BorshDeserialize, BorshSerialize};
use rand_core::{CryptoRng, RngCore};
use schnorrkel::context::{attach_rng, signing_context};
use schnorrkel::vrf::{VRFPreOut, VRFProof};
use schnorrkel::{ExpansionMode, MiniSecretKey, PublicKey, SecretKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::id::{Account, Coldkey, ConsensusKey, Digest, Hotkey, Netuid};

/// What a signature is for; a signature made for one purpose is never valid for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A transaction of the ledger.
    Transaction,
    /// A validator's challenge to one miner.
    Challenge,
    /// A miner's receipt for one answer.
    Receipt,
    /// A vote on a block by a member of the committee.
    Vote,
    /// A consensus key's word outside of votes: whose it is, and that it follows the ledger.
    Committee,
    /// A node's statement that its transport key belongs to its consensus key.
    NodeIdentity,
    /// A hotkey's wish that a node tries its axon.
    AxonCheck,
    /// A text signed by hand with `agon wallet sign`; the context other sr25519 wallets use.
    Text,
}

impl Purpose {
    /// The schnorrkel signing context.
    #[must_use]
    pub const fn context(self) -> &'static [u8] {
        match self {
            Self::Transaction => b"agon/v1/transaction",
            Self::Challenge => b"agon/v1/challenge",
            Self::Receipt => b"agon/v1/receipt",
            Self::Vote => b"agon/v1/vote",
            Self::Committee => b"agon/v1/committee",
            Self::NodeIdentity => b"agon/v1/node-identity",
            Self::AxonCheck => b"agon/v1/axon-check",
            Self::Text => b"substrate",
        }
    }
}

/// Why a key, signature or draw is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// The 32 bytes are not a point of the group.
    #[error("not a public key")]
    PublicKey,
    /// The 64 bytes are not a secret key.
    #[error("not a secret key")]
    SecretKey,
    /// The 64 bytes are not a signature.
    #[error("not a signature")]
    SignatureFormat,
    /// The signature is of another key, purpose or message.
    #[error("the signature is not by {signer} over this message")]
    SignatureMismatch {
        /// Who should have signed.
        signer: Account,
    },
    /// The draw's proof does not hold for this key and input.
    #[error("the draw is not by {signer} for this beacon and round")]
    Draw {
        /// Who should have drawn.
        signer: Account,
    },
}

/// An sr25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 64]);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl FromStr for Signature {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = SignError;

    fn try_from(bytes: &[u8]) -> Result<Self, SignError> {
        bytes.try_into().map(Self).map_err(|_| SignError::SignatureFormat)
    }
}

/// A secret key and its public key. `Debug` shows the public half only; the secret is wiped on drop.
#[derive(Clone)]
pub struct Keypair(schnorrkel::Keypair);

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({})", Account(self.public()))
    }
}

impl Keypair {
    /// The key of a 32-byte seed, in the Ed25519 expansion that wallets use.
    #[must_use]
    pub fn from_mini_secret(seed: &[u8; 32]) -> Self {
        let mini = MiniSecretKey::from_bytes(seed).expect("any 32 bytes are a mini secret");
        Self(mini.expand_to_keypair(ExpansionMode::Ed25519))
    }

    /// The key of 64 secret bytes (32 of scalar, 32 of nonce seed), as schnorrkel writes them.
    ///
    /// # Errors
    ///
    /// [`SignError::SecretKey`] when the scalar is not canonical.
    pub fn from_secret_bytes(bytes: &[u8; 64]) -> Result<Self, SignError> {
        let secret = SecretKey::from_bytes(bytes).map_err(|_| SignError::SecretKey)?;
        Ok(Self(secret.to_keypair()))
    }

    /// The 64 secret bytes, wiped when dropped.
    #[must_use]
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.0.secret.to_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.public.to_bytes()
    }

    /// The public key, as a hotkey.
    #[must_use]
    pub fn hotkey(&self) -> Hotkey {
        Hotkey(self.public())
    }

    /// The public key, as a coldkey.
    #[must_use]
    pub fn coldkey(&self) -> Coldkey {
        Coldkey(self.public())
    }

    /// The public key, as a consensus key.
    #[must_use]
    pub fn consensus_key(&self) -> ConsensusKey {
        ConsensusKey(self.public())
    }

    /// Signs `message` for `purpose`.
    #[must_use]
    pub fn sign(&self, purpose: Purpose, message: &[u8]) -> Signature {
        let transcript = signing_context(purpose.context()).bytes(message);
        Signature(self.0.sign(attach_rng(transcript, NoEntropy)).to_bytes())
    }

    /// Evaluates the draw over `input`: the 32 random bytes and their proof.
    #[must_use]
    pub fn draw(&self, input: &DrawInput) -> ([u8; 32], DrawProof) {
        self.draw_of(input.transcript(DRAW_LABEL), DRAW_OUTPUT_CONTEXT)
    }

    /// Evaluates the draw of audits over `input`: what [`Keypair::draw`] tells says nothing about it.
    #[must_use]
    pub fn draw_audits(&self, input: &DrawInput) -> ([u8; 32], DrawProof) {
        self.draw_of(input.transcript(AUDIT_LABEL), DRAW_OUTPUT_CONTEXT)
    }

    /// Evaluates the VRF over `transcript`, and takes its bytes in the context `output`.
    pub(crate) fn draw_of(&self, transcript: merlin::Transcript, output: &[u8]) -> ([u8; 32], DrawProof) {
        let extra = attach_rng(merlin::Transcript::new(b"VRF"), NoEntropy);
        let (in_out, proof, _) = self.0.vrf_sign_extra(transcript, extra);
        let proof = DrawProof {
            pre_output: in_out.to_preout().to_bytes(),
            proof: proof.to_bytes(),
        };
        (in_out.make_bytes(output), proof)
    }

    pub(crate) fn schnorrkel(&self) -> &schnorrkel::Keypair {
        &self.0
    }

    pub(crate) fn from_schnorrkel(pair: schnorrkel::Keypair) -> Self {
        Self(pair)
    }
}

/// Checks that `signature` is `public`'s over `message` for `purpose`.
///
/// # Errors
///
/// [`SignError`] naming which of key, format and match failed.
pub fn verify(
    public: &[u8; 32],
    purpose: Purpose,
    message: &[u8],
    signature: &Signature,
) -> Result<(), SignError> {
    let key = PublicKey::from_bytes(public).map_err(|_| SignError::PublicKey)?;
    let parsed = schnorrkel::Signature::from_bytes(&signature.0).map_err(|_| SignError::SignatureFormat)?;
    key.verify_simple(purpose.context(), message, &parsed)
        .map_err(|_| SignError::SignatureMismatch {
            signer: Account(*public),
        })
}

/// Whether all of these signatures hold: signer, message and signature each, for one purpose. The coefficients of the
/// combined check come from the signatures themselves, so that the answer depends on nothing else.
#[must_use]
pub(crate) fn verify_batch<'a>(
    purpose: Purpose,
    signed: impl Iterator<Item = ([u8; 32], &'a [u8], &'a Signature)>,
) -> bool {
    let context = signing_context(purpose.context());
    let (mut transcripts, mut signatures, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (key, message, signature) in signed {
        let key = PublicKey::from_bytes(&key);
        let signature = schnorrkel::Signature::from_bytes(&signature.0);
        let (Ok(key), Ok(signature)) = (key, signature) else {
            return false;
        };
        transcripts.push(context.bytes(message));
        signatures.push(signature);
        keys.push(key);
    }
    schnorrkel::verify_batch_deterministic(transcripts, &signatures, &keys, false).is_ok()
}

/// Context of the bytes taken from a draw.
const DRAW_OUTPUT_CONTEXT: &[u8] = b"agon/v1/draw-output";

/// Label of the draw of miners, items and seeds.
const DRAW_LABEL: &[u8] = b"agon/v1/draw";
/// Label of the draw of audits.
const AUDIT_LABEL: &[u8] = b"agon/v1/draw-audits";

/// What a draw is over. All of it is fixed before anyone can draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DrawInput {
    /// Digest of the genesis: which ledger.
    pub genesis: Digest,
    /// Which subnet.
    pub netuid: Netuid,
    /// Which tempo of the subnet.
    pub tempo: u64,
    /// Hash of the finalized block before the one that opened the tempo.
    pub beacon: Digest,
    /// Which round of the validator in the tempo.
    pub round: u32,
}

impl DrawInput {
    fn transcript(&self, label: &'static [u8]) -> merlin::Transcript {
        let mut transcript = merlin::Transcript::new(label);
        transcript.append_message(b"input", &crate::codec::encode(self));
        transcript
    }
}

/// The proof that a draw's output belongs to one key and input: 32 bytes of pre-output, 64 of proof.
#[derive(Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct DrawProof {
    /// The VRF's deterministic pre-output.
    pub pre_output: [u8; 32],
    /// The proof of equality of discrete logarithms.
    pub proof: [u8; 64],
}

impl fmt::Debug for DrawProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrawProof({}..)", hex::encode(&self.pre_output[..8]))
    }
}

/// Checks a draw by `public` over `input` and gives its 32 random bytes.
///
/// # Errors
///
/// [`SignError::PublicKey`] or [`SignError::Draw`].
pub fn verify_draw(public: &[u8; 32], input: &DrawInput, draw: &DrawProof) -> Result<[u8; 32], SignError> {
    verify_draw_of(public, input.transcript(DRAW_LABEL), draw, DRAW_OUTPUT_CONTEXT)
}

/// As [`verify_draw`], for the draw of audits.
///
/// # Errors
///
/// [`SignError::PublicKey`] or [`SignError::Draw`].
pub fn verify_audit_draw(
    public: &[u8; 32],
    input: &DrawInput,
    draw: &DrawProof,
) -> Result<[u8; 32], SignError> {
    verify_draw_of(public, input.transcript(AUDIT_LABEL), draw, DRAW_OUTPUT_CONTEXT)
}

/// Checks what [`Keypair::draw_of`] made.
pub(crate) fn verify_draw_of(
    public: &[u8; 32],
    transcript: merlin::Transcript,
    draw: &DrawProof,
    output: &[u8],
) -> Result<[u8; 32], SignError> {
    let key = PublicKey::from_bytes(public).map_err(|_| SignError::PublicKey)?;
    let mismatch = SignError::Draw {
        signer: Account(*public),
    };
    let (Ok(pre_output), Ok(proof)) = (
        VRFPreOut::from_bytes(&draw.pre_output),
        VRFProof::from_bytes(&draw.proof),
    ) else {
        return Err(mismatch);
    };
    let (in_out, _) = key
        .vrf_verify(transcript, &pre_output, &proof)
        .map_err(|_| mismatch)?;
    Ok(in_out.make_bytes(output))
}

/// A random source that adds nothing: what makes signing deterministic.
///
/// Schnorrkel mixes the signer's secret nonce seed and the whole transcript into each nonce, so nonces stay
/// secret and distinct per message without fresh randomness.
pub(crate) struct NoEntropy;

impl RngCore for NoEntropy {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        dest.fill(0);
        Ok(())
    }
}

impl CryptoRng for NoEntropy {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seed: u8) -> Keypair {
        Keypair::from_mini_secret(&[seed; 32])
    }

    fn input(round: u32) -> DrawInput {
        DrawInput {
            genesis: Digest([1; 32]),
            netuid: Netuid(1),
            tempo: 3,
            beacon: Digest([2; 32]),
            round,
        }
    }

    #[test]
    fn a_signature_holds_for_its_key_purpose_and_message_only() {
        let signature = pair(1).sign(Purpose::Challenge, b"where is the ball");
        let check =
            |key: &Keypair, purpose, message: &[u8]| verify(&key.public(), purpose, message, &signature);
        assert_eq!(check(&pair(1), Purpose::Challenge, b"where is the ball"), Ok(()));
        assert!(check(&pair(2), Purpose::Challenge, b"where is the ball").is_err());
        assert!(check(&pair(1), Purpose::Receipt, b"where is the ball").is_err());
        assert!(check(&pair(1), Purpose::Challenge, b"where is the bell").is_err());
    }

    #[test]
    fn signing_is_deterministic_and_nonces_differ_by_message() {
        let (a, b) = (
            pair(1).sign(Purpose::Text, b"a"),
            pair(1).sign(Purpose::Text, b"b"),
        );
        assert_eq!(a, pair(1).sign(Purpose::Text, b"a"));
        assert_ne!(
            a.0[..32],
            b.0[..32],
            "the same nonce twice would give the key away"
        );
    }

    #[test]
    fn a_draw_has_one_output_and_holds_for_its_key_and_input_only() {
        let (output, proof) = pair(1).draw(&input(0));
        assert_eq!(pair(1).draw(&input(0)), (output, proof));
        assert_eq!(verify_draw(&pair(1).public(), &input(0), &proof), Ok(output));
        assert!(verify_draw(&pair(2).public(), &input(0), &proof).is_err());
        assert!(verify_draw(&pair(1).public(), &input(1), &proof).is_err());
        assert_ne!(pair(1).draw(&input(1)).0, output);
    }

    #[test]
    fn the_draw_of_audits_is_another_draw() {
        let (output, proof) = pair(1).draw_audits(&input(0));
        assert_eq!(
            verify_audit_draw(&pair(1).public(), &input(0), &proof),
            Ok(output)
        );
        assert!(verify_draw(&pair(1).public(), &input(0), &proof).is_err());
        assert_ne!(pair(1).draw(&input(0)).0, output);
    }

    #[test]
    fn a_key_never_shows_its_secret() {
        let shown = format!("{:?}", pair(9));
        assert!(!shown.contains(&hex::encode(&pair(9).secret_bytes()[..8])));
    }
}
