//! Turns a Hugging Face folder into a decoder, a tokenizer and a description, or says exactly what is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::{TchError, Tensor};
use thiserror::Error;
use tokenizers::Tokenizer;

use crate::config::{Architecture, Config, ConfigError};
use crate::decoder::{Decoder, Room, Tensors, parameter_shapes};
use crate::device::{DeviceChoice, DeviceError, Dtype, device_name};
use crate::runtime::{LIBTORCH_VERSION, start};
use crate::weights::{WeightFiles, add_bytes};

const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The largest vocabularies in use come to about 35 MB of JSON.
const TOKENIZER_BYTES_MAX: u64 = 128 << 20;
/// Opens the digest of a model, so that it can never be taken for the digest of something else.
const DIGEST_CONTEXT: &[u8] = b"agon model 1";

/// How a model is to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Number format of its parameters; `None` takes `F32` for tiny models on a CPU and `Bf16` for all others.
    pub dtype: Option<Dtype>,
    /// Requests answered at the same time. Each holds a key-value cache of `context_tokens_max` tokens.
    pub slots: usize,
    /// Tokens of prompt and answer together, at most; the model's own limit lowers it.
    pub context_tokens_max: usize,
    /// Requests that may wait for a slot; one more is refused.
    pub queue_max: usize,
    /// Threads that one tensor operation may use on a CPU; libtorch has one such number per process, so the engine
    /// loaded last decides. Tiny models are fastest with one.
    pub threads: usize,
}

impl Default for LoadOptions {
    /// The best device, 8 slots of 4096 tokens, 64 waiting, one thread.
    fn default() -> Self {
        LoadOptions {
            device: DeviceChoice::Auto,
            dtype: None,
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
    pub(crate) decoder: Decoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) end_of_text: Vec<u32>,
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
    let mut files = WeightFiles::open(dir)?;
    let shapes = parameter_shapes(&config);
    let mut bytes_total = 0;
    for (tensor, shape) in &shapes {
        bytes_total += files.require(tensor, shape)?;
    }
    let parameters = shapes
        .values()
        .map(|shape| shape.iter().product::<usize>() as u64)
        .sum();
    let device = options.device.resolve()?;
    let dtype = options
        .dtype
        .unwrap_or_else(|| Dtype::fitting(device, parameters));

    let mut digest = begin_digest(&config);
    let mut tensors = Tensors::new();
    let mut bytes_done = 0;
    for (tensor, shape) in &shapes {
        let stored = files.read(tensor, &mut digest)?;
        let held =
            hold(&stored, dtype, device).map_err(|error| LoadError::torch("place a tensor", &error))?;
        tensors.insert(tensor.clone(), held);
        bytes_done += files.require(tensor, shape)?;
        progress(LoadProgress {
            bytes_done,
            bytes_total,
        });
    }
    add_bytes(&mut digest, &tokenizer_bytes);

    let context_tokens = options.context_tokens_max.min(config.context_tokens);
    let info = ModelInfo {
        name: name_of(dir),
        architecture: config.architecture,
        parameters,
        vocabulary: config.vocabulary,
        context_tokens,
        dtype,
        device: device_name(device),
        libtorch: LIBTORCH_VERSION,
        digest: *digest.finalize().as_bytes(),
    };
    let end_of_text = config.end_of_text.clone();
    let room = Room {
        slots: options.slots,
        context_tokens,
    };
    let decoder = Decoder::assemble(config, tensors, dtype, device, room)
        .map_err(|error| LoadError::torch("assemble the decoder", &error))?;
    Ok(Loaded {
        info,
        decoder,
        tokenizer,
        end_of_text,
    })
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
    let mut files = WeightFiles::open(dir)?;
    let mut digest = begin_digest(&config);
    for (tensor, shape) in &parameter_shapes(&config) {
        files.require(tensor, shape)?;
        // Only its bytes in the digest are wanted.
        drop(files.read(tensor, &mut digest)?);
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

    fn check(&self) -> Result<(), LoadError> {
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

fn hold(stored: &Tensor, dtype: Dtype, device: tch::Device) -> Result<Tensor, TchError> {
    stored.f_to_kind(dtype.kind())?.f_to_device(device)
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

fn read_json(path: &Path) -> Result<Value, LoadError> {
    let bytes = read_bounded(path, CONFIG_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|error| LoadError::Json {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

fn read_tokenizer(dir: &Path, vocabulary: usize) -> Result<(Tokenizer, Vec<u8>), LoadError> {
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
fn name_of(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    whole
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;
    use safetensors::Dtype as StoredDtype;
    use serde_json::json;

    fn load_small(folder: &Folder) -> Result<Loaded, LoadError> {
        load(
            folder.path(),
            &LoadOptions {
                device: DeviceChoice::Cpu,
                ..LoadOptions::default()
            },
            |_| {},
        )
    }

    /// The message of the error, with the folder's path taken out.
    fn complaint(folder: &Folder) -> String {
        let error = load_small(folder).err().expect("the folder should be refused");
        error
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    }

    #[track_caller]
    fn check_config(field: &str, value: Value, message: &str) {
        let mut folder = Folder::new();
        folder.set_config(field, value);
        assert_eq!(complaint(&folder), message);
    }

    #[track_caller]
    fn check_file(name: &str, bytes: &[u8], message: &str) {
        let folder = Folder::new();
        folder.write(name, bytes);
        assert_eq!(complaint(&folder), message);
    }

    #[test]
    fn the_digest_is_the_same_without_loading() {
        let folder = Folder::new();
        assert_eq!(
            digest_of(folder.path()).unwrap(),
            load_small(&folder).unwrap().info.digest
        );
    }

    #[test]
    fn a_folder_says_what_it_is() {
        let folder = Folder::new();
        let info = load_small(&folder).unwrap().info;
        // 2 tables of 8 x 16, a final norm, and 2 layers of 16 x (16 + 8 + 8 + 16) + 3 x 16 x 32 + 2 x 16.
        assert_eq!(info.parameters, 2 * 128 + 16 + 2 * (768 + 1536 + 32));
        assert_eq!((info.architecture, info.vocabulary), (Architecture::Llama, 8));
        // The model's 64 positions are fewer than the option's 4096.
        assert_eq!(
            (info.context_tokens, info.dtype, info.device.as_str()),
            (64, Dtype::F32, "cpu")
        );
        assert_eq!(info.name, folder.path().file_name().unwrap().to_string_lossy());
    }

    #[test]
    fn progress_ends_at_the_total() {
        let mut seen = Vec::new();
        let folder = Folder::new();
        load(folder.path(), &LoadOptions::default(), |progress| {
            seen.push(progress)
        })
        .unwrap();
        let last = seen.last().unwrap();
        assert_eq!((last.bytes_done, last.bytes_total), (4 * 4944, 4 * 4944));
        assert!(seen.is_sorted_by_key(|progress| progress.bytes_done));
    }

    #[test]
    fn the_digest_is_the_same_for_shards_and_changes_with_what_decides_answers() {
        let digest = |folder: &Folder| load_small(folder).unwrap().info.digest;
        let mut folder = Folder::new();
        let whole = digest(&folder);
        folder.split();
        assert_eq!(digest(&folder), whole);
        folder.set_config("max_position_embeddings", json!(48));
        assert_eq!(digest(&folder), whole);
        folder.set_config("rope_theta", json!(20_000.0));
        assert_ne!(digest(&folder), whole);
        folder.set_config("rope_theta", json!(10_000.0));
        assert_eq!(digest(&folder), whole);
        folder.set_config("rope_scaling", json!({"rope_type": "linear", "factor": 2.0}));
        assert_ne!(digest(&folder), whole);

        let folder = Folder::new();
        folder.write(
            "tokenizer.json",
            crate::testing::word_tokenizer_json(&["other"]).to_string(),
        );
        assert_ne!(digest(&folder), whole);
        let mut folder = Folder::new();
        folder.set_tensor("model.norm.weight", StoredDtype::F32, &[16]);
        assert_ne!(digest(&folder), whole);
    }

    #[test]
    fn what_is_wrong_in_a_config_is_named() {
        check_config(
            "rope_scaling",
            json!({"rope_type": "longrope"}),
            "config.json: rope scaling \"longrope\" is not supported; \
             supported: default, linear, dynamic, llama3, yarn",
        );
        check_config(
            "architectures",
            json!(["MambaForCausalLM"]),
            "config.json: architecture \"MambaForCausalLM\" is not supported; \
             supported: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM",
        );
        check_config(
            "num_attention_heads",
            json!(0),
            "config.json: num_attention_heads is 0, expected 1 to 1024",
        );
        check_file(
            "config.json",
            b"{",
            "config.json: EOF while parsing an object at line 1 column 1",
        );
        check_file(
            "config.json",
            &vec![b' '; 1 << 21],
            "config.json is larger than 1048576 bytes",
        );
        check_file(
            "tokenizer.json",
            b"[]",
            "tokenizer.json: invalid type: sequence, expected struct Tokenizer at line 1 column 2",
        );
    }

    #[test]
    fn a_tokenizer_of_another_model_is_refused() {
        let folder = Folder::new();
        let words = ["a", "b", "c", "d", "e", "f", "g"];
        folder.write(
            "tokenizer.json",
            crate::testing::word_tokenizer_json(&words).to_string(),
        );
        assert_eq!(
            complaint(&folder),
            "tokenizer.json: token \"g\" is number 8, but vocab_size in config.json is 8: \
             the tokenizer belongs to another model"
        );
    }

    #[test]
    fn a_tensor_that_does_not_fit_is_named_with_what_was_expected() {
        let mut folder = Folder::new();
        folder.remove_tensor("model.layers.1.mlp.up_proj.weight");
        assert_eq!(
            complaint(&folder),
            "model.safetensors: tensor model.layers.1.mlp.up_proj.weight is missing"
        );

        let mut folder = Folder::new();
        folder.set_tensor("model.norm.weight", StoredDtype::F32, &[15]);
        assert_eq!(
            complaint(&folder),
            "model.safetensors: tensor model.norm.weight has shape [15], expected [16]"
        );

        let mut folder = Folder::new();
        folder.set_tensor("model.norm.weight", StoredDtype::I64, &[16]);
        assert_eq!(
            complaint(&folder),
            "model.safetensors: tensor model.norm.weight has dtype I64, expected F32, BF16 or F16"
        );
    }

    #[test]
    fn a_damaged_parameter_file_is_an_error_and_not_a_crash() {
        const FILE: &str = "model.safetensors";
        check_file(
            FILE,
            b"",
            "model.safetensors: the file has 0 bytes, too few for a header",
        );
        check_file(
            FILE,
            &u64::MAX.to_le_bytes(),
            "model.safetensors: the header claims 18446744073709551615 bytes, at most 0 are possible",
        );
        check_file(
            FILE,
            b"\x02\0\0\0\0\0\0\0{}abc",
            "model.safetensors: the header describes 0 bytes of data, the file has 3",
        );

        let folder = Folder::new();
        let bytes = std::fs::read(folder.file(FILE)).unwrap();
        folder.write(FILE, &bytes[..bytes.len() - 1]);
        assert_eq!(
            complaint(&folder),
            "model.safetensors: the header describes 19776 bytes of data, the file has 19775"
        );
        // Whatever byte of the header is damaged: an answer, not a panic.
        for index in 0..400 {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x15;
            folder.write(FILE, &damaged);
            let _ = load_small(&folder);
        }
    }

    #[test]
    fn shards_are_followed_within_the_folder_only() {
        let folder = Folder::new();
        folder.split();
        let index = |shard: &str| json!({"weight_map": {"model.norm.weight": shard}}).to_string();
        folder.write("model.safetensors.index.json", index("../model.safetensors"));
        assert_eq!(
            complaint(&folder),
            "model.safetensors.index.json: \"../model.safetensors\" is not the name of a file in this folder"
        );
        folder.write("model.safetensors.index.json", index("absent.safetensors"));
        assert!(
            complaint(&folder).starts_with("read absent.safetensors: "),
            "{}",
            complaint(&folder)
        );
        // The tensor is in one of the two, and the index says the other.
        let wrong = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ]
        .map(|shard| {
            folder.write("model.safetensors.index.json", index(shard));
            complaint(&folder)
        })
        .into_iter()
        .find(|message| message.ends_with("tensor model.norm.weight is missing"));
        assert!(wrong.is_some_and(|message| message.starts_with("model-0000")));
    }

    #[test]
    fn a_folder_without_its_files_says_which() {
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            let folder = Folder::new();
            std::fs::remove_file(folder.file(name)).unwrap();
            assert!(
                complaint(&folder).starts_with(&format!("read {name}: ")),
                "{}",
                complaint(&folder)
            );
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let folder = Folder::new();
        let options = LoadOptions {
            slots: 0,
            ..LoadOptions::default()
        };
        let error = load(folder.path(), &options, |_| {}).err().unwrap();
        assert_eq!(error.to_string(), "slots is 0, expected 1 to 4096");
    }
}
