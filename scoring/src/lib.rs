//! Pure arithmetic of a subnet: who is asked, how answers become ratings, how ratings become pay.
//!
//! Nothing here reads a clock, a socket, a disk or a random source; whatever is needed arrives as an argument. From
//! judged answers to pay everything is integers: the ledger pays by the [`epoch`], and whoever has a validator's
//! evidence must get its ratings and weights to the bit. Floating point is left to [`verify`], which measures.
//!
//! - [`draw`]: a VRF output to UIDs, item seeds and sampling seeds.
//! - [`compare`]: judged answers of one item to the value of each beside the others and an anchor.
//! - [`rating`]: a decayed window of values to one rating per UID; who answers as one.
//! - [`capacity`]: answers to simultaneous bursts to the work that a UID has proven.
//! - [`weights`]: ratings, and work where the task is about it, to `u16` weights.
//! - [`verify`]: distances from a reference model to doubt about who answered.
//! - [`contest`]: what a validator says of a miner that others see otherwise.
//! - [`dispute`]: who measures again when a miner is accused, and who is right.
//! - [`epoch`]: weights and stake to consensus, incentive, dividends and emission.

pub mod capacity;
pub mod compare;
pub mod contest;
pub mod dispute;
pub mod draw;
pub mod epoch;
pub mod rating;
pub mod verify;
pub mod weights;
