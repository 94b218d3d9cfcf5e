//! Malachite: how it is started.
//!
//! | module | holds |
//! | --- | --- |
//! | `node`, `sync` | the answers to its questions |
//! | `settings` | its configuration |
//! | `keys` | signatures |
//! | `types`, `codec` | our types in its traits, and as bytes |
//! | `wal` | its record of votes, before it reads it |
//! | `peers` | what the log says of peers that come and go |

mod codec;
mod keys;
mod node;
mod peers;
mod settings;
mod sync;
mod types;
mod wal;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_protocol::id::BlockNumber;
use agon_runtime::Shutdown;
use malachitebft_app_channel::app::types::Keypair;
use malachitebft_app_channel::app::types::codec::Codec as _;
use malachitebft_app_channel::{
    Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkContext, NetworkIdentity, RequestContext,
    Signer as _, SyncContext, WalContext,
};
use tracing::warn;

use self::codec::Borsh;
use self::keys::{Checks, Keys};
use self::node::{Node, Shared};
use self::types::{Context, ValidatorSet};
use self::wal::VOTES;
use crate::pending::Pending;
use crate::voice::{EngineLog, Voice};
use crate::{Application, CommitteeError, Config, Next};

/// How long an address may still be taken by an engine that has ended.
const ADDRESS_WITHIN: Duration = Duration::from_secs(2);
/// From one look at it to the next.
const ADDRESS_PAUSE: Duration = Duration::from_millis(20);
/// How long the engine may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Takes part in the committee of `app`'s ledger until `shutdown`, or until the ledger fails.
///
/// The future is boxed here, so that the engine is compiled in this crate and not in every program that waits for it.
///
/// # Errors
///
/// [`CommitteeError`]; every block that was told to be stored is stored.
pub fn run(
    config: Config,
    app: Box<dyn Application>,
    shutdown: Shutdown,
) -> Pin<Box<dyn Future<Output = Result<(), CommitteeError>> + Send>> {
    Box::pin(take_part(config, app, shutdown))
}

async fn take_part(
    config: Config,
    mut app: Box<dyn Application>,
    shutdown: Shutdown,
) -> Result<(), CommitteeError> {
    let next = app.next().await.map_err(CommitteeError::Ledger)?;
    fs::create_dir_all(&config.dir).map_err(|source| CommitteeError::Dir {
        dir: config.dir.clone(),
        source,
    })?;
    let votes = config.dir.join(VOTES);
    let engine_log = wal::mend(&votes)?;
    let mut node = node(&config, app, next, &engine_log).await?;
    let (mut channels, engine) = start(&config, &node.keys).await?;
    let mut events = channels.events.subscribe();
    let watch = tokio::spawn(peers::watch(
        channels.net_requests.clone(),
        config.peers.clone(),
        config.clock.clone(),
    ));
    let result = node.answer_all(&mut channels, &shutdown).await;
    watch.abort();
    if matches!(result, Err(CommitteeError::Engine)) {
        wal::set_aside_if_blamed(&votes, &mut events)?;
    }
    stop(engine).await;
    // The engine may let go of the key a little later than it ends.
    node.keys.voice().close();
    result
}

async fn node(
    config: &Config,
    app: Box<dyn Application>,
    next: Next,
    engine_log: &EngineLog,
) -> Result<Node, CommitteeError> {
    let pending = open_pending(&config.dir, next.height).await?;
    let now_ms = config.clock.now_ms();
    let voice = Voice::open(&config.dir, &config.consensus, next.height, engine_log, now_ms)?;
    let set = ValidatorSet::of(&next.committee, voice.speaks()).ok_or(CommitteeError::NoCommittee)?;
    Ok(Node {
        app,
        keys: Keys::new(config.genesis, config.consensus.clone(), voice),
        pending,
        clock: config.clock.clone(),
        block_time: config.block_time,
        timeouts: config.timeouts,
        next,
        newest_ms: 0,
        set,
        later: VecDeque::new(),
        missing: false,
    })
}

async fn stop(engine: EngineHandle) {
    let stopped = async {
        // The first actor that ends ends their supervisor, and that kills the others; each on its own writes out what
        // it has and closes its sockets.
        let supervisor = engine.actor.get_cell();
        let actors = supervisor.get_children();
        actors.iter().for_each(|actor| actor.unlink(supervisor.clone()));
        futures::future::join_all(actors.iter().map(|actor| actor.stop_and_wait(None, None))).await;
        engine.actor.stop_and_wait(None, None).await
    };
    if tokio::time::timeout(STOP_WITHIN, stopped).await.is_err() {
        warn!("the consensus engine did not end in time");
        engine.actor.kill();
    }
}

/// Whether one can listen there. An engine that has just ended lets go of its address a little later.
async fn check_free(addr: std::net::SocketAddr) -> Result<(), CommitteeError> {
    let until = tokio::time::Instant::now() + ADDRESS_WITHIN;
    loop {
        match std::net::TcpListener::bind(addr) {
            Ok(_) => return Ok(()),
            Err(source) if tokio::time::Instant::now() >= until => {
                return Err(CommitteeError::Listen { addr, source });
            }
            Err(_) => tokio::time::sleep(ADDRESS_PAUSE).await,
        }
    }
}

async fn open_pending(dir: &Path, next: BlockNumber) -> Result<Shared, CommitteeError> {
    let path = dir.join("pending.log");
    let opened = tokio::task::spawn_blocking(move || Pending::open(path, next)).await;
    let pending = opened.map_err(|_| CommitteeError::Engine)??;
    Ok(Arc::new(Mutex::new(pending)))
}

async fn start(config: &Config, keys: &Keys) -> Result<(Channels<Context>, EngineHandle), CommitteeError> {
    // The engine would only say in its log that it cannot listen, and wait.
    check_free(config.listen).await?;
    let failed = |reason: String| CommitteeError::Start { reason };
    let transport =
        Keypair::ed25519_from_bytes(config.transport).map_err(|error| failed(error.to_string()))?;
    let peer = transport.public().to_peer_id().to_bytes();
    let proof = keys.sign_validator_proof(keys.key().0.0.to_vec(), peer).await;
    let proof = proof.map_err(|error| failed(error.to_string()))?;
    let proof = Borsh.encode(&proof).map_err(|error| failed(error.to_string()))?;
    let identity =
        NetworkIdentity::new_validator(config.name.clone(), transport, keys.key().to_string(), proof);
    let checks = Checks {
        genesis: keys.genesis,
    };
    EngineBuilder::new(Context, settings::settings(config)?)
        .with_default_wal(WalContext::new(config.dir.join(VOTES), Borsh))
        .with_default_network(NetworkContext::new(identity, Borsh))
        .with_default_sync(SyncContext::new(Borsh))
        .with_default_consensus(ConsensusContext::new_validator(
            keys.key(),
            Box::new(checks),
            Box::new(keys.clone()),
        ))
        .with_default_request(RequestContext::new(100))
        .build()
        .await
        .map_err(|error| failed(format!("{error:#}")))
}
