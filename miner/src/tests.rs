//! The service over real sockets, with a scripted back end: gates, receipts, refusals, cancellation, message rate.

mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agon_protocol::grpc::v1::ask_reply::Part as WirePart;
use agon_protocol::grpc::v1::miner_client::MinerClient;
use agon_protocol::grpc::v1::{AskReply, AskRequest, OpenRequest};
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::message::{
    Challenge, Environment, FinishReason, OpenedWindow, Receipt, Sampling, Signed, answer_digest,
};
use agon_protocol::sign::DrawInput;
use agon_runtime::net::ChannelOptions;
use futures::stream::{self, StreamExt};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::*;
use crate::admission::{RULE_METADATA, SubnetSnapshot};
use crate::backend::{BackendError, MadeOf, ModelIdentity, Part, Parts, Prompt};
use crate::sessions::Sessions;
use agon_protocol::grpc;

/// Pieces of the long answer: what a prompt of that many tokens would stream.
const PIECES: usize = 256;
/// Without `TCP_NODELAY` every stream waits for a delayed acknowledgement, 40 ms on Linux; with it a stream of
/// [`PIECES`] takes less than a millisecond on an idle machine.
const STREAM_MAX: Duration = Duration::from_millis(25);

/// Answers with pieces, or as the prompt says.
struct Scripted {
    identity: ModelIdentity,
    dropped: Arc<AtomicBool>,
}

/// Notes when an unfinished answer is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Backend for Scripted {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        let done = Part::Done {
            finish: FinishReason::EndOfText,
            prompt_tokens: 3,
            answer_tokens: 2,
            made_of: MadeOf {
                tokens: vec![5, 6, 0],
                codes: vec![[1; 16], [2; 16], [3; 16]],
            },
        };
        match prompt.text.as_str() {
            "busy" => Err(BackendError::Busy),
            "again" => Err(BackendError::SenderBusy),
            "hurry" => Err(BackendError::Late("1 ms are left".to_owned())),
            "displaced" => Ok(stream::iter([Err(BackendError::Displaced)]).boxed()),
            "who" => {
                let text = format!("{} {}", prompt.sender, prompt.sender_share_ppm);
                Ok(stream::iter([Ok(Part::Text(text)), Ok(done)]).boxed())
            }
            "odd" => Err(BackendError::Prompt("the prompt has no tokens".to_owned())),
            "break" => {
                let parts = [
                    Ok(Part::Text("half ".into())),
                    Err(BackendError::Failed("out of memory".into())),
                ];
                Ok(stream::iter(parts).boxed())
            }
            "endless" => {
                let guard = Dropped(Arc::clone(&self.dropped));
                let endless = stream::repeat_with(move || {
                    let _held = &guard;
                    Ok(Part::Text("x".into()))
                });
                Ok(endless
                    .then(|part| async {
                        tokio::task::yield_now().await;
                        part
                    })
                    .boxed())
            }
            "long" => {
                let pieces = (0..PIECES).map(|_| Ok(Part::Text("token ".into())));
                // Each piece is its own step, as from a model.
                let pieces = stream::iter(pieces.chain([Ok(done)]));
                Ok(pieces
                    .then(|part| async {
                        tokio::task::yield_now().await;
                        part
                    })
                    .boxed())
            }
            _ => Ok(stream::iter([
                Ok(Part::Text("the ".into())),
                Ok(Part::Text("kitchen".into())),
                Ok(done),
            ])
            .boxed()),
        }
    }
}

/// A served miner and what is needed to ask it.
struct Bench {
    addr: SocketAddr,
    validator: Keypair,
    admission: Admission,
    dropped: Arc<AtomicBool>,
    shutdown: Shutdown,
    nonce: u64,
}

impl Bench {
    async fn new() -> Self {
        let (validator, pair) = (
            Keypair::from_mini_secret(&[1; 32]),
            Keypair::from_mini_secret(&[2; 32]),
        );
        let admission = Admission {
            genesis: Digest([9; 32]),
            netuid: Netuid(1),
            miner: pair.hotkey(),
        };
        let mut known = Sessions::default();
        known.learn(sessions::ring(4));
        let snapshot = SubnetSnapshot {
            tempo: 4,
            beacons: BTreeMap::from([(4, Digest([5; 32]))]),
            permitted: BTreeMap::from([(validator.hotkey(), 250_000)]),
            sessions: known,
        };
        let (dropped, shutdown) = (Arc::new(AtomicBool::new(false)), Shutdown::new());
        let environment = Environment {
            dtype: "f32".into(),
            device: "cpu".into(),
            libtorch: "none".into(),
        };
        let identity = ModelIdentity {
            name: "scripted".into(),
            digest: Digest([3; 32]),
            environment,
        };
        let service = Service {
            pair,
            admission,
            subnet: watch::Sender::new(Some(Arc::new(snapshot))),
            budget: tokio::sync::Mutex::default(),
            replay: Mutex::new(Replay::in_memory()),
            traces: Mutex::default(),
            receipts: Arc::default(),
            models: Models::one(Scripted {
                identity,
                dropped: Arc::clone(&dropped),
            }),
            known: agon_runtime::net::Known::default(),
            clock: Clock::system(),
        };
        let incoming = Net::tcp()
            .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let (addr, token) = (incoming.local_addr(), shutdown.clone());
        tokio::spawn(async move { serve::serve(service, incoming, &token).await });
        Self {
            addr,
            validator,
            admission,
            dropped,
            shutdown,
            nonce: 0,
        }
    }

    fn client(&self) -> MinerClient<Channel> {
        let channel = Net::tcp().channel(&format!("http://{}", self.addr), ChannelOptions::default());
        MinerClient::new(channel.unwrap())
    }

    fn challenge(&mut self, prompt: &str) -> Signed<Challenge> {
        self.nonce += 1;
        let Admission {
            genesis,
            netuid,
            miner,
        } = self.admission;
        let beacon = Digest([5; 32]);
        let input = DrawInput {
            genesis,
            netuid,
            tempo: 4,
            beacon,
            round: 0,
        };
        let now_ms = Clock::system().now_ms();
        let challenge = Challenge {
            genesis,
            netuid,
            task: "reading".to_owned(),
            tempo: 4,
            beacon,
            round: 0,
            draw: self.validator.draw(&input).1,
            item_index: 0,
            sender: self.validator.hotkey(),
            receiver: miner,
            nonce: self.nonce,
            issued_ms: now_ms,
            deadline_ms: now_ms + 20_000,
            prompt: prompt.to_owned(),
            sampling: Sampling {
                temperature_milli: 0,
                top_p_ppm: 1_000_000,
                top_k: 0,
                seed: 0,
            },
            tokens_max: 8,
            tokens_min: 0,
        };
        Signed::sign(challenge, &self.validator)
    }

    fn request(&self, challenge: &Signed<Challenge>) -> Request<AskRequest> {
        self.request_as(challenge, self.validator.hotkey(), self.admission.miner)
    }

    /// Asks for windows of the codes of an answer.
    async fn open(&self, challenge: &[u8], windows: &[u32]) -> Result<Vec<OpenedWindow>, Status> {
        let mut request = Request::new(OpenRequest {
            challenge: challenge.to_vec(),
            windows: windows.to_vec(),
        });
        self.address(&mut request, self.validator.hotkey(), self.admission.miner);
        let reply = self.client().open(request).await?.into_inner();
        let windows = reply.windows.into_iter();
        Ok(windows
            .map(|window| OpenedWindow::try_from(window).unwrap())
            .collect())
    }

    fn address<T>(&self, request: &mut Request<T>, from: Hotkey, to: Hotkey) {
        for (name, key) in [(grpc::SENDER_METADATA, from), (grpc::RECEIVER_METADATA, to)] {
            request
                .metadata_mut()
                .insert(name, key.to_string().parse().unwrap());
        }
    }

    fn request_as(&self, challenge: &Signed<Challenge>, from: Hotkey, to: Hotkey) -> Request<AskRequest> {
        let mut request = Request::new(AskRequest::from(challenge));
        self.address(&mut request, from, to);
        request
    }

    async fn ask(&mut self, prompt: &str) -> Result<Streaming<AskReply>, Status> {
        let challenge = self.challenge(prompt);
        let request = self.request(&challenge);
        Ok(self.client().ask(request).await?.into_inner())
    }

    /// The code and rule of the refusal of a prompt.
    async fn refusal(&mut self, prompt: &str) -> (Code, String) {
        let status = self.ask(prompt).await.unwrap_err();
        named(&status)
    }
}

fn named(status: &Status) -> (Code, String) {
    let rule = status.metadata().get(RULE_METADATA).unwrap().to_str().unwrap();
    (status.code(), rule.to_owned())
}

async fn whole(mut stream: Streaming<AskReply>) -> (String, Option<Signed<Receipt>>) {
    let (mut text, mut receipt) = (String::new(), None);
    while let Some(reply) = stream.message().await.unwrap() {
        match reply.part.unwrap() {
            WirePart::Text(piece) => text.push_str(&piece),
            WirePart::Tokens(tokens) => assert_eq!(tokens.ids, [5, 6, 0]),
            WirePart::Receipt(signed) => receipt = Some(Signed::try_from(signed).unwrap()),
        }
    }
    (text, receipt)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_streams_and_closes_with_a_receipt_that_holds() {
    let mut bench = Bench::new().await;
    let challenge = bench.challenge("Where is Mary?");
    let stream = bench
        .client()
        .ask(bench.request(&challenge))
        .await
        .unwrap()
        .into_inner();
    let (text, receipt) = whole(stream).await;
    let receipt = receipt.unwrap().verify().unwrap();
    assert_eq!(text, "the kitchen");
    assert_eq!(receipt.message().challenge, challenge.digest());
    assert_eq!(receipt.message().answer, answer_digest(&text));
    assert_eq!(receipt.message().miner, bench.admission.miner);
    assert_eq!(
        (receipt.message().prompt_tokens, receipt.message().answer_tokens),
        (3, 2)
    );
    bench.shutdown.request();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_codes_of_an_answer_open_to_the_root_in_its_receipt() {
    let mut bench = Bench::new().await;
    let challenge = bench.challenge("Where is Mary?");
    let stream = bench.client().ask(bench.request(&challenge)).await.unwrap();
    let receipt = whole(stream.into_inner()).await.1.unwrap();
    let digest = challenge.digest().0;
    let opened = bench.open(&digest, &[0]).await.unwrap();
    assert!(opened.len() == 1 && opened[0].is_of(&receipt.message().trace));
    let refusals = [
        (bench.open(&digest, &[1]).await, (Code::NotFound, "forgotten")),
        (bench.open(&[7; 32], &[0]).await, (Code::NotFound, "forgotten")),
        (
            bench.open(&[7; 31], &[0]).await,
            (Code::InvalidArgument, "malformed"),
        ),
        (
            bench.open(&digest, &[0; 1000]).await,
            (Code::InvalidArgument, "malformed"),
        ),
    ];
    for (result, (code, rule)) in refusals {
        assert_eq!(named(&result.unwrap_err()), (code, rule.to_owned()));
    }
    bench.shutdown.request();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_and_strays_are_refused_on_metadata_alone() {
    let mut bench = Bench::new().await;
    let challenge = bench.challenge("Where is Mary?");
    let stranger = bench.request_as(&challenge, Hotkey([7; 32]), bench.admission.miner);
    let stray = bench.request_as(&challenge, bench.validator.hotkey(), Hotkey([8; 32]));
    let nameless = Request::new(AskRequest::from(&challenge));
    let mut client = bench.client();
    let refusal = |status: Status| named(&status);
    assert_eq!(
        refusal(client.ask(stranger).await.unwrap_err()),
        (Code::PermissionDenied, "permit".into())
    );
    assert_eq!(
        refusal(client.ask(stray).await.unwrap_err()),
        (Code::NotFound, "receiver".into())
    );
    assert_eq!(
        refusal(client.ask(nameless).await.unwrap_err()),
        (Code::InvalidArgument, "malformed".into())
    );
    assert!(
        client.ask(bench.request(&challenge)).await.is_ok(),
        "its nonce was not used up"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_has_a_status_of_its_own() {
    let mut bench = Bench::new().await;
    assert_eq!(
        bench.refusal("busy").await,
        (Code::ResourceExhausted, "queue_full".into())
    );
    assert_eq!(
        bench.refusal("again").await,
        (Code::ResourceExhausted, "sender_queue_full".into())
    );
    assert_eq!(
        bench.refusal("hurry").await,
        (Code::DeadlineExceeded, "late".into())
    );
    assert_eq!(
        bench.refusal("odd").await,
        (Code::InvalidArgument, "prompt".into())
    );
    let challenge = bench.challenge("Where is Mary?");
    assert!(bench.client().ask(bench.request(&challenge)).await.is_ok());
    let again = bench.client().ask(bench.request(&challenge)).await.unwrap_err();
    assert_eq!(named(&again), (Code::AlreadyExists, "replayed".into()));
    let unsigned = bench.challenge("Where is Mary?");
    let mut forged = bench.request(&unsigned);
    forged.get_mut().signature = challenge.signature().0.to_vec();
    let forged = bench.client().ask(forged).await.unwrap_err();
    assert_eq!(named(&forged), (Code::Unauthenticated, "signature".into()));
    let mut noise = bench.request(&challenge);
    noise.get_mut().challenge = vec![0xff; 100];
    let noise = bench.client().ask(noise).await.unwrap_err();
    assert_eq!(named(&noise), (Code::InvalidArgument, "malformed".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_that_breaks_ends_the_answer_with_an_error() {
    let mut bench = Bench::new().await;
    let mut stream = bench.ask("break").await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    let status = stream.message().await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "inference failed: out of memory")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_back_end_knows_who_asks_and_with_how_much_stake() {
    let mut bench = Bench::new().await;
    let (text, _) = whole(bench.ask("who").await.unwrap()).await;
    assert_eq!(text, format!("{} 250000", bench.validator.hotkey()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_that_had_to_leave_the_queue_ends_like_one_that_found_it_full() {
    let mut bench = Bench::new().await;
    let mut stream = bench.ask("displaced").await.unwrap();
    let status = stream.message().await.unwrap_err();
    assert_eq!(named(&status), (Code::ResourceExhausted, "queue_full".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_nobody_reads_any_more_is_cancelled() {
    let mut bench = Bench::new().await;
    let mut stream = bench.ask("endless").await.unwrap();
    assert!(stream.message().await.unwrap().is_some());
    drop(stream);
    while !bench.dropped.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_an_answer_do_not_wait_for_acknowledgements() {
    let mut bench = Bench::new().await;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let started = Instant::now();
        let (text, _) = whole(bench.ask("long").await.unwrap()).await;
        assert_eq!(text.len(), PIECES * "token ".len());
        best = best.min(started.elapsed());
    }
    assert!(best < STREAM_MAX, "{PIECES} messages took {best:?} at best");
}
