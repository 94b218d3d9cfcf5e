//! Continuous batching: which requests take part in which step of the model. No thread, no clock, no tensor.
//!
//! Running requests hold slots 0, 1, 2, ... without a gap: when one ends, the last one moves into its slot, so that
//! the model reads its caches in place. In each [`Schedule::turn`], waiting requests take free slots, one batch of
//! prompt chunks goes through the model, and then every request past its prompt advances by one token, all in one
//! batch. A long prompt thus never delays the others by more than one batch of chunks.

use std::time::Instant;

use tokenizers::Tokenizer;

use crate::channel::EventSender;
use crate::decoder::{Backend, Row};
use crate::load::first_line;
use crate::request::{Event, Finish, FinishReason, GenerateError, Sampling};
use crate::sample::Sampler;
use crate::text::{AnswerText, Grown};

/// Tokens of one prompt that enter at a time.
const CHUNK_TOKENS: usize = 512;
/// Tokens, padding included, of all chunks that enter together.
const CHUNK_BATCH_TOKENS: usize = 2048;

/// A request that was accepted, in tokens.
#[derive(Debug)]
pub(crate) struct Job {
    /// At least one token, each below the vocabulary.
    pub(crate) prompt: Vec<u32>,
    /// At least 1; prompt and answer together fit the context.
    pub(crate) tokens_max: u32,
    pub(crate) sampling: Sampling,
    pub(crate) stop: Vec<String>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) sender: EventSender,
}

impl Job {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sender.is_abandoned()
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Says that it ended with nothing generated.
    pub(crate) fn expire(self) {
        let prompt_tokens = self.prompt.len() as u32;
        self.sender.send(Event::Done(Finish {
            reason: FinishReason::Deadline,
            prompt_tokens,
            tokens: 0,
        }));
    }
}

/// A request that holds a slot.
#[derive(Debug)]
struct Running {
    job: Job,
    sampler: Sampler,
    text: AnswerText,
    /// Tokens in the slot's cache.
    cached: usize,
    /// The token chosen last, not yet in the cache.
    last: u32,
    /// Tokens generated.
    tokens: u32,
    /// Its last event was sent, or nobody listens: the slot is to be freed.
    is_over: bool,
}

/// What a turn did, for those who count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnReport {
    /// Requests that advanced by one token in the common step.
    pub(crate) rows: usize,
    /// Tokens generated.
    pub(crate) tokens: u64,
    /// Requests that hold a slot afterwards.
    pub(crate) active: usize,
}

/// The requests that hold slots of one model; a request's index is its slot.
pub(crate) struct Schedule<B> {
    backend: B,
    tokenizer: std::sync::Arc<Tokenizer>,
    end_of_text: Vec<u32>,
    slots: usize,
    running: Vec<Running>,
    /// Tokens generated, ever.
    tokens: u64,
}

impl<B: Backend> Schedule<B> {
    pub(crate) fn new(
        backend: B,
        tokenizer: std::sync::Arc<Tokenizer>,
        end_of_text: Vec<u32>,
        slots: usize,
    ) -> Schedule<B> {
        Schedule {
            backend,
            tokenizer,
            end_of_text,
            slots,
            running: Vec::new(),
            tokens: 0,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.slots - self.running.len()
    }

    /// Gives a job the next slot. The caller has seen that there is one.
    pub(crate) fn admit(&mut self, job: Job) {
        assert!(self.free_slots() > 0, "a job was admitted without a slot");
        let text = AnswerText::new(&job.prompt, job.stop.clone());
        let sampler = Sampler::new(job.sampling);
        self.running.push(Running {
            job,
            sampler,
            text,
            cached: 0,
            last: 0,
            tokens: 0,
            is_over: false,
        });
    }

    /// Lets every running request advance.
    pub(crate) fn turn(&mut self, now: Instant) -> TurnReport {
        let before = self.tokens;
        self.end_late_and_cancelled(now);
        self.compact();
        self.take_in_prompts();
        let rows = self.decode();
        self.compact();
        TurnReport {
            rows,
            tokens: self.tokens - before,
            active: self.running.len(),
        }
    }

    fn end_late_and_cancelled(&mut self, now: Instant) {
        for running in &mut self.running {
            if running.job.is_cancelled() {
                running.is_over = true;
            } else if running.job.is_late(now) {
                running.finish(&self.tokenizer, FinishReason::Deadline);
            }
        }
    }

    /// One batch of prompt chunks; a request whose prompt is complete gets its first token.
    fn take_in_prompts(&mut self) {
        let chosen = self.choose_chunks();
        let rows: Vec<Row<'_>> = chosen
            .iter()
            .map(|&slot| self.running[slot].chunk(slot))
            .collect();
        if rows.is_empty() {
            return;
        }
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let result = self.backend.forward(&rows);
        for (&slot, length) in chosen.iter().zip(lengths) {
            self.running[slot].cached += length;
        }
        self.distribute(&chosen, result);
    }

    /// Slots whose next chunk enters now, in order; as many as the batch holds, at least one if any waits.
    fn choose_chunks(&self) -> Vec<usize> {
        let mut chosen = Vec::new();
        let mut width = 0;
        for (slot, running) in self.running.iter().enumerate() {
            if running.is_over || !running.has_prompt_left() {
                continue;
            }
            let wider = width.max(running.chunk(slot).tokens.len());
            if !chosen.is_empty() && (chosen.len() + 1) * wider > CHUNK_BATCH_TOKENS {
                continue;
            }
            width = wider;
            chosen.push(slot);
        }
        chosen
    }

    /// One token for every request past its prompt; returns how many there were.
    fn decode(&mut self) -> usize {
        let is_decoding = |running: &Running| !running.is_over && !running.has_prompt_left();
        let chosen: Vec<usize> = (0..self.running.len())
            .filter(|&slot| is_decoding(&self.running[slot]))
            .collect();
        let rows: Vec<Row<'_>> = chosen.iter().map(|&slot| self.running[slot].step(slot)).collect();
        if rows.is_empty() {
            return 0;
        }
        let result = self.backend.forward(&rows);
        for &slot in &chosen {
            self.running[slot].cached += 1;
        }
        self.distribute(&chosen, result);
        chosen.len()
    }

    /// Hands each chosen request its logits, or all of them the failure.
    fn distribute(&mut self, chosen: &[usize], result: Result<Vec<f32>, tch::TchError>) {
        let vocabulary = self.backend.vocabulary();
        match result {
            Ok(logits) => {
                for (&slot, logits) in chosen.iter().zip(logits.chunks_exact(vocabulary)) {
                    let running = &mut self.running[slot];
                    let before = running.tokens;
                    running.accept(&self.tokenizer, &self.end_of_text, logits);
                    self.tokens += u64::from(running.tokens - before);
                }
            }
            Err(error) => {
                let error = GenerateError::Torch {
                    message: first_line(&error),
                };
                for &slot in chosen {
                    self.running[slot].fail(error.clone());
                }
            }
        }
    }

    /// Frees the slots of all that are over; the last running requests move into the gaps.
    fn compact(&mut self) {
        let mut slot = 0;
        while slot < self.running.len() {
            if !self.running[slot].is_over {
                slot += 1;
                continue;
            }
            self.running.swap_remove(slot);
            let Some(moved) = self.running.get_mut(slot).filter(|moved| !moved.is_over) else {
                continue;
            };
            // What was swapped in came from the last slot, which is now one past the end.
            let (cached, from) = (moved.cached, self.running.len());
            if let Err(error) = self.backend.move_slot(from, slot, cached) {
                self.running[slot].fail(GenerateError::Torch {
                    message: first_line(&error),
                });
            }
        }
    }
}

impl Running {
    fn has_prompt_left(&self) -> bool {
        self.cached < self.job.prompt.len()
    }

    /// The next part of the prompt.
    fn chunk(&self, slot: usize) -> Row<'_> {
        let end = self.job.prompt.len().min(self.cached + CHUNK_TOKENS);
        Row {
            slot,
            start: self.cached,
            tokens: &self.job.prompt[self.cached..end],
        }
    }

    /// The token chosen last.
    fn step(&self, slot: usize) -> Row<'_> {
        Row {
            slot,
            start: self.cached,
            tokens: std::slice::from_ref(&self.last),
        }
    }

    /// Chooses the next token from `logits` and shows what text it completes.
    fn accept(&mut self, tokenizer: &Tokenizer, end_of_text: &[u32], logits: &[f32]) {
        if self.has_prompt_left() {
            return;
        }
        let Some(token) = self.sampler.choose(logits) else {
            return self.fail(GenerateError::Logits {
                position: self.tokens,
            });
        };
        if end_of_text.contains(&token) {
            return self.finish(tokenizer, FinishReason::EndOfText);
        }
        self.last = token;
        self.tokens += 1;
        match self.text.push(tokenizer, token) {
            Ok(Grown { text, is_stopped }) => {
                self.show(text);
                if is_stopped {
                    self.end(FinishReason::Stop);
                } else if self.tokens == self.job.tokens_max {
                    self.finish(tokenizer, FinishReason::Length);
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// Shows what was held back and ends; a stop text in it wins over `reason`.
    fn finish(&mut self, tokenizer: &Tokenizer, reason: FinishReason) {
        match self.text.finish(tokenizer) {
            Ok(Grown { text, is_stopped }) => {
                self.show(text);
                self.end(if is_stopped { FinishReason::Stop } else { reason });
            }
            Err(error) => self.fail(error),
        }
    }

    fn show(&self, text: String) {
        if !text.is_empty() {
            self.job.sender.send(Event::Text(text));
        }
    }

    fn end(&mut self, reason: FinishReason) {
        let prompt_tokens = self.job.prompt.len() as u32;
        self.job.sender.send(Event::Done(Finish {
            reason,
            prompt_tokens,
            tokens: self.tokens,
        }));
        self.is_over = true;
    }

    fn fail(&mut self, error: GenerateError) {
        self.job.sender.send(Event::Failed(error));
        self.is_over = true;
    }
}
