//! Requests on their way to the model's thread: who waits, who leaves early, and the counters.
//!
//! Whoever submits takes the lock for as long as it takes to find a place. Telling a caller wakes whatever waits
//! there, so that is always done outside the lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{EngineStats, SubmitError};
use crate::fair::{Line, Refused};
use crate::pace::Pace;
use crate::running::Job;
use crate::schedule::TurnReport;

/// How much longer an engine goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Takes requests.
    Open,
    /// Takes none, answers what it has.
    Draining,
    /// Takes none and drops what it has.
    Stopped,
}

/// Requests that wait for a slot, and the counters.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    limit: usize,
    active: AtomicUsize,
    steps: AtomicU64,
    step_rows: AtomicU64,
    tokens: AtomicU64,
    prompt_tokens: AtomicU64,
    hit_tokens: AtomicU64,
    refused: AtomicU64,
    displaced: AtomicU64,
    late: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    line: Line<Job>,
    phase: Phase,
    pace: Pace,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Queue {
        let zero = || AtomicU64::new(0);
        Queue {
            waiting: Mutex::new(Waiting {
                line: Line::new(limit),
                phase: Phase::Open,
                pace: Pace::default(),
            }),
            changed: Condvar::new(),
            limit,
            active: AtomicUsize::new(0),
            steps: zero(),
            step_rows: zero(),
            tokens: zero(),
            prompt_tokens: zero(),
            hit_tokens: zero(),
            refused: zero(),
            displaced: zero(),
            late: zero(),
        }
    }

    /// What waits; a panic elsewhere cannot leave it half changed, so poisoning is ignored.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a job its place, or says at once that there is none for it.
    pub(crate) fn push(&self, job: Job, now: Instant) -> Result<(), SubmitError> {
        let mut waiting = self.waiting();
        if waiting.phase != Phase::Open {
            return Err(SubmitError::Closed);
        }
        if let Some((left, needed)) = job.lacks_time(now, &waiting.pace) {
            waiting.pace.doubt();
            drop(waiting);
            self.refused.fetch_add(1, Ordering::Relaxed);
            let [left_ms, needed_ms] = [left, needed].map(milliseconds);
            return Err(SubmitError::Late { left_ms, needed_ms });
        }
        let leaving = match waiting.line.is_full() {
            true => waiting.take_out_hopeless(now),
            false => Vec::new(),
        };
        let pushed = waiting.line.push(job.ticket(), job);
        drop(waiting);
        self.expire(leaving);
        match pushed {
            Ok(displaced) => {
                self.changed.notify_all();
                if let Some(job) = displaced {
                    self.displaced.fetch_add(1, Ordering::Relaxed);
                    job.displace(self.limit);
                }
                Ok(())
            }
            Err(refused) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(match refused {
                    Refused::Full { limit } => SubmitError::Full { limit },
                    Refused::AskerFull { limit } => SubmitError::AskerFull { limit },
                })
            }
        }
    }

    /// Up to `count` jobs in the order of the line; those that nobody wants any more or that cannot be done in time
    /// leave as well.
    pub(crate) fn take(&self, count: usize, now: Instant) -> Vec<Job> {
        let mut waiting = self.waiting();
        let leaving = waiting.take_out_hopeless(now);
        let taken = std::iter::from_fn(|| waiting.line.pop()).take(count).collect();
        drop(waiting);
        self.expire(leaving);
        taken
    }

    fn expire(&self, jobs: Vec<Job>) {
        for job in jobs {
            if !job.is_cancelled() {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            job.expire();
        }
    }

    /// Blocks while there is nothing to do; false when the thread is to end.
    pub(crate) fn wait_for_work(&self, is_idle: bool) -> bool {
        let mut waiting = self.waiting();
        loop {
            match waiting.phase {
                Phase::Stopped => return false,
                _ if !is_idle || !waiting.line.is_empty() => return true,
                Phase::Draining => return false,
                Phase::Open => {
                    waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Goes on to a later phase; never back.
    pub(crate) fn set_phase(&self, phase: Phase) {
        let dropped = {
            let mut waiting = self.waiting();
            waiting.phase = waiting.phase.max(phase);
            match phase {
                Phase::Stopped => waiting.line.take_out(|_| true),
                Phase::Open | Phase::Draining => Vec::new(),
            }
        };
        drop(dropped);
        self.changed.notify_all();
    }

    /// How fast the model is.
    pub(crate) fn pace(&self) -> Pace {
        self.waiting().pace
    }

    /// Counts what a turn did, and learns from how long it took.
    pub(crate) fn count(&self, report: TurnReport, took: Duration) {
        // Prompts that were there already count as taken in: the estimate is to be too low rather than too high.
        let prompt_tokens = report.prompt_tokens + report.hit_tokens;
        self.waiting().pace.learn(prompt_tokens, report.rows, took);
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        self.active.store(report.active, Ordering::Relaxed);
        add(&self.steps, u64::from(report.rows > 0));
        add(&self.step_rows, report.rows as u64);
        add(&self.tokens, report.tokens);
        add(&self.prompt_tokens, report.prompt_tokens);
        add(&self.hit_tokens, report.hit_tokens);
        add(&self.late, report.late);
    }

    pub(crate) fn stats(&self) -> EngineStats {
        let (queued, askers) = {
            let waiting = self.waiting();
            (waiting.line.len(), waiting.line.askers())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineStats {
            active: self.active.load(Ordering::Relaxed),
            queued,
            askers,
            steps: read(&self.steps),
            step_rows: read(&self.step_rows),
            tokens: read(&self.tokens),
            prompt_tokens: read(&self.prompt_tokens),
            hit_tokens: read(&self.hit_tokens),
            refused: read(&self.refused),
            displaced: read(&self.displaced),
            late: read(&self.late),
        }
    }
}

impl Waiting {
    /// Takes out what nobody waits for any more and what cannot be done in time.
    fn take_out_hopeless(&mut self, now: Instant) -> Vec<Job> {
        let Waiting { line, pace, .. } = self;
        let leaving = line
            .take_out(|job| job.is_cancelled() || job.is_late(now) || job.lacks_time(now, pace).is_some());
        if leaving.iter().any(|job| !job.is_cancelled() && !job.is_late(now)) {
            pace.doubt();
        }
        leaving
    }
}

/// Closes a queue when the thread that serves it ends, in whatever way.
pub(crate) struct ClosesAtEnd(pub(crate) Arc<Queue>);

impl Drop for ClosesAtEnd {
    fn drop(&mut self) {
        self.0.set_phase(Phase::Stopped);
        self.0.active.store(0, Ordering::Relaxed);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Generation, events};
    use crate::request::{FinishReason, Sampling};

    const MS: Duration = Duration::from_millis(1);

    /// A queue of a model that takes 1 ms for each prompt token and 10 ms for each step.
    fn queue() -> Queue {
        let queue = Queue::new(4);
        let prompt = TurnReport {
            prompt_tokens: 50,
            ..TurnReport::default()
        };
        queue.count(prompt, 50 * MS);
        let step = TurnReport {
            rows: 1,
            ..TurnReport::default()
        };
        queue.count(step, 10 * MS);
        queue
    }

    /// 20 tokens of prompt and at least 9 of answer: 100 ms.
    fn job(deadline: Instant) -> (Job, Generation) {
        let (sender, generation) = events();
        let job = Job {
            prompt: vec![1; 20],
            tokens_max: 100,
            tokens_min: 9,
            sampling: Sampling::default(),
            stop: Vec::new(),
            deadline: Some(deadline),
            asker: None,
            sender,
        };
        (job, generation)
    }

    #[track_caller]
    fn check_pushed(left: Duration, expected: Result<(), SubmitError>) {
        let (queue, now) = (queue(), Instant::now());
        let (job, _generation) = job(now + left);
        assert_eq!(queue.push(job, now), expected);
    }

    #[test]
    fn a_request_that_cannot_be_done_in_time_is_refused_at_once() {
        check_pushed(101 * MS, Ok(()));
        let late = |left_ms| {
            Err(SubmitError::Late {
                left_ms,
                needed_ms: 100,
            })
        };
        check_pushed(99 * MS, late(99));
        check_pushed(Duration::ZERO, late(0));
    }

    #[test]
    fn a_request_that_lost_its_time_while_it_waited_is_not_begun() {
        let (queue, now) = (queue(), Instant::now());
        let (soon, soon_generation) = job(now + 150 * MS);
        let (later, _later_generation) = job(now + 300 * MS);
        for job in [soon, later] {
            assert_eq!(queue.push(job, now), Ok(()));
        }
        assert_eq!(queue.take(2, now + 100 * MS).len(), 1);
        let finish = soon_generation.wait().unwrap().finish;
        assert_eq!((finish.reason, finish.tokens), (FinishReason::Deadline, 0));
        assert_eq!((queue.stats().late, queue.stats().queued), (1, 0));
    }
}
