//! The permitted validators of a tempo as a ring, and certificates that a session is of one of them.
//!
//! A certificate is a linkable ring signature over Ristretto (Liu, Wei and Wong, 2004, with a base for each member as
//! CryptoNote has it). For members `P_i`, bases `B_i` and tag `I` the verifier walks around the ring,
//!
//! ```text
//! L_i = s_i G + c_i P_i      R_i = s_i B_i + c_i I      c_(i+1) = hash(session key, tag, ring, i, L_i, R_i)
//! ```
//!
//! and has to come back to the challenge it began with. Only who knows an `x` with `P_i = x G` and `I = x B_i` for some
//! `i` can close the ring, and nothing tells which `i` that was.
//!
//! - **Unforgeable**: without a member's secret there is no certificate, and one cannot be moved to another key, tempo,
//!   subnet, ledger or ring, all of which are hashed.
//! - **Anonymous** within the ring, as long as the Diffie-Hellman problem with a decision is hard in the group.
//! - **Linkable**: a member has one tag for each [`SessionInput`], so two certificates of one tempo with different tags
//!   are of different members, and tags of different tempos have nothing in common.
//!
//! Bytes that are no canonical point or number are refused. Ristretto has a prime order, so there are no small
//! subgroups; the one odd point, the identity, is neither a member nor a tag.

use borsh::{BorshDeserialize, BorshSerialize};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use merlin::Transcript;
use rand_core::RngCore;
use schnorrkel::PublicKey;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Session, SessionInput, TAG_LABEL};
use crate::codec::{self, CodecError};
use crate::id::{Digest, Hotkey};
use crate::sign::{Keypair, NoEntropy};

/// Label of the transcript that certificates are hashed in.
const CERTIFICATE_LABEL: &[u8] = b"agon/v1/session-certificate";
/// Context of a ring's digest.
const RING_CONTEXT: &str = "agon 2026-12 session ring";

/// Why there is no ring.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// Nobody is permitted.
    #[error("nobody holds a validator permit: there are no sessions")]
    Empty,
    /// More than a miner has time to verify.
    #[error(
        "{members} validators are permitted, sessions are for {members_max} at most: they ask with their hotkeys"
    )]
    TooMany {
        /// How many are permitted.
        members: usize,
        /// How many there may be.
        members_max: usize,
    },
}

/// Why a certificate is not accepted or cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// The signer is none of the ring.
    #[error("{hotkey} held no validator permit when tempo {tempo} opened")]
    NotAMember {
        /// The signer.
        hotkey: Hotkey,
        /// The ring's tempo.
        tempo: u64,
    },
    /// It is of another tempo.
    #[error("the certificate is of tempo {found}, the ring is of tempo {tempo}")]
    Tempo {
        /// Its tempo.
        found: u64,
        /// The ring's.
        tempo: u64,
    },
    /// It is of another ring.
    #[error("the certificate is over {found} validators, {members} are permitted")]
    Members {
        /// How many it is over.
        found: usize,
        /// How many the ring has.
        members: usize,
    },
    /// Bytes that are no point or number, or not in canonical form.
    #[error("the certificate's {field} is not canonical")]
    Encoding {
        /// Which.
        field: &'static str,
    },
    /// The ring does not close.
    #[error("the certificate is by nobody who is permitted, or over something else")]
    Open,
}

/// That a session is of a permitted validator.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// The tempo.
    pub tempo: u64,
    /// The session's key.
    pub key: Hotkey,
    /// What the validator has one of in the tempo.
    pub tag: [u8; 32],
    /// The challenge that the walk begins with, and has to end with.
    pub challenge: [u8; 32],
    /// The response at each member.
    pub responses: Vec<[u8; 32]>,
}

impl Certificate {
    /// Most bytes of a certificate: 32 for each member, and six times 32 for the rest.
    pub const BYTES_MAX: usize = 32 * (Ring::MEMBERS_MAX + 6);

    /// Its canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    ///
    /// [`CodecError`] when they are too many or malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes, Self::BYTES_MAX)
    }
}

/// A session that was shown to be a permitted validator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduced {
    tempo: u64,
    key: Hotkey,
    tag: [u8; 32],
}

impl Introduced {
    /// The tempo.
    #[must_use]
    pub const fn tempo(&self) -> u64 {
        self.tempo
    }

    /// The session's key.
    #[must_use]
    pub const fn key(&self) -> Hotkey {
        self.key
    }

    /// What its validator has one of in the tempo.
    #[must_use]
    pub const fn tag(&self) -> [u8; 32] {
        self.tag
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    hotkey: Hotkey,
    key: RistrettoPoint,
    base: RistrettoPoint,
}

impl Member {
    /// `None` for bytes that nobody holds a secret of: no point, or the identity.
    fn of(hotkey: Hotkey, input: &SessionInput) -> Option<Self> {
        let public = PublicKey::from_bytes(&hotkey.0).ok()?;
        let key = *public.as_point();
        let base = public.vrf_hash(input.transcript(TAG_LABEL)).into_point();
        (!key.is_identity()).then_some(Self { hotkey, key, base })
    }
}

/// The permitted validators of a tempo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    input: SessionInput,
    members: Vec<Member>,
    digest: Digest,
}

impl Ring {
    /// Most members. Certificate and time to verify it grow with them, and any stranger can make a miner verify.
    pub const MEMBERS_MAX: usize = 64;

    /// The ring of those permitted in the tempo of `input`, in the order of their UIDs. A hotkey that is no key is left
    /// out: nobody can ask by it, and registering one must not take sessions from all others.
    ///
    /// # Errors
    ///
    /// [`RingError`] when nobody is left, or more than [`Ring::MEMBERS_MAX`].
    pub fn new(input: SessionInput, permitted: impl IntoIterator<Item = Hotkey>) -> Result<Self, RingError> {
        let hotkeys: Vec<Hotkey> = permitted.into_iter().collect();
        if hotkeys.len() > Self::MEMBERS_MAX {
            return Err(RingError::TooMany {
                members: hotkeys.len(),
                members_max: Self::MEMBERS_MAX,
            });
        }
        let members = hotkeys.iter().filter_map(|hotkey| Member::of(*hotkey, &input));
        let members: Vec<Member> = members.collect();
        if members.is_empty() {
            return Err(RingError::Empty);
        }
        let digest = codec::digest(RING_CONTEXT, &codec::encode(&(input, hotkeys)));
        Ok(Self {
            input,
            members,
            digest,
        })
    }

    /// What its sessions are of.
    #[must_use]
    pub const fn input(&self) -> &SessionInput {
        &self.input
    }

    /// How many members it has.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether `hotkey` can certify sessions.
    #[must_use]
    pub fn has(&self, hotkey: Hotkey) -> bool {
        self.place(hotkey).is_some()
    }

    fn place(&self, hotkey: Hotkey) -> Option<usize> {
        self.members.iter().position(|member| member.hotkey == hotkey)
    }

    /// Certifies `session`, the session of `pair` in this ring's tempo. Nonces come from the secret and everything that
    /// is signed, so the same certificate comes out every time.
    ///
    /// # Errors
    ///
    /// [`CertificateError::NotAMember`]; [`CertificateError::Encoding`] when the session's tag is no point.
    pub fn certify(&self, pair: &Keypair, session: &Session) -> Result<Certificate, CertificateError> {
        let own = self.place(pair.hotkey());
        let own = own.ok_or_else(|| CertificateError::NotAMember {
            hotkey: pair.hotkey(),
            tempo: self.input.tempo,
        })?;
        let (key, tag) = (session.pair.hotkey(), session.tag);
        let walk = Walk::new(self, key, tag)?;
        let secret_bytes = pair.secret_bytes();
        let secret = Zeroizing::new(scalar_of(&secret_bytes));
        let witness = walk.transcript.build_rng();
        let mut nonces = witness
            .rekey_with_witness_bytes(b"secret", &secret_bytes[..])
            .finalize(&mut NoEntropy);
        let nonce = Zeroizing::new(random(&mut nonces));
        let count = self.members.len();
        let mut challenges = vec![Scalar::ZERO; count];
        let mut responses = vec![Scalar::ZERO; count];
        let sides = (
            &*nonce * RISTRETTO_BASEPOINT_TABLE,
            *nonce * self.members[own].base,
        );
        challenges[(own + 1) % count] = walk.hash(own, &sides.0, &sides.1);
        for index in (own + 1..count).chain(0..own) {
            responses[index] = random(&mut nonces);
            challenges[(index + 1) % count] = walk.step(index, challenges[index], responses[index]);
        }
        responses[own] = *nonce - challenges[own] * *secret;
        Ok(Certificate {
            tempo: self.input.tempo,
            key,
            tag,
            challenge: challenges[0].to_bytes(),
            responses: responses.iter().map(Scalar::to_bytes).collect(),
        })
    }

    /// Checks that a session is a member's. Cheap checks come first; the time of the rest grows with the members.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], the first rule that does not hold.
    pub fn verify(&self, certificate: &Certificate) -> Result<Introduced, CertificateError> {
        let Certificate {
            tempo,
            key,
            tag,
            challenge,
            responses,
        } = certificate;
        if *tempo != self.input.tempo {
            return Err(CertificateError::Tempo {
                found: *tempo,
                tempo: self.input.tempo,
            });
        }
        if responses.len() != self.members.len() {
            return Err(CertificateError::Members {
                found: responses.len(),
                members: self.members.len(),
            });
        }
        PublicKey::from_bytes(&key.0).map_err(|_| CertificateError::Encoding { field: "key" })?;
        let first = canonical("challenge", challenge)?;
        let responses = responses.iter().map(|response| canonical("response", response));
        let responses: Vec<Scalar> = responses.collect::<Result<_, _>>()?;
        let walk = Walk::new(self, *key, *tag)?;
        let last = responses
            .iter()
            .enumerate()
            .fold(first, |challenge, (index, response)| {
                walk.step(index, challenge, *response)
            });
        if last != first {
            return Err(CertificateError::Open);
        }
        Ok(Introduced {
            tempo: *tempo,
            key: *key,
            tag: *tag,
        })
    }
}

/// The way around a ring for one session.
struct Walk<'a> {
    members: &'a [Member],
    tag: RistrettoPoint,
    transcript: Transcript,
}

impl<'a> Walk<'a> {
    fn new(ring: &'a Ring, key: Hotkey, tag_bytes: [u8; 32]) -> Result<Self, CertificateError> {
        let tag = CompressedRistretto(tag_bytes).decompress();
        let tag = tag.filter(|tag| !tag.is_identity());
        let tag = tag.ok_or(CertificateError::Encoding { field: "tag" })?;
        let mut transcript = Transcript::new(CERTIFICATE_LABEL);
        transcript.append_message(b"ring", &ring.digest.0);
        transcript.append_message(b"key", &key.0);
        transcript.append_message(b"tag", &tag_bytes);
        Ok(Self {
            members: &ring.members,
            tag,
            transcript,
        })
    }

    /// The challenge after member `index`.
    fn step(&self, index: usize, challenge: Scalar, response: Scalar) -> Scalar {
        let Member { key, base, .. } = &self.members[index];
        let left = RistrettoPoint::vartime_double_scalar_mul_basepoint(&challenge, key, &response);
        let right = RistrettoPoint::vartime_multiscalar_mul([response, challenge], [base, &self.tag]);
        self.hash(index, &left, &right)
    }

    fn hash(&self, index: usize, left: &RistrettoPoint, right: &RistrettoPoint) -> Scalar {
        let mut transcript = self.transcript.clone();
        transcript.append_u64(b"index", index as u64);
        transcript.append_message(b"left", left.compress().as_bytes());
        transcript.append_message(b"right", right.compress().as_bytes());
        let mut wide = [0; 64];
        transcript.challenge_bytes(b"challenge", &mut wide);
        Scalar::from_bytes_mod_order_wide(&wide)
    }
}

/// The number among a key's secret bytes, of which the others are the seed of its nonces.
fn scalar_of(secret: &[u8; 64]) -> Scalar {
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(&secret[..32]);
    Scalar::from_bytes_mod_order(*bytes)
}

fn random(nonces: &mut impl RngCore) -> Scalar {
    let mut wide = Zeroizing::new([0; 64]);
    nonces.fill_bytes(&mut *wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn canonical(field: &'static str, bytes: &[u8; 32]) -> Result<Scalar, CertificateError> {
    let scalar: Option<Scalar> = Scalar::from_canonical_bytes(*bytes).into();
    scalar.ok_or(CertificateError::Encoding { field })
}
