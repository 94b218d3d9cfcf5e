//! How a process ends: one token that everybody listens to, named tasks, and a grace period with a report.
//!
//! A task that fails or panics ends the whole process in an orderly way ([`Tasks`]), because a role that has lost
//! one of its parts must not go on as if it were well.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};

/// The exit code of a process that was told to end twice and did not wait for its tasks.
const EXIT_IMPATIENT: i32 = crate::flags::EXIT_FAILURE as i32;

/// A request to end, seen by all clones; it is made once and cannot be taken back.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A token that nobody has triggered.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// As [`on_signals`](Self::on_signals), but SIGHUP asks for something else, which the second value tells of.
    ///
    /// # Errors
    ///
    /// As [`on_signals`](Self::on_signals).
    pub fn on_signals_but_hangups() -> io::Result<(Self, Hangups)> {
        let hangups = Hangups(signal(SignalKind::hangup())?);
        Ok((Self::over(Signals::install(None)?), hangups))
    }

    /// A token that SIGINT, SIGTERM and SIGHUP trigger. A second signal ends the process at once with
    /// [`EXIT_FAILURE`](crate::flags::EXIT_FAILURE).
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the operating system says when a handler cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        Ok(Self::over(Signals::install(Some(hangup))?))
    }

    fn over(mut signals: Signals) -> Self {
        let shutdown = Self::new();
        let token = shutdown.clone();
        tokio::spawn(async move {
            let signal = signals.next().await;
            info!(signal, "shutting down");
            token.request();
            let signal = signals.next().await;
            warn!(signal, "second signal, not waiting any longer");
            std::process::exit(EXIT_IMPATIENT);
        });
        shutdown
    }

    /// Asks everybody to end.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once [`request`](Self::request) was called, at once when it already was. The future owns what it
    /// needs, so it can be handed to a server or a task.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + use<> {
        let sender = Arc::clone(&self.0);
        async move {
            let mut receiver = sender.subscribe();
            receiver
                .wait_for(|requested| *requested)
                .await
                .expect("the sender lives in this very future");
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn install(hangup: Option<Signal>) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            Some(_) = async { self.hangup.as_mut()?.recv().await } => "SIGHUP",
        }
    }
}

/// The SIGHUPs that came to this process.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Waits for the next one; those that come while nobody waits count as one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime is about to end; no further one will come.
            std::future::pending::<()>().await;
        }
    }
}

/// What a task can end with: nothing, or a `Result` whose error says why the process cannot go on.
pub trait TaskEnd {
    /// The reason of a failure, `None` after a good end.
    fn failure(self) -> Option<String>;
}

impl TaskEnd for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> TaskEnd for Result<(), E> {
    fn failure(self) -> Option<String> {
        // The alternate form prints the whole chain of an `anyhow::Error`.
        self.err().map(|error| format!("{error:#}"))
    }
}

/// The named tasks of one role. Dropping it aborts those that still run.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    set: JoinSet<Option<String>>,
    running: Vec<(Id, &'static str)>,
}

impl Tasks {
    /// No tasks yet; the first that fails or panics triggers `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            set: JoinSet::new(),
            running: Vec::new(),
        }
    }

    /// Starts `future` as the task called `name`. An error it returns, or a panic, is logged and ends the role.
    pub fn spawn<F>(&mut self, name: &'static str, future: F)
    where
        F: Future<Output: TaskEnd> + Send + 'static,
    {
        let guard = EndRoleOnPanic {
            name,
            shutdown: self.shutdown.clone(),
        };
        let handle = self.set.spawn(async move {
            let failure = future.await.failure();
            if let Some(reason) = &failure {
                error!(task = guard.name, reason, "task failed");
                guard.shutdown.request();
            }
            failure
        });
        self.running.push((handle.id(), name));
    }

    fn ended(&mut self, id: Id) -> &'static str {
        let position = self.running.iter().position(|(running, _)| *running == id);
        self.running
            .swap_remove(position.expect("every task of the set was entered here"))
            .1
    }
}

struct EndRoleOnPanic {
    name: &'static str,
    shutdown: Shutdown,
}

impl Drop for EndRoleOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(task = self.name, "task panicked");
            self.shutdown.request();
        }
    }
}

/// What became of the tasks of a role.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct GraceReport {
    /// Tasks that did not end in time and were aborted.
    pub late: Vec<&'static str>,
    /// Tasks that returned an error or panicked, with the reason.
    pub failed: Vec<(&'static str, String)>,
}

impl GraceReport {
    /// Whether every task ended well and in time.
    pub fn is_clean(&self) -> bool {
        self.late.is_empty() && self.failed.is_empty()
    }
}

/// A part of a process failed, and the process ended with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {name} failed: {reason}")]
pub struct TaskFailed {
    /// Which part.
    pub name: &'static str,
    /// Why.
    pub reason: String,
}

impl GraceReport {
    /// The first failure, as the error that a process ends with.
    ///
    /// # Errors
    ///
    /// [`TaskFailed`] when a task failed; being late is no failure.
    pub fn into_result(self) -> Result<(), TaskFailed> {
        match self.failed.into_iter().next() {
            Some((name, reason)) => Err(TaskFailed { name, reason }),
            None => Ok(()),
        }
    }
}

/// Waits for `tasks`, at most `limit`, then aborts the rest; logs and reports who did not make it.
///
/// To be called once the shutdown was requested: it does not request it.
pub async fn grace(mut tasks: Tasks, limit: Duration) -> GraceReport {
    let deadline = Instant::now() + limit;
    let mut report = GraceReport::default();
    while let Ok(Some(joined)) = tokio::time::timeout_at(deadline, tasks.set.join_next_with_id()).await {
        enter(joined, &mut tasks, &mut report);
    }
    report.late = tasks.running.iter().map(|(_, name)| *name).collect();
    for task in &report.late {
        warn!(
            task,
            limit_ms = limit.as_millis(),
            "task did not end in time and was aborted"
        );
    }
    report
}

fn enter(joined: Result<(Id, Option<String>), JoinError>, tasks: &mut Tasks, report: &mut GraceReport) {
    let (id, failure) = match joined {
        Ok(ended) => ended,
        Err(error) => (error.id(), Some(error.to_string())),
    };
    let name = tasks.ended(id);
    report.failed.extend(failure.map(|reason| (name, reason)));
}

/// Why a process could not be tied to its parent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParentError {
    /// The operating system refused.
    #[error("ask to be ended with the parent process")]
    Refused(#[source] io::Error),
    /// The parent had ended before it could be watched.
    #[error("the parent process {expected} has ended, the parent now is {found}")]
    Gone {
        /// The process that was expected.
        expected: u32,
        /// The process that took its place.
        found: u32,
    },
}

/// Has the kernel kill this process (SIGKILL) when the thread that started it ends, whatever ends it.
///
/// For the children of a local network, so that none outlives it. The kernel counts threads, not processes: the
/// parent must start its children, and the child must call this, on a thread that lives to the end of its process,
/// such as the main one, and not on a pool thread that ends when it is idle. With `expected_parent`, the process
/// that started this one, a parent that ended before this call is noticed too.
///
/// # Errors
///
/// [`ParentError::Refused`] by the operating system; [`ParentError::Gone`] when it is too late.
pub fn die_with_parent(expected_parent: Option<u32>) -> Result<(), ParentError> {
    let expected = expected_parent.unwrap_or_else(std::os::unix::process::parent_id);
    kill_on_parent_death().map_err(ParentError::Refused)?;
    let found = std::os::unix::process::parent_id();
    if found == expected {
        Ok(())
    } else {
        Err(ParentError::Gone { expected, found })
    }
}

#[expect(
    unsafe_code,
    reason = "std has no call for it; prctl takes plain integers and touches no memory of ours"
)]
fn kill_on_parent_death() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG reads one integer argument and sets an attribute of the calling process.
    let code = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn everyone_hears_a_request_whether_it_came_before_or_after() {
        let shutdown = Shutdown::new();
        let early = tokio::spawn(shutdown.requested());
        assert!(!shutdown.is_requested());
        shutdown.clone().request();
        early.await.unwrap();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_whose_holders_are_gone_does_not_fire() {
        let requested = Shutdown::new().requested();
        assert!(tokio::time::timeout(LIMIT, requested).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_listen_end_in_grace() {
        let shutdown = Shutdown::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("one", shutdown.requested());
        tasks.spawn("two", async { Ok::<(), io::Error>(()) });
        shutdown.request();
        assert!(grace(tasks, LIMIT).await.is_clean());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_listen_is_named_and_aborted() {
        let mut tasks = Tasks::new(Shutdown::new());
        tasks.spawn("deaf", std::future::pending::<()>());
        tasks.spawn("quick", async {});
        let report = grace(tasks, LIMIT).await;
        assert_eq!(
            report,
            GraceReport {
                late: vec!["deaf"],
                failed: vec![]
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_task_ends_the_role_and_is_reported_with_its_reason() {
        let shutdown = Shutdown::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("disk", async { Err(io::Error::other("disk full")) });
        tasks.spawn("listener", shutdown.requested());
        shutdown.requested().await;
        let report = grace(tasks, LIMIT).await;
        assert_eq!(
            report,
            GraceReport {
                late: vec![],
                failed: vec![("disk", "disk full".into())]
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_ends_the_role() {
        let shutdown = Shutdown::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("buggy", async { assert_eq!(1, 2, "a bug") });
        shutdown.requested().await;
        let report = grace(tasks, LIMIT).await;
        assert_eq!(report.failed.len(), 1);
        assert_eq!(report.failed[0].0, "buggy");
    }

    #[tokio::test]
    async fn a_signal_requests_the_shutdown() {
        let shutdown = Shutdown::on_signals().unwrap();
        let own_process = std::process::id().to_string();
        let mut kill = Command::new("kill")
            .args(["-TERM", &own_process])
            .spawn()
            .unwrap();
        shutdown.requested().await;
        kill.wait().unwrap();
    }

    #[test]
    fn a_parent_that_is_not_the_expected_one_is_noticed() {
        // Process 0 is the scheduler and nobody's parent here.
        let error = die_with_parent(Some(0)).unwrap_err();
        assert!(matches!(error, ParentError::Gone { expected: 0, .. }), "{error}");
    }

    /// This test starts itself twice: as a parent, which the test kills, and as that parent's child. The child holds
    /// the pipe that the test reads, so that its end is the end of the child.
    #[test]
    fn a_child_ends_when_its_parent_is_killed() {
        match std::env::var(ROLE).as_deref() {
            Ok("parent") => wait_forever(as_role("child").stdin(Stdio::null()).spawn().unwrap().wait()),
            Ok("child") => wait_forever(die_with_parent(None).map(|()| io::stdout().write_all(b"tied\n"))),
            _ => check_child_ends(),
        }
    }

    const ROLE: &str = "AGON_TEST_ROLE";

    fn as_role(role: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "shutdown::tests::a_child_ends_when_its_parent_is_killed",
            ])
            .env(ROLE, role);
        command
    }

    fn wait_forever<T>(_: T) {
        loop {
            std::thread::park();
        }
    }

    fn check_child_ends() {
        let mut parent = as_role("parent").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "tied"));
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(
            lines.map_while(Result::ok).count(),
            0,
            "the pipe closes when the child is gone"
        );
    }
}
