//! Canonical bytes of everything that is hashed, signed or stored.
//!
//! A value is one version byte followed by its borsh encoding. Borsh has one byte string per value and refuses
//! trailing bytes, so two nodes that agree on a value agree on its digest. Protobuf carries these bytes on the
//! wire and is itself never hashed.

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::id::Digest;

/// Version of the canonical encoding; the first byte of every encoded value.
pub const VERSION: u8 = 1;

/// Why bytes are not a canonical value.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// More bytes than such a value may have.
    #[error("{bytes} bytes, {bytes_max} at most")]
    TooLong {
        /// Bytes that came.
        bytes: usize,
        /// Bytes that are allowed.
        bytes_max: usize,
    },
    /// Nothing at all.
    #[error("no bytes")]
    Empty,
    /// Written by a version this one does not know.
    #[error("encoding version {found}, this build reads {VERSION}")]
    Version {
        /// The version byte that came.
        found: u8,
    },
    /// Not the borsh encoding of the expected type, or followed by more bytes.
    #[error("malformed: {reason}")]
    Malformed {
        /// What borsh said.
        reason: String,
    },
}

/// Encodes `value` canonically.
#[must_use]
pub fn encode<T: BorshSerialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    value
        .serialize(&mut bytes)
        .expect("writing to a vector does not fail");
    bytes
}

/// Decodes a canonical value of at most `bytes_max` bytes, version byte included.
///
/// # Errors
///
/// [`CodecError`] when the bytes are too many, of another version, malformed or followed by more.
pub fn decode<T: BorshDeserialize>(bytes: &[u8], bytes_max: usize) -> Result<T, CodecError> {
    if bytes.len() > bytes_max {
        return Err(CodecError::TooLong {
            bytes: bytes.len(),
            bytes_max,
        });
    }
    match bytes.split_first() {
        None => Err(CodecError::Empty),
        Some((&VERSION, body)) => T::try_from_slice(body).map_err(|error| CodecError::Malformed {
            reason: error.to_string(),
        }),
        Some((&found, _)) => Err(CodecError::Version { found }),
    }
}

/// BLAKE3 digest of `bytes` in the domain `context`.
///
/// Contexts are constants of the form `agon <date> <what>`, as BLAKE3's key derivation asks; two domains never
/// share a digest.
#[must_use]
pub fn digest(context: &'static str, bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(bytes);
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_round_trip() {
        let bytes = encode(&(7u16, String::from("seven")));
        assert_eq!(
            decode::<(u16, String)>(&bytes, 64),
            Ok((7, String::from("seven")))
        );
    }

    #[test]
    fn anything_but_the_one_encoding_is_refused() {
        let bytes = encode(&7u16);
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(
            decode::<u16>(&bytes, 2),
            Err(CodecError::TooLong {
                bytes: 3,
                bytes_max: 2
            })
        );
        assert_eq!(decode::<u16>(&[], 64), Err(CodecError::Empty));
        assert_eq!(
            decode::<u16>(&[2, 7, 0], 64),
            Err(CodecError::Version { found: 2 })
        );
        assert!(matches!(
            decode::<u16>(&longer, 64),
            Err(CodecError::Malformed { .. })
        ));
        assert!(matches!(
            decode::<u16>(&bytes[..2], 64),
            Err(CodecError::Malformed { .. })
        ));
    }

    #[test]
    fn domains_do_not_share_digests() {
        assert_ne!(digest("agon 2026 a", b"x"), digest("agon 2026 b", b"x"));
    }
}
