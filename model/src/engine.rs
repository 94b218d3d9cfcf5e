//! A model on a thread of its own, shared by everyone who has a handle.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use thiserror::Error;
use tokenizers::Tokenizer;

use crate::backend::Backend;
use crate::channel::{Generation, events};
use crate::chat::{ChatError, ChatOptions, ChatTemplate, Message};
use crate::load::{LoadError, LoadOptions, LoadProgress, Loaded, ModelInfo, load};
use crate::queue::{ClosesAtEnd, Phase, Queue};
use crate::request::{Event, Finish, FinishReason, Request, Sampling, Trace};
use crate::running::Job;
use crate::schedule::Schedule;
use crate::slots::SlotLayout;

/// Stop texts in one request, at most: each is looked for at every token.
const STOPS_MAX: usize = 16;
/// Bytes of one stop text, at most.
const STOP_BYTES_MAX: usize = 256;
/// Bytes of prompt for each token of context, at most: no tokenizer in use packs more into a token, and a prompt
/// beyond it would be too long in tokens anyway.
const PROMPT_BYTES_PER_TOKEN: usize = 64;
/// See [`piece_tokens`].
const CPU_PIECE_TOKENS: usize = 64;
const CUDA_PIECE_TOKENS: usize = 256;

/// A loaded model that answers requests. Handles are cheap to clone.
///
/// Requests that are under way at the same time go through the model together. When the last handle is dropped,
/// what was accepted is still answered and the thread ends after it.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What an engine is doing and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Requests that hold a slot.
    pub active: usize,
    /// Requests that wait for one.
    pub queued: usize,
    /// Askers that have requests waiting; those who did not say who they are count as one.
    pub askers: usize,
    /// Steps in which running requests advanced by one token, together.
    pub steps: u64,
    /// Requests summed over those steps: divided by `steps`, the mean size of a batch.
    pub step_rows: u64,
    /// Tokens generated.
    pub tokens: u64,
    /// Tokens of prompts that went through the model.
    pub prompt_tokens: u64,
    /// Tokens of prompts that did not have to, because another prompt had begun with them.
    pub hit_tokens: u64,
    /// Requests refused because of what waits already, or because they could not be done in time.
    pub refused: u64,
    /// Requests that left a full queue for others.
    pub displaced: u64,
    /// Requests that were accepted and then dropped with nothing generated, because they could not be done in time.
    pub late: u64,
}

/// Why a request was not accepted.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many requests as allowed are waiting, and each of them goes before this one: its asker waits for less, or
    /// has more stake. Worth a retry later or elsewhere.
    #[error("the queue is full: {limit} requests are waiting that go first")]
    Full {
        /// Requests that may wait.
        limit: usize,
    },
    /// As many requests of this asker as one may have are waiting already. Worth a retry once one of them is through.
    #[error("this asker's part of the queue is full: {limit} of its requests are waiting")]
    AskerFull {
        /// Requests of one asker that may wait.
        limit: usize,
    },
    /// Even if it began at once, the shortest answer would come after the deadline.
    #[error("{left_ms} ms are left, the answer takes at least {needed_ms} ms")]
    Late {
        /// Time until the deadline.
        left_ms: u64,
        /// Time that prompt and shortest answer have taken lately, at best.
        needed_ms: u64,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {tokens} tokens, at most {limit} fit")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that would be accepted.
        limit: usize,
    },
    /// The prompt is too long to be worth counting its tokens.
    #[error("the prompt has {bytes} bytes, at most {limit} are taken")]
    PromptBytes {
        /// Bytes of the prompt.
        bytes: usize,
        /// Bytes that would be accepted.
        limit: usize,
    },
    /// The prompt comes to no token at all, so there is nothing to continue.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// The tokenizer knows a token that the model does not.
    #[error("the prompt contains token {token}, the model knows {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// A sampling parameter is out of range.
    #[error("{field} is {found}, expected {expected}")]
    Sampling {
        /// Name of the parameter.
        field: &'static str,
        /// Its value.
        found: f32,
        /// What would be accepted.
        expected: &'static str,
    },
    /// There are too many stop texts.
    #[error("{count} stop texts, at most {limit} are taken")]
    StopCount {
        /// How many there are.
        count: usize,
        /// How many would be accepted.
        limit: usize,
    },
    /// A stop text is empty or too long.
    #[error("a stop text has {bytes} bytes, expected 1 to {limit}")]
    StopBytes {
        /// Its length.
        bytes: usize,
        /// The longest that would be accepted.
        limit: usize,
    },
    /// The tokenizer refused the prompt.
    #[error("encode the prompt: {message}")]
    Tokenizer {
        /// The tokenizer's own words.
        message: String,
    },
    /// The conversation has no text.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The engine was shut down, or its thread died.
    #[error("the engine is closed")]
    Closed,
}

#[derive(Debug)]
struct Inner {
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    chat: Option<ChatTemplate>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Loads the Hugging Face folder `dir` and starts the model's thread. Blocks until the model is ready.
    ///
    /// `progress` is called on this thread after each tensor.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file, and the field or tensor in it, that stands in the way.
    pub fn load(
        dir: &Path,
        options: &LoadOptions,
        progress: impl FnMut(LoadProgress),
    ) -> Result<Engine, LoadError> {
        let Loaded {
            info,
            decoder,
            tokenizer,
            end_of_text,
            alike_tokens,
            chat,
        } = load(dir, options, progress)?;
        let tokenizer = Arc::new(tokenizer);
        let slots = SlotLayout {
            slots: options.slots,
            piece_tokens: piece_tokens(&info.device),
            alike_tokens,
        };
        let schedule = Schedule::new(decoder, Arc::clone(&tokenizer), end_of_text, slots);
        Engine::start(info, tokenizer, chat, schedule, options).map_err(|source| LoadError::Thread { source })
    }

    /// Puts a schedule on a thread of its own.
    fn start<B: Backend + Send + 'static>(
        info: ModelInfo,
        tokenizer: Arc<Tokenizer>,
        chat: Option<ChatTemplate>,
        schedule: Schedule<B>,
        options: &LoadOptions,
    ) -> std::io::Result<Engine> {
        let queue = Arc::new(Queue::new(options.queue_max));
        let threads = i32::try_from(options.threads).unwrap_or(i32::MAX);
        let thread = thread::Builder::new().name("agon-model".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || {
                // Dropped last, also by a panic: whoever still waits is told.
                let _closing = ClosesAtEnd(Arc::clone(&queue));
                tch::set_num_threads(threads);
                let _no_grad = tch::no_grad_guard();
                serve(schedule, &queue);
            }
        })?;
        Ok(Engine {
            inner: Arc::new(Inner {
                info,
                tokenizer,
                chat,
                queue,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// What was loaded, and how it is held.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// What the engine is doing and has done.
    pub fn stats(&self) -> EngineStats {
        self.inner.queue.stats()
    }

    /// Takes a request into the queue. Never waits for the model; the prompt is tokenised on the caller's thread.
    ///
    /// What waits begins in the order of its askers' shares: while all wait, each gets tokens as its share, and equals
    /// take turns. A full queue takes a request that goes before another, which then ends with
    /// [`GenerateError::Displaced`](crate::GenerateError::Displaced).
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`], [`SubmitError::AskerFull`], [`SubmitError::Late`] and [`SubmitError::Closed`] speak of
    /// the engine, all others of the request.
    pub fn submit(&self, request: Request) -> Result<Generation, SubmitError> {
        check_sampling(&request.sampling)?;
        check_stops(&request.stop)?;
        let prompt = self.encode(&request.prompt, true)?;
        self.submit_tokens(prompt, request)
    }

    /// As [`Engine::submit`], for the next turn of a conversation: `messages`, rendered by the template that came with
    /// the model, take the place of the request's prompt.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Chat`] when there is no template or it refuses the conversation, else as [`Engine::submit`].
    pub fn submit_chat(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        request: Request,
    ) -> Result<Generation, SubmitError> {
        check_sampling(&request.sampling)?;
        check_stops(&request.stop)?;
        let template = self.inner.chat.as_ref().ok_or(ChatError::NoTemplate)?;
        // The template writes the special tokens itself.
        let prompt = self.encode(&template.render(messages, options)?, false)?;
        self.submit_tokens(prompt, request)
    }

    /// The template that came with the model, if one did.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.inner.chat.as_ref()
    }

    fn submit_tokens(&self, prompt: Vec<u32>, request: Request) -> Result<Generation, SubmitError> {
        let room = self.inner.info.context_tokens - prompt.len();
        let tokens_max = request.tokens_max.min(u32::try_from(room).unwrap_or(u32::MAX));
        let (sender, generation) = events();
        if tokens_max == 0 {
            let prompt_tokens = prompt.len() as u32;
            let finish = Finish {
                reason: FinishReason::Length,
                prompt_tokens,
                tokens: 0,
            };
            sender.send(Event::Done(finish, Trace::default()));
            return Ok(generation);
        }
        let Request {
            tokens_min,
            sampling,
            stop,
            deadline,
            asker,
            ..
        } = request;
        let job = Job {
            prompt,
            tokens_max,
            tokens_min,
            sampling,
            stop,
            deadline,
            asker,
            sender,
        };
        self.inner.queue.push(job, Instant::now())?;
        Ok(generation)
    }

    /// Ends the engine: requests that are not answered fail within a step. Waits until its thread has ended.
    pub fn shutdown(&self) {
        self.inner.queue.set_phase(Phase::Stopped);
        let thread = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic there has closed the queue already; nothing is left to report.
            let _ = thread.join();
        }
    }

    /// The prompt as tokens that the model knows and that leave room for at least one more.
    fn encode(&self, prompt: &str, adds_special_tokens: bool) -> Result<Vec<u32>, SubmitError> {
        let info = &self.inner.info;
        let limit = info.context_tokens.saturating_mul(PROMPT_BYTES_PER_TOKEN);
        if prompt.len() > limit {
            return Err(SubmitError::PromptBytes {
                bytes: prompt.len(),
                limit,
            });
        }
        let encoding = self
            .inner
            .tokenizer
            .encode_fast(prompt, adds_special_tokens)
            .map_err(|error| SubmitError::Tokenizer {
                message: error.to_string(),
            })?;
        let tokens = encoding.get_ids().to_vec();
        if tokens.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        if tokens.len() >= info.context_tokens {
            let limit = info.context_tokens - 1;
            return Err(SubmitError::PromptTooLong {
                tokens: tokens.len(),
                limit,
            });
        }
        match tokens.iter().find(|&&token| token as usize >= info.vocabulary) {
            Some(&token) => Err(SubmitError::UnknownToken {
                token,
                vocabulary: info.vocabulary,
            }),
            None => Ok(tokens),
        }
    }
}

/// Tokens in a piece of a prompt on a device: many enough to keep its cores busy, few enough that prompts which begin
/// alike have whole pieces in common.
fn piece_tokens(device: &str) -> usize {
    if device == "cpu" {
        CPU_PIECE_TOKENS
    } else {
        CUDA_PIECE_TOKENS
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.set_phase(Phase::Draining);
    }
}

fn check_sampling(sampling: &Sampling) -> Result<(), SubmitError> {
    let Sampling {
        temperature, top_p, ..
    } = *sampling;
    if !(temperature.is_finite() && temperature >= 0.0) {
        let expected = "a number from 0 up";
        return Err(SubmitError::Sampling {
            field: "temperature",
            found: temperature,
            expected,
        });
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        let expected = "a number above 0, up to 1";
        return Err(SubmitError::Sampling {
            field: "top_p",
            found: top_p,
            expected,
        });
    }
    Ok(())
}

fn check_stops(stops: &[String]) -> Result<(), SubmitError> {
    if stops.len() > STOPS_MAX {
        return Err(SubmitError::StopCount {
            count: stops.len(),
            limit: STOPS_MAX,
        });
    }
    match stops
        .iter()
        .find(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX)
    {
        Some(stop) => Err(SubmitError::StopBytes {
            bytes: stop.len(),
            limit: STOP_BYTES_MAX,
        }),
        None => Ok(()),
    }
}

/// The life of the model's thread.
fn serve<B: Backend>(mut schedule: Schedule<B>, queue: &Queue) {
    while queue.wait_for_work(schedule.is_idle()) {
        let now = Instant::now();
        for job in queue.take(schedule.free_slots(), now) {
            schedule.admit(job);
        }
        let report = schedule.turn(now, &queue.pace());
        queue.count(report, now.elapsed());
    }
}

#[cfg(test)]
mod tests;
