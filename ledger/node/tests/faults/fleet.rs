//! Four members as processes, and what has to hold after every fault.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use agon_ledger_node::Peers;
use agon_ledger_node::verify::verify;
use agon_protocol::codec;
use agon_protocol::id::ConsensusKey;
use agon_protocol::message::{Block, Equivocation};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::hosts::Hosts;
use crate::links::Links;
use crate::load::{Load, Told, WITHIN};
use crate::support::cluster::Cluster;
use crate::support::{ACCOUNTS, BLOCK_MS, Client, account};

/// Members of a fleet; one may fail.
pub(crate) const MEMBERS: u8 = 4;
/// Lines of a log that a failure shows.
const LINES: usize = 25;

/// Fleets take turns: two of them at once would measure each other.
static TURN: Mutex<()> = Mutex::const_new(());

/// A node of the real binary.
struct Process(Child);

/// A committee of four in folders of their own.
pub(crate) struct Fleet {
    pub(crate) cluster: Cluster,
    pub(crate) links: Option<Links>,
    /// The hosts of the members, where each has its own.
    pub(crate) hosts: Option<Hosts>,
    pub(crate) told: Arc<Told>,
    /// The member that may be found to equivocate.
    pub(crate) liar: Option<ConsensusKey>,
    peers: Vec<Peers>,
    processes: Vec<Option<Process>>,
    load: Option<Load>,
    logs: TempDir,
    block_ms: u64,
    /// Blocks up to here were compared.
    compared: u64,
    begun: Instant,
    _turn: MutexGuard<'static, ()>,
}

impl Fleet {
    /// A fleet of which nothing runs.
    pub(crate) async fn begin() -> Self {
        let turn = TURN.lock().await;
        Self::of(Cluster::begin(MEMBERS), turn)
    }

    /// A fleet whose members have hosts of their own; `None` where there can be none.
    pub(crate) async fn begin_on_hosts() -> Option<Self> {
        let turn = TURN.lock().await;
        let hosts = Hosts::new(MEMBERS)?;
        let mut fleet = Self::of(Cluster::begin_on(&hosts.addresses), turn);
        fleet.hosts = Some(hosts);
        Some(fleet)
    }

    fn of(cluster: Cluster, turn: MutexGuard<'static, ()>) -> Self {
        let count = cluster.places.len();
        Self {
            peers: (0..count).map(|index| cluster.peers_of(index)).collect(),
            processes: (0..count).map(|_| None).collect(),
            cluster,
            links: None,
            hosts: None,
            told: Arc::default(),
            liar: None,
            load: None,
            logs: tempfile::tempdir().unwrap(),
            block_ms: BLOCK_MS,
            compared: 0,
            begun: Instant::now(),
            _turn: turn,
        }
    }

    /// A fleet of which every member runs.
    pub(crate) async fn start() -> Self {
        let mut fleet = Self::begin().await;
        fleet.run_all();
        fleet
    }

    pub(crate) fn with_block_ms(mut self, block_ms: u64) -> Self {
        self.block_ms = block_ms;
        self
    }

    /// Puts a proxy between every two nodes.
    pub(crate) async fn with_links(mut self) -> Self {
        let mut links = Links::new();
        for (from, told) in self.peers.iter_mut().enumerate() {
            let others = (0..self.cluster.places.len()).filter(|to| *to != from);
            for (to, peer) in others.zip(&mut told.peers) {
                let target = peer.address.parse().unwrap();
                peer.address = links.between(from, to, target).await.to_string();
                let ledger = links.between(from, to, self.cluster.places[to].ledger).await;
                peer.ledger = format!("http://{ledger}");
            }
        }
        self.links = Some(links);
        self
    }

    /// Starts every member that does not run.
    pub(crate) fn run_all(&mut self) {
        for index in 0..self.processes.len() {
            if self.processes[index].is_none() {
                self.run(index);
            }
        }
    }

    /// Starts a member, which has to open its ledger.
    pub(crate) fn run(&mut self, index: usize) {
        if let Err(status) = self.try_run(index) {
            panic!("member {index} ended with {status}:\n{}", self.log_tail(index));
        }
    }

    /// Starts a member; else how it ended.
    pub(crate) fn try_run(&mut self, index: usize) -> Result<(), ExitStatus> {
        let Peers { listen, peers, .. } = &self.peers[index];
        let place = &self.cluster.places[index];
        // A write past a limit has to fail as one to a full disk does, instead of killing the process.
        let mut command = match &self.hosts {
            Some(hosts) => hosts.command(index),
            None => Command::new("sh"),
        };
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
        command.arg(env!("CARGO_BIN_EXE_agon-node"));
        let log = std::env::var("FAULT_LOG").unwrap_or_else(|_| String::from("info"));
        command.args(["run", "--die-with-parent", "--log", &log]);
        command.args(["--listen", &place.ledger.to_string()]);
        command.args(["--listen-peers", &listen.to_string()]);
        command.args(["--block-ms", &self.block_ms.to_string()]);
        for peer in peers {
            command.args(["--peer", &format!("{}={}", peer.address, peer.ledger)]);
        }
        command.arg("--dir").arg(place.folder.dir());
        let log = File::options().create(true).append(true).open(self.log(index));
        command.stdout(Stdio::piped()).stderr(log.unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        if line.is_empty() {
            return Err(child.wait().unwrap());
        }
        self.processes[index] = Some(Process(child));
        Ok(())
    }

    /// SIGKILL: nothing in the process gets to run any more.
    pub(crate) fn kill(&mut self, index: usize) {
        let Process(mut child) = self.processes[index].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGKILL for all at once.
    pub(crate) fn kill_all(&mut self) {
        for Process(child) in self.processes.iter_mut().flatten() {
            child.kill().unwrap();
        }
        for Process(mut child) in self.processes.iter_mut().filter_map(Option::take) {
            child.wait().unwrap();
        }
    }

    /// Sends a signal by its name, as in `STOP`.
    pub(crate) fn signal(&self, index: usize, signal: &str) {
        let pid = self.pid(index).to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn pid(&self, index: usize) -> u32 {
        self.processes[index].as_ref().unwrap().0.id()
    }

    /// Waits until a member has ended by itself.
    pub(crate) async fn ended(&mut self, index: usize) -> ExitStatus {
        let deadline = Instant::now() + WITHIN;
        loop {
            let child = &mut self.processes[index].as_mut().unwrap().0;
            if let Some(status) = child.try_wait().unwrap() {
                self.processes[index] = None;
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "member {index} goes on:\n{}",
                self.log_tail(index)
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log(&self, index: usize) -> PathBuf {
        self.logs.path().join(format!("member-{index}.log"))
    }

    pub(crate) fn log_text(&self, index: usize) -> String {
        fs::read(self.log(index)).map_or(String::new(), |bytes| {
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }

    /// The newest lines of a member's log.
    pub(crate) fn log_tail(&self, index: usize) -> String {
        let text = self.log_text(index);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Begins a load on every member that runs.
    pub(crate) fn load(&mut self) {
        let nodes: Vec<_> = self
            .running()
            .map(|index| self.cluster.places[index].ledger)
            .collect();
        let genesis = self.cluster.genesis.digest();
        self.load = Some(Load::start(&nodes, genesis, &self.told));
    }

    /// Waits for acknowledgements.
    pub(crate) async fn progress(&mut self, more: u64) {
        self.load.as_mut().expect("there is a load").progress(more).await;
    }

    pub(crate) async fn unload(&mut self) {
        if let Some(load) = self.load.take() {
            load.stop().await;
        }
    }

    /// Members that run, as a process or in this one.
    pub(crate) fn running(&self) -> impl Iterator<Item = usize> + use<'_> {
        let runs = |index: &usize| self.processes[*index].is_some() || self.cluster.nodes[*index].is_some();
        (0..self.processes.len()).filter(runs)
    }

    pub(crate) async fn height(&self, index: usize) -> u64 {
        self.cluster.client(index).head().await.height.0
    }

    /// Waits until member `index` has made or taken `more` blocks.
    pub(crate) async fn blocks(&self, index: usize, more: u64) {
        let height = self.height(index).await;
        self.reached(index, height + more).await;
    }

    /// Waits until member `index` has the block at `height`.
    pub(crate) async fn reached(&self, index: usize, height: u64) {
        let mut events = self.cluster.client(index).events(height).await;
        let event = tokio::time::timeout(WITHIN, events.message()).await;
        let Ok(Ok(Some(_))) = event else {
            let found = self.height(index).await;
            panic!(
                "member {index} is at {found}, and not at {height} in {WITHIN:?}:\n{}",
                self.log_tail(index)
            );
        };
    }

    /// Waits until a member signs again that does not know what it signed.
    pub(crate) async fn speaks(&self, index: usize) {
        let is_silent = || {
            let log = self.log_text(index);
            log.rfind("signs nothing until") > log.rfind("signs again from")
        };
        let deadline = Instant::now() + WITHIN;
        while is_silent() {
            self.blocks(index, 5).await;
            assert!(
                Instant::now() < deadline,
                "member {index} is silent:\n{}",
                self.log_tail(index)
            );
        }
    }

    /// Ends the load, waits until all that run are level, and compares what they have with what was acknowledged.
    pub(crate) async fn check(&mut self) {
        self.unload().await;
        let level = self.level().await;
        let members: Vec<usize> = self.running().collect();
        let mut clients: Vec<Client> = members.iter().map(|index| self.cluster.client(*index)).collect();
        let acknowledged = self.told.acknowledged();
        for height in self.compared + 1..=level {
            let block = clients[0].block(height).await;
            for client in &mut clients[1..] {
                assert_eq!(
                    client.block(height).await.hash(),
                    block.hash(),
                    "a fork at {height}"
                );
            }
            let held: BTreeSet<_> = block.transactions.iter().map(|it| it.digest()).collect();
            for ((number, nonce), (digest, at)) in &acknowledged {
                assert!(
                    *at != height || held.contains(digest),
                    "nonce {nonce} of account {number} is not in block {height}"
                );
            }
        }
        for ((number, nonce), (_, height)) in &acknowledged {
            assert!(
                *height <= level,
                "nonce {nonce} of account {number} was in block {height} of {level}"
            );
        }
        for client in &mut clients {
            for number in 0..ACCOUNTS {
                let count = acknowledged.range((number, 0)..=(number, u64::MAX)).next_back();
                let applied = client.account(account(number)).await.nonce;
                let told = count.map_or(0, |((_, nonce), _)| nonce + 1);
                assert!(
                    applied >= told,
                    "account {number}: {told} acknowledged, {applied} applied"
                );
            }
        }
        self.compared = level;
        self.check_nobody_panicked();
        self.check_only_the_liar_is_accused();
    }

    /// Waits until every member that runs has the newest block of all; gives its height.
    pub(crate) async fn level(&self) -> u64 {
        let mut newest = 0;
        for index in self.running() {
            newest = newest.max(self.height(index).await);
        }
        for index in self.running() {
            self.reached(index, newest).await;
        }
        newest
    }

    fn check_nobody_panicked(&self) {
        for index in 0..self.processes.len() {
            let log = self.log_text(index);
            assert!(!log.contains("panicked at"), "member {index}:\n{log}");
        }
    }

    fn check_only_the_liar_is_accused(&self) {
        for index in 0..self.processes.len() {
            for evidence in self.evidence(index) {
                let member = evidence.verify(self.cluster.genesis.digest()).unwrap();
                assert_eq!(Some(member), self.liar, "member {index} found {evidence:?}");
            }
        }
    }

    /// What a member has written down about others.
    pub(crate) fn evidence(&self, index: usize) -> Vec<Equivocation> {
        let Ok(files) = fs::read_dir(self.cluster.places[index].folder.evidence()) else {
            return Vec::new();
        };
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|it| it == "bin"))
            .map(|path| codec::decode(&fs::read(path).unwrap(), Block::BYTES_MAX).unwrap())
            .collect()
    }

    /// Stops all members, audits their folders, and says what was done.
    pub(crate) async fn finish(mut self, what: &str) {
        self.check().await;
        let members: Vec<usize> = self.running().collect();
        for index in members {
            if self.cluster.nodes[index].is_some() {
                self.cluster.stop_node(index).await;
            } else {
                self.signal(index, "TERM");
                let status = self.ended(index).await;
                assert!(
                    status.success(),
                    "member {index} ended with {status}:\n{}",
                    self.log_tail(index)
                );
            }
            let report = verify(&self.cluster.places[index].folder).unwrap();
            assert!(report.height >= self.compared);
        }
        println!(
            "{what}: {} blocks, {} transactions acknowledged, {} s",
            self.compared,
            self.told.acknowledged().len(),
            self.begun.elapsed().as_secs()
        );
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for Process(child) in self.processes.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for index in 0..self.processes.len() {
                eprintln!("member {index}:\n{}\n", self.log_tail(index));
            }
        }
    }
}
