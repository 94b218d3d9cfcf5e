//! Language models: loading, decoding, sampling, batching, training. The only crate that names tch.
//!
//! [`Engine`] is what a miner holds: a model on a thread of its own, which answers many [`Request`]s at once. It is
//! loaded from a Hugging Face folder (`config.json`, `tokenizer.json`, `model.safetensors` in one piece or in
//! shards) of the Llama, Mistral, Qwen2 or Qwen3 architecture. [`Encoder`] turns texts into vectors, [`Plan`] says
//! what a model will need before it is fetched or loaded. No type of tch appears in what this crate offers.
//!
//! Decoders compute with this project's own kernels on a CPU that has the instructions for them, and on libtorch
//! everywhere else ([`Arithmetic`]); encoders and training are on libtorch.
//!
//! ```no_run
//! use agon_model::{Engine, LoadOptions, Request};
//!
//! agon_model::start();
//! let engine = Engine::load("models/best".as_ref(), &LoadOptions::default(), |_| {})?;
//! let request = Request { prompt: "Once upon a time".to_owned(), tokens_max: 20, ..Request::default() };
//! let answer = engine.submit(request)?.wait()?;
//! assert!(answer.finish.tokens <= 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What does not belong here
//!
//! Sockets, keys, receipts and clocks of the network: the miner's. A deadline reaches this crate as an
//! [`std::time::Instant`].

mod arithmetic;
mod backend;
mod channel;
mod chat;
mod code;
mod config;
mod decoder;
mod device;
mod encoder;
mod engine;
mod fair;
mod graphs;
mod header;
mod load;
mod native;
mod pace;
mod plan;
mod prefix;
mod probe;
mod queue;
mod request;
mod rope;
mod running;
mod runtime;
mod sample;
mod schedule;
mod shapes;
mod slots;
#[cfg(test)]
mod testing;
mod text;
pub mod train;
mod verify;
mod weights;

pub use arithmetic::Arithmetic;
pub use channel::Generation;
pub use chat::{ChatError, ChatOptions, ChatTemplate, Message};
pub use code::{CODE_BYTES, Code, DISTANCE_MAX, encode as activation_code};
pub use config::{Architecture, ConfigError};
pub use device::{DeviceChoice, DeviceChoiceError, DeviceError, Dtype, DtypeError};
pub use encoder::{EncodeError, Encoder, EncoderInfo};
pub use engine::{Engine, EngineStats, SubmitError};
pub use load::{LoadError, LoadOptions, LoadProgress, ModelInfo, digest_of};
pub use plan::{ModelFiles, Need, Plan};
pub use probe::{DeviceProbe, ProbeError};
pub use request::{Answer, Asker, Event, Finish, FinishReason, GenerateError, Request, Sampling, Trace};
pub use runtime::{LIBTORCH_VERSION, Runtime, start};
pub use sample::MARGIN_MAX;
pub use verify::{Claim, ClaimError, CompareError, Distances, Verifier, compare};
