//! The innermost loops: one panel of a matrix times one tile of rows, for each format and instruction set.
//!
//! All versions take the same arguments: the steps of the panel, and as many steps of the tile. A sum runs over
//! the steps in their order, for itself, whatever the size of the tile.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::level::{Kind, Level};
use crate::lines::{Floats, PANEL};
use crate::matrix::{Format, Step};
use crate::operand::{Group, Layout, Operand, TILE, TileRef};

/// One panel of a matrix.
#[derive(Clone, Copy)]
pub(crate) enum PanelRef<'matrix> {
    F32(&'matrix [Step<f32>]),
    Bf16(&'matrix [Step<[u16; 2]>]),
    Int8(&'matrix [Step<[u8; 4]>], &'matrix [[u16; PANEL]]),
}

/// What a kernel asks memory for while it computes: some lines of each step of another panel.
#[derive(Clone, Copy)]
pub(crate) struct Ahead<'matrix, S> {
    /// As many steps as the panel at hand has.
    steps: &'matrix [S],
    /// A bit for each line.
    lines: u8,
}

fn ahead<'matrix, S>(own: &[S], next: &'matrix [S], lines: u8) -> Ahead<'matrix, S> {
    assert_eq!(own.len(), next.len(), "steps of neighbouring panels");
    Ahead { steps: next, lines }
}

/// Calls `$body::<R>` with the number of rows of `$out` as a constant.
macro_rules! for_rows {
    ($out:expr, $rows:ident => $body:expr) => {
        match $out.len() {
            1 => {
                const $rows: usize = 1;
                $body
            }
            2 => {
                const $rows: usize = 2;
                $body
            }
            3 => {
                const $rows: usize = 3;
                $body
            }
            4 => {
                const $rows: usize = 4;
                $body
            }
            5 => {
                const $rows: usize = 5;
                $body
            }
            6 => {
                const $rows: usize = 6;
                $body
            }
            rows => unreachable!("a tile of {rows} rows, at most {TILE} are made"),
        }
    };
}

/// Sums of one panel for the rows of one tile, `[rows][64]`, while the `lines` of panel `next` whose bit is set are
/// fetched.
///
/// # Panics
///
/// When `out` does not have as many rows as the tile, or panel and tile do not have the same steps.
pub(crate) fn multiply(
    level: Level,
    panel: PanelRef<'_>,
    (next, lines): (PanelRef<'_>, u8),
    tile: TileRef<'_>,
    out: &mut [[f32; PANEL]],
) {
    #[cfg(target_arch = "x86_64")]
    if let (Kind::Amx, PanelRef::Bf16(steps), PanelRef::Bf16(next)) = (level.0, panel, next) {
        return bf16_tile(steps, ahead(steps, next, lines), tile, out);
    }
    for_rows!(out, R => {
        let out = rows_of::<R>(out);
        let (words, _) = tile.words.as_chunks::<R>();
        match (panel, next) {
            (PanelRef::F32(steps), PanelRef::F32(next)) => {
                assert_eq!(steps.len(), words.len(), "steps of panel and tile");
                f32_rows::<4, R>(level, steps, ahead(steps, next, lines), words, out);
            }
            (PanelRef::Bf16(steps), PanelRef::Bf16(next)) => {
                let expected = Layout::of(level, Format::Bf16).words(steps.len());
                assert_eq!(expected, words.len(), "steps of panel and tile");
                bf16_rows::<R>(level, steps, ahead(steps, next, lines), words, out);
            }
            (PanelRef::Int8(steps, scales), PanelRef::Int8(next, _)) => {
                let (groups, _) = tile.groups.as_chunks::<R>();
                assert_eq!(steps.len(), words.len(), "steps of panel and tile");
                assert_eq!(scales.len(), groups.len(), "groups of panel and tile");
                int8_rows::<R>(level, (steps, scales), ahead(steps, next, lines), words, groups, out);
            }
            _ => unreachable!("panels of one matrix have one format"),
        }
    });
}

/// Steps that are widened at a time: so many that their lines stay in the first cache, one of each step at a time.
const WIDENED_STEPS: usize = 64;
/// Tiles from which on it pays to widen a panel once for all of them: with two it was measured to cost a tenth.
const WIDENED_TILES: usize = 3;

/// As [`multiply`] for all tiles of an operand, to the bit, where the kernels of `level` widen `bf16` and it pays to
/// do so once; `false` where nothing was done.
///
/// # Panics
///
/// When `out` does not have a row for each of the operand's, or panel and operand do not have the same steps.
pub(crate) fn multiply_widened(
    level: Level,
    panel: PanelRef<'_>,
    operand: &Operand,
    out: &mut [[f32; PANEL]],
) -> bool {
    let tiles = operand.tiles();
    match panel {
        #[cfg(target_arch = "x86_64")]
        PanelRef::Bf16(steps) if level.0 == Kind::Avx2 && tiles.count() >= WIDENED_TILES => {
            let mut wide = [[[Floats::of(0.0); 4]; 2]; WIDENED_STEPS];
            for (part, steps) in steps.chunks(WIDENED_STEPS).enumerate() {
                let wide = &mut wide[..steps.len()];
                widen(steps, wide);
                for number in 0..tiles.count() {
                    let (first, count) = tiles.at(number);
                    let words = &operand.tile(number).words[part * 2 * WIDENED_STEPS * count..];
                    let words = &words[..2 * steps.len() * count];
                    add_widened(
                        wide.as_flattened(),
                        words,
                        part > 0,
                        &mut out[first..first + count],
                    );
                }
            }
            true
        }
        _ => false,
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the compiler cannot see that the instructions were detected"
)]
fn widen(steps: &[Step<[u16; 2]>], wide: &mut [[Step<f32>; 2]]) {
    // SAFETY: the caller has a `Level` that exists only where the instructions were detected.
    unsafe { avx2::widen(steps, wide) }
}

/// Sums of widened steps for the rows of a tile, added to those in `out` where there are more before.
#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the compiler cannot see that the instructions were detected"
)]
fn add_widened(steps: &[Step<f32>], words: &[u32], is_more: bool, out: &mut [[f32; PANEL]]) {
    for_rows!(out, R => {
        let (words, _) = words.as_chunks::<R>();
        // SAFETY: the caller has a `Level` that exists only where the instructions were detected.
        unsafe { avx2::f32_rows(steps, ahead(steps, steps, 0), words, is_more, rows_of::<R>(out)) }
    });
}

/// Sums of `W` lines of floats for the rows of `inputs`, `[step][rows]`, to the first `16 W` of each row of `out`, while
/// `next` is fetched, if it has as many steps.
///
/// # Panics
///
/// When `out` does not have 1 to 6 rows, or `lines` and `inputs` do not have the same steps.
pub(crate) fn multiply_f32<const W: usize>(
    level: Level,
    lines: &[[Floats; W]],
    next: &[[Floats; W]],
    inputs: &[u32],
    out: &mut [[f32; PANEL]],
) {
    let next = if next.len() == lines.len() {
        ahead(lines, next, (1 << W) - 1)
    } else {
        ahead(lines, lines, 0)
    };
    for_rows!(out, R => {
        let (words, _) = inputs.as_chunks::<R>();
        assert_eq!(lines.len(), words.len(), "steps of lines and inputs");
        f32_rows::<W, R>(level, lines, next, words, rows_of::<R>(out));
    });
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "the compiler cannot see that the instructions were detected"
)]
fn bf16_tile(
    steps: &[Step<[u16; 2]>],
    ahead: Ahead<'_, Step<[u16; 2]>>,
    tile: TileRef<'_>,
    out: &mut [[f32; PANEL]],
) {
    // SAFETY: the caller has a `Level` of this kind, which exists only where the instructions were detected and
    // permitted.
    unsafe { amx::bf16_rows(steps, ahead, tile.words, out) }
}

fn rows_of<const R: usize>(out: &mut [[f32; PANEL]]) -> &mut [[f32; PANEL]; R] {
    out.first_chunk_mut()
        .expect("the caller has looked at the length")
}

#[expect(
    unsafe_code,
    reason = "the compiler cannot see that the instructions were detected"
)]
fn f32_rows<const W: usize, const R: usize>(
    level: Level,
    lines: &[[Floats; W]],
    ahead: Ahead<'_, [Floats; W]>,
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    match level.0 {
        Kind::Portable => portable::f32_rows(lines, inputs, out),
        // SAFETY: a `Level` of this kind exists only where the instructions were detected.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::f32_rows(lines, ahead, inputs, false, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 | Kind::Amx => unsafe { avx512::f32_rows(lines, ahead, inputs, out) },
    }
}

#[expect(
    unsafe_code,
    reason = "the compiler cannot see that the instructions were detected"
)]
fn bf16_rows<const R: usize>(
    level: Level,
    steps: &[Step<[u16; 2]>],
    ahead: Ahead<'_, Step<[u16; 2]>>,
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    match level.0 {
        Kind::Portable => portable::bf16_rows(steps, inputs, out),
        // SAFETY: a `Level` of this kind exists only where the instructions were detected.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::bf16_rows(steps, ahead, inputs, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 | Kind::Amx => unsafe { avx512::bf16_rows(steps, ahead, inputs, out) },
    }
}

#[expect(
    unsafe_code,
    reason = "the compiler cannot see that the instructions were detected"
)]
fn int8_rows<const R: usize>(
    level: Level,
    (steps, scales): (&[Step<[u8; 4]>], &[[u16; PANEL]]),
    ahead: Ahead<'_, Step<[u8; 4]>>,
    inputs: &[[u32; R]],
    groups: &[[Group; R]],
    out: &mut [[f32; PANEL]; R],
) {
    match level.0 {
        Kind::Portable => portable::int8_rows(steps, scales, inputs, groups, out),
        // SAFETY: a `Level` of this kind exists only where the instructions were detected.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => unsafe { avx2::int8_rows(steps, ahead, scales, inputs, groups, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 | Kind::Amx => unsafe { avx512::int8_rows(steps, ahead, scales, inputs, groups, out) },
    }
}
