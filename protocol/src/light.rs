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
mod tests;
