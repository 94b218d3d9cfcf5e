//! Turns a Hugging Face folder into a decoder, a tokenizer and a description, or says exactly what is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agon_model_kernels::Level;
use serde_json::Value;
use tch::{Device, Kind, TchError};
use thiserror::Error;
use tokenizers::Tokenizer;

use crate::arithmetic::{Arithmetic, Computes};
use crate::chat::ChatTemplate;
use crate::config::{Architecture, Config, ConfigError};
use crate::decoder::{AnyDecoder, Decoder, Room, Tensors, parameter_shapes};
use crate::device::{DeviceChoice, DeviceError, Dtype, device_name};
use crate::native::{NativeDecoder, Parameters};
use crate::runtime::{LIBTORCH_VERSION, start};
use crate::weights::{WeightFiles, add_bytes};

pub(crate) const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The largest vocabularies in use come to about 35 MB of JSON.
const TOKENIZER_BYTES_MAX: u64 = 128 << 20;
/// Rows of a matrix that are packed at a time.
const PACKED_TOGETHER: usize = 64;
/// Opens the digest of a model, so that it can never be taken for the digest of something else.
const DIGEST_CONTEXT: &[u8] = b"agon model 1";

/// How a model is to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Number format of its parameters; `None` takes `F32` for tiny models on a CPU and `Bf16` for all others.
    pub dtype: Option<Dtype>,
    /// What computes it.
    pub arithmetic: Arithmetic,
    /// Requests answered at the same time. Each holds a key-value cache of `context_tokens_max` tokens.
    pub slots: usize,
    /// Tokens of prompt and answer together, at most; the model's own limit lowers it.
    pub context_tokens_max: usize,
    /// Requests that may wait for a slot; one more is refused.
    pub queue_max: usize,
    /// Threads that share each operation on a CPU. Tiny models are fastest with one. libtorch, where it computes, has
    /// one such number per process, so the engine loaded last decides.
    pub threads: usize,
}

impl Default for LoadOptions {
    /// The best device, 8 slots of 4096 tokens, 64 waiting, one thread.
    fn default() -> Self {
        LoadOptions {
            device: DeviceChoice::Auto,
            dtype: None,
            arithmetic: Arithmetic::Auto,
            slots: 8,
            context_tokens_max: 4096,
            queue_max: 64,
            threads: 1,
        }
    }
}

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

/// Why a folder cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file could not be read.
    #[error("read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any honest one.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// A file is not the JSON it should be.
    #[error("{path}: {message}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// The model is not one that can be served.
    #[error("{path}: {problem}")]
    Config {
        /// `config.json` of the folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: ConfigError,
    },
    /// A file of parameters is damaged.
    #[error("{path}: {problem}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The index names a shard by something else than a file name in the same folder.
    #[error("{path}: {found:?} is not the name of a file in this folder")]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The name that was there.
        found: String,
    },
    /// The index names more shards than any honest one.
    #[error("{path}: {found} shards, at most {limit} are read")]
    TooManyShards {
        /// The index.
        path: PathBuf,
        /// How many it names.
        found: usize,
        /// How many are accepted.
        limit: usize,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{path}: tensor {tensor} is missing")]
    MissingTensor {
        /// The file or index it should be in.
        path: PathBuf,
        /// Its name.
        tensor: String,
    },
    /// A tensor does not have the shape that `config.json` calls for.
    #[error("{path}: tensor {tensor} has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The file it is in.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The shape that `config.json` calls for.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor is stored in a format that is not read.
    #[error("{path}: tensor {tensor} has dtype {found}, expected F32, BF16 or F16")]
    TensorDtype {
        /// The file it is in.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The format it has.
        found: String,
    },
    /// `tokenizer.json` cannot be used.
    #[error("{path}: {message}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer said.
        message: String,
    },
    /// The chat template of a folder cannot be used.
    #[error("{path}: the chat template does not parse: {message}")]
    ChatTemplate {
        /// The file that it is in.
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// The tokenizer knows tokens that the model does not.
    #[error(
        "{path}: token {token:?} is number {id}, but vocab_size in config.json is {vocabulary}: the tokenizer belongs to another model"
    )]
    TokenizerMismatch {
        /// `tokenizer.json` of the folder.
        path: PathBuf,
        /// The token with the largest number.
        token: String,
        /// Its number.
        id: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// The device that was asked for is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Something was asked for that libtorch does not compute.
    #[error("{wanted} needs the kernels on a CPU, not {found}")]
    NeedsKernels {
        /// What was asked for.
        wanted: String,
        /// What would compute.
        found: String,
    },
    /// A reference has to be the model itself.
    #[error("a reference holds the model as it is, in f32 or bf16, not in {found}")]
    CoarseReference {
        /// The format that was asked for.
        found: Dtype,
    },
    /// An option is zero, or so large that sizes would overflow.
    #[error("{option} is {found}, expected 1 to {most}")]
    Options {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: usize,
        /// The most that is accepted.
        most: usize,
    },
    /// libtorch refused an operation, for want of memory for example.
    #[error("{doing}: libtorch failed: {message}")]
    Torch {
        /// What was being attempted.
        doing: &'static str,
        /// libtorch's own words, first line.
        message: String,
    },
    /// The engine's thread could not be started.
    #[error("start the engine's thread: {source}")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
}

impl LoadError {
    pub(crate) fn io(path: &Path, source: io::Error) -> LoadError {
        LoadError::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn torch(doing: &'static str, error: &TchError) -> LoadError {
        LoadError::Torch {
            doing,
            message: first_line(error),
        }
    }
}

/// libtorch's message without its stack of C++ frames.
pub(crate) fn first_line(error: &TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// A folder in memory, ready to answer.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) decoder: AnyDecoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) end_of_text: Vec<u32>,
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
        info,
        decoder: holding.assemble(config, options.threads, room)?,
        tokenizer,
        end_of_text,
        chat,
    })
}

/// Parameters on their way into a decoder.
enum Holding {
    Kernels(Level, Parameters),
    Libtorch(Tensors, Kind, Device),
}

impl Holding {
    fn new(config: &Config, computes: Computes, dtype: Dtype, device: Device) -> Holding {
        match computes {
            Computes::Kernels(level) => Holding::Kernels(level, Parameters::zeros(config, dtype.format())),
            Computes::Libtorch(kind) => Holding::Libtorch(Tensors::new(), kind, device),
        }
    }

    /// Takes one tensor out of the files; what identifies it is added to `digest`.
    fn take(
        &mut self,
        files: &WeightFiles,
        tensor: &str,
        shape: &[usize],
        digest: &mut blake3::Hasher,
    ) -> Result<(), LoadError> {
        match self {
            Holding::Kernels(_, parameters) => {
                let together = PACKED_TOGETHER * shape.last().copied().unwrap_or(1);
                files.read(tensor, digest, together, |first, numbers| {
                    parameters.write(tensor, first, numbers);
                })
            }
            Holding::Libtorch(tensors, kind, device) => {
                let held = files.place(tensor, digest, *kind, *device)?;
                tensors.insert(tensor.to_owned(), held);
                Ok(())
            }
        }
    }

    fn assemble(self, config: Config, threads: usize, room: Room) -> Result<AnyDecoder, LoadError> {
        match self {
            Holding::Kernels(level, parameters) => Ok(Box::new(NativeDecoder::new(
                config, parameters, level, threads, room,
            ))),
            Holding::Libtorch(tensors, kind, device) => {
                let decoder = Decoder::assemble(config, tensors, kind, device, room)
                    .map_err(|error| LoadError::torch("assemble the decoder", &error))?;
                Ok(Box::new(decoder))
            }
        }
    }
}

/// The digest of the model in the folder `dir`, as [`ModelInfo::digest`]; nothing is kept in memory.
///
/// # Errors
///
/// [`LoadError`], as for loading.
pub fn digest_of(dir: &Path) -> Result<[u8; 32], LoadError> {
    start();
    let config = read_config(dir)?;
    let (_, tokenizer_bytes) = read_tokenizer(dir, config.vocabulary)?;
    let files = WeightFiles::open(dir)?;
    let mut digest = begin_digest(&config);
    for (tensor, shape) in &parameter_shapes(&config) {
        files.listing().require(tensor, shape)?;
        files.hash(tensor, &mut digest)?;
    }
    add_bytes(&mut digest, &tokenizer_bytes);
    Ok(*digest.finalize().as_bytes())
}

impl LoadOptions {
    /// Limits far beyond use, which keep every product of sizes in range.
    const SLOTS_MAX: usize = 4096;
    const CONTEXT_TOKENS_MAX: usize = 1 << 24;
    const QUEUE_MAX: usize = 1 << 20;
    const THREADS_MAX: usize = 1024;

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let options = [
            ("slots", self.slots, Self::SLOTS_MAX),
            (
                "context_tokens_max",
                self.context_tokens_max,
                Self::CONTEXT_TOKENS_MAX,
            ),
            ("queue_max", self.queue_max, Self::QUEUE_MAX),
            ("threads", self.threads, Self::THREADS_MAX),
        ];
        for (option, found, most) in options {
            if found == 0 || found > most {
                return Err(LoadError::Options { option, found, most });
            }
        }
        Ok(())
    }
}

/// A digest that already covers the numbers of `config.json` that enter the computation; shapes tell the others.
fn begin_digest(config: &Config) -> blake3::Hasher {
    let mut digest = blake3::Hasher::new();
    add_bytes(&mut digest, DIGEST_CONTEXT);
    add_bytes(&mut digest, config.architecture.to_string().as_bytes());
    for number in [
        config.heads as u64,
        config.kv_heads as u64,
        config.head_dim as u64,
    ] {
        digest.update(&number.to_le_bytes());
    }
    for number in [config.norm_epsilon, config.rope_theta] {
        digest.update(&number.to_bits().to_le_bytes());
    }
    add_what_stretches(&mut digest, config);
    let end_of_text: Vec<u8> = config
        .end_of_text
        .iter()
        .flat_map(|token| token.to_le_bytes())
        .collect();
    add_bytes(&mut digest, &end_of_text);
    digest
}

/// Scaled positions and windows; models without them have the digest that they had before either was computed.
fn add_what_stretches(digest: &mut blake3::Hasher, config: &Config) {
    let scaling: Vec<u8> = config
        .rope_scaling
        .numbers()
        .into_iter()
        .flat_map(|number| number.to_bits().to_le_bytes())
        .collect();
    if !scaling.is_empty() {
        add_bytes(digest, b"rope scaling");
        add_bytes(digest, &scaling);
    }
    if let Some(window) = &config.window {
        let layers: Vec<u8> = window.layers.iter().map(|&slides| u8::from(slides)).collect();
        add_bytes(digest, b"window");
        digest.update(&(window.tokens as u64).to_le_bytes());
        add_bytes(digest, &layers);
    }
}

fn read_config(dir: &Path) -> Result<Config, LoadError> {
    let path = dir.join("config.json");
    let config = read_json(&path)?;
    let generation_path = dir.join("generation_config.json");
    let generation = if generation_path.exists() {
        Some(read_json(&generation_path)?)
    } else {
        None
    };
    Config::read(&config, generation.as_ref()).map_err(|problem| LoadError::Config { path, problem })
}

pub(crate) fn read_json(path: &Path) -> Result<Value, LoadError> {
    let bytes = read_bounded(path, CONFIG_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|error| LoadError::Json {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

pub(crate) fn read_tokenizer(dir: &Path, vocabulary: usize) -> Result<(Tokenizer, Vec<u8>), LoadError> {
    let path = dir.join("tokenizer.json");
    let bytes = read_bounded(&path, TOKENIZER_BYTES_MAX)?;
    let broken = |message: String| LoadError::Tokenizer {
        path: path.clone(),
        message,
    };
    let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(|error| broken(error.to_string()))?;
    // A prompt is either taken whole or refused: never cut, never padded.
    tokenizer
        .with_truncation(None)
        .map_err(|error| broken(error.to_string()))?;
    tokenizer.with_padding(None);
    check_vocabulary(&path, &tokenizer, vocabulary)?;
    Ok((tokenizer, bytes))
}

/// A tokenizer whose own tokens go beyond the model's belongs to another model. Added tokens may lie beyond: folders
/// with an unused padding token do, and a prompt that has one is refused when it comes.
fn check_vocabulary(path: &Path, tokenizer: &Tokenizer, vocabulary: usize) -> Result<(), LoadError> {
    let own = tokenizer.get_vocab(false);
    match own.into_iter().max_by_key(|(_, id)| *id) {
        Some((token, id)) if id as usize >= vocabulary => Err(LoadError::TokenizerMismatch {
            path: path.to_owned(),
            token,
            id,
            vocabulary,
        }),
        _ => Ok(()),
    }
}

/// Reads a file of at most `limit` bytes, whatever its size claims to be.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let io = |error| LoadError::io(path, error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// The folder's own name, also where it is given as `.` or with a slash behind.
pub(crate) fn name_of(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    whole
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
