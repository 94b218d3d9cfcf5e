//! The loops in plain Rust: the reference for the others, and what processors without their instructions use.

use crate::bfloat::f32_from_bf16;
use crate::lines::{Floats, LANES, PANEL};
use crate::matrix::{GROUP_STEPS, Step};
use crate::operand::Group;

pub(super) fn f32_rows<const W: usize, const R: usize>(
    lines: &[[Floats; W]],
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    for row in &mut *out {
        row[..W * LANES].fill(0.0);
    }
    for (lines, inputs) in lines.iter().zip(inputs) {
        for (row, &input) in out.iter_mut().zip(inputs) {
            let input = f32::from_bits(input);
            for (sums, line) in row.as_chunks_mut::<LANES>().0.iter_mut().zip(lines) {
                for (sum, number) in sums.iter_mut().zip(line.0) {
                    *sum += number * input;
                }
            }
        }
    }
}

pub(super) fn bf16_rows<const R: usize>(
    steps: &[Step<[u16; 2]>],
    inputs: &[[u32; R]],
    out: &mut [[f32; PANEL]; R],
) {
    *out = [[0.0; PANEL]; R];
    for (lines, inputs) in steps.iter().zip(inputs) {
        for (row, &input) in out.iter_mut().zip(inputs) {
            let (even, odd) = (f32_from_bf16(input as u16), f32_from_bf16((input >> 16) as u16));
            for (sums, line) in row.as_chunks_mut::<LANES>().0.iter_mut().zip(lines) {
                for (sum, number) in sums.iter_mut().zip(line.0) {
                    *sum += f32_from_bf16(number[0]) * even;
                    *sum += f32_from_bf16(number[1]) * odd;
                }
            }
        }
    }
}

pub(super) fn int8_rows<const R: usize>(
    steps: &[Step<[u8; 4]>],
    scales: &[[u16; PANEL]],
    inputs: &[[u32; R]],
    groups: &[[Group; R]],
    out: &mut [[f32; PANEL]; R],
) {
    *out = [[0.0; PANEL]; R];
    let steps = steps.as_chunks::<GROUP_STEPS>().0.iter();
    let inputs = inputs.as_chunks::<GROUP_STEPS>().0.iter();
    for (((steps, inputs), scales), groups) in steps.zip(inputs).zip(scales).zip(groups) {
        let mut sums = groups.map(|group| [group.correction; PANEL]);
        for (lines, inputs) in steps.iter().zip(inputs) {
            for (row, input) in sums.iter_mut().zip(inputs) {
                let input = input.to_le_bytes().map(|byte| i32::from(byte as i8));
                for (sums, line) in row.as_chunks_mut::<LANES>().0.iter_mut().zip(lines) {
                    for (sum, number) in sums.iter_mut().zip(line.0) {
                        for (number, input) in number.iter().zip(input) {
                            *sum += i32::from(*number) * input;
                        }
                    }
                }
            }
        }
        for ((out, sums), group) in out.iter_mut().zip(sums).zip(groups) {
            for ((out, sum), &scale) in out.iter_mut().zip(sums).zip(scales) {
                // Product and sum round apart on every level, so that all of them agree.
                *out += sum as f32 * (f32_from_bf16(scale) * group.scale);
            }
        }
    }
}
