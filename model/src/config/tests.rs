//! What is read from a config, and what is refused by name.

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
        "architecture \"GPT2LMHeadModel\" is not supported; supported: \
         LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM",
    );
    check_error(
        json!({"rope_scaling": {"rope_type": "longrope", "factor": 8.0}}),
        "rope scaling \"longrope\" is not supported; supported: default, linear, dynamic, llama3, yarn",
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
        json!({"layer_types": ["full_attention", "chunked_attention"]}),
        "layer_types is \"chunked_attention\", which is not supported",
    );
    check_error(
        json!({"layer_types": ["full_attention"]}),
        "layer_types has 1 entries, expected one for each of 2 layers",
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

#[track_caller]
fn check_scaling(changes: Value, scaling: RopeScaling, context_tokens: usize) {
    let config = read(changes).unwrap();
    assert_eq!(
        (config.rope_scaling, config.context_tokens),
        (scaling, context_tokens)
    );
}

#[test]
fn scalings_are_read_where_either_transformers_writes_them() {
    check_scaling(
        json!({"rope_scaling": {"rope_type": "default"}}),
        RopeScaling::None,
        512,
    );
    let linear = RopeScaling::Linear { factor: 2.5 };
    check_scaling(
        json!({"rope_scaling": {"type": "linear", "factor": 2.5}}),
        linear,
        1280,
    );
    let dynamic = RopeScaling::Dynamic {
        factor: 2.0,
        original: 512,
    };
    let parameters = json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}});
    check_scaling(parameters, dynamic, 1024);
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low: 1.0,
        high: 4.0,
        original: 64,
    };
    let fields = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64});
    check_scaling(json!({ "rope_scaling": fields }), llama3, 512);
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original: 512,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention: 0.1 * 4f64.ln() + 1.0,
        truncate: true,
    };
    check_scaling(
        json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
        yarn,
        2048,
    );
}

#[test]
fn scalings_that_cannot_be_computed_are_refused() {
    let scaling = |fields: Value| json!({ "rope_scaling": fields });
    check_error(scaling(json!({"type": "linear"})), "factor is missing");
    check_error(
        scaling(json!({"type": "linear", "factor": 0.5})),
        "factor is 0.5, expected at least 1",
    );
    check_error(
        scaling(json!({"type": "linear", "factor": -1.0})),
        "factor is -1, expected a positive number",
    );
    check_error(
        scaling(json!({"type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0})),
        "high_freq_factor is 4, expected more than low_freq_factor (4)",
    );
    check_error(
        json!({"head_dim": 2, "rope_scaling": {"type": "dynamic", "factor": 2.0}}),
        "head_dim is 2, expected more than what dynamic scaling needs (2)",
    );
    // However far it is stretched, the context stays within what sizes can be computed with.
    let far = read(scaling(json!({"type": "linear", "factor": 1e300}))).unwrap();
    assert_eq!(far.context_tokens, 1 << 24);
}

#[track_caller]
fn check_window(changes: Value, window: Option<(usize, &[bool])>) {
    let window = window.map(|(tokens, layers)| Window {
        tokens,
        layers: layers.to_vec(),
    });
    assert_eq!(read(changes).unwrap().window, window);
}

#[test]
fn windows_are_read_as_each_family_writes_them() {
    let mistral = |window: Value| json!({"architectures": ["MistralForCausalLM"], "sliding_window": window});
    check_window(mistral(json!(8)), Some((8, &[true, true])));
    check_window(mistral(Value::Null), None);
    check_window(
        json!({"architectures": ["MistralForCausalLM"]}),
        Some((4096, &[true, true])),
    );
    let qwen = |changes: Value| {
        let mut fields =
            json!({"architectures": ["Qwen3ForCausalLM"], "use_sliding_window": true, "sliding_window": 8});
        for (field, value) in changes.as_object().unwrap() {
            fields[field] = value.clone();
        }
        fields
    };
    check_window(qwen(json!({"max_window_layers": 1})), Some((8, &[false, true])));
    check_window(qwen(json!({})), None);
    check_window(
        qwen(json!({"use_sliding_window": false, "max_window_layers": 0})),
        None,
    );
    let listed = json!({"layer_types": ["sliding_attention", "full_attention"]});
    check_window(qwen(listed), Some((8, &[true, false])));
    // A Llama has no window, whatever its file says of one.
    check_window(json!({"sliding_window": 8}), None);
}

#[test]
fn heads_of_qwen3_are_128_wide_unless_the_file_says_otherwise() {
    let width = |changes: Value| read(changes).unwrap().head_dim;
    assert_eq!(width(json!({"architectures": ["Qwen3ForCausalLM"]})), 128);
    assert_eq!(
        width(json!({"architectures": ["Qwen3ForCausalLM"], "head_dim": 32})),
        32
    );
}
