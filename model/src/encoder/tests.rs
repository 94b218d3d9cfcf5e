//! The encoder against transformers, and the folders that it refuses.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/data/embeddings")
        .join(name)
}

fn load(dir: &Path) -> Result<Encoder, LoadError> {
    Encoder::load(dir, DeviceChoice::Cpu, |_| {})
}

fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let distances = found.iter().zip(expected).map(|(one, other)| (one - other).abs());
    distances.fold(0.0, f32::max)
}

#[test]
fn vectors_agree_with_transformers_alone_and_in_a_batch() {
    for name in ["bert-mean", "bert-first"] {
        let golden: Golden =
            serde_json::from_slice(&std::fs::read(folder(name).join("golden.json")).unwrap()).unwrap();
        let encoder = load(&folder(name)).unwrap();
        let texts: Vec<&str> = golden.texts.iter().map(String::as_str).collect();
        let together = encoder.embed(&texts).unwrap();
        for ((text, found), expected) in texts.iter().zip(&together).zip(&golden.vectors) {
            let alone = &encoder.embed(&[text]).unwrap()[0];
            assert!(distance(found, expected) <= 1e-5, "{name}: {text:?} in a batch");
            assert!(distance(alone, expected) <= 1e-5, "{name}: {text:?} alone");
        }
        let many: Vec<&str> = texts.iter().cycle().take(70).copied().collect();
        let found = encoder.embed(&many).unwrap();
        assert_eq!(found.len(), 70);
        assert!(distance(&found[69], &golden.vectors[69 % texts.len()]) <= 1e-5);
    }
}

#[test]
fn a_folder_says_how_it_pools_and_how_much_it_reads() {
    let mean = load(&folder("bert-mean")).unwrap();
    let info = mean.info();
    assert_eq!(
        (info.dimensions, info.context_tokens, info.is_normalized),
        (24, 24, true)
    );
    let first = load(&folder("bert-first")).unwrap();
    assert!(!first.info().is_normalized);
    assert_ne!(first.info().digest, info.digest);
    assert_eq!(load(&folder("bert-mean")).unwrap().info(), info);
    assert_eq!(mean.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

/// A copy of a golden folder in which one JSON file is changed.
#[track_caller]
fn check_refused(file: &str, change: impl Fn(&mut Value), message: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    for name in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    ] {
        std::fs::copy(folder("bert-mean").join(name), dir.path().join(name)).unwrap();
    }
    let path = dir.path().join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(&path, value.to_string()).unwrap();
    let complaint = load(dir.path()).unwrap_err().to_string();
    assert_eq!(
        complaint.replace(&format!("{}/", dir.path().display()), ""),
        message
    );
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    check_refused(
        "config.json",
        |config| config["model_type"] = json!("roberta"),
        "config.json: architecture \"roberta\" is not supported; supported: bert",
    );
    check_refused(
        "config.json",
        |config| config["hidden_act"] = json!("relu"),
        "config.json: hidden_act is \"relu\", which is not supported",
    );
    check_refused(
        "config.json",
        |config| config["num_attention_heads"] = json!(5),
        "config.json: num_attention_heads is 5, which does not divide hidden_size (24)",
    );
    check_refused(
        "config.json",
        |config| config["intermediate_size"] = json!(40),
        "model.safetensors: tensor encoder.layer.0.intermediate.dense.bias has shape [48], expected [40]",
    );
    check_refused(
        "1_Pooling/config.json",
        |pooling| pooling["pooling_mode_max_tokens"] = json!(true),
        "1_Pooling/config.json: pooling_mode is \"max_tokens\", which is not supported",
    );
    check_refused(
        "modules.json",
        |modules| modules[1]["type"] = json!("sentence_transformers.models.Dense"),
        "modules.json: type of a module is \"sentence_transformers.models.Dense\", which is not supported",
    );
    check_refused(
        "sentence_bert_config.json",
        |config| config["max_seq_length"] = json!(33),
        "sentence_bert_config.json: max_seq_length is 33, expected 3 to 32",
    );
}
