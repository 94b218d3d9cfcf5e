//! Subnets: their record, their creation and their start.
//!
//! Creating one locks a price that stays part of what exists; it is neither spent nor burned. A subnet has tempos
//! and epochs from the block that created it, so that permits and parameters are settled before it is started;
//! started, it takes part in emission.

use std::collections::BTreeMap;

use agon_protocol::amount::{Amount, BASE_UNITS_PER_UNIT};
use agon_protocol::id::{BlockNumber, Coldkey, Digest, Netuid};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::parameters::{ParameterId, Parameters};
use crate::refusal::{NotOwner, ShortOfFunds, UnknownSubnet};
use crate::supply::plus;
use crate::table::Entry;

/// What creating a subnet locks: 100 whole units.
pub const SUBNET_LOCK: Amount = Amount::from_base_units(100 * BASE_UNITS_PER_UNIT);

/// Most subnets of a ledger; bounds what a block spends on emission.
pub const SUBNETS_MAX: u16 = 128;

/// What the ledger keeps of a subnet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Subnet {
    pub(crate) owner: Coldkey,
    /// Name of its task.
    pub(crate) task: String,
    /// What the owner locked.
    pub(crate) locked: Amount,
    pub(crate) started: bool,
    pub(crate) schedule: Schedule,
    /// Price of a UID right after the newest registration, and when that was.
    pub(crate) price: Amount,
    pub(crate) price_block: BlockNumber,
    /// How many UIDs are taken; they are `0..neuron_count`.
    pub(crate) neuron_count: u16,
    /// Sum of the stake pools of the subnet.
    pub(crate) staked: Amount,
    pub(crate) pots: Pots,
    /// In force.
    pub(crate) parameters: Parameters,
    /// In force from the next tempo on.
    pub(crate) announced: BTreeMap<ParameterId, u64>,
}

/// Where a subnet stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Schedule {
    /// Number of the running tempo.
    pub(crate) tempo: u64,
    /// Height of the block that opened it.
    pub(crate) tempo_start: BlockNumber,
    /// Hash of the block before that one, so known as soon as the tempo is open: see [`crate::State::apply`].
    pub(crate) beacon: Digest,
    /// The next epoch is due a tempo after this; before the first epoch it staggers subnets created together.
    pub(crate) epoch_base: BlockNumber,
    /// Height of the newest epoch, 0 before the first.
    pub(crate) epoch_last: BlockNumber,
}

/// Base units that were created for a subnet and not paid yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Pots {
    /// Created in the running tempo; the owner's cut is still in it.
    pub(crate) pending: Amount,
    /// For miners, held because none earned in earlier tempos.
    pub(crate) miners_held: Amount,
    /// For validators, held because none earned in earlier tempos.
    pub(crate) validators_held: Amount,
}

impl Pots {
    pub(crate) const fn held(&self) -> Amount {
        plus(self.miners_held, self.validators_held)
    }
}

impl Entry for Subnet {
    type Key = Netuid;
    const KIND: u8 = 0x04;
}

impl Subnet {
    /// Height at which the next epoch is due.
    pub(crate) fn next_epoch(&self) -> BlockNumber {
        let tempo_blocks = self.parameters.value(ParameterId::TempoBlocks);
        BlockNumber(self.schedule.epoch_base.0.saturating_add(tempo_blocks))
    }

    /// Whether it takes part in emission.
    pub(crate) const fn earns(&self) -> bool {
        self.started && self.parameters.is_on(ParameterId::RegistrationOpen)
    }

    /// The parameters as they will be when the next tempo opens.
    pub(crate) fn parameters_announced(&self) -> Parameters {
        let mut parameters = self.parameters.clone();
        for (parameter, value) in &self.announced {
            parameters.set(*parameter, *value);
        }
        parameters
    }
}

/// Why a subnet is not created.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateSubnetRefusal {
    /// The task's name cannot be one.
    #[error("{task:?} cannot name a task: use 1 to 64 lowercase letters, digits, '-' and '_'")]
    Task {
        /// What was given.
        task: String,
    },
    /// No number left.
    #[error("there are {count} subnets, {SUBNETS_MAX} at most: register on an existing one")]
    SubnetsMax {
        /// How many there are.
        count: u16,
    },
    /// The lock is more than the owner allows.
    #[error("a subnet locks {lock} and the limit of this call is {lock_max}: allow {lock} or more")]
    LockMax {
        /// What is locked now.
        lock: Amount,
        /// The most the call allows.
        lock_max: Amount,
    },
    /// The free balance is too small.
    #[error(transparent)]
    Balance(#[from] ShortOfFunds),
}

impl CreateSubnetRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Task { .. } => "task name",
            Self::SubnetsMax { .. } => "subnets",
            Self::LockMax { .. } => "lock limit",
            Self::Balance(_) => ShortOfFunds::RULE,
        }
    }
}

/// Why a subnet is not started.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartSubnetRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// Not the owner.
    #[error(transparent)]
    Owner(#[from] NotOwner),
    /// Done already.
    #[error("subnet {netuid} was started already: there is nothing left to do")]
    Started {
        /// Which subnet.
        netuid: Netuid,
    },
}

impl StartSubnetRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Owner(_) => NotOwner::RULE,
            Self::Started { .. } => "started",
        }
    }
}

/// An accepted creation of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetCreation {
    /// The number it gets.
    pub netuid: Netuid,
    /// Its owner.
    pub owner: Coldkey,
    /// Name of its task.
    pub task: String,
    /// What is locked.
    pub lock: Amount,
}

impl State {
    pub(crate) fn check_create_subnet(
        &self,
        owner: Coldkey,
        task: &str,
        lock_max: Amount,
    ) -> Result<SubnetCreation, CreateSubnetRefusal> {
        if !names_a_task(task) {
            return Err(CreateSubnetRefusal::Task {
                task: task.to_owned(),
            });
        }
        let Netuid(count) = self.progress().netuid_last;
        if count >= SUBNETS_MAX {
            return Err(CreateSubnetRefusal::SubnetsMax { count });
        }
        if lock_max < SUBNET_LOCK {
            return Err(CreateSubnetRefusal::LockMax {
                lock: SUBNET_LOCK,
                lock_max,
            });
        }
        self.check_free(owner, SUBNET_LOCK)?;
        let netuid = Netuid(count.saturating_add(1));
        Ok(SubnetCreation {
            netuid,
            owner,
            task: task.to_owned(),
            lock: SUBNET_LOCK,
        })
    }

    pub(crate) fn create_subnet(&mut self, creation: &SubnetCreation) {
        self.debit(creation.owner, creation.lock);
        let mut progress = self.progress();
        progress.netuid_last = creation.netuid;
        self.write_progress(&progress);
        let parameters = Parameters::of_preset(self.origin().preset);
        let subnet = Subnet {
            owner: creation.owner,
            task: creation.task.clone(),
            locked: creation.lock,
            started: false,
            schedule: first_schedule(creation.netuid, progress.height, progress.parent, &parameters),
            price: parameters.amount(ParameterId::RegistrationPriceFloor),
            price_block: progress.height,
            neuron_count: 0,
            staked: Amount::ZERO,
            pots: Pots::default(),
            parameters,
            announced: BTreeMap::new(),
        };
        self.table.write(&creation.netuid, &subnet);
    }

    pub(crate) fn check_start_subnet(
        &self,
        signer: Coldkey,
        netuid: Netuid,
    ) -> Result<Netuid, StartSubnetRefusal> {
        let subnet = self.owned_subnet::<StartSubnetRefusal>(netuid, signer)?;
        if subnet.started {
            return Err(StartSubnetRefusal::Started { netuid });
        }
        Ok(netuid)
    }

    pub(crate) fn start_subnet(&mut self, netuid: Netuid) {
        let mut subnet = self.expect_subnet(netuid);
        subnet.started = true;
        self.table.write(&netuid, &subnet);
    }

    pub(crate) fn existing_subnet(&self, netuid: Netuid) -> Result<Subnet, UnknownSubnet> {
        let unknown = || UnknownSubnet {
            netuid,
            netuid_last: self.progress().netuid_last,
        };
        self.table.read(&netuid).ok_or_else(unknown)
    }

    /// The subnet, if `signer` owns it. The refusals of either case become those of any call.
    pub(crate) fn owned_subnet<E>(&self, netuid: Netuid, signer: Coldkey) -> Result<Subnet, E>
    where
        E: From<UnknownSubnet> + From<NotOwner>,
    {
        let subnet = self.existing_subnet(netuid)?;
        if subnet.owner != signer {
            return Err(NotOwner {
                netuid,
                owner: subnet.owner,
            }
            .into());
        }
        Ok(subnet)
    }

    /// The subnet of a netuid that a check or an index named.
    pub(crate) fn expect_subnet(&self, netuid: Netuid) -> Subnet {
        self.table.read(&netuid).expect("a subnet that was found stays")
    }
}

fn names_a_task(task: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    (1..=64).contains(&task.len()) && task.bytes().all(allowed)
}

/// The first tempo opens with the block that creates the subnet. Its epoch comes up to a tempo earlier than a full
/// tempo would, by the netuid, so that subnets created together do not run their epochs in one block.
fn first_schedule(netuid: Netuid, height: BlockNumber, parent: Digest, parameters: &Parameters) -> Schedule {
    let tempo_blocks = parameters.value(ParameterId::TempoBlocks);
    let stagger = u64::from(netuid.0).checked_rem(tempo_blocks).unwrap_or(0);
    Schedule {
        tempo: 0,
        tempo_start: height,
        beacon: parent,
        epoch_base: BlockNumber(height.0.saturating_sub(stagger)),
        epoch_last: BlockNumber(0),
    }
}
