//! Pulses of the beacon, brought to the ledger as soon as something sealed waits for one.
//!
//! A node asks a relay of the beacon's over HTTP, as drand's relays answer: `GET URL/public/ROUND`. A node whose folder
//! holds the secret of a beacon of its own makes the pulses itself; it could open early what was sealed, so that is for
//! networks on one machine. Without relay or network nothing breaks: pulses stay away, and validators reveal by hand.
//!
//! All nodes sign what they bring with one key, which anybody can make of the genesis: a pulse costs no fee, so its
//! account needs nothing. Two nodes that bring the same pulse send the very same transaction, and the ledger takes it
//! once.

use std::sync::Arc;
use std::time::Duration;

use agon_ledger_state::State;
use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::Call;
use agon_protocol::sign::Keypair;
use agon_protocol::timelock::{BeaconSecret, NoPulse, PulseSignature};
use agon_runtime::Shutdown;
use agon_runtime::flags::sentence;
use serde::Deserialize;
use thiserror::Error;
use tracing::warn;
use ureq::Agent;

use crate::sender::Sender;

/// Longest wait for a relay's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Most bytes of an answer: a round has a few hundred.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// Most rounds that are brought for one block; the others are brought for the next.
const ROUNDS_PER_BLOCK: usize = 8;
/// Blocks after which a round that was not brought is tried again.
const AGAIN_BLOCKS: u64 = 5;

/// Where a node takes pulses from.
#[derive(Clone, Debug)]
pub enum PulseSource {
    /// It makes them.
    Own(Arc<BeaconSecret>),
    /// A relay, by the address before `/public/ROUND`.
    Relay(String),
}

/// Why there is no pulse.
#[derive(Debug, Error)]
enum PulseError {
    #[error("ask {url}")]
    Relay { url: String, source: Box<ureq::Error> },
    #[error("{url} answers something else than a round of a beacon")]
    Answer { url: String, source: serde_json::Error },
    #[error("{url} answers with a signature that is none")]
    Signature { url: String },
    #[error(transparent)]
    Beacon(#[from] NoPulse),
    #[error("no thread is left to ask on")]
    Thread,
}

/// What a relay says of a round; it says more, which is not read.
#[derive(Debug, Deserialize)]
struct Told {
    signature: String,
}

impl PulseSource {
    fn pulse(&self, round: u64) -> Result<PulseSignature, PulseError> {
        match self {
            Self::Own(secret) => Ok(secret.sign(round)),
            Self::Relay(url) => asked(&format!("{}/public/{round}", url.trim_end_matches('/'))),
        }
    }
}

fn asked(url: &str) -> Result<PulseSignature, PulseError> {
    let failed = |source| PulseError::Relay {
        url: url.to_owned(),
        source: Box::new(source),
    };
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(ANSWER_WITHIN))
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(failed)?;
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    let text = body.read_to_string().map_err(failed)?;
    let told: Told = serde_json::from_str(&text).map_err(|source| PulseError::Answer {
        url: url.to_owned(),
        source,
    })?;
    told.signature
        .parse()
        .map_err(|_| PulseError::Signature { url: url.to_owned() })
}

/// Who brings pulses to one ledger.
pub(crate) struct Pulses {
    source: PulseSource,
    sender: Sender,
}

impl Pulses {
    /// Brings pulses from `source` by way of `sender`.
    pub(crate) const fn new(source: PulseSource, sender: Sender) -> Self {
        Self { source, sender }
    }

    /// Brings what is awaited until `shutdown`.
    pub(crate) async fn attend(self, shutdown: Shutdown) {
        let mut requested = std::pin::pin!(shutdown.requested());
        let mut next = BlockNumber(0);
        loop {
            let news = tokio::select! {
                biased;
                () = &mut requested => return,
                news = self.sender.news.wait_for(|news| news.head.height >= next) => news,
            };
            let Some(news) = news else { return };
            next = news.head.height.next();
            let awaited = news.state.pulses_awaited(news.head.time_ms);
            for round in awaited.into_iter().take(ROUNDS_PER_BLOCK) {
                let brought = tokio::select! {
                    biased;
                    () = &mut requested => return,
                    brought = self.bring(&news.state, round) => brought,
                };
                if !brought {
                    next = BlockNumber(next.0.saturating_add(AGAIN_BLOCKS));
                }
            }
        }
    }

    /// Whether a block took the pulse of `round`.
    async fn bring(&self, state: &Arc<State>, round: u64) -> bool {
        let (source, state) = (self.source.clone(), Arc::clone(state));
        let pulse = tokio::task::spawn_blocking(move || checked_pulse(&source, &state, round));
        match pulse.await.unwrap_or(Err(PulseError::Thread)) {
            Ok(signature) => {
                let call = Call::PublishPulse { round, signature };
                self.sender.send("publish a pulse", call).await
            }
            Err(error) => {
                warn!(round, error = sentence(&error), "no pulse");
                false
            }
        }
    }
}

/// A pulse that the ledger will take.
fn checked_pulse(source: &PulseSource, state: &State, round: u64) -> Result<PulseSignature, PulseError> {
    let signature = source.pulse(round)?;
    let beacon = state.beacon().ok_or(NoPulse { round })?;
    beacon.verify(round, &signature)?;
    Ok(signature)
}

/// The key that all nodes of a ledger bring pulses with; its secret is no secret.
pub(crate) fn everybodys_pair(genesis: Digest) -> Keypair {
    let seed = codec::digest("agon 2026-12 pulse bringer", genesis.as_bytes());
    Keypair::from_mini_secret(&seed.0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A relay on loopback that answers one request.
    fn relay(answer: String) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/chain/", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 2_048];
            let len = stream.read(&mut request).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                answer.len()
            );
            // A client that has read enough may be gone.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(answer.as_bytes()));
            String::from_utf8_lossy(&request[..len])
                .lines()
                .next()
                .unwrap()
                .to_owned()
        });
        (url, served)
    }

    fn ask(answer: String) -> (Result<PulseSignature, PulseError>, String) {
        let (url, served) = relay(answer);
        let pulse = PulseSource::Relay(url).pulse(7);
        (pulse, served.join().unwrap())
    }

    #[test]
    fn a_relay_is_asked_for_the_round_and_its_signature_is_read() {
        let signature = BeaconSecret::from_seed(&[1; 32]).sign(7);
        let answer = format!(r#"{{"round":7,"randomness":"00","signature":"{signature}"}}"#);
        let (pulse, request) = ask(answer);
        assert_eq!(pulse.unwrap(), signature);
        assert_eq!(request, "GET /chain/public/7 HTTP/1.1");
    }

    #[test]
    fn what_is_no_round_is_refused_and_no_more_is_read_than_a_round_has() {
        let (pulse, _) = ask(String::from("<html>"));
        assert!(matches!(pulse, Err(PulseError::Answer { .. })));
        let (pulse, _) = ask(String::from(r#"{"signature":"00"}"#));
        assert!(matches!(pulse, Err(PulseError::Signature { .. })));
        let (pulse, _) = ask(" ".repeat(10_000));
        assert!(matches!(pulse, Err(PulseError::Relay { .. })));
        // Nobody listens on a port that was given back.
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let pulse = PulseSource::Relay(format!("http://{closed}")).pulse(7);
        assert!(matches!(pulse, Err(PulseError::Relay { .. })));
    }
}
