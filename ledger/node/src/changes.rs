//! When each row of the metagraphs changed last, so that a reader with a copy is told only what differs.
//!
//! A height for each UID is all that is kept, so the memory is bounded by the UIDs there are, and any height since
//! this process began can be asked about. Rows also change by time alone, when weights get too old to count: that
//! height is kept as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use agon_ledger_state::State;
use agon_protocol::id::{BlockNumber, Netuid, Uid};

/// When rows changed, as of one state.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    state: Arc<State>,
    subnets: BTreeMap<Netuid, Arc<Rows>>,
}

/// When the rows of one subnet changed.
#[derive(Clone, Debug)]
struct Rows {
    /// Lowest height about which there is an answer.
    known_from: BlockNumber,
    /// By UID.
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    changed: BlockNumber,
    inactive_from: BlockNumber,
}

impl Row {
    /// Whether it may read otherwise at `now` than it did at `height`.
    fn may_differ(&self, height: BlockNumber, now: BlockNumber) -> bool {
        self.changed > height || (height < self.inactive_from && self.inactive_from <= now)
    }
}

impl Changes {
    /// Begins with a state of which nothing earlier is known.
    pub(crate) fn begin(state: &Arc<State>) -> Self {
        let mut changes = Self {
            state: Arc::clone(state),
            subnets: BTreeMap::new(),
        };
        changes.note(state, None);
        changes
    }

    /// Notes what differs between the state of the last call and `state`, that of a later block.
    pub(crate) fn follow(&mut self, state: &Arc<State>) {
        let before = std::mem::replace(&mut self.state, Arc::clone(state));
        self.note(state, Some(&before));
    }

    /// UIDs whose rows may read otherwise at `now`, the height of the newest state, than at `height`; `None` where
    /// `height` lies before what is known.
    pub(crate) fn since(&self, netuid: Netuid, height: BlockNumber, now: BlockNumber) -> Option<Vec<Uid>> {
        let rows = self.subnets.get(&netuid)?;
        if height < rows.known_from {
            return None;
        }
        let rows = (0..=u16::MAX).zip(&rows.rows);
        Some(
            rows.filter(|(_, row)| row.may_differ(height, now))
                .map(|(uid, _)| Uid(uid))
                .collect(),
        )
    }

    fn note(&mut self, state: &State, before: Option<&State>) {
        let now = state.height();
        self.subnets.retain(|netuid, _| state.has_subnet(*netuid));
        for change in state.neuron_changes(before) {
            let rows = self.subnets.entry(change.netuid).or_insert_with(|| {
                Arc::new(Rows {
                    known_from: now,
                    rows: Vec::new(),
                })
            });
            Arc::make_mut(rows).put(
                change.uid,
                Row {
                    changed: now,
                    inactive_from: change.inactive_from,
                },
            );
        }
    }
}

impl Rows {
    fn put(&mut self, uid: Uid, row: Row) {
        let index = usize::from(uid.0);
        if index >= self.rows.len() {
            // UIDs are given one after the other, so there is nothing between the last and this one for long.
            self.rows.resize(index + 1, row);
        }
        self.rows[index] = row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETUID: Netuid = Netuid(1);

    fn changes(rows: &[(u64, u64)]) -> Changes {
        let state = Arc::new(State::genesis(&crate::fixture::genesis()).unwrap());
        let rows = rows.iter().map(|(changed, inactive_from)| Row {
            changed: BlockNumber(*changed),
            inactive_from: BlockNumber(*inactive_from),
        });
        let rows = Rows {
            known_from: BlockNumber(10),
            rows: rows.collect(),
        };
        Changes {
            state,
            subnets: BTreeMap::from([(NETUID, Arc::new(rows))]),
        }
    }

    #[track_caller]
    fn check(height: u64, expected: Option<&[u16]>) {
        let changes = changes(&[(10, 30), (20, 99), (25, 99), (12, 26)]);
        let found = changes.since(NETUID, BlockNumber(height), BlockNumber(27));
        let found = found.map(|uids| uids.iter().map(|uid| uid.0).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected, "since {height}");
    }

    #[test]
    fn rows_that_changed_after_a_height_are_told_and_those_that_faded() {
        check(9, None);
        check(10, Some(&[1, 2, 3]));
        check(20, Some(&[2, 3]));
        check(25, Some(&[3]));
        check(26, Some(&[]));
        check(27, Some(&[]));
    }

    #[test]
    fn nothing_is_known_of_a_subnet_that_is_not_there() {
        let changes = changes(&[]);
        assert_eq!(changes.since(Netuid(2), BlockNumber(20), BlockNumber(27)), None);
    }
}
