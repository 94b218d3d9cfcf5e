//! Which code a run reached.
//!
//! A build with LLVM's inline 8-bit counters has one byte for each edge of the control flow, all in one piece of
//! memory, and tells where that is before `main`. A run's edges, each with how often in eight steps, are compared
//! with all that were seen before.

#![expect(
    unsafe_code,
    unreachable_pub,
    reason = "LLVM hands over its counters as raw addresses, by a function of a fixed name that the linker finds"
)]

use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// First counter; null in a build that is not instrumented.
static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// How many counters there are.
static LEN: AtomicUsize = AtomicUsize::new(0);

/// Called by code that LLVM adds to each instrumented unit, before `main`. All units of a binary share one section,
/// so that all calls name the same counters.
///
/// # Safety
///
/// `start..stop` has to be memory that lasts as long as the process and that nobody but the counting code writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let len = (stop as usize).saturating_sub(start as usize);
    if len > LEN.load(Ordering::Relaxed) {
        START.store(start, Ordering::Relaxed);
        LEN.store(len, Ordering::Relaxed);
    }
}

/// Whether this build tells which code a run reached.
#[must_use]
pub fn is_instrumented() -> bool {
    LEN.load(Ordering::Relaxed) > 0
}

/// The edges that any run has reached.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// For each counter a bit for each step of how often.
    steps: Vec<u8>,
    /// Counters that were ever above 0.
    edges: usize,
}

/// What a run added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Edges that no run had reached.
    pub(crate) edges: usize,
    /// Edges that no run had reached so often, or so seldom.
    pub(crate) steps: usize,
}

impl News {
    pub(crate) fn is_any(self) -> bool {
        self.steps > 0
    }
}

impl Seen {
    /// Edges reached so far.
    pub(crate) fn edges(&self) -> usize {
        self.edges
    }

    /// Adds what the counters say.
    pub(crate) fn add(&mut self) -> News {
        let (start, len) = (START.load(Ordering::Relaxed), LEN.load(Ordering::Relaxed));
        if len == 0 {
            return News::default();
        }
        self.steps.resize(len, 0);
        // SAFETY: LLVM gave the address and the length; the memory is a static section of this binary. No other thread
        // runs instrumented code while counters are read, and a count that is off by one would change nothing else.
        let counters = unsafe { std::slice::from_raw_parts(start, len) };
        let mut news = News::default();
        let words = counters.chunks(8).zip(self.steps.chunks_mut(8));
        for (counts, steps) in words {
            if counts.iter().all(|count| *count == 0) {
                continue;
            }
            for (count, seen) in counts.iter().zip(steps) {
                let step = step(*count);
                if *seen & step != step {
                    news.steps += 1;
                    news.edges += usize::from(*seen == 0);
                    *seen |= step;
                }
            }
        }
        self.edges += news.edges;
        news
    }
}

/// Sets all counters to 0.
pub(crate) fn reset() {
    let (start, len) = (START.load(Ordering::Relaxed), LEN.load(Ordering::Relaxed));
    if len > 0 {
        // SAFETY: as in `Seen::add`.
        unsafe { std::ptr::write_bytes(start, 0, len) };
    }
}

/// A bit for how often an edge was passed.
fn step(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 1 << 1,
        3 => 1 << 2,
        4..=7 => 1 << 3,
        8..=15 => 1 << 4,
        16..=31 => 1 << 5,
        32..=127 => 1 << 6,
        128.. => 1 << 7,
    }
}
