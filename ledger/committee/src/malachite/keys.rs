//! Signing and checking for the engine, over the protocol's bytes.

use agon_protocol::codec;
use agon_protocol::id::Digest;
use agon_protocol::message::{self, Signed};
use agon_protocol::sign::{self, Keypair, Purpose, Signature};
use async_trait::async_trait;
use malachitebft_core_types::{SignedMessage, ValidatorProof, VoteExtensionScope};
use malachitebft_signing::{Error, Signer, VerificationResult, Verifier};

use super::types::{Context, Key, Proposal, Sig, Vote, proposal_vote, protocol_vote};

/// A member's key on one ledger.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) genesis: Digest,
    pub(super) pair: Keypair,
}

impl Keys {
    pub(super) fn key(&self) -> Key {
        Key(self.pair.consensus_key())
    }

    /// Signs a vote of the protocol.
    pub(super) fn sign(&self, vote: message::Vote) -> Sig {
        Sig(Signed::sign(vote, &self.pair).signature().0)
    }

    fn sign_proof(&self, bytes: &[u8]) -> Sig {
        Sig(self.pair.sign(Purpose::NodeIdentity, bytes).0)
    }
}

#[async_trait]
impl Signer<Context> for Keys {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Context, Vote>, Error> {
        let signature = self.sign(protocol_vote(self.genesis, &vote));
        Ok(SignedMessage::new(vote, signature))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<Context, Proposal>, Error> {
        let signature = self.sign(proposal_vote(self.genesis, &proposal));
        Ok(SignedMessage::new(proposal, signature))
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
