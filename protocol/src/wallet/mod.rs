//! Wallets on disk: folders as Bittensor's users know them, key files of our own.
//!
//! ```text
//! <wallets>/<wallet>/coldkey           owns stake; encrypted, unless asked otherwise
//! <wallets>/<wallet>/coldkeypub.txt    its public half, all that a serving host needs of it
//! <wallets>/<wallet>/hotkeys/<name>    signs online; plain
//! ```
//!
//! Folders are open to their owner only (mode 0700), files as well (0600); a secret file that others
//! may read, or a folder in which they may write, is refused rather than used. Files are written whole
//! or not at all and never replace a key unless asked. Links are not followed.
//!
//! A coldkey is encrypted under a password (Argon2id and XChaCha20-Poly1305; the format is specified
//! in `seal.rs`). A plain coldkey is marked as such in the file, so that it is never taken for an
//! accident. Hotkeys are plain JSON (`keyfile.rs`), as they serve unattended.
//!
//! What this module does not do: it asks for no password, knows no home folder, and draws no
//! randomness of its own. Files of other wallets' encryptions are not read in place but imported
//! (`exchange.rs`), or named and refused.

mod error;
mod exchange;
mod file;
mod keyfile;
mod nacl;
mod role;
mod seal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

pub use error::{KeyFileError, WalletError};
pub use exchange::{ExportForm, ForeignFile, ForeignKey, NACL_MEMORY_KIB};
pub use file::Existing;
pub use role::{HotkeyError, HotkeyName, role_folder};
pub use seal::{KdfCost, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};

use crate::derive::{Mnemonic, SecretUri};
use crate::id::{Coldkey, Hotkey};
use crate::sign::Keypair;
use file::Audience;
use keyfile::KeyFile;

/// The longest name of a wallet or hotkey.
pub const NAME_CHARS_MAX: usize = 64;

const COLDKEY: &str = "coldkey";
const COLDKEY_PUBLIC: &str = "coldkeypub.txt";
const HOTKEYS: &str = "hotkeys";

/// Other wallets keep a hotkey's public half under this ending; a hotkey of that name would be
/// mistaken for one.
const HOTKEY_PUBLIC_ENDING: &str = "pub.txt";

/// How a coldkey is kept on disk.
#[derive(Clone, Copy)]
pub enum ColdkeyProtection<'a> {
    /// Encrypted under a password.
    Password {
        /// At least [`PASSWORD_CHARS_MIN`] letters; UTF-8 as typed, no normalisation.
        password: &'a str,
        /// What one guess costs.
        cost: KdfCost,
    },
    /// Plain, and marked so in the file: for local networks and tests.
    Unprotected,
}

impl<'a> ColdkeyProtection<'a> {
    /// Encrypted under `password` at the default cost.
    #[must_use]
    pub fn password(password: &'a str) -> Self {
        Self::Password {
            password,
            cost: KdfCost::default(),
        }
    }
}

impl fmt::Debug for ColdkeyProtection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { cost, .. } => write!(f, "Password({cost:?})"),
            Self::Unprotected => f.write_str("Unprotected"),
        }
    }
}

/// One wallet in a listing. What cannot be read is an error in its place and hides nothing else.
#[derive(Debug)]
pub struct WalletSummary {
    /// The name, which is that of the folder.
    pub name: String,
    /// The coldkey's public half.
    pub coldkey: Result<Coldkey, WalletError>,
    /// The hotkeys, by name.
    pub hotkeys: Result<Vec<HotkeySummary>, WalletError>,
}

/// One hotkey in a listing.
#[derive(Debug)]
pub struct HotkeySummary {
    /// The name, which is that of the file.
    pub name: String,
    /// The public half.
    pub hotkey: Result<Hotkey, WalletError>,
}

/// A wallet folder. Holds no key: each call reads what it needs, and secrets are wiped after use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    folder: PathBuf,
    name: String,
}

impl Wallet {
    /// Makes a wallet with a new coldkey, and gives the 12 words to write down: nothing else brings the
    /// key back.
    ///
    /// # Errors
    ///
    /// [`WalletError::Exists`] when the wallet has a coldkey or public coldkey; any other but
    /// `PublicMismatch`.
    pub fn create(
        wallets: &Path,
        name: &str,
        protection: ColdkeyProtection<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Self, Mnemonic), WalletError> {
        let words = new_words(rng)?;
        let uri = SecretUri::from_mnemonic(words.clone());
        let wallet = Self::regenerate(wallets, name, &uri, protection, Existing::Refuse, rng)?;
        Ok((wallet, words))
    }

    /// Makes a wallet whose coldkey is known by its words, seed or secret URI.
    ///
    /// Hotkeys of a wallet that is there already are left alone.
    ///
    /// # Errors
    ///
    /// As [`Wallet::create`]; `Exists` only under [`Existing::Refuse`].
    pub fn regenerate(
        wallets: &Path,
        name: &str,
        uri: &SecretUri,
        protection: ColdkeyProtection<'_>,
        existing: Existing,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WalletError> {
        Self::with_coldkey(wallets, name, KeyFile::secret(uri), protection, existing, rng)
    }

    fn with_coldkey(
        wallets: &Path,
        name: &str,
        file: KeyFile,
        protection: ColdkeyProtection<'_>,
        existing: Existing,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Self, WalletError> {
        let wallet = Self::at(wallets, name)?;
        wallet.refuse_existing(existing)?;
        let public = wallet.public_file_of(&file)?;
        let secret = wallet.coldkey_bytes(file, protection, rng)?;
        file::create_folder(&wallet.folder)?;
        if existing == Existing::Replace {
            // Without a public file the secret one speaks for itself, so that a crash between the two
            // leaves no contradiction.
            file::remove(&wallet.coldkey_public_path())?;
        }
        file::write(&wallet.coldkey_path(), &secret, existing)?;
        file::write(&wallet.coldkey_public_path(), &public.to_bytes(), existing)?;
        Ok(wallet)
    }

    /// Makes a wallet that knows the public half of its coldkey only, for a host that serves with
    /// hotkeys.
    ///
    /// # Errors
    ///
    /// [`WalletError::Exists`] when the wallet has a coldkey or public coldkey; [`WalletError::Name`] or
    /// [`WalletError::Io`].
    pub fn create_public(wallets: &Path, name: &str, coldkey: Coldkey) -> Result<Self, WalletError> {
        let wallet = Self::at(wallets, name)?;
        wallet.refuse_existing(Existing::Refuse)?;
        file::create_folder(&wallet.folder)?;
        let bytes = KeyFile::public(&coldkey.0).to_bytes();
        file::write(&wallet.coldkey_public_path(), &bytes, Existing::Refuse)?;
        Ok(wallet)
    }

    /// Opens a wallet folder. Which keys it holds is asked of it later.
    ///
    /// # Errors
    ///
    /// [`WalletError::Name`], [`WalletError::Missing`], [`WalletError::NotAFolder`], or
    /// [`WalletError::Mode`] when others may write in it.
    pub fn open(wallets: &Path, name: &str) -> Result<Self, WalletError> {
        let wallet = Self::at(wallets, name)?;
        file::check_folder(&wallet.folder)?;
        Ok(wallet)
    }

    /// Lists the wallets in a folder with their hotkeys, by name. A missing folder is empty; entries that
    /// are no folder or have no wallet's name are left out.
    ///
    /// # Errors
    ///
    /// [`WalletError::Io`] or [`WalletError::TooMany`] for the folder itself; what is wrong with one
    /// wallet is in its [`WalletSummary`].
    pub fn list(wallets: &Path) -> Result<Vec<WalletSummary>, WalletError> {
        let names = file::entries(wallets)?;
        let wallets = names.iter().filter_map(|name| Self::at(wallets, name).ok());
        Ok(wallets
            .filter(|wallet| wallet.folder.is_dir())
            .map(Self::into_summary)
            .collect())
    }

    /// The name, which is that of the folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The coldkey's public half, from `coldkeypub.txt`, or else from what `coldkey` says in clear.
    ///
    /// # Errors
    ///
    /// [`WalletError::Missing`] when there is neither file; otherwise what is wrong with it.
    pub fn coldkey_public(&self) -> Result<Coldkey, WalletError> {
        let path = self.coldkey_public_path();
        if file::exists(&path)? {
            return public_key_in(&path, Audience::Anyone).map(Coldkey);
        }
        public_key_in(&self.coldkey_path(), Audience::Owner).map(Coldkey)
    }

    /// Whether the coldkey needs a password.
    ///
    /// # Errors
    ///
    /// [`WalletError::Missing`] on a host without the coldkey; otherwise what is wrong with its file.
    pub fn coldkey_is_encrypted(&self) -> Result<bool, WalletError> {
        Ok(seal::is_sealed(&file::read(
            &self.coldkey_path(),
            Audience::Owner,
        )?))
    }

    /// The coldkey. A password is ignored where the key is plain.
    ///
    /// # Errors
    ///
    /// [`WalletError::KeyFile`] with [`KeyFileError::PasswordNeeded`], `WrongPassword`, `Damaged` and so
    /// on; [`WalletError::PublicMismatch`] when `coldkeypub.txt` names another key;
    /// [`WalletError::Mode`] when others may read the file.
    pub fn coldkey(&self, password: Option<&str>) -> Result<Keypair, WalletError> {
        let path = self.coldkey_path();
        let bytes = file::read(&path, Audience::Owner)?;
        let pair = open_coldkey(&bytes, password).map_err(|problem| problem.at(&path))?;
        let (secret, public) = (pair.coldkey(), self.coldkey_public()?);
        if secret != public {
            return Err(WalletError::PublicMismatch { path, secret, public });
        }
        Ok(pair)
    }

    /// Makes a new hotkey, and gives the 12 words that bring it back.
    ///
    /// # Errors
    ///
    /// [`WalletError::Exists`] when there is a hotkey of that name; `Name`, `Mode`, `Randomness` or `Io`.
    pub fn create_hotkey(
        &self,
        name: &str,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<(Hotkey, Mnemonic), WalletError> {
        let words = new_words(rng)?;
        let uri = SecretUri::from_mnemonic(words.clone());
        Ok((self.regenerate_hotkey(name, &uri, Existing::Refuse)?, words))
    }

    /// Makes a hotkey that is known by its words, seed or secret URI.
    ///
    /// # Errors
    ///
    /// As [`Wallet::create_hotkey`]; `Exists` only under [`Existing::Refuse`].
    pub fn regenerate_hotkey(
        &self,
        name: &str,
        uri: &SecretUri,
        existing: Existing,
    ) -> Result<Hotkey, WalletError> {
        let path = self.hotkey_path(name)?;
        file::check_folder(&self.folder)?;
        file::create_folder(&self.folder.join(HOTKEYS))?;
        let file = KeyFile::secret(uri);
        file::write(&path, &file.to_bytes(), existing)?;
        file.public_key().map(Hotkey).map_err(|problem| problem.at(&path))
    }

    /// A hotkey.
    ///
    /// # Errors
    ///
    /// [`WalletError::Missing`] when there is none of that name; [`WalletError::Mode`] when others may
    /// read it; [`WalletError::KeyFile`] when it gives no key.
    pub fn hotkey(&self, name: &str) -> Result<Keypair, WalletError> {
        let path = self.hotkey_path(name)?;
        let bytes = file::read(&path, Audience::Owner)?;
        read_plain(&bytes)
            .and_then(|file| file.keypair())
            .map_err(|problem| problem.at(&path))
    }

    /// A hotkey's public half, as its file names it.
    ///
    /// # Errors
    ///
    /// As [`Wallet::hotkey`].
    pub fn hotkey_public(&self, name: &str) -> Result<Hotkey, WalletError> {
        public_key_in(&self.hotkey_path(name)?, Audience::Owner).map(Hotkey)
    }

    /// Lists the hotkeys, by name.
    ///
    /// # Errors
    ///
    /// [`WalletError::Io`], [`WalletError::NotAFolder`], [`WalletError::Mode`] or
    /// [`WalletError::TooMany`] for the folder itself; what is wrong with one hotkey is in its [`HotkeySummary`].
    pub fn hotkeys(&self) -> Result<Vec<HotkeySummary>, WalletError> {
        file::check_folder(&self.folder)?;
        let folder = self.folder.join(HOTKEYS);
        if !file::exists(&folder)? {
            return Ok(Vec::new());
        }
        file::check_folder(&folder)?;
        let names = file::entries(&folder)?;
        let names = names.into_iter().filter(|name| check_name(name).is_ok());
        Ok(names
            .map(|name| HotkeySummary {
                hotkey: self.hotkey_public(&name),
                name,
            })
            .collect())
    }

    fn at(wallets: &Path, name: &str) -> Result<Self, WalletError> {
        check_name(name)?;
        Ok(Self {
            folder: wallets.join(name),
            name: name.to_owned(),
        })
    }

    fn into_summary(self) -> WalletSummary {
        WalletSummary {
            coldkey: self.coldkey_public(),
            hotkeys: self.hotkeys(),
            name: self.name,
        }
    }

    fn coldkey_path(&self) -> PathBuf {
        self.folder.join(COLDKEY)
    }

    fn coldkey_public_path(&self) -> PathBuf {
        self.folder.join(COLDKEY_PUBLIC)
    }

    fn hotkey_path(&self, name: &str) -> Result<PathBuf, WalletError> {
        check_name(name)?;
        Ok(self.folder.join(HOTKEYS).join(name))
    }

    fn refuse_existing(&self, existing: Existing) -> Result<(), WalletError> {
        if existing == Existing::Replace {
            return Ok(());
        }
        for path in [self.coldkey_path(), self.coldkey_public_path()] {
            if file::exists(&path)? {
                return Err(WalletError::Exists { path });
            }
        }
        Ok(())
    }

    fn coldkey_bytes(
        &self,
        file: KeyFile,
        protection: ColdkeyProtection<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Zeroizing<Vec<u8>>, WalletError> {
        match protection {
            ColdkeyProtection::Unprotected => Ok(file.marked_unprotected().to_bytes()),
            ColdkeyProtection::Password { password, cost } => {
                let sealed = seal::seal(&file, password, cost, &seal::Fresh::draw(rng)?);
                sealed
                    .map(Zeroizing::new)
                    .map_err(|problem| problem.at(&self.coldkey_path()))
            }
        }
    }

    fn public_file_of(&self, file: &KeyFile) -> Result<KeyFile, WalletError> {
        let key = file
            .public_key()
            .map_err(|problem| problem.at(&self.coldkey_path()))?;
        Ok(KeyFile::public(&key))
    }
}

/// Allows what is a plain file name on every system: no separator, nothing hidden, nothing that reads
/// as a flag.
fn check_name(name: &str) -> Result<(), WalletError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let begins_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_good = begins_well
        && name.len() <= NAME_CHARS_MAX
        && name.bytes().all(is_allowed)
        && !name.ends_with(HOTKEY_PUBLIC_ENDING);
    if is_good {
        Ok(())
    } else {
        Err(WalletError::Name {
            name: name.to_owned(),
            chars_max: NAME_CHARS_MAX,
        })
    }
}

fn new_words(rng: &mut dyn CryptoRngCore) -> Result<Mnemonic, WalletError> {
    let entropy = Zeroizing::new(seal::random_bytes(rng)?);
    Ok(Mnemonic::twelve_words(&entropy))
}

fn open_coldkey(bytes: &[u8], password: Option<&str>) -> Result<Keypair, KeyFileError> {
    open_coldkey_file(bytes, password)?.keypair()
}

fn open_coldkey_file(bytes: &[u8], password: Option<&str>) -> Result<KeyFile, KeyFileError> {
    if seal::is_sealed(bytes) {
        return seal::open(bytes, password.ok_or(KeyFileError::PasswordNeeded)?);
    }
    let file = KeyFile::parse(bytes)?;
    if !file.is_marked_unprotected() {
        return Err(KeyFileError::NotMarked);
    }
    Ok(file)
}

fn read_plain(bytes: &[u8]) -> Result<KeyFile, KeyFileError> {
    if seal::is_sealed(bytes) {
        Err(KeyFileError::Encrypted)
    } else {
        KeyFile::parse(bytes)
    }
}

fn public_key_in(path: &Path, audience: Audience) -> Result<[u8; 32], WalletError> {
    let bytes = file::read(path, audience)?;
    let key = if seal::is_sealed(&bytes) {
        seal::public_key(&bytes)
    } else {
        KeyFile::parse(&bytes).and_then(|file| file.public_key())
    };
    key.map_err(|problem| problem.at(path))
}
