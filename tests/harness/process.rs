//! Real processes on loopback: started, killed, waited for, and searched for when they should be gone.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// Folder of the binaries that `cargo xtask test` builds; `test_miner` is this package's own.
///
/// # Panics
///
/// When the path has no parent.
#[must_use]
pub fn binaries(test_miner: &str) -> PathBuf {
    Path::new(test_miner)
        .parent()
        .expect("a binary lies in a folder")
        .to_owned()
}

/// A binary of the product.
///
/// # Panics
///
/// When it is not built.
#[must_use]
pub fn binary(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{} is not built; run the suite with: cargo xtask test",
        path.display()
    );
    path
}

/// A process that is killed when the test ends, however it ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Option<std::io::Lines<BufReader<ChildStdout>>>,
}

impl Process {
    /// Starts `command` with its standard output read by the test and its log in `log`.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log can be opened");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Self { child, lines }
    }

    /// The next line of standard output, or `None` at its end.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub fn line(&mut self) -> Option<String> {
        let lines = self.lines.as_mut().expect("its output is read by one reader");
        lines.next().map(|line| line.expect("output is text"))
    }

    /// Every line of standard output that is left.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, as in `INT`.
    ///
    /// # Panics
    ///
    /// When there is no `kill`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Kills it at once, as a power cut would, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our own child can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by its name to a process.
///
/// # Panics
///
/// When there is no `kill`.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(id.to_string())
        .status();
    assert!(status.expect("kill is there").success(), "signal {name} to {id}");
}

/// Processes whose command line mentions `text`, with their command lines.
///
/// # Panics
///
/// When `/proc` cannot be read.
#[must_use]
pub fn mentioning(text: &str) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    let processes = entries.filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        Some((id, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    processes
        .filter(|(id, line)| *id != std::process::id() && line.contains(text))
        .collect()
}
