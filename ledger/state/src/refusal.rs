//! Why the ledger refuses a transaction: one enum for each kind of call, and what they share.
//!
//! A refusal names its rule, the value it met, the bound, and what to do next. Dry run, receipt and tool show the
//! same sentence, because all of them show this.

use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Digest, Hotkey, Netuid};
use agon_protocol::message::{MessageError, RefusalView};
use agon_protocol::sign::SignError;
use thiserror::Error;

use crate::accounts::TransferRefusal;
use crate::axon::ServeAxonRefusal;
use crate::committee::{
    CommitteeReadyRefusal, JoinCommitteeRefusal, LeaveCommitteeRefusal, ReportEquivocationRefusal,
};
use crate::dissolution::DissolveSubnetRefusal;
use crate::evidence::{
    CommitEvidenceRefusal, ContestFailureRefusal, OpenEvidenceRefusal, ReportForgeryRefusal,
};
use crate::fees::FeeRefusal;
use crate::parameters::SetParameterRefusal;
use crate::pulse::PublishPulseRefusal;
use crate::registration::RegisterRefusal;
use crate::stake::{AddStakeRefusal, MoveStakeRefusal, RemoveStakeRefusal, SetTakeRefusal};
use crate::subnet::{CreateSubnetRefusal, StartSubnetRefusal};
use crate::swaps::{
    AnnounceColdkeySwapRefusal, DisputeColdkeySwapRefusal, ExecuteColdkeySwapRefusal, SwapHotkeyRefusal,
};
use crate::weights::{CommitTimelockedRefusal, CommitWeightsRefusal, RevealWeightsRefusal};

/// Why a transaction is refused; a refused transaction changes nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Before its call was looked at.
    #[error(transparent)]
    Envelope(#[from] EnvelopeRefusal),
    /// Of a transfer.
    #[error(transparent)]
    Transfer(#[from] TransferRefusal),
    /// Of the creation of a subnet.
    #[error(transparent)]
    CreateSubnet(#[from] CreateSubnetRefusal),
    /// Of the start of a subnet.
    #[error(transparent)]
    StartSubnet(#[from] StartSubnetRefusal),
    /// Of the end of a subnet.
    #[error(transparent)]
    DissolveSubnet(#[from] DissolveSubnetRefusal),
    /// Of a parameter change.
    #[error(transparent)]
    SetParameter(#[from] SetParameterRefusal),
    /// Of a registration.
    #[error(transparent)]
    Register(#[from] RegisterRefusal),
    /// Of adding stake.
    #[error(transparent)]
    AddStake(#[from] AddStakeRefusal),
    /// Of removing stake.
    #[error(transparent)]
    RemoveStake(#[from] RemoveStakeRefusal),
    /// Of moving stake.
    #[error(transparent)]
    MoveStake(#[from] MoveStakeRefusal),
    /// Of setting a take.
    #[error(transparent)]
    SetTake(#[from] SetTakeRefusal),
    /// Of replacing a hotkey.
    #[error(transparent)]
    SwapHotkey(#[from] SwapHotkeyRefusal),
    /// Of announcing a new coldkey.
    #[error(transparent)]
    AnnounceColdkeySwap(#[from] AnnounceColdkeySwapRefusal),
    /// Of disputing an announced coldkey.
    #[error(transparent)]
    DisputeColdkeySwap(#[from] DisputeColdkeySwapRefusal),
    /// Of handing over to a new coldkey.
    #[error(transparent)]
    ExecuteColdkeySwap(#[from] ExecuteColdkeySwapRefusal),
    /// Of joining the committee.
    #[error(transparent)]
    JoinCommittee(#[from] JoinCommitteeRefusal),
    /// Of leaving the committee.
    #[error(transparent)]
    LeaveCommittee(#[from] LeaveCommitteeRefusal),
    /// Of showing readiness for the committee.
    #[error(transparent)]
    CommitteeReady(#[from] CommitteeReadyRefusal),
    /// Of a report of an equivocation.
    #[error(transparent)]
    ReportEquivocation(#[from] ReportEquivocationRefusal),
    /// Of an axon announcement.
    #[error(transparent)]
    ServeAxon(#[from] ServeAxonRefusal),
    /// Of a weight commit.
    #[error(transparent)]
    CommitWeights(#[from] CommitWeightsRefusal),
    /// Of a weight reveal.
    #[error(transparent)]
    RevealWeights(#[from] RevealWeightsRefusal),
    /// Of a commit to evidence.
    #[error(transparent)]
    CommitEvidence(#[from] CommitEvidenceRefusal),
    /// Of an opening of evidence.
    #[error(transparent)]
    OpenEvidence(#[from] OpenEvidenceRefusal),
    /// Of a report of forged evidence.
    #[error(transparent)]
    ReportForgery(#[from] ReportForgeryRefusal),
    /// Of a contest of a failure.
    #[error(transparent)]
    ContestFailure(#[from] ContestFailureRefusal),
    /// Of a commit to weights that open by themselves.
    #[error(transparent)]
    CommitTimelocked(#[from] CommitTimelockedRefusal),
    /// Of a pulse.
    #[error(transparent)]
    PublishPulse(#[from] PublishPulseRefusal),
    /// Of any call, when it cannot be paid for.
    #[error(transparent)]
    Fee(#[from] FeeRefusal),
    /// A call this build does not know.
    #[error("this node does not know the call {call}: it needs a newer build")]
    Call {
        /// Name of the call.
        call: &'static str,
    },
}

impl Refusal {
    /// Name of the rule, for programs.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Envelope(refusal) => refusal.rule(),
            Self::Transfer(refusal) => refusal.rule(),
            Self::CreateSubnet(refusal) => refusal.rule(),
            Self::StartSubnet(refusal) => refusal.rule(),
            Self::DissolveSubnet(refusal) => refusal.rule(),
            Self::SetParameter(refusal) => refusal.rule(),
            Self::Register(refusal) => refusal.rule(),
            Self::AddStake(refusal) => refusal.rule(),
            Self::RemoveStake(refusal) => refusal.rule(),
            Self::MoveStake(refusal) => refusal.rule(),
            Self::SetTake(refusal) => refusal.rule(),
            Self::SwapHotkey(refusal) => refusal.rule(),
            Self::AnnounceColdkeySwap(refusal) => refusal.rule(),
            Self::DisputeColdkeySwap(refusal) => refusal.rule(),
            Self::ExecuteColdkeySwap(refusal) => refusal.rule(),
            Self::JoinCommittee(refusal) => refusal.rule(),
            Self::LeaveCommittee(refusal) => refusal.rule(),
            Self::CommitteeReady(refusal) => refusal.rule(),
            Self::ReportEquivocation(refusal) => refusal.rule(),
            Self::ServeAxon(refusal) => refusal.rule(),
            Self::CommitWeights(refusal) => refusal.rule(),
            Self::RevealWeights(refusal) => refusal.rule(),
            Self::CommitEvidence(refusal) => refusal.rule(),
            Self::OpenEvidence(refusal) => refusal.rule(),
            Self::ReportForgery(refusal) => refusal.rule(),
            Self::ContestFailure(refusal) => refusal.rule(),
            Self::CommitTimelocked(refusal) => refusal.rule(),
            Self::PublishPulse(refusal) => refusal.rule(),
            Self::Fee(refusal) => refusal.rule(),
            Self::Call { .. } => "call",
        }
    }

    /// Rule and sentence, as a node tells them.
    #[must_use]
    pub fn view(&self) -> RefusalView {
        RefusalView {
            rule: self.rule().to_owned(),
            message: self.to_string(),
        }
    }
}

/// Why a transaction is refused before its call is looked at.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeRefusal {
    /// A field breaks the limits every transaction keeps.
    #[error("{reason}: correct it and sign again")]
    Form {
        /// Which field and how.
        reason: String,
    },
    /// Made for another ledger.
    #[error(
        "the transaction is for the ledger of genesis {found}, this one is {expected}: sign for this one"
    )]
    Genesis {
        /// The genesis it names.
        found: Digest,
        /// This ledger's genesis.
        expected: Digest,
    },
    /// Not signed by its signer.
    #[error("{reason}: sign with the signer's key")]
    Signature {
        /// What does not hold.
        reason: String,
    },
    /// Applied before, or not signed last.
    #[error("nonce {found} was used before: sign again with nonce {expected}")]
    NonceUsed {
        /// The nonce it has.
        found: u64,
        /// The account's next nonce.
        expected: u64,
    },
    /// Earlier ones are missing.
    #[error("nonce {found} is too far, the account's next is {expected}: submit the earlier ones first")]
    NonceAhead {
        /// The nonce it has.
        found: u64,
        /// The account's next nonce.
        expected: u64,
    },
}

impl EnvelopeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Form { .. } => "form",
            Self::Genesis { .. } => "genesis",
            Self::Signature { .. } => "signature",
            Self::NonceUsed { .. } | Self::NonceAhead { .. } => "nonce",
        }
    }
}

impl From<MessageError> for EnvelopeRefusal {
    fn from(error: MessageError) -> Self {
        Self::Form {
            reason: error.to_string(),
        }
    }
}

impl From<SignError> for EnvelopeRefusal {
    fn from(error: SignError) -> Self {
        Self::Signature {
            reason: error.to_string(),
        }
    }
}

/// A subnet that does not exist.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no subnet {netuid}: {}", existing(*.netuid, *.netuid_last))]
pub struct UnknownSubnet {
    /// Which one was asked for.
    pub netuid: Netuid,
    /// The newest one; 0 when there is none.
    pub netuid_last: Netuid,
}

fn existing(netuid: Netuid, netuid_last: Netuid) -> String {
    match netuid_last.0 {
        last if (1..=last).contains(&netuid.0) => {
            String::from("it was dissolved, and what was staked on it returns by itself")
        }
        0 => String::from("none was created yet"),
        1 => String::from("the only one is 1"),
        last => format!("choose one from 1 to {last}"),
    }
}

impl UnknownSubnet {
    pub(crate) const RULE: &str = "subnet";
}

/// A signer that does not own the subnet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("subnet {netuid} belongs to {owner}: sign with that coldkey")]
pub struct NotOwner {
    /// Which subnet.
    pub netuid: Netuid,
    /// Its owner.
    pub owner: Coldkey,
}

impl NotOwner {
    pub(crate) const RULE: &str = "owner";
}

/// A hotkey that is not the signer's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{hotkey} {}", owned_by(*.owner))]
pub struct NotHotkeyOwner {
    /// The hotkey.
    pub hotkey: Hotkey,
    /// Its coldkey, if it has one.
    pub owner: Option<Coldkey>,
}

fn owned_by(owner: Option<Coldkey>) -> String {
    match owner {
        Some(coldkey) => format!("belongs to {coldkey}: sign with that coldkey"),
        None => String::from("belongs to nobody: register it first"),
    }
}

impl NotHotkeyOwner {
    pub(crate) const RULE: &str = "hotkey owner";
}

/// A hotkey that was replaced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{hotkey} was replaced by {now} and is used up: use a key that was never a hotkey here")]
pub struct HotkeyUsed {
    /// The hotkey.
    pub hotkey: Hotkey,
    /// What replaced it.
    pub now: Hotkey,
}

impl HotkeyUsed {
    pub(crate) const RULE: &str = "hotkey used";
}

/// A free balance that is too small.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the free balance is {free} and {needed} is needed: add {} first", .needed.saturating_sub(*.free))]
pub struct ShortOfFunds {
    /// What the account has.
    pub free: Amount,
    /// What it would pay.
    pub needed: Amount,
}

impl ShortOfFunds {
    pub(crate) const RULE: &str = "balance";
}

/// A hotkey without a UID.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{hotkey} holds no UID on subnet {netuid}: register it first")]
pub struct NotRegistered {
    /// Which subnet.
    pub netuid: Netuid,
    /// The hotkey.
    pub hotkey: Hotkey,
}

impl NotRegistered {
    pub(crate) const RULE: &str = "registered";
}
