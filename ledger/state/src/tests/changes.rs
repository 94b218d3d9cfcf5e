//! A copy of a metagraph that is kept level by what changed, block by block.

use agon_protocol::message::{Metagraph, MetagraphChanges};

use super::*;

/// A copy that is told only what changed, and the heights at which rows change by time alone.
struct Copy {
    metagraph: Metagraph,
    inactive_from: Vec<BlockNumber>,
    before: State,
}

impl Copy {
    fn of(ledger: &Ledger) -> Self {
        let mut copy = Self {
            metagraph: ledger.state.metagraph(SUBNET).unwrap(),
            inactive_from: Vec::new(),
            before: ledger.state.clone(),
        };
        copy.note(&ledger.state, None);
        copy
    }

    /// UIDs that changed, the newest heights of fading noted.
    fn note(&mut self, state: &State, before: Option<&State>) -> Vec<Uid> {
        let changes = state.neuron_changes(before).into_iter();
        let mut uids = Vec::new();
        for change in changes.filter(|change| change.netuid == SUBNET) {
            let index = usize::from(change.uid.0);
            let len = self.inactive_from.len().max(index + 1);
            self.inactive_from.resize(len, BlockNumber(0));
            self.inactive_from[index] = change.inactive_from;
            uids.push(change.uid);
        }
        uids
    }

    /// Brings the copy level and compares it with the whole; gives how many rows that took.
    #[track_caller]
    fn follow(&mut self, ledger: &Ledger) -> usize {
        let state = &ledger.state;
        let before = std::mem::replace(&mut self.before, state.clone());
        let mut uids = self.note(state, Some(&before));
        let heights = before.height()..state.height();
        let fading = self.inactive_from.iter().enumerate();
        let faded = fading.filter(|(_, from)| heights.start < **from && **from <= heights.end);
        uids.extend(faded.map(|(uid, _)| Uid(u16::try_from(uid).unwrap())));
        uids.sort();
        uids.dedup();
        let rows = state.metagraph_rows(SUBNET, &uids).unwrap();
        let told = rows.neurons.len();
        self.metagraph.update(MetagraphChanges {
            since: Some(before.height()),
            metagraph: rows,
        });
        assert_eq!(
            self.metagraph,
            state.metagraph(SUBNET).unwrap(),
            "at {}",
            state.height()
        );
        told
    }
}

#[test]
fn a_copy_that_is_told_changes_stays_equal_to_the_whole() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102, 103]);
    let mut copy = Copy::of(&ledger);
    // Three tempos of ten blocks are enough for weights to fade, with the shortest cutoff.
    ledger.ok(1, set("activity_cutoff_milli_tempos", 1_000));
    copy.follow(&ledger);
    let mut told = 0;
    for block in 0..60 {
        match block {
            3 => ledger.register(3, [104]),
            7 => ledger.ok(2, stake(101, units(5))),
            12 => ledger.ok(3, stake(104, units(5))),
            _ => drop(ledger.begin()),
        }
        told += copy.follow(&ledger);
    }
    assert!(copy.metagraph.neurons.iter().all(|neuron| !neuron.active));
    // Epochs write every row; the blocks between them tell little.
    assert!(told < 60, "{told} rows were told");
}

#[test]
fn every_row_is_told_where_nothing_is_known_before() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101, 102]);
    let rows = ledger.state.neuron_changes(None);
    assert_eq!(rows.len(), 2);
    assert_eq!(ledger.state.neuron_changes(Some(&ledger.state.clone())), []);
}
