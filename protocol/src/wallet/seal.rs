//! The encrypted form of a key file.
//!
//! Three lines of text, each ended by one newline:
//!
//! 1. a header in JSON: version, the key's address in clear, key derivation and its cost, salt, cipher,
//!    nonce;
//! 2. the ciphertext of the plain key file, in hex: XChaCha20-Poly1305 with the first line, byte for
//!    byte, as associated data, under 32 bytes of Argon2id 1.3 over the password (UTF-8 as typed);
//! 3. the first 16 bytes of BLAKE3 over the two lines above, in hex.
//!
//! The last line has no key. It is there so that a damaged file is not taken for a wrong password, and
//! so that no key derivation runs over garbage; only the cipher protects against someone who alters the
//! file on purpose, and such a file reads as a wrong password ([`KeyFileError::WrongPassword`]).
//!
//! The cost in a header is checked against bounds before it is paid, since the header may come from
//! anyone.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{KeyFileError, WalletError};
use super::keyfile::KeyFile;
use crate::ss58;

/// The least letters of a new password.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// The most bytes of a password; no one types more.
pub const PASSWORD_BYTES_MAX: usize = 1024;

const VERSION: u32 = 1;
const START: &[u8] = b"{\"agon_key\":";
const SALT_LEN: usize = 16;
const NONCE_LEN: usize = 24;
const CHECKSUM_LEN: usize = 16;
const CHECKSUM_CONTEXT: &str = "agon/v1/key-file-checksum";

/// What one guess at a password costs: parameters of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KdfCost {
    /// Memory that a guess takes, in KiB.
    pub memory_kib: u32,
    /// How often all of the memory is rewritten.
    pub passes: u32,
    /// Parts of the memory that could be filled side by side.
    pub lanes: u32,
}

impl KdfCost {
    /// The least that is written or read: 8 MiB, one pass; some 10 ms. For tests and throwaway keys.
    pub const LEAST: Self = Self {
        memory_kib: 8 * 1024,
        passes: 1,
        lanes: 1,
    };

    /// The most that is written or read: 512 MiB, 10 passes, 4 lanes; ten seconds on a busy small
    /// machine.
    pub const MOST: Self = Self {
        memory_kib: 512 * 1024,
        passes: 10,
        lanes: 4,
    };

    /// Refuses costs outside [`KdfCost::LEAST`] and [`KdfCost::MOST`].
    ///
    /// # Errors
    ///
    /// [`KeyFileError::KdfBounds`] for the first parameter that is outside.
    pub fn check(self) -> Result<(), KeyFileError> {
        let (least, most) = (Self::LEAST, Self::MOST);
        check_bounds(
            "memory in KiB",
            self.memory_kib,
            least.memory_kib,
            most.memory_kib,
        )?;
        check_bounds("passes", self.passes, least.passes, most.passes)?;
        check_bounds("lanes", self.lanes, least.lanes, most.lanes)
    }
}

impl Default for KdfCost {
    /// 64 MiB, three passes, one lane: a third of a second on a busy small machine.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

fn check_bounds(what: &'static str, value: u32, min: u32, max: u32) -> Result<(), KeyFileError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(KeyFileError::KdfBounds {
            what,
            value,
            min,
            max,
        })
    }
}

/// Salt and nonce of one file; never used for a second one.
pub(super) struct Fresh {
    salt: [u8; SALT_LEN],
    nonce: [u8; NONCE_LEN],
}

impl Fresh {
    pub(super) fn draw(rng: &mut dyn CryptoRngCore) -> Result<Self, WalletError> {
        Ok(Self {
            salt: random_bytes(rng)?,
            nonce: random_bytes(rng)?,
        })
    }
}

/// Bytes of the caller's random source.
pub(super) fn random_bytes<const LEN: usize>(rng: &mut dyn CryptoRngCore) -> Result<[u8; LEN], WalletError> {
    let mut bytes = [0; LEN];
    rng.try_fill_bytes(&mut bytes)
        .map_err(|problem| WalletError::Randomness {
            problem: problem.to_string(),
        })?;
    Ok(bytes)
}

/// The first line. Its field order is the order in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    agon_key: u32,
    address: String,
    kdf: Kdf,
    salt: String,
    cipher: Cipher,
    nonce: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
enum Kdf {
    Argon2id(KdfCost),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Cipher {
    XChaCha20Poly1305,
}

/// Whether a file begins as an encrypted one of ours does.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(START)
}

/// Encrypts a key file.
pub(super) fn seal(
    file: &KeyFile,
    password: &str,
    cost: KdfCost,
    fresh: &Fresh,
) -> Result<Vec<u8>, KeyFileError> {
    check_new_password(password)?;
    let header = Header {
        agon_key: VERSION,
        address: ss58::encode(&file.public_key()?),
        kdf: Kdf::Argon2id(cost),
        salt: hex::encode(fresh.salt),
        cipher: Cipher::XChaCha20Poly1305,
        nonce: hex::encode(fresh.nonce),
    };
    let line = serde_json::to_string(&header).expect("strings and numbers always have a JSON form");
    let plain = file.to_bytes();
    let payload = Payload {
        msg: &plain,
        aad: line.as_bytes(),
    };
    let ciphertext = cipher(password, cost, &fresh.salt)?
        .encrypt(XNonce::from_slice(&fresh.nonce), payload)
        .expect("a key file is far below the cipher's limit");
    let lines = format!("{line}\n{}\n", hex::encode(ciphertext));
    Ok(format!("{lines}{}\n", checksum(&lines)).into_bytes())
}

/// Decrypts a key file. The key in it is the one the header names.
pub(super) fn open(bytes: &[u8], password: &str) -> Result<KeyFile, KeyFileError> {
    let parts = Parts::split(bytes)?;
    let Kdf::Argon2id(cost) = parts.header.kdf;
    cost.check()?;
    let nonce: [u8; NONCE_LEN] = fixed_hex(&parts.header.nonce, "nonce")?;
    let salt = fixed_hex(&parts.header.salt, "salt")?;
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(KeyFileError::WrongPassword);
    }
    let payload = Payload {
        msg: &parts.ciphertext,
        aad: parts.line.as_bytes(),
    };
    let plain = cipher(password, cost, &salt)?
        .decrypt(XNonce::from_slice(&nonce), payload)
        .map_err(|_| KeyFileError::WrongPassword)?;
    let plain = Zeroizing::new(plain);
    let file = KeyFile::parse(&plain)?;
    if ss58::encode(&file.public_key()?) != parts.header.address {
        return Err(KeyFileError::Damaged { what: "address" });
    }
    Ok(file)
}

/// The public key that the header names; not authenticated, since no password is needed.
pub(super) fn public_key(bytes: &[u8]) -> Result<[u8; 32], KeyFileError> {
    let parts = Parts::split(bytes)?;
    ss58::decode(&parts.header.address).map_err(|_| KeyFileError::Damaged { what: "address" })
}

/// An encrypted file taken apart; its checksum holds.
struct Parts<'a> {
    line: &'a str,
    header: Header,
    ciphertext: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, KeyFileError> {
        let damaged = |what| KeyFileError::Damaged { what };
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("text"))?;
        let (line, _) = text.split_once('\n').ok_or(damaged("lines"))?;
        check_version(line)?;
        let body = text.strip_suffix('\n').ok_or(damaged("lines"))?;
        let (_, found) = body.rsplit_once('\n').ok_or(damaged("lines"))?;
        let lines = &body[..body.len() - found.len()];
        if found != checksum(lines) {
            return Err(damaged("checksum"));
        }
        let header = serde_json::from_str(line).map_err(|_| damaged("header"))?;
        let cipher_line = lines
            .get(line.len() + 1..lines.len() - 1)
            .ok_or(damaged("lines"))?;
        let ciphertext = hex::decode(cipher_line).map_err(|_| damaged("ciphertext"))?;
        Ok(Self {
            line,
            header,
            ciphertext,
        })
    }
}

/// Looks at the version before anything else, since the rest may differ with it.
fn check_version(line: &str) -> Result<(), KeyFileError> {
    #[derive(Deserialize)]
    struct Versioned {
        agon_key: u32,
    }
    let versioned: Versioned =
        serde_json::from_str(line).map_err(|_| KeyFileError::Damaged { what: "header" })?;
    if versioned.agon_key != VERSION {
        return Err(KeyFileError::Version {
            found: versioned.agon_key,
            known: VERSION,
        });
    }
    Ok(())
}

pub(super) fn check_new_password(password: &str) -> Result<(), KeyFileError> {
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err(KeyFileError::PasswordLength {
            chars,
            chars_min: PASSWORD_CHARS_MIN,
            bytes_max: PASSWORD_BYTES_MAX,
        });
    }
    Ok(())
}

fn fixed_hex<const LEN: usize>(text: &str, what: &'static str) -> Result<[u8; LEN], KeyFileError> {
    let mut bytes = [0; LEN];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyFileError::Damaged { what })?;
    Ok(bytes)
}

/// The cipher under the key of a password, after paying the cost.
fn cipher(password: &str, cost: KdfCost, salt: &[u8; SALT_LEN]) -> Result<XChaCha20Poly1305, KeyFileError> {
    let key = derive_key(Algorithm::Argon2id, password, cost, salt)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

/// The key of a password, after paying the cost, which is checked first.
pub(super) fn derive_key(
    algorithm: Algorithm,
    password: &str,
    cost: KdfCost,
    salt: &[u8; SALT_LEN],
) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    cost.check()?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .expect("the bounds of KdfCost lie within those of Argon2");
    let mut memory = Zeroizing::new(Vec::new());
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| KeyFileError::KdfMemory {
            memory_kib: cost.memory_kib,
        })?;
    memory.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(algorithm, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut key[..], &mut memory[..])
        .expect("password, salt and output have lengths that Argon2 takes");
    Ok(key)
}

/// What the last line should be.
fn checksum(lines: &str) -> String {
    let hash = blake3::derive_key(CHECKSUM_CONTEXT, lines.as_bytes());
    hex::encode(&hash[..CHECKSUM_LEN])
}

#[cfg(test)]
pub(super) mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::derive::SecretUri;

    const PASSWORD: &str = "correct horse";

    fn sealed() -> Vec<u8> {
        let file = KeyFile::secret(&SecretUri::from_seed(&[7; 32]));
        let fresh = Fresh::draw(&mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        seal(&file, PASSWORD, KdfCost::LEAST, &fresh).unwrap()
    }

    /// The file with its header or ciphertext changed by someone who also fixes the checksum.
    pub(crate) fn forge(bytes: &[u8], change: impl FnOnce(&str) -> String) -> Vec<u8> {
        let text = std::str::from_utf8(bytes).unwrap().strip_suffix('\n').unwrap();
        let (lines, _) = text.rsplit_once('\n').unwrap();
        let lines = change(&format!("{lines}\n"));
        format!("{lines}{}\n", checksum(&lines)).into_bytes()
    }

    fn open_error(bytes: &[u8], password: &str) -> KeyFileError {
        open(bytes, password).err().expect("refused")
    }

    #[test]
    fn sealed_key_opens_with_its_password_only() {
        let bytes = sealed();
        assert!(is_sealed(&bytes));
        let file = open(&bytes, PASSWORD).unwrap();
        assert_eq!(file.keypair().unwrap().public(), public_key(&bytes).unwrap());
        assert_eq!(open_error(&bytes, "correct house"), KeyFileError::WrongPassword);
        assert_eq!(open_error(&bytes, ""), KeyFileError::WrongPassword);
    }

    #[test]
    fn sealed_file_shows_the_address_and_no_secret() {
        let text = String::from_utf8(sealed()).unwrap();
        assert!(text.starts_with(&format!(
            "{{\"agon_key\":1,\"address\":\"{}\",\"kdf\":{{\"name\":\"argon2id\",\"memory_kib\":8192,\"passes\":1,\"lanes\":1}}",
            ss58::encode(&crate::sign::Keypair::from_mini_secret(&[7; 32]).public())
        )));
        assert!(!text.contains(&hex::encode([7; 32])));
    }

    #[test]
    fn any_flipped_byte_is_refused_before_a_password_is_tried() {
        let bytes = sealed();
        for position in 0..bytes.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut flipped = bytes.clone();
                flipped[position] ^= bit;
                let error = open_error(&flipped, PASSWORD);
                assert_ne!(error, KeyFileError::WrongPassword, "byte {position} bit {bit:#x}");
            }
        }
        for len in 0..bytes.len() {
            assert_ne!(
                open_error(&bytes[..len], PASSWORD),
                KeyFileError::WrongPassword,
                "cut to {len}"
            );
        }
    }

    #[test]
    fn any_change_under_a_fixed_checksum_is_refused_by_the_cipher() {
        let bytes = sealed();
        let (len, header_len) = (bytes.len(), bytes.iter().position(|byte| *byte == b'\n').unwrap());
        // Every byte of the header; of the ciphertext a sample, since each costs a key derivation.
        let positions = (0..header_len).chain((header_len + 1..len - 34).step_by(23));
        for position in positions {
            let forged = forge(&bytes, |lines| {
                let mut lines = lines.as_bytes().to_vec();
                lines[position] ^= 1;
                String::from_utf8(lines).unwrap()
            });
            assert!(open(&forged, PASSWORD).is_err(), "byte {position}");
        }
    }

    #[test]
    fn white_space_in_the_header_is_part_of_what_is_authenticated() {
        let forged = forge(&sealed(), |lines| lines.replacen(",\"kdf\"", ", \"kdf\"", 1));
        assert_eq!(open_error(&forged, PASSWORD), KeyFileError::WrongPassword);
    }

    #[track_caller]
    fn check_cost(from: &str, to: &str, expected: KeyFileError) {
        let forged = forge(&sealed(), |lines| lines.replacen(from, to, 1));
        assert_eq!(open_error(&forged, PASSWORD), expected);
    }

    #[test]
    fn hostile_key_derivation_is_refused_without_running() {
        let bounds = |what, value, min, max| KeyFileError::KdfBounds {
            what,
            value,
            min,
            max,
        };
        // Running the first would take 4 TiB.
        check_cost(
            "\"memory_kib\":8192",
            "\"memory_kib\":4294967295",
            bounds("memory in KiB", u32::MAX, 8192, 524_288),
        );
        check_cost(
            "\"memory_kib\":8192",
            "\"memory_kib\":8191",
            bounds("memory in KiB", 8191, 8192, 524_288),
        );
        check_cost(
            "\"passes\":1",
            "\"passes\":4000000000",
            bounds("passes", 4_000_000_000, 1, 10),
        );
        check_cost("\"passes\":1", "\"passes\":0", bounds("passes", 0, 1, 10));
        check_cost("\"lanes\":1", "\"lanes\":5", bounds("lanes", 5, 1, 4));
        check_cost("argon2id", "argon2d", KeyFileError::Damaged { what: "header" });
        check_cost(
            "xchacha20poly1305",
            "none",
            KeyFileError::Damaged { what: "header" },
        );
        check_cost(
            "{\"agon_key\":1",
            "{\"agon_key\":2",
            KeyFileError::Version { found: 2, known: 1 },
        );
    }

    #[test]
    fn weak_settings_are_not_written() {
        let file = KeyFile::secret(&SecretUri::from_seed(&[7; 32]));
        let fresh = Fresh {
            salt: [0; SALT_LEN],
            nonce: [0; NONCE_LEN],
        };
        let refused = |password: &str, cost| seal(&file, password, cost, &fresh).unwrap_err();
        assert!(matches!(
            refused("seven77", KdfCost::LEAST),
            KeyFileError::PasswordLength { chars: 7, .. }
        ));
        let long = "a".repeat(1025);
        assert!(matches!(
            refused(&long, KdfCost::LEAST),
            KeyFileError::PasswordLength { chars: 1025, .. }
        ));
        let weak = KdfCost {
            memory_kib: 1024,
            ..KdfCost::LEAST
        };
        assert!(matches!(
            refused(PASSWORD, weak),
            KeyFileError::KdfBounds { value: 1024, .. }
        ));
    }

    #[test]
    fn default_cost_lies_within_the_bounds() {
        assert_eq!(KdfCost::default().check(), Ok(()));
        assert_eq!(KdfCost::MOST.check(), Ok(()));
    }
}
