//! The windows of all UIDs of one subnet, and where each UID stands.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::io;

use borsh::{BorshDeserialize, BorshSerialize};

use super::voices::voices;
use super::window::{Entry, Window};
use crate::compare::Comparison;

/// The windows of all UIDs of one subnet.
///
/// Borsh is its form on disk; what is read back is checked, so a damaged file is an error and no rating.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct Ratings {
    items_recorded: u64,
    windows: BTreeMap<u16, Window>,
}

/// Where a UID stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Standing {
    /// The slot.
    pub uid: u16,
    /// Parts per million: a million = always ties with a perfect reference, 0 = no better than silence.
    pub rating_ppm: u32,
    /// How many items the rating rests on, at least 1.
    pub item_count: u32,
    /// How many of their answers were worth anything.
    pub verified_count: u32,
    /// How many UIDs speak with this one's voice, itself included; its pay is divided by that.
    pub voices: u32,
    /// What it has proven that it can do at once ([`crate::capacity`]); 0 where that is not measured.
    pub work: u32,
}

impl Ratings {
    /// Records the answers of one item.
    pub fn record(&mut self, comparison: &Comparison) {
        let item = self.items_recorded;
        self.items_recorded = item.saturating_add(1);
        for answer in comparison.answers() {
            let entry = Entry {
                item,
                digest: answer.digest,
                value_ppm: answer.value_ppm,
                is_telling: answer.is_telling,
            };
            match self.windows.entry(answer.uid) {
                btree_map::Entry::Occupied(window) => window.into_mut().push(entry),
                btree_map::Entry::Vacant(place) => _ = place.insert(Window::of_one(entry)),
            }
        }
    }

    /// How many items were recorded: the number of the next one.
    #[must_use]
    pub const fn items_recorded(&self) -> u64 {
        self.items_recorded
    }

    /// Forgets everything about a UID, because someone else holds it now.
    pub fn forget(&mut self, uid: u16) {
        self.windows.remove(&uid);
    }

    /// The window of every UID that was asked, UIDs ascending.
    #[must_use]
    pub const fn windows(&self) -> &BTreeMap<u16, Window> {
        &self.windows
    }

    /// Gives the standing of every UID that has a window, UIDs ascending.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let windows: Vec<&Window> = self.windows.values().collect();
        let voices = voices(&windows);
        self.windows
            .iter()
            .zip(voices)
            .map(|((&uid, window), voices)| Standing {
                uid,
                rating_ppm: window.rating_ppm(),
                item_count: window.item_count(),
                verified_count: window.verified_count(),
                voices,
                work: 0,
            })
            .collect()
    }
}

impl BorshDeserialize for Ratings {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let items_recorded = u64::deserialize_reader(reader)?;
        let windows = BTreeMap::<u16, Window>::deserialize_reader(reader)?;
        let is_known = |entry: &Entry| entry.item < items_recorded;
        if let Some((uid, _)) = windows
            .iter()
            .find(|(_, window)| !window.entries().iter().all(is_known))
        {
            let fault = format!("window of uid {uid} has an item that was not recorded");
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(Self {
            items_recorded,
            windows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Anchor, JudgedAnswer, PPM, compare};
    use crate::rating::WINDOW_ITEMS_MAX;

    /// Records an item that one UID answered with this score.
    fn record(ratings: &mut Ratings, uid: u16, score_ppm: u32) {
        let answer = JudgedAnswer {
            uid,
            digest: Some([1; 32]),
            score_ppm,
        };
        ratings.record(&compare(&[answer], &Anchor::perfect([0; 32])).expect("comparable"));
    }

    #[test]
    fn a_window_keeps_the_last_items_only() {
        let mut ratings = Ratings::default();
        record(&mut ratings, 1, PPM);
        (0..WINDOW_ITEMS_MAX).for_each(|_| record(&mut ratings, 1, 0));
        let expected = Standing {
            uid: 1,
            rating_ppm: 0,
            item_count: 256,
            verified_count: 0,
            voices: 1,
            work: 0,
        };
        assert_eq!(ratings.standings(), [expected]);
    }

    #[test]
    fn who_is_not_drawn_keeps_its_rating() {
        let mut ratings = Ratings::default();
        record(&mut ratings, 1, PPM / 2);
        let before = ratings.standings()[0];
        (0..500).for_each(|_| record(&mut ratings, 2, 0));
        assert_eq!(ratings.standings()[0], before);
    }

    #[test]
    fn a_uid_that_changed_hands_starts_fresh() {
        let mut ratings = Ratings::default();
        record(&mut ratings, 1, 0);
        ratings.forget(1);
        assert!(ratings.standings().is_empty());
        record(&mut ratings, 1, PPM);
        assert_eq!(ratings.standings()[0].rating_ppm, PPM);
    }

    #[test]
    fn ratings_survive_the_disk() {
        let mut ratings = Ratings::default();
        for uid in 0..5 {
            (0..=u32::from(uid) * 80).for_each(|step| record(&mut ratings, uid, step * 1000));
        }
        let bytes = borsh::to_vec(&ratings).expect("memory takes everything");
        assert_eq!(
            borsh::from_slice::<Ratings>(&bytes).expect("what was written"),
            ratings
        );
        for length in 0..bytes.len() {
            assert!(
                borsh::from_slice::<Ratings>(&bytes[..length]).is_err(),
                "{length} bytes of {}",
                bytes.len()
            );
        }
    }

    #[test]
    fn an_item_that_was_never_recorded_is_refused() {
        let mut ratings = Ratings::default();
        record(&mut ratings, 1, PPM);
        record(&mut ratings, 1, 0);
        ratings.items_recorded = 1;
        let bytes = borsh::to_vec(&ratings).expect("memory takes everything");
        assert!(borsh::from_slice::<Ratings>(&bytes).is_err());
    }
}
