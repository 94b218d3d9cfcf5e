//! The rows that a matrix is multiplied with, in the matrix's own format and in the order in which it meets them.
//!
//! Rows go through in tiles of as many as a processor's registers hold sums for, laid out as its kernels read them.

use crate::bfloat::bf16_from_f32;
use crate::level::{Bf16Products, Level, for_level};
use crate::matrix::{Format, GROUP, GROUP_STEPS, OFFSET, scale_of};
use crate::pool::Pool;

/// Rows of a tile in [`Layout::Steps`], at most.
pub(crate) const TILE: usize = 6;
/// Rows of a tile in [`Layout::Rows`], at most: what a tile register has.
pub(crate) const BLOCK_ROWS: usize = 16;
/// Steps of a block: what a row of a tile register holds.
pub(crate) const BLOCK_STEPS: usize = 16;
/// Rows that one thread prepares at a time, about.
const GRAIN_ROWS: usize = 12;

/// How the numbers of a tile lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Those of one step side by side, row after row, so that a kernel reads one stream.
    Steps,
    /// As `Steps`, with each `bf16` widened to a word of its own, so that a kernel takes it as it is.
    Wide,
    /// Those of one row side by side, with zeros behind them up to whole blocks of steps, as tile registers are filled.
    Rows,
}

impl Layout {
    /// What the kernels of a level read.
    pub(crate) fn of(level: Level, format: Format) -> Layout {
        match (format, level.bf16_products()) {
            (Format::Bf16, Bf16Products::Tiles) => Layout::Rows,
            (Format::Bf16, Bf16Products::Widened) => Layout::Wide,
            _ => Layout::Steps,
        }
    }

    /// Rows of a tile, at most.
    fn rows_max(self) -> usize {
        match self {
            Layout::Steps | Layout::Wide => TILE,
            Layout::Rows => BLOCK_ROWS,
        }
    }

    /// Words that a row of so many steps takes.
    pub(crate) fn words(self, steps: usize) -> usize {
        match self {
            Layout::Steps => steps,
            Layout::Wide => 2 * steps,
            Layout::Rows => steps.next_multiple_of(BLOCK_STEPS),
        }
    }

    /// Where row `index` of `count` stands in the words of its tile, of which it takes `own`.
    fn place(self, [index, count]: [usize; 2], own: usize, words: &mut [u32]) -> (Place, &mut [u32]) {
        match self {
            Layout::Steps | Layout::Wide => (Place { index, count }, words),
            Layout::Rows => {
                let own = &mut words[index * own..(index + 1) * own];
                (Place { index: 0, count: 1 }, own)
            }
        }
    }
}

/// Which rows go through together: as few tiles as possible, of nearly the same size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles {
    rows: usize,
    /// Rows of a tile, at most.
    most: usize,
}

impl Tiles {
    pub(crate) fn of(rows: usize, most: usize) -> Tiles {
        Tiles { rows, most }
    }

    pub(crate) fn count(self) -> usize {
        self.rows.div_ceil(self.most)
    }

    /// The first row of a tile and how many it has.
    pub(crate) fn at(self, tile: usize) -> (usize, usize) {
        let (size, larger) = (self.rows / self.count(), self.rows % self.count());
        (tile * size + tile.min(larger), size + usize::from(tile < larger))
    }
}

/// What a kernel has to know of a group of one row, in 8 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    pub(crate) scale: f32,
    /// What the matrix's offset adds to the sum of the group's products, negated.
    pub(crate) correction: i32,
}

/// Rows in the format of a matrix. Its memory is kept from one use to the next.
#[derive(Debug)]
pub struct Operand {
    pub(crate) format: Format,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) layout: Layout,
    /// `[tile][step][row]` or `[tile][row][step]`; each tile has room for as many rows as one may have.
    words: Vec<u32>,
    /// `[tile][group][row]`, likewise; in 8 bits only.
    groups: Vec<Group>,
}

/// One tile of an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileRef<'operand> {
    pub(crate) words: &'operand [u32],
    pub(crate) groups: &'operand [Group],
}

impl Operand {
    /// An operand without rows, for matrices of `columns` columns in `format`.
    pub fn new(format: Format, columns: usize) -> Operand {
        Operand {
            format,
            columns,
            rows: 0,
            layout: Layout::Steps,
            words: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Replaces all rows: `write` writes row `0..rows` to its second argument, `[columns]`, which holds anything.
    pub fn fill(
        &mut self,
        level: Level,
        pool: &mut Pool,
        rows: usize,
        write: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        self.layout = Layout::of(level, self.format);
        self.rows = rows;
        let (tiles, layout, row_words) = (self.tiles(), self.layout, self.row_words());
        let (words, groups) = (self.tile_words(), self.groups_of_a_row() * layout.rows_max());
        self.words.resize(tiles.count() * words, 0);
        self.groups.resize(tiles.count() * groups, Group::default());
        let mut group_parts = self.groups.chunks_mut(groups.max(1));
        let mut parts: Vec<(&mut [u32], &mut [Group])> = self
            .words
            .chunks_mut(words.max(1))
            .map(|words| (words, group_parts.next().unwrap_or_default()))
            .collect();
        let (kept, columns) = ((self.format, layout), self.columns);
        let grain = (GRAIN_ROWS / layout.rows_max()).max(1);
        pool.for_each(&mut parts, grain, |tile, (words, groups)| {
            let (first, count) = tiles.at(tile);
            let mut row = vec![0.0; columns.next_multiple_of(GROUP)];
            for index in 0..count {
                write(first + index, &mut row[..columns]);
                let row = &row[..];
                let (place, words) = layout.place([index, count], row_words, words);
                for_level!(level, encode(kept: Kept, row: &[f32], place: Place, words: &mut [u32], groups: &mut [Group]));
            }
        });
    }

    pub(crate) fn tiles(&self) -> Tiles {
        Tiles::of(self.rows, self.layout.rows_max())
    }

    pub(crate) fn tile(&self, tile: usize) -> TileRef<'_> {
        let (words, groups) = (self.row_words(), self.groups_of_a_row());
        let (_, count) = self.tiles().at(tile);
        TileRef {
            words: &self.words[tile * self.tile_words()..][..words * count],
            groups: &self.groups[tile * groups * self.layout.rows_max()..][..groups * count],
        }
    }

    fn row_words(&self) -> usize {
        self.layout.words(self.format.steps(self.columns))
    }

    /// Words that a tile has room for.
    fn tile_words(&self) -> usize {
        self.row_words() * self.layout.rows_max()
    }

    fn groups_of_a_row(&self) -> usize {
        match self.format {
            Format::Int8 => self.format.steps(self.columns) / GROUP_STEPS,
            Format::F32 | Format::Bf16 => 0,
        }
    }
}

/// How the numbers of a row are kept.
type Kept = (Format, Layout);

/// Where a row stands in its tile.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    count: usize,
}

/// Writes one row, padded with zeros to whole groups, to its place in a tile.
#[inline(always)]
fn encode(kept: Kept, row: &[f32], place: Place, words: &mut [u32], groups: &mut [Group]) {
    match kept {
        (Format::F32, _) => spread(row.iter().map(|number| number.to_bits()), place, words),
        (Format::Bf16, Layout::Wide) => {
            let wide = |number: &f32| u32::from(bf16_from_f32(*number)) << 16;
            spread(row.iter().map(wide), place, words);
        }
        (Format::Bf16, _) => {
            let pairs = row.as_chunks::<2>().0.iter();
            spread(pairs.map(|pair| pair_of(*pair)), place, words);
        }
        (Format::Int8, _) => {
            for (group, numbers) in row.as_chunks::<GROUP>().0.iter().enumerate() {
                let first = group * GROUP_STEPS * place.count;
                groups[group * place.count + place.index] = encode_group(numbers, place, &mut words[first..]);
            }
        }
    }
}

/// Every `count`-th word, from the row's own on. The padding behind the last column may find no room.
#[inline(always)]
fn spread(row: impl Iterator<Item = u32>, place: Place, words: &mut [u32]) {
    if place.count == 1 {
        for (word, number) in words.iter_mut().zip(row) {
            *word = number;
        }
        return;
    }
    let own = words.iter_mut().skip(place.index).step_by(place.count);
    for (word, number) in own.zip(row) {
        *word = number;
    }
}

#[inline(always)]
fn pair_of([even, odd]: [f32; 2]) -> u32 {
    u32::from(bf16_from_f32(even)) | u32::from(bf16_from_f32(odd)) << 16
}

#[inline(always)]
fn encode_group(numbers: &[f32; GROUP], place: Place, words: &mut [u32]) -> Group {
    /// Added to a small number, it leaves the nearest integer in the lowest bits.
    const ROUNDING: f32 = 12_582_912.0;
    let scale = scale_of(numbers);
    let inverse = 1.0 / scale;
    // No steps in a group of zeros, of numbers too small to divide by, or of numbers that are none.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let mut steps = [0_i32; GROUP];
    let mut sum = 0_i32;
    for (step, number) in steps.iter_mut().zip(numbers) {
        let number = if inverse == 0.0 { 0.0 } else { number * inverse };
        *step = i32::from((number + ROUNDING).to_bits() as i8);
        sum += *step;
    }
    let quads = steps.as_chunks::<4>().0.iter();
    let words_of = |quad: &[i32; 4]| u32::from_le_bytes(quad.map(|step| step as u8));
    spread(quads.map(words_of), place, words);
    Group {
        scale,
        correction: -OFFSET * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_few_and_nearly_equal() {
        for rows in 1..100 {
            let tiles = Tiles::of(rows, TILE);
            let sizes: Vec<usize> = (0..tiles.count()).map(|tile| tiles.at(tile).1).collect();
            assert_eq!(sizes.iter().sum::<usize>(), rows);
            assert!(sizes.iter().all(|&size| size <= TILE && size + 1 >= sizes[0]));
            assert_eq!(tiles.count(), rows.div_ceil(TILE));
        }
        assert_eq!(Tiles::of(0, TILE).count(), 0);
    }

    #[test]
    fn eight_bit_rows_err_by_half_a_step_at_most() {
        let row: Vec<f32> = (0..64).map(|index| (index as f32 * 0.37).sin() * 5.0).collect();
        let mut operand = Operand::new(Format::Int8, 64);
        operand.fill(Level::detect(), &mut Pool::new(1), 1, |_, out| {
            out.copy_from_slice(&row)
        });
        let tile = operand.tile(0);
        let steps: Vec<i8> = tile
            .words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .map(|byte| byte as i8)
            .collect();
        let Group { scale, correction } = tile.groups[0];
        for (step, number) in steps.iter().zip(&row) {
            assert!((f32::from(*step) * scale - number).abs() <= scale * 0.5001);
        }
        let sum: i32 = steps.iter().map(|&step| i32::from(step)).sum();
        assert_eq!(correction, -128 * sum);
    }
}
