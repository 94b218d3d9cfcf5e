//! Behaviour of whole states, block by block.
