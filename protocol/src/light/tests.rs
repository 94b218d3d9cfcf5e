//! Headers that lead from a trusted one, and those that do not.

use super::*;
use crate::message::{Member, commit_signature};
use crate::sign::Keypair;

const GENESIS: Digest = Digest([9; 32]);

fn pair(seed: u8) -> Keypair {
    Keypair::from_mini_secret(&[seed; 32])
}

fn committee(seeds: std::ops::Range<u8>) -> Committee {
    let member = |seed| Member {
        consensus_key: pair(seed).consensus_key(),
        hotkey: pair(seed + 100).hotkey(),
        power: 10,
    };
    Committee::new(seeds.map(member).collect()).unwrap()
}

/// A ledger whose blocks are signed by everybody but the last member.
struct Ledger {
    headers: Vec<LightHeader>,
    seeds: std::ops::Range<u8>,
    hash: Digest,
}

impl Ledger {
    fn new(seeds: std::ops::Range<u8>) -> Self {
        Self {
            headers: Vec::new(),
            seeds,
            hash: GENESIS,
        }
    }

    fn block(&mut self, next: std::ops::Range<u8>) {
        let header = Header {
            height: BlockNumber(self.headers.len() as u64 + 1),
            parent: self.hash,
            time_ms: 1_000,
            transactions: Digest([1; 32]),
            state_root: Digest([2; 32]),
            next_committee: committee(next.clone()).digest(),
        };
        self.hash = header.hash();
        let mut certificate = Certificate {
            height: header.height,
            round: 0,
            block: self.hash,
            signatures: Vec::new(),
        };
        let signers = self.seeds.start..self.seeds.end.saturating_sub(1);
        certificate.signatures = signers
            .map(|seed| commit_signature(&pair(seed), &certificate, GENESIS))
            .collect();
        self.headers.push(LightHeader {
            header,
            certificate: (!self.seeds.is_empty()).then_some(certificate),
            next_committee: (next != self.seeds).then(|| committee(next.clone())),
        });
        self.seeds = next;
    }
}

/// Two blocks of one committee, a block that hands over to another one, and two of that one.
fn handed_over() -> Ledger {
    let mut ledger = Ledger::new(1..5);
    for next in [1..5, 1..5, 3..7, 3..7, 3..7] {
        ledger.block(next);
    }
    ledger
}

fn follow(start: Committee, headers: &[LightHeader]) -> Result<LightChain, LightError> {
    let mut chain = LightChain::from_genesis(GENESIS, start);
    for header in headers {
        chain.extend(header.clone())?;
    }
    chain.newest()?;
    Ok(chain)
}

/// Expects the headers not to lead anywhere once `change` was at them.
#[track_caller]
fn check_refused(change: impl FnOnce(&mut Vec<LightHeader>), expected: fn(&LightError) -> bool) {
    let mut headers = handed_over().headers;
    change(&mut headers);
    let error = follow(committee(1..5), &headers).unwrap_err();
    assert!(expected(&error), "{error:?}");
}

#[test]
fn headers_are_followed_over_a_change_of_the_committee() {
    let ledger = handed_over();
    let chain = follow(committee(1..5), &ledger.headers).unwrap();
    let (header, finality) = chain.newest().unwrap().unwrap();
    assert_eq!((header.hash(), chain.height()), (ledger.hash, BlockNumber(5)));
    assert_eq!(finality, Finality::Certified { power: 30, of: 40 });
    // From a trusted header in the middle as well.
    let LightHeader { header, .. } = &ledger.headers[2];
    let mut chain = LightChain::from_header(GENESIS, header.hash(), header, committee(3..7)).unwrap();
    assert_eq!(chain.newest().unwrap().unwrap().1, Finality::Trusted);
    chain.extend(ledger.headers[3].clone()).unwrap();
    assert_eq!(
        chain.newest().unwrap().unwrap().1,
        Finality::Certified { power: 30, of: 40 }
    );
}

#[test]
fn certificates_are_needed_where_the_committee_changes_and_at_the_end_only() {
    let mut headers = handed_over().headers;
    for index in [0, 1, 3] {
        headers[index].certificate = None;
    }
    follow(committee(1..5), &headers).unwrap();
    for index in [2, 4] {
        check_refused(
            |headers| headers[index].certificate = None,
            |error| matches!(error, LightError::Uncertified { .. }),
        );
    }
}

#[test]
fn what_does_not_follow_is_refused() {
    check_refused(
        |headers| drop(headers.remove(1)),
        |error| matches!(error, LightError::Height { .. }),
    );
    check_refused(
        |headers| headers[1].header.state_root = Digest([3; 32]),
        |error| matches!(error, LightError::Certificate(_)),
    );
    check_refused(
        |headers| {
            headers[1].header.state_root = Digest([3; 32]);
            headers[1].certificate = None;
        },
        |error| matches!(error, LightError::Parent { .. }),
    );
    check_refused(
        |headers| {
            headers[1].header.time_ms = 999;
            headers[1].certificate = None;
        },
        |error| matches!(error, LightError::Time { .. }),
    );
    check_refused(
        |headers| headers[2].next_committee = Some(committee(20..24)),
        |error| matches!(error, LightError::NextCommittee { .. }),
    );
    check_refused(
        |headers| headers[2].next_committee = None,
        |error| matches!(error, LightError::NextCommittee { .. }),
    );
    check_refused(
        |headers| headers[4].certificate = headers[3].certificate.clone(),
        |error| matches!(error, LightError::Certificate(_)),
    );
}

#[test]
fn a_committee_that_nobody_appointed_certifies_nothing() {
    // Four others sign what looks right, from the very block that would appoint them.
    let mut forged = Ledger::new(20..24);
    forged.block(20..24);
    let error = follow(committee(1..5), &forged.headers).unwrap_err();
    assert!(matches!(error, LightError::Certificate(_)), "{error:?}");
}

#[test]
fn the_word_of_one_node_is_told_from_that_of_a_committee() {
    let mut ledger = Ledger::new(0..0);
    for next in [0..0, 0..0, 1..5, 1..5] {
        ledger.block(next);
    }
    let chain = follow(Committee::default(), &ledger.headers).unwrap();
    let told = Finality::Told { from: BlockNumber(1) };
    assert_eq!(chain.newest().unwrap().unwrap().1, told);
    ledger.headers[3].certificate = None;
    let error = follow(Committee::default(), &ledger.headers).unwrap_err();
    assert!(matches!(error, LightError::Uncertified { .. }), "{error:?}");
    let header = &ledger.headers[2].header;
    assert!(LightChain::from_header(GENESIS, header.hash(), header, Committee::default()).is_err());
    let other = Digest([4; 32]);
    assert!(matches!(
        LightChain::from_header(GENESIS, other, header, committee(1..5)),
        Err(LightError::Trusted { .. })
    ));
}
