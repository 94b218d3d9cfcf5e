//! Sets the stage: wallets, a funded ledger, a subnet on which everyone is registered, and the processes.
//!
//! Validators get their stake only once every miner has announced where it serves. Permits follow stake with the
//! next epoch, so that the first tempo in which validators work finds every miner there, however slow the machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_ledger_client::LedgerClient;
use agon_ledger_state::SUBNET_LOCK_FLOOR;
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Hotkey, Netuid, Uid};
use agon_protocol::message::Call;
use agon_protocol::sign::Keypair;
use agon_protocol::wallet::{ColdkeyProtection, Wallet};
use agon_runtime::{Entropy, Net};
use anyhow::Context;
use futures::future::try_join_all;
use futures::{StreamExt, pin_mut};
use tokio::process::Command;

use super::cast::{Ask, Member, Rung};
use super::nodes::{Fund, Nodes, node_name};
use super::programs::{Models, Programs};
use super::troupe::Troupe;
use crate::session::told;

/// Wallet of the subnet's owner.
const OWNER: &str = "owner";
/// What an account has beside what it stakes or locks, whole units.
const FUNDS_UNITS: u64 = 100;
/// How long miners may take to load their models and announce themselves.
const ANNOUNCE_DEADLINE: Duration = Duration::from_secs(180);

/// Where everything of a localnet is.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `dir`.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Everybody's keys.
    #[must_use]
    pub fn wallets(&self) -> PathBuf {
        self.0.join("wallets")
    }

    /// One log for each process.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The ledger of one node; the first has 1.
    #[must_use]
    pub fn node(&self, number: u16) -> PathBuf {
        self.0.join(node_name(number))
    }

    /// What a member keeps.
    #[must_use]
    pub fn member(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes what the processes do not make themselves.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn create(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        for dir in [self.wallets(), self.logs()] {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir);
            made.with_context(|| format!("create {}", dir.display()))?;
        }
        Ok(())
    }
}

/// A member with its keys.
#[derive(Debug)]
pub struct Actor {
    /// What it is.
    pub member: Member,
    coldkey: Keypair,
    /// Its identity on the ledger.
    pub hotkey: Hotkey,
}

/// What is needed to set the stage.
#[derive(Debug)]
pub struct Stage<'a> {
    /// Where.
    pub folder: &'a Folder,
    /// The programs.
    pub programs: &'a Programs,
    /// The models.
    pub models: &'a Models,
    /// Time between blocks, milliseconds.
    pub block_ms: u64,
    /// What the subnet asks.
    pub ask: Ask,
    /// How many nodes keep the ledger.
    pub nodes: u16,
}

/// A running ledger, with nobody on it yet.
#[derive(Debug)]
pub struct Ledger {
    /// A client of its first node.
    pub client: LedgerClient,
    /// Where each of its nodes is.
    pub uris: Vec<String>,
    /// All base units before the first transaction.
    pub issuance: Amount,
    owner: Keypair,
}

impl Stage<'_> {
    /// Makes everybody's wallet.
    ///
    /// # Errors
    ///
    /// When a wallet cannot be written.
    pub fn actors(&self, cast: Vec<Member>) -> anyhow::Result<Vec<Actor>> {
        cast.into_iter().map(|member| self.actor(member)).collect()
    }

    fn actor(&self, member: Member) -> anyhow::Result<Actor> {
        let mut rng = Entropy::os().rng();
        let wallet = self.wallet(&member.wallet)?;
        let (hotkey, _) = wallet.create_hotkey(&member.hotkey, &mut rng)?;
        let coldkey = wallet.coldkey(None)?;
        Ok(Actor {
            member,
            coldkey,
            hotkey,
        })
    }

    /// Name of the subnet's task.
    ///
    /// # Errors
    ///
    /// When the miner's program cannot tell the digest of the model to be pinned.
    pub async fn task(&self) -> anyhow::Result<String> {
        if self.ask == Ask::Reading {
            return Ok(agon_subnets::reading::NAME.to_owned());
        }
        let mut command = Command::new(&self.programs.miner);
        command
            .args(["hash", "--json", "--model"])
            .arg(self.models.folder(Rung::Large));
        let output = command.output().await.context("run agon-miner hash")?;
        anyhow::ensure!(
            output.status.success(),
            "agon-miner hash: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let told: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("read the model's digest")?;
        let task = told["task"].as_str().context("agon-miner hash told no task")?;
        Ok(task.to_owned())
    }

    /// The wallet of that name, which is made where it is not there yet.
    fn wallet(&self, name: &str) -> anyhow::Result<Wallet> {
        let wallets = self.folder.wallets();
        if wallets.join(name).exists() {
            return Ok(Wallet::open(&wallets, name)?);
        }
        let protection = ColdkeyProtection::Unprotected;
        let (wallet, _) = Wallet::create(&wallets, name, protection, &mut Entropy::os().rng())?;
        Ok(wallet)
    }

    /// Begins a ledger in which everybody has funds, and starts its node.
    ///
    /// # Errors
    ///
    /// When the node refuses or does not start.
    pub async fn ledger(&self, troupe: &mut Troupe, actors: &[Actor]) -> anyhow::Result<Ledger> {
        let owner = self.wallet(OWNER)?.coldkey(None)?;
        let nodes = Nodes::new(&self.programs.node, self.folder, self.block_ms, self.nodes)?;
        nodes.begin(&funded(&owner, actors)).await?;
        let uris = nodes.start(troupe).await?;
        let first = uris.first().context("a ledger has a node")?;
        let client = LedgerClient::new(&Net::tcp(), first).map_err(told)?;
        let issuance = client.head().await.map_err(told)?.issuance;
        Ok(Ledger {
            client,
            uris,
            issuance,
            owner,
        })
    }

    /// Starts everybody but the nodes, each at a node of its own as long as there are enough.
    ///
    /// # Errors
    ///
    /// When a program cannot be started.
    pub fn enter(
        &self,
        troupe: &mut Troupe,
        actors: &[Actor],
        ledger: &Ledger,
        netuid: Netuid,
    ) -> anyhow::Result<()> {
        for (index, (actor, uri)) in actors.iter().zip(ledger.uris.iter().cycle()).enumerate() {
            let member = &actor.member;
            if !actors[..index]
                .iter()
                .any(|other| other.member.wallet == member.wallet)
            {
                troupe.start(&member.name, self.command(member, actors, uri, netuid)?)?;
            }
        }
        Ok(())
    }
}

impl Actor {
    /// What it stakes on itself; nothing for a miner.
    pub(super) const fn stake(&self) -> Amount {
        self.member.part.stake()
    }

    pub(super) const fn is_miner(&self) -> bool {
        self.stake().is_zero()
    }
}

impl Ledger {
    /// Creates a subnet, registers everybody, and starts it. Accounts do not wait for each other; the hotkeys of one
    /// do, since its transactions are numbered.
    ///
    /// # Errors
    ///
    /// When the ledger refuses or goes away.
    pub async fn open_subnet(&self, actors: &[Actor], task: String) -> anyhow::Result<Netuid> {
        self.send(
            &self.owner,
            Call::CreateSubnet {
                task,
                lock_max: SUBNET_LOCK_FLOOR,
            },
        )
        .await?;
        let subnets = self.client.subnets().await.map_err(told)?;
        let netuid = subnets
            .last()
            .context("the subnet that was created is not listed")?
            .netuid;
        let price_max = Amount::from_units(1).expect("one unit fits an amount");
        let registrations = by_wallet(actors).into_values().map(|actors| async move {
            for actor in actors {
                let register = Call::Register {
                    netuid,
                    hotkey: actor.hotkey,
                    price_max,
                };
                self.send(&actor.coldkey, register).await?;
            }
            Ok(())
        });
        let start = self.send(&self.owner, Call::StartSubnet { netuid });
        tokio::try_join!(start, try_join_all(registrations))?;
        Ok(netuid)
    }

    /// Waits until every miner has announced where it serves; gives UID and address by hotkey.
    ///
    /// # Errors
    ///
    /// When some have not within `ANNOUNCE_DEADLINE`, with their names.
    pub async fn announced(
        &self,
        netuid: Netuid,
        actors: &[Actor],
    ) -> anyhow::Result<BTreeMap<Hotkey, (Uid, SocketAddr)>> {
        let miners: Vec<&Actor> = actors.iter().filter(|actor| actor.is_miner()).collect();
        let mut axons = BTreeMap::new();
        let all = self.wait_for_axons(netuid, miners.len(), &mut axons);
        match tokio::time::timeout(ANNOUNCE_DEADLINE, all).await {
            Ok(announced) => announced?,
            Err(_) => {
                let missing = miners.iter().filter(|actor| !axons.contains_key(&actor.hotkey));
                let missing: Vec<&str> = missing.map(|actor| actor.member.name.as_str()).collect();
                let limit = ANNOUNCE_DEADLINE.as_secs();
                anyhow::bail!(
                    "not announced within {limit} s: {}; see their logs",
                    missing.join(", ")
                );
            }
        }
        Ok(axons)
    }

    async fn wait_for_axons(
        &self,
        netuid: Netuid,
        count: usize,
        axons: &mut BTreeMap<Hotkey, (Uid, SocketAddr)>,
    ) -> anyhow::Result<()> {
        let blocks = self.client.events(BlockNumber(0)).await.map_err(told)?;
        pin_mut!(blocks);
        while axons.len() < count {
            let block = blocks
                .next()
                .await
                .context("the node ended its stream of blocks")?;
            block.map_err(told)?;
            let metagraph = self.client.metagraph(netuid, None).await.map_err(told)?;
            let announced = metagraph.neurons.iter().filter_map(|neuron| {
                neuron
                    .axon
                    .as_ref()
                    .map(|axon| (neuron.hotkey, (neuron.uid, axon.socket_addr())))
            });
            axons.extend(announced);
        }
        Ok(())
    }

    /// Puts every validator's stake behind it.
    ///
    /// # Errors
    ///
    /// When the ledger refuses or goes away.
    pub async fn stake(&self, netuid: Netuid, actors: &[Actor]) -> anyhow::Result<()> {
        let validators = actors.iter().filter(|actor| !actor.is_miner());
        let stakes = validators.map(|actor| {
            let Actor { coldkey, hotkey, .. } = actor;
            self.send(
                coldkey,
                Call::AddStake {
                    netuid,
                    hotkey: *hotkey,
                    amount: actor.stake(),
                },
            )
        });
        try_join_all(stakes).await.map(drop)
    }

    async fn send(&self, pair: &Keypair, call: Call) -> anyhow::Result<()> {
        let name = call.name();
        self.client
            .send(pair, call)
            .await
            .map_err(told)
            .with_context(|| name.to_owned())?;
        Ok(())
    }
}

/// Everybody by their wallets.
fn by_wallet(actors: &[Actor]) -> BTreeMap<&str, Vec<&Actor>> {
    let mut wallets: BTreeMap<&str, Vec<&Actor>> = BTreeMap::new();
    for actor in actors {
        wallets.entry(&actor.member.wallet).or_default().push(actor);
    }
    wallets
}

/// What everybody begins with, one balance for each wallet.
fn funded(owner: &Keypair, actors: &[Actor]) -> Vec<Fund> {
    let others = by_wallet(actors).into_values().map(|actors| {
        let stakes = actors.iter().map(|actor| actor.stake());
        let put_away = stakes.fold(Amount::ZERO, Amount::saturating_add);
        (actors[0].coldkey.clone(), funds(put_away))
    });
    std::iter::once((owner.clone(), funds(SUBNET_LOCK_FLOOR)))
        .chain(others)
        .collect()
}

/// What an account begins with: what it will put away, and some to spend.
fn funds(put_away: Amount) -> Amount {
    put_away.saturating_add(Amount::from_units(FUNDS_UNITS).expect("a hundred units fit an amount"))
}
