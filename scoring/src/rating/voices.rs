//! How many UIDs speak with one voice. The rule and its limits: [`crate::rating`].

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::window::Entry;

/// Telling answers that two UIDs must share, without one difference, before they count as one voice.
///
/// Few enough that clones of a model with one mistake in twelve are found within a window, and many enough that
/// honest miners, whose wrong answers to an item are the same with probability q, coincide with q^8 at most.
pub const COINCIDENCES_MIN: usize = 8;

/// Per window, in order, how many windows coincide with it, itself included.
///
/// Counted pair by pair and not passed on: that a coincides with b and b with c says nothing about a and c.
pub(super) fn voices(windows: &BTreeMap<u16, Vec<Entry>>) -> Vec<usize> {
    let windows: Vec<&[Entry]> = windows.values().map(Vec::as_slice).collect();
    let mut voices = vec![1; windows.len()];
    // Most windows have too few telling answers to coincide with any, and need not be looked at again.
    let suspects: Vec<usize> = (0..windows.len())
        .filter(|&index| has_enough_to_tell(windows[index]))
        .collect();
    for (place, &left) in suspects.iter().enumerate() {
        for &right in &suspects[place + 1..] {
            if coincide(windows[left], windows[right]) {
                voices[left] += 1;
                voices[right] += 1;
            }
        }
    }
    voices
}

fn has_enough_to_tell(window: &[Entry]) -> bool {
    window.iter().filter(|entry| entry.is_telling).count() >= COINCIDENCES_MIN
}

/// Whether two windows share enough telling answers and differ on none. No answer is neither.
fn coincide(mut left: &[Entry], mut right: &[Entry]) -> bool {
    let mut shared = 0;
    while let ([one, left_rest @ ..], [other, right_rest @ ..]) = (left, right) {
        match one.item.cmp(&other.item) {
            Ordering::Less => left = left_rest,
            Ordering::Greater => right = right_rest,
            Ordering::Equal => {
                if one.digest.is_some() && other.digest.is_some() {
                    if one.digest != other.digest {
                        return false;
                    }
                    shared += usize::from(one.is_telling);
                }
                (left, right) = (left_rest, right_rest);
            }
        }
    }
    shared >= COINCIDENCES_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window from one letter per item: `.` not asked, `-` no answer, upper case a telling answer, lower case
    /// the reference.
    fn window(answers: &str) -> Vec<Entry> {
        let entry = |(item, letter): (usize, char)| Entry {
            item: item as u64,
            digest: letter.is_ascii_alphabetic().then_some([letter as u8; 32]),
            value_ppm: 0,
            is_telling: letter.is_ascii_uppercase(),
        };
        answers
            .chars()
            .enumerate()
            .filter(|&(_, letter)| letter != '.')
            .map(entry)
            .collect()
    }

    #[track_caller]
    fn check(windows: &[&str], expected: &[usize]) {
        let windows = (0..)
            .zip(windows)
            .map(|(uid, answers)| (uid, window(answers)))
            .collect();
        assert_eq!(voices(&windows), expected);
    }

    #[test]
    fn clones_share_one_voice() {
        check(&["AAAAAAAA", "AAAAAAAA", "AAAAAAAA", "BBBBBBBB"], &[3, 3, 3, 1]);
    }

    #[test]
    fn seven_coincidences_are_not_enough() {
        check(&["AAAAAAA", "AAAAAAA"], &[1, 1]);
    }

    #[test]
    fn right_answers_prove_nothing() {
        check(&["rrrrrrrrrrrrrrAAAAAAA", "rrrrrrrrrrrrrrAAAAAAA"], &[1, 1]);
    }

    #[test]
    fn one_difference_separates() {
        check(&["AAAAAAAAA", "AAAAAAAAB"], &[1, 1]);
        check(&["AAAAAAAAA", "AAAAAAAAr"], &[1, 1]);
    }

    #[test]
    fn silence_neither_joins_nor_separates() {
        check(&["AAAAAAAAA", "AAAAAAAA-"], &[2, 2]);
        check(&["AAAAAAAA", "AAAAAAA-"], &[1, 1]);
        check(&["--------", "--------"], &[1, 1]);
    }

    #[test]
    fn only_items_that_both_were_asked_count() {
        check(&["AAAAAAAA........", "........AAAAAAAA"], &[1, 1]);
        check(&["BBBBAAAAAAAA....", "....AAAAAAAABBBB"], &[2, 2]);
    }

    #[test]
    fn coincidence_is_not_passed_on() {
        check(
            &["AAAAAAAA........C", "AAAAAAAABBBBBBBB.", "........BBBBBBBBD"],
            &[2, 3, 2],
        );
    }
}
