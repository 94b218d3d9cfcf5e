//! The state before the first block, and the two records that are about the ledger as a whole.

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Digest, Hotkey, Netuid};
use agon_protocol::message::{Genesis, GenesisMember, Preset};
use agon_protocol::timelock::BeaconError;
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::accounts::AccountRecord;
use crate::committee::{Candidate, KeyUse};
use crate::parameters::NetworkParameterId;
use crate::pulse::NamedBeacon;
use crate::supply::{SUPPLY_MAX, plus};
use crate::table::{Entry, Table};

/// What a ledger started from; never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Origin {
    pub(crate) genesis: Digest,
    pub(crate) preset: Preset,
    pub(crate) block_emission: Amount,
}

impl Entry for Origin {
    type Key = ();
    const KIND: u8 = 0x00;
}

/// Where a ledger stands; changes with every block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Progress {
    pub(crate) height: BlockNumber,
    /// Hash of the block before the newest one; the genesis digest for the first.
    pub(crate) parent: Digest,
    pub(crate) time_ms: u64,
    /// The newest subnet's number; 0 when there is none.
    pub(crate) netuid_last: Netuid,
    /// What the newest subnet locked, and when; nothing before the first.
    pub(crate) lock_last: Amount,
    pub(crate) lock_height: BlockNumber,
    /// All that was ever created, the genesis balances included: the issuance. What was burned stays counted.
    pub(crate) created: Amount,
    /// All that was ever burned.
    pub(crate) burned: Amount,
}

impl Entry for Progress {
    type Key = ();
    const KIND: u8 = 0x01;
    /// What was burned counts as held, since it counts as created.
    const HELD: Option<fn(&Self) -> u128> = Some(|progress| progress.burned.base_units().into());
}

/// Why a ledger cannot start from a genesis.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenesisError {
    /// An account is listed twice.
    #[error("{coldkey} has two balances: give each account one")]
    Duplicate {
        /// Which account.
        coldkey: Coldkey,
    },
    /// Too little for an account.
    #[error("{coldkey} has {amount}, less than the existential deposit of {deposit}: give it that or more")]
    Dust {
        /// Which account.
        coldkey: Coldkey,
        /// What was given.
        amount: Amount,
        /// The smallest balance besides none.
        deposit: Amount,
    },
    /// More than may exist.
    #[error("balances and bonds sum to more than the supply of {SUPPLY_MAX}")]
    Supply,
    /// A hotkey or consensus key is listed twice.
    #[error("{hotkey} or its consensus key is in the committee twice: give each member keys of its own")]
    Member {
        /// Whose keys.
        hotkey: Hotkey,
    },
    /// A bond is too small.
    #[error("{hotkey} has a bond of {bond} in the committee, {bond_min} is the least")]
    Bond {
        /// Whose bond.
        hotkey: Hotkey,
        /// What was given.
        bond: Amount,
        /// The smallest bond.
        bond_min: Amount,
    },
    /// Too many members.
    #[error("the committee has {count} members, {members_max} at most")]
    Members {
        /// How many.
        count: usize,
        /// How many there may be.
        members_max: u64,
    },
    /// The beacon cannot be one.
    #[error(transparent)]
    Beacon(#[from] BeaconError),
    /// A block would create more than may exist.
    #[error("a block's emission of {block_emission} is more than the supply of {SUPPLY_MAX}")]
    BlockEmission {
        /// What was given.
        block_emission: Amount,
    },
}

impl State {
    /// The state before the first block.
    ///
    /// # Errors
    ///
    /// [`GenesisError`] when an account or a key of the committee is listed twice, a balance or a bond is too small,
    /// there would be more base units than may exist, or the beacon cannot be one.
    pub fn genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        let block_emission = genesis.block_emission;
        if block_emission > SUPPLY_MAX {
            return Err(GenesisError::BlockEmission { block_emission });
        }
        let mut table = Table::default();
        let created = bonded(write_balances(&mut table, genesis)?, genesis)?;
        let digest = genesis.digest();
        table.write(
            &(),
            &Origin {
                genesis: digest,
                preset: genesis.preset,
                block_emission,
            },
        );
        table.write(
            &(),
            &Progress {
                height: BlockNumber(0),
                parent: digest,
                time_ms: genesis.time_ms,
                netuid_last: Netuid(0),
                lock_last: Amount::ZERO,
                lock_height: BlockNumber(0),
                created,
                burned: Amount::ZERO,
            },
        );
        if let Some(beacon) = genesis.beacon {
            beacon.validate()?;
            table.write(&(), &NamedBeacon(beacon));
        }
        let mut state = Self { table };
        state.seat_members(genesis)?;
        Ok(state)
    }

    /// Makes the members that the genesis names candidates that are ready, and forms the committee of the first
    /// block.
    fn seat_members(&mut self, genesis: &Genesis) -> Result<(), GenesisError> {
        let (count, members_max) = (
            genesis.committee.len(),
            self.network(NetworkParameterId::CommitteeMembersMax),
        );
        if count as u64 > members_max {
            return Err(GenesisError::Members { count, members_max });
        }
        for member in &genesis.committee {
            self.seat_member(member)?;
        }
        self.form_committee();
        Ok(())
    }

    fn seat_member(&mut self, member: &GenesisMember) -> Result<(), GenesisError> {
        let GenesisMember {
            hotkey,
            coldkey,
            consensus_key,
            bond,
        } = *member;
        let bond_min = self.network_amount(NetworkParameterId::CommitteeBondMin);
        if bond < bond_min {
            return Err(GenesisError::Bond {
                hotkey,
                bond,
                bond_min,
            });
        }
        if self.table.has::<Candidate>(&hotkey) || self.table.has::<KeyUse>(&consensus_key) {
            return Err(GenesisError::Member { hotkey });
        }
        self.own_hotkey(hotkey, coldkey);
        let candidate = Candidate {
            consensus_key,
            bond,
            ready_until: BlockNumber(self.network(NetworkParameterId::CommitteeReadyBlocks)),
            leaving: None,
        };
        self.table.write(&hotkey, &candidate);
        self.table.write(&consensus_key, &KeyUse::By(hotkey));
        Ok(())
    }

    pub(crate) fn origin(&self) -> Origin {
        self.table.read(&()).expect("every state has its origin")
    }

    pub(crate) fn progress(&self) -> Progress {
        self.table.read(&()).expect("every state has its progress")
    }

    pub(crate) fn write_progress(&mut self, progress: &Progress) {
        self.table.write(&(), progress);
    }

    /// Counts base units as burned that the caller took out of existence.
    pub(crate) fn burn(&mut self, amount: Amount) {
        let mut progress = self.progress();
        progress.burned = plus(progress.burned, amount);
        self.write_progress(&progress);
    }
}

/// What exists with the bonds that stand beside the balances.
fn bonded(balances: Amount, genesis: &Genesis) -> Result<Amount, GenesisError> {
    let mut bonds = genesis.committee.iter().map(|member| member.bond);
    let sum = bonds.try_fold(balances, Amount::checked_add);
    sum.filter(|total| *total <= SUPPLY_MAX)
        .ok_or(GenesisError::Supply)
}

/// Writes the balances and gives their sum.
fn write_balances(table: &mut Table, genesis: &Genesis) -> Result<Amount, GenesisError> {
    let mut sum = Amount::ZERO;
    let deposit = NetworkParameterId::ExistentialDeposit
        .row()
        .default_in(genesis.preset);
    let deposit = Amount::from_base_units(deposit);
    for account in &genesis.accounts {
        let coldkey = account.coldkey;
        if table.has::<AccountRecord>(&coldkey.into()) {
            return Err(GenesisError::Duplicate { coldkey });
        }
        let total = sum
            .checked_add(account.amount)
            .filter(|total| *total <= SUPPLY_MAX);
        sum = total.ok_or(GenesisError::Supply)?;
        if !account.amount.is_zero() {
            let (coldkey, amount) = (account.coldkey, account.amount);
            if amount < deposit {
                return Err(GenesisError::Dust {
                    coldkey,
                    amount,
                    deposit,
                });
            }
            table.write(
                &coldkey.into(),
                &AccountRecord {
                    nonce: 0,
                    free: account.amount,
                },
            );
        }
    }
    Ok(sum)
}
