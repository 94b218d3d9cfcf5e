//! What a validator asks one miner, and under which conditions.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Message, MessageError, at_most};
use crate::codec;
use crate::id::{Account, Digest, Hotkey, Netuid};
use crate::sign::{DrawInput, DrawProof, Purpose};

/// How tokens are chosen from logits. Parts per thousand and per million, so that the bytes are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Sampling {
    /// Temperature in thousandths; 0 is greedy.
    pub temperature_milli: u32,
    /// Smallest set of tokens whose probability reaches this many parts per million; 1,000,000 keeps all.
    pub top_p_ppm: u32,
    /// Only this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Seed of the noise: the same seed over the same logits gives the same token.
    pub seed: u64,
}

/// One question of a validator to one miner: what is asked, why this miner, how it may answer and until when.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Challenge {
    /// Which ledger: digest of its genesis.
    pub genesis: Digest,
    /// Which subnet.
    pub netuid: Netuid,
    /// Name of the task.
    pub task: String,
    /// Tempo of the subnet in which it is asked.
    pub tempo: u64,
    /// Hash of the block before the one that opened the tempo.
    pub beacon: Digest,
    /// Round of the validator within the tempo.
    pub round: u32,
    /// Proof that miner, item and seed were drawn and not chosen.
    pub draw: DrawProof,
    /// Which of the round's items this is.
    pub item_index: u32,
    /// The validator.
    pub sender: Hotkey,
    /// The one miner that is asked.
    pub receiver: Hotkey,
    /// Grows with every challenge of the sender; a miner accepts each value once.
    pub nonce: u64,
    /// When it was made, Unix milliseconds.
    pub issued_ms: u64,
    /// When the answer is too late, Unix milliseconds.
    pub deadline_ms: u64,
    /// The prompt.
    pub prompt: String,
    /// How to sample.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub tokens_max: u32,
    /// The model's own end of the text does not count before this many tokens.
    pub tokens_min: u32,
}

impl Challenge {
    /// Most bytes of a prompt: a long document, and small enough to read before it is believed.
    pub const PROMPT_BYTES_MAX: usize = 64 * 1024;
    /// Most bytes of a task's name.
    pub const TASK_BYTES_MAX: usize = 64;
    /// Most tokens an answer may be asked to have.
    pub const TOKENS_MAX: u32 = 4_096;
    /// Longest time between issue and deadline: ten minutes.
    pub const LIFETIME_MS_MAX: u64 = 600_000;

    /// What the draw of this challenge is over.
    #[must_use]
    pub const fn draw_input(&self) -> DrawInput {
        DrawInput {
            genesis: self.genesis,
            netuid: self.netuid,
            tempo: self.tempo,
            beacon: self.beacon,
            round: self.round,
        }
    }
}

/// A challenge without its prompt, which only the two who speak and their auditors need to read.
///
/// The digest of a challenge is the digest of this, so that a receipt can be checked against it by whoever does not
/// have the prompt.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ChallengeHeader {
    /// Which ledger: digest of its genesis.
    pub genesis: Digest,
    /// Which subnet.
    pub netuid: Netuid,
    /// Name of the task.
    pub task: String,
    /// Tempo of the subnet in which it was asked.
    pub tempo: u64,
    /// Hash of the block before the one that opened the tempo.
    pub beacon: Digest,
    /// Round of the validator within the tempo.
    pub round: u32,
    /// Proof that miner, item and seed were drawn and not chosen.
    pub draw: DrawProof,
    /// Which of the round's items this is.
    pub item_index: u32,
    /// The validator.
    pub sender: Hotkey,
    /// The one miner that was asked.
    pub receiver: Hotkey,
    /// Grows with every challenge of the sender.
    pub nonce: u64,
    /// When it was made, Unix milliseconds.
    pub issued_ms: u64,
    /// When the answer was too late, Unix milliseconds.
    pub deadline_ms: u64,
    /// Digest of the prompt.
    pub prompt: Digest,
    /// How to sample.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub tokens_max: u32,
    /// The model's own end of the text does not count before this many tokens.
    pub tokens_min: u32,
}

impl ChallengeHeader {
    /// What the draw of the challenge is over.
    #[must_use]
    pub const fn draw_input(&self) -> DrawInput {
        DrawInput {
            genesis: self.genesis,
            netuid: self.netuid,
            tempo: self.tempo,
            beacon: self.beacon,
            round: self.round,
        }
    }

    /// Digest of the challenge.
    #[must_use]
    pub fn digest(&self) -> Digest {
        codec::digest(Challenge::DIGEST_CONTEXT, &codec::encode(self))
    }
}

impl Challenge {
    /// The challenge without its prompt.
    #[must_use]
    pub fn header(&self) -> ChallengeHeader {
        ChallengeHeader {
            genesis: self.genesis,
            netuid: self.netuid,
            task: self.task.clone(),
            tempo: self.tempo,
            beacon: self.beacon,
            round: self.round,
            draw: self.draw,
            item_index: self.item_index,
            sender: self.sender,
            receiver: self.receiver,
            nonce: self.nonce,
            issued_ms: self.issued_ms,
            deadline_ms: self.deadline_ms,
            prompt: prompt_digest(&self.prompt),
            sampling: self.sampling,
            tokens_max: self.tokens_max,
            tokens_min: self.tokens_min,
        }
    }
}

fn prompt_digest(prompt: &str) -> Digest {
    codec::digest("agon 2026-11 prompt digest", prompt.as_bytes())
}

impl Message for Challenge {
    const PURPOSE: Purpose = Purpose::Challenge;
    const DIGEST_CONTEXT: &'static str = "agon 2026-11 challenge digest";
    const BYTES_MAX: usize = Self::PROMPT_BYTES_MAX + 1024;

    fn signer(&self) -> Account {
        self.sender.into()
    }

    fn digest_of(&self, _: &[u8]) -> Digest {
        self.header().digest()
    }

    fn validate(&self) -> Result<(), MessageError> {
        at_most("task bytes", self.task.len(), Self::TASK_BYTES_MAX)?;
        at_most("prompt bytes", self.prompt.len(), Self::PROMPT_BYTES_MAX)?;
        at_most("tokens_max", self.tokens_max as usize, Self::TOKENS_MAX as usize)?;
        at_most("tokens_min", self.tokens_min as usize, self.tokens_max as usize)?;
        at_most("top_p_ppm", self.sampling.top_p_ppm as usize, 1_000_000)?;
        at_most(
            "temperature_milli",
            self.sampling.temperature_milli as usize,
            10_000,
        )?;
        let lifetime_ms = self
            .deadline_ms
            .checked_sub(self.issued_ms)
            .ok_or(MessageError::Invalid {
                field: "deadline_ms",
                reason: format!("{} is before issued_ms {}", self.deadline_ms, self.issued_ms),
            })?;
        at_most(
            "lifetime_ms",
            lifetime_ms as usize,
            Self::LIFETIME_MS_MAX as usize,
        )
    }
}
