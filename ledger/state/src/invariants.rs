//! What holds after every block, and what entries from a store must satisfy before they are believed.
//!
//! The rules of the other modules rely on these; none of them checks again.

use agon_protocol::id::{Account, Hotkey, Netuid, Uid};
use agon_protocol::message::Member;
use thiserror::Error;

use crate::State;
use crate::accounts::{AccountRecord, HotkeyOwner, OwnedHotkey};
use crate::committee::{Candidate, KeyUse};
use crate::dissolution::Returning;
use crate::evidence::{Barred, EvidenceRecord, Roster};
use crate::genesis::Progress;
use crate::neuron::{HotkeyUid, Neuron};
use crate::parameters::{NetworkParameterId, ParameterId};
use crate::stake::{Pool, Shares};
use crate::subnet::Subnet;
use crate::supply::SUPPLY_MAX;
use crate::swaps::Retired;
use crate::table::Entry;
use crate::weights::{BondRow, Commits, SealRounds, SealedRow, WeightRow};

/// What does not hold.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvariantBroken {
    /// Base units appeared or vanished.
    #[error("holdings sum to {holdings} base units and issuance is {issuance}")]
    Sum {
        /// Base units found.
        holdings: u128,
        /// Base units that were created.
        issuance: u128,
    },
    /// The running sum of what entries hold is off.
    #[error("holdings were kept as {kept} base units and count to {counted}")]
    Count {
        /// Base units kept along with the writes.
        kept: u128,
        /// Base units found.
        counted: u128,
    },
    /// More than may exist.
    #[error("issuance is {issuance} base units, {} at most", SUPPLY_MAX.base_units())]
    Supply {
        /// Base units that were created.
        issuance: u128,
    },
    /// An account that may not exist.
    #[error("{account} has {free} base units, less than the existential deposit of {deposit}")]
    Dust {
        /// Which account.
        account: Account,
        /// What it has.
        free: u64,
        /// The smallest free balance besides none.
        deposit: u64,
    },
    /// A pool and its shares disagree.
    #[error(
        "a pool on subnet {netuid} has {pool_shares} shares over {total} base units, its stakers hold {held}"
    )]
    Pool {
        /// Which subnet.
        netuid: Netuid,
        /// Shares of the pool.
        pool_shares: u128,
        /// Base units of the pool.
        total: u64,
        /// Sum of the stakers' shares.
        held: u128,
    },
    /// A subnet's sum of pools is off.
    #[error("subnet {netuid} counts {counted} base units of stake, its pools hold {pools}")]
    Staked {
        /// Which subnet.
        netuid: Netuid,
        /// What its record says.
        counted: u64,
        /// What its pools hold.
        pools: u128,
    },
    /// An entry of, or about, something that is not there.
    #[error("{what} of subnet {netuid} names {uid}, of {neuron_count} UIDs")]
    Dangling {
        /// Kind of entry.
        what: &'static str,
        /// Which subnet.
        netuid: Netuid,
        /// Which UID.
        uid: Uid,
        /// How many UIDs there are.
        neuron_count: u16,
    },
    /// A hotkey and what leads to it disagree.
    #[error("the records of hotkey {hotkey} do not lead to each other")]
    Hotkey {
        /// Which hotkey.
        hotkey: Hotkey,
    },
    /// Something about the committee is out of its bounds.
    #[error("{what} is not valid")]
    Committee {
        /// What.
        what: &'static str,
    },
    /// The beacon cannot be one, or there is none and something of one is kept.
    #[error("the beacon is not valid")]
    Beacon,
    /// Something about a subnet is out of its bounds.
    #[error("{what} of subnet {netuid} is not valid")]
    Subnet {
        /// What.
        what: &'static str,
        /// Which subnet.
        netuid: Netuid,
    },
}

impl State {
    /// Checks that sums, counts, indices and bounds hold throughout the state.
    ///
    /// # Errors
    ///
    /// The first [`InvariantBroken`] met.
    pub fn check_invariants(&self) -> Result<(), InvariantBroken> {
        self.recount()?;
        self.check_sums()?;
        self.check_pools()?;
        self.check_committee()?;
        self.check_deposits()?;
        self.check_beacon()?;
        let netuid_last = self.progress().netuid_last;
        let given = Netuid(1)..=netuid_last;
        for (netuid, subnet) in self.table.scan::<Subnet>(()) {
            if !given.contains(&netuid) {
                return Err(InvariantBroken::Subnet {
                    what: "number",
                    netuid,
                });
            }
            self.check_subnet(netuid, &subnet)?;
        }
        for (netuid, _) in self.table.scan::<Returning>(()) {
            if !given.contains(&netuid) || self.table.has::<Subnet>(&netuid) {
                return Err(InvariantBroken::Subnet {
                    what: "dissolution",
                    netuid,
                });
            }
        }
        self.check_owners()
    }

    /// Pulses and rounds are of a beacon that can be one.
    fn check_beacon(&self) -> Result<(), InvariantBroken> {
        let has_rounds = self.table.scan::<SealRounds>(()).next().is_some();
        let valid = match self.beacon() {
            Some(beacon) => beacon.validate().is_ok(),
            None => !has_rounds && !self.has_pulses(),
        };
        if valid {
            Ok(())
        } else {
            Err(InvariantBroken::Beacon)
        }
    }

    fn check_deposits(&self) -> Result<(), InvariantBroken> {
        let deposit = self.existential_deposit().base_units();
        for (account, AccountRecord { free, .. }) in self.table.scan::<AccountRecord>(()) {
            let free = free.base_units();
            if (1..deposit).contains(&free) {
                return Err(InvariantBroken::Dust {
                    account,
                    free,
                    deposit,
                });
            }
        }
        Ok(())
    }

    /// Checks that free balances, stake, locks, what is held and what was burned add up to what was created.
    ///
    /// What they add up to is kept along with every entry that is written, apart from the rules' own arithmetic, so this
    /// costs nothing and is done after every block. Whether it was kept well, [`State::recount`] says.
    pub(crate) fn check_sums(&self) -> Result<(), InvariantBroken> {
        let issuance = u128::from(self.progress().created.base_units());
        if issuance > u128::from(SUPPLY_MAX.base_units()) {
            return Err(InvariantBroken::Supply { issuance });
        }
        match self.table.held() {
            holdings if holdings != issuance => Err(InvariantBroken::Sum { holdings, issuance }),
            _ => Ok(()),
        }
    }

    /// Counts anew what all entries hold: in every block that runs an epoch, and wherever a state is loaded.
    pub(crate) fn recount(&self) -> Result<(), InvariantBroken> {
        let (kept, counted) = (self.table.held(), self.count_held());
        match kept == counted {
            true => Ok(()),
            false => Err(InvariantBroken::Count { kept, counted }),
        }
    }

    /// Base units in all entries that hold any.
    pub(crate) fn count_held(&self) -> u128 {
        [
            self.table.count_held::<AccountRecord>(),
            self.table.count_held::<Pool>(),
            self.table.count_held::<Subnet>(),
            self.table.count_held::<Candidate>(),
            self.table.count_held::<Progress>(),
        ]
        .into_iter()
        .fold(0, u128::saturating_add)
    }

    fn check_pools(&self) -> Result<(), InvariantBroken> {
        let mut held = std::collections::BTreeMap::new();
        for ((_, netuid, hotkey), Shares(shares)) in self.table.scan::<Shares>(()) {
            let sum: &mut u128 = held.entry((netuid, hotkey)).or_default();
            *sum = sum.saturating_add(shares);
        }
        for ((netuid, hotkey), pool) in self.table.scan::<Pool>(()) {
            let held = held.remove(&(netuid, hotkey)).unwrap_or(0);
            let (pool_shares, total) = (pool.shares, pool.total.base_units());
            if pool_shares == 0 || pool_shares != held || pool_shares > u128::from(total) {
                return Err(InvariantBroken::Pool {
                    netuid,
                    pool_shares,
                    total,
                    held,
                });
            }
        }
        match held.into_iter().next() {
            Some(((netuid, _), held)) => Err(InvariantBroken::Pool {
                netuid,
                pool_shares: 0,
                total: 0,
                held,
            }),
            None => Ok(()),
        }
    }

    /// Candidates and their keys lead to each other, and every member of the committee has a bond.
    fn check_committee(&self) -> Result<(), InvariantBroken> {
        let broken = |what| Err(InvariantBroken::Committee { what });
        let mut keys = std::collections::BTreeSet::new();
        for (hotkey, candidate) in self.table.scan::<Candidate>(()) {
            let key = candidate.consensus_key;
            let known = match self.table.read(&key) {
                Some(KeyUse::By(user)) => user == hotkey,
                Some(KeyUse::Slashed) => candidate.leaving.is_some(),
                None => false,
            };
            if !known || !keys.insert(key) || self.hotkey_owner(hotkey).is_none() {
                return broken("a candidate");
            }
        }
        let in_use = self
            .table
            .scan::<KeyUse>(())
            .filter(|(_, key_use)| matches!(key_use, KeyUse::By(_)));
        if in_use.map(|(key, _)| key).any(|key| !keys.contains(&key)) {
            return broken("a consensus key");
        }
        let committee = self.committee();
        let bonded = |member: &Member| keys.contains(&member.consensus_key);
        if committee.validate().is_err() || !committee.members().iter().all(bonded) {
            return broken("the committee in force");
        }
        Ok(())
    }

    fn check_subnet(&self, netuid: Netuid, subnet: &Subnet) -> Result<(), InvariantBroken> {
        let max_uids = subnet.parameters.value(ParameterId::MaxUids);
        let notice_tempos = self.network(NetworkParameterId::NoticeTempos);
        let valid = [
            ("a parameter", subnet.parameters.are_valid()),
            (
                "an announced parameter",
                subnet.announced_are_valid(notice_tempos),
            ),
            (
                "the number of neurons",
                u64::from(subnet.neuron_count) <= max_uids,
            ),
        ];
        if let Some((what, _)) = valid.into_iter().find(|(_, valid)| !valid) {
            return Err(InvariantBroken::Subnet { what, netuid });
        }
        self.check_neurons(netuid, subnet.neuron_count)?;
        self.check_rows(netuid, subnet.neuron_count)?;
        self.check_evidence(netuid, subnet)?;
        self.check_seals(netuid)?;
        let pools = self
            .table
            .scan::<Pool>(netuid)
            .map(|(_, pool)| u128::from(pool.total.base_units()));
        let (counted, pools) = (subnet.staked.base_units(), pools.fold(0, u128::saturating_add));
        if u128::from(counted) != pools {
            return Err(InvariantBroken::Staked {
                netuid,
                counted,
                pools,
            });
        }
        Ok(())
    }

    /// UIDs are `0..neuron_count`, and each has one hotkey that leads back to it and belongs to its coldkey.
    fn check_neurons(&self, netuid: Netuid, neuron_count: u16) -> Result<(), InvariantBroken> {
        let mut expected = (0..neuron_count).map(Uid);
        for ((_, uid), neuron) in self.table.scan::<Neuron>(netuid) {
            let indexed = self.uid_of(netuid, neuron.hotkey) == Some(uid);
            let owned = self.hotkey_owner(neuron.hotkey) == Some(neuron.coldkey);
            if expected.next() != Some(uid) || !indexed || !owned {
                return Err(InvariantBroken::Dangling {
                    what: "a neuron",
                    netuid,
                    uid,
                    neuron_count,
                });
            }
        }
        let indexed = self.table.scan::<HotkeyUid>(netuid).count();
        if expected.next().is_some() || indexed != usize::from(neuron_count) {
            return Err(InvariantBroken::Subnet {
                what: "the index of neurons",
                netuid,
            });
        }
        Ok(())
    }

    fn check_rows(&self, netuid: Netuid, neuron_count: u16) -> Result<(), InvariantBroken> {
        let dangling = |what, uid| {
            Err(InvariantBroken::Dangling {
                what,
                netuid,
                uid,
                neuron_count,
            })
        };
        for ((_, uid), rows) in self.table.scan::<WeightRow>(netuid) {
            if uid.0 >= neuron_count || !rows.is_valid(neuron_count) {
                return dangling("a weight row", uid);
            }
        }
        for ((_, uid), BondRow(row)) in self.table.scan::<BondRow>(netuid) {
            let ascending = row.windows(2).all(|pair| pair[0].0 < pair[1].0);
            let known = row.iter().all(|(on, _)| on.0 < neuron_count);
            if uid.0 >= neuron_count || !ascending || !known {
                return dangling("a bond row", uid);
            }
        }
        for ((_, uid), Commits(commits)) in self.table.scan::<Commits>(netuid) {
            if uid.0 >= neuron_count || commits.is_empty() {
                return dangling("commits", uid);
            }
        }
        Ok(())
    }

    /// Evidence is of a tempo that has a roster and is not to come, and everything goes by pools of a known hotkey.
    fn check_evidence(&self, netuid: Netuid, subnet: &Subnet) -> Result<(), InvariantBroken> {
        let is_named = |name: Hotkey| self.pool_name(self.hotkey_named(name)) == Some(name);
        let mut rosters = self.table.scan::<Roster>(netuid);
        let mut records = self.table.scan::<EvidenceRecord>(netuid);
        let mut bars = self.table.scan::<Barred>(netuid);
        let has_roster = |tempo| self.table.has::<Roster>(&(netuid, tempo));
        let valid = [
            (
                "a roster",
                rosters.all(|((_, tempo), roster)| tempo <= subnet.schedule.tempo && roster.is_valid()),
            ),
            (
                "evidence",
                records.all(|((_, tempo, name), record)| {
                    record.is_valid() && is_named(name) && has_roster(tempo)
                }),
            ),
            ("a bar", bars.all(|((_, name), _)| is_named(name))),
        ];
        match valid.into_iter().find(|(_, valid)| !valid) {
            Some((what, _)) => Err(InvariantBroken::Subnet { what, netuid }),
            None => Ok(()),
        }
    }

    /// Whatever is sealed is beside an open commit, and to a round that is known.
    fn check_seals(&self, netuid: Netuid) -> Result<(), InvariantBroken> {
        let rounds = self.seal_rounds(netuid);
        let mut seals = self.table.scan::<SealedRow>(netuid);
        let is_open = |tempo: u64, uid: Uid, row: &SealedRow| {
            let Commits(open) = self.commits(netuid, uid);
            let has_round = rounds
                .as_ref()
                .is_some_and(|rounds| rounds.round_of(tempo).is_some());
            let commit = (tempo, row.digest);
            has_round && open.iter().any(|open| (open.tempo, open.digest) == commit)
        };
        if seals.all(|((_, tempo, uid), row)| is_open(tempo, uid, &row)) {
            Ok(())
        } else {
            let what = "what is sealed";
            Err(InvariantBroken::Subnet { what, netuid })
        }
    }

    /// Everything that is kept for a subnet is for one that exists, or is stake on its way back; every stake is on a
    /// known hotkey.
    fn check_owners(&self) -> Result<(), InvariantBroken> {
        let pools = self
            .table
            .scan::<Pool>(())
            .map(|((netuid, name), _)| (netuid, self.hotkey_named(name)));
        let indexed = self
            .table
            .scan::<HotkeyUid>(())
            .map(|((netuid, hotkey), _)| (netuid, hotkey));
        for (netuid, hotkey) in pools.chain(indexed) {
            let known = self.table.has::<HotkeyOwner>(&hotkey);
            let returning = self.table.has::<Returning>(&netuid);
            if !known || !(self.table.has::<Subnet>(&netuid) || returning) {
                return Err(InvariantBroken::Subnet {
                    what: "a hotkey",
                    netuid,
                });
            }
        }
        self.check_hotkeys()?;
        self.check_netuids::<Neuron>(|(netuid, _)| netuid)?;
        self.check_netuids::<HotkeyUid>(|(netuid, _)| netuid)?;
        self.check_netuids::<WeightRow>(|(netuid, _)| netuid)?;
        self.check_netuids::<BondRow>(|(netuid, _)| netuid)?;
        self.check_netuids::<Commits>(|(netuid, _)| netuid)?;
        self.check_netuids::<Roster>(|(netuid, _)| netuid)?;
        self.check_netuids::<EvidenceRecord>(|(netuid, _, _)| netuid)?;
        self.check_netuids::<Barred>(|(netuid, _)| netuid)?;
        self.check_netuids::<SealRounds>(|netuid| netuid)?;
        self.check_netuids::<SealedRow>(|(netuid, _, _)| netuid)
    }

    /// Each hotkey has its place in its coldkey's list, and the pools' name leads back to it; a used one is owned
    /// by nobody.
    fn check_hotkeys(&self) -> Result<(), InvariantBroken> {
        let mut owned_count = 0_usize;
        for (hotkey, owner) in self.table.scan::<HotkeyOwner>(()) {
            owned_count = owned_count.saturating_add(1);
            let listed = self.table.has::<OwnedHotkey>(&(owner.coldkey, hotkey));
            let used = self.table.has::<Retired>(&hotkey);
            if !listed || used || self.hotkey_named(owner.pools) != hotkey {
                return Err(InvariantBroken::Hotkey { hotkey });
            }
        }
        let mut listed = self.table.scan::<OwnedHotkey>(());
        match listed.nth(owned_count) {
            Some(((_, hotkey), _)) => Err(InvariantBroken::Hotkey { hotkey }),
            None => Ok(()),
        }
    }

    fn check_netuids<E: Entry>(&self, netuid_of: impl Fn(E::Key) -> Netuid) -> Result<(), InvariantBroken> {
        let netuids = self.table.scan::<E>(()).map(|(key, _)| netuid_of(key));
        for netuid in netuids {
            if !self.table.has::<Subnet>(&netuid) {
                return Err(InvariantBroken::Subnet {
                    what: "an entry",
                    netuid,
                });
            }
        }
        Ok(())
    }
}
