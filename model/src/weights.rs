//! Finds and reads the parameters of a model: `model.safetensors` in one piece or in shards.
//!
//! Headers are read and believed only within limits; the data of one tensor is read when it is asked for, so that
//! a model never lies in memory twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype as StoredDtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::load::{LoadError, read_bounded};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
/// Tens of thousands of tensors fit.
const HEADER_BYTES_MAX: u64 = 32 << 20;
const INDEX_BYTES_MAX: u64 = 32 << 20;
/// The largest published models come in fewer than two hundred.
const SHARDS_MAX: usize = 1024;
/// A header starts with its own length, eight bytes, little-endian.
const LENGTH_BYTES: u64 = 8;

/// The parameter files of one folder, with their headers read.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    /// The file to name when a tensor is in none: the single file or the index.
    listing: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Stored>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Stored {
    shard: usize,
    dtype: StoredDtype,
    shape: Vec<usize>,
    /// Bytes from the start of the file.
    offset: u64,
    bytes: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl WeightFiles {
    /// Opens the files of `dir` and reads their headers; one file wins over shards, as in transformers.
    pub(crate) fn open(dir: &Path) -> Result<WeightFiles, LoadError> {
        let single = dir.join(SINGLE_FILE);
        let index = dir.join(INDEX_FILE);
        if single.exists() || !index.exists() {
            let mut files = WeightFiles {
                listing: single.clone(),
                shards: Vec::new(),
                tensors: BTreeMap::new(),
            };
            files.add_shard(single)?;
            return Ok(files);
        }
        WeightFiles::open_sharded(dir, index)
    }

    fn open_sharded(dir: &Path, index: PathBuf) -> Result<WeightFiles, LoadError> {
        let bytes = read_bounded(&index, INDEX_BYTES_MAX)?;
        let map: Index = serde_json::from_slice(&bytes).map_err(|error| LoadError::Json {
            path: index.clone(),
            message: error.to_string(),
        })?;
        let names: std::collections::BTreeSet<&String> = map.weight_map.values().collect();
        if names.len() > SHARDS_MAX {
            return Err(LoadError::TooManyShards {
                path: index,
                found: names.len(),
                limit: SHARDS_MAX,
            });
        }
        let mut files = WeightFiles {
            listing: index,
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        for name in names {
            if !is_plain_file_name(name) {
                return Err(LoadError::ShardName {
                    path: files.listing,
                    found: name.clone(),
                });
            }
            files.add_shard(dir.join(name))?;
        }
        // A tensor counts only where the index says it is.
        files.tensors = map
            .weight_map
            .iter()
            .map(|(tensor, shard)| files.indexed(tensor, shard))
            .collect::<Result<_, _>>()?;
        Ok(files)
    }

    /// A tensor that the index promises in the shard named `shard`.
    fn indexed(&self, tensor: &str, shard: &str) -> Result<(String, Stored), LoadError> {
        let is_there = |stored: &&Stored| self.shards[stored.shard].path.ends_with(shard);
        match self.tensors.get(tensor).filter(is_there) {
            Some(stored) => Ok((tensor.to_owned(), stored.clone())),
            None => Err(LoadError::MissingTensor {
                path: self.listing.with_file_name(shard),
                tensor: tensor.to_owned(),
            }),
        }
    }

    fn add_shard(&mut self, path: PathBuf) -> Result<(), LoadError> {
        let io = |error| LoadError::io(&path, error);
        let mut file = File::open(&path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let (data_start, metadata) = read_header(&path, &mut file, file_bytes)?;
        let shard = self.shards.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let stored = Stored {
                shard,
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: data_start + start as u64,
                bytes: end - start,
            };
            self.tensors.insert(name, stored);
        }
        self.shards.push(Shard { path, file });
        Ok(())
    }

    /// Checks that a tensor is there, in a format that can be read and with the shape it has to have.
    ///
    /// Returns its bytes in the file.
    pub(crate) fn require(&self, tensor: &str, shape: &[usize]) -> Result<u64, LoadError> {
        let stored = self.find(tensor)?;
        let path = || self.shards[stored.shard].path.clone();
        if kind_of(stored.dtype).is_none() {
            let found = stored.dtype.to_string();
            return Err(LoadError::TensorDtype {
                path: path(),
                tensor: tensor.to_owned(),
                found,
            });
        }
        if stored.shape != shape {
            return Err(LoadError::TensorShape {
                path: path(),
                tensor: tensor.to_owned(),
                expected: shape.to_vec(),
                found: stored.shape.clone(),
            });
        }
        Ok(stored.bytes as u64)
    }

    /// Reads one tensor, adds what identifies it to `digest`, and returns it on the CPU in its stored format.
    pub(crate) fn read(&mut self, tensor: &str, digest: &mut blake3::Hasher) -> Result<Tensor, LoadError> {
        let stored = self.find(tensor)?.clone();
        let shard = &mut self.shards[stored.shard];
        let io = |error| LoadError::io(&shard.path, error);
        let mut data = vec![0; stored.bytes];
        shard.file.seek(SeekFrom::Start(stored.offset)).map_err(io)?;
        shard.file.read_exact(&mut data).map_err(io)?;
        add_to_digest(digest, tensor, &stored, &data);
        let kind = kind_of(stored.dtype).ok_or_else(|| LoadError::TensorDtype {
            path: shard.path.clone(),
            tensor: tensor.to_owned(),
            found: stored.dtype.to_string(),
        })?;
        let size: Vec<i64> = stored.shape.iter().map(|&length| length as i64).collect();
        Tensor::f_from_data_size(&data, &size, kind)
            .map_err(|error| LoadError::torch("read a tensor", &error))
    }

    fn find(&self, tensor: &str) -> Result<&Stored, LoadError> {
        self.tensors.get(tensor).ok_or_else(|| LoadError::MissingTensor {
            path: self.listing.clone(),
            tensor: tensor.to_owned(),
        })
    }
}

/// Reads a header within its limits; returns where the data starts and what is there.
fn read_header(path: &Path, file: &mut File, file_bytes: u64) -> Result<(u64, Metadata), LoadError> {
    let broken = |problem: String| LoadError::Safetensors {
        path: path.to_owned(),
        problem,
    };
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut length).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => broken(format!("the file has {file_bytes} bytes, too few for a header")),
        _ => LoadError::io(path, error),
    })?;
    let header_bytes = u64::from_le_bytes(length);
    let room = file_bytes.saturating_sub(LENGTH_BYTES).min(HEADER_BYTES_MAX);
    if header_bytes > room {
        return Err(broken(format!(
            "the header claims {header_bytes} bytes, at most {room} are possible"
        )));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact(&mut header)
        .map_err(|error| LoadError::io(path, error))?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| broken(error.to_string()))?;
    let data_start = LENGTH_BYTES + header_bytes;
    let data_bytes = file_bytes - data_start;
    if metadata.data_len() as u64 != data_bytes {
        let claimed = metadata.data_len();
        return Err(broken(format!(
            "the header describes {claimed} bytes of data, the file has {data_bytes}"
        )));
    }
    Ok((data_start, metadata))
}

/// Only names in the same folder are followed.
fn is_plain_file_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
}

/// The formats that parameters are read in.
fn kind_of(dtype: StoredDtype) -> Option<Kind> {
    match dtype {
        StoredDtype::F32 => Some(Kind::Float),
        StoredDtype::BF16 => Some(Kind::BFloat16),
        StoredDtype::F16 => Some(Kind::Half),
        _ => None,
    }
}

fn add_to_digest(digest: &mut blake3::Hasher, tensor: &str, stored: &Stored, data: &[u8]) {
    add_bytes(digest, tensor.as_bytes());
    add_bytes(digest, stored.dtype.to_string().as_bytes());
    digest.update(&(stored.shape.len() as u64).to_le_bytes());
    for &length in &stored.shape {
        digest.update(&(length as u64).to_le_bytes());
    }
    add_bytes(digest, data);
}

/// Adds `bytes` with their length before them, so that no two sequences of parts run together.
pub(crate) fn add_bytes(digest: &mut blake3::Hasher, bytes: &[u8]) {
    digest.update(&(bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}
