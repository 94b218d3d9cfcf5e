//! Inputs in files: `fuzz/corpus/TARGET/NAME`, one input each.
//!
//! The corpus in the repository holds what reached code that nothing before it had reached, and what once broke
//! something. It is small on purpose: a run makes more of it in seconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Target;

/// Where the corpus is in this checkout.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target in `folder`, by name; none where it has no folder.
///
/// # Errors
///
/// What the operating system says.
pub fn read(folder: &Path, target: &Target) -> io::Result<Vec<(String, Vec<u8>)>> {
    let entries = match fs::read_dir(folder.join(target.name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut inputs = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        inputs.push((name, fs::read(entry.path())?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Writes an input of a target into `folder`, named by what is in it; gives the file.
///
/// # Errors
///
/// What the operating system says.
pub fn write(folder: &Path, target: &Target, input: &[u8]) -> io::Result<PathBuf> {
    let folder = folder.join(target.name);
    fs::create_dir_all(&folder)?;
    let name = &blake3::hash(input).to_hex()[..16];
    let path = folder.join(name);
    fs::write(&path, input)?;
    Ok(path)
}
