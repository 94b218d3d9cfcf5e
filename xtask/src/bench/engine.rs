//! A program that answers, held by its standard input and output.
//!
//! It says `ready` once its model is loaded. After that each line that it is given, `BATCH PROMPT TOKENS`, is answered by
//! two numbers. While it is not asked it waits for its input and takes no processor.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};

/// One engine with one model in one number format.
pub(super) struct Engine {
    /// As `ours bf16`.
    pub(super) name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: std::path::PathBuf,
}

/// Tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) prompt: f64,
    pub(super) decode: f64,
}

/// Tokens of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Texts at the same time.
    pub(super) batch: usize,
    /// Tokens of each prompt.
    pub(super) prompt: usize,
    /// Tokens of each answer.
    pub(super) tokens: usize,
}

impl Engine {
    /// Starts `command`; what it writes to standard error goes to a file in `folder`.
    pub(super) fn start(name: &str, mut command: Command, folder: &Path) -> anyhow::Result<Engine> {
        let log = folder.join(format!("{}.log", name.replace(' ', "-")));
        let errors = std::fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut engine = Engine {
            name: name.to_owned(),
            child,
            input: input.context("the input is piped")?,
            output: BufReader::new(output.context("the output is piped")?),
            log,
        };
        match engine.read()?.as_str() {
            "ready" => Ok(engine),
            other => bail!("{name} said {other:?} in place of ready"),
        }
    }

    pub(super) fn measure(&mut self, load: Load) -> anyhow::Result<Rates> {
        let (prompt, decode) = self.ask(&format!("{} {} {}", load.batch, load.prompt, load.tokens))?;
        Ok(Rates { prompt, decode })
    }

    /// Bytes per second that memory gives, and bytes that a step of one text reads; ours alone can say it.
    pub(super) fn bandwidth(&mut self) -> anyhow::Result<(f64, f64)> {
        self.ask("bandwidth")
    }

    fn ask(&mut self, line: &str) -> anyhow::Result<(f64, f64)> {
        writeln!(self.input, "{line}").with_context(|| format!("ask {}", self.name))?;
        let answer = self.read()?;
        let mut numbers = answer.split_whitespace().map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(second))) => Ok((first, second)),
            _ => bail!("{} answered {answer:?} to {line:?}", self.name),
        }
    }

    fn read(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .with_context(|| format!("read from {}", self.name))?;
        if line.is_empty() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!("{} ended early:\n{}", self.name, last.join("\n"));
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> anyhow::Result<Engine> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Engine::start("ours bf16", command, folder)
    }

    #[test]
    fn an_engine_is_asked_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo ready; while read batch prompt tokens; do echo $batch $tokens; done";
        let mut engine = start(script, folder.path()).unwrap();
        let load = |batch| Load {
            batch,
            prompt: 5,
            tokens: 7,
        };
        for batch in [1, 8] {
            let expected = Rates {
                prompt: batch as f64,
                decode: 7.0,
            };
            assert_eq!(engine.measure(load(batch)).unwrap(), expected);
        }
    }

    #[test]
    fn an_engine_that_ends_is_reported_with_its_own_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = start("echo no such model >&2", folder.path()).err().unwrap();
        assert_eq!(error.to_string(), "ours bf16 ended early:\nno such model");
        let error = start("echo hello", folder.path()).err().unwrap();
        assert_eq!(error.to_string(), "ours bf16 said \"hello\" in place of ready");
    }
}
