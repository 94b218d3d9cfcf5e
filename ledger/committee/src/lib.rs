//! The committee: which block is next, agreed by several nodes through a BFT engine.
//!
//! The engine is Malachite, a Tendermint: members vote in rounds, and a block is final once members with more than
//! two thirds of the power signed for it. No block is ever taken back, as long as members with less than a third of
//! the power misbehave. What a block does, and who is a member, is the ledger's business: it is asked through
//! [`Application`].
//!
//! | module | holds |
//! | --- | --- |
//! | [`malachite`](run) | the only module that names the engine's types |
//! | `pending` | blocks that were proposed and are not decided, on disk |
//! | `record`, `voice` | what the consensus key signed, and whether it may sign now |
//! | `turns` | whose turn it is to propose |
//!
//! # What the engine needs of us
//!
//! - A member says one thing per round, whatever happens to its process or its files: a block is on disk before
//!   anybody hears of it, and after a restart the same block is proposed again. The engine keeps its votes in a log of
//!   its own; beside it is a record of all that the key signed, and a node without one is silent until it is sure.
//! - One consensus key runs on one machine. Two nodes with one key equivocate, and lose their bond.
//!
//! # Timeouts
//!
//! A height lasts the block time; it takes longer only where something is wrong. A proposer that is silent costs
//! [`Timeouts::propose`] and then [`Timeouts::vote`] at each of its turns, so of four members with one dead, four
//! blocks take `3 b + max(b, p + v)` for a block time `b` and those timeouts `p` and `v`.

mod malachite;
mod pending;
mod record;
mod turns;
mod voice;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Block, Committee, Equivocation, FinalBlock};
use agon_protocol::sign::Keypair;
use agon_runtime::Clock;
use async_trait::async_trait;
use thiserror::Error;

pub use self::malachite::run;
pub use self::pending::PendingError;
pub use self::record::{RecordError, begin_record};

/// How far a proposer's clock may be ahead of a voter's. A block of a later time is not voted for; where most clocks
/// are right, one that is wrong costs its node its turns, and nobody else anything.
pub const AHEAD_MS_MAX: u64 = 5_000;

/// Where a ledger stands, as the next round needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// Height of the next block.
    pub height: BlockNumber,
    /// Who makes it final.
    pub committee: Committee,
}

/// Where a block that has to be checked comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is proposed now.
    Proposed,
    /// The committee decided on it earlier.
    Decided,
}

/// Why a ledger can go on no longer.
pub type LedgerError = Box<dyn std::error::Error + Send + Sync>;

/// The ledger, as the engine uses it. Calls come one at a time.
///
/// It is used as a trait object, so that the engine is compiled once, here.
#[async_trait]
pub trait Application: Send + Sync {
    /// Where the ledger stands.
    async fn next(&mut self) -> Result<Next, LedgerError>;

    /// Makes a block that could come next.
    async fn propose(&mut self) -> Result<Block, LedgerError>;

    /// Whether `block` can come next; else why not.
    async fn check(&mut self, block: &Block, origin: Origin) -> Result<Result<(), String>, LedgerError>;

    /// Stores the next block, durably, and says where the ledger stands then.
    async fn commit(&mut self, block: FinalBlock) -> Result<Next, LedgerError>;

    /// Stored blocks, from the first of `heights` on, as many as are there without a gap.
    async fn decided(&mut self, heights: RangeInclusive<BlockNumber>)
    -> Result<Vec<FinalBlock>, LedgerError>;

    /// Height of the first block that [`decided`](Self::decided) can give with a certificate.
    async fn first_kept(&mut self) -> Result<BlockNumber, LedgerError>;

    /// Takes the proof that a member said two things where it may say one.
    async fn misbehaved(&mut self, evidence: Equivocation);
}

/// How long a round waits before it goes on without what it waits for. Each grows by half of itself per round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the proposer's block.
    pub propose: Duration,
    /// For the last third of the votes.
    pub vote: Duration,
}

impl Timeouts {
    /// Shortest wait for a block: time for one of the largest blocks to reach everyone and to be executed.
    const PROPOSE_MIN: Duration = Duration::from_millis(500);
    /// Longest first wait for a block.
    const PROPOSE_MAX: Duration = Duration::from_secs(3);

    /// Timeouts for a block time: a silent proposer then costs about half a block at each of its turns.
    #[must_use]
    pub fn of_block_time(block_time: Duration) -> Self {
        let propose = block_time.clamp(Self::PROPOSE_MIN, Self::PROPOSE_MAX);
        Self {
            propose,
            vote: propose / 2,
        }
    }
}

/// What one node of a committee is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name in the logs of its peers.
    pub name: String,
    /// Which ledger: digest of its genesis.
    pub genesis: Digest,
    /// What it votes with. It votes as soon as, and as long as, the key is a member's.
    pub consensus: Keypair,
    /// Ed25519 seed of its identity towards its peers.
    pub transport: [u8; 32],
    /// Where it listens for its peers.
    pub listen: SocketAddr,
    /// Peers it keeps a connection to, `HOST:PORT` each.
    pub peers: Vec<String>,
    /// Folder for the engine's log, for undecided blocks and for the record of what the key signed, which
    /// [`begin_record`] makes when it makes the key.
    pub dir: PathBuf,
    /// What tells whether a block was made after the node's start.
    pub clock: Clock,
    /// Time between blocks; zero for as fast as it goes.
    pub block_time: Duration,
    /// When rounds go on.
    pub timeouts: Timeouts,
}

/// Why a node of a committee did not start, or ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitteeError {
    /// A peer's address cannot be one.
    #[error("{peer:?} is no peer address: write HOST:PORT")]
    Peer {
        /// What was given.
        peer: String,
    },
    /// The ledger has no committee.
    #[error("the ledger has no committee: form one first, or run the node alone")]
    NoCommittee,
    /// The folder cannot be used.
    #[error("use {}", dir.display())]
    Dir {
        /// The folder.
        dir: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Undecided blocks cannot be kept.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// What is signed cannot be written down.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The address for peers cannot be listened on.
    #[error("listen on {addr} for the other nodes")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The engine did not start.
    #[error("start the consensus engine: {reason}")]
    Start {
        /// What it said.
        reason: String,
    },
    /// The engine ended by itself.
    #[error("the consensus engine has ended: its lines in the log say why, start the node again")]
    Engine,
    /// The ledger can go on no longer.
    #[error(transparent)]
    Ledger(LedgerError),
}
