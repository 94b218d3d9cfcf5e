//! `agon explain`: the way from weights to one neuron's pay in one epoch, recomputed from the ledger's record.
//!
//! The record holds everything the epoch was computed from. It is computed again here ([`recompute`]) and compared
//! with what the ledger stored, to the base unit; so the explanation needs no trust in the arithmetic of the node that
//! gave the record. That the record is the ledger's own is another question, which a proof against a block's state
//! root answers.
//!
//! | part | holds |
//! | --- | --- |
//! | [`recompute`] | the epoch and its payments again, and the first figure that differs |
//! | [`figures`] | one neuron's path, every step in the integers that the ledger computes with |
//! | `text` | the same for people |

pub mod figures;
pub mod recompute;
mod text;

use agon_ledger_client::LedgerClient;
use agon_ledger_state::EpochRecord;
use agon_protocol::codec;
use agon_protocol::id::{Netuid, Uid};
use clap::Args;

use self::figures::Explanation;
use crate::session::{Session, told};

const EXAMPLES: &str = "Examples:
  agon explain --netuid 1 --uid 5
  agon explain --netuid 1 --uid 5 --epoch 12 --json

An epoch has the number of the tempo it ended; the ledger keeps the newest 64 of a subnet.
Weights of a tempo count once they are revealed, in the epoch after it.

The epoch is computed again from its inputs, and compared with what the ledger stored and paid. With --json, \
fields that end in _q32 are the fractions of the computation as integers: 2^32 is one. Exit code 1 when the \
record does not follow from its inputs.";

/// Most bytes of an epoch's record: what the node sends in one message.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Flags of `agon explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
    /// UID whose pay is explained
    #[arg(long, value_name = "UID")]
    uid: Uid,
    /// Tempo that the epoch ended [default: the newest]
    #[arg(long, value_name = "TEMPO")]
    epoch: Option<u64>,
}

/// Runs `agon explain`.
///
/// # Errors
///
/// When the ledger does not keep the epoch or cannot be reached, or its record does not hold.
pub async fn run(session: &Session, args: &ExplainArgs) -> anyhow::Result<()> {
    let client = session.client()?;
    let tempo = match args.epoch {
        Some(tempo) => tempo,
        None => newest(&client, args.netuid).await?,
    };
    let bytes = client.epoch(args.netuid, tempo).await.map_err(told)?;
    let record: EpochRecord = codec::decode(&bytes, RECORD_BYTES_MAX)?;
    let explanation = Explanation::of(&record, args.uid)?;
    session.show(&explanation, || text::text(&explanation))?;
    match &explanation.recomputed.difference {
        None => Ok(()),
        Some(difference) => anyhow::bail!("the record does not follow from its own inputs: {difference}"),
    }
}

async fn newest(client: &LedgerClient, netuid: Netuid) -> anyhow::Result<u64> {
    let subnet = client.subnet(netuid).await.map_err(told)?;
    subnet.tempo.checked_sub(1).ok_or_else(|| {
        anyhow::anyhow!(
            "no epoch of subnet {netuid} has run yet: the first runs at block {}",
            subnet.next_epoch
        )
    })
}

#[cfg(test)]
mod tests;
