//! The small files of a model's folder, read within limits.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::LoadError;
use crate::config::Config;

pub(crate) const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// The largest vocabularies in use come to about 35 MB of JSON.
const TOKENIZER_BYTES_MAX: u64 = 128 << 20;

pub(super) fn read_config(dir: &Path) -> Result<Config, LoadError> {
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
