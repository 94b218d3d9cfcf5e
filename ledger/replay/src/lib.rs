//! A ledger from its bytes: the blocks that follow each other, exports that hold a part of it, and their audit.
//!
//! Whoever replays a ledger needs neither a node nor its store: a node, its `verify` and an auditor's machine come
//! to the same verdict because they run the same lines.
//!
//! | module | holds |
//! | --- | --- |
//! | [`follow`] | what a block has to be to come next, and the state after it |
//! | [`export`] | parts of a ledger in one file: a state, blocks |
//! | [`audit`] | the replay of an export, and where it parts from what the export says |

pub mod audit;
pub mod export;
#[cfg(test)]
mod fixture;
pub mod follow;
