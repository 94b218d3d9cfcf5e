//! Copies a model with other weights: of few bits, which a miner serves that saves memory and says nothing of it, or
//! moved a little, as further training moves them.

use std::path::Path;

use anyhow::Context;
use half::bf16;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Weights that share a scale.
const GROUP: usize = 32;

/// Writes the model of the folder `from` into `to`, the numbers of each matrix rounded to `bits` bits, in groups of
/// 32 with a scale each, as the common formats of small weights do. Only files of one piece in bf16 are read.
///
/// # Errors
///
/// When a file cannot be read or written, or holds other numbers.
pub fn quantise(from: &Path, to: &Path, bits: u32) -> anyhow::Result<()> {
    let most = ((1i64 << (bits - 1)) - 1) as f32;
    rewrite(from, to, |numbers| {
        numbers
            .chunks(GROUP)
            .flat_map(|group| round(group, most))
            .collect()
    })
}

/// As [`quantise`], but moves each number by chance: by normal noise of `milli` thousandths of the matrix' root of the
/// mean square.
///
/// # Errors
///
/// As [`quantise`].
pub fn perturb(from: &Path, to: &Path, milli: u32, seed: u64) -> anyhow::Result<()> {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    rewrite(from, to, |numbers| {
        let squares: f32 = numbers.iter().map(|number| number * number).sum();
        let size = (squares / numbers.len() as f32).sqrt() * milli as f32 / 1_000.0;
        numbers
            .iter()
            .map(|number| number + size * normal(&mut random))
            .collect()
    })
}

/// Copies a model, its matrices changed.
fn rewrite(from: &Path, to: &Path, mut change: impl FnMut(&[f32]) -> Vec<f32>) -> anyhow::Result<()> {
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        let path = from.join(name);
        if path.exists() {
            std::fs::copy(&path, to.join(name)).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    let path = from.join("model.safetensors");
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let tensors = SafeTensors::deserialize(&bytes).with_context(|| format!("read {}", path.display()))?;
    let mut changed = Vec::new();
    for name in tensors.names() {
        let tensor = tensors.tensor(name)?;
        anyhow::ensure!(tensor.dtype() == Dtype::BF16, "{name} is not in bf16");
        let is_matrix = tensor.shape().len() == 2;
        let numbers = if is_matrix {
            as_bytes(&change(&as_numbers(tensor.data())))
        } else {
            tensor.data().to_vec()
        };
        changed.push((name, tensor.shape().to_vec(), numbers));
    }
    let views = changed.iter().map(|(name, shape, numbers)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), numbers);
        (*name, view.expect("as many numbers as before"))
    });
    let bytes = safetensors::serialize(views, None)?;
    std::fs::write(to.join("model.safetensors"), bytes)?;
    Ok(())
}

fn as_numbers(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(2)
        .map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32())
        .collect()
}

fn as_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| bf16::from_f32(*number).to_le_bytes())
        .collect()
}

/// The numbers of a group as multiples of its scale, of which the largest is `most` times.
fn round(group: &[f32], most: f32) -> Vec<f32> {
    let largest = group
        .iter()
        .fold(0.0f32, |largest, number| largest.max(number.abs()));
    let scale = if largest > 0.0 { largest / most } else { 1.0 };
    group
        .iter()
        .map(|number| (number / scale).round() * scale)
        .collect()
}

/// A standard normal number (Box and Muller 1958).
fn normal(random: &mut ChaCha20Rng) -> f32 {
    let mut uniform = || (f64::from(random.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
    let (radius, turn) = (uniform(), uniform());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
}
