//! What is told of the evidence of a tempo.

use agon_protocol::id::{Hotkey, Netuid};
use agon_protocol::message::{EvidenceLine, EvidenceView};

use super::{EvidenceRecord, Roster};
use crate::State;
use crate::epoch::EpochRecord;
use crate::subnet::Subnet;

impl State {
    /// What is owed of a tempo and what came of it, or `None` when there is no such subnet, the tempo has not opened or
    /// it is not kept any more. The roster of a running tempo that opened without one is empty.
    #[must_use]
    pub fn evidence_view(&self, netuid: Netuid, tempo: u64) -> Option<EvidenceView> {
        let subnet: Subnet = self.table.read(&netuid)?;
        let is_running = tempo == subnet.schedule.tempo;
        let roster = self.roster(netuid, tempo);
        let roster = roster.or_else(|| is_running.then(|| Roster::of(&subnet, &[])))?;
        let epoch: Option<EpochRecord> = self.table.read(&(netuid, tempo.saturating_add(1)));
        let records = self.table.scan::<EvidenceRecord>((netuid, tempo));
        let mut validators: Vec<EvidenceLine> = records
            .filter_map(|((_, _, name), record)| {
                let coverage_ppm = epoch.as_ref().and_then(|epoch| self.covered_in(epoch, name));
                line(&roster, record, coverage_ppm)
            })
            .collect();
        validators.sort_unstable_by_key(|line| line.uid);
        Some(EvidenceView {
            netuid,
            tempo,
            task: subnet.task,
            beacon: roster.beacon,
            rounds: roster.rounds,
            miners: roster.miners_per_round,
            openings: roster.openings,
            roster: roster.miners,
            at_once: roster.at_once,
            in_sessions: roster.in_sessions,
            permitted: roster.validators,
            validators,
        })
    }

    /// The coverage that an epoch found of whoever goes by `name`; `None` when it held no UID.
    fn covered_in(&self, epoch: &EpochRecord, name: Hotkey) -> Option<u32> {
        let mut holders = epoch.holders.iter();
        let index = holders.position(|(hotkey, _)| self.pool_name(*hotkey) == Some(name))?;
        epoch.coverage_ppm.get(index).copied()
    }
}

fn line(roster: &Roster, record: EvidenceRecord, coverage_ppm: Option<u32>) -> Option<EvidenceLine> {
    let mut validators = roster.validators.iter();
    let (uid, hotkey) = *validators.find(|(_, hotkey)| *hotkey == record.hotkey)?;
    Some(EvidenceLine {
        uid,
        hotkey,
        asker: record.asker,
        commit: record.commit,
        is_opened: record.shown.is_some(),
        is_forged: record.forged,
        coverage_ppm,
    })
}
