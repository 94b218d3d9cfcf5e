//! Continuous batching: which requests take part in which step of the model. No thread, no clock, no tensor.
//!
//! In each [`Schedule::turn`], a few batches of prompt pieces go through the model, and then every request past its
//! prompt advances by one token, all in one batch. A long prompt thus never delays the others by more than the pieces
//! of one turn. Between turns, waiting requests take free slots.

use std::sync::Arc;
use std::time::Instant;

use tokenizers::Tokenizer;

use crate::backend::{Backend, Outputs, Row};
use crate::load::first_line;
use crate::pace::Pace;
use crate::request::{FinishReason, GenerateError};
use crate::running::{Job, Running};
use crate::slots::{SlotLayout, Slots};

/// Tokens of one prompt that enter in a turn.
const PROMPT_TURN_TOKENS: usize = 512;
/// Tokens of all prompts, padding included, that enter in a turn.
const TURN_TOKENS: usize = 2048;

/// What a turn did, for those who count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnReport {
    /// Requests that advanced by one token in the common step.
    pub(crate) rows: usize,
    /// Tokens generated.
    pub(crate) tokens: u64,
    /// Tokens of prompts that went through the model.
    pub(crate) prompt_tokens: u64,
    /// Tokens of prompts that were there already, of the requests that began before this turn.
    pub(crate) hit_tokens: u64,
    /// Requests that were dropped because they could not be done in time any more.
    pub(crate) late: u64,
    /// Requests that hold a slot afterwards.
    pub(crate) active: usize,
}

/// The requests that hold slots of one model.
pub(crate) struct Schedule<B> {
    slots: Slots<B>,
    tokenizer: Arc<Tokenizer>,
    end_of_text: Vec<u32>,
    /// Of the running turn.
    report: TurnReport,
}

impl<B: Backend> Schedule<B> {
    pub(crate) fn new(
        backend: B,
        tokenizer: Arc<Tokenizer>,
        end_of_text: Vec<u32>,
        layout: SlotLayout,
    ) -> Schedule<B> {
        Schedule {
            slots: Slots::new(backend, layout),
            tokenizer,
            end_of_text,
            report: TurnReport::default(),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.slots.running.is_empty()
    }

    pub(crate) fn free_slots(&self) -> usize {
        self.slots.free()
    }

    /// Gives a job the next slot. The caller has seen that there is one.
    pub(crate) fn admit(&mut self, job: Job) {
        self.report.hit_tokens += self.slots.admit(job) as u64;
    }

    /// Lets every running request advance.
    pub(crate) fn turn(&mut self, now: Instant, pace: &Pace) -> TurnReport {
        self.end_late_and_cancelled(now, pace);
        self.slots.compact();
        self.take_in_prompts();
        self.decode();
        self.slots.compact();
        let active = self.slots.running.len();
        TurnReport {
            active,
            ..std::mem::take(&mut self.report)
        }
    }

    fn end_late_and_cancelled(&mut self, now: Instant, pace: &Pace) {
        for running in &mut self.slots.running {
            if running.job.is_cancelled() {
                running.is_over = true;
            } else if running.job.is_late(now) || running.lacks_time(now, pace) {
                self.report.late += u64::from(running.tokens == 0);
                running.finish(&self.tokenizer, FinishReason::Deadline);
            }
        }
    }

    /// The prompts' pieces of this turn; a request whose prompt is complete gets its first token.
    fn take_in_prompts(&mut self) {
        let mut room = TURN_TOKENS;
        for _ in 0..PROMPT_TURN_TOKENS.div_ceil(self.slots.layout.piece_tokens) {
            let taken = self.take_in_pieces(room);
            if taken == 0 {
                return;
            }
            room -= taken;
        }
    }

    /// One batch of prompt pieces, at most one of each prompt; returns how many tokens it had, padding included.
    fn take_in_pieces(&mut self, room: usize) -> usize {
        let piece_tokens = self.slots.layout.piece_tokens;
        let running = &self.slots.running;
        let chosen = choose_pieces(running, piece_tokens, room);
        let rows: Vec<Row<'_>> = chosen
            .iter()
            .map(|&slot| running[slot].piece(slot, piece_tokens))
            .collect();
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens.len()).collect();
        let Some(width) = lengths.iter().max() else {
            return 0;
        };
        let taken = width * rows.len();
        let result = self.slots.backend.forward(&rows);
        for (&slot, length) in chosen.iter().zip(lengths) {
            self.slots.running[slot].cached += length;
            self.report.prompt_tokens += length as u64;
        }
        self.distribute(&chosen, result);
        taken
    }

    /// One token for every request past its prompt.
    fn decode(&mut self) {
        let running = &mut self.slots.running;
        let is_decoding = |running: &Running| !running.is_over && !running.has_prompt_left();
        let chosen: Vec<usize> = (0..running.len())
            .filter(|&slot| is_decoding(&running[slot]))
            .collect();
        let rows: Vec<Row<'_>> = chosen.iter().map(|&slot| running[slot].step(slot)).collect();
        if rows.is_empty() {
            return;
        }
        let result = self.slots.backend.forward(&rows);
        for &slot in &chosen {
            self.slots.running[slot].cached += 1;
        }
        self.report.rows = chosen.len();
        self.distribute(&chosen, result);
    }

    /// Hands each chosen request its logits, or all of them the failure.
    fn distribute(&mut self, chosen: &[usize], result: Result<Outputs, tch::TchError>) {
        match result {
            Ok(outputs) => {
                for (index, &slot) in chosen.iter().enumerate() {
                    let running = &mut self.slots.running[slot];
                    let before = running.tokens;
                    let (logits, hidden) = (outputs.logits(index), outputs.hidden(index));
                    running.accept(&self.tokenizer, &self.end_of_text, logits, hidden);
                    self.report.tokens += u64::from(running.tokens - before);
                }
            }
            Err(error) => {
                let error = GenerateError::Torch {
                    message: first_line(&error),
                };
                for &slot in chosen {
                    self.slots.running[slot].fail(error.clone());
                }
            }
        }
    }
}

/// Slots whose next piece enters now, in order: as many as there is room for.
fn choose_pieces(running: &[Running], piece_tokens: usize, room: usize) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut width = 0;
    for (slot, running) in running.iter().enumerate() {
        if running.is_over || !running.has_prompt_left() {
            continue;
        }
        let wider = width.max(running.piece(slot, piece_tokens).tokens.len());
        if (chosen.len() + 1) * wider > room {
            continue;
        }
        width = wider;
        chosen.push(slot);
    }
    chosen
}

#[cfg(test)]
mod tests;
