//! What a state of an export hangs on: the header of its block, and what proves that the block is final.

use agon_ledger_state::State;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Certificate, CertificateError, Committee, Genesis, Header, MessageError};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::follow::{Head, Position, Power};

/// The block that a state comes after.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Anchor {
    /// Its height.
    pub height: BlockNumber,
    /// How many entries the state has.
    pub entries: u64,
    /// Its header and what made it final; `None` for the genesis.
    pub sealed: Option<Sealed>,
}

/// A header and what made its block final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sealed {
    /// The header.
    pub header: Header,
    /// The header before it, which names the committee; `None` for the first block.
    pub parent: Option<Header>,
    /// The committee that decided on the block; empty where one node decides alone.
    pub committee: Committee,
    /// Its decision.
    pub certificate: Option<Certificate>,
}

/// Why an anchor holds nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// Header and height do not belong together.
    #[error("its header is of block {found}, not of block {expected}")]
    Height {
        /// Height in the header.
        found: BlockNumber,
        /// Height of the state.
        expected: BlockNumber,
    },
    /// The block before it is another one.
    #[error("its header names {expected} as the block before, the one beside it is {found}")]
    Parent {
        /// Hash of what is there.
        found: Digest,
        /// What the header names.
        expected: Digest,
    },
    /// The committee is another one.
    #[error("the block before names the committee {expected}, the one beside it is {found}")]
    Committee {
        /// Digest of what is there.
        found: Digest,
        /// What the header before names.
        expected: Digest,
    },
    /// The committee breaks a limit.
    #[error("its committee is not valid")]
    InvalidCommittee(#[from] MessageError),
    /// There is no certificate where there must be one.
    #[error("the committee did not make it final: it has no certificate")]
    Uncertified,
    /// There is a certificate, and nobody to sign it.
    #[error("it has a certificate, and no committee decides on it")]
    NoCommittee,
    /// The certificate does not hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The state names another committee for the next block than the header.
    #[error("its header names the committee {expected} for the next block, the state {found}")]
    NextCommittee {
        /// Digest of what the state says.
        found: Digest,
        /// What the header says.
        expected: Digest,
    },
}

/// An anchor that was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    pub(crate) head: Head,
    pub(crate) power: Option<Power>,
}

impl Anchor {
    /// The anchor of the state before the first block.
    #[must_use]
    pub const fn genesis(entries: u64) -> Self {
        Self {
            height: BlockNumber(0),
            entries,
            sealed: None,
        }
    }

    /// The newest block, if the anchor is what it says: to be believed only where its hash is trusted.
    #[must_use]
    pub fn head(&self, genesis: &Position) -> Head {
        match &self.sealed {
            None => genesis.head,
            Some(sealed) => head_of(&sealed.header),
        }
    }

    /// Checks that header, header before, committee and certificate belong together.
    ///
    /// # Errors
    ///
    /// [`AnchorError`] with the first thing that does not fit.
    pub(crate) fn check(&self, genesis: &Genesis, begin: &Position) -> Result<Checked, AnchorError> {
        let height = self.height;
        let Some(sealed) = &self.sealed else {
            let head = begin.head;
            return match height {
                BlockNumber(0) => Ok(Checked { head, power: None }),
                found => Err(AnchorError::Height {
                    found: BlockNumber(0),
                    expected: found,
                }),
            };
        };
        let header = &sealed.header;
        if header.height != height || height == BlockNumber(0) {
            return Err(AnchorError::Height {
                found: header.height,
                expected: height,
            });
        }
        sealed.check_parent(genesis, begin)?;
        let power = sealed.check_certificate(genesis.digest())?;
        Ok(Checked {
            head: head_of(header),
            power,
        })
    }

    /// Whether the state names the committee that the header promises.
    pub(crate) fn check_next_committee(&self, state: &State) -> Result<(), AnchorError> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let (found, expected) = (state.committee().digest(), sealed.header.next_committee);
        if found == expected {
            return Ok(());
        }
        Err(AnchorError::NextCommittee { found, expected })
    }
}

impl Sealed {
    /// The header before it has the hash that the header names, and names the committee.
    fn check_parent(&self, genesis: &Genesis, begin: &Position) -> Result<(), AnchorError> {
        let (hash, height, committee) = match &self.parent {
            Some(parent) => (parent.hash(), parent.height, parent.next_committee),
            None => (genesis.digest(), BlockNumber(0), begin.state.committee().digest()),
        };
        let expected = self.header.parent;
        if hash != expected || height.next() != self.header.height {
            return Err(AnchorError::Parent {
                found: hash,
                expected,
            });
        }
        self.committee.validate()?;
        let (found, expected) = (self.committee.digest(), committee);
        if found != expected {
            return Err(AnchorError::Committee { found, expected });
        }
        Ok(())
    }

    fn check_certificate(&self, genesis: Digest) -> Result<Option<Power>, AnchorError> {
        let (height, hash) = (self.header.height, self.header.hash());
        match &self.certificate {
            None if self.committee.is_empty() => Ok(None),
            None => Err(AnchorError::Uncertified),
            Some(_) if self.committee.is_empty() => Err(AnchorError::NoCommittee),
            Some(certificate) => {
                let signed = certificate.verify(genesis, &self.committee, height, hash)?;
                let total = self.committee.power();
                Ok(Some(Power { signed, total }))
            }
        }
    }
}

fn head_of(header: &Header) -> Head {
    Head {
        height: header.height,
        hash: header.hash(),
        time_ms: header.time_ms,
        state_root: header.state_root,
    }
}
