//! The ledger as miners, validators and the operator's tool see it: typed calls with deadlines, no engine.
//!
//! Every call has a deadline of its own and returns working types that were bounded and validated on the way in.
//! A refusal by a rule of the ledger is told apart from a node that cannot be reached: the first will be refused
//! again, the second may be tried again.

mod chunks;
pub mod evidence;
pub mod follow;
pub mod light;
mod queries;
pub mod snapshot;

use std::time::Duration;

use agon_protocol::amount::Amount;
use agon_protocol::grpc::{self, v1, v1::ledger_client};
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest};
use agon_protocol::message::{Call, MessageError, RefusalView, Signed, Transaction};
use agon_protocol::sign::Keypair;
use agon_runtime::flags::ExitWith;
use agon_runtime::net::{ChannelOptions, Net};
use thiserror::Error;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Longest wait for a query.
const QUERY_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a transaction to be in a stored block: longer than a node takes to say that it did not make it,
/// and shorter than the transport's own limit.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(28);

/// Why a call to a ledger node gave nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A rule of the ledger refuses the transaction.
    #[error("refused by the ledger, rule {}: {}", .0.rule, .0.message)]
    Refused(RefusalView),
    /// The node does not answer.
    #[error("no ledger node answers at {uri}: {reason}; is agon-node running there?")]
    Unreachable {
        /// Where it was looked for.
        uri: String,
        /// What the transport said.
        reason: String,
    },
    /// The node did not answer in time.
    #[error("{call} was not answered within {deadline_ms} ms")]
    Deadline {
        /// Which call.
        call: &'static str,
        /// How long it waited.
        deadline_ms: u64,
    },
    /// The node knows no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The node answered with another error.
    #[error("{call} failed: {code:?}: {message}")]
    Failed {
        /// Which call.
        call: &'static str,
        /// The status code.
        code: Code,
        /// What the node said.
        message: String,
    },
    /// The node's answer breaks a limit.
    #[error("the node's answer to {call} is not valid: {source}")]
    Malformed {
        /// Which call.
        call: &'static str,
        /// What is wrong with it.
        source: MessageError,
    },
}

impl From<ClientError> for ExitWith {
    /// The exit code of a process that ends with this error.
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(_) => Self::refused(error),
            ClientError::Unreachable { .. } | ClientError::Deadline { .. } => Self::unreachable(error),
            other => Self::failure(other),
        }
    }
}

/// What a transaction that is not refused would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// What would change, a sentence each; the fee is among them.
    pub effects: Vec<String>,
    /// What it costs.
    pub fee: Amount,
    /// Who pays that.
    pub payer: Coldkey,
}

/// Where a transaction was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// The transaction's digest.
    pub digest: Digest,
    /// Height of the block that holds it.
    pub height: BlockNumber,
}

/// A connection to one ledger node; cheap to clone, connects when first used and again when it broke.
#[derive(Clone, Debug)]
pub struct LedgerClient {
    uri: String,
    stub: ledger_client::LedgerClient<Channel>,
}

impl LedgerClient {
    /// A client of the node at `uri`, as in `http://127.0.0.1:9944`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`] when `uri` is not an address.
    pub fn new(net: &Net, uri: &str) -> Result<Self, ClientError> {
        let channel =
            net.channel(uri, ChannelOptions::default())
                .map_err(|error| ClientError::Unreachable {
                    uri: uri.to_owned(),
                    reason: error.to_string(),
                })?;
        let stub = ledger_client::LedgerClient::new(channel)
            .max_decoding_message_size(grpc::LEDGER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(grpc::LEDGER_MESSAGE_BYTES_MAX);
        Ok(Self {
            uri: uri.to_owned(),
            stub,
        })
    }

    /// Where the node is.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// What the ledger would say to a transaction: what it does, what it costs and who pays.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] with the very text a submission would get, and the others.
    pub async fn dry_run(&self, transaction: &Signed<Transaction>) -> Result<DryRun, ClientError> {
        let mut stub = self.stub.clone();
        let reply = self
            .ask("DryRun", stub.dry_run(v1::SubmitRequest::from(transaction)))
            .await?;
        refuse("DryRun", reply.refusal)?;
        let payer = <[u8; 32]>::try_from(reply.payer.as_slice());
        let payer = payer.map_err(|_| ClientError::Malformed {
            call: "DryRun",
            source: MessageError::Invalid {
                field: "payer",
                reason: format!("{} bytes instead of 32", reply.payer.len()),
            },
        })?;
        Ok(DryRun {
            effects: reply.effects,
            fee: Amount::from_base_units(reply.fee),
            payer: Coldkey(payer),
        })
    }

    /// Submits a signed transaction and waits until it is in a stored block.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] when a rule stands against it, and the others.
    pub async fn submit(&self, transaction: &Signed<Transaction>) -> Result<Included, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::SubmitRequest::from(transaction);
        let reply = self
            .ask_within("Submit", SUBMIT_DEADLINE, stub.submit(request))
            .await?;
        refuse("Submit", reply.refusal)?;
        Ok(Included {
            digest: transaction.digest(),
            height: BlockNumber(reply.height),
        })
    }

    /// Signs `call` with `pair` as its next transaction.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when ledger and nonce cannot be read.
    pub async fn prepare(&self, pair: &Keypair, call: Call) -> Result<Signed<Transaction>, ClientError> {
        let signer = Account(pair.public());
        let genesis = self.head().await?.genesis;
        let nonce = self.account(signer).await?.nonce;
        Ok(Signed::sign(
            Transaction {
                genesis,
                signer,
                nonce,
                call,
            },
            pair,
        ))
    }

    /// Signs `call` with `pair` as its next transaction and submits it.
    ///
    /// # Errors
    ///
    /// [`ClientError`], as [`Self::submit`].
    pub async fn send(&self, pair: &Keypair, call: Call) -> Result<Included, ClientError> {
        let transaction = self.prepare(pair, call).await?;
        self.submit(&transaction).await
    }

    async fn ask<T>(
        &self,
        call: &'static str,
        reply: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        self.ask_within(call, QUERY_DEADLINE, reply).await
    }

    async fn ask_within<T>(
        &self,
        call: &'static str,
        deadline: Duration,
        reply: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(deadline, reply).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(failed(call, &self.uri, &status)),
            Err(_) => Err(ClientError::Deadline {
                call,
                deadline_ms: deadline.as_millis() as u64,
            }),
        }
    }
}

/// Turns a wire message into the working type that `call` promises.
fn working<W, T>(call: &'static str, wire: W) -> Result<T, ClientError>
where
    T: TryFrom<W, Error = MessageError>,
{
    T::try_from(wire).map_err(|source| ClientError::Malformed { call, source })
}

fn refuse(call: &'static str, refusal: Option<v1::Refusal>) -> Result<(), ClientError> {
    match refusal {
        None => Ok(()),
        Some(refusal) => Err(ClientError::Refused(working(call, refusal)?)),
    }
}

fn failed(call: &'static str, uri: &str, status: &Status) -> ClientError {
    match status.code() {
        Code::Unavailable => ClientError::Unreachable {
            uri: uri.to_owned(),
            reason: status.message().to_owned(),
        },
        Code::Cancelled | Code::DeadlineExceeded => ClientError::Deadline {
            call,
            deadline_ms: SUBMIT_DEADLINE.as_millis() as u64,
        },
        Code::NotFound => ClientError::NotFound(status.message().to_owned()),
        code => ClientError::Failed {
            call,
            code,
            message: status.message().to_owned(),
        },
    }
}
