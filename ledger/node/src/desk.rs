//! Where blocking work is done: a value on a thread of its own, and jobs that are handed to it one at a time.
//!
//! Applying blocks, syncing files and replaying history take milliseconds to seconds, which an async task must not.
//! A [`Desk`] owns the value that does such work; async tasks hand it closures and await their results. In a
//! simulation, where threads would bring in chance, jobs run at once on the caller's task.

use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait for a desk; beyond them it is busy.
const JOBS_MAX: usize = 1_024;

/// Why a job was not done.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeskError {
    /// Too many jobs wait.
    #[error("{JOBS_MAX} requests wait already: try again later")]
    Busy,
    /// The desk was closed, or its thread has panicked.
    #[error("the node is shutting down")]
    Closed,
}

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A handle to the value; cheap to clone. The value is dropped once all handles are.
#[derive(Debug)]
pub struct Desk<T>(Place<T>);

#[derive(Debug)]
enum Place<T> {
    Thread(mpsc::Sender<Job<T>>),
    Inline(Arc<Mutex<T>>),
}

impl<T> Clone for Desk<T> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Place::Thread(jobs) => Place::Thread(jobs.clone()),
            Place::Inline(value) => Place::Inline(Arc::clone(value)),
        })
    }
}

/// Resolves when a desk's thread has dropped its value, or at once where there is no thread.
#[derive(Debug)]
pub(crate) struct Closed(Option<oneshot::Receiver<()>>);

impl Closed {
    /// Waits for the value to be dropped.
    pub(crate) async fn wait(self) {
        if let Some(closed) = self.0 {
            // The sender is dropped, never used: an error is the news.
            let _ = closed.await;
        }
    }
}

impl<T: Send + 'static> Desk<T> {
    /// Puts `value` on a thread called `name`, or keeps it inline.
    ///
    /// # Errors
    ///
    /// As [`on_thread`](Self::on_thread).
    pub(crate) fn new(name: &str, value: T, on_thread: bool) -> std::io::Result<(Self, Closed)> {
        if on_thread {
            Self::on_thread(name, value)
        } else {
            Ok(Self::inline(value))
        }
    }

    /// Puts `value` on a thread called `name`.
    ///
    /// # Errors
    ///
    /// What the operating system says when it has no thread to give.
    pub(crate) fn on_thread(name: &str, value: T) -> std::io::Result<(Self, Closed)> {
        let (jobs, mut queue) = mpsc::channel::<Job<T>>(JOBS_MAX);
        let (alive, closed) = oneshot::channel();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped last, after the value, whatever ends this thread.
            let _alive: oneshot::Sender<()> = alive;
            let mut value = value;
            while let Some(job) = queue.blocking_recv() {
                job(&mut value);
            }
        })?;
        Ok((Self(Place::Thread(jobs)), Closed(Some(closed))))
    }

    /// Keeps `value` where it is; jobs run on the tasks that bring them.
    pub(crate) fn inline(value: T) -> (Self, Closed) {
        (Self(Place::Inline(Arc::new(Mutex::new(value)))), Closed(None))
    }

    /// Has `job` done, or is told at once that too many wait already.
    ///
    /// # Errors
    ///
    /// [`DeskError`].
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, DeskError> {
        match &self.0 {
            Place::Thread(jobs) => {
                let permit = jobs.try_reserve().map_err(|error| match error {
                    mpsc::error::TrySendError::Full(()) => DeskError::Busy,
                    mpsc::error::TrySendError::Closed(()) => DeskError::Closed,
                })?;
                let (job, result) = with_result(job);
                permit.send(Box::new(job));
                result.wait().await
            }
            Place::Inline(value) => Ok(do_now(value, job)),
        }
    }

    /// Has `job` done, however many wait already: for the node's own work, which is one job at a time.
    ///
    /// # Errors
    ///
    /// [`DeskError::Closed`].
    pub(crate) async fn ask_in_turn<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, DeskError> {
        self.hand_in(job).await?.wait().await
    }

    /// As [`ask_in_turn`](Self::ask_in_turn), for one who does something else until the result is there.
    ///
    /// # Errors
    ///
    /// [`DeskError::Closed`], now or instead of the result.
    pub(crate) async fn hand_in<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<Promised<R>, DeskError> {
        let (job, result) = with_result(job);
        match &self.0 {
            Place::Thread(jobs) => jobs.send(Box::new(job)).await.map_err(|_| DeskError::Closed)?,
            Place::Inline(value) => do_now(value, job),
        }
        Ok(result)
    }
}

/// The result of a job that was handed in.
#[derive(Debug)]
pub(crate) struct Promised<R>(oneshot::Receiver<R>);

impl<R> Promised<R> {
    /// Waits for it.
    ///
    /// # Errors
    ///
    /// [`DeskError::Closed`] where the job was not done.
    pub(crate) async fn wait(self) -> Result<R, DeskError> {
        self.0.await.map_err(|_| DeskError::Closed)
    }
}

/// The job, and its result.
fn with_result<T, R: Send + 'static>(
    job: impl FnOnce(&mut T) -> R + Send + 'static,
) -> (impl FnOnce(&mut T) + Send + 'static, Promised<R>) {
    let (reply, result) = oneshot::channel();
    let job = move |value: &mut T| {
        // Whoever asked may have gone meanwhile.
        let _ = reply.send(job(value));
    };
    (job, Promised(result))
}

fn do_now<T, R>(value: &Mutex<T>, job: impl FnOnce(&mut T) -> R) -> R {
    job(&mut value.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does one blocking thing on a thread of its own.
///
/// # Errors
///
/// What the operating system says when it has no thread to give, or that the thread panicked.
pub(crate) async fn off_task<R: Send + 'static>(
    job: impl FnOnce() -> R + Send + 'static,
) -> std::io::Result<R> {
    let (reply, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(String::from("open"))
        .spawn(move || {
            let _ = reply.send(job());
        })?;
    result
        .await
        .map_err(|_| std::io::Error::other("the thread panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_are_done_in_order_on_a_thread_and_inline() {
        let (thread, closed) = Desk::on_thread("test", Vec::new()).unwrap();
        let (inline, _) = Desk::inline(Vec::new());
        for desk in [&thread, &inline] {
            for number in 0..100 {
                desk.ask(move |numbers: &mut Vec<u32>| numbers.push(number))
                    .await
                    .unwrap();
            }
            let numbers = desk.ask_in_turn(|numbers| numbers.clone()).await.unwrap();
            assert_eq!(numbers, (0..100).collect::<Vec<u32>>());
        }
        drop((thread, inline));
        closed.wait().await;
    }

    #[tokio::test]
    async fn a_desk_whose_thread_panicked_is_closed() {
        let (desk, closed) = Desk::on_thread("test", ()).unwrap();
        assert_eq!(
            desk.ask(|()| assert_eq!(1, 2, "a bug")).await,
            Err(DeskError::Closed)
        );
        closed.wait().await;
        assert_eq!(desk.ask(|()| ()).await, Err(DeskError::Closed));
    }

    #[tokio::test]
    async fn too_many_jobs_are_refused_at_once() {
        let (desk, _) = Desk::on_thread("test", ()).unwrap();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let waiting = desk.clone();
        let first = tokio::spawn(async move { waiting.ask(move |()| gate.recv()).await });
        let mut others = Vec::new();
        let refused = loop {
            let mut job = Box::pin(desk.ask(|()| ()));
            match futures::poll!(&mut job) {
                std::task::Poll::Ready(result) => break result,
                std::task::Poll::Pending => others.push(job),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(refused, Err(DeskError::Busy));
        open.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        for job in others {
            job.await.unwrap();
        }
    }
}
