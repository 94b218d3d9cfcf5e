//! Models by name: found in the user's Hugging Face cache, else fetched from a hub into it.
//!
//! | module | does |
//! | --- | --- |
//! | [`name`] | tells folders from hub names, and reads `ORG/NAME@REVISION` |
//! | [`settings`] | where cache, hub and token are, from the variables that Hugging Face's own tools read |
//! | [`cache`] | the layout of the cache, shared with those tools |
//! | [`client`] | the hub's routes over HTTP: redirects, refusals, patience |
//! | [`fetch`] | brings the files of a model into the cache: resumed, checked, one process at a time |
//!
//! What is in the cache is used without asking the hub, so that a miner starts the same model again without a
//! network; a newer commit of a branch is fetched by naming it. See decision 19.

pub mod cache;
pub mod client;
pub mod fetch;
pub mod name;
pub mod settings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use agon_model::{ModelFiles, Plan};

use crate::hub::client::{Client, HubError, Repository};
use crate::hub::fetch::FetchProgress;
use crate::hub::name::{HubName, ModelSource};
use crate::hub::settings::Settings;

/// A model on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its folder.
    pub dir: PathBuf,
    /// Name and revision, where it came from a hub.
    pub name: Option<String>,
}

/// Finds the folder of a model, fetching it if it is nowhere on this machine.
///
/// Before the first byte of parameters is fetched, configs and headers are read, so that a model that cannot be
/// served costs no download. Blocks.
///
/// # Errors
///
/// [`HubError`].
pub fn find_or_fetch(
    source: &ModelSource,
    settings: &Settings,
    progress: impl FnMut(FetchProgress<'_>),
) -> Result<Found, HubError> {
    let name = match source {
        ModelSource::Folder(dir) => {
            return Ok(Found {
                dir: dir.clone(),
                name: None,
            });
        }
        ModelSource::Hub(name) => name,
    };
    if let Some((commit, dir)) = settings.cache.find(name) {
        return Ok(found(name, &commit, dir));
    }
    ask_and_fetch(name, settings, progress)
}

/// As [`find_or_fetch`], but what a branch or tag is now is asked of the hub, unless it must not be asked.
///
/// # Errors
///
/// [`HubError`].
pub fn find_newest(
    source: &ModelSource,
    settings: &Settings,
    progress: impl FnMut(FetchProgress<'_>),
) -> Result<Found, HubError> {
    match source {
        ModelSource::Hub(name) if !settings.is_offline && !name::is_commit(name.revision()) => {
            ask_and_fetch(name, settings, progress)
        }
        _ => find_or_fetch(source, settings, progress),
    }
}

fn ask_and_fetch(
    name: &HubName,
    settings: &Settings,
    progress: impl FnMut(FetchProgress<'_>),
) -> Result<Found, HubError> {
    let client = Client::new(settings)?;
    let repository = client.repository(name)?;
    plan_of(&client, &repository)?;
    let dir = fetch::fetch(&client, &settings.cache, &repository, progress)?;
    Ok(found(name, &repository.commit, dir))
}

/// What a model will need, from its configs and headers; parameters are not fetched. Blocks.
///
/// # Errors
///
/// [`HubError`].
pub fn plan(source: &ModelSource, settings: &Settings) -> Result<Plan, HubError> {
    let folder = match source {
        ModelSource::Folder(dir) => Some(dir.clone()),
        ModelSource::Hub(name) => settings.cache.find(name).map(|(_, dir)| dir),
    };
    match (folder, source) {
        (Some(dir), _) => Ok(Plan::of_folder(&dir)?),
        (None, ModelSource::Hub(name)) => {
            let client = Client::new(settings)?;
            plan_of(&client, &client.repository(name)?)
        }
        (None, ModelSource::Folder(dir)) => Ok(Plan::of_folder(dir)?),
    }
}

fn plan_of(client: &Client, repository: &Repository) -> Result<Plan, HubError> {
    let files = fetch::RemoteFiles::new(client, repository);
    match Plan::read(&files as &dyn ModelFiles) {
        Ok(plan) => Ok(plan),
        // What went wrong on the way says more than that a file could not be read.
        Err(error) => Err(files.into_failure().unwrap_or_else(|| error.into())),
    }
}

fn found(name: &HubName, commit: &str, dir: PathBuf) -> Found {
    /// Enough of a commit to tell it from others of its repository.
    const COMMIT_CHARACTERS: usize = 8;
    let commit: String = commit.chars().take(COMMIT_CHARACTERS).collect();
    Found {
        dir,
        name: Some(format!("{}@{commit}", name.repository())),
    }
}
