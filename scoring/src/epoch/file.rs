//! Epochs as JSON: what `agon epoch FILE` reads and prints, and what the golden vectors are written in.
//!
//! A file is `{"epochs": [{"inputs": {...}}, ...]}`. `inputs` has the fields of [`EpochInputs`], with `n` for the
//! number of neurons. Every epoch holds the whole state before it, so each stands alone. Whatever else a file says
//! (`name`, `about`, `expected`) is passed over, so that a golden case can be run as it is. How large a file may
//! be is the caller's to bound; what it may hold is checked by [`EpochInputs::validate`].
//!
//! Results have the fields of `expected`: those of [`EpochOutputs`], and `fixed32` where a trace was asked for.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{EpochError, EpochInputs, EpochOutputs, Trace, run, run_traced};

/// Whether the values between the steps are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only what is stored and paid.
    Outputs,
    /// Every value in between as well.
    Trace,
}

/// The results of a file's epochs, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// One result per epoch.
    pub epochs: Vec<EpochReport>,
}

/// The result of one epoch, in the schema of `expected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochReport {
    /// What is stored and paid.
    #[serde(flatten)]
    pub outputs: EpochOutputs,
    /// The values in between, as integers with 32 fraction bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed32: Option<Trace>,
}

/// Why a file gives no results.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// Not JSON of this schema.
    #[error("not a file of epoch inputs: {source}")]
    Schema {
        /// What is wrong and where.
        #[source]
        source: serde_json::Error,
    },
    /// One epoch's inputs do not fit together.
    #[error("epoch {index}: {source}")]
    Epoch {
        /// Place of the epoch in the file, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: EpochError,
    },
}

#[derive(Deserialize)]
struct File {
    epochs: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    inputs: EpochInputs,
}

/// Reads the inputs of every epoch of a file, without checking that they fit together.
///
/// # Errors
///
/// [`FileError::Schema`] when `json` is not JSON, or a field is missing or out of its type's range.
pub fn parse(json: &[u8]) -> Result<Vec<EpochInputs>, FileError> {
    let file: File = serde_json::from_slice(json).map_err(|source| FileError::Schema { source })?;
    Ok(file.epochs.into_iter().map(|entry| entry.inputs).collect())
}

/// Runs every epoch of a file, each on its own inputs.
///
/// # Errors
///
/// As [`parse`], and [`FileError::Epoch`] for the first epoch whose inputs do not fit together.
pub fn run_file(json: &[u8], detail: Detail) -> Result<FileReport, FileError> {
    let report =
        |(index, inputs)| run_one(inputs, detail).map_err(|source| FileError::Epoch { index, source });
    let epochs = parse(json)?
        .iter()
        .enumerate()
        .map(report)
        .collect::<Result<_, _>>()?;
    Ok(FileReport { epochs })
}

fn run_one(inputs: &EpochInputs, detail: Detail) -> Result<EpochReport, EpochError> {
    match detail {
        Detail::Outputs => run(inputs).map(|outputs| EpochReport {
            outputs,
            fixed32: None,
        }),
        Detail::Trace => run_traced(inputs).map(|(outputs, trace)| EpochReport {
            outputs,
            fixed32: Some(trace),
        }),
    }
}
