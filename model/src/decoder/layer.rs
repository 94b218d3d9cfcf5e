//! The parameters of a model on libtorch, put together from those of the checkpoint.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use crate::config::Config;

/// Parameters by their name in the checkpoint.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// One layer's parameters; what is multiplied with the same input is joined into one matrix.
pub(super) struct Layer {
    pub(super) attention_norm: Tensor,
    /// Queries, keys and values, one below the other.
    pub(super) qkv: Tensor,
    pub(super) qkv_bias: Option<Tensor>,
    /// Gains of the norms of queries and keys, `[heads + kv_heads, head_dim]`.
    pub(super) head_norms: Option<Tensor>,
    pub(super) output: Tensor,
    pub(super) mlp_norm: Tensor,
    /// Gate and up, one below the other.
    gate_up: Tensor,
    down: Tensor,
}

impl Layer {
    pub(super) fn assemble(config: &Config, tensors: &mut Tensors, layer: usize) -> Result<Layer, TchError> {
        let mut take = |name: &str| take(tensors, &format!("model.layers.{layer}.{name}"));
        let mut qkv = Vec::new();
        let mut qkv_bias = Vec::new();
        for projection in ["q", "k", "v"] {
            qkv.push(take(&format!("self_attn.{projection}_proj.weight"))?);
            if config.architecture.has_attention_bias() {
                qkv_bias.push(take(&format!("self_attn.{projection}_proj.bias"))?);
            }
        }
        let gate_up = [take("mlp.gate_proj.weight")?, take("mlp.up_proj.weight")?];
        let head_norms = if config.architecture.has_head_norms() {
            let gains = |norm: Tensor, heads: usize| norm.f_expand([heads as i64, -1], false);
            Some(Tensor::f_cat(
                &[
                    gains(take("self_attn.q_norm.weight")?, config.heads)?,
                    gains(take("self_attn.k_norm.weight")?, config.kv_heads)?,
                ],
                0,
            )?)
        } else {
            None
        };
        Ok(Layer {
            head_norms,
            attention_norm: take("input_layernorm.weight")?,
            qkv: Tensor::f_cat(&qkv, 0)?,
            qkv_bias: if qkv_bias.is_empty() {
                None
            } else {
                Some(Tensor::f_cat(&qkv_bias, 0)?)
            },
            output: take("self_attn.o_proj.weight")?,
            mlp_norm: take("post_attention_layernorm.weight")?,
            gate_up: Tensor::f_cat(&gate_up, 0)?,
            down: take("mlp.down_proj.weight")?,
        })
    }

    pub(super) fn mlp(&self, normed: &Tensor, intermediate: usize) -> Result<Tensor, TchError> {
        let width = intermediate as i64;
        let gate_up = normed.f_linear(&self.gate_up, None::<&Tensor>)?;
        let gate = gate_up.f_narrow(-1, 0, width)?.f_silu()?;
        gate.f_mul(&gate_up.f_narrow(-1, width, width)?)?
            .f_linear(&self.down, None::<&Tensor>)
    }
}

pub(super) fn take(tensors: &mut Tensors, name: &str) -> Result<Tensor, TchError> {
    let missing = || TchError::TensorNameNotFound(name.to_owned(), "the checkpoint".to_owned());
    tensors.remove(name).ok_or_else(missing)
}
