//! How a model is to be held.

use super::LoadError;
use crate::arithmetic::Arithmetic;
use crate::device::{DeviceChoice, Dtype};

/// How a model is to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// Number format of its parameters; `None` takes `F32` for tiny models on a CPU and `Bf16` for all others.
    pub dtype: Option<Dtype>,
    /// What computes it.
    pub arithmetic: Arithmetic,
    /// Requests answered at the same time. Each holds a key-value cache of `context_tokens_max` tokens.
    pub slots: usize,
    /// Tokens of prompt and answer together, at most; the model's own limit lowers it.
    pub context_tokens_max: usize,
    /// Requests that may wait for a slot; one more is refused.
    pub queue_max: usize,
    /// Threads that share each operation on a CPU. Tiny models are fastest with one. libtorch, where it computes, has
    /// one such number per process, so the engine loaded last decides.
    pub threads: usize,
}

impl Default for LoadOptions {
    /// The best device, 8 slots of 4096 tokens, 64 waiting, one thread.
    fn default() -> Self {
        LoadOptions {
            device: DeviceChoice::Auto,
            dtype: None,
            arithmetic: Arithmetic::Auto,
            slots: 8,
            context_tokens_max: 4096,
            queue_max: 64,
            threads: 1,
        }
    }
}

impl LoadOptions {
    /// Limits far beyond use, which keep every product of sizes in range.
    const SLOTS_MAX: usize = 4096;
    const CONTEXT_TOKENS_MAX: usize = 1 << 24;
    const QUEUE_MAX: usize = 1 << 20;
    const THREADS_MAX: usize = 1024;

    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let options = [
            ("slots", self.slots, Self::SLOTS_MAX),
            (
                "context_tokens_max",
                self.context_tokens_max,
                Self::CONTEXT_TOKENS_MAX,
            ),
            ("queue_max", self.queue_max, Self::QUEUE_MAX),
            ("threads", self.threads, Self::THREADS_MAX),
        ];
        for (option, found, most) in options {
            if found == 0 || found > most {
                return Err(LoadError::Options { option, found, most });
            }
        }
        Ok(())
    }
}
