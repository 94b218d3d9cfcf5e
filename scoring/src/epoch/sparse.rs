//! Sparse rows: the cells of a matrix, row after row, UIDs ascending within a row.
//!
//! One allocation per matrix, none per row. A cell of 0 is kept as a cell; whoever wants it gone filters.

use super::fixed::Fixed32;

/// A matrix over UIDs that holds only the cells that were set.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    /// Where each row ends in `uids` and `values`.
    row_ends: Vec<usize>,
    uids: Vec<u16>,
    values: Vec<Fixed32>,
}

impl Matrix {
    /// An empty matrix with room for `rows` rows and `cells` cells.
    pub(super) fn with_capacity(rows: usize, cells: usize) -> Self {
        Self {
            row_ends: Vec::with_capacity(rows),
            uids: Vec::with_capacity(cells),
            values: Vec::with_capacity(cells),
        }
    }

    /// Adds a cell to the row being built; UIDs ascend.
    pub(super) fn push(&mut self, uid: u16, value: Fixed32) {
        self.uids.push(uid);
        self.values.push(value);
    }

    /// Ends the row being built.
    pub(super) fn end_row(&mut self) {
        self.row_ends.push(self.uids.len());
    }

    pub(super) fn cell_count(&self) -> usize {
        self.uids.len()
    }

    pub(super) fn row_count(&self) -> usize {
        self.row_ends.len()
    }

    /// The cells of one row as `(uids, values)` of equal length.
    pub(super) fn row(&self, row: usize) -> (&[u16], &[Fixed32]) {
        let range = self.row_range(row);
        (&self.uids[range.clone()], &self.values[range])
    }

    /// The cells of every row, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (u16, Fixed32)>> {
        (0..self.row_count()).map(|row| {
            let (uids, values) = self.row(row);
            uids.iter().copied().zip(values.iter().copied())
        })
    }

    /// Changes every value in place, knowing its row and column.
    pub(super) fn update(&mut self, mut change: impl FnMut(usize, usize, Fixed32) -> Fixed32) {
        for row in 0..self.row_count() {
            let range = self.row_range(row);
            let cells = self.uids[range.clone()].iter().zip(&mut self.values[range]);
            for (&uid, value) in cells {
                *value = change(row, usize::from(uid), *value);
            }
        }
    }

    /// Sum of each column; exact, since adding never rounds.
    pub(super) fn column_sums(&self) -> Vec<Fixed32> {
        self.column_fold(Fixed32::plus)
    }

    /// Largest value of each column, at least 0.
    pub(super) fn column_maxima(&self) -> Vec<Fixed32> {
        self.column_fold(Fixed32::max)
    }

    /// Divides each column by its sum; a column that sums to 0 stays as it is.
    pub(super) fn normalize_columns(&mut self) {
        let sums = self.column_sums();
        self.divide_columns(&sums);
    }

    /// Divides each column by its divisor; a column whose divisor is 0 stays as it is.
    pub(super) fn divide_columns(&mut self, divisors: &[Fixed32]) {
        self.update(|_, column, value| match divisors[column] {
            Fixed32::ZERO => value,
            divisor => value.over(divisor),
        });
    }

    /// Sum of each row's values after `weigh(row, column, value)`.
    pub(super) fn row_sums(&self, weigh: impl Fn(usize, Fixed32) -> Fixed32) -> Vec<Fixed32> {
        let row_sum = |row: usize| {
            let (uids, values) = self.row(row);
            let cells = uids.iter().zip(values);
            cells.fold(Fixed32::ZERO, |sum, (&uid, &value)| {
                sum.plus(weigh(usize::from(uid), value))
            })
        };
        (0..self.row_count()).map(row_sum).collect()
    }

    /// The cells as rows of `(uid, value)`, for those who look from outside.
    pub(super) fn to_rows(&self) -> Vec<Vec<(u16, Fixed32)>> {
        self.rows().map(Iterator::collect).collect()
    }

    fn column_fold(&self, fold: impl Fn(Fixed32, Fixed32) -> Fixed32) -> Vec<Fixed32> {
        let mut folded = vec![Fixed32::ZERO; self.row_count()];
        for (&uid, &value) in self.uids.iter().zip(&self.values) {
            let cell = &mut folded[usize::from(uid)];
            *cell = fold(*cell, value);
        }
        folded
    }

    fn row_range(&self, row: usize) -> std::ops::Range<usize> {
        let start = row.checked_sub(1).map_or(0, |before| self.row_ends[before]);
        start..self.row_ends[row]
    }
}

/// Divides by the sum; values that sum to 0 stay as they are. The result may sum to slightly under 1.
pub(super) fn normalize(values: &mut [Fixed32]) {
    let sum = sum(values);
    if sum != Fixed32::ZERO {
        for value in values {
            *value = value.over(sum);
        }
    }
}

/// The sum, exact.
pub(super) fn sum(values: &[Fixed32]) -> Fixed32 {
    values.iter().fold(Fixed32::ZERO, |sum, &value| sum.plus(value))
}
