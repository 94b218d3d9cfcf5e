//! Heights that have an answer and those that have none; headers page by page.

use agon_protocol::light::{Finality, LightChain};
use agon_protocol::message::{Certificate, Committee, Header, Member, commit_signature};

use super::*;
use crate::clerk::Clerk;
use crate::fixture::{self, genesis, ledger};

fn produce(clerk: &mut Clerk, blocks: u64) {
    for block in 0..blocks {
        clerk.produce(2_000 + block).unwrap();
    }
}

#[test]
fn heights_that_would_take_too_long_are_told_with_those_that_do_not() {
    let fixture::Ledger {
        mut clerk,
        blocks,
        store,
        recent,
    } = ledger();
    let mut archive = Archive::new(&genesis(), blocks, store, recent).unwrap();
    let recent_blocks = SNAPSHOT_INTERVAL_BLOCKS * SNAPSHOTS_MAX as u64;
    let newest = REPLAY_BLOCKS_MAX + recent_blocks + 50;
    produce(&mut clerk, newest);
    for height in [
        0,
        1,
        REPLAY_BLOCKS_MAX,
        newest - recent_blocks + SNAPSHOT_INTERVAL_BLOCKS,
        newest,
    ] {
        let Snapshot { head, state } = archive.state_after(BlockNumber(height)).unwrap();
        assert_eq!((head.height.0, state.height().0), (height, height));
        archive.replayed = None;
    }
    let error = archive
        .state_after(BlockNumber(REPLAY_BLOCKS_MAX + 1))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state of block 5001 is not kept: ask for one from 0 to 5000 or from 5100 to 6650"
    );
    let error = archive.state_after(BlockNumber(newest + 1)).unwrap_err();
    assert_eq!(error.to_string(), "there is no block 6651: the newest is 6650");
}

#[test]
fn recent_states_are_bounded() {
    let fixture::Ledger {
        mut clerk, recent, ..
    } = ledger();
    produce(&mut clerk, SNAPSHOT_INTERVAL_BLOCKS * (SNAPSHOTS_MAX as u64 + 3));
    let recent = recent.lock().unwrap();
    assert_eq!(
        (recent.0.len(), recent.oldest()),
        (SNAPSHOTS_MAX, Some(BlockNumber(400)))
    );
}

fn member(number: u8, power: u64) -> Member {
    Member {
        consensus_key: fixture::pair(number).consensus_key(),
        hotkey: fixture::pair(number + 100).hotkey(),
        power,
    }
}

/// The block after `parent` that three of `now` certify and that appoints `next`.
fn certified(parent: &Header, now: &[u8], next: &Committee) -> FinalBlock {
    let header = Header {
        height: parent.height.next(),
        parent: parent.hash(),
        next_committee: next.digest(),
        ..parent.clone()
    };
    let mut certificate = Certificate {
        height: header.height,
        round: 0,
        block: header.hash(),
        signatures: Vec::new(),
    };
    let sign = |number: &u8| commit_signature(&fixture::pair(*number), &certificate, genesis().digest());
    certificate.signatures = now.iter().take(3).map(sign).collect();
    FinalBlock {
        block: Block {
            header,
            transactions: Vec::new(),
        },
        certificate: Some(certificate),
    }
}

#[test]
fn a_light_client_follows_the_headers_over_changes_of_the_committee_page_by_page() {
    let fixture::Ledger {
        mut clerk,
        blocks,
        store,
        recent,
    } = ledger();
    produce(&mut clerk, 1);
    let archive = Archive::new(&genesis(), Arc::clone(&blocks), Arc::clone(&store), recent).unwrap();
    let committees = [[1, 2, 3, 4], [3, 4, 5, 6]];
    let [old, new] = committees
        .map(|numbers| Committee::new(numbers.iter().map(|number| member(*number, 10)).collect()).unwrap());
    store.note_committee(&old).unwrap();
    store.note_committee(&new).unwrap();
    // The node alone appoints the first committee, which decides until it appoints the second.
    let mut header = blocks.read(BlockNumber(1)).unwrap().unwrap().block.header;
    header = Header {
        height: BlockNumber(2),
        parent: header.hash(),
        next_committee: old.digest(),
        ..header
    };
    let transactions = Vec::new();
    let appointing = Block {
        header: header.clone(),
        transactions,
    };
    blocks.append(&FinalBlock::solo(appointing)).unwrap();
    let count = LIGHT_HEADERS_MAX as u64 + 100;
    for height in 3..=count {
        let now = committees[usize::from(height > 900)];
        let next = if height < 900 { &old } else { &new };
        let block = certified(&header, &now, next);
        header = block.block.header.clone();
        blocks.append(&block).unwrap();
    }

    let mut chain = LightChain::from_genesis(genesis().digest(), Committee::default());
    let mut certificates = 0;
    while chain.height() < BlockNumber(count) {
        let page = archive
            .headers(chain.height().next(), BlockNumber(count))
            .unwrap();
        certificates += page.iter().filter(|header| header.certificate.is_some()).count();
        for header in page {
            chain.extend(header).unwrap();
        }
    }
    // Where the committee changes, at the end of two pages and at the start of the second.
    assert_eq!(certificates, 4);
    assert_eq!(
        chain.newest().unwrap().unwrap().1,
        Finality::Told { from: BlockNumber(1) }
    );

    let from = archive
        .headers(BlockNumber(500), BlockNumber(500))
        .unwrap()
        .remove(0);
    let committee = from.next_committee.unwrap();
    let trusted = from.header.hash();
    let mut chain = LightChain::from_header(genesis().digest(), trusted, &from.header, committee).unwrap();
    for header in archive.headers(BlockNumber(501), BlockNumber(count)).unwrap() {
        chain.extend(header).unwrap();
    }
    let finality = Finality::Certified { power: 30, of: 40 };
    assert_eq!(chain.newest().unwrap().unwrap(), (&header, finality));
}
