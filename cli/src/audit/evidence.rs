//! Recomputes the weights of validators from their evidence.

use std::path::Path;

use agon_evidence::Context;
use agon_evidence::bundle::Bundle;
use agon_evidence::recompute::{Before, Difference, Equal, OnLedger, recompute};
use agon_ledger_client::evidence::fetch;
use agon_ledger_client::{ClientError, LedgerClient};
use agon_ledger_state::{EpochRecord, State};
use agon_protocol::codec;
use agon_protocol::grpc::EPOCH_BYTES_MAX;
use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{Call, EvidenceCommit, EvidenceLine, EvidenceOf, EvidenceView};
use agon_runtime::net::Net;
use agon_validator::bundles;
use anyhow::Context as _;
use serde::Serialize;

use super::AuditArgs;
use crate::output::{Align, Table};
use crate::session::{Session, told};

/// Where what the ledger says comes from.
pub(crate) enum Source {
    /// A node's word.
    Node(LedgerClient),
    /// Blocks that were replayed here.
    State(Box<State>),
}

impl Source {
    async fn genesis(&self) -> anyhow::Result<Digest> {
        match self {
            Self::Node(client) => Ok(client.head().await.map_err(told)?.genesis),
            Self::State(state) => Ok(state.genesis_digest()),
        }
    }

    async fn view(&self, netuid: Netuid, tempo: u64) -> anyhow::Result<EvidenceView> {
        match self {
            Self::Node(client) => client.evidence(netuid, tempo).await.map_err(told),
            Self::State(state) => state.evidence_view(netuid, tempo).with_context(|| {
                format!(
                    "the state after block {} has no evidence of tempo {tempo}: export blocks that end in one of the \
                     tempos after it",
                    state.height()
                )
            }),
        }
    }

    /// The row of weights by which `line` was counted at the epoch in which those of `tempo` were, if it has run. A row
    /// whose evidence was not opened does not count, and one with contested weights counts with what others say: neither is
    /// compared.
    async fn revealed(&self, netuid: Netuid, tempo: u64, line: &EvidenceLine) -> anyhow::Result<Option<Row>> {
        if !line.is_opened {
            return Ok(None);
        }
        let mut epoch = tempo + 1;
        let Some(mut record) = self.epoch(netuid, epoch).await? else {
            return Ok(None);
        };
        if record.inputs.commit_reveal && record.inputs.reveal_period > 1 {
            epoch = tempo + record.inputs.reveal_period;
            let Some(later) = self.epoch(netuid, epoch).await? else {
                return Ok(None);
            };
            record = later;
        }
        if record.filled.contains(&line.uid) {
            return Ok(None);
        }
        let row = record.inputs.weights.get(usize::from(line.uid.0));
        Ok(row.map(|row| row.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect()))
    }

    async fn epoch(&self, netuid: Netuid, tempo: u64) -> anyhow::Result<Option<EpochRecord>> {
        match self {
            Self::State(state) => Ok(state.epoch_record(netuid, tempo)),
            Self::Node(client) => match client.epoch(netuid, tempo).await {
                Ok(bytes) => Ok(Some(codec::decode(&bytes, EPOCH_BYTES_MAX)?)),
                Err(ClientError::NotFound(_)) => Ok(None),
                Err(error) => Err(told(error)),
            },
        }
    }
}

type Row = Vec<(Uid, u16)>;

/// Everything follows.
pub(crate) const EQUAL: &str = "equal";
/// Something does not follow.
pub(crate) const NOT_EQUAL: &str = "not equal";
/// There is nothing to recompute.
pub(crate) const NO_EVIDENCE: &str = "no evidence";

/// What was found of one validator's evidence.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) validator: String,
    pub(crate) uid: u16,
    /// [`EQUAL`], [`NOT_EQUAL`] or [`NO_EVIDENCE`].
    pub(crate) verdict: &'static str,
    /// What the ledger found of it: `opened`, `forged`, or `committed`.
    pub(crate) ledger: &'static str,
    pub(crate) coverage_ppm: Option<u32>,
    /// Rounds, answers and judgements that were repeated.
    pub(crate) rounds: usize,
    pub(crate) answers: usize,
    pub(crate) judged: usize,
    /// The first line that does not follow, or why there is nothing to recompute.
    pub(crate) line: Option<String>,
    pub(crate) found: Option<String>,
    pub(crate) expected: Option<String>,
    /// The step that the ledger can check, if it can.
    pub(crate) forgery: Option<&'static str>,
}

impl Verdict {
    fn of(line: &EvidenceLine) -> Self {
        let ledger = match (line.is_forged, line.is_opened) {
            (true, _) => "forged",
            (false, true) => "opened",
            (false, false) => "committed",
        };
        Self {
            uid: line.uid.0,
            ledger,
            coverage_ppm: line.coverage_ppm,
            ..Self::blank(line.hotkey, NO_EVIDENCE)
        }
    }

    /// A verdict that says nothing more.
    pub(crate) fn blank(validator: Hotkey, verdict: &'static str) -> Self {
        Self {
            validator: validator.to_string(),
            uid: 0,
            verdict,
            ledger: "committed",
            coverage_ppm: None,
            rounds: 0,
            answers: 0,
            judged: 0,
            line: None,
            found: None,
            expected: None,
            forgery: None,
        }
    }

    fn equal(self, equal: &Equal) -> Self {
        Self {
            verdict: EQUAL,
            rounds: equal.rounds,
            answers: equal.answers,
            judged: equal.judged,
            ..self
        }
    }

    fn different(self, difference: &Difference) -> Self {
        Self {
            verdict: NOT_EQUAL,
            line: Some(difference.line.clone()),
            found: Some(difference.found.clone()),
            expected: Some(difference.expected.clone()),
            forgery: difference.forgery.as_ref().map(|forgery| forgery.step()),
            ..self
        }
    }

    fn without(self, reason: String) -> Self {
        Self {
            line: Some(reason),
            ..self
        }
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    netuid: u16,
    tempo: u64,
    equal: bool,
    validators: Vec<Verdict>,
}

/// Audits evidence and tells what was found.
///
/// # Errors
///
/// When there is nothing to audit, or something does not follow.
pub(super) async fn run(
    session: &Session,
    args: &AuditArgs,
    source: Source,
    (netuid, tempo): (Netuid, u64),
) -> anyhow::Result<()> {
    let of = |line: &EvidenceLine| args.validator.is_none_or(|hotkey| hotkey == line.hotkey);
    let (validators, reported) = recomputed(&source, (netuid, tempo), of, args.bundle.as_deref()).await?;
    anyhow::ensure!(
        !validators.is_empty(),
        "no such validator committed to evidence of tempo {tempo} on netuid {netuid}"
    );
    if let (Some(path), Some(call)) = (&args.report, &reported) {
        let text = serde_json::to_string(call).context("write the report as JSON")?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let report = Report {
        netuid: netuid.0,
        tempo,
        equal: validators.iter().all(|verdict| verdict.verdict == EQUAL),
        validators,
    };
    session.show(&report, || text(&report))?;
    anyhow::ensure!(report.equal, "not everything is equal");
    Ok(())
}

/// Recomputes the evidence of the validators that `wanted` names, from a file or from where they serve it; gives a
/// verdict for each, and the call that reports the first forgery.
///
/// # Errors
///
/// When `source` does not know the tempo, or does not answer.
pub(crate) async fn recomputed(
    source: &Source,
    (netuid, tempo): (Netuid, u64),
    wanted: impl Fn(&EvidenceLine) -> bool,
    file: Option<&Path>,
) -> anyhow::Result<(Vec<Verdict>, Option<Call>)> {
    let genesis = source.genesis().await?;
    let view = source.view(netuid, tempo).await?;
    let (mut verdicts, mut report) = (Vec::new(), None);
    for line in view.validators.iter().filter(|line| wanted(line)) {
        let bundle = match bundle(file, line, tempo).await {
            Ok(bundle) => bundle,
            Err(error) => {
                verdicts.push(Verdict::of(line).without(format!("{error:#}")));
                continue;
            }
        };
        let revealed = source.revealed(netuid, tempo, line).await?;
        let before = earlier(source, (netuid, tempo), line, file).await;
        let context_before = before
            .as_ref()
            .map(|before| Context::of(&before.view, genesis, line.hotkey));
        let on_ledger = OnLedger {
            commit: &line.commit,
            before: before
                .as_ref()
                .zip(context_before.as_ref())
                .map(|(before, context)| Before {
                    context,
                    commit: &before.commit,
                    bundle: &before.bundle,
                }),
            revealed: revealed.as_deref(),
        };
        let context = Context::of(&view, genesis, line.hotkey);
        let verdict = Verdict::of(line);
        match recompute(&context, &on_ledger, &bundle) {
            Ok(equal) => verdicts.push(verdict.equal(&equal)),
            Err(difference) => {
                verdicts.push(verdict.different(&difference));
                let validator = line.hotkey;
                let of = EvidenceOf {
                    netuid,
                    validator,
                    tempo,
                };
                let call = |forgery| Call::ReportForgery { of, forgery };
                report = report.or(difference.forgery.map(call));
            }
        }
    }
    Ok((verdicts, report))
}

/// The evidence of a validator of the tempo before.
struct Earlier {
    view: EvidenceView,
    commit: EvidenceCommit,
    bundle: Bundle,
}

/// The evidence of the tempo before, by which is seen what windows were carried over: where the validator committed to
/// it, and serves it. A file has one tempo only.
async fn earlier(
    source: &Source,
    (netuid, tempo): (Netuid, u64),
    line: &EvidenceLine,
    file: Option<&Path>,
) -> Option<Earlier> {
    let tempo = tempo.checked_sub(1).filter(|_| file.is_none())?;
    let view = source.view(netuid, tempo).await.ok()?;
    let line = view.of(line.hotkey)?;
    let (commit, bundle) = (line.commit, bundle(None, line, tempo).await.ok()?);
    Some(Earlier { view, commit, bundle })
}

async fn bundle(file: Option<&Path>, line: &EvidenceLine, tempo: u64) -> anyhow::Result<Bundle> {
    if let Some(path) = file {
        return Ok(bundles::read(path)?);
    }
    let served_at = line.commit.served_at;
    let addr =
        served_at.context("it serves its evidence nowhere: ask for a file and give it with --bundle")?;
    Ok(fetch(&Net::tcp(), addr, tempo).await?)
}

fn text(report: &Report) -> String {
    let mut table = Table::new(&[
        ("uid", Align::Right),
        ("validator", Align::Left),
        ("verdict", Align::Left),
        ("ledger", Align::Left),
        ("coverage", Align::Right),
        ("rounds", Align::Right),
        ("answers", Align::Right),
        ("judged", Align::Right),
    ]);
    for verdict in &report.validators {
        let coverage = |ppm| format!("{:.1} %", f64::from(ppm) / 1e4);
        table.row([
            verdict.uid.to_string(),
            verdict.validator.clone(),
            verdict.verdict.to_owned(),
            verdict.ledger.to_owned(),
            verdict.coverage_ppm.map_or_else(|| "-".to_owned(), coverage),
            verdict.rounds.to_string(),
            verdict.answers.to_string(),
            verdict.judged.to_string(),
        ]);
    }
    let mut text = format!("netuid {}, tempo {}\n{table}", report.netuid, report.tempo);
    for verdict in report.validators.iter().filter(|verdict| verdict.line.is_some()) {
        let of = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
        text += &format!("\nuid {}: {}", verdict.uid, of(&verdict.line));
        if verdict.verdict == NOT_EQUAL {
            text += &format!(
                "\n  evidence  {}\n  rules     {}",
                of(&verdict.found),
                of(&verdict.expected)
            );
            let proof = verdict.forgery.map_or_else(
                || "the ledger cannot check this step: it is for whoever chooses validators".to_owned(),
                |step| {
                    format!(
                        "the ledger can check the step {step:?}: report it with --report FILE and agon tx"
                    )
                },
            );
            text += &format!("\n  {proof}");
        }
    }
    text
}
