//! A served miner with a scripted model, an honest validator, and ways to be hostile to it, all on loopback.
//!
//! Whoever is hostile has addresses of its own in 127.0.0.0/8, as it would have elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_miner::admission::{Admission, SubnetSnapshot};
use agon_miner::backend::{Backend, BackendError, MadeOf, ModelIdentity, Part, Parts, Prompt};
use agon_miner::models::Models;
use agon_miner::replay::Replay;
use agon_miner::serve::{self, Service};
use agon_protocol::grpc;
use agon_protocol::grpc::v1::ask_reply::Part as WirePart;
use agon_protocol::grpc::v1::miner_client::MinerClient;
use agon_protocol::grpc::v1::{AskReply, AskRequest};
use agon_protocol::id::{Digest, Hotkey, Netuid};
use agon_protocol::message::{Challenge, Environment, FinishReason, Sampling, Signed};
use agon_protocol::sign::{DrawInput, DrawProof, Keypair};
use agon_runtime::Shutdown;
use agon_runtime::clock::Clock;
use agon_runtime::net::Net;
use futures::stream::{self, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Answers with so many tokens, one in each pause; without a pause as fast as they are taken.
pub(crate) struct Paced {
    pub(crate) identity: ModelIdentity,
    pub(crate) tokens: usize,
    pub(crate) pause: Duration,
}

impl Backend for Paced {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        let pause = self.pause;
        // A prompt that asks for it is answered for as long as somebody takes it.
        let tokens = if prompt.text == "endless" {
            usize::MAX
        } else {
            self.tokens
        };
        let done = Part::Done {
            finish: FinishReason::EndOfText,
            prompt_tokens: 1,
            answer_tokens: u32::try_from(self.tokens).unwrap(),
            made_of: MadeOf::default(),
        };
        let pieces = stream::iter(0..tokens).then(move |_| async move {
            match pause.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(pause).await,
            }
            Ok(Part::Text("token ".to_owned()))
        });
        Ok(pieces.chain(stream::iter([Ok(done)])).boxed())
    }
}

const BEACON: Digest = Digest([5; 32]);

/// A served miner and one validator that it permits.
pub(crate) struct Bench {
    pub(crate) addr: SocketAddr,
    pub(crate) shutdown: Shutdown,
    validator: Keypair,
    admission: Admission,
    /// Made once: making it is dear, and strangers are many.
    draw: DrawProof,
    nonce: AtomicU64,
}

impl Bench {
    pub(crate) async fn new(tokens: usize, pause: Duration) -> Arc<Self> {
        let (validator, pair) = (
            Keypair::from_mini_secret(&[1; 32]),
            Keypair::from_mini_secret(&[2; 32]),
        );
        let admission = Admission {
            genesis: Digest([9; 32]),
            netuid: Netuid(1),
            miner: pair.hotkey(),
        };
        let snapshot = SubnetSnapshot {
            tempo: 4,
            beacons: BTreeMap::from([(4, BEACON)]),
            permitted: BTreeMap::from([(validator.hotkey(), 1_000_000)]),
            ..SubnetSnapshot::default()
        };
        let identity = ModelIdentity {
            name: "scripted".into(),
            digest: Digest([3; 32]),
            environment: Environment {
                dtype: "f32".into(),
                device: "cpu".into(),
                libtorch: "none".into(),
            },
        };
        let incoming = Net::tcp()
            .listen_within(SocketAddr::from(([127, 0, 0, 1], 0)), agon_miner::CONNECTIONS)
            .await
            .unwrap();
        let service = Service {
            pair,
            admission,
            subnet: watch::Sender::new(Some(Arc::new(snapshot))),
            budget: tokio::sync::Mutex::default(),
            replay: Mutex::new(Replay::in_memory()),
            traces: Mutex::default(),
            receipts: Arc::default(),
            models: Models::one(Paced {
                identity,
                tokens,
                pause,
            }),
            known: incoming.known(),
            clock: Clock::system(),
        };
        let (addr, shutdown) = (incoming.local_addr(), Shutdown::new());
        let token = shutdown.clone();
        tokio::spawn(async move { serve::serve(service, incoming, &token).await });
        let input = DrawInput {
            genesis: admission.genesis,
            netuid: admission.netuid,
            tempo: 4,
            beacon: BEACON,
            round: 0,
        };
        Arc::new(Self {
            draw: validator.draw(&input).1,
            addr,
            shutdown,
            validator,
            admission,
            nonce: AtomicU64::new(1),
        })
    }

    fn challenge(&self, prompt: &str) -> Signed<Challenge> {
        let Admission {
            genesis,
            netuid,
            miner,
        } = self.admission;
        let now_ms = Clock::system().now_ms();
        let challenge = Challenge {
            genesis,
            netuid,
            task: "reading".to_owned(),
            tempo: 4,
            beacon: BEACON,
            round: 0,
            draw: self.draw,
            item_index: 0,
            sender: self.validator.hotkey(),
            receiver: miner,
            nonce: self.nonce.fetch_add(1, Ordering::Relaxed),
            issued_ms: now_ms,
            deadline_ms: now_ms + 20_000,
            prompt: prompt.to_owned(),
            sampling: Sampling {
                temperature_milli: 0,
                top_p_ppm: 1_000_000,
                top_k: 0,
                seed: 0,
            },
            tokens_max: 64,
            tokens_min: 0,
        };
        Signed::sign(challenge, &self.validator)
    }

    fn request(&self, prompt: &str, from: Hotkey) -> Request<AskRequest> {
        let mut request = Request::new(AskRequest::from(&self.challenge(prompt)));
        for (name, key) in [
            (grpc::SENDER_METADATA, from),
            (grpc::RECEIVER_METADATA, self.admission.miner),
        ] {
            let value = key.to_string().parse().unwrap();
            request.metadata_mut().insert(name, value);
        }
        request
    }

    /// Asks as the validator; whether a receipt closed the answer.
    pub(crate) async fn ask(&self, channel: Channel, prompt: &str) -> bool {
        let request = self.request(prompt, self.validator.hotkey());
        let Ok(reply) = MinerClient::new(channel).ask(request).await else {
            return false;
        };
        ends_with_receipt(reply.into_inner()).await
    }

    /// As a stranger that names a key of its own.
    pub(crate) async fn ask_as_stranger(&self, channel: Channel) -> Result<(), Status> {
        let request = self.request("hello", Hotkey([7; 32]));
        MinerClient::new(channel).ask(request).await.map(drop)
    }

    /// As a stranger that names the validator's key and signs with noise.
    pub(crate) async fn ask_forged(&self, channel: Channel) -> Result<(), Status> {
        let mut request = self.request("hello", self.validator.hotkey());
        request.get_mut().signature = vec![7; 64];
        MinerClient::new(channel).ask(request).await.map(drop)
    }

    /// The validator's own question, of whose answer nothing is ever read; the stream, to be held.
    pub(crate) async fn ask_and_not_read(&self, channel: Channel) -> Option<Streaming<AskReply>> {
        let request = self.request("endless", self.validator.hotkey());
        MinerClient::new(channel)
            .ask(request)
            .await
            .ok()
            .map(tonic::Response::into_inner)
    }

    /// A channel of its own from 127.0.0.`host`, whose window for answers has so many bytes.
    pub(crate) fn channel(&self, host: u8, window_bytes: u32) -> Channel {
        let to = self.addr;
        let connect = tower::service_fn(move |_| async move { from(host, to).await.map(TokioIo::new) });
        let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
        endpoint
            .initial_stream_window_size(window_bytes)
            .connect_with_connector_lazy(connect)
    }
}

/// The usual window.
pub(crate) const WINDOW_BYTES: u32 = 65_535;

async fn ends_with_receipt(mut stream: Streaming<AskReply>) -> bool {
    let mut is_closed = false;
    while let Ok(Some(reply)) = stream.message().await {
        is_closed = matches!(reply.part, Some(WirePart::Receipt(_)));
    }
    is_closed
}

/// A connection from 127.0.0.`host`.
pub(crate) async fn from(host: u8, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0)))?;
    socket.connect(to).await
}

/// Connects and says nothing; the connection, to be held.
pub(crate) async fn half_open(host: u8, to: SocketAddr) -> Option<TcpStream> {
    from(host, to).await.ok()
}

/// What opens an HTTP/2 connection, and empty settings.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Sends the opening of a connection one byte in each pause until it is cut off.
pub(crate) async fn trickle(host: u8, to: SocketAddr, pause: Duration) {
    let Ok(mut socket) = from(host, to).await else {
        return;
    };
    for byte in OPENING {
        if socket.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Sends what is no HTTP/2 and goes.
pub(crate) async fn babble(host: u8, to: SocketAddr) {
    if let Ok(mut socket) = from(host, to).await {
        // It may be cut off meanwhile.
        let _ = socket.write_all(&[0x55; 256]).await;
    }
}
