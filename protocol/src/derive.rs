//! Mnemonics and derivation paths: how words that a person can keep become keys.
//!
//! The rules are those of Substrate's wallets, so that the words of an existing wallet give the same
//! addresses here:
//!
//! 1. English BIP-39 words are read back to their entropy (not to the BIP-39 seed). PBKDF2-HMAC-SHA512
//!    over the *entropy*, 2048 rounds, salt `"mnemonic"` and the password, gives 64 bytes, of which the
//!    first 32 are the seed.
//! 2. The seed is expanded to a key pair as Ed25519 does it.
//! 3. Each part of the path leads on, by a chain code of 32 bytes: `//part` hard (a new seed hashed from
//!    the secret and the chain code), `/part` soft (public keys can take the same step).
//!
//! The chain code of a part that reads as a `u64` is its 8 little-endian bytes, of any other part its
//! text with its length in front as SCALE encodes it; padded with zeros, or, above 32 bytes, hashed
//! with BLAKE2b-256.
//!
//! A [`SecretUri`] is all of it in one line: `words or 0x-hex seed`, path, `///password`.
//!
//! Nothing here draws randomness: entropy comes from the caller. Secrets are wiped when dropped, and
//! neither `Debug` nor any error shows them.
//!
//! # Departures
//!
//! - An empty phrase does not stand for the public development phrase; a key everybody has must be
//!   written out by who wants it.
//! - A password after a hex seed is refused; elsewhere it is silently without effect.
//! - The nonce seed of a softly derived secret, which no rule fixes, is a function of the parent's
//!   secret rather than random, so that a URI always gives the same 64 bytes.

use std::fmt;
use std::str::FromStr;

use bip39::Language;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use schnorrkel::derive::{ChainCode, Derivation};
use schnorrkel::{ExpansionMode, MiniSecretKey};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::sign::{Keypair, NoEntropy};

/// The longest secret URI that is read: 24 words take at most 215 bytes, which leaves room for any
/// path and password that a person would type.
pub const URI_BYTES_MAX: usize = 1024;

const SEED_LEN: usize = 32;
const CHAIN_CODE_LEN: usize = 32;

/// Why words are not a mnemonic. Words are told by position only, never repeated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MnemonicError {
    /// The text is longer than any mnemonic.
    #[error("the phrase has {len} bytes, at most {len_max} are read")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes read, [`URI_BYTES_MAX`].
        len_max: usize,
    },
    /// A mnemonic has 12, 15, 18, 21 or 24 words.
    #[error("the phrase has {count} words; it takes 12, 15, 18, 21 or 24")]
    WordCount {
        /// Words given.
        count: usize,
    },
    /// A word is not in the English list.
    #[error("word {position} of the phrase is not in the English BIP-39 list")]
    UnknownWord {
        /// Its place, counted from 1.
        position: usize,
    },
    /// All words are known, but together they are not a mnemonic.
    #[error("the phrase's checksum does not match: a word is wrong or two are swapped")]
    Checksum,
}

/// Why a text is not a secret URI. Nothing of the text is repeated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretUriError {
    /// The text is longer than is read.
    #[error("the secret has {len} bytes, at most {len_max} are read")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes read, [`URI_BYTES_MAX`].
        len_max: usize,
    },
    /// Nothing stands before the path.
    #[error("neither words nor a hex seed stand before the path")]
    Missing,
    /// The words are not a mnemonic.
    #[error(transparent)]
    Mnemonic(#[from] MnemonicError),
    /// The text after `0x` is not a seed.
    #[error("a hex seed is 0x and {digits} hex digits")]
    Seed {
        /// Digits that a seed has.
        digits: usize,
    },
    /// A slash without a name behind it.
    #[error("part {position} of the derivation path is empty")]
    EmptyPart {
        /// Its place in the path, counted from 1.
        position: usize,
    },
    /// A password only changes what words stand for.
    #[error("a password has no effect on a hex seed; leave out what follows ///")]
    PasswordOnSeed,
}

/// BIP-39 words in English, kept as their entropy.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Mnemonic {
    // 16, 20, 24, 28 or 32 bytes.
    entropy: Vec<u8>,
}

impl Mnemonic {
    /// The 12 words of 16 bytes of entropy, which must come from a cryptographic source.
    #[must_use]
    pub fn twelve_words(entropy: &[u8; 16]) -> Self {
        Self {
            entropy: entropy.to_vec(),
        }
    }

    /// The 24 words of 32 bytes of entropy, which must come from a cryptographic source.
    #[must_use]
    pub fn twenty_four_words(entropy: &[u8; 32]) -> Self {
        Self {
            entropy: entropy.to_vec(),
        }
    }

    /// Reads words, separated by any white space, and checks their checksum.
    ///
    /// # Errors
    ///
    /// Any [`MnemonicError`].
    pub fn parse(phrase: &str) -> Result<Self, MnemonicError> {
        let len = phrase.len();
        if len > URI_BYTES_MAX {
            return Err(MnemonicError::TooLong {
                len,
                len_max: URI_BYTES_MAX,
            });
        }
        let words = bip39::Mnemonic::parse_in_normalized(Language::English, phrase)
            .map_err(|error| mnemonic_error(&error))?;
        Ok(Self {
            entropy: words.to_entropy(),
        })
    }

    /// The words, lower case, with one space between them.
    #[must_use]
    pub fn phrase(&self) -> Zeroizing<String> {
        let words = bip39::Mnemonic::from_entropy_in(Language::English, &self.entropy)
            .expect("the entropy has one of the five lengths by construction");
        let mut phrase = Zeroizing::new(String::with_capacity(URI_BYTES_MAX));
        for word in words.words() {
            if !phrase.is_empty() {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        phrase
    }

    /// How many words there are: 12, 15, 18, 21 or 24.
    #[must_use]
    pub fn word_count(&self) -> usize {
        // Each word carries 11 bits; a checksum of one bit in 32 is added to the entropy.
        self.entropy.len() * 3 / 4
    }

    /// The seed that the words and a password (often empty) stand for.
    #[must_use]
    pub fn seed(&self, password: &str) -> Zeroizing<[u8; 32]> {
        let long = substrate_bip39::seed_from_entropy(&self.entropy, password)
            .expect("the entropy has one of the five lengths by construction");
        let long = Zeroizing::new(long);
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        seed.copy_from_slice(&long[..SEED_LEN]);
        seed
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mnemonic({} words)", self.word_count())
    }
}

impl FromStr for Mnemonic {
    type Err = MnemonicError;

    fn from_str(phrase: &str) -> Result<Self, MnemonicError> {
        Self::parse(phrase)
    }
}

fn mnemonic_error(error: &bip39::Error) -> MnemonicError {
    match *error {
        bip39::Error::BadWordCount(count) => MnemonicError::WordCount { count },
        bip39::Error::UnknownWord(index) => MnemonicError::UnknownWord { position: index + 1 },
        // The remaining two kinds are about entropy and languages, which parsing in English cannot meet.
        _ => MnemonicError::Checksum,
    }
}

/// Everything that leads to one key: words or a seed, a path, a password.
///
/// Written as `words//hard/soft///password` or `0x<64 hex digits>//hard/soft`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUri {
    root: Root,
    path: Vec<Junction>,
    password: Zeroizing<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Root {
    Words(Mnemonic),
    Seed(Zeroizing<[u8; SEED_LEN]>),
}

#[derive(Clone, PartialEq, Eq)]
enum Junction {
    Hard([u8; CHAIN_CODE_LEN]),
    Soft([u8; CHAIN_CODE_LEN]),
}

impl SecretUri {
    /// Words without path or password.
    #[must_use]
    pub fn from_mnemonic(mnemonic: Mnemonic) -> Self {
        Self {
            root: Root::Words(mnemonic),
            path: Vec::new(),
            password: Zeroizing::default(),
        }
    }

    /// A seed without path.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self {
            root: Root::Seed(Zeroizing::new(*seed)),
            path: Vec::new(),
            password: Zeroizing::default(),
        }
    }

    /// Reads a secret URI.
    ///
    /// # Errors
    ///
    /// Any [`SecretUriError`].
    pub fn parse(uri: &str) -> Result<Self, SecretUriError> {
        let len = uri.len();
        if len > URI_BYTES_MAX {
            return Err(SecretUriError::TooLong {
                len,
                len_max: URI_BYTES_MAX,
            });
        }
        let (uri, password) = uri.split_once("///").unwrap_or((uri, ""));
        let (root, path) = uri.split_at(uri.find('/').unwrap_or(uri.len()));
        let root = Root::parse(root.trim())?;
        if matches!(root, Root::Seed(_)) && !password.is_empty() {
            return Err(SecretUriError::PasswordOnSeed);
        }
        Ok(Self {
            root,
            path: parse_path(path)?,
            password: Zeroizing::new(password.to_owned()),
        })
    }

    /// The key.
    #[must_use]
    pub fn keypair(&self) -> Keypair {
        let root = Keypair::from_mini_secret(&self.root_seed());
        let mut pair = root.schnorrkel().clone();
        for junction in &self.path {
            pair = junction.step(&pair);
        }
        Keypair::from_schnorrkel(pair)
    }

    /// The words, where they alone (no path, no password) give the key.
    #[must_use]
    pub fn mnemonic(&self) -> Option<&Mnemonic> {
        match &self.root {
            Root::Words(words) if self.path.is_empty() && self.password.is_empty() => Some(words),
            _ => None,
        }
    }

    /// The seed, where it alone (no path) gives the key.
    #[must_use]
    pub fn seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        self.path.is_empty().then(|| self.root_seed())
    }

    fn root_seed(&self) -> Zeroizing<[u8; SEED_LEN]> {
        match &self.root {
            Root::Words(words) => words.seed(&self.password),
            Root::Seed(seed) => seed.clone(),
        }
    }
}

impl FromStr for SecretUri {
    type Err = SecretUriError;

    fn from_str(uri: &str) -> Result<Self, SecretUriError> {
        Self::parse(uri)
    }
}

impl fmt::Debug for SecretUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.root {
            Root::Words(_) => "words",
            Root::Seed(_) => "seed",
        };
        write!(f, "SecretUri({kind}, {} parts of path)", self.path.len())
    }
}

impl Root {
    fn parse(text: &str) -> Result<Self, SecretUriError> {
        if text.is_empty() {
            return Err(SecretUriError::Missing);
        }
        let Some(digits) = text.strip_prefix("0x") else {
            return Ok(Self::Words(Mnemonic::parse(text)?));
        };
        let mut seed = Zeroizing::new([0; SEED_LEN]);
        hex::decode_to_slice(digits, &mut seed[..])
            .map_err(|_| SecretUriError::Seed { digits: 2 * SEED_LEN })?;
        Ok(Self::Seed(seed))
    }
}

fn parse_path(path: &str) -> Result<Vec<Junction>, SecretUriError> {
    let mut parts = Vec::new();
    let mut rest = path;
    while let Some(after) = rest.strip_prefix('/') {
        let (is_hard, after) = match after.strip_prefix('/') {
            Some(after) => (true, after),
            None => (false, after),
        };
        let (part, tail) = after.split_at(after.find('/').unwrap_or(after.len()));
        if part.is_empty() {
            return Err(SecretUriError::EmptyPart {
                position: parts.len() + 1,
            });
        }
        let code = chain_code(part);
        parts.push(if is_hard {
            Junction::Hard(code)
        } else {
            Junction::Soft(code)
        });
        rest = tail;
    }
    Ok(parts)
}

/// The chain code of one part of a path, see the module's documentation.
fn chain_code(part: &str) -> [u8; CHAIN_CODE_LEN] {
    let encoded = match part.parse::<u64>() {
        Ok(number) => number.to_le_bytes().to_vec(),
        Err(_) => scale_text(part),
    };
    let mut code = [0; CHAIN_CODE_LEN];
    match code.get_mut(..encoded.len()) {
        Some(head) => head.copy_from_slice(&encoded),
        None => code.copy_from_slice(&Blake2b::<U32>::digest(&encoded)),
    }
    code
}

/// A text as SCALE encodes it: its length in compact form (one byte below 64, two below 16384, low bits
/// telling which), then its bytes.
fn scale_text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("a part is shorter than URI_BYTES_MAX");
    let mut encoded = match len {
        0..=63 => vec![len.to_le_bytes()[0] << 2],
        _ => ((len << 2) | 0b01).to_le_bytes().to_vec(),
    };
    encoded.extend_from_slice(text.as_bytes());
    encoded
}

impl Junction {
    fn step(&self, pair: &schnorrkel::Keypair) -> schnorrkel::Keypair {
        match *self {
            Self::Hard(code) => hard_step(&pair.secret, code).expand_to_keypair(ExpansionMode::Ed25519),
            Self::Soft(code) => pair.derived_key_simple_rng(ChainCode(code), [], NoEntropy).0,
        }
    }
}

fn hard_step(secret: &schnorrkel::SecretKey, code: [u8; CHAIN_CODE_LEN]) -> MiniSecretKey {
    secret.hard_derive_mini_secret_key(Some(ChainCode(code)), []).0
}

#[cfg(test)]
mod tests;
