//! The committee that orders blocks: its members, what they sign, and what proves that they agreed.
//!
//! These bytes belong to the ledger and not to the engine that exchanges them: a light client checks a
//! [`Certificate`], and the ledger an [`Equivocation`], without knowing any engine.
//!
//! A block is final when members with more than two thirds of the committee's power signed a precommit for its hash
//! in one round.

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::{Message, MessageError, Signed, at_most};
use crate::codec;
use crate::id::{Account, BlockNumber, ConsensusKey, Digest, Hotkey};
use crate::sign::{self, Keypair, Purpose, SignError, Signature};

/// One member of a committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// The key it votes with.
    pub consensus_key: ConsensusKey,
    /// Whose key that is.
    pub hotkey: Hotkey,
    /// Its voting power; more than 0.
    pub power: u64,
}

/// The members whose votes count for one block, in order of their consensus keys. Without members, one node decides
/// alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Committee {
    members: Vec<Member>,
}

impl Committee {
    /// Most members; bounds a certificate and the votes of a round.
    pub const MEMBERS_MAX: usize = 64;
    /// Most power of all members together, so that sums and products of powers fit.
    pub const POWER_MAX: u64 = 1 << 50;
    /// Most canonical bytes of a committee.
    pub const BYTES_MAX: usize = 8 + Self::MEMBERS_MAX * (32 + 32 + 8);

    /// A committee of these members, in whatever order they come.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when there are too many, two share a key, or a power is 0 or the sum too large.
    pub fn new(mut members: Vec<Member>) -> Result<Self, MessageError> {
        members.sort_by_key(|member| member.consensus_key);
        let committee = Self { members };
        committee.validate()?;
        Ok(committee)
    }

    /// Checks what the type does not hold: what came from outside has to pass.
    ///
    /// # Errors
    ///
    /// As [`Committee::new`], and when members are out of order.
    pub fn validate(&self) -> Result<(), MessageError> {
        at_most("committee members", self.members.len(), Self::MEMBERS_MAX)?;
        let invalid = |reason: String| MessageError::Invalid {
            field: "committee",
            reason,
        };
        for pair in self.members.windows(2) {
            if let [a, b] = pair
                && a.consensus_key >= b.consensus_key
            {
                return Err(invalid(format!("{} is out of order", b.consensus_key)));
            }
        }
        let mut sum = 0u64;
        for member in &self.members {
            sum = sum.saturating_add(member.power);
            if member.power == 0 || sum > Self::POWER_MAX {
                return Err(invalid(format!("power {} of {}", member.power, member.hotkey)));
            }
        }
        Ok(())
    }

    /// The members, in order of their consensus keys.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether one node decides alone.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member of a key.
    #[must_use]
    pub fn member(&self, key: &ConsensusKey) -> Option<&Member> {
        let index = self
            .members
            .binary_search_by_key(key, |member| member.consensus_key);
        index.ok().and_then(|index| self.members.get(index))
    }

    /// Power of all members.
    #[must_use]
    pub fn power(&self) -> u64 {
        self.members
            .iter()
            .fold(0, |sum, member| sum.saturating_add(member.power))
    }

    /// The least power that decides: more than two thirds.
    #[must_use]
    pub fn quorum(&self) -> u64 {
        (self.power() / 3 * 2 + self.power() % 3 * 2 / 3).saturating_add(1)
    }

    /// What a header commits to; zeros for a ledger without a committee.
    #[must_use]
    pub fn digest(&self) -> Digest {
        if self.is_empty() {
            return Digest::default();
        }
        codec::digest("agon 2026-11 committee", &codec::encode(self))
    }
}

/// What a vote is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum VoteKind {
    /// The proposer's offer of a block.
    Proposal {
        /// The earlier round in which this block had a quorum of prevotes, if it is offered again.
        locked_round: Option<u32>,
    },
    /// "This block is valid."
    Prevote,
    /// "A quorum found it valid."
    Precommit,
}

/// What a member signs: its word on one round of one height. A second word of the same kind is an [`Equivocation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// Which ledger: digest of its genesis.
    pub genesis: Digest,
    /// Height of the block that is voted on.
    pub height: BlockNumber,
    /// Round at that height; the first is 0.
    pub round: u32,
    /// What is said.
    pub kind: VoteKind,
    /// The block's hash, or `None` for "no block in this round".
    pub block: Option<Digest>,
    /// Who says it.
    pub voter: ConsensusKey,
}

impl Message for Vote {
    const PURPOSE: Purpose = Purpose::Vote;
    const DIGEST_CONTEXT: &'static str = "agon 2026-11 vote digest";
    const BYTES_MAX: usize = 256;

    fn signer(&self) -> Account {
        self.voter.into()
    }

    fn validate(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

/// A member's signature in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CommitSignature {
    /// Who signed.
    pub voter: ConsensusKey,
    /// Its signature over the precommit that [`Certificate::precommit`] gives.
    pub signature: Signature,
}

/// Proof that a committee made a block final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// Height of the block.
    pub height: BlockNumber,
    /// Round in which it was decided.
    pub round: u32,
    /// The block's hash.
    pub block: Digest,
    /// Precommits of members with more than two thirds of the power.
    pub signatures: Vec<CommitSignature>,
}

/// Why a certificate proves nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is of another block.
    #[error(
        "the certificate is of block {found} with hash {hash}, not of block {expected} with hash {block}"
    )]
    Block {
        /// Height it names.
        found: BlockNumber,
        /// Hash it names.
        hash: Digest,
        /// Height that was asked for.
        expected: BlockNumber,
        /// Hash that was asked for.
        block: Digest,
    },
    /// Somebody signed who is no member, or twice.
    #[error("the certificate of block {height} counts {voter}, who is no member or counted already")]
    Voter {
        /// Height of the block.
        height: BlockNumber,
        /// Who.
        voter: ConsensusKey,
    },
    /// A signature does not hold.
    #[error("the certificate of block {height} has a bad signature")]
    Signature {
        /// Height of the block.
        height: BlockNumber,
        /// What is wrong.
        source: SignError,
    },
    /// Too few signed.
    #[error("the certificate of block {height} has {power} of the committee's power, {quorum} are needed")]
    Power {
        /// Height of the block.
        height: BlockNumber,
        /// Power that signed.
        power: u64,
        /// Power that is needed.
        quorum: u64,
    },
}

impl Certificate {
    /// Most canonical bytes of a certificate.
    pub const BYTES_MAX: usize = 64 + Committee::MEMBERS_MAX * (32 + 64);

    /// The vote that `voter` has to have signed for its signature to count.
    #[must_use]
    pub const fn precommit(&self, genesis: Digest, voter: ConsensusKey) -> Vote {
        Vote {
            genesis,
            height: self.height,
            round: self.round,
            kind: VoteKind::Precommit,
            block: Some(self.block),
            voter,
        }
    }

    /// Checks that `committee` made the block of this height and hash final; gives the power that signed.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] with the first thing that is wrong.
    pub fn verify(
        &self,
        genesis: Digest,
        committee: &Committee,
        height: BlockNumber,
        block: Digest,
    ) -> Result<u64, CertificateError> {
        if (self.height, self.block) != (height, block) {
            return Err(CertificateError::Block {
                found: self.height,
                hash: self.block,
                expected: height,
                block,
            });
        }
        let mut power = 0u64;
        let mut counted = Vec::with_capacity(self.signatures.len().min(Committee::MEMBERS_MAX));
        for CommitSignature { voter, signature } in &self.signatures {
            let member = committee.member(voter).filter(|_| !counted.contains(voter));
            let member = member.ok_or(CertificateError::Voter {
                height,
                voter: *voter,
            })?;
            let vote = codec::encode(&self.precommit(genesis, *voter));
            sign::verify(&voter.0, Purpose::Vote, &vote, signature)
                .map_err(|source| CertificateError::Signature { height, source })?;
            counted.push(*voter);
            power = power.saturating_add(member.power);
        }
        let quorum = committee.quorum();
        if power < quorum {
            return Err(CertificateError::Power {
                height,
                power,
                quorum,
            });
        }
        Ok(power)
    }
}

/// Two words of one member where there may be one: what its bond is slashed for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Equivocation {
    /// What the member said.
    pub first: Signed<Vote>,
    /// What it said as well.
    pub second: Signed<Vote>,
}

/// Why two votes are no equivocation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoEquivocation {
    /// They do not exclude each other.
    #[error("the two votes do not exclude each other: they must differ in their block only")]
    NoConflict,
    /// They are of another ledger.
    #[error("the votes are of ledger {found}, this one is {expected}")]
    Genesis {
        /// Which ledger they name.
        found: Digest,
        /// Which this is.
        expected: Digest,
    },
    /// One is not signed by the member.
    #[error("a vote is not signed by {voter}")]
    Signature {
        /// Who should have signed.
        voter: ConsensusKey,
    },
}

impl Equivocation {
    /// Checks that both votes are by one member on this ledger and exclude each other; gives who it was.
    ///
    /// # Errors
    ///
    /// [`NoEquivocation`].
    pub fn verify(&self, genesis: Digest) -> Result<ConsensusKey, NoEquivocation> {
        let (a, b) = (self.first.message(), self.second.message());
        if a.genesis != genesis {
            return Err(NoEquivocation::Genesis {
                found: a.genesis,
                expected: genesis,
            });
        }
        let same_kind = matches!(
            (a.kind, b.kind),
            (VoteKind::Proposal { .. }, VoteKind::Proposal { .. })
                | (VoteKind::Prevote, VoteKind::Prevote)
                | (VoteKind::Precommit, VoteKind::Precommit)
        );
        let same_place = (a.genesis, a.height, a.round, a.voter) == (b.genesis, b.height, b.round, b.voter);
        if !same_kind || !same_place || a.block == b.block {
            return Err(NoEquivocation::NoConflict);
        }
        for vote in [&self.first, &self.second] {
            vote.check_signature()
                .map_err(|_| NoEquivocation::Signature { voter: a.voter })?;
        }
        Ok(a.voter)
    }
}

/// What a consensus key signs besides votes, for a transaction to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
pub enum Statement {
    /// "I vote for this hotkey": shows that who joins has the key.
    Join {
        /// Which ledger: digest of its genesis.
        genesis: Digest,
        /// Whose key it is.
        hotkey: Hotkey,
    },
    /// "I have this block": shows that its node follows the ledger.
    Ready {
        /// Which ledger: digest of its genesis.
        genesis: Digest,
        /// Height of the block.
        height: BlockNumber,
        /// Its hash.
        hash: Digest,
    },
}

impl Statement {
    /// Signs the statement.
    #[must_use]
    pub fn sign(&self, pair: &Keypair) -> Signature {
        pair.sign(Purpose::Committee, &codec::encode(self))
    }

    /// Checks that `key` made the statement.
    ///
    /// # Errors
    ///
    /// [`SignError`] when the signature does not hold.
    pub fn verify(&self, key: &ConsensusKey, signature: &Signature) -> Result<(), SignError> {
        sign::verify(&key.0, Purpose::Committee, &codec::encode(self), signature)
    }
}

/// Signs a precommit into a certificate's signature.
#[must_use]
pub fn commit_signature(pair: &Keypair, certificate: &Certificate, genesis: Digest) -> CommitSignature {
    let voter = pair.consensus_key();
    let signature = *Signed::sign(certificate.precommit(genesis, voter), pair).signature();
    CommitSignature { voter, signature }
}

#[cfg(test)]
mod tests;
