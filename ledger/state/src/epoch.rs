//! The epoch as the ledger runs it: when, on what, and what is kept of it.
//!
//! The arithmetic is [`agon_scoring::epoch`]'s. Here its inputs are gathered from the entries, its results are
//! stored and paid, and the next tempo is opened: announced parameters come into force, expired commits go, and the
//! round is fixed to which its weights are sealed.
//!
//! An epoch is due a tempo after the one before. A block runs at most the network's `epochs_per_block`; those that have
//! waited longest come first, the lower netuid first among equals, so that none can be crowded out. The rest move
//! to the next block, which shows as an `epoch_due` in the past and a `next_epoch` that is not. A subnet without neurons only opens
//! its next tempo; what is pending stays pending.

use std::collections::BTreeSet;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::EpochView;
use agon_scoring::contest;
use agon_scoring::epoch::{self, EpochInputs, EpochOutputs, PendingCommit};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::emission::{Payouts, halves_of, paid};
use crate::evidence::{covered, covered_part};
use crate::neuron::{Neuron, Scores, activity_cutoff_blocks, owner_uids};
use crate::parameters::{NetworkParameterId, ParameterId, Parameters};
use crate::replacement::note_judged;
use crate::subnet::{Pots, Subnet};
use crate::supply::minus;
use crate::table::Entry;
use crate::weights::{BondRow, Commits, WeightRow};

/// How many epoch records of a subnet are kept.
pub const EPOCH_RECORDS_MAX: u64 = 64;

/// Everything that explains an epoch: running [`agon_scoring::epoch`] on the inputs gives the outputs, and the
/// outputs with coverage, `pending` and what was held give the payouts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EpochRecord {
    /// Which subnet.
    pub netuid: Netuid,
    /// The tempo it ended.
    pub tempo: u64,
    /// Height of the block that opened that tempo.
    pub tempo_start: BlockNumber,
    /// Height of the block that ran the epoch.
    pub height: BlockNumber,
    /// The subnet's owner.
    pub owner: Coldkey,
    /// Who held each UID.
    pub holders: Vec<(Hotkey, Coldkey)>,
    /// By what each UID's dividends are multiplied, in parts per million: what it has shown of the evidence of the
    /// tempo before this one, or 0 where it did not reveal the newest of its commits that were due, or revealed another
    /// row than its evidence shows. See [`covered`].
    pub coverage_ppm: Vec<u32>,
    /// UIDs in whose rows `inputs` has what the others say of contested miners, ascending; see [`contest`].
    pub filled: Vec<Uid>,
    /// Take of each UID's coldkey, in parts per million; 0 where nobody had stake.
    pub takes_ppm: Vec<u64>,
    /// Created for the subnet in the tempo.
    pub pending: Amount,
    /// Held from earlier tempos for miners.
    pub miners_held_before: Amount,
    /// Held from earlier tempos for validators.
    pub validators_held_before: Amount,
    /// What the epoch was computed from. Weight rows of UIDs without permit are left out: it would drop them.
    pub inputs: EpochInputs,
    /// What it gave.
    pub outputs: EpochOutputs,
    /// What was paid.
    pub payouts: Payouts,
}

impl Entry for EpochRecord {
    type Key = (Netuid, u64);
    const KIND: u8 = 0x0c;
}

impl State {
    /// Runs the epochs that are due at `now`, as many as a block may.
    pub(crate) fn run_due_epochs(&mut self, now: BlockNumber, parent: Digest) -> Vec<EpochView> {
        let mut due: Vec<(BlockNumber, Netuid)> = self
            .table
            .scan::<Subnet>(())
            .map(|(netuid, subnet)| (subnet.next_epoch(), netuid))
            .filter(|(next_epoch, _)| *next_epoch <= now)
            .collect();
        due.sort_unstable();
        let count_max = usize::try_from(self.network(NetworkParameterId::EpochsPerBlock));
        due.truncate(count_max.expect("the table bounds it by 64"));
        due.into_iter()
            .map(|(_, netuid)| self.run_epoch(netuid, now, parent))
            .collect()
    }

    fn run_epoch(&mut self, netuid: Netuid, now: BlockNumber, parent: Digest) -> EpochView {
        let mut subnet = self.expect_subnet(netuid);
        let others = self.settle_rows(netuid, &subnet);
        let mut neurons = self.neurons(netuid);
        let tempo = subnet.schedule.tempo;
        let payouts = if neurons.is_empty() {
            Payouts::default()
        } else {
            let mut record = self.compute(netuid, now, &subnet, &neurons, &others);
            self.pay(netuid, &mut subnet, &neurons, &mut record.payouts);
            self.store_results(netuid, &subnet, &mut neurons, &record);
            record.payouts
        };
        let held = subnet.pots.held();
        let tempo_blocks = now.0.saturating_sub(subnet.schedule.tempo_start.0);
        open_tempo(&mut subnet, now, parent);
        self.open_roster(netuid, &subnet, &neurons);
        self.drop_expired_commits(netuid, &subnet);
        self.drop_old_evidence(netuid, &subnet);
        self.fix_seal_round(netuid, &subnet, tempo_blocks);
        self.table.write(&netuid, &subnet);
        EpochView {
            netuid,
            tempo,
            miners_paid: payouts.miners_paid(),
            validators_paid: payouts.validators_paid(),
            owner_paid: payouts.owner_paid(),
            burned: payouts.burned(),
            held,
        }
    }

    /// The epoch, in which `others` showed other rows than they revealed.
    fn compute(
        &self,
        netuid: Netuid,
        now: BlockNumber,
        subnet: &Subnet,
        neurons: &[Neuron],
        others: &BTreeSet<Uid>,
    ) -> EpochRecord {
        let halves = halves_of(subnet);
        let mut inputs = self.epoch_inputs(netuid, now, subnet, neurons, halves.emission());
        let filled = match subnet.parameters.is_on(ParameterId::EvidenceContests) {
            true => self.fill_contested(netuid, &mut inputs),
            false => Vec::new(),
        };
        let outputs = epoch::run(&inputs).expect("entries give lists of one length and rows of known UIDs");
        let takes_ppm = self.takes_ppm(netuid, neurons);
        let coverage_ppm = self.paid_coverage_ppm(netuid, subnet, neurons, others);
        let dividends = covered(&outputs.validator_emission, &coverage_ppm);
        let payouts = Payouts::of(&halves, &outputs, &dividends, subnet, neurons, &takes_ppm);
        let Pots {
            pending,
            miners_held,
            validators_held,
        } = subnet.pots;
        EpochRecord {
            netuid,
            tempo: subnet.schedule.tempo,
            tempo_start: subnet.schedule.tempo_start,
            height: now,
            owner: subnet.owner,
            holders: neurons
                .iter()
                .map(|neuron| (neuron.hotkey, neuron.coldkey))
                .collect(),
            coverage_ppm,
            filled,
            takes_ppm,
            pending,
            miners_held_before: miners_held,
            validators_held_before: validators_held,
            inputs,
            outputs,
            payouts,
        }
    }

    /// Coverage by which dividends are multiplied: none for whoever held back weights that it had committed to, or is
    /// among `others`, who revealed other weights than their evidence shows.
    fn paid_coverage_ppm(
        &self,
        netuid: Netuid,
        subnet: &Subnet,
        neurons: &[Neuron],
        others: &BTreeSet<Uid>,
    ) -> Vec<u32> {
        let mut coverage_ppm = self.coverage_ppm(netuid, subnet, neurons);
        for uid in self.unrevealed(netuid, subnet).union(others) {
            coverage_ppm[usize::from(uid.0)] = 0;
        }
        coverage_ppm
    }

    fn epoch_inputs(
        &self,
        netuid: Netuid,
        now: BlockNumber,
        subnet: &Subnet,
        neurons: &[Neuron],
        emission: Amount,
    ) -> EpochInputs {
        let parameters = &subnet.parameters;
        let tempo = subnet.schedule.tempo;
        let is_barred = |neuron: &Neuron| self.barred_until(netuid, neuron.hotkey, tempo).is_some();
        let owner_uid = owner_uids(subnet, neurons).first().copied();
        let owner_uid = owner_uid.filter(|uid| !is_barred(&neurons[usize::from(uid.0)]));
        let stake = |neuron: &Neuron| self.pool(netuid, neuron.hotkey).total.base_units();
        EpochInputs {
            neuron_count: neurons.len(),
            block: now.0,
            tempo: parameters.value(ParameterId::TempoBlocks),
            activity_cutoff_blocks: activity_cutoff_blocks(parameters),
            last_mechanism_step_block: subnet.schedule.epoch_last.0,
            stake: neurons.iter().map(stake).collect(),
            stake_threshold: parameters.value(ParameterId::StakeThreshold),
            last_update: neurons.iter().map(|neuron| neuron.last_update.0).collect(),
            block_at_registration: neurons.iter().map(|neuron| neuron.registered.0).collect(),
            validator_permit: neurons.iter().map(|neuron| neuron.permit).collect(),
            weights: self.permitted_rows(netuid, neurons, owner_uid),
            bonds: self.bond_rows(netuid, neurons.len()),
            kappa: parameters.value_u16(ParameterId::Kappa),
            bonds_penalty: parameters.value_u16(ParameterId::BondsPenalty),
            bonds_moving_average: parameters.value(ParameterId::BondsMovingAverage),
            max_allowed_validators: parameters.value(ParameterId::MaxValidators),
            yuma3: parameters.is_on(ParameterId::Yuma3),
            liquid_alpha: parameters.is_on(ParameterId::LiquidAlpha),
            alpha_low: parameters.value_u16(ParameterId::AlphaLow),
            alpha_high: parameters.value_u16(ParameterId::AlphaHigh),
            alpha_sigmoid_steepness: steepness(parameters),
            commit_reveal: parameters.is_on(ParameterId::CommitReveal),
            pending_commits: self.pending_commits(netuid),
            current_epoch: subnet.schedule.tempo,
            reveal_period: parameters.value(ParameterId::RevealPeriodTempos),
            owner_uid: owner_uid.map(|uid| uid.0),
            emission: emission.base_units(),
        }
    }

    fn permitted_rows(&self, netuid: Netuid, neurons: &[Neuron], owner: Option<Uid>) -> Vec<Vec<(u16, u16)>> {
        let mut rows = vec![Vec::new(); neurons.len()];
        for ((_, uid), row) in self.table.scan::<WeightRow>(netuid) {
            let index = usize::from(uid.0);
            if neurons[index].permit || owner == Some(uid) {
                rows[index] = plain(row.counting);
            }
        }
        rows
    }

    /// Replaces what rows say of contested miners where most others contradict it; gives the UIDs whose rows change.
    fn fill_contested(&self, netuid: Netuid, inputs: &mut EpochInputs) -> Vec<Uid> {
        let pairs = |((_, uid), row): ((Netuid, Uid), WeightRow)| {
            let miners = row.contested.into_iter();
            miners.map(move |miner| (uid.0, miner.0))
        };
        let contested = self.table.scan::<WeightRow>(netuid).flat_map(pairs).collect();
        let filled = contest::fill(&inputs.weights, &inputs.stake, &contested);
        let rows = filled.iter().zip(&inputs.weights);
        let changed = (0..=u16::MAX)
            .map(Uid)
            .zip(rows)
            .filter(|(_, (after, before))| after != before);
        let changed = changed.map(|(uid, _)| uid).collect();
        inputs.weights = filled;
        changed
    }

    fn bond_rows(&self, netuid: Netuid, neuron_count: usize) -> Vec<Vec<(u16, u16)>> {
        let mut rows = vec![Vec::new(); neuron_count];
        for ((_, uid), BondRow(row)) in self.table.scan::<BondRow>(netuid) {
            rows[usize::from(uid.0)] = plain(row);
        }
        rows
    }

    fn pending_commits(&self, netuid: Netuid) -> Vec<PendingCommit> {
        let mut pending = Vec::new();
        for ((_, uid), Commits(commits)) in self.table.scan::<Commits>(netuid) {
            for commit in commits {
                pending.push(PendingCommit {
                    uid: uid.0,
                    epoch: commit.tempo,
                    block: commit.block.0,
                });
            }
        }
        pending
    }

    fn store_results(
        &mut self,
        netuid: Netuid,
        subnet: &Subnet,
        neurons: &mut [Neuron],
        record: &EpochRecord,
    ) {
        let EpochRecord {
            inputs,
            outputs,
            payouts,
            ..
        } = record;
        note_judged(neurons, inputs, outputs);
        for (index, neuron) in neurons.iter_mut().enumerate() {
            let uid = Uid(u16::try_from(index).expect("a subnet has at most 4096 UIDs"));
            let paid = paid(subnet, neuron, payouts.miners[index], payouts.validators[index]);
            let paid = minus(paid, payouts.dust.of_uid(uid));
            let barred = self.barred_until(netuid, neuron.hotkey, record.tempo.saturating_add(1));
            neuron.permit = outputs.validator_permit[index] && barred.is_none();
            neuron.earned = neuron.earned.saturating_add(paid);
            neuron.scores = Scores {
                consensus: outputs.consensus[index],
                incentive: outputs.incentive[index],
                validator_trust: outputs.validator_trust[index],
                dividends: outputs.dividends[index],
                coverage_ppm: record.coverage_ppm[index],
                emission: emission_covered(record, index),
                paid,
            };
            self.table.write(&(netuid, uid), neuron);
            let bonds = outputs.bonds[index]
                .iter()
                .map(|(on, bond)| (Uid(*on), *bond))
                .collect();
            self.write_bonds((netuid, uid), &BondRow(bonds));
        }
        self.table.write(&(netuid, record.tempo), record);
        if let Some(oldest) = record.tempo.checked_sub(EPOCH_RECORDS_MAX) {
            self.table.remove::<EpochRecord>(&(netuid, oldest));
        }
    }

    /// Drops commits whose reveal window is over, and all of them when the new tempo takes no commits.
    fn drop_expired_commits(&mut self, netuid: Netuid, subnet: &Subnet) {
        let commit_reveal = subnet.parameters.is_on(ParameterId::CommitReveal);
        let reveal_period = subnet.parameters.value(ParameterId::RevealPeriodTempos);
        let open = |tempo: u64| commit_reveal && tempo.saturating_add(reveal_period) >= subnet.schedule.tempo;
        let all: Vec<_> = self.table.scan::<Commits>(netuid).collect();
        for ((_, uid), mut commits) in all {
            commits.0.retain(|commit| open(commit.tempo));
            self.write_commits(netuid, uid, &commits);
        }
    }
}

/// Opens the next tempo with block `now`. Its beacon is the hash of the block before, which nobody could choose
/// after seeing what it decides.
fn open_tempo(subnet: &mut Subnet, now: BlockNumber, parent: Digest) {
    let tempo = subnet.schedule.tempo.saturating_add(1);
    subnet.parameters = subnet.parameters_in(tempo);
    subnet.announced.retain(|_, announced| announced.tempo > tempo);
    let schedule = &mut subnet.schedule;
    schedule.tempo = tempo;
    schedule.tempo_start = now;
    schedule.beacon = parent;
    schedule.epoch_base = now;
    schedule.epoch_last = now;
}

/// What a UID earned as miner and validator together, less what its coverage takes of its dividends.
fn emission_covered(record: &EpochRecord, index: usize) -> u64 {
    let (emission, dividend) = (
        record.outputs.emission[index],
        record.outputs.validator_emission[index],
    );
    let uncovered = dividend.saturating_sub(covered_part(dividend, record.coverage_ppm[index]));
    emission.saturating_sub(uncovered)
}

fn steepness(parameters: &Parameters) -> i16 {
    i16::try_from(parameters.value(ParameterId::AlphaSteepness)).expect("the table bounds it by i16::MAX")
}

fn plain(row: Vec<(Uid, u16)>) -> Vec<(u16, u16)> {
    row.into_iter().map(|(uid, value)| (uid.0, value)).collect()
}
