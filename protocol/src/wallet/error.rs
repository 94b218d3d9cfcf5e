//! What can be wrong with a wallet folder or a key file.
//!
//! Messages name files, bounds and the next step; none repeats a secret or what a file holds.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::id::Coldkey;

/// Why a wallet cannot be made, read or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalletError {
    /// A name that could lead out of the folder, hide, or be taken for something else.
    #[error(
        "{name:?} cannot name a wallet or hotkey: use at most {chars_max} of A-Z a-z 0-9 _ . -, \
         beginning with a letter, digit or _, and not ending in pub.txt"
    )]
    Name {
        /// The name given.
        name: String,
        /// The longest name.
        chars_max: usize,
    },
    /// There is no such file or folder.
    #[error("{path} does not exist")]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A key is there already, and nobody asked to replace it.
    #[error("{path} already exists; a key is replaced only when that is asked for")]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// Other users of the machine can get at the file or folder.
    #[error("{path} has mode {mode:04o} and is open to other users; run: chmod {wanted:o} '{path}'")]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits to give it.
        wanted: u32,
    },
    /// A link, folder, pipe or device where a file is expected.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// What is in its place.
        path: PathBuf,
    },
    /// A link or file where a folder is expected.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// What is in its place.
        path: PathBuf,
    },
    /// No key file is that large.
    #[error("{path} is larger than {bytes_max} bytes and cannot be a key file")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes read at most.
        bytes_max: u64,
    },
    /// More entries in a folder than are listed.
    #[error("{path} holds more than {count_max} entries")]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// Entries listed at most.
        count_max: usize,
    },
    /// The file is there, but gives no key.
    #[error("{path}: {problem}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: KeyFileError,
    },
    /// `coldkey` and `coldkeypub.txt` of one wallet are different keys.
    #[error("{path} gives the key {secret}, but coldkeypub.txt beside it says {public}")]
    PublicMismatch {
        /// The file with the secret.
        path: PathBuf,
        /// The key of the secret.
        secret: Coldkey,
        /// The key in `coldkeypub.txt`.
        public: Coldkey,
    },
    /// The caller's random source failed.
    #[error("no randomness: {problem}")]
    Randomness {
        /// What the source said.
        problem: String,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {problem}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        problem: io::Error,
    },
}

impl WalletError {
    /// Whether another try with another password makes sense.
    #[must_use]
    pub fn is_wrong_password(&self) -> bool {
        matches!(
            self,
            Self::KeyFile {
                problem: KeyFileError::WrongPassword | KeyFileError::WrongPasswordOrChanged,
                ..
            }
        )
    }
}

/// Why the bytes of a key file give no key, or cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The password is wrong: the file is whole by its checksum, and does not open.
    ///
    /// A checksum needs no secret, so a file that somebody altered on purpose, checksum included, reads
    /// the same: ciphers do not tell a wrong key from forged bytes. Accidents are told apart, see
    /// [`KeyFileError::Damaged`].
    #[error("the password is wrong")]
    WrongPassword,
    /// The password is wrong, or the file was changed: Bittensor's encryption does not tell which.
    #[error(
        "the password is wrong, or the file was changed since it was written: its encryption does not tell which"
    )]
    WrongPasswordOrChanged,
    /// The file is not what was written; no password was tried, or the right one was.
    #[error("the file is damaged ({what}); restore it from a copy or from its words")]
    Damaged {
        /// Which check failed.
        what: &'static str,
    },
    /// A password is needed and none was given.
    #[error("the key is encrypted and needs its password")]
    PasswordNeeded,
    /// A new password that protects nothing, or that no one types.
    #[error(
        "a password has at least {chars_min} letters and at most {bytes_max} bytes; this one has {chars} letters"
    )]
    PasswordLength {
        /// Letters given.
        chars: usize,
        /// The least.
        chars_min: usize,
        /// The most, in bytes of UTF-8.
        bytes_max: usize,
    },
    /// A key derivation that is too weak to write or too heavy to run.
    #[error("key derivation with {what} {value} is outside {min} to {max}")]
    KdfBounds {
        /// Which parameter.
        what: &'static str,
        /// Its value.
        value: u32,
        /// The least that is accepted.
        min: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// The machine has no memory for the key derivation.
    #[error("no memory for the key derivation, which takes {memory_kib} KiB")]
    KdfMemory {
        /// Memory asked for.
        memory_kib: u32,
    },
    /// A later version of this format.
    #[error("key file version {found} is not known here (only {known})")]
    Version {
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// Another program's encryption, which an import reads.
    #[error(
        "the file is encrypted with {format}, which is not read in place: agon wallet import --file brings it in"
    )]
    Foreign {
        /// Whose.
        format: &'static str,
    },
    /// An encryption that other wallets gave up long ago.
    #[error(
        "the file is encrypted with {format}, which is not read here: open it with a bittensor-wallet that still \
         does and let it write the file again (Keyfile.check_and_update_encryption), which gives a $NACL file to \
         import; or make the key again from its words with agon wallet regenerate"
    )]
    Older {
        /// Whose.
        format: &'static str,
    },
    /// An encrypted file where a plain one is expected.
    #[error("the file is encrypted; hotkeys are kept plain")]
    Encrypted,
    /// A plain coldkey without the mark that it is meant to be plain.
    #[error(
        "the coldkey is not encrypted and not marked as such: bring it in with agon wallet import --file, or make \
         it again from its words"
    )]
    NotMarked,
    /// The text is not a JSON object of the expected shape.
    #[error("line {line}, column {column} is not what a key file has there")]
    Json {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
    },
    /// A field has a value that it cannot have.
    #[error("field {field} is malformed")]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// Two fields that should be one key are not.
    #[error("fields {first} and {second} belong to different keys")]
    Contradiction {
        /// A field.
        first: &'static str,
        /// A field that says otherwise.
        second: &'static str,
    },
    /// The file names no public key.
    #[error("the file holds no public key")]
    NoPublicKey,
    /// The file holds the public half only.
    #[error("the file holds no secret")]
    NoSecret,
    /// A key of another curve.
    #[error("the key has crypto type {found}; only sr25519 ({known}) signs here")]
    CryptoType {
        /// The type found.
        found: u8,
        /// The type of sr25519.
        known: u8,
    },
}

impl KeyFileError {
    pub(super) fn at(self, path: &std::path::Path) -> WalletError {
        WalletError::KeyFile {
            path: path.to_owned(),
            problem: self,
        }
    }
}
