//! What roles say to each other, as working types: bounded, validated, signed over canonical bytes.
//!
//! A message that came from outside is a [`Signed`] only after [`Signed::from_parts`] has bounded, parsed and
//! validated its bytes, and a [`Verified`] only after the signature held. Functions that act on a message take
//! the `Verified`, so that forgetting a check does not compile.

mod block;
mod challenge;
mod check;
mod committee;
mod evidence;
mod receipt;
mod trace;
mod transaction;
mod view;
mod weights;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

pub use self::block::{Block, FinalBlock, Genesis, GenesisAccount, GenesisMember, Header, Preset};
pub use self::challenge::{Challenge, ChallengeHeader, Sampling};
pub use self::check::{AxonCheck, AxonCheckView, AxonReach};
pub use self::committee::{
    Certificate, CertificateError, CommitSignature, Committee, Equivocation, Member, NoEquivocation,
    Statement, Vote, VoteKind, commit_signature,
};
pub use self::evidence::{
    AnswerLeaf, AnswerResult, Carried, Contest, EvidenceCommit, EvidenceLine, EvidenceOf, EvidenceOpening,
    EvidenceView, Failure, Forgery, ItemAnswer, ItemLeaf, Leaf, OpenedLeaf, RoundCount, StandingLeaf, Trail,
    TrailAnswer, TrailRest, WeightsLeaf, Worth,
};
pub use self::receipt::{Environment, FinishReason, Receipt, answer_digest};
pub use self::trace::{CODE_BYTES, Code, OpenedWindow, Trace, WINDOW_TOKENS, codes_root, tokens_digest};
pub use self::transaction::{Axon, AxonModel, Call, Transaction};
pub use self::view::{
    AccountView, AnnouncedView, AtRiskView, ColdkeySwapView, ColdkeyView, CommitteeView, EpochView,
    EventView, Head, Metagraph, MetagraphChanges, NeuronView, OpenedSealView, OwnedHotkeyView, RefusalView,
    SeatView, StakeView, SubnetView, TransactionView, UidAtRisk, WeightRowView,
};
pub use self::weights::{Weights, WeightsCommit};

use crate::codec::{self, CodecError};
use crate::id::{Account, Digest};
use crate::sign::{self, Keypair, Purpose, SignError, Signature};

/// Fewest signatures that are worth a thread.
const BATCH_MIN: usize = 32;

/// Cores of this machine; asked for once, since that opens a handful of files.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// A kind of message with its own signing context and limits.
pub trait Message: BorshSerialize + BorshDeserialize {
    /// What its signature is for.
    const PURPOSE: Purpose;
    /// Domain of its digest.
    const DIGEST_CONTEXT: &'static str;
    /// Most canonical bytes it may have.
    const BYTES_MAX: usize;

    /// Who must have signed it.
    fn signer(&self) -> Account;

    /// Checks every limit that the types do not hold.
    ///
    /// # Errors
    ///
    /// [`MessageError`] naming field, value and bound.
    fn validate(&self) -> Result<(), MessageError>;

    /// Digest by which others name it, of which `bytes` are the canonical bytes.
    fn digest_of(&self, bytes: &[u8]) -> Digest {
        codec::digest(Self::DIGEST_CONTEXT, bytes)
    }
}

/// Why a message is not accepted.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are not a message of this kind.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignError),
    /// A field is longer or larger than it may be.
    #[error("{field} is {value}, {bound} at most")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// Its length or value.
        value: u64,
        /// The bound.
        bound: u64,
    },
    /// A field has a value that means nothing.
    #[error("{field} is not valid: {reason}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A field that the wire format leaves optional is missing.
    #[error("{field} is missing")]
    Missing {
        /// Which field.
        field: &'static str,
    },
}

/// Refuses a length or value above `bound`.
pub(crate) fn at_most(field: &'static str, value: usize, bound: usize) -> Result<(), MessageError> {
    if value <= bound {
        return Ok(());
    }
    Err(MessageError::TooLarge {
        field,
        value: value as u64,
        bound: bound as u64,
    })
}

/// A validated message with a signature that may not have been checked yet.
///
/// A signature that held once is not checked again: all clones of a message know.
#[derive(Clone, Debug)]
pub struct Signed<T> {
    message: T,
    bytes: Vec<u8>,
    signature: Signature,
    holds: Arc<AtomicBool>,
}

impl<T: PartialEq> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.message, &self.bytes, &self.signature) == (&other.message, &other.bytes, &other.signature)
    }
}

impl<T: Eq> Eq for Signed<T> {}

impl<T: Message> Signed<T> {
    /// Signs `message`.
    ///
    /// # Panics
    ///
    /// When `pair` is not the message's signer: our own mistake.
    #[must_use]
    pub fn sign(message: T, pair: &Keypair) -> Self {
        assert_eq!(
            message.signer(),
            Account(pair.public()),
            "a message is signed by its signer"
        );
        let bytes = codec::encode(&message);
        let signature = pair.sign(T::PURPOSE, &bytes);
        Self {
            message,
            bytes,
            signature,
            holds: Arc::default(),
        }
    }

    /// Bounds, parses and validates what came from outside; the signature is not checked yet.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when the bytes are too many, malformed or break a limit.
    pub fn from_parts(bytes: Vec<u8>, signature: Signature) -> Result<Self, MessageError> {
        let message: T = codec::decode(&bytes, T::BYTES_MAX)?;
        message.validate()?;
        Ok(Self {
            message,
            bytes,
            signature,
            holds: Arc::default(),
        })
    }

    /// Checks the signature.
    ///
    /// # Errors
    ///
    /// [`SignError`] when it does not hold.
    pub fn verify(self) -> Result<Verified<T>, SignError> {
        self.check_signature()?;
        Ok(Verified(self))
    }

    /// Checks the signature and leaves the message where it is.
    ///
    /// # Errors
    ///
    /// [`SignError`] when it does not hold.
    pub fn check_signature(&self) -> Result<(), SignError> {
        if self.holds.load(Ordering::Acquire) {
            return Ok(());
        }
        sign::verify(&self.message.signer().0, T::PURPOSE, &self.bytes, &self.signature)?;
        self.holds.store(true, Ordering::Release);
        Ok(())
    }

    /// Checks the signatures of many messages at once, over all cores: about half the work of one after the other.
    ///
    /// Those that hold are not checked again. Where one does not, [`check_signature`](Self::check_signature) says so.
    pub fn check_signatures<'a>(messages: impl IntoIterator<Item = &'a Self>)
    where
        T: Sync + 'a,
    {
        let unknown: Vec<&Self> = messages
            .into_iter()
            .filter(|message| !message.holds.load(Ordering::Acquire))
            .collect();
        let share = unknown.len().div_ceil(*CORES).max(BATCH_MIN);
        let mut shares = unknown.chunks(share);
        let Some(mine) = shares.next() else { return };
        std::thread::scope(|scope| {
            for share in shares {
                scope.spawn(move || Self::check_batch(share));
            }
            Self::check_batch(mine);
        });
    }

    /// Learns that the signature holds from `other`, if that is the same message with the same signature.
    pub fn learn_from(&self, other: &Self) {
        let same = self.signature == other.signature && self.bytes == other.bytes;
        if same && other.holds.load(Ordering::Acquire) {
            self.holds.store(true, Ordering::Release);
        }
    }

    fn check_batch(messages: &[&Self]) {
        let signers = messages
            .iter()
            .map(|it| (it.message.signer().0, &*it.bytes, &it.signature));
        if messages.len() > 1 && sign::verify_batch(T::PURPOSE, signers) {
            for message in messages {
                message.holds.store(true, Ordering::Release);
            }
        }
    }

    /// The message.
    pub const fn message(&self) -> &T {
        &self.message
    }

    /// The canonical bytes that were signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature.
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Digest by which others name the message, without the signature.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.message.digest_of(&self.bytes)
    }
}

impl<T: Message> BorshSerialize for Signed<T> {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.bytes.serialize(writer)?;
        self.signature.serialize(writer)
    }
}

impl<T: Message> BorshDeserialize for Signed<T> {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let bytes = Vec::<u8>::deserialize_reader(reader)?;
        let signature = Signature::deserialize_reader(reader)?;
        Self::from_parts(bytes, signature)
            .map_err(|error| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, error.to_string()))
    }
}

/// A message whose signature held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(Signed<T>);

impl<T: Message> Verified<T> {
    /// The message.
    pub const fn message(&self) -> &T {
        self.0.message()
    }

    /// The message with its signature.
    pub const fn signed(&self) -> &Signed<T> {
        &self.0
    }

    /// Digest by which others name the message, without the signature.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest()
    }

    /// Gives the signed message back.
    #[must_use]
    pub fn into_signed(self) -> Signed<T> {
        self.0
    }
}

#[cfg(test)]
mod tests;
