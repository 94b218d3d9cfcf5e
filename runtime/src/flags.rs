//! The flags and exit codes that all binaries share, so that what is learned on one holds on all.
//!
//! Each group is a clap [`Args`] to be flattened into a role's own.
//!
//! # Exit codes
//!
//! | Code | Meaning |
//! | --- | --- |
//! | [`EXIT_OK`] | done |
//! | [`EXIT_FAILURE`] | failed, for a reason that is none of the others |
//! | [`EXIT_USAGE`] | the command line was not understood; clap's own code |
//! | [`EXIT_REFUSED`] | the ledger refused the transaction or the query |
//! | [`EXIT_UNREACHABLE`] | a peer, most often the ledger, could not be reached |

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tonic::{Code, Status};

use crate::telemetry::{self, LogFormat, TelemetryError};

/// The command did what it says.
pub const EXIT_OK: u8 = 0;
/// The command failed, for a reason that none of the others describes.
pub const EXIT_FAILURE: u8 = 1;
/// The command line was not understood.
pub const EXIT_USAGE: u8 = 2;
/// The ledger refused.
pub const EXIT_REFUSED: u8 = 3;
/// A peer could not be reached, or did not answer in time.
pub const EXIT_UNREACHABLE: u8 = 4;

/// Where a node listens and everybody looks for it unless told otherwise.
pub const LEDGER_DEFAULT: &str = "http://127.0.0.1:9944";

/// Where the ledger is.
#[derive(Debug, Clone, Args)]
pub struct LedgerFlags {
    /// Address of a ledger node
    #[arg(long, value_name = "URL", env = "AGON_LEDGER", default_value = LEDGER_DEFAULT, global = true)]
    pub ledger: String,
}

/// Which keys are used.
#[derive(Debug, Clone, Args)]
pub struct WalletFlags {
    /// Name of the wallet
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub wallet: String,
    /// Name of the hotkey in the wallet
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub hotkey: String,
    /// Where the wallets are
    #[command(flatten)]
    pub wallets: WalletsDirFlag,
}

/// Where wallets are, for commands that use no particular one.
#[derive(Debug, Clone, Args)]
pub struct WalletsDirFlag {
    /// Folder of the wallets [default: ~/.agon/wallets]
    #[arg(long, value_name = "DIR", env = "AGON_WALLETS", global = true)]
    pub wallets_dir: Option<PathBuf>,
}

impl WalletsDirFlag {
    /// The folder that was named, or `~/.agon/wallets`.
    ///
    /// # Errors
    ///
    /// [`NoHome`] when none was named and there is no home folder.
    pub fn dir(&self) -> Result<PathBuf, NoHome> {
        let default = || std::env::home_dir().map(|home| home.join(".agon").join("wallets"));
        self.wallets_dir.clone().or_else(default).ok_or(NoHome)
    }
}

/// There is neither a folder of wallets on the command line nor a home folder to look in.
#[derive(Debug, thiserror::Error)]
#[error("no home folder is known: name the folder of the wallets with --wallets-dir or AGON_WALLETS")]
pub struct NoHome;

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogFlags {
    /// What to log to standard error, as in `warn,agon_miner=debug`
    #[arg(
        long,
        value_name = "FILTER",
        env = "AGON_LOG",
        default_value = "info",
        global = true
    )]
    pub log: String,
    /// How log lines look
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
}

impl LogFlags {
    /// Sets up logging as asked for.
    ///
    /// # Errors
    ///
    /// As [`telemetry::init`].
    pub fn init(&self) -> Result<(), TelemetryError> {
        telemetry::init(self.log_format, &self.log)
    }
}

/// Where metrics are shown.
#[derive(Debug, Clone, Args)]
pub struct MetricsFlags {
    /// Show Prometheus metrics at http://ADDR/metrics
    #[arg(long, value_name = "ADDR")]
    pub metrics_addr: Option<SocketAddr>,
}

/// What a program that starts others passes to them; nothing for people.
#[derive(Debug, Clone, Args)]
pub struct ChildFlags {
    /// End when the process that started this one ends; its number may be given
    #[arg(long, value_name = "PID", hide = true, require_equals = true)]
    pub die_with_parent: Option<Option<u32>>,
}

impl ChildFlags {
    /// Ties this process to its parent if that was asked for. To be called first thing in `main`.
    ///
    /// # Errors
    ///
    /// As [`die_with_parent`](crate::shutdown::die_with_parent).
    pub fn apply(&self) -> Result<(), crate::shutdown::ParentError> {
        self.die_with_parent
            .map_or(Ok(()), crate::shutdown::die_with_parent)
    }
}

/// An error with the exit code it deserves, for failures that [`exit_code`] cannot tell from the chain.
///
/// It reads as the error it carries.
#[derive(Debug)]
pub struct ExitWith {
    code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for ExitWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for ExitWith {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl ExitWith {
    /// `error`, with [`EXIT_REFUSED`]: the ledger refused.
    pub fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: EXIT_REFUSED,
            error: error.into(),
        }
    }

    /// `error`, with [`EXIT_UNREACHABLE`]: a peer could not be reached.
    pub fn unreachable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: EXIT_UNREACHABLE,
            error: error.into(),
        }
    }

    /// `error`, with [`EXIT_FAILURE`]: any other end.
    pub fn failure(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: EXIT_FAILURE,
            error: error.into(),
        }
    }

    /// `error`, with [`EXIT_USAGE`]: the flags make no sense together.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: EXIT_USAGE,
            error: error.into(),
        }
    }
}

/// Prints `error: a: b: c`, the error and what it came from, to standard error and gives the exit code.
///
/// An `anyhow::Error` is passed as `error.as_ref()`.
pub fn last_words(error: &(dyn Error + 'static)) -> ExitCode {
    // Where nobody can be told, as with a log on a full disk, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "error: {}", sentence(error));
    ExitCode::from(exit_code(error))
}

/// The exit code for `error`, by the first link of its chain that tells: an [`ExitWith`], a gRPC status, a
/// connection that failed; [`EXIT_FAILURE`] where none does.
pub fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    chain(error).find_map(link_code).unwrap_or(EXIT_FAILURE)
}

/// The messages of an error's chain, joined by colons, each once.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = chain(error).map(link_message).collect();
    // Some errors repeat what they came from.
    messages.dedup_by(|later, earlier| earlier.ends_with(later.as_str()));
    messages.join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |link| (*link).source())
}

fn link_message(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<Status>() {
        // A status prints its code and metadata in a form for programmers.
        Some(status) if !status.message().is_empty() => status.message().to_owned(),
        Some(status) => status.code().description().to_owned(),
        None => error.to_string(),
    }
}

fn link_code(error: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(exit) = error.downcast_ref::<ExitWith>() {
        return Some(exit.code);
    }
    if error.is::<tonic::transport::Error>() {
        return Some(EXIT_UNREACHABLE);
    }
    error
        .downcast_ref::<Status>()
        .and_then(|status| status_code(status.code()))
}

/// Codes that a healthy ledger gives on purpose are refusals; those of a broken or missing one say it cannot be
/// reached; the rest tells nothing.
fn status_code(code: Code) -> Option<u8> {
    match code {
        Code::Unavailable | Code::DeadlineExceeded => Some(EXIT_UNREACHABLE),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => Some(EXIT_REFUSED),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        ledger: LedgerFlags,
        #[command(flatten)]
        wallet: WalletFlags,
        #[command(flatten)]
        log: LogFlags,
        #[command(flatten)]
        metrics: MetricsFlags,
        #[command(flatten)]
        child: ChildFlags,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<dyn Error + Send + Sync>>,
    }

    fn over(text: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Layer {
        Layer {
            text,
            source: Some(source.into()),
        }
    }

    #[track_caller]
    fn check(error: &(dyn Error + 'static), words: &str, code: u8) {
        assert_eq!((sentence(error).as_str(), exit_code(error)), (words, code));
    }

    #[test]
    fn the_groups_fit_together() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from([
            "agon",
            "--wallet",
            "w",
            "--wallets-dir",
            "/x",
            "--log-format",
            "json",
        ]);
        assert_eq!(
            (cli.wallet.wallet.as_str(), cli.wallet.hotkey.as_str()),
            ("w", "default")
        );
        assert_eq!(cli.wallet.wallets.dir().unwrap(), PathBuf::from("/x"));
        assert_eq!(cli.log.log_format, LogFormat::Json);
        assert!(cli.ledger.ledger.starts_with("http://"));
        assert_eq!(cli.metrics.metrics_addr, None);
    }

    #[test]
    fn a_child_may_be_told_which_parent_it_has() {
        for (typed, meant) in [
            ("--die-with-parent", Some(None)),
            ("--die-with-parent=17", Some(Some(17))),
        ] {
            let cli = Cli::parse_from(["agon", typed, "--metrics-addr", "127.0.0.1:0"]);
            assert_eq!(cli.child.die_with_parent, meant);
        }
        assert_eq!(Cli::parse_from(["agon"]).child.die_with_parent, None);
    }

    #[test]
    fn last_words_tell_the_whole_chain_once() {
        let io = std::io::Error::other("no space left");
        check(
            &over("open ledger", over("write head", io)),
            "open ledger: write head: no space left",
            EXIT_FAILURE,
        );
        check(
            &over("write: full", over("full", over("disk", "7"))),
            "write: full: disk: 7",
            EXIT_FAILURE,
        );
    }

    #[test]
    fn a_refusal_and_a_missing_peer_have_codes_of_their_own() {
        let refused = Status::failed_precondition("balance 5 is less than 7");
        check(
            &over("transfer", refused),
            "transfer: balance 5 is less than 7",
            EXIT_REFUSED,
        );
        let missing = Status::unavailable("");
        check(
            &over("ask", missing),
            "ask: The service is currently unavailable",
            EXIT_UNREACHABLE,
        );
        check(&Status::internal("bug"), "bug", EXIT_FAILURE);
        check(
            &over("a", ExitWith::refused("too little")),
            "a: too little",
            EXIT_REFUSED,
        );
        check(&ExitWith::usage(over("b", "c")), "b: c", EXIT_USAGE);
        check(&ExitWith::unreachable(over("b", "c")), "b: c", EXIT_UNREACHABLE);
    }
}
