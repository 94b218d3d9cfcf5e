//! `agon audit`: recomputes what others say, on any machine: the blocks of a ledger, and the weights of validators.

mod blocks;
pub(crate) mod evidence;

use std::path::PathBuf;

use agon_protocol::id::{Digest, Hotkey, Netuid};
use clap::Args;

use crate::session::Session;

const EXAMPLES: &str = "Examples:
  agon-node export --dir ./ledger --out audit.export --blocks 1..5000       on the node's machine
  agon audit --export audit.export --from 1 --to 5000                       on yours, without a node
  agon audit --export audit.export --trust HASH --json
  agon audit --from 4101 --to 4200 --ledger http://ledger.example:9944      fetches the export first

  agon audit --netuid 1 --tempo 12                          the evidence of every validator of tempo 12
  agon audit --netuid 1 --tempo 12 --validator ADDRESS --bundle 12.bundle --export audit.export
  agon audit --netuid 1 --tempo 12 --validator ADDRESS --report forgery.json

Blocks: every block from FROM to TO is replayed on the state before FROM: signatures, refusals, epochs, pay and roots \
come out of the rules in this program. Certificates are checked against the committee that the state before each \
block names. Where the export holds the state after TO, as those of agon-node do, it is compared entry by entry.
A replay shows that the blocks are right, not which ledger they are of: compare a hash with one that you trust, or \
give it with --trust.

Evidence (--netuid): draws, judgements, comparisons, ratings and weights of a tempo are recomputed from what the \
validator committed to, and the first line that does not follow is named. With --export, what the ledger says comes \
from the replayed blocks, which have to end after the tempo's weights were committed and before its evidence is \
forgotten; else it is asked for. A difference that the ledger can check is written with --report as a call for \
`agon tx`.

Exit codes: 0 equal, 1 not equal or no verdict, 2 usage, 4 ledger out of reach.";

/// Flags of `agon audit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// First block [default with --export: the first in the file]
    #[arg(long, value_name = "A", requires = "to", required_unless_present_any = ["export", "netuid"],
          value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// Last block [default with --export: the last in the file]
    #[arg(long, value_name = "B", requires = "from")]
    to: Option<u64>,
    /// File that `agon-node export --blocks A..B` wrote [default: fetch it from the ledger]
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Hash of one of the blocks, or of the one before them, from a source that you trust
    #[arg(long, value_name = "HASH")]
    trust: Option<Digest>,
    /// Audit the evidence of validators on this subnet
    #[arg(long, value_name = "N", requires = "tempo")]
    netuid: Option<Netuid>,
    /// Tempo that the evidence is of
    #[arg(long, value_name = "T", requires = "netuid")]
    tempo: Option<u64>,
    /// Only this validator's [default: every one that committed to evidence]
    #[arg(long, value_name = "ADDRESS", requires = "netuid")]
    validator: Option<Hotkey>,
    /// File that holds the evidence [default: fetch it from where the validator serves it]
    #[arg(long, value_name = "FILE", requires = "validator")]
    bundle: Option<PathBuf>,
    /// Write the call that reports the first forgery found, for `agon tx`
    #[arg(long, value_name = "FILE", requires = "netuid")]
    report: Option<PathBuf>,
}

/// Runs `agon audit`.
///
/// # Errors
///
/// When there is no verdict, or when it is "not equal".
pub async fn run(session: &Session, args: &AuditArgs) -> anyhow::Result<()> {
    let replays = args.export.is_some() || args.from.is_some();
    match (args.netuid, args.tempo) {
        (Some(netuid), Some(tempo)) if replays => {
            let state = blocks::run(session, args, false).await?;
            evidence::run(
                session,
                args,
                evidence::Source::State(Box::new(state)),
                (netuid, tempo),
            )
            .await
        }
        (Some(netuid), Some(tempo)) => {
            let source = evidence::Source::Node(session.client()?);
            evidence::run(session, args, source, (netuid, tempo)).await
        }
        _ => blocks::run(session, args, true).await.map(drop),
    }
}
