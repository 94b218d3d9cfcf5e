//! Which of a validator's rows counts: the newest that its evidence shows.
//!
//! A row that is revealed waits until the tempo is over in which the evidence of its own tempo is opened. At the epoch
//! that ends that tempo it counts if the last leaf of that evidence has this very row, and is gone otherwise; until then,
//! and where it is gone, the row before stands. Who showed another row than it revealed gets no dividends from that
//! epoch.
//!
//! With commit-reveal and a reveal period of one, a row of tempo t is revealed and its evidence opened in t + 1, so it
//! counts from the epoch that ends t + 1. Without commit-reveal it is set in t and counts from the same epoch.
//!
//! Nothing is asked of a row whose tempo owes no evidence: it has no roster, asks for no openings, or nobody else served
//! when it opened. Who had no permit when the tempo opened is not in its roster and can show nothing, so what it sets
//! does not count before the next tempo; the owner's UID is no exception, and is given its permit by every epoch.
//!
//! # Invariants
//!
//! - What epochs count was shown, or owed nothing.
//! - At most one row of a tempo waits.

use std::collections::BTreeSet;

use agon_evidence::opening::Shown;
use agon_protocol::id::{BlockNumber, Digest, Netuid, Uid};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::evidence::EvidenceRecord;
use crate::subnet::Subnet;
use crate::table::Entry;

/// A validator's rows: UIDs ascending, the largest value `u16::MAX` when they were set.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct WeightRow {
    /// What epochs count; empty before there is anything.
    pub(crate) counting: Vec<(Uid, u16)>,
    /// Miners of which the row that counts says what others do not see, ascending; see [`agon_scoring::contest`].
    pub(crate) contested: Vec<Uid>,
    /// Revealed since, in that order; their evidence can still be shown.
    pub(crate) waiting: Vec<WaitingRow>,
}

/// A revealed row that does not count yet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct WaitingRow {
    /// The tempo that it is of.
    pub(crate) tempo: u64,
    /// Block at which it was made: that of the commit, or of the weights where there was none.
    pub(crate) made: BlockNumber,
    /// Digest of the row as it was revealed, with the weights on UIDs that changed hands.
    pub(crate) digest: Digest,
    pub(crate) row: Vec<(Uid, u16)>,
}

impl Entry for WeightRow {
    type Key = (Netuid, Uid);
    const KIND: u8 = 0x07;
}

impl WeightRow {
    /// The newest row that was revealed, whether it counts or not.
    pub(crate) fn newest(self) -> Vec<(Uid, u16)> {
        let Self {
            counting,
            mut waiting,
            ..
        } = self;
        waiting.pop().map_or(counting, |newest| newest.row)
    }

    /// Every row there is.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[(Uid, u16)]> {
        let waiting = self.waiting.iter().map(|waiting| waiting.row.as_slice());
        [self.counting.as_slice()].into_iter().chain(waiting)
    }

    /// Sets the weight on a replaced UID to 0; the cell stays, as the reference has it.
    pub(crate) fn forget(&mut self, replaced: Uid) {
        let waiting = self.waiting.iter_mut().map(|waiting| &mut waiting.row);
        let cells = [&mut self.counting].into_iter().chain(waiting).flatten();
        for (uid, value) in cells {
            if *uid == replaced {
                *value = 0;
            }
        }
        self.contested.retain(|uid| *uid != replaced);
    }

    /// Takes a row that is revealed, in place of another of its tempo.
    pub(crate) fn reveal(&mut self, row: WaitingRow) {
        self.waiting.retain(|waiting| waiting.tempo != row.tempo);
        self.waiting.push(row);
    }

    /// Whether the rules could have written it, for a subnet of `neuron_count` UIDs.
    pub(crate) fn is_valid(&self, neuron_count: u16) -> bool {
        let is_row = |row: &[(Uid, u16)]| {
            row.is_sorted_by(|left, right| left.0 < right.0) && row.iter().all(|(on, _)| on.0 < neuron_count)
        };
        let contested = &self.contested;
        let tempos: BTreeSet<u64> = self.waiting.iter().map(|waiting| waiting.tempo).collect();
        self.all().all(is_row)
            && contested.is_sorted_by(|left, right| left < right)
            && contested.iter().all(|uid| uid.0 < neuron_count)
            && tempos.len() == self.waiting.len()
    }
}

/// What the evidence of its tempo says of a waiting row at an epoch.
enum Backing {
    /// It is the row, or nothing is owed; and which miners' failures are contested.
    Backed(Vec<Uid>),
    /// The evidence is opened in a later tempo.
    Open,
    /// Nothing was shown.
    Missing,
    /// It is another row.
    Another,
}

impl State {
    /// Decides which waiting rows count in the epoch that ends the running tempo, and drops those that can not count any
    /// more. Gives the UIDs whose evidence shows another row than they revealed.
    pub(crate) fn settle_rows(&mut self, netuid: Netuid, subnet: &Subnet) -> BTreeSet<Uid> {
        let rows = self.table.scan::<WeightRow>(netuid);
        let waiting: Vec<_> = rows.filter(|(_, row)| !row.waiting.is_empty()).collect();
        let mut others = BTreeSet::new();
        for ((_, uid), mut rows) in waiting {
            for row in std::mem::take(&mut rows.waiting) {
                match self.backing((netuid, subnet), uid, &row) {
                    Backing::Backed(contested) => self.count_row((netuid, uid), &mut rows, row, contested),
                    Backing::Open => rows.waiting.push(row),
                    Backing::Missing => {}
                    Backing::Another => {
                        others.insert(uid);
                    }
                }
            }
            self.write_row((netuid, uid), &rows);
        }
        others
    }

    fn backing(&self, (netuid, subnet): (Netuid, &Subnet), uid: Uid, waiting: &WaitingRow) -> Backing {
        let tempo = waiting.tempo;
        let hotkey = self.expect_neuron(netuid, uid).hotkey;
        let roster = self.roster(netuid, tempo).filter(|roster| roster.openings > 0);
        let Some(roster) = roster else {
            return Backing::Backed(Vec::new());
        };
        let drawer = roster.drawer(uid).unwrap_or(hotkey);
        let context = self.evidence_context((netuid, subnet), &roster, tempo, (drawer, drawer));
        if context.slot_count() == 0 {
            return Backing::Backed(Vec::new());
        }
        if tempo >= subnet.schedule.tempo {
            return Backing::Open;
        }
        let name = self.pool_name(hotkey).expect("a registered hotkey has an owner");
        let record: Option<EvidenceRecord> = self.table.read(&(netuid, tempo, name));
        match record.filter(|record| !record.forged) {
            Some(record) if record.weights == Some(waiting.digest) => Backing::Backed(contested(record)),
            Some(EvidenceRecord { weights: Some(_), .. }) => Backing::Another,
            _ => Backing::Missing,
        }
    }

    fn count_row(&mut self, key: (Netuid, Uid), rows: &mut WeightRow, row: WaitingRow, contested: Vec<Uid>) {
        let mut neuron = self.expect_neuron(key.0, key.1);
        neuron.weighed = row.made;
        self.table.write(&key, &neuron);
        rows.counting = row.row;
        rows.contested = contested;
    }

    /// Writes the rows of a UID; without any there is no entry.
    pub(crate) fn write_row(&mut self, key: (Netuid, Uid), rows: &WeightRow) {
        if rows.all().all(<[_]>::is_empty) {
            self.table.remove::<WeightRow>(&key);
        } else {
            self.table.write(&key, rows);
        }
    }
}

/// Miners of which the evidence claims failures that they contested, or that a picked slot shows. Whether others saw
/// them as well is asked when the row is counted.
fn contested(record: EvidenceRecord) -> Vec<Uid> {
    let mut contested = record.contested;
    for shown in record.shown.unwrap_or_default() {
        if let Shown::Failed(uid) = shown {
            contested.push(uid);
        }
    }
    contested.sort_unstable();
    contested.dedup();
    contested
}
