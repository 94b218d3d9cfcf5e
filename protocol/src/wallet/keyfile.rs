//! One key as a JSON object, in the layout Bittensor's users know.
//!
//! Fields: `accountId` and `publicKey` (0x and 64 hex digits, the same value), `privateKey` (0x and 128
//! digits: scalar and nonce seed), `secretPhrase` (words), `secretSeed` (0x and 64 digits),
//! `ss58Address`, `cryptoType` (1 for sr25519, absent in older files). Each may be absent or null: a
//! public file has no secret, a key made by a derivation path has neither words nor seed. Unknown
//! fields are ignored. `unprotected` is ours: it marks a coldkey that was left plain on purpose.
//!
//! All that a file says must belong to one key, or it is refused.
//!
//! One known fault of other wallets is borne: a seed whose 32 bytes happen to be UTF-8 was written as these
//! letters instead of hex. It is read where the file also names the public key that it leads to.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::error::KeyFileError;
use super::nacl;
use crate::derive::{Mnemonic, SecretUri};
use crate::sign::Keypair;
use crate::ss58;

/// The crypto type of sr25519.
const SR25519: u8 = 1;

/// More than a file takes: all fields with 24 words are below 900 bytes.
const JSON_BYTES_MAX: usize = 4096;

/// What a key file holds.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    unprotected: Option<bool>,
    account_id: Option<String>,
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_phrase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<String>,
    ss58_address: Option<String>,
    crypto_type: Option<u8>,
}

impl KeyFile {
    /// The public half of a key.
    pub(super) fn public(key: &[u8; 32]) -> Self {
        let hex = prefixed_hex(key);
        Self {
            unprotected: None,
            account_id: Some(hex.clone()),
            public_key: Some(hex),
            private_key: None,
            secret_phrase: None,
            secret_seed: None,
            ss58_address: Some(ss58::encode(key)),
            crypto_type: Some(SR25519),
        }
    }

    /// The whole key of a secret URI, with its words and seed where these alone lead back to it.
    pub(super) fn secret(uri: &SecretUri) -> Self {
        let pair = uri.keypair();
        let mut file = Self::public(&pair.public());
        file.private_key = Some(prefixed_hex(&pair.secret_bytes()[..]));
        file.secret_phrase = uri.mnemonic().map(|words| String::from(words.phrase().as_str()));
        file.secret_seed = uri.seed().map(|seed| prefixed_hex(&seed[..]));
        file
    }

    /// The whole key with every field that follows from it; words and seed stay where they were given.
    pub(super) fn completed(&self) -> Result<Self, KeyFileError> {
        let pair = self.keypair()?;
        let mut file = Self::public(&pair.public());
        file.private_key = Some(prefixed_hex(&pair.secret_bytes()[..]));
        file.secret_phrase.clone_from(&self.secret_phrase);
        file.secret_seed = self.seed(true)?.map(|seed| prefixed_hex(&seed[..]));
        Ok(file)
    }

    /// Marks a coldkey as plain on purpose.
    pub(super) fn marked_unprotected(mut self) -> Self {
        self.unprotected = Some(true);
        self
    }

    /// Whether the file says that it is plain on purpose.
    pub(super) fn is_marked_unprotected(&self) -> bool {
        self.unprotected == Some(true)
    }

    /// Names the encryptions of other wallets by how their files begin.
    pub(super) fn refuse_foreign(bytes: &[u8]) -> Result<(), KeyFileError> {
        if bytes.starts_with(nacl::START) {
            let format = "Bittensor's NaCl secretbox";
            return Err(KeyFileError::Foreign { format });
        }
        let older: [(&[u8], &str); 2] = [(b"$ANSIBLE_VAULT", "Ansible Vault"), (b"gAAAAA", "Fernet")];
        match older.into_iter().find(|(start, _)| bytes.starts_with(start)) {
            Some((_, format)) => Err(KeyFileError::Older { format }),
            None => Ok(()),
        }
    }

    /// Reads the JSON form.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        Self::refuse_foreign(bytes)?;
        // The parser's own message may quote the file, so only the place is kept.
        serde_json::from_slice(bytes).map_err(|error| KeyFileError::Json {
            line: error.line(),
            column: error.column(),
        })
    }

    /// Writes the JSON form.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(JSON_BYTES_MAX));
        serde_json::to_writer(&mut *bytes, self).expect("strings and numbers always have a JSON form");
        bytes
    }

    /// The public key, by whatever names it. No secret is touched.
    pub(super) fn public_key(&self) -> Result<[u8; 32], KeyFileError> {
        self.check_crypto_type()?;
        let mut agreed = Agreed::default();
        self.agree_on_public(&mut agreed)?;
        agreed.key().ok_or(KeyFileError::NoPublicKey)
    }

    /// The key, after checking that everything in the file leads to it.
    pub(super) fn keypair(&self) -> Result<Keypair, KeyFileError> {
        self.check_crypto_type()?;
        let mut agreed = Agreed::default();
        self.agree_on_public(&mut agreed)?;
        let candidates = [
            ("secretPhrase", self.pair_of_phrase()?),
            ("secretSeed", self.pair_of_seed(agreed.key().is_some())?),
            ("privateKey", self.pair_of_private_key()?),
        ];
        let mut first = None;
        for (field, pair) in candidates {
            let Some(pair) = pair else { continue };
            agreed.add(field, pair.public())?;
            first.get_or_insert(pair);
        }
        first.ok_or(KeyFileError::NoSecret)
    }

    fn check_crypto_type(&self) -> Result<(), KeyFileError> {
        match self.crypto_type {
            None | Some(SR25519) => Ok(()),
            Some(found) => Err(KeyFileError::CryptoType {
                found,
                known: SR25519,
            }),
        }
    }

    fn agree_on_public(&self, agreed: &mut Agreed) -> Result<(), KeyFileError> {
        for (field, value) in [("accountId", &self.account_id), ("publicKey", &self.public_key)] {
            if let Some(text) = value {
                agreed.add(field, *parse_hex(field, text)?)?;
            }
        }
        if let Some(text) = &self.ss58_address {
            let key = ss58::decode(text).map_err(|_| KeyFileError::Field { field: "ss58Address" })?;
            agreed.add("ss58Address", key)?;
        }
        Ok(())
    }

    fn pair_of_phrase(&self) -> Result<Option<Keypair>, KeyFileError> {
        let Some(text) = &self.secret_phrase else {
            return Ok(None);
        };
        let words = Mnemonic::parse(text).map_err(|_| KeyFileError::Field {
            field: "secretPhrase",
        })?;
        Ok(Some(Keypair::from_mini_secret(&words.seed(""))))
    }

    fn pair_of_seed(&self, names_public_key: bool) -> Result<Option<Keypair>, KeyFileError> {
        let seed = self.seed(names_public_key)?;
        Ok(seed.map(|seed| Keypair::from_mini_secret(&seed)))
    }

    /// The seed, from hex digits, or from raw letters where something else vouches for them.
    fn seed(&self, may_be_raw: bool) -> Result<Option<Zeroizing<[u8; 32]>>, KeyFileError> {
        let Some(text) = &self.secret_seed else {
            return Ok(None);
        };
        let raw = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        match <[u8; 32]>::try_from(raw) {
            Ok(raw) if may_be_raw => Ok(Some(Zeroizing::new(raw))),
            _ => parse_hex("secretSeed", text).map(Some),
        }
    }

    fn pair_of_private_key(&self) -> Result<Option<Keypair>, KeyFileError> {
        let Some(text) = &self.private_key else {
            return Ok(None);
        };
        let pair = Keypair::from_secret_bytes(&*parse_hex("privateKey", text)?);
        Ok(Some(
            pair.map_err(|_| KeyFileError::Field { field: "privateKey" })?,
        ))
    }
}

/// The one key that all fields looked at so far belong to, and the field that said so first.
#[derive(Default)]
struct Agreed(Option<(&'static str, [u8; 32])>);

impl Agreed {
    fn add(&mut self, field: &'static str, key: [u8; 32]) -> Result<(), KeyFileError> {
        let (first, known) = *self.0.get_or_insert((field, key));
        if known != key {
            return Err(KeyFileError::Contradiction { first, second: field });
        }
        Ok(())
    }

    fn key(&self) -> Option<[u8; 32]> {
        self.0.map(|(_, key)| key)
    }
}

fn prefixed_hex(bytes: &[u8]) -> String {
    // Filled in place, so that no second copy of a secret is left behind.
    let mut text = vec![0; 2 + 2 * bytes.len()];
    text[..2].copy_from_slice(b"0x");
    hex::encode_to_slice(bytes, &mut text[2..]).expect("the room is two digits per byte");
    String::from_utf8(text).expect("hex digits are ASCII")
}

fn parse_hex<const LEN: usize>(
    field: &'static str,
    text: &str,
) -> Result<Zeroizing<[u8; LEN]>, KeyFileError> {
    let mut bytes = Zeroizing::new([0; LEN]);
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, &mut bytes[..]).map_err(|_| KeyFileError::Field { field })?;
    Ok(bytes)
}
