//! Scores a subnet: draws miners, asks, judges, compares, rates, commits and reveals weights, keeps evidence.
//!
//! | module | does |
//! | --- | --- |
//! | [`round`] | one round as a pure plan: whom to ask what, what to make of the answers |
//! | [`asker`] | the key by which it asks in a tempo, and its introduction to miners |
//! | [`query`] | asks one miner, under a deadline |
//! | [`audit`] | checks answers against the model that the task pins |
//! | [`calibration`] | what honest distances from a model are, as a file |
//! | [`commit`] | decides when weights and evidence are committed, revealed and opened |
//! | [`state`] | what must not be forgotten |
//! | [`evidence`] | the append-only log of everything that was done |
//! | [`bundles`] | the evidence of the newest tempos, as the ledger has the roots of it |
//! | [`serve`] | shows it to anyone |
//! | [`work`] | the loop that puts them together |
//! | [`args`] | what was typed, and what it means |
//!
//! [`run`] needs clock, transport and randomness from outside, so that tests run validators on simulated links. It
//! never waits without a deadline, and whatever it cannot do it says in the log, in the evidence and in its status.

pub mod args;
pub mod asker;
pub mod audit;
pub mod bundles;
pub mod calibration;
pub mod commit;
pub mod evidence;
pub mod pace;
pub mod query;
pub mod round;
pub mod serve;
pub mod state;
pub mod work;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agon_ledger_client::follow::Follower;
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::grpc::v1::validator_server::ValidatorServer;
use agon_protocol::id::Netuid;
use agon_protocol::sign::Keypair;
use agon_runtime::clock::Clock;
use agon_runtime::entropy::Entropy;
use agon_runtime::files::{LockError, lock_dir};
use agon_runtime::flags::ExitWith;
use agon_runtime::net::{self, Net};
use agon_runtime::shutdown::{Shutdown, TaskFailed, Tasks, grace};
use agon_runtime::telemetry::{self, Metric};
use thiserror::Error;
use tracing::{info, warn};

use crate::audit::Pinned;
use crate::bundles::{BundleError, Bundles};
use crate::evidence::EvidenceError;
use crate::round::Size;
use crate::state::StateError;
use crate::work::Work;

/// How long the other tasks may take once shutdown was asked for; the running step is dropped at once.
const GRACE: Duration = Duration::from_secs(15);

/// What a validator needs to know before it asks anybody.
#[derive(Debug)]
pub struct Config {
    /// The hotkey.
    pub pair: Keypair,
    /// The subnet.
    pub netuid: Netuid,
    /// The ledger node, as in `http://127.0.0.1:9944`.
    pub ledger: String,
    /// Folder of its state and evidence.
    pub dir: PathBuf,
    /// How much a round asks.
    pub size: Size,
    /// Time from the beginning of one round to the next, milliseconds; less where the rounds owed would not fit.
    pub round_ms: u64,
    /// The reference model, for tasks that pin one.
    pub reference: Option<Pinned>,
    /// Where evidence is served; port 0 takes a free one, `None` serves none.
    pub listen: Option<SocketAddr>,
    /// Whether it looks at the evidence of other validators and reports forgeries.
    pub watches: bool,
    /// What commits name as the place where evidence is served, for hosts behind a router; the bound address otherwise.
    pub served_at: Option<SocketAddr>,
}

/// Where clock, transport and randomness come from.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub clock: Clock,
    /// The transport.
    pub net: Net,
    /// Randomness, for salts.
    pub entropy: Entropy,
}

/// Why a validator does not start or stops.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The ledger is out of reach, or does not know subnet or hotkey.
    #[error(transparent)]
    Ledger(#[from] ClientError),
    /// The folder cannot be made.
    #[error("create {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process uses the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The evidence cannot be read or written.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The evidence of a tempo cannot be kept or read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The address cannot be bound.
    #[error("listen on {addr}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The reference model's thread cannot be started.
    #[error("start the reference model's thread: {source}")]
    Reference {
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of the validator failed, and the validator ended with it.
    #[error(transparent)]
    Task(#[from] TaskFailed),
}

impl From<RunError> for ExitWith {
    /// The exit code of a process that ends with this error.
    fn from(error: RunError) -> Self {
        match error {
            RunError::Ledger(error) => error.into(),
            other => Self::failure(other),
        }
    }
}

/// The validator's metrics.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "agon_validator_rounds_total",
        "Rounds by outcome: judged or abstained",
    ),
    Metric::counter(
        "agon_validator_answers_total",
        "Answers by outcome: answered or the kind of failure",
    ),
    Metric::counter(
        "agon_validator_weights_total",
        "Steps of weights by kind and result",
    ),
    Metric::counter(
        "agon_validator_evidence_total",
        "Steps of evidence by kind and result",
    ),
    Metric::counter(
        "agon_validator_watched_total",
        "Evidence of other validators by outcome: equal, different, forged or unavailable",
    ),
    Metric::counter(
        "agon_validator_audits_total",
        "Audits by outcome: held, failed or unavailable",
    ),
    Metric::histogram(
        "agon_validator_round_seconds",
        "Seconds from the first question of a round to its ratings",
    ),
    Metric::gauge("agon_validator_tempo", "Tempo the validator works in"),
];

/// Runs a validator until shutdown.
///
/// # Errors
///
/// [`RunError`]. A ledger that goes away later is not an error: the validator abstains and waits for it.
pub async fn run(mut config: Config, world: World, shutdown: Shutdown) -> Result<(), RunError> {
    telemetry::describe(METRICS);
    std::fs::create_dir_all(&config.dir).map_err(|source| RunError::Folder {
        path: config.dir.clone(),
        source,
    })?;
    let _lock = lock_dir(&config.dir)?;
    let client = LedgerClient::new(&world.net, &config.ledger)?;
    let follower = Follower::new(client.clone(), config.netuid);
    let views = follower.views();
    let mut tasks = Tasks::new(shutdown.clone());
    serve_evidence(&mut config, &world.net, &mut tasks, &shutdown).await?;
    let work = Work::open(config, world, client).await?;
    tasks.spawn("ledger follower", follower.run(shutdown.clone()));
    let worked = work.run(views, shutdown.clone()).await;
    shutdown.request();
    let report = grace(tasks, GRACE).await;
    if !report.is_clean() {
        warn!(?report, "not everything ended cleanly");
    }
    report.into_result()?;
    worked
}

/// Serves what is kept, where an address is given, and says in the config where that is.
///
/// # Errors
///
/// [`RunError::Listen`] when the address cannot be bound, [`RunError::Bundle`] when the folder cannot be used.
pub async fn serve_evidence(
    config: &mut Config,
    net: &Net,
    tasks: &mut Tasks,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let Some(addr) = config.listen else {
        return Ok(());
    };
    let listened = net.listen(addr).await;
    let incoming = listened.map_err(|source| RunError::Listen { addr, source })?;
    let bound = incoming.local_addr();
    config.served_at = config
        .served_at
        .or_else(|| (!bound.ip().is_unspecified()).then_some(bound));
    info!(address = %bound, announced = ?config.served_at, "evidence is served");
    let service = ValidatorServer::new(serve::Service(Bundles::open(&config.dir)?));
    let stopped = shutdown.clone();
    let server = net::server()
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async move { stopped.requested().await });
    tasks.spawn("evidence server", server);
    Ok(())
}
