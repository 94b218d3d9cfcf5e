//! What a model will need and how fast it can be, from its configs and headers alone: before any download.
//!
//! Decoding reads every parameter once for each step and the cache of every text in it, so memory bandwidth bounds
//! the speed of small batches. That bound is what is stated; kernels reach a part of it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use agon_model_kernels::CacheShape;
use serde_json::Value;
use tch::Device;

use crate::arithmetic::Computes;
use crate::backend::Room;
use crate::config::{Architecture, Config};
use crate::decoder::cache_kind;
use crate::device::Dtype;
use crate::header::{self, LENGTH_BYTES};
use crate::load::{CONFIG_BYTES_MAX, LoadError, LoadOptions};
use crate::native;
use crate::shapes::parameter_shapes;
use crate::weights::{INDEX_BYTES_MAX, INDEX_FILE, Listing, SINGLE_FILE, ShardMap};

/// The files of a model, wherever they are.
pub trait ModelFiles {
    /// Whether there is a file of this name.
    fn has(&self, path: &str) -> bool;

    /// Length of a file in bytes.
    ///
    /// # Errors
    ///
    /// When it is not there or out of reach.
    fn len(&self, path: &str) -> io::Result<u64>;

    /// A whole file of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// When it is not there, out of reach or longer.
    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>>;

    /// Some bytes of a file, fewer only where it ends before.
    ///
    /// # Errors
    ///
    /// When it is not there or out of reach.
    fn read_part(&self, path: &str, start: u64, bytes: u64) -> io::Result<Vec<u8>>;
}

/// What a model is, as its configs and headers say.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Family of the decoder.
    pub architecture: Architecture,
    /// Numbers that were trained; a tied head counts once.
    pub parameters: u64,
    /// Tokens of prompt and answer together, at most.
    pub context_tokens: usize,
    /// Bytes of the parameters as stored.
    pub stored_bytes: u64,
    /// Bytes of the largest file of parameters.
    pub shard_bytes_max: u64,
    /// Parameters that a step reads: all but a table of which it reads a row for each token.
    pub parameters_read: u64,
    /// Numbers that the cache keeps for each token.
    pub cache_numbers: u64,
    config: Config,
}

/// Memory and speed of a model on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Number format of the parameters as held.
    pub dtype: Dtype,
    /// Bytes of the parameters as held.
    pub parameter_bytes: u64,
    /// Bytes of the key-value caches of all slots together.
    pub cache_bytes: u64,
    /// Bytes for intermediate results and libtorch itself, a rough upper bound.
    pub working_bytes: u64,
    /// Bytes that one token of one text costs in the cache.
    pub cache_token_bytes: u64,
    /// Texts at the same time.
    pub slots: usize,
    /// Tokens of prompt and answer together, at most: the option, or the model's own limit.
    pub context_tokens: usize,
    /// Tokens beyond its context for which a text has room in the cache, at most.
    pub spare_tokens: u64,
}

/// Tokens, padding included, that go through the model together at most.
const WORKING_TOKENS: u64 = 2048;
/// What libtorch and its kernels keep for themselves: code and arenas on a CPU, a context and workspaces on a GPU.
const CPU_BYTES: u64 = 400 << 20;
const CUDA_BYTES: u64 = 1 << 30;

impl Plan {
    /// Reads configs and headers of the folder `dir`.
    ///
    /// # Errors
    ///
    /// [`LoadError`], as loading would give it.
    pub fn of_folder(dir: &Path) -> Result<Plan, LoadError> {
        Plan::read(&Folder(dir.to_owned()))
    }

    /// Reads configs and headers.
    ///
    /// # Errors
    ///
    /// [`LoadError`], as loading would give it: another family, a missing tensor, a wrong shape.
    pub fn read(files: &dyn ModelFiles) -> Result<Plan, LoadError> {
        let config = read_config(files)?;
        let (listing, shard_bytes_max) = read_headers(files)?;
        let mut plan = Plan {
            architecture: config.architecture,
            parameters: 0,
            context_tokens: config.context_tokens,
            stored_bytes: 0,
            shard_bytes_max,
            parameters_read: 0,
            cache_numbers: 2 * (config.layers * config.kv_heads * config.head_dim) as u64,
            config,
        };
        for (tensor, shape) in parameter_shapes(&plan.config) {
            plan.stored_bytes += listing.require(&tensor, &shape)?;
            let numbers = shape.iter().map(|&length| length as u64).product::<u64>();
            plan.parameters += numbers;
            if plan.config.is_tied || tensor != "model.embed_tokens.weight" {
                plan.parameters_read += numbers;
            }
        }
        Ok(plan)
    }

    /// What the model needs when it is held as `options` say.
    ///
    /// # Errors
    ///
    /// [`LoadError::Device`] when the device is not there, [`LoadError::Options`] for options out of range.
    pub fn need(&self, options: &LoadOptions) -> Result<Need, LoadError> {
        options.check()?;
        let device = options.device.resolve()?;
        let dtype = options
            .dtype
            .unwrap_or_else(|| Dtype::fitting(device, self.parameters));
        let computes = options.arithmetic.resolve(device, dtype)?;
        let context_tokens = options.context_tokens_max.min(self.context_tokens);
        let (cache_token_bytes, spare_tokens) = self.cache_of(computes, device);
        let cached_tokens = (options.slots as u64).saturating_mul(context_tokens as u64 + spare_tokens);
        let working_number_bytes = match computes {
            Computes::Kernels(_) => 4,
            Computes::Libtorch(kind) => kind.elt_size_in_bytes() as u64,
        };
        let libtorch = if device == Device::Cpu {
            CPU_BYTES
        } else {
            CUDA_BYTES
        };
        let working_numbers = WORKING_TOKENS.saturating_mul(working_numbers(&self.config));
        Ok(Need {
            dtype,
            parameter_bytes: dtype.bytes_of(self.parameters),
            cache_bytes: cached_tokens.saturating_mul(cache_token_bytes),
            working_bytes: libtorch + working_numbers.saturating_mul(working_number_bytes),
            cache_token_bytes,
            slots: options.slots,
            context_tokens,
            spare_tokens,
        })
    }

    /// Bytes of a token in the cache, and tokens beyond its context that a text has room for.
    fn cache_of(&self, computes: Computes, device: Device) -> (u64, u64) {
        match computes {
            // Whole blocks of keys.
            Computes::Kernels(_) => {
                let block = Room {
                    slots: 1,
                    context_tokens: CacheShape::BLOCK_TOKENS,
                };
                let bytes = native::cache_shape(&self.config, block).bytes() / CacheShape::BLOCK_TOKENS;
                let spare = CacheShape::BLOCK_TOKENS as u64 - 1;
                ((self.config.layers * bytes) as u64, spare)
            }
            // One position more than the context: padding writes there.
            Computes::Libtorch(kind) => {
                let bytes = cache_kind(kind, device).elt_size_in_bytes() as u64;
                (self.cache_numbers.saturating_mul(bytes), 1)
            }
        }
    }

    /// Tokens each second that `requests` texts of `tokens` tokens get together at most, where memory is read at
    /// `bandwidth` bytes each second.
    pub fn tokens_per_second(&self, need: &Need, requests: usize, tokens: usize, bandwidth: f64) -> f64 {
        let number_bytes = need.parameter_bytes as f64 / self.parameters.max(1) as f64;
        let cached = need.cache_token_bytes as f64 * requests as f64 * tokens as f64;
        let step_bytes = self.parameters_read as f64 * number_bytes + cached;
        requests as f64 * bandwidth / step_bytes.max(1.0)
    }
}

impl Need {
    /// Everything together.
    pub fn bytes(&self) -> u64 {
        self.parameter_bytes
            .saturating_add(self.cache_bytes)
            .saturating_add(self.working_bytes)
    }

    /// The most slots of the same context that fit `bytes`; 0 when not even the parameters do.
    pub fn slots_that_fit(&self, bytes: u64) -> u64 {
        let slot_bytes = self
            .cache_token_bytes
            .saturating_mul(self.context_tokens as u64 + self.spare_tokens);
        self.room(bytes) / slot_bytes.max(1)
    }

    /// The longest context that fits `bytes` with one slot; 0 when not even the parameters do.
    pub fn context_that_fits(&self, bytes: u64) -> u64 {
        (self.room(bytes) / self.cache_token_bytes.max(1)).saturating_sub(self.spare_tokens)
    }

    /// Bytes that are left for caches.
    fn room(&self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.parameter_bytes.saturating_add(self.working_bytes))
    }
}

/// Numbers in the intermediate results that live at the same time, for one token.
fn working_numbers(config: &Config) -> u64 {
    let heads = config.heads + 2 * config.kv_heads;
    (3 * config.intermediate + 6 * config.hidden + 2 * heads * config.head_dim) as u64
}

fn read_config(files: &dyn ModelFiles) -> Result<Config, LoadError> {
    let config = read_json(files, "config.json")?;
    let generation = match files.has("generation_config.json") {
        true => Some(read_json(files, "generation_config.json")?),
        false => None,
    };
    Config::read(&config, generation.as_ref()).map_err(|problem| LoadError::Config {
        path: PathBuf::from("config.json"),
        problem,
    })
}

fn read_json(files: &dyn ModelFiles, name: &str) -> Result<Value, LoadError> {
    let path = Path::new(name);
    let bytes = files
        .read(name, CONFIG_BYTES_MAX)
        .map_err(|error| LoadError::io(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| LoadError::Json {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

/// The headers of all files of parameters, and the length of the largest file.
fn read_headers(files: &dyn ModelFiles) -> Result<(Listing, u64), LoadError> {
    if files.has(SINGLE_FILE) || !files.has(INDEX_FILE) {
        let mut listing = Listing::new(PathBuf::from(SINGLE_FILE));
        let bytes = add_header(files, SINGLE_FILE, &mut listing)?;
        return Ok((listing, bytes));
    }
    let index = Path::new(INDEX_FILE);
    let bytes = files
        .read(INDEX_FILE, INDEX_BYTES_MAX)
        .map_err(|error| LoadError::io(index, error))?;
    let map = ShardMap::parse(index, &bytes)?;
    let mut listing = Listing::new(index.to_owned());
    let mut largest = 0;
    for name in map.names() {
        largest = largest.max(add_header(files, &name, &mut listing)?);
    }
    listing.restrict(&map)?;
    Ok((listing, largest))
}

/// Adds the header of one file; returns the file's length.
fn add_header(files: &dyn ModelFiles, name: &str, listing: &mut Listing) -> Result<u64, LoadError> {
    let path = Path::new(name);
    let io = |error| LoadError::io(path, error);
    let file_bytes = files.len(name).map_err(io)?;
    let first = files.read_part(name, 0, LENGTH_BYTES).map_err(io)?;
    let header_bytes = header::header_bytes(path, &first, file_bytes)?;
    let header = files.read_part(name, LENGTH_BYTES, header_bytes).map_err(io)?;
    if header.len() as u64 != header_bytes {
        return Err(header::broken(
            path,
            format!("{} of {header_bytes} bytes of the header came", header.len()),
        ));
    }
    listing.add(path, &header, file_bytes)?;
    Ok(file_bytes)
}

/// A model on this machine.
struct Folder(PathBuf);

impl ModelFiles for Folder {
    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.0.join(path))?.len())
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.0.join(path))?
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    fn read_part(&self, path: &str, start: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.0.join(path))?;
        file.seek(SeekFrom::Start(start))?;
        let mut found = Vec::new();
        file.take(bytes).read_to_end(&mut found)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::Arithmetic;
    use crate::device::DeviceChoice;
    use crate::testing::Folder as TestFolder;
    use safetensors::Dtype as StoredDtype;

    fn options(slots: usize, context_tokens_max: usize) -> LoadOptions {
        LoadOptions {
            device: DeviceChoice::Cpu,
            arithmetic: Arithmetic::Libtorch,
            slots,
            context_tokens_max,
            ..LoadOptions::default()
        }
    }

    #[test]
    fn a_plan_counts_what_loading_would_hold() {
        let folder = TestFolder::new();
        let plan = Plan::of_folder(folder.path()).unwrap();
        assert_eq!((plan.parameters, plan.stored_bytes), (4944, 4 * 4944));
        // All but the table of 8 x 16.
        assert_eq!(plan.parameters_read, 4944 - 128);
        // Keys and values of 2 layers, 2 heads of 4.
        assert_eq!(plan.cache_numbers, 32);
        assert!(plan.shard_bytes_max > plan.stored_bytes);
        let need = plan.need(&options(3, 4096)).unwrap();
        assert_eq!(
            (need.context_tokens, need.parameter_bytes, need.cache_bytes),
            (64, 4 * 4944, 3 * 65 * 32 * 4)
        );
        assert_eq!(need.slots_that_fit(need.bytes()), 3);
        assert_eq!(need.slots_that_fit(need.bytes() - 1), 2);
        assert_eq!(need.slots_that_fit(0), 0);
        assert_eq!(need.context_that_fits(need.bytes()), 3 * 65 - 1);
        assert!(plan.need(&options(0, 1)).is_err());
    }

    #[test]
    fn the_kernels_hold_whole_blocks_of_keys_and_whole_lines_of_values() {
        let plan = Plan::of_folder(TestFolder::new().path()).unwrap();
        let options = |dtype| LoadOptions {
            dtype: Some(dtype),
            arithmetic: Arithmetic::Kernels,
            ..options(3, 4096)
        };
        let need = plan.need(&options(Dtype::F32)).unwrap();
        // In 2 layers, for each of 2 heads of 4: a key of 4 numbers, and a value in a line of 16.
        assert_eq!(need.cache_token_bytes, 2 * 2 * (4 + 16) * 4);
        assert_eq!(need.cache_bytes, 3 * (64 + 63) * need.cache_token_bytes);
        assert_eq!(need.slots_that_fit(need.bytes()), 3);
        assert_eq!(need.slots_that_fit(need.bytes() - 1), 2);
        let need = plan.need(&options(Dtype::Int8)).unwrap();
        assert_eq!(need.parameter_bytes, 4944 + 4944 / 32);
    }

    #[test]
    fn a_plan_of_shards_is_that_of_one_file() {
        let folder = TestFolder::new();
        let whole = Plan::of_folder(folder.path()).unwrap();
        folder.split();
        let split = Plan::of_folder(folder.path()).unwrap();
        assert!(split.shard_bytes_max < whole.shard_bytes_max);
        let shard_bytes_max = whole.shard_bytes_max;
        assert_eq!(
            Plan {
                shard_bytes_max,
                ..split
            },
            whole
        );
    }

    #[test]
    fn what_loading_would_refuse_is_refused_before() {
        let mut folder = TestFolder::new();
        folder.set_tensor("model.norm.weight", StoredDtype::F32, &[15]);
        let error = Plan::of_folder(folder.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model.safetensors: tensor model.norm.weight has shape [15], expected [16]"
        );
        folder.write("model.safetensors", b"");
        assert!(Plan::of_folder(folder.path()).is_err());
    }

    #[test]
    fn speed_is_bandwidth_over_the_bytes_of_a_step() {
        let plan = Plan::of_folder(TestFolder::new().path()).unwrap();
        let need = plan.need(&options(1, 64)).unwrap();
        let step = 4.0 * f64::from(4944 - 128) + 10.0 * 32.0 * 4.0;
        assert_eq!(plan.tokens_per_second(&need, 1, 10, step * 7.0), 7.0);
        // Twice the requests read the parameters once.
        assert!(plan.tokens_per_second(&need, 2, 10, 1e9) > 1.8 * plan.tokens_per_second(&need, 1, 10, 1e9));
    }
}
