//! Keys and values of the tokens that a decoder on libtorch has taken in.

use tch::{Device, Kind, TchError, Tensor};

use super::step::Step;
use crate::backend::Room;
use crate::config::Config;

/// The format of the key-value cache: on a CPU attention over 16-bit floats is three times slower.
pub(crate) fn cache_kind(kind: Kind, device: Device) -> Kind {
    if device == Device::Cpu { Kind::Float } else { kind }
}

/// Keys and values of one layer, `[slots, context + 1, kv_heads, head_dim]` each.
pub(super) struct LayerCache {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
}

impl LayerCache {
    pub(super) fn empty(
        config: &Config,
        room: Room,
        kind: Kind,
        device: Device,
    ) -> Result<LayerCache, TchError> {
        // One position more than the context: padding writes there.
        let shape = [
            room.slots,
            room.context_tokens + 1,
            config.kv_heads,
            config.head_dim,
        ];
        let shape = shape.map(|length| length as i64);
        let empty = || Tensor::f_zeros(shape, (kind, device));
        Ok(LayerCache {
            keys: empty()?,
            values: empty()?,
        })
    }

    pub(super) fn write(&mut self, step: &Step, keys: &Tensor, values: &Tensor) -> Result<(), TchError> {
        let places = [Some(&step.slots), Some(&step.positions)];
        let _ = self.keys.f_index_put_(&places, keys, false)?;
        let _ = self.values.f_index_put_(&places, values, false)?;
        Ok(())
    }

    /// Keys and values of the rows, `[rows, kv_heads, span, head_dim]`.
    pub(super) fn read(&self, step: &Step) -> Result<(Tensor, Tensor), TchError> {
        let part = |cache: &Tensor| {
            let seen = cache.f_narrow(1, 0, step.span)?;
            let rows = match step.first_slot {
                Some(first) => seen.f_narrow(0, first, step.rows)?,
                None => seen.f_index_select(0, &step.row_slots)?,
            };
            rows.f_transpose(1, 2)
        };
        Ok((part(&self.keys)?, part(&self.values)?))
    }
}
