//! Reads `config.json` and `generation_config.json`, of transformers 4 or 5, into numbers that can be trusted.
//!
//! Everything that would change what the model computes and that the decoder does not do is refused by name, not
//! ignored: scaled rotary embeddings, sliding windows, other activations, extra biases, quantised weights.
//! The remaining numbers are checked against limits and against each other, so that nothing behind this file can
//! overflow, divide by zero or allocate without bound because of a hostile folder.

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use thiserror::Error;

/// A family of decoders that this crate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Grouped-query attention with rotary positions, RMS norms and a gated SiLU; no biases.
    Llama,
    /// As Llama, with biases on queries, keys and values.
    Qwen2,
}

impl Architecture {
    /// The names under which transformers writes each family: class name, then `model_type`.
    const NAMES: [(&'static str, &'static str, Architecture); 2] = [
        ("LlamaForCausalLM", "llama", Architecture::Llama),
        ("Qwen2ForCausalLM", "qwen2", Architecture::Qwen2),
    ];

    /// Whether queries, keys and values carry a bias.
    pub(crate) fn has_attention_bias(self) -> bool {
        self == Architecture::Qwen2
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Architecture::Llama => "llama",
            Architecture::Qwen2 => "qwen2",
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
    /// Positions the model was made for.
    pub(crate) context_tokens: usize,
    /// The output head is the transposed embedding.
    pub(crate) is_tied: bool,
    /// Tokens that end a text. Empty when the folder names none.
    pub(crate) end_of_text: Vec<u32>,
}

/// Why a `config.json` cannot be served.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field has to be there and is not.
    #[error("{field} is missing")]
    Missing {
        /// Name of the field.
        field: &'static str,
    },
    /// A field holds another kind of value.
    #[error("{field} is {found}, expected {expected}")]
    WrongType {
        /// Name of the field.
        field: &'static str,
        /// What kind of value was expected.
        expected: &'static str,
        /// What was there, shortened.
        found: String,
    },
    /// A number is beyond what this crate will load.
    #[error("{field} is {found}, expected {least} to {most}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: u64,
        /// The least that is accepted.
        least: u64,
        /// The most that is accepted.
        most: u64,
    },
    /// A number that has to be positive and finite is not.
    #[error("{field} is {found}, expected a positive number")]
    NotPositive {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: f64,
    },
    /// Two numbers do not fit each other.
    #[error("{field} is {found}, which does not divide {of} ({whole})")]
    NotADivisor {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: usize,
        /// Name of the field it has to divide.
        of: &'static str,
        /// The number it has to divide.
        whole: usize,
    },
    /// Rotation works on halves of a head, so a head has to have two.
    #[error("head_dim is {found}, expected an even number")]
    OddHead {
        /// The number that was there.
        found: usize,
    },
    /// The family of the model is not one this crate computes.
    #[error("architecture {found:?} is not supported; supported: LlamaForCausalLM, Qwen2ForCausalLM")]
    UnknownArchitecture {
        /// The class name or model type that was there.
        found: String,
    },
    /// Rotary positions are scaled for longer contexts in a way this crate does not compute.
    #[error("rope scaling {kind:?} is not supported; supported: default")]
    RopeScaling {
        /// Name of the scaling.
        kind: String,
    },
    /// A field asks for something that this crate does not compute.
    #[error("{field} is {found}, which is not supported")]
    Unsupported {
        /// Name of the field.
        field: &'static str,
        /// What was there, shortened.
        found: String,
    },
}

const VOCABULARY: RangeInclusive<u64> = 2..=1 << 22;
const WIDTH: RangeInclusive<u64> = 1..=1 << 18;
const LAYERS: RangeInclusive<u64> = 1..=1024;
const HEADS: RangeInclusive<u64> = 1..=1024;
const HEAD_DIM: RangeInclusive<u64> = 2..=1024;
const CONTEXT: RangeInclusive<u64> = 1..=1 << 24;
/// What transformers assumes where a file does not say.
const ROPE_THETA_DEFAULT: f64 = 10_000.0;
const NORM_EPSILON_DEFAULT: f64 = 1e-6;
const CONTEXT_DEFAULT: u64 = 2048;
/// End-of-text tokens read at most; real folders name one to three.
const END_OF_TEXT_MAX: usize = 64;

impl Config {
    /// Reads the two files; `generation` is `None` where the folder has no `generation_config.json`.
    pub(crate) fn read(config: &Value, generation: Option<&Value>) -> Result<Config, ConfigError> {
        let fields = Fields(object("config.json", config)?);
        let architecture = fields.architecture()?;
        fields.refuse_what_is_not_computed(architecture)?;
        let heads = fields.size("num_attention_heads", HEADS)?;
        let hidden = fields.size("hidden_size", WIDTH)?;
        let config = Config {
            architecture,
            vocabulary: fields.size("vocab_size", VOCABULARY)?,
            hidden,
            intermediate: fields.size("intermediate_size", WIDTH)?,
            layers: fields.size("num_hidden_layers", LAYERS)?,
            heads,
            kv_heads: fields.size_or("num_key_value_heads", HEADS, heads as u64)?,
            head_dim: fields.size_or("head_dim", HEAD_DIM, (hidden / heads) as u64)?,
            norm_epsilon: fields.positive_or("rms_norm_eps", NORM_EPSILON_DEFAULT)?,
            rope_theta: fields.rope_theta()?,
            context_tokens: fields.size_or("max_position_embeddings", CONTEXT, CONTEXT_DEFAULT)?,
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
        Ok(self)
    }
}

/// One JSON object whose fields are read by name, with the name in every complaint.
struct Fields<'json>(&'json Map<String, Value>);

impl<'json> Fields<'json> {
    /// A field that is there and not null.
    fn find(&self, field: &str) -> Option<&'json Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn size(&self, field: &'static str, range: RangeInclusive<u64>) -> Result<usize, ConfigError> {
        let value = self.find(field).ok_or(ConfigError::Missing { field })?;
        let number = value
            .as_u64()
            .ok_or_else(|| wrong_type(field, "a whole number", value))?;
        in_range(field, number, range)
    }

    fn size_or(
        &self,
        field: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> Result<usize, ConfigError> {
        match self.find(field) {
            Some(_) => self.size(field, range),
            None => in_range(field, default, range),
        }
    }

    fn positive_or(&self, field: &'static str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.find(field) else {
            return Ok(default);
        };
        let found = value
            .as_f64()
            .ok_or_else(|| wrong_type(field, "a number", value))?;
        // Below the smallest normal f32 a number would vanish in the kernels.
        if found.is_finite() && found >= f64::from(f32::MIN_POSITIVE) {
            Ok(found)
        } else {
            Err(ConfigError::NotPositive { field, found })
        }
    }

    fn flag(&self, field: &'static str) -> Result<bool, ConfigError> {
        let Some(value) = self.find(field) else {
            return Ok(false);
        };
        value
            .as_bool()
            .ok_or_else(|| wrong_type(field, "true or false", value))
    }

    fn text(&self, field: &'static str) -> Result<Option<&'json str>, ConfigError> {
        let Some(value) = self.find(field) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| wrong_type(field, "a text", value))
    }

    /// The family: the first class name in `architectures`, or else `model_type`.
    fn architecture(&self) -> Result<Architecture, ConfigError> {
        let class = match self.find("architectures") {
            Some(value) => value
                .as_array()
                .and_then(|names| names.first())
                .and_then(Value::as_str)
                .map(Some)
                .ok_or_else(|| wrong_type("architectures", "a list of names", value))?,
            None => None,
        };
        let found = match class {
            Some(class) => class,
            None => self.text("model_type")?.ok_or(ConfigError::Missing {
                field: "architectures",
            })?,
        };
        Architecture::NAMES
            .into_iter()
            .find(|(class, model_type, _)| [*class, *model_type].contains(&found))
            .map(|(_, _, architecture)| architecture)
            .ok_or_else(|| ConfigError::UnknownArchitecture {
                found: shorten(found),
            })
    }

    fn refuse_what_is_not_computed(&self, architecture: Architecture) -> Result<(), ConfigError> {
        let flags: &[&'static str] = match architecture {
            Architecture::Llama => &["attention_bias", "mlp_bias"],
            Architecture::Qwen2 => &["use_sliding_window"],
        };
        for &field in flags {
            if self.flag(field)? {
                return Err(unsupported(field, &Value::Bool(true)));
            }
        }
        if let Some(value) = self
            .find("hidden_act")
            .filter(|value| value.as_str() != Some("silu"))
        {
            return Err(unsupported("hidden_act", value));
        }
        if let Some(value) = self.find("quantization_config") {
            return Err(unsupported("quantization_config", value));
        }
        self.refuse_other_attention_than_full()
    }

    /// transformers 5 lists the kind of attention layer by layer.
    fn refuse_other_attention_than_full(&self) -> Result<(), ConfigError> {
        let Some(value) = self.find("layer_types") else {
            return Ok(());
        };
        let kinds = value
            .as_array()
            .ok_or_else(|| wrong_type("layer_types", "a list of names", value))?;
        match kinds.iter().find(|kind| kind.as_str() != Some("full_attention")) {
            Some(kind) => Err(unsupported("layer_types", kind)),
            None => Ok(()),
        }
    }

    /// transformers 4 writes `rope_theta` beside `rope_scaling`; transformers 5 puts both into `rope_parameters`.
    fn rope_theta(&self) -> Result<f64, ConfigError> {
        let top = self.positive_or("rope_theta", ROPE_THETA_DEFAULT)?;
        self.refuse_partial_rotation()?;
        if let Some(scaling) = self.find("rope_scaling") {
            Fields(object("rope_scaling", scaling)?).refuse_rope_scaling()?;
        }
        let Some(parameters) = self.find("rope_parameters") else {
            return Ok(top);
        };
        let parameters = Fields(object("rope_parameters", parameters)?);
        parameters.refuse_rope_scaling()?;
        parameters.refuse_partial_rotation()?;
        parameters.positive_or("rope_theta", top)
    }

    fn refuse_rope_scaling(&self) -> Result<(), ConfigError> {
        let kind = match self.text("rope_type")? {
            Some(kind) => Some(kind),
            None => self.text("type")?,
        };
        match kind {
            Some(kind) if kind != "default" => Err(ConfigError::RopeScaling { kind: shorten(kind) }),
            _ => Ok(()),
        }
    }

    fn refuse_partial_rotation(&self) -> Result<(), ConfigError> {
        match self.find("partial_rotary_factor") {
            Some(value) if value.as_f64() != Some(1.0) => Err(unsupported("partial_rotary_factor", value)),
            _ => Ok(()),
        }
    }
}

/// The tokens that end a text: those of `generation_config.json`, or else those of `config.json`.
fn end_of_text(config: &Fields<'_>, generation: Option<&Value>) -> Result<Vec<u32>, ConfigError> {
    const FIELD: &str = "eos_token_id";
    let generation = match generation {
        Some(value) => Fields(object("generation_config.json", value)?).find(FIELD),
        None => None,
    };
    let Some(value) = generation.or_else(|| config.find(FIELD)) else {
        return Ok(Vec::new());
    };
    let listed = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    if listed.len() > END_OF_TEXT_MAX {
        return Err(unsupported(FIELD, value));
    }
    listed
        .iter()
        .map(|id| {
            id.as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| wrong_type(FIELD, "a token or a list of tokens", id))
        })
        .collect()
}

fn object<'json>(field: &'static str, value: &'json Value) -> Result<&'json Map<String, Value>, ConfigError> {
    value
        .as_object()
        .ok_or_else(|| wrong_type(field, "an object", value))
}

fn in_range(field: &'static str, found: u64, range: RangeInclusive<u64>) -> Result<usize, ConfigError> {
    if range.contains(&found) {
        Ok(usize::try_from(found).expect("the range ends below 2^32"))
    } else {
        Err(ConfigError::OutOfRange {
            field,
            found,
            least: *range.start(),
            most: *range.end(),
        })
    }
}

fn wrong_type(field: &'static str, expected: &'static str, found: &Value) -> ConfigError {
    ConfigError::WrongType {
        field,
        expected,
        found: shorten(&found.to_string()),
    }
}

fn unsupported(field: &'static str, found: &Value) -> ConfigError {
    ConfigError::Unsupported {
        field,
        found: shorten(&found.to_string()),
    }
}

/// At most 60 characters of a text that came from a file.
fn shorten(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A small Llama, with some fields replaced; a null removes a field.
    fn read(changes: Value) -> Result<Config, ConfigError> {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 512, "eos_token_id": 1
        });
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        Config::read(&config, None)
    }

    #[track_caller]
    fn check_error(changes: Value, message: &str) {
        assert_eq!(read(changes).unwrap_err().to_string(), message);
    }

    #[test]
    fn theta_is_read_where_either_transformers_writes_it() {
        assert_eq!(read(json!({})).unwrap().rope_theta, 10_000.0);
        assert_eq!(
            read(json!({"rope_theta": 5e5, "rope_scaling": null}))
                .unwrap()
                .rope_theta,
            5e5
        );
        let parameters = json!({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}});
        assert_eq!(read(parameters).unwrap().rope_theta, 1e6);
    }

    #[test]
    fn absent_numbers_take_the_values_that_transformers_assumes() {
        let config = read(json!({"num_key_value_heads": null, "tie_word_embeddings": null})).unwrap();
        assert_eq!((config.kv_heads, config.head_dim, config.is_tied), (4, 16, false));
    }

    #[test]
    fn end_of_text_is_a_token_or_a_list_and_generation_config_wins() {
        assert_eq!(read(json!({})).unwrap().end_of_text, [1]);
        assert_eq!(read(json!({"eos_token_id": [3, 4]})).unwrap().end_of_text, [3, 4]);
        assert_eq!(
            read(json!({"eos_token_id": null})).unwrap().end_of_text,
            Vec::<u32>::new()
        );
        let config = json!({
            "model_type": "qwen2", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "eos_token_id": 1
        });
        let both = Config::read(&config, Some(&json!({"eos_token_id": [7, 8]}))).unwrap();
        assert_eq!(
            (both.architecture, both.end_of_text),
            (Architecture::Qwen2, vec![7, 8])
        );
        let silent = Config::read(&config, Some(&json!({}))).unwrap();
        assert_eq!(silent.end_of_text, [1]);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        check_error(
            json!({"architectures": ["GPT2LMHeadModel"]}),
            "architecture \"GPT2LMHeadModel\" is not supported; supported: LlamaForCausalLM, Qwen2ForCausalLM",
        );
        check_error(
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
            "rope scaling \"llama3\" is not supported; supported: default",
        );
        check_error(
            json!({"rope_scaling": {"type": "linear", "factor": 2.0}}),
            "rope scaling \"linear\" is not supported; supported: default",
        );
        check_error(
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}),
            "rope scaling \"yarn\" is not supported; supported: default",
        );
        check_error(
            json!({"hidden_act": "gelu"}),
            "hidden_act is \"gelu\", which is not supported",
        );
        check_error(
            json!({"attention_bias": true}),
            "attention_bias is true, which is not supported",
        );
        check_error(
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "layer_types is \"sliding_attention\", which is not supported",
        );
        check_error(
            json!({"quantization_config": {"bits": 4}}),
            "quantization_config is {\"bits\":4}, which is not supported",
        );
    }

    #[test]
    fn hostile_numbers_are_refused_before_anything_is_computed_with_them() {
        check_error(
            json!({"num_attention_heads": 0}),
            "num_attention_heads is 0, expected 1 to 1024",
        );
        check_error(
            json!({"num_key_value_heads": 0}),
            "num_key_value_heads is 0, expected 1 to 1024",
        );
        check_error(
            json!({"num_key_value_heads": 3}),
            "num_key_value_heads is 3, which does not divide num_attention_heads (4)",
        );
        check_error(
            json!({"hidden_size": u64::MAX}),
            "hidden_size is 18446744073709551615, expected 1 to 262144",
        );
        check_error(
            json!({"hidden_size": -1}),
            "hidden_size is -1, expected a whole number",
        );
        check_error(json!({"hidden_size": 3}), "head_dim is 0, expected 2 to 1024");
        check_error(json!({"head_dim": 15}), "head_dim is 15, expected an even number");
        check_error(json!({"vocab_size": null}), "vocab_size is missing");
        check_error(
            json!({"rms_norm_eps": 0.0}),
            "rms_norm_eps is 0, expected a positive number",
        );
        check_error(
            json!({"rope_theta": -1.0}),
            "rope_theta is -1, expected a positive number",
        );
        check_error(
            json!({"architectures": []}),
            "architectures is [], expected a list of names",
        );
        check_error(
            json!({"eos_token_id": "end"}),
            "eos_token_id is \"end\", expected a token or a list of tokens",
        );
        assert!(Config::read(&json!([]), None).is_err());
    }
}
