//! What a transaction does, before it is done: the result of its check, in one type and in words.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::Netuid;

use crate::accounts::Transfer;
use crate::axon::Announcement;
use crate::committee::{Bond, Leaving, Readiness, Slash};
use crate::dissolution::SubnetDissolution;
use crate::evidence::{AcceptedContest, AcceptedEvidence, AcceptedOpening, Penalty};
use crate::parameters::ParameterChange;
use crate::pulse::AcceptedPulse;
use crate::registration::Registration;
use crate::stake::{StakeMove, StakeTransfer, TakeChange};
use crate::subnet::SubnetCreation;
use crate::swaps::{ColdkeyHandover, ColdkeySwapAnnouncement, HotkeySwap};
use crate::weights::{AcceptedCommit, AcceptedTimelocked, AcceptedWeights};

/// What a transaction that is not refused does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Moves free balance.
    Transfer(Transfer),
    /// Creates a subnet.
    CreateSubnet(SubnetCreation),
    /// Starts a subnet.
    StartSubnet(Netuid),
    /// Ends a subnet.
    DissolveSubnet(SubnetDissolution),
    /// Announces a parameter's next value.
    SetParameter(ParameterChange),
    /// Gives a hotkey a UID.
    Register(Registration),
    /// Moves free balance into stake.
    AddStake(StakeMove),
    /// Moves stake into free balance.
    RemoveStake(StakeMove),
    /// Moves stake between pools.
    MoveStake(StakeTransfer),
    /// Sets a hotkey's take.
    SetTake(TakeChange),
    /// Replaces a hotkey.
    SwapHotkey(HotkeySwap),
    /// Announces a new coldkey.
    AnnounceColdkeySwap(ColdkeySwapAnnouncement),
    /// Cancels an announced coldkey.
    DisputeColdkeySwap(ColdkeySwapAnnouncement),
    /// Hands over to a new coldkey.
    ExecuteColdkeySwap(ColdkeyHandover),
    /// Makes a hotkey a candidate for the committee.
    JoinCommittee(Bond),
    /// Ends a candidacy.
    LeaveCommittee(Leaving),
    /// Shows readiness for the committee.
    CommitteeReady(Readiness),
    /// Punishes a member of the committee.
    ReportEquivocation(Slash),
    /// Announces an axon.
    ServeAxon(Announcement),
    /// Commits to weights.
    CommitWeights(AcceptedCommit),
    /// Sets weights.
    RevealWeights(AcceptedWeights),
    /// Commits to evidence.
    CommitEvidence(AcceptedEvidence),
    /// Opens evidence.
    OpenEvidence(AcceptedOpening),
    /// Punishes a validator for forged evidence.
    ReportForgery(Penalty),
    /// Contests a failure.
    ContestFailure(AcceptedContest),
    /// Commits to weights that open by themselves.
    CommitTimelocked(AcceptedTimelocked),
    /// Brings a pulse.
    PublishPulse(AcceptedPulse),
}

impl Effect {
    /// What it takes from the free balance of the account that pays the fee, and what it adds to it.
    pub(crate) fn free_balance(&self) -> (Amount, Amount) {
        match self {
            Self::Transfer(it) if it.from == it.to => (Amount::ZERO, Amount::ZERO),
            Self::Transfer(it) => (it.amount, Amount::ZERO),
            Self::CreateSubnet(it) => (it.lock, Amount::ZERO),
            Self::DissolveSubnet(it) => (Amount::ZERO, it.lock_returned),
            Self::Register(it) => (it.price, Amount::ZERO),
            Self::AddStake(it) => (it.amount, Amount::ZERO),
            Self::RemoveStake(it) => (Amount::ZERO, it.amount),
            Self::SwapHotkey(it) => (it.price, Amount::ZERO),
            Self::JoinCommittee(it) => (it.amount, Amount::ZERO),
            Self::ReportEquivocation(it) => (Amount::ZERO, it.reward),
            Self::ReportForgery(it) => (Amount::ZERO, it.reward),
            Self::ExecuteColdkeySwap(it) => (Amount::ZERO, it.free),
            Self::StartSubnet(_)
            | Self::SetParameter(_)
            | Self::MoveStake(_)
            | Self::SetTake(_)
            | Self::AnnounceColdkeySwap(_)
            | Self::DisputeColdkeySwap(_)
            | Self::LeaveCommittee(_)
            | Self::CommitteeReady(_)
            | Self::ServeAxon(_)
            | Self::CommitWeights(_)
            | Self::RevealWeights(_)
            | Self::CommitEvidence(_)
            | Self::OpenEvidence(_)
            | Self::ContestFailure(_)
            | Self::CommitTimelocked(_)
            | Self::PublishPulse(_) => (Amount::ZERO, Amount::ZERO),
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer(it) => write!(f, "moves {} from {} to {}", it.amount, it.from, it.to),
            Self::CreateSubnet(it) => {
                write!(
                    f,
                    "creates subnet {} for the task {} and locks {}",
                    it.netuid, it.task, it.lock
                )
            }
            Self::StartSubnet(netuid) => write!(f, "starts subnet {netuid}"),
            Self::DissolveSubnet(it) => dissolves(f, it),
            Self::SetParameter(it) => sets_parameter(f, it),
            Self::Register(it) => registers(f, it),
            Self::AddStake(it) => write!(f, "stakes {} on {} in subnet {}", it.amount, it.hotkey, it.netuid),
            Self::RemoveStake(it) => {
                write!(
                    f,
                    "takes {} back from {} in subnet {}",
                    it.amount, it.hotkey, it.netuid
                )
            }
            Self::MoveStake(it) => it.fmt(f),
            Self::SetTake(it) => it.fmt(f),
            Self::SwapHotkey(it) => it.fmt(f),
            Self::AnnounceColdkeySwap(it) => it.fmt(f),
            Self::DisputeColdkeySwap(it) => {
                write!(
                    f,
                    "cancels the announced coldkey swap from {} to {}",
                    it.coldkey, it.new_coldkey
                )
            }
            Self::ExecuteColdkeySwap(it) => it.fmt(f),
            Self::JoinCommittee(it) => it.fmt(f),
            Self::LeaveCommittee(it) => it.fmt(f),
            Self::CommitteeReady(it) => it.fmt(f),
            Self::ReportEquivocation(it) => it.fmt(f),
            Self::ServeAxon(it) => {
                let address = it.axon.socket_addr();
                write!(
                    f,
                    "announces {address} for UID {} on subnet {}",
                    it.uid, it.netuid
                )
            }
            Self::CommitWeights(it) => write!(
                f,
                "commits UID {} on subnet {} to weights of tempo {}, to be revealed in tempo {}",
                it.uid, it.netuid, it.tempo, it.reveal_tempo
            ),
            Self::RevealWeights(it) => reveals(f, it),
            Self::CommitEvidence(it) => it.fmt(f),
            Self::OpenEvidence(it) => it.fmt(f),
            Self::ReportForgery(it) => it.fmt(f),
            Self::ContestFailure(it) => it.fmt(f),
            Self::CommitTimelocked(it) => it.fmt(f),
            Self::PublishPulse(it) => it.fmt(f),
        }
    }
}

fn dissolves(f: &mut fmt::Formatter<'_>, it: &SubnetDissolution) -> fmt::Result {
    write!(
        f,
        "dissolves subnet {}, returns {} of its lock and {} of stake to whom they belong, and burns {} of its \
         lock and {} that no epoch paid",
        it.netuid, it.lock_returned, it.staked, it.lock_burned, it.pots_burned
    )
}

fn sets_parameter(f: &mut fmt::Formatter<'_>, it: &ParameterChange) -> fmt::Result {
    write!(
        f,
        "sets {} of subnet {} from {} to {} when tempo {} opens, at block {} if no epoch is put off",
        it.parameter.row().name,
        it.netuid,
        it.value,
        it.value_next,
        it.tempo,
        it.effective
    )
}

fn registers(f: &mut fmt::Formatter<'_>, it: &Registration) -> fmt::Result {
    write!(
        f,
        "burns {} and gives {} UID {} on subnet {}",
        it.price, it.hotkey, it.uid, it.netuid
    )?;
    it.replaces
        .map_or(Ok(()), |replaced| write!(f, ", replacing {replaced}"))
}

fn reveals(f: &mut fmt::Formatter<'_>, it: &AcceptedWeights) -> fmt::Result {
    let (count, dropped) = (it.row.len(), it.dropped.len());
    let (uid, netuid) = (it.uid, it.netuid);
    write!(f, "sets {count} weights of UID {uid} on subnet {netuid}")?;
    if dropped == 0 {
        return Ok(());
    }
    write!(
        f,
        " and drops {dropped} on UIDs that changed hands since the commit"
    )
}
