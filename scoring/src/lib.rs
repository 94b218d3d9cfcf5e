//! Pure arithmetic of a subnet: who is asked, how answers become ratings, how ratings become pay.
//!
//! Nothing here reads a clock, a socket, a disk or a random source; whatever is needed arrives as an argument. The
//! [`epoch`] is integers only, since the ledger pays by it. Ratings are floating point, since they are one
//! validator's opinion and leave it as `u16` weights.
//!
//! - [`draw`]: a VRF output to UIDs, item seeds and sampling seeds.
//! - [`compare`]: judged answers of one item to pairwise outcomes with an anchor.
//! - [`rating`]: outcomes to the strength of each answer; a decayed window of those to one rating per UID.
//! - [`weights`]: ratings to `u16` weights.
//! - [`verify`]: distances from a reference model to doubt about who answered.
//! - [`dispute`]: who measures again when a miner is accused, and who is right.
//! - [`epoch`]: weights and stake to consensus, incentive, dividends and emission.

pub mod compare;
pub mod dispute;
pub mod draw;
pub mod epoch;
pub mod rating;
pub mod verify;
pub mod weights;
