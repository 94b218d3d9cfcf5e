//! What the state tells: the working types of queries, read from the entries.

use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    AccountView, AnnouncedView, Axon, ColdkeyView, Metagraph, NeuronView, StakeView, SubnetView,
    WeightRowView,
};

use crate::State;
use crate::accounts::{AccountRecord, OwnedHotkey};
use crate::committee::Candidate;
use crate::epoch::EpochRecord;
use crate::neuron::Neuron;
use crate::registration::price_at;
use crate::stake::{Pool, Shares};
use crate::subnet::Subnet;
use crate::weights::{Commits, SealRounds, WeightRow};

/// Where every base unit is that was ever created. The fields sum to the issuance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Free balances.
    pub free: Amount,
    /// Stake pools.
    pub staked: Amount,
    /// Locked by owners of subnets.
    pub locked: Amount,
    /// Locked as bonds of members of the committee and candidates.
    pub bonded: Amount,
    /// Created in running tempos and not paid yet.
    pub pending: Amount,
    /// Held for later epochs because nobody earned it.
    pub held: Amount,
    /// Burned: fees, registrations, owners' own miner pay, what dissolved subnets leave.
    pub burned: Amount,
}

impl Holdings {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Amount {
        [
            self.free,
            self.staked,
            self.locked,
            self.bonded,
            self.pending,
            self.held,
            self.burned,
        ]
        .into_iter()
        .sum()
    }
}

impl State {
    /// The axon that a hotkey announced on a subnet, and the block of the announcement.
    #[must_use]
    pub fn axon(&self, netuid: Netuid, hotkey: Hotkey) -> Option<(Axon, BlockNumber)> {
        let (_, neuron) = self.registered_neuron(netuid, hotkey).ok()?;
        Some((neuron.axon?, neuron.axon_height))
    }

    /// Height of the newest block; 0 before the first.
    #[must_use]
    pub fn height(&self) -> BlockNumber {
        self.progress().height
    }

    /// Digest of the genesis.
    #[must_use]
    pub fn genesis_digest(&self) -> Digest {
        self.origin().genesis
    }

    /// Time of the newest block, Unix milliseconds; the genesis' before the first.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.progress().time_ms
    }

    /// All base units that were ever created, those burned since included.
    #[must_use]
    pub fn issuance(&self) -> Amount {
        self.progress().created
    }

    /// All base units that were ever burned.
    #[must_use]
    pub fn burned(&self) -> Amount {
        self.progress().burned
    }

    /// Where every base unit is.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let mut holdings = Holdings {
            burned: self.burned(),
            ..Holdings::default()
        };
        for (_, account) in self.table.scan::<AccountRecord>(()) {
            holdings.free = holdings.free.saturating_add(account.free);
        }
        for (_, pool) in self.table.scan::<Pool>(()) {
            holdings.staked = holdings.staked.saturating_add(pool.total);
        }
        for (_, candidate) in self.table.scan::<Candidate>(()) {
            holdings.bonded = holdings.bonded.saturating_add(candidate.bond);
        }
        for (_, subnet) in self.table.scan::<Subnet>(()) {
            holdings.locked = holdings.locked.saturating_add(subnet.locked);
            holdings.pending = holdings.pending.saturating_add(subnet.pots.pending);
            holdings.held = [
                holdings.held,
                subnet.pots.miners_held,
                subnet.pots.validators_held,
            ]
            .into_iter()
            .sum();
        }
        holdings
    }

    /// What an account holds; one the ledger never saw holds nothing.
    #[must_use]
    pub fn account(&self, account: &Account) -> AccountView {
        let AccountRecord { nonce, free } = self.account_record(*account);
        let shares = self.table.scan::<Shares>(Coldkey(account.0));
        let stake = |((_, netuid, hotkey), Shares(shares))| {
            let amount = self.pool_of_name(netuid, hotkey).worth(shares);
            StakeView {
                netuid,
                hotkey: self.hotkey_named(hotkey),
                amount,
            }
        };
        AccountView {
            account: *account,
            nonce,
            free,
            stakes: shares.map(stake).collect(),
        }
    }

    /// What belongs to a coldkey besides balances; `hotkeys_max` of its hotkeys at most.
    #[must_use]
    pub fn coldkey(&self, coldkey: Coldkey, hotkeys_max: usize) -> ColdkeyView {
        let owned = || self.table.scan::<OwnedHotkey>(coldkey);
        ColdkeyView {
            height: self.height(),
            coldkey,
            hotkeys: owned()
                .take(hotkeys_max)
                .map(|((_, hotkey), _)| self.owned_hotkey(hotkey))
                .collect(),
            hotkey_count: owned().count() as u64,
            swap: self.announced_swap(coldkey),
        }
    }

    /// A subnet's record, or `None` when there is no such subnet.
    #[must_use]
    pub fn subnet(&self, netuid: Netuid) -> Option<SubnetView> {
        self.table
            .read(&netuid)
            .map(|subnet| self.subnet_view(netuid, subnet))
    }

    /// Every subnet's record, netuid ascending.
    #[must_use]
    pub fn subnets(&self) -> Vec<SubnetView> {
        self.table
            .scan(())
            .map(|(netuid, subnet)| self.subnet_view(netuid, subnet))
            .collect()
    }

    fn subnet_view(&self, netuid: Netuid, subnet: Subnet) -> SubnetView {
        subnet_view(self.height(), netuid, subnet, self.seal_rounds(netuid).as_ref())
    }

    /// A subnet's neurons, or `None` when there is no such subnet.
    ///
    /// A state does not know the hash of its own block, which covers the state's root: `hash` is left zero, and
    /// whoever knows the block fills it in.
    #[must_use]
    pub fn metagraph(&self, netuid: Netuid) -> Option<Metagraph> {
        let subnet: Subnet = self.table.read(&netuid)?;
        let neurons = self.table.scan::<Neuron>(netuid);
        Some(Metagraph {
            netuid,
            height: self.height(),
            hash: Digest::default(),
            tempo: subnet.schedule.tempo,
            neurons: neurons
                .map(|((_, uid), neuron)| {
                    let stake = self.pool(netuid, neuron.hotkey).total;
                    neuron_view(self.height(), &subnet, uid, neuron, stake)
                })
                .collect(),
        })
    }

    /// The weights and open commits of every UID that has either, UID ascending, or `None` when there is no such
    /// subnet.
    #[must_use]
    pub fn weights(&self, netuid: Netuid) -> Option<Vec<WeightRowView>> {
        let subnet: Subnet = self.table.read(&netuid)?;
        let view = |uid| {
            let row = self.table.read::<WeightRow>(&(netuid, uid));
            let open_commits: Vec<u64> = self.open_tempos(netuid, uid);
            let weights = row.map(WeightRow::newest);
            let has_any = weights.is_some() || !open_commits.is_empty();
            has_any.then(|| WeightRowView {
                uid,
                weights: weights.unwrap_or_default(),
                open_commits,
            })
        };
        Some((0..subnet.neuron_count).map(Uid).filter_map(view).collect())
    }

    fn open_tempos(&self, netuid: Netuid, uid: Uid) -> Vec<u64> {
        let Commits(commits) = self.commits(netuid, uid);
        commits.into_iter().map(|commit| commit.tempo).collect()
    }

    /// What explains the epoch that ended `tempo`, if it is among the newest
    /// [`EPOCH_RECORDS_MAX`](crate::EPOCH_RECORDS_MAX).
    #[must_use]
    pub fn epoch_record(&self, netuid: Netuid, tempo: u64) -> Option<EpochRecord> {
        self.table.read(&(netuid, tempo))
    }
}

/// What is told of a subnet after the block at `height`, given the rounds to which its weights are sealed.
pub(crate) fn subnet_view(
    height: BlockNumber,
    netuid: Netuid,
    subnet: Subnet,
    rounds: Option<&SealRounds>,
) -> SubnetView {
    let announced = subnet.announced.iter().map(|(id, announced)| AnnouncedView {
        name: id.row().name.to_owned(),
        value: announced.value,
        tempo: announced.tempo,
        height: subnet.opening(announced.tempo),
    });
    SubnetView {
        announced: announced.collect(),
        epoch_due: subnet.next_epoch(),
        locked: subnet.locked,
        owner_emitted: subnet.owner_emitted,
        stake_average: subnet.stake_average,
        height,
        netuid,
        owner: subnet.owner,
        started: subnet.started,
        tempo: subnet.schedule.tempo,
        tempo_start: subnet.schedule.tempo_start,
        seal_round: rounds.and_then(|rounds| rounds.round_of(subnet.schedule.tempo)),
        beacon: subnet.schedule.beacon,
        // An epoch that was put off is run by the next block at the earliest.
        next_epoch: subnet.next_epoch().max(height.next()),
        registration_price: price_at(&subnet, height.next()),
        neuron_count: subnet.neuron_count,
        held: subnet.pots.held(),
        parameters: subnet.parameters.by_name(),
        task: subnet.task,
    }
}

/// What is told of a neuron after the block at `height`, given the stake on its hotkey.
pub(crate) fn neuron_view(
    height: BlockNumber,
    subnet: &Subnet,
    uid: Uid,
    neuron: Neuron,
    stake: Amount,
) -> NeuronView {
    NeuronView {
        uid,
        hotkey: neuron.hotkey,
        coldkey: neuron.coldkey,
        axon_height: neuron.axon_height,
        stake,
        permit: neuron.permit,
        active: neuron.is_active(height, &subnet.parameters),
        registered: neuron.registered,
        last_update: neuron.last_update,
        consensus: neuron.scores.consensus,
        incentive: neuron.scores.incentive,
        validator_trust: neuron.scores.validator_trust,
        dividends: neuron.scores.dividends,
        coverage_ppm: neuron.scores.coverage_ppm,
        emission: neuron.scores.paid,
        earned: neuron.earned,
        axon: neuron.axon,
    }
}
