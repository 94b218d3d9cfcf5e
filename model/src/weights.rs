//! Finds and reads the parameters of a model: `model.safetensors` in one piece or in shards.
//!
//! Headers are read and believed only within limits. The files are mapped into memory; a tensor goes from there to
//! its device when it is asked for, and its pages are given back, so that loading needs no more host memory than the
//! tensors that stay there and one tensor on its way.
//!
//! A mapped file must not be cut while it is read: the system would end the process. Model folders are written once
//! and replaced whole, by this program and by every other that is in use.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use agon_model_kernels::f32_from_bf16;
use memmap2::{Advice, Mmap, UncheckedAdvice};
use safetensors::Dtype as StoredDtype;
use serde::Deserialize;
use tch::{Device, Kind, TchError, Tensor};

use crate::header::{self, LENGTH_BYTES, Stored, broken, kind_of};
use crate::load::{LoadError, read_bounded};

pub(crate) const SINGLE_FILE: &str = "model.safetensors";
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";
pub(crate) const INDEX_BYTES_MAX: u64 = 32 << 20;
/// The largest published models come in fewer than two hundred.
const SHARDS_MAX: usize = 1024;

/// The parameter files of one folder, with their headers read.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    listing: Listing,
    shards: Vec<Mmap>,
}

/// What the headers of a model's files say, without the files.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The file to name when a tensor is in none: the single file or the index.
    path: PathBuf,
    shards: Vec<PathBuf>,
    tensors: BTreeMap<String, Stored>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The index of a model in shards.
#[derive(Debug)]
pub(crate) struct ShardMap {
    /// Where it was read.
    path: PathBuf,
    /// The shard of each tensor.
    shards: BTreeMap<String, String>,
}

impl ShardMap {
    /// Reads an index; every shard is a file beside it.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<ShardMap, LoadError> {
        let index: Index = serde_json::from_slice(bytes).map_err(|error| LoadError::Json {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let map = ShardMap {
            path: path.to_owned(),
            shards: index.weight_map,
        };
        let names = map.names();
        if names.len() > SHARDS_MAX {
            return Err(LoadError::TooManyShards {
                path: path.to_owned(),
                found: names.len(),
                limit: SHARDS_MAX,
            });
        }
        match names.iter().find(|name| !is_plain_file_name(name)) {
            Some(name) => Err(LoadError::ShardName {
                path: path.to_owned(),
                found: name.clone(),
            }),
            None => Ok(map),
        }
    }

    /// The files that it names, in order, each once.
    pub(crate) fn names(&self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.shards.values().collect();
        names.into_iter().cloned().collect()
    }
}

impl Listing {
    /// An empty listing; `path` is the file to name when a tensor is in none.
    pub(crate) fn new(path: PathBuf) -> Listing {
        Listing {
            path,
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        }
    }

    /// Adds the tensors that the header of one more file describes.
    pub(crate) fn add(&mut self, path: &Path, header: &[u8], file_bytes: u64) -> Result<(), LoadError> {
        let found = header::parse(path, header, file_bytes, self.shards.len())?;
        self.tensors.extend(found);
        self.shards.push(path.to_owned());
        Ok(())
    }

    /// From now on a tensor counts only where the index says it is.
    pub(crate) fn restrict(&mut self, map: &ShardMap) -> Result<(), LoadError> {
        self.tensors = map
            .shards
            .iter()
            .map(|(tensor, shard)| self.indexed(&map.path, tensor, shard))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// A tensor that the index promises in the shard named `shard`.
    fn indexed(&self, index: &Path, tensor: &str, shard: &str) -> Result<(String, Stored), LoadError> {
        let is_there = |stored: &&Stored| self.shards[stored.shard].ends_with(shard);
        match self.tensors.get(tensor).filter(is_there) {
            Some(stored) => Ok((tensor.to_owned(), stored.clone())),
            None => Err(LoadError::MissingTensor {
                path: index.with_file_name(shard),
                tensor: tensor.to_owned(),
            }),
        }
    }

    /// Whether a tensor of this name is there.
    pub(crate) fn has(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    /// Checks that a tensor is there, in a format that can be read and with the shape it has to have.
    ///
    /// Returns its bytes in the file.
    pub(crate) fn require(&self, tensor: &str, shape: &[usize]) -> Result<u64, LoadError> {
        let stored = self.find(tensor)?;
        let path = || self.shards[stored.shard].clone();
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

    fn find(&self, tensor: &str) -> Result<&Stored, LoadError> {
        self.tensors.get(tensor).ok_or_else(|| LoadError::MissingTensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
        })
    }
}

impl WeightFiles {
    /// Opens the files of `dir` and reads their headers; one file wins over shards, as in transformers.
    pub(crate) fn open(dir: &Path) -> Result<WeightFiles, LoadError> {
        let single = dir.join(SINGLE_FILE);
        let index = dir.join(INDEX_FILE);
        if single.exists() || !index.exists() {
            let mut files = WeightFiles::none(single.clone());
            files.add_shard(&single)?;
            return Ok(files);
        }
        let map = ShardMap::parse(&index, &read_bounded(&index, INDEX_BYTES_MAX)?)?;
        let mut files = WeightFiles::none(index);
        for name in map.names() {
            files.add_shard(&dir.join(name))?;
        }
        files.listing.restrict(&map)?;
        Ok(files)
    }

    fn none(listing: PathBuf) -> WeightFiles {
        WeightFiles {
            listing: Listing::new(listing),
            shards: Vec::new(),
        }
    }

    fn add_shard(&mut self, path: &Path) -> Result<(), LoadError> {
        let io = |error| LoadError::io(path, error);
        let mut file = File::open(path).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        let mut first = Vec::new();
        Read::by_ref(&mut file)
            .take(LENGTH_BYTES)
            .read_to_end(&mut first)
            .map_err(io)?;
        let header_bytes = header::header_bytes(path, &first, file_bytes)?;
        let mut header = vec![0; header_bytes as usize];
        file.read_exact(&mut header).map_err(io)?;
        self.listing.add(path, &header, file_bytes)?;
        self.shards.push(map(&file).map_err(io)?);
        Ok(())
    }

    /// What the headers say.
    pub(crate) fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Takes one tensor to `device` in the format `kind`; what identifies it is added to `digest`.
    pub(crate) fn place(
        &self,
        tensor: &str,
        digest: &mut blake3::Hasher,
        kind: Kind,
        device: Device,
    ) -> Result<Tensor, LoadError> {
        let (stored, data) = self.data(tensor)?;
        add_to_digest(digest, tensor, stored, data);
        let found = kind_of(stored.dtype).ok_or_else(|| self.wrong_dtype(tensor, stored))?;
        let held = copy_out(data, &stored.shape, found, kind, device)
            .map_err(|error| LoadError::torch("place a tensor", &error))?;
        self.give_back(stored);
        Ok(held)
    }

    /// Hands the numbers of one tensor to `each` in `f32`, up to `together` at a time, with the index of the first; what
    /// identifies the tensor is added to `digest`.
    pub(crate) fn read(
        &self,
        tensor: &str,
        digest: &mut blake3::Hasher,
        together: usize,
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<(), LoadError> {
        let (stored, data) = self.data(tensor)?;
        add_to_digest(digest, tensor, stored, data);
        let number_bytes = stored.dtype.bitsize() / 8;
        let mut numbers = Vec::with_capacity(together);
        for (index, part) in data.chunks(together * number_bytes).enumerate() {
            numbers.clear();
            if !decode(stored.dtype, part, &mut numbers) {
                return Err(self.wrong_dtype(tensor, stored));
            }
            each(index * together, &numbers);
        }
        self.give_back(stored);
        Ok(())
    }

    fn wrong_dtype(&self, tensor: &str, stored: &Stored) -> LoadError {
        LoadError::TensorDtype {
            path: self.listing.shards[stored.shard].clone(),
            tensor: tensor.to_owned(),
            found: stored.dtype.to_string(),
        }
    }

    /// Adds what identifies a tensor to `digest`, and nothing else.
    pub(crate) fn hash(&self, tensor: &str, digest: &mut blake3::Hasher) -> Result<(), LoadError> {
        let (stored, data) = self.data(tensor)?;
        add_to_digest(digest, tensor, stored, data);
        self.give_back(stored);
        Ok(())
    }

    /// The bytes of a tensor where they lie in the mapped file.
    fn data(&self, tensor: &str) -> Result<(&Stored, &[u8]), LoadError> {
        let stored = self.listing.find(tensor)?;
        let shard = &self.shards[stored.shard];
        let start = usize::try_from(stored.offset).unwrap_or(usize::MAX);
        let data = start
            .checked_add(stored.bytes)
            .and_then(|end| shard.get(start..end))
            .ok_or_else(|| {
                let path = &self.listing.shards[stored.shard];
                broken(path, format!("tensor {tensor} lies beyond the end of the file"))
            })?;
        // Advice is only that: a system that refuses it reads the pages all the same.
        let _ = shard.advise_range(Advice::WillNeed, start, stored.bytes);
        Ok((stored, data))
    }

    /// Tells the system that the pages of a tensor are not needed any more.
    #[expect(unsafe_code, reason = "dropping pages of a writable mapping would lose data")]
    fn give_back(&self, stored: &Stored) {
        let start = usize::try_from(stored.offset).unwrap_or(usize::MAX);
        let shard = &self.shards[stored.shard];
        // SAFETY: the mapping is shared and read-only, so dropped pages come back from the file with the same bytes.
        let _ = unsafe { shard.unchecked_advise_range(UncheckedAdvice::DontNeed, start, stored.bytes) };
    }
}

#[expect(
    unsafe_code,
    reason = "a mapping changes when its file does; see the head of this file"
)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is read-only, and what is read from it are numbers of which every bit pattern is valid.
    unsafe { Mmap::map(file) }
}

/// Appends numbers that lie in memory in format `dtype` to `out`; `false` when that is none that is read.
fn decode(dtype: StoredDtype, bytes: &[u8], out: &mut Vec<f32>) -> bool {
    let of_two = |of: fn([u8; 2]) -> f32| bytes.as_chunks().0.iter().map(move |&bytes| of(bytes));
    match dtype {
        StoredDtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
        StoredDtype::BF16 => out.extend(of_two(|bytes| f32_from_bf16(u16::from_le_bytes(bytes)))),
        StoredDtype::F16 => out.extend(of_two(|bytes| half::f16::from_le_bytes(bytes).to_f32())),
        _ => return false,
    }
    true
}

/// A tensor of its own on `device`, of numbers that lie in memory as `found`.
fn copy_out(
    data: &[u8],
    shape: &[usize],
    found: Kind,
    kind: Kind,
    device: Device,
) -> Result<Tensor, TchError> {
    let size: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
    let numbers = shape
        .iter()
        .try_fold(1_usize, |product, &length| product.checked_mul(length));
    let number_bytes = found.elt_size_in_bytes();
    if numbers.and_then(|numbers| numbers.checked_mul(number_bytes)) != Some(data.len()) {
        let problem = format!("{} bytes do not make {shape:?} of {found:?}", data.len());
        return Err(TchError::Shape(problem));
    }
    if data.as_ptr().align_offset(number_bytes) != 0 {
        return move_to(&Tensor::f_from_data_size(data, &size, found)?, kind, device);
    }
    let borrowed = borrow(data, &size, found)?;
    move_to(&borrowed, kind, device)
}

/// A tensor that lives in somebody else's memory, for as long as that is borrowed.
struct Borrowed<'data> {
    tensor: Tensor,
    _data: std::marker::PhantomData<&'data [u8]>,
}

impl std::ops::Deref for Borrowed<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

#[expect(
    unsafe_code,
    reason = "copying a model once more would double the memory it needs"
)]
fn borrow<'data>(data: &'data [u8], size: &[i64], kind: Kind) -> Result<Borrowed<'data>, TchError> {
    let mut strides = vec![1; size.len()];
    for index in (1..size.len()).rev() {
        strides[index - 1] = strides[index] * size[index];
    }
    // SAFETY: the caller saw that the data is aligned and as long as size and kind say; it outlives the tensor,
    // which is never written.
    let tensor = unsafe { Tensor::f_from_blob(data.as_ptr(), size, &strides, kind, Device::Cpu) }?;
    Ok(Borrowed {
        tensor,
        _data: std::marker::PhantomData,
    })
}

/// A copy in another place and format; formats are changed on the device, so that the host needs no second copy.
fn move_to(source: &Tensor, kind: Kind, device: Device) -> Result<Tensor, TchError> {
    if device == Device::Cpu {
        source.f_to_dtype(kind, false, true)
    } else {
        source.f_to_device(device)?.f_to_kind(kind)
    }
}

/// Only names in the same folder are followed.
fn is_plain_file_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
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
