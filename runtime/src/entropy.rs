//! The one place random bytes come from: the operating system, or a seed that makes a run repeatable.
//!
//! Draws that others must be able to check (miners, items, seeds of a round) do not come from here but from a VRF.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, OsRng, RngCore, SeedableRng};

/// The domain of [`Entropy::fork`]'s key derivation.
const FORK_CONTEXT: &str = "agon 2025-11 runtime entropy fork";

/// A source of random bytes; cheap to clone, and clones draw from one stream.
///
/// A seeded source is as predictable as its seed, and what each of several tasks gets from one stream depends on
/// the order in which they ask: give each its own with [`fork`](Self::fork).
#[derive(Clone)]
pub struct Entropy(Source);

#[derive(Clone)]
enum Source {
    Os,
    Seeded {
        seed: [u8; 32],
        stream: Arc<Mutex<ChaCha20Rng>>,
    },
}

impl Entropy {
    /// The operating system's generator: for keys, nonces and salts of real processes.
    pub fn os() -> Self {
        Self(Source::Os)
    }

    /// ChaCha20 from `seed`: the same bytes in every run. For simulations and tests only.
    pub fn seeded(seed: [u8; 32]) -> Self {
        Self(Source::Seeded {
            seed,
            stream: Arc::new(Mutex::new(ChaCha20Rng::from_seed(seed))),
        })
    }

    /// A source for the part called `label`, independent of every other part and of what was drawn so far.
    ///
    /// From a seeded source, the same label gives the same stream.
    pub fn fork(&self, label: &str) -> Self {
        match &self.0 {
            Source::Os => Self::os(),
            Source::Seeded { seed, .. } => {
                let mut hasher = blake3::Hasher::new_derive_key(FORK_CONTEXT);
                hasher.update(seed).update(label.as_bytes());
                Self::seeded(*hasher.finalize().as_bytes())
            }
        }
    }

    /// A generator over this source, to be handed to whoever wants `RngCore + CryptoRng`.
    ///
    /// # Panics
    ///
    /// Drawing from it panics when the operating system has no random bytes to give.
    pub fn rng(&self) -> EntropyRng {
        EntropyRng(self.0.clone())
    }

    /// 32 random bytes: a key, a salt or a seed.
    pub fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Os => "Entropy::os",
            Source::Seeded { .. } => "Entropy::seeded",
        })
    }
}

/// A generator over an [`Entropy`], for interfaces that take one.
#[derive(Clone)]
pub struct EntropyRng(Source);

impl fmt::Debug for EntropyRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntropyRng")
    }
}

impl RngCore for EntropyRng {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        match &self.0 {
            Source::Os => OsRng.fill_bytes(dest),
            Source::Seeded { stream, .. } => {
                stream
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .fill_bytes(dest);
            }
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        match &self.0 {
            Source::Os => OsRng.try_fill_bytes(dest),
            Source::Seeded { .. } => {
                self.fill_bytes(dest);
                Ok(())
            }
        }
    }
}

impl CryptoRng for EntropyRng {}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn a_seed_gives_the_same_bytes_in_every_run() {
        let first = Entropy::seeded(SEED);
        let second = Entropy::seeded(SEED);
        assert_eq!(first.bytes32(), second.bytes32());
        assert_eq!(first.rng().next_u64(), second.rng().next_u64());
    }

    #[test]
    fn clones_draw_from_one_stream() {
        let source = Entropy::seeded(SEED);
        let drawn = [source.bytes32(), source.clone().bytes32(), source.bytes32()];
        let mut expected = [[0; 32]; 3];
        let mut stream = ChaCha20Rng::from_seed(SEED);
        expected.iter_mut().for_each(|bytes| stream.fill_bytes(bytes));
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_fork_does_not_depend_on_what_was_drawn_before() {
        let source = Entropy::seeded(SEED);
        let early = source.fork("miner 3").bytes32();
        source.bytes32();
        assert_eq!(source.fork("miner 3").bytes32(), early);
        assert_ne!(source.fork("miner 4").bytes32(), early);
    }

    #[test]
    fn the_operating_system_does_not_repeat_itself() {
        assert_ne!(Entropy::os().bytes32(), Entropy::os().bytes32());
        assert_ne!(
            Entropy::os().fork("a").bytes32(),
            Entropy::os().fork("a").bytes32()
        );
    }

    #[test]
    fn debug_output_shows_no_seed() {
        assert_eq!(
            format!("{:?} {:?}", Entropy::seeded(SEED), Entropy::os()),
            "Entropy::seeded Entropy::os"
        );
    }
}
