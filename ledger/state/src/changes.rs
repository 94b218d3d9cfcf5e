//! Which rows of the metagraphs differ between two states, for readers who keep a copy.
//!
//! States of neighbouring blocks share what neither has changed, so this costs what changed and not what there is. A
//! row also changes by time alone, when the weights of its neuron get too old to count; the height at which they do
//! is told with each change.

use std::collections::BTreeSet;

use agon_protocol::id::{BlockNumber, Digest, Netuid, Uid};
use agon_protocol::message::Metagraph;

use crate::State;
use crate::neuron::{Neuron, activity_cutoff_blocks};
use crate::stake::Pool;
use crate::subnet::Subnet;
use crate::views::neuron_view;

/// A row that may read otherwise than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeuronChange {
    /// The subnet.
    pub netuid: Netuid,
    /// The UID.
    pub uid: Uid,
    /// First height at which its weights are too old to count, unless they are refreshed.
    pub inactive_from: BlockNumber,
}

impl State {
    /// Rows of all metagraphs that may read otherwise than in `before`, or every row without one.
    ///
    /// Rows of subnets that are no more are not among them.
    #[must_use]
    pub fn neuron_changes(&self, before: Option<&Self>) -> Vec<NeuronChange> {
        let rows = match before {
            Some(before) => self.changed_rows(before),
            None => self
                .table
                .scan::<Neuron>(())
                .map(|((netuid, uid), _)| (netuid, uid))
                .collect(),
        };
        let mut subnet: Option<(Netuid, u64)> = None;
        let mut changes = Vec::with_capacity(rows.len());
        for (netuid, uid) in rows {
            let cutoff = match subnet {
                Some((known, cutoff)) if known == netuid => Some(cutoff),
                _ => self.cutoff(netuid),
            };
            let neuron = self.table.read::<Neuron>(&(netuid, uid));
            let (Some(cutoff), Some(neuron)) = (cutoff, neuron) else {
                continue;
            };
            subnet = Some((netuid, cutoff));
            let inactive_from = neuron.last_update.0.saturating_add(cutoff).saturating_add(1);
            changes.push(NeuronChange {
                netuid,
                uid,
                inactive_from: BlockNumber(inactive_from),
            });
        }
        changes
    }

    /// The rows of some UIDs of a subnet, in the order given; UIDs that it does not have are left out. Otherwise as
    /// [`State::metagraph`].
    #[must_use]
    pub fn metagraph_rows(&self, netuid: Netuid, uids: &[Uid]) -> Option<Metagraph> {
        let subnet: Subnet = self.table.read(&netuid)?;
        let row = |uid: &Uid| {
            let neuron = self.table.read::<Neuron>(&(netuid, *uid))?;
            let stake = self.pool(netuid, neuron.hotkey).total;
            Some(neuron_view(self.height(), &subnet, *uid, neuron, stake))
        };
        Some(Metagraph {
            netuid,
            height: self.height(),
            hash: Digest::default(),
            tempo: subnet.schedule.tempo,
            neurons: uids.iter().filter_map(row).collect(),
        })
    }

    /// Whether there is such a subnet.
    #[must_use]
    pub fn has_subnet(&self, netuid: Netuid) -> bool {
        self.table.has::<Subnet>(&netuid)
    }

    fn changed_rows(&self, before: &Self) -> BTreeSet<(Netuid, Uid)> {
        let mut rows: BTreeSet<(Netuid, Uid)> = self
            .table
            .differing::<Neuron>(&before.table, ())
            .into_iter()
            .collect();
        for (netuid, hotkey) in self.table.differing::<Pool>(&before.table, ()) {
            rows.extend(self.uid_of(netuid, hotkey).map(|uid| (netuid, uid)));
        }
        for netuid in self.table.differing::<Subnet>(&before.table, ()) {
            if before.cutoff(netuid) != self.cutoff(netuid) {
                let all = self.table.scan::<Neuron>(netuid);
                rows.extend(all.map(|(row, _)| row));
            }
        }
        rows
    }

    fn cutoff(&self, netuid: Netuid) -> Option<u64> {
        let subnet = self.table.read::<Subnet>(&netuid);
        subnet.map(|subnet| activity_cutoff_blocks(&subnet.parameters))
    }
}
