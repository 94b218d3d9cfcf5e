//! What a folder says of itself, and how a damaged one is refused.

use super::*;
use crate::device::DeviceChoice;
use crate::testing::Folder;
use safetensors::Dtype as StoredDtype;
use serde_json::{Value, json};

fn load_small(folder: &Folder) -> Result<Loaded, LoadError> {
    load(
        folder.path(),
        &LoadOptions {
            device: DeviceChoice::Cpu,
            ..LoadOptions::default()
        },
        |_| {},
    )
}

/// The message of the error, with the folder's path taken out.
fn complaint(folder: &Folder) -> String {
    let error = load_small(folder).err().expect("the folder should be refused");
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

#[track_caller]
fn check_config(field: &str, value: Value, message: &str) {
    let mut folder = Folder::new();
    folder.set_config(field, value);
    assert_eq!(complaint(&folder), message);
}

#[track_caller]
fn check_file(name: &str, bytes: &[u8], message: &str) {
    let folder = Folder::new();
    folder.write(name, bytes);
    assert_eq!(complaint(&folder), message);
}

#[test]
fn the_digest_is_the_same_without_loading() {
    let folder = Folder::new();
    assert_eq!(
        digest_of(folder.path()).unwrap(),
        load_small(&folder).unwrap().info.digest
    );
}

#[test]
fn a_folder_says_what_it_is() {
    let folder = Folder::new();
    let info = load_small(&folder).unwrap().info;
    // 2 tables of 8 x 16, a final norm, and 2 layers of 16 x (16 + 8 + 8 + 16) + 3 x 16 x 32 + 2 x 16.
    assert_eq!(info.parameters, 2 * 128 + 16 + 2 * (768 + 1536 + 32));
    assert_eq!((info.architecture, info.vocabulary), (Architecture::Llama, 8));
    // The model's 64 positions are fewer than the option's 4096.
    assert_eq!(
        (info.context_tokens, info.dtype, info.device.as_str()),
        (64, Dtype::F32, "cpu")
    );
    assert_eq!(info.name, folder.path().file_name().unwrap().to_string_lossy());
}

#[test]
fn progress_ends_at_the_total() {
    let mut seen = Vec::new();
    let folder = Folder::new();
    load(folder.path(), &LoadOptions::default(), |progress| {
        seen.push(progress)
    })
    .unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.bytes_done, last.bytes_total), (4 * 4944, 4 * 4944));
    assert!(seen.is_sorted_by_key(|progress| progress.bytes_done));
}

#[test]
fn the_digest_is_the_same_for_shards_and_changes_with_what_decides_answers() {
    let digest = |folder: &Folder| load_small(folder).unwrap().info.digest;
    let mut folder = Folder::new();
    let whole = digest(&folder);
    folder.split();
    assert_eq!(digest(&folder), whole);
    folder.set_config("max_position_embeddings", json!(48));
    assert_eq!(digest(&folder), whole);
    folder.set_config("rope_theta", json!(20_000.0));
    assert_ne!(digest(&folder), whole);
    folder.set_config("rope_theta", json!(10_000.0));
    assert_eq!(digest(&folder), whole);
    folder.set_config("rope_scaling", json!({"rope_type": "linear", "factor": 2.0}));
    assert_ne!(digest(&folder), whole);

    let folder = Folder::new();
    folder.write(
        "tokenizer.json",
        crate::testing::word_tokenizer_json(&["other"]).to_string(),
    );
    assert_ne!(digest(&folder), whole);
    let mut folder = Folder::new();
    folder.set_tensor("model.norm.weight", StoredDtype::F32, &[16]);
    assert_ne!(digest(&folder), whole);
}

#[test]
fn what_is_wrong_in_a_config_is_named() {
    check_config(
        "rope_scaling",
        json!({"rope_type": "longrope"}),
        "config.json: rope scaling \"longrope\" is not supported; \
         supported: default, linear, dynamic, llama3, yarn",
    );
    check_config(
        "architectures",
        json!(["MambaForCausalLM"]),
        "config.json: architecture \"MambaForCausalLM\" is not supported; \
         supported: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM",
    );
    check_config(
        "num_attention_heads",
        json!(0),
        "config.json: num_attention_heads is 0, expected 1 to 1024",
    );
    check_file(
        "config.json",
        b"{",
        "config.json: EOF while parsing an object at line 1 column 1",
    );
    check_file(
        "config.json",
        &vec![b' '; 1 << 21],
        "config.json is larger than 1048576 bytes",
    );
    check_file(
        "tokenizer.json",
        b"[]",
        "tokenizer.json: invalid type: sequence, expected struct Tokenizer at line 1 column 2",
    );
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let folder = Folder::new();
    let words = ["a", "b", "c", "d", "e", "f", "g"];
    folder.write(
        "tokenizer.json",
        crate::testing::word_tokenizer_json(&words).to_string(),
    );
    assert_eq!(
        complaint(&folder),
        "tokenizer.json: token \"g\" is number 8, but vocab_size in config.json is 8: \
         the tokenizer belongs to another model"
    );
}

#[test]
fn a_tensor_that_does_not_fit_is_named_with_what_was_expected() {
    let mut folder = Folder::new();
    folder.remove_tensor("model.layers.1.mlp.up_proj.weight");
    assert_eq!(
        complaint(&folder),
        "model.safetensors: tensor model.layers.1.mlp.up_proj.weight is missing"
    );

    let mut folder = Folder::new();
    folder.set_tensor("model.norm.weight", StoredDtype::F32, &[15]);
    assert_eq!(
        complaint(&folder),
        "model.safetensors: tensor model.norm.weight has shape [15], expected [16]"
    );

    let mut folder = Folder::new();
    folder.set_tensor("model.norm.weight", StoredDtype::I64, &[16]);
    assert_eq!(
        complaint(&folder),
        "model.safetensors: tensor model.norm.weight has dtype I64, expected F32, BF16 or F16"
    );
}

#[test]
fn a_damaged_parameter_file_is_an_error_and_not_a_crash() {
    const FILE: &str = "model.safetensors";
    check_file(
        FILE,
        b"",
        "model.safetensors: the file has 0 bytes, too few for a header",
    );
    check_file(
        FILE,
        &u64::MAX.to_le_bytes(),
        "model.safetensors: the header claims 18446744073709551615 bytes, at most 0 are possible",
    );
    check_file(
        FILE,
        b"\x02\0\0\0\0\0\0\0{}abc",
        "model.safetensors: the header describes 0 bytes of data, the file has 3",
    );

    let folder = Folder::new();
    let bytes = std::fs::read(folder.file(FILE)).unwrap();
    folder.write(FILE, &bytes[..bytes.len() - 1]);
    assert_eq!(
        complaint(&folder),
        "model.safetensors: the header describes 19776 bytes of data, the file has 19775"
    );
    // Whatever byte of the header is damaged: an answer, not a panic.
    for index in 0..400 {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x15;
        folder.write(FILE, &damaged);
        let _ = load_small(&folder);
    }
}

#[test]
fn shards_are_followed_within_the_folder_only() {
    let folder = Folder::new();
    folder.split();
    let index = |shard: &str| json!({"weight_map": {"model.norm.weight": shard}}).to_string();
    folder.write("model.safetensors.index.json", index("../model.safetensors"));
    assert_eq!(
        complaint(&folder),
        "model.safetensors.index.json: \"../model.safetensors\" is not the name of a file in this folder"
    );
    folder.write("model.safetensors.index.json", index("absent.safetensors"));
    assert!(
        complaint(&folder).starts_with("read absent.safetensors: "),
        "{}",
        complaint(&folder)
    );
    // The tensor is in one of the two, and the index says the other.
    let wrong = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    .map(|shard| {
        folder.write("model.safetensors.index.json", index(shard));
        complaint(&folder)
    })
    .into_iter()
    .find(|message| message.ends_with("tensor model.norm.weight is missing"));
    assert!(wrong.is_some_and(|message| message.starts_with("model-0000")));
}

#[test]
fn a_folder_without_its_files_says_which() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = Folder::new();
        std::fs::remove_file(folder.file(name)).unwrap();
        assert!(
            complaint(&folder).starts_with(&format!("read {name}: ")),
            "{}",
            complaint(&folder)
        );
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let folder = Folder::new();
    let options = LoadOptions {
        slots: 0,
        ..LoadOptions::default()
    };
    let error = load(folder.path(), &options, |_| {}).err().unwrap();
    assert_eq!(error.to_string(), "slots is 0, expected 1 to 4096");
}
