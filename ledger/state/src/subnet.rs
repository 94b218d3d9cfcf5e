//! Subnets: their record, their creation and their start.
//!
//! A subnet has tempos and epochs from the block that created it, so that permits and parameters are settled before
//! it is started; started, it takes part in emission. How one ends is in `dissolution`.
//!
//! # Lock
//!
//! Creating one locks a price that stays part of what exists; it is neither spent nor burned. The price doubles with
//! each creation and falls from there to its floor in a straight line, over the network's `subnet_lock_decay_blocks`.

use std::collections::BTreeMap;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Digest, Netuid};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::parameters::{Announced, NetworkParameterId, ParameterId, Parameters};
use crate::refusal::{NotOwner, ShortOfFunds, UnknownSubnet};
use crate::supply::{SUPPLY_MAX, minus, plus};
use crate::table::Entry;

/// What the ledger keeps of a subnet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Subnet {
    pub(crate) owner: Coldkey,
    /// Name of its task.
    pub(crate) task: String,
    /// What the owner locked.
    pub(crate) locked: Amount,
    /// All that the owner's cut ever brought.
    pub(crate) owner_emitted: Amount,
    pub(crate) started: bool,
    pub(crate) schedule: Schedule,
    /// Price of a UID right after the newest registration, and when that was.
    pub(crate) price: Amount,
    pub(crate) price_block: BlockNumber,
    /// How many UIDs are taken; they are `0..neuron_count`.
    pub(crate) neuron_count: u16,
    /// Sum of the stake pools of the subnet.
    pub(crate) staked: Amount,
    /// Moving average of that sum: what divides emission between subnets.
    pub(crate) stake_average: Amount,
    pub(crate) pots: Pots,
    /// In force.
    pub(crate) parameters: Parameters,
    /// In force from a later tempo on; at most one value for each parameter.
    pub(crate) announced: BTreeMap<ParameterId, Announced>,
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
    const HELD: Option<fn(&Self) -> u128> = Some(Self::held);
}

impl Subnet {
    /// What is locked in it and what it has not paid yet; its stake is held by the pools.
    fn held(&self) -> u128 {
        let Pots {
            pending,
            miners_held,
            validators_held,
        } = self.pots;
        [self.locked, pending, miners_held, validators_held]
            .iter()
            .map(|amount| u128::from(amount.base_units()))
            .fold(0, u128::saturating_add)
    }

    /// A subnet without anything, whose first tempo is open since block 0.
    pub(crate) fn new(owner: Coldkey, parameters: Parameters) -> Self {
        let schedule = Schedule {
            tempo: 0,
            tempo_start: BlockNumber(0),
            beacon: Digest::default(),
            epoch_base: BlockNumber(0),
            epoch_last: BlockNumber(0),
        };
        Self {
            owner,
            task: String::new(),
            locked: Amount::ZERO,
            owner_emitted: Amount::ZERO,
            started: false,
            schedule,
            price: parameters.amount(ParameterId::RegistrationPriceFloor),
            price_block: BlockNumber(0),
            neuron_count: 0,
            staked: Amount::ZERO,
            stake_average: Amount::ZERO,
            pots: Pots::default(),
            parameters,
            announced: BTreeMap::new(),
        }
    }

    /// Height at which the next epoch is due.
    pub(crate) fn next_epoch(&self) -> BlockNumber {
        let tempo_blocks = self.parameters.value(ParameterId::TempoBlocks);
        BlockNumber(self.schedule.epoch_base.0.saturating_add(tempo_blocks))
    }

    /// Whether it takes part in emission.
    pub(crate) const fn earns(&self) -> bool {
        self.started && self.parameters.is_on(ParameterId::RegistrationOpen)
    }

    /// The parameters as they will be in `tempo`, which is not over.
    pub(crate) fn parameters_in(&self, tempo: u64) -> Parameters {
        let mut parameters = self.parameters.clone();
        for (parameter, announced) in &self.announced {
            if announced.tempo <= tempo {
                parameters.set(*parameter, announced.value);
            }
        }
        parameters
    }

    /// Height of the block that opens `tempo`, a later one, if no epoch is put off and the tempo's length is announced
    /// no further.
    pub(crate) fn opening(&self, tempo: u64) -> BlockNumber {
        let mut height = self.next_epoch();
        // As many tempos as a notice has, at most.
        for between in self.schedule.tempo.saturating_add(1)..tempo {
            let tempo_blocks = self.parameters_in(between).value(ParameterId::TempoBlocks);
            height = BlockNumber(height.0.saturating_add(tempo_blocks));
        }
        height
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
    /// As many as there may be.
    #[error("there are {count} subnets, {count_max} at most: wait for one to be dissolved")]
    SubnetsMax {
        /// How many there are.
        count: u64,
        /// How many there may be.
        count_max: u64,
    },
    /// No number left.
    #[error(
        "all {} numbers of subnets were given and none is given again: register on an existing one",
        u16::MAX
    )]
    Netuids,
    /// The lock is more than the owner allows.
    #[error(
        "a subnet locks {lock} and the limit of this call is {lock_max}: allow {lock} or more, or wait, the lock falls \
         to {floor} by block {floor_height}"
    )]
    LockMax {
        /// What is locked now.
        lock: Amount,
        /// The most the call allows.
        lock_max: Amount,
        /// The least that is ever locked.
        floor: Amount,
        /// The block at which that is so, if no subnet is created before.
        floor_height: BlockNumber,
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
            Self::SubnetsMax { .. } | Self::Netuids => "subnets",
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
        now: BlockNumber,
    ) -> Result<SubnetCreation, CreateSubnetRefusal> {
        if !names_a_task(task) {
            return Err(CreateSubnetRefusal::Task {
                task: task.to_owned(),
            });
        }
        let netuid = self.next_netuid()?;
        let lock = self.lock_at(now);
        if lock_max < lock {
            return Err(CreateSubnetRefusal::LockMax {
                lock,
                lock_max,
                floor: self.network_amount(NetworkParameterId::SubnetLockFloor),
                floor_height: self.lock_floor_height(),
            });
        }
        self.check_free(owner, lock)?;
        Ok(SubnetCreation {
            netuid,
            owner,
            task: task.to_owned(),
            lock,
        })
    }

    fn next_netuid(&self) -> Result<Netuid, CreateSubnetRefusal> {
        let count = self.table.scan::<Subnet>(()).count() as u64;
        let count_max = self.network(NetworkParameterId::SubnetsMax);
        if count >= count_max {
            return Err(CreateSubnetRefusal::SubnetsMax { count, count_max });
        }
        let Netuid(last) = self.progress().netuid_last;
        last.checked_add(1)
            .map(Netuid)
            .ok_or(CreateSubnetRefusal::Netuids)
    }

    /// What creating a subnet in the next block locks.
    #[must_use]
    pub fn subnet_lock(&self) -> Amount {
        self.lock_at(self.height().next())
    }

    /// - **Formula**: twice what the newest subnet locked, less the part of it above the floor that the blocks since
    ///   are of the decay time.
    /// - **Rounding**: what has decayed is rounded down.
    fn lock_at(&self, now: BlockNumber) -> Amount {
        let floor = self.network_amount(NetworkParameterId::SubnetLockFloor);
        let progress = self.progress();
        let doubled = progress.lock_last.saturating_add(progress.lock_last);
        let above = doubled.min(SUPPLY_MAX).saturating_sub(floor);
        let decay_blocks = self.network(NetworkParameterId::SubnetLockDecayBlocks);
        let since = now.0.saturating_sub(progress.lock_height.0).min(decay_blocks);
        plus(floor, minus(above, above.mul_ratio(since, decay_blocks)))
    }

    fn lock_floor_height(&self) -> BlockNumber {
        let decay_blocks = self.network(NetworkParameterId::SubnetLockDecayBlocks);
        BlockNumber(self.progress().lock_height.0.saturating_add(decay_blocks))
    }

    pub(crate) fn create_subnet(&mut self, creation: &SubnetCreation) {
        self.debit(creation.owner, creation.lock);
        let mut progress = self.progress();
        progress.netuid_last = creation.netuid;
        progress.lock_last = creation.lock;
        progress.lock_height = progress.height;
        self.write_progress(&progress);
        let parameters = Parameters::of_preset(self.origin().preset);
        let subnet = Subnet {
            task: creation.task.clone(),
            locked: creation.lock,
            schedule: first_schedule(creation.netuid, progress.height, progress.parent, &parameters),
            price_block: progress.height,
            ..Subnet::new(creation.owner, parameters)
        };
        self.table.write(&creation.netuid, &subnet);
        self.fix_seal_round(creation.netuid, &subnet, 0);
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
