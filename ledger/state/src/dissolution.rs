//! The end of a subnet: its lock and its stake go back, the rest goes.
//!
//! The owner gets back what it locked, less what it was paid as owner; that part is burned, so whoever opens and
//! closes subnets for their cut gains nothing by it. What was created for the subnet and not paid by an epoch is
//! burned. UIDs, weights, bonds, commits, evidence and epoch records go. The netuid is never given again.
//!
//! Stake goes back to the last base unit. A subnet may have any number of stakers, so this is done in the blocks that
//! follow: each looks at a bounded number of stakes (`returns_per_block`), of whatever subnet, and pays out those of
//! the dissolved one. A staker gets what its shares are worth, rounded down; what that leaves is of those paid
//! after it, and the last one of a pool gets all that is left in it. Several dissolved subnets take turns, the lowest
//! netuid first.
//!
//! The dissolution itself removes at most what a subnet can have: its UIDs, their rows and the records kept.

use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Hotkey, Netuid};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::epoch::EpochRecord;
use crate::evidence::{Barred, EvidenceRecord, Roster};
use crate::neuron::{HotkeyUid, Neuron};
use crate::parameters::NetworkParameterId;
use crate::refusal::{NotOwner, UnknownSubnet};
use crate::stake::{Pool, Shares};
use crate::subnet::Subnet;
use crate::supply::{minus, plus};
use crate::table::Entry;
use crate::weights::{BondRow, Commits, SealRounds, SealedRow, WeightRow};

/// A dissolved subnet whose stake is on its way back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Returning {
    /// The stake that was looked at last; none when the search begins.
    after: Option<StakeKey>,
}

/// Key of a stake: whose, in which subnet, on which hotkey.
type StakeKey = (Coldkey, Netuid, Hotkey);

impl Entry for Returning {
    type Key = Netuid;
    const KIND: u8 = 0x10;
}

/// Why a subnet is not dissolved.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DissolveSubnetRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// Not the owner.
    #[error(transparent)]
    Owner(#[from] NotOwner),
}

impl DissolveSubnetRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Owner(_) => NotOwner::RULE,
        }
    }
}

/// An accepted end of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetDissolution {
    /// Which subnet.
    pub netuid: Netuid,
    /// Its owner.
    pub owner: Coldkey,
    /// What of the lock goes back to the owner.
    pub lock_returned: Amount,
    /// What of the lock is burned: as much as the owner was paid as owner, and no more than the lock.
    pub lock_burned: Amount,
    /// What no epoch paid, which is burned.
    pub pots_burned: Amount,
    /// The stake that goes back to those it belongs to.
    pub staked: Amount,
}

impl State {
    pub(crate) fn check_dissolve_subnet(
        &self,
        signer: Coldkey,
        netuid: Netuid,
    ) -> Result<SubnetDissolution, DissolveSubnetRefusal> {
        let subnet = self.owned_subnet::<DissolveSubnetRefusal>(netuid, signer)?;
        let lock_burned = subnet.locked.min(subnet.owner_emitted);
        Ok(SubnetDissolution {
            netuid,
            owner: subnet.owner,
            lock_returned: minus(subnet.locked, lock_burned),
            lock_burned,
            pots_burned: plus(subnet.pots.pending, subnet.pots.held()),
            staked: subnet.staked,
        })
    }

    pub(crate) fn dissolve_subnet(&mut self, dissolution: &SubnetDissolution) {
        let netuid = dissolution.netuid;
        self.burn(plus(dissolution.lock_burned, dissolution.pots_burned));
        self.credit(dissolution.owner, dissolution.lock_returned);
        self.table.remove_all::<HotkeyUid>(netuid);
        self.table.remove_all::<Neuron>(netuid);
        self.table.remove_all::<WeightRow>(netuid);
        self.table.remove_all::<BondRow>(netuid);
        self.table.remove_all::<Commits>(netuid);
        self.table.remove_all::<SealedRow>(netuid);
        self.table.remove::<SealRounds>(&netuid);
        self.table.remove_all::<EpochRecord>(netuid);
        self.table.remove_all::<Roster>(netuid);
        self.table.remove_all::<EvidenceRecord>(netuid);
        self.table.remove_all::<Barred>(netuid);
        self.table.remove::<Subnet>(&netuid);
        if !dissolution.staked.is_zero() {
            self.table.write(&netuid, &Returning::default());
        }
    }

    /// Returns stake of dissolved subnets, as much as a block may.
    pub(crate) fn return_stakes(&mut self) {
        let Some((netuid, Returning { after })) = self.table.scan::<Returning>(()).next() else {
            return;
        };
        let count = usize::try_from(self.network(NetworkParameterId::ReturnsPerBlock));
        let count = count.expect("the table bounds it by 65536");
        let stakes = self.table.scan_after::<Shares>(after.as_ref()).take(count);
        let looked_at: Vec<(StakeKey, Shares)> = stakes.collect();
        let after = looked_at.last().map(|(key, _)| *key);
        for (key, shares) in looked_at {
            if key.1 == netuid {
                self.return_stake(key, shares);
            }
        }
        if self.table.scan::<Pool>(netuid).next().is_none() {
            self.table.remove::<Returning>(&netuid);
        } else {
            // Without any the end was reached: what moved to another coldkey meanwhile is found from the beginning.
            self.table.write(&netuid, &Returning { after });
        }
    }

    fn return_stake(&mut self, key: StakeKey, Shares(shares): Shares) {
        let (coldkey, netuid, hotkey) = key;
        let mut pool: Pool = self.table.read(&(netuid, hotkey)).expect("shares are of a pool");
        let amount = pool.worth(shares);
        pool.total = minus(pool.total, amount);
        pool.shares = pool
            .shares
            .checked_sub(shares)
            .expect("a staker's shares are the pool's");
        self.table.remove::<Shares>(&key);
        match pool.shares {
            0 => self.table.remove::<Pool>(&(netuid, hotkey)),
            _ => self.table.write(&(netuid, hotkey), &pool),
        }
        self.pay_out(coldkey, amount);
    }
}
