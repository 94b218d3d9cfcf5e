//! The audits of a round: drawn, their codes opened by the miners, measured by the reference, all under deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use agon_protocol::id::Uid;
use agon_scoring::verify::Tally;
use futures::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Work;
use crate::audit::{self, Answered, Audit, Auditor};
use crate::query::{self, Outcome};
use crate::round::{Ask, Audits, Plan};

/// Time for a miner to open a window of codes.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// Time for the reference to measure all audits of a round; what is not done by then is not audited.
const MEASURE_DEADLINE: Duration = Duration::from_secs(60);

impl Work {
    /// Audits the drawn answers of a round; nothing where the task pins no model.
    pub(super) async fn audit(&mut self, plan: &Plan, outcomes: &[Outcome]) -> Audits {
        let Some(auditor) = self.auditor.clone().filter(|_| plan.asks.len() == outcomes.len()) else {
            return Audits::default();
        };
        let drawn: Vec<(usize, &Ask, Answered<'_>)> = plan
            .asks
            .iter()
            .zip(outcomes)
            .enumerate()
            .filter_map(|(index, (ask, outcome))| {
                let is_in_doubt = auditor
                    .conviction(self.state.memory.audits.of(ask.miner.uid))
                    .is_some();
                let answer = Answered::of(outcome)?;
                auditor
                    .selects(&plan.audits, ask, is_in_doubt)
                    .then_some((index, ask, answer))
            })
            .collect();
        let opened = join_all(drawn.iter().map(|(_, ask, answer)| {
            let channel = ask.miner.addr.ok_or_else(|| "it has left".to_owned());
            let channel = channel.and_then(|addr| self.miners.channel(addr));
            let window = audit::window(&plan.audits, ask, &answer.receipt.trace);
            async move {
                match window {
                    Some(window) => query::open(channel?, &ask.challenge, vec![window], OPEN_DEADLINE).await,
                    None => Ok(Vec::new()),
                }
            }
        }));
        let opened = opened.await;
        let until = Instant::now() + MEASURE_DEADLINE;
        let mut of_asks = BTreeMap::new();
        for ((index, ask, answer), windows) in drawn.iter().zip(opened) {
            let measured = audit_one(&auditor, ask, answer, windows);
            let audit = tokio::time::timeout_at(until, measured)
                .await
                .unwrap_or_else(|_| {
                    warn!(uid = %ask.miner.uid, "the reference model did not get to an audit in time");
                    None
                });
            count(ask, audit.as_ref());
            of_asks.extend(audit.map(|audit| (*index, audit)));
        }
        let convicted = self.convictions(&auditor, plan, &of_asks);
        Audits { of_asks, convicted }
    }

    /// The miners of a round whose newest audits, this round's included, say that another model answers.
    fn convictions(
        &self,
        auditor: &Auditor,
        plan: &Plan,
        of_asks: &BTreeMap<usize, Audit>,
    ) -> BTreeMap<Uid, f64> {
        let mut convicted = BTreeMap::new();
        for ask in &plan.asks {
            let uid = ask.miner.uid;
            let of_miner = of_asks
                .iter()
                .filter(|(index, _)| plan.asks[**index].miner.uid == uid);
            let newest = of_miner.map(|(_, audit)| &audit.tally);
            let tallies: Vec<&Tally> = self.state.memory.audits.of(uid).chain(newest).collect();
            if let Some(doubt) = auditor.conviction(tallies) {
                convicted.insert(uid, doubt);
            }
        }
        convicted
    }
}

/// Audits one answer; a miner that does not open what it committed to has failed.
async fn audit_one(
    auditor: &Auditor,
    ask: &Ask,
    answer: &Answered<'_>,
    windows: Result<Vec<agon_protocol::message::OpenedWindow>, String>,
) -> Option<Audit> {
    match windows {
        Ok(windows) => auditor.audit(ask.challenge.message(), answer, windows).await,
        Err(reason) => Some(Audit::withheld(&reason)),
    }
}

fn count(ask: &Ask, audit: Option<&Audit>) {
    let outcome = match audit {
        None => "unavailable",
        Some(Audit { failure: None, .. }) => "held",
        Some(Audit {
            failure: Some(reason),
            ..
        }) => {
            info!(uid = %ask.miner.uid, reason, "an audit failed");
            "failed"
        }
    };
    metrics::counter!("agon_validator_audits_total", "outcome" => outcome).increment(1);
}
