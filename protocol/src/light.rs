//! Following a ledger by its headers alone, from one that is trusted.
//!
//! A header names its parent by hash and the committee of the next block by digest, so whoever trusts one header and
//! knows the committee it names can tell which header follows. [`LightChain`] checks of each header:
//!
//! - height, parent and time follow from the header before;
//! - where it names another committee than the one in force, the committee in force made it final, and the members
//!   that came with it have the digest it names;
//! - the last one was made final by the committee in force ([`LightChain::newest`]). Those before it under the same
//!   committee need no certificate of their own: the hashes lead back from the last one.
//!
//! So a certificate is checked for each change of the committee and for the end, whatever the length between.
//!
//! A ledger without a committee has no certificates: one node decides alone, and its headers are its word.
//! [`Finality`] keeps that apart, also for a ledger that got its committee on the way.

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::id::{BlockNumber, Digest};
use crate::message::{Certificate, CertificateError, Committee, Header, MessageError};

/// A header and what a light client needs beside it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct LightHeader {
    /// The header.
    pub header: Header,
    /// What made it final; needed where the committee changes and at the end.
    pub certificate: Option<Certificate>,
    /// The committee that the header names, where it is another one than that of the block itself.
    pub next_committee: Option<Committee>,
}

impl LightHeader {
    /// Most canonical bytes of a header with what may come beside it.
    pub const BYTES_MAX: usize = 256 + Certificate::BYTES_MAX + Committee::BYTES_MAX;
}

/// How sure it is that the ledger has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finality {
    /// It is the trusted block itself.
    Trusted,
    /// Members with more than two thirds of the committee's power signed it, and every change of the committee since
    /// the trusted block was signed likewise.
    Certified {
        /// Power that signed.
        power: u64,
        /// Power of the whole committee.
        of: u64,
    },
    /// From this height on at least one block is the word of the node that told of it, since no committee was in
    /// force there.
    Told {
        /// The first such height.
        from: BlockNumber,
    },
}

/// Why a header does not follow, or is not final.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LightError {
    /// It is not the trusted one.
    #[error("the header of block {height} has hash {found}, the trusted one is {expected}")]
    Trusted {
        /// Its height.
        height: BlockNumber,
        /// Its hash.
        found: Digest,
        /// The trusted hash.
        expected: Digest,
    },
    /// It has another height.
    #[error("a header of block {found} came where that of block {expected} follows")]
    Height {
        /// Its height.
        found: BlockNumber,
        /// The next height.
        expected: BlockNumber,
    },
    /// It follows another block.
    #[error("block {height} follows {found}, not {expected}: the node tells of another ledger or a fork")]
    Parent {
        /// Its height.
        height: BlockNumber,
        /// The parent it names.
        found: Digest,
        /// The block before it.
        expected: Digest,
    },
    /// Its time is before its parent's.
    #[error("block {height} is of {found_ms} ms, before its parent's {parent_ms} ms")]
    Time {
        /// Its height.
        height: BlockNumber,
        /// Its time.
        found_ms: u64,
        /// Its parent's time.
        parent_ms: u64,
    },
    /// Its certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// It has no certificate and needs one.
    #[error("block {height} came without the certificate of its committee: ask another node")]
    Uncertified {
        /// Its height.
        height: BlockNumber,
    },
    /// It has a certificate, and no committee decides on it.
    #[error("block {height} has a certificate, and no committee was in force")]
    NoCommittee {
        /// Its height.
        height: BlockNumber,
    },
    /// The members of the next committee are missing, or are others.
    #[error("block {height} names committee {expected}, the members with it make {found}")]
    NextCommittee {
        /// Its height.
        height: BlockNumber,
        /// Digest of what came.
        found: Digest,
        /// Digest in the header.
        expected: Digest,
    },
    /// A committee breaks a limit.
    #[error(transparent)]
    Committee(#[from] MessageError),
}

/// Where a light client stands: the newest header it has followed to, and the committee of the next.
#[derive(Clone, Debug)]
pub struct LightChain {
    genesis: Digest,
    height: BlockNumber,
    hash: Digest,
    time_ms: u64,
    newest: Option<Header>,
    committee: Committee,
    /// Of the newest header; `None` when its committee has yet to show that it is final.
    finality: Option<Finality>,
    told_from: Option<BlockNumber>,
}

impl LightChain {
    /// Begins at a trusted genesis, given the committee that follows from it.
    #[must_use]
    pub const fn from_genesis(genesis: Digest, committee: Committee) -> Self {
        Self {
            genesis,
            height: BlockNumber(0),
            hash: genesis,
            time_ms: 0,
            newest: None,
            committee,
            finality: Some(Finality::Trusted),
            told_from: None,
        }
    }

    /// Begins at a header of the ledger `genesis`, if `trusted` is its hash and `committee` is what it names.
    ///
    /// # Errors
    ///
    /// [`LightError`] when the header or the committee is another one.
    pub fn from_header(
        genesis: Digest,
        trusted: Digest,
        header: &Header,
        committee: Committee,
    ) -> Result<Self, LightError> {
        let (height, found) = (header.height, header.hash());
        if found != trusted {
            return Err(LightError::Trusted {
                height,
                found,
                expected: trusted,
            });
        }
        check_named(header, &committee)?;
        Ok(Self {
            genesis,
            height,
            hash: trusted,
            time_ms: header.time_ms,
            newest: Some(header.clone()),
            committee,
            finality: Some(Finality::Trusted),
            told_from: None,
        })
    }

    /// Height of the newest header.
    #[must_use]
    pub const fn height(&self) -> BlockNumber {
        self.height
    }

    /// Takes the header that follows the newest one.
    ///
    /// # Errors
    ///
    /// [`LightError`]; nothing is taken then.
    pub fn extend(&mut self, next: LightHeader) -> Result<(), LightError> {
        let LightHeader {
            header,
            certificate,
            next_committee,
        } = next;
        self.check_follows(&header)?;
        let (height, hash) = (header.height, header.hash());
        let power = self.check_certificate(height, hash, certificate.as_ref())?;
        if header.next_committee != self.committee.digest() {
            if power.is_none() && !self.committee.is_empty() {
                return Err(LightError::Uncertified { height });
            }
            let committee = next_committee.unwrap_or_default();
            check_named(&header, &committee)?;
            self.take(header, hash, power);
            self.committee = committee;
        } else {
            self.take(header, hash, power);
        }
        Ok(())
    }

    /// The newest header and how sure it is; `None` at the genesis, which has no header.
    ///
    /// # Errors
    ///
    /// [`LightError::Uncertified`] when its committee has not shown that it is final.
    pub fn newest(&self) -> Result<Option<(&Header, Finality)>, LightError> {
        let height = self.height;
        let finality = self.finality.ok_or(LightError::Uncertified { height })?;
        Ok(self.newest.as_ref().map(|header| (header, finality)))
    }

    fn check_follows(&self, header: &Header) -> Result<(), LightError> {
        let height = header.height;
        let expected = self.height.next();
        if height != expected {
            let found = height;
            return Err(LightError::Height { found, expected });
        }
        if header.parent != self.hash {
            return Err(LightError::Parent {
                height,
                found: header.parent,
                expected: self.hash,
            });
        }
        if header.time_ms < self.time_ms {
            return Err(LightError::Time {
                height,
                found_ms: header.time_ms,
                parent_ms: self.time_ms,
            });
        }
        Ok(())
    }

    /// The power that signed and that of all, if the block comes with a certificate.
    fn check_certificate(
        &self,
        height: BlockNumber,
        hash: Digest,
        certificate: Option<&Certificate>,
    ) -> Result<Option<(u64, u64)>, LightError> {
        let Some(certificate) = certificate else {
            return Ok(None);
        };
        if self.committee.is_empty() {
            return Err(LightError::NoCommittee { height });
        }
        let power = certificate.verify(self.genesis, &self.committee, height, hash)?;
        Ok(Some((power, self.committee.power())))
    }

    fn take(&mut self, header: Header, hash: Digest, power: Option<(u64, u64)>) {
        if self.committee.is_empty() {
            self.told_from.get_or_insert(header.height);
        }
        self.finality = match (self.told_from, power) {
            (Some(_), None) if !self.committee.is_empty() => None,
            (Some(from), _) => Some(Finality::Told { from }),
            (None, power) => power.map(|(power, of)| Finality::Certified { power, of }),
        };
        (self.height, self.hash, self.time_ms) = (header.height, hash, header.time_ms);
        self.newest = Some(header);
    }
}

fn check_named(header: &Header, committee: &Committee) -> Result<(), LightError> {
    committee.validate()?;
    let (found, expected) = (committee.digest(), header.next_committee);
    if found != expected {
        let height = header.height;
        return Err(LightError::NextCommittee {
            height,
            found,
            expected,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
}
