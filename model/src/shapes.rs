//! Which parameters an architecture has, and of which shapes.

use std::collections::BTreeMap;

use crate::config::Config;

/// The parameters that an architecture needs, by name, with their shapes.
pub(crate) fn parameter_shapes(config: &Config) -> BTreeMap<String, Vec<usize>> {
    let Config {
        vocabulary,
        hidden,
        intermediate,
        ..
    } = *config;
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let mut shapes = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| shapes.insert(name, shape.to_vec());
    add("model.embed_tokens.weight".to_owned(), &[vocabulary, hidden]);
    add("model.norm.weight".to_owned(), &[hidden]);
    if !config.is_tied {
        add("lm_head.weight".to_owned(), &[vocabulary, hidden]);
    }
    for layer in 0..config.layers {
        let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{layer}.{name}"), shape);
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        for (projection, rows) in [("q", queries), ("k", keys), ("v", keys)] {
            add(&format!("self_attn.{projection}_proj.weight"), &[rows, hidden]);
            if config.architecture.has_attention_bias() {
                add(&format!("self_attn.{projection}_proj.bias"), &[rows]);
            }
        }
        if config.architecture.has_head_norms() {
            add("self_attn.q_norm.weight", &[config.head_dim]);
            add("self_attn.k_norm.weight", &[config.head_dim]);
        }
        add("self_attn.o_proj.weight", &[hidden, queries]);
        add("mlp.gate_proj.weight", &[intermediate, hidden]);
        add("mlp.up_proj.weight", &[intermediate, hidden]);
        add("mlp.down_proj.weight", &[hidden, intermediate]);
    }
    shapes
}
