//! Neurons: what the ledger keeps of each UID, and the index from hotkey to UID.

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid, Uid};
use agon_protocol::message::Axon;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::parameters::{ParameterId, Parameters};
use crate::refusal::NotRegistered;
use crate::subnet::Subnet;
use crate::table::Entry;

/// What the ledger keeps of a UID's holder.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Neuron {
    pub(crate) hotkey: Hotkey,
    pub(crate) coldkey: Coldkey,
    pub(crate) registered: BlockNumber,
    /// Block of the newest weights or commit; the registration before there is one.
    pub(crate) last_update: BlockNumber,
    pub(crate) axon: Option<Axon>,
    /// Block of the newest announcement, 0 when there is none.
    pub(crate) axon_height: BlockNumber,
    /// Whether weights count in the running tempo.
    pub(crate) permit: bool,
    /// Block at which the weights in force were made: that of their commit, or of the weights where there was none.
    pub(crate) weighed: BlockNumber,
    /// Whether an epoch has judged it since the registration.
    pub(crate) judged: bool,
    pub(crate) scores: Scores,
    /// Paid since the registration.
    pub(crate) earned: Amount,
}

/// What the newest epoch found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Scores {
    pub(crate) consensus: u16,
    pub(crate) incentive: u16,
    pub(crate) validator_trust: u16,
    pub(crate) dividends: u16,
    /// By what its dividends were multiplied, in parts per million.
    pub(crate) coverage_ppm: u32,
    /// Share of the emission in base units, as miner and covered validator together: what deregistration compares. What
    /// was paid can be less (an owner's miner) or more (held for a tempo).
    pub(crate) emission: u64,
    /// What was paid.
    pub(crate) paid: Amount,
}

impl Entry for Neuron {
    type Key = (Netuid, Uid);
    const KIND: u8 = 0x05;
}

/// The UID of a hotkey on a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct HotkeyUid(pub(crate) Uid);

impl Entry for HotkeyUid {
    type Key = (Netuid, Hotkey);
    const KIND: u8 = 0x06;
}

impl Neuron {
    pub(crate) const fn new(hotkey: Hotkey, coldkey: Coldkey, registered: BlockNumber) -> Self {
        Self {
            hotkey,
            coldkey,
            registered,
            last_update: registered,
            axon: None,
            axon_height: BlockNumber(0),
            permit: false,
            weighed: BlockNumber(0),
            judged: false,
            scores: Scores {
                consensus: 0,
                incentive: 0,
                validator_trust: 0,
                dividends: 0,
                coverage_ppm: 0,
                emission: 0,
                paid: Amount::ZERO,
            },
            earned: Amount::ZERO,
        }
    }

    /// Whether it is replaced only if nobody else can be: in its immunity period, and after it until it was judged.
    pub(crate) fn is_immune(&self, now: BlockNumber, parameters: &Parameters) -> bool {
        let period_blocks = parameters.value(ParameterId::ImmunityBlocks);
        let age_blocks = now.0.saturating_sub(self.registered.0);
        period_blocks > 0 && (age_blocks < period_blocks || !self.judged)
    }

    /// Whether its weights are fresh enough to count at `now`.
    pub(crate) fn is_active(&self, now: BlockNumber, parameters: &Parameters) -> bool {
        self.last_update
            .0
            .saturating_add(activity_cutoff_blocks(parameters))
            >= now.0
    }
}

/// Blocks after which unrefreshed weights stop counting: the factor times the tempo, rounded down, at least 1.
pub(crate) fn activity_cutoff_blocks(parameters: &Parameters) -> u64 {
    let factor_milli = parameters.value(ParameterId::ActivityCutoffMilliTempos);
    let milli_blocks = factor_milli.saturating_mul(parameters.value(ParameterId::TempoBlocks));
    (milli_blocks / 1_000).max(1)
}

impl State {
    /// The UIDs of a subnet, ascending, and who holds them.
    pub(crate) fn neurons(&self, netuid: Netuid) -> Vec<Neuron> {
        self.table
            .scan::<Neuron>(netuid)
            .map(|(_, neuron)| neuron)
            .collect()
    }

    pub(crate) fn uid_of(&self, netuid: Netuid, hotkey: Hotkey) -> Option<Uid> {
        self.table.read::<HotkeyUid>(&(netuid, hotkey)).map(|uid| uid.0)
    }

    /// UID and record of a hotkey.
    pub(crate) fn registered_neuron(
        &self,
        netuid: Netuid,
        hotkey: Hotkey,
    ) -> Result<(Uid, Neuron), NotRegistered> {
        let uid = self
            .uid_of(netuid, hotkey)
            .ok_or(NotRegistered { netuid, hotkey })?;
        Ok((uid, self.expect_neuron(netuid, uid)))
    }

    /// The neuron of a UID that a check or an index named.
    pub(crate) fn expect_neuron(&self, netuid: Netuid, uid: Uid) -> Neuron {
        self.table
            .read(&(netuid, uid))
            .expect("a UID that is taken has a neuron")
    }
}

/// The owner's UIDs, oldest first: by registration, the lower UID first among equals.
///
/// The first is the one the epoch treats as the owner's: permitted, exempt from the stake threshold, free to weight
/// itself.
pub(crate) fn owner_uids(subnet: &Subnet, neurons: &[Neuron]) -> Vec<Uid> {
    let mut owned: Vec<(BlockNumber, Uid)> = Vec::new();
    for (uid, neuron) in (0..=u16::MAX).zip(neurons) {
        if neuron.coldkey == subnet.owner {
            owned.push((neuron.registered, Uid(uid)));
        }
    }
    owned.sort_unstable();
    owned.into_iter().map(|(_, uid)| uid).collect()
}
