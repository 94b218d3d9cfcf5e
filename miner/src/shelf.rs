//! What a miner was told to serve: found, weighed, loaded, and loaded again when asked.
//!
//! All models share one device, so their memory is counted together before the first byte of the first is read. A
//! reload looks at every folder again (and asks the hub what a revision is now), loads what is another beside what
//! is served, and hands over everything or nothing: a reload that fails leaves what was there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agon_model::{DeviceError, DeviceProbe, Engine, LoadError, LoadOptions, Need, Plan};
use agon_protocol::id::Digest;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::backend::{Backend, ModelBackend};
use crate::digests::{DigestError, Digests, Facts};
use crate::fit::usable_bytes;
use crate::hub::client::HubError;
use crate::hub::name::ModelSource;
use crate::hub::settings::Settings;
use crate::hub::{self, Found};
use crate::models::{MODELS_MAX, Models};

/// Why models are not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// Too many were named, or none.
    #[error("{count} models are named; a miner serves 1 to {MODELS_MAX}")]
    Count {
        /// How many.
        count: usize,
    },
    /// A model is not there, or cannot be fetched.
    #[error("find model {model}")]
    Find {
        /// The model.
        model: String,
        /// Why.
        source: Box<HubError>,
    },
    /// The files of a model cannot be looked at, or changed meanwhile.
    #[error("look at model {model}")]
    Facts {
        /// The model.
        model: String,
        /// Why.
        source: Box<DigestError>,
    },
    /// A model cannot be loaded.
    #[error("load model {model}")]
    Load {
        /// The model.
        model: String,
        /// Why.
        source: Box<LoadError>,
    },
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is not enough memory for all that is to be loaded.
    #[error(
        "{models} together need {needed_bytes} bytes, {usable_bytes} can be counted on; \
         fewer --slots, a shorter --context or fewer models would help{aside}"
    )]
    Memory {
        /// Which ones.
        models: String,
        /// What they need.
        needed_bytes: u64,
        /// What there is.
        usable_bytes: u64,
        /// What else there is to say.
        aside: &'static str,
    },
    /// Two names mean one model.
    #[error("{first} and {second} are one model, {digest}: name it once")]
    Twice {
        /// One name.
        first: String,
        /// The other.
        second: String,
        /// The model.
        digest: Digest,
    },
}

/// What may be told while models are read.
pub type Tell<'a> = &'a mut dyn FnMut(&'static str, u64, u64);

/// The models to serve, and those that are loaded.
#[derive(Debug)]
pub struct Shelf {
    sources: Vec<ModelSource>,
    options: LoadOptions,
    settings: Settings,
    digests: Digests,
    loaded: Vec<Loaded>,
}

#[derive(Clone, Debug)]
struct Loaded {
    backend: Arc<ModelBackend>,
    dir: PathBuf,
    facts: Facts,
}

/// A model that was found and not loaded yet.
struct Candidate {
    model: String,
    found: Found,
    facts: Facts,
    need: Need,
}

impl Shelf {
    /// Finds or fetches the models and loads them. Blocks.
    ///
    /// # Errors
    ///
    /// [`ShelfError`].
    pub fn open(
        sources: Vec<ModelSource>,
        options: LoadOptions,
        settings: Settings,
        digests: Digests,
        tell: Tell<'_>,
    ) -> Result<Self, ShelfError> {
        let count = sources.len();
        if !(1..=MODELS_MAX).contains(&count) {
            return Err(ShelfError::Count { count });
        }
        let mut shelf = Self {
            sources,
            options,
            settings,
            digests,
            loaded: Vec::new(),
        };
        let mut candidates = Vec::new();
        for source in &shelf.sources {
            let found = hub::find_or_fetch(source, &shelf.settings, |progress| {
                tell("fetching the model", progress.bytes_done, progress.bytes_total);
            });
            candidates.push(shelf.candidate(source, found)?);
        }
        shelf.weigh(&candidates.iter().collect::<Vec<_>>(), "")?;
        for candidate in candidates {
            let loaded = shelf.load(candidate, tell)?;
            shelf.loaded.push(loaded);
        }
        shelf.check_distinct(&shelf.loaded)?;
        Ok(shelf)
    }

    /// What is loaded, in the order in which it was named.
    #[must_use]
    pub fn backends(&self) -> Vec<Arc<ModelBackend>> {
        self.loaded
            .iter()
            .map(|loaded| Arc::clone(&loaded.backend))
            .collect()
    }

    /// Looks at every model again and loads those that are others now; whether any is. Blocks.
    ///
    /// # Errors
    ///
    /// [`ShelfError`]; what was loaded stays.
    pub fn reload(&mut self, tell: Tell<'_>) -> Result<bool, ShelfError> {
        let mut candidates = Vec::new();
        for source in &self.sources {
            let found = hub::find_newest(source, &self.settings, |progress| {
                tell("fetching the model", progress.bytes_done, progress.bytes_total);
            });
            candidates.push(self.candidate(source, found)?);
        }
        let is_same = |candidate: &Candidate, before: &Loaded| {
            candidate.found.dir == before.dir && candidate.facts == before.facts
        };
        let others = candidates.iter().zip(&self.loaded);
        let others: Vec<&Candidate> = others
            .filter(|(candidate, before)| !is_same(candidate, before))
            .map(|(candidate, _)| candidate)
            .collect();
        self.weigh(
            &others,
            ", or a restart, which does not hold the old ones beside the new",
        )?;
        let mut next = Vec::new();
        for (candidate, before) in candidates.into_iter().zip(&self.loaded) {
            next.push(match is_same(&candidate, before) {
                true => before.clone(),
                false => self.load(candidate, tell)?,
            });
        }
        self.check_distinct(&next)?;
        let digest = |loaded: &Loaded| loaded.backend.identity().digest;
        // Files that were written anew with the same content are no other model.
        for (next, before) in next.iter_mut().zip(&self.loaded) {
            if digest(next) == digest(before) {
                next.backend = Arc::clone(&before.backend);
            }
        }
        let is_changed = next.iter().map(digest).ne(self.loaded.iter().map(digest));
        self.loaded = next;
        Ok(is_changed)
    }

    fn candidate(
        &self,
        source: &ModelSource,
        found: Result<Found, HubError>,
    ) -> Result<Candidate, ShelfError> {
        let model = source.to_string();
        let found = found.map_err(|source| ShelfError::Find {
            model: model.clone(),
            source: Box::new(source),
        })?;
        // A link that was turned to another folder is seen as that folder.
        let dir = found.dir.canonicalize().unwrap_or(found.dir);
        let facts = Facts::of(&dir).map_err(|source| ShelfError::Facts {
            model: model.clone(),
            source: Box::new(source),
        })?;
        let need = Plan::of_folder(&dir).and_then(|plan| plan.need(&self.options));
        let need = need.map_err(|source| ShelfError::Load {
            model: model.clone(),
            source: Box::new(source),
        })?;
        Ok(Candidate {
            model,
            found: Found { dir, ..found },
            facts,
            need,
        })
    }

    /// Checks that all of `candidates` fit into what is free.
    fn weigh(&self, candidates: &[&Candidate], aside: &'static str) -> Result<(), ShelfError> {
        let Some(free_bytes) = DeviceProbe::free_memory(self.options.device)? else {
            return Ok(());
        };
        let needs: Vec<&Need> = candidates.iter().map(|candidate| &candidate.need).collect();
        let (needed_bytes, usable_bytes) = (bytes_together(&needs), usable_bytes(free_bytes));
        if needed_bytes <= usable_bytes {
            return Ok(());
        }
        let models: Vec<&str> = candidates
            .iter()
            .map(|candidate| candidate.model.as_str())
            .collect();
        Err(ShelfError::Memory {
            models: models.join(" and "),
            needed_bytes,
            usable_bytes,
            aside,
        })
    }

    fn load(&self, candidate: Candidate, tell: Tell<'_>) -> Result<Loaded, ShelfError> {
        let Candidate {
            model,
            found: Found { dir, name },
            facts,
            ..
        } = candidate;
        let engine = Engine::load(&dir, &self.options, |progress| {
            tell("loading the model", progress.bytes_done, progress.bytes_total);
        });
        let engine = engine.map_err(|source| ShelfError::Load {
            model: model.clone(),
            source: Box::new(source),
        })?;
        self.check_at_rest(&model, &dir, &facts)?;
        let backend = ModelBackend::new(engine);
        let backend = match name {
            Some(name) => backend.with_name(name),
            None => backend,
        };
        self.digests.keep(&dir, &facts, backend.identity().digest);
        Ok(Loaded {
            backend: Arc::new(backend),
            dir,
            facts,
        })
    }

    /// Refuses a model whose files were written to while they were read: nobody knows what was loaded.
    fn check_at_rest(&self, model: &str, dir: &Path, facts: &Facts) -> Result<(), ShelfError> {
        let failed = |source| ShelfError::Facts {
            model: model.to_owned(),
            source: Box::new(source),
        };
        let now = Facts::of(dir).map_err(failed)?;
        if now == *facts {
            return Ok(());
        }
        Err(failed(DigestError::Changed { path: dir.to_owned() }))
    }

    fn check_distinct(&self, loaded: &[Loaded]) -> Result<(), ShelfError> {
        for (index, second) in loaded.iter().enumerate() {
            let digest = second.backend.identity().digest;
            let first = loaded.iter().take(index);
            if let Some(first) = first
                .enumerate()
                .find(|(_, first)| first.backend.identity().digest == digest)
            {
                return Err(ShelfError::Twice {
                    first: self.sources[first.0].to_string(),
                    second: self.sources[index].to_string(),
                    digest,
                });
            }
        }
        Ok(())
    }
}

/// What models need that are held at the same time: libtorch and the largest intermediate results count once.
#[must_use]
pub fn bytes_together(needs: &[&Need]) -> u64 {
    let held: u64 = needs
        .iter()
        .map(|need| need.parameter_bytes.saturating_add(need.cache_bytes))
        .fold(0, u64::saturating_add);
    let working = needs.iter().map(|need| need.working_bytes).max().unwrap_or(0);
    held.saturating_add(working)
}

/// Loads again whenever a message comes through `asked`, and hands what changed to `models`; ends with the senders.
pub async fn keep_fresh(mut shelf: Shelf, models: Models<ModelBackend>, mut asked: mpsc::Receiver<()>) {
    while asked.recv().await.is_some() {
        info!("looking at the models again");
        let Some((kept, outcome)) = reload_aside(shelf).await else {
            warn!("models cannot be looked at again in this process");
            return;
        };
        shelf = kept;
        let outcome = match outcome {
            Ok(true) => {
                models.replace(shelf.backends());
                for backend in models.served().iter() {
                    let identity = backend.identity();
                    info!(model = identity.name, digest = %identity.digest, "serves from now on");
                }
                "changed"
            }
            Ok(false) => {
                info!("the models are the same");
                "same"
            }
            Err(error) => {
                let reason = agon_runtime::flags::sentence(&error);
                warn!(reason, "not reloaded, what was served is served on");
                "failed"
            }
        };
        metrics::counter!("agon_miner_reloads_total", "outcome" => outcome).increment(1);
    }
}

/// Reloads on a thread of its own, which ends with the process when nobody waits any more.
async fn reload_aside(mut shelf: Shelf) -> Option<(Shelf, Result<bool, ShelfError>)> {
    aside("agon-reload", move || {
        let outcome = shelf.reload(&mut tell_tenths());
        (shelf, outcome)
    })
    .await
}

/// Does something that blocks on a thread of its own; none where there is no thread to have, or it panicked.
pub async fn aside<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        // Nobody waits when the process is about to end.
        let _ = sender.send(work());
    });
    started.ok()?;
    receiver.await.ok()
}

/// Tells in the log how much is done, ten times for each thing that is done.
pub fn tell_tenths() -> impl FnMut(&'static str, u64, u64) {
    let (mut doing, mut told, mut last) = ("", 0, 0);
    move |now, bytes_done, bytes_total| {
        if now != doing || bytes_done < last {
            (doing, told) = (now, 0);
        }
        last = bytes_done;
        let percent = bytes_done
            .saturating_mul(100)
            .checked_div(bytes_total)
            .unwrap_or(100);
        if percent / 10 > told {
            told = percent / 10;
            info!(percent, bytes_total, "{doing}");
        }
    }
}

#[cfg(test)]
mod tests;
