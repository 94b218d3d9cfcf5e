//! Products of rows with a matrix, panel by panel, shared among threads.

use crate::level::Level;
use crate::lines::PANEL;
use crate::matrix::{Data, GROUP_STEPS, Matrix};
use crate::operand::{Layout, Operand};
use crate::pool::Pool;
use crate::tile::{self, PanelRef};

/// Bytes of a matrix below which a part is not worth another thread's attention.
const PART_BYTES: usize = 1 << 15;

/// What products come to, `[rows, columns]`, kept in panels of 64 columns: `[panel][row][64]`.
///
/// Its memory is kept from one product to the next.
#[derive(Clone, Debug, Default)]
pub struct Panels {
    rows: usize,
    columns: usize,
    numbers: Vec<f32>,
}

impl Panels {
    /// Rows of the last product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the last product: rows of its matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The columns of row `row` from a multiple of 64 on: up to 64 at a time, from `first`, in order.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn row(&self, row: usize) -> impl Iterator<Item = &[f32]> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        (0..self.columns).step_by(PANEL).map(move |first| {
            let start = first * self.rows + row * PANEL;
            &self.numbers[start..start + PANEL.min(self.columns - first)]
        })
    }

    /// Copies columns `first..first + out.len()` of row `row`.
    ///
    /// # Panics
    ///
    /// When there are no such columns or no such row.
    pub fn read(&self, row: usize, first: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert!(
            first + out.len() <= self.columns,
            "columns {first}.. of {}, {} of them",
            self.columns,
            out.len()
        );
        let (mut column, mut rest) = (first, out);
        while !rest.is_empty() {
            let (panel, offset) = (column / PANEL, column % PANEL);
            let count = rest.len().min(PANEL - offset);
            let (part, behind) = rest.split_at_mut(count);
            part.copy_from_slice(&self.numbers[(panel * self.rows + row) * PANEL + offset..][..count]);
            (column, rest) = (column + count, behind);
        }
    }

    fn resize(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.numbers.resize(rows * columns.next_multiple_of(PANEL), 0.0);
    }
}

/// Multiplies each row of `operand` with every row of `matrix`, and adds `bias`, `[matrix rows]`, where there is one.
///
/// # Panics
///
/// When the operand's format or columns are not the matrix's, or its rows were written for another level, or the bias has
/// another length than the matrix rows.
pub fn multiply(
    level: Level,
    pool: &mut Pool,
    operand: &Operand,
    matrix: &Matrix,
    bias: Option<&[f32]>,
    out: &mut Panels,
) {
    assert_eq!(operand.format, matrix.format(), "format of rows and matrix");
    let layout = Layout::of(level, operand.format);
    assert!(
        operand.layout == layout || operand.rows == 0,
        "rows for the kernels of another level"
    );
    assert_eq!(operand.columns, matrix.columns(), "columns of rows and matrix");
    assert!(
        bias.is_none_or(|bias| bias.len() == matrix.rows()),
        "one bias for each output"
    );
    out.resize(operand.rows, matrix.rows());
    if operand.rows == 0 {
        return;
    }
    let panels = matrix.rows().div_ceil(PANEL);
    let cost = matrix.bytes() / panels * operand.tiles().count();
    let grain = PART_BYTES.div_ceil(cost);
    let mut parts: Vec<&mut [f32]> = out.numbers.chunks_mut(operand.rows * PANEL).collect();
    pool.for_each(&mut parts, grain, |index, part| {
        let (rows, _) = part.as_chunks_mut::<PANEL>();
        let panel = matrix.panel(index);
        let is_done = tile::multiply_widened(level, panel, operand, rows);
        let next = matrix.panel((index + 1).min(panels - 1));
        let left = if is_done { 0 } else { operand.tiles().count() };
        for number in 0..left {
            let (first, count) = operand.tiles().at(number);
            let ahead = (next, lines_ahead(layout, number, operand.tiles().count()));
            let rows = &mut rows[first..first + count];
            tile::multiply(level, panel, ahead, operand.tile(number), rows);
        }
        if let Some(bias) = bias {
            add_bias(rows, &bias[index * PANEL..]);
        }
    });
}

/// Which lines of the next panel are fetched while tile `tile` of `tiles` is at work, a bit each.
///
/// A single tile waits for memory in any case; tile registers are filled in an order that the processor does not foresee,
/// so all that comes next is fetched for them. Of several, all but the first find their panel in the cache and leave
/// memory idle, unless the next panel is fetched meanwhile, evenly.
fn lines_ahead(layout: Layout, tile: usize, tiles: usize) -> u8 {
    match (tiles, tile) {
        (1, 0) if layout == Layout::Rows => 0b1111,
        (2, 0) | (3, 0) => 0b0011,
        (2, 1) => 0b1100,
        (3, 1) => 0b0100,
        (3, 2) => 0b1000,
        (4.., 0..4) => 1 << tile,
        _ => 0,
    }
}

/// Adds the first up to 64 of `bias` to each row.
fn add_bias(rows: &mut [[f32; PANEL]], bias: &[f32]) {
    for row in rows {
        for (number, bias) in row.iter_mut().zip(bias) {
            *number += bias;
        }
    }
}

impl Matrix {
    fn panel(&self, index: usize) -> PanelRef<'_> {
        let steps = self.format().steps(self.columns());
        let range = index * steps..(index + 1) * steps;
        match &self.data {
            Data::F32(data) => PanelRef::F32(&data[range]),
            Data::Bf16(data) => PanelRef::Bf16(&data[range]),
            Data::Int8(data, scales) => {
                let groups = range.start / GROUP_STEPS..range.end / GROUP_STEPS;
                PanelRef::Int8(&data[range], &scales[groups])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bfloat::{bf16_from_f32, f32_from_bf16};
    use crate::matrix::Format;
    use crate::testing::{Numbers, relative_distance};

    const FORMATS: [Format; 3] = [Format::F32, Format::Bf16, Format::Int8];
    /// Rows, matrix rows, columns: multiples of nothing, single ones, more rows than a tile.
    const SHAPES: [[usize; 3]; 9] = [
        [1, 1, 1],
        [1, 64, 64],
        [2, 65, 63],
        [3, 130, 7],
        [5, 3, 129],
        [6, 64, 200],
        [7, 100, 33],
        [13, 200, 65],
        [32, 70, 130],
    ];

    struct Case {
        rows: Vec<f32>,
        numbers: Vec<f32>,
        matrix: Matrix,
        shape: [usize; 3],
    }

    impl Case {
        fn new(format: Format, shape: [usize; 3], seed: u64) -> Case {
            let mut source = Numbers::new(seed);
            let [count, outputs, columns] = shape;
            let round = |number: f32| match format {
                Format::Bf16 => f32_from_bf16(bf16_from_f32(number)),
                Format::F32 | Format::Int8 => number,
            };
            let rows: Vec<f32> = source.normal(count * columns).into_iter().map(round).collect();
            let numbers: Vec<f32> = source.normal(outputs * columns).into_iter().map(round).collect();
            let matrix = Matrix::from_rows(format, [outputs, columns], &numbers);
            Case {
                rows,
                numbers,
                matrix,
                shape,
            }
        }

        fn operand(&self, level: Level, pool: &mut Pool, range: std::ops::Range<usize>) -> Operand {
            let columns = self.shape[2];
            let mut operand = Operand::new(self.matrix.format(), columns);
            operand.fill(level, pool, range.len(), |row, out| {
                out.copy_from_slice(&self.rows[(range.start + row) * columns..][..columns]);
            });
            operand
        }

        /// Outputs of rows `range`, row by row.
        fn product(&self, level: Level, threads: usize, range: std::ops::Range<usize>) -> Vec<f32> {
            let mut pool = Pool::new(threads);
            let operand = self.operand(level, &mut pool, range.clone());
            let mut panels = Panels::default();
            multiply(level, &mut pool, &operand, &self.matrix, None, &mut panels);
            let mut out = vec![0.0; range.len() * self.shape[1]];
            for (row, out) in out.chunks_mut(self.shape[1]).enumerate() {
                panels.read(row, 0, out);
            }
            out
        }

        fn reference(&self) -> Vec<f64> {
            let columns = self.shape[2];
            let mut out = Vec::new();
            for row in self.rows.chunks(columns) {
                for numbers in self.numbers.chunks(columns) {
                    out.push(
                        row.iter()
                            .zip(numbers)
                            .map(|(a, b)| f64::from(*a) * f64::from(*b))
                            .sum(),
                    );
                }
            }
            out
        }
    }

    fn tolerance(format: Format) -> f64 {
        match format {
            Format::F32 => 1e-5,
            Format::Bf16 => 2e-5,
            // Both sides err by half a step of 254 across their range; single columns do so most.
            Format::Int8 => 0.05,
        }
    }

    #[test]
    fn products_agree_with_sums_in_f64_on_every_level() {
        for format in FORMATS {
            for shape in SHAPES {
                let case = Case::new(format, shape, 7);
                let reference = case.reference();
                for level in Level::available() {
                    let distance = relative_distance(&case.product(level, 1, 0..shape[0]), &reference);
                    assert!(
                        distance < tolerance(format),
                        "{format} {shape:?} {level}: {distance:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn products_in_8_bits_are_the_same_on_every_level() {
        for shape in SHAPES {
            let case = Case::new(Format::Int8, shape, 3);
            let portable = case.product(Level::portable(), 1, 0..shape[0]);
            for level in Level::available() {
                assert_eq!(case.product(level, 1, 0..shape[0]), portable, "{shape:?} {level}");
            }
        }
    }

    #[test]
    fn a_row_comes_to_the_same_alone_and_among_others_and_on_any_number_of_threads() {
        for format in FORMATS {
            let shape = [17, 1000, 300];
            let case = Case::new(format, shape, 5);
            for level in Level::available() {
                let together = case.product(level, 1, 0..17);
                assert_eq!(case.product(level, 3, 0..17), together, "{format} {level}");
                for row in [0, 4, 16] {
                    let alone = case.product(level, 2, row..row + 1);
                    assert_eq!(alone, together[row * 1000..][..1000], "{format} {level}");
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_none_reach_the_outputs_they_enter_and_no_others() {
        for format in FORMATS {
            for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut case = Case::new(format, [8, 70, 129], 11);
                case.rows[3 * 129 + 128] = strange;
                case.numbers[66 * 129 + 5] = strange;
                case.matrix = Matrix::from_rows(format, [70, 129], &case.numbers);
                for level in Level::available() {
                    for (index, number) in case.product(level, 2, 0..8).iter().enumerate() {
                        let enters = index / 70 == 3 || index % 70 == 66;
                        assert_eq!(number.is_finite(), !enters, "{format} {level} {index}: {number}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bias_is_added_to_every_row() {
        let case = Case::new(Format::F32, [7, 100, 20], 13);
        let (level, mut pool) = (Level::detect(), Pool::new(2));
        let operand = case.operand(level, &mut pool, 0..7);
        let bias: Vec<f32> = (0..100).map(|index| index as f32).collect();
        let mut panels = Panels::default();
        multiply(level, &mut pool, &operand, &case.matrix, Some(&bias), &mut panels);
        let plain = case.product(level, 1, 0..7);
        for row in 0..7 {
            let found: Vec<f32> = panels.row(row).flatten().copied().collect();
            let expected: Vec<f32> = bias.iter().zip(&plain[row * 100..]).map(|(b, n)| n + b).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_product_with_no_rows_is_empty() {
        let case = Case::new(Format::Bf16, [1, 3, 4], 1);
        assert!(case.product(Level::detect(), 2, 0..0).is_empty());
    }
}
