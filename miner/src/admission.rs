//! Which challenges a miner answers: every check between a request and the work, and nothing else.
//!
//! [`Admission::admit`] is a function of a challenge, what the ledger says and the time. The order of the checks
//! is the order of their cost, and the replay store is written only after everything else held, so that a
//! stranger can neither make the miner work nor use up another's nonces.

use std::collections::BTreeMap;

use agon_protocol::id::{Digest, Hotkey, Netuid};
use agon_protocol::message::{Challenge, Signed, Verified};
use agon_protocol::session::ring::CertificateError;
use agon_protocol::sign::{self, SignError};
use thiserror::Error;
use tonic::{Code, Status};

use crate::sessions::Sessions;

/// A challenge may be this old when it arrives, milliseconds.
pub const AGE_MS_MAX: u64 = 30_000;
/// A validator's clock may be this far ahead of ours, milliseconds.
pub const AHEAD_MS_MAX: u64 = 5_000;

/// Why a challenge is not answered.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request's metadata or bytes are not a challenge.
    #[error("not a challenge: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The signature is not the sender's.
    #[error(transparent)]
    Signature(SignError),
    /// The challenge is meant for another miner.
    #[error("the challenge is for {receiver}, this is {miner}")]
    Receiver {
        /// For whom it is.
        receiver: Hotkey,
        /// Who we are.
        miner: Hotkey,
    },
    /// The challenge is of another ledger or subnet.
    #[error("the challenge is for netuid {found} of ledger {genesis}, this miner serves netuid {netuid}")]
    Subnet {
        /// Its ledger.
        genesis: Digest,
        /// Its subnet.
        found: Netuid,
        /// Ours.
        netuid: Netuid,
    },
    /// The challenge was made too long ago, or too far in the future, or its deadline has passed.
    #[error(
        "issued at {issued_ms} with deadline {deadline_ms}, it is {now_ms} here; \
             at most {AGE_MS_MAX} ms old and {AHEAD_MS_MAX} ms ahead"
    )]
    Stale {
        /// When it was made.
        issued_ms: u64,
        /// Its deadline.
        deadline_ms: u64,
        /// Our clock.
        now_ms: u64,
    },
    /// The sender may not ask on this subnet.
    #[error("{sender} holds no validator permit on netuid {netuid} and is no session that was introduced")]
    Permit {
        /// Who asked.
        sender: Hotkey,
        /// On which subnet.
        netuid: Netuid,
    },
    /// The certificate of a session does not hold.
    #[error(transparent)]
    Certificate(CertificateError),
    /// Nobody can introduce a session of that tempo here.
    #[error(
        "tempo {tempo} is not asked in sessions, or this miner does not know yet who may ask in it: ask again later"
    )]
    NoSessions {
        /// Its tempo.
        tempo: u64,
    },
    /// Another session of the same validator was introduced before.
    #[error("another session of the same validator was introduced in tempo {tempo}: ask by that one")]
    SecondSession {
        /// The tempo.
        tempo: u64,
    },
    /// There is no time left to verify certificates.
    #[error("no time is left to verify certificates, introduce the session again later")]
    IntroductionsFull,
    /// The tempo is not the running one or the one before.
    #[error("tempo {found} with beacon {beacon}; the ledger is in tempo {tempo}")]
    Tempo {
        /// Its tempo.
        found: u64,
        /// Its beacon.
        beacon: Digest,
        /// The running tempo.
        tempo: u64,
    },
    /// The draw's proof does not hold.
    #[error(transparent)]
    Draw(SignError),
    /// The same challenge, or another with its nonce, was admitted before.
    #[error("nonce {nonce} of {sender} was used before")]
    Replayed {
        /// Who asked.
        sender: Hotkey,
        /// The nonce.
        nonce: u64,
    },
    /// The task pins a model that is not served.
    #[error("task {task} pins a model that is none of the {served} that this miner serves")]
    Model {
        /// The task.
        task: String,
        /// How many models are served.
        served: usize,
    },
    /// The queue is full of challenges that go before this one.
    #[error("the queue is full of challenges that go first, ask again later")]
    Busy,
    /// The sender has as many challenges in the queue as one may have.
    #[error("{sender} has its part of the queue already, ask again later")]
    SenderBusy {
        /// Who asked.
        sender: Hotkey,
    },
    /// The answer cannot be made before the deadline.
    #[error("{reason}")]
    Late {
        /// How long it takes, and what is left.
        reason: String,
    },
    /// The prompt cannot be answered by this model.
    #[error("{reason}")]
    Prompt {
        /// Why.
        reason: String,
    },
    /// The codes of that answer are not kept, or it has no such window.
    #[error("no such codes of challenge {challenge}: never answered here, no such window, or too long ago")]
    Forgotten {
        /// Digest of the challenge.
        challenge: Digest,
    },
    /// The miner is not ready: it does not know the ledger's state yet, is stopping, or broke.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl Refusal {
    /// Name of the rule, for metrics and clients; one of a fixed set.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::Signature(_) => "signature",
            Self::Receiver { .. } => "receiver",
            Self::Subnet { .. } => "subnet",
            Self::Stale { .. } => "stale",
            Self::Permit { .. } => "permit",
            Self::Certificate(_) => "certificate",
            Self::NoSessions { .. } => "no_sessions",
            Self::SecondSession { .. } => "second_session",
            Self::IntroductionsFull => "introductions_full",
            Self::Tempo { .. } => "tempo",
            Self::Draw(_) => "draw",
            Self::Replayed { .. } => "replayed",
            Self::Model { .. } => "model",
            Self::Busy => "queue_full",
            Self::SenderBusy { .. } => "sender_queue_full",
            Self::Late { .. } => "late",
            Self::Prompt { .. } => "prompt",
            Self::Forgotten { .. } => "forgotten",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// The gRPC status code of the rule.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed { .. } | Self::Prompt { .. } => Code::InvalidArgument,
            Self::Signature(_) => Code::Unauthenticated,
            Self::Receiver { .. } | Self::Forgotten { .. } | Self::Model { .. } => Code::NotFound,
            Self::Subnet { .. } | Self::Tempo { .. } | Self::Draw(_) => Code::FailedPrecondition,
            Self::Stale { .. } => Code::OutOfRange,
            Self::Permit { .. } | Self::Certificate(_) => Code::PermissionDenied,
            Self::Replayed { .. } | Self::SecondSession { .. } => Code::AlreadyExists,
            Self::Busy | Self::SenderBusy { .. } | Self::IntroductionsFull => Code::ResourceExhausted,
            Self::Late { .. } => Code::DeadlineExceeded,
            Self::Unavailable { .. } | Self::NoSessions { .. } => Code::Unavailable,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.code(), refusal.to_string());
        status.metadata_mut().insert(
            RULE_METADATA,
            refusal.rule().parse().expect("rules are plain words"),
        );
        status
    }
}

/// Metadata of a refusal that names its rule.
pub const RULE_METADATA: &str = "agon-rule";

/// What a miner knows of its subnet: enough to tell a permitted validator's drawn challenge from any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetSnapshot {
    /// Running tempo.
    pub tempo: u64,
    /// Beacons of the running tempo and the one before, by tempo.
    pub beacons: BTreeMap<u64, Digest>,
    /// Hotkeys with a validator permit, and the share of each in the stake of them all, parts per million, rounded down.
    pub permitted: BTreeMap<Hotkey, u32>,
    /// Sessions of permitted validators, by which they ask without saying who they are.
    pub sessions: Sessions,
}

impl SubnetSnapshot {
    /// A sender's share in the stake of all who may ask, parts per million; `None` for whoever may not.
    #[must_use]
    pub fn share_ppm(&self, sender: &Hotkey) -> Option<u32> {
        let with_permit = self.permitted.get(sender).copied();
        with_permit.or_else(|| self.sessions.share_ppm(sender))
    }

    /// Whether a sender may ask in `tempo`: a session in its own only.
    fn may_ask_in(&self, sender: &Hotkey, tempo: u64) -> bool {
        self.permitted.contains_key(sender) || self.sessions.tempo_of(sender) == Some(tempo)
    }
}

/// Who this miner is; what a challenge must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The ledger.
    pub genesis: Digest,
    /// The subnet.
    pub netuid: Netuid,
    /// The miner.
    pub miner: Hotkey,
}

/// What became of a nonce that was to be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceUse {
    /// It is noted now.
    New,
    /// It was noted before.
    Used,
    /// The sender has more living nonces than are kept.
    TooMany,
    /// It could not be written down.
    NotNoted,
}

/// Remembers which nonces were used.
pub trait Nonces {
    /// Notes a nonce of `sender` whose challenge was made at `issued_ms`.
    fn insert(&mut self, sender: Hotkey, nonce: u64, issued_ms: u64, now_ms: u64) -> NonceUse;
}

impl Admission {
    /// Decides on a challenge at `now_ms`.
    ///
    /// # Errors
    ///
    /// [`Refusal`], the first rule that does not hold.
    pub fn admit(
        &self,
        challenge: Signed<Challenge>,
        subnet: &SubnetSnapshot,
        nonces: &mut impl Nonces,
        now_ms: u64,
    ) -> Result<Verified<Challenge>, Refusal> {
        self.check_address(challenge.message())?;
        check_time(challenge.message(), now_ms)?;
        self.check_permit_in(challenge.message(), subnet)?;
        check_tempo(challenge.message(), subnet)?;
        let verified = challenge.verify().map_err(Refusal::Signature)?;
        let message = verified.message();
        sign::verify_draw(&message.sender.0, &message.draw_input(), &message.draw).map_err(Refusal::Draw)?;
        match nonces.insert(message.sender, message.nonce, message.issued_ms, now_ms) {
            NonceUse::New => Ok(verified),
            NonceUse::Used => Err(Refusal::Replayed {
                sender: message.sender,
                nonce: message.nonce,
            }),
            NonceUse::TooMany => Err(Refusal::Busy),
            NonceUse::NotNoted => Err(Refusal::Unavailable {
                reason: "the replay store cannot be written".to_owned(),
            }),
        }
    }

    /// Refuses whoever holds no permit; also used on metadata, before a body is read.
    ///
    /// # Errors
    ///
    /// [`Refusal::Permit`].
    pub fn check_permit(&self, sender: &Hotkey, subnet: &SubnetSnapshot) -> Result<(), Refusal> {
        match subnet.share_ppm(sender) {
            Some(_) => Ok(()),
            None => Err(self.no_permit(sender)),
        }
    }

    fn check_permit_in(&self, challenge: &Challenge, subnet: &SubnetSnapshot) -> Result<(), Refusal> {
        match subnet.may_ask_in(&challenge.sender, challenge.tempo) {
            true => Ok(()),
            false => Err(self.no_permit(&challenge.sender)),
        }
    }

    const fn no_permit(&self, sender: &Hotkey) -> Refusal {
        Refusal::Permit {
            sender: *sender,
            netuid: self.netuid,
        }
    }

    fn check_address(&self, challenge: &Challenge) -> Result<(), Refusal> {
        if challenge.receiver != self.miner {
            return Err(Refusal::Receiver {
                receiver: challenge.receiver,
                miner: self.miner,
            });
        }
        if challenge.genesis != self.genesis || challenge.netuid != self.netuid {
            return Err(Refusal::Subnet {
                genesis: challenge.genesis,
                found: challenge.netuid,
                netuid: self.netuid,
            });
        }
        Ok(())
    }
}

fn check_time(challenge: &Challenge, now_ms: u64) -> Result<(), Refusal> {
    let oldest = now_ms.saturating_sub(AGE_MS_MAX);
    let newest = now_ms.saturating_add(AHEAD_MS_MAX);
    let fresh = (oldest..=newest).contains(&challenge.issued_ms) && challenge.deadline_ms > now_ms;
    if fresh {
        return Ok(());
    }
    Err(Refusal::Stale {
        issued_ms: challenge.issued_ms,
        deadline_ms: challenge.deadline_ms,
        now_ms,
    })
}

fn check_tempo(challenge: &Challenge, subnet: &SubnetSnapshot) -> Result<(), Refusal> {
    if subnet.beacons.get(&challenge.tempo) == Some(&challenge.beacon) {
        return Ok(());
    }
    Err(Refusal::Tempo {
        found: challenge.tempo,
        beacon: challenge.beacon,
        tempo: subnet.tempo,
    })
}

#[cfg(test)]
mod tests;
