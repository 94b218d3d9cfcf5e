//! `kill -9` of a validator at random moments: it goes on where it was, repeats no round, loses no weights.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use agon_ledger_client::LedgerClient;
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Hotkey, Netuid};
use agon_protocol::message::{Call, EventView, WeightsCommit};
use agon_protocol::sign::Keypair;
use agon_protocol::wallet::{ColdkeyProtection, Wallet};
use agon_runtime::entropy::Entropy;
use agon_runtime::net::Net;
use agon_tests::process::{Process, binaries, binary};
use agon_validator::evidence::{self, Record};
use futures::StreamExt;
use rand_core::RngCore;

const TEST_MINER: &str = env!("CARGO_BIN_EXE_agon-test-miner");
const NETUID: Netuid = Netuid(1);
const KILLS: u32 = 50;
const TEMPO_BLOCKS: u64 = 40;

/// A node, a miner without a model, and the wallets of all.
struct Stage {
    dir: PathBuf,
    ledger: String,
    wallet: Wallet,
    node: Process,
    miner: Option<Process>,
}

fn start_node(dir: &Path, owner: &Keypair) -> (Process, String) {
    let node_dir = dir.join("node");
    let mut init = Command::new(binary(&binaries(TEST_MINER), "agon-node"));
    init.arg("init").arg("--dir").arg(&node_dir);
    let status = init
        .args(["--preset", "localnet", "--fund"])
        .arg(format!("{}=100000", owner.coldkey()))
        .output();
    assert!(status.unwrap().status.success());
    let mut run = Command::new(binary(&binaries(TEST_MINER), "agon-node"));
    run.arg("run")
        .arg("--dir")
        .arg(&node_dir)
        .args(["--listen", "127.0.0.1:0", "--block-ms", "100"]);
    let mut node = Process::start(&mut run, &dir.join("node.log"));
    let line = node.line().expect("the node prints where it listens");
    let addr: SocketAddr = line
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("an address: {line}"));
    (node, format!("http://{addr}"))
}

impl Stage {
    async fn new(dir: &Path) -> Self {
        let mut rng = Entropy::os().rng();
        let wallets = dir.join("wallets");
        let (wallet, _) = Wallet::create(&wallets, "w", ColdkeyProtection::Unprotected, &mut rng).unwrap();
        for hotkey in ["validator", "miner"] {
            wallet.create_hotkey(hotkey, &mut rng).unwrap();
        }
        let coldkey = wallet.coldkey(None).unwrap();
        let (node, ledger) = start_node(dir, &coldkey);
        let mut stage = Self {
            dir: dir.to_owned(),
            ledger,
            wallet,
            node,
            miner: None,
        };
        stage.register(&coldkey).await;
        stage.miner = Some(stage.start("agon-test-miner", "serve", "miner", &["--behave", "reader"]));
        stage
    }

    fn client(&self) -> LedgerClient {
        LedgerClient::new(&Net::tcp(), &self.ledger).unwrap()
    }

    async fn register(&self, coldkey: &Keypair) {
        let (client, units) = (self.client(), |units| Amount::from_units(units).unwrap());
        let hotkey = |name| self.wallet.hotkey_public(name).unwrap();
        let calls = [
            Call::CreateSubnet {
                task: "reading".to_owned(),
                lock_max: units(1_000),
            },
            Call::SetParameter {
                netuid: NETUID,
                name: "tempo_blocks".to_owned(),
                value: TEMPO_BLOCKS,
            },
            Call::StartSubnet { netuid: NETUID },
            Call::Register {
                netuid: NETUID,
                hotkey: hotkey("validator"),
                price_max: units(10),
            },
            Call::Register {
                netuid: NETUID,
                hotkey: hotkey("miner"),
                price_max: units(10),
            },
            Call::AddStake {
                netuid: NETUID,
                hotkey: hotkey("validator"),
                amount: units(100),
            },
        ];
        for call in calls {
            client.send(coldkey, call).await.unwrap();
        }
    }

    fn start(&self, program: &str, verb: &str, hotkey: &str, more: &[&str]) -> Process {
        let mut command = Command::new(binary(&binaries(TEST_MINER), program));
        command.args([
            verb,
            "--wallet",
            "w",
            "--hotkey",
            hotkey,
            "--netuid",
            "1",
            "--ledger",
            &self.ledger,
        ]);
        command
            .arg("--wallets-dir")
            .arg(self.dir.join("wallets"))
            .args(more);
        if program == "agon-test-miner" {
            command
                .args(["--listen", "127.0.0.1:0"])
                .arg("--state-dir")
                .arg(self.dir.join("miner"));
        } else {
            command.arg("--dir").arg(self.validator_dir());
        }
        Process::start(&mut command, &self.dir.join(format!("{hotkey}.log")))
    }

    fn start_validator(&self) -> Process {
        let quick = ["--round-ms", "50", "--items", "1", "--deadline-ms", "1000"];
        self.start("agon-validator", "run", "validator", &quick)
    }

    fn validator_dir(&self) -> PathBuf {
        self.dir.join("validator")
    }

    /// What the validator has written; nothing when it was killed before it began.
    fn records(&self) -> Vec<Record> {
        if !self.validator_dir().join(evidence::FILE_NAME).exists() {
            return Vec::new();
        }
        evidence::read(&self.validator_dir())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }
}

/// Lets `blocks` blocks go by.
async fn wait_blocks(events: &mut (impl StreamExt<Item = EventView> + Unpin), blocks: u32) {
    for _ in 0..blocks {
        events.next().await.expect("the node goes on");
    }
}

fn rounds(records: &[Record]) -> Vec<(u64, u32)> {
    let round = |record: &Record| match record {
        Record::Round(round) => Some((round.tempo, round.round)),
        _ => None,
    };
    records.iter().filter_map(round).collect()
}

/// The weights that the ledger has from the validator: commits with their heights, and what was revealed.
async fn weights_on_ledger(
    client: &LedgerClient,
    hotkey: Hotkey,
) -> (Vec<(u64, WeightsCommit)>, Vec<WeightsCommit>) {
    let head = client.head().await.unwrap().height.0;
    let (mut commits, mut reveals) = (Vec::new(), Vec::new());
    for height in 1..=head {
        for transaction in client
            .block(BlockNumber(height))
            .await
            .unwrap()
            .block
            .transactions
        {
            match &transaction.message().call {
                Call::CommitWeights { commit, .. } => commits.push((height, *commit)),
                Call::RevealWeights { weights, .. } => reveals.push(weights.commit(NETUID, hotkey)),
                _ => {}
            }
        }
    }
    (commits, reveals)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_validator_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::new(dir.path()).await;
    let client = stage.client();
    let events = client.events(BlockNumber(0)).await.unwrap();
    let mut events = std::pin::pin!(events.map(|event| event.expect("the node goes on")));
    let mut random = Entropy::os().rng();
    let mut before = 0;
    for _ in 0..KILLS {
        let mut validator = stage.start_validator();
        wait_blocks(&mut events, 2 + random.next_u32() % 10).await;
        validator.kill();
        let now = rounds(&stage.records()).len();
        assert!(now >= before, "{now} rounds in the evidence, {before} were there");
        before = now;
    }
    let mut validator = stage.start_validator();
    wait_blocks(&mut events, 90).await;
    validator.signal("TERM");
    assert!(validator.wait().success());

    let records = stage.records();
    let rounds = rounds(&records);
    assert!(rounds.len() > KILLS as usize, "{} rounds", rounds.len());
    assert!(
        rounds.is_sorted_by(|earlier, later| earlier < later),
        "a round was judged twice: {rounds:?}"
    );
    let head = client.head().await.unwrap().height.0;
    let hotkey = stage.wallet.hotkey_public("validator").unwrap();
    let (commits, reveals) = weights_on_ledger(&client, hotkey).await;
    let due: Vec<_> = commits
        .iter()
        .filter(|(height, _)| height + 2 * TEMPO_BLOCKS < head)
        .collect();
    assert!(due.len() > 3, "{} commits in {head} blocks", due.len());
    for (height, commit) in due {
        assert!(
            reveals.contains(commit),
            "the weights committed in block {height} were never revealed"
        );
    }
    drop(stage.miner);
    drop(stage.node);
}
