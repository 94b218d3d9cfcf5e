//! `agon wallet import` and `agon wallet export`: keys from and for other wallets.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use agon_protocol::id::Account;
use agon_protocol::wallet::{
    ColdkeyProtection, Existing, ExportForm, ForeignFile, ForeignKey, NACL_MEMORY_KIB, Wallet, WalletError,
};
use agon_runtime::Entropy;
use clap::{Args, ValueEnum};
use serde_json::json;
use zeroize::Zeroizing;

use super::{known_key, make_wallets_dir, show_new};
use crate::keys::{ColdkeyFlags, FILE_PASSWORD_ENV, FilePasswordFlags, unlocked};
use crate::output::note;
use crate::session::Session;

const IMPORT_EXAMPLES: &str = "Examples:
  agon wallet import --file ~/.bittensor/wallets/mine/coldkey --wallet mine
  agon wallet import --file ~/.bittensor/wallets/mine/hotkeys/gpu0 --wallet mine --hotkey gpu0
  agon wallet import --file coldkeypub.txt --wallet mine                  the address only
  agon wallet import --file coldkey --wallet mine --file-password-file old --password-file new --json

Read are plain files and $NACL files of Bittensor's wallets. A $NACL file takes 512 MiB of memory and some \
seconds to open. A coldkey is kept here under --password-file or AGON_PASSWORD, without either under the \
password it had. Hotkeys are kept plain. Ansible Vault and Fernet files have to be converted first.";

const EXPORT_EXAMPLES: &str = "Examples:
  agon wallet export --wallet mine --to coldkey                      $NACL, under a password
  agon wallet export --wallet mine --hotkey gpu0 --to gpu0           plain JSON
  agon wallet export --wallet mine --to coldkeypub.txt --form public

The files are those of Bittensor's wallets. A plain file is a key for whoever reads it. $NACL has one salt for \
everybody, so only a long password protects it; it takes 512 MiB of memory and some seconds to write.";

/// How often the time that an opening took is told on a terminal.
const TICK: Duration = Duration::from_millis(500);

/// Flags of `agon wallet import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct Import {
    /// Key file of another wallet
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    #[command(flatten)]
    file_password: FilePasswordFlags,
    /// Take the key as this hotkey of the wallet, instead of its coldkey
    #[arg(long, value_name = "NAME")]
    hotkey: Option<String>,
    /// Keep the coldkey plain, and marked so: for local networks and tests
    #[arg(long, conflicts_with = "hotkey")]
    unprotected: bool,
    /// Replace a key that is there; without its words it is gone for good
    #[arg(long)]
    replace: bool,
}

/// Flags of `agon wallet export`.
#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct Export {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Export this hotkey, instead of the coldkey
    #[arg(long, value_name = "NAME")]
    hotkey: Option<String>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// How to write it [default: nacl for a coldkey, plain for a hotkey]
    #[arg(long, value_enum, value_name = "FORM")]
    form: Option<Form>,
    #[command(flatten)]
    file_password: FilePasswordFlags,
    /// Replace a file that is there
    #[arg(long)]
    replace: bool,
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// JSON under a password, as Bittensor's wallets encrypt it
    Nacl,
    /// JSON in clear
    Plain,
    /// JSON with the address only
    Public,
}

impl Form {
    const fn name(self) -> &'static str {
        match self {
            Self::Nacl => "nacl",
            Self::Plain => "plain",
            Self::Public => "public",
        }
    }
}

pub(super) fn import(session: &Session, args: &Import) -> anyhow::Result<()> {
    let file = ForeignFile::read(&args.file)?;
    let (key, password) = open(args, &file)?;
    if file.others_may_read() && key.has_secret() {
        let path = args.file.display();
        note(format!(
            "{path} holds a secret and is open to other users of this machine: chmod 600 '{path}'"
        ));
    }
    let existing = existing(args.replace);
    if let Some(name) = &args.hotkey {
        let wallet = args.coldkey.open()?;
        let hotkey = wallet.import_hotkey(name, &key, existing)?;
        return show_new(session, &wallet, &[known_key("hotkey", name, hotkey.into())]);
    }
    let wallets = args.coldkey.wallets.dir()?;
    make_wallets_dir(&wallets)?;
    let password = match args.unprotected || !key.has_secret() {
        true => None,
        false => Some(new_password(&args.coldkey, password)?),
    };
    let protection = password
        .as_ref()
        .map_or(ColdkeyProtection::Unprotected, |password| {
            ColdkeyProtection::password(password)
        });
    let name = &args.coldkey.wallet;
    let mut rng = Entropy::os().rng();
    let wallet = Wallet::import(&wallets, name, &key, protection, existing, &mut rng)?;
    show_new(session, &wallet, &[known_key("coldkey", name, key.account())])
}

/// Opens the file, and gives the password it took, if any.
fn open(args: &Import, file: &ForeignFile) -> anyhow::Result<(ForeignKey, Option<Zeroizing<String>>)> {
    if !file.needs_password() {
        return Ok((file.open(None)?, None));
    }
    let own = args.coldkey.password.given()?;
    let given = match args.file_password.given()? {
        Some(password) => Some(password),
        None => own,
    };
    let prompt = format!("Password of {}: ", args.file.display());
    let names = (FILE_PASSWORD_ENV, "--file-password-file");
    let (key, password) = unlocked(given, &prompt, names, |password| {
        with_patience(|| file.open(Some(password)))
    })?;
    Ok((key, Some(password)))
}

/// The password that protects the coldkey here.
fn new_password(
    flags: &ColdkeyFlags,
    of_file: Option<Zeroizing<String>>,
) -> anyhow::Result<Zeroizing<String>> {
    match (flags.password.given()?, of_file) {
        (Some(own), _) => Ok(own),
        (None, Some(of_file)) => {
            note("kept under the password that the file had");
            Ok(of_file)
        }
        (None, None) => flags.password.choose(),
    }
}

pub(super) fn export(session: &Session, args: &Export) -> anyhow::Result<()> {
    let form = args.form.unwrap_or(match args.hotkey {
        None => Form::Nacl,
        Some(_) => Form::Plain,
    });
    let account = match &args.hotkey {
        None => export_coldkey(args, form)?,
        Some(name) => export_hotkey(args, name, form)?,
    };
    let value = json!({
        "wallet": args.coldkey.wallet,
        "hotkey": args.hotkey,
        "address": account.to_string(),
        "file": args.to,
        "form": form.name(),
    });
    session.show(&value, || {
        format!(
            "wrote {account} to {} as {} key file",
            args.to.display(),
            match form {
                Form::Nacl => "an encrypted ($NACL)",
                Form::Plain => "a plain",
                Form::Public => "a public",
            }
        )
    })
}

fn export_coldkey(args: &Export, form: Form) -> anyhow::Result<Account> {
    let wallet = args.coldkey.open()?;
    let (to, existing) = (&args.to, existing(args.replace));
    let write = |password: Option<&str>, form: ExportForm<'_>| {
        wallet.export_coldkey(password, form, to, existing, &mut Entropy::os().rng())
    };
    if form == Form::Public {
        return Ok(write(None, ExportForm::Public)?);
    }
    let (_, password) = args.coldkey.unlock(&wallet)?;
    let password = password.as_ref().map(|password| password.as_str());
    match form {
        Form::Nacl => {
            let of_file = args.file_password.choose(password)?;
            let form = ExportForm::Nacl { password: &of_file };
            Ok(with_patience(|| write(password, form))?)
        }
        Form::Plain | Form::Public => Ok(write(password, ExportForm::Plain)?),
    }
}

fn export_hotkey(args: &Export, name: &str, form: Form) -> anyhow::Result<Account> {
    let wallet = args.coldkey.open()?;
    let (to, existing) = (&args.to, existing(args.replace));
    let write =
        |form: ExportForm<'_>| wallet.export_hotkey(name, form, to, existing, &mut Entropy::os().rng());
    Ok(match form {
        Form::Nacl => {
            let password = args.file_password.choose(None)?;
            with_patience(|| write(ExportForm::Nacl { password: &password }))?
        }
        Form::Plain => write(ExportForm::Plain)?,
        Form::Public => write(ExportForm::Public)?,
    })
}

const fn existing(replace: bool) -> Existing {
    if replace {
        Existing::Replace
    } else {
        Existing::Refuse
    }
}

/// Does what takes a `$NACL` key, and says what it takes: on a terminal the seconds as they pass.
fn with_patience<T>(work: impl FnOnce() -> Result<T, WalletError>) -> Result<T, WalletError> {
    let text = format!(
        "deriving the key of a $NACL file: {} MiB of memory, some seconds",
        NACL_MEMORY_KIB / 1024
    );
    if !std::io::stderr().is_terminal() {
        note(text);
        return work();
    }
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || tell_time(&text, &ended));
        let worked = work();
        drop(done);
        worked
    })
}

fn tell_time(text: &str, ended: &mpsc::Receiver<()>) {
    let begun = Instant::now();
    let mut stderr = std::io::stderr();
    loop {
        let waited = ended.recv_timeout(TICK);
        // A terminal that cannot be written to is no reason to fail.
        let _ = write!(stderr, "\r{text}: {:.1} s", begun.elapsed().as_secs_f32());
        let _ = stderr.flush();
        if waited != Err(RecvTimeoutError::Timeout) {
            let _ = writeln!(stderr);
            return;
        }
    }
}
