//! Threads that share one piece of work at a time.
//!
//! A decoding step is a row of short pieces, some microseconds each: too short to wake a sleeping thread for every
//! one. A worker that has nothing to do therefore looks for the next piece for a bounded while, about
//! [`LOOKS`] looks or 20 us, and then sleeps until it is called. A thread never waits for one that has not begun: whoever
//! is there takes the next part, so that a worker which the system has put aside delays at most the part it holds.

use std::cell::UnsafeCell;
use std::fmt;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// How often a worker looks for work before it sleeps, and a caller for the end of work before it lets others run.
const LOOKS: usize = 1500;

/// The caller's thread and a number of workers.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A piece of work: returns when no part of it is left.
type Body<'work> = dyn Fn() + Sync + 'work;

struct Shared {
    /// Number of the piece in the upper half; [`OPEN`] while workers may enter; how many are in it.
    state: AtomicU64,
    body: UnsafeCell<Option<*const Body<'static>>>,
    has_panicked: AtomicBool,
    is_ending: AtomicBool,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

const PIECE: u64 = 1 << 32;
const OPEN: u64 = 1 << 31;
const WORKERS: u64 = OPEN - 1;

// SAFETY: `body` is written by the pool's only caller while the piece before is closed and empty, and read by
// workers that have entered an open piece; the pointer leads to a `Sync` closure that outlives the piece.
#[expect(
    unsafe_code,
    reason = "the cell is guarded by `state`, which the compiler cannot see"
)]
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is not used outside an open piece.
#[expect(
    unsafe_code,
    reason = "the cell is guarded by `state`, which the compiler cannot see"
)]
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` threads, the caller's included; fewer where the system has no more to give.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            body: UnsafeCell::new(None),
            has_panicked: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let start = |_| {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name("agon-kernels".to_owned());
            builder.spawn(move || shared.work()).ok()
        };
        let workers = (1..threads).map_while(start).collect();
        Pool { shared, workers }
    }

    /// Threads that take part, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `each` with every item and its index, `grain` neighbours at a time on one thread.
    ///
    /// # Panics
    ///
    /// When `each` did.
    pub fn for_each<T: Send>(&mut self, items: &mut [T], grain: usize, each: impl Fn(usize, &mut T) + Sync) {
        let grain = grain.max(1);
        if self.workers.is_empty() || items.len() <= grain {
            for (index, item) in items.iter_mut().enumerate() {
                each(index, item);
            }
            return;
        }
        let parts: Vec<Mutex<Option<&mut [T]>>> = items
            .chunks_mut(grain)
            .map(|part| Mutex::new(Some(part)))
            .collect();
        let regions = Regions::new(parts.len(), self.threads());
        self.run(&|| {
            regions.visit(|index| {
                let taken = parts[index].lock().unwrap_or_else(PoisonError::into_inner).take();
                for (offset, item) in taken.into_iter().flatten().enumerate() {
                    each(index * grain + offset, item);
                }
            });
        });
    }

    /// Runs `body` on this thread and on every worker that comes in time; returns when all of them have left it.
    fn run(&mut self, body: &Body<'_>) {
        let shared = &*self.shared;
        shared.open(body);
        let closing = Closing(shared);
        body();
        drop(closing);
        if shared.has_panicked.swap(false, Ordering::Relaxed) {
            panic!("a part of the work panicked on another thread");
        }
    }
}

/// Parts in one region for each thread: a thread goes through its own from end to end, as memory likes it, and then
/// helps with the others'.
struct Regions {
    /// The part of each region that is taken next, and the one behind its last.
    parts: Vec<(AtomicUsize, usize)>,
    /// Threads that have come.
    arrived: AtomicUsize,
}

impl Regions {
    fn new(parts: usize, threads: usize) -> Regions {
        let end_of = |region: usize| parts * region / threads;
        Regions {
            parts: (0..threads)
                .map(|region| (AtomicUsize::new(end_of(region)), end_of(region + 1)))
                .collect(),
            arrived: AtomicUsize::new(0),
        }
    }

    /// Calls `visit` with every part that no other thread takes.
    fn visit(&self, visit: impl Fn(usize)) {
        let own = self.arrived.fetch_add(1, Ordering::Relaxed);
        for offset in 0..self.parts.len() {
            let (next, end) = &self.parts[(own + offset) % self.parts.len()];
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= *end {
                    break;
                }
                visit(part);
            }
        }
    }
}

/// Closes the piece and waits for its workers, also when the caller's own part panicked: what the body borrows
/// must outlive them.
struct Closing<'pool>(&'pool Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shared {
    #[expect(
        unsafe_code,
        reason = "workers borrow the body for the time in which its piece is open"
    )]
    fn open(&self, body: &Body<'_>) {
        let body: *const Body<'_> = body;
        // SAFETY: only the lifetime changes. `Closing` waits until every worker has left the body, before the
        // caller's borrow can end.
        let body: *const Body<'static> = unsafe { std::mem::transmute(body) };
        // SAFETY: the piece before is closed and empty, and the caller holds the pool alone: nobody reads now.
        unsafe { *self.body.get() = Some(body) };
        let piece = (self.state.load(Ordering::Relaxed) / PIECE).wrapping_add(1);
        // The store and the look at the sleepers keep their order, as those in `sleep_until_open` do: one of the
        // two sees the other.
        self.state
            .store(piece.wrapping_mul(PIECE) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake_all();
        }
    }

    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while self.state.load(Ordering::Acquire) & WORKERS != 0 {
            looks += 1;
            if looks < LOOKS {
                spin_loop();
            } else {
                thread::yield_now();
            }
        }
    }

    fn wake_all(&self) {
        drop(self.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }

    /// The life of a worker.
    fn work(&self) {
        let mut seen = 0;
        while let Some(state) = self.wait_until_open(seen) {
            let entered = self
                .state
                .compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed);
            if entered.is_ok() {
                self.take_part();
                self.state.fetch_sub(1, Ordering::Release);
                seen = state / PIECE;
            }
        }
    }

    #[expect(
        unsafe_code,
        reason = "the body is borrowed for the time in which its piece is open"
    )]
    fn take_part(&self) {
        // SAFETY: this worker has entered an open piece, so the body was written before and stays until it leaves.
        let body = unsafe { *self.body.get() };
        let Some(body) = body else { return };
        // SAFETY: as above.
        let body = unsafe { &*body };
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            self.has_panicked.store(true, Ordering::Relaxed);
        }
    }

    /// The state of a piece that is open and is not `seen`; `None` when the pool ends.
    fn wait_until_open(&self, seen: u64) -> Option<u64> {
        for _ in 0..LOOKS {
            if let Some(state) = self.open_piece(seen) {
                return Some(state);
            }
            spin_loop();
        }
        self.sleep_until_open(seen)
    }

    fn sleep_until_open(&self, seen: u64) -> Option<u64> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        let found = loop {
            if self.is_ending.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(state) = self.open_piece(seen) {
                break Some(state);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        drop(guard);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        found
    }

    fn open_piece(&self, seen: u64) -> Option<u64> {
        let state = self.state.load(Ordering::SeqCst);
        (state & OPEN != 0 && state / PIECE != seen).then_some(state)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its parts throw, so there is nothing to learn from its end.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("threads", &self.threads())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(threads: usize, count: usize, grain: usize) {
        let mut pool = Pool::new(threads);
        for round in 0..50 {
            let mut items = vec![0; count];
            pool.for_each(&mut items, grain, |index, item| *item += index + round);
            let expected: Vec<usize> = (0..count).map(|index| index + round).collect();
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn every_item_is_visited_once_whatever_the_threads_and_the_grain() {
        for threads in [0, 1, 2, 5] {
            for count in [0, 1, 2, 7, 1000] {
                for grain in [0, 1, 3, 2000] {
                    check(threads, count, grain);
                }
            }
        }
    }

    #[test]
    fn workers_that_fell_asleep_take_part_again() {
        let mut pool = Pool::new(2);
        for _ in 0..20 {
            while pool.shared.sleepers.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            let mut items = [0; 64];
            pool.for_each(&mut items, 1, |index, item| *item = index);
            assert_eq!(items[63], 63);
        }
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller_and_leaves_the_pool_usable() {
        let mut pool = Pool::new(3);
        for bad in 0..40 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.for_each(&mut [(); 40], 1, |index, ()| assert_ne!(index, bad));
            }));
            assert!(result.is_err());
        }
        check(3, 100, 1);
    }
}
