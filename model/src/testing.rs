//! What the tests of this crate share: tiny tokenizers, tiny model folders, scripted models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use safetensors::Dtype as StoredDtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tch::TchError;
use tokenizers::Tokenizer;

use crate::backend::{Backend, Outputs, Row};
use crate::config::Config;
use crate::shapes::parameter_shapes;

/// Tokens `<end>` and `<unk>`, then one token for each word, joined by spaces.
pub(crate) fn word_tokenizer(words: &[&str]) -> Tokenizer {
    Tokenizer::from_bytes(word_tokenizer_json(words).to_string()).unwrap()
}

pub(crate) fn word_tokenizer_json(words: &[&str]) -> Value {
    let mut vocabulary = serde_json::Map::new();
    for (id, word) in ["<end>", "<unk>"].iter().chain(words).enumerate() {
        vocabulary.insert(word.to_string(), json!(id));
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null,
        "post_processor": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "added_tokens": [{
            "id": 0, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        }],
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    })
}

/// Each byte of a text is the token of its value.
pub(crate) fn byte_tokenizer() -> Tokenizer {
    let vocabulary: serde_json::Map<String, Value> = (0..256)
        .map(|byte| (format!("<0x{byte:02X}>"), json!(byte)))
        .collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "added_tokens": [],
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true}
    });
    Tokenizer::from_bytes(tokenizer.to_string()).unwrap()
}

/// The rows of each step that a [`Scripted`] model computed: (slot, start, token count).
pub(crate) type Steps = Arc<Mutex<Vec<Vec<(usize, usize, usize)>>>>;

/// A model that says what a function of all tokens so far tells it to say.
pub(crate) struct Scripted<F> {
    vocabulary: usize,
    slots: Vec<Vec<u32>>,
    rule: F,
    pub(crate) steps: Steps,
    pub(crate) fails_to_move: bool,
}

impl<F: FnMut(&[u32]) -> Result<u32, TchError>> Scripted<F> {
    pub(crate) fn new(vocabulary: usize, slots: usize, rule: F) -> Scripted<F> {
        Scripted {
            vocabulary,
            slots: vec![Vec::new(); slots],
            rule,
            steps: Steps::default(),
            fails_to_move: false,
        }
    }
}

impl<F: FnMut(&[u32]) -> Result<u32, TchError>> Backend for Scripted<F> {
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
        let shape = |row: &Row<'_>| (row.slot, row.start, row.tokens.len());
        self.steps.lock().unwrap().push(rows.iter().map(shape).collect());
        let mut logits = Vec::new();
        for row in rows {
            let slot = &mut self.slots[row.slot];
            assert!(
                slot.len() >= row.start,
                "slot {} has {} tokens, not {}",
                row.slot,
                slot.len(),
                row.start
            );
            slot.truncate(row.start);
            slot.extend_from_slice(row.tokens);
            let next = (self.rule)(slot)?;
            logits.extend((0..self.vocabulary as u32).map(|token| if token == next { 1.0 } else { 0.0 }));
        }
        Ok(Outputs::new(self.vocabulary, logits, Vec::new()))
    }

    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError> {
        if self.fails_to_move {
            return Err(TchError::Torch("no copy today".to_owned()));
        }
        self.slots[to] = self.slots[from][..tokens].to_vec();
        Ok(())
    }
}

/// A Hugging Face folder with random parameters, in a folder of its own, that tests may damage.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
    config: Value,
    tokenizer: Value,
    tensors: BTreeMap<String, (StoredDtype, Vec<usize>, Vec<u8>)>,
}

/// Words of the random model's tokenizer.
pub(crate) const WORDS: [&str; 6] = ["mary", "john", "kitchen", "garden", "where", "is"];

impl Folder {
    /// A Llama of 16 by 2 with 8 tokens, written out.
    pub(crate) fn new() -> Folder {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "vocab_size": 8, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 64, "tie_word_embeddings": false, "eos_token_id": null
        });
        let mut random = ChaCha20Rng::seed_from_u64(1);
        let tensors = parameter_shapes(&Config::read(&config, None).unwrap())
            .into_iter()
            .map(|(name, shape)| {
                let count: usize = shape.iter().product();
                let numbers = (0..count).map(|_| random.next_u32() as f32 / u32::MAX as f32 - 0.5);
                let bytes = numbers.flat_map(f32::to_le_bytes).collect();
                (name, (StoredDtype::F32, shape, bytes))
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder {
            dir,
            config,
            tokenizer: word_tokenizer_json(&WORDS),
            tensors,
        };
        folder.write_all();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), bytes).unwrap();
    }

    /// Changes one field of `config.json`.
    pub(crate) fn set_config(&mut self, field: &str, value: Value) {
        self.config[field] = value;
        self.write_all();
    }

    pub(crate) fn remove_tensor(&mut self, name: &str) {
        self.tensors.remove(name).unwrap();
        self.write_all();
    }

    pub(crate) fn set_tensor(&mut self, name: &str, dtype: StoredDtype, shape: &[usize]) {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        self.tensors
            .insert(name.to_owned(), (dtype, shape.to_vec(), vec![0; bytes]));
        self.write_all();
    }

    /// Spreads the tensors over two files with an index, in place of one file.
    pub(crate) fn split(&self) {
        std::fs::remove_file(self.file("model.safetensors")).unwrap();
        let shard_of = |index: usize| format!("model-{:05}-of-00002.safetensors", index % 2 + 1);
        let mut map = serde_json::Map::new();
        for (index, name) in self.tensors.keys().enumerate() {
            map.insert(name.clone(), json!(shard_of(index)));
        }
        for half in 0..2 {
            let names = self
                .tensors
                .keys()
                .enumerate()
                .filter(|(index, _)| index % 2 == half);
            self.write_tensors(&shard_of(half), names.map(|(_, name)| name));
        }
        self.write(
            "model.safetensors.index.json",
            json!({"metadata": {}, "weight_map": map}).to_string(),
        );
    }

    fn write_all(&mut self) {
        self.write("config.json", self.config.to_string());
        self.write("tokenizer.json", self.tokenizer.to_string());
        self.write_tensors("model.safetensors", self.tensors.keys());
    }

    fn write_tensors<'a>(&'a self, file: &str, names: impl Iterator<Item = &'a String>) {
        let views = names.map(|name| {
            let (dtype, shape, bytes) = &self.tensors[name];
            (
                name.clone(),
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        self.write(file, safetensors::serialize(views, None).unwrap());
    }
}
