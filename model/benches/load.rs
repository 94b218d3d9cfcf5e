//! Memory and time that loading a model in shards takes, beside the bytes of the model.
//!
//! ```sh
//! cargo bench --bench load -- --device cpu --layers 16
//! ```
//!
//! Makes a Llama of zeros in a temporary folder (files with holes, so nothing is written), loads it, and prints the
//! largest resident set of the process. On a CPU the model itself is part of it; on a GPU it is not.

#![expect(clippy::print_stdout, reason = "a bench's output is its product")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use agon_model::{DeviceChoice, Dtype, Engine, LoadOptions, Plan};
use serde_json::{Map, json};

const HIDDEN: usize = 1024;
const INTERMEDIATE: usize = 2816;
const HEADS: usize = 16;
const KV_HEADS: usize = 4;
const VOCABULARY: usize = 32_000;
const NUMBER_BYTES: usize = 2;
const SHARD_LAYERS: usize = 4;

type Shapes = Vec<(String, Vec<usize>)>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut device, mut layers) = (DeviceChoice::Cpu, 16);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--device" => device = arguments.next().expect("a device").parse().expect("a device"),
            "--layers" => layers = arguments.next().expect("a count").parse().expect("a count"),
            // What cargo itself passes.
            _ => {}
        }
    }
    agon_model::start();
    let dir = std::env::temp_dir().join(format!("agon-bench-load-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("make a folder");
    write_model(&dir, layers).expect("write a model");
    measure(&dir, device);
    std::fs::remove_dir_all(&dir).expect("remove the folder");
}

fn measure(dir: &Path, device: DeviceChoice) {
    let plan = Plan::of_folder(dir).expect("a plan");
    let options = LoadOptions {
        device,
        dtype: Some(Dtype::Bf16),
        slots: 1,
        context_tokens_max: 64,
        ..LoadOptions::default()
    };
    let before = peak_bytes();
    let begun = Instant::now();
    let engine = Engine::load(dir, &options, |_| {}).expect("load");
    let seconds = begun.elapsed().as_secs_f64();
    let grown = peak_bytes() - before;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    println!("device {}", engine.info().device);
    println!("parameters        {:8.1} MB", megabytes(plan.stored_bytes));
    println!("largest shard     {:8.1} MB", megabytes(plan.shard_bytes_max));
    println!("peak of the load  {:8.1} MB", megabytes(grown));
    println!(
        "beyond parameters {:8.1} MB",
        megabytes(grown) - megabytes(plan.stored_bytes)
    );
    println!(
        "{seconds:.2} s, {:.2} GB/s",
        plan.stored_bytes as f64 / 1e9 / seconds
    );
    engine.shutdown();
}

/// The largest resident set that this process had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read the process's status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the status tells the peak");
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number");
    kib * 1024
}

fn write_model(dir: &Path, layers: usize) -> std::io::Result<()> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE, "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5
    });
    std::fs::write(dir.join("config.json"), config.to_string())?;
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    });
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string())?;
    let mut shards: Vec<Shapes> = vec![vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ]];
    for first in (0..layers).step_by(SHARD_LAYERS) {
        let last = layers.min(first + SHARD_LAYERS);
        shards.push((first..last).flat_map(layer_shapes).collect());
    }
    let mut map = Map::new();
    for (index, shapes) in shards.iter().enumerate() {
        let name = format!("model-{index:05}.safetensors");
        write_shard(&dir.join(&name), shapes)?;
        map.extend(shapes.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
    }
    let index = json!({ "weight_map": map });
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string())
}

fn layer_shapes(layer: usize) -> Shapes {
    let keys = KV_HEADS * (HIDDEN / HEADS);
    let named = [
        ("input_layernorm", vec![HIDDEN]),
        ("post_attention_layernorm", vec![HIDDEN]),
        ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
        ("self_attn.k_proj", vec![keys, HIDDEN]),
        ("self_attn.v_proj", vec![keys, HIDDEN]),
        ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
        ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
        ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
        ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
    ];
    named
        .into_iter()
        .map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape))
        .collect()
}

/// A file of zeros behind its header.
fn write_shard(path: &Path, shapes: &Shapes) -> std::io::Result<()> {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in shapes {
        let start = end;
        end += shape.iter().product::<usize>() * NUMBER_BYTES;
        let entry = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    // Data begins at a multiple of eight bytes, as every writer has it.
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut file = File::create(path)?;
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(text.as_bytes())?;
    file.set_len((8 + text.len() + end) as u64)
}
