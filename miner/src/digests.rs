//! Digests of models, kept beside them so that gigabytes are not read again to name what was named before.
//!
//! A kept digest is believed only while every file of the folder is the one that was read: device, number, size and
//! both times of each, of which the time of change cannot be set by anybody. A folder that was copied, touched or
//! written to is read again, and one that was written to a moment ago is not kept: two writes within one tick of a
//! filesystem's clock look the same. Where the folder cannot be written, the digest is kept in the user's cache.
//!
//! What a miner announces never comes from here: loading reads every byte anyway, and names what it read.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agon_model::LoadError;
use agon_protocol::id::Digest;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use thiserror::Error;
use tracing::debug;

/// Name of the file beside the model.
pub const FILE: &str = ".agon-digest.json";
/// Bytes of it; one of the most files there may be takes less.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of a model; the largest models in use come in some two hundred.
const FILES_MAX: usize = 2_048;
/// How long a folder has to be at rest: more than the tick of any filesystem's clock.
const REST_NS: i128 = 2_000_000_000;
/// The form of the file; another is read as none.
const FORM: u32 = 1;

/// Why there is no digest.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The folder cannot be listed.
    #[error("list {}: {source}", path.display())]
    List {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There are more files than any model has.
    #[error("{} has more than {files_max} files: it is no folder of one model", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// How many are taken.
        files_max: usize,
    },
    /// The files changed while they were read.
    #[error("{} changed while it was read; try again when it is at rest", path.display())]
    Changed {
        /// The folder.
        path: PathBuf,
    },
    /// The model cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What the files of a model were when they were looked at; equal facts mean that nothing was written since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts(Vec<FileFacts>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFacts {
    name: String,
    bytes: u64,
    device: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    form: u32,
    digest: String,
    files: Facts,
}

impl Facts {
    /// Looks at the files of the folder `dir`; links are followed, as the hub's cache consists of them.
    ///
    /// # Errors
    ///
    /// [`DigestError::List`] and [`DigestError::TooMany`].
    pub fn of(dir: &Path) -> Result<Self, DigestError> {
        let list = |path: &Path, source| DigestError::List {
            path: path.to_owned(),
            source,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(|source| list(dir, source))? {
            let entry = entry.map_err(|source| list(dir, source))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !is_of_model(&name) {
                continue;
            }
            let path = entry.path();
            let metadata = fs::metadata(&path).map_err(|source| list(&path, source))?;
            if metadata.is_file() {
                files.push(FileFacts::new(name, &metadata));
            }
            if files.len() > FILES_MAX {
                return Err(DigestError::TooMany {
                    path: dir.to_owned(),
                    files_max: FILES_MAX,
                });
            }
        }
        files.sort();
        Ok(Self(files))
    }

    /// When no file has changed for `rest_ns`.
    fn settled_ns(&self, rest_ns: i128) -> i128 {
        let newest = self.0.iter().map(|file| file.changed_ns).max();
        newest.unwrap_or(0).saturating_add(rest_ns)
    }
}

impl FileFacts {
    fn new(name: String, metadata: &fs::Metadata) -> Self {
        Self {
            name,
            bytes: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: changed_ns(metadata),
        }
    }
}

/// Whether a file of this name can have a part in what a model is.
fn is_of_model(name: &str) -> bool {
    name != FILE && (name.ends_with(".json") || name.ends_with(".safetensors"))
}

/// Where a digest came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was kept, and the files are the ones it is of.
    Kept,
    /// The files were read.
    Read,
}

/// Where digests are kept.
#[derive(Clone, Debug)]
pub struct Digests {
    /// Folder for those of models in folders that cannot be written.
    fallback: Option<PathBuf>,
    rest_ns: i128,
}

impl Digests {
    /// Beside each model, else in the user's cache.
    #[must_use]
    pub fn from_env() -> Self {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".cache")));
        Self {
            fallback: cache.map(|cache| cache.join("agon").join("digests")),
            rest_ns: REST_NS,
        }
    }

    /// Beside each model, else in `fallback`.
    #[must_use]
    pub const fn with_fallback(fallback: PathBuf) -> Self {
        Self {
            fallback: Some(fallback),
            rest_ns: REST_NS,
        }
    }

    /// The digest of the model in `dir`: the kept one where the files are still those, else as [`Digests::read`].
    ///
    /// # Errors
    ///
    /// [`DigestError`].
    pub fn of(&self, dir: &Path) -> Result<(Digest, Origin), DigestError> {
        let facts = Facts::of(dir)?;
        if let Some(digest) = self.kept(dir, &facts) {
            return Ok((digest, Origin::Kept));
        }
        self.read(dir).map(|digest| (digest, Origin::Read))
    }

    /// Reads the model in `dir` and keeps its digest.
    ///
    /// # Errors
    ///
    /// [`DigestError`].
    pub fn read(&self, dir: &Path) -> Result<Digest, DigestError> {
        let before = Facts::of(dir)?;
        let digest = Digest(agon_model::digest_of(dir)?);
        if Facts::of(dir)? != before {
            return Err(DigestError::Changed { path: dir.to_owned() });
        }
        self.keep(dir, &before, digest);
        Ok(digest)
    }

    /// The kept digest of a folder whose files are these.
    #[must_use]
    pub fn kept(&self, dir: &Path, facts: &Facts) -> Option<Digest> {
        self.places(dir).iter().find_map(|path| {
            let bytes = read_bounded(path)?;
            let kept: Kept = serde_json::from_slice(&bytes).ok()?;
            let is_of_these = kept.form == FORM && kept.files == *facts;
            let mut digest = [0; 32];
            hex::decode_to_slice(&kept.digest, &mut digest).ok()?;
            is_of_these.then_some(Digest(digest))
        })
    }

    /// Keeps a digest that was read from files that were these before and after. That it cannot be kept harms nobody.
    pub fn keep(&self, dir: &Path, facts: &Facts, digest: Digest) {
        let kept = Kept {
            form: FORM,
            digest: digest.to_string(),
            files: facts.clone(),
        };
        let Ok(bytes) = serde_json::to_vec_pretty(&kept) else {
            return;
        };
        for path in self.places(dir) {
            match write(&path, &bytes, facts.settled_ns(self.rest_ns)) {
                Ok(()) => return,
                Err(error) => debug!(path = %path.display(), %error, "the digest is not kept here"),
            }
        }
    }

    fn places(&self, dir: &Path) -> Vec<PathBuf> {
        let mut places = vec![dir.join(FILE)];
        if let (Some(fallback), Ok(whole)) = (&self.fallback, dir.canonicalize()) {
            let name = hex::encode(sha2::Sha256::digest(whole.as_os_str().as_encoded_bytes()));
            places.push(fallback.join(format!("{name}.json")));
        }
        places
    }
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Writes a file whole or not at all, and not at all before it is `from_ns` by the clock of its filesystem.
fn write(path: &Path, bytes: &[u8], from_ns: i128) -> io::Result<()> {
    // The model's own folder exists; the cache may have to be made.
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, bytes)?;
    let is_settled = fs::metadata(&fresh).map(|metadata| changed_ns(&metadata) >= from_ns);
    let written = match is_settled {
        Ok(true) => fs::rename(&fresh, path),
        Ok(false) => Err(io::Error::other("the model was written to a moment ago")),
        Err(error) => Err(error),
    };
    written.inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

fn changed_ns(metadata: &fs::Metadata) -> i128 {
    nanoseconds(metadata.ctime(), metadata.ctime_nsec())
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        cache: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in ["config.json", "model.safetensors", "notes.txt"] {
                fs::write(dir.path().join(name), name).unwrap();
            }
            let cache = tempfile::tempdir().unwrap();
            Self { dir, cache }
        }

        /// Digests are kept at once.
        fn digests(&self) -> Digests {
            at_once(self.cache.path().join("digests"))
        }

        fn facts(&self) -> Facts {
            Facts::of(self.dir.path()).unwrap()
        }

        fn kept(&self) -> Option<Digest> {
            self.digests().kept(self.dir.path(), &self.facts())
        }

        fn keep(&self) {
            self.digests().keep(self.dir.path(), &self.facts(), DIGEST);
        }
    }

    const DIGEST: Digest = Digest([7; 32]);

    fn at_once(fallback: PathBuf) -> Digests {
        Digests {
            rest_ns: 0,
            ..Digests::with_fallback(fallback)
        }
    }

    /// Writes to a file until the filesystem's clock has gone on, and sets the time of the change back.
    fn write_in_secret(path: &Path) {
        let before = fs::metadata(path).unwrap();
        loop {
            fs::write(path, "MODEL.SAFETENSORS").unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
            if changed_ns(&fs::metadata(path).unwrap()) != changed_ns(&before) {
                return;
            }
        }
    }

    #[track_caller]
    fn check_forgotten(change: impl FnOnce(&Path)) {
        let bench = Bench::new();
        bench.keep();
        assert_eq!(bench.kept(), Some(DIGEST));
        change(bench.dir.path());
        assert_eq!(bench.kept(), None);
    }

    #[test]
    fn a_digest_is_believed_until_a_file_of_the_model_is_another() {
        check_forgotten(|dir| fs::write(dir.join("config.json"), "longer than before").unwrap());
        check_forgotten(|dir| fs::write(dir.join("tokenizer.json"), "new").unwrap());
        check_forgotten(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap());
        // The same bytes in another file.
        check_forgotten(|dir| {
            fs::copy(dir.join("config.json"), dir.join("copy")).unwrap();
            fs::rename(dir.join("copy"), dir.join("config.json")).unwrap();
        });
        // A file that pretends to be as old as the one before.
        check_forgotten(|dir| write_in_secret(&dir.join("model.safetensors")));
    }

    #[test]
    fn a_folder_that_was_written_to_a_moment_ago_is_not_kept() {
        let bench = Bench::new();
        let patient = Digests::with_fallback(bench.cache.path().join("digests"));
        patient.keep(bench.dir.path(), &bench.facts(), DIGEST);
        assert_eq!(bench.kept(), None);
    }

    #[test]
    fn what_is_no_part_of_the_model_may_change() {
        let bench = Bench::new();
        bench.keep();
        fs::write(bench.dir.path().join("notes.txt"), "other notes").unwrap();
        assert_eq!(bench.kept(), Some(DIGEST));
    }

    #[test]
    fn where_the_folder_takes_no_file_the_cache_does() {
        let bench = Bench::new();
        // A folder in the way of the file: permissions do not stop a test that runs as root.
        fs::create_dir(bench.dir.path().join(FILE)).unwrap();
        bench.keep();
        assert_eq!(bench.kept(), Some(DIGEST));
        assert_eq!(
            fs::read_dir(bench.cache.path().join("digests")).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_file_that_says_something_else_is_read_as_none() {
        let bench = Bench::new();
        for text in ["", "{}", "[]", "{\"form\":2,\"digest\":\"00\",\"files\":[]}"] {
            fs::write(bench.dir.path().join(FILE), text).unwrap();
            assert_eq!(bench.kept(), None, "{text}");
        }
    }

    #[test]
    fn the_shipped_model_is_read_once() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small");
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(shipped).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let digests = at_once(copy.path().join("unused"));
        let (digest, origin) = digests.of(copy.path()).unwrap();
        assert_eq!(origin, Origin::Read);
        assert_eq!(digests.of(copy.path()).unwrap(), (digest, Origin::Kept));
        assert_eq!(digests.read(copy.path()).unwrap(), digest);
    }
}
