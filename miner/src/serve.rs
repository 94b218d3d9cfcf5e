//! The gRPC service: admission, streaming, receipts.
//!
//! A request passes three gates. Its metadata is read before its body: a sender without a permit, or a request
//! meant for another miner, is refused at no cost. Then [`Admission`] decides on the challenge. Then the back end
//! takes the prompt or says at once that its queue is full. What was admitted is answered under the challenge's
//! deadline and closed with a signed receipt.
//!
//! Introductions of sessions have a service of their own, before the gates: see [`crate::sessions`].

mod introductions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agon_protocol::grpc::trace::WINDOWS_MAX;
use agon_protocol::grpc::v1::ask_reply::Part as WirePart;
use agon_protocol::grpc::v1::introductions_server::IntroductionsServer;
use agon_protocol::grpc::v1::{
    AskReply, AskRequest, OpenReply, OpenRequest, SignedReceipt, Tokens, miner_server,
};
use agon_protocol::grpc::{self};
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::message::{Challenge, FinishReason, Receipt, Signed, Trace, Verified, answer_digest};
use agon_protocol::sign::Keypair;
use agon_runtime::clock::Clock;
use agon_runtime::net::{self, Incoming, Known};
use agon_runtime::shutdown::Shutdown;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::service::{Interceptor, InterceptorLayer, LayerExt};
use tonic::{Request, Response, Status};
use tracing::{debug, warn};

use crate::admission::{Admission, Refusal, SubnetSnapshot};
use crate::backend::{Backend, BackendError, MadeOf, Part, Parts, Prompt};
use crate::models::Models;
use crate::receipts::Receipts;
use crate::replay::Replay;
use crate::sessions::Budget;
use crate::traces::Traces;
use crate::{GRACE, RunError};

/// Parts of one answer that wait for a slow reader; more wait in the back end, which bounds them by the tokens asked.
const PARTS_WAITING_MAX: usize = 64;
/// Most bytes of an answer: far more than the most tokens of any vocabulary.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// How long past the deadline a reader may take the last parts.
const READER_GRACE: Duration = Duration::from_secs(5);
/// What is kept of the deadline for the receipt's way back.
const RECEIPT_MARGIN: Duration = Duration::from_millis(50);

/// Open streams of one connection: more than a queue and all slots hold.
const STREAMS_MAX: u32 = 256;

/// What the ledger says of the subnet, as the follower keeps it.
pub type SubnetWatch = watch::Receiver<Option<Arc<SubnetSnapshot>>>;

/// The same where it is written down.
pub type SubnetSender = watch::Sender<Option<Arc<SubnetSnapshot>>>;

/// Everything the service needs; shared by all requests.
pub struct Service<B> {
    /// The hotkey, which signs receipts.
    pub pair: Keypair,
    /// Whose challenges are answered.
    pub admission: Admission,
    /// What the ledger says, and the sessions that were introduced.
    pub subnet: SubnetSender,
    /// Certificates that there is time to verify; whoever verifies one holds it.
    pub budget: tokio::sync::Mutex<Budget>,
    /// Used nonces.
    pub replay: Mutex<Replay>,
    /// Codes of the newest answers.
    pub traces: Mutex<Traces>,
    /// What was signed for the newest tempos.
    pub receipts: Arc<Mutex<Receipts>>,
    /// What makes the answers.
    pub models: Models<B>,
    /// Whose connections may take the places that are kept: learns who was admitted.
    pub known: Known,
    /// The time.
    pub clock: Clock,
}

impl<B> std::fmt::Debug for Service<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

/// Serves until shutdown was asked for and what was under way has ended, or was cut off after a while.
///
/// # Errors
///
/// [`RunError::Serve`].
pub async fn serve<B: Backend>(
    service: Service<B>,
    incoming: Incoming,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<miner_server::MinerServer<Handle<B>>>().await;
    let gate = Gate::new(service.admission, service.subnet.subscribe());
    let service = Arc::new(service);
    let introductions = IntroductionsServer::new(Handle(Arc::clone(&service)))
        .max_decoding_message_size(grpc::INTRODUCTION_BYTES_MAX)
        .max_encoding_message_size(grpc::INTRODUCTION_BYTES_MAX);
    let service = miner_server::MinerServer::new(Handle(service))
        .max_decoding_message_size(grpc::MINER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(grpc::MINER_MESSAGE_BYTES_MAX);
    let gated = tower::ServiceBuilder::new()
        .layer(InterceptorLayer::new(gate))
        .named_layer(service);
    let server = net::server()
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(health_service)
        .add_service(introductions)
        .add_service(gated);
    let stopped = server.serve_with_incoming_shutdown(incoming, shutdown.requested());
    let overdue = async {
        shutdown.requested().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        served = stopped => Ok(served?),
        () = overdue => {
            warn!(grace_ms = GRACE.as_millis() as u64, "answers under way were cut off");
            Ok(())
        }
    }
}

fn known(snapshot: Option<Arc<SubnetSnapshot>>) -> Result<Arc<SubnetSnapshot>, Refusal> {
    snapshot.ok_or_else(|| Refusal::Unavailable {
        reason: "this miner has not read the ledger yet, ask again later".to_owned(),
    })
}

/// The gate in front of the body: refuses strangers and strays on metadata alone.
#[derive(Clone, Debug)]
pub struct Gate {
    admission: Admission,
    subnet: SubnetWatch,
}

impl Gate {
    /// A gate for the miner that `admission` names.
    #[must_use]
    pub const fn new(admission: Admission, subnet: SubnetWatch) -> Self {
        Self { admission, subnet }
    }

    fn check(&self, metadata: &MetadataMap) -> Result<(), Refusal> {
        let receiver = key(metadata, grpc::RECEIVER_METADATA)?;
        if receiver != self.admission.miner {
            return Err(Refusal::Receiver {
                receiver,
                miner: self.admission.miner,
            });
        }
        let sender = key(metadata, grpc::SENDER_METADATA)?;
        let subnet = known(self.subnet.borrow().clone())?;
        self.admission.check_permit(&sender, &subnet)
    }
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match self.check(request.metadata()) {
            Ok(()) => Ok(request),
            Err(refusal) => Err(refused(refusal)),
        }
    }
}

/// Reads a hotkey from metadata.
fn key(metadata: &MetadataMap, name: &'static str) -> Result<Hotkey, Refusal> {
    let value = metadata.get(name).and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| Refusal::Malformed {
        reason: format!("metadata {name} is missing"),
    })?;
    value.parse().map_err(|error| Refusal::Malformed {
        reason: format!("metadata {name}: {error}"),
    })
}

/// Counts a refusal and makes it a status.
fn refused(refusal: Refusal) -> Status {
    metrics::counter!("agon_miner_challenges_total", "outcome" => refusal.rule()).increment(1);
    debug!(rule = refusal.rule(), %refusal, "challenge refused");
    refusal.into()
}

/// A handle on the service, as the server holds one for each connection.
#[derive(Debug)]
pub struct Handle<B>(pub Arc<Service<B>>);

#[tonic::async_trait]
impl<B: Backend> miner_server::Miner for Handle<B> {
    type AskStream = ReceiverStream<Result<AskReply, Status>>;

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<Self::AskStream>, Status> {
        let service = &self.0;
        let received_ms = service.clock.now_ms();
        let peer = request.remote_addr();
        let admitted = service
            .admit(request.into_inner(), received_ms)
            .map_err(refused)?;
        if let Some(peer) = peer {
            service.known.note(peer.ip());
        }
        let (sender, receiver) = mpsc::channel(PARTS_WAITING_MAX);
        let (answer, parts) = Answer::new(Arc::clone(service), admitted, received_ms);
        // A reader that neither reads nor goes away is left when the answer is too late anyway.
        let lifetime = Duration::from_millis(answer.deadline_ms().saturating_sub(received_ms)) + READER_GRACE;
        tokio::spawn(tokio::time::timeout(lifetime, answer.stream(parts, sender)));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenReply>, Status> {
        self.0
            .open(&request.into_inner())
            .map(Response::new)
            .map_err(refused)
    }
}

impl<B: Backend> Service<B> {
    /// Decides on a challenge; what was admitted keeps the model that it was given, whatever is served later.
    fn admit(&self, wire: AskRequest, now_ms: u64) -> Result<Admitted<B>, Refusal> {
        let challenge = Signed::<Challenge>::try_from(wire).map_err(|error| Refusal::Malformed {
            reason: error.to_string(),
        })?;
        let subnet = known(self.subnet.borrow().clone())?;
        let backend = self.models.choose(&challenge.message().task)?;
        let challenge = {
            let mut replay = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
            self.admission.admit(challenge, &subnet, &mut *replay, now_ms)?
        };
        let sender = challenge.message().sender;
        let share_ppm = subnet.share_ppm(&sender).unwrap_or(0);
        let parts = backend
            .answer(prompt(challenge.message(), share_ppm, now_ms))
            .map_err(|error| match error {
                BackendError::Busy | BackendError::Displaced => Refusal::Busy,
                BackendError::SenderBusy => Refusal::SenderBusy { sender },
                BackendError::Late(reason) => Refusal::Late { reason },
                BackendError::Prompt(reason) => Refusal::Prompt { reason },
                BackendError::Failed(reason) => Refusal::Unavailable { reason },
            })?;
        Ok(Admitted {
            challenge,
            backend,
            share_ppm,
            parts,
        })
    }
}

impl<B> Service<B> {
    fn open(&self, request: &OpenRequest) -> Result<OpenReply, Refusal> {
        let malformed = |reason: String| Refusal::Malformed { reason };
        if request.windows.len() > WINDOWS_MAX {
            let count = request.windows.len();
            return Err(malformed(format!(
                "{count} windows asked for, no answer has more than {WINDOWS_MAX}"
            )));
        }
        let challenge = request.challenge.as_slice().try_into().map(Digest);
        let challenge = challenge.map_err(|_| {
            malformed(format!(
                "challenge has {} bytes, a digest has 32",
                request.challenge.len()
            ))
        })?;
        let traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = traces.open(&challenge, &request.windows);
        drop(traces);
        let windows = opened.ok_or(Refusal::Forgotten { challenge })?;
        Ok(OpenReply {
            windows: windows.iter().map(Into::into).collect(),
        })
    }
}

fn prompt(challenge: &Challenge, sender_share_ppm: u32, now_ms: u64) -> Prompt {
    let left = Duration::from_millis(challenge.deadline_ms.saturating_sub(now_ms));
    Prompt {
        text: challenge.prompt.clone(),
        sampling: challenge.sampling,
        tokens_max: challenge.tokens_max,
        tokens_min: challenge.tokens_min,
        time_left: left.saturating_sub(RECEIPT_MARGIN),
        sender: challenge.sender,
        sender_share_ppm,
    }
}

/// A challenge that is being answered.
struct Admitted<B> {
    challenge: Verified<Challenge>,
    /// What answers it.
    backend: Arc<B>,
    /// The sender's share of the stake of all who may ask, parts per million.
    share_ppm: u32,
    parts: Parts,
}

/// One answer on its way out.
struct Answer<B> {
    service: Arc<Service<B>>,
    backend: Arc<B>,
    challenge: Verified<Challenge>,
    share_ppm: u32,
    started: Instant,
    received_ms: u64,
    first_token_ms: Option<u64>,
    text: String,
}

/// How an answer ended, with the tokens that the back end counted.
struct End {
    finish: FinishReason,
    prompt_tokens: u32,
    answer_tokens: u32,
    made_of: MadeOf,
}

impl<B: Backend> Answer<B> {
    fn new(service: Arc<Service<B>>, admitted: Admitted<B>, received_ms: u64) -> (Self, Parts) {
        let answer = Self {
            service,
            backend: admitted.backend,
            challenge: admitted.challenge,
            share_ppm: admitted.share_ppm,
            started: Instant::now(),
            received_ms,
            first_token_ms: None,
            text: String::new(),
        };
        (answer, admitted.parts)
    }

    /// Sends the parts as they are made, then the receipt; stops when the reader goes away.
    async fn stream(mut self, mut parts: Parts, sender: mpsc::Sender<Result<AskReply, Status>>) {
        let outcome = loop {
            let part = tokio::select! {
                biased;
                part = parts.next() => part,
                () = sender.closed() => break "abandoned",
            };
            match self.step(part) {
                Step::Send(piece) => {
                    if sender.send(Ok(reply(WirePart::Text(piece)))).await.is_err() {
                        break "abandoned";
                    }
                }
                Step::Skip => {}
                Step::Close(end) => {
                    break if self.close(end, &sender).await {
                        "answered"
                    } else {
                        "abandoned"
                    };
                }
                Step::Fail(status, outcome) => {
                    // The reader may be gone as well; there is nobody else to tell.
                    let _ = sender.send(Err(status)).await;
                    break outcome;
                }
            }
        };
        metrics::counter!("agon_miner_challenges_total", "outcome" => outcome).increment(1);
        metrics::histogram!("agon_miner_answer_seconds").record(self.started.elapsed().as_secs_f64());
    }

    /// Sends the tokens and the receipt; false when nobody reads any more.
    async fn close(&self, end: End, sender: &mpsc::Sender<Result<AskReply, Status>>) -> bool {
        let receipt = self.receipt(&end);
        let MadeOf { tokens, codes } = end.made_of;
        // Kept before the receipt is out, so that whoever has it can ask.
        self.keep(codes);
        self.keep_receipt(&receipt);
        let tokens = reply(WirePart::Tokens(Tokens { ids: tokens }));
        let receipt = reply(WirePart::Receipt(SignedReceipt::from(&receipt)));
        sender.send(Ok(tokens)).await.is_ok() && sender.send(Ok(receipt)).await.is_ok()
    }

    fn keep(&self, codes: Vec<agon_protocol::message::Code>) {
        let mut traces = self.service.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.keep(self.challenge.digest(), codes);
    }

    fn keep_receipt(&self, receipt: &Signed<Receipt>) {
        let challenge = self.challenge.message();
        let mut receipts = self
            .service
            .receipts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        receipts.keep(challenge.tempo, challenge.sender, receipt);
    }

    fn deadline_ms(&self) -> u64 {
        self.challenge.message().deadline_ms
    }

    fn step(&mut self, part: Option<Result<Part, BackendError>>) -> Step {
        match part {
            Some(Ok(Part::Text(piece))) if self.text.len() + piece.len() > ANSWER_BYTES_MAX => {
                Step::fail(format!(
                    "the answer is longer than {ANSWER_BYTES_MAX} bytes, {} more came",
                    piece.len()
                ))
            }
            Some(Ok(Part::Text(piece))) => {
                if self.first_token_ms.is_none() {
                    self.first_token_ms = Some(self.service.clock.now_ms());
                    let seconds = self.started.elapsed().as_secs_f64();
                    let share = share_class(self.share_ppm);
                    metrics::histogram!("agon_miner_first_token_seconds", "share" => share).record(seconds);
                }
                self.text.push_str(&piece);
                if piece.is_empty() {
                    Step::Skip
                } else {
                    Step::Send(piece)
                }
            }
            Some(Ok(Part::Done {
                finish,
                prompt_tokens,
                answer_tokens,
                made_of,
            })) => Step::Close(End {
                finish,
                prompt_tokens,
                answer_tokens,
                made_of,
            }),
            Some(Err(BackendError::Displaced)) => Step::Fail(Refusal::Busy.into(), "displaced"),
            Some(Err(error)) => {
                warn!(%error, "answer failed");
                Step::fail(error.to_string())
            }
            None => Step::fail("the back end ended without an end"),
        }
    }

    fn receipt(&self, end: &End) -> Signed<Receipt> {
        let service = &self.service;
        let finished_ms = service.clock.now_ms().max(self.received_ms);
        let first_token_ms = self
            .first_token_ms
            .unwrap_or(finished_ms)
            .clamp(self.received_ms, finished_ms);
        metrics::counter!("agon_miner_tokens_total", "kind" => "prompt").increment(end.prompt_tokens.into());
        metrics::counter!("agon_miner_tokens_total", "kind" => "answer").increment(end.answer_tokens.into());
        let identity = self.backend.identity();
        let receipt = Receipt {
            challenge: self.challenge.digest(),
            answer: answer_digest(&self.text),
            miner: service.admission.miner,
            prompt_tokens: end.prompt_tokens,
            answer_tokens: end.answer_tokens,
            trace: Trace::of(&end.made_of.tokens, &end.made_of.codes),
            received_ms: self.received_ms,
            first_token_ms,
            finished_ms,
            finish: end.finish,
            model: identity.digest,
            environment: identity.environment.clone(),
        };
        Signed::sign(receipt, &service.pair)
    }
}

/// What one part of an answer leads to.
enum Step {
    Send(String),
    Skip,
    Close(End),
    /// What the reader is told, and the outcome that is counted.
    Fail(Status, &'static str),
}

impl Step {
    fn fail(message: impl Into<String>) -> Self {
        Self::Fail(Status::internal(message), "failed")
    }
}

/// A label for metrics: senders by their share of stake, in three classes.
const fn share_class(share_ppm: u32) -> &'static str {
    match share_ppm {
        100_000.. => "tenth_or_more",
        10_000.. => "hundredth_or_more",
        _ => "less",
    }
}

fn reply(part: WirePart) -> AskReply {
    AskReply { part: Some(part) }
}
