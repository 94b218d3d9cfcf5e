//! What is asked of an engine and what comes back, as plain data.

use std::time::Instant;

use thiserror::Error;

use crate::code::Code;

/// One text to continue.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The text to continue. Special tokens are added as the model's `tokenizer.json` says.
    pub prompt: String,
    /// Tokens to generate at most. The room left in the context lowers it.
    pub tokens_max: u32,
    /// The text cannot end by itself before this many tokens.
    pub tokens_min: u32,
    /// How each next token is chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; the answer stops before the first that appears.
    pub stop: Vec<String>,
    /// When to stop, finished or not. What was made until then is delivered.
    pub deadline: Option<Instant>,
    /// Who asks; `None` for the machine's owner, who has the weight of all askers together and may fill the queue.
    pub asker: Option<Asker>,
}

/// Who asks, and how much of the machine it has a claim to while others ask as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Tells askers apart; means nothing else.
    pub key: [u8; 32],
    /// Its share, parts per million: of all stake that may ask, for example.
    pub share_ppm: u32,
}

impl Default for Request {
    /// An empty prompt, up to 256 tokens, greedy, no stop texts, no deadline, from the machine's owner.
    fn default() -> Self {
        Request {
            prompt: String::new(),
            tokens_max: 256,
            tokens_min: 0,
            sampling: Sampling::default(),
            stop: Vec::new(),
            deadline: None,
            asker: None,
        }
    }
}

/// How each next token is chosen from the model's logits: temperature, then `top_k`, then `top_p`, then a draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits. 0 takes the most likely token and makes the other fields void.
    pub temperature: f32,
    /// Draws from the smallest set of most likely tokens whose probabilities reach this sum; in (0, 1], 1 is off.
    pub top_p: f32,
    /// Draws from this many most likely tokens; 0 is off.
    pub top_k: u32,
    /// Fixes the draw: same logits, same seed, same tokens, whoever shares the batch.
    pub seed: u64,
}

impl Default for Sampling {
    /// The most likely token, always.
    fn default() -> Self {
        Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            seed: 0,
        }
    }
}

/// One thing that happens to a request. After [`Event::Done`] or [`Event::Failed`] nothing more comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The next piece of the answer, never empty. It continues the prompt's text, so it may begin with a space. No
    /// piece splits a character, and no part of a stop text is ever among the pieces.
    Text(String),
    /// The answer is complete.
    Done(Finish, Trace),
    /// The answer will not be completed; the pieces so far stand.
    Failed(GenerateError),
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// What ended it.
    pub reason: FinishReason,
    /// Tokens the prompt came to.
    pub prompt_tokens: u32,
    /// Tokens generated; the end-of-text token is not counted, tokens of a stop text are.
    pub tokens: u32,
}

/// What an answer was made of, token by token: what a verifier checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Every token that was chosen, in order, the end of the text included.
    pub tokens: Vec<u32>,
    /// The activation code of each token: of the state that it was chosen from.
    pub codes: Vec<Code>,
}

/// What ended an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said that the text ends here.
    EndOfText,
    /// A stop text appeared.
    Stop,
    /// `tokens_max` or the context was used up.
    Length,
    /// The deadline passed.
    Deadline,
}

/// A whole answer, for callers that do not stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All pieces, joined.
    pub text: String,
    /// How it ended.
    pub finish: Finish,
    /// What it was made of.
    pub trace: Trace,
}

/// Why an accepted request was not answered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GenerateError {
    /// The engine was shut down, or its thread died, before the answer was complete.
    #[error("the engine stopped before the answer was complete")]
    EngineStopped,
    /// It waited in a full queue, and requests came that go before it. Worth a retry later or elsewhere.
    #[error("the queue is full: {limit} requests are waiting that go first")]
    Displaced {
        /// Requests that may wait.
        limit: usize,
    },
    /// libtorch refused an operation, for want of memory for example.
    #[error("libtorch failed: {message}")]
    Torch {
        /// libtorch's own words, first line.
        message: String,
    },
    /// The model produced no usable logits: a value was not a number, or every one was minus infinity.
    #[error("the model's logits are not numbers at answer token {position}")]
    Logits {
        /// Index of the token that could not be chosen, from 0.
        position: u32,
    },
    /// The tokenizer could not turn tokens back into text.
    #[error("decode the answer's tokens: {message}")]
    Decode {
        /// The tokenizer's own words.
        message: String,
    },
}
