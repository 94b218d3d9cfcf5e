//! Signed messages: their bytes and the signature beside them.

use super::{signed, v1};
use crate::message::{self, MessageError, Signed};

impl From<&Signed<message::Challenge>> for v1::AskRequest {
    fn from(signed: &Signed<message::Challenge>) -> Self {
        Self {
            challenge: signed.bytes().to_vec(),
            signature: signed.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::AskRequest> for Signed<message::Challenge> {
    type Error = MessageError;

    fn try_from(wire: v1::AskRequest) -> Result<Self, MessageError> {
        signed(wire.challenge, &wire.signature)
    }
}

impl From<&Signed<message::Receipt>> for v1::SignedReceipt {
    fn from(signed: &Signed<message::Receipt>) -> Self {
        Self {
            receipt: signed.bytes().to_vec(),
            signature: signed.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::SignedReceipt> for Signed<message::Receipt> {
    type Error = MessageError;

    fn try_from(wire: v1::SignedReceipt) -> Result<Self, MessageError> {
        signed(wire.receipt, &wire.signature)
    }
}

impl From<&Signed<message::Transaction>> for v1::SubmitRequest {
    fn from(signed: &Signed<message::Transaction>) -> Self {
        Self {
            transaction: signed.bytes().to_vec(),
            signature: signed.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::SubmitRequest> for Signed<message::Transaction> {
    type Error = MessageError;

    fn try_from(wire: v1::SubmitRequest) -> Result<Self, MessageError> {
        signed(wire.transaction, &wire.signature)
    }
}
