//! Evidence of a tempo on the wire.

use super::{digest, key, list, netuid, text, uid, v1};
use crate::codec;
use crate::id::{Hotkey, Uid};
use crate::message::{EvidenceCommit, EvidenceLine, EvidenceView, MessageError};

impl From<EvidenceView> for v1::EvidenceReply {
    fn from(view: EvidenceView) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            tempo: view.tempo,
            task: view.task,
            beacon: view.beacon.0.to_vec(),
            rounds: view.rounds,
            miners: view.miners,
            openings: view.openings,
            roster: lines(view.roster),
            in_sessions: view.in_sessions,
            permitted: lines(view.permitted),
            validators: view.validators.into_iter().map(Into::into).collect(),
        }
    }
}

fn lines(list: Vec<(Uid, Hotkey)>) -> Vec<v1::EvidenceRosterLine> {
    let line = |(uid, hotkey): (Uid, Hotkey)| v1::EvidenceRosterLine {
        uid: uid.0.into(),
        hotkey: hotkey.0.to_vec(),
    };
    list.into_iter().map(line).collect()
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
        Ok(Self {
            netuid: netuid(reply.netuid)?,
            tempo: reply.tempo,
            task: text("task", reply.task)?,
            beacon: digest("beacon", &reply.beacon)?,
            rounds: reply.rounds,
            miners: reply.miners,
            openings: reply.openings,
            roster: pairs("roster", reply.roster)?,
            in_sessions: reply.in_sessions,
            permitted: pairs("permitted", reply.permitted)?,
            validators: list("validators", reply.validators)?,
        })
    }
}

fn pairs(
    field: &'static str,
    lines: Vec<v1::EvidenceRosterLine>,
) -> Result<Vec<(Uid, Hotkey)>, MessageError> {
    let lines: Vec<RosterLine> = list(field, lines)?;
    Ok(lines.into_iter().map(|line| line.0).collect())
}

struct RosterLine((Uid, Hotkey));

impl TryFrom<v1::EvidenceRosterLine> for RosterLine {
    type Error = MessageError;

    fn try_from(line: v1::EvidenceRosterLine) -> Result<Self, MessageError> {
        Ok(Self((uid(line.uid)?, Hotkey(key("hotkey", &line.hotkey)?))))
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
