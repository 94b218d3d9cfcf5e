//! Parameters as the kernels read them: packed once, streamed from first byte to last for every product.
//!
//! # Layout
//!
//! Rows lie in panels of 64, padded with zeros. Within a panel, the columns follow one another in steps, and each step
//! holds four lines: lane `i` of line `l` belongs to row `16 l + i`. A step has one column in `f32`, two in `bf16` and
//! four in 8 bits: what one lane of one instruction takes.
//!
//! # 8 bits
//!
//! 64 columns of a row share a scale, a `bf16`: the smallest for which no number exceeds 127 steps. A number is kept
//! as its nearest step plus 128, unsigned, as the instruction wants one of its sides. At 8.25 bits a number the error
//! is about that of formats with 32 numbers to a scale (see the tests for a figure).

use std::fmt;
use std::str::FromStr;

use crate::bfloat::{bf16_from_f32, f32_from_bf16};
use crate::lines::{Floats, LANES, Line, PANEL, Pairs, Quads, on_large_pages};

/// Columns that share a scale in 8 bits.
pub(crate) const GROUP: usize = 64;
/// Steps of a group.
pub(crate) const GROUP_STEPS: usize = GROUP / 4;
/// What is added to a number in 8 bits.
pub(crate) const OFFSET: i32 = 128;
/// The largest step in 8 bits.
pub(crate) const STEPS_MAX: f32 = 127.0;

/// How the numbers of a matrix are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 32-bit floats, exact.
    F32,
    /// 16-bit floats with the exponent of 32-bit ones; rows are rounded likewise before they are multiplied.
    Bf16,
    /// 8-bit steps of a scale for every 64 columns; rows likewise.
    Int8,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Format::F32 => "f32",
            Format::Bf16 => "bf16",
            Format::Int8 => "int8",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        [Format::F32, Format::Bf16, Format::Int8]
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| format!("no such format: {text:?}; write f32, bf16 or int8"))
    }
}

impl Format {
    /// Steps that `columns` columns take.
    pub(crate) fn steps(self, columns: usize) -> usize {
        match self {
            Format::F32 => columns,
            Format::Bf16 => columns.div_ceil(2),
            Format::Int8 => columns.div_ceil(GROUP) * GROUP_STEPS,
        }
    }
}

/// A matrix of parameters, `[rows, columns]`, packed for products with rows of `columns` numbers.
#[derive(Clone)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    pub(crate) data: Data,
}

/// One step of a panel.
pub(crate) type Step<T> = [Line<T>; 4];

/// Steps of all panels, panel by panel.
#[derive(Clone)]
pub(crate) enum Data {
    F32(Vec<Step<f32>>),
    Bf16(Vec<Step<[u16; 2]>>),
    /// Beside the steps, the scales of each group: a `bf16` for each row of the panel.
    Int8(Vec<Step<[u8; 4]>>, Vec<[u16; PANEL]>),
}

impl Matrix {
    /// Packs a matrix; `fill` writes rows `first..first + count` of it, `[count, columns]`, row by row, at most 64
    /// at a time. What `fill` reports ends the packing.
    ///
    /// # Errors
    ///
    /// Those of `fill`.
    ///
    /// # Panics
    ///
    /// When there are no rows or no columns.
    pub fn pack<E>(
        format: Format,
        [rows, columns]: [usize; 2],
        mut fill: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Matrix, E> {
        assert!(rows > 0 && columns > 0, "a matrix of {rows} x {columns}");
        let mut data = Data::empty(format, rows.div_ceil(PANEL), columns);
        let mut panel = vec![0.0; PANEL * columns];
        for first in (0..rows).step_by(PANEL) {
            let count = PANEL.min(rows - first);
            panel[count * columns..].fill(0.0);
            fill(first, &mut panel[..count * columns])?;
            data.push_panel(&panel, columns);
        }
        Ok(Matrix { rows, columns, data })
    }

    /// Packs `numbers`, `[rows, columns]`, row by row.
    ///
    /// # Panics
    ///
    /// When there are not `rows` times `columns` numbers, or none.
    pub fn from_rows(format: Format, [rows, columns]: [usize; 2], numbers: &[f32]) -> Matrix {
        assert_eq!(
            numbers.len(),
            rows * columns,
            "numbers of a {rows} x {columns} matrix"
        );
        let packed = Matrix::pack(format, [rows, columns], |first, part| {
            part.copy_from_slice(&numbers[first * columns..][..part.len()]);
            Ok::<_, std::convert::Infallible>(())
        });
        match packed {
            Ok(matrix) => matrix,
            Err(never) => match never {},
        }
    }

    /// Outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How the numbers are kept.
    pub fn format(&self) -> Format {
        match self.data {
            Data::F32(_) => Format::F32,
            Data::Bf16(_) => Format::Bf16,
            Data::Int8(..) => Format::Int8,
        }
    }

    /// Bytes that a product reads.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::F32(steps) => size_of_val(&steps[..]),
            Data::Bf16(steps) => size_of_val(&steps[..]),
            Data::Int8(steps, scales) => size_of_val(&steps[..]) + size_of_val(&scales[..]),
        }
    }

    /// Writes row `row` to `out`, `[columns]`: exactly what was packed in `f32` and, of `bf16` numbers, in `bf16`.
    ///
    /// # Panics
    ///
    /// When there is no such row, or `out` does not have `columns` numbers.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.columns, "columns");
        let steps = self.format().steps(self.columns);
        let (panel, line, lane) = (row / PANEL, row % PANEL / LANES, row % LANES);
        for (column, number) in out.iter_mut().enumerate() {
            *number = match &self.data {
                Data::F32(data) => data[panel * steps + column][line].0[lane],
                Data::Bf16(data) => f32_from_bf16(data[panel * steps + column / 2][line].0[lane][column % 2]),
                Data::Int8(data, scales) => {
                    let byte = data[panel * steps + column / 4][line].0[lane][column % 4];
                    let scale = scales[(panel * steps + column / 4) / GROUP_STEPS][row % PANEL];
                    (i32::from(byte) - OFFSET) as f32 * f32_from_bf16(scale)
                }
            };
        }
    }
}

impl Data {
    fn empty(format: Format, panels: usize, columns: usize) -> Data {
        let steps = panels * format.steps(columns);
        match format {
            Format::F32 => Data::F32(on_large_pages(steps)),
            Format::Bf16 => Data::Bf16(on_large_pages(steps)),
            Format::Int8 => Data::Int8(on_large_pages(steps), on_large_pages(steps / GROUP_STEPS)),
        }
    }

    /// Adds 64 rows, `[64, columns]`.
    fn push_panel(&mut self, rows: &[f32], columns: usize) {
        let at = |row: usize, column: usize| {
            if column < columns {
                rows[row * columns + column]
            } else {
                0.0
            }
        };
        match self {
            Data::F32(data) => {
                for column in 0..Format::F32.steps(columns) {
                    data.push(step_of(Floats::of(0.0), |row| at(row, column)));
                }
            }
            Data::Bf16(data) => {
                for step in 0..Format::Bf16.steps(columns) {
                    data.push(step_of(Pairs::of([0; 2]), |row| {
                        [0, 1].map(|part| bf16_from_f32(at(row, 2 * step + part)))
                    }));
                }
            }
            Data::Int8(data, scales) => push_groups(data, scales, rows, columns),
        }
    }
}

fn step_of<T: Copy>(empty: Line<T>, at: impl Fn(usize) -> T) -> Step<T> {
    let mut step = [empty; 4];
    for (line, lanes) in step.iter_mut().enumerate() {
        for (lane, number) in lanes.0.iter_mut().enumerate() {
            *number = at(line * LANES + lane);
        }
    }
    step
}

fn push_groups(data: &mut Vec<Step<[u8; 4]>>, scales: &mut Vec<[u16; PANEL]>, rows: &[f32], columns: usize) {
    for first in (0..columns).step_by(GROUP) {
        let width = GROUP.min(columns - first);
        let mut group_scales = [0; PANEL];
        let mut bytes = [[OFFSET as u8; GROUP]; PANEL];
        for row in 0..PANEL {
            let numbers = &rows[row * columns + first..][..width];
            let scale = bf16_not_below(scale_of(numbers));
            group_scales[row] = scale;
            for (byte, &number) in bytes[row].iter_mut().zip(numbers) {
                *byte = (steps_of(number, f32_from_bf16(scale)) + OFFSET) as u8;
            }
        }
        for step in 0..GROUP_STEPS {
            data.push(step_of(Quads::of([0; 4]), |row| {
                [0, 1, 2, 3].map(|part| bytes[row][4 * step + part])
            }));
        }
        scales.push(group_scales);
    }
}

/// The scale at which the largest of `numbers` takes 127 steps; NaN if one of them is not finite.
pub(crate) fn scale_of(numbers: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    // A NaN anywhere, or an infinity less itself, stays in its lane.
    let mut strange = [0.0_f32; LANES];
    let (whole, rest) = numbers.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].max(chunk[lane].abs());
            strange[lane] += chunk[lane] * 0.0;
        }
    }
    for (lane, number) in rest.iter().enumerate() {
        lanes[lane] = lanes[lane].max(number.abs());
        strange[lane] += number * 0.0;
    }
    lanes.into_iter().fold(0.0, f32::max) / STEPS_MAX + strange.into_iter().sum::<f32>()
}

/// The nearest step, at most 127 from 0; 0 where there is no scale.
fn steps_of(number: f32, scale: f32) -> i32 {
    // A NaN or an infinite quotient cannot be kept; the scale tells of it.
    let steps = (number / scale).clamp(-STEPS_MAX, STEPS_MAX).round_ties_even();
    steps as i32
}

/// Rounds up to a `bf16`, so that the largest number stays within 127 steps.
fn bf16_not_below(scale: f32) -> u16 {
    let nearest = bf16_from_f32(scale);
    if f32_from_bf16(nearest) < scale {
        nearest + 1
    } else {
        nearest
    }
}

impl fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Matrix")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("format", &self.format())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Numbers;

    fn rows_of(matrix: &Matrix) -> Vec<f32> {
        let mut out = vec![0.0; matrix.rows() * matrix.columns()];
        for (row, numbers) in out.chunks_mut(matrix.columns()).enumerate() {
            matrix.read_row(row, numbers);
        }
        out
    }

    #[test]
    fn what_was_packed_can_be_read_again() {
        for shape in [[1, 1], [3, 2], [64, 64], [65, 63], [130, 129]] {
            let numbers: Vec<f32> = Numbers::new(1)
                .normal(shape[0] * shape[1])
                .into_iter()
                .map(|number| f32_from_bf16(bf16_from_f32(number)))
                .collect();
            for format in [Format::F32, Format::Bf16] {
                assert_eq!(rows_of(&Matrix::from_rows(format, shape, &numbers)), numbers);
            }
            let steps = rows_of(&Matrix::from_rows(Format::Int8, shape, &numbers));
            for (found, number) in steps.iter().zip(&numbers) {
                assert!((found - number).abs() <= 4.5 / 254.0, "{found} for {number}");
            }
        }
    }

    /// Root mean square error over root mean square, of normal numbers in groups with an exact scale for each 32.
    fn error_of_groups_of_32(numbers: &[f32]) -> f64 {
        let mut error = 0.0;
        for group in numbers.chunks(32) {
            let scale = scale_of(group);
            error += group
                .iter()
                .map(|number| f64::from(number - steps_of(*number, scale) as f32 * scale).powi(2))
                .sum::<f64>();
        }
        (error
            / numbers
                .iter()
                .map(|number| f64::from(*number).powi(2))
                .sum::<f64>())
        .sqrt()
    }

    #[test]
    fn eight_bits_err_little_more_than_with_a_scale_for_each_32_numbers() {
        let shape = [256, 512];
        let numbers = Numbers::new(2).normal(shape[0] * shape[1]);
        let found = rows_of(&Matrix::from_rows(Format::Int8, shape, &numbers));
        let square = |number: f32| f64::from(number).powi(2);
        let error: f64 = found.iter().zip(&numbers).map(|(a, b)| square(a - b)).sum();
        let error = (error / numbers.iter().map(|&number| square(number)).sum::<f64>()).sqrt();
        let reference = error_of_groups_of_32(&numbers);
        assert!((0.003..0.0065).contains(&reference), "{reference}");
        assert!(error < 1.2 * reference, "{error} beside {reference}");
    }

    #[test]
    fn numbers_that_are_none_are_not_hidden_by_the_scale() {
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut numbers = vec![1.0; 70];
            numbers[66] = strange;
            let found = rows_of(&Matrix::from_rows(Format::Int8, [1, 70], &numbers));
            assert!(found[..64].iter().all(|number| (number - 1.0).abs() < 0.01));
            assert!(found[64..].iter().all(|number| number.is_nan()));
        }
        assert_eq!(
            rows_of(&Matrix::from_rows(Format::Int8, [1, 3], &[0.0; 3])),
            [0.0; 3]
        );
    }

    #[test]
    fn a_format_is_read_by_its_name() {
        assert_eq!("int8".parse(), Ok(Format::Int8));
        assert_eq!(
            "int4".parse::<Format>(),
            Err("no such format: \"int4\"; write f32, bf16 or int8".to_owned())
        );
    }
}
