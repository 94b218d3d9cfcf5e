//! The processes of a localnet: started, watched, weighed, and ended, whatever happens.
//!
//! Each has a log file of its own and a process group of its own, so that Ctrl-C at the terminal reaches this
//! process alone, which then ends the others in order: members first, the node last. A process that ends unasked is
//! told to whoever waits for it. If this process is killed, the kernel ends the children (`--die-with-parent`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agon_runtime::Shutdown;
use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::output::note;

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often memory is weighed.
const WEIGHING: Duration = Duration::from_secs(1);
/// How much of a log is shown when its process ended unasked.
const TAIL_BYTES: u64 = 4_096;
/// How many lines of it.
const TAIL_LINES: usize = 20;

/// A process that ended unasked.
#[derive(Debug)]
pub struct Exit {
    name: String,
    log: PathBuf,
    status: std::io::Result<ExitStatus>,
}

impl Exit {
    /// What happened, with the end of the process's log.
    #[must_use]
    pub fn into_error(self) -> anyhow::Error {
        let Self { name, log, status } = self;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        anyhow::anyhow!(
            "{name} ended unasked ({status}); the end of {}:\n{}",
            log.display(),
            tail(&log)
        )
    }
}

/// Where exits are told.
pub type Exits = mpsc::UnboundedReceiver<Exit>;

/// All processes of a localnet.
#[derive(Debug)]
pub struct Troupe {
    logs: PathBuf,
    exits: mpsc::UnboundedSender<Exit>,
    members: Group,
    node: Group,
    pids: Vec<u32>,
    resident_bytes_peak: Arc<AtomicU64>,
}

/// Processes that end together.
#[derive(Debug)]
struct Group {
    stop: Shutdown,
    attendants: JoinSet<()>,
}

impl Group {
    fn new() -> Self {
        Self {
            stop: Shutdown::new(),
            attendants: JoinSet::new(),
        }
    }

    async fn stop(&mut self) {
        self.stop.request();
        while self.attendants.join_next().await.is_some() {}
    }
}

impl Troupe {
    /// No processes yet; their logs will be in `logs`.
    #[must_use]
    pub fn new(logs: PathBuf) -> (Self, Exits) {
        let (exits, told) = mpsc::unbounded_channel();
        let troupe = Self {
            logs,
            exits,
            members: Group::new(),
            node: Group::new(),
            pids: Vec::new(),
            resident_bytes_peak: Arc::default(),
        };
        (troupe, told)
    }

    /// Starts a member.
    ///
    /// # Errors
    ///
    /// When the program cannot be started, or its log cannot be written.
    pub fn start(&mut self, name: &str, command: Command) -> anyhow::Result<()> {
        let (child, log) = spawn(&self.logs, name, command, Stdio::null())?;
        self.attend(name, log, child, false);
        Ok(())
    }

    /// Starts the node and gives the first line that it prints: its address.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start), and when the node ends before it printed anything.
    pub async fn start_node(&mut self, name: &str, command: Command) -> anyhow::Result<String> {
        let (mut child, log) = spawn(&self.logs, name, command, Stdio::piped())?;
        let stdout = child
            .stdout
            .take()
            .expect("standard output was asked for as a pipe");
        self.attend(name, log.clone(), child, true);
        let line = first_line(stdout)
            .await
            .with_context(|| format!("read what {name} prints"))?;
        line.with_context(|| {
            format!(
                "{name} did not start; the end of {}:\n{}",
                log.display(),
                tail(&log)
            )
        })
    }

    fn attend(&mut self, name: &str, log: PathBuf, child: Child, is_node: bool) {
        self.pids.extend(child.id());
        let group = if is_node {
            &mut self.node
        } else {
            &mut self.members
        };
        let attendant = attend(
            name.to_owned(),
            log,
            child,
            group.stop.clone(),
            self.exits.clone(),
        );
        group.attendants.spawn(attendant);
    }

    /// Weighs all processes now and then, until dropped.
    pub fn weigh(&mut self) {
        let (pids, peak) = (self.pids.clone(), Arc::clone(&self.resident_bytes_peak));
        let stop = self.members.stop.clone();
        self.members.attendants.spawn(async move {
            loop {
                let sum = pids.iter().filter_map(|pid| resident_bytes(*pid)).sum();
                peak.fetch_max(sum, Ordering::Relaxed);
                tokio::select! {
                    biased;
                    () = stop.requested() => return,
                    () = tokio::time::sleep(WEIGHING) => {}
                }
            }
        });
    }

    /// Most bytes that all processes together had resident at one time. Pages that several share, such as those of
    /// libtorch, count for each.
    #[must_use]
    pub fn resident_bytes_peak(&self) -> u64 {
        self.resident_bytes_peak.load(Ordering::Relaxed)
    }

    /// Ends all processes, the node last, and waits for them.
    pub async fn stop(&mut self) {
        self.members.stop().await;
        self.node.stop().await;
    }
}

fn spawn(logs: &Path, name: &str, mut command: Command, stdout: Stdio) -> anyhow::Result<(Child, PathBuf)> {
    let log = logs.join(format!("{name}.log"));
    let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
    command
        .arg(format!("--die-with-parent={}", std::process::id()))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(file)
        .process_group(0)
        .kill_on_drop(true);
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("start {program}"))?;
    Ok((child, log))
}

async fn first_line(stdout: ChildStdout) -> std::io::Result<Option<String>> {
    BufReader::new(stdout).lines().next_line().await
}

async fn attend(
    name: String,
    log: PathBuf,
    mut child: Child,
    stop: Shutdown,
    exits: mpsc::UnboundedSender<Exit>,
) {
    tokio::select! {
        biased;
        status = child.wait() => {
            // Nobody listens any more once the end has begun.
            let _ = exits.send(Exit { name, log, status });
        }
        () = stop.requested() => end(&name, child).await,
    }
}

async fn end(name: &str, mut child: Child) {
    if let Some(pid) = child.id() {
        terminate(pid);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        note(format!(
            "{name} did not end within {} s and is killed",
            GRACE.as_secs()
        ));
        // It is waited for as well; a process that is gone already is what we want.
        let _ = child.kill().await;
    }
}

#[expect(
    unsafe_code,
    reason = "std and tokio send no other signal than SIGKILL; kill takes plain integers"
)]
fn terminate(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return;
    };
    // SAFETY: kill reads two integers. The child was not waited for yet, so the number is still its own.
    unsafe {
        libc::kill(pid, libc::SIGTERM);
    }
}

/// Resident memory of a process as the kernel tells it, or `None` when it is gone.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(not readable: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that plays a process; what is appended to its command line lands in `$0`.
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_process_that_ends_unasked_is_told_with_the_end_of_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let (mut troupe, mut exits) = Troupe::new(dir.path().to_owned());
        troupe
            .start("miner-0", shell("echo out of luck >&2; exit 7"))
            .unwrap();
        let error = exits.recv().await.unwrap().into_error().to_string();
        assert!(
            error.contains("miner-0") && error.contains('7') && error.contains("out of luck"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn processes_are_ended_when_asked_and_that_is_no_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (mut troupe, mut exits) = Troupe::new(dir.path().to_owned());
        let line = troupe
            .start_node("node", shell("echo here; exec sleep 600"))
            .await
            .unwrap();
        assert_eq!(line, "here");
        troupe.start("miner-0", shell("exec sleep 600")).unwrap();
        troupe.weigh();
        troupe.stop().await;
        assert!(exits.try_recv().is_err());
        assert!(troupe.pids.iter().all(|pid| resident_bytes(*pid).is_none()));
    }

    #[tokio::test]
    async fn a_node_that_prints_nothing_is_told_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let (mut troupe, _exits) = Troupe::new(dir.path().to_owned());
        let error = troupe
            .start_node("node", shell("echo port is taken >&2; exit 1"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("port is taken"), "{error}");
    }
}
