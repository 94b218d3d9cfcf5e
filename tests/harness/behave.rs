//! Ways for a miner to misbehave, each a back end around an honest one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agon_miner::backend::{Backend, BackendError, MadeOf, ModelIdentity, Part, Parts, Prompt};
use agon_protocol::codec;
use agon_protocol::id::Digest;
use agon_protocol::message::{Environment, FinishReason};
use futures::stream::{self, StreamExt};

use crate::reader::Reader;

/// In which way a miner behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Behaviour {
    /// Answers as its model does.
    Honest,
    /// Sends the first half of each answer's text.
    Truncate,
    /// Answers noise at once, without a model.
    Garbage,
    /// Answers when most of the time is over.
    Slow,
    /// Answers with what it answered before: the cheapest cache.
    Copy,
    /// Is away for most of the time.
    Offline,
    /// Answers as its model does, and says that it was another, better one.
    Smaller,
    /// Answers as its model does with weights of four bits, and says nothing of it.
    Quantised,
    /// Answers by rule, without a model, right nine times in ten; for tests of other parts.
    Reader,
}

impl Behaviour {
    /// Whether an honest model is behind it.
    #[must_use]
    pub const fn needs_model(self) -> bool {
        !matches!(self, Self::Garbage | Self::Reader)
    }

    /// Name as it is typed, and as the ledger shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Truncate => "truncate",
            Self::Garbage => "garbage",
            Self::Slow => "slow",
            Self::Copy => "copy",
            Self::Offline => "offline",
            Self::Smaller => "smaller",
            Self::Quantised => "quantised",
            Self::Reader => "reader",
        }
    }
}

/// A miner that behaves in some way.
pub struct Misbehaving {
    behaviour: Behaviour,
    honest: Option<Box<dyn Backend>>,
    identity: ModelIdentity,
    asked: AtomicU64,
    first_answer: std::sync::Mutex<Option<String>>,
}

impl std::fmt::Debug for Misbehaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Misbehaving")
            .field("behaviour", &self.behaviour)
            .finish_non_exhaustive()
    }
}

impl Misbehaving {
    /// A back end that behaves so, around an honest one where it needs one.
    ///
    /// # Panics
    ///
    /// When it needs an honest one and has none.
    #[must_use]
    pub fn new(behaviour: Behaviour, honest: Option<Box<dyn Backend>>) -> Self {
        let digest = codec::digest("agon 2026-11 misbehaving miner", behaviour.name().as_bytes());
        Self::claiming(behaviour, honest, digest)
    }

    /// As [`Misbehaving::new`], with receipts that name the model `digest`.
    ///
    /// # Panics
    ///
    /// When it needs an honest one and has none.
    #[must_use]
    pub fn claiming(behaviour: Behaviour, honest: Option<Box<dyn Backend>>, digest: Digest) -> Self {
        assert!(
            honest.is_some() || !behaviour.needs_model(),
            "{} needs a model",
            behaviour.name()
        );
        let honest = match behaviour {
            Behaviour::Reader => {
                Some(Box::new(Reader::new(behaviour.name(), READER_PPM)) as Box<dyn Backend>)
            }
            _ => honest,
        };
        let identity = ModelIdentity {
            name: behaviour.name().to_owned(),
            digest,
            environment: Environment {
                dtype: "f32".to_owned(),
                device: "cpu".to_owned(),
                libtorch: "none".to_owned(),
            },
        };
        let (asked, first_answer) = (AtomicU64::new(0), std::sync::Mutex::default());
        Self {
            behaviour,
            honest,
            identity,
            asked,
            first_answer,
        }
    }

    fn honest(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        self.honest
            .as_ref()
            .expect("checked when it was made")
            .answer(prompt)
    }

    fn copy(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        let mut kept = self
            .first_answer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = kept.get_or_insert_with(|| prompt.text.split_whitespace().last().unwrap_or("").to_owned());
        Ok(whole(text.clone()))
    }
}

impl Backend for Misbehaving {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn answer(&self, prompt: Prompt) -> Result<Parts, BackendError> {
        let count = self.asked.fetch_add(1, Ordering::Relaxed);
        match self.behaviour {
            Behaviour::Honest | Behaviour::Reader | Behaviour::Smaller | Behaviour::Quantised => {
                self.honest(prompt)
            }
            Behaviour::Garbage => Ok(whole(format!("zq{:x} blorp", prompt.sampling.seed))),
            Behaviour::Truncate => self.honest(prompt).map(halve),
            Behaviour::Slow => {
                let wait = prompt.time_left.mul_f64(0.8);
                self.honest(prompt).map(|parts| delay(parts, wait))
            }
            Behaviour::Copy => self.copy(prompt),
            Behaviour::Offline if !count.is_multiple_of(OFFLINE_PERIOD) => {
                Err(BackendError::Failed("out of service".to_owned()))
            }
            Behaviour::Offline => self.honest(prompt),
        }
    }
}

/// A miner that is often offline answers one challenge in this many.
const OFFLINE_PERIOD: u64 = 10;
/// How often a miner that answers by rule is right, parts per million.
const READER_PPM: u32 = 900_000;

/// An answer in one piece.
fn whole(text: String) -> Parts {
    let done = Part::Done {
        finish: FinishReason::EndOfText,
        prompt_tokens: 0,
        answer_tokens: 1,
        made_of: MadeOf::default(),
    };
    stream::iter([Ok(Part::Text(text)), Ok(done)]).boxed()
}

/// Gathers an answer and sends the first half of its characters.
fn halve(parts: Parts) -> Parts {
    let gathered = parts.fold((String::new(), None), |(mut text, mut end), part| async move {
        match part {
            Ok(Part::Text(piece)) => text.push_str(&piece),
            last => end = Some(last),
        }
        (text, end)
    });
    let halved = async move {
        let (text, end) = gathered.await;
        let half: String = text.chars().take(text.chars().count() / 2).collect();
        stream::iter([Some(Ok(Part::Text(half))), end].into_iter().flatten())
    };
    stream::once(halved).flatten().boxed()
}

fn delay(parts: Parts, wait: Duration) -> Parts {
    let waited = async move {
        tokio::time::sleep(wait).await;
        parts
    };
    stream::once(waited).flatten().boxed()
}
