//! The commands as programs see them: the real binary against a ledger in this process, exit codes and JSON.

#![expect(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use agon_ledger_node::{Config, Memory, Storage};
use agon_protocol::amount::Amount;
use agon_protocol::id::Coldkey;
use agon_protocol::message::{Genesis, GenesisAccount, Preset};
use agon_runtime::{Clock, Net, Shutdown};
use serde_json::Value;

/// Runs the tool in a folder of wallets of its own, against a ledger that nobody has to find on a fixed port.
struct Desk {
    dir: tempfile::TempDir,
    ledger: Option<Ledger>,
}

struct Ledger {
    address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    fn start(accounts: Vec<GenesisAccount>) -> Self {
        let genesis = Genesis {
            name: "test".into(),
            preset: Preset::Localnet,
            time_ms: 1,
            block_emission: Amount::from_units(1).unwrap(),
            committee: Vec::new(),
            beacon: None,
            accounts,
        };
        let shutdown = Shutdown::new();
        let (told, address) = mpsc::channel();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let config = Config {
                storage: Storage::Memory(Memory::new(genesis)),
                listen: "127.0.0.1:0".parse().unwrap(),
                block_ms: 20,
                peers: None,
                axons: agon_ledger_node::axons::Addresses::Loopback,
                pulses: None,
            };
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            let ready = move |address| told.send(address).unwrap();
            let run = agon_ledger_node::run(config, Net::tcp(), Clock::system(), stop, ready);
            runtime.block_on(run).unwrap();
        });
        Self {
            address: address.recv().unwrap(),
            shutdown,
            thread: Some(thread),
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shutdown.request();
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || joined.is_none_or(|joined| joined.is_ok()));
    }
}

impl Desk {
    fn without_ledger() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            ledger: None,
        }
    }

    /// With wallets `rich`, which holds 1000 units, and `poor`.
    fn with_ledger() -> Self {
        let mut desk = Self::without_ledger();
        let accounts = ["rich", "poor"].map(|name| {
            desk.json(&["wallet", "create", "--wallet", name, "--unprotected"]);
            let amount = if name == "rich" { 1_000 } else { 0 };
            GenesisAccount {
                coldkey: desk.coldkey(name),
                amount: Amount::from_units(amount).unwrap(),
            }
        });
        desk.ledger = Some(Ledger::start(accounts.into()));
        desk
    }

    fn run(&self, args: &[&str]) -> Output {
        let address = self
            .ledger
            .as_ref()
            .map_or("127.0.0.1:1".to_owned(), |ledger| ledger.address.to_string());
        Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(args)
            .env("AGON_WALLETS", self.wallets())
            .env("AGON_LEDGER", address)
            .env_remove("AGON_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn wallets(&self) -> PathBuf {
        self.dir.path().join("wallets")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Checks the exit code, and that the words on standard error say `words`.
    #[track_caller]
    fn check_fails(&self, args: &[&str], code: i32, words: &str) {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }

    #[track_caller]
    fn coldkey(&self, wallet: &str) -> Coldkey {
        self.json(&["wallet", "show", "--wallet", wallet])["coldkey"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    }

    #[track_caller]
    fn free(&self, wallet: &str) -> u64 {
        self.json(&["balance", "--wallet", wallet])["free"]
            .as_u64()
            .unwrap()
    }
}

#[test]
fn a_transfer_moves_what_a_dry_run_announced() {
    let desk = Desk::with_ledger();
    let to = desk.coldkey("poor").to_string();
    let transfer = ["transfer", "--wallet", "rich", "--to", &to, "--amount", "1.5"];
    let announced = desk.json(&[&transfer[..], &["--dry-run"]].concat());
    assert_eq!(
        (&announced["dry_run"], &announced["height"]),
        (&true.into(), &Value::Null)
    );
    assert_eq!(desk.free("poor"), 0);
    let moved = desk.json(&[&transfer[..], &["--yes"]].concat());
    assert_eq!(moved["effects"], announced["effects"]);
    assert_eq!(desk.free("poor"), 1_500_000_000);
}

#[test]
fn nothing_is_spent_unless_somebody_says_yes() {
    let desk = Desk::with_ledger();
    let to = desk.coldkey("poor").to_string();
    desk.check_fails(
        &["transfer", "--wallet", "rich", "--to", &to, "--amount", "1"],
        2,
        "--yes",
    );
    assert_eq!(desk.free("poor"), 0);
}

#[test]
fn a_refusal_a_missing_ledger_and_a_missing_wallet_have_codes_of_their_own() {
    let desk = Desk::with_ledger();
    let to = desk.coldkey("rich").to_string();
    desk.check_fails(
        &[
            "transfer", "--wallet", "poor", "--to", &to, "--amount", "1", "--yes",
        ],
        3,
        "balance",
    );
    desk.check_fails(&["balance", "--wallet", "nobody"], 1, "agon wallet create");
    desk.check_fails(&["metagraph", "--netuid", "7"], 1, "no subnet 7");
    let away = Desk::without_ledger();
    away.check_fails(&["balance", &to], 4, "agon-node");
}

#[test]
fn an_owner_goes_from_a_subnet_to_stake_on_a_uid() {
    let desk = Desk::with_ledger();
    desk.check_fails(
        &[
            "subnet", "create", "--wallet", "rich", "--task", "redaing", "--yes",
        ],
        2,
        "reading",
    );
    desk.json(&[
        "subnet", "create", "--wallet", "rich", "--task", "reading", "--yes",
    ]);
    desk.json(&["subnet", "start", "--wallet", "rich", "--netuid", "1"]);
    desk.json(&[
        "subnet",
        "set",
        "--wallet",
        "rich",
        "--netuid",
        "1",
        "immunity_blocks=100",
    ]);
    desk.json(&["register", "--wallet", "rich", "--netuid", "1", "--yes"]);
    desk.json(&[
        "stake", "add", "--wallet", "rich", "--netuid", "1", "--amount", "50", "--yes",
    ]);
    let subnets = desk.json(&["subnet", "list"]);
    assert_eq!(
        (&subnets[0]["started"], &subnets[0]["neuron_count"]),
        (&true.into(), &1.into())
    );
    let metagraph = desk.json(&["metagraph", "--netuid", "1"]);
    assert_eq!(metagraph["neurons"][0]["stake"], 50_000_000_000u64);
    let chosen = [
        "metagraph",
        "--netuid",
        "1",
        "--columns",
        "uid,stake",
        "--changes-since",
    ];
    let changed = desk.json(
        &[
            &chosen[..],
            &[&(metagraph["height"].as_u64().unwrap() - 1).to_string()],
        ]
        .concat(),
    );
    assert!(changed["changes_since"].is_u64());
    assert!(changed["neurons"].as_array().unwrap().len() <= 1);
    desk.check_fails(
        &[&chosen[..], &["99999999"]].concat(),
        1,
        "there is no block 99999999",
    );
    desk.json(&[
        "stake", "remove", "--wallet", "rich", "--netuid", "1", "--amount", "all", "--yes",
    ]);
    let stakes = &desk.json(&["stake", "show", "--wallet", "rich"])["stakes"];
    assert_eq!(stakes, &Value::Array(Vec::new()));
}

#[test]
fn a_call_in_json_does_what_a_command_does() {
    let desk = Desk::with_ledger();
    let call = format!(
        "{{\"transfer\": {{\"to\": \"{}\", \"amount\": \"1.5\"}}}}",
        desk.coldkey("poor")
    );
    let tx = ["tx", "--wallet", "rich", "--call", &call];
    let announced = desk.json(&[&tx[..], &["--dry-run"]].concat());
    assert_eq!(
        (&announced["call"], &announced["nonce"]),
        (&"transfer".into(), &0.into())
    );
    assert_eq!(announced["payer"], desk.coldkey("rich").to_string());
    let fee = announced["fee"].as_u64().unwrap();
    let before = desk.free("rich");
    let done = desk.json(&[&tx[..], &["--yes"]].concat());
    assert_eq!(done["effects"], announced["effects"]);
    assert_eq!(desk.free("rich"), before - 1_500_000_000 - fee);
    desk.check_fails(&["tx", "--call", "{\"pay\": {}}"], 2, "one of `transfer`");
    let calls = desk.json(&["tx", "--calls"]);
    assert!(calls.as_array().unwrap().len() > 15);
}

#[test]
fn a_dry_run_tells_programs_a_refusal_in_the_words_of_the_ledger() {
    let desk = Desk::with_ledger();
    let to = desk.coldkey("rich").to_string();
    let transfer = ["transfer", "--wallet", "poor", "--to", &to, "--amount", "1"];
    let dry = desk.run(&[&transfer[..], &["--dry-run", "--json"]].concat());
    assert_eq!(dry.status.code(), Some(3));
    let said: Value = serde_json::from_slice(&dry.stdout).unwrap();
    let message = said["refusal"]["message"].as_str().unwrap();
    desk.check_fails(&[&transfer[..], &["--yes"]].concat(), 3, message);
    desk.check_fails(&[&transfer[..], &["--dry-run"]].concat(), 3, message);
}

#[test]
fn an_owner_reads_what_was_announced_who_is_at_risk_and_what_an_end_would_do() {
    let desk = Desk::with_ledger();
    let owner = ["--wallet", "rich"];
    desk.json(&[&["subnet", "create", "--task", "reading", "--yes"][..], &owner].concat());
    let subnet = ["--netuid", "1"];
    desk.json(&[&["register", "--yes"][..], &owner, &subnet].concat());
    desk.json(&[&["subnet", "set", "immunity_blocks=100"][..], &owner, &subnet].concat());
    let rows = desk.json(&[&["subnet", "params"][..], &subnet].concat());
    let rows = rows.as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "immunity_blocks").unwrap();
    let value = |of: &str| row[of].as_u64().unwrap();
    assert!(value("min") <= value("value") && value("value") <= value("max"));
    assert!(row["announced"]["value"] == 100 || row["value"] == 100, "{row}");
    assert!(
        rows.iter()
            .any(|row| row["of"] == "network" && row["name"] == "fee_per_byte")
    );
    let at_risk = desk.json(&[&["metagraph", "--at-risk"][..], &subnet].concat());
    assert_eq!(at_risk["free_uids"], 255);
    let end = desk.json(&[&["subnet", "dissolve", "--dry-run"][..], &owner, &subnet].concat());
    assert_eq!(end["call"], "dissolve_subnet");
}

#[test]
fn stake_moves_between_hotkeys_and_keys_are_swapped() {
    let desk = Desk::with_ledger();
    let owner = ["--wallet", "rich"];
    let run = |args: &[&str]| desk.json(&[args, &owner].concat());
    run(&["wallet", "hotkey", "--hotkey", "second"]);
    run(&["wallet", "hotkey", "--hotkey", "third"]);
    run(&["subnet", "create", "--task", "reading", "--yes"]);
    run(&["register", "--netuid", "1", "--yes"]);
    run(&["register", "--netuid", "1", "--hotkey", "second", "--yes"]);
    run(&["stake", "add", "--netuid", "1", "--amount", "50", "--yes"]);
    run(&[
        "stake",
        "move",
        "--netuid",
        "1",
        "--to-hotkey",
        "second",
        "--amount",
        "20",
        "--yes",
    ]);
    run(&["stake", "take", "--hotkey", "second", "--percent", "12.5"]);
    let neurons = &desk.json(&["metagraph", "--netuid", "1"])["neurons"];
    assert_eq!(neurons[1]["stake"], 20_000_000_000u64);
    run(&[
        "wallet",
        "swap-hotkey",
        "--hotkey",
        "second",
        "--new-hotkey",
        "third",
        "--yes",
    ]);
    let swapped = &desk.json(&["metagraph", "--netuid", "1"])["neurons"];
    assert_ne!(swapped[1]["hotkey"], neurons[1]["hotkey"]);
    assert_eq!(swapped[1]["stake"], neurons[1]["stake"]);
    let to = desk.coldkey("poor").to_string();
    run(&[
        "wallet",
        "swap-coldkey",
        "announce",
        "--new-coldkey",
        &to,
        "--yes",
    ]);
    run(&["wallet", "swap-coldkey", "dispute", "--yes"]);
    assert_eq!(
        desk.json(&["committee", "list"])["seats"],
        Value::Array(Vec::new())
    );
}

#[test]
fn an_epoch_is_explained_to_the_base_unit() {
    let desk = Desk::with_ledger();
    desk.json(&[
        "subnet", "create", "--wallet", "rich", "--task", "reading", "--yes",
    ]);
    desk.json(&["subnet", "start", "--wallet", "rich", "--netuid", "1"]);
    desk.json(&["register", "--wallet", "rich", "--netuid", "1", "--yes"]);
    desk.json(&[
        "stake", "add", "--wallet", "rich", "--netuid", "1", "--amount", "50", "--yes",
    ]);
    // The newest epoch is explained as soon as one has run; until then the tool says when it will.
    let explained = loop {
        let output = desk.run(&["explain", "--netuid", "1", "--uid", "0", "--json"]);
        if output.status.success() {
            break serde_json::from_slice::<Value>(&output.stdout).unwrap();
        }
        assert!(String::from_utf8_lossy(&output.stderr).contains("no epoch"));
    };
    let emission = &explained["emission"];
    let sum = |parts: &[&str]| {
        let parts = parts.iter().map(|part| emission[part].as_u64().unwrap());
        parts.sum::<u64>()
    };
    assert_eq!(
        sum(&["owner_cut", "miners_half", "validators_half"]),
        sum(&["created", "held_before"])
    );
    assert_eq!(explained["recomputed"]["equal"], true);
    let paid = desk.json(&["metagraph", "--netuid", "1"])["neurons"][0]["earned"]
        .as_u64()
        .unwrap();
    assert!(explained["paid"].as_u64().unwrap() <= paid);
    desk.check_fails(&["explain", "--netuid", "1", "--uid", "9"], 1, "none is 9");
}

/// Compares every field that a golden file has; large ones lack some of the values between the steps.
#[track_caller]
fn check_epoch(found: &Value, expected: &Value, path: &Path) {
    for (field, value) in expected.as_object().unwrap() {
        if field == "fixed32" {
            check_epoch(&found[field], value, path);
        } else {
            assert!(found[field] == *value, "{}: {field} differs", path.display());
        }
    }
}

#[test]
fn epochs_of_golden_files_come_out_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/yuma");
    let desk = Desk::without_ledger();
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let Some(epochs) = case["epochs"].as_array() else {
            continue;
        };
        let report = desk.json(&["epoch", "--trace", path.to_str().unwrap()]);
        for (index, epoch) in epochs.iter().enumerate() {
            check_epoch(&report["epochs"][index], &epoch["expected"], &path);
        }
        cases += 1;
    }
    assert!(cases > 0, "there are golden files");
}

#[test]
fn a_text_is_signed_and_the_signature_holds_for_it_alone() {
    let desk = Desk::without_ledger();
    desk.json(&["wallet", "create", "--wallet", "mine", "--unprotected"]);
    let signed = desk.json(&["wallet", "sign", "--wallet", "mine", "it is me"]);
    let (address, signature) = (
        signed["address"].as_str().unwrap(),
        signed["signature"].as_str().unwrap(),
    );
    let verify = ["wallet", "verify", "--address", address, "--signature", signature];
    assert_eq!(desk.json(&[&verify[..], &["it is me"]].concat())["valid"], true);
    desk.check_fails(&[&verify[..], &["it is you"]].concat(), 1, "signature");
}

#[test]
fn words_bring_a_key_back_and_never_replace_one_unasked() {
    let desk = Desk::without_ledger();
    let made = desk.json(&["wallet", "create", "--wallet", "one", "--unprotected"]);
    let words = desk.dir.path().join("words");
    std::fs::write(&words, made["keys"][0]["words"].as_str().unwrap()).unwrap();
    let again = [
        "wallet",
        "regenerate",
        "--unprotected",
        "--words-file",
        words.to_str().unwrap(),
        "--wallet",
    ];
    desk.json(&[&again[..], &["two"]].concat());
    assert_eq!(desk.coldkey("two"), desk.coldkey("one"));
    desk.check_fails(&[&again[..], &["two"]].concat(), 1, "already exists");
}

#[test]
fn a_row_is_checked_without_trusting_the_node() {
    let desk = Desk::with_ledger();
    let (rich, poor) = (desk.coldkey("rich").to_string(), desk.coldkey("poor").to_string());
    // Two, one after the other, so that there is a block before the newest one.
    for amount in ["0.5", "1"] {
        desk.json(&[
            "transfer", "--wallet", "rich", "--to", &poor, "--amount", amount, "--yes",
        ]);
    }
    // A genesis that is not this ledger's is told with the one that is.
    let nobody = "00".repeat(32);
    let refused = desk.run(&["verify", "--light", "--trust", &nobody, "account", &rich]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    let genesis = stderr.split("has genesis ").nth(1).unwrap()[..64].to_owned();

    let verify = ["verify", "--light", "--trust", &genesis];
    let shown = desk.json(&[&verify[..], &["account", &poor]].concat());
    assert_eq!(shown["row"]["free"], 1_500_000_000);
    assert_eq!(
        (&shown["finality"], &shown["told_from"]),
        (&"told".into(), &1.into())
    );
    assert_eq!(shown["row"]["address"], poor);
    let (height, hash) = (shown["height"].as_u64().unwrap(), shown["hash"].as_str().unwrap());

    let block = format!("{height}:{hash}");
    let later = ["verify", "--light", "--trust", &block];
    let shown = desk.json(&[&later[..], &["--height", &height.to_string(), "neuron", "1", "3"]].concat());
    assert_eq!(
        (&shown["row"], &shown["finality"]),
        (&Value::Null, &"trusted".into())
    );
    let output = desk.run(&[&later[..], &["subnet", "1"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("the ledger has no subnet 1"), "{text}");

    let other = format!("{height}:{nobody}");
    desk.check_fails(
        &["verify", "--light", "--trust", &other, "subnet", "1"],
        1,
        "the trusted one is",
    );
    desk.check_fails(
        &[&later[..], &["--height", "1", "subnet", "1"]].concat(),
        1,
        "is before the trusted block",
    );
    desk.check_fails(
        &["verify", "--light", "--trust", "12", "subnet", "1"],
        2,
        "HEIGHT:HASH",
    );
}

#[test]
fn a_password_that_cannot_be_asked_for_is_named() {
    let desk = Desk::without_ledger();
    desk.check_fails(&["wallet", "create"], 1, "AGON_PASSWORD");
}

#[test]
fn keys_go_to_other_wallets_and_come_back() {
    let desk = Desk::without_ledger();
    desk.json(&["wallet", "create", "--wallet", "one", "--unprotected"]);
    let file = desk.dir.path().join("key");
    let file = file.to_str().unwrap();
    let export = [
        "wallet", "export", "--wallet", "one", "--form", "plain", "--to", file,
    ];
    let exported = desk.json(&export);
    assert_eq!(exported["address"], desk.coldkey("one").to_string());
    desk.check_fails(&export, 1, "already exists");
    let import = ["wallet", "import", "--file", file, "--wallet"];
    desk.json(&[&import[..], &["two", "--unprotected"]].concat());
    assert_eq!(desk.coldkey("two"), desk.coldkey("one"));
    let hotkey = desk.json(&[&import[..], &["two", "--hotkey", "same"]].concat());
    assert_eq!(hotkey["keys"][0]["address"], exported["address"]);
    desk.check_fails(
        &[&import[..], &["two", "--unprotected"]].concat(),
        1,
        "already exists",
    );
    desk.check_fails(&[&import[..], &["three"]].concat(), 1, "AGON_PASSWORD");
}

#[test]
fn files_that_cannot_be_imported_are_named_with_the_way_out() {
    let desk = Desk::without_ledger();
    let file = desk.dir.path().join("key");
    let import = [
        "wallet",
        "import",
        "--wallet",
        "one",
        "--file",
        file.to_str().unwrap(),
    ];
    desk.check_fails(&import, 1, "does not exist");
    for (bytes, words) in [
        ("$ANSIBLE_VAULT;1.1;AES256\n61", "Ansible Vault"),
        ("gAAAAABk", "agon wallet regenerate"),
        ("{\"secretSeed\":\"0x12\"}", "secretSeed"),
        ("not a key", "line 1"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        desk.check_fails(&import, 1, words);
    }
    // Nothing of it was derived: a file that is too short is known for one before.
    std::fs::write(&file, "$NACLshort").unwrap();
    let password = desk.dir.path().join("password");
    std::fs::write(&password, "long enough").unwrap();
    let flags = ["--file-password-file", password.to_str().unwrap()];
    desk.check_fails(&[&import[..], &flags].concat(), 1, "damaged");
}

#[test]
fn a_missing_log_of_evidence_is_named() {
    let desk = Desk::without_ledger();
    let dir = desk.dir.path().join("nothing");
    desk.check_fails(
        &["evidence", "show", "--dir", dir.to_str().unwrap()],
        1,
        "evidence.log",
    );
}
