//! The bytes of the calls of evidence, for another implementation.

use agon_protocol::codec;
use agon_protocol::message::Message;

use super::super::rows::{from_hex, to_hex};
use super::*;

/// Two of six slots are picked; the report is of a receipt that the miner did not sign, the contest of a failure.
fn calls() -> (Ledger, [(&'static str, u8, Call); 4]) {
    let mut ledger = ledger();
    ledger.ok(1, set("evidence_openings", 2));
    ledger.ok(1, set("evidence_contests", 1));
    ledger.close_tempo();
    let does = |slot: u32, _| match slot {
        0..4 => Does::Asks,
        _ => Does::Fails,
    };
    let honest = Work::of(&ledger, 101, does);
    let forger = Work::of(&ledger, 102, |_, _| Does::Forges);
    ledger.transact(102, forger.commit()).unwrap();
    let before = ledger.clone();
    ledger.transact(101, honest.commit()).unwrap();
    ledger.close_tempo();
    let failed = honest.miner(4);
    let calls = [
        ("commit_evidence", 101, honest.commit()),
        ("open_evidence", 101, honest.opening(&ledger)),
        ("report_forgery", 9, forger.answer_report(3)),
        ("contest_failure", failed, honest.contest(4, failed)),
    ];
    (before, calls)
}

#[test]
fn calls_have_the_bytes_on_file_and_the_ledger_takes_those() {
    let (mut ledger, calls) = calls();
    let mut lines = String::from(
        "# name, and the call in canonical bytes; written by ledger/state, AGON_BLESS=1 rewrites it\n",
    );
    for (name, _, call) in &calls {
        lines.push_str(&format!("{name} {}\n", to_hex(&codec::encode(call))));
    }
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/data/ledger/evidence.txt"
    );
    if std::env::var_os("AGON_BLESS").is_some() {
        std::fs::write(file, &lines).unwrap();
    }
    let on_file = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        lines, on_file,
        "bytes of evidence changed; if that is meant, bless it and say so in the changelog"
    );
    for (line, (name, key, call)) in on_file.lines().skip(1).zip(calls) {
        let (found, bytes) = line.split_once(' ').unwrap();
        let read: Call = codec::decode(&from_hex(bytes), Transaction::BYTES_MAX).unwrap();
        assert_eq!((found, &read), (name, &call));
        ledger.transact(key, read).unwrap();
        if name == "commit_evidence" {
            ledger.close_tempo();
        }
    }
}
