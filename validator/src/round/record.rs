//! A judged round as it is written down: what the tempo's evidence is made of.

use agon_evidence::record::{AnswerRecord, ItemRecord, MinerRecord, Round};
use agon_protocol::id::{Digest, Netuid, Uid};

use super::{Ask, Audits, Plan, PlannedItem, Score};
use crate::query::Outcome;

/// A round that was asked and is not judged yet.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The subnet.
    pub netuid: Netuid,
    /// Number of the round within the tempo.
    pub number: u32,
    /// Number of the round among all of this validator's.
    pub sequence: u64,
    /// The tempo.
    pub tempo: u64,
    /// Its beacon.
    pub beacon: Digest,
    /// When the round began, Unix milliseconds.
    pub time_ms: u64,
    /// What was to be asked.
    pub plan: &'a Plan,
    /// What came of it, one for each ask.
    pub outcomes: &'a [Outcome],
    /// What audits found.
    pub audits: &'a Audits,
}

impl Asked<'_> {
    /// The record of the round with one score for each ask, before it is folded; `forgotten` are the UIDs that changed
    /// hands since the round before.
    #[must_use]
    pub fn record(&self, forgotten: &[Uid], scores: &[Score]) -> Round {
        let answers = self.plan.asks.iter().zip(self.outcomes).zip(scores).enumerate();
        let answers = answers.map(|(index, ((ask, outcome), score))| AnswerRecord {
            uid: ask.miner.uid,
            challenge: ask.challenge.clone(),
            outcome: outcome.clone(),
            audit: self.audits.of_asks.get(&index).cloned(),
            score_ppm: score.score_ppm,
            reason: score.reason.clone(),
            strength_ppm: 0,
        });
        Round {
            netuid: self.netuid,
            tempo: self.tempo,
            round: self.number,
            sequence: self.sequence,
            time_ms: self.time_ms,
            is_burst: self.plan.is_burst,
            forgotten: forgotten.to_vec(),
            beacon: self.beacon,
            draw: self.plan.draw,
            audit_draw: self.plan.audit_proof,
            items: self.plan.items.iter().map(item_record).collect(),
            miners: miner_records(self.plan),
            answers: answers.collect(),
        }
    }
}

fn item_record(planned: &PlannedItem) -> ItemRecord {
    let (kind, reference) = (planned.item.kind.to_owned(), planned.item.reference.clone());
    ItemRecord {
        seed: planned.seed,
        kind,
        reference,
    }
}

fn miner_records(plan: &Plan) -> Vec<MinerRecord> {
    let record = |ask: &Ask| MinerRecord {
        uid: ask.miner.uid,
        hotkey: ask.miner.hotkey,
        rating_ppm: 0,
    };
    let mut miners: Vec<MinerRecord> = plan.asks.iter().map(record).collect();
    miners.sort_unstable_by_key(|miner| miner.uid);
    miners.dedup_by_key(|miner| miner.uid);
    miners
}
