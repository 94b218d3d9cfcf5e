//! Fetches the evidence of a validator from where it serves it, for validators, miners and whoever audits.

use std::net::SocketAddr;
use std::time::Duration;

use agon_evidence::bundle::{BYTES_MAX, Bundle};
use agon_protocol::codec::{self, CodecError};
use agon_protocol::grpc::v1::GetEvidenceBundleRequest;
use agon_protocol::grpc::v1::validator_client::ValidatorClient;
use agon_runtime::net::{ChannelOptions, Net};
use thiserror::Error;
use tonic::Status;

/// Longest wait for a piece.
const CHUNK_DEADLINE: Duration = Duration::from_secs(15);
/// Most bytes of a piece and its framing.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// Why evidence was not fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The address is of no use.
    #[error("{0}")]
    Address(String),
    /// The validator does not give it.
    #[error("{addr} does not give the evidence of tempo {tempo}: {}", status.message())]
    Refused {
        /// Where it was asked for.
        addr: SocketAddr,
        /// Of which tempo.
        tempo: u64,
        /// What it said.
        status: Box<Status>,
    },
    /// A piece took too long.
    #[error("{addr} sent nothing for {} s", CHUNK_DEADLINE.as_secs())]
    Late {
        /// Where it was asked for.
        addr: SocketAddr,
    },
    /// More bytes than any evidence has.
    #[error("{addr} sends more than {BYTES_MAX} bytes")]
    TooLong {
        /// Where it was asked for.
        addr: SocketAddr,
    },
    /// The bytes are no evidence.
    #[error("{addr} sends no evidence: {source}")]
    Damaged {
        /// Where it was asked for.
        addr: SocketAddr,
        /// What is wrong with it.
        source: CodecError,
    },
}

/// Fetches the evidence of `tempo` from `addr`.
///
/// # Errors
///
/// [`FetchError`]; no more than [`BYTES_MAX`] are read, and each piece has a deadline.
pub async fn fetch(net: &Net, addr: SocketAddr, tempo: u64) -> Result<Bundle, FetchError> {
    let refused = |status| FetchError::Refused {
        addr,
        tempo,
        status: Box::new(status),
    };
    let channel = net
        .channel(&format!("http://{addr}"), ChannelOptions::default())
        .map_err(|error| FetchError::Address(error.to_string()))?;
    let mut client = ValidatorClient::new(channel).max_decoding_message_size(CHUNK_BYTES_MAX);
    let reply = client
        .get_evidence_bundle(GetEvidenceBundleRequest { tempo })
        .await;
    let mut stream = reply.map_err(refused)?.into_inner();
    let mut bytes = Vec::new();
    loop {
        let piece = tokio::time::timeout(CHUNK_DEADLINE, stream.message()).await;
        let Some(chunk) = piece.map_err(|_| FetchError::Late { addr })?.map_err(refused)? else {
            break;
        };
        if bytes.len() + chunk.data.len() > BYTES_MAX {
            return Err(FetchError::TooLong { addr });
        }
        bytes.extend(chunk.data);
    }
    codec::decode(&bytes, BYTES_MAX).map_err(|source| FetchError::Damaged { addr, source })
}
