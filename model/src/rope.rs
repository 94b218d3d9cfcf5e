//! Rotary frequencies: one for each pair of a head's coordinates, changed as the model's scaling says.
//!
//! Computed in `f32` step by step as transformers does, so that long contexts agree with it. Sources: rotary positions
//! as in RoFormer (2021), "dynamic NTK" and linear scaling as practised since 2023, YaRN (2023), and the scaling
//! that Llama 3.1 (2024) came with.

use std::f32::consts::TAU;

use crate::config::{Config, RopeScaling};

/// Cosines and sines of a list of positions, `head_dim` each, position by position.
///
/// The signs of the rotation are folded into the sines, so that rotating is one roll and two products.
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cosines: Vec<f32>,
    pub(crate) sines: Vec<f32>,
}

impl Angles {
    /// Adds one position; the second half of a head is the other coordinate of the first.
    pub(crate) fn push(&mut self, position: usize, frequencies: &[f32], attention: f32) {
        for sign in [-1.0, 1.0] {
            for frequency in frequencies {
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                self.cosines.push(attention * cosine);
                self.sines.push(sign * attention * sine);
            }
        }
    }
}

/// What cosines and sines are multiplied with.
pub(crate) fn attention_factor(config: &Config) -> f32 {
    match config.rope_scaling {
        RopeScaling::Yarn { attention, .. } => attention as f32,
        _ => 1.0,
    }
}

/// Tokens up to which all texts are rotated alike. A longer text has frequencies of its own, so nothing that is cached
/// of it serves another.
pub(crate) fn alike_tokens(config: &Config) -> usize {
    match config.rope_scaling {
        RopeScaling::Dynamic { original, .. } => original,
        _ => usize::MAX,
    }
}

/// Whether a text of `reach` tokens is rotated with frequencies of its own.
pub(crate) fn depends_on_reach(config: &Config, reach: usize) -> bool {
    reach > alike_tokens(config)
}

/// The frequencies, `head_dim / 2`, for a text of `reach` tokens.
pub(crate) fn frequencies(config: &Config, reach: usize) -> Vec<f32> {
    let theta = config.rope_theta as f32;
    let plain = powers(theta, config.head_dim).map(|power| 1.0 / power);
    match config.rope_scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|frequency| frequency / factor as f32).collect(),
        RopeScaling::Dynamic { factor, original } => {
            let base = dynamic_base(theta, factor as f32, original, reach, config.head_dim);
            powers(base, config.head_dim).map(|power| 1.0 / power).collect()
        }
        RopeScaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => {
            let [factor, low, high, original] =
                [factor, low, high, original as f64].map(|number| number as f32);
            plain
                .map(|frequency| llama3(frequency, factor, low, high, original))
                .collect()
        }
        RopeScaling::Yarn { .. } => yarn(config),
    }
}

/// `base` to the power of 0, 2/d, 4/d, ... below 1, where d is `head_dim`.
fn powers(base: f32, head_dim: usize) -> impl Iterator<Item = f32> {
    (0..head_dim / 2).map(move |pair| base.powf((2 * pair) as f32 / head_dim as f32))
}

/// The base at which a text of `reach` tokens turns as little as one of `original` tokens did before.
fn dynamic_base(theta: f32, factor: f32, original: usize, reach: usize, head_dim: usize) -> f32 {
    let length = reach.max(original) as f32;
    let stretch = factor * length / original as f32 - (factor - 1.0);
    theta * stretch.powf(head_dim as f32 / (head_dim as f32 - 2.0))
}

fn llama3(frequency: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wave = TAU / frequency;
    if wave < original / high {
        return frequency;
    }
    if wave > original / low {
        return frequency / factor;
    }
    let smooth = (original / wave - low) / (high - low);
    (1.0 - smooth) * frequency / factor + smooth * frequency
}

/// Frequencies that turn often within the original context are kept, slow ones divided, those between blended.
fn yarn(config: &Config) -> Vec<f32> {
    let RopeScaling::Yarn {
        factor,
        original,
        beta_fast,
        beta_slow,
        truncate,
        ..
    } = config.rope_scaling
    else {
        return Vec::new();
    };
    let dimension_of = |turns: f64| {
        let waves = (original as f64 / (turns * std::f64::consts::TAU)).ln();
        config.head_dim as f64 * waves / (2.0 * config.rope_theta.ln())
    };
    let (mut first, mut last) = (dimension_of(beta_fast), dimension_of(beta_slow));
    if truncate {
        (first, last) = (first.floor(), last.ceil());
    }
    let first = first.max(0.0) as f32;
    let last = last.min(config.head_dim as f64 - 1.0) as f32;
    let width = if first == last { 0.001 } else { last - first };
    powers(config.rope_theta as f32, config.head_dim)
        .enumerate()
        .map(|(pair, power)| {
            let kept = 1.0 - ((pair as f32 - first) / width).clamp(0.0, 1.0);
            (1.0 - kept) / (factor as f32 * power) + kept / power
        })
        .collect()
}
