//! Audits of exports that are as they should be, and of those that are not.

use agon_protocol::codec;

use super::*;
use crate::export::{Record, unwatched};
use crate::fixture::{Ledger, coldkey, forge, genesis};

fn run(path: &Path, terms: &Terms) -> Result<Report, AuditError> {
    audit(path, terms, &mut unwatched)
}

/// The verdict on an export of blocks 2 to 4 that `change` made lie.
fn forged(change: impl FnMut(&mut Record)) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let path = Ledger::of(5).export(dir.path(), 2, 4);
    run(&forge(&path, change).unwrap(), &Terms::default()).unwrap()
}

#[test]
fn an_honest_export_is_equal() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::of(5);
    let path = ledger.export(dir.path(), 2, 4);
    let report = run(&path, &Terms::default()).unwrap();
    assert!(report.equal);
    assert_eq!(
        (
            report.start.height,
            report.end.height,
            report.blocks,
            report.transactions
        ),
        (1, 4, 3, 3)
    );
    assert_eq!(report.end.hash, ledger.hash(4).to_string());
    assert_eq!(
        report.entries_compared,
        Some(ledger.state(4).entries().count() as u64)
    );
    assert_eq!(
        (report.certificates, report.trusted, report.difference),
        (None, None, None)
    );
}

#[test]
fn an_export_from_the_first_block_needs_no_state() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::of(2);
    let path = dir.path().join("export");
    let mut writer = crate::export::Writer::create(&path, &genesis()).unwrap();
    writer.blocks(BlockNumber(1), BlockNumber(2)).unwrap();
    for block in &ledger.blocks {
        writer.block(block.clone()).unwrap();
    }
    writer.finish().unwrap();
    let report = run(&path, &Terms::default()).unwrap();
    assert!(report.equal);
    assert_eq!((report.blocks, report.entries_compared), (2, None));
}

#[test]
fn the_hash_that_is_trusted_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::of(5);
    let path = ledger.export(dir.path(), 2, 4);
    for (height, is_seen) in [(0, false), (1, true), (3, true), (4, true), (5, false)] {
        let terms = Terms {
            trust: Some(ledger.hash(height)),
            ..Terms::default()
        };
        assert_eq!(
            run(&path, &terms).unwrap().trusted,
            Some(is_seen),
            "block {height}"
        );
    }
}

#[test]
fn what_was_asked_for_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::of(5);
    let path = ledger.export(dir.path(), 2, 4);
    let asked = |blocks| Terms {
        blocks: Some(blocks),
        ..Terms::default()
    };
    assert!(run(&path, &asked(2..=4)).unwrap().equal);
    let error = run(&path, &asked(1..=4)).unwrap_err();
    assert!(matches!(error, AuditError::OtherBlocks { .. }), "{error}");
    let error = run(&ledger.snapshot(dir.path(), 3), &Terms::default()).unwrap_err();
    assert!(matches!(error, AuditError::NoBlocks), "{error}");
}

#[test]
fn a_changed_entry_of_the_last_state_is_named_with_both_values() {
    let mut states = 0;
    let account = codec::encode(&coldkey(2)).split_off(1);
    let report = forged(move |record| match record {
        Record::State(_) => states += 1,
        Record::Entry { key, value } if states == 2 && key.ends_with(&account) => value[1] ^= 0x40,
        _ => {}
    });
    let difference = report.difference.unwrap();
    assert!(!report.equal);
    assert_eq!(difference.height, 4);
    let entry = difference.entry.unwrap();
    assert_eq!(entry.entry, format!("account {}", coldkey(2)));
    let (replayed, exported) = (entry.replayed.unwrap(), entry.exported.unwrap());
    assert!(
        replayed.contains("nonce: 0") && exported.contains("nonce: 64"),
        "{replayed} {exported}"
    );
}

#[test]
fn an_entry_that_is_missing_or_too_many_is_named() {
    let mut states = 0;
    let report = forged(move |record| match record {
        Record::State(anchor) => {
            states += 1;
            if states == 2 {
                anchor.entries += 1;
            }
        }
        // Out of the way, so that it comes last: read as one more entry.
        Record::End { .. } => {
            *record = Record::Entry {
                key: vec![0xff],
                value: vec![1],
            }
        }
        _ => {}
    });
    let entry = report.difference.unwrap().entry.unwrap();
    assert_eq!(
        (entry.entry.as_str(), entry.replayed, entry.exported.as_deref()),
        ("entry ff", None, Some("01"))
    );
}

#[test]
fn a_changed_first_state_is_no_ground_to_stand_on() {
    let mut states = 0;
    let report = forged(move |record| match record {
        Record::State(_) => states += 1,
        Record::Entry { value, .. } if states == 1 => value[1] ^= 1,
        _ => {}
    });
    let difference = report.difference.unwrap();
    assert_eq!((report.equal, difference.height, report.blocks), (false, 1, 0));
}

#[test]
fn a_block_whose_root_is_another_is_named_and_the_entries_are_compared_all_the_same() {
    let report = forged(|record| {
        if let Record::Block(block) = record
            && block.block.header.height == BlockNumber(3)
        {
            block.block.header.state_root = Digest([7; 32]);
        }
    });
    let difference = report.difference.unwrap();
    assert_eq!(
        (report.equal, report.end.height, difference.height),
        (false, 2, 3)
    );
    assert!(difference.reason.contains("state root"), "{}", difference.reason);
    assert!(report.entries_compared.is_some());
}

#[test]
fn a_ledger_that_changed_an_entry_without_a_transaction_is_found_out() {
    let mut ledger = Ledger::of(3);
    ledger.lie(coldkey(2));
    ledger.go_on(2);
    let dir = tempfile::tempdir().unwrap();
    let report = run(&ledger.export(dir.path(), 2, 5), &Terms::default()).unwrap();
    let difference = report.difference.unwrap();
    assert_eq!((report.end.height, difference.height), (2, 3));
    let entry = difference.entry.unwrap();
    assert_eq!(
        (entry.height, entry.entry),
        (5, format!("account {}", coldkey(2)))
    );
    assert!(entry.exported.unwrap().contains("nonce: 1"));
}

#[test]
fn a_changed_transaction_is_named_by_its_block() {
    let report = forged(|record| {
        if let Record::Block(block) = record
            && block.block.header.height == BlockNumber(4)
        {
            block.block.transactions.clear();
        }
    });
    let difference = report.difference.unwrap();
    assert_eq!((difference.height, difference.entry), (4, None));
    assert!(
        difference.reason.contains("transactions"),
        "{}",
        difference.reason
    );
}

#[test]
fn long_values_are_cut_to_where_they_differ() {
    let (a, b) = (
        format!("{}x{}", "a".repeat(900), "a".repeat(900)),
        "a".repeat(1_801),
    );
    let (shown_a, shown_b) = around_first_difference(&a, &b);
    assert!(shown_a.contains('x') && !shown_b.contains('x'));
    assert_eq!(
        (shown_a.len(), shown_a.starts_with("..aa")),
        (SHOWN_CHARS + 4, true)
    );
}
