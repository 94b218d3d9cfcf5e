//! The seam between serving and inference: what a miner needs of whatever makes its answers.
//!
//! The product's back end is [`ModelBackend`], the libtorch engine. Tests of other parts bring scripted ones.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agon_model::{
    Asker, Engine, EngineStats, Event, FinishReason as ModelFinish, GenerateError, Generation, Request,
    SubmitError,
};
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::message::{Code, Environment, FinishReason, Sampling};
use futures::stream::{self, BoxStream, StreamExt};
use thiserror::Error;

/// What a miner says of the model behind it, on the ledger and in each receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Name of the model, for people.
    pub name: String,
    /// Digest over its tensors and tokenizer.
    pub digest: Digest,
    /// In what it computes.
    pub environment: Environment,
}

/// One prompt to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub tokens_max: u32,
    /// The model's own end of the text does not count before this many.
    pub tokens_min: u32,
    /// Time left until the answer is too late.
    pub time_left: Duration,
    /// Who asks.
    pub sender: Hotkey,
    /// Its share in the stake of all who may ask, parts per million.
    pub sender_share_ppm: u32,
}

/// What happens while a prompt is answered; after [`Part::Done`] nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The next piece of the answer.
    Text(String),
    /// The answer is complete.
    Done {
        /// Why it ended.
        finish: FinishReason,
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens of the answer.
        answer_tokens: u32,
        /// What the answer was made of.
        made_of: MadeOf,
    },
}

/// What an answer was made of; empty when no model made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeOf {
    /// All tokens that were chosen, the end of the text included.
    pub tokens: Vec<u32>,
    /// The activation code of each.
    pub codes: Vec<Code>,
}

/// The parts of one answer. Dropping the stream cancels the work.
pub type Parts = BoxStream<'static, Result<Part, BackendError>>;

/// Why a prompt is not answered.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendError {
    /// The queue is full of prompts that go first; the same prompt may be taken later.
    #[error("the queue is full")]
    Busy,
    /// The sender has as many prompts in the queue as one may have.
    #[error("the sender's part of the queue is full")]
    SenderBusy,
    /// It was taken into the queue, and then prompts came that go first.
    #[error("the queue is full of prompts that go first")]
    Displaced,
    /// The answer cannot be made in the time that is left.
    #[error("{0}")]
    Late(String),
    /// This prompt cannot be answered by this model.
    #[error("{0}")]
    Prompt(String),
    /// The back end is of no use any more, or broke on this prompt.
    #[error("inference failed: {0}")]
    Failed(String),
}

/// Whatever makes answers.
pub trait Backend: Send + Sync + 'static {
    /// The model behind it.
    fn identity(&self) -> &ModelIdentity;

    /// Takes a prompt at once or refuses it at once; the work happens elsewhere.
    ///
    /// # Errors
    ///
    /// [`BackendError`].
    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError>;

    /// Tells the metrics how it is doing, again and again while it serves.
    fn tell(&self) {}
}

/// Answers with a model on libtorch, batching what arrives together.
#[derive(Debug)]
pub struct ModelBackend {
    engine: Engine,
    identity: ModelIdentity,
    /// What the metrics know of the engine.
    told: Mutex<EngineStats>,
}

impl ModelBackend {
    /// A back end over a loaded engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        let info = engine.info();
        let environment = Environment {
            dtype: info.dtype.to_string(),
            device: info.device.clone(),
            libtorch: info.libtorch.to_owned(),
        };
        let identity = ModelIdentity {
            name: info.name.clone(),
            digest: Digest(info.digest),
            environment,
        };
        Self {
            engine,
            identity,
            told: Mutex::default(),
        }
    }

    /// The same back end under another name: that of the hub, where the folder is named by a hash.
    #[must_use]
    pub fn with_name(mut self, name: String) -> Self {
        self.identity.name = name;
        self
    }
}

impl Backend for ModelBackend {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        let generation = self
            .engine
            .submit(model_request(prompt))
            .map_err(|error| match error {
                SubmitError::Full { .. } => BackendError::Busy,
                SubmitError::AskerFull { .. } => BackendError::SenderBusy,
                SubmitError::Late { .. } => BackendError::Late(error.to_string()),
                SubmitError::Closed => BackendError::Failed(error.to_string()),
                other => BackendError::Prompt(other.to_string()),
            });
        Ok(stream::unfold(generation?, next_part).boxed())
    }

    fn tell(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        tell(&self.identity.name, self.engine.stats(), &mut told);
    }
}

/// Tells whoever watches the metrics how an engine is doing, and what it has done since it was `told` last.
fn tell(model: &str, stats: EngineStats, told: &mut EngineStats) {
    let model = || model.to_owned();
    metrics::gauge!("agon_miner_queue_challenges", "model" => model()).set(stats.queued as f64);
    metrics::gauge!("agon_miner_queue_senders", "model" => model()).set(stats.askers as f64);
    metrics::gauge!("agon_miner_active_challenges", "model" => model()).set(stats.active as f64);
    let more = |of: fn(&EngineStats) -> u64| of(&stats).saturating_sub(of(told));
    metrics::counter!("agon_miner_steps_total").increment(more(|stats| stats.steps));
    metrics::counter!("agon_miner_step_rows_total").increment(more(|stats| stats.step_rows));
    metrics::counter!("agon_miner_reused_tokens_total").increment(more(|stats| stats.hit_tokens));
    *told = stats;
}

fn model_request(prompt: Prompt) -> Request {
    Request {
        prompt: prompt.text,
        tokens_max: prompt.tokens_max,
        tokens_min: prompt.tokens_min,
        sampling: agon_model::Sampling {
            temperature: prompt.sampling.temperature_milli as f32 / 1_000.0,
            top_p: prompt.sampling.top_p_ppm as f32 / 1_000_000.0,
            top_k: prompt.sampling.top_k,
            seed: prompt.sampling.seed,
        },
        stop: Vec::new(),
        deadline: Some(std::time::Instant::now() + prompt.time_left),
        asker: Some(Asker {
            key: prompt.sender.0,
            share_ppm: prompt.sender_share_ppm,
        }),
    }
}

async fn next_part(mut generation: Generation) -> Option<(Result<Part, BackendError>, Generation)> {
    let part = match generation.next().await? {
        Event::Text(text) => Ok(Part::Text(text)),
        Event::Done(finish, trace) => Ok(Part::Done {
            finish: match finish.reason {
                ModelFinish::EndOfText => FinishReason::EndOfText,
                ModelFinish::Stop => FinishReason::Stop,
                ModelFinish::Length => FinishReason::Length,
                ModelFinish::Deadline => FinishReason::Deadline,
            },
            prompt_tokens: finish.prompt_tokens,
            answer_tokens: finish.tokens,
            made_of: MadeOf {
                tokens: trace.tokens,
                codes: trace.codes,
            },
        }),
        Event::Failed(GenerateError::Displaced { .. }) => Err(BackendError::Displaced),
        Event::Failed(error) => Err(BackendError::Failed(error.to_string())),
    };
    Some((part, generation))
}
