//! Running a program to its end, or becoming it.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, bail};

/// Runs `command` and fails unless it succeeds.
pub(crate) fn step(mut command: Command) -> anyhow::Result<()> {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs `command` and gives its exit code as ours.
pub(crate) fn to_the_end(mut command: Command) -> anyhow::Result<ExitCode> {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("start `{shown}`"))?;
    Ok(exit_code(status))
}

/// Replaces this process by `command`, so that its output, its signals and its exit code are its own.
pub(crate) fn become_program(mut command: Command) -> anyhow::Error {
    let shown = shown(&command);
    eprintln!("$ {shown}");
    anyhow::Error::new(command.exec()).context(format!("start `{shown}`"))
}

/// A shell's convention: the program's own code, or 128 plus the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The command as one would type it: the program by its name alone.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{word}'")
    }
}

/// The arguments meant for the program behind a chore: all, less a `--` that only separates.
pub(crate) fn passed_on(args: &[String]) -> Vec<String> {
    match args.split_first() {
        Some((first, rest)) if first == "--" => rest.to_vec(),
        _ => args.to_vec(),
    }
}
