//! What all layers of one step share: tokens, places, what each query may see, and how it is rotated.

use tch::{Kind, TchError, Tensor};

use super::rotation::Rotation;
use super::{Decoder, place};
use crate::backend::Row;

/// What all layers of one step share.
pub(super) struct Step {
    /// `[rows * width]`, padded row by row.
    pub(super) tokens: Tensor,
    pub(super) positions: Tensor,
    pub(super) slots: Tensor,
    /// Index in `tokens` of each row's last real token.
    pub(super) last: Tensor,
    pub(super) rows: i64,
    pub(super) width: i64,
    /// Positions that any row attends to.
    pub(super) span: i64,
    /// Which cached positions each query may see, `[rows, 1, group * width, span]`; `None` when all may see all.
    pub(super) mask: Option<Tensor>,
    /// The same for layers with a sliding window.
    pub(super) window_mask: Option<Tensor>,
    pub(super) rotation: Rotation,
    /// The first slot, when the rows' slots are consecutive: then the cache is read in place.
    pub(super) first_slot: Option<i64>,
    /// The rows' slots, one each.
    pub(super) row_slots: Tensor,
}

impl Decoder {
    /// The step that takes in `rows`.
    pub(super) fn step(&self, rows: &[Row<'_>]) -> Result<Step, TchError> {
        let width = rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0);
        let span = rows
            .iter()
            .map(|row| row.start + row.tokens.len())
            .max()
            .unwrap_or(0);
        if span > self.room.context_tokens || rows.iter().any(|row| row.slot >= self.room.slots) {
            return Err(TchError::Shape(format!(
                "{span} positions do not fit {:?}",
                self.room
            )));
        }
        let layout = Layout::new(rows, width, self.room.context_tokens);
        let positions = place(&layout.positions, self.device)?;
        let group = (self.config.heads / self.config.kv_heads) as i64;
        let sees_all = width == 1 && rows.iter().all(|row| row.start + 1 == span);
        let rotation = match self.rope.of_lengths(&self.config, rows, &layout, width)? {
            Some(rotation) => rotation,
            None => self.rope.at(&positions)?,
        };
        let (rows_count, width, span) = (rows.len() as i64, width as i64, span as i64);
        let shape = [rows_count, group, width, span];
        let mask = if sees_all {
            None
        } else {
            Some(self.mask(&positions, shape, None)?)
        };
        Ok(Step {
            tokens: place(&layout.tokens, self.device)?,
            rotation,
            window_mask: self.window_mask(&positions, shape, mask.as_ref())?,
            positions,
            slots: place(&layout.slots, self.device)?,
            last: place(&layout.last, self.device)?,
            rows: rows_count,
            width,
            span,
            mask,
            first_slot: consecutive_from(rows),
            row_slots: place(&slots_of(rows), self.device)?,
        })
    }

    /// A query sees the cached positions up to its own; with a window, the last of them, its own included.
    pub(super) fn mask(
        &self,
        positions: &Tensor,
        [rows, group, width, span]: [i64; 4],
        window: Option<i64>,
    ) -> Result<Tensor, TchError> {
        let cached = Tensor::f_arange(span, (Kind::Int64, self.device))?;
        let own = positions.f_view([rows, 1, 1, width, 1])?;
        let mut seen = cached.f_le_tensor(&own)?;
        if let Some(window) = window {
            seen = seen.f_logical_and(&cached.f_gt_tensor(&own.f_sub_scalar(window)?)?)?;
        }
        seen.f_expand([rows, 1, group, width, span], false)?
            .f_reshape([rows, 1, group * width, span])
    }

    /// What queries see in layers with a window: as in the others, where the window is as wide as the span.
    pub(super) fn window_mask(
        &self,
        positions: &Tensor,
        shape: [i64; 4],
        mask: Option<&Tensor>,
    ) -> Result<Option<Tensor>, TchError> {
        let [.., span] = shape;
        match &self.config.window {
            Some(window) if (window.tokens as i64) < span => {
                let tokens = Some(window.tokens as i64);
                Ok(Some(self.mask(positions, shape, tokens)?))
            }
            _ => Ok(mask.map(Tensor::shallow_clone)),
        }
    }
}

/// The rows of a step as flat lists, padded on the right to one width.
pub(super) struct Layout {
    tokens: Vec<i64>,
    pub(super) positions: Vec<i64>,
    slots: Vec<i64>,
    last: Vec<i64>,
}

impl Layout {
    fn new(rows: &[Row<'_>], width: usize, padding_position: usize) -> Layout {
        let count = rows.len() * width;
        let mut layout = Layout {
            tokens: Vec::with_capacity(count),
            positions: Vec::with_capacity(count),
            slots: Vec::with_capacity(count),
            last: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            layout
                .last
                .push((layout.tokens.len() + row.tokens.len()) as i64 - 1);
            for column in 0..width {
                let token = row.tokens.get(column);
                layout.tokens.push(token.map_or(0, |&token| i64::from(token)));
                let position = if token.is_some() {
                    row.start + column
                } else {
                    padding_position
                };
                layout.positions.push(position as i64);
                layout.slots.push(row.slot as i64);
            }
        }
        layout
    }
}

/// The first row's slot, if the others follow it one by one.
pub(super) fn consecutive_from(rows: &[Row<'_>]) -> Option<i64> {
    let first = rows.first()?.slot;
    let consecutive = rows
        .iter()
        .enumerate()
        .all(|(index, row)| row.slot == first + index);
    consecutive.then_some(first as i64)
}

/// The rows' slots, one each.
pub(super) fn slots_of(rows: &[Row<'_>]) -> Vec<i64> {
    rows.iter().map(|row| row.slot as i64).collect()
}
