//! What a validator remembers of each UID: its last answers and what they were worth.

use std::collections::BTreeMap;
use std::io;

use borsh::{BorshDeserialize, BorshSerialize};

use super::fit::{strengths, value_ppm};
use super::voices::voices;
use crate::compare::{Comparison, PPM};

/// Items that a UID's window holds. The decayed mean of so many right-or-wrong answers has a standard error of at
/// most 0.055, which tells models 15 points apart from each other, and 4096 full windows take 22 MB.
pub const WINDOW_ITEMS_MAX: usize = 96;

/// Weight of an item relative to the next one: an answer counts half after 46 more.
pub const DECAY: f64 = 0.985;

/// One answer in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Entry {
    /// Number of the item, counted over all items of this validator.
    pub(super) item: u64,
    /// Hash of the answer; `None` = no answer.
    pub(super) digest: Option<[u8; 32]>,
    /// What the answer was worth, parts per million of a perfect one.
    pub(super) value_ppm: u32,
    /// Whether giving the same answer says something about two miners.
    pub(super) is_telling: bool,
}

/// The windows of all UIDs of one subnet.
///
/// Borsh is its form on disk; what is read back is checked, so a damaged file is an error and no rating.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct Ratings {
    items_recorded: u64,
    windows: BTreeMap<u16, Vec<Entry>>,
}

/// What one answer was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuedAnswer {
    /// Who gave it.
    pub uid: u16,
    /// Parts per million of a perfect one.
    pub value_ppm: u32,
}

/// Where a UID stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// The slot.
    pub uid: u16,
    /// Within 0..=1: 1 = always ties with a perfect reference, 0 = no better than silence.
    pub rating: f64,
    /// How many items the rating rests on, at least 1.
    pub item_count: usize,
    /// How many UIDs speak with this one's voice, itself included; its pay is divided by that.
    pub voices: usize,
}

impl Ratings {
    /// Records the answers of one item and gives what each was worth, UIDs ascending.
    pub fn record(&mut self, comparison: &Comparison) -> Vec<ValuedAnswer> {
        let item = self.items_recorded;
        self.items_recorded = item.saturating_add(1);
        let values: Vec<u32> = strengths(comparison).into_iter().map(value_ppm).collect();
        let mut valued = Vec::with_capacity(comparison.player_of_uid().len());
        for &(uid, index) in comparison.player_of_uid() {
            let (player, value_ppm) = (&comparison.players()[index], values[index]);
            let is_telling = comparison.is_telling(player);
            let window = self.windows.entry(uid).or_default();
            if window.len() == WINDOW_ITEMS_MAX {
                window.remove(0);
            }
            window.push(Entry {
                item,
                digest: player.digest,
                value_ppm,
                is_telling,
            });
            valued.push(ValuedAnswer { uid, value_ppm });
        }
        valued
    }

    /// Forgets everything about a UID, because someone else holds it now.
    pub fn forget(&mut self, uid: u16) {
        self.windows.remove(&uid);
    }

    /// Gives the standing of every UID that has a window, UIDs ascending.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let voices = voices(&self.windows);
        self.windows
            .iter()
            .zip(voices)
            .map(|((&uid, window), voices)| Standing {
                uid,
                rating: decayed_mean(window),
                item_count: window.len(),
                voices,
            })
            .collect()
    }
}

/// Mean of values, each weighing [`DECAY`] as much as the next; `window` is not empty.
fn decayed_mean(window: &[Entry]) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for entry in window {
        sum = sum * DECAY + f64::from(entry.value_ppm);
        weights = weights * DECAY + 1.0;
    }
    (sum / weights / f64::from(PPM)).clamp(0.0, 1.0)
}

impl BorshDeserialize for Ratings {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let items_recorded = u64::deserialize_reader(reader)?;
        let windows = BTreeMap::<u16, Vec<Entry>>::deserialize_reader(reader)?;
        for (uid, window) in &windows {
            check_window(window, items_recorded).map_err(|fault| {
                io::Error::new(io::ErrorKind::InvalidData, format!("window of uid {uid} {fault}"))
            })?;
        }
        Ok(Self {
            items_recorded,
            windows,
        })
    }
}

/// Whether [`Ratings::record`] can have written this window.
fn check_window(window: &[Entry], items_recorded: u64) -> Result<(), &'static str> {
    if window.is_empty() || window.len() > WINDOW_ITEMS_MAX {
        return Err("is empty or too long");
    }
    if !window.is_sorted_by(|left, right| left.item < right.item) {
        return Err("does not have its items in order");
    }
    if window.last().is_some_and(|last| last.item >= items_recorded) {
        return Err("has an item that was not recorded");
    }
    if window.iter().any(|entry| entry.value_ppm > PPM) {
        return Err("has a value above the whole");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Anchor, JudgedAnswer, compare};

    /// Records an item that one UID answered with this score.
    fn record(ratings: &mut Ratings, uid: u16, score_ppm: u32) {
        let answer = JudgedAnswer {
            uid,
            digest: Some([1; 32]),
            score_ppm,
        };
        ratings.record(&compare(&[answer], &Anchor::perfect([0; 32])).expect("comparable"));
    }

    #[track_caller]
    fn check(scores_ppm: &[u32], expected: f64) {
        let mut ratings = Ratings::default();
        scores_ppm
            .iter()
            .for_each(|&score_ppm| record(&mut ratings, 3, score_ppm));
        let rating = ratings.standings()[0].rating;
        assert!(
            (rating - expected).abs() < 1e-12,
            "{scores_ppm:?}: {rating}, expected {expected}"
        );
    }

    #[test]
    fn ratings_are_those_worked_by_hand() {
        check(&[PPM], 1.0);
        check(&[0], 0.0);
        check(&[PPM / 2], 0.375);
        check(&[PPM, 0], 0.985 / 1.985);
        check(&[0, PPM], 1.0 / 1.985);
    }

    #[test]
    fn a_window_keeps_the_last_items_only() {
        let mut ratings = Ratings::default();
        record(&mut ratings, 1, PPM);
        (0..WINDOW_ITEMS_MAX).for_each(|_| record(&mut ratings, 1, 0));
        let standing = ratings.standings()[0];
        assert_eq!((standing.item_count, standing.rating), (WINDOW_ITEMS_MAX, 0.0));
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
        assert_eq!(ratings.standings()[0].rating.to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn ratings_survive_the_disk() {
        let mut ratings = Ratings::default();
        for uid in 0..5 {
            (0..=u32::from(uid) * 30).for_each(|step| record(&mut ratings, uid, step * 1000));
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
    fn damaged_ratings_are_refused() {
        let mut sound = Ratings::default();
        record(&mut sound, 1, PPM);
        record(&mut sound, 1, 0);
        let damages: [fn(&mut Ratings); 5] = [
            |ratings| ratings.items_recorded = 1,
            |ratings| ratings.windows.get_mut(&1).expect("window")[1].item = 0,
            |ratings| ratings.windows.get_mut(&1).expect("window")[0].value_ppm = PPM + 1,
            |ratings| ratings.windows.get_mut(&1).expect("window").clear(),
            |ratings| {
                let window = ratings.windows.get_mut(&1).expect("window");
                *window = (0..97).map(|item| Entry { item, ..window[0] }).collect();
                ratings.items_recorded = 97;
            },
        ];
        for damage in damages {
            let mut ratings = sound.clone();
            damage(&mut ratings);
            let bytes = borsh::to_vec(&ratings).expect("memory takes everything");
            assert!(borsh::from_slice::<Ratings>(&bytes).is_err());
        }
    }
}
