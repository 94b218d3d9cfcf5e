//! What a localnet tells people.

use std::collections::BTreeMap;
use std::fmt;

use agon_protocol::id::{BlockNumber, Netuid, Uid};
use agon_protocol::message::EpochView;
use agon_runtime::Clock;
use serde_json::Value;

use super::board::{Row, table};
use super::report::Summary;
use super::stage::Folder;
use super::{audits, income};
use crate::output::units;

/// Where everything is, and what one may try.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// The ledger's address.
    pub ledger: &'a str,
    /// Where everything is kept.
    pub folder: &'a Folder,
    /// The subnet.
    pub netuid: Netuid,
    /// A miner whose pay is worth a look.
    pub uid: Uid,
    /// Address of each miner by name.
    pub miners: &'a BTreeMap<String, String>,
}

impl fmt::Display for Started<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ledger,
            folder,
            netuid,
            uid,
            miners,
        } = self;
        let (dir, logs, wallets) = (folder.dir().display(), folder.logs(), folder.wallets());
        writeln!(f, "ledger   {ledger}")?;
        for (name, address) in *miners {
            writeln!(f, "{name:<8} {address}")?;
        }
        writeln!(f, "folder   {dir}\nlogs     {}", logs.display())?;
        writeln!(f, "try      agon metagraph --netuid {netuid} --ledger {ledger}")?;
        writeln!(
            f,
            "         agon explain --netuid {netuid} --uid {uid} --ledger {ledger}"
        )?;
        writeln!(
            f,
            "         agon evidence show --dir {}",
            folder.member("validator-0").display()
        )?;
        writeln!(
            f,
            "         agon balance --wallet miner-0 --wallets-dir {} --ledger {ledger}",
            wallets.display()
        )
    }
}

/// An epoch in a line.
#[must_use]
pub fn epoch_text(epoch: &EpochView, height: BlockNumber) -> String {
    format!(
        "epoch of tempo {} in block {height}: miners {}, validators {}, owner {}, held {}",
        epoch.tempo,
        units(epoch.miners_paid),
        units(epoch.validators_paid),
        units(epoch.owner_paid),
        units(epoch.held)
    )
}

/// How it all ended, under the last table.
#[must_use]
pub fn summary_text(summary: &Summary, rows: &[Row]) -> String {
    let Summary {
        tempos,
        epochs_paid,
        seconds,
        resident_bytes_peak,
        ..
    } = summary;
    let first = match summary.seconds_to_first_paid_epoch {
        Some(first) => format!("the first paid epoch came after {first:.1} s"),
        None => "no epoch paid miners".to_owned(),
    };
    let verified = match &summary.verify["ok"] {
        Value::Bool(true) => "the ledger verifies, and what all hold sums to the issuance".to_owned(),
        _ => format!("the ledger does not verify: {}", summary.verify["error"]),
    };
    let rows = match rows.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", table(rows, Clock::system().now_ms())),
    };
    let attacks = match summary.attacks.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", income::table(&summary.attacks)),
    };
    let audits = match summary.audits.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", audits::table(&summary.audits)),
    };
    format!(
        "{rows}{attacks}{audits}{tempos} tempos, {epochs_paid} paid epochs, {seconds:.1} s; {first}\n\
         memory at most {} MB in all processes together\n{verified}",
        resident_bytes_peak / 1_000_000
    )
}
