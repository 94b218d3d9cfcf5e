//! Scaled rotary positions: how a config stretches a model beyond the context it was trained with.

use super::fields::shorten;
use super::{ConfigError, Fields};

/// How rotary frequencies are changed, in the kinds and with the defaults of transformers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum RopeScaling {
    /// Not at all.
    #[default]
    None,
    /// Every position is divided by `factor`.
    Linear {
        /// How many times longer contexts become.
        factor: f64,
    },
    /// Texts longer than `original` are rotated with a larger base, which grows with their length.
    Dynamic {
        /// How fast the base grows.
        factor: f64,
        /// Positions that need no scaling.
        original: usize,
    },
    /// Low frequencies are divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// What low frequencies are divided by.
        factor: f64,
        /// Waves longer than `original` over this are low.
        low: f64,
        /// Waves shorter than `original` over this are high.
        high: f64,
        /// Positions of the training.
        original: usize,
    },
    /// Blends by the number of turns within the original context, and sharpens attention (YaRN, 2023).
    Yarn {
        /// What low frequencies are divided by.
        factor: f64,
        /// Positions of the training.
        original: usize,
        /// Turns from which a frequency is kept.
        beta_fast: f64,
        /// Turns below which a frequency is divided.
        beta_slow: f64,
        /// Multiplies cosines and sines.
        attention: f64,
        /// Whether the blend begins and ends at whole dimensions.
        truncate: bool,
    },
}

const BETA_FAST_DEFAULT: f64 = 32.0;
const BETA_SLOW_DEFAULT: f64 = 1.0;

impl Fields<'_> {
    /// The scaling: in `rope_scaling` (transformers 4) or `rope_parameters` (transformers 5).
    ///
    /// `positions` is `max_position_embeddings`, the original context where nothing else names one.
    pub(crate) fn rope_scaling(&self, positions: usize) -> Result<RopeScaling, ConfigError> {
        for field in ["rope_parameters", "rope_scaling"] {
            if let Some(value) = self.find(field) {
                let scaling = Fields::of(field, value)?.scaling(positions)?;
                if scaling != RopeScaling::None {
                    return Ok(scaling);
                }
            }
        }
        Ok(RopeScaling::None)
    }

    fn scaling(&self, positions: usize) -> Result<RopeScaling, ConfigError> {
        let kind = match self.text("rope_type")? {
            Some(kind) => Some(kind),
            None => self.text("type")?,
        };
        match kind {
            None | Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear {
                factor: self.factor()?,
            }),
            Some("dynamic") => Ok(RopeScaling::Dynamic {
                factor: self.factor()?,
                original: positions,
            }),
            Some("llama3") => self.llama3(positions),
            Some("yarn") => self.yarn(positions),
            Some(kind) => Err(ConfigError::RopeScaling { kind: shorten(kind) }),
        }
    }

    fn llama3(&self, positions: usize) -> Result<RopeScaling, ConfigError> {
        let low = self.required("low_freq_factor")?;
        let high = self.required("high_freq_factor")?;
        if high <= low {
            return Err(ConfigError::NotAbove {
                field: "high_freq_factor",
                found: high,
                below_field: "low_freq_factor",
                below: low,
            });
        }
        Ok(RopeScaling::Llama3 {
            factor: self.factor()?,
            low,
            high,
            original: self.original(positions)?,
        })
    }

    fn yarn(&self, positions: usize) -> Result<RopeScaling, ConfigError> {
        let original = self.original(positions)?;
        let factor = match self.find("factor") {
            Some(_) => self.factor()?,
            None => positions.max(original) as f64 / original as f64,
        };
        Ok(RopeScaling::Yarn {
            factor,
            original,
            beta_fast: self.positive_or("beta_fast", BETA_FAST_DEFAULT)?,
            beta_slow: self.positive_or("beta_slow", BETA_SLOW_DEFAULT)?,
            attention: self.yarn_attention(factor)?,
            truncate: self.find("truncate").is_none() || self.flag("truncate")?,
        })
    }

    /// The factor of cosines and sines, where the file does not name one: section 3.4 of the paper.
    fn yarn_attention(&self, factor: f64) -> Result<f64, ConfigError> {
        let scale = |weight: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * weight * factor.ln() + 1.0
            }
        };
        let by_default = match (self.find("mscale"), self.find("mscale_all_dim")) {
            (Some(_), Some(_)) => scale(self.required("mscale")?) / scale(self.required("mscale_all_dim")?),
            _ => scale(1.0),
        };
        self.positive_or("attention_factor", by_default)
    }

    fn factor(&self) -> Result<f64, ConfigError> {
        let found = self.required("factor")?;
        if found < 1.0 {
            return Err(ConfigError::BelowOne {
                field: "factor",
                found,
            });
        }
        Ok(found)
    }

    fn original(&self, positions: usize) -> Result<usize, ConfigError> {
        self.size_or(
            "original_max_position_embeddings",
            super::CONTEXT,
            positions as u64,
        )
    }

    /// A positive number that has to be there.
    fn required(&self, field: &'static str) -> Result<f64, ConfigError> {
        match self.find(field) {
            Some(_) => self.positive_or(field, 1.0),
            None => Err(ConfigError::Missing { field }),
        }
    }
}

impl RopeScaling {
    /// Positions that can be served, where the config speaks of `positions`.
    ///
    /// Llama 3 names the long context itself, YaRN either of the two, the older kinds the original one.
    pub(super) fn context_tokens(self, positions: usize) -> usize {
        let stretched = |original: usize, factor: f64| (original as f64 * factor) as usize;
        match self {
            RopeScaling::None | RopeScaling::Llama3 { .. } => positions,
            RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } => {
                stretched(positions, factor)
            }
            RopeScaling::Yarn { factor, original, .. } => stretched(original, factor).max(positions),
        }
    }

    /// The base of a dynamic scaling has an exponent of `head_dim / (head_dim - 2)`.
    pub(super) fn check_head(self, head_dim: usize) -> Result<(), ConfigError> {
        match self {
            RopeScaling::Dynamic { .. } if head_dim <= 2 => Err(ConfigError::NotAbove {
                field: "head_dim",
                found: head_dim as f64,
                below_field: "what dynamic scaling needs",
                below: 2.0,
            }),
            _ => Ok(()),
        }
    }

    /// The numbers that decide what is computed, for a digest; empty without scaling.
    pub(crate) fn numbers(self) -> Vec<f64> {
        match self {
            RopeScaling::None => Vec::new(),
            RopeScaling::Linear { factor } => vec![1.0, factor],
            RopeScaling::Dynamic { factor, original } => vec![2.0, factor, original as f64],
            RopeScaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => vec![3.0, factor, low, high, original as f64],
            RopeScaling::Yarn {
                factor,
                original,
                beta_fast,
                beta_slow,
                attention,
                truncate,
            } => {
                let truncate = f64::from(u8::from(truncate));
                vec![
                    4.0,
                    factor,
                    original as f64,
                    beta_fast,
                    beta_slow,
                    attention,
                    truncate,
                ]
            }
        }
    }
}
