//! A random Llama in a temporary folder, for benches: 28 million parameters in `bf16`, a word for each token.

use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

const HIDDEN: usize = 512;
const INTERMEDIATE: usize = 1408;
const HEADS: usize = 8;
const KV_HEADS: usize = 4;
const LAYERS: usize = 8;
const VOCABULARY: usize = 8192;

/// The folder; it goes with the value.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// Writes the model.
    pub(crate) fn make() -> Folder {
        let dir = tempfile::tempdir().expect("make a folder");
        let write = |name: &str, text: &Value| {
            std::fs::write(dir.path().join(name), text.to_string()).expect("write a file");
        };
        write("config.json", &config());
        write("tokenizer.json", &tokenizer());
        write_parameters(&dir.path().join("model.safetensors"));
        Folder(dir)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }
}

/// The words of its tokenizer, one token each.
pub(crate) fn words() -> Vec<String> {
    (0..VOCABULARY).map(|id| format!("w{id}")).collect()
}

fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true
    })
}

fn tokenizer() -> Value {
    let vocabulary: Map<String, Value> = words()
        .into_iter()
        .zip((0..).map(|id: usize| json!(id)))
        .collect();
    json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}
    })
}

fn write_parameters(path: &Path) {
    let mut random = ChaCha20Rng::seed_from_u64(1);
    let parameters: Vec<(String, Vec<usize>, Vec<u8>)> = shapes()
        .into_iter()
        .map(|(name, shape)| {
            let bytes = numbers(&mut random, shape.iter().product());
            (name, shape, bytes)
        })
        .collect();
    let views = parameters.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("bytes for the shape");
        (name, view)
    });
    safetensors::serialize_to_file(views, None, path).expect("write the parameters");
}

/// Numbers of about 0.02, as models begin with: the upper half of an `f32` each.
fn numbers(random: &mut ChaCha20Rng, count: usize) -> Vec<u8> {
    let number = |random: &mut ChaCha20Rng| (random.next_u32() as f32 / u32::MAX as f32 - 0.5) * 0.07;
    (0..count)
        .flat_map(|_| ((number(random).to_bits() >> 16) as u16).to_le_bytes())
        .collect()
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let keys = KV_HEADS * (HIDDEN / HEADS);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![keys, HIDDEN]),
            ("self_attn.v_proj", vec![keys, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    shapes
}
