//! Calls as JSON, as people and programs write them for the operator's tool.
//!
//! JSON is never hashed or signed; the canonical bytes are [`codec`](crate::codec)'s. Keys are addresses, digests and
//! signatures hex, numbers numbers. An amount is a number of base units, or a text in whole units, as in `"12.5"`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::Amount;
use crate::codec;
use crate::id::{Account, BlockNumber, Coldkey, ConsensusKey, Digest, Hotkey, Netuid, Uid};
use crate::message::{Contest, Equivocation, EvidenceOpening, Forgery, Message, Transaction, WeightsCommit};
use crate::sign::{DrawProof, Signature};
use crate::timelock::{PulseSignature, SealedWeights};

/// Bytes of a draw's proof with the version byte.
const DRAW_PROOF_BYTES: usize = 1 + 32 + 64;
/// Most bytes of an equivocation's two votes.
const EQUIVOCATION_BYTES_MAX: usize = 4_096;

/// Reads a text without keeping it.
struct Text<T>(&'static str, PhantomData<T>);

impl<T> Visitor<'_> for Text<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($name:ident: $what:literal),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(Text($what, PhantomData))
            }
        })*
    };
}

macro_rules! as_number {
    ($($name:ident),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(to)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Deserialize::deserialize(from).map(Self)
            }
        })*
    };
}

as_text! {
    Account: "an address",
    Coldkey: "the address of a coldkey",
    Hotkey: "the address of a hotkey",
    ConsensusKey: "the address of a consensus key",
    Digest: "a digest of 64 hex digits",
    Signature: "a signature of 128 hex digits",
    PulseSignature: "a pulse of 96 hex digits"
}
as_number!(Netuid, Uid, BlockNumber);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.base_units())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct BaseUnitsOrUnits;

        impl Visitor<'_> for BaseUnitsOrUnits {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount: a number of base units, or a text in whole units such as \"12.5\"")
            }

            fn visit_u64<E: Error>(self, base_units: u64) -> Result<Amount, E> {
                Ok(Amount::from_base_units(base_units))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
        }

        from.deserialize_any(BaseUnitsOrUnits)
    }
}

impl Serialize for WeightsCommit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for WeightsCommit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Digest::deserialize(from).map(Self)
    }
}

/// Canonical bytes as hex: programs write them so, and nobody writes them by hand.
macro_rules! as_hex_of_bytes {
    ($($name:ident: $bytes_max:expr),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&hex::encode(codec::encode(self)))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                if text.len() > 2 * $bytes_max {
                    return Err(D::Error::custom(format_args!(
                        "{} has {} bytes at most",
                        stringify!($name),
                        $bytes_max
                    )));
                }
                let bytes = hex::decode(text).map_err(D::Error::custom)?;
                codec::decode(&bytes, $bytes_max).map_err(D::Error::custom)
            }
        })*
    };
}

as_hex_of_bytes!(
    DrawProof: DRAW_PROOF_BYTES,
    Contest: Transaction::BYTES_MAX,
    Equivocation: EQUIVOCATION_BYTES_MAX,
    EvidenceOpening: Transaction::BYTES_MAX,
    Forgery: Transaction::BYTES_MAX
);

impl Serialize for SealedWeights {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SealedWeights {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        hex::decode(text).map(Self).map_err(D::Error::custom)
    }
}

/// Thirty-two bytes as hex.
pub(crate) mod hex32 {
    use super::{Deserialize, Deserializer, Digest, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        Digest(*bytes).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        Digest::deserialize(from).map(|digest| digest.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::amount::Amount;
    use crate::id::{Coldkey, Netuid};
    use crate::message::Call;

    fn call(value: &serde_json::Value) -> Result<Call, String> {
        serde_json::from_str(&value.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn calls_come_back_as_they_were_written() {
        let (to, amount) = (Coldkey([7; 32]), Amount::from_base_units(1_500_000_000));
        let transfer = Call::Transfer { to, amount };
        let value = json!({ "transfer": { "to": to.to_string(), "amount": 1_500_000_000 } });
        assert_eq!(serde_json::to_value(&transfer).ok(), Some(value.clone()));
        assert_eq!(call(&value), Ok(transfer.clone()));
        let in_units = json!({ "transfer": { "to": to.to_string(), "amount": "1.5" } });
        assert_eq!(call(&in_units), Ok(transfer));
        let start = json!({ "start_subnet": { "netuid": 1 } });
        assert_eq!(call(&start), Ok(Call::StartSubnet { netuid: Netuid(1) }));
    }

    #[track_caller]
    fn check_refused(value: &serde_json::Value, words: &str) {
        let refusal = call(value).unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }

    #[test]
    fn what_is_no_call_is_refused_by_what_is_wrong_with_it() {
        check_refused(
            &json!({ "pay": {} }),
            "unknown variant `pay`, expected one of `transfer`",
        );
        check_refused(&json!({ "start_subnet": {} }), "missing field `netuid`");
        check_refused(
            &json!({ "start_subnet": { "netuid": 1, "uid": 2 } }),
            "unknown field `uid`",
        );
        check_refused(&json!({ "start_subnet": { "netuid": 65_536 } }), "65536");
        let to = Coldkey([7; 32]).to_string();
        check_refused(&json!({ "transfer": { "to": "5Grw", "amount": 1 } }), "address");
        check_refused(&json!({ "transfer": { "to": to, "amount": -1 } }), "an amount");
        check_refused(
            &json!({ "transfer": { "to": to, "amount": "1,5" } }),
            "not an amount",
        );
    }
}
