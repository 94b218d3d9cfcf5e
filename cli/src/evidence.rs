//! `agon evidence`: what a validator asked, what came back, how it was judged, and which weights followed.

use std::path::PathBuf;

use agon_protocol::id::{Netuid, Uid};
use agon_runtime::flags::WalletFlags;
use agon_validator::evidence::{
    Abstained, AnswerRecord, MinerRecord, Record, Round, WeightsResult, WeightsStep, read,
};
use agon_validator::query::Outcome;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::keys::open_wallet;
use crate::output::{Align, Table, one_line, print, print_json};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  agon evidence show --netuid 1 --wallet house --hotkey v0
  agon evidence show --dir ./validator-0 --tempo 4
  agon evidence show --dir ./validator-0 --tempo 4 --round 2 --uid 5
  agon evidence show --dir ./validator-0 --json      one line for each record

A validator may be writing the log meanwhile.";

/// Letters of an answer that the table shows.
const ANSWER_CHARS: usize = 28;
/// Letters of a reason that the table shows.
const REASON_CHARS: usize = 60;

/// Flags of `agon evidence`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EvidenceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print rounds, weights and abstentions, oldest first
    Show(Show),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Show {
    /// Folder of the validator [default: the one that agon-validator takes for netuid and hotkey]
    #[arg(long, value_name = "DIR", required_unless_present = "netuid")]
    dir: Option<PathBuf>,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Option<Netuid>,
    #[command(flatten)]
    wallet: WalletFlags,
    #[command(flatten)]
    filter: Filter,
}

/// Which records are shown.
#[derive(Clone, Copy, Debug, Default, Args)]
struct Filter {
    /// Only this tempo
    #[arg(long, value_name = "TEMPO")]
    tempo: Option<u64>,
    /// Only this round of each tempo
    #[arg(long, value_name = "ROUND")]
    round: Option<u32>,
    /// Only what is about this UID
    #[arg(long, value_name = "UID")]
    uid: Option<Uid>,
}

impl Filter {
    fn matches(&self, record: &Record) -> bool {
        let (tempo, round) = match record {
            Record::Round(round) => (round.tempo, Some(round.round)),
            Record::Weights(step) => (step.tempo, None),
            Record::Abstained(abstained) => (abstained.tempo, abstained.round),
        };
        self.tempo.is_none_or(|wanted| wanted == tempo)
            && self.round.is_none_or(|wanted| Some(wanted) == round)
            && self.uid.is_none_or(|wanted| concerns(record, wanted))
    }

    fn shows(&self, uid: Uid) -> bool {
        self.uid.is_none_or(|wanted| wanted == uid)
    }
}

fn concerns(record: &Record, uid: Uid) -> bool {
    match record {
        Record::Round(round) => round.miners.iter().any(|miner| miner.uid == uid),
        Record::Weights(step) => step.weights.iter().any(|(weighted, _)| *weighted == uid),
        Record::Abstained(_) => false,
    }
}

/// Runs `agon evidence`.
///
/// # Errors
///
/// When there is no log, or it is damaged.
pub fn run(session: &Session, args: &EvidenceArgs) -> anyhow::Result<()> {
    let Command::Show(args) = &args.command;
    let filter = &args.filter;
    for record in read(&dir(args)?)? {
        let record = record?;
        if !filter.matches(&record) {
            continue;
        }
        if session.json {
            print_json(&record_json(&record, filter))?;
        } else {
            print(record_text(&record, filter))?;
        }
    }
    Ok(())
}

/// The folder that was named, or the default of `agon-validator run`.
fn dir(args: &Show) -> anyhow::Result<PathBuf> {
    let (None, Some(netuid)) = (&args.dir, args.netuid) else {
        return Ok(args.dir.clone().unwrap_or_default());
    };
    let wallets = args.wallet.wallets.dir()?;
    let hotkey = open_wallet(&wallets, &args.wallet.wallet)?.hotkey_public(&args.wallet.hotkey)?;
    Ok(wallets
        .parent()
        .unwrap_or(&wallets)
        .join(format!("validator-{netuid}-{hotkey}")))
}

fn record_text(record: &Record, filter: &Filter) -> String {
    match record {
        Record::Round(round) => round_text(round, filter),
        Record::Weights(step) => weights_text(step, filter),
        Record::Abstained(abstained) => abstained_text(abstained),
    }
}

fn round_text(round: &Round, filter: &Filter) -> String {
    let mut table = Table::new(&[
        ("  uid", Align::Right),
        ("kind", Align::Left),
        ("reference", Align::Left),
        ("answer", Align::Left),
        ("score", Align::Right),
        ("strength", Align::Right),
        ("ms", Align::Right),
        ("reason", Align::Left),
    ]);
    for answer in round.answers.iter().filter(|answer| filter.shows(answer.uid)) {
        let index = usize::try_from(answer.challenge.message().item_index).unwrap_or(usize::MAX);
        let item = round.items.get(index);
        table.row([
            answer.uid.to_string(),
            item.map_or_else(String::new, |item| one_line(&item.kind, 20)),
            item.map_or_else(String::new, |item| one_line(&item.reference, ANSWER_CHARS)),
            answer_text(&answer.outcome),
            decimal(answer.score_ppm),
            decimal(answer.strength_ppm),
            took_ms(answer).map_or_else(String::new, |ms| ms.to_string()),
            one_line(&answer.reason, REASON_CHARS),
        ]);
    }
    let ratings = round.miners.iter().filter(|miner| filter.shows(miner.uid));
    let ratings: Vec<String> = ratings
        .map(|MinerRecord { uid, rating_ppm, .. }| format!("{uid}:{}", decimal(*rating_ppm)))
        .collect();
    format!(
        "tempo {} round {}\n{table}\n  ratings after it  {}",
        round.tempo,
        round.round,
        ratings.join(" ")
    )
}

fn answer_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { text, .. } => one_line(text, ANSWER_CHARS),
        Outcome::Failed { failure, .. } => format!("({})", failure.name()),
    }
}

/// From admission to the last token, by the miner's own clock.
fn took_ms(answer: &AnswerRecord) -> Option<u64> {
    match &answer.outcome {
        Outcome::Answered { receipt, .. } => {
            let receipt = receipt.message();
            Some(receipt.finished_ms.saturating_sub(receipt.received_ms))
        }
        Outcome::Failed { .. } => None,
    }
}

fn weights_text(step: &WeightsStep, filter: &Filter) -> String {
    let weights = step.weights.iter().filter(|(uid, _)| filter.shows(*uid));
    let weights: Vec<String> = weights.map(|(uid, weight)| format!("{uid}:{weight}")).collect();
    let result = match &step.result {
        WeightsResult::Committed(height) => format!("committed in block {height}"),
        WeightsResult::Revealed(height) => format!("revealed in block {height}"),
        WeightsResult::Failed(reason) => format!("failed: {reason}"),
    };
    format!("tempo {} weights {result}\n  {}", step.tempo, weights.join(" "))
}

fn abstained_text(abstained: &Abstained) -> String {
    let round = abstained
        .round
        .map_or_else(String::new, |round| format!(" round {round}"));
    format!("tempo {}{round} abstained: {}", abstained.tempo, abstained.reason)
}

fn decimal(ppm: u32) -> String {
    format!("{:.3}", f64::from(ppm) / 1_000_000.0)
}

fn record_json(record: &Record, filter: &Filter) -> Value {
    match record {
        Record::Round(round) => round_json(round, filter),
        Record::Weights(step) => json!({
            "record": "weights",
            "netuid": step.netuid.0,
            "tempo": step.tempo,
            "commit": step.commit.0.to_string(),
            "weights": step.weights.iter().map(|(uid, weight)| (uid.0, *weight)).collect::<Vec<_>>(),
            "result": result_json(&step.result),
        }),
        Record::Abstained(abstained) => json!({
            "record": "abstained",
            "netuid": abstained.netuid.0,
            "tempo": abstained.tempo,
            "round": abstained.round,
            "time_ms": abstained.time_ms,
            "reason": abstained.reason,
        }),
    }
}

fn result_json(result: &WeightsResult) -> Value {
    match result {
        WeightsResult::Committed(height) => json!({ "committed": height.0 }),
        WeightsResult::Revealed(height) => json!({ "revealed": height.0 }),
        WeightsResult::Failed(reason) => json!({ "failed": reason }),
    }
}

fn round_json(round: &Round, filter: &Filter) -> Value {
    let items: Vec<Value> = round
        .items
        .iter()
        .map(|item| json!({ "kind": item.kind, "reference": item.reference }))
        .collect();
    let miners = round.miners.iter().filter(|miner| filter.shows(miner.uid));
    let miners = miners.map(|miner| {
        json!({ "uid": miner.uid.0, "hotkey": miner.hotkey.to_string(), "rating_ppm": miner.rating_ppm })
    });
    let answers = round
        .answers
        .iter()
        .filter(|answer| filter.shows(answer.uid))
        .map(answer_json);
    json!({
        "record": "round",
        "netuid": round.netuid.0,
        "tempo": round.tempo,
        "round": round.round,
        "time_ms": round.time_ms,
        "beacon": round.beacon.to_string(),
        "items": items,
        "miners": miners.collect::<Vec<_>>(),
        "answers": answers.collect::<Vec<_>>(),
    })
}

fn answer_json(answer: &AnswerRecord) -> Value {
    let mut value = json!({
        "uid": answer.uid.0,
        "item_index": answer.challenge.message().item_index,
        "challenge": answer.challenge.digest().to_string(),
        "score_ppm": answer.score_ppm,
        "strength_ppm": answer.strength_ppm,
        "reason": answer.reason,
    });
    match &answer.outcome {
        Outcome::Answered {
            text,
            first_ms,
            total_ms,
            receipt,
            ..
        } => {
            let receipt = receipt.message();
            value["answer"] = json!(text);
            value["model"] = json!(receipt.model.to_string());
            value["prompt_tokens"] = json!(receipt.prompt_tokens);
            value["answer_tokens"] = json!(receipt.answer_tokens);
            value["took_ms"] = json!(took_ms(answer));
            value["first_ms"] = json!(first_ms);
            value["total_ms"] = json!(total_ms);
        }
        Outcome::Failed { failure, reason } => {
            value["failure"] = json!(failure.name());
            value["failure_reason"] = json!(reason);
        }
    }
    if let Some(audit) = &answer.audit {
        value["audit"] = json!({
            "tokens": audit.tally.margins.count,
            "margin_micro": audit.tally.margins.micro,
            "codes": audit.tally.codes.count,
            "code_micro": audit.tally.codes.micro,
            "failure": audit.failure,
        });
    }
    value
}
