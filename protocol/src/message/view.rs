//! What a ledger node tells about its state: read-only snapshots at one height.
//!
//! These types are what a query returns after its wire form was bounded and validated. They carry the figures of
//! the ledger as they are; interpreting them is the reader's business.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use super::Axon;
use crate::amount::Amount;
use crate::id::{Account, BlockNumber, Coldkey, ConsensusKey, Digest, Hotkey, Netuid, Uid};

/// The newest block of a ledger and what it adds up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Digest of the genesis.
    pub genesis: Digest,
    /// Name of the network.
    pub name: String,
    /// Height of the newest block.
    pub height: BlockNumber,
    /// Its hash.
    pub hash: Digest,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Root of the state after it.
    pub state_root: Digest,
    /// All base units that were ever created: holdings, stake, locks, what is held for later epochs and what was
    /// burned.
    pub issuance: Amount,
    /// All base units that were ever burned.
    pub burned: Amount,
    /// What creating a subnet in the next block locks.
    pub subnet_lock: Amount,
    /// Time between blocks, milliseconds.
    pub block_ms: u64,
    /// The node's clock when it answered, Unix milliseconds.
    pub clock_ms: u64,
}

/// What an account holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Which account.
    pub account: Account,
    /// Nonce of its next transaction.
    pub nonce: u64,
    /// Free balance.
    pub free: Amount,
    /// Stake, one entry for each hotkey and subnet.
    pub stakes: Vec<StakeView>,
}

/// What one coldkey has staked on one hotkey in one subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StakeView {
    /// The subnet.
    pub netuid: Netuid,
    /// The hotkey.
    pub hotkey: Hotkey,
    /// What its shares are worth now.
    pub amount: Amount,
}

/// What belongs to a coldkey besides balances, and who was announced to take over from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdkeyView {
    /// Height of the state it was read from.
    pub height: BlockNumber,
    /// The coldkey.
    pub coldkey: Coldkey,
    /// Its hotkeys, ordered by key; as many as were asked for.
    pub hotkeys: Vec<OwnedHotkeyView>,
    /// How many there are.
    pub hotkey_count: u64,
    /// The swap that was announced, or disputed since; `None` when there is none.
    pub swap: Option<ColdkeySwapView>,
}

/// A hotkey as its coldkey sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnedHotkeyView {
    /// The hotkey.
    pub hotkey: Hotkey,
    /// Share of its dividends that the coldkey keeps before stakers share the rest, in parts per million.
    pub take_ppm: u32,
    /// Block of the newest change of the take; `None` when it was never set.
    pub take_changed: Option<BlockNumber>,
    /// First block that takes a raise.
    pub raise_from: BlockNumber,
}

/// An announced change of a coldkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdkeySwapView {
    /// Who takes over.
    pub new_coldkey: Coldkey,
    /// First block that carries it out.
    pub due: BlockNumber,
    /// Block of the dispute that cancelled it.
    pub disputed: Option<BlockNumber>,
    /// First block that takes another announcement, after a dispute.
    pub announce_from: Option<BlockNumber>,
}

/// A subnet's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetView {
    /// Height this was read at.
    pub height: BlockNumber,
    /// Which subnet.
    pub netuid: Netuid,
    /// Its owner.
    pub owner: Coldkey,
    /// Name of its task.
    pub task: String,
    /// Whether it earns emission.
    pub started: bool,
    /// Number of the running tempo; the first is 0.
    pub tempo: u64,
    /// Height of the block that opened the running tempo.
    pub tempo_start: BlockNumber,
    /// Hash of the block before that one: the beacon of the tempo's draws, known as soon as the tempo is open.
    pub beacon: Digest,
    /// Round of the beacon to which weights of the running tempo are sealed; `None` where they are committed to by
    /// their digests alone.
    pub seal_round: Option<u64>,
    /// Height of the block that will run the epoch and open the next tempo, unless it is put off.
    pub next_epoch: BlockNumber,
    /// What a registration costs now.
    pub registration_price: Amount,
    /// How many UIDs are taken.
    pub neuron_count: u16,
    /// What is held for a later epoch because nobody earned it.
    pub held: Amount,
    /// Every parameter by name, as it is in force.
    pub parameters: BTreeMap<String, u64>,
    /// Announced values of parameters, and when they come into force.
    pub announced: Vec<AnnouncedView>,
    /// Height at which the next epoch is or was due; one before `next_epoch` was put off because many were due.
    pub epoch_due: BlockNumber,
    /// What the owner locked.
    pub locked: Amount,
    /// What the owner was paid as owner, in all; the lock that comes back is less by it.
    pub owner_emitted: Amount,
    /// Moving average of the stake on the subnet: what divides emission between subnets.
    pub stake_average: Amount,
}

/// A parameter's next value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnouncedView {
    /// The parameter's name.
    pub name: String,
    /// Its next value.
    pub value: u64,
    /// The tempo that opens with it.
    pub tempo: u64,
    /// Height of the block that opens that tempo, unless an epoch is put off.
    pub height: BlockNumber,
}

impl SubnetView {
    /// A parameter by name, or `None` when the ledger does not know it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<u64> {
        self.parameters.get(name).copied()
    }
}

/// One subnet's neurons and their numbers at one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metagraph {
    /// Which subnet.
    pub netuid: Netuid,
    /// Height this was read at.
    pub height: BlockNumber,
    /// Hash of the block at that height.
    pub hash: Digest,
    /// Running tempo at that height.
    pub tempo: u64,
    /// The neurons, UID ascending.
    pub neurons: Vec<NeuronView>,
}

impl Metagraph {
    /// Brings this copy level with the ledger, from what changed since its height.
    ///
    /// What answers a question about another subnet, or about a later height than this copy's, is left aside.
    pub fn update(&mut self, changes: MetagraphChanges) {
        let MetagraphChanges { since, metagraph } = changes;
        let Some(since) = since else {
            *self = metagraph;
            return;
        };
        if metagraph.netuid != self.netuid || since > self.height || metagraph.height < self.height {
            return;
        }
        for row in metagraph.neurons {
            match self.neurons.binary_search_by_key(&row.uid, |known| known.uid) {
                Ok(at) => self.neurons[at] = row,
                Err(at) => self.neurons.insert(at, row),
            }
        }
        self.height = metagraph.height;
        self.hash = metagraph.hash;
        self.tempo = metagraph.tempo;
    }

    /// The neuron of a hotkey.
    #[must_use]
    pub fn by_hotkey(&self, hotkey: &Hotkey) -> Option<&NeuronView> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The neuron of a UID.
    #[must_use]
    pub fn by_uid(&self, uid: Uid) -> Option<&NeuronView> {
        self.neurons.iter().find(|neuron| neuron.uid == uid)
    }
}

/// What of a metagraph changed since a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetagraphChanges {
    /// The height from which changes are told, or `None` when the node does not know that far back: then the
    /// metagraph is whole.
    pub since: Option<BlockNumber>,
    /// The metagraph now, with only those neurons whose rows may have changed since.
    pub metagraph: Metagraph,
}

/// Who is replaced next on a subnet, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRiskView {
    /// Which subnet.
    pub netuid: Netuid,
    /// Height this was read at.
    pub height: BlockNumber,
    /// UIDs that can still be given before anybody is replaced.
    pub free_uids: u16,
    /// UIDs in the order in which registrations would replace them.
    pub uids: Vec<UidAtRisk>,
}

/// A UID that can be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UidAtRisk {
    /// The UID.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: Hotkey,
    /// Its emission in the newest epoch: what is compared first.
    pub emission: Amount,
    /// Height of its registration: what is compared among equals.
    pub registered: BlockNumber,
    /// Whether it is replaced only if too few others can be.
    pub immune: bool,
    /// Blocks of its immunity period that are left; 0 for one that is immune because it was never judged.
    pub immunity_left_blocks: u64,
    /// Whether an epoch has judged it.
    pub judged: bool,
}

/// A neuron's row of the metagraph. Scores are parts of `u16::MAX`, from the newest epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeuronView {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// The owner of its key.
    pub coldkey: Coldkey,
    /// Where it serves, if it announced so.
    pub axon: Option<Axon>,
    /// Height of the announcement, 0 when there is none.
    pub axon_height: BlockNumber,
    /// Stake on its hotkey in this subnet.
    pub stake: Amount,
    /// Whether its weights count in the running tempo.
    pub permit: bool,
    /// Whether its weights are fresh enough to count.
    pub active: bool,
    /// Height of its registration.
    pub registered: BlockNumber,
    /// Height of its newest weights or commit.
    pub last_update: BlockNumber,
    /// Stake-weighted median of the weights it received.
    pub consensus: u16,
    /// Share of the miners' pay.
    pub incentive: u16,
    /// Share of its weights that survived clipping.
    pub validator_trust: u16,
    /// Share of the validators' pay, before coverage.
    pub dividends: u16,
    /// By what its dividends were multiplied: the share of its work that it has proven, in parts per million.
    pub coverage_ppm: u32,
    /// Base units it earned in the newest epoch.
    pub emission: Amount,
    /// Base units it earned since its registration.
    pub earned: Amount,
}

/// A validator's newest revealed weights. They count from the epoch on that finds them in its evidence; until then the
/// row before stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightRowView {
    /// The validator.
    pub uid: Uid,
    /// Weighted UIDs and their weights.
    pub weights: Vec<(Uid, u16)>,
    /// Tempos of its commits that are not revealed yet.
    pub open_commits: Vec<u64>,
}

/// Who is in the committee and who could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitteeView {
    /// Height this was read at.
    pub height: BlockNumber,
    /// The next block that recomputes the committee, which is in force after it.
    pub next_era: BlockNumber,
    /// Members and candidates, by hotkey.
    pub seats: Vec<SeatView>,
}

/// A member of the committee or a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatView {
    /// Whose seat.
    pub hotkey: Hotkey,
    /// The owner of its key and of its bond.
    pub coldkey: Coldkey,
    /// The key it votes with.
    pub consensus_key: ConsensusKey,
    /// What is locked.
    pub bond: Amount,
    /// The power that bond and stake would give, before caps.
    pub power: u64,
    /// Its voting power in the committee of the next block; 0 outside of it.
    pub voting_power: u64,
    /// The last block in which it counts as ready; 0 when it never was.
    pub ready_until: BlockNumber,
    /// Since when its bond waits to be returned, if it left or was slashed.
    pub leaving: Option<BlockNumber>,
}

/// What became of a transaction in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionView {
    /// Its digest.
    pub digest: Digest,
    /// Who signed it.
    pub signer: Account,
    /// Name of its call.
    pub call: String,
    /// Why the ledger refused it, if it did.
    pub refusal: Option<RefusalView>,
}

/// Why the ledger refuses a transaction: rule, and a sentence with value, bound and next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalView {
    /// Name of the rule.
    pub rule: String,
    /// The sentence.
    pub message: String,
}

/// An epoch that a block ran. A node keeps it in canonical bytes to tell about old blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EpochView {
    /// Which subnet.
    pub netuid: Netuid,
    /// The tempo it ended.
    pub tempo: u64,
    /// Base units paid to miners.
    pub miners_paid: Amount,
    /// Base units paid to validators and their stakers.
    pub validators_paid: Amount,
    /// Base units paid to the owner.
    pub owner_paid: Amount,
    /// Base units burned: what the owner's own miners earned, and pay too small for an account to exist.
    pub burned: Amount,
    /// Base units held for a later epoch.
    pub held: Amount,
}

/// What became of weights that were sealed beside a commit.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedSealView {
    /// Which subnet.
    pub netuid: Netuid,
    /// The tempo of the commit.
    pub tempo: u64,
    /// Whose.
    pub uid: Uid,
    /// Why they gave no weights, in words; `None` where they did, as if they had been revealed by hand.
    pub fault: Option<String>,
}

/// What one block did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventView {
    /// Height of the block.
    pub height: BlockNumber,
    /// Its hash.
    pub hash: Digest,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// Its transactions, in order.
    pub transactions: Vec<TransactionView>,
    /// The epochs it ran.
    pub epochs: Vec<EpochView>,
    /// What was sealed and came due.
    pub opened: Vec<OpenedSealView>,
}
