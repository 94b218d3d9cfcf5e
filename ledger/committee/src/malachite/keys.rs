//! Signing and checking for the engine, over the protocol's bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agon_protocol::codec;
use agon_protocol::id::Digest;
use agon_protocol::message::{self, Signed};
use agon_protocol::sign::{self, Keypair, Purpose, Signature};
use async_trait::async_trait;
use malachitebft_core_types::{SignedMessage, ValidatorProof, VoteExtensionScope};
use malachitebft_signing::{Error, Signer, VerificationResult, Verifier};

use super::types::{
    Context, Key, Proposal, Sig, Vote, engine_proposal, engine_vote, proposal_vote, protocol_vote,
};
use crate::record::NotSigned;
use crate::voice::Voice;

/// A member's key on one ledger. Clones are the same key, with the same memory.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) genesis: Digest,
    pair: Keypair,
    voice: Arc<Mutex<Voice>>,
}

impl Keys {
    pub(super) fn new(genesis: Digest, pair: Keypair, voice: Voice) -> Self {
        Self {
            genesis,
            pair,
            voice: Arc::new(Mutex::new(voice)),
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::own(self.pair.consensus_key())
    }

    /// What the key may say.
    pub(super) fn voice(&self) -> MutexGuard<'_, Voice> {
        // What was signed is written down before it is noted, so a panic elsewhere leaves it whole.
        self.voice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key's word in the protocol's terms: `vote`, or what it said in its place before.
    pub(super) fn sign(&self, vote: message::Vote) -> Result<Signed<message::Vote>, NotSigned> {
        self.voice().sign(vote)
    }

    fn sign_proof(&self, bytes: &[u8]) -> Sig {
        Sig(self.pair.sign(Purpose::NodeIdentity, bytes).0)
    }
}

#[async_trait]
impl Signer<Context> for Keys {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Context, Vote>, Error> {
        let signed = self
            .sign(protocol_vote(self.genesis, &vote))
            .map_err(Error::from_source)?;
        let said = engine_vote(vote, signed.message());
        Ok(SignedMessage::new(said, Sig(signed.signature().0)))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<Context, Proposal>, Error> {
        let signed = self
            .sign(proposal_vote(self.genesis, &proposal))
            .map_err(Error::from_source)?;
        let said = engine_proposal(proposal, signed.message());
        Ok(SignedMessage::new(said, Sig(signed.signature().0)))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<Context>,
        (): (),
    ) -> Result<SignedMessage<Context, ()>, Error> {
        Err(Error::from_source("votes have no extensions"))
    }

    async fn sign_validator_proof(
        &self,
        public_key: Vec<u8>,
        peer_id: Vec<u8>,
    ) -> Result<ValidatorProof<Context>, Error> {
        let signature = self.sign_proof(&ValidatorProof::<Context>::signing_bytes(&public_key, &peer_id));
        Ok(ValidatorProof::new(public_key, peer_id, signature))
    }
}

/// Checks what others signed on one ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks {
    pub(super) genesis: Digest,
}

impl Checks {
    /// Whether `key` signed `vote`.
    pub(super) fn holds(vote: &message::Vote, key: &Key, signature: &Sig) -> bool {
        verify(key, Purpose::Vote, &codec::encode(vote), signature)
    }
}

fn verify(key: &Key, purpose: Purpose, bytes: &[u8], signature: &Sig) -> bool {
    sign::verify(&key.0.0, purpose, bytes, &Signature(signature.0)).is_ok()
}

#[async_trait]
impl Verifier<Context> for Checks {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Sig,
        key: &Key,
    ) -> Result<VerificationResult, Error> {
        let vote = protocol_vote(self.genesis, vote);
        Ok(VerificationResult::from_bool(Self::holds(&vote, key, signature)))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Sig,
        key: &Key,
    ) -> Result<VerificationResult, Error> {
        let vote = proposal_vote(self.genesis, proposal);
        Ok(VerificationResult::from_bool(Self::holds(&vote, key, signature)))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<Context>,
        (): &(),
        _: &Sig,
        _: &Key,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::from_bool(false))
    }

    async fn verify_validator_proof(
        &self,
        proof: &ValidatorProof<Context>,
    ) -> Result<VerificationResult, Error> {
        let holds = proof
            .decoded_public_key()
            .is_ok_and(|key| verify(&key, Purpose::NodeIdentity, &proof.preimage(), &proof.signature));
        Ok(VerificationResult::from_bool(holds))
    }
}
