//! A whole subnet in one process: a real node, real validators, real miners, on simulated links and a virtual clock.
//!
//! Only the model is scripted ([`crate::reader`]); ledger, gRPC, signatures, draws and scoring are the product's.
//! Everything depends on the seed alone, so a run can be replayed. An operator registers the cast, lets tempos go
//! by and takes the final picture.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agon_ledger_client::LedgerClient;
use agon_ledger_node::{Config as NodeConfig, Memory, Storage};
use agon_miner::backend::{Backend, BackendError, ModelIdentity, Parts, Prompt};
use agon_miner::models::Models;
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::message::{Block, Call, EvidenceView, Genesis, GenesisAccount, Metagraph, Preset};
use agon_protocol::sign::Keypair;
use agon_runtime::clock::Clock;
use agon_runtime::entropy::Entropy;
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use agon_validator::round::Size;
use futures::StreamExt;
use tokio::sync::watch;

/// When the simulated world begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// Time between blocks.
const BLOCK_MS: u64 = 500;
/// Blocks of a tempo: 10 seconds of simulated time.
const TEMPO_BLOCKS: u64 = 20;
const NETUID: Netuid = Netuid(1);
const NODE_PORT: u16 = 9944;
const MINER_PORT: u16 = 8091;
/// Simulated time after which a run has failed.
const RUN_MAX: Duration = Duration::from_secs(3_600);

type Failure = Box<dyn std::error::Error>;

/// Who takes part.
pub struct Cast {
    /// The miners' back ends; each miner's name on the links is `miner-INDEX`.
    pub miners: Vec<Arc<dyn Backend>>,
    /// The validators' stakes, in whole units; each one's name on the links is `validator-INDEX`.
    pub validators: Vec<u64>,
    /// Tempos after the first in which validators hold permits.
    pub tempos: u64,
    /// Whether validators ask in sessions, which do not tell who they are.
    pub in_sessions: bool,
    /// What happens to the links, told the height of each new block.
    pub weather: Box<dyn Fn(u64)>,
}

impl std::fmt::Debug for Cast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cast")
            .field("miners", &self.miners.len())
            .field("validators", &self.validators)
            .field("tempos", &self.tempos)
            .field("in_sessions", &self.in_sessions)
            .finish_non_exhaustive()
    }
}

/// The final picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The subnet's neurons. Validators have the first UIDs, miners the next, in the cast's order.
    pub metagraph: Metagraph,
    /// Root of the ledger's state.
    pub state_root: Digest,
    /// All base units in existence.
    pub issuance: Amount,
    /// Evidence of the last tempo that was opened in whole: the one before the last.
    pub evidence: EvidenceView,
    /// Every block up to the picture.
    pub blocks: Vec<Block>,
    /// How many validators there are: the UID of the first miner.
    pub validator_count: usize,
    /// Folders of the validators, with evidence and status.
    pub validator_dirs: Vec<PathBuf>,
}

impl Picture {
    /// Incentive of the miners, in the cast's order, parts of `u16::MAX`.
    #[must_use]
    pub fn incentives(&self) -> Vec<u16> {
        let miners = self.metagraph.neurons.iter().skip(self.validator_count);
        miners.map(|neuron| neuron.incentive).collect()
    }

    /// Base units each miner earned, in the cast's order.
    #[must_use]
    pub fn earned(&self) -> Vec<u64> {
        let miners = self.metagraph.neurons.iter().skip(self.validator_count);
        miners.map(|neuron| neuron.earned.base_units()).collect()
    }
}

/// A back end that several miners' restarts share.
struct Shared(Arc<dyn Backend>);

impl Backend for Shared {
    fn identity(&self) -> &ModelIdentity {
        self.0.identity()
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        self.0.answer(prompt)
    }
}

/// Runs the cast under `seed`, keeping validators' folders in `dir`, and gives the final picture.
///
/// # Panics
///
/// When the simulation fails: a role that ends with an error, or no picture within an hour of simulated time.
#[must_use]
pub fn simulate(seed: u64, cast: Cast, dir: &std::path::Path) -> Picture {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(RUN_MAX)
        .tick_duration(Duration::from_millis(5))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(4_096)
        .build();
    let clock = Clock::simulated(EPOCH_MS);
    let (registered, wait) = watch::channel(false);
    add_node(&mut sim, &clock);
    for index in 0..cast.validators.len() {
        add_validator(&mut sim, index, seed, &clock, wait.clone(), dir);
    }
    for (index, backend) in cast.miners.iter().enumerate() {
        add_miner(&mut sim, index, Arc::clone(backend), &clock, wait.clone());
    }
    let picture = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&picture);
    let dirs = (0..cast.validators.len())
        .map(|index| validator_dir(dir, index))
        .collect();
    sim.client("operator", async move {
        let picture = operate(cast, registered, dirs).await?;
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(picture);
        Ok(())
    });
    sim.run().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let taken = picture.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.expect("the operator ended with a picture")
}

fn pair(label: &str, index: usize) -> Keypair {
    let seed = agon_protocol::codec::digest(
        "agon 2026-11 simulated key",
        format!("{label} {index}").as_bytes(),
    );
    Keypair::from_mini_secret(&seed.0)
}

fn treasurer() -> Keypair {
    pair("treasurer", 0)
}

fn genesis() -> Genesis {
    let units = |units| Amount::from_units(units).expect("a few units fit");
    let rich = |pair: Keypair| GenesisAccount {
        coldkey: pair.coldkey(),
        amount: units(100_000),
    };
    Genesis {
        name: "simulation".to_owned(),
        preset: Preset::Localnet,
        time_ms: EPOCH_MS,
        block_emission: units(1),
        committee: Vec::new(),
        beacon: None,
        accounts: vec![rich(treasurer()), rich(pair("owner", 0))],
    }
}

fn add_node(sim: &mut turmoil::Sim<'_>, clock: &Clock) {
    let (memory, clock) = (Memory::new(genesis()), clock.clone());
    sim.host("node", move || {
        let (memory, clock) = (memory.clone(), clock.clone());
        async move {
            let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, NODE_PORT));
            let config = NodeConfig {
                storage: Storage::Memory(memory),
                listen,
                block_ms: BLOCK_MS,
                peers: None,
                axons: agon_ledger_node::axons::Addresses::Any,
                pulses: None,
            };
            Ok(agon_ledger_node::run(config, Net::simulated(), clock, Shutdown::new(), |_| ()).await?)
        }
    });
}

fn validator_dir(dir: &std::path::Path, index: usize) -> PathBuf {
    dir.join(format!("validator-{index}"))
}

fn ledger() -> String {
    format!("http://node:{NODE_PORT}")
}

async fn until_registered(mut wait: watch::Receiver<bool>) {
    // The operator may have ended, and with it the run.
    let _ = wait.wait_for(|registered| *registered).await;
}

fn add_validator(
    sim: &mut turmoil::Sim<'_>,
    index: usize,
    seed: u64,
    clock: &Clock,
    wait: watch::Receiver<bool>,
    dir: &std::path::Path,
) {
    let (clock, dir) = (clock.clone(), validator_dir(dir, index));
    let entropy = Entropy::seeded([seed as u8; 32]).fork(&format!("validator {index}"));
    sim.host(format!("validator-{index}"), move || {
        let (clock, dir, wait, entropy) = (clock.clone(), dir.clone(), wait.clone(), entropy.clone());
        async move {
            until_registered(wait).await;
            let config = agon_validator::Config {
                pair: pair("validator hotkey", index),
                netuid: NETUID,
                ledger: ledger(),
                dir,
                size: Size {
                    miners: 32,
                    items: 3,
                    deadline_ms: 2_000,
                },
                round_ms: 1_000,
                reference: None,
                listen: None,
                served_at: None,
                watches: true,
            };
            let world = agon_validator::World {
                clock,
                net: Net::simulated(),
                entropy,
            };
            Ok(agon_validator::run(config, world, Shutdown::new()).await?)
        }
    });
}

fn add_miner(
    sim: &mut turmoil::Sim<'_>,
    index: usize,
    backend: Arc<dyn Backend>,
    clock: &Clock,
    wait: watch::Receiver<bool>,
) {
    let clock = clock.clone();
    let name = format!("miner-{index}");
    sim.host(name.clone(), move || {
        let (clock, backend, wait, name) = (clock.clone(), Arc::clone(&backend), wait.clone(), name.clone());
        async move {
            until_registered(wait).await;
            let address: IpAddr = turmoil::lookup(name);
            let config = agon_miner::Config {
                pair: pair("miner hotkey", index),
                netuid: NETUID,
                ledger: ledger(),
                listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, MINER_PORT)),
                announce: Some(SocketAddr::from((address, MINER_PORT))),
                at_once: 16,
                state_dir: None,
                contests: true,
            };
            let world = agon_miner::World {
                clock,
                net: Net::simulated(),
            };
            Ok(agon_miner::run(
                config,
                Models::one(Shared(backend)),
                world,
                Shutdown::new(),
                |_| (),
            )
            .await?)
        }
    });
}

/// Registers the cast, lets tempos go by, takes the picture.
async fn operate(
    cast: Cast,
    registered: watch::Sender<bool>,
    dirs: Vec<PathBuf>,
) -> Result<Picture, Failure> {
    let client = LedgerClient::new(&Net::simulated(), &ledger())?;
    create_subnet(&client, cast.in_sessions).await?;
    let (miners, stakes) = (cast.miners.len(), &cast.validators);
    for index in 0..stakes.len() {
        register(&client, pair("validator hotkey", index)).await?;
    }
    for index in 0..miners {
        register(&client, pair("miner hotkey", index)).await?;
    }
    for (index, units) in stakes.iter().enumerate() {
        let hotkey = pair("validator hotkey", index).hotkey();
        let amount = Amount::from_units(*units).ok_or("a stake too large")?;
        client
            .send(
                &treasurer(),
                Call::AddStake {
                    netuid: NETUID,
                    hotkey,
                    amount,
                },
            )
            .await?;
    }
    registered.send_replace(true);
    let last = wait_for_tempos(&client, cast.tempos, &cast.weather).await?;
    let head = client.head().await?;
    let mut blocks = Vec::new();
    for height in 1..=last.0 {
        blocks.push(client.block(BlockNumber(height)).await?.block);
    }
    let tempo = client.subnet(NETUID).await?.tempo;
    Ok(Picture {
        blocks,
        evidence: client.evidence(NETUID, tempo.saturating_sub(2)).await?,
        metagraph: client.metagraph(NETUID, Some(last)).await?,
        state_root: head.state_root,
        issuance: head.issuance,
        validator_count: stakes.len(),
        validator_dirs: dirs,
    })
}

async fn create_subnet(client: &LedgerClient, in_sessions: bool) -> Result<(), Failure> {
    let owner = pair("owner", 0);
    let lock_max = Amount::from_units(1_000).ok_or("a lock too large")?;
    client
        .send(
            &owner,
            Call::CreateSubnet {
                task: "reading".to_owned(),
                lock_max,
            },
        )
        .await?;
    let parameters = [
        ("tempo_blocks", TEMPO_BLOCKS),
        ("evidence_sessions", in_sessions.into()),
    ];
    for (name, value) in parameters {
        let call = Call::SetParameter {
            netuid: NETUID,
            name: name.to_owned(),
            value,
        };
        client.send(&owner, call).await?;
    }
    client.send(&owner, Call::StartSubnet { netuid: NETUID }).await?;
    Ok(())
}

async fn register(client: &LedgerClient, pair: Keypair) -> Result<(), Failure> {
    let price_max = Amount::from_units(50).ok_or("a price too large")?;
    let call = Call::Register {
        netuid: NETUID,
        hotkey: pair.hotkey(),
        price_max,
    };
    client.send(&treasurer(), call).await?;
    Ok(())
}

/// Waits for the epoch that ends the last of `tempos`, counted from the first with permits; gives its block.
async fn wait_for_tempos(
    client: &LedgerClient,
    tempos: u64,
    weather: &dyn Fn(u64),
) -> Result<BlockNumber, Failure> {
    let mut events = std::pin::pin!(client.events(BlockNumber(0)).await?);
    let mut epochs = None;
    while let Some(event) = events.next().await {
        let event = event?;
        weather(event.height.0);
        if !event.epochs.iter().any(|epoch| epoch.netuid == NETUID) {
            continue;
        }
        let metagraph = client.metagraph(NETUID, Some(event.height)).await?;
        epochs = match epochs {
            None if metagraph.neurons.iter().any(|neuron| neuron.permit) => Some(0),
            None => None,
            Some(count) => Some(count + 1),
        };
        if epochs == Some(tempos) {
            return Ok(event.height);
        }
    }
    Err("the node's event stream ended".into())
}
