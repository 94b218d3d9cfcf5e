//! The loops with 256-bit registers: one line of a step at a time in two of them, and a sum for each half and row.
//!
//! Sixteen registers do not hold the sums of four lines, so a panel is read four times, a line of each step at a time;
//! it comes from memory once and from the cache after that.

use std::arch::x86_64::*;

use crate::lines::{Floats, LANES, Line, PANEL};
use crate::matrix::{GROUP_STEPS, Step};
use crate::operand::Group;

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
fn store(sums: [__m256; 2], out: &mut [f32; LANES]) {
    let half = out.as_mut_ptr();
    // SAFETY: sixteen floats are the two times 32 bytes that are written; no alignment is asked for.
    unsafe {
        _mm256_storeu_ps(half, sums[0]);
        _mm256_storeu_ps(half.add(8), sums[1]);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn f32_rows<const W: usize, const R: usize>(
    lines: &[[Floats; W]],
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    for line in 0..W {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for (lines, inputs) in lines.iter().zip(inputs) {
            let halves = load(&lines[line]).map(|half| _mm256_castsi256_ps(half));
            for (sums, &input) in sums.iter_mut().zip(inputs) {
                let input = _mm256_set1_ps(f32::from_bits(input));
                for (sum, half) in sums.iter_mut().zip(halves) {
                    *sum = _mm256_fmadd_ps(half, input, *sum);
                }
            }
        }
        store_line(line, &sums, out);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn bf16_rows<const R: usize>(
    steps: &[Step<[u16; 2]>],
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    for line in 0..4 {
        let mut sums = [[_mm256_setzero_ps(); 2]; R];
        for (lines, inputs) in steps.iter().zip(inputs) {
            let halves = load(&lines[line]);
            let even = halves.map(|half| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(half)));
            let odd = halves.map(|half| {
                _mm256_castsi256_ps(_mm256_and_si256(half, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
            });
            for (sums, &input) in sums.iter_mut().zip(inputs) {
                let even_input = _mm256_set1_ps(f32::from_bits(input << 16));
                let odd_input = _mm256_set1_ps(f32::from_bits(input & 0xffff_0000));
                for half in 0..2 {
                    sums[half] = _mm256_fmadd_ps(even[half], even_input, sums[half]);
                    sums[half] = _mm256_fmadd_ps(odd[half], odd_input, sums[half]);
                }
            }
        }
        store_line(line, &sums, out);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn int8_rows<const R: usize>(
    steps: &[Step<[u8; 4]>],
    scales: &[[u16; PANEL]],
    inputs: &[[u32; R]],
    groups: &[[Group; R]],
    out: &mut [[f32; PANEL]; R],
) {
    for line in 0..4 {
        let mut out_sums = [[_mm256_setzero_ps(); 2]; R];
        let steps = steps.as_chunks::<GROUP_STEPS>().0.iter();
        let inputs = inputs.as_chunks::<GROUP_STEPS>().0.iter();
        for (((steps, inputs), scales), groups) in steps.zip(inputs).zip(scales).zip(groups) {
            let sums = group_sums(line, steps, inputs, groups);
            let scales = load_scales(line, scales);
            for ((out_sums, sums), group) in out_sums.iter_mut().zip(sums).zip(groups) {
                let own = _mm256_set1_ps(group.scale);
                for half in 0..2 {
                    let scale = _mm256_mul_ps(scales[half], own);
                    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[half]), scale);
                    out_sums[half] = _mm256_add_ps(out_sums[half], product);
                }
            }
        }
        store_line(line, &out_sums, out);
    }
}

/// Products of one group. Bytes are widened to 16 bits, even and odd ones apart, so that no sum saturates.
#[target_feature(enable = "avx2")]
#[inline]
fn group_sums<const R: usize>(
    line: usize,
    steps: &[Step<[u8; 4]>; GROUP_STEPS],
    inputs: &[[u32; R]; GROUP_STEPS],
    groups: &[Group; R],
) -> [[__m256i; 2]; R] {
    let mut sums: [[__m256i; 2]; R] =
        std::array::from_fn(|row| [_mm256_set1_epi32(groups[row].correction); 2]);
    for (lines, inputs) in steps.iter().zip(inputs) {
        let halves = load(&lines[line]);
        let even = halves.map(|half| _mm256_and_si256(half, _mm256_set1_epi16(0xff)));
        let odd = halves.map(|half| _mm256_srli_epi16::<8>(half));
        for (sums, &input) in sums.iter_mut().zip(inputs) {
            let input = _mm256_set1_epi32(input as i32);
            let even_input = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(input));
            let odd_input = _mm256_srai_epi16::<8>(input);
            for half in 0..2 {
                let products = _mm256_madd_epi16(even[half], even_input);
                sums[half] = _mm256_add_epi32(sums[half], products);
                let products = _mm256_madd_epi16(odd[half], odd_input);
                sums[half] = _mm256_add_epi32(sums[half], products);
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
fn store_line<const R: usize>(line: usize, sums: &[[__m256; 2]; R], out: &mut [[f32; PANEL]; R]) {
    for (row, &sums) in out.iter_mut().zip(sums) {
        store(sums, &mut row.as_chunks_mut().0[line]);
    }
}
