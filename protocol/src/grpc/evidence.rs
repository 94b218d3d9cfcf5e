//! Evidence of a tempo on the wire.

use super::{digest, key, list, narrow, netuid, text, uid, v1};
use crate::codec;
use crate::id::{Hotkey, Uid};
use crate::message::{EvidenceCommit, EvidenceLine, EvidenceView, MessageError};

impl From<EvidenceView> for v1::EvidenceReply {
    fn from(view: EvidenceView) -> Self {
        let lines = view.roster.into_iter().zip(view.at_once);
        let roster = lines.map(|((uid, hotkey), at_once)| v1::EvidenceRosterLine {
            uid: uid.0.into(),
            hotkey: hotkey.0.to_vec(),
            at_once: at_once.into(),
        });
        Self {
            netuid: view.netuid.0.into(),
            tempo: view.tempo,
            task: view.task,
            beacon: view.beacon.0.to_vec(),
            rounds: view.rounds,
            miners: view.miners,
            openings: view.openings,
            roster: roster.collect(),
            in_sessions: view.in_sessions,
            permitted: view.permitted.into_iter().map(permit).collect(),
            validators: view.validators.into_iter().map(Into::into).collect(),
        }
    }
}

fn permit((uid, hotkey): (Uid, Hotkey)) -> v1::EvidencePermit {
    v1::EvidencePermit {
        uid: uid.0.into(),
        hotkey: hotkey.0.to_vec(),
    }
}

impl From<EvidenceLine> for v1::EvidenceLine {
    fn from(line: EvidenceLine) -> Self {
        Self {
            uid: line.uid.0.into(),
            hotkey: line.hotkey.0.to_vec(),
            asker: line.asker.0.to_vec(),
            commit: codec::encode(&line.commit),
            opened: line.is_opened,
            forged: line.is_forged,
            coverage_ppm: line.coverage_ppm,
        }
    }
}

impl TryFrom<v1::EvidenceReply> for EvidenceView {
    type Error = MessageError;

    fn try_from(reply: v1::EvidenceReply) -> Result<Self, MessageError> {
        let lines: Vec<RosterLine> = list("roster", reply.roster)?;
        let permits: Vec<Permit> = list("permitted", reply.permitted)?;
        let (roster, at_once) = lines.into_iter().map(|line| (line.miner, line.at_once)).unzip();
        Ok(Self {
            netuid: netuid(reply.netuid)?,
            tempo: reply.tempo,
            task: text("task", reply.task)?,
            beacon: digest("beacon", &reply.beacon)?,
            rounds: reply.rounds,
            miners: reply.miners,
            openings: reply.openings,
            roster,
            at_once,
            in_sessions: reply.in_sessions,
            permitted: permits.into_iter().map(|line| line.0).collect(),
            validators: list("validators", reply.validators)?,
        })
    }
}

struct RosterLine {
    miner: (Uid, Hotkey),
    at_once: u16,
}

impl TryFrom<v1::EvidenceRosterLine> for RosterLine {
    type Error = MessageError;

    fn try_from(line: v1::EvidenceRosterLine) -> Result<Self, MessageError> {
        Ok(Self {
            miner: (uid(line.uid)?, Hotkey(key("hotkey", &line.hotkey)?)),
            at_once: narrow("at_once", line.at_once)?,
        })
    }
}

struct Permit((Uid, Hotkey));

impl TryFrom<v1::EvidencePermit> for Permit {
    type Error = MessageError;

    fn try_from(permit: v1::EvidencePermit) -> Result<Self, MessageError> {
        Ok(Self((uid(permit.uid)?, Hotkey(key("hotkey", &permit.hotkey)?))))
    }
}

impl TryFrom<v1::EvidenceLine> for EvidenceLine {
    type Error = MessageError;

    fn try_from(line: v1::EvidenceLine) -> Result<Self, MessageError> {
        Ok(Self {
            uid: uid(line.uid)?,
            hotkey: Hotkey(key("hotkey", &line.hotkey)?),
            asker: Hotkey(key("asker", &line.asker)?),
            commit: codec::decode(&line.commit, EvidenceCommit::BYTES_MAX)?,
            is_opened: line.opened,
            is_forged: line.forged,
            coverage_ppm: line.coverage_ppm,
        })
    }
}
