//! Signatures over rounds, and encryption to a signature that is not made yet, on BLS12-381.
//!
//! The identity-based scheme of Gailly, Melissaris and Yolan Romailler, "tlock: practical timelock encryption from
//! threshold BLS" (ePrint 2023/189), in the bytes of drand's quicknet: keys in G2, signatures in G1, messages hashed to
//! G1 as RFC 9380 has it. Sixteen bytes are encrypted; what is longer goes under a key of that length.
//!
//! The crate `tlock` has the same scheme, but its decryption panics on a ciphertext that was tampered with, cuts zeros
//! off the end of what it decrypts and takes randomness of its own; see `docs/decisions/0029-timelocked-weights.md`.

use ark_bls12_381::{Bls12_381, Fr, G1Affine, G1Projective, G2Affine, g1};
use ark_ec::hashing::HashToCurve;
use ark_ec::hashing::curve_maps::wb::WBMap;
use ark_ec::hashing::map_to_curve_hasher::MapToCurveBasedHasher;
use ark_ec::pairing::{Pairing, PairingOutput};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::field_hashers::DefaultFieldHasher;
use ark_ff::{AdditiveGroup, PrimeField, Zero};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use sha2::{Digest, Sha256};

/// Bytes of a point of G1.
pub(super) const G1_BYTES: usize = 48;
/// Bytes of a point of G2.
pub(super) const G2_BYTES: usize = 96;
/// Bytes of what is encrypted.
pub(super) const MESSAGE_BYTES: usize = 16;
/// Bytes of a ciphertext: a point of G2, the masked seed, the masked message.
pub(super) const CIPHERTEXT_BYTES: usize = G2_BYTES + 2 * MESSAGE_BYTES;

/// Domain of messages hashed to G1.
const G1_DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

type RoundHasher = MapToCurveBasedHasher<G1Projective, DefaultFieldHasher<Sha256, 128>, WBMap<g1::Config>>;

/// The point that stands for a round: what is signed, and what is encrypted to.
fn round_point(round: u64) -> G1Affine {
    let hasher = RoundHasher::new(G1_DOMAIN).expect("the parameters of the curve fit each other");
    let message = Sha256::digest(round.to_be_bytes());
    hasher.hash(&message).expect("every message has a point")
}

/// Reads a public key; `None` when the bytes are no point of the group, or the one that any signature fits.
pub(super) fn public_key(bytes: &[u8; G2_BYTES]) -> Option<G2Affine> {
    let point = G2Affine::deserialize_compressed(&bytes[..]).ok()?;
    (!point.is_zero()).then_some(point)
}

/// Reads a signature; `None` when the bytes are no point of the group.
pub(super) fn signature(bytes: &[u8; G1_BYTES]) -> Option<G1Affine> {
    G1Affine::deserialize_compressed(&bytes[..]).ok()
}

pub(super) fn public_key_of(secret: &Fr) -> [u8; G2_BYTES] {
    compressed(&(G2Affine::generator() * secret).into_affine())
}

pub(super) fn sign(secret: &Fr, round: u64) -> [u8; G1_BYTES] {
    compressed(&(round_point(round) * secret).into_affine())
}

/// Whether `signature` is over `round` by the secret half of `key`.
pub(super) fn verify(key: &G2Affine, round: u64, signature: &G1Affine) -> bool {
    let signed = [round_point(round).into_group(), -signature.into_group()];
    let sides: PairingOutput<Bls12_381> = Bls12_381::multi_pairing(signed, [*key, G2Affine::generator()]);
    sides.is_zero()
}

/// Encrypts `message` to the signature over `round`. Whoever knows `seed` can decrypt at once, and no two messages
/// may have the same.
pub(super) fn encrypt(
    key: &G2Affine,
    round: u64,
    message: &[u8; MESSAGE_BYTES],
    seed: &[u8; MESSAGE_BYTES],
) -> [u8; CIPHERTEXT_BYTES] {
    let exponent = exponent(seed, message);
    let point: [u8; G2_BYTES] = compressed(&(G2Affine::generator() * exponent).into_affine());
    let shared = Bls12_381::pairing(round_point(round) * exponent, key);
    let mut bytes = [0; CIPHERTEXT_BYTES];
    let (head, masked) = bytes.split_at_mut(G2_BYTES);
    let (masked_seed, masked_message) = masked.split_at_mut(MESSAGE_BYTES);
    head.copy_from_slice(&point);
    masked_seed.copy_from_slice(&xor(seed, &shared_mask(&shared)));
    masked_message.copy_from_slice(&xor(message, &seed_mask(seed)));
    bytes
}

/// Why a ciphertext does not decrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecrypted {
    /// It does not begin with a point of the group.
    Point,
    /// It was encrypted to another signature, or changed since.
    Mismatch,
}

/// Decrypts what was encrypted to `signature`.
pub(super) fn decrypt(
    signature: &G1Affine,
    ciphertext: &[u8; CIPHERTEXT_BYTES],
) -> Result<[u8; MESSAGE_BYTES], Undecrypted> {
    let (head, masked) = ciphertext.split_at(G2_BYTES);
    let (masked_seed, masked_message) = masked.split_at(MESSAGE_BYTES);
    let point = G2Affine::deserialize_compressed(head).map_err(|_| Undecrypted::Point)?;
    let shared = Bls12_381::pairing(signature, point);
    let seed = xor(masked_seed, &shared_mask(&shared));
    let message = xor(masked_message, &seed_mask(&seed));
    let expected = (G2Affine::generator() * exponent(&seed, &message)).into_affine();
    if point == expected {
        Ok(message)
    } else {
        Err(Undecrypted::Mismatch)
    }
}

/// H3 of the scheme: an exponent out of seed and message. Hashes are counted through until one is below the order.
fn exponent(seed: &[u8; MESSAGE_BYTES], message: &[u8; MESSAGE_BYTES]) -> Fr {
    let inner = Sha256::new_with_prefix(b"IBE-H3")
        .chain_update(seed)
        .chain_update(message)
        .finalize();
    let candidate = |count: u16| {
        let hash = Sha256::new_with_prefix(count.to_le_bytes()).chain_update(inner);
        let mut bytes: [u8; 32] = hash.finalize().into();
        // The order has 255 bits.
        bytes[0] >>= 1;
        bytes.reverse();
        Fr::deserialize_compressed(&bytes[..]).ok()
    };
    // Each is below the order with a chance of nine in ten.
    (1..u16::MAX).find_map(candidate).unwrap_or(Fr::ZERO)
}

/// H2 of the scheme: the mask out of what both sides of the pairing know.
fn shared_mask(shared: &PairingOutput<Bls12_381>) -> [u8; MESSAGE_BYTES] {
    let mut bytes = Vec::with_capacity(576);
    shared
        .serialize_compressed(&mut bytes)
        .expect("writing to a vector does not fail");
    // Drand writes numbers, and their order within a field, from the other end.
    bytes.reverse();
    mask(Sha256::new_with_prefix(b"IBE-H2").chain_update(&bytes))
}

/// H4 of the scheme: the mask out of the seed.
fn seed_mask(seed: &[u8; MESSAGE_BYTES]) -> [u8; MESSAGE_BYTES] {
    mask(Sha256::new_with_prefix(b"IBE-H4").chain_update(seed))
}

fn mask(hash: Sha256) -> [u8; MESSAGE_BYTES] {
    let bytes: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|index| bytes[index])
}

fn xor(bytes: &[u8], mask: &[u8; MESSAGE_BYTES]) -> [u8; MESSAGE_BYTES] {
    std::array::from_fn(|index| bytes[index] ^ mask[index])
}

fn compressed<const LEN: usize>(point: &impl CanonicalSerialize) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    point
        .serialize_compressed(&mut bytes[..])
        .expect("a point has as many bytes as its group says");
    bytes
}

/// A secret exponent out of 64 uniform bytes.
pub(super) fn secret(bytes: &[u8; 64]) -> Fr {
    Fr::from_le_bytes_mod_order(bytes)
}
