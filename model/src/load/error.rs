//! Why a folder is refused.

use std::io;
use std::path::{Path, PathBuf};

use tch::TchError;
use thiserror::Error;

use crate::config::ConfigError;
use crate::device::{DeviceError, Dtype};

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
