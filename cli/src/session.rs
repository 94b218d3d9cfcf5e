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
    signer: String,
    nonce: u64,
    effects: Vec<String>,
    /// Base units that are burned for it.
    fee: Option<u64>,
    /// Who pays the fee.
    payer: Option<String>,
    /// Why the ledger refuses it, after a dry run.
    refusal: Option<Refused>,
    digest: String,
    height: Option<u64>,
}

/// A refusal, in the words of the ledger.
#[derive(Debug, Serialize)]
struct Refused {
    rule: String,
    message: String,
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
    let mut submitted = Submitted {
        call: name,
        dry_run: flags.dry_run,
        signer: transaction.message().signer.to_string(),
        nonce: transaction.message().nonce,
        effects: Vec::new(),
        fee: None,
        payer: None,
        refusal: None,
        digest: transaction.digest().to_string(),
        height: None,
    };
    match client.dry_run(&transaction).await {
        Ok(said) => {
            submitted.effects = said.effects;
            submitted.fee = Some(said.fee.base_units());
            submitted.payer = Some(said.payer.to_string());
        }
        Err(error) => return Err(refused(session, submitted, error)),
    }
    let included = match flags.dry_run {
        true => None,
        false => {
            confirm(flags, &submitted.effects, caution)?;
            Some(client.submit(&transaction).await.map_err(told)?)
        }
    };
    submitted.height = included.map(|included| included.height.0);
    session.show(&submitted, || sentence(&submitted))?;
    Ok(included)
}

/// The error of a dry run; a program that asked for one reads the refusal from standard output as well.
fn refused(session: &Session, mut submitted: Submitted, error: ClientError) -> anyhow::Error {
    if let ClientError::Refused(refusal) = &error
        && submitted.dry_run
        && session.json
    {
        submitted.refusal = Some(Refused {
            rule: refusal.rule.clone(),
            message: refusal.message.clone(),
        });
        if let Err(closed) = print_json(&submitted) {
            return closed;
        }
    }
    told(error)
}

fn sentence(submitted: &Submitted) -> String {
    let effects = submitted.effects.join("\n");
    match submitted.height {
        Some(height) => format!("{effects}\nin block {height}, transaction {}", submitted.digest),
        None => format!(
            "{effects}\nsigned by {} with nonce {}\nnot submitted: this was a dry run",
            submitted.signer, submitted.nonce
        ),
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
