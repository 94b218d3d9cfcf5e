//! Asks one miner one challenge, under one deadline, and gives whatever came of it.
//!
//! Nothing a miner does makes this fail, hang or grow: the stream is read up to stated limits until the deadline,
//! the receipt is checked against challenge and answer, and every way it can go is an [`Outcome`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use agon_evidence::record::Outcome;
use agon_protocol::grpc::v1::ask_reply::Part;
use agon_protocol::grpc::v1::miner_client::MinerClient;
use agon_protocol::grpc::v1::{AskReply, AskRequest, OpenRequest, SignedReceipt};
use agon_protocol::grpc::{self};
pub use agon_protocol::message::Failure;
use agon_protocol::message::{
    Challenge, OpenedWindow, Receipt, Signed, Verified, answer_digest, tokens_digest,
};
use agon_runtime::net::{ChannelOptions, Net};
use futures::future::join_all;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::asker::Introductions;
use crate::round::Plan;

/// Most bytes of an answer that are read; a task's answers are far shorter.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of text that a token is allowed on average.
const TOKEN_BYTES_MAX: usize = 64;
/// Most bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 256;
/// Channels that are kept open; more than a round asks.
const CHANNELS_MAX: usize = 512;

/// An outcome of asking that gave no answer, its reason cut to what is kept.
fn no_answer(failure: Failure, reason: impl Into<String>) -> Outcome {
    let mut reason = reason.into();
    while reason.len() > REASON_BYTES_MAX {
        reason.pop();
    }
    Outcome::Failed { failure, reason }
}

/// The open channels to miners, one for each address.
#[derive(Debug)]
pub struct Miners {
    net: Net,
    channels: BTreeMap<SocketAddr, Channel>,
}

impl Miners {
    /// No channels yet.
    #[must_use]
    pub const fn new(net: Net) -> Self {
        Self {
            net,
            channels: BTreeMap::new(),
        }
    }

    /// The channel to `addr`, which connects when it is first used.
    ///
    /// # Errors
    ///
    /// In words, when the address is of no use.
    pub fn channel(&mut self, addr: SocketAddr) -> Result<Channel, String> {
        if let Some(channel) = self.channels.get(&addr) {
            return Ok(channel.clone());
        }
        if self.channels.len() >= CHANNELS_MAX {
            self.channels.clear();
        }
        let options = ChannelOptions {
            keepalive: None,
            ..ChannelOptions::default()
        };
        let channel = self
            .net
            .channel(&format!("http://{addr}"), options)
            .map_err(|error| error.to_string())?;
        self.channels.insert(addr, channel.clone());
        Ok(channel)
    }

    /// Drops the channels to addresses that nobody announces any more.
    pub fn keep_only(&mut self, announced: impl Fn(&SocketAddr) -> bool) {
        self.channels.retain(|addr, _| announced(addr));
    }
}

/// Asks, and waits until `deadline` at most.
pub async fn ask(
    channel: Channel,
    challenge: &Signed<Challenge>,
    introductions: Option<&Introductions>,
    deadline: Duration,
) -> Outcome {
    let asked = async {
        match introductions {
            Some(introductions) => converse_in_session(channel, challenge, introductions).await,
            None => converse(channel, challenge).await,
        }
    };
    match tokio::time::timeout(deadline, asked).await {
        Ok(outcome) => outcome,
        Err(_) => no_answer(
            Failure::Late,
            format!("no receipt within {} ms", deadline.as_millis()),
        ),
    }
}

/// Asks everything of a plan at once, each under `deadline`; gives one outcome for each ask. A session that is yet to be
/// introduced to a miner is introduced first, within the same deadline.
pub fn ask_all(
    miners: &mut Miners,
    plan: &Plan,
    introductions: Option<&Arc<Introductions>>,
    deadline: Duration,
) -> impl Future<Output = Vec<Outcome>> + Send + use<> {
    let asked = plan.asks.iter().map(|asked| {
        let gone = || "it does not serve on this UID any more".to_owned();
        let channel = asked.miner.addr.ok_or_else(gone);
        let channel = channel.and_then(|addr| miners.channel(addr));
        let challenge = asked.challenge.clone();
        let introductions = introductions.cloned();
        async move {
            match channel {
                Ok(channel) => ask(channel, &challenge, introductions.as_deref(), deadline).await,
                Err(reason) => no_answer(Failure::Unreachable, reason),
            }
        }
    });
    join_all(asked.collect::<Vec<_>>())
}

fn client(channel: Channel) -> MinerClient<Channel> {
    MinerClient::new(channel)
        .max_decoding_message_size(grpc::MINER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(grpc::MINER_MESSAGE_BYTES_MAX)
}

/// Asks a miner to open windows of an answer's codes, and waits until `deadline` at most.
///
/// # Errors
///
/// In words, when it does not open exactly those; whether they are the receipt's is for the caller to check.
pub async fn open(
    channel: Channel,
    challenge: &Signed<Challenge>,
    windows: Vec<u32>,
    deadline: Duration,
) -> Result<Vec<OpenedWindow>, String> {
    let wire = OpenRequest {
        challenge: challenge.digest().0.to_vec(),
        windows: windows.clone(),
    };
    let mut client = client(channel);
    let opened = tokio::time::timeout(deadline, client.open(addressed(wire, challenge.message())));
    let reply = opened
        .await
        .map_err(|_| format!("no reply within {} ms", deadline.as_millis()))?
        .map_err(|status| format!("{:?}: {}", status.code(), status.message()))?
        .into_inner();
    if reply.windows.len() != windows.len() {
        return Err(format!(
            "{} windows came, {} were asked for",
            reply.windows.len(),
            windows.len()
        ));
    }
    let opened = reply.windows.into_iter().map(OpenedWindow::try_from);
    let opened: Vec<OpenedWindow> = opened
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    if opened.iter().map(|window| window.index).ne(windows) {
        return Err("other windows came than were asked for".to_owned());
    }
    Ok(opened)
}

/// As [`converse`], once the miner knows the session. What the introduction takes does not count as the answer's time.
async fn converse_in_session(
    channel: Channel,
    challenge: &Signed<Challenge>,
    introductions: &Introductions,
) -> Outcome {
    let miner = challenge.message().receiver;
    if let Err(status) = introductions.meet(miner, channel.clone()).await {
        return failed(&status);
    }
    let outcome = converse(channel, challenge).await;
    let is_refused = |failure: &Failure| *failure == Failure::Refused;
    if matches!(&outcome, Outcome::Failed { failure, .. } if is_refused(failure)) {
        introductions.forget(miner);
    }
    outcome
}

async fn converse(channel: Channel, challenge: &Signed<Challenge>) -> Outcome {
    let started = Instant::now();
    let asked = client(channel)
        .ask(addressed(AskRequest::from(challenge), challenge.message()))
        .await;
    match asked {
        Ok(response) => read(response.into_inner(), challenge, started).await,
        Err(status) => failed(&status),
    }
}

/// A request with the metadata that a miner reads first.
fn addressed<T>(wire: T, message: &Challenge) -> Request<T> {
    let mut request = Request::new(wire);
    let keys = [
        (grpc::SENDER_METADATA, message.sender),
        (grpc::RECEIVER_METADATA, message.receiver),
    ];
    for (name, key) in keys {
        request
            .metadata_mut()
            .insert(name, key.to_string().parse().expect("an address is plain text"));
    }
    request
}

/// What of an answer has come so far.
#[derive(Debug, Default)]
struct Partial {
    text: String,
    tokens: Vec<u32>,
    first_ms: Option<u32>,
}

async fn read(mut stream: Streaming<AskReply>, challenge: &Signed<Challenge>, started: Instant) -> Outcome {
    let elapsed_ms = || u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    let mut partial = Partial::default();
    let bytes_max = (challenge.message().tokens_max as usize * TOKEN_BYTES_MAX).min(ANSWER_BYTES_MAX);
    loop {
        match stream.message().await {
            Ok(Some(AskReply {
                part: Some(Part::Text(piece)),
            })) => {
                if partial.text.len() + piece.len() > bytes_max {
                    let reason = format!("more than {bytes_max} bytes of answer");
                    return no_answer(Failure::Invalid, reason);
                }
                partial.first_ms.get_or_insert_with(elapsed_ms);
                partial.text.push_str(&piece);
            }
            Ok(Some(AskReply {
                part: Some(Part::Tokens(tokens)),
            })) => partial.tokens = tokens.ids,
            Ok(Some(AskReply {
                part: Some(Part::Receipt(receipt)),
            })) => {
                let total_ms = elapsed_ms();
                return match check_receipt(receipt, challenge, &partial) {
                    Ok(receipt) => Outcome::Answered {
                        text: partial.text,
                        tokens: partial.tokens,
                        first_ms: partial.first_ms.unwrap_or(total_ms),
                        total_ms,
                        receipt: Box::new(receipt.into_signed()),
                    },
                    Err(reason) => no_answer(Failure::Invalid, reason),
                };
            }
            Ok(Some(AskReply { part: None })) => {
                return no_answer(Failure::Invalid, "a part of the answer is empty");
            }
            Ok(None) => return no_answer(Failure::Invalid, "the answer ended without a receipt"),
            Err(status) => return failed(&status),
        }
    }
}

/// Checks that the receipt is the asked miner's, for this challenge and this very text.
fn check_receipt(
    wire: SignedReceipt,
    challenge: &Signed<Challenge>,
    partial: &Partial,
) -> Result<Verified<Receipt>, String> {
    let receipt = Signed::<Receipt>::try_from(wire).map_err(|error| format!("receipt: {error}"))?;
    let message = receipt.message();
    if message.miner != challenge.message().receiver {
        return Err(format!(
            "the receipt is of {}, asked was {}",
            message.miner,
            challenge.message().receiver
        ));
    }
    if message.challenge != challenge.digest() {
        return Err("the receipt is for another challenge".to_owned());
    }
    if message.answer != answer_digest(&partial.text) {
        return Err("the receipt is for another answer".to_owned());
    }
    let trace = &message.trace;
    if trace.token_count as usize != partial.tokens.len() || trace.tokens != tokens_digest(&partial.tokens) {
        return Err("the receipt is for other tokens".to_owned());
    }
    if message.answer_tokens > challenge.message().tokens_max {
        let (found, allowed) = (message.answer_tokens, challenge.message().tokens_max);
        return Err(format!("{found} tokens of answer, {allowed} were asked for"));
    }
    receipt.verify().map_err(|error| format!("receipt: {error}"))
}

fn failed(status: &Status) -> Outcome {
    let failure = match status.code() {
        Code::ResourceExhausted => Failure::Busy,
        Code::DeadlineExceeded | Code::Cancelled => Failure::Late,
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::AlreadyExists => Failure::Refused,
        Code::Internal | Code::Unknown | Code::DataLoss => Failure::Broken,
        Code::InvalidArgument | Code::NotFound | Code::Unimplemented => Failure::Invalid,
        Code::Unavailable | Code::Aborted | Code::Ok => Failure::Unreachable,
    };
    no_answer(failure, format!("{:?}: {}", status.code(), status.message()))
}
