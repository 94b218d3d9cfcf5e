//! Keys that come from and go to wallets of other programs.
//!
//! Read are key files of Bittensor's wallets: plain JSON and `$NACL` (`nacl.rs`), with or without a secret,
//! of any age. Older encryptions (Ansible Vault, Fernet) are named and refused with the way to convert them.
//! Written are the same two forms. A file that comes in may lie anywhere and belong to anyone: it is bounded
//! before it is read and parsed before it is believed; all it says must belong to one key.
//!
//! What comes in is kept as our own: coldkeys in the form of `seal.rs`, hotkeys plain, and every field that
//! can be computed filled in.
//!
//! **Cost**: opening or writing a `$NACL` file takes [`NACL_MEMORY_KIB`] of memory for some seconds, since
//! that is what its format asks for.

use std::fmt;
use std::path::{Path, PathBuf};

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::error::{KeyFileError, WalletError};
use super::file::{self, Audience, Existing};
use super::keyfile::KeyFile;
use super::{ColdkeyProtection, HOTKEYS, Wallet, nacl, open_coldkey_file, read_plain};
use crate::id::{Account, Coldkey, Hotkey};

/// Memory that a `$NACL` file's password takes, in KiB.
pub const NACL_MEMORY_KIB: u32 = nacl::COST.memory_kib;

/// A key file of another wallet, read and not opened yet.
pub struct ForeignFile {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    others_may_read: bool,
}

impl ForeignFile {
    /// Reads a file, wherever it lies.
    ///
    /// # Errors
    ///
    /// [`WalletError::Missing`], `NotAFile`, `TooLarge` or `Io`; [`KeyFileError::Older`] for an encryption
    /// that has to be converted first.
    pub fn read(path: &Path) -> Result<Self, WalletError> {
        let (bytes, others_may_read) = file::read_foreign(path)?;
        if !nacl::is_nacl(&bytes) {
            KeyFile::refuse_foreign(&bytes).map_err(|problem| problem.at(path))?;
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            others_may_read,
        })
    }

    /// Whether it opens with a password only, and then at the cost of [`NACL_MEMORY_KIB`].
    #[must_use]
    pub fn needs_password(&self) -> bool {
        nacl::is_nacl(&self.bytes)
    }

    /// Whether other users of this machine can read the file too.
    #[must_use]
    pub const fn others_may_read(&self) -> bool {
        self.others_may_read
    }

    /// Opens the file and checks that all it says belongs to one key. A password is ignored where none is
    /// needed.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::PasswordNeeded`], `WrongPasswordOrChanged`, and whatever may be wrong with a key file.
    pub fn open(&self, password: Option<&str>) -> Result<ForeignKey, WalletError> {
        self.parse(password)
            .and_then(|file| ForeignKey::of(&file))
            .map_err(|problem| problem.at(&self.path))
    }

    fn parse(&self, password: Option<&str>) -> Result<KeyFile, KeyFileError> {
        if self.needs_password() {
            nacl::open(&self.bytes, password.ok_or(KeyFileError::PasswordNeeded)?)
        } else {
            KeyFile::parse(&self.bytes)
        }
    }
}

impl fmt::Debug for ForeignFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForeignFile({})", self.path.display())
    }
}

/// A key of another wallet, whole or its public half only.
pub struct ForeignKey {
    file: KeyFile,
    public: [u8; 32],
    has_secret: bool,
}

impl ForeignKey {
    fn of(file: &KeyFile) -> Result<Self, KeyFileError> {
        match file.completed() {
            Ok(file) => Self::with(file, true),
            Err(KeyFileError::NoSecret) => Self::with(KeyFile::public(&file.public_key()?), false),
            Err(error) => Err(error),
        }
    }

    fn with(file: KeyFile, has_secret: bool) -> Result<Self, KeyFileError> {
        let public = file.public_key()?;
        Ok(Self {
            file,
            public,
            has_secret,
        })
    }

    /// Whether it can sign; a public file cannot.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.has_secret
    }

    /// Its public half.
    #[must_use]
    pub const fn account(&self) -> Account {
        Account(self.public)
    }
}

impl fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForeignKey({})", self.account())
    }
}

/// How a key is written for another wallet.
#[derive(Clone, Copy)]
pub enum ExportForm<'a> {
    /// JSON with the secret in clear.
    Plain,
    /// JSON with the public half only.
    Public,
    /// Under Bittensor's password encryption, which takes [`NACL_MEMORY_KIB`] of memory.
    Nacl {
        /// At least [`PASSWORD_CHARS_MIN`](super::PASSWORD_CHARS_MIN) letters.
        password: &'a str,
    },
}

impl fmt::Debug for ExportForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Public => "Public",
            Self::Nacl { .. } => "Nacl",
        })
    }
}

impl Wallet {
    /// Makes a wallet whose coldkey is another wallet's key. Of a public file it knows the public half only,
    /// as [`Wallet::create_public`] does; `protection` is not used then.
    ///
    /// # Errors
    ///
    /// As [`Wallet::regenerate`], and for a public file as [`Wallet::create_public`].
    pub fn import(
        wallets: &Path,
        name: &str,
        key: &ForeignKey,
        protection: ColdkeyProtection<'_>,
        existing: Existing,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WalletError> {
        if key.has_secret {
            Self::with_coldkey(wallets, name, key.file.clone(), protection, existing, rng)
        } else {
            Self::create_public(wallets, name, Coldkey(key.public))
        }
    }

    /// Takes another wallet's key as a hotkey; it is kept plain, as all hotkeys are.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::NoSecret`] for a public file; otherwise as [`Wallet::regenerate_hotkey`].
    pub fn import_hotkey(
        &self,
        name: &str,
        key: &ForeignKey,
        existing: Existing,
    ) -> Result<Hotkey, WalletError> {
        let path = self.hotkey_path(name)?;
        if !key.has_secret {
            return Err(KeyFileError::NoSecret.at(&path));
        }
        file::check_folder(self.folder())?;
        file::create_folder(&self.folder().join(HOTKEYS))?;
        file::write(&path, &key.file.to_bytes(), existing)?;
        Ok(Hotkey(key.public))
    }

    /// Writes the coldkey to a file that other wallets read, mode 0600. The password that opens it here is
    /// not used for a public or plain coldkey.
    ///
    /// # Errors
    ///
    /// As [`Wallet::coldkey`] for what is read; [`WalletError::Exists`], `Io` or a refused password for what
    /// is written.
    pub fn export_coldkey(
        &self,
        password: Option<&str>,
        form: ExportForm<'_>,
        to: &Path,
        existing: Existing,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Account, WalletError> {
        if matches!(form, ExportForm::Public) {
            let key = self.coldkey_public()?;
            return export(&KeyFile::public(&key.0), form, to, existing, rng);
        }
        let path = self.coldkey_path();
        let bytes = file::read(&path, Audience::Owner)?;
        let file = open_coldkey_file(&bytes, password).and_then(|file| file.completed());
        export(
            &file.map_err(|problem| problem.at(&path))?,
            form,
            to,
            existing,
            rng,
        )
    }

    /// Writes a hotkey to a file that other wallets read, mode 0600.
    ///
    /// # Errors
    ///
    /// As [`Wallet::hotkey`] for what is read; [`WalletError::Exists`], `Io` or a refused password for what
    /// is written.
    pub fn export_hotkey(
        &self,
        name: &str,
        form: ExportForm<'_>,
        to: &Path,
        existing: Existing,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Account, WalletError> {
        let path = self.hotkey_path(name)?;
        let bytes = file::read(&path, Audience::Owner)?;
        let file = read_plain(&bytes).and_then(|file| file.completed());
        export(
            &file.map_err(|problem| problem.at(&path))?,
            form,
            to,
            existing,
            rng,
        )
    }
}

fn export(
    file: &KeyFile,
    form: ExportForm<'_>,
    to: &Path,
    existing: Existing,
    rng: &mut dyn CryptoRngCore,
) -> Result<Account, WalletError> {
    let public = file.public_key().map_err(|problem| problem.at(to))?;
    let bytes = match form {
        ExportForm::Plain => file.to_bytes(),
        ExportForm::Public => KeyFile::public(&public).to_bytes(),
        ExportForm::Nacl { password } => {
            let nonce = nacl::fresh_nonce(rng)?;
            nacl::seal(file, password, &nonce)
                .map(Zeroizing::new)
                .map_err(|problem| problem.at(to))?
        }
    };
    file::write_foreign(to, &bytes, existing)?;
    Ok(Account(public))
}

#[cfg(test)]
pub(super) mod tests;
