//! Turns a Hugging Face folder into a decoder, a tokenizer and a description, or says exactly what is wrong with it.

mod digest;
mod error;
mod files;
mod holding;
mod options;

use std::path::Path;

use tokenizers::Tokenizer;

use crate::backend::{AnyDecoder, Room};
use crate::chat::ChatTemplate;
use crate::config::Architecture;
use crate::device::{Dtype, device_name};
use crate::rope::alike_tokens;
use crate::runtime::{LIBTORCH_VERSION, start};
use crate::shapes::parameter_shapes;
use crate::weights::{WeightFiles, add_bytes};
use digest::begin_digest;
use files::read_config;
use holding::Holding;

pub use digest::digest_of;
pub use error::LoadError;
pub(crate) use error::first_line;
pub(crate) use files::{CONFIG_BYTES_MAX, name_of, read_bounded, read_json, read_tokenizer};
pub use options::LoadOptions;

/// How far a load has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of parameters read.
    pub bytes_done: u64,
    /// Bytes of parameters to read.
    pub bytes_total: u64,
}

/// What was loaded, and how it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name of the folder.
    pub name: String,
    /// Family of the decoder.
    pub architecture: Architecture,
    /// Numbers that were trained; a tied head counts once.
    pub parameters: u64,
    /// Tokens that the model knows.
    pub vocabulary: usize,
    /// Tokens of prompt and answer together, at most.
    pub context_tokens: usize,
    /// Number format of the parameters as held.
    pub dtype: Dtype,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What computes it: `kernels` with their instruction set, or `libtorch`.
    pub arithmetic: String,
    /// Release of libtorch.
    pub libtorch: &'static str,
    /// Identifies everything that decides the answers: a hash of the parameters as stored (by name: name, format,
    /// shape, bytes), the numbers of `config.json` that enter the computation, and `tokenizer.json`. The same for
    /// one file and for shards.
    pub digest: [u8; 32],
}

/// A folder in memory, ready to answer.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) decoder: AnyDecoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) end_of_text: Vec<u32>,
    /// Tokens up to which all prompts are rotated alike.
    pub(crate) alike_tokens: usize,
    pub(crate) chat: Option<ChatTemplate>,
}

/// Loads the folder `dir`.
///
/// Everything small is read and checked before the first parameter is: a folder that cannot be served is refused
/// within milliseconds.
pub(crate) fn load(
    dir: &Path,
    options: &LoadOptions,
    mut progress: impl FnMut(LoadProgress),
) -> Result<Loaded, LoadError> {
    start();
    let _no_grad = tch::no_grad_guard();
    options.check()?;
    let config = read_config(dir)?;
    let (tokenizer, tokenizer_bytes) = read_tokenizer(dir, config.vocabulary)?;
    let chat = ChatTemplate::of_folder(dir)?;
    let files = WeightFiles::open(dir)?;
    let shapes = parameter_shapes(&config);
    let mut bytes_total = 0;
    for (tensor, shape) in &shapes {
        bytes_total += files.listing().require(tensor, shape)?;
    }
    let parameters = shapes
        .values()
        .map(|shape| shape.iter().product::<usize>() as u64)
        .sum();
    let device = options.device.resolve()?;
    let dtype = options
        .dtype
        .unwrap_or_else(|| Dtype::fitting(device, parameters));
    let computes = options.arithmetic.resolve(device, dtype)?;

    let mut digest = begin_digest(&config);
    let mut holding = Holding::new(&config, computes, dtype, device);
    let mut bytes_done = 0;
    for (tensor, shape) in &shapes {
        holding.take(&files, tensor, shape, &mut digest)?;
        bytes_done += files.listing().require(tensor, shape)?;
        progress(LoadProgress {
            bytes_done,
            bytes_total,
        });
    }
    add_bytes(&mut digest, &tokenizer_bytes);
    drop(files);

    let context_tokens = options.context_tokens_max.min(config.context_tokens);
    let info = ModelInfo {
        name: name_of(dir),
        architecture: config.architecture,
        parameters,
        vocabulary: config.vocabulary,
        context_tokens,
        dtype,
        device: device_name(device),
        arithmetic: computes.to_string(),
        libtorch: LIBTORCH_VERSION,
        digest: *digest.finalize().as_bytes(),
    };
    let end_of_text = config.end_of_text.clone();
    let room = Room {
        slots: options.slots,
        context_tokens,
    };
    Ok(Loaded {
        alike_tokens: alike_tokens(&config),
        info,
        decoder: holding.assemble(config, options.threads, room)?,
        tokenizer,
        end_of_text,
        chat,
    })
}

#[cfg(test)]
mod tests;
