//! What an account asks of the ledger.
//!
//! A transaction names its ledger by the digest of the genesis and its place in the account's history by a nonce,
//! so that it applies once and on one ledger only. What each call requires and does is `ledger/state`'s business;
//! here are its bytes and their limits.

use std::net::{IpAddr, SocketAddr};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Contest, Equivocation, EvidenceCommit, EvidenceOf, EvidenceOpening, Forgery, Message, MessageError,
    Weights, WeightsCommit, at_most,
};
use crate::amount::Amount;
use crate::id::{Account, BlockNumber, Coldkey, ConsensusKey, Digest, Hotkey, Netuid};
use crate::sign::{Purpose, Signature};
use crate::timelock::{PulseSignature, SealedWeights};

/// One ordered wish of one account.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// Which ledger: digest of its genesis.
    pub genesis: Digest,
    /// Who asks and signs.
    pub signer: Account,
    /// How many transactions of this account were applied before; the first has 0.
    pub nonce: u64,
    /// What is asked.
    pub call: Call,
}

/// What can be asked of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = false)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Call {
    /// Coldkey: move free balance to another coldkey.
    Transfer {
        /// Who receives.
        to: Coldkey,
        /// How much.
        amount: Amount,
    },
    /// Coldkey: create a subnet for a task and become its owner.
    CreateSubnet {
        /// Name of the task.
        task: String,
        /// Most the owner is willing to lock.
        lock_max: Amount,
    },
    /// Owner: let the subnet earn emission.
    StartSubnet {
        /// Which subnet.
        netuid: Netuid,
    },
    /// Owner: end the subnet; its stake and what is left of the lock go back.
    DissolveSubnet {
        /// Which subnet.
        netuid: Netuid,
    },
    /// Owner: set a parameter of the subnet by its name in the parameter table.
    SetParameter {
        /// Which subnet.
        netuid: Netuid,
        /// The parameter's name.
        name: String,
        /// The new value; switches take 0 and 1.
        value: u64,
    },
    /// Coldkey: burn the current price to give one of its hotkeys a UID.
    Register {
        /// Which subnet.
        netuid: Netuid,
        /// The hotkey that will hold the UID; it belongs to the signing coldkey from now on.
        hotkey: Hotkey,
        /// Most the coldkey is willing to burn.
        price_max: Amount,
    },
    /// Coldkey: stake free balance on a hotkey.
    AddStake {
        /// Which subnet.
        netuid: Netuid,
        /// The hotkey.
        hotkey: Hotkey,
        /// How much.
        amount: Amount,
    },
    /// Coldkey: take stake back into free balance.
    RemoveStake {
        /// Which subnet.
        netuid: Netuid,
        /// The hotkey.
        hotkey: Hotkey,
        /// How much; at most what the coldkey's shares are worth.
        amount: Amount,
    },
    /// Hotkey: announce where it serves.
    ServeAxon {
        /// Which subnet.
        netuid: Netuid,
        /// The endpoint.
        axon: Axon,
    },
    /// Hotkey: commit to weights without showing them.
    CommitWeights {
        /// Which subnet.
        netuid: Netuid,
        /// Digest of the weights and their salt.
        commit: WeightsCommit,
    },
    /// Hotkey: show the weights of an earlier commit.
    RevealWeights {
        /// Which subnet.
        netuid: Netuid,
        /// The weights and their salt.
        weights: Weights,
    },
    /// Coldkey: move stake to another hotkey, another subnet, or both.
    MoveStake {
        /// Subnet and hotkey it is on.
        from: (Netuid, Hotkey),
        /// Subnet and hotkey it goes to.
        to: (Netuid, Hotkey),
        /// How much; at most what the coldkey's shares are worth.
        amount: Amount,
    },
    /// Coldkey: set the share of a hotkey's dividends that it keeps before the stakers share the rest.
    SetTake {
        /// One of its hotkeys.
        hotkey: Hotkey,
        /// The share, in parts per million.
        take_ppm: u32,
    },
    /// Coldkey: replace one of its hotkeys by a fresh key everywhere.
    SwapHotkey {
        /// The hotkey that goes.
        hotkey: Hotkey,
        /// The hotkey that comes; never used as one before.
        new_hotkey: Hotkey,
    },
    /// Coldkey: announce that another coldkey will take over all it has.
    AnnounceColdkeySwap {
        /// Who takes over.
        new_coldkey: Coldkey,
    },
    /// Coldkey: cancel its announced swap.
    DisputeColdkeySwap,
    /// Old or new coldkey: carry out an announced swap that is due.
    ExecuteColdkeySwap {
        /// The coldkey that hands over.
        coldkey: Coldkey,
    },
    /// Coldkey: lock a bond and make one of its hotkeys a candidate for the committee.
    JoinCommittee {
        /// The hotkey.
        hotkey: Hotkey,
        /// The key it votes with.
        consensus_key: ConsensusKey,
        /// That key's signature over [`Statement::Join`](super::Statement::Join).
        proof: Signature,
        /// What is locked.
        bond: Amount,
    },
    /// Coldkey: stop being a candidate, and have the bond back after a delay.
    LeaveCommittee {
        /// The hotkey.
        hotkey: Hotkey,
    },
    /// Hotkey: show that its consensus key follows the ledger.
    CommitteeReady {
        /// Height of one of the newest blocks.
        height: BlockNumber,
        /// Its hash.
        hash: Digest,
        /// The consensus key's signature over [`Statement::Ready`](super::Statement::Ready).
        proof: Signature,
    },
    /// Anyone: show that a member of the committee contradicted itself.
    ReportEquivocation {
        /// Its two votes.
        evidence: Box<Equivocation>,
    },
    /// Hotkey: commit to the evidence of the running tempo.
    CommitEvidence {
        /// Which subnet.
        netuid: Netuid,
        /// The commit.
        evidence: EvidenceCommit,
    },
    /// Hotkey: show the leaves that were picked of the tempo before.
    OpenEvidence {
        /// Which subnet.
        netuid: Netuid,
        /// The leaves.
        opening: Box<EvidenceOpening>,
    },
    /// Anyone: show that a validator's evidence does not follow from the rules. A hotkey reports for its coldkey, so
    /// that a process that stays up can.
    ReportForgery {
        /// Whose evidence.
        of: EvidenceOf,
        /// What is wrong with it.
        forgery: Box<Forgery>,
    },
    /// Hotkey: commit to weights that open by themselves, with the pulse of the round that the ledger fixed for the
    /// running tempo.
    CommitTimelocked {
        /// Which subnet.
        netuid: Netuid,
        /// Digest of the weights and their salt.
        commit: WeightsCommit,
        /// The weights, sealed to the round.
        sealed: SealedWeights,
    },
    /// Anyone: bring a pulse of the beacon that something waits for.
    PublishPulse {
        /// Its round.
        round: u64,
        /// The beacon's signature over it.
        signature: PulseSignature,
    },
    /// Hotkey of a miner: answer a failure that a validator's evidence claims of it with its receipt.
    ContestFailure {
        /// Whose evidence.
        of: EvidenceOf,
        /// The claim and the receipt.
        contest: Box<Contest>,
    },
}

impl Call {
    /// Name of the call, as errors, events and the tool show it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "transfer",
            Self::CreateSubnet { .. } => "create_subnet",
            Self::StartSubnet { .. } => "start_subnet",
            Self::DissolveSubnet { .. } => "dissolve_subnet",
            Self::SetParameter { .. } => "set_parameter",
            Self::Register { .. } => "register",
            Self::AddStake { .. } => "add_stake",
            Self::RemoveStake { .. } => "remove_stake",
            Self::ServeAxon { .. } => "serve_axon",
            Self::CommitWeights { .. } => "commit_weights",
            Self::RevealWeights { .. } => "reveal_weights",
            Self::MoveStake { .. } => "move_stake",
            Self::SetTake { .. } => "set_take",
            Self::SwapHotkey { .. } => "swap_hotkey",
            Self::AnnounceColdkeySwap { .. } => "announce_coldkey_swap",
            Self::DisputeColdkeySwap => "dispute_coldkey_swap",
            Self::ExecuteColdkeySwap { .. } => "execute_coldkey_swap",
            Self::JoinCommittee { .. } => "join_committee",
            Self::LeaveCommittee { .. } => "leave_committee",
            Self::CommitteeReady { .. } => "committee_ready",
            Self::ReportEquivocation { .. } => "report_equivocation",
            Self::CommitEvidence { .. } => "commit_evidence",
            Self::OpenEvidence { .. } => "open_evidence",
            Self::ReportForgery { .. } => "report_forgery",
            Self::ContestFailure { .. } => "contest_failure",
            Self::CommitTimelocked { .. } => "commit_timelocked",
            Self::PublishPulse { .. } => "publish_pulse",
        }
    }

    /// Whether a hotkey signs it; its coldkey then pays the fee. Everything else a coldkey signs and pays.
    #[must_use]
    pub const fn is_signed_by_hotkey(&self) -> bool {
        match self {
            Self::ServeAxon { .. }
            | Self::CommitWeights { .. }
            | Self::RevealWeights { .. }
            | Self::CommitEvidence { .. }
            | Self::OpenEvidence { .. }
            | Self::ContestFailure { .. }
            | Self::CommitTimelocked { .. }
            | Self::CommitteeReady { .. } => true,
            Self::Transfer { .. }
            | Self::CreateSubnet { .. }
            | Self::StartSubnet { .. }
            | Self::DissolveSubnet { .. }
            | Self::SetParameter { .. }
            | Self::Register { .. }
            | Self::AddStake { .. }
            | Self::RemoveStake { .. }
            | Self::MoveStake { .. }
            | Self::SetTake { .. }
            | Self::SwapHotkey { .. }
            | Self::AnnounceColdkeySwap { .. }
            | Self::DisputeColdkeySwap
            | Self::ExecuteColdkeySwap { .. }
            | Self::JoinCommittee { .. }
            | Self::LeaveCommittee { .. }
            | Self::ReportEquivocation { .. }
            | Self::ReportForgery { .. }
            | Self::PublishPulse { .. } => false,
        }
    }
}

/// Where a miner serves and what; announced on the ledger by its hotkey.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct Axon {
    /// Address.
    pub ip: IpAddr,
    /// Port; not 0.
    pub port: u16,
    /// Version of the miner protocol.
    pub protocol: u32,
    /// Answers that it says it can give at the same moment, at least 1: how many a task asks of it at most that pays for
    /// work proven in bursts.
    pub at_once: u16,
    /// The models it serves, at least one and none twice; the first answers where a task pins none.
    pub models: Vec<AxonModel>,
}

/// One model that an axon serves.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case", deny_unknown_fields)
)]
pub struct AxonModel {
    /// Digest over its tensors and tokenizer.
    pub digest: Digest,
    /// Its name, for people.
    pub name: String,
}

impl AxonModel {
    /// Most bytes of a model's name.
    pub const NAME_BYTES_MAX: usize = 64;

    /// A model under a name, which is cut where it is longer than the ledger takes.
    #[must_use]
    pub fn named(digest: Digest, name: &str) -> Self {
        let mut name = name.to_owned();
        while name.len() > Self::NAME_BYTES_MAX {
            name.pop();
        }
        Self { digest, name }
    }
}

impl Axon {
    /// Version of the miner protocol that this build speaks.
    pub const PROTOCOL: u32 = 1;
    /// Most models of one axon: each is kept by every node for every UID.
    pub const MODELS_MAX: usize = 4;
    /// Most answers that it may say it can give at once.
    pub const AT_ONCE_MAX: u16 = 4096;

    /// Address and port.
    #[must_use]
    pub const fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    pub(crate) fn validate(&self) -> Result<(), MessageError> {
        self.validate_models()?;
        at_most("at_once", self.at_once.into(), Self::AT_ONCE_MAX.into())?;
        if self.at_once == 0 {
            return Err(MessageError::Invalid {
                field: "at_once",
                reason: String::from("an axon gives at least one answer at a time"),
            });
        }
        if self.port == 0 || self.ip.is_unspecified() || self.ip.is_multicast() {
            let reason = format!("nobody can reach {}", self.socket_addr());
            return Err(MessageError::Invalid {
                field: "axon",
                reason,
            });
        }
        Ok(())
    }

    fn validate_models(&self) -> Result<(), MessageError> {
        at_most("models", self.models.len(), Self::MODELS_MAX)?;
        let invalid = |reason| MessageError::Invalid {
            field: "models",
            reason,
        };
        if self.models.is_empty() {
            return Err(invalid(String::from("an axon serves at least one model")));
        }
        for (index, model) in self.models.iter().enumerate() {
            at_most("model name bytes", model.name.len(), AxonModel::NAME_BYTES_MAX)?;
            if self
                .models
                .iter()
                .take(index)
                .any(|other| other.digest == model.digest)
            {
                return Err(invalid(format!("{} is there twice", model.digest)));
            }
        }
        Ok(())
    }
}

impl Transaction {
    /// Most bytes of a name inside a call.
    pub const NAME_BYTES_MAX: usize = 64;
}

impl Message for Transaction {
    const PURPOSE: Purpose = Purpose::Transaction;
    const DIGEST_CONTEXT: &'static str = "agon 2026-11 transaction digest";
    /// The longest is the opening of evidence, with as many slots and as long windows as there may be.
    const BYTES_MAX: usize = 256 * 1024;

    fn signer(&self) -> Account {
        self.signer
    }

    fn validate(&self) -> Result<(), MessageError> {
        match &self.call {
            Call::CreateSubnet { task, .. } => at_most("task bytes", task.len(), Self::NAME_BYTES_MAX),
            Call::SetParameter { name, .. } => at_most("name bytes", name.len(), Self::NAME_BYTES_MAX),
            Call::ServeAxon { axon, .. } => axon.validate(),
            Call::RevealWeights { weights, .. } => weights.validate(),
            Call::CommitEvidence { evidence, .. } => evidence.validate(),
            Call::OpenEvidence { opening, .. } => opening.validate(),
            Call::ReportForgery { forgery, .. } => forgery.validate(),
            Call::ContestFailure { contest, .. } => contest.validate(),
            Call::CommitTimelocked { sealed, .. } => sealed.validate(),
            _ => Ok(()),
        }
    }
}
