//! Continuous batching: which requests take part in which step of the model. No thread, no clock, no tensor.
//!
//! Running requests hold slots 0, 1, 2, ... without a gap: when one ends, the last one moves into its slot, so that
//! the model reads its caches in place. In each [`Schedule::turn`], waiting requests take free slots, one batch of
//! prompt chunks goes through the model, and then every request past its prompt advances by one token, all in one
//! batch. A long prompt thus never delays the others by more than one batch of chunks.

use std::time::Instant;

use tokenizers::Tokenizer;

use crate::channel::EventSender;
use crate::code;
use crate::decoder::{Backend, Outputs, Row};
use crate::load::first_line;
use crate::request::{Event, Finish, FinishReason, GenerateError, Sampling, Trace};
use crate::sample::Rule;
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
    pub(crate) tokens_min: u32,
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
}

/// A request that holds a slot.
#[derive(Debug)]
struct Running {
    job: Job,
    text: AnswerText,
    /// Tokens in the slot's cache.
    cached: usize,
    /// The token chosen last, not yet in the cache.
    last: u32,
    /// Tokens generated.
    tokens: u32,
    trace: Trace,
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
        self.running.push(Running {
            job,
            text,
            cached: 0,
            last: 0,
            tokens: 0,
            trace: Trace::default(),
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
    fn distribute(&mut self, chosen: &[usize], result: Result<Outputs, tch::TchError>) {
        match result {
            Ok(outputs) => {
                for (index, &slot) in chosen.iter().enumerate() {
                    let running = &mut self.running[slot];
                    let before = running.tokens;
                    let (logits, hidden) = (outputs.logits(index), outputs.hidden(index));
                    running.accept(&self.tokenizer, &self.end_of_text, logits, hidden);
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
            reach: self.job.prompt.len(),
        }
    }

    /// The token chosen last.
    fn step(&self, slot: usize) -> Row<'_> {
        Row {
            slot,
            start: self.cached,
            tokens: std::slice::from_ref(&self.last),
            reach: self.job.prompt.len(),
        }
    }

    /// Chooses the next token from `logits` and shows what text it completes.
    fn accept(&mut self, tokenizer: &Tokenizer, end_of_text: &[u32], logits: &[f32], hidden: &[f32]) {
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
        let finish = Finish {
            reason,
            prompt_tokens,
            tokens: self.tokens,
        };
        let trace = std::mem::take(&mut self.trace);
        self.job.sender.send(Event::Done(finish, trace));
        self.is_over = true;
    }

    fn fail(&mut self, error: GenerateError) {
        self.job.sender.send(Event::Failed(error));
        self.is_over = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Generation, events};
    use crate::testing::{Scripted, Steps, word_tokenizer};
    use std::sync::Arc;
    use std::time::Duration;
    use tch::TchError;

    const END: u32 = 0;
    const WORDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    /// Tokens of the first words: `<end>` and `<unk>` come before them.
    const A: u32 = 2;
    const VOCABULARY: usize = 8;

    type Rule = fn(&[u32]) -> Result<u32, TchError>;

    /// Says the alphabet: after each word the next, after the last the end.
    fn alphabet(tokens: &[u32]) -> Result<u32, TchError> {
        let last = *tokens.last().unwrap();
        Ok(if last as usize == VOCABULARY - 1 {
            END
        } else {
            last + 1
        })
    }

    /// Never ends.
    fn endless(_: &[u32]) -> Result<u32, TchError> {
        Ok(A)
    }

    struct Bench {
        schedule: Schedule<Scripted<Rule>>,
        steps: Steps,
        now: Instant,
    }

    impl Bench {
        fn new(slots: usize, rule: Rule) -> Bench {
            let backend = Scripted::new(VOCABULARY, slots, rule);
            let steps = Arc::clone(&backend.steps);
            let tokenizer = Arc::new(word_tokenizer(&WORDS));
            Bench {
                schedule: Schedule::new(backend, tokenizer, vec![END], slots),
                steps,
                now: Instant::now(),
            }
        }

        fn admit(&mut self, prompt: &[u32], tokens_max: u32) -> Generation {
            self.admit_with(prompt, tokens_max, &[], None)
        }

        fn admit_with(
            &mut self,
            prompt: &[u32],
            tokens_max: u32,
            stop: &[&str],
            deadline: Option<Instant>,
        ) -> Generation {
            let (sender, generation) = events();
            let stop = stop.iter().map(|stop| stop.to_string()).collect();
            let prompt = prompt.to_vec();
            self.schedule.admit(Job {
                prompt,
                tokens_max,
                tokens_min: 0,
                sampling: Sampling::default(),
                stop,
                deadline,
                sender,
            });
            generation
        }

        fn turn(&mut self) -> TurnReport {
            self.schedule.turn(self.now)
        }

        fn run(&mut self) {
            while !self.schedule.is_idle() {
                self.turn();
            }
        }

        /// The rows of every step so far, and none of them again.
        fn steps(&self) -> Vec<Vec<(usize, usize, usize)>> {
            std::mem::take(&mut self.steps.lock().unwrap())
        }
    }

    #[track_caller]
    fn check_answer(generation: Generation, text: &str, reason: FinishReason, tokens: u32) {
        let answer = generation.wait().unwrap();
        let found = (answer.text.as_str(), answer.finish.reason, answer.finish.tokens);
        assert_eq!(found, (text, reason, tokens));
    }

    #[test]
    fn an_answer_ends_with_the_text_or_with_its_length() {
        let mut bench = Bench::new(1, alphabet);
        let generation = bench.admit(&[A, A + 2], 10);
        bench.run();
        check_answer(generation, " d e f", FinishReason::EndOfText, 3);
        let generation = bench.admit(&[A], 2);
        bench.run();
        check_answer(generation, " b c", FinishReason::Length, 2);
    }

    #[test]
    fn a_stop_text_across_tokens_ends_the_answer_before_it() {
        let mut bench = Bench::new(1, alphabet);
        let generation = bench.admit_with(&[A], 10, &["c d"], None);
        bench.run();
        check_answer(generation, " b ", FinishReason::Stop, 3);
    }

    #[test]
    fn text_held_back_for_a_stop_that_did_not_come_is_shown_at_the_end() {
        let mut bench = Bench::new(1, alphabet);
        let generation = bench.admit_with(&[A], 3, &["d e"], None);
        bench.run();
        check_answer(generation, " b c d", FinishReason::Length, 3);
    }

    #[test]
    fn requests_that_run_together_share_their_steps() {
        let mut bench = Bench::new(4, endless);
        let first = bench.admit(&[A; 3], 4);
        let second = bench.admit(&[A; 5], 3);
        bench.turn();
        // Both prompts in one batch, then both first tokens in one step.
        assert_eq!(
            bench.steps(),
            [vec![(0, 0, 3), (1, 0, 5)], vec![(0, 3, 1), (1, 5, 1)]]
        );
        let third = bench.admit(&[A; 2], 9);
        assert_eq!(
            bench.turn(),
            TurnReport {
                rows: 3,
                tokens: 4,
                active: 2
            }
        );
        // The newcomer's prompt goes alone, then all three step; the second has its three tokens and leaves.
        assert_eq!(
            bench.steps(),
            [vec![(2, 0, 2)], vec![(0, 4, 1), (1, 6, 1), (2, 2, 1)]]
        );
        bench.turn();
        // The newcomer moved into the slot of the one that left.
        assert_eq!(bench.steps(), [vec![(0, 5, 1), (1, 3, 1)]]);
        bench.run();
        check_answer(first, " a a a a", FinishReason::Length, 4);
        check_answer(second, " a a a", FinishReason::Length, 3);
        check_answer(third, " a a a a a a a a a", FinishReason::Length, 9);
    }

    #[test]
    fn moving_a_request_does_not_change_its_answer() {
        let mut bench = Bench::new(3, alphabet);
        let short = bench.admit(&[A + 4], 10);
        let other = bench.admit(&[A + 3], 10);
        let long = bench.admit(&[A], 10);
        bench.run();
        check_answer(short, " f", FinishReason::EndOfText, 1);
        check_answer(other, " e f", FinishReason::EndOfText, 2);
        check_answer(long, " b c d e f", FinishReason::EndOfText, 5);
    }

    #[test]
    fn a_long_prompt_enters_in_chunks_while_others_go_on() {
        let mut bench = Bench::new(2, endless);
        let _short = bench.admit(&[A], 100);
        bench.turn();
        bench.steps();
        let _long = bench.admit(&[A; 1100], 100);
        for _ in 0..3 {
            bench.turn();
        }
        let expected: [&[(usize, usize, usize)]; 6] = [
            &[(1, 0, 512)],
            &[(0, 2, 1)],
            &[(1, 512, 512)],
            &[(0, 3, 1)],
            &[(1, 1024, 76)],
            &[(0, 4, 1), (1, 1100, 1)],
        ];
        assert_eq!(bench.steps(), expected);
    }

    #[test]
    fn chunks_that_enter_together_are_limited() {
        let mut bench = Bench::new(8, endless);
        let _all: Vec<Generation> = (0..8).map(|_| bench.admit(&[A; 512], 1)).collect();
        bench.turn();
        assert_eq!(
            bench.steps(),
            [(0..4).map(|slot| (slot, 0, 512)).collect::<Vec<_>>()]
        );
        bench.turn();
        assert_eq!(bench.steps()[0].len(), 4);
        assert!(bench.schedule.is_idle());
    }

    #[test]
    fn a_dropped_generation_frees_its_slot_within_a_turn() {
        let mut bench = Bench::new(2, endless);
        let dropped = bench.admit(&[A], 1000);
        let kept = bench.admit(&[A], 3);
        bench.turn();
        assert_eq!(bench.schedule.free_slots(), 0);
        drop(dropped);
        assert_eq!(
            bench.turn(),
            TurnReport {
                rows: 1,
                tokens: 1,
                active: 0
            }
        );
        check_answer(kept, " a a a", FinishReason::Length, 3);
    }

    #[test]
    fn a_deadline_ends_an_answer_with_what_there_is() {
        let mut bench = Bench::new(1, endless);
        let deadline = bench.now + Duration::from_secs(1);
        let generation = bench.admit_with(&[A], 1000, &["a b"], Some(deadline));
        bench.turn();
        bench.now = deadline;
        bench.turn();
        assert!(bench.schedule.is_idle());
        // The last word was held back for the stop text; now it is shown.
        check_answer(generation, " a a", FinishReason::Deadline, 2);
    }

    #[test]
    fn a_failing_model_fails_its_requests_and_goes_on() {
        let failing = |tokens: &[u32]| match tokens.len() {
            5 => Err(TchError::Torch("out of memory\nframe 0".to_owned())),
            _ => Ok(A),
        };
        let mut bench = Bench::new(2, failing);
        let generation = bench.admit(&[A; 3], 100);
        bench.run();
        let message = "Internal torch error: out of memory".to_owned();
        assert_eq!(generation.wait(), Err(GenerateError::Torch { message }));
        let generation = bench.admit(&[A], 2);
        bench.run();
        check_answer(generation, " a a", FinishReason::Length, 2);
    }
}
