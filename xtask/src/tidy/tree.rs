//! The text files of the checkout, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Larger files are data, not text that someone reads.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Folders that hold nothing of ours, whatever `.gitignore` says.
const SKIPPED: [&str; 3] = [".git", "target", ".libtorch"];

/// One text file.
#[derive(Debug)]
pub(crate) struct TextFile {
    /// Relative to the checkout, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, found)| found == extension)
    }

    /// Lines with their numbers, counted from 1.
    pub(crate) fn numbered_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// Every text file, and the names of all files and folders.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<TextFile>,
    /// Every path, text or not; true for folders.
    paths: BTreeMap<String, bool>,
}

impl Tree {
    /// Reads what lies under `root`, less what the top `.gitignore` names. Links are not followed.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let ignored: Vec<&str> = ignored
            .lines()
            .filter_map(|line| line.strip_prefix('/'))
            .collect();
        let mut tree = Self::default();
        tree.read_folder(root, "", &ignored)?;
        Ok(tree)
    }

    /// A tree that exists in a test only.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            for (end, _) in path.match_indices('/') {
                tree.paths.insert(path[..end].to_owned(), true);
            }
            tree.paths.insert((*path).to_owned(), false);
            tree.files.push(TextFile {
                path: (*path).to_owned(),
                text: (*text).to_owned(),
            });
        }
        tree
    }

    pub(crate) fn files(&self) -> &[TextFile] {
        &self.files
    }

    pub(crate) fn file(&self, path: &str) -> Option<&TextFile> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &TextFile> {
        self.files
            .iter()
            .filter(move |file| file.has_extension(extension))
    }

    /// Text files below `folder`.
    pub(crate) fn under(&self, folder: &str) -> impl Iterator<Item = &TextFile> {
        let prefix = format!("{folder}/");
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(&prefix))
    }

    /// True for a file or folder of the checkout; the empty path is the checkout itself.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains_key(path)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str, ignored: &[&str]) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
            let entry = entry.with_context(|| format!("list {}", folder.display()))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{prefix}{name}");
            if SKIPPED.contains(&name.as_str()) || ignored.contains(&path.as_str()) {
                continue;
            }
            let kind = entry.file_type().with_context(|| format!("look at {path}"))?;
            self.paths.insert(path.clone(), kind.is_dir());
            if kind.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"), ignored)?;
            } else if kind.is_file() {
                self.read_file(&entry.path(), path)?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, from: &Path, path: String) -> anyhow::Result<()> {
        let size = from.metadata().with_context(|| format!("look at {path}"))?.len();
        if size > FILE_BYTES_MAX {
            return Ok(());
        }
        let bytes = fs::read(from).with_context(|| format!("read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            self.files.push(TextFile { path, text });
        }
        Ok(())
    }
}
