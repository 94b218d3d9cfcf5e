//! One target, its corpus, and the loop that makes more of it.
//!
//! Everything follows from the corpus and the seed, but for the time it takes: the same number of runs from the same
//! seed tries the same inputs.

use std::any::Any;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::coverage::{self, Seen};
use crate::mutate::{Chance, mutate};
use crate::{Target, corpus, meter};

/// Most bytes that a run may have allocated at once. Far above what any valid input takes, far below what a length
/// that is believed takes.
const MEMORY_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Most inputs that are kept in memory; the oldest finds go first.
const INPUTS_MAX: usize = 4_096;

/// An input that broke something.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What it broke, in words.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, what } = self;
        write!(f, "{what}; the input has {} bytes:", input.len())?;
        input
            .iter()
            .take(256)
            .try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Inputs that were tried.
    pub runs: u64,
    /// Inputs in the corpus.
    pub inputs: usize,
    /// Edges of the control flow that were reached; 0 in a build that does not tell.
    pub edges: usize,
    /// Longest run.
    pub slowest: Duration,
}

/// A target that is being fuzzed.
#[derive(Debug)]
pub struct Session {
    target: &'static Target,
    inputs: Vec<Vec<u8>>,
    /// Those that reached something new in this session, in order.
    finds: Vec<Vec<u8>>,
    seen: Seen,
    chance: Chance,
    runs: u64,
    slowest: Duration,
}

impl Session {
    /// A session without inputs.
    #[must_use]
    pub fn new(target: &'static Target, seed: u64) -> Self {
        Self {
            target,
            inputs: Vec::new(),
            finds: Vec::new(),
            seen: Seen::default(),
            chance: Chance::new(ChaCha8Rng::seed_from_u64(seed)),
            runs: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Tries the seeds that the target makes itself, and what the corpus in the repository has.
    ///
    /// # Errors
    ///
    /// The first input that breaks something.
    ///
    /// # Panics
    ///
    /// When the corpus cannot be read.
    pub fn try_corpus(&mut self) -> Result<(), Finding> {
        let seeds = (self.target.seeds)();
        let files = corpus::read(&corpus::folder(), self.target).expect("the checkout can be read");
        let files = files.into_iter().map(|(_, input)| input);
        for input in seeds.into_iter().chain(files) {
            let is_new = self.try_input(&input)?;
            if is_new || !coverage::is_instrumented() {
                self.inputs.push(input);
            }
        }
        self.finds.clear();
        Ok(())
    }

    /// Tries one input made of those that are there.
    ///
    /// # Errors
    ///
    /// The input, if it breaks something.
    pub fn step(&mut self) -> Result<(), Finding> {
        let (first, other) = (self.pick(), self.pick());
        let input = mutate(&mut self.chance, &first, &other, self.target.bytes_max);
        if self.try_input(&input)? {
            if self.inputs.len() == INPUTS_MAX {
                self.inputs.remove(0);
            }
            self.inputs.push(input.clone());
            self.finds.push(input);
        }
        Ok(())
    }

    /// Newer inputs are picked more often: what was just reached is where there is more to find.
    fn pick(&mut self) -> Vec<u8> {
        let count = self.inputs.len();
        let index = if self.chance.below(2) == 0 {
            self.chance.below(count)
        } else {
            count.saturating_sub(1 + self.chance.below(count.min(32)))
        };
        self.inputs.get(index).cloned().unwrap_or_default()
    }

    /// Tries an input; says whether it reached something new.
    ///
    /// # Errors
    ///
    /// The input, if it breaks something.
    pub fn try_input(&mut self, input: &[u8]) -> Result<bool, Finding> {
        let begun = Instant::now();
        let memory = meter::begin();
        coverage::reset();
        let run = panic::catch_unwind(AssertUnwindSafe(|| (self.target.run)(input)));
        let news = self.seen.add();
        let taken = meter::most_since(memory);
        self.runs += 1;
        self.slowest = self.slowest.max(begun.elapsed());
        let finding = |what| Finding {
            input: input.to_vec(),
            what,
        };
        if let Err(panic) = run {
            return Err(finding(words(&*panic)));
        }
        if taken > MEMORY_BYTES_MAX {
            let what = format!("it took {taken} bytes of memory, {MEMORY_BYTES_MAX} at most");
            return Err(finding(what));
        }
        Ok(news.is_any())
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            runs: self.runs,
            inputs: self.inputs.len(),
            edges: self.seen.edges(),
            slowest: self.slowest,
        }
    }

    /// What reached something new since the corpus was tried.
    #[must_use]
    pub fn finds(&self) -> &[Vec<u8>] {
        &self.finds
    }
}

/// Of `inputs` those that reach most beyond the target's own seeds, `count` at most and the shorter ones first: what
/// a corpus in a repository needs.
#[must_use]
pub fn distilled(target: &'static Target, mut inputs: Vec<Vec<u8>>, count: usize) -> Vec<Vec<u8>> {
    let mut seen = Seen::default();
    let mut added = |input: &[u8]| {
        coverage::reset();
        let run = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let edges = seen.add().edges;
        if run.is_ok() { edges } else { 0 }
    };
    for seed in (target.seeds)() {
        added(&seed);
    }
    inputs.sort_by_key(Vec::len);
    let mut by_edges: Vec<(usize, Vec<u8>)> = inputs
        .into_iter()
        .map(|input| (added(&input), input))
        .filter(|(edges, _)| *edges > 0)
        .collect();
    by_edges.sort_by_key(|(edges, _)| std::cmp::Reverse(*edges));
    by_edges.truncate(count);
    by_edges.into_iter().map(|(_, input)| input).collect()
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panicked: {}", text.unwrap_or("without words"))
}
