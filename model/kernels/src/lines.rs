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
