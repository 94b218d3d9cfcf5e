//! The way of events from the engine's thread to whoever asked: usable from async code and from plain threads.
//!
//! The sender never waits: a request makes at most one piece of text per token plus one last event, and its tokens
//! are limited, so the line between the two is bounded by the request itself.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::request::{Answer, Event, GenerateError};

#[derive(Debug, Default)]
struct Line {
    events: VecDeque<Event>,
    waker: Option<Waker>,
    /// The sender is gone; what is in `events` is all there will be.
    ended: bool,
    /// The receiver is gone; sending is void.
    abandoned: bool,
}

#[derive(Debug, Default)]
struct Shared {
    line: Mutex<Line>,
    changed: Condvar,
}

impl Shared {
    /// The line; a panic elsewhere cannot leave it half changed, so poisoning is ignored.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Line)) {
        let waker = {
            let mut line = self.line();
            change(&mut line);
            line.waker.take()
        };
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct EventSender(Arc<Shared>);

/// The events of one request, in order. Dropping it cancels the request and frees its slot within a step.
#[derive(Debug)]
pub struct Generation {
    shared: Arc<Shared>,
    finished: bool,
}

/// Both ends of one request's line.
pub(crate) fn events() -> (EventSender, Generation) {
    let shared = Arc::new(Shared::default());
    (
        EventSender(Arc::clone(&shared)),
        Generation {
            shared,
            finished: false,
        },
    )
}

impl EventSender {
    pub(crate) fn send(&self, event: Event) {
        self.0.change(|line| {
            if !line.abandoned {
                line.events.push_back(event);
            }
        });
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.line().abandoned
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.0.change(|line| line.ended = true);
    }
}

impl Generation {
    /// The next event, or `None` after the last. Cancel-safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Generation::next`], in the form that streams are built on.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let taken = {
            let mut line = self.shared.line();
            let taken = take(&mut line);
            if taken.is_none() {
                line.waker = Some(context.waker().clone());
            }
            taken
        };
        match taken {
            Some(event) => Poll::Ready(Some(self.deliver(event))),
            None => Poll::Pending,
        }
    }

    /// As [`Generation::next`], for plain threads: blocks until something happens.
    pub fn next_blocking(&mut self) -> Option<Event> {
        if self.finished {
            return None;
        }
        let event = {
            let mut line = self.shared.line();
            loop {
                if let Some(event) = take(&mut line) {
                    break event;
                }
                line = self
                    .shared
                    .changed
                    .wait(line)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        Some(self.deliver(event))
    }

    /// Blocks until the answer is complete.
    ///
    /// # Errors
    ///
    /// What [`Event::Failed`] carries; the text until then is lost.
    pub fn wait(mut self) -> Result<Answer, GenerateError> {
        let mut text = String::new();
        loop {
            match self.next_blocking() {
                Some(Event::Text(piece)) => text.push_str(&piece),
                Some(Event::Done(finish, trace)) => return Ok(Answer { text, finish, trace }),
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(GenerateError::EngineStopped),
            }
        }
    }

    fn deliver(&mut self, event: Event) -> Event {
        self.finished = !matches!(event, Event::Text(_));
        event
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.shared.change(|line| {
            line.abandoned = true;
            line.events.clear();
        });
    }
}

/// The next event; a sender that went away without a last word counts as a failure.
fn take(line: &mut Line) -> Option<Event> {
    let silent_end = line.ended.then_some(Event::Failed(GenerateError::EngineStopped));
    line.events.pop_front().or(silent_end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Finish, FinishReason, Trace};

    const FINISH: Finish = Finish {
        reason: FinishReason::Length,
        prompt_tokens: 1,
        tokens: 1,
    };
    const NO_TRACE: Trace = Trace {
        tokens: Vec::new(),
        codes: Vec::new(),
    };
    const DONE: Event = Event::Done(FINISH, NO_TRACE);

    #[track_caller]
    fn check(sent: &[Event], received: &[Event]) {
        let (sender, mut generation) = events();
        for event in sent {
            sender.send(event.clone());
        }
        drop(sender);
        let all: Vec<Event> = std::iter::from_fn(|| generation.next_blocking()).collect();
        assert_eq!(all, received);
    }

    #[test]
    fn events_arrive_in_order_and_end_after_the_last() {
        let text = Event::Text("a".to_owned());
        check(&[text.clone(), DONE], &[text.clone(), DONE]);
    }

    #[test]
    fn a_sender_that_vanishes_is_a_failure_and_not_a_hang() {
        let failed = Event::Failed(GenerateError::EngineStopped);
        check(&[], std::slice::from_ref(&failed));
        let text = Event::Text("a".to_owned());
        check(std::slice::from_ref(&text), &[text.clone(), failed]);
    }

    #[test]
    fn a_waiting_thread_and_a_waiting_task_are_both_woken() {
        let (sender, generation) = events();
        let thread = std::thread::spawn(move || generation.wait());
        sender.send(DONE);
        assert_eq!(thread.join().unwrap().unwrap().finish.tokens, 1);

        let (sender, mut generation) = events();
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(generation.poll_next(&mut context), Poll::Pending);
        sender.send(DONE);
        assert_eq!(generation.poll_next(&mut context), Poll::Ready(Some(DONE)));
        assert_eq!(generation.poll_next(&mut context), Poll::Ready(None));
    }

    #[test]
    fn dropping_the_receiver_is_seen_by_the_sender() {
        let (sender, generation) = events();
        assert!(!sender.is_abandoned());
        drop(generation);
        assert!(sender.is_abandoned());
    }
}
