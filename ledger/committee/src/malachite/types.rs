//! Our types in the engine's traits. Each wraps a word of the protocol, so that nothing is decided here.

use std::cmp::Ordering;
use std::fmt;

use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, ConsensusKey, Digest};
use agon_protocol::message::{self, Certificate, CommitSignature, Committee, Equivocation, Signed, VoteKind};
use agon_protocol::sign::Signature;
use borsh::{BorshDeserialize, BorshSerialize};
use malachitebft_core_types as engine;
use malachitebft_core_types::{NilOrVal, Round, SignedMessage, VoteType};

use crate::pending::Proposed;
use crate::turns::Turns;

/// A block's height.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize,
)]
pub(super) struct Height(pub(super) BlockNumber);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl engine::Height for Height {
    const ZERO: Self = Self(BlockNumber(0));
    const INITIAL: Self = Self(BlockNumber(1));

    fn increment_by(&self, n: u64) -> Self {
        Self(BlockNumber(self.0.0.saturating_add(n)))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.0.checked_sub(n).map(|height| Self(BlockNumber(height)))
    }

    fn as_u64(&self) -> u64 {
        self.0.0
    }
}

/// A member's key, which is its address too.
///
/// The engine asks the set of members for the key of its own node to learn whether it takes part in a height. That
/// question has to be told from one about the same member's signatures, so a node's own key is marked; the mark is
/// neither sent nor compared.
#[derive(Clone, Copy, Debug, BorshSerialize, BorshDeserialize)]
pub(super) struct Key(pub(super) ConsensusKey, #[borsh(skip)] bool);

impl Key {
    /// Somebody's key.
    pub(super) const fn of(key: ConsensusKey) -> Self {
        Self(key, false)
    }

    /// The node's own key.
    pub(super) const fn own(key: ConsensusKey) -> Self {
        Self(key, true)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl engine::Address for Key {}

/// A member's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub(super) struct Sig(pub(super) [u8; 64]);

/// sr25519 in the engine's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sr25519;

impl engine::SigningScheme for Sr25519 {
    type DecodingError = &'static str;
    type Signature = Sig;
    type PublicKey = Key;
    type PrivateKey = agon_protocol::sign::Keypair;

    fn decode_signature(bytes: &[u8]) -> Result<Sig, &'static str> {
        bytes.try_into().map(Sig).map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Sig) -> Vec<u8> {
        signature.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<Key, &'static str> {
        bytes
            .try_into()
            .map(|key| Key::of(ConsensusKey(key)))
            .map_err(|_| "a consensus key has 32 bytes")
    }

    fn encode_public_key(key: &Key) -> Vec<u8> {
        key.0.0.to_vec()
    }
}

/// What is decided on: a block's hash. The block travels as a proposal part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub(super) struct BlockHash(pub(super) Digest);

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl engine::Value for BlockHash {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// A proposed block on its way; a proposal has one part.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Part(pub(super) Proposed);

impl engine::ProposalPart<Context> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// The proposer's word.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Proposal {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: BlockHash,
    pub(super) pol_round: Round,
    pub(super) address: Key,
}

impl engine::Proposal<Context> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockHash {
        &self.value
    }

    fn take_value(self) -> BlockHash {
        self.value
    }

    fn pol_round(&self) -> Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Key {
        &self.address
    }
}

/// A member's word.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Vote {
    pub(super) kind: VoteType,
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) value: NilOrVal<BlockHash>,
    pub(super) address: Key,
}

impl engine::Vote<Context> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockHash> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<BlockHash> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Key {
        &self.address
    }

    fn extension(&self) -> Option<&SignedMessage<Context, ()>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedMessage<Context, ()>> {
        None
    }

    fn extend(self, _: SignedMessage<Context, ()>) -> Self {
        self
    }
}

/// A member of the committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validator {
    key: Key,
    power: u64,
}

impl engine::Validator<Context> for Validator {
    fn address(&self) -> &Key {
        &self.key
    }

    fn public_key(&self) -> &Key {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// The committee, and whose turn it is. Never empty: the engine is not run without members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ValidatorSet {
    members: Vec<Validator>,
    turns: Turns,
    /// Whether the node itself signs, if it is a member.
    signs: bool,
}

impl ValidatorSet {
    /// The set of a committee, as seen by a node that signs or by one that only follows; `None` without members.
    pub(super) fn of(committee: &Committee, signs: bool) -> Option<Self> {
        let members: Vec<Validator> = committee
            .members()
            .iter()
            .map(|member| Validator {
                key: Key::of(member.consensus_key),
                power: member.power,
            })
            .collect();
        (!members.is_empty()).then(|| Self {
            members,
            turns: Turns::of(committee),
            signs,
        })
    }

    /// Who proposes in a round.
    pub(super) fn proposer(&self, height: BlockNumber, round: u32) -> &Validator {
        let proposer = self.turns.proposer(height, round);
        let found = self.members.iter().find(|member| Some(member.key.0) == proposer);
        found
            .or_else(|| self.members.first())
            .expect("a set that was made has members")
    }

    /// The proposer's key.
    pub(super) fn proposer_key(&self, height: BlockNumber, round: u32) -> ConsensusKey {
        self.proposer(height, round).key.0
    }
}

impl engine::ValidatorSet<Context> for ValidatorSet {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.members
            .iter()
            .fold(0, |sum, member| sum.saturating_add(member.power))
    }

    fn get_by_address(&self, address: &Key) -> Option<&Validator> {
        let Key(_, is_own) = *address;
        let mut members = self.members.iter().filter(|_| self.signs || !is_own);
        members.find(|member| member.key == *address)
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.members.get(index)
    }
}

/// What the engine is generic over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context;

impl engine::Context for Context {
    type Address = Key;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = engine::LinearTimeouts;
    type Value = BlockHash;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Sr25519;

    fn select_proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        set.proposer(height.0, round_number(round))
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        value: BlockHash,
        pol_round: Round,
        address: Key,
    ) -> Proposal {
        Proposal {
            height,
            round,
            value,
            pol_round,
            address,
        }
    }

    fn new_prevote(&self, height: Height, round: Round, value: NilOrVal<BlockHash>, address: Key) -> Vote {
        Vote {
            kind: VoteType::Prevote,
            height,
            round,
            value,
            address,
        }
    }

    fn new_precommit(&self, height: Height, round: Round, value: NilOrVal<BlockHash>, address: Key) -> Vote {
        Vote {
            kind: VoteType::Precommit,
            height,
            round,
            value,
            address,
        }
    }
}

/// A round's number; the engine's "no round" counts as the first, which is only ever asked for in error.
pub(super) fn round_number(round: Round) -> u32 {
    round.as_u32().unwrap_or(0)
}

/// A proposer's word in the protocol's bytes.
pub(super) fn proposal_vote(genesis: Digest, proposal: &Proposal) -> message::Vote {
    message::Vote {
        genesis,
        height: proposal.height.0,
        round: round_number(proposal.round),
        kind: VoteKind::Proposal {
            locked_round: proposal.pol_round.as_u32(),
        },
        block: Some(proposal.value.0),
        voter: proposal.address.0,
    }
}

/// A member's word in the protocol's bytes.
pub(super) fn protocol_vote(genesis: Digest, vote: &Vote) -> message::Vote {
    message::Vote {
        genesis,
        height: vote.height.0,
        round: round_number(vote.round),
        kind: match vote.kind {
            VoteType::Prevote => VoteKind::Prevote,
            VoteType::Precommit => VoteKind::Precommit,
        },
        block: match vote.value {
            NilOrVal::Nil => None,
            NilOrVal::Val(hash) => Some(hash.0),
        },
        voter: vote.address.0,
    }
}

/// What a member said in the place of `vote`, in the engine's words.
pub(super) fn engine_vote(vote: Vote, said: &message::Vote) -> Vote {
    Vote {
        value: said
            .block
            .map_or(NilOrVal::Nil, |hash| NilOrVal::Val(BlockHash(hash))),
        ..vote
    }
}

/// What a proposer said in the place of `proposal`, in the engine's words.
pub(super) fn engine_proposal(proposal: Proposal, said: &message::Vote) -> Proposal {
    let locked_round = match said.kind {
        VoteKind::Proposal { locked_round } => locked_round,
        VoteKind::Prevote | VoteKind::Precommit => None,
    };
    Proposal {
        value: said.block.map_or(proposal.value, BlockHash),
        pol_round: locked_round.map_or(Round::Nil, Round::new),
        ..proposal
    }
}

/// The engine's certificate in the protocol's words.
pub(super) fn certificate(of: &engine::CommitCertificate<Context>) -> Certificate {
    Certificate {
        height: of.height.0,
        round: round_number(of.round),
        block: of.value_id.0,
        signatures: of
            .commit_signatures
            .iter()
            .map(|it| CommitSignature {
                voter: it.address.0,
                signature: Signature(it.signature.0),
            })
            .collect(),
    }
}

/// The protocol's certificate in the engine's words.
pub(super) fn engine_certificate(of: &Certificate) -> engine::CommitCertificate<Context> {
    engine::CommitCertificate {
        height: Height(of.height),
        round: Round::new(of.round),
        value_id: BlockHash(of.block),
        commit_signatures: of
            .signatures
            .iter()
            .map(|it| engine::CommitSignature::new(Key::of(it.voter), Sig(it.signature.0)))
            .collect(),
    }
}

/// Two votes as evidence; `None` when they are no votes of the protocol.
pub(super) fn equivocation(votes: [(message::Vote, Sig); 2]) -> Option<Equivocation> {
    let [first, second] =
        votes.map(|(vote, signature)| Signed::from_parts(codec::encode(&vote), Signature(signature.0)).ok());
    Some(Equivocation {
        first: first?,
        second: second?,
    })
}
