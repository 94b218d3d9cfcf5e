//! The committee: who decides which block is next.

use agon_protocol::message::Committee;

use crate::State;

impl State {
    /// The committee that makes the next block final; empty where one node decides alone.
    #[must_use]
    pub fn committee(&self) -> Committee {
        Committee::default()
    }
}
