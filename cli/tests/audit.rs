//! `agon audit` as an auditor sees it: the real binary, a node in this process, exports of its folder.

#![expect(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agon_ledger_client::LedgerClient;
use agon_ledger_node::folder::Folder;
use agon_ledger_node::snapshot::export::{Wanted, export};
use agon_ledger_node::{Config, Storage};
use agon_ledger_replay::export::{Part, Reader, Writer, unwatched};
use agon_protocol::amount::Amount;
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Genesis, Preset};
use agon_runtime::{Clock, Net, Shutdown};
use serde_json::Value;

const BLOCKS: u64 = 4;

/// A folder of a ledger that made a few blocks, and what `agon audit --from 1 --to 4` said while its node ran.
fn ledger(dir: &Path) -> (Folder, Output) {
    let folder = Folder::new(dir.join("ledger"));
    let genesis = Genesis {
        name: "test".into(),
        preset: Preset::Localnet,
        time_ms: 1,
        block_emission: Amount::from_units(1).unwrap(),
        committee: Vec::new(),
        beacon: None,
        accounts: Vec::new(),
    };
    folder.begin(&genesis).unwrap();
    let config = Config {
        storage: Storage::Disk(folder.clone()),
        listen: "127.0.0.1:0".parse().unwrap(),
        block_ms: 10,
        peers: None,
        axons: agon_ledger_node::axons::Addresses::Public,
        pulses: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let said = runtime.block_on(async {
        let shutdown = Shutdown::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let ready = move |address| tell.send(address).unwrap();
        let run = agon_ledger_node::run(config, Net::tcp(), Clock::system(), shutdown.clone(), ready);
        let node = tokio::spawn(run);
        let uri = format!("http://{}", told.await.unwrap());
        let client = LedgerClient::new(&Net::tcp(), &uri).unwrap();
        while client.head().await.unwrap().height < BlockNumber(BLOCKS) {
            tokio::task::yield_now().await;
        }
        let said = tokio::task::spawn_blocking(move || {
            agon(&["audit", "--from", "1", "--to", "4", "--ledger", &uri, "--json"])
        });
        let said = said.await.unwrap();
        shutdown.request();
        node.await.unwrap().unwrap();
        said
    });
    (folder, said)
}

fn agon(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(args)
        .output()
        .unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"))
}

fn exported(folder: &Folder) -> PathBuf {
    let path = folder.dir().with_file_name("audit.export");
    export(folder, &Wanted::Blocks(2..=BLOCKS), &path, &mut unwatched).unwrap();
    path
}

#[test]
fn an_honest_ledger_is_equal_from_an_export_and_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, online) = ledger(dir.path());
    let report = json(&online);
    assert_eq!(
        (online.status.code(), report["equal"].as_bool()),
        (Some(0), Some(true))
    );
    assert_eq!(
        (report["blocks"].as_u64(), report["end"]["height"].as_u64()),
        (Some(4), Some(4))
    );
    assert!(report["entries_compared"].as_u64() > Some(0));
    let hash = report["end"]["hash"].as_str().unwrap();

    let path = exported(&folder);
    let path = path.to_str().unwrap();
    let offline = agon(&["audit", "--export", path, "--trust", hash, "--json"]);
    let report = json(&offline);
    assert_eq!(
        (offline.status.code(), report["trusted"].as_bool()),
        (Some(0), Some(true))
    );
    let text = String::from_utf8(agon(&["audit", "--export", path]).stdout).unwrap();
    assert!(
        text.contains("equal        3 blocks") && text.contains(hash),
        "{text}"
    );
    let other = agon(&["audit", "--export", path, "--trust", &"07".repeat(32)]);
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn a_forged_export_ends_with_1_and_names_the_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = ledger(dir.path());
    let path = exported(&folder);
    let forged = dir.path().join("forged");
    let mut reader = Reader::open(&path).unwrap();
    let mut writer = Writer::create(&forged, reader.genesis()).unwrap();
    while let Some(part) = reader.part().unwrap() {
        match part {
            Part::Blocks { first, last } => {
                writer.blocks(first, last).unwrap();
                for _ in first.0..=last.0 {
                    writer.block(reader.block().unwrap()).unwrap();
                }
            }
            Part::State(anchor) => {
                let (is_last, entries) = (anchor.height.0 == BLOCKS, anchor.entries);
                writer.anchor(anchor).unwrap();
                for index in 0..entries {
                    let (key, mut value) = reader.entry().unwrap();
                    if is_last && index == 1 {
                        *value.last_mut().unwrap() ^= 1;
                    }
                    writer.entry(key, value).unwrap();
                }
            }
        }
    }
    writer.finish().unwrap();
    let output = agon(&["audit", "--export", forged.to_str().unwrap(), "--json"]);
    let report = json(&output);
    assert_eq!(
        (output.status.code(), report["equal"].as_bool()),
        (Some(1), Some(false))
    );
    assert_eq!(report["difference"]["entry"]["entry"], "progress of the ledger");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("not equal: block 4 differs"), "{stderr}");

    let missing = agon(&["audit", "--export", dir.path().join("none").to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(1));
}
