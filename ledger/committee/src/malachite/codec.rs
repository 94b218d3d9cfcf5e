//! The engine's messages as bytes, for its network and its log.
//!
//! They are borsh without our version byte: the engine's network names its protocol and version itself. Most types
//! bring the encoding along; sync responses and validator proofs do not.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use malachitebft_app_channel::app::types::codec::{Codec, HasEncodedLen};
use malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use malachitebft_core_types::{
    CommitCertificate, ExtendedCommitCertificate, PolkaCertificate, ValidatorProof, VoteExtensions,
};
use malachitebft_engine::util::streaming::StreamMessage;
use malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueResponse};

use super::types::{Context, Height, Part, Sig};

/// Borsh, for everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Borsh;

macro_rules! by_borsh {
    ($($message:ty),* $(,)?) => {
        $(impl Codec<$message> for Borsh {
            type Error = io::Error;

            fn decode(&self, bytes: Bytes) -> Result<$message, io::Error> {
                <$message>::try_from_slice(&bytes)
            }

            fn encode(&self, message: &$message) -> Result<Bytes, io::Error> {
                borsh::to_vec(message).map(Bytes::from)
            }
        })*
    };
}

by_borsh!(
    Part,
    SignedConsensusMsg<Context>,
    LivenessMsg<Context>,
    StreamMessage<Part>,
    ProposedValue<Context>,
    PolkaCertificate<Context>,
    Status<Context>,
    Request<Context>,
);

/// A sync response without the vote extensions that we do not use.
#[derive(BorshSerialize, BorshDeserialize)]
struct Values {
    start: Height,
    values: Vec<(Vec<u8>, CommitCertificate<Context>)>,
}

/// A certificate as the engine's sync wants it.
pub(super) fn extended(certificate: CommitCertificate<Context>) -> ExtendedCommitCertificate<Context> {
    ExtendedCommitCertificate::from_commit_certificate_and_extensions(certificate, VoteExtensions::default())
}

impl Codec<Response<Context>> for Borsh {
    type Error = io::Error;

    fn decode(&self, bytes: Bytes) -> Result<Response<Context>, io::Error> {
        let Values { start, values } = Values::try_from_slice(&bytes)?;
        let values = values
            .into_iter()
            .map(|(value, certificate)| RawDecidedValue::new(value.into(), extended(certificate)))
            .collect();
        Ok(Response::ValueResponse(ValueResponse::new(start, values)))
    }

    fn encode(&self, response: &Response<Context>) -> Result<Bytes, io::Error> {
        let Response::ValueResponse(response) = response;
        let values = response
            .values
            .iter()
            .map(|it| (it.value_bytes.to_vec(), it.certificate.trim_vote_extensions()))
            .collect();
        let start = response.start_height;
        borsh::to_vec(&Values { start, values }).map(Bytes::from)
    }
}

impl HasEncodedLen<Response<Context>> for Borsh {
    fn encoded_len(&self, response: &Response<Context>) -> Result<usize, io::Error> {
        self.encode(response).map(|bytes| bytes.len())
    }
}

impl Codec<ValidatorProof<Context>> for Borsh {
    type Error = io::Error;

    fn decode(&self, bytes: Bytes) -> Result<ValidatorProof<Context>, io::Error> {
        let (key, peer, signature) = <(Vec<u8>, Vec<u8>, Sig)>::try_from_slice(&bytes)?;
        Ok(ValidatorProof::new(key, peer, signature))
    }

    fn encode(&self, proof: &ValidatorProof<Context>) -> Result<Bytes, io::Error> {
        borsh::to_vec(&(&proof.public_key, &proof.peer_id, proof.signature)).map(Bytes::from)
    }
}
