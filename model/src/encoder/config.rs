//! The configs of an encoder's folder, as numbers that can be trusted.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::config::{ConfigError, Fields, unsupported, wrong_type};
use crate::load::{LoadError, read_json};
use crate::weights::add_bytes;

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// The vector of the first token, which BERT calls CLS.
    First,
}

/// The shape of an encoder and the numbers it computes with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EncoderConfig {
    pub(super) vocabulary: usize,
    pub(super) hidden: usize,
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Rows of the table of positions.
    pub(super) positions: usize,
    /// Rows of the table of token kinds.
    pub(super) kinds: usize,
    pub(super) norm_epsilon: f64,
    /// Tokens of a text that are read, its marks of beginning and end included.
    pub(super) context_tokens: usize,
    pub(super) pooling: Pooling,
    pub(super) is_normalized: bool,
}

const NORM_EPSILON_DEFAULT: f64 = 1e-12;
const KINDS: std::ops::RangeInclusive<u64> = 1..=1024;
/// A text needs room for its two marks and something between them.
const CONTEXT_LEAST: u64 = 3;
const POSITIONS: std::ops::RangeInclusive<u64> = CONTEXT_LEAST..=1 << 20;
const VOCABULARY: std::ops::RangeInclusive<u64> = 2..=1 << 22;
const WIDTH: std::ops::RangeInclusive<u64> = 1..=1 << 16;
const COUNT: std::ops::RangeInclusive<u64> = 1..=1024;

impl EncoderConfig {
    /// Reads `config.json` and what sentence-transformers keeps beside it.
    pub(super) fn read(dir: &Path) -> Result<EncoderConfig, LoadError> {
        let path = dir.join("config.json");
        let value = read_json(&path)?;
        let mut config = EncoderConfig::parse(&value).map_err(named(&path))?;
        let path = dir.join("sentence_bert_config.json");
        if let Some(value) = read_if_there(&path)? {
            let longest = (CONTEXT_LEAST, config.positions as u64);
            config.context_tokens = Fields::of("sentence_bert_config.json", &value)
                .and_then(|fields| fields.size_or("max_seq_length", longest.0..=longest.1, longest.1))
                .map_err(named(&path))?;
        }
        let path = dir.join("1_Pooling/config.json");
        if let Some(value) = read_if_there(&path)? {
            config.pooling = pooling(&value).map_err(named(&path))?;
        }
        let path = dir.join("modules.json");
        if let Some(value) = read_if_there(&path)? {
            config.is_normalized = is_normalized(&value).map_err(named(&path))?;
        }
        Ok(config)
    }

    fn parse(value: &Value) -> Result<EncoderConfig, ConfigError> {
        let fields = Fields::of("config.json", value)?;
        refuse_what_is_not_computed(&fields)?;
        let positions = fields.size("max_position_embeddings", POSITIONS)?;
        let config = EncoderConfig {
            vocabulary: fields.size("vocab_size", VOCABULARY)?,
            hidden: fields.size("hidden_size", WIDTH)?,
            intermediate: fields.size("intermediate_size", WIDTH)?,
            layers: fields.size("num_hidden_layers", COUNT)?,
            heads: fields.size("num_attention_heads", COUNT)?,
            positions,
            kinds: fields.size_or("type_vocab_size", KINDS, 2)?,
            norm_epsilon: fields.positive_or("layer_norm_eps", NORM_EPSILON_DEFAULT)?,
            context_tokens: positions,
            pooling: Pooling::Mean,
            is_normalized: false,
        };
        if !config.hidden.is_multiple_of(config.heads) {
            return Err(ConfigError::NotADivisor {
                field: "num_attention_heads",
                found: config.heads,
                of: "hidden_size",
                whole: config.hidden,
            });
        }
        Ok(config)
    }

    /// The parameters that an encoder needs, by name, with their shapes.
    pub(super) fn parameter_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let (hidden, wide) = (self.hidden, self.intermediate);
        let mut shapes = BTreeMap::new();
        let mut add = |name: String, shape: &[usize]| shapes.insert(name, shape.to_vec());
        let tables = [
            ("word", self.vocabulary),
            ("position", self.positions),
            ("token_type", self.kinds),
        ];
        for (table, rows) in tables {
            add(format!("embeddings.{table}_embeddings.weight"), &[rows, hidden]);
        }
        add("embeddings.LayerNorm.weight".to_owned(), &[hidden]);
        add("embeddings.LayerNorm.bias".to_owned(), &[hidden]);
        for layer in 0..self.layers {
            let mut matrix = |name: &str, rows: usize, columns: usize| {
                add(format!("encoder.layer.{layer}.{name}.weight"), &[rows, columns]);
                add(format!("encoder.layer.{layer}.{name}.bias"), &[rows]);
            };
            for name in ["self.query", "self.key", "self.value", "output.dense"] {
                matrix(&format!("attention.{name}"), hidden, hidden);
            }
            matrix("intermediate.dense", wide, hidden);
            matrix("output.dense", hidden, wide);
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                add(format!("encoder.layer.{layer}.{name}.weight"), &[hidden]);
                add(format!("encoder.layer.{layer}.{name}.bias"), &[hidden]);
            }
        }
        shapes
    }

    /// A digest that already covers the numbers that enter the computation; shapes tell the others.
    pub(super) fn begin_digest(&self, context: &[u8]) -> blake3::Hasher {
        let mut digest = blake3::Hasher::new();
        add_bytes(&mut digest, context);
        for number in [self.heads, self.context_tokens] {
            digest.update(&(number as u64).to_le_bytes());
        }
        digest.update(&self.norm_epsilon.to_bits().to_le_bytes());
        digest.update(&[
            u8::from(self.pooling == Pooling::First),
            u8::from(self.is_normalized),
        ]);
        digest
    }
}

fn named(path: &Path) -> impl Fn(ConfigError) -> LoadError {
    let path = path.to_owned();
    move |problem| LoadError::Config {
        path: path.clone(),
        problem,
    }
}

fn read_if_there(path: &Path) -> Result<Option<Value>, LoadError> {
    if path.exists() {
        read_json(path).map(Some)
    } else {
        Ok(None)
    }
}

fn refuse_what_is_not_computed(fields: &Fields<'_>) -> Result<(), ConfigError> {
    match fields.text("model_type")? {
        Some("bert") => {}
        found => {
            return Err(ConfigError::UnknownArchitecture {
                found: found.unwrap_or("none").to_owned(),
                supported: "bert".to_owned(),
            });
        }
    }
    for (field, computed) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
        if let Some(found) = fields.text(field)?.filter(|&found| found != computed) {
            return Err(unsupported(field, &Value::from(found)));
        }
    }
    for field in ["is_decoder", "add_cross_attention"] {
        if fields.flag(field)? {
            return Err(unsupported(field, &Value::Bool(true)));
        }
    }
    Ok(())
}

fn pooling(value: &Value) -> Result<Pooling, ConfigError> {
    const MEAN: &str = "pooling_mode_mean_tokens";
    const FIRST: &str = "pooling_mode_cls_token";
    let fields = Fields::of("1_Pooling/config.json", value)?;
    let others = [
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    ];
    for other in others {
        let field = format!("pooling_mode_{other}");
        if value.get(&field) == Some(&Value::Bool(true)) {
            return Err(unsupported("pooling_mode", &Value::from(other)));
        }
    }
    match (fields.flag(MEAN)?, fields.flag(FIRST)?) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::First),
        (both, _) => Err(unsupported(MEAN, &Value::Bool(both))),
    }
}

/// Whether the modules end with one that scales vectors to length 1; a dense layer between would change them.
fn is_normalized(value: &Value) -> Result<bool, ConfigError> {
    let modules = value
        .as_array()
        .ok_or_else(|| wrong_type("modules.json", "a list", value))?;
    let mut is_normalized = false;
    for module in modules {
        let kind = module.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind.rsplit('.').next() {
            Some("Transformer" | "Pooling") => {}
            Some("Normalize") => is_normalized = true,
            _ => return Err(unsupported("type of a module", &Value::from(kind))),
        }
    }
    Ok(is_normalized)
}
