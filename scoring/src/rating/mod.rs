//! From compared answers to one rating per UID. Integers only, so that a rating can be checked anywhere.
//!
//! # Rating of a UID
//!
//! The mean of the values of its last [`WINDOW_ITEMS_MAX`] items, each counting [`DECAY_PPM`] as much as the one
//! after it. Age is counted in the UID's own items, not in time: whoever is not drawn keeps its rating. Whoever takes
//! over a UID starts with no items ([`Ratings::forget`]).
//!
//! # Voices: the clone rule for pay
//!
//! Over the items that both answered and that are still in both windows, two UIDs *share* an answer when they gave the
//! same *telling* one, short of full score for both, and *differ* when they gave different ones, right or wrong. With
//! s shared and d different answers they *coincide* when
//!
//! ```text
//! P(at most d of s + d fair coins show heads)  <=  2^-20
//! ```
//!
//! which asks for 20 shared answers without a difference, 24 with one, 33 with five, 44 with ten, 64 with twenty. A
//! UID that coincides with m others has m + 1 voices, and [`crate::weights`] divides its pay by that.
//!
//! 1. **Exact clones earn together what one earns**, once each has [`COINCIDENCES_MIN`] shared answers with every
//!    other: k windows of one rating have k voices each, and k times 1/k, rounded down, is at most 1.
//! 2. **Near-clones do too while they differ seldom.** See the measured figures.
//! 3. **Honest miners keep their voices.** Validators give every miner a sampling seed of its own, so that runs of one
//!    model differ. Assume that two honest runs agree on an item that either gets wrong with a chance of at most 1/2,
//!    whatever came before. Then d is at least what s + d fair coins would give, and a pair coincides at one look with
//!    a chance of at most `2^-20`, by the rule itself. The assumption holds when a model's wrong answers to an item are
//!    at least two, equally likely, and all the more when runs also differ in what they get right.
//! 4. **Decoys add nothing.** A decoy's window has a rating and voices of its own and changes no other window.
//!
//! Measured over full windows (`tests/rating_properties.rs`); pairs are those merged at any of 16 looks, of 20 miners
//! of one model and 50 seeds, a pair on a seed counting once:
//!
//! | miners err | wrong answers | pairs merged |
//! | --- | --- | --- |
//! | on their own, on 12, 25, 40 or 60 % of items | one of 3 | 0 of 38,000 |
//! | on the same items, 12, 30, 60 or 100 % of them | one of 3 | 0 of 38,000 |
//! | on the same items, 12, 30, 60 or 100 % of them | one of 2 | 0 of 38,000 |
//!
//! | eight copies of a model right on 65 %, each giving another answer on | earn together, one earning 1 |
//! | --- | --- |
//! | 0 to 3 % of items | at most 1 |
//! | 5 % | 1.5 |
//! | 8 % | 5.9 |
//! | 12 % | 6.4 |
//! | 14.3 % | 6.1 |
//!
//! # What no rule about answers can do
//!
//! Let a model be right with chance a, and let each copy change each of its answers with chance e, by itself, to one
//! of the four others. Of a pair's items then
//!
//! ```text
//! shared telling   s = (1 - a) (1 - e)^2 + (a / 4 + (1 - a) 3 / 16) e^2
//! different        d = 1 - (1 - e)^2 - e^2 / 4
//! right            a' = a (1 - e) + (1 - a) e / 4
//! ```
//!
//! 1. **Two copies of e with s = d are to every rule about s and d what two honest runs of property 3 are**: a telling
//!    item is shared as a fair coin falls, over any window and at any threshold. With a = 0.65 that is e = 0.143, where
//!    s = d = 0.26; each copy is paid `(a' / a)^2 = 0.77` of the model, so k copies earn 0.77 k. A rule that finds them
//!    merges honest runs that keep to the assumption.
//! 2. **Between 5 % and that, a longer window would find more**, since 0.66 of what tells is shared at 8 %: 76 shared
//!    and 39 different answers in 256 items, where 39 ask for 95. It would move the operator to 14.3 %, which pays
//!    more than 8 % does now.
//! 3. **Whatever looks at all answers at once, and not at pairs, finds copies only with honest runs.** Honest runs of a
//!    model that gives its likeliest answer to each item with chance 1 - e, and each other one with e / 4, give answers
//!    of the very same distribution as copies of those likeliest answers. Shares of a voice by degree are no
//!    exception: what they take from copies they take from such honest runs.
//! 4. **The price is the operator's to choose.** `a'` is that of answers changed blindly. Who changes only those that
//!    it takes to be wrong loses nothing.
//!
//! Limits:
//!
//! - Clones of a model that errs on fewer than 20 of [`WINDOW_ITEMS_MAX`] items are not found: right answers to closed
//!   questions are the same for everyone.
//! - Copies that differ on one item in twelve or more are strangers to this rule, and on one in seven to every such
//!   rule, as said above. Only pay by verified work ([`crate::capacity`]) settles both.
//! - Miners that sample greedily, or from a model so sure of itself that seeds do not matter, break the assumption of
//!   property 3. They are clones to this rule and share one voice.
//! - Who knows another's model and seed can imitate it, at the price of sharing its voice.

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

mod ratings;
mod voices;
mod window;

pub use ratings::{Ratings, Standing};
pub use voices::COINCIDENCES_MIN;
pub use window::{DECAY_PPM, Entry, WINDOW_ITEMS_MAX, Window, WindowError};
