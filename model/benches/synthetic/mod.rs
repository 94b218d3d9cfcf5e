//! Llamas that were never trained, in a temporary folder, for benches: parameters in `bf16`, a word for each token.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::{Map, Value, json};

const NUMBER_BYTES: usize = 2;

/// The sizes of a model.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) hidden: usize,
    pub(crate) intermediate: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) layers: usize,
    pub(crate) vocabulary: usize,
    pub(crate) is_tied: bool,
}

/// Parameters by name, with their shapes.
type Shapes = Vec<(String, Vec<usize>)>;

/// The folder; it goes with the value.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// A model of random numbers in one file.
    pub(crate) fn random(sizes: Sizes) -> Folder {
        let folder = Folder::without_parameters(sizes);
        let shapes: Shapes = (0..sizes.layers)
            .flat_map(|layer| layer_shapes(sizes, layer))
            .chain(outer_shapes(sizes))
            .collect();
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let path = folder.dir().join("model.safetensors");
        write_parameters(&path, &shapes, Some(&mut random)).expect("write the parameters");
        folder
    }

    /// A model of zeros in shards of so many layers: files with holes, so that hardly anything is written.
    pub(crate) fn zeros(sizes: Sizes, shard_layers: usize) -> Folder {
        let folder = Folder::without_parameters(sizes);
        let mut shards = vec![outer_shapes(sizes)];
        for first in (0..sizes.layers).step_by(shard_layers) {
            let layers = first..sizes.layers.min(first + shard_layers);
            shards.push(layers.flat_map(|layer| layer_shapes(sizes, layer)).collect());
        }
        let mut map = Map::new();
        for (index, shapes) in shards.iter().enumerate() {
            let name = format!("model-{index:05}.safetensors");
            write_parameters(&folder.dir().join(&name), shapes, None).expect("write a shard");
            map.extend(shapes.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
        }
        folder.write("model.safetensors.index.json", &json!({ "weight_map": map }));
        folder
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    fn without_parameters(sizes: Sizes) -> Folder {
        let folder = Folder(tempfile::tempdir().expect("make a folder"));
        folder.write("config.json", &config(sizes));
        folder.write("tokenizer.json", &tokenizer(sizes));
        folder
    }

    fn write(&self, name: &str, text: &Value) {
        std::fs::write(self.dir().join(name), text.to_string()).expect("write a file");
    }
}

/// The words of its tokenizer, one token each.
pub(crate) fn words(sizes: Sizes) -> Vec<String> {
    (0..sizes.vocabulary).map(|id| format!("w{id}")).collect()
}

fn config(sizes: Sizes) -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "vocab_size": sizes.vocabulary, "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate, "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads, "num_key_value_heads": sizes.kv_heads,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "tie_word_embeddings": sizes.is_tied
    })
}

fn tokenizer(sizes: Sizes) -> Value {
    let vocabulary: Map<String, Value> = words(sizes)
        .into_iter()
        .zip((0..).map(|id: usize| json!(id)))
        .collect();
    json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"}
    })
}

/// What belongs to no layer.
fn outer_shapes(sizes: Sizes) -> Shapes {
    let table = vec![sizes.vocabulary, sizes.hidden];
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), table.clone()),
        ("model.norm.weight".to_owned(), vec![sizes.hidden]),
    ];
    if !sizes.is_tied {
        shapes.push(("lm_head.weight".to_owned(), table));
    }
    shapes
}

fn layer_shapes(sizes: Sizes, layer: usize) -> Shapes {
    let Sizes {
        hidden, intermediate, ..
    } = sizes;
    let keys = sizes.kv_heads * (hidden / sizes.heads);
    let named = [
        ("input_layernorm", vec![hidden]),
        ("post_attention_layernorm", vec![hidden]),
        ("self_attn.q_proj", vec![hidden, hidden]),
        ("self_attn.k_proj", vec![keys, hidden]),
        ("self_attn.v_proj", vec![keys, hidden]),
        ("self_attn.o_proj", vec![hidden, hidden]),
        ("mlp.gate_proj", vec![intermediate, hidden]),
        ("mlp.up_proj", vec![intermediate, hidden]),
        ("mlp.down_proj", vec![hidden, intermediate]),
    ];
    named
        .into_iter()
        .map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape))
        .collect()
}

/// A file of random numbers behind its header, or one of zeros.
fn write_parameters(path: &Path, shapes: &Shapes, random: Option<&mut ChaCha20Rng>) -> io::Result<()> {
    let (header, bytes) = header(shapes);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    if let Some(random) = random {
        for _ in 0..bytes / NUMBER_BYTES {
            file.write_all(&number(random).to_le_bytes())?;
        }
    }
    let file = file.into_inner()?;
    file.set_len((8 + header.len() + bytes) as u64)
}

/// The header of a file of parameters, and how many bytes of them follow.
fn header(shapes: &Shapes) -> (String, usize) {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in shapes {
        let start = end;
        end += shape.iter().product::<usize>() * NUMBER_BYTES;
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut text = Value::Object(header).to_string();
    // Data begins at a multiple of eight bytes, as every writer has it.
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    (text, end)
}

/// A number of about 0.02, as models begin with: the upper half of an `f32`.
fn number(random: &mut ChaCha20Rng) -> u16 {
    let number = (random.next_u32() as f32 / u32::MAX as f32 - 0.5) * 0.07;
    (number.to_bits() >> 16) as u16
}
