//! Copies a model with weights of few bits: what a miner serves that saves memory and says nothing of it.

use std::path::Path;

use anyhow::Context;
use half::bf16;
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
    for name in ["config.json", "generation_config.json", "tokenizer.json"] {
        let path = from.join(name);
        if path.exists() {
            std::fs::copy(&path, to.join(name)).with_context(|| format!("copy {}", path.display()))?;
        }
    }
    let path = from.join("model.safetensors");
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let tensors = SafeTensors::deserialize(&bytes).with_context(|| format!("read {}", path.display()))?;
    let mut rounded = Vec::new();
    for (name, tensor) in tensors.tensors() {
        anyhow::ensure!(tensor.dtype() == Dtype::BF16, "{name} is not in bf16");
        let is_matrix = tensor.shape().len() == 2;
        let numbers = if is_matrix {
            round(tensor.data(), bits)
        } else {
            tensor.data().to_vec()
        };
        rounded.push((name, tensor.shape().to_vec(), numbers));
    }
    let views = rounded.iter().map(|(name, shape, numbers)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), numbers);
        (name.clone(), view.expect("as many numbers as before"))
    });
    let bytes = safetensors::serialize(views, None)?;
    std::fs::write(to.join("model.safetensors"), bytes)?;
    Ok(())
}

fn round(bytes: &[u8], bits: u32) -> Vec<u8> {
    let numbers: Vec<f32> = bytes
        .chunks_exact(2)
        .map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32())
        .collect();
    let most = ((1i64 << (bits - 1)) - 1) as f32;
    let round_group = |group: &[f32]| -> Vec<f32> {
        let largest = group
            .iter()
            .fold(0.0f32, |largest, number| largest.max(number.abs()));
        let scale = if largest > 0.0 { largest / most } else { 1.0 };
        group
            .iter()
            .map(|number| (number / scale).round() * scale)
            .collect()
    };
    numbers
        .chunks(GROUP)
        .flat_map(round_group)
        .flat_map(|number| bf16::from_f32(number).to_le_bytes())
        .collect()
}
