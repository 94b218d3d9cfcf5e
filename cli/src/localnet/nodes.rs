//! The nodes of a localnet: one that decides alone, or a committee of several with equal bonds.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use agon_protocol::amount::Amount;
use agon_protocol::sign::Keypair;
use agon_protocol::wallet::{ColdkeyProtection, Wallet};
use agon_runtime::Entropy;
use anyhow::Context;
use serde_json::Value;
use tokio::process::Command;

use super::cast::HOTKEY;
use super::stage::Folder;
use super::troupe::Troupe;

/// What each member of a committee has locked, whole units.
const BOND_UNITS: u64 = 1_000;

/// What its operator has to pay fees with, whole units.
const FEES_UNITS: u64 = 10;

/// A balance at the start.
pub type Fund = (Keypair, Amount);

/// One node.
#[derive(Debug)]
struct Node {
    name: String,
    dir: PathBuf,
    /// Where it answers, and where it listens for the others. Peers have to know these before they start, so they
    /// are addresses that were free a moment ago.
    ledger: SocketAddr,
    peers: SocketAddr,
}

/// All nodes.
#[derive(Debug)]
pub struct Nodes<'a> {
    program: &'a Path,
    folder: &'a Folder,
    block_ms: u64,
    nodes: Vec<Node>,
}

impl<'a> Nodes<'a> {
    /// `count` nodes in `folder`, none of which runs yet.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn new(program: &'a Path, folder: &'a Folder, block_ms: u64, count: u16) -> anyhow::Result<Self> {
        let nodes = (1..=count)
            .map(|number| Node::new(folder, number))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            program,
            folder,
            block_ms,
            nodes,
        })
    }

    /// Begins their ledger with these balances.
    ///
    /// # Errors
    ///
    /// When a wallet or a genesis cannot be written.
    pub async fn begin(&self, funds: &[Fund]) -> anyhow::Result<()> {
        let (first, others) = self.nodes.split_first().context("a ledger has a node")?;
        let mut init = self.command("init", first);
        init.args(["--preset", "localnet", "--name", "localnet", "--beacon", "own"]);
        for (pair, amount) in funds {
            init.args(["--fund", &format!("{}={amount}", pair.coldkey())]);
        }
        if !others.is_empty() {
            for node in &self.nodes {
                let keys = self.member(node).await?;
                init.args(["--member", &format!("{}={BOND_UNITS}", keys.join(","))]);
                // For the fees of its readiness.
                init.args(["--fund", &format!("{}={FEES_UNITS}", keys[1])]);
            }
        }
        output(init, "agon-node init").await?;
        for node in others {
            let mut init = self.command("init", node);
            init.arg("--genesis").arg(first.dir.join("genesis.bin"));
            output(init, "agon-node init").await?;
        }
        Ok(())
    }

    /// A member's hotkey, coldkey and consensus key; its wallet is made here.
    async fn member(&self, node: &Node) -> anyhow::Result<[String; 3]> {
        let mut rng = Entropy::os().rng();
        let protection = ColdkeyProtection::Unprotected;
        let (wallet, _) = Wallet::create(&self.folder.wallets(), &node.name, protection, &mut rng)?;
        let (hotkey, _) = wallet.create_hotkey(HOTKEY, &mut rng)?;
        let coldkey = wallet.coldkey(None)?.coldkey();
        let mut keys = self.command("keys", node);
        keys.arg("--json");
        let keys: Value = serde_json::from_slice(&output(keys, "agon-node keys").await?)?;
        let consensus = keys["consensus_key"]
            .as_str()
            .context("agon-node keys named no key")?;
        Ok([hotkey.to_string(), coldkey.to_string(), consensus.to_owned()])
    }

    /// Starts them all, and gives the address of each.
    ///
    /// # Errors
    ///
    /// When one does not start.
    pub async fn start(&self, troupe: &mut Troupe) -> anyhow::Result<Vec<String>> {
        let mut uris = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let line = troupe.start_node(&node.name, self.run(node)).await?;
            let address: SocketAddr = line
                .trim()
                .parse()
                .with_context(|| format!("{} said {line:?}", node.name))?;
            uris.push(format!("http://{address}"));
        }
        Ok(uris)
    }

    fn run(&self, node: &Node) -> Command {
        let mut run = self.command("run", node);
        run.args(["--block-ms", &self.block_ms.to_string()]);
        run.args(["--listen", &node.ledger.to_string()]);
        let others = self.nodes.iter().filter(|other| other.name != node.name);
        for other in others {
            run.args(["--peer", &format!("{}=http://{}", other.peers, other.ledger)]);
        }
        if self.nodes.len() > 1 {
            run.args(["--listen-peers", &node.peers.to_string()]);
            run.args(["--wallet", &node.name, "--hotkey", HOTKEY, "--wallets-dir"]);
            run.arg(self.folder.wallets());
        }
        run
    }

    fn command(&self, what: &str, node: &Node) -> Command {
        let mut command = Command::new(self.program);
        command.arg(what).arg("--dir").arg(&node.dir);
        command
    }
}

impl Node {
    fn new(folder: &Folder, number: u16) -> anyhow::Result<Self> {
        Ok(Self {
            name: node_name(number),
            dir: folder.node(number),
            ledger: free_address()?,
            peers: free_address()?,
        })
    }
}

/// A node's name: that of its wallet, its folder and its log.
pub fn node_name(number: u16) -> String {
    match number {
        1 => String::from("node"),
        _ => format!("node-{number}"),
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}

async fn output(mut command: Command, name: &str) -> anyhow::Result<Vec<u8>> {
    let output = command.output().await.with_context(|| format!("start {name}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{name} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
