//! What can go wrong with a log.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a log cannot be opened, read or appended to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system failed.
    #[error("{action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file begins with something else.
    #[error("{} is not a log of this program", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by another version of this program.
    #[error("{} has format {found}, this program reads format {known}", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format known here.
        known: u32,
    },
    /// A frame is damaged and is not the torn tail of a crash.
    #[error("{} is damaged at byte {offset}: restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the bad frame begins.
        offset: u64,
    },
    /// There is no frame at an offset that was asked for.
    #[error("{} has no frame at byte {offset}, it ends at byte {end}", path.display())]
    NoFrame {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        offset: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The payload is longer than the log allows.
    #[error("a frame of {bytes} bytes is longer than the {bytes_max} allowed")]
    FrameTooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: u32,
    },
    /// Another writer has the file.
    #[error("{} is being written by another process: stop that process first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// An earlier write or sync failed, so that what the disk holds is unknown until the log is opened again.
    #[error("{} is closed for writing after an earlier failure", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
}
