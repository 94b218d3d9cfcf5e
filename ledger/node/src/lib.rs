//! A node of the ledger: keeps its blocks, decides with a driver which is next, and answers over gRPC.
//!
//! What a block does is `ledger/state`'s business. Here is everything around it: the order of transactions, the
//! disk, the past, and the wire.
//!
//! | module | holds |
//! | --- | --- |
//! | [`args`] | the command line of `agon-node` |
//! | [`chain`] | the ledger as an engine sees it: head, propose, check, commit |
//! | [`driver`] | who decides which block is next: this node alone, or a committee |
//! | `relay`, [`keys`] | transactions for the other nodes, what this one votes with |
//! | [`pulses`] | the pulses of the ledger's beacon |
//! | `sender` | transactions that a node makes itself |
//! | `duties`, `evidence` | what a member does by itself: readiness, proofs of who broke the rules |
//! | [`promote`] | from one node alone to a committee |
//! | [`clerk`], [`mempool`], [`desk`] | the ledger's thread and what waits for it |
//! | `intake` | transactions on their way there: signatures, many at a time |
//! | [`blocks`], [`store`], [`open`], [`folder`] | the block log, the state store, and how they recover |
//! | [`archive`] | blocks, events and states of earlier heights |
//! | `changes` | when each row of the metagraphs changed last |
//! | [`axons`] | tries a miner's axon from here, for the miner |
//! | `bulletin` | the newest block, for those who wait for it |
//! | `service` | the gRPC service |
//! | [`snapshot`] | states in files: exports, imports, what a log begins from |
//! | [`verify`] | the audit of a stopped node's folder |
//!
//! # Threads
//!
//! The ledger, the archive and the check of signatures have a thread each, on which they may block; async tasks hand
//! them jobs and never touch the disk. In memory, for simulations, jobs run where they are handed over, so that nothing depends on
//! chance.

pub mod archive;
pub mod args;
pub mod axons;
pub mod blocks;
mod bulletin;
pub mod chain;
mod changes;
pub mod clerk;
pub mod desk;
pub mod driver;
mod duties;
mod evidence;
#[cfg(test)]
mod fixture;
pub mod folder;
mod intake;
pub mod keys;
pub mod mempool;
pub mod metrics;
pub mod open;
pub mod promote;
pub mod pulses;
mod relay;
mod sender;
mod service;
pub mod snapshot;
pub mod store;
pub mod verify;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_ledger_committee::Timeouts;
use agon_protocol::grpc::DESCRIPTORS;
use agon_protocol::grpc::v1::ledger_server::LedgerServer;
use agon_protocol::message::{Equivocation, Genesis};
use agon_protocol::sign::Keypair;
use agon_runtime::files::{self, DirLock, LockError};
use agon_runtime::flags::sentence;
use agon_runtime::net::{self, Incoming, Net};
use agon_runtime::shutdown::{self, TaskFailed, Tasks};
use agon_runtime::{Clock, Shutdown};
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::info;

use crate::archive::{Archive, Recent};
use crate::axons::{Addresses, AxonChecks};
use crate::blocks::Blocks;
use crate::bulletin::Reader;
use crate::chain::{Chain, Ledger};
use crate::clerk::{Clerk, News};
use crate::desk::{Closed, Desk};
use crate::driver::{Driver, Solo};
use crate::duties::Duties;
use crate::folder::{Folder, FolderError};
use crate::intake::Intake;
use crate::keys::{KeyError, NodeKeys};
use crate::open::OpenError;
use crate::pulses::{PulseSource, Pulses};
use crate::relay::Relay;
use crate::sender::Sender;
use crate::service::{Identity, Service};
use crate::store::MemoryStore;

/// How long the parts of a node may take to end. Open requests are finished in that time, or dropped.
const GRACE: Duration = Duration::from_secs(5);
/// Pieces of evidence that wait to be written down.
const EVIDENCE_MAX: usize = 64;
/// Shortest time between blocks: less would only measure the disk.
pub const BLOCK_MS_MIN: u64 = 10;
/// Longest time between blocks: submissions wait for a block, but not for ever.
pub const BLOCK_MS_MAX: u64 = 20_000;

/// What a node is and where it listens.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where its ledger is.
    pub storage: Storage,
    /// What it listens on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Time between blocks, milliseconds; from [`BLOCK_MS_MIN`] to [`BLOCK_MS_MAX`].
    pub block_ms: u64,
    /// Where the other nodes are. A ledger that has a committee needs it; without a committee it is of no use.
    pub peers: Option<Peers>,
    /// Which axons it tries for miners that ask.
    pub axons: Addresses,
    /// Where it takes pulses of the ledger's beacon from; `None` leaves that to others.
    pub pulses: Option<PulseSource>,
}

/// How a node reaches the others of its ledger.
#[derive(Clone, Debug)]
pub struct Peers {
    /// What it listens on for them.
    pub listen: SocketAddr,
    /// The others.
    pub peers: Vec<Peer>,
    /// The hotkey that the node votes for. With it the node renews its readiness and reports who broke the rules.
    pub hotkey: Option<Keypair>,
}

/// Where another node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens for its peers, `HOST:PORT`.
    pub address: String,
    /// Where it answers as a ledger, as in `http://10.0.0.2:9944`; transactions are sent there.
    pub ledger: String,
}

/// Where a ledger is kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In a folder that [`Folder::begin`] made.
    Disk(Folder),
    /// In memory, for simulations.
    Memory(Memory),
}

/// A ledger in memory. Clones are the same ledger, so that a simulated node finds it again after a restart.
#[derive(Clone, Debug)]
pub struct Memory {
    genesis: Arc<Genesis>,
    blocks: Arc<Blocks>,
    store: Arc<MemoryStore>,
}

impl Memory {
    /// A ledger that begins with `genesis`.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        Self {
            genesis: Arc::new(genesis),
            blocks: Arc::new(Blocks::in_memory()),
            store: Arc::default(),
        }
    }
}

/// Why a node did not start, or ended otherwise than it was asked to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The time between blocks is out of its bounds.
    #[error("a block every {block_ms} ms is out of the bounds of {BLOCK_MS_MIN} to {BLOCK_MS_MAX} ms")]
    BlockTime {
        /// What was asked for.
        block_ms: u64,
    },
    /// The folder holds no ledger, or cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The ledger cannot be opened.
    #[error("open the ledger")]
    Open(#[from] OpenError),
    /// The ledger has a committee, and the node was not told where its peers are.
    #[error(
        "this ledger has a committee: say where to listen for its other nodes and where they are, \
         with --listen-peers ADDR and --peer HOST:PORT=LEDGER_URI"
    )]
    NoPeers,
    /// The ledger has a committee, and is kept in memory.
    #[error("a ledger in memory has no committee")]
    InMemory,
    /// The keys of the node cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The address cannot be listened on.
    #[error("listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system has no thread to give.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// A part of the node failed, and the node ended with it.
    #[error(transparent)]
    Part(#[from] TaskFailed),
}

/// Runs a node until `shutdown`, or until it can store no more blocks.
///
/// `ready` is told where it listens, once it does.
///
/// # Errors
///
/// [`NodeError`]; whatever was acknowledged is stored.
///
/// The future is boxed here, so that a node is compiled in this crate and not in every program that waits for one.
pub fn run(
    config: Config,
    net: Net,
    clock: Clock,
    shutdown: Shutdown,
    ready: impl FnOnce(SocketAddr) + Send + 'static,
) -> Pin<Box<dyn Future<Output = Result<(), NodeError>> + Send>> {
    Box::pin(run_until(config, net, clock, shutdown, Box::new(ready)))
}

async fn run_until(
    config: Config,
    net: Net,
    clock: Clock,
    shutdown: Shutdown,
    ready: Box<dyn FnOnce(SocketAddr) + Send>,
) -> Result<(), NodeError> {
    let block_ms = config.block_ms;
    if !(BLOCK_MS_MIN..=BLOCK_MS_MAX).contains(&block_ms) {
        return Err(NodeError::BlockTime { block_ms });
    }
    let opened = Opened::open(config.storage).await?;
    let addr = config.listen;
    let incoming = net
        .listen(addr)
        .await
        .map_err(|source| NodeError::Listen { addr, source })?;
    if let Some(folder) = &opened.folder {
        folder.write_address(incoming.local_addr())?;
    }
    let identity = Identity {
        genesis: opened.genesis.digest(),
        name: opened.genesis.name.clone(),
        block_ms,
    };
    let axons = AxonChecks::new(identity.genesis, config.axons, net.clone(), clock.clone());
    let way = Way::of(&opened, config.peers, &clock, block_ms)?;
    let head = opened.chain.head();
    info!(address = %incoming.local_addr(), name = identity.name, height = head.height.0, "ledger open");
    ready(incoming.local_addr());
    let ways = (net, way, config.pulses);
    let _lock = serve(opened, (identity, axons), incoming, ways, shutdown).await?;
    Ok(())
}

/// A ledger that was opened, and what keeps others from opening it.
struct Opened {
    genesis: Genesis,
    chain: Chain,
    folder: Option<Folder>,
    lock: Option<DirLock>,
}

impl Opened {
    async fn open(storage: Storage) -> Result<Self, NodeError> {
        match storage {
            Storage::Memory(memory) => Self::open_memory(memory),
            Storage::Disk(folder) => desk::off_task(|| Self::open_disk(folder))
                .await
                .map_err(NodeError::Thread)?,
        }
    }

    fn open_memory(
        Memory {
            genesis,
            blocks,
            store,
        }: Memory,
    ) -> Result<Self, NodeError> {
        let chain = open::open_in_memory(&genesis, blocks, store)?;
        Ok(Self {
            genesis: Genesis::clone(&genesis),
            chain,
            folder: None,
            lock: None,
        })
    }

    fn open_disk(folder: Folder) -> Result<Self, NodeError> {
        let genesis = folder.read_genesis()?;
        let lock = files::lock_dir(folder.dir())?;
        folder.remove_address()?;
        let chain = open::open(&folder, &genesis)?;
        Ok(Self {
            genesis,
            chain,
            folder: Some(folder),
            lock: Some(lock),
        })
    }
}

/// The parts of a running node, and how to know that they are gone.
struct Parts {
    clerk: Desk<Clerk>,
    archive: Desk<Archive>,
    checker: Desk<()>,
    news: Reader<News>,
    closed: [Closed; 3],
}

impl Parts {
    fn new(opened: Opened, relay: Relay) -> Result<(Self, Option<DirLock>), NodeError> {
        let Opened {
            genesis,
            chain,
            folder,
            lock,
        } = opened;
        let recent = Arc::new(Mutex::new(Recent::default()));
        let archive = Archive::new(&genesis, chain.blocks(), chain.store(), Arc::clone(&recent))?;
        let (clerk, news) = Clerk::new(chain, recent, relay);
        let on_threads = folder.is_some();
        let (clerk, clerk_closed) = Desk::new("ledger", clerk, on_threads).map_err(NodeError::Thread)?;
        let (archive, archive_closed) =
            Desk::new("archive", archive, on_threads).map_err(NodeError::Thread)?;
        let (checker, checker_closed) = Desk::new("signatures", (), on_threads).map_err(NodeError::Thread)?;
        Ok((
            Self {
                clerk,
                archive,
                checker,
                news,
                closed: [clerk_closed, archive_closed, checker_closed],
            },
            lock,
        ))
    }
}

/// How a node comes by its blocks.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is moved twice")]
enum Way {
    Alone(Solo),
    Together {
        driver: Box<driver::Committee>,
        /// Where the other nodes take transactions.
        ledgers: Vec<String>,
        evidence: mpsc::Receiver<Equivocation>,
        folder: Folder,
        hotkey: Option<Keypair>,
    },
}

impl Way {
    /// The state says whether there is a committee.
    fn of(opened: &Opened, peers: Option<Peers>, clock: &Clock, block_ms: u64) -> Result<Self, NodeError> {
        let (block_time, clock) = (Duration::from_millis(block_ms), clock.clone());
        if opened.chain.state().committee().is_empty() {
            return Ok(Self::Alone(Solo { block_time, clock }));
        }
        let Peers {
            listen,
            peers,
            hotkey,
        } = peers.ok_or(NodeError::NoPeers)?;
        let folder = opened.folder.clone().ok_or(NodeError::InMemory)?;
        let keys = NodeKeys::open(folder.dir())?;
        let (addresses, ledgers) = peers.into_iter().map(|peer| (peer.address, peer.ledger)).unzip();
        let (evidence, found) = mpsc::channel(EVIDENCE_MAX);
        let config = agon_ledger_committee::Config {
            name: keys.consensus.consensus_key().to_string(),
            genesis: opened.genesis.digest(),
            consensus: keys.consensus,
            transport: *keys.transport,
            listen,
            peers: addresses,
            dir: folder.engine(),
            clock: clock.clone(),
            block_time,
            timeouts: Timeouts::of_block_time(block_time),
        };
        let driver = Box::new(driver::Committee {
            config,
            clock,
            evidence,
        });
        Ok(Self::Together {
            driver,
            ledgers,
            evidence: found,
            folder,
            hotkey,
        })
    }
}

/// Serves until `shutdown`; gives the lock back once nothing uses the folder any more.
async fn serve(
    opened: Opened,
    (identity, axons): (Identity, AxonChecks),
    incoming: Incoming,
    (net, way, pulses): (Net, Way, Option<PulseSource>),
    shutdown: Shutdown,
) -> Result<Option<DirLock>, NodeError> {
    let (relay, waiting) = match &way {
        Way::Alone(_) => Relay::to(0),
        Way::Together { ledgers, .. } => Relay::to(ledgers.len()),
    };
    let (
        Parts {
            clerk,
            archive,
            checker,
            news,
            closed,
        },
        lock,
    ) = Parts::new(opened, relay)?;
    let (genesis, heard) = (identity.genesis, news.clone());
    let sender = |pair| Sender {
        genesis,
        pair,
        clerk: clerk.clone(),
        news: heard.clone(),
    };
    let (intake, arrivals) = Intake::open();
    let ways_in = (intake, clerk.clone());
    let service = Service::new(identity, ways_in, archive, news, axons, shutdown.clone());
    let mut tasks = Tasks::new(shutdown.clone());
    let work = intake::work(arrivals, checker, clerk.clone(), shutdown.clone());
    tasks.spawn("intake", work);
    tasks.spawn("server", serve_grpc(service, incoming, shutdown.clone()));
    if let Some(source) = pulses {
        let pulses = Pulses::new(source, sender(pulses::everybodys_pair(genesis)));
        tasks.spawn("pulses", pulses.attend(shutdown.clone()));
    }
    match way {
        Way::Alone(driver) => tasks.spawn("driver", drive(driver, clerk.clone(), shutdown.clone())),
        Way::Together {
            driver,
            ledgers,
            evidence,
            folder,
            hotkey,
        } => {
            for (uri, waiting) in ledgers.into_iter().zip(waiting) {
                tasks.spawn("relay", relay::feed(net.clone(), uri, waiting, shutdown.clone()));
            }
            let (written, reports) = mpsc::channel(EVIDENCE_MAX);
            tasks.spawn(
                "evidence",
                evidence::keep(folder, evidence, written, shutdown.clone()),
            );
            if let Some(hotkey) = hotkey {
                let duties = Duties {
                    sender: sender(hotkey),
                    consensus: driver.config.consensus.clone(),
                };
                tasks.spawn("duties", duties.attend(reports, shutdown.clone()));
            }
            tasks.spawn("driver", drive(*driver, clerk.clone(), shutdown.clone()));
        }
    }
    drop(clerk);
    drop(heard);
    shutdown.requested().await;
    let report = shutdown::grace(tasks, GRACE).await;
    for thread in closed {
        thread.wait().await;
    }
    report.into_result()?;
    Ok(lock)
}

async fn drive(driver: impl Driver, clerk: Desk<Clerk>, shutdown: Shutdown) -> Result<(), String> {
    let result = driver.run(clerk.clone(), shutdown).await;
    // Nobody gets a verdict any more; whoever waits for one is let go, so that the server can end.
    let _ = clerk.ask_in_turn(Clerk::close).await;
    result.map_err(|error| sentence(&error))
}

async fn serve_grpc(service: Service, incoming: Incoming, shutdown: Shutdown) -> Result<(), String> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LedgerServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were compiled with this program");
    net::server()
        .add_service(service.into_server())
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, shutdown.requested())
        .await
        .map_err(|error| sentence(&error))
}
