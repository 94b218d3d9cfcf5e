//! What `--model` may be: a folder, or the name of a model on a hub.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// Characters of an organisation's or a model's name, at most: the hub's own limit.
const NAME_BYTES_MAX: usize = 96;
const REVISION_BYTES_MAX: usize = 128;
/// The branch that is meant where no revision is named.
const BRANCH_DEFAULT: &str = "main";

/// Where a model is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// In this folder.
    Folder(PathBuf),
    /// On a hub, or in the cache of what came from one.
    Hub(HubName),
}

/// A model on a hub, `ORG/NAME` or `ORG/NAME@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    organisation: String,
    model: String,
    revision: Option<String>,
}

/// A text that is neither a folder nor the name of a model.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{found:?} is neither a folder here nor a name like ORG/NAME or ORG/NAME@REVISION")]
pub struct ModelSourceError {
    /// What was written.
    pub found: String,
}

impl FromStr for ModelSource {
    type Err = ModelSourceError;

    /// A folder that exists is that folder, whatever it is called; `./ORG/NAME` is never a name.
    fn from_str(text: &str) -> Result<Self, ModelSourceError> {
        let path = Path::new(text);
        if path.is_dir() || path.is_absolute() || text.starts_with('.') || text.starts_with('~') {
            return Ok(ModelSource::Folder(path.to_owned()));
        }
        HubName::parse(text)
            .map(ModelSource::Hub)
            .ok_or_else(|| ModelSourceError {
                found: text.chars().take(2 * NAME_BYTES_MAX).collect(),
            })
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSource::Folder(dir) => write!(formatter, "{}", dir.display()),
            ModelSource::Hub(name) => write!(formatter, "{name}"),
        }
    }
}

impl HubName {
    fn parse(text: &str) -> Option<HubName> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let (organisation, model) = repository.split_once('/')?;
        let is_fine = is_name(organisation) && is_name(model) && revision.is_none_or(is_revision);
        is_fine.then(|| HubName {
            organisation: organisation.to_owned(),
            model: model.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }

    /// `ORG/NAME`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.organisation, self.model)
    }

    /// The branch, tag or commit that is meant.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(BRANCH_DEFAULT)
    }

    /// Name of the repository's folder in the cache.
    pub(super) fn cache_folder(&self) -> String {
        format!("models--{}--{}", self.organisation, self.model)
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.repository())?;
        match &self.revision {
            Some(revision) => write!(formatter, "@{revision}"),
            None => Ok(()),
        }
    }
}

/// Whether a text is a whole commit hash.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_name(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(is_fine)
        && !text.starts_with('.')
        // The cache joins both names with two hyphens, the hub allows none in either.
        && !text.contains("--")
        && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let is_segment = |segment: &str| !segment.is_empty() && !segment.starts_with('.');
    text.len() <= REVISION_BYTES_MAX && text.bytes().all(is_fine) && text.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, repository_and_revision: Option<(&str, &str)>) {
        let found = match text.parse() {
            Ok(ModelSource::Hub(name)) => Some((name.repository(), name.revision().to_owned())),
            _ => None,
        };
        let expected = repository_and_revision
            .map(|(repository, revision)| (repository.to_owned(), revision.to_owned()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn names_are_told_from_folders() {
        check("Qwen/Qwen2.5-0.5B", Some(("Qwen/Qwen2.5-0.5B", "main")));
        check("org/name@v1.0", Some(("org/name", "v1.0")));
        check("org/name@refs/pr/3", Some(("org/name", "refs/pr/3")));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(path.parse(), Ok(ModelSource::Folder(dir.path().to_owned())));
        assert_eq!("./org/name".parse(), Ok(ModelSource::Folder("./org/name".into())));
        // The tests run in the package's own folder.
        assert_eq!("src/hub".parse(), Ok(ModelSource::Folder("src/hub".into())));
    }

    #[test]
    fn names_cannot_leave_their_place_in_urls_and_caches() {
        for text in [
            "",
            "name",
            "a/b/c",
            "org/",
            "/name@x y",
            "org/na me",
            "org/na--me",
            "org/..",
            "org/name@",
            "org/name@../x",
            "org/name@a//b",
            "org/name?x",
            "org/name@a@b",
        ] {
            check(text, None);
        }
        assert_eq!(
            "small".parse::<ModelSource>().unwrap_err().to_string(),
            "\"small\" is neither a folder here nor a name like ORG/NAME or ORG/NAME@REVISION"
        );
    }
}
