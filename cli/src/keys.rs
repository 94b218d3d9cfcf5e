//! Which keys a command uses, and how passwords and words reach it.
//!
//! A password comes from a file, from the environment variable `AGON_PASSWORD`, or from the terminal, in this
//! order. Passwords and words are wiped from memory after use and never shown, except new words, once.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use agon_protocol::derive::SecretUri;
use agon_protocol::id::{Coldkey, Hotkey};
use agon_protocol::sign::Keypair;
use agon_protocol::wallet::{Wallet, WalletError};
use agon_runtime::flags::WalletsDirFlag;
use anyhow::Context;
use clap::Args;
use zeroize::Zeroizing;

/// Where a password may be given besides a file and the terminal.
pub const PASSWORD_ENV: &str = "AGON_PASSWORD";
/// How often a password is asked for.
const TRIES: usize = 3;
/// Most bytes of a file with a password or words; a longer one is some other file.
const SECRET_BYTES_MAX: u64 = 4_096;

/// Where the password comes from.
#[derive(Clone, Debug, Args)]
pub struct PasswordFlags {
    /// File with the coldkey's password [default: $AGON_PASSWORD, else the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordFlags {
    /// The password from file or environment.
    fn given(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        if let Some(path) = &self.password_file {
            return read_secret_file(path).map(Some);
        }
        Ok(std::env::var(PASSWORD_ENV).ok().map(Zeroizing::new))
    }

    /// A new password, asked for twice where it is typed.
    ///
    /// # Errors
    ///
    /// When there is no terminal to ask on, or the two differ.
    pub fn choose(&self) -> anyhow::Result<Zeroizing<String>> {
        if let Some(password) = self.given()? {
            return Ok(password);
        }
        let password = ask_hidden("New password for the coldkey: ")?;
        if password != ask_hidden("The same again: ")? {
            anyhow::bail!("the two passwords differ");
        }
        Ok(password)
    }
}

/// The wallet whose coldkey signs.
#[derive(Clone, Debug, Args)]
pub struct ColdkeyFlags {
    /// Name of the wallet
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub wallet: String,
    /// Where the wallets are.
    #[command(flatten)]
    pub wallets: WalletsDirFlag,
    /// Where its password comes from.
    #[command(flatten)]
    pub password: PasswordFlags,
}

impl ColdkeyFlags {
    /// The wallet.
    ///
    /// # Errors
    ///
    /// When it does not exist, with the command that makes it.
    pub fn open(&self) -> anyhow::Result<Wallet> {
        open_wallet(&self.wallets.dir()?, &self.wallet)
    }

    /// The coldkey itself, after its password.
    ///
    /// # Errors
    ///
    /// When the wallet or the key cannot be opened.
    pub fn coldkey(&self) -> anyhow::Result<Keypair> {
        let wallet = self.open()?;
        unlock(&wallet, &self.password).with_context(|| format!("open the coldkey of wallet {}", self.wallet))
    }

    /// The hotkey that `text` means: an address, or the name of one of the wallet's hotkeys.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn hotkey(&self, text: &str) -> anyhow::Result<Hotkey> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let wallet = self.open()?;
        wallet.hotkey_public(text).with_context(|| {
            format!(
                "{text:?} is neither an address nor a hotkey of wallet {}: see agon wallet show",
                self.wallet
            )
        })
    }

    /// The coldkey that `text` means, an address, or without one the wallet's own.
    ///
    /// # Errors
    ///
    /// When the wallet has no public coldkey.
    pub fn coldkey_public(&self, address: Option<Coldkey>) -> anyhow::Result<Coldkey> {
        match address {
            Some(address) => Ok(address),
            None => Ok(self.open()?.coldkey_public()?),
        }
    }
}

/// Opens a wallet's folder.
///
/// # Errors
///
/// When it does not exist, with the command that makes it.
pub fn open_wallet(wallets: &Path, name: &str) -> anyhow::Result<Wallet> {
    Wallet::open(wallets, name).map_err(|error| match error {
        WalletError::Missing { path } => anyhow::anyhow!(
            "there is no wallet {name} ({} does not exist): make it with agon wallet create --wallet {name}",
            path.display()
        ),
        error => anyhow::Error::new(error).context(format!("open wallet {name}")),
    })
}

fn unlock(wallet: &Wallet, flags: &PasswordFlags) -> anyhow::Result<Keypair> {
    if !wallet.coldkey_is_encrypted()? {
        return Ok(wallet.coldkey(None)?);
    }
    if let Some(password) = flags.given()? {
        return Ok(wallet.coldkey(Some(&password))?);
    }
    let prompt = format!("Password of wallet {}: ", wallet.name());
    let mut tries = 1;
    loop {
        match wallet.coldkey(Some(&ask_hidden(&prompt)?)) {
            Err(error) if error.is_wrong_password() && tries < TRIES => tries += 1,
            opened => return Ok(opened?),
        }
    }
}

fn ask_hidden(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let typed = rpassword::prompt_password(prompt);
    let typed = typed.with_context(|| {
        format!("no terminal to ask for a password: set {PASSWORD_ENV} or name a --password-file")
    });
    typed.map(Zeroizing::new)
}

/// Words, seed or secret URI: from a file, from standard input where that is no terminal, or typed unseen.
///
/// # Errors
///
/// When nothing can be read, or it is none of the three.
pub fn read_secret(path: Option<&Path>) -> anyhow::Result<SecretUri> {
    let text = match path {
        Some(path) => read_secret_file(path)?,
        None if io::stdin().is_terminal() => ask_hidden("Words, 0x seed or secret URI: ")?,
        None => bounded(io::stdin().lock()).context("read words from standard input")?,
    };
    Ok(SecretUri::parse(text.trim())?)
}

fn read_secret_file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let text = bounded(file).with_context(|| format!("read {}", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Zeroizing::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn bounded(source: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
    source.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        anyhow::bail!("more than {SECRET_BYTES_MAX} bytes are no password and no words");
    }
    Ok(text)
}
