//! The loops with 256-bit registers: a line of a step in two of them, and a sum for each half and row.
//!
//! Numbers in `bf16` are multiplied in 32 bits: rows come widened, and lines are widened as they are read, or all of a
//! panel once where many tiles go through it.
//!
//! Sixteen registers hold the sums of four lines for one row, of two lines for up to three, of one line for six. So a
//! panel is gone through once, twice or four times, some lines of each step at a time. The first pass asks for all
//! lines: memory is read once and from end to end, and later passes find the panel in the cache.

use std::arch::x86_64::*;

use crate::lines::{Floats, LANES, Line, PANEL, Pairs, Quads};
use crate::matrix::{GROUP_STEPS, Step};
use crate::operand::Group;
use crate::tile::Ahead;

/// The two halves of a line.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "a load goes through a pointer")]
fn load<T>(line: &Line<T>) -> [__m256i; 2] {
    let half: *const __m256i = std::ptr::from_ref(line).cast();
    // SAFETY: a line has 64 bytes, aligned to 64 bytes, all of them initialised: two registers' worth.
    unsafe { [_mm256_load_si256(half), _mm256_load_si256(half.add(1))] }
}

#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "a store goes through a pointer")]
fn store(numbers: [__m256; 2], out: &mut [f32; LANES]) {
    let half = out.as_mut_ptr();
    // SAFETY: sixteen floats are the two times 32 bytes that are written; no alignment is asked for.
    unsafe {
        _mm256_storeu_ps(half, numbers[0]);
        _mm256_storeu_ps(half.add(8), numbers[1]);
    }
}

/// Asks the second cache for those lines of a step whose bit is set.
#[target_feature(enable = "avx2")]
#[inline]
fn fetch<T, const W: usize>(step: &[Line<T>; W], lines: u8) {
    for (index, line) in step.iter().enumerate() {
        if lines & (1 << index) != 0 {
            _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast());
        }
    }
}

/// Calls `$pass::<L, ..>(first, ..)` for `L` lines of a step of `$width` at a time, from line 0 on: as many as the
/// registers hold the sums of.
macro_rules! for_lines {
    ($pass:ident, $rows:ident, $width:expr, ($($argument:expr),*)) => {
        if $rows == 1 && $width == 4 {
            $pass::<4, $rows, $width>(0, $($argument),*);
        } else if $rows <= 3 && $width > 1 {
            for first in (0..$width).step_by(2) {
                $pass::<2, $rows, $width>(first, $($argument),*);
            }
        } else {
            for first in 0..$width {
                $pass::<1, $rows, $width>(first, $($argument),*);
            }
        }
    };
}

/// What a pass over `count` lines from `first` on fetches of its own steps and of the next panel's: in the first pass
/// every line that it does not read itself, so that memory is read from end to end.
fn fetched(first: usize, count: usize, ahead: u8) -> (u8, u8) {
    if first == 0 {
        (!((1 << count) - 1), ahead)
    } else {
        (0, 0)
    }
}

/// Sums are added to those in `out` where there are more before.
#[target_feature(enable = "avx2,fma")]
pub(super) fn f32_rows<const W: usize, const R: usize>(
    lines: &[[Floats; W]],
    ahead: Ahead<'_, [Floats; W]>,
    inputs: &[[u32; R]],
    is_more: bool,
    out: &mut [[f32; PANEL]; R],
) {
    for_lines!(f32_pass, R, W, (lines, ahead, inputs, is_more, out));
}

#[target_feature(enable = "avx2,fma")]
fn f32_pass<const L: usize, const R: usize, const W: usize>(
    first: usize,
    steps: &[[Floats; W]],
    ahead: Ahead<'_, [Floats; W]>,
    inputs: &[[u32; R]],
    is_more: bool,
    out: &mut [[f32; PANEL]; R],
) {
    let (own, next_lines) = fetched(first, L, ahead.lines);
    let mut sums = [[[_mm256_setzero_ps(); 2]; L]; R];
    if is_more {
        load_lines(first, &mut sums, out);
    }
    for ((step, next), inputs) in steps.iter().zip(ahead.steps).zip(inputs) {
        fetch(step, own);
        fetch(next, next_lines);
        for line in 0..L {
            let halves = load(&step[first + line]).map(|half| _mm256_castsi256_ps(half));
            for (sums, &input) in sums.iter_mut().zip(inputs) {
                let input = _mm256_set1_ps(f32::from_bits(input));
                for (sum, half) in sums[line].iter_mut().zip(halves) {
                    *sum = _mm256_fmadd_ps(half, input, *sum);
                }
            }
        }
    }
    store_lines(first, &sums, out);
}

/// The even and the odd columns of a line, in 32 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn widened(line: &Pairs) -> [[__m256; 2]; 2] {
    let halves = load(line);
    let even = halves.map(|half| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(half)));
    let odd = halves
        .map(|half| _mm256_castsi256_ps(_mm256_and_si256(half, _mm256_set1_epi32(0xffff_0000_u32 as i32))));
    [even, odd]
}

/// Writes the columns of each step in 32 bits, even and odd ones to a step each.
#[target_feature(enable = "avx2")]
pub(super) fn widen(steps: &[Step<[u16; 2]>], wide: &mut [[Step<f32>; 2]]) {
    for (step, [even, odd]) in steps.iter().zip(wide) {
        for ((line, even), odd) in step.iter().zip(even).zip(odd) {
            let [even_columns, odd_columns] = widened(line);
            store(even_columns, &mut even.0);
            store(odd_columns, &mut odd.0);
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn bf16_rows<const R: usize>(
    steps: &[Step<[u16; 2]>],
    ahead: Ahead<'_, Step<[u16; 2]>>,
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    let (inputs, _) = inputs.as_chunks::<2>();
    for_lines!(bf16_pass, R, 4, (steps, ahead, inputs, out));
}

#[target_feature(enable = "avx2,fma")]
fn bf16_pass<const L: usize, const R: usize, const W: usize>(
    first: usize,
    steps: &[[Pairs; W]],
    ahead: Ahead<'_, [Pairs; W]>,
    inputs: &[[[u32; R]; 2]],
    out: &mut [[f32; PANEL]; R],
) {
    let (own, next_lines) = fetched(first, L, ahead.lines);
    let mut sums = [[[_mm256_setzero_ps(); 2]; L]; R];
    for ((step, next), [even_inputs, odd_inputs]) in steps.iter().zip(ahead.steps).zip(inputs) {
        fetch(step, own);
        fetch(next, next_lines);
        for line in 0..L {
            let [even, odd] = widened(&step[first + line]);
            let inputs = even_inputs.iter().zip(odd_inputs);
            for (sums, (&even_input, &odd_input)) in sums.iter_mut().zip(inputs) {
                let even_input = _mm256_set1_ps(f32::from_bits(even_input));
                let odd_input = _mm256_set1_ps(f32::from_bits(odd_input));
                for half in 0..2 {
                    let sum = &mut sums[line][half];
                    *sum = _mm256_fmadd_ps(even[half], even_input, *sum);
                    *sum = _mm256_fmadd_ps(odd[half], odd_input, *sum);
                }
            }
        }
    }
    store_lines(first, &sums, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn int8_rows<const R: usize>(
    steps: &[Step<[u8; 4]>],
    ahead: Ahead<'_, Step<[u8; 4]>>,
    scales: &[[u16; PANEL]],
    inputs: &[[u32; R]],
    groups: &[[Group; R]],
    out: &mut [[f32; PANEL]; R],
) {
    for_lines!(int8_pass, R, 4, (steps, ahead, scales, inputs, groups, out));
}

#[target_feature(enable = "avx2,fma")]
fn int8_pass<const L: usize, const R: usize, const W: usize>(
    first: usize,
    steps: &[[Quads; W]],
    ahead: Ahead<'_, [Quads; W]>,
    scales: &[[u16; PANEL]],
    inputs: &[[u32; R]],
    groups: &[[Group; R]],
    out: &mut [[f32; PANEL]; R],
) {
    let (own, next_lines) = fetched(first, L, ahead.lines);
    let mut out_sums = [[[_mm256_setzero_ps(); 2]; L]; R];
    let steps = steps.as_chunks::<GROUP_STEPS>().0.iter();
    let next = ahead.steps.as_chunks::<GROUP_STEPS>().0.iter();
    let inputs = inputs.as_chunks::<GROUP_STEPS>().0.iter();
    for ((((steps, next), inputs), scales), groups) in steps.zip(next).zip(inputs).zip(scales).zip(groups) {
        for (step, next) in steps.iter().zip(next) {
            fetch(step, own);
            fetch(next, next_lines);
        }
        let sums = group_sums::<L, R, W>(first, steps, inputs, groups);
        for line in 0..L {
            let scales = load_scales(first + line, scales);
            for ((out_sums, sums), group) in out_sums.iter_mut().zip(&sums).zip(groups) {
                let own = _mm256_set1_ps(group.scale);
                for half in 0..2 {
                    let scale = _mm256_mul_ps(scales[half], own);
                    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[line][half]), scale);
                    out_sums[line][half] = _mm256_add_ps(out_sums[line][half], product);
                }
            }
        }
    }
    store_lines(first, &out_sums, out);
}

/// Products of one group. Bytes are widened to 16 bits, even and odd ones apart, so that no sum saturates.
#[target_feature(enable = "avx2")]
#[inline]
fn group_sums<const L: usize, const R: usize, const W: usize>(
    first: usize,
    steps: &[[Quads; W]; GROUP_STEPS],
    inputs: &[[u32; R]; GROUP_STEPS],
    groups: &[Group; R],
) -> [[[__m256i; 2]; L]; R] {
    let mut sums: [[[__m256i; 2]; L]; R] =
        std::array::from_fn(|row| [[_mm256_set1_epi32(groups[row].correction); 2]; L]);
    for (step, inputs) in steps.iter().zip(inputs) {
        for line in 0..L {
            let halves = load(&step[first + line]);
            let even = halves.map(|half| _mm256_and_si256(half, _mm256_set1_epi16(0xff)));
            let odd = halves.map(|half| _mm256_srli_epi16::<8>(half));
            for (sums, &input) in sums.iter_mut().zip(inputs) {
                let input = _mm256_set1_epi32(input as i32);
                let even_input = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(input));
                let odd_input = _mm256_srai_epi16::<8>(input);
                for half in 0..2 {
                    let sum = &mut sums[line][half];
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(even[half], even_input));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(odd[half], odd_input));
                }
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_scales(line: usize, scales: &[u16; PANEL]) -> [__m256; 2] {
    let (chunks, _) = scales.as_chunks::<8>();
    [0, 1].map(|half| {
        let wide = _mm256_cvtepu16_epi32(load_quarter(&chunks[2 * line + half]));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
    })
}

#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "a load goes through a pointer")]
fn load_quarter(numbers: &[u16; 8]) -> __m128i {
    // SAFETY: eight numbers are the 16 bytes that are read; no alignment is asked for.
    unsafe { _mm_loadu_si128(numbers.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load_lines<const L: usize, const R: usize>(
    first: usize,
    sums: &mut [[[__m256; 2]; L]; R],
    out: &[[f32; PANEL]; R],
) {
    for (sums, row) in sums.iter_mut().zip(out) {
        for (sums, out) in sums.iter_mut().zip(&row.as_chunks().0[first..]) {
            *sums = load_sums(out);
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "a load goes through a pointer")]
fn load_sums(out: &[f32; LANES]) -> [__m256; 2] {
    let half = out.as_ptr();
    // SAFETY: sixteen floats are the two times 32 bytes that are read; no alignment is asked for.
    unsafe { [_mm256_loadu_ps(half), _mm256_loadu_ps(half.add(8))] }
}

#[target_feature(enable = "avx2")]
#[inline]
fn store_lines<const L: usize, const R: usize>(
    first: usize,
    sums: &[[[__m256; 2]; L]; R],
    out: &mut [[f32; PANEL]; R],
) {
    for (row, sums) in out.iter_mut().zip(sums) {
        for (out, &sums) in row.as_chunks_mut().0[first..].iter_mut().zip(sums) {
            store(sums, out);
        }
    }
}
