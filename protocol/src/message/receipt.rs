//! What a miner signs for each answer: voucher, evidence and audit leaf at once.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Message, MessageError, Trace, at_most};
use crate::codec;
use crate::id::{Account, Digest, Hotkey};
use crate::sign::Purpose;

/// Digest of an answer's text, as a receipt names it.
#[must_use]
pub fn answer_digest(text: &str) -> Digest {
    codec::digest("agon 2026-11 answer digest", text.as_bytes())
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum FinishReason {
    /// The model said so.
    EndOfText,
    /// A stop string came.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The deadline came first.
    Deadline,
}

/// In what the answer was computed; two environments may differ in the last bits of their logits.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Environment {
    /// Number type of the model's parameters, as in `f32`.
    pub dtype: String,
    /// Device, as in `cpu` or the name of the GPU.
    pub device: String,
    /// Version of libtorch.
    pub libtorch: String,
}

/// A miner's signed statement about one answer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// Digest of the challenge that was answered.
    pub challenge: Digest,
    /// Digest of the answer's text; see [`answer_digest`].
    pub answer: Digest,
    /// The miner.
    pub miner: Hotkey,
    /// Tokens of the prompt, as the model counts them.
    pub prompt_tokens: u32,
    /// Tokens of the answer's text.
    pub answer_tokens: u32,
    /// What the answer was made of.
    pub trace: Trace,
    /// When the challenge was admitted, Unix milliseconds by the miner's clock.
    pub received_ms: u64,
    /// When the first token was made.
    pub first_token_ms: u64,
    /// When the last token was made.
    pub finished_ms: u64,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// Digest of the model that answered.
    pub model: Digest,
    /// In what it was computed.
    pub environment: Environment,
}

impl Receipt {
    /// Most bytes of each text of the environment.
    pub const ENVIRONMENT_BYTES_MAX: usize = 64;
}

impl Message for Receipt {
    const PURPOSE: Purpose = Purpose::Receipt;
    const DIGEST_CONTEXT: &'static str = "agon 2026-11 receipt digest";
    const BYTES_MAX: usize = 1024;

    fn signer(&self) -> Account {
        self.miner.into()
    }

    fn validate(&self) -> Result<(), MessageError> {
        let environment = &self.environment;
        at_most(
            "dtype bytes",
            environment.dtype.len(),
            Self::ENVIRONMENT_BYTES_MAX,
        )?;
        at_most(
            "device bytes",
            environment.device.len(),
            Self::ENVIRONMENT_BYTES_MAX,
        )?;
        at_most(
            "libtorch bytes",
            environment.libtorch.len(),
            Self::ENVIRONMENT_BYTES_MAX,
        )?;
        if self.received_ms <= self.first_token_ms && self.first_token_ms <= self.finished_ms {
            return Ok(());
        }
        Err(MessageError::Invalid {
            field: "times",
            reason: format!(
                "received {}, first token {}, finished {} are not in order",
                self.received_ms, self.first_token_ms, self.finished_ms
            ),
        })
    }
}
