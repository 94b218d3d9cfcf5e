//! What identifies a model: a hash over everything that decides its answers.

use std::path::Path;

use super::LoadError;
use super::files::{read_config, read_tokenizer};
use crate::config::Config;
use crate::runtime::start;
use crate::shapes::parameter_shapes;
use crate::weights::{WeightFiles, add_bytes};

/// Opens the digest of a model, so that it can never be taken for the digest of something else.
const DIGEST_CONTEXT: &[u8] = b"agon model 1";

/// The digest of the model in the folder `dir`, as `ModelInfo::digest`; nothing is kept in memory.
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

/// A digest that already covers the numbers of `config.json` that enter the computation; shapes tell the others.
pub(super) fn begin_digest(config: &Config) -> blake3::Hasher {
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
