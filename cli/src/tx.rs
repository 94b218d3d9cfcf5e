//! `agon tx`: any transaction, from JSON.
//!
//! The commands with names of their own cover what people do every day and end in the same place, [`submit`]. This one
//! takes whatever the ledger knows, so that a program needs no second tool and a new call no new command.

use std::path::PathBuf;

use agon_protocol::id::{Hotkey, Netuid};
use agon_protocol::message::Call;
use agon_protocol::sign::Keypair;
use agon_runtime::flags::ExitWith;
use clap::Args;
use serde_json::Value;

use crate::keys::{ColdkeyFlags, read_bounded};
use crate::output::print;
use crate::session::{Caution, Session, SubmitFlags, submit};

mod examples;

const EXAMPLES: &str = "Examples:
  agon tx --calls                                                     every call, with an example
  agon tx --wallet mine --dry-run --call '{\"transfer\": {\"to\": \"5Grw...\", \"amount\": \"12.5\"}}'
  agon tx --wallet mine --call-file call.json --yes --json
  agon tx --wallet mine --hotkey gpu0 --call '{\"serve_axon\": {\"netuid\": 1, \"axon\": {...}}}'

An amount is a number of base units, or a text in whole units. Keys are addresses, digests and signatures hex. \
--dry-run shows what the transaction would do, its fee and who pays it, or the refusal in the words of the ledger.";

/// Flags of `agon tx`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TxArgs {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey of the wallet that signs calls of hotkeys
    #[arg(long, value_name = "NAME", default_value = "default")]
    hotkey: String,
    /// The call: {"NAME": {FIELDS}}
    #[arg(long, value_name = "JSON", required_unless_present_any = ["call_file", "calls"])]
    call: Option<String>,
    /// File with the call, `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "call")]
    call_file: Option<PathBuf>,
    /// List every call with an example, and do nothing
    #[arg(long, conflicts_with_all = ["call", "call_file"])]
    calls: bool,
    #[command(flatten)]
    submit: SubmitFlags,
}

/// Runs `agon tx`.
///
/// # Errors
///
/// When the JSON is no call, the ledger refuses it or cannot be reached.
pub async fn run(session: &Session, args: &TxArgs) -> anyhow::Result<()> {
    if args.calls {
        return list(session);
    }
    let text = match (&args.call, &args.call_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => read_bounded(path)?,
        (None, None) => return list(session),
    };
    let call = parse(&text)?;
    let pair = signer(args, &call)?;
    submit(session, args.submit, &pair, call, Caution::Ask)
        .await
        .map(drop)
}

fn parse(text: &str) -> anyhow::Result<Call> {
    serde_json::from_str(text).map_err(|error| {
        ExitWith::usage(format!(
            "this is no call: {error}; agon tx --calls lists them with examples"
        ))
        .into()
    })
}

/// The call says which kind of key signs it.
fn signer(args: &TxArgs, call: &Call) -> anyhow::Result<Keypair> {
    if call.is_signed_by_hotkey() {
        Ok(args.coldkey.open()?.hotkey(&args.hotkey)?)
    } else {
        args.coldkey.coldkey()
    }
}

fn list(session: &Session) -> anyhow::Result<()> {
    let calls = examples::calls();
    let values: Vec<Value> = calls.iter().map(as_json).collect();
    if session.json {
        return session.show(&values, String::new);
    }
    let lines: Vec<String> = calls
        .iter()
        .zip(&values)
        .map(|(call, value)| {
            let signer = if call.is_signed_by_hotkey() {
                "hotkey"
            } else {
                "coldkey"
            };
            format!("{}, signed by a {signer}\n  {value}", call.name())
        })
        .collect();
    print(lines.join("\n"))
}

fn as_json(call: &Call) -> Value {
    serde_json::to_value(call).expect("keys, numbers and texts always have a JSON form")
}

/// The hotkey and subnet that examples are about.
const EXAMPLE: (Netuid, Hotkey) = (Netuid(1), Hotkey([0x2a; 32]));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_an_example_that_is_read_again() {
        let refusal = serde_json::from_str::<Call>("{\"none\": {}}")
            .unwrap_err()
            .to_string();
        let (_, known) = refusal.split_once("expected one of ").unwrap();
        let (known, _) = known.split_once(" at line").unwrap();
        let mut known: Vec<&str> = known.split(", ").map(|name| name.trim_matches('`')).collect();
        let examples = examples::calls();
        let mut shown: Vec<&str> = examples.iter().map(Call::name).collect();
        known.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, known, "examples and calls are the same");
        for call in examples {
            assert_eq!(parse(&as_json(&call).to_string()).unwrap(), call);
        }
    }
}
