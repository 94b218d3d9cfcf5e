//! Key files under Bittensor's password encryption, read and written as its wallets do.
//!
//! Bytes: `$NACL` (5), nonce (24), tag (16), ciphertext. The plain text is a key file in JSON. The cipher is
//! XSalsa20-Poly1305 under 32 bytes of Argon2i 1.3 over the password (UTF-8 as typed): 8 passes, 512 MiB,
//! one lane, and one salt for everybody.
//!
//! The one salt lets one guess be tried on all such files at once, and no checksum tells a wrong password
//! from a changed file. So this form is for coming from and going to other wallets; our own is in `seal.rs`.

use argon2::Algorithm;
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, Nonce, XSalsa20Poly1305};
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::error::{KeyFileError, WalletError};
use super::keyfile::KeyFile;
use super::seal::{self, KdfCost, PASSWORD_BYTES_MAX};

/// What every such file begins with.
pub(super) const START: &[u8] = b"$NACL";

/// What opening or writing such a file costs, whoever wrote it: 512 MiB of memory for some seconds.
pub(super) const COST: KdfCost = KdfCost {
    memory_kib: 512 * 1024,
    passes: 8,
    lanes: 1,
};

const SALT: [u8; 16] = [
    0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1,
];
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// A nonce for one new file.
pub(super) fn fresh_nonce(rng: &mut dyn CryptoRngCore) -> Result<[u8; NONCE_LEN], WalletError> {
    seal::random_bytes(rng)
}

/// Whether a file begins as such a file does.
pub(super) fn is_nacl(bytes: &[u8]) -> bool {
    bytes.starts_with(START)
}

/// Decrypts a key file. What can be refused without the key derivation is refused before it.
pub(super) fn open(bytes: &[u8], password: &str) -> Result<KeyFile, KeyFileError> {
    let (nonce, sealed) = split(bytes)?;
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(KeyFileError::WrongPasswordOrChanged);
    }
    KeyFile::parse(&decrypt(&*key_of(password)?, nonce, sealed)?)
}

/// Encrypts a key file under a password that is worth it.
pub(super) fn seal(file: &KeyFile, password: &str, nonce: &[u8; NONCE_LEN]) -> Result<Vec<u8>, KeyFileError> {
    seal::check_new_password(password)?;
    Ok(encrypt(&file.to_bytes(), &*key_of(password)?, nonce))
}

fn split(bytes: &[u8]) -> Result<(&[u8; NONCE_LEN], &[u8]), KeyFileError> {
    let damaged = KeyFileError::Damaged { what: "length" };
    let rest = bytes.strip_prefix(START).ok_or(damaged.clone())?;
    let (nonce, sealed) = rest.split_first_chunk().ok_or(damaged.clone())?;
    if sealed.len() <= TAG_LEN {
        return Err(damaged);
    }
    Ok((nonce, sealed))
}

fn key_of(password: &str) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    seal::derive_key(Algorithm::Argon2i, password, COST, &SALT)
}

fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; NONCE_LEN],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let opened = XSalsa20Poly1305::new(key.into()).decrypt(Nonce::from_slice(nonce), sealed);
    opened
        .map(Zeroizing::new)
        .map_err(|_| KeyFileError::WrongPasswordOrChanged)
}

fn encrypt(plain: &[u8], key: &[u8; 32], nonce: &[u8; NONCE_LEN]) -> Vec<u8> {
    let sealed = XSalsa20Poly1305::new(key.into())
        .encrypt(Nonce::from_slice(nonce), plain)
        .expect("a key file is far below the cipher's limit");
    [START, nonce, &sealed].concat()
}

#[cfg(test)]
mod tests {
    use super::super::exchange::tests::{Sample, encrypted_samples};
    use super::*;

    fn fixed<const LEN: usize>(sample: &Sample, field: &str) -> [u8; LEN] {
        hex::decode(sample.text(field)).unwrap().try_into().unwrap()
    }

    #[test]
    fn boxes_of_other_wallets_are_opened_and_made_byte_for_byte() {
        for sample in encrypted_samples() {
            let (key, nonce) = (fixed(&sample, "derived_key_hex"), fixed(&sample, "nonce_hex"));
            let (found, sealed) = split(&sample.bytes).unwrap();
            assert_eq!(*found, nonce);
            let plain = decrypt(&key, &nonce, sealed).unwrap();
            assert_eq!(*plain, sample.text("plaintext").as_bytes());
            assert_eq!(encrypt(&plain, &key, &nonce), sample.bytes);
        }
    }

    /// The only test that pays the full cost, once for each sample: seconds and half a gigabyte.
    #[test]
    fn passwords_of_other_wallets_give_their_keys() {
        for sample in encrypted_samples() {
            let key = key_of(sample.text("password")).unwrap();
            assert_eq!(*key, fixed(&sample, "derived_key_hex"));
        }
    }

    #[test]
    fn any_change_is_refused_and_a_cut_is_known_for_one() {
        let sample = encrypted_samples().remove(0);
        let key = fixed(&sample, "derived_key_hex");
        for position in START.len()..sample.bytes.len() {
            let mut bytes = sample.bytes.clone();
            bytes[position] ^= 1;
            let (nonce, sealed) = split(&bytes).unwrap();
            let refused = decrypt(&key, nonce, sealed).err();
            assert_eq!(
                refused,
                Some(KeyFileError::WrongPasswordOrChanged),
                "byte {position}"
            );
        }
        let shortest = START.len() + NONCE_LEN + TAG_LEN;
        for len in 0..=shortest {
            // No key derivation runs for these.
            let refused = open(&sample.bytes[..len], "any password").err();
            assert_eq!(
                refused,
                Some(KeyFileError::Damaged { what: "length" }),
                "cut to {len}"
            );
        }
    }

    #[test]
    fn weak_passwords_are_not_used_for_new_files() {
        let file = KeyFile::public(&[1; 32]);
        let refused = seal(&file, "seven77", &[0; NONCE_LEN]).err();
        assert!(matches!(
            refused,
            Some(KeyFileError::PasswordLength { chars: 7, .. })
        ));
    }
}
