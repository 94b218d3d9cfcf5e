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
use std::ops::Range;
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
    /// A matrix of zeros, for [`Matrix::write_rows`] to fill.
    ///
    /// # Panics
    ///
    /// When there are no rows or no columns.
    pub fn zeros(format: Format, [rows, columns]: [usize; 2]) -> Matrix {
        assert!(rows > 0 && columns > 0, "a matrix of {rows} x {columns}");
        let data = Data::zeros(format, rows.div_ceil(PANEL) * format.steps(columns));
        Matrix { rows, columns, data }
    }

    /// Packs `numbers`, `[rows, columns]`, row by row.
    ///
    /// # Panics
    ///
    /// When there are not `rows` times `columns` numbers, or none.
    pub fn from_rows(format: Format, shape: [usize; 2], numbers: &[f32]) -> Matrix {
        let mut matrix = Matrix::zeros(format, shape);
        let [rows, columns] = shape;
        assert_eq!(
            numbers.len(),
            rows * columns,
            "numbers of a {rows} x {columns} matrix"
        );
        matrix.write_rows(0, numbers);
        matrix
    }

    /// Replaces the rows from `first` on by `numbers`, whole rows one behind the other; any part, in any order.
    ///
    /// # Panics
    ///
    /// When there are not so many rows, or `numbers` ends within one.
    pub fn write_rows(&mut self, first: usize, numbers: &[f32]) {
        let columns = self.columns;
        let count = numbers.len() / columns;
        assert!(
            numbers.len().is_multiple_of(columns) && first + count <= self.rows,
            "{} numbers from row {first} of {} x {columns}",
            numbers.len(),
            self.rows
        );
        let steps = self.format().steps(columns);
        let (mut row, mut rest) = (first, numbers);
        while !rest.is_empty() {
            let (panel, place) = (row / PANEL, row % PANEL);
            let count = (PANEL - place).min(rest.len() / columns);
            let (part, behind) = rest.split_at(count * columns);
            self.data
                .write(panel * steps..(panel + 1) * steps, place, part, columns);
            (row, rest) = (row + count, behind);
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
    fn zeros(format: Format, steps: usize) -> Data {
        match format {
            Format::F32 => Data::F32(filled(steps, [Floats::of(0.0); 4])),
            Format::Bf16 => Data::Bf16(filled(steps, [Pairs::of([0; 2]); 4])),
            Format::Int8 => Data::Int8(
                filled(steps, [Quads::of([OFFSET as u8; 4]); 4]),
                filled(steps / GROUP_STEPS, [0; PANEL]),
            ),
        }
    }

    /// Writes rows of `columns` numbers to a panel, the steps `panel`, from its row `place` on.
    fn write(&mut self, panel: Range<usize>, place: usize, rows: &[f32], columns: usize) {
        match self {
            Data::F32(data) => {
                for (column, step) in data[panel].iter_mut().enumerate() {
                    set_lanes(step, place, rows.chunks(columns), |row| row[column]);
                }
            }
            Data::Bf16(data) => {
                for (step, column) in data[panel].iter_mut().zip((0..columns).step_by(2)) {
                    set_lanes(step, place, rows.chunks(columns), |row| {
                        let odd = row.get(column + 1).copied().unwrap_or(0.0);
                        [bf16_from_f32(row[column]), bf16_from_f32(odd)]
                    });
                }
            }
            Data::Int8(data, scales) => {
                let groups = panel.start / GROUP_STEPS..panel.end / GROUP_STEPS;
                for (index, row) in rows.chunks(columns).enumerate() {
                    write_groups(
                        &mut data[panel.clone()],
                        &mut scales[groups.clone()],
                        place + index,
                        row,
                    );
                }
            }
        }
    }
}

fn filled<T: Copy>(count: usize, with: T) -> Vec<T> {
    let mut numbers = on_large_pages(count);
    numbers.resize(count, with);
    numbers
}

/// Sets the lanes of a step from row `place` on, one for each of `rows`.
fn set_lanes<'rows, T>(
    step: &mut Step<T>,
    place: usize,
    rows: impl Iterator<Item = &'rows [f32]>,
    of: impl Fn(&[f32]) -> T,
) {
    let lanes = step.iter_mut().flat_map(|line| &mut line.0);
    for (lane, row) in lanes.skip(place).zip(rows) {
        *lane = of(row);
    }
}

/// Writes one row in 8 bits to row `place` of a panel.
fn write_groups(steps: &mut [Step<[u8; 4]>], scales: &mut [[u16; PANEL]], place: usize, row: &[f32]) {
    let (line, lane) = (place / LANES, place % LANES);
    let groups = steps.chunks_mut(GROUP_STEPS).zip(scales);
    for ((steps, scales), numbers) in groups.zip(row.chunks(GROUP)) {
        let scale = bf16_not_below(scale_of(numbers));
        scales[place] = scale;
        for (step, quad) in steps.iter_mut().zip(numbers.chunks(4)) {
            for (byte, &number) in step[line].0[lane].iter_mut().zip(quad) {
                *byte = (steps_of(number, f32_from_bf16(scale)) + OFFSET) as u8;
            }
        }
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

    #[test]
    fn rows_may_come_in_any_parts_and_any_order() {
        let shape = [200, 70];
        let numbers = Numbers::new(3).normal(shape[0] * shape[1]);
        for format in [Format::F32, Format::Bf16, Format::Int8] {
            let mut matrix = Matrix::zeros(format, shape);
            for rows in [150..200, 0..3, 3..70, 70..150] {
                matrix.write_rows(rows.start, &numbers[rows.start * 70..rows.end * 70]);
            }
            let whole = Matrix::from_rows(format, shape, &numbers);
            assert_eq!(rows_of(&matrix), rows_of(&whole), "{format}");
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
