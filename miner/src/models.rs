//! The models that a miner serves, and which of them answers a challenge.
//!
//! A task may pin a model by its name, `inference-` and the first half of the digest; whatever pins none is answered
//! by the first model. The set may be replaced while the miner serves: a challenge keeps the model that it was given,
//! and a model ends when its last answer has.

use std::sync::Arc;
use std::time::Duration;

use agon_protocol::message::{Axon, AxonModel};
use agon_runtime::shutdown::Shutdown;
use agon_subnets::inference::Inference;
use agon_subnets::{ModelPin, Task};
use tokio::sync::watch;

use crate::admission::Refusal;
use crate::backend::Backend;

/// Most models of one miner: as many as the ledger takes of an axon.
pub const MODELS_MAX: usize = Axon::MODELS_MAX;
/// Pause between two looks at what the engines do, for the metrics.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// The models that are served now; cheap to clone, and clones are the same.
#[derive(Debug)]
pub struct Models<B>(Arc<watch::Sender<Served<B>>>);

/// Models in the order in which they were named.
pub type Served<B> = Arc<[Arc<B>]>;

impl<B> Clone for Models<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> Models<B> {
    /// Serves one model.
    #[must_use]
    pub fn one(backend: B) -> Self {
        Self::new(vec![Arc::new(backend)])
    }

    /// Serves these models; the first is the default.
    ///
    /// # Panics
    ///
    /// When there are none or more than [`MODELS_MAX`]: our own mistake.
    #[must_use]
    pub fn new(backends: Vec<Arc<B>>) -> Self {
        Self(Arc::new(watch::Sender::new(checked(backends))))
    }

    /// What is served now.
    #[must_use]
    pub fn served(&self) -> Served<B> {
        self.0.borrow().clone()
    }

    /// Serves other models from now on.
    ///
    /// # Panics
    ///
    /// As [`Models::new`].
    pub fn replace(&self, backends: Vec<Arc<B>>) {
        metrics::gauge!("agon_miner_models").set(backends.len() as f64);
        self.0.send_replace(checked(backends));
    }

    /// Where the next set of models appears.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Served<B>> {
        self.0.subscribe()
    }

    /// Tells the metrics how all of them are doing, until shutdown.
    pub async fn keep_told(self, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(TOLD_EVERY);
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                _ = ticks.tick() => self.served().iter().for_each(|backend| backend.tell()),
            }
        }
    }

    /// The model that answers challenges of `task`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Model`] when the task pins one that is not served.
    pub fn choose(&self, task: &str) -> Result<Arc<B>, Refusal> {
        let served = self.0.borrow();
        let found = match pin_of(task) {
            None => served.first(),
            Some(pin) => served
                .iter()
                .find(|backend| ModelPin::of(&backend.identity().digest.0) == pin),
        };
        found.cloned().ok_or_else(|| Refusal::Model {
            task: task.to_owned(),
            served: served.len(),
        })
    }
}

/// What the ledger is told of the models.
#[must_use]
pub fn announced<B: Backend>(served: &[Arc<B>]) -> Vec<AxonModel> {
    let identities = served.iter().map(|backend| backend.identity());
    identities
        .map(|identity| AxonModel::named(identity.digest, &identity.name))
        .collect()
}

/// The model that a task pins by its name.
fn pin_of(task: &str) -> Option<ModelPin> {
    Inference::parse(task).and_then(|task| task.model())
}

fn checked<B>(backends: Vec<Arc<B>>) -> Served<B> {
    assert!(
        (1..=MODELS_MAX).contains(&backends.len()),
        "a miner serves 1 to {MODELS_MAX} models, not {}",
        backends.len()
    );
    backends.into()
}
