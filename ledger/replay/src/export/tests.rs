//! Exports there and back, and each kind of damage.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use agon_protocol::message::{Certificate, Committee, Member, commit_signature};
use agon_protocol::sign::Keypair;

use super::*;
use crate::fixture::{Ledger, forge, genesis};
use crate::follow::Power;

/// Reads all of an export, states checked; gives the heights of its states and how many blocks there are.
fn read_all(path: &std::path::Path) -> Result<(Vec<u64>, usize), ExportError> {
    let mut reader = Reader::open(path)?;
    let (mut states, mut blocks) = (Vec::new(), 0);
    while let Some(part) = reader.part()? {
        match part {
            Part::State(anchor) => {
                let read = reader.state(&anchor, &mut unwatched)?;
                states.push(read.position.head.height.0);
            }
            Part::Blocks { first, last } => {
                for height in first.0..=last.0 {
                    assert_eq!(reader.block()?.block.header.height.0, height);
                    blocks += 1;
                }
            }
        }
    }
    Ok((states, blocks))
}

#[test]
fn a_state_comes_back_as_it_was_at_every_height() {
    let ledger = Ledger::of(3);
    for height in 0..=3 {
        let dir = tempfile::tempdir().unwrap();
        let path = ledger.snapshot(dir.path(), height);
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.genesis(), &genesis());
        let Some(Part::State(anchor)) = reader.part().unwrap() else {
            panic!("there is a state")
        };
        let read = reader.state(&anchor, &mut unwatched).unwrap();
        assert_eq!(read.position.head, ledger.positions[height].head);
        assert_eq!(read.position.state.root(), ledger.state(height).root());
        assert_eq!(read.power, None);
        assert_eq!(reader.part().unwrap(), None);
    }
}

#[test]
fn parts_come_in_the_order_in_which_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = Ledger::of(5).export(dir.path(), 2, 4);
    assert_eq!(read_all(&path).unwrap(), (vec![1, 4], 3));
}

#[test]
fn a_file_that_is_there_is_not_written_over_and_a_failed_export_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = Ledger::of(1).snapshot(dir.path(), 1);
    let error = Writer::create(&path, &genesis()).unwrap_err();
    assert!(matches!(error, ExportError::Exists { .. }), "{error}");
    let other = dir.path().join("other");
    let writer = Writer::create(&other, &genesis()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    drop(writer);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn whoever_watches_can_end_an_export_and_a_reading() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::of(1);
    let mut writer = Writer::create(&dir.path().join("other"), &genesis()).unwrap();
    let written = writer.state(ledger.state(1), ledger.sealed(1), &mut |_| Err(Interrupted));
    assert!(matches!(written, Err(ExportError::Interrupted(_))));
    let mut reader = Reader::open(&ledger.snapshot(dir.path(), 1)).unwrap();
    let Some(Part::State(anchor)) = reader.part().unwrap() else {
        panic!("there is a state")
    };
    let mut seen = Vec::new();
    let read = reader.state(&anchor, &mut |step| {
        seen.push(step);
        if step.done == 2 { Err(Interrupted) } else { Ok(()) }
    });
    assert!(matches!(read, Err(ExportError::Interrupted(_))));
    assert_eq!((seen.len(), seen[0].total), (2, anchor.entries));
}

/// Every byte of a small export flipped, one after the other, and every length cut: always an error, never a panic,
/// and never anything that is believed.
#[test]
fn no_flipped_byte_and_no_cut_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = Ledger::of(2).export(dir.path(), 1, 2);
    let whole = fs::read(&path).unwrap();
    let bad = dir.path().join("bad");
    fs::write(&bad, &whole).unwrap();
    let file = OpenOptions::new().write(true).open(&bad).unwrap();
    for (at, byte) in (0..).zip(&whole) {
        for flip in [0x01, 0x80] {
            file.write_all_at(&[byte ^ flip], at).unwrap();
            assert!(read_all(&bad).is_err(), "byte {at} flipped by {flip:#x}");
        }
        file.write_all_at(&[*byte], at).unwrap();
    }
    assert!(read_all(&bad).is_ok());
    for len in (0..whole.len()).rev() {
        file.set_len(len as u64).unwrap();
        assert!(read_all(&bad).is_err(), "cut to {len} bytes");
    }
}

/// An export whose checksums are right although `change` made it lie is refused with the error that `expected`
/// matches.
#[track_caller]
fn check_forged(change: impl FnMut(&mut Record), expected: impl FnOnce(&ExportError) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = Ledger::of(2).snapshot(dir.path(), 2);
    let error = read_all(&forge(&path, change).unwrap()).unwrap_err();
    assert!(expected(&error), "{error}");
}

/// Does something to the anchor.
fn anchor(change: impl Fn(&mut Anchor)) -> impl FnMut(&mut Record) {
    move |record| {
        if let Record::State(anchor) = record {
            change(anchor);
        }
    }
}

#[test]
fn a_lie_with_right_checksums_is_found() {
    let sealed = |change: fn(&mut Sealed)| anchor(move |anchor| change(anchor.sealed.as_mut().unwrap()));
    let is_anchor = |error: &ExportError| matches!(error, ExportError::Anchor { .. });
    check_forged(sealed(|it| it.header.height = BlockNumber(9)), is_anchor);
    check_forged(sealed(|it| it.header.parent = Digest([1; 32])), is_anchor);
    check_forged(sealed(|it| it.parent.as_mut().unwrap().time_ms = 7), is_anchor);
    check_forged(sealed(|it| it.parent = None), is_anchor);
    check_forged(sealed(|it| it.header.next_committee = Digest([1; 32])), is_anchor);
    check_forged(anchor(|it| it.height = BlockNumber(1)), is_anchor);
    check_forged(anchor(|it| it.sealed = None), is_anchor);
    check_forged(sealed(|it| it.header.state_root = Digest([1; 32])), |error| {
        matches!(error, ExportError::Root { .. })
    });
    check_forged(anchor(|it| it.entries -= 1), |error| {
        matches!(error, ExportError::Root { .. } | ExportError::Load { .. })
    });
    check_forged(anchor(|it| it.entries += 1), |error| {
        matches!(error, ExportError::Unexpected { .. })
    });
    check_forged(anchor(|it| it.entries = u64::MAX), |error| {
        matches!(error, ExportError::Unexpected { .. })
    });
}

#[test]
fn a_changed_entry_is_found() {
    let entry = |number: usize, change: fn(&mut Vec<u8>, &mut Vec<u8>)| {
        let mut count = 0;
        move |record: &mut Record| {
            if let Record::Entry { key, value } = record {
                if count == number {
                    change(key, value);
                }
                count += 1;
            }
        }
    };
    check_forged(entry(2, |key, _| key.clear()), |error| {
        matches!(error, ExportError::KeyOrder { .. })
    });
    check_forged(entry(2, |_, value| value.push(0)), |error| {
        matches!(error, ExportError::Load { .. })
    });
    // An account's nonce: still a state, but not that of the header.
    check_forged(entry(2, |_, value| value[1] ^= 1), |error| {
        matches!(error, ExportError::Root { .. })
    });
}

#[test]
fn bytes_behind_the_end_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = Ledger::of(1).snapshot(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"more");
    fs::write(&path, &bytes).unwrap();
    let error = read_all(&path).unwrap_err();
    assert!(matches!(error, ExportError::Extended { bytes: 4, .. }), "{error}");
    fs::write(&path, b"something else altogether").unwrap();
    let error = read_all(&path).unwrap_err().to_string();
    assert!(error.ends_with("is not a log of this program"), "{error}");
}

#[test]
fn ranges_of_blocks_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (index, (first, last)) in [(0, 3), (3, 2)].into_iter().enumerate() {
        let path = dir.path().join(index.to_string());
        let mut writer = Writer::create(&path, &genesis()).unwrap();
        writer.blocks(BlockNumber(first), BlockNumber(last)).unwrap();
        writer.finish().unwrap();
        let error = read_all(&path).unwrap_err();
        assert!(matches!(error, ExportError::Range { .. }), "{error}");
    }
}

/// The anchor of a block that a committee of three decided on, signed by `signers` of it.
fn certified(signers: &[u8]) -> Anchor {
    let pair = |number: u8| Keypair::from_mini_secret(&[number; 32]);
    let member = |number| Member {
        consensus_key: pair(number).consensus_key(),
        hotkey: pair(number + 100).hotkey(),
        power: 10,
    };
    let committee = Committee::new((1..=3).map(member).collect()).unwrap();
    let ledger = Ledger::of(2);
    let mut parent = ledger.blocks[0].block.header.clone();
    parent.next_committee = committee.digest();
    let mut header = ledger.blocks[1].block.header.clone();
    header.parent = parent.hash();
    let mut certificate = Certificate {
        height: header.height,
        round: 0,
        block: header.hash(),
        signatures: Vec::new(),
    };
    certificate.signatures = signers
        .iter()
        .map(|signer| commit_signature(&pair(*signer), &certificate, genesis().digest()))
        .collect();
    Anchor {
        height: BlockNumber(2),
        entries: 1,
        sealed: Some(Sealed {
            header,
            parent: Some(parent),
            committee,
            certificate: Some(certificate),
        }),
    }
}

#[test]
fn a_certificate_counts_only_with_the_committee_that_the_header_before_names() {
    let begin = crate::follow::Position::genesis(&genesis()).unwrap();
    let check = |anchor: &Anchor| anchor.check(&genesis(), &begin).map(|checked| checked.power);
    let power = Power {
        signed: 30,
        total: 30,
    };
    assert_eq!(check(&certified(&[1, 2, 3])).unwrap(), Some(power));
    let few = check(&certified(&[1, 2])).unwrap_err();
    assert!(matches!(few, AnchorError::Certificate(_)), "{few}");
    let mut without = certified(&[1, 2, 3]);
    without.sealed.as_mut().unwrap().certificate = None;
    assert!(matches!(check(&without), Err(AnchorError::Uncertified)));
    let mut others = certified(&[1, 2, 3]);
    others.sealed.as_mut().unwrap().committee = Committee::default();
    assert!(matches!(check(&others), Err(AnchorError::Committee { .. })));
}
