//! Text encoders of the BERT family: texts in, vectors out, near each other where the texts mean alike.
//!
//! An [`Encoder`] is loaded from a folder as sentence-transformers writes it: `config.json`, `tokenizer.json`,
//! `model.safetensors`, and beside them `modules.json`, `1_Pooling/config.json` and `sentence_bert_config.json`, each
//! of which may be absent. It computes on the caller's thread and keeps nothing between calls.
//!
//! Source: BERT (2018), sentence vectors by pooling as in Sentence-BERT (2019).

mod config;
#[cfg(test)]
mod tests;

use std::path::Path;

use tch::{Device, Kind, TchError, Tensor};
use thiserror::Error;
use tokenizers::{Tokenizer, TruncationParams};

use crate::decoder::Tensors;
use crate::device::{DeviceChoice, device_name};
use crate::load::{LoadError, LoadProgress, first_line, name_of, read_tokenizer};
use crate::runtime::start;
use crate::weights::{Listing, WeightFiles, add_bytes};
use config::{EncoderConfig, Pooling};

/// Opens the digest of an encoder, so that it can never be taken for the digest of something else.
const DIGEST_CONTEXT: &[u8] = b"agon encoder 1";
/// Texts that go through together; their padding is computed too, so more would not be faster.
const BATCH_TEXTS: usize = 32;
/// Bytes of a text for each token that is read, at most; what is behind is not looked at.
const TEXT_BYTES_PER_TOKEN: usize = 64;
/// Keeps the norm of a vector of zeros from dividing by zero, as sentence-transformers has it.
const NORM_MIN: f64 = 1e-12;

/// What was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    /// Name of the folder.
    pub name: String,
    /// Numbers that were trained.
    pub parameters: u64,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Tokens of a text that are read; what is behind is cut off.
    pub context_tokens: usize,
    /// Whether vectors have length 1.
    pub is_normalized: bool,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Identifies everything that decides the vectors: parameters, numbers of the configs, tokenizer.
    pub digest: [u8; 32],
}

/// Why texts have no vectors.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The tokenizer refused a text.
    #[error("encode text {index}: {message}")]
    Tokenizer {
        /// Index of the text.
        index: usize,
        /// The tokenizer's own words.
        message: String,
    },
    /// The tokenizer made a token that the model does not know.
    #[error("text {index} contains token {token}, the model knows {vocabulary}")]
    UnknownToken {
        /// Index of the text.
        index: usize,
        /// The token.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// libtorch refused an operation, for want of memory for example.
    #[error("libtorch failed: {message}")]
    Torch {
        /// libtorch's own words, first line.
        message: String,
    },
}

/// A loaded encoder. Computes in `f32`.
pub struct Encoder {
    info: EncoderInfo,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    tensors: Tensors,
    device: Device,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Encoder")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Texts as tokens, padded on the right to one width.
struct Batch {
    tokens: Tensor,
    /// 1 where there is a token, `[texts, width]`, in `f32`.
    present: Tensor,
}

impl Encoder {
    /// Loads the folder `dir`. `progress` is called after each tensor.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file, and the field or tensor in it, that stands in the way.
    pub fn load(
        dir: &Path,
        device: DeviceChoice,
        mut progress: impl FnMut(LoadProgress),
    ) -> Result<Encoder, LoadError> {
        start();
        let _no_grad = tch::no_grad_guard();
        let config = EncoderConfig::read(dir)?;
        let (mut tokenizer, tokenizer_bytes) = read_tokenizer(dir, config.vocabulary)?;
        let truncation = TruncationParams {
            max_length: config.context_tokens,
            ..TruncationParams::default()
        };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(|error| LoadError::Tokenizer {
                path: dir.join("tokenizer.json"),
                message: error.to_string(),
            })?;
        let files = WeightFiles::open(dir)?;
        let prefix = prefix_of(files.listing());
        let shapes = config.parameter_shapes();
        let mut bytes_total = 0;
        for (tensor, shape) in &shapes {
            bytes_total += files.listing().require(&format!("{prefix}{tensor}"), shape)?;
        }
        let device = device.resolve()?;
        let mut digest = config.begin_digest(DIGEST_CONTEXT);
        let mut tensors = Tensors::new();
        let mut bytes_done = 0;
        for (tensor, shape) in &shapes {
            let name = format!("{prefix}{tensor}");
            let held = files.place(&name, &mut digest, Kind::Float, device)?;
            tensors.insert(tensor.clone(), held);
            bytes_done += files.listing().require(&name, shape)?;
            progress(LoadProgress {
                bytes_done,
                bytes_total,
            });
        }
        add_bytes(&mut digest, &tokenizer_bytes);
        let info = EncoderInfo {
            name: name_of(dir),
            parameters: shapes
                .values()
                .map(|shape| shape.iter().product::<usize>() as u64)
                .sum(),
            dimensions: config.hidden,
            context_tokens: config.context_tokens,
            is_normalized: config.is_normalized,
            device: device_name(device),
            digest: *digest.finalize().as_bytes(),
        };
        Ok(Encoder {
            info,
            config,
            tokenizer,
            tensors,
            device,
        })
    }

    /// What was loaded.
    pub fn info(&self) -> &EncoderInfo {
        &self.info
    }

    /// One vector of [`EncoderInfo::dimensions`] numbers for each text, in order.
    ///
    /// A text longer than [`EncoderInfo::context_tokens`] counts with its beginning only. Blocks while it computes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; no vector is returned then.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EncodeError> {
        let _no_grad = tch::no_grad_guard();
        let mut encoded = texts
            .iter()
            .enumerate()
            .map(|(index, text)| Ok((index, self.tokens_of(index, text)?)))
            .collect::<Result<Vec<_>, EncodeError>>()?;
        // Texts of like length go together, so that little padding is computed.
        encoded.sort_by_key(|(_, tokens)| tokens.len());
        let mut vectors = vec![Vec::new(); texts.len()];
        for batch in encoded.chunks(BATCH_TEXTS) {
            let tokens: Vec<&[u32]> = batch.iter().map(|(_, tokens)| tokens.as_slice()).collect();
            let found = self.vectors(&tokens).map_err(|error| EncodeError::Torch {
                message: first_line(&error),
            })?;
            for ((index, _), vector) in batch.iter().zip(found) {
                vectors[*index] = vector;
            }
        }
        Ok(vectors)
    }

    fn tokens_of(&self, index: usize, text: &str) -> Result<Vec<u32>, EncodeError> {
        let limit = self.config.context_tokens.saturating_mul(TEXT_BYTES_PER_TOKEN);
        let end = (0..=text.len().min(limit))
            .rev()
            .find(|&end| text.is_char_boundary(end))
            .unwrap_or(0);
        let encoding =
            self.tokenizer
                .encode_fast(&text[..end], true)
                .map_err(|error| EncodeError::Tokenizer {
                    index,
                    message: error.to_string(),
                })?;
        let vocabulary = self.config.vocabulary;
        match encoding
            .get_ids()
            .iter()
            .find(|&&token| token as usize >= vocabulary)
        {
            Some(&token) => Err(EncodeError::UnknownToken {
                index,
                token,
                vocabulary,
            }),
            None => Ok(encoding.get_ids().to_vec()),
        }
    }

    fn vectors(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, TchError> {
        let batch = self.pad(texts)?;
        let mut stream = self.embeddings(&batch)?;
        let mask = self.mask(&batch)?;
        for layer in 0..self.config.layers {
            stream = self.layer(layer, &stream, &mask)?;
        }
        let pooled = self.pool(&stream, &batch.present)?;
        let pooled = if self.config.is_normalized {
            let length = pooled
                .f_norm_scalaropt_dim(2.0, [-1], true)?
                .f_clamp_min(NORM_MIN)?;
            pooled.f_div(&length)?
        } else {
            pooled
        };
        let numbers = Vec::<f32>::try_from(pooled.f_to_device(Device::Cpu)?.f_reshape([-1])?)?;
        Ok(numbers.chunks(self.config.hidden).map(<[f32]>::to_vec).collect())
    }

    fn pad(&self, texts: &[&[u32]]) -> Result<Batch, TchError> {
        let width = texts.iter().map(|text| text.len()).max().unwrap_or(0).max(1);
        let (mut tokens, mut present) = (Vec::new(), Vec::new());
        for text in texts {
            for column in 0..width {
                let token = text.get(column);
                tokens.push(token.map_or(0, |&token| i64::from(token)));
                present.push(if token.is_some() { 1_f32 } else { 0.0 });
            }
        }
        let shape = [texts.len() as i64, width as i64];
        Ok(Batch {
            tokens: Tensor::f_from_slice(&tokens)?
                .f_view(shape)?
                .f_to_device(self.device)?,
            present: Tensor::f_from_slice(&present)?
                .f_view(shape)?
                .f_to_device(self.device)?,
        })
    }

    /// What is added to the scores of attention, `[texts, 1, width, width]`: nothing where there is a token.
    fn mask(&self, batch: &Batch) -> Result<Tensor, TchError> {
        let [texts, width] = <[i64; 2]>::try_from(batch.present.size())
            .map_err(|size| TchError::Shape(format!("{size:?} is not [texts, width]")))?;
        let absent = batch.present.f_neg()?.f_add_scalar(1.0)?;
        absent
            .f_mul_scalar(f64::from(f32::MIN))?
            .f_view([texts, 1, 1, width])?
            .f_expand([texts, 1, width, width], false)
    }

    fn embeddings(&self, batch: &Batch) -> Result<Tensor, TchError> {
        let table = |name: &str| self.tensor(&format!("embeddings.{name}_embeddings.weight"));
        let words = Tensor::f_embedding(table("word")?, &batch.tokens, -1, false, false)?;
        let positions = table("position")?.f_narrow(0, 0, batch.tokens.size()[1])?;
        // Every token is of the first kind: a text has one part.
        let kind = table("token_type")?.f_select(0, 0)?;
        self.layer_norm("embeddings.LayerNorm", &words.f_add(&positions)?.f_add(&kind)?)
    }

    fn layer(&self, layer: usize, stream: &Tensor, mask: &Tensor) -> Result<Tensor, TchError> {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let [texts, width, hidden] = <[i64; 3]>::try_from(stream.size())
            .map_err(|size| TchError::Shape(format!("{size:?} is not [texts, width, hidden]")))?;
        let heads = self.config.heads as i64;
        let split = |part: &str| {
            self.linear(&name(&format!("attention.self.{part}")), stream)?
                .f_view([texts, width, heads, hidden / heads])?
                .f_transpose(1, 2)
        };
        let mixed = Tensor::f_scaled_dot_product_attention(
            &split("query")?,
            &split("key")?,
            &split("value")?,
            Some(mask),
            0.0,
            false,
            None,
            false,
        )?;
        let mixed = mixed.f_transpose(1, 2)?.f_reshape([texts, width, hidden])?;
        let attended = self.linear(&name("attention.output.dense"), &mixed)?;
        let stream = self.layer_norm(&name("attention.output.LayerNorm"), &stream.f_add(&attended)?)?;
        let wide = self
            .linear(&name("intermediate.dense"), &stream)?
            .f_gelu("none")?;
        let narrow = self.linear(&name("output.dense"), &wide)?;
        self.layer_norm(&name("output.LayerNorm"), &stream.f_add(&narrow)?)
    }

    fn pool(&self, stream: &Tensor, present: &Tensor) -> Result<Tensor, TchError> {
        match self.config.pooling {
            Pooling::First => stream.f_select(1, 0),
            Pooling::Mean => {
                let weights = present.f_unsqueeze(-1)?;
                let sum =
                    stream
                        .f_mul(&weights)?
                        .f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
                let count = weights.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
                sum.f_div(&count.f_clamp_min(1e-9)?)
            }
        }
    }

    fn linear(&self, name: &str, input: &Tensor) -> Result<Tensor, TchError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        input.f_linear(self.tensor(&weight)?, Some(self.tensor(&bias)?))
    }

    fn layer_norm(&self, name: &str, input: &Tensor) -> Result<Tensor, TchError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        input.f_layer_norm(
            [self.config.hidden as i64],
            Some(self.tensor(&weight)?),
            Some(self.tensor(&bias)?),
            self.config.norm_epsilon,
            false,
        )
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, TchError> {
        let missing = || TchError::TensorNameNotFound(name.to_owned(), "the checkpoint".to_owned());
        self.tensors.get(name).ok_or_else(missing)
    }
}

/// Models with a head on top keep the encoder's names behind `bert.`.
fn prefix_of(listing: &Listing) -> &'static str {
    const BEHIND: &str = "bert.";
    if listing.has("bert.embeddings.word_embeddings.weight") {
        BEHIND
    } else {
        ""
    }
}
