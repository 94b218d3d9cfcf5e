//! The cache's layout, as Hugging Face's own tools write it, so that each finds what the other fetched.
//!
//! ```text
//! models--ORG--NAME/refs/REVISION              the commit that a branch or tag had when it was fetched
//! models--ORG--NAME/snapshots/COMMIT/FILE      a link into blobs
//! models--ORG--NAME/blobs/ID                   the bytes; ID is their hash
//! models--ORG--NAME/blobs/ID.incomplete        the bytes so far
//! .locks/models--ORG--NAME/ID.lock             held while one process fetches a blob
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::hub::name::{HubName, is_commit};

/// The folder in which every model that came from a hub is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// Files without which a folder is no model.
pub(super) const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
pub(super) const SINGLE_FILE: &str = "model.safetensors";
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index of shards names, each once; `None` when the bytes are no index.
pub(super) fn shards_of(index: &[u8]) -> Option<Vec<String>> {
    let index: Index = serde_json::from_slice(index).ok()?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    Some(names)
}

impl Cache {
    /// A cache in the folder `root`, which may not exist yet.
    #[must_use]
    pub fn new(root: PathBuf) -> Cache {
        Cache { root }
    }

    /// The commit and the folder of a model that is in the cache with all its files.
    #[must_use]
    pub fn find(&self, name: &HubName) -> Option<(String, PathBuf)> {
        let commit = self.commit(name)?;
        let dir = self.snapshot(name, &commit);
        is_complete(&dir).then_some((commit, dir))
    }

    /// The commit that a revision had when it was fetched; a commit is its own.
    fn commit(&self, name: &HubName) -> Option<String> {
        let revision = name.revision();
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.repository(name).join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    fn repository(&self, name: &HubName) -> PathBuf {
        self.root.join(name.cache_folder())
    }

    /// The folder of one commit.
    pub(super) fn snapshot(&self, name: &HubName, commit: &str) -> PathBuf {
        self.repository(name).join("snapshots").join(commit)
    }

    /// Where the bytes of `id` are or will be.
    pub(super) fn blob(&self, name: &HubName, id: &str) -> PathBuf {
        self.repository(name).join("blobs").join(id)
    }

    /// Where the bytes of `id` are while some are missing.
    pub(super) fn incomplete(&self, name: &HubName, id: &str) -> PathBuf {
        self.blob(name, &format!("{id}.incomplete"))
    }

    /// Waits until no other process fetches the bytes of `id`; they are ours until the file is dropped.
    pub(super) fn lock(&self, name: &HubName, id: &str) -> io::Result<File> {
        let dir = self.root.join(".locks").join(name.cache_folder());
        fs::create_dir_all(&dir)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(format!("{id}.lock")))?;
        file.lock()?;
        Ok(file)
    }

    /// Makes the file `file` of a commit a link to the bytes of `id`.
    pub(super) fn link(&self, name: &HubName, commit: &str, file: &str, id: &str) -> io::Result<()> {
        let link = self.snapshot(name, commit).join(file);
        let dir = link.parent().unwrap_or(&link);
        fs::create_dir_all(dir)?;
        let up = "../".repeat(file.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{id}"));
        if fs::read_link(&link).is_ok_and(|found| found == target) {
            return Ok(());
        }
        // Renamed into place, so that nobody sees a folder without the file.
        let fresh = dir.join(format!(".{id}.link"));
        let _ = fs::remove_file(&fresh);
        std::os::unix::fs::symlink(&target, &fresh)?;
        fs::rename(&fresh, &link)
    }

    /// Notes the commit that the revision of `name` has now.
    pub(super) fn note_revision(&self, name: &HubName, commit: &str) -> io::Result<()> {
        if is_commit(name.revision()) {
            return Ok(());
        }
        let path = self.repository(name).join("refs").join(name.revision());
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let fresh = path.with_extension(format!("{commit}.new"));
        fs::write(&fresh, commit)?;
        fs::rename(&fresh, &path)
    }
}

/// Whether every file that serving needs is there; links into nothing do not count.
fn is_complete(dir: &Path) -> bool {
    let has = |file: &str| dir.join(file).is_file();
    if !REQUIRED.into_iter().all(has) {
        return false;
    }
    if has(SINGLE_FILE) {
        return true;
    }
    let index = fs::read(dir.join(INDEX_FILE)).ok();
    let shards = index.and_then(|bytes| shards_of(&bytes));
    shards.is_some_and(|names| !names.is_empty() && names.iter().all(|name| has(name)))
}
