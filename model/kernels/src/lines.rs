//! Cache lines as the kernels read them: sixteen lanes of four bytes.

/// Lanes of a line, and of a 512-bit register.
pub(crate) const LANES: usize = 16;
/// Rows of a matrix that are computed together: four lines side by side.
pub(crate) const PANEL: usize = 4 * LANES;

/// One aligned cache line; `T` has four bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line<T>(pub(crate) [T; LANES]);

/// An `f32` in each lane.
pub(crate) type Floats = Line<f32>;
/// Two `bf16` in each lane.
pub(crate) type Pairs = Line<[u16; 2]>;
/// Four bytes in each lane.
pub(crate) type Quads = Line<[u8; 4]>;

impl<T: Copy> Line<T> {
    pub(crate) const fn of(lane: T) -> Line<T> {
        const { assert!(size_of::<Line<T>>() == 64) };
        Line([lane; LANES])
    }
}

/// An empty vector with room for `capacity`, on large pages where the system has them to give: with small ones a
/// third of the time goes into finding out where the next page lies.
pub(crate) fn on_large_pages<T>(capacity: usize) -> Vec<T> {
    let room: Vec<T> = Vec::with_capacity(capacity);
    let start = room.as_ptr().addr();
    ask_for_large_pages(start, start + capacity * size_of::<T>());
    room
}

/// Asks for the pages that hold the addresses from `start` to `end`, those on both edges included, so that
/// neighbouring vectors can share one.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the system is told about addresses")]
fn ask_for_large_pages(start: usize, end: usize) {
    /// Less does not come to a large page.
    const LEAST: usize = 1 << 20;
    const PAGE: usize = 4096;
    if end - start < LEAST {
        return;
    }
    let first = start / PAGE * PAGE;
    let length = end.next_multiple_of(PAGE) - first;
    // SAFETY: this advice changes no contents and no access, whatever lies at the addresses; a refusal is no harm.
    unsafe {
        libc::madvise(
            std::ptr::without_provenance_mut(first),
            length,
            libc::MADV_HUGEPAGE,
        )
    };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_large_pages(_: usize, _: usize) {}
