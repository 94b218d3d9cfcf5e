//! A request that was accepted, and one that holds a slot: what it has, what it does next, how it ends.

use std::time::{Duration, Instant};

use tokenizers::Tokenizer;

use crate::backend::Row;
use crate::channel::EventSender;
use crate::code;
use crate::fair::Ticket;
use crate::pace::Pace;
use crate::request::{Asker, Event, Finish, FinishReason, GenerateError, Sampling, Trace};
use crate::sample::Rule;
use crate::text::{AnswerText, Grown};

/// The share of those who did not say who they are, parts per million: all of it, for they are the machine's owner.
const OWNERS_SHARE_PPM: u32 = 1_000_000;

/// A request that was accepted, in tokens.
#[derive(Debug)]
pub(crate) struct Job {
    /// At least one token, each below the vocabulary.
    pub(crate) prompt: Vec<u32>,
    /// At least 1; prompt and answer together fit the context.
    pub(crate) tokens_max: u32,
    pub(crate) tokens_min: u32,
    pub(crate) sampling: Sampling,
    pub(crate) stop: Vec<String>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) asker: Option<Asker>,
    pub(crate) sender: EventSender,
}

impl Job {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sender.is_abandoned()
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The time left and the time needed at least, when the shortest answer cannot be made in time.
    pub(crate) fn lacks_time(&self, now: Instant, pace: &Pace) -> Option<(Duration, Duration)> {
        self.lacks_time_for(self.prompt.len(), now, pace)
    }

    fn lacks_time_for(
        &self,
        prompt_tokens: usize,
        now: Instant,
        pace: &Pace,
    ) -> Option<(Duration, Duration)> {
        let left = self.deadline?.saturating_duration_since(now);
        let tokens = self.tokens_min.min(self.tokens_max);
        let needed = pace.at_least(prompt_tokens, tokens);
        (needed > left).then_some((left, needed))
    }

    /// Its claim to a place in the queue.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket {
            asker: self.asker.map(|asker| asker.key),
            share_ppm: self.asker.map_or(OWNERS_SHARE_PPM, |asker| asker.share_ppm),
            tokens: self.prompt.len() as u64 + u64::from(self.tokens_max),
        }
    }

    /// Says that it ended with nothing generated, if anyone listens.
    pub(crate) fn expire(self) {
        let prompt_tokens = self.prompt.len() as u32;
        let finish = Finish {
            reason: FinishReason::Deadline,
            prompt_tokens,
            tokens: 0,
        };
        self.sender.send(Event::Done(finish, Trace::default()));
    }

    /// Says that it had to leave a full queue for another.
    pub(crate) fn displace(self, limit: usize) {
        self.sender
            .send(Event::Failed(GenerateError::Displaced { limit }));
    }
}

/// A request that holds a slot.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) job: Job,
    text: AnswerText,
    /// Tokens in the slot's cache.
    pub(crate) cached: usize,
    /// The token chosen last, not yet in the cache.
    last: u32,
    /// Tokens generated.
    pub(crate) tokens: u32,
    trace: Trace,
    /// Its last event was sent, or nobody listens: the slot is to be freed.
    pub(crate) is_over: bool,
    /// Part of its prompt was there when it began.
    pub(crate) is_hit: bool,
}

impl Running {
    /// A job whose first `cached` tokens its slot holds already.
    pub(crate) fn new(job: Job, cached: usize) -> Running {
        Running {
            text: AnswerText::new(&job.prompt, job.stop.clone()),
            job,
            cached,
            last: 0,
            tokens: 0,
            trace: Trace::default(),
            is_over: false,
            is_hit: cached > 0,
        }
    }

    /// Whether its prompt is not through yet and never will be in time for the shortest answer.
    pub(crate) fn lacks_time(&self, now: Instant, pace: &Pace) -> bool {
        let prompt_tokens = self.job.prompt.len().saturating_sub(self.cached);
        prompt_tokens > 0 && self.job.lacks_time_for(prompt_tokens, now, pace).is_some()
    }

    pub(crate) fn has_prompt_left(&self) -> bool {
        self.cached < self.job.prompt.len()
    }

    /// The next piece of the prompt: up to the next multiple of `piece_tokens`.
    pub(crate) fn piece(&self, slot: usize, piece_tokens: usize) -> Row<'_> {
        let border = self.cached - self.cached % piece_tokens + piece_tokens;
        let end = self.job.prompt.len().min(border);
        Row {
            slot,
            start: self.cached,
            tokens: &self.job.prompt[self.cached..end],
            reach: self.job.prompt.len(),
        }
    }

    /// The token chosen last.
    pub(crate) fn step(&self, slot: usize) -> Row<'_> {
        Row {
            slot,
            start: self.cached,
            tokens: std::slice::from_ref(&self.last),
            reach: self.job.prompt.len(),
        }
    }

    /// Chooses the next token from `logits` and shows what text it completes.
    pub(crate) fn accept(
        &mut self,
        tokenizer: &Tokenizer,
        end_of_text: &[u32],
        logits: &[f32],
        hidden: &[f32],
    ) {
        if self.has_prompt_left() {
            return;
        }
        let rule = Rule {
            sampling: self.job.sampling,
            end_of_text,
            tokens_min: self.job.tokens_min,
        };
        let Some(token) = rule.choose(logits, self.tokens) else {
            return self.fail(GenerateError::Logits {
                position: self.tokens,
            });
        };
        self.trace.tokens.push(token);
        self.trace.codes.push(code::encode(hidden));
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
    pub(crate) fn finish(&mut self, tokenizer: &Tokenizer, reason: FinishReason) {
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
        let finish = Finish {
            reason,
            prompt_tokens,
            tokens: self.tokens,
        };
        let trace = std::mem::take(&mut self.trace);
        self.job.sender.send(Event::Done(finish, trace));
        self.is_over = true;
    }

    /// Ends with an error; what its slot holds is not to be relied on.
    pub(crate) fn fail(&mut self, error: GenerateError) {
        self.cached = 0;
        self.job.sender.send(Event::Failed(error));
        self.is_over = true;
    }
}
