//! A member that breaks the rules: with less than a third of the power, it is a nuisance and no more.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_ledger_committee::{self as committee, Application, LedgerError, Next, Origin, Timeouts};
use agon_ledger_node::folder::Folder;
use agon_ledger_node::keys::NodeKeys;
use agon_ledger_state::{BlockInput, State};
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Block, Equivocation, FinalBlock, Genesis, Header, Signed, Transaction};
use agon_runtime::{Clock, Shutdown};
use async_trait::async_trait;
use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::load::WITHIN;
use crate::support::{BLOCK_MS, Node, sign, transfer};
use crate::{random, runs};

/// The member that is not what it should be.
const LIAR: usize = 3;

/// A block time at which two nodes are level with each other on any machine, and take their turn at the same time.
const PACED_MS: u64 = 100;

/// What is wrong with a block.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Root,
    Ahead,
    Late,
    Parent,
    Committee,
    Transactions,
    Refused,
}

const LIES: [Lie; 7] = [
    Lie::Root,
    Lie::Ahead,
    Lie::Late,
    Lie::Parent,
    Lie::Committee,
    Lie::Transactions,
    Lie::Refused,
];

/// An application that follows the ledger, finds every block right, and proposes only wrong ones.
struct Liar {
    genesis: Genesis,
    state: State,
    parent: Digest,
    time_ms: u64,
    blocks: Vec<FinalBlock>,
    told: Arc<Mutex<Vec<Digest>>>,
}

impl Liar {
    fn new(genesis: &Genesis, told: &Arc<Mutex<Vec<Digest>>>) -> Self {
        Self {
            state: State::genesis(genesis).unwrap(),
            parent: genesis.digest(),
            time_ms: genesis.time_ms,
            genesis: genesis.clone(),
            blocks: Vec::new(),
            told: Arc::clone(told),
        }
    }

    fn height(&self) -> BlockNumber {
        BlockNumber(self.blocks.len() as u64 + 1)
    }

    fn input<'a>(&self, time_ms: u64, transactions: &'a [Signed<Transaction>]) -> BlockInput<'a> {
        BlockInput {
            height: self.height(),
            parent: self.parent,
            time_ms,
            forms_committee: false,
            transactions,
        }
    }

    /// A block of `transactions` that follows the newest one and says what it does.
    fn block(&self, time_ms: u64, transactions: Vec<Signed<Transaction>>) -> Block {
        let mut state = self.state.clone();
        state.apply(self.input(time_ms, &transactions));
        let header = Header {
            height: self.height(),
            parent: self.parent,
            time_ms,
            transactions: Block::transactions_digest(&transactions),
            state_root: state.root(),
            next_committee: state.committee().digest(),
        };
        Block { header, transactions }
    }

    fn lie(&self, lie: Lie) -> Block {
        let now = Clock::system().now_ms();
        let mut block = self.block(now, Vec::new());
        let other = Digest([7; 32]);
        match lie {
            Lie::Root => block.header.state_root = other,
            Lie::Ahead => block = self.block(now + 60_000, Vec::new()),
            Lie::Late => block = self.block(self.time_ms - 1, Vec::new()),
            Lie::Parent => block.header.parent = other,
            Lie::Committee => block.header.next_committee = other,
            Lie::Transactions => block.header.transactions = other,
            Lie::Refused => {
                let too_much = sign(self.genesis.digest(), 1, 0, transfer(2, u64::MAX));
                block = self.block(now, vec![too_much]);
            }
        }
        block
    }
}

#[async_trait]
impl Application for Liar {
    async fn next(&mut self) -> Result<Next, LedgerError> {
        Ok(Next {
            height: self.height(),
            committee: self.state.committee(),
        })
    }

    async fn propose(&mut self) -> Result<Block, LedgerError> {
        let mut told = self.told.lock().unwrap();
        let block = self.lie(LIES[told.len() % LIES.len()]);
        told.push(block.hash());
        Ok(block)
    }

    async fn check(&mut self, _: &Block, _: Origin) -> Result<Result<(), String>, LedgerError> {
        Ok(Ok(()))
    }

    async fn commit(&mut self, block: FinalBlock) -> Result<Next, LedgerError> {
        let Header { time_ms, .. } = block.block.header;
        let mut state = self.state.clone();
        state.apply(self.input(time_ms, &block.block.transactions));
        self.state = state;
        self.parent = block.block.hash();
        self.time_ms = time_ms;
        self.blocks.push(block);
        self.next().await
    }

    async fn decided(
        &mut self,
        heights: RangeInclusive<BlockNumber>,
    ) -> Result<Vec<FinalBlock>, LedgerError> {
        let first = heights.start().0.saturating_sub(1) as usize;
        let count = (heights.end().0 + 1).saturating_sub(heights.start().0) as usize;
        Ok(self.blocks.iter().skip(first).take(count).cloned().collect())
    }

    async fn first_kept(&mut self) -> Result<BlockNumber, LedgerError> {
        Ok(BlockNumber(1))
    }

    async fn misbehaved(&mut self, _: Equivocation) {}
}

fn config(fleet: &Fleet) -> committee::Config {
    let folder = &fleet.cluster.places[LIAR].folder;
    let keys = NodeKeys::open(folder.dir()).unwrap();
    let peers = fleet.cluster.peers_of(LIAR);
    let block_time = Duration::from_millis(BLOCK_MS);
    committee::Config {
        name: String::from("liar"),
        genesis: fleet.cluster.genesis.digest(),
        consensus: keys.consensus,
        transport: *keys.transport,
        listen: peers.listen,
        peers: peers.peers.into_iter().map(|peer| peer.address).collect(),
        dir: folder.engine(),
        clock: Clock::system(),
        block_time,
        timeouts: Timeouts::of_block_time(block_time),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_block_that_breaks_a_rule_is_decided_on() {
    let mut fleet = Fleet::begin().await;
    for honest in 0..LIAR {
        fleet.run(honest);
    }
    let told = Arc::default();
    let liar = Liar::new(&fleet.cluster.genesis, &told);
    let shutdown = Shutdown::new();
    let running = tokio::spawn(committee::run(config(&fleet), Box::new(liar), shutdown.clone()));
    for _ in 0..runs() {
        let wanted = told.lock().unwrap().len() + LIES.len();
        fleet.load();
        let deadline = Instant::now() + WITHIN;
        while told.lock().unwrap().len() < wanted {
            fleet.progress(1).await;
            assert!(Instant::now() < deadline, "it was not its turn for {WITHIN:?}");
        }
        fleet.check().await;
    }
    let lies: BTreeSet<Digest> = told.lock().unwrap().iter().copied().collect();
    let mut client = fleet.cluster.client(0);
    for height in 1..=fleet.level().await {
        let hash = client.block(height).await.hash();
        assert!(!lies.contains(&hash), "block {height} is a lie");
    }
    assert!(!running.is_finished(), "the liar follows the others");
    println!("{} lies", lies.len());
    fleet.finish("invalid blocks").await;
    shutdown.request();
    running.await.unwrap().unwrap();
}

/// The liar's node once more, in `dir`: the same key to vote with, another one towards its peers.
fn twin(fleet: &Fleet, dir: &std::path::Path) -> Folder {
    let folder = Folder::new(dir);
    folder.begin(&fleet.cluster.genesis).unwrap();
    let key = "consensus.key";
    fs::copy(fleet.cluster.places[LIAR].folder.dir().join(key), dir.join(key)).unwrap();
    // Else it would be silent: a key without a record of what it signed comes from elsewhere.
    committee::begin_record(&folder.engine(), &fleet.liar.unwrap(), BlockNumber(0)).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_says_two_things_is_found_out_and_splits_nobody() {
    let mut random = random();
    let mut fleet = Fleet::begin().await.with_block_ms(PACED_MS);
    let liar = NodeKeys::open(fleet.cluster.places[LIAR].folder.dir()).unwrap();
    fleet.liar = Some(liar.consensus.consensus_key());
    let dir = tempfile::tempdir().unwrap();
    let folder = twin(&fleet, dir.path());
    fleet.run_all();
    for _ in 0..runs() {
        crate::kills::some_load(&mut fleet, &mut random).await;
        let before = accusations(&fleet);
        let mut peers = fleet.cluster.peers_of(LIAR);
        let anywhere = "127.0.0.1:0".parse().unwrap();
        peers.listen = anywhere;
        // It would report itself, and be a member no longer.
        peers.hotkey = None;
        let node = Node::try_start_paced(&folder, anywhere, Some(peers), Clock::system(), PACED_MS)
            .await
            .unwrap();
        let deadline = Instant::now() + WITHIN;
        while accusations(&fleet) <= before {
            fleet.progress(1).await;
            assert!(Instant::now() < deadline, "nobody noticed it in {WITHIN:?}");
        }
        node.stop().await;
        fleet.check().await;
    }
    println!("{} accusations", accusations(&fleet));
    fleet.finish("equivocations").await;
}

/// Proofs that the honest members have.
fn accusations(fleet: &Fleet) -> usize {
    (0..LIAR).map(|index| fleet.evidence(index).len()).sum()
}
