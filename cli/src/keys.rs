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
/// Where the password of another wallet's file may be given besides a file and the terminal.
pub const FILE_PASSWORD_ENV: &str = "AGON_FILE_PASSWORD";
/// How often a password is asked for.
const TRIES: usize = 3;
/// Most bytes of a file with a password or words; a longer one is some other file.
const SECRET_BYTES_MAX: u64 = 4_096;
/// Most bytes of a call in JSON: more than a transaction of 64 KiB takes.
const CALL_BYTES_MAX: u64 = 512 * 1_024;

/// Where the password comes from.
#[derive(Clone, Debug, Args)]
pub struct PasswordFlags {
    /// File with the coldkey's password [default: $AGON_PASSWORD, else the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordFlags {
    /// The password from file or environment.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn given(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        given(self.password_file.as_deref(), PASSWORD_ENV)
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
        ask_twice("New password for the coldkey: ", PASSWORD_ENV, "--password-file")
    }
}

/// Where the password of another wallet's file comes from.
#[derive(Clone, Debug, Args)]
pub struct FilePasswordFlags {
    /// File with the password of the file [default: $AGON_FILE_PASSWORD, else the coldkey's, else the terminal]
    #[arg(long, value_name = "FILE")]
    pub file_password_file: Option<PathBuf>,
}

impl FilePasswordFlags {
    /// The password from file or environment.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn given(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        given(self.file_password_file.as_deref(), FILE_PASSWORD_ENV)
    }

    /// The password of a new file: as given, else `otherwise`, else asked for twice.
    ///
    /// # Errors
    ///
    /// When there is no terminal to ask on, or the two differ.
    pub fn choose(&self, otherwise: Option<&str>) -> anyhow::Result<Zeroizing<String>> {
        match (self.given()?, otherwise) {
            (Some(password), _) => Ok(password),
            (None, Some(otherwise)) => Ok(Zeroizing::new(otherwise.to_owned())),
            (None, None) => ask_twice(
                "Password for the file: ",
                FILE_PASSWORD_ENV,
                "--file-password-file",
            ),
        }
    }
}

fn given(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    if let Some(path) = file {
        return read_secret_file(path).map(Some);
    }
    Ok(std::env::var(variable).ok().map(Zeroizing::new))
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
        Ok(self.unlock(&self.open()?)?.0)
    }

    /// The coldkey of `wallet`, and the password that it took, if any.
    ///
    /// # Errors
    ///
    /// When the key cannot be opened.
    pub fn unlock(&self, wallet: &Wallet) -> anyhow::Result<(Keypair, Option<Zeroizing<String>>)> {
        unlock(wallet, &self.password)
            .with_context(|| format!("open the coldkey of wallet {}", wallet.name()))
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

fn unlock(wallet: &Wallet, flags: &PasswordFlags) -> anyhow::Result<(Keypair, Option<Zeroizing<String>>)> {
    if !wallet.coldkey_is_encrypted()? {
        return Ok((wallet.coldkey(None)?, None));
    }
    let prompt = format!("Password of wallet {}: ", wallet.name());
    let names = (PASSWORD_ENV, "--password-file");
    let (pair, password) = unlocked(flags.given()?, &prompt, names, |password| {
        wallet.coldkey(Some(password))
    })?;
    Ok((pair, Some(password)))
}

/// What `open` gives for a password: the one that was given, or else one that is asked for, with another try
/// after a wrong one. `names` are the variable and the flag that could have given it.
///
/// # Errors
///
/// When it does not open, or there is no terminal to ask on.
pub fn unlocked<T>(
    given: Option<Zeroizing<String>>,
    prompt: &str,
    names: (&str, &str),
    mut open: impl FnMut(&str) -> Result<T, WalletError>,
) -> anyhow::Result<(T, Zeroizing<String>)> {
    if let Some(password) = given {
        return Ok((open(&password)?, password));
    }
    let mut tries = 1;
    loop {
        let password = ask_hidden(prompt, names)?;
        match open(&password) {
            Err(error) if error.is_wrong_password() && tries < TRIES => tries += 1,
            opened => return Ok((opened?, password)),
        }
    }
}

fn ask_twice(prompt: &str, variable: &str, flag: &str) -> anyhow::Result<Zeroizing<String>> {
    let password = ask_hidden(prompt, (variable, flag))?;
    if password != ask_hidden("The same again: ", (variable, flag))? {
        anyhow::bail!("the two passwords differ");
    }
    Ok(password)
}

fn ask_hidden(prompt: &str, (variable, flag): (&str, &str)) -> anyhow::Result<Zeroizing<String>> {
    let typed = rpassword::prompt_password(prompt);
    let typed =
        typed.with_context(|| format!("no terminal to ask for a password: set {variable} or name a {flag}"));
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
        None if io::stdin().is_terminal() => {
            let typed = rpassword::prompt_password("Words, 0x seed or secret URI: ");
            Zeroizing::new(typed.context("read words from the terminal")?)
        }
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

/// A text from a file, or from standard input for `-`.
///
/// # Errors
///
/// When it cannot be read, or is longer than any call.
pub fn read_bounded(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        io::stdin()
            .lock()
            .take(CALL_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        anyhow::ensure!(
            bytes.len() as u64 <= CALL_BYTES_MAX,
            "more than {CALL_BYTES_MAX} bytes are no call"
        );
    } else {
        bytes = read_file(path, CALL_BYTES_MAX)?;
    }
    String::from_utf8(bytes).with_context(|| format!("{} is no text", path.display()))
}

/// A file of at most `bytes_max` bytes.
///
/// # Errors
///
/// When it cannot be read, or is longer.
pub fn read_file(path: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = fs::File::open(path).with_context(|| format!("open {shown}"))?;
    let mut bytes = Vec::new();
    let read = file.take(bytes_max + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("read {shown}"))?;
    anyhow::ensure!(
        bytes.len() as u64 <= bytes_max,
        "{shown} is longer than {bytes_max} bytes"
    );
    Ok(bytes)
}

fn bounded(source: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
    source.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        anyhow::bail!("more than {SECRET_BYTES_MAX} bytes are no password and no words");
    }
    Ok(text)
}
