//! Rotary positions on libtorch: tables of cosines and sines, and the rotation of one step.

use tch::{Device, Kind, TchError, Tensor};

use super::step::Layout;
use crate::backend::Row;
use crate::config::Config;
use crate::rope::{Angles, attention_factor, depends_on_reach, frequencies};

/// Cosines and sines of the rotary angles, `[context + 1, head_dim]` each.
pub(super) struct Rope {
    cosines: Tensor,
    sines: Tensor,
}

/// [`Rope`] at the positions of one step, `[tokens, 1, head_dim]`.
pub(super) struct Rotation {
    cosines: Tensor,
    sines: Tensor,
    half: i64,
}

impl Rope {
    pub(super) fn new(
        config: &Config,
        context_tokens: usize,
        kind: Kind,
        device: Device,
    ) -> Result<Rope, TchError> {
        let frequencies = frequencies(config, 0);
        let mut angles = Angles::default();
        for position in 0..=context_tokens {
            angles.push(position, &frequencies, attention_factor(config));
        }
        Rope::place(&angles, config.head_dim, kind, device)
    }

    fn place(angles: &Angles, head_dim: usize, kind: Kind, device: Device) -> Result<Rope, TchError> {
        let place = |numbers: &[f32]| {
            Tensor::f_from_slice(numbers)?
                .f_view([-1, head_dim as i64])?
                .f_to_kind(kind)?
                .f_to_device(device)
        };
        Ok(Rope {
            cosines: place(&angles.cosines)?,
            sines: place(&angles.sines)?,
        })
    }

    /// The rotation of rows whose frequencies depend on their lengths; `None` where the tables hold for all.
    pub(super) fn of_lengths(
        &self,
        config: &Config,
        rows: &[Row<'_>],
        layout: &Layout,
        width: usize,
    ) -> Result<Option<Rotation>, TchError> {
        if !rows.iter().any(|row| depends_on_reach(config, row.length())) {
            return Ok(None);
        }
        let mut angles = Angles::default();
        for (row, positions) in rows.iter().zip(layout.positions.chunks(width)) {
            let frequencies = frequencies(config, row.length());
            for &position in positions {
                angles.push(position as usize, &frequencies, attention_factor(config));
            }
        }
        let (kind, device) = (self.cosines.kind(), self.cosines.device());
        let Rope { cosines, sines } = Rope::place(&angles, config.head_dim, kind, device)?;
        Ok(Some(Rotation {
            cosines: cosines.f_unsqueeze(1)?,
            sines: sines.f_unsqueeze(1)?,
            half: config.head_dim as i64 / 2,
        }))
    }

    pub(super) fn at(&self, positions: &Tensor) -> Result<Rotation, TchError> {
        let half = self.cosines.size().last().map_or(0, |length| length / 2);
        let at = |table: &Tensor| table.f_index_select(0, positions)?.f_unsqueeze(1);
        Ok(Rotation {
            cosines: at(&self.cosines)?,
            sines: at(&self.sines)?,
            half,
        })
    }
}

impl Rotation {
    /// Rotates `[tokens, heads, head_dim]`; the second half of a head is the other coordinate of the first.
    pub(super) fn apply(&self, heads: &Tensor) -> Result<Tensor, TchError> {
        heads
            .f_mul(&self.cosines)?
            .f_addcmul(&heads.f_roll([self.half], [-1])?, &self.sines)
    }
}
