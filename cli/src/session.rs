//! What every command that speaks to a ledger needs: where it is, in which form to answer, and how a transaction
//! is shown, confirmed and submitted.

use std::io::{self, BufRead, IsTerminal, Write};

use agon_ledger_client::{ClientError, Included, LedgerClient};
use agon_protocol::message::Call;
use agon_protocol::sign::Keypair;
use agon_runtime::Net;
use agon_runtime::flags::ExitWith;
use clap::Args;
use serde::Serialize;

use crate::output::{note, print, print_json};

/// The ledger and the form of answers, as typed.
#[derive(Clone, Debug)]
pub struct Session {
    /// Address of a ledger node.
    pub ledger: String,
    /// Whether products are JSON.
    pub json: bool,
}

impl Session {
    /// A client of the ledger. An address without a scheme means plain HTTP.
    ///
    /// # Errors
    ///
    /// When the address is none.
    pub fn client(&self) -> anyhow::Result<LedgerClient> {
        let uri = match self.ledger.contains("://") {
            true => self.ledger.clone(),
            false => format!("http://{}", self.ledger),
        };
        LedgerClient::new(&Net::tcp(), &uri).map_err(told)
    }

    /// Prints `value` as JSON, or what `table` makes for people.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub fn show<T: Serialize>(&self, value: &T, table: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json {
            print_json(value)
        } else {
            print(table())
        }
    }
}

/// An error of the ledger's client with the exit code it deserves.
#[must_use]
pub fn told(error: ClientError) -> anyhow::Error {
    ExitWith::from(error).into()
}

/// How a transaction is submitted.
#[derive(Clone, Copy, Debug, Args)]
pub struct SubmitFlags {
    /// Print what the transaction would do, or why it is refused, and submit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before something is spent
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Whether somebody should look at the effects before they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    /// It spends, burns or locks: ask.
    Ask,
    /// It can be undone or costs nothing.
    None,
}

/// What a transaction does, as printed with `--json`.
#[derive(Debug, Serialize)]
struct Submitted {
    call: &'static str,
    dry_run: bool,
    effects: Vec<String>,
    digest: String,
    height: Option<u64>,
}

/// Signs `call`, shows what it would do, asks where `caution` says so, and submits it.
///
/// Gives where it was stored, or `None` after a dry run.
///
/// # Errors
///
/// The ledger's refusal, a ledger out of reach, or a human who said no.
pub async fn submit(
    session: &Session,
    flags: SubmitFlags,
    pair: &Keypair,
    call: Call,
    caution: Caution,
) -> anyhow::Result<Option<Included>> {
    let client = session.client()?;
    let name = call.name();
    let transaction = client.prepare(pair, call).await.map_err(told)?;
    let effects = client.dry_run(&transaction).await.map_err(told)?;
    if !flags.dry_run {
        confirm(flags, &effects, caution)?;
    }
    let included = match flags.dry_run {
        true => None,
        false => Some(client.submit(&transaction).await.map_err(told)?),
    };
    let submitted = Submitted {
        call: name,
        dry_run: flags.dry_run,
        effects,
        digest: transaction.digest().to_string(),
        height: included.map(|included| included.height.0),
    };
    session.show(&submitted, || sentence(&submitted))?;
    Ok(included)
}

fn sentence(submitted: &Submitted) -> String {
    let effects = submitted.effects.join("\n");
    match submitted.height {
        Some(height) => format!("{effects}\nin block {height}, transaction {}", submitted.digest),
        None => format!("{effects}\nnot submitted: this was a dry run"),
    }
}

fn confirm(flags: SubmitFlags, effects: &[String], caution: Caution) -> anyhow::Result<()> {
    if flags.yes || caution == Caution::None {
        return Ok(());
    }
    let effects = effects.join("\n");
    if !io::stdin().is_terminal() {
        let advice =
            format!("nobody is there to confirm this: {effects}; add --yes, or --dry-run to look first");
        return Err(ExitWith::usage(advice).into());
    }
    note(&effects);
    if ask_yes("Go on?")? {
        return Ok(());
    }
    anyhow::bail!("nothing was submitted")
}

/// Asks on the terminal; anything but y or yes is a no.
///
/// # Errors
///
/// When the terminal cannot be read.
pub fn ask_yes(question: &str) -> anyhow::Result<bool> {
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
