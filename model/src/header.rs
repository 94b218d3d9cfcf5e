//! Headers of safetensors files: what lies where, believed only within limits.
//!
//! A file starts with eight bytes, little-endian, which are the length of its header; the header is JSON, and the data
//! follows. Nothing here reads a file: the bytes may come from a disk or over a network.

use std::path::Path;

use safetensors::Dtype as StoredDtype;
use safetensors::tensor::Metadata;
use tch::Kind;

use crate::load::LoadError;

/// Tens of thousands of tensors fit.
const HEADER_BYTES_MAX: u64 = 32 << 20;
/// Bytes before the header, which say how long it is.
pub(crate) const LENGTH_BYTES: u64 = 8;

/// Where a tensor lies in its file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Index of the file among those of the model.
    pub(crate) shard: usize,
    pub(crate) dtype: StoredDtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes from the start of the file.
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// The length of a header, from the first bytes of a file of `file_bytes` bytes.
pub(crate) fn header_bytes(path: &Path, first: &[u8], file_bytes: u64) -> Result<u64, LoadError> {
    let Ok(length) = <[u8; LENGTH_BYTES as usize]>::try_from(first) else {
        let problem = format!("the file has {file_bytes} bytes, too few for a header");
        return Err(broken(path, problem));
    };
    let claimed = u64::from_le_bytes(length);
    let room = file_bytes.saturating_sub(LENGTH_BYTES).min(HEADER_BYTES_MAX);
    if claimed > room {
        let problem = format!("the header claims {claimed} bytes, at most {room} are possible");
        return Err(broken(path, problem));
    }
    Ok(claimed)
}

/// The tensors that a header describes, in a file of `file_bytes` bytes that is number `shard` of its model.
pub(crate) fn parse(
    path: &Path,
    header: &[u8],
    file_bytes: u64,
    shard: usize,
) -> Result<Vec<(String, Stored)>, LoadError> {
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(|error| broken(path, error.to_string()))?;
    let data_start = LENGTH_BYTES + header.len() as u64;
    let data_bytes = file_bytes.saturating_sub(data_start);
    if metadata.data_len() as u64 != data_bytes {
        let claimed = metadata.data_len();
        let problem = format!("the header describes {claimed} bytes of data, the file has {data_bytes}");
        return Err(broken(path, problem));
    }
    let tensors = metadata.tensors().into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        let stored = Stored {
            shard,
            dtype: info.dtype,
            shape: info.shape.clone(),
            offset: data_start + start as u64,
            bytes: end.saturating_sub(start),
        };
        (name, stored)
    });
    Ok(tensors.collect())
}

/// The formats that parameters are read in.
pub(crate) fn kind_of(dtype: StoredDtype) -> Option<Kind> {
    match dtype {
        StoredDtype::F32 => Some(Kind::Float),
        StoredDtype::BF16 => Some(Kind::BFloat16),
        StoredDtype::F16 => Some(Kind::Half),
        _ => None,
    }
}

/// A complaint about the file `path`.
pub(crate) fn broken(path: &Path, problem: String) -> LoadError {
    LoadError::Safetensors {
        path: path.to_owned(),
        problem,
    }
}
