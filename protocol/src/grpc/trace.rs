//! Traces of answers between wire and working types.

use super::{digest, v1};
use crate::message::{CODE_BYTES, Challenge, MessageError, OpenedWindow, WINDOW_TOKENS, at_most};

/// Most windows of one answer, and so of one request to open some.
pub const WINDOWS_MAX: usize = (Challenge::TOKENS_MAX as usize + 1).div_ceil(WINDOW_TOKENS);

impl From<&OpenedWindow> for v1::Window {
    fn from(window: &OpenedWindow) -> Self {
        Self {
            index: window.index,
            codes: window.codes.concat(),
            path: window.path.iter().map(|digest| digest.0.to_vec()).collect(),
        }
    }
}

impl TryFrom<v1::Window> for OpenedWindow {
    type Error = MessageError;

    fn try_from(wire: v1::Window) -> Result<Self, MessageError> {
        at_most("window bytes", wire.codes.len(), WINDOW_TOKENS * CODE_BYTES)?;
        let (codes, rest) = wire.codes.as_chunks::<CODE_BYTES>();
        if !rest.is_empty() {
            return Err(MessageError::Invalid {
                field: "window codes",
                reason: format!("{} bytes, codes have {CODE_BYTES} each", wire.codes.len()),
            });
        }
        at_most("window path", wire.path.len(), crate::merkle::PATH_MAX)?;
        let path = wire.path.iter().map(|bytes| digest("window path", bytes));
        let window = Self {
            index: wire.index,
            codes: codes.to_vec(),
            path: path.collect::<Result<_, _>>()?,
        };
        window.validate()?;
        Ok(window)
    }
}
