//! Weights: committed as a digest, revealed in the window, stored as rows.
//!
//! Commits whose weights the ledger opens by itself are `timelock`'s; which of the revealed rows counts is `row`'s.
//!
//! A commit is bound to the tempo of the block that takes it and may be revealed in exactly one tempo, that one
//! plus the reveal period. A reveal settles the commits before it. A commit that is not revealed then is dropped when
//! that tempo ends, and its maker gets no dividends from the tempo. With commit-reveal
//! off, weights of the running tempo are shown at once, without a commit.
//!
//! `last_update` is the block of the newest commit, or of the newest weights where there are no commits.
//!
//! # Departures from the reference
//!
//! - A reveal gives no weight to a UID that was registered in or after the block of the commit: such a weight was
//!   meant for whoever held the UID before. The epoch's own masks look at `last_update`, which a commit made in the
//!   meantime moves past the registration.
//! - Weights that are all 0 are refused instead of stored.

mod refusal;
mod row;
mod timelock;

use agon_protocol::id::{BlockNumber, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{Weights, WeightsCommit, WeightsLeaf};
use borsh::{BorshDeserialize, BorshSerialize};

pub use self::refusal::{CommitWeightsRefusal, NoWeigher, RevealWeightsRefusal, TooSoon};
pub(crate) use self::row::{WaitingRow, WeightRow};
pub use self::timelock::{AcceptedTimelocked, CommitTimelockedRefusal, SealRefusal};
pub(crate) use self::timelock::{SealRounds, SealedRow};
use crate::State;
use crate::neuron::{Neuron, owner_uids};
use crate::parameters::ParameterId;
use crate::subnet::Subnet;
use crate::table::Entry;

/// A validator's bonds as the newest epoch stored them: UIDs ascending. A row without cells has no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct BondRow(pub(crate) Vec<(Uid, u16)>);

impl Entry for BondRow {
    type Key = (Netuid, Uid);
    const KIND: u8 = 0x08;
}

/// A commit that waits for its reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct OpenCommit {
    /// Who made it: the UID's hotkey, or one that this replaced since. The digest covers it.
    pub(crate) hotkey: Hotkey,
    pub(crate) tempo: u64,
    pub(crate) block: BlockNumber,
    pub(crate) digest: Digest,
}

/// The open commits of a UID, oldest first. A UID without any has no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Commits(pub(crate) Vec<OpenCommit>);

impl Entry for Commits {
    type Key = (Netuid, Uid);
    const KIND: u8 = 0x09;
}

/// An accepted commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedCommit {
    /// Which subnet.
    pub netuid: Netuid,
    /// Whose.
    pub uid: Uid,
    /// Digest of the weights.
    pub commit: WeightsCommit,
    /// The tempo it is bound to, and which the revealed weights must name.
    pub tempo: u64,
    /// The one tempo in which it can be revealed.
    pub reveal_tempo: u64,
    /// The block of the commit.
    pub height: BlockNumber,
}

/// An accepted reveal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedWeights {
    /// Which subnet.
    pub netuid: Netuid,
    /// Whose.
    pub uid: Uid,
    /// The tempo that they are of.
    pub tempo: u64,
    /// Digest of the row by which evidence shows them: all of them, scaled so that the largest value is `u16::MAX`.
    pub digest: Digest,
    /// The row as it will be stored, scaled so that the largest value is `u16::MAX`.
    pub row: Vec<(Uid, u16)>,
    /// UIDs that changed hands since the commit and get no weight.
    pub dropped: Vec<Uid>,
    /// The block at which they were made: that of the commit, or of the reveal where commit-reveal is off.
    pub made: BlockNumber,
    /// Where the commit stands among the open ones, of which it settles those before it; `None` where commit-reveal is
    /// off.
    pub commit_index: Option<usize>,
    /// The block of the reveal.
    pub height: BlockNumber,
}

/// A UID whose weights are taken, and the subnet it weights in.
struct Weigher {
    netuid: Netuid,
    subnet: Subnet,
    uid: Uid,
    neuron: Neuron,
}

impl State {
    pub(crate) fn check_commit_weights(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        commit: WeightsCommit,
        now: BlockNumber,
    ) -> Result<AcceptedCommit, CommitWeightsRefusal> {
        let subnet = self.existing_subnet(netuid)?;
        if !subnet.parameters.is_on(ParameterId::CommitReveal) {
            return Err(CommitWeightsRefusal::Off { netuid });
        }
        let weigher = self.check_weigher(hotkey, netuid, subnet, &[])?;
        weigher.check_rate_limit(now)?;
        self.check_open_commits(&weigher)?;
        let tempo = weigher.subnet.schedule.tempo;
        let reveal_tempo = tempo.saturating_add(weigher.reveal_period());
        Ok(AcceptedCommit {
            netuid,
            uid: weigher.uid,
            commit,
            tempo,
            reveal_tempo,
            height: now,
        })
    }

    fn check_open_commits(&self, weigher: &Weigher) -> Result<(), CommitWeightsRefusal> {
        let Commits(commits) = self.commits(weigher.netuid, weigher.uid);
        let (uid, open) = (weigher.uid, commits.len() as u64);
        let open_max = weigher.subnet.parameters.value(ParameterId::OpenCommitsMax);
        match commits.first() {
            Some(oldest) if open >= open_max => {
                let expiry = oldest.tempo.saturating_add(weigher.reveal_period());
                Err(CommitWeightsRefusal::OpenCommits {
                    uid,
                    open,
                    open_max,
                    expiry,
                })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn commit_weights(&mut self, accepted: &AcceptedCommit) {
        let AcceptedCommit {
            netuid,
            uid,
            commit,
            tempo,
            height,
            ..
        } = *accepted;
        let mut commits = self.commits(netuid, uid);
        commits.0.push(OpenCommit {
            hotkey: self.expect_neuron(netuid, uid).hotkey,
            tempo,
            block: height,
            digest: commit.0,
        });
        self.write_commits(netuid, uid, &commits);
        self.touch(netuid, uid, height);
    }

    pub(crate) fn check_reveal_weights(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        weights: &Weights,
        now: BlockNumber,
    ) -> Result<AcceptedWeights, RevealWeightsRefusal> {
        let subnet = self.existing_subnet(netuid)?;
        let (uids, values) = (weights.uids.len(), weights.values.len());
        if uids != values {
            return Err(RevealWeightsRefusal::Lengths { uids, values });
        }
        let weigher = self.check_weigher(hotkey, netuid, subnet, &weights.uids)?;
        weigher.check_version(weights.version)?;
        let commit = self.check_turn(&weigher, weights, now)?;
        weigher.check_row(weights)?;
        let committed = commit.map_or(now, |(_, commit)| commit.block);
        let (row, dropped) = self.row_to_store(netuid, weights, committed, commit.is_some());
        let commit_index = commit.map(|(index, _)| index);
        Ok(AcceptedWeights {
            netuid,
            uid: weigher.uid,
            tempo: weights.tempo,
            digest: WeightsLeaf::row_digest(&max_upscale(cells(weights).collect())),
            row,
            dropped,
            made: committed,
            commit_index,
            height: now,
        })
    }

    /// With commit-reveal, finds the commit to these weights; without, checks tempo and rate limit.
    fn check_turn(
        &self,
        weigher: &Weigher,
        weights: &Weights,
        now: BlockNumber,
    ) -> Result<Option<(usize, OpenCommit)>, RevealWeightsRefusal> {
        let commit_reveal = weigher.subnet.parameters.is_on(ParameterId::CommitReveal);
        let wait_tempos = if commit_reveal { weigher.reveal_period() } else { 0 };
        let (tempo, running) = (weights.tempo, weigher.subnet.schedule.tempo);
        let reveal_tempo = tempo.saturating_add(wait_tempos);
        if reveal_tempo != running {
            return Err(RevealWeightsRefusal::Window {
                tempo,
                reveal_tempo,
                running,
            });
        }
        if !commit_reveal {
            weigher.check_rate_limit(now)?;
            return Ok(None);
        }
        self.find_commit(weigher, weights).map(Some)
    }

    fn find_commit(
        &self,
        weigher: &Weigher,
        weights: &Weights,
    ) -> Result<(usize, OpenCommit), RevealWeightsRefusal> {
        let Commits(commits) = self.commits(weigher.netuid, weigher.uid);
        // The newest first: of two commits to the same weights, the reveal settles both.
        let mut of_tempo = commits
            .into_iter()
            .enumerate()
            .rev()
            .filter(|(_, commit)| commit.tempo == weights.tempo);
        let open = of_tempo.clone().count();
        let refusal = RevealWeightsRefusal::Commit {
            uid: weigher.uid,
            tempo: weights.tempo,
            open,
        };
        of_tempo
            .find(|(_, commit)| weights.commit(weigher.netuid, commit.hotkey).0 == commit.digest)
            .ok_or(refusal)
    }

    /// The scaled row, without UIDs that were registered since the commit, and those UIDs.
    fn row_to_store(
        &self,
        netuid: Netuid,
        weights: &Weights,
        committed: BlockNumber,
        was_hidden: bool,
    ) -> (Vec<(Uid, u16)>, Vec<Uid>) {
        let changed_hands = |uid: Uid| was_hidden && self.expect_neuron(netuid, uid).registered >= committed;
        let (gone, kept): (Vec<_>, Vec<_>) = cells(weights).partition(|(uid, _)| changed_hands(*uid));
        (max_upscale(kept), gone.into_iter().map(|(uid, _)| uid).collect())
    }

    pub(crate) fn reveal_weights(&mut self, accepted: &AcceptedWeights) {
        let AcceptedWeights {
            netuid,
            uid,
            commit_index,
            height,
            ..
        } = *accepted;
        match commit_index {
            Some(index) => {
                let mut commits = self.commits(netuid, uid);
                commits.0.drain(..=index);
                self.write_commits(netuid, uid, &commits);
            }
            None => self.touch(netuid, uid, height),
        }
        let mut rows: WeightRow = self.table.read(&(netuid, uid)).unwrap_or_default();
        rows.reveal(WaitingRow {
            tempo: accepted.tempo,
            made: accepted.made,
            digest: accepted.digest,
            row: accepted.row.clone(),
        });
        self.write_row((netuid, uid), &rows);
    }

    /// Checks registration, bar, permit and stake. The owner needs no permit, nor does a UID that weights only itself.
    fn check_weigher(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        subnet: Subnet,
        weighted: &[Uid],
    ) -> Result<Weigher, NoWeigher> {
        let (uid, neuron) = self.registered_neuron(netuid, hotkey)?;
        if let Some(until_tempo) = self.barred_until(netuid, hotkey, subnet.schedule.tempo) {
            return Err(NoWeigher::Barred { uid, until_tempo });
        }
        // Looks at all neurons, so it is asked last.
        let is_owner = || {
            neuron.coldkey == subnet.owner && owner_uids(&subnet, &self.neurons(netuid)).first() == Some(&uid)
        };
        if !neuron.permit && weighted != [uid] && !is_owner() {
            return Err(NoWeigher::Permit {
                uid,
                tempo: subnet.schedule.tempo,
                next_epoch: subnet.next_epoch(),
                max_validators: subnet.parameters.value(ParameterId::MaxValidators),
            });
        }
        let stake_base_units = self.pool(netuid, hotkey).total.base_units();
        let threshold_base_units = subnet.parameters.value(ParameterId::StakeThreshold);
        if stake_base_units < threshold_base_units && !is_owner() {
            return Err(NoWeigher::Stake {
                uid,
                stake_base_units,
                threshold_base_units,
            });
        }
        Ok(Weigher {
            netuid,
            subnet,
            uid,
            neuron,
        })
    }

    fn touch(&mut self, netuid: Netuid, uid: Uid, height: BlockNumber) {
        let mut neuron = self.expect_neuron(netuid, uid);
        neuron.last_update = height;
        self.table.write(&(netuid, uid), &neuron);
    }

    pub(crate) fn commits(&self, netuid: Netuid, uid: Uid) -> Commits {
        self.table.read(&(netuid, uid)).unwrap_or_default()
    }

    /// Writes the open commits of a UID; what is sealed beside others goes.
    pub(crate) fn write_commits(&mut self, netuid: Netuid, uid: Uid, commits: &Commits) {
        if commits.0.is_empty() {
            self.table.remove::<Commits>(&(netuid, uid));
        } else {
            self.table.write(&(netuid, uid), commits);
        }
        self.drop_settled_seals(netuid, uid);
    }

    pub(crate) fn write_bonds(&mut self, key: (Netuid, Uid), row: &BondRow) {
        if row.0.is_empty() {
            self.table.remove::<BondRow>(&key);
        } else {
            self.table.write(&key, row);
        }
    }
}

impl Weigher {
    fn reveal_period(&self) -> u64 {
        self.subnet.parameters.value(ParameterId::RevealPeriodTempos)
    }

    fn check_version(&self, version: u64) -> Result<(), RevealWeightsRefusal> {
        let version_key = self.subnet.parameters.value(ParameterId::VersionKey);
        if version < version_key {
            return Err(RevealWeightsRefusal::Version {
                netuid: self.netuid,
                version,
                version_key,
            });
        }
        Ok(())
    }

    /// The registration counts as the first update, so a new UID waits as well.
    fn check_rate_limit(&self, now: BlockNumber) -> Result<(), TooSoon> {
        let limit_blocks = self.subnet.parameters.value(ParameterId::WeightsRateLimitBlocks);
        let last = self.neuron.last_update;
        let allowed = BlockNumber(last.0.saturating_add(limit_blocks));
        if now < allowed {
            Err(TooSoon {
                uid: self.uid,
                last,
                allowed,
            })
        } else {
            Ok(())
        }
    }

    fn check_row(&self, weights: &Weights) -> Result<(), RevealWeightsRefusal> {
        check_ascending(&weights.uids)?;
        let neuron_count = self.subnet.neuron_count;
        if let Some(uid) = weights.uids.iter().find(|uid| uid.0 >= neuron_count) {
            return Err(RevealWeightsRefusal::UnknownUid {
                netuid: self.netuid,
                uid: *uid,
                neuron_count,
            });
        }
        let count_min = self
            .subnet
            .parameters
            .value(ParameterId::MinAllowedWeights)
            .min(neuron_count.into());
        let count = weights.uids.len();
        if (count as u64) < count_min && weights.uids != [self.uid] {
            return Err(RevealWeightsRefusal::TooFew {
                count: count as u64,
                count_min,
            });
        }
        if weights.values.iter().all(|value| *value == 0) {
            return Err(RevealWeightsRefusal::AllZero { count });
        }
        Ok(())
    }
}

fn cells(weights: &Weights) -> impl Iterator<Item = (Uid, u16)> {
    weights.uids.iter().copied().zip(weights.values.iter().copied())
}

fn check_ascending(uids: &[Uid]) -> Result<(), RevealWeightsRefusal> {
    for pair in uids.windows(2) {
        let (previous, uid) = (pair[0], pair[1]);
        if uid == previous {
            return Err(RevealWeightsRefusal::Duplicate { uid });
        }
        if uid < previous {
            return Err(RevealWeightsRefusal::Order { uid, previous });
        }
    }
    Ok(())
}

/// Scales values so that the largest is `u16::MAX`, each rounded to the nearest, halves up; zeros stay as they are.
fn max_upscale(mut row: Vec<(Uid, u16)>) -> Vec<(Uid, u16)> {
    let max = u32::from(row.iter().map(|(_, value)| *value).max().unwrap_or(0));
    for (_, value) in &mut row {
        let product = u32::from(*value).saturating_mul(u32::from(u16::MAX));
        let nearest = product.saturating_add(max / 2).checked_div(max).unwrap_or(0);
        *value = u16::try_from(nearest).expect("at most u16::MAX for a value of at most the largest");
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_upscale(values: &[u16], expected: &[u16]) {
        let row = (0..).map(Uid).zip(values.iter().copied()).collect();
        let scaled: Vec<u16> = max_upscale(row).into_iter().map(|(_, value)| value).collect();
        assert_eq!(scaled, expected);
    }

    #[test]
    fn the_largest_weight_becomes_the_largest_value_and_the_rest_round_to_nearest() {
        check_upscale(&[1, 2, 3], &[21_845, 43_690, 65_535]);
        check_upscale(&[1, 2], &[32_768, 65_535]);
        check_upscale(&[0, 7], &[0, 65_535]);
        check_upscale(&[65_535, 65_535], &[65_535, 65_535]);
        check_upscale(&[0, 0], &[0, 0]);
        check_upscale(&[], &[]);
    }
}
