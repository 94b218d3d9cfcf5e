//! Known attacks in a running subnet: what they earn beside the honest, and what anyone finds out about them later.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agon_tests::process::{binaries, binary};
use serde_json::Value;

use crate::localnet::{TEST_MINER, assert_nothing_left, event, localnet};

/// Most of an honest validator's income for each unit of stake that copying may bring.
const COPIER_RATIO_MAX: f64 = 0.02;

/// A run that is over: its summary, its folder, and a third folder that has nothing of it yet.
struct Played {
    summary: Value,
    net: PathBuf,
    third: PathBuf,
}

impl Played {
    /// Plays two tempos with these attacks.
    fn with(dir: &Path, attacks: &str) -> Self {
        let flags = [
            "--with",
            attacks,
            "--miners",
            "3",
            "--validators",
            "2",
            "--tempos",
            "2",
        ];
        let mut localnet = localnet(dir, &flags);
        let lines = localnet.rest();
        let status = localnet.wait();
        let log = std::fs::read_to_string(dir.join("localnet.log")).unwrap();
        assert!(status.success(), "{status}\n{log}");
        assert_nothing_left(dir);
        let third = dir.join("third");
        std::fs::create_dir(&third).unwrap();
        Self {
            summary: event(lines.last().expect("a summary")),
            net: dir.join("net"),
            third,
        }
    }

    /// What the validators or the miners of an attack earned.
    #[track_caller]
    fn income(&self, attack: &str, role: &str) -> &Value {
        let mut incomes = self.summary["attacks"].as_array().unwrap().iter();
        let income =
            incomes.find(|income| (&income["attack"], &income["role"]) == (&attack.into(), &role.into()));
        income.unwrap_or_else(|| panic!("{attack} {role} in {}", self.summary["attacks"]))
    }

    /// What was found of the validators whose name begins so.
    fn audits(&self, name: &str) -> Vec<&Value> {
        let audits = self.summary["audits"].as_array().unwrap().iter();
        let is_so = |audit: &&Value| audit["name"].as_str().is_some_and(|it| it.starts_with(name));
        let audits: Vec<&Value> = audits.filter(is_so).collect();
        assert!(!audits.is_empty(), "no {name} in {}", self.summary["audits"]);
        audits
    }

    /// Takes the ledger's blocks to the third folder.
    fn export(&self) {
        let last = self.summary["verify"]["height"]
            .as_u64()
            .expect("the newest block");
        let mut export = Command::new(binary(&binaries(TEST_MINER), "agon-node"));
        export.args(["export", "--blocks", &format!("1..{last}"), "--dir"]);
        let done = export
            .arg(self.net.join("node"))
            .arg("--out")
            .arg(self.third.join("audit.export"));
        check_success(&done.output().unwrap());
    }

    /// Takes a validator's evidence of a tempo to the third folder and audits it there, from files alone.
    fn audit(&self, audit: &Value, tempo: u64) -> (bool, Value) {
        let name = audit["name"].as_str().unwrap();
        let kept = self.net.join(name).join("bundles").join(tempo.to_string());
        let file = format!("{name}.bundle");
        std::fs::copy(kept, self.third.join(&file)).unwrap();
        let mut command = Command::new(binary(&binaries(TEST_MINER), "agon"));
        command.current_dir(&self.third);
        command.args(["audit", "--json", "--export", "audit.export", "--bundle", &file]);
        // Nobody listens there: a ledger that is asked all the same would be noticed.
        command.args([
            "--netuid",
            "1",
            "--ledger",
            "http://127.0.0.1:1",
            "--tempo",
            &tempo.to_string(),
        ]);
        let output = command
            .args(["--validator", audit["hotkey"].as_str().unwrap()])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let verdict = told.lines().last().map(event);
        let verdict = verdict.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.success(), verdict["validators"][0].clone())
    }
}

#[track_caller]
fn check_success(output: &Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn copying_earns_nothing_and_who_forges_is_named_by_anyone_with_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let played = Played::with(dir.path(), "copier,cabal");

    let copier = played.income("copier", "validator");
    assert!(copier["honest"].as_f64().unwrap() > 0.0, "{copier}");
    assert!(copier["ratio"].as_f64().unwrap() <= COPIER_RATIO_MAX, "{copier}");
    assert_eq!(played.audits("copier")[0]["verdict"], "no evidence");

    played.export();
    let forgers = played.audits("cabal-validator");
    for audit in &forgers {
        assert_eq!(audit["verdict"], "not equal", "{audit}");
        let line = &audit["false_line"];
        assert_eq!(line["forgery"], "judgement", "{line}");
        assert_eq!(line["found"], "1000000 ppm", "{line}");
        let (is_equal, verdict) = played.audit(audit, line["tempo"].as_u64().unwrap());
        assert!(!is_equal);
        for field in ["line", "found", "expected", "forgery"] {
            assert_eq!(verdict[field], line[field], "{verdict}");
        }
    }
    assert!(
        forgers
            .iter()
            .any(|audit| !audit["forged"].as_array().unwrap().is_empty()),
        "no honest validator reported a forgery: {forgers:#?}"
    );
    let tempo = forgers[0]["false_line"]["tempo"].as_u64().unwrap();
    for audit in played.audits("validator") {
        assert_eq!(audit["verdict"], "equal", "{audit}");
        let (is_equal, verdict) = played.audit(audit, tempo);
        assert!(is_equal, "{verdict}");
        assert_eq!(verdict["verdict"], "equal");
    }
}
