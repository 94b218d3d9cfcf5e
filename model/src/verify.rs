//! Checks an answer against the model that should have made it: one pass over prompt and answer, which is many
//! times cheaper than generating.
//!
//! The pass is teacher-forced: the answer's tokens go in as they were given, and at each of them the reference says
//! how far the given token is from the one that the agreed draw would have chosen (its margin, in logits), and how
//! far the given activation code is from its own state. Honest answers have margins of nearly always 0, off it only
//! where two tokens were nearly tied; what such distances mean is decided elsewhere, by numbers that were measured.

use std::path::Path;

use thiserror::Error;
use tokenizers::Tokenizer;

use crate::backend::{AnyDecoder, Row};
use crate::code::{self, Code};
use crate::device::Dtype;
use crate::engine::{Engine, SubmitError};
use crate::load::{LoadError, LoadOptions, LoadProgress, Loaded, ModelInfo, first_line, load};
use crate::request::{FinishReason, GenerateError, Request, Sampling};
use crate::sample::Rule;

/// Tokens that enter at a time.
const CHUNK_TOKENS: usize = 512;

/// What a miner says it computed.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The prompt's text.
    pub prompt: &'a str,
    /// How tokens were to be chosen.
    pub sampling: Sampling,
    /// The end of the text could not be chosen before this many tokens.
    pub tokens_min: u32,
    /// The tokens given, the end of the text included.
    pub tokens: &'a [u32],
    /// What ended the answer.
    pub reason: FinishReason,
    /// Activation codes that were opened: index of the token, ascending, and its code.
    pub codes: &'a [(u32, Code)],
}

/// How far a claim is from what the reference computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distances {
    /// Of each token, in order: 0 where the reference chooses it too, else what its logit lacks, at most
    /// [`MARGIN_MAX`](crate::MARGIN_MAX).
    pub margins: Vec<f32>,
    /// Of each opened code, 0 to [`DISTANCE_MAX`](crate::DISTANCE_MAX).
    pub codes: Vec<f32>,
    /// The text of the tokens, as it is shown.
    pub text: String,
}

/// Why a claim cannot be true, whatever the model, or cannot be checked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimError {
    /// A token is not one of the model's.
    #[error("token {token} at {position}, the model knows {vocabulary}")]
    UnknownToken {
        /// Where in the answer, from 0.
        position: usize,
        /// The token.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// The text goes on behind its end, or is said to have ended where it did not.
    #[error("the end of the text is at {found:?}, the answer has {tokens} tokens and ended by {reason:?}")]
    End {
        /// Where the first end of the text is.
        found: Option<usize>,
        /// Tokens of the answer.
        tokens: usize,
        /// What is said to have ended it.
        reason: FinishReason,
    },
    /// Prompt and answer do not fit the context.
    #[error("{tokens} tokens of prompt and answer, at most {limit} fit")]
    TooLong {
        /// Tokens of both.
        tokens: usize,
        /// Tokens that fit.
        limit: usize,
    },
    /// The tokenizer refused prompt or answer, or the prompt is empty.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// The tokenizer's own words.
        message: String,
    },
    /// The reference model's logits are not numbers.
    #[error("the reference's logits are not numbers at answer token {position}")]
    Logits {
        /// Index of the token, from 0.
        position: usize,
    },
    /// libtorch refused an operation: says nothing about the claim.
    #[error("libtorch failed: {message}")]
    Torch {
        /// libtorch's own words, first line.
        message: String,
    },
}

impl ClaimError {
    /// Whether the claim itself is at fault, and not the machine that checks it.
    #[must_use]
    pub const fn is_the_claims_fault(&self) -> bool {
        matches!(
            self,
            Self::UnknownToken { .. } | Self::End { .. } | Self::TooLong { .. }
        )
    }
}

/// A reference model, for one check at a time.
pub struct Verifier {
    info: ModelInfo,
    decoder: AnyDecoder,
    tokenizer: Tokenizer,
    end_of_text: Vec<u32>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Loads the Hugging Face folder `dir`; of `options` one slot is used.
    ///
    /// # Errors
    ///
    /// [`LoadError`].
    pub fn load(
        dir: &Path,
        options: &LoadOptions,
        progress: impl FnMut(LoadProgress),
    ) -> Result<Verifier, LoadError> {
        let options = LoadOptions {
            slots: 1,
            ..options.clone()
        };
        if let Some(found @ Dtype::Int8) = options.dtype {
            return Err(LoadError::CoarseReference { found });
        }
        let Loaded {
            info,
            decoder,
            tokenizer,
            end_of_text,
            ..
        } = load(dir, &options, progress)?;
        Ok(Verifier {
            info,
            decoder,
            tokenizer,
            end_of_text,
        })
    }

    /// What was loaded, and how it is held.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Measures how far a claim is from what this model computes. Blocks for one pass over prompt and answer.
    ///
    /// # Errors
    ///
    /// [`ClaimError`]; [`ClaimError::is_the_claims_fault`] tells whose fault it is.
    pub fn check(&mut self, claim: &Claim<'_>) -> Result<Distances, ClaimError> {
        let _no_grad = tch::no_grad_guard();
        self.check_form(claim)?;
        let prompt = self.encode(claim.prompt)?;
        let shown = claim.tokens.len() - usize::from(claim.reason == FinishReason::EndOfText);
        let text = self
            .tokenizer
            .decode(&claim.tokens[..shown], true)
            .map_err(refused)?;
        let mut distances = Distances {
            text,
            ..Distances::default()
        };
        if claim.tokens.is_empty() {
            return Ok(distances);
        }
        self.compare(&prompt, claim, &mut distances)?;
        Ok(distances)
    }

    /// The activation code that this model gives at each token of a claim, whoever chose the tokens. Blocks for one
    /// pass over prompt and answer.
    ///
    /// That these can be had without generating is why a code alone proves nothing: a cheaper model may have written
    /// the tokens.
    ///
    /// # Errors
    ///
    /// As [`Verifier::check`].
    pub fn codes(&mut self, claim: &Claim<'_>) -> Result<Vec<Code>, ClaimError> {
        let _no_grad = tch::no_grad_guard();
        self.check_form(claim)?;
        let prompt = self.encode(claim.prompt)?;
        let mut codes = Vec::with_capacity(claim.tokens.len());
        if !claim.tokens.is_empty() {
            self.read(&prompt, claim.tokens, |_, _, hidden| {
                codes.push(code::encode(hidden));
            })?;
        }
        Ok(codes)
    }

    fn encode(&self, prompt: &str) -> Result<Vec<u32>, ClaimError> {
        let encoding = self.tokenizer.encode_fast(prompt, true).map_err(refused)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// What can be said of a claim without computing.
    fn check_form(&self, claim: &Claim<'_>) -> Result<(), ClaimError> {
        let vocabulary = self.info.vocabulary;
        let unknown = (0..)
            .zip(claim.tokens)
            .find(|(_, token)| **token as usize >= vocabulary);
        if let Some((position, &token)) = unknown {
            return Err(ClaimError::UnknownToken {
                position,
                token,
                vocabulary,
            });
        }
        let found = claim
            .tokens
            .iter()
            .position(|token| self.end_of_text.contains(token));
        let expected = (claim.reason == FinishReason::EndOfText).then(|| claim.tokens.len().wrapping_sub(1));
        if found != expected {
            return Err(ClaimError::End {
                found,
                tokens: claim.tokens.len(),
                reason: claim.reason,
            });
        }
        Ok(())
    }

    /// Runs the tokens through the model and fills in the distances.
    fn compare(
        &mut self,
        prompt: &[u32],
        claim: &Claim<'_>,
        distances: &mut Distances,
    ) -> Result<(), ClaimError> {
        let end_of_text = self.end_of_text.clone();
        let rule = Rule {
            sampling: claim.sampling,
            end_of_text: &end_of_text,
            tokens_min: claim.tokens_min,
        };
        let mut codes = claim.codes.iter().peekable();
        let mut broken = None;
        self.read(prompt, claim.tokens, |position, logits, hidden| {
            match rule.margin(logits, position as u32, claim.tokens[position]) {
                Some(margin) => distances.margins.push(margin),
                None => {
                    broken.get_or_insert(position);
                    distances.margins.push(crate::sample::MARGIN_MAX);
                }
            }
            while let Some((_, code)) = codes.next_if(|(index, _)| *index as usize == position) {
                distances.codes.push(code::distance(code, hidden));
            }
        })?;
        match broken {
            Some(position) => Err(ClaimError::Logits { position }),
            None => Ok(()),
        }
    }

    /// Runs prompt and tokens through the model; `each` gets, for each token, its index and the logits and the state
    /// that it was to be chosen from. There is at least one token.
    fn read(
        &mut self,
        prompt: &[u32],
        tokens: &[u32],
        mut each: impl FnMut(usize, &[f32], &[f32]),
    ) -> Result<(), ClaimError> {
        if prompt.is_empty() {
            let message = "the prompt has no tokens".to_owned();
            return Err(ClaimError::Tokenizer { message });
        }
        // The last token leads to nothing that is checked.
        let given = &tokens[..tokens.len() - 1];
        let read: Vec<u32> = prompt.iter().chain(given).copied().collect();
        let limit = self.info.context_tokens;
        if read.len() > limit {
            let tokens = read.len();
            return Err(ClaimError::TooLong { tokens, limit });
        }
        let first = prompt.len() - 1;
        let mut position = 0;
        for start in (0..read.len()).step_by(CHUNK_TOKENS) {
            let end = read.len().min(start + CHUNK_TOKENS);
            let row = Row {
                slot: 0,
                start,
                tokens: &read[start..end],
                reach: prompt.len(),
            };
            let count = end.saturating_sub(first.max(start));
            let mut one = |logits: &[f32], hidden: &[f32]| {
                each(position, logits, hidden);
                position += 1;
            };
            self.decoder
                .score(&row, count, &mut one)
                .map_err(|error| ClaimError::Torch {
                    message: first_line(&error),
                })?;
        }
        Ok(())
    }
}

fn refused(error: tokenizers::Error) -> ClaimError {
    ClaimError::Tokenizer {
        message: error.to_string(),
    }
}

/// Why answers of an engine were not compared with a reference.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The engine did not take a request.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The engine did not complete an answer.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The reference did not measure an answer.
    #[error(transparent)]
    Claim(#[from] ClaimError),
}

/// Lets an engine answer all requests, as many at a time as it takes, and measures every answer with all its codes
/// against a reference. `done` is called after each.
///
/// # Errors
///
/// [`CompareError`] of the first request that fails; the engine's queue has to have room for all.
pub fn compare(
    engine: &Engine,
    reference: &mut Verifier,
    requests: &[Request],
    mut done: impl FnMut(),
) -> Result<Vec<Distances>, CompareError> {
    let running: Vec<_> = requests
        .iter()
        .map(|request| engine.submit(request.clone()))
        .collect::<Result<_, _>>()?;
    let mut all = Vec::with_capacity(requests.len());
    for (request, generation) in requests.iter().zip(running) {
        let answer = generation.wait()?;
        let codes: Vec<(u32, Code)> = (0..).zip(answer.trace.codes.iter().copied()).collect();
        all.push(reference.check(&Claim {
            prompt: &request.prompt,
            sampling: request.sampling,
            tokens_min: request.tokens_min,
            tokens: &answer.trace.tokens,
            reason: answer.finish.reason,
            codes: &codes,
        })?);
        done();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceChoice;
    use crate::request::Answer;
    use crate::sample::MARGIN_MAX;
    use crate::testing::Folder;

    const PROMPT: &str = "mary kitchen";

    fn options(dtype: Dtype) -> LoadOptions {
        LoadOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(dtype),
            ..LoadOptions::default()
        }
    }

    fn sampling(seed: u64) -> Sampling {
        Sampling {
            temperature: 1.0,
            seed,
            ..Sampling::default()
        }
    }

    fn answer(engine: &Engine, seed: u64) -> Answer {
        let request = Request {
            prompt: PROMPT.to_owned(),
            tokens_max: 40,
            sampling: sampling(seed),
            ..Request::default()
        };
        engine.submit(request).unwrap().wait().unwrap()
    }

    fn claim<'a>(answer: &'a Answer, seed: u64, codes: &'a [(u32, Code)]) -> Claim<'a> {
        Claim {
            prompt: PROMPT,
            sampling: sampling(seed),
            tokens_min: 0,
            tokens: &answer.trace.tokens,
            reason: answer.finish.reason,
            codes,
        }
    }

    fn codes(answer: &Answer) -> Vec<(u32, Code)> {
        (0..).zip(answer.trace.codes.iter().copied()).collect()
    }

    #[test]
    fn the_models_own_answer_has_no_distance_from_it() {
        let folder = Folder::new();
        let engine = Engine::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let mut verifier = Verifier::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        for seed in 0..8 {
            let answer = answer(&engine, seed);
            let codes = codes(&answer);
            let distances = verifier.check(&claim(&answer, seed, &codes)).unwrap();
            assert_eq!(distances.margins, vec![0.0; 40]);
            assert_eq!(distances.codes.len(), 40);
            assert!(
                distances.codes.iter().all(|&distance| distance < 2e-3),
                "{:?}",
                distances.codes
            );
            assert_eq!(distances.text, answer.text.trim_start());
        }
    }

    #[test]
    fn codes_of_given_tokens_are_those_of_the_model_that_chose_them() {
        let folder = Folder::new();
        let engine = Engine::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let mut verifier = Verifier::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let answer = answer(&engine, 3);
        let codes: Vec<(u32, Code)> = (0..)
            .zip(verifier.codes(&claim(&answer, 3, &[])).unwrap())
            .collect();
        assert_eq!(codes.len(), answer.trace.codes.len());
        let distances = verifier.check(&claim(&answer, 3, &codes)).unwrap();
        assert!(
            distances.codes.iter().all(|&distance| distance < 2e-3),
            "{:?}",
            distances.codes
        );
    }

    #[test]
    fn another_format_of_numbers_is_near_and_another_seed_is_far() {
        let folder = Folder::new();
        let engine = Engine::load(folder.path(), &options(Dtype::Bf16), |_| {}).unwrap();
        let mut verifier = Verifier::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let answer = answer(&engine, 5);
        let mean = |margins: &[f32]| margins.iter().sum::<f32>() / margins.len() as f32;
        let near = verifier.check(&claim(&answer, 5, &[])).unwrap();
        let far = verifier.check(&claim(&answer, 6, &[])).unwrap();
        assert!(mean(&near.margins) < 0.02, "{:?}", near.margins);
        assert!(mean(&far.margins) > 0.5, "{:?}", far.margins);
    }

    #[test]
    fn one_changed_token_has_a_margin() {
        let folder = Folder::new();
        let engine = Engine::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let mut verifier = Verifier::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let mut answer = answer(&engine, 1);
        answer.trace.tokens[7] = (answer.trace.tokens[7] + 1) % 8;
        let distances = verifier.check(&claim(&answer, 1, &[])).unwrap();
        assert!(distances.margins[..7].iter().all(|&margin| margin == 0.0));
        assert!(distances.margins[7] > 0.0);
    }

    #[test]
    fn claims_that_cannot_be_true_are_refused_by_name() {
        let mut folder = Folder::new();
        folder.set_config("eos_token_id", serde_json::json!(0));
        let mut verifier = Verifier::load(folder.path(), &options(Dtype::F32), |_| {}).unwrap();
        let mut check = |tokens: &[u32], reason| {
            let claim = Claim {
                prompt: PROMPT,
                sampling: sampling(1),
                tokens_min: 0,
                tokens,
                reason,
                codes: &[],
            };
            verifier.check(&claim).map_err(|error| {
                assert!(error.is_the_claims_fault());
                error.to_string()
            })
        };
        let refused = |result: Result<Distances, String>| result.unwrap_err();
        assert_eq!(
            refused(check(&[1, 8], FinishReason::Length)),
            "token 8 at 1, the model knows 8"
        );
        assert!(refused(check(&[1, 0, 1], FinishReason::EndOfText)).contains("Some(1)"));
        assert!(refused(check(&[1, 2], FinishReason::EndOfText)).contains("None"));
        assert!(refused(check(&[1, 0], FinishReason::Length)).contains("Length"));
        assert!(refused(check(&[], FinishReason::EndOfText)).contains("0 tokens"));
        assert!(refused(check(&[1; 80], FinishReason::Length)).contains("at most 64"));
        assert_eq!(check(&[], FinishReason::Deadline), Ok(Distances::default()));
        let at_the_end = check(&[1, 0], FinishReason::EndOfText).unwrap();
        assert_eq!(at_the_end.margins.len(), 2);
        assert!(at_the_end.margins.iter().all(|&margin| margin <= MARGIN_MAX));
    }
}
