//! Reads `config.json` and `generation_config.json`, of transformers 4 or 5, into numbers that can be trusted.
//!
//! Everything that would change what the model computes and that the decoder does not do is refused by name, not
//! ignored: unknown scalings of positions, other activations, extra biases, quantised weights.
//! The remaining numbers are checked against limits and against each other, so that nothing behind this file can
//! overflow, divide by zero or allocate without bound because of a hostile folder.

mod error;
mod fields;
mod rope;

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::Value;

pub use error::ConfigError;
use fields::end_of_text;
pub(crate) use fields::{Fields, unsupported, wrong_type};
pub(crate) use rope::RopeScaling;

/// A family of decoders that this crate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Grouped-query attention with rotary positions, RMS norms and a gated SiLU; no biases.
    Llama,
    /// As Llama; each token may see a window of tokens only.
    Mistral,
    /// As Llama, with biases on queries, keys and values.
    Qwen2,
    /// As Llama, with RMS norms on the heads of queries and keys.
    Qwen3,
}

impl Architecture {
    /// The names under which transformers writes each family: class name, then `model_type`.
    const NAMES: [(&'static str, &'static str, Architecture); 4] = [
        ("LlamaForCausalLM", "llama", Architecture::Llama),
        ("MistralForCausalLM", "mistral", Architecture::Mistral),
        ("Qwen2ForCausalLM", "qwen2", Architecture::Qwen2),
        ("Qwen3ForCausalLM", "qwen3", Architecture::Qwen3),
    ];

    /// Whether queries, keys and values carry a bias.
    pub(crate) fn has_attention_bias(self) -> bool {
        self == Architecture::Qwen2
    }

    /// Whether each head of queries and keys is normed before it is rotated.
    pub(crate) fn has_head_norms(self) -> bool {
        self == Architecture::Qwen3
    }

    /// What transformers takes as the width of a head where the file does not say.
    fn head_dim(self, hidden: usize, heads: usize) -> u64 {
        match self {
            Architecture::Qwen3 => QWEN3_HEAD_DIM,
            _ => (hidden / heads) as u64,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Architecture::Llama => "llama",
            Architecture::Mistral => "mistral",
            Architecture::Qwen2 => "qwen2",
            Architecture::Qwen3 => "qwen3",
        })
    }
}

/// The shape of a decoder and the numbers it computes with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) architecture: Architecture,
    pub(crate) vocabulary: usize,
    pub(crate) hidden: usize,
    /// Width of the gated layer between.
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Added under the root of every RMS norm.
    pub(crate) norm_epsilon: f64,
    /// Base of the rotary frequencies.
    pub(crate) rope_theta: f64,
    /// How those frequencies are changed for contexts beyond the original one.
    pub(crate) rope_scaling: RopeScaling,
    /// Positions the model was made for, what its scaling adds included.
    pub(crate) context_tokens: usize,
    /// Tokens that a token sees, itself included, in the layers that have a window.
    pub(crate) window: Option<Window>,
    /// The output head is the transposed embedding.
    pub(crate) is_tied: bool,
    /// Tokens that end a text. Empty when the folder names none.
    pub(crate) end_of_text: Vec<u32>,
}

/// A sliding window of attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Tokens in sight, the token itself included.
    pub(crate) tokens: usize,
    /// Which layers have the window; the others see everything.
    pub(crate) layers: Vec<bool>,
}

const VOCABULARY: RangeInclusive<u64> = 2..=1 << 22;
const WIDTH: RangeInclusive<u64> = 1..=1 << 18;
const LAYERS: RangeInclusive<u64> = 1..=1024;
const HEADS: RangeInclusive<u64> = 1..=1024;
const HEAD_DIM: RangeInclusive<u64> = 2..=1024;
const CONTEXT: RangeInclusive<u64> = 1..=CONTEXT_MAX as u64;
const CONTEXT_MAX: usize = 1 << 24;
/// What transformers assumes where a file does not say.
const ROPE_THETA_DEFAULT: f64 = 10_000.0;
const NORM_EPSILON_DEFAULT: f64 = 1e-6;
const CONTEXT_DEFAULT: u64 = 2048;
const QWEN3_HEAD_DIM: u64 = 128;
/// End-of-text tokens read at most; real folders name one to three.
const END_OF_TEXT_MAX: usize = 64;

impl Config {
    /// Reads the two files; `generation` is `None` where the folder has no `generation_config.json`.
    pub(crate) fn read(config: &Value, generation: Option<&Value>) -> Result<Config, ConfigError> {
        let fields = Fields::of("config.json", config)?;
        let architecture = fields.architecture()?;
        fields.refuse_what_is_not_computed(architecture)?;
        let heads = fields.size("num_attention_heads", HEADS)?;
        let hidden = fields.size("hidden_size", WIDTH)?;
        let layers = fields.size("num_hidden_layers", LAYERS)?;
        let positions = fields.size_or("max_position_embeddings", CONTEXT, CONTEXT_DEFAULT)?;
        let rope_scaling = fields.rope_scaling(positions)?;
        let config = Config {
            architecture,
            vocabulary: fields.size("vocab_size", VOCABULARY)?,
            hidden,
            intermediate: fields.size("intermediate_size", WIDTH)?,
            layers,
            heads,
            kv_heads: fields.size_or("num_key_value_heads", HEADS, heads as u64)?,
            head_dim: fields.size_or("head_dim", HEAD_DIM, architecture.head_dim(hidden, heads))?,
            norm_epsilon: fields.positive_or("rms_norm_eps", NORM_EPSILON_DEFAULT)?,
            rope_theta: fields.rope_theta()?,
            context_tokens: rope_scaling.context_tokens(positions).min(CONTEXT_MAX),
            rope_scaling,
            window: fields.window(architecture, layers)?,
            is_tied: fields.flag("tie_word_embeddings")?,
            end_of_text: end_of_text(&fields, generation)?,
        };
        config.check_fit()
    }

    /// The checks that need more than one number.
    fn check_fit(self) -> Result<Config, ConfigError> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ConfigError::NotADivisor {
                field: "num_key_value_heads",
                found: self.kv_heads,
                of: "num_attention_heads",
                whole: self.heads,
            });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::OddHead { found: self.head_dim });
        }
        self.rope_scaling.check_head(self.head_dim)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
