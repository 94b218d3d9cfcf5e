//! SS58: how a public key is written for people.
//!
//! An address is the base58 (Bitcoin alphabet) of a prefix that names a network format, the 32 bytes
//! of the key, and two bytes of checksum: the first of BLAKE2b-512 over `"SS58PRE"`, prefix and key.
//! Formats up to 63 have a prefix of one byte, those up to 16383 one of two. Agon's is [`FORMAT`],
//! the same that Bittensor's users know; addresses of other formats are recognised and refused by
//! name, so that nobody pays to an address that was meant for another chain.
//!
//! This module does not say whether a key lies on the curve: an address is 32 bytes and no more.

use blake2::{Blake2b512, Digest};
use thiserror::Error;

/// The format of all addresses of this project: 42, "generic Substrate".
pub const FORMAT: u16 = 42;

/// The largest format that a prefix of two bytes can hold (14 bits).
pub const FORMAT_MAX: u16 = 16_383;

/// The longest text that is looked at: 36 bytes take at most 50 letters.
pub const ADDRESS_CHARS_MAX: usize = 50;

const KEY_LEN: usize = 32;
const CHECKSUM_LEN: usize = 2;
const BYTES_MAX: usize = 2 + KEY_LEN + CHECKSUM_LEN;
const CHECKSUM_CONTEXT: &[u8] = b"SS58PRE";

/// Why a text is not an address, or not one of ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ss58Error {
    /// Nothing was given.
    #[error("the address is empty")]
    Empty,
    /// The text cannot be an address of any format.
    #[error("an address has at most {chars_max} letters, this text has {chars}")]
    TooLong {
        /// Letters given (bytes, where the text is not ASCII).
        chars: usize,
        /// Letters allowed.
        chars_max: usize,
    },
    /// A letter outside the base58 alphabet.
    #[error("{letter:?} at position {position} is not a base58 letter")]
    Letter {
        /// The letter.
        letter: char,
        /// Its place, in bytes, counted from 0.
        position: usize,
    },
    /// The decoded bytes are not prefix, 32 bytes and checksum.
    #[error("an address of this format has {expected} bytes, this one has {len}")]
    Length {
        /// Bytes found.
        len: usize,
        /// Bytes that the prefix found calls for.
        expected: usize,
    },
    /// The first bytes name no format.
    #[error("prefix byte {first} does not begin an address")]
    Prefix {
        /// The first byte.
        first: u8,
    },
    /// The checksum does not match: most likely a typing error.
    #[error("checksum is {found:02x?} where the address calls for {expected:02x?}; check for a typing error")]
    Checksum {
        /// The two bytes in the address.
        found: [u8; 2],
        /// The two bytes that its contents call for.
        expected: [u8; 2],
    },
    /// A good address of another network.
    #[error("the address has format {found}, addresses here have format {expected}")]
    Format {
        /// The format found.
        found: u16,
        /// The format wanted, [`FORMAT`].
        expected: u16,
    },
    /// A format that does not exist, asked for when encoding.
    #[error("format {format} is above the largest, {format_max}")]
    FormatTooLarge {
        /// The format asked for.
        format: u16,
        /// The largest, [`FORMAT_MAX`].
        format_max: u16,
    },
}

/// Writes a public key as an address of [`FORMAT`].
pub fn encode(key: &[u8; 32]) -> String {
    assemble(FORMAT, key)
}

/// Writes a public key as an address of the given format.
///
/// # Errors
///
/// [`Ss58Error::FormatTooLarge`] above [`FORMAT_MAX`].
pub fn encode_with(format: u16, key: &[u8; 32]) -> Result<String, Ss58Error> {
    if format > FORMAT_MAX {
        return Err(Ss58Error::FormatTooLarge {
            format,
            format_max: FORMAT_MAX,
        });
    }
    Ok(assemble(format, key))
}

/// Reads the public key out of an address of [`FORMAT`].
///
/// # Errors
///
/// [`Ss58Error::Format`] when the address is good but of another network; otherwise as
/// [`decode_any`].
pub fn decode(address: &str) -> Result<[u8; 32], Ss58Error> {
    let (found, key) = decode_any(address)?;
    if found != FORMAT {
        return Err(Ss58Error::Format {
            found,
            expected: FORMAT,
        });
    }
    Ok(key)
}

/// Reads format and public key out of an address of any format.
///
/// # Errors
///
/// Any [`Ss58Error`] but `Format` and `FormatTooLarge`.
pub fn decode_any(address: &str) -> Result<(u16, [u8; 32]), Ss58Error> {
    let (bytes, len) = decode_base58(address)?;
    let bytes = &bytes[..len];
    let (format, prefix_len) = split_prefix(bytes)?;
    let expected = prefix_len + KEY_LEN + CHECKSUM_LEN;
    if len != expected {
        return Err(Ss58Error::Length { len, expected });
    }
    let (body, found) = bytes.split_at(prefix_len + KEY_LEN);
    let expected = checksum(body);
    if found != expected {
        return Err(Ss58Error::Checksum {
            found: [found[0], found[1]],
            expected,
        });
    }
    let mut key = [0; KEY_LEN];
    key.copy_from_slice(&body[prefix_len..]);
    Ok((format, key))
}

fn assemble(format: u16, key: &[u8; 32]) -> String {
    let mut bytes = prefix(format);
    bytes.extend_from_slice(key);
    let checksum = checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    bs58::encode(bytes).into_string()
}

fn decode_base58(address: &str) -> Result<([u8; BYTES_MAX], usize), Ss58Error> {
    let chars = address.len();
    if chars == 0 {
        return Err(Ss58Error::Empty);
    }
    if chars > ADDRESS_CHARS_MAX {
        return Err(Ss58Error::TooLong {
            chars,
            chars_max: ADDRESS_CHARS_MAX,
        });
    }
    // 50 base58 letters can make 37 bytes; room for as many bytes as letters covers leading ones.
    let mut buffer = [0; ADDRESS_CHARS_MAX];
    let len = bs58::decode(address)
        .onto(&mut buffer[..])
        .map_err(|error| letter_error(address, &error))?;
    if len > BYTES_MAX {
        return Err(Ss58Error::Length {
            len,
            expected: BYTES_MAX,
        });
    }
    let mut bytes = [0; BYTES_MAX];
    bytes[..len].copy_from_slice(&buffer[..len]);
    Ok((bytes, len))
}

fn letter_error(address: &str, error: &bs58::decode::Error) -> Ss58Error {
    use bs58::decode::Error;
    let position = match error {
        Error::InvalidCharacter { index, .. } | Error::NonAsciiCharacter { index } => *index,
        _ => 0,
    };
    let letter = address
        .get(position..)
        .and_then(|rest| rest.chars().next())
        .unwrap_or('\u{fffd}');
    Ss58Error::Letter { letter, position }
}

/// The prefix of a format: its number below 64, else 14 bits spread over two bytes as the format's
/// definition has it (the low six of the first byte hold bits 2 to 7, the second byte bits 0 and 1
/// on top and 8 to 13 below).
fn prefix(format: u16) -> Vec<u8> {
    let [low, high] = format.to_le_bytes();
    if format < 64 {
        vec![low]
    } else {
        vec![(low >> 2) | 0b0100_0000, high | (low << 6)]
    }
}

/// Format and length of the prefix that `bytes` begin with; a two-byte prefix of a format that fits
/// in one is refused, so that one key has one address per format.
fn split_prefix(bytes: &[u8]) -> Result<(u16, usize), Ss58Error> {
    match *bytes {
        [first @ 0..=63, ..] => Ok((u16::from(first), 1)),
        [first @ 64..=127, second, ..] => {
            let low = (first << 2) | (second >> 6);
            let format = u16::from_le_bytes([low, second & 0b0011_1111]);
            if format < 64 {
                Err(Ss58Error::Prefix { first })
            } else {
                Ok((format, 2))
            }
        }
        [first, ..] => Err(Ss58Error::Prefix { first }),
        [] => Err(Ss58Error::Empty),
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let hash = Blake2b512::new()
        .chain_update(CHECKSUM_CONTEXT)
        .chain_update(body)
        .finalize();
    [hash[0], hash[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: [u8; 32] = [
        0xd4, 0x35, 0x93, 0xc7, 0x15, 0xfd, 0xd3, 0x1c, 0x61, 0x14, 0x1a, 0xbd, 0x04, 0xa9, 0x9f, 0xd6, 0x82,
        0x2c, 0x85, 0x58, 0x85, 0x4c, 0xcd, 0xe3, 0x9a, 0x56, 0x84, 0xe7, 0xa5, 0x6d, 0xa2, 0x7d,
    ];

    #[track_caller]
    fn check_refused(address: &str, expected: Ss58Error) {
        assert_eq!(decode(address), Err(expected));
    }

    #[test]
    fn published_address_of_alice_reads_and_writes() {
        let address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        assert_eq!(encode(&ALICE), address);
        assert_eq!(decode(address), Ok(ALICE));
    }

    #[test]
    fn every_format_reads_back_as_written() {
        for format in 0..=FORMAT_MAX {
            let address = encode_with(format, &ALICE).unwrap();
            assert_eq!(decode_any(&address), Ok((format, ALICE)), "format {format}");
        }
        assert_eq!(
            encode_with(FORMAT_MAX + 1, &ALICE),
            Err(Ss58Error::FormatTooLarge {
                format: FORMAT_MAX + 1,
                format_max: FORMAT_MAX
            })
        );
    }

    #[test]
    fn good_address_of_another_network_is_refused_by_name() {
        check_refused(
            "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
            Ss58Error::Format {
                found: 0,
                expected: 42,
            },
        );
        check_refused(
            "cEaNSpz4PxFcZ7nT1VEKrKewH67rfx6MfcM6yKojyyPz7qaqp",
            Ss58Error::Format {
                found: 64,
                expected: 42,
            },
        );
    }

    #[test]
    fn malformed_text_is_refused_with_its_place() {
        check_refused("", Ss58Error::Empty);
        check_refused(
            &"1".repeat(51),
            Ss58Error::TooLong {
                chars: 51,
                chars_max: 50,
            },
        );
        check_refused(
            "5Grw0aEF",
            Ss58Error::Letter {
                letter: '0',
                position: 4,
            },
        );
        check_refused(
            "5Gräw",
            Ss58Error::Letter {
                letter: 'ä',
                position: 3,
            },
        );
        check_refused("2", Ss58Error::Length { len: 1, expected: 35 });
        check_refused(
            &"1".repeat(50),
            Ss58Error::Length {
                len: 50,
                expected: 36,
            },
        );
    }

    #[test]
    fn one_changed_letter_is_caught_by_the_checksum() {
        let error = decode("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQa").unwrap_err();
        assert!(matches!(error, Ss58Error::Checksum { .. }), "{error}");
    }

    #[test]
    fn two_byte_prefix_of_a_small_format_is_refused() {
        // Format 42 written as two bytes: 0x4a, 0x80.
        let mut bytes = vec![0x4a, 0x80];
        bytes.extend_from_slice(&ALICE);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        check_refused(
            &bs58::encode(bytes).into_string(),
            Ss58Error::Prefix { first: 0x4a },
        );
    }

    #[test]
    fn every_flipped_bit_is_refused_or_another_key() {
        let bytes = bs58::decode(encode(&ALICE)).into_vec().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(
                decode(&bs58::encode(flipped).into_string()),
                Ok(ALICE),
                "bit {bit}"
            );
        }
    }
}
