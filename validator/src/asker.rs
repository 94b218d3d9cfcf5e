//! The key by which a validator draws and asks in a tempo, and its introduction to miners.
//!
//! Where the ledger says that a tempo is asked in sessions, it is the hotkey's session, which does not tell who asks
//! ([`agon_protocol::session`]). A miner is shown the session's certificate before its first question, and again when it
//! refuses one: it may have been restarted since.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agon_protocol::grpc::v1::IntroduceRequest;
use agon_protocol::grpc::v1::introductions_client::IntroductionsClient;
use agon_protocol::grpc::{self};
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::message::EvidenceView;
use agon_protocol::session::Session;
use agon_protocol::sign::{DrawProof, Keypair};
use tokio::sync::Mutex as AsyncMutex;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::warn;

/// How often an introduction is tried before a question.
const TRIES: u32 = 3;
/// Pause between two tries, for a miner that has not heard of the tempo yet or has no time.
const PAUSE: Duration = Duration::from_millis(500);

/// By which key a validator asks in one tempo.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The key: the tempo's session, or the hotkey.
    pub pair: Keypair,
    /// What shows on the ledger whose session it is; `None` for a hotkey.
    pub proof: Option<DrawProof>,
    /// How it is introduced to miners; a hotkey with a permit needs no introduction.
    pub introductions: Option<Arc<Introductions>>,
}

impl Asker {
    /// The key of `pair` for the tempo of `terms`. It follows from them alone, so it is the same after a restart.
    #[must_use]
    pub fn of(pair: &Keypair, genesis: Digest, terms: &EvidenceView) -> Self {
        let in_session = terms.ring(genesis).and_then(|ring| {
            let session = pair.session(ring.input());
            let certificate = ring.certify(pair, &session);
            let certificate = certificate.inspect_err(|error| warn!(%error, "asks with its hotkey"));
            Some((session, certificate.ok()?))
        });
        let Some((Session { pair, proof, .. }, certificate)) = in_session else {
            return Self {
                pair: pair.clone(),
                proof: None,
                introductions: None,
            };
        };
        let request = IntroduceRequest {
            certificate: certificate.to_bytes(),
        };
        Self {
            pair,
            proof: Some(proof),
            introductions: Some(Arc::new(Introductions {
                request,
                doors: Mutex::default(),
            })),
        }
    }
}

/// Whether a miner was shown the certificate; whoever shows it holds the lock.
type Door = Arc<AsyncMutex<bool>>;

/// The introductions of one session to the miners that it asks.
#[derive(Debug)]
pub struct Introductions {
    request: IntroduceRequest,
    doors: Mutex<BTreeMap<Hotkey, Door>>,
}

impl Introductions {
    /// Shows the certificate to `miner` at the other end of `channel`, unless it has seen it. The caller sets the deadline.
    ///
    /// # Errors
    ///
    /// [`Status`], as the miner refuses.
    pub async fn meet(&self, miner: Hotkey, channel: Channel) -> Result<(), Status> {
        let door = Arc::clone(self.doors().entry(miner).or_default());
        let mut has_seen = door.lock().await;
        if !*has_seen {
            self.introduce(channel).await?;
            *has_seen = true;
        }
        Ok(())
    }

    /// Takes it that `miner` has not seen the certificate: it refused a question.
    pub fn forget(&self, miner: Hotkey) {
        self.doors().remove(&miner);
    }

    async fn introduce(&self, channel: Channel) -> Result<(), Status> {
        let mut client = IntroductionsClient::new(channel)
            .max_decoding_message_size(grpc::INTRODUCTION_BYTES_MAX)
            .max_encoding_message_size(grpc::INTRODUCTION_BYTES_MAX);
        let mut tries = 1;
        loop {
            match client.introduce(self.request.clone()).await {
                Ok(_) => return Ok(()),
                Err(status) if tries < TRIES && may_pass(&status) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(status) => return Err(status),
            }
        }
    }

    fn doors(&self) -> MutexGuard<'_, BTreeMap<Hotkey, Door>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the same introduction may be accepted a moment later.
fn may_pass(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::{Netuid, Uid};
    use agon_protocol::session::{Certificate, session_key};

    use super::*;

    fn pair(seed: u8) -> Keypair {
        Keypair::from_mini_secret(&[seed; 32])
    }

    fn terms(in_sessions: bool) -> EvidenceView {
        EvidenceView {
            netuid: Netuid(1),
            tempo: 4,
            task: "reading".to_owned(),
            beacon: Digest([5; 32]),
            rounds: 4,
            miners: 2,
            openings: 2,
            roster: Vec::new(),
            at_once: Vec::new(),
            in_sessions,
            permitted: vec![(Uid(0), pair(1).hotkey()), (Uid(1), pair(2).hotkey())],
            validators: Vec::new(),
        }
    }

    #[test]
    fn a_tempo_in_sessions_is_asked_by_a_key_that_a_certificate_and_a_proof_vouch_for() {
        let (genesis, terms) = (Digest([9; 32]), terms(true));
        let asker = Asker::of(&pair(1), genesis, &terms);
        let key = asker.pair.hotkey();
        assert_eq!(key, Asker::of(&pair(1), genesis, &terms).pair.hotkey());
        assert_ne!(key, pair(1).hotkey());
        let shown = session_key(
            pair(1).hotkey(),
            &terms.session_input(genesis),
            &asker.proof.unwrap(),
        );
        assert_eq!(shown, Ok(key));
        let request = &asker.introductions.unwrap().request;
        let certificate = Certificate::from_bytes(&request.certificate).unwrap();
        let introduced = terms.ring(genesis).unwrap().verify(&certificate).unwrap();
        assert_eq!(introduced.key(), key);
    }

    #[track_caller]
    fn check_by_hotkey(seed: u8, in_sessions: bool) {
        let asker = Asker::of(&pair(seed), Digest([9; 32]), &terms(in_sessions));
        assert_eq!(asker.pair.hotkey(), pair(seed).hotkey());
        assert!(asker.proof.is_none() && asker.introductions.is_none());
    }

    #[test]
    fn other_tempos_and_validators_that_were_not_permitted_ask_with_the_hotkey() {
        check_by_hotkey(1, false);
        check_by_hotkey(3, true);
    }
}
