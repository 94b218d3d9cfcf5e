//! Serves a model for rewards: announces its axon, answers permitted validators, signs a receipt for each answer.
//!
//! | module | does |
//! | --- | --- |
//! | [`admission`] | decides which challenges are answered |
//! | [`replay`] | remembers used nonces, across restarts |
//! | [`receipts`] | keeps what was signed, across restarts |
//! | [`contest`] | answers failures that validators claim with it |
//! | [`traces`] | codes of the newest answers, for audits |
//! | [`serve`] | the gRPC service: gates, streaming, receipts |
//! | [`sessions`] | keys of a tempo by which validators ask without saying who they are |
//! | [`follow`] | keeps permits, tempo and beacons fresh from the ledger |
//! | [`announce`] | keeps the axon on the ledger fresh |
//! | [`backend`] | the seam to inference |
//! | [`models`] | the models that are served, and which one answers |
//! | [`shelf`] | finds, weighs and loads them, and loads them again when asked |
//! | [`digests`] | names of models, kept beside them |
//! | [`doctor`] | whether everything that serving needs is there |
//! | [`hub`] | models by name: the cache, and downloads into it |
//! | [`fit`] | whether a model fits, and how fast it can be |
//! | [`args`] | what was typed, and what it means |
//!
//! [`run`] puts them together. Clock, transport and back end come from outside, so that tests run a miner on
//! simulated links with a scripted model.

pub mod admission;
pub mod announce;
pub mod args;
pub mod backend;
pub mod contest;
pub mod digests;
pub mod doctor;
pub mod fit;
pub mod follow;
pub mod hub;
pub mod models;
pub mod receipts;
pub mod replay;
pub mod serve;
pub mod sessions;
pub mod shelf;
pub mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_ledger_client::follow::Follower;
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::Netuid;
use agon_protocol::message::Axon;
use agon_protocol::sign::Keypair;
use agon_runtime::clock::Clock;
use agon_runtime::flags::ExitWith;
use agon_runtime::net::{self, Incoming, Limits, Net};
use agon_runtime::shutdown::{Shutdown, TaskFailed, Tasks, grace};
use agon_runtime::telemetry::{self, Metric};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admission::Admission;
use crate::backend::Backend;
use crate::contest::Contester;
use crate::models::Models;
use crate::receipts::{Receipts, ReceiptsError};
use crate::replay::{Replay, ReplayError};
use crate::serve::Service;

/// How long answers under way may take once shutdown was asked for.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// Connections in all; those of one address, more than validators behind one router have; and those that are kept for
/// addresses from which a challenge was admitted.
pub const CONNECTIONS: Limits = Limits {
    connections_max: net::CONNECTIONS_MAX,
    per_address_max: 64,
    known_only: net::CONNECTIONS_MAX / 4,
};

/// What a miner needs to know before it binds anything.
#[derive(Debug)]
pub struct Config {
    /// The hotkey.
    pub pair: Keypair,
    /// The subnet.
    pub netuid: Netuid,
    /// The ledger node, as in `http://127.0.0.1:9944`.
    pub ledger: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What to announce instead of the address that was bound, for hosts behind a router.
    pub announce: Option<SocketAddr>,
    /// Answers that it says it can give at once.
    pub at_once: u16,
    /// Folder of the miner's own state; none keeps it in memory.
    pub state_dir: Option<PathBuf>,
    /// Whether failures that validators claim are contested.
    pub contests: bool,
}

/// Where clock and transport come from.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub clock: Clock,
    /// The transport.
    pub net: Net,
}

/// Why a miner does not start or stops.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The ledger is out of reach, or the hotkey is not registered.
    #[error(transparent)]
    Ledger(#[from] ClientError),
    /// The address cannot be bound.
    #[error("listen on {addr}: {source}; choose another with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bound address is no address that others can reach.
    #[error("{addr} is not an address that validators can reach; name one with --announce")]
    Announce {
        /// The address.
        addr: SocketAddr,
    },
    /// The replay store cannot be used.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The receipts cannot be kept.
    #[error(transparent)]
    Receipts(#[from] ReceiptsError),
    /// A part of the miner failed, and the miner ended with it.
    #[error(transparent)]
    Task(#[from] TaskFailed),
    /// The server broke.
    #[error("serve: {0}")]
    Serve(#[from] tonic::transport::Error),
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

/// The miner's metrics.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        "agon_miner_challenges_total",
        "Challenges by outcome: answered, abandoned, displaced, failed or a rule",
    ),
    Metric::counter(
        "agon_miner_introductions_total",
        "Introductions of sessions by outcome: introduced, known or a rule",
    ),
    Metric::counter(
        "agon_miner_tokens_total",
        "Tokens, by kind: of prompts or of answers",
    ),
    Metric::gauge("agon_miner_models", "Models that are served"),
    Metric::counter(
        "agon_miner_reloads_total",
        "Times that models were looked at again, by outcome: changed, same or failed",
    ),
    Metric::counter(
        "agon_miner_contests_total",
        "Validators whose evidence was looked at, by outcome: none, contested, refused or unavailable",
    ),
    Metric::histogram(
        "agon_miner_answer_seconds",
        "Seconds from admission to the receipt",
    ),
    Metric::histogram(
        "agon_miner_first_token_seconds",
        "Seconds from admission to the first text, by the sender's share of stake: tenth_or_more, hundredth_or_more, less",
    ),
    Metric::gauge("agon_miner_queue_challenges", "Challenges that wait"),
    Metric::gauge("agon_miner_queue_senders", "Senders that have challenges waiting"),
    Metric::gauge("agon_miner_active_challenges", "Challenges being answered"),
    Metric::counter("agon_miner_steps_total", "Steps of the model"),
    Metric::counter(
        "agon_miner_step_rows_total",
        "Answers that advanced, summed over steps",
    ),
    Metric::counter(
        "agon_miner_reused_tokens_total",
        "Tokens of prompts that other prompts had begun with",
    ),
];

/// Checks that the ledger answers and that the hotkey holds a UID, without serving anything.
///
/// # Errors
///
/// [`RunError::Ledger`].
pub async fn check(config: &Config, net: &Net) -> Result<(), RunError> {
    let client = LedgerClient::new(net, &config.ledger)?;
    announce::check_registered(&client, &config.pair, config.netuid).await?;
    Ok(())
}

/// Runs a miner until shutdown. `ready` is called with the bound address once challenges are accepted.
///
/// # Errors
///
/// [`RunError`].
pub async fn run<B: Backend>(
    config: Config,
    models: Models<B>,
    world: World,
    shutdown: Shutdown,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), RunError> {
    telemetry::describe(METRICS);
    let client = LedgerClient::new(&world.net, &config.ledger)?;
    let genesis = client.head().await?.genesis;
    let neuron = announce::check_registered(&client, &config.pair, config.netuid).await?;
    let incoming = listen(&world.net, config.listen).await?;
    let axon = axon(&config, incoming.local_addr(), &models)?;
    info!(uid = %neuron.uid, netuid = %config.netuid, address = %incoming.local_addr(), models = axon.models.len(), model = axon.models[0].name, "miner starts");

    let follower = Follower::new(client.clone(), config.netuid);
    let (views, snapshots) = (follower.views(), watch::Sender::new(None));
    let receipts = Arc::new(Mutex::new(open_receipts(&config)?));
    let contester = config.contests.then(|| Contester {
        client: client.clone(),
        net: world.net.clone(),
        pair: config.pair.clone(),
        genesis,
        netuid: config.netuid,
        receipts: Arc::clone(&receipts),
    });
    let service = Service {
        admission: Admission {
            genesis,
            netuid: config.netuid,
            miner: config.pair.hotkey(),
        },
        subnet: snapshots.clone(),
        budget: tokio::sync::Mutex::default(),
        replay: Mutex::new(open_replay(&config, world.clock.now_ms())?),
        traces: Mutex::default(),
        receipts,
        models: models.clone(),
        known: incoming.known(),
        clock: world.clock,
        pair: config.pair.clone(),
    };
    metrics::gauge!("agon_miner_models").set(models.served().len() as f64);
    let mut tasks = Tasks::new(shutdown.clone());
    tasks.spawn("ledger follower", follower.run(shutdown.clone()));
    tasks.spawn(
        "snapshots",
        follow::keep_snapshots(
            (client.clone(), genesis),
            views.clone(),
            snapshots,
            shutdown.clone(),
        ),
    );
    tasks.spawn("metrics", models.clone().keep_told(shutdown.clone()));
    if let Some(contester) = contester {
        tasks.spawn("contester", contester.run(views.clone(), shutdown.clone()));
    }
    let who = (config.pair, config.netuid, axon);
    let announcer = announce::keep_announced(client, who, models, views, shutdown.clone());
    tasks.spawn("announcer", announcer);
    ready(incoming.local_addr());
    let served = serve::serve(service, incoming, &shutdown).await;
    shutdown.request();
    let report = grace(tasks, GRACE).await;
    if !report.is_clean() {
        warn!(?report, "not everything ended cleanly");
    }
    report.into_result()?;
    served
}

async fn listen(net: &Net, addr: SocketAddr) -> Result<Incoming, RunError> {
    net.listen_within(addr, CONNECTIONS)
        .await
        .map_err(|source| RunError::Listen { addr, source })
}

fn axon<B: Backend>(config: &Config, bound: SocketAddr, models: &Models<B>) -> Result<Axon, RunError> {
    let addr = config.announce.unwrap_or(bound);
    if addr.ip().is_unspecified() || addr.port() == 0 {
        return Err(RunError::Announce { addr });
    }
    let (ip, port) = (addr.ip(), addr.port());
    Ok(Axon {
        ip,
        port,
        protocol: Axon::PROTOCOL,
        at_once: config.at_once,
        models: models::announced(&models.served()),
    })
}

fn open_replay(config: &Config, now_ms: u64) -> Result<Replay, ReplayError> {
    match &config.state_dir {
        Some(dir) => Replay::open(dir, now_ms),
        None => Ok(Replay::in_memory()),
    }
}

fn open_receipts(config: &Config) -> Result<Receipts, ReceiptsError> {
    match &config.state_dir {
        Some(dir) => Receipts::open(dir),
        None => Ok(Receipts::default()),
    }
}

#[cfg(test)]
mod tests;
