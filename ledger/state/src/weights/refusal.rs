//! Why weights are not taken, as commits or as reveals.

use agon_protocol::id::{BlockNumber, Netuid, Uid};
use thiserror::Error;

use crate::refusal::{NotRegistered, UnknownSubnet};

/// Why a UID's weights are not taken, whatever they are.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoWeigher {
    /// The hotkey has no UID.
    #[error(transparent)]
    Registered(#[from] NotRegistered),
    /// The UID has no permit.
    #[error(
        "UID {uid} has no validator permit in tempo {tempo}: the epoch at block {next_epoch} gives permits to the \
         {max_validators} largest stakes"
    )]
    Permit {
        /// The UID.
        uid: Uid,
        /// The running tempo.
        tempo: u64,
        /// When permits are given next.
        next_epoch: BlockNumber,
        /// How many there are.
        max_validators: u64,
    },
    /// The UID's holder forged evidence.
    #[error(
        "UID {uid} forged evidence: its weights are taken from tempo {until_tempo} on, if it has a permit then"
    )]
    Barred {
        /// The UID.
        uid: Uid,
        /// First tempo for which it may have a permit.
        until_tempo: u64,
    },
    /// The UID has too little stake.
    #[error(
        "UID {uid} has {stake_base_units} base units of stake, weights need {threshold_base_units}: add stake"
    )]
    Stake {
        /// The UID.
        uid: Uid,
        /// Stake on it.
        stake_base_units: u64,
        /// Stake that counts.
        threshold_base_units: u64,
    },
}

impl NoWeigher {
    const fn rule(&self) -> &'static str {
        match self {
            Self::Registered(_) => NotRegistered::RULE,
            Self::Permit { .. } => "permit",
            Self::Barred { .. } => "barred",
            Self::Stake { .. } => "stake threshold",
        }
    }
}

/// A change of weights that comes too soon.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("weights of UID {uid} were set at block {last}: the next change is allowed at block {allowed}")]
pub struct TooSoon {
    /// The UID.
    pub uid: Uid,
    /// Block of the newest weights or commit.
    pub last: BlockNumber,
    /// First block that takes others.
    pub allowed: BlockNumber,
}

impl TooSoon {
    const RULE: &str = "rate limit";
}

/// Why a commit is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitWeightsRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// This subnet takes weights as they are.
    #[error("commit_reveal is off on subnet {netuid}: reveal weights of the running tempo without a commit")]
    Off {
        /// Which subnet.
        netuid: Netuid,
    },
    /// Not from this UID.
    #[error(transparent)]
    Weigher(#[from] NoWeigher),
    /// Too soon after the last ones.
    #[error(transparent)]
    RateLimit(#[from] TooSoon),
    /// Too many wait already.
    #[error(
        "UID {uid} has {open} open commits, {open_max} at most: reveal one, or wait for the end of tempo {expiry}"
    )]
    OpenCommits {
        /// The UID.
        uid: Uid,
        /// How many wait.
        open: u64,
        /// How many may.
        open_max: u64,
        /// The tempo with whose end the oldest is dropped.
        expiry: u64,
    },
}

impl CommitWeightsRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Off { .. } => "commit-reveal",
            Self::Weigher(refusal) => refusal.rule(),
            Self::RateLimit(_) => TooSoon::RULE,
            Self::OpenCommits { .. } => "open commits",
        }
    }
}

/// Why a reveal is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevealWeightsRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// UIDs and values do not pair.
    #[error("{uids} UIDs and {values} values: give one value for each UID")]
    Lengths {
        /// How many UIDs.
        uids: usize,
        /// How many values.
        values: usize,
    },
    /// Not from this UID.
    #[error(transparent)]
    Weigher(#[from] NoWeigher),
    /// Made by old rules.
    #[error(
        "weights of version {version}, subnet {netuid} asks for {version_key} or newer: update the validator"
    )]
    Version {
        /// Which subnet.
        netuid: Netuid,
        /// Version they were made by.
        version: u64,
        /// Smallest version.
        version_key: u64,
    },
    /// Not the tempo to show them in.
    #[error("weights of tempo {tempo} are revealed in tempo {reveal_tempo}, this is tempo {running}: {}", window_step(*.reveal_tempo, *.running))]
    Window {
        /// Tempo they are of.
        tempo: u64,
        /// Tempo in which they can be revealed.
        reveal_tempo: u64,
        /// The running tempo.
        running: u64,
    },
    /// Nothing like it was committed.
    #[error(
        "UID {uid} has {open} open commits of tempo {tempo} and none is to these weights: reveal exactly what was \
         committed, salt and version included"
    )]
    Commit {
        /// The UID.
        uid: Uid,
        /// Tempo they are of.
        tempo: u64,
        /// Open commits of that tempo.
        open: usize,
    },
    /// Too soon after the last ones.
    #[error(transparent)]
    RateLimit(#[from] TooSoon),
    /// A UID twice.
    #[error("UID {uid} has two weights: give each UID once")]
    Duplicate {
        /// The UID.
        uid: Uid,
    },
    /// UIDs out of order.
    #[error("UID {uid} comes after UID {previous}: give UIDs in ascending order")]
    Order {
        /// The UID out of order.
        uid: Uid,
        /// The UID before it.
        previous: Uid,
    },
    /// A UID nobody holds.
    #[error("UID {uid} does not exist, subnet {netuid} has {neuron_count} UIDs: leave it out")]
    UnknownUid {
        /// Which subnet.
        netuid: Netuid,
        /// The UID.
        uid: Uid,
        /// How many there are.
        neuron_count: u16,
    },
    /// Too few UIDs.
    #[error("{count} weights, {count_min} at least: weight more UIDs")]
    TooFew {
        /// How many were given.
        count: u64,
        /// How many are needed.
        count_min: u64,
    },
    /// Nothing weighted.
    #[error("all {count} weights are 0: to abstain, set no weights")]
    AllZero {
        /// How many were given.
        count: usize,
    },
}

impl RevealWeightsRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Lengths { .. } => "lengths",
            Self::Weigher(refusal) => refusal.rule(),
            Self::Version { .. } => "version key",
            Self::Window { .. } => "reveal window",
            Self::Commit { .. } => "commit",
            Self::RateLimit(_) => TooSoon::RULE,
            Self::Duplicate { .. } => "duplicates",
            Self::Order { .. } => "uid order",
            Self::UnknownUid { .. } => "known uids",
            Self::TooFew { .. } => "minimum count",
            Self::AllZero { .. } => "all zero",
        }
    }
}

const fn window_step(reveal_tempo: u64, running: u64) -> &'static str {
    if running < reveal_tempo {
        "wait for it"
    } else {
        "the window is over, set new weights"
    }
}
