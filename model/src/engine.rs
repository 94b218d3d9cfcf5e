//! A model on a thread of its own, shared by everyone who has a handle.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use thiserror::Error;
use tokenizers::Tokenizer;

use crate::channel::{Generation, events};
use crate::chat::{ChatError, ChatOptions, ChatTemplate, Message};
use crate::decoder::Backend;
use crate::load::{LoadError, LoadOptions, LoadProgress, Loaded, ModelInfo, load};
use crate::request::{Event, Finish, FinishReason, Request, Sampling, Trace};
use crate::schedule::{Job, Schedule, TurnReport};

/// Stop texts in one request, at most: each is looked for at every token.
const STOPS_MAX: usize = 16;
/// Bytes of one stop text, at most.
const STOP_BYTES_MAX: usize = 256;
/// Bytes of prompt for each token of context, at most: no tokenizer in use packs more into a token, and a prompt
/// beyond it would be too long in tokens anyway.
const PROMPT_BYTES_PER_TOKEN: usize = 64;

/// A loaded model that answers requests. Handles are cheap to clone.
///
/// Requests that are under way at the same time go through the model together. When the last handle is dropped,
/// what was accepted is still answered and the thread ends after it.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

/// What an engine is doing and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Requests that hold a slot.
    pub active: usize,
    /// Requests that wait for one.
    pub queued: usize,
    /// Steps in which running requests advanced by one token, together.
    pub steps: u64,
    /// Requests summed over those steps: divided by `steps`, the mean size of a batch.
    pub step_rows: u64,
    /// Tokens generated.
    pub tokens: u64,
}

/// Why a request was not accepted.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many requests as allowed are waiting already. Worth a retry later or elsewhere.
    #[error("the queue is full: {limit} requests are waiting")]
    Full {
        /// Requests that may wait.
        limit: usize,
    },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {tokens} tokens, at most {limit} fit")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that would be accepted.
        limit: usize,
    },
    /// The prompt is too long to be worth counting its tokens.
    #[error("the prompt has {bytes} bytes, at most {limit} are taken")]
    PromptBytes {
        /// Bytes of the prompt.
        bytes: usize,
        /// Bytes that would be accepted.
        limit: usize,
    },
    /// The prompt comes to no token at all, so there is nothing to continue.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// The tokenizer knows a token that the model does not.
    #[error("the prompt contains token {token}, the model knows {vocabulary}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Tokens that the model knows.
        vocabulary: usize,
    },
    /// A sampling parameter is out of range.
    #[error("{field} is {found}, expected {expected}")]
    Sampling {
        /// Name of the parameter.
        field: &'static str,
        /// Its value.
        found: f32,
        /// What would be accepted.
        expected: &'static str,
    },
    /// There are too many stop texts.
    #[error("{count} stop texts, at most {limit} are taken")]
    StopCount {
        /// How many there are.
        count: usize,
        /// How many would be accepted.
        limit: usize,
    },
    /// A stop text is empty or too long.
    #[error("a stop text has {bytes} bytes, expected 1 to {limit}")]
    StopBytes {
        /// Its length.
        bytes: usize,
        /// The longest that would be accepted.
        limit: usize,
    },
    /// The tokenizer refused the prompt.
    #[error("encode the prompt: {message}")]
    Tokenizer {
        /// The tokenizer's own words.
        message: String,
    },
    /// The conversation has no text.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The engine was shut down, or its thread died.
    #[error("the engine is closed")]
    Closed,
}

#[derive(Debug)]
struct Inner {
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    chat: Option<ChatTemplate>,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Loads the Hugging Face folder `dir` and starts the model's thread. Blocks until the model is ready.
    ///
    /// `progress` is called on this thread after each tensor.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file, and the field or tensor in it, that stands in the way.
    pub fn load(
        dir: &Path,
        options: &LoadOptions,
        progress: impl FnMut(LoadProgress),
    ) -> Result<Engine, LoadError> {
        let Loaded {
            info,
            decoder,
            tokenizer,
            end_of_text,
            chat,
        } = load(dir, options, progress)?;
        let tokenizer = Arc::new(tokenizer);
        let schedule = Schedule::new(decoder, Arc::clone(&tokenizer), end_of_text, options.slots);
        Engine::start(info, tokenizer, chat, schedule, options).map_err(|source| LoadError::Thread { source })
    }

    /// Puts a schedule on a thread of its own.
    fn start<B: Backend + Send + 'static>(
        info: ModelInfo,
        tokenizer: Arc<Tokenizer>,
        chat: Option<ChatTemplate>,
        schedule: Schedule<B>,
        options: &LoadOptions,
    ) -> std::io::Result<Engine> {
        let queue = Arc::new(Queue::new(options.queue_max));
        let threads = i32::try_from(options.threads).unwrap_or(i32::MAX);
        let thread = thread::Builder::new().name("agon-model".to_owned()).spawn({
            let queue = Arc::clone(&queue);
            move || {
                // Dropped last, also by a panic: whoever still waits is told.
                let _closing = ClosesAtEnd(Arc::clone(&queue));
                tch::set_num_threads(threads);
                let _no_grad = tch::no_grad_guard();
                serve(schedule, &queue);
            }
        })?;
        Ok(Engine {
            inner: Arc::new(Inner {
                info,
                tokenizer,
                chat,
                queue,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// What was loaded, and how it is held.
    pub fn info(&self) -> &ModelInfo {
        &self.inner.info
    }

    /// What the engine is doing and has done.
    pub fn stats(&self) -> EngineStats {
        self.inner.queue.stats()
    }

    /// Takes a request into the queue. Never waits for the model; the prompt is tokenised on the caller's thread.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`] and [`SubmitError::Closed`] speak of the engine, all others of the request.
    pub fn submit(&self, request: Request) -> Result<Generation, SubmitError> {
        check_sampling(&request.sampling)?;
        check_stops(&request.stop)?;
        let prompt = self.encode(&request.prompt, true)?;
        self.submit_tokens(prompt, request)
    }

    /// As [`Engine::submit`], for the next turn of a conversation: `messages`, rendered by the template that came with
    /// the model, take the place of the request's prompt.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Chat`] when there is no template or it refuses the conversation, else as [`Engine::submit`].
    pub fn submit_chat(
        &self,
        messages: &[Message],
        options: &ChatOptions,
        request: Request,
    ) -> Result<Generation, SubmitError> {
        check_sampling(&request.sampling)?;
        check_stops(&request.stop)?;
        let template = self.inner.chat.as_ref().ok_or(ChatError::NoTemplate)?;
        // The template writes the special tokens itself.
        let prompt = self.encode(&template.render(messages, options)?, false)?;
        self.submit_tokens(prompt, request)
    }

    /// The template that came with the model, if one did.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.inner.chat.as_ref()
    }

    fn submit_tokens(&self, prompt: Vec<u32>, request: Request) -> Result<Generation, SubmitError> {
        let room = self.inner.info.context_tokens - prompt.len();
        let tokens_max = request.tokens_max.min(u32::try_from(room).unwrap_or(u32::MAX));
        let (sender, generation) = events();
        if tokens_max == 0 {
            let prompt_tokens = prompt.len() as u32;
            let finish = Finish {
                reason: FinishReason::Length,
                prompt_tokens,
                tokens: 0,
            };
            sender.send(Event::Done(finish, Trace::default()));
            return Ok(generation);
        }
        let Request {
            tokens_min,
            sampling,
            stop,
            deadline,
            ..
        } = request;
        self.inner.queue.push(Job {
            prompt,
            tokens_max,
            tokens_min,
            sampling,
            stop,
            deadline,
            sender,
        })?;
        Ok(generation)
    }

    /// Ends the engine: requests that are not answered fail within a step. Waits until its thread has ended.
    pub fn shutdown(&self) {
        self.inner.queue.set_phase(Phase::Stopped);
        let thread = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic there has closed the queue already; nothing is left to report.
            let _ = thread.join();
        }
    }

    /// The prompt as tokens that the model knows and that leave room for at least one more.
    fn encode(&self, prompt: &str, adds_special_tokens: bool) -> Result<Vec<u32>, SubmitError> {
        let info = &self.inner.info;
        let limit = info.context_tokens.saturating_mul(PROMPT_BYTES_PER_TOKEN);
        if prompt.len() > limit {
            return Err(SubmitError::PromptBytes {
                bytes: prompt.len(),
                limit,
            });
        }
        let encoding = self
            .inner
            .tokenizer
            .encode_fast(prompt, adds_special_tokens)
            .map_err(|error| SubmitError::Tokenizer {
                message: error.to_string(),
            })?;
        let tokens = encoding.get_ids().to_vec();
        if tokens.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        if tokens.len() >= info.context_tokens {
            let limit = info.context_tokens - 1;
            return Err(SubmitError::PromptTooLong {
                tokens: tokens.len(),
                limit,
            });
        }
        match tokens.iter().find(|&&token| token as usize >= info.vocabulary) {
            Some(&token) => Err(SubmitError::UnknownToken {
                token,
                vocabulary: info.vocabulary,
            }),
            None => Ok(tokens),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.set_phase(Phase::Draining);
    }
}

fn check_sampling(sampling: &Sampling) -> Result<(), SubmitError> {
    let Sampling {
        temperature, top_p, ..
    } = *sampling;
    if !(temperature.is_finite() && temperature >= 0.0) {
        let expected = "a number from 0 up";
        return Err(SubmitError::Sampling {
            field: "temperature",
            found: temperature,
            expected,
        });
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        let expected = "a number above 0, up to 1";
        return Err(SubmitError::Sampling {
            field: "top_p",
            found: top_p,
            expected,
        });
    }
    Ok(())
}

fn check_stops(stops: &[String]) -> Result<(), SubmitError> {
    if stops.len() > STOPS_MAX {
        return Err(SubmitError::StopCount {
            count: stops.len(),
            limit: STOPS_MAX,
        });
    }
    match stops
        .iter()
        .find(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX)
    {
        Some(stop) => Err(SubmitError::StopBytes {
            bytes: stop.len(),
            limit: STOP_BYTES_MAX,
        }),
        None => Ok(()),
    }
}

/// The life of the model's thread.
fn serve<B: Backend>(mut schedule: Schedule<B>, queue: &Queue) {
    while queue.wait_for_work(schedule.is_idle()) {
        let now = Instant::now();
        for job in queue.take(schedule.free_slots(), now) {
            schedule.admit(job);
        }
        queue.count(schedule.turn(now));
    }
}

/// How much longer an engine goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Takes requests.
    Open,
    /// Takes none, answers what it has.
    Draining,
    /// Takes none and drops what it has.
    Stopped,
}

/// Requests that wait for a slot, and the counters.
#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    limit: usize,
    active: AtomicUsize,
    steps: AtomicU64,
    step_rows: AtomicU64,
    tokens: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    jobs: VecDeque<Job>,
    phase: Phase,
}

impl Queue {
    fn new(limit: usize) -> Queue {
        Queue {
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                phase: Phase::Open,
            }),
            changed: Condvar::new(),
            limit,
            active: AtomicUsize::new(0),
            steps: AtomicU64::new(0),
            step_rows: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    /// What waits; a panic elsewhere cannot leave it half changed, so poisoning is ignored.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), SubmitError> {
        let mut waiting = self.waiting();
        if waiting.phase != Phase::Open {
            return Err(SubmitError::Closed);
        }
        if waiting.jobs.len() >= self.limit {
            return Err(SubmitError::Full { limit: self.limit });
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_all();
        Ok(())
    }

    /// Up to `count` jobs, oldest first; those that nobody wants any more or that are late leave the queue as well.
    fn take(&self, count: usize, now: Instant) -> Vec<Job> {
        let mut taken = Vec::new();
        let mut leaving = Vec::new();
        let mut kept = VecDeque::new();
        let mut waiting = self.waiting();
        for job in waiting.jobs.drain(..) {
            if job.is_cancelled() || job.is_late(now) {
                leaving.push(job);
            } else if taken.len() < count {
                taken.push(job);
            } else {
                kept.push_back(job);
            }
        }
        waiting.jobs = kept;
        // Telling a caller wakes whatever waits there; that is done outside the lock.
        drop(waiting);
        leaving.into_iter().for_each(Job::expire);
        taken
    }

    /// Blocks while there is nothing to do; false when the thread is to end.
    fn wait_for_work(&self, is_idle: bool) -> bool {
        let mut waiting = self.waiting();
        loop {
            match waiting.phase {
                Phase::Stopped => return false,
                _ if !is_idle || !waiting.jobs.is_empty() => return true,
                Phase::Draining => return false,
                Phase::Open => {
                    waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Goes on to a later phase; never back.
    fn set_phase(&self, phase: Phase) {
        let dropped = {
            let mut waiting = self.waiting();
            waiting.phase = waiting.phase.max(phase);
            // Dropping a job tells its caller; that is done outside the lock.
            if phase == Phase::Stopped {
                std::mem::take(&mut waiting.jobs)
            } else {
                VecDeque::new()
            }
        };
        drop(dropped);
        self.changed.notify_all();
    }

    fn count(&self, report: TurnReport) {
        self.active.store(report.active, Ordering::Relaxed);
        self.steps
            .fetch_add(u64::from(report.rows > 0), Ordering::Relaxed);
        self.step_rows.fetch_add(report.rows as u64, Ordering::Relaxed);
        self.tokens.fetch_add(report.tokens, Ordering::Relaxed);
    }

    fn stats(&self) -> EngineStats {
        EngineStats {
            active: self.active.load(Ordering::Relaxed),
            queued: self.waiting().jobs.len(),
            steps: self.steps.load(Ordering::Relaxed),
            step_rows: self.step_rows.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
        }
    }
}

/// Closes a queue when the thread that serves it ends, in whatever way.
struct ClosesAtEnd(Arc<Queue>);

impl Drop for ClosesAtEnd {
    fn drop(&mut self) {
        self.0.set_phase(Phase::Stopped);
        self.0.active.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Architecture;
    use crate::device::{DeviceChoice, Dtype};
    use crate::request::{Answer, GenerateError};
    use crate::testing::{Folder, Scripted, WORDS, word_tokenizer};
    use std::sync::mpsc;
    use std::time::Duration;
    use tch::TchError;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn options() -> LoadOptions {
        LoadOptions {
            device: DeviceChoice::Cpu,
            slots: 4,
            ..LoadOptions::default()
        }
    }

    /// An engine over random parameters, whose answers end by length only.
    fn engine() -> Engine {
        Engine::load(Folder::new().path(), &options(), |_| {}).unwrap()
    }

    fn request(prompt: &str, tokens_max: u32) -> Request {
        Request {
            prompt: prompt.to_owned(),
            tokens_max,
            ..Request::default()
        }
    }

    fn drawn(prompt: &str, tokens_max: u32, seed: u64) -> Request {
        let sampling = Sampling {
            temperature: 1.0,
            top_p: 0.95,
            top_k: 0,
            seed,
        };
        Request {
            sampling,
            ..request(prompt, tokens_max)
        }
    }

    /// An engine over a scripted model with one slot and one waiting place.
    fn scripted(rule: impl FnMut(&[u32]) -> Result<u32, TchError> + Send + 'static) -> Engine {
        let tokenizer = Arc::new(word_tokenizer(&WORDS));
        let info = ModelInfo {
            name: "scripted".to_owned(),
            architecture: Architecture::Llama,
            parameters: 0,
            vocabulary: 8,
            context_tokens: 64,
            dtype: Dtype::F32,
            device: "cpu".to_owned(),
            arithmetic: "scripted".to_owned(),
            libtorch: crate::LIBTORCH_VERSION,
            digest: [0; 32],
        };
        let schedule = Schedule::new(Scripted::new(8, 1, rule), Arc::clone(&tokenizer), vec![0], 1);
        let options = LoadOptions {
            slots: 1,
            queue_max: 1,
            ..LoadOptions::default()
        };
        Engine::start(info, tokenizer, None, schedule, &options).unwrap()
    }

    /// A scripted engine that makes a token each time the returned sender is used, and says when it begins one.
    fn paced() -> (Engine, mpsc::Sender<()>, mpsc::Receiver<()>) {
        let (go, gone) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let engine = scripted(move |_| {
            // Whoever holds the other ends may be done with them.
            let _ = begin.send(());
            let _ = gone.recv();
            Ok(2)
        });
        (engine, go, begun)
    }

    #[test]
    fn a_loaded_model_answers_and_repeats_itself() {
        let engine = engine();
        let answer = |engine: &Engine| {
            engine
                .submit(request("where is mary", 12))
                .unwrap()
                .wait()
                .unwrap()
        };
        let first = answer(&engine);
        assert_eq!((first.finish.tokens, first.finish.prompt_tokens), (12, 3));
        assert_eq!(first.finish.reason, FinishReason::Length);
        assert_eq!(answer(&engine), first);
        // Counters follow the answers; after the end they are complete.
        engine.shutdown();
        assert_eq!(engine.stats().tokens, 24);
    }

    #[test]
    fn an_answer_does_not_depend_on_who_shares_the_batch() {
        let engine = engine();
        let prompts = [
            "where is mary",
            "john",
            "is mary where kitchen garden garden",
            "mary john",
        ];
        let one_by_one: Vec<Answer> = (0..)
            .zip(prompts)
            .map(|(seed, prompt)| engine.submit(drawn(prompt, 20, seed)).unwrap().wait().unwrap())
            .collect();
        let generations: Vec<Generation> = (0..)
            .zip(prompts)
            .map(|(seed, prompt)| engine.submit(drawn(prompt, 20, seed)).unwrap())
            .collect();
        let together: Vec<Answer> = generations
            .into_iter()
            .map(|generation| generation.wait().unwrap())
            .collect();
        assert_eq!(together, one_by_one);
    }

    #[test]
    fn another_seed_gives_another_answer() {
        let engine = engine();
        let answer = |seed| {
            engine
                .submit(drawn("mary", 20, seed))
                .unwrap()
                .wait()
                .unwrap()
                .text
        };
        assert_eq!(answer(1), answer(1));
        assert_ne!(answer(1), answer(2));
    }

    #[test]
    fn answers_stop_where_the_context_ends() {
        let engine = engine();
        let answer = engine.submit(request("mary john", 1000)).unwrap().wait().unwrap();
        assert_eq!(
            (answer.finish.reason, answer.finish.tokens),
            (FinishReason::Length, 62)
        );
    }

    #[track_caller]
    fn check_refused(request: Request, message: &str) {
        let error = engine().submit(request).unwrap_err();
        assert_eq!(error.to_string(), message);
    }

    #[test]
    fn requests_that_cannot_be_answered_are_refused_with_numbers() {
        check_refused(
            request(&"mary ".repeat(64), 1),
            "the prompt has 64 tokens, at most 63 fit",
        );
        check_refused(
            request(&" ".repeat(5000), 1),
            "the prompt has 5000 bytes, at most 4096 are taken",
        );
        check_refused(request("", 1), "the prompt has no tokens");
        let sampling = Sampling {
            temperature: f32::NAN,
            ..Sampling::default()
        };
        let message = "temperature is NaN, expected a number from 0 up";
        check_refused(
            Request {
                sampling,
                ..request("mary", 1)
            },
            message,
        );
        let sampling = Sampling {
            top_p: 0.0,
            ..Sampling::default()
        };
        let message = "top_p is 0, expected a number above 0, up to 1";
        check_refused(
            Request {
                sampling,
                ..request("mary", 1)
            },
            message,
        );
        let stop = vec![String::new()];
        let message = "a stop text has 0 bytes, expected 1 to 256";
        check_refused(
            Request {
                stop,
                ..request("mary", 1)
            },
            message,
        );
        let stop = vec!["x".to_owned(); 17];
        check_refused(
            Request {
                stop,
                ..request("mary", 1)
            },
            "17 stop texts, at most 16 are taken",
        );
    }

    #[test]
    fn an_added_token_that_the_model_does_not_know_is_caught() {
        let folder = Folder::new();
        let mut tokenizer = crate::testing::word_tokenizer_json(&crate::testing::WORDS);
        let padding = serde_json::json!({
            "id": 8, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        });
        tokenizer["added_tokens"].as_array_mut().unwrap().push(padding);
        folder.write("tokenizer.json", tokenizer.to_string());
        let engine = Engine::load(folder.path(), &options(), |_| {}).unwrap();
        let error = engine.submit(request("mary <pad>", 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the prompt contains token 8, the model knows 8"
        );
    }

    #[test]
    fn a_conversation_is_continued_as_the_models_template_writes_it() {
        let folder = Folder::new();
        let source = "{% for turn in messages %}{{ turn.role }} {{ turn.content }} {% endfor %}\
                      {% if add_generation_prompt %}is{% endif %}";
        let config = serde_json::json!({ "chat_template": source });
        folder.write("tokenizer_config.json", config.to_string());
        let engine = Engine::load(folder.path(), &options(), |_| {}).unwrap();
        let turns = [Message::new("mary", "where"), Message::new("john", "kitchen")];
        let chat = ChatOptions {
            opens_answer: true,
            ..ChatOptions::default()
        };
        let found = engine
            .submit_chat(&turns, &chat, request("", 3))
            .unwrap()
            .wait()
            .unwrap();
        let text = "mary where john kitchen is";
        let expected = engine.submit(request(text, 3)).unwrap().wait().unwrap();
        assert_eq!(found, expected);
        assert_eq!(found.finish.prompt_tokens, 5);

        let plain = Folder::new();
        let engine = Engine::load(plain.path(), &options(), |_| {}).unwrap();
        let error = engine.submit_chat(&turns, &chat, request("", 3)).unwrap_err();
        assert_eq!(error, SubmitError::Chat(ChatError::NoTemplate));
    }

    #[test]
    fn no_tokens_asked_for_is_an_empty_answer() {
        let answer = engine().submit(request("mary", 0)).unwrap().wait().unwrap();
        assert_eq!(
            (answer.text.as_str(), answer.finish.reason),
            ("", FinishReason::Length)
        );
    }

    #[test]
    fn a_full_queue_refuses_and_has_room_again() {
        let (engine, go, begun) = paced();
        let running = engine.submit(request("mary", 2)).unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
        let waiting = engine.submit(request("mary", 1)).unwrap();
        assert_eq!(
            engine.submit(request("mary", 1)).unwrap_err(),
            SubmitError::Full { limit: 1 }
        );
        assert_eq!(engine.stats().queued, 1);
        drop(go);
        assert_eq!(running.wait().unwrap().finish.tokens, 2);
        assert_eq!(waiting.wait().unwrap().finish.tokens, 1);
        assert!(engine.submit(request("mary", 1)).is_ok());
    }

    #[test]
    fn a_request_that_waited_past_its_deadline_is_not_begun() {
        let (engine, go, begun) = paced();
        let running = engine.submit(request("mary", 3)).unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
        let late = Request {
            deadline: Some(Instant::now()),
            ..request("mary", 5)
        };
        let late = engine.submit(late).unwrap();
        drop(go);
        let finish = late.wait().unwrap().finish;
        assert_eq!((finish.reason, finish.tokens), (FinishReason::Deadline, 0));
        assert_eq!(running.wait().unwrap().finish.tokens, 3);
    }

    #[test]
    fn dropping_a_generation_lets_the_next_in() {
        let (engine, go, begun) = paced();
        let running = engine.submit(request("mary", 60)).unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
        let waiting = engine.submit(request("john john", 1)).unwrap();
        drop(running);
        drop(go);
        assert_eq!(waiting.wait().unwrap().finish.prompt_tokens, 2);
        // The one that was dropped had its prompt and at most one more step.
        assert!(engine.stats().tokens <= 3, "{:?}", engine.stats());
    }

    #[test]
    fn a_panic_of_the_model_is_an_error_for_callers_and_not_a_hang() {
        let engine = scripted(|_| panic!("the model broke"));
        let generation = engine.submit(request("mary", 5)).unwrap();
        assert_eq!(generation.wait(), Err(GenerateError::EngineStopped));
        engine.shutdown();
        assert_eq!(
            engine.submit(request("mary", 5)).unwrap_err(),
            SubmitError::Closed
        );
    }

    #[test]
    fn shutdown_fails_what_runs_and_what_waits() {
        let (engine, go, begun) = paced();
        let running = engine.submit(request("mary", 60)).unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
        let waiting = engine.submit(request("mary", 1)).unwrap();
        let closing = thread::spawn({
            let engine = engine.clone();
            move || engine.shutdown()
        });
        // The waiting one is told at once; then the running step is let go.
        assert_eq!(waiting.wait(), Err(GenerateError::EngineStopped));
        drop(go);
        closing.join().unwrap();
        assert_eq!(running.wait(), Err(GenerateError::EngineStopped));
        assert_eq!(
            engine.submit(request("mary", 1)).unwrap_err(),
            SubmitError::Closed
        );
    }

    #[test]
    fn the_last_handle_may_be_dropped_before_the_answer_is_there() {
        let (engine, go, begun) = paced();
        let generation = engine.submit(request("mary", 4)).unwrap();
        begun.recv_timeout(PATIENCE).unwrap();
        drop(engine);
        drop(go);
        assert_eq!(generation.wait().unwrap().finish.tokens, 4);
    }
}
