//! Decoding steps of fixed shapes, which a device records once and then repeats.
//!
//! One token for each text is hundreds of small operations, and a GPU is done with them sooner than they are given
//! out one by one. A recording gives them out all at once, on the same memory each time. So tokens and positions are
//! written to a [`Board`] before it is repeated, and logits and states are read from there.
//!
//! Row `i` of a fixed step is slot `i`, so that the cache is read in place. Slots that take no part are padded as short
//! rows are: their keys and values go behind the context. How many slots and how many positions a step looks at are
//! powers of two; what lies beyond a text's own tokens is masked. The numbers are those of an ordinary step, up to
//! the order in which sums run over that many positions.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tch::{Device, Kind, TchError, Tensor};
use tracing::{info, warn};

use super::step::{Step, consecutive_from, slots_of};
use super::{Decoder, numbers, place};
use crate::backend::{Outputs, Room, Row};
use crate::config::Config;
use crate::graphs::{Graphs, GraphsError, Recording};
use crate::rope::depends_on_reach;

/// Positions that the smallest fixed step looks at: reading fewer saves less than another recording costs.
const SPAN_LEAST: usize = 256;

/// How much a fixed step looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    /// The slots from 0 on.
    slots: usize,
    /// The positions from 0 on.
    span: usize,
}

impl Shape {
    /// The smallest shape that serves `rows`. `None` where they are not one token each of different slots in order,
    /// or do not fit the room, and where half of the slots or more would take no part.
    pub(super) fn of(rows: &[Row<'_>], room: Room) -> Option<Shape> {
        let slots = rows.last()?.slot + 1;
        let span = rows.iter().map(|row| row.start + 1).max()?;
        let is_decoding = rows.iter().all(|row| row.tokens.len() == 1);
        let is_in_order = rows.is_sorted_by(|one, next| one.slot < next.slot);
        if !is_decoding || !is_in_order || slots > room.slots || span > room.context_tokens {
            return None;
        }
        let shape = Shape {
            slots: slots.next_power_of_two().min(room.slots),
            span: span.next_power_of_two().max(SPAN_LEAST).min(room.context_tokens),
        };
        (2 * rows.len() > shape.slots).then_some(shape)
    }
}

/// The memory that fixed steps begin and end in. Recordings know it by its address.
pub(super) struct Board {
    /// Tokens and positions, `[2, slots]`.
    inputs: Tensor,
    /// 0, 1, 2, ..., `[slots]`.
    slots: Tensor,
    /// `[slots, vocabulary]`, in `f32`.
    logits: Tensor,
    /// States after the final norm, `[slots, hidden]`, in `f32`.
    hidden: Tensor,
    room: Room,
}

impl Board {
    pub(super) fn new(config: &Config, room: Room, device: Device) -> Result<Board, TchError> {
        let slots = room.slots as i64;
        let outputs = |width: usize| Tensor::f_zeros([slots, width as i64], (Kind::Float, device));
        Ok(Board {
            inputs: Tensor::f_zeros([2, slots], (Kind::Int64, device))?,
            slots: Tensor::f_arange(slots, (Kind::Int64, device))?,
            logits: outputs(config.vocabulary)?,
            hidden: outputs(config.hidden)?,
            room,
        })
    }

    /// Writes the tokens and positions of `rows`; all other slots are padding.
    pub(super) fn write(&mut self, rows: &[Row<'_>]) -> Result<(), TchError> {
        let slots = self.room.slots;
        let mut inputs = vec![0; 2 * slots];
        inputs[slots..].fill(self.room.context_tokens as i64);
        for row in rows {
            inputs[row.slot] = i64::from(row.tokens[0]);
            inputs[slots + row.slot] = row.start as i64;
        }
        self.inputs
            .f_copy_(&Tensor::f_from_slice(&inputs)?.f_view([2, slots as i64])?)
    }

    /// What the last fixed step left of the slots of `rows`.
    pub(super) fn read(&self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
        let own = |outputs: &Tensor| match consecutive_from(rows) {
            Some(first) => outputs.f_narrow(0, first, rows.len() as i64),
            None => outputs.f_index_select(0, &place(&slots_of(rows), outputs.device())?),
        };
        let vocabulary = self.logits.size()[1] as usize;
        let logits = numbers(&own(&self.logits)?)?;
        Ok(Outputs::new(vocabulary, logits, numbers(&own(&self.hidden)?)?))
    }

    /// One of the inputs of the first `slots` slots.
    fn input(&self, index: i64, slots: i64) -> Result<Tensor, TchError> {
        self.inputs.f_select(0, index)?.f_narrow(0, 0, slots)
    }

    fn show(&self, logits: &Tensor, hidden: &Tensor) -> Result<(), TchError> {
        for (place, numbers) in [(&self.logits, logits), (&self.hidden, hidden)] {
            place.f_narrow(0, 0, numbers.size()[0])?.f_copy_(numbers)?;
        }
        Ok(())
    }
}

impl Decoder {
    /// Computes a fixed step of what is on the board. Nothing in it depends on the values there but values, and
    /// nothing waits for the device, so it can be recorded.
    pub(super) fn compute_fixed(&mut self, board: &Board, shape: Shape) -> Result<(), TchError> {
        let step = self.fixed_step(board, shape)?;
        let hidden = self.hidden(&step)?;
        board.show(&self.logits(&hidden)?, &hidden)
    }

    fn fixed_step(&self, board: &Board, shape: Shape) -> Result<Step, TchError> {
        let [rows, span] = [shape.slots, shape.span].map(|length| length as i64);
        let group = (self.config.heads / self.config.kv_heads) as i64;
        let positions = board.input(1, rows)?;
        let slots = board.slots.f_narrow(0, 0, rows)?;
        let seen = [rows, group, 1, span];
        let mask = Some(self.mask(&positions, seen, None)?);
        Ok(Step {
            tokens: board.input(0, rows)?,
            rotation: self.rope.at(&positions)?,
            window_mask: self.window_mask(&positions, seen, mask.as_ref())?,
            mask,
            positions,
            last: slots.shallow_clone(),
            row_slots: slots.shallow_clone(),
            slots,
            rows,
            width: 1,
            span,
            first_slot: Some(0),
        })
    }
}

/// The fixed steps that a device has recorded.
pub(super) struct FixedSteps {
    recordings: BTreeMap<Shape, Recording>,
    graphs: Graphs,
    board: Board,
}

impl FixedSteps {
    /// Those of a decoder on a CUDA device; `None` on any other, and where nothing records, which the log then says.
    pub(super) fn on(device: Device, config: &Config, room: Room) -> Result<Option<FixedSteps>, TchError> {
        let Device::Cuda(index) = device else {
            return Ok(None);
        };
        match Graphs::open(index) {
            Ok(graphs) => {
                info!("decoding steps are recorded");
                let board = Board::new(config, room, device)?;
                Ok(Some(FixedSteps::new(graphs, board)))
            }
            Err(problem) => {
                warn!(%problem, "decoding steps are not recorded, operations are given out one by one");
                Ok(None)
            }
        }
    }

    pub(super) fn new(graphs: Graphs, board: Board) -> FixedSteps {
        FixedSteps {
            recordings: BTreeMap::new(),
            graphs,
            board,
        }
    }

    /// What `rows` come to; `None` where no fixed step serves them.
    pub(super) fn forward(
        &mut self,
        decoder: &mut Decoder,
        rows: &[Row<'_>],
    ) -> Result<Option<Outputs>, GraphsError> {
        let is_stretched = |row: &Row<'_>| depends_on_reach(&decoder.config, row.length());
        let shape = Shape::of(rows, decoder.room).filter(|_| !rows.iter().any(is_stretched));
        let Some(shape) = shape else {
            return Ok(None);
        };
        self.board.write(rows)?;
        let recording = match self.recordings.entry(shape) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let step = || decoder.compute_fixed(&self.board, shape);
                entry.insert(self.graphs.record(step)?)
            }
        };
        recording.replay()?;
        Ok(Some(self.board.read(rows)?))
    }
}

#[cfg(test)]
mod tests;
