//! A learned model as a Hugging Face folder: what transformers and every compatible loader expect.
//!
//! `config.json`, `generation_config.json`, `model.safetensors` in `bf16`, and a word-level `tokenizer.json`
//! with its `tokenizer_config.json`. Fused matrices are taken apart, tied embeddings written once.

use super::learner::{Learner, LearnerError, NORM_EPSILON, POSITIONS_MAX, ROPE_THETA, Shape};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Kind, TchError, Tensor};
use thiserror::Error;

const END_OF_TEXT: &str = "<|endoftext|>";
const UNKNOWN: &str = "<unk>";
/// No number in the config of a model that was trained here is larger.
const SIDE_MAX: i64 = 1 << 16;

/// Why a model folder could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A text file could not be written or read.
    #[error("model folder: {0}")]
    File(#[from] std::io::Error),
    /// The parameters could not be written or read.
    #[error("model folder: {0}")]
    Tensors(#[from] TchError),
    /// The parameters could not be laid out as safetensors.
    #[error("model folder: {0}")]
    Layout(#[from] SafeTensorError),
    /// The parameters are those of another model.
    #[error("model folder: {0}")]
    Parameters(#[from] LearnerError),
    /// A configuration is no JSON, or lacks a number.
    #[error("model folder: config.json has no usable {field}")]
    Config {
        /// The missing field, or `json`.
        field: &'static str,
    },
}

/// The words of a word-level tokenizer, and their ids.
///
/// Text is split at blanks and between words and marks (`\w+|[^\w\s]+`); phrases are found before that and
/// are one token each. Id 0 stands for words that are not known, id 1 ends a text.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    phrases: Vec<String>,
    ids: BTreeMap<String, u32>,
}

impl Vocabulary {
    /// The id of words that are not known.
    pub const UNKNOWN_ID: u32 = 0;
    /// The id that ends a text.
    pub const END_ID: u32 = 1;

    /// Numbers phrases and then words, in the order given.
    pub fn new(phrases: &[String], words: &[&str]) -> Self {
        let fixed = [UNKNOWN, END_OF_TEXT]
            .into_iter()
            .chain(phrases.iter().map(String::as_str));
        let names = fixed.chain(words.iter().copied());
        let ids = names
            .zip(0u32..)
            .map(|(name, id)| ((*name).to_owned(), id))
            .collect();
        Self {
            phrases: phrases.iter().map(|phrase| (*phrase).to_owned()).collect(),
            ids,
        }
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no id; never, since two are always there.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Encodes text exactly as the written tokenizer does: phrases first, the leftmost and longest.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut rest = text;
        while let Some((at, phrase)) = self.first_phrase(rest) {
            self.encode_words(&rest[..at], &mut ids);
            ids.push(self.id(phrase));
            rest = &rest[at + phrase.len()..];
        }
        self.encode_words(rest, &mut ids);
        ids
    }

    fn first_phrase(&self, text: &str) -> Option<(usize, &str)> {
        let longest = |at: usize| {
            let here = self
                .phrases
                .iter()
                .filter(|phrase| text[at..].starts_with(phrase.as_str()));
            here.max_by_key(|phrase| phrase.len())
                .map(|phrase| (at, phrase.as_str()))
        };
        text.char_indices().find_map(|(at, _)| longest(at))
    }

    fn encode_words(&self, text: &str, ids: &mut Vec<u32>) {
        for chunk in text.split_whitespace() {
            let mut rest = chunk;
            while let Some(first) = rest.chars().next() {
                let like_first = |mark: char| is_word(mark) == is_word(first);
                let end = rest.find(|mark| !like_first(mark)).unwrap_or(rest.len());
                ids.push(self.id(&rest[..end]));
                rest = &rest[end..];
            }
        }
    }

    /// The id of a phrase or a word.
    pub fn id(&self, name: &str) -> u32 {
        self.ids.get(name).copied().unwrap_or(Self::UNKNOWN_ID)
    }

    /// The tokenizer as `tokenizer.json` describes it.
    pub fn tokenizer_json(&self) -> Value {
        let special = [UNKNOWN, END_OF_TEXT].map(|name| (name, true));
        let phrases = self.phrases.iter().map(|phrase| (phrase.as_str(), false));
        let added: Vec<Value> = special
            .into_iter()
            .chain(phrases)
            .map(|(content, special)| {
                json!({
                    "id": self.id(content), "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": special,
                })
            })
            .collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": null,
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": self.ids, "unk_token": UNKNOWN},
        })
    }
}

fn is_word(mark: char) -> bool {
    mark.is_alphanumeric() || mark == '_'
}

/// Writes the learner's model with its tokenizer to `folder`, which is made when it is not there.
///
/// # Errors
///
/// [`FolderError::File`] or [`FolderError::Tensors`] when something cannot be written.
pub fn write_folder(folder: &Path, learner: &Learner, vocabulary: &Vocabulary) -> Result<(), FolderError> {
    std::fs::create_dir_all(folder)?;
    write_json(&folder.join("config.json"), &config_json(learner.shape()))?;
    write_json(&folder.join("generation_config.json"), &generation_json())?;
    write_json(&folder.join("tokenizer.json"), &vocabulary.tokenizer_json())?;
    write_json(&folder.join("tokenizer_config.json"), &tokenizer_config_json())?;
    write_tensors(&folder.join("model.safetensors"), &published_tensors(learner))
}

fn write_json(path: &Path, value: &Value) -> std::io::Result<()> {
    std::fs::write(path, format!("{value:#}\n"))
}

fn config_json(shape: &Shape) -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": shape.vocab,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "hidden_act": "silu",
        "max_position_embeddings": POSITIONS_MAX,
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": true,
        "use_sliding_window": false,
        "attention_dropout": 0.0,
        "bos_token_id": null,
        "eos_token_id": Vocabulary::END_ID,
        "pad_token_id": Vocabulary::END_ID,
        "torch_dtype": "bfloat16",
        "use_cache": true,
    })
}

fn generation_json() -> Value {
    json!({
        "do_sample": false,
        "eos_token_id": Vocabulary::END_ID,
        "pad_token_id": Vocabulary::END_ID,
        "max_new_tokens": 8,
    })
}

fn tokenizer_config_json() -> Value {
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNKNOWN,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "model_max_length": POSITIONS_MAX,
        "clean_up_tokenization_spaces": false,
    })
}

/// The tensors under the names of transformers' Qwen2, in `bf16`.
fn published_tensors(learner: &Learner) -> Vec<(String, Tensor)> {
    let _no_grad = tch::no_grad_guard();
    let mut published = Vec::new();
    for (name, tensor) in learner.named() {
        let names = published_names(&name);
        let parts = tensor.chunk(names.len() as i64, 0);
        published.extend(names.into_iter().zip(parts));
    }
    let ones = Tensor::ones([learner.shape().width], (Kind::Float, Device::Cpu));
    for layer in 0..learner.shape().layers {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            published.push((
                format!("model.layers.{layer}.{norm}.weight"),
                ones.shallow_clone(),
            ));
        }
    }
    published
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_kind(Kind::BFloat16).contiguous()))
        .collect()
}

/// The published names of the equal parts, by rows, of one of the learner's tensors.
fn published_names(name: &str) -> Vec<String> {
    let Some((layer, part)) = name.split_once('.') else {
        let whole = if name == "gain" {
            "model.norm.weight"
        } else {
            "model.embed_tokens.weight"
        };
        return vec![whole.to_owned()];
    };
    let parts: &[&str] = match part {
        "qkv" => &[
            "self_attn.q_proj.weight",
            "self_attn.k_proj.weight",
            "self_attn.v_proj.weight",
        ],
        "qkv_bias" => &[
            "self_attn.q_proj.bias",
            "self_attn.k_proj.bias",
            "self_attn.v_proj.bias",
        ],
        "output" => &["self_attn.o_proj.weight"],
        "gate_up" => &["mlp.gate_proj.weight", "mlp.up_proj.weight"],
        _ => &["mlp.down_proj.weight"],
    };
    parts
        .iter()
        .map(|part| format!("model.layers.{layer}.{part}"))
        .collect()
}

/// Writes tensors with the metadata by which transformers knows the layout.
fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), FolderError> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, tensor)| bf16_bytes(tensor)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let size = tensor.size().iter().map(|&side| side as usize).collect();
        TensorView::new(Dtype::BF16, size, bytes).map(|view| (name, view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    let format = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    Ok(std::fs::write(
        path,
        safetensors::serialize(views, Some(format))?,
    )?)
}

fn bf16_bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; 2 * tensor.numel()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Reads a folder of [`write_folder`] back, to go on or to be evaluated as it was published.
///
/// # Errors
///
/// [`FolderError`] says what is missing or damaged.
pub fn open_folder(folder: &Path) -> Result<Learner, FolderError> {
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)
        .map_err(|_| FolderError::Config { field: "json" })?;
    let number = |field: &'static str| {
        let usable = config[field]
            .as_i64()
            .filter(|number| (1..=SIDE_MAX).contains(number));
        usable.ok_or(FolderError::Config { field })
    };
    let shape = Shape {
        vocab: number("vocab_size")?,
        width: number("hidden_size")?,
        layers: number("num_hidden_layers")?,
        heads: number("num_attention_heads")?,
        mlp: number("intermediate_size")?,
    };
    if shape.width % (2 * shape.heads) != 0 {
        return Err(FolderError::Config {
            field: "num_attention_heads",
        });
    }
    let tensors: BTreeMap<String, Tensor> = Tensor::read_safetensors(folder.join("model.safetensors"))?
        .into_iter()
        .collect();
    let mut learner = Learner::new(shape, 0);
    learner.set(|name| {
        let parts: Vec<&Tensor> = published_names(name)
            .iter()
            .map(|name| tensors.get(name))
            .collect::<Option<_>>()?;
        Some(Tensor::cat(&parts, 0).to_kind(Kind::Float))
    })?;
    Ok(learner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Batch, Branch, Passage};

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("agon-{name}-{}", std::process::id()))
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(
            &["Answer with care.", "Answer", "Answer:"].map(str::to_owned),
            &["Anna", "went", "home", ".", "?", "with"],
        )
    }

    #[test]
    fn a_written_model_is_read_back_with_its_parameters_rounded() {
        tch::set_num_threads(1);
        let folder = folder("folder");
        let words = vocabulary();
        let shape = Shape {
            vocab: words.len() as i64,
            width: 16,
            layers: 2,
            heads: 2,
            mlp: 24,
        };
        let mut learner = Learner::new(shape, 5);
        write_folder(&folder, &learner, &words).expect("a writable folder");
        let opened = open_folder(&folder).expect("a complete folder");
        std::fs::remove_dir_all(&folder).expect("the folder was written");
        learner.round_to_bf16();
        let branch = Branch {
            reads: 3,
            prompt: vec![3],
            answer: vec![4],
        };
        let batch = Batch::pack(&[Passage {
            context: vec![2, 4, 5],
            branches: vec![branch],
        }]);
        assert_eq!(opened.predict(&batch).loss, learner.predict(&batch).loss);
    }

    #[test]
    fn a_config_that_fits_no_model_is_refused() {
        let folder = folder("config");
        std::fs::create_dir_all(&folder).expect("a writable folder");
        for heads in ["0", "3", "null"] {
            let config = format!(
                r#"{{"vocab_size":9,"hidden_size":16,"num_hidden_layers":1,"intermediate_size":4,"num_attention_heads":{heads}}}"#
            );
            std::fs::write(folder.join("config.json"), config).expect("a writable folder");
            let error = open_folder(&folder).expect_err("no such model");
            let named = matches!(
                error,
                FolderError::Config {
                    field: "num_attention_heads"
                }
            );
            assert!(named, "{heads}: {error}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder was written");
    }

    #[test]
    fn the_written_tokenizer_encodes_as_the_vocabulary_does_and_decodes_plainly() {
        let words = vocabulary();
        let bytes = words.tokenizer_json().to_string();
        let tokenizer = tokenizers::Tokenizer::from_bytes(bytes.as_bytes()).expect("a valid tokenizer");
        for text in [
            "Anna went home.",
            "Anna went  to\nhome?.",
            "",
            "with_home Anna-went é.Anna",
        ] {
            let encoded = tokenizer.encode(text, true).expect("any text can be encoded");
            assert_eq!(encoded.get_ids(), words.encode(text), "{text:?}");
        }
        let prompt = tokenizer
            .encode("Answer with care.\n\nAnna went home.\nAnswer:", true)
            .expect("text");
        let ids = [
            words.id("Answer with care."),
            words.id("Anna"),
            words.id("went"),
            words.id("home"),
        ];
        assert_eq!(
            prompt.get_ids(),
            [&ids[..], &[words.id("."), words.id("Answer:")]].concat()
        );
        let answer = tokenizer
            .decode(&[words.id("home"), Vocabulary::END_ID], true)
            .expect("known ids");
        assert_eq!(answer, "home");
    }
}
