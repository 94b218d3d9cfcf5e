//! From compared answers to one rating per UID.
//!
//! # Strength of an answer
//!
//! In the model of Bradley and Terry (1952) answer i beats answer j in the share `t_i / (t_i + t_j)` of decisive
//! cases. The strengths t that make the outcomes of [`crate::compare`] most likely are found with the anchor's
//! held fixed, by Hunter's MM iteration (D. R. Hunter, *MM algorithms for generalized Bradley-Terry models*, Annals
//! of Statistics 32, 2004):
//!
//! ```text
//! t_i  <-  (sum over j of n_ij w_ij) / (sum over j of n_ij / (t_i + t_j))
//! ```
//!
//! with share w and weight n of each pair. Every share lies within 1/10..9/10 and everyone meets the anchor, so the
//! maximum exists, is finite and is approached from any start; the start is what the comparison with the anchor
//! alone gives. Iteration stops when no strength moves by more than 1e-12 of itself, or after 200 rounds.
//!
//! # Value of an answer
//!
//! A perfect answer has strength 3 = (3/4) / (1/4), a worthless one 1/3. An answer beats a perfect one with
//! probability `p = t / (t + 3)`, which is 1/2 for a perfect one and 1/10 for a worthless one. Its value is
//!
//! ```text
//! v = (p - 1/10) / (1/2 - 1/10), brought into 0..1 and rounded to parts per million:
//! ```
//!
//! 1 = ties with a perfect reference, 0 = no better than no answer. A score of 1/2 has strength 1 and value 0.375.
//!
//! # Rating of a UID
//!
//! The mean of the values of its last [`WINDOW_ITEMS_MAX`] items, each counting [`DECAY`] as much as the one after
//! it. Age is counted in the UID's own items, not in time: whoever is not drawn keeps its rating. Whoever takes
//! over a UID starts with no items ([`Ratings::forget`]).
//!
//! # Voices: the clone rule for pay
//!
//! Two UIDs *coincide* when, over the items that both answered and that are still in both windows, they never gave
//! different answers and gave the same *telling* one, short of full score, on [`COINCIDENCES_MIN`] or more. A UID
//! that coincides with m others has m + 1 voices, and [`crate::weights`] divides its pay by that, so that k exact
//! clones earn together what one earns.
//!
//! Why it spares honest miners: validators give every miner a sampling seed of its own, so two runs of one model
//! differ somewhere on the items that it gets wrong. If two independent wrong answers to an item are the same with
//! probability q, the chance to coincide is at most q^8 once there are eight such items, and far smaller in
//! practice, since every item that only one of them gets right is a difference. Measured over 48 items and 200
//! seeds of 20 miners of one model (`tests/rating_properties.rs`), pairs taken for clones:
//!
//! | miners err | wrong answers | pairs merged |
//! | --- | --- | --- |
//! | on their own, on 12 to 60 % of items | one of 3 | 0 of 152,000 |
//! | on the same items, 12 to 60 % of them | one of 3 | 0 of 152,000 |
//! | on the same items, 30 % of them | one of 2 | 10 of 38,000 |
//!
//! Limits:
//!
//! - Perfect clones of a model that is nearly always right cannot be told from honest miners who are right as well:
//!   right answers to closed questions are the same for everyone. Only pay by verified work can settle that.
//! - Clones that differ on purpose, once within the window, are not found; it costs them that item.
//! - Miners that sample greedily, or from a model so sure of itself that seeds do not matter, are clones to this
//!   rule and share one voice.
//! - Who knows another's model and seed can imitate it, at the price of sharing its voice.

mod fit;
mod voices;
mod window;

pub use fit::{strengths, value_ppm};
pub use voices::COINCIDENCES_MIN;
pub use window::{DECAY, Ratings, Standing, ValuedAnswer, WINDOW_ITEMS_MAX};
