//! The loops with 512-bit registers: four lines of a step in four of them, and a sum for each line and row.

use std::arch::x86_64::*;

use crate::lines::{Floats, LANES, Line, PANEL};
use crate::matrix::{GROUP_STEPS, Step};
use crate::operand::Group;
use crate::tile::Ahead;

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "a load goes through a pointer")]
fn load<T>(line: &Line<T>) -> __m512i {
    // SAFETY: a line has 64 bytes, aligned to 64 bytes, all of them initialised.
    unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
}

/// Asks the second cache for those lines of a step whose bit is set.
#[target_feature(enable = "avx512f")]
#[inline]
fn fetch<T, const W: usize>(step: &[Line<T>; W], lines: u8) {
    for (index, line) in step.iter().enumerate() {
        if lines & (1 << index) != 0 {
            _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast());
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "a store goes through a pointer")]
fn store(sums: __m512, out: &mut [f32; LANES]) {
    // SAFETY: sixteen floats are the 64 bytes that are written; no alignment is asked for.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store_rows<const W: usize, const R: usize>(sums: &[[__m512; W]; R], out: &mut [[f32; PANEL]; R]) {
    for (row, sums) in out.iter_mut().zip(sums) {
        for (out, &sums) in row.as_chunks_mut().0.iter_mut().zip(sums) {
            store(sums, out);
        }
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn f32_rows<const W: usize, const R: usize>(
    lines: &[[Floats; W]],
    ahead: Ahead<'_, [Floats; W]>,
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    let mut sums = [[_mm512_setzero_ps(); W]; R];
    for ((lines, next), inputs) in lines.iter().zip(ahead.steps).zip(inputs) {
        fetch(next, ahead.lines);
        let lines: [__m512; W] = std::array::from_fn(|line| _mm512_castsi512_ps(load(&lines[line])));
        for (sums, &input) in sums.iter_mut().zip(inputs) {
            let input = _mm512_castsi512_ps(_mm512_set1_epi32(input as i32));
            for (sum, line) in sums.iter_mut().zip(lines) {
                *sum = _mm512_fmadd_ps(line, input, *sum);
            }
        }
    }
    store_rows(&sums, out);
}

#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn bf16_rows<const R: usize>(
    steps: &[Step<[u16; 2]>],
    ahead: Ahead<'_, Step<[u16; 2]>>,
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    let mut sums = [[_mm512_setzero_ps(); 4]; R];
    for ((lines, next), inputs) in steps.iter().zip(ahead.steps).zip(inputs) {
        fetch(next, ahead.lines);
        let lines: [__m512i; 4] = std::array::from_fn(|line| load(&lines[line]));
        for (sums, &input) in sums.iter_mut().zip(inputs) {
            let input = pairs(_mm512_set1_epi32(input as i32));
            for (sum, line) in sums.iter_mut().zip(lines) {
                *sum = _mm512_dpbf16_ps(*sum, pairs(line), input);
            }
        }
    }
    store_rows(&sums, out);
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(
    unsafe_code,
    reason = "there is no cast between the register types for this one"
)]
fn pairs(register: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of plain data.
    unsafe { std::mem::transmute(register) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn int8_rows<const R: usize>(
    steps: &[Step<[u8; 4]>],
    ahead: Ahead<'_, Step<[u8; 4]>>,
    scales: &[[u16; PANEL]],
    inputs: &[[u32; R]],
    groups: &[[Group; R]],
    out: &mut [[f32; PANEL]; R],
) {
    let mut out_sums = [[_mm512_setzero_ps(); 4]; R];
    let steps = steps.as_chunks::<GROUP_STEPS>().0.iter();
    let next = ahead.steps.as_chunks::<GROUP_STEPS>().0.iter();
    let inputs = inputs.as_chunks::<GROUP_STEPS>().0.iter();
    for ((((steps, next), inputs), scales), groups) in steps.zip(next).zip(inputs).zip(scales).zip(groups) {
        let mut sums: [[__m512i; 4]; R] =
            std::array::from_fn(|row| [_mm512_set1_epi32(groups[row].correction); 4]);
        for ((lines, next), inputs) in steps.iter().zip(next).zip(inputs) {
            fetch(next, ahead.lines);
            let lines: [__m512i; 4] = std::array::from_fn(|line| load(&lines[line]));
            for (sums, &input) in sums.iter_mut().zip(inputs) {
                let input = _mm512_set1_epi32(input as i32);
                for (sum, line) in sums.iter_mut().zip(lines) {
                    *sum = _mm512_dpbusd_epi32(*sum, line, input);
                }
            }
        }
        let scales = load_scales(scales);
        for ((out_sums, sums), group) in out_sums.iter_mut().zip(sums).zip(groups) {
            let own = _mm512_set1_ps(group.scale);
            for ((out_sum, sum), scale) in out_sums.iter_mut().zip(sums).zip(scales) {
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale, own));
                *out_sum = _mm512_add_ps(*out_sum, product);
            }
        }
    }
    store_rows(&out_sums, out);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_scales(scales: &[u16; PANEL]) -> [__m512; 4] {
    let (chunks, _) = scales.as_chunks::<LANES>();
    std::array::from_fn(|line| {
        let wide = _mm512_cvtepu16_epi32(load_half(&chunks[line]));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
    })
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "a load goes through a pointer")]
fn load_half(numbers: &[u16; LANES]) -> __m256i {
    // SAFETY: sixteen numbers are the 32 bytes that are read; no alignment is asked for.
    unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) }
}
