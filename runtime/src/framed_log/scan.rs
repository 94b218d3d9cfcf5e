//! Frames one after the other, and how a torn tail is told from damage.

use std::os::unix::fs::FileExt;

use super::{
    FRAME_HEADER_BYTES, FRAME_OVERHEAD_BYTES, FRAME_TRAILER_BYTES, Frame, LogError, Place, checksum,
};

/// Bytes read at a time while looking for zeros.
const READ_BUFFER_BYTES: usize = 64 * 1_024;

/// The frames of a log in order. After an error there are no more.
#[derive(Debug)]
pub struct Frames(pub(super) Option<Scan>);

impl Iterator for Frames {
    type Item = Result<Frame, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let scan = self.0.as_mut()?;
        let offset = scan.offset;
        let item = match scan.advance() {
            Ok(true) => {
                return Some(Ok(Frame {
                    offset,
                    payload: std::mem::take(&mut scan.payload),
                }));
            }
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        };
        self.0 = None;
        item
    }
}

/// A pass over the frames between two offsets of a file.
#[derive(Debug)]
pub(super) struct Scan {
    place: Place,
    /// Where the next frame begins.
    pub(super) offset: u64,
    end: u64,
    tail: Tail,
    /// The payload of the frame before `offset`.
    payload: Vec<u8>,
}

/// What may stand at the end of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// A whole frame: this process wrote or checked all of it.
    Whole,
    /// What a crash, or a writer at work, left there.
    MayBeTorn,
}

impl Scan {
    pub(super) fn new(place: Place, offset: u64, end: u64, tail: Tail) -> Self {
        Self {
            place,
            offset,
            end,
            tail,
            payload: Vec::new(),
        }
    }

    /// Reads the next frame into `payload`; `false` at the end, or where a torn tail begins.
    pub(super) fn advance(&mut self) -> Result<bool, LogError> {
        if self.offset == self.end {
            return Ok(false);
        }
        match self.place.read_frame(self.offset, self.end, &mut self.payload)? {
            FrameRead::Whole { end } => {
                self.offset = end;
                Ok(true)
            }
            bad if self.tail == Tail::MayBeTorn && self.is_torn_tail(bad)? => Ok(false),
            _ => Err(LogError::Damaged {
                path: self.place.path.clone(),
                offset: self.offset,
            }),
        }
    }

    /// Whether the bad frame at `offset` is what a crash leaves, by the rule in the module doc.
    fn is_torn_tail(&self, bad: FrameRead) -> Result<bool, LogError> {
        if self.place.is_all_zero(self.offset, self.end)? {
            return Ok(true);
        }
        if self.end - self.offset > FRAME_OVERHEAD_BYTES + u64::from(self.place.options.frame_bytes_max) {
            return Ok(false);
        }
        match bad {
            FrameRead::BadChecksum { end } if end < self.end => Ok(false),
            _ => self
                .place
                .last_frame_begins_after(self.offset, self.end)
                .map(|begins| !begins),
        }
    }
}

/// What was found where a frame should begin.
#[derive(Debug, Clone, Copy)]
pub(super) enum FrameRead {
    /// A frame that ends at `end`.
    Whole { end: u64 },
    /// Two lengths that agree, around a payload that does not have its checksum.
    BadChecksum { end: u64 },
    /// No frame that fits.
    BadShape,
}

impl Place {
    /// Reads the frame at `offset` of a log that ends at `end` into `payload`, allocating no more than its length
    /// once that is known to fit.
    pub(super) fn read_frame(
        &self,
        offset: u64,
        end: u64,
        payload: &mut Vec<u8>,
    ) -> Result<FrameRead, LogError> {
        let Some(room) = (end - offset).checked_sub(FRAME_OVERHEAD_BYTES) else {
            return Ok(FrameRead::BadShape);
        };
        let mut header = [0; FRAME_HEADER_BYTES];
        self.read(&mut header, offset)?;
        let (length, expected) = header.split_first_chunk().expect("the header has 12 bytes");
        let bytes = u32::from_le_bytes(*length);
        if bytes > self.options.frame_bytes_max || u64::from(bytes) > room {
            return Ok(FrameRead::BadShape);
        }
        payload.resize(bytes as usize + FRAME_TRAILER_BYTES, 0);
        self.read(payload, offset + FRAME_HEADER_BYTES as u64)?;
        if payload.split_off(bytes as usize) != length {
            return Ok(FrameRead::BadShape);
        }
        let end = offset + FRAME_OVERHEAD_BYTES + u64::from(bytes);
        let good = checksum(offset, payload) == expected;
        Ok(if good {
            FrameRead::Whole { end }
        } else {
            FrameRead::BadChecksum { end }
        })
    }

    /// Whether a whole frame ends at `end` and begins behind `offset`.
    fn last_frame_begins_after(&self, offset: u64, end: u64) -> Result<bool, LogError> {
        if end - offset <= FRAME_OVERHEAD_BYTES {
            return Ok(false);
        }
        let mut length = [0; FRAME_TRAILER_BYTES];
        self.read(&mut length, end - FRAME_TRAILER_BYTES as u64)?;
        let bytes = FRAME_OVERHEAD_BYTES + u64::from(u32::from_le_bytes(length));
        let Some(begin) = end.checked_sub(bytes).filter(|begin| *begin > offset) else {
            return Ok(false);
        };
        let read = self.read_frame(begin, end, &mut Vec::new())?;
        Ok(matches!(read, FrameRead::Whole { .. }))
    }

    fn is_all_zero(&self, begin: u64, end: u64) -> Result<bool, LogError> {
        let mut buffer = [0; READ_BUFFER_BYTES];
        let mut offset = begin;
        while offset < end {
            let part = &mut buffer[..(end - offset).min(READ_BUFFER_BYTES as u64) as usize];
            self.read(part, offset)?;
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            offset += part.len() as u64;
        }
        Ok(true)
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), LogError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| self.io("read", source))
    }
}
