//! One JSON object read field by field, with the name of the field in every complaint.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Architecture, ConfigError, END_OF_TEXT_MAX, ROPE_THETA_DEFAULT, Window};

/// What transformers assumes where a file of a family with windows does not say.
const WINDOW_DEFAULT: u64 = 4096;
const WINDOW: RangeInclusive<u64> = 1..=1 << 24;
const WINDOW_LAYERS_DEFAULT: u64 = 28;
const WINDOW_LAYERS: RangeInclusive<u64> = 0..=1 << 20;

/// One JSON object whose fields are read by name, with the name in every complaint.
pub(crate) struct Fields<'json>(pub(super) &'json Map<String, Value>);

impl<'json> Fields<'json> {
    /// The fields of `value`, which has to be an object; `name` is what it is called in a complaint.
    pub(crate) fn of(name: &'static str, value: &'json Value) -> Result<Fields<'json>, ConfigError> {
        object(name, value).map(Fields)
    }

    /// A field that is there and not null.
    pub(crate) fn find(&self, field: &str) -> Option<&'json Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn size(&self, field: &'static str, range: RangeInclusive<u64>) -> Result<usize, ConfigError> {
        let value = self.find(field).ok_or(ConfigError::Missing { field })?;
        let number = value
            .as_u64()
            .ok_or_else(|| wrong_type(field, "a whole number", value))?;
        in_range(field, number, range)
    }

    pub(crate) fn size_or(
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

    pub(crate) fn positive_or(&self, field: &'static str, default: f64) -> Result<f64, ConfigError> {
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

    pub(crate) fn flag(&self, field: &'static str) -> Result<bool, ConfigError> {
        let Some(value) = self.find(field) else {
            return Ok(false);
        };
        value
            .as_bool()
            .ok_or_else(|| wrong_type(field, "true or false", value))
    }

    pub(crate) fn text(&self, field: &'static str) -> Result<Option<&'json str>, ConfigError> {
        let Some(value) = self.find(field) else {
            return Ok(None);
        };
        value
            .as_str()
            .map(Some)
            .ok_or_else(|| wrong_type(field, "a text", value))
    }

    /// The family: the first class name in `architectures`, or else `model_type`.
    pub(crate) fn architecture(&self) -> Result<Architecture, ConfigError> {
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
            .ok_or_else(|| unknown_architecture(found))
    }

    pub(crate) fn refuse_what_is_not_computed(&self, architecture: Architecture) -> Result<(), ConfigError> {
        let flags: &[&'static str] = match architecture {
            Architecture::Llama => &["attention_bias", "mlp_bias"],
            Architecture::Qwen3 => &["attention_bias"],
            Architecture::Mistral | Architecture::Qwen2 => &[],
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
        Ok(())
    }

    /// The window of attention and the layers that have it, as each family writes them.
    pub(crate) fn window(
        &self,
        architecture: Architecture,
        layers: usize,
    ) -> Result<Option<Window>, ConfigError> {
        let tokens = match architecture {
            Architecture::Llama => None,
            Architecture::Mistral => self.window_tokens()?,
            Architecture::Qwen2 | Architecture::Qwen3 if self.flag("use_sliding_window")? => {
                self.window_tokens()?
            }
            Architecture::Qwen2 | Architecture::Qwen3 => None,
        };
        let full_layers = match architecture {
            Architecture::Qwen2 | Architecture::Qwen3 => {
                self.size_or("max_window_layers", WINDOW_LAYERS, WINDOW_LAYERS_DEFAULT)?
            }
            _ => 0,
        };
        let by_default = |layer: usize| tokens.is_some() && layer >= full_layers;
        let layers = match self.layer_types(layers)? {
            Some(kinds) => {
                self.check_layer_types(architecture, tokens, &kinds)?;
                kinds
            }
            None => (0..layers).map(by_default).collect(),
        };
        let window = tokens.map(|tokens| Window { tokens, layers });
        Ok(window.filter(|window| window.layers.contains(&true)))
    }

    /// A null turns the window off; an absent field has the value that transformers assumes.
    fn window_tokens(&self) -> Result<Option<usize>, ConfigError> {
        match self.0.get("sliding_window") {
            Some(Value::Null) => Ok(None),
            _ => self.size_or("sliding_window", WINDOW, WINDOW_DEFAULT).map(Some),
        }
    }

    /// transformers 5 lists the kind of attention layer by layer; true is sliding.
    fn layer_types(&self, layers: usize) -> Result<Option<Vec<bool>>, ConfigError> {
        const FIELD: &str = "layer_types";
        let Some(value) = self.find(FIELD) else {
            return Ok(None);
        };
        let kinds = value
            .as_array()
            .ok_or_else(|| wrong_type(FIELD, "a list of names", value))?;
        if kinds.len() != layers {
            let found = kinds.len();
            return Err(ConfigError::LayerCount {
                field: FIELD,
                found,
                layers,
            });
        }
        let is_sliding = |kind: &Value| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => Err(unsupported(FIELD, kind)),
        };
        kinds.iter().map(is_sliding).collect::<Result<_, _>>().map(Some)
    }

    /// Layers cannot slide without a window, and those of Mistral all do what the window says.
    fn check_layer_types(
        &self,
        architecture: Architecture,
        tokens: Option<usize>,
        kinds: &[bool],
    ) -> Result<(), ConfigError> {
        let refused = match (architecture, tokens) {
            (_, None) => kinds.contains(&true).then_some("sliding_attention"),
            (Architecture::Mistral, Some(_)) => kinds.contains(&false).then_some("full_attention"),
            _ => None,
        };
        match refused {
            Some(kind) => Err(unsupported("layer_types", &Value::from(kind))),
            None => Ok(()),
        }
    }

    /// transformers 4 writes `rope_theta` beside `rope_scaling`; transformers 5 puts both into `rope_parameters`.
    pub(crate) fn rope_theta(&self) -> Result<f64, ConfigError> {
        let top = self.positive_or("rope_theta", ROPE_THETA_DEFAULT)?;
        self.refuse_partial_rotation()?;
        let Some(parameters) = self.find("rope_parameters") else {
            return Ok(top);
        };
        let parameters = Fields::of("rope_parameters", parameters)?;
        parameters.refuse_partial_rotation()?;
        parameters.positive_or("rope_theta", top)
    }

    fn refuse_partial_rotation(&self) -> Result<(), ConfigError> {
        match self.find("partial_rotary_factor") {
            Some(value) if value.as_f64() != Some(1.0) => Err(unsupported("partial_rotary_factor", value)),
            _ => Ok(()),
        }
    }
}

/// The tokens that end a text: those of `generation_config.json`, or else those of `config.json`.
pub(crate) fn end_of_text(config: &Fields<'_>, generation: Option<&Value>) -> Result<Vec<u32>, ConfigError> {
    const FIELD: &str = "eos_token_id";
    let generation = match generation {
        Some(value) => Fields::of("generation_config.json", value)?.find(FIELD),
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

/// The complaint about a family that is not computed.
fn unknown_architecture(found: &str) -> ConfigError {
    ConfigError::UnknownArchitecture {
        found: shorten(found),
        supported: Architecture::NAMES.map(|(class, _, _)| class).join(", "),
    }
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

pub(crate) fn wrong_type(field: &'static str, expected: &'static str, found: &Value) -> ConfigError {
    ConfigError::WrongType {
        field,
        expected,
        found: shorten(&found.to_string()),
    }
}

pub(crate) fn unsupported(field: &'static str, found: &Value) -> ConfigError {
    ConfigError::Unsupported {
        field,
        found: shorten(&found.to_string()),
    }
}

/// At most 60 characters of a text that came from a file.
pub(crate) fn shorten(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
