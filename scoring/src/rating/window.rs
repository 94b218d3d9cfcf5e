//! The last answers of one UID, and the rating that they give. Formulas: [`crate::rating`].

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::voices::coincide;
use crate::compare::PPM;

/// Items that a UID's window holds: enough that clones which err on one answer in twelve are found by it. The decayed
/// mean of so many right-or-wrong answers has a standard error of at most 0.044, which tells models 13 points apart
/// from each other, and 4096 full windows take 48 MB.
pub const WINDOW_ITEMS_MAX: usize = 256;

/// Weight of an item relative to the next one, parts per million: an answer counts half after 46 more.
pub const DECAY_PPM: u64 = 985_000;

/// One answer in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Entry {
    /// Number of the item, counted over all items of this validator.
    pub item: u64,
    /// Hash of the answer; `None` = no answer.
    pub digest: Option<[u8; 32]>,
    /// What the answer was worth, parts per million of a perfect one.
    pub value_ppm: u32,
    /// Whether giving the same answer says something about two miners.
    pub is_telling: bool,
}

/// The last answers of one UID, oldest first; never empty.
///
/// Borsh is its form on disk and in evidence; what is read back is checked.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Window {
    entries: Vec<Entry>,
}

/// Why entries are no window.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowError {
    /// None, or more than a window holds.
    #[error("a window of {count} entries is not within 1 to {WINDOW_ITEMS_MAX}")]
    Count {
        /// How many were given.
        count: usize,
    },
    /// Items that do not ascend.
    #[error("item {item} comes after item {previous}; items must ascend")]
    ItemsNotAscending {
        /// The item out of order.
        item: u64,
        /// The one before it.
        previous: u64,
    },
    /// A value above the whole.
    #[error("value of item {item} is {value_ppm} ppm, above {PPM}")]
    Value {
        /// Of which item.
        item: u64,
        /// What was given.
        value_ppm: u32,
    },
}

impl Window {
    /// Takes the entries of one UID, oldest first.
    ///
    /// # Errors
    ///
    /// [`WindowError`] when there is none or too many, items do not ascend, or a value is above [`PPM`].
    pub fn new(entries: Vec<Entry>) -> Result<Self, WindowError> {
        let count = entries.len();
        if !(1..=WINDOW_ITEMS_MAX).contains(&count) {
            return Err(WindowError::Count { count });
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].item >= pair[1].item) {
            return Err(WindowError::ItemsNotAscending {
                item: pair[1].item,
                previous: pair[0].item,
            });
        }
        if let Some(&Entry { item, value_ppm, .. }) = entries.iter().find(|entry| entry.value_ppm > PPM) {
            return Err(WindowError::Value { item, value_ppm });
        }
        Ok(Self { entries })
    }

    /// A window of one answer, which is within its bounds because a comparison made it.
    pub(super) fn of_one(entry: Entry) -> Self {
        Self { entries: vec![entry] }
    }

    /// Adds an answer newer than all others; the oldest goes when the window is full.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() == WINDOW_ITEMS_MAX {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }

    /// The answers, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives the decayed mean of the values, parts per million, to nearest, halves up.
    ///
    /// Weights of age are those of [`DECAY_PPM`] to 32 fraction bits, which moves no rating by more than 0.02 ppm
    /// before it is rounded.
    #[must_use]
    pub fn rating_ppm(&self) -> u32 {
        let (mut sum, mut weights) = (0, 0);
        for (entry, weight) in self.entries.iter().rev().zip(AGE_WEIGHTS) {
            sum += u64::from(entry.value_ppm) * weight;
            weights += weight;
        }
        let rating = (2 * sum + weights) / (2 * weights);
        u32::try_from(rating).unwrap_or(PPM).min(PPM)
    }

    /// How many of the answers were worth anything.
    #[must_use]
    pub fn verified_count(&self) -> u32 {
        let verified = self.entries.iter().filter(|entry| entry.value_ppm > 0);
        u32::try_from(verified.count()).expect("a window is short")
    }

    /// How many items the window holds, at least 1.
    #[must_use]
    pub fn item_count(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("a window is short")
    }

    /// Whether the two answer as one: the rule of voices in [`crate::rating`].
    #[must_use]
    pub fn coincides_with(&self, other: &Self) -> bool {
        coincide(&self.entries, &other.entries)
    }
}

/// Weight of an answer by how many newer ones there are, in units of `2^-32`; each is the one before it times
/// [`DECAY_PPM`], to nearest. Times a value and summed over a window they stay below `2^59`.
const AGE_WEIGHTS: [u64; WINDOW_ITEMS_MAX] = age_weights();

const fn age_weights() -> [u64; WINDOW_ITEMS_MAX] {
    let mut weights = [1 << 32; WINDOW_ITEMS_MAX];
    let mut age = 1;
    while age < WINDOW_ITEMS_MAX {
        weights[age] = (weights[age - 1] * DECAY_PPM + 500_000) / 1_000_000;
        age += 1;
    }
    weights
}

impl BorshDeserialize for Window {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let entries = Vec::<Entry>::deserialize_reader(reader)?;
        Self::new(entries).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(values_ppm: &[u32]) -> Vec<Entry> {
        let entry = |(item, &value_ppm): (u64, &u32)| Entry {
            item,
            digest: Some([1; 32]),
            value_ppm,
            is_telling: value_ppm < PPM,
        };
        (0..).zip(values_ppm).map(entry).collect()
    }

    #[track_caller]
    fn check(values_ppm: &[u32], expected_ppm: u32) {
        let window = Window::new(entries(values_ppm)).expect("a window");
        assert_eq!(window.rating_ppm(), expected_ppm, "{values_ppm:?}");
    }

    #[track_caller]
    fn check_refused(entries: Vec<Entry>, expected: &WindowError) {
        let bytes = borsh::to_vec(&entries).expect("memory takes everything");
        assert_eq!(Window::new(entries).as_ref(), Err(expected));
        let error = borsh::from_slice::<Window>(&bytes).expect_err("refused");
        assert_eq!(error.to_string(), expected.to_string());
    }

    #[test]
    fn ratings_are_those_worked_by_hand() {
        check(&[PPM], PPM);
        check(&[0], 0);
        check(&[375_000], 375_000);
        // 0.985 / 1.985 and 1 / 1.985
        check(&[PPM, 0], 496_222);
        check(&[0, PPM], 503_778);
        check(&[7; WINDOW_ITEMS_MAX], 7);
    }

    #[test]
    fn an_answer_counts_half_after_46_more() {
        let half = AGE_WEIGHTS[0] / 2;
        assert!(AGE_WEIGHTS[45] > half && half > AGE_WEIGHTS[46]);
    }

    #[test]
    fn only_answers_that_are_worth_something_are_verified() {
        let window = Window::new(entries(&[0, 1, PPM, 0])).expect("a window");
        assert_eq!((window.verified_count(), window.item_count()), (2, 4));
    }

    #[test]
    fn what_is_no_window_is_refused_with_its_figures() {
        check_refused(vec![], &WindowError::Count { count: 0 });
        check_refused(entries(&[0; 257]), &WindowError::Count { count: 257 });
        let mut twice = entries(&[0, 0]);
        twice[1].item = 0;
        let expected = WindowError::ItemsNotAscending { item: 0, previous: 0 };
        check_refused(twice, &expected);
        let above = WindowError::Value {
            item: 1,
            value_ppm: PPM + 1,
        };
        check_refused(entries(&[0, PPM + 1]), &above);
    }
}
