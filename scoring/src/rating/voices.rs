//! How many UIDs speak with one voice. The rule and its limits: [`crate::rating`].

use std::cmp::Ordering;

use super::window::{Entry, WINDOW_ITEMS_MAX, Window};

/// Telling answers that two UIDs must share before they count as one voice, when they differ nowhere.
pub const COINCIDENCES_MIN: usize = COINCIDENCES_MIN_AT[0] as usize;

/// Chance that two miners who agree on each telling item as a fair coin falls are taken for one: `2^-20`.
const FALSE_ALARM_BITS: u32 = 20;

/// Telling answers that two UIDs must share, by the number of their differences, before they count as one voice.
const COINCIDENCES_MIN_AT: [u16; WINDOW_ITEMS_MAX + 1] = coincidences_min_at();

/// For each number of differences d the least s with P(at most d of s + d fair coins show heads) <= 2^-20.
///
/// Tails are in units of `2^-62`, rounded up, one coin after the other by Pascal's rule.
const fn coincidences_min_at() -> [u16; WINDOW_ITEMS_MAX + 1] {
    const ONE: u64 = 1 << 62;
    let mut least = [u16::MAX; WINDOW_ITEMS_MAX + 1];
    let mut tails = [ONE; WINDOW_ITEMS_MAX + 1];
    let mut coins: u16 = 1;
    while coins as usize <= WINDOW_ITEMS_MAX {
        let mut differences = coins;
        loop {
            let place = differences as usize;
            let below = if place == 0 { 0 } else { tails[place - 1] };
            tails[place] = (tails[place] + below).div_ceil(2);
            if least[place] == u16::MAX && tails[place] <= ONE >> FALSE_ALARM_BITS {
                least[place] = coins - differences;
            }
            if differences == 0 {
                break;
            }
            differences -= 1;
        }
        coins += 1;
    }
    least
}

/// Per window, in order, how many windows coincide with it, itself included.
///
/// Counted pair by pair and not passed on: that a coincides with b and b with c says nothing about a and c.
pub(super) fn voices(windows: &[&Window]) -> Vec<u32> {
    let mut voices = vec![1; windows.len()];
    let marks = marks(windows);
    let groups: Vec<&[Mark]> = marks.chunk_by(Mark::is_same_answer).collect();
    let mut groups_of = vec![Vec::new(); windows.len()];
    for group in &groups {
        group.iter().for_each(|mark| groups_of[mark.place].push(*group));
    }
    let mut shared = vec![0_usize; windows.len()];
    for (place, groups) in groups_of.iter().enumerate() {
        shared.fill(0);
        groups
            .iter()
            .flat_map(|group| group.iter())
            .for_each(|mark| shared[mark.place] += 1);
        for later in place + 1..windows.len() {
            // Most pairs share too few telling answers, and need not be looked at again.
            if shared[later] >= COINCIDENCES_MIN && windows[place].coincides_with(windows[later]) {
                voices[place] += 1;
                voices[later] += 1;
            }
        }
    }
    voices
}

/// A telling answer, by the place of the window that it stands in.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    item: u64,
    digest: [u8; 32],
    place: usize,
}

impl Mark {
    fn is_same_answer(&self, other: &Self) -> bool {
        (self.item, self.digest) == (other.item, other.digest)
    }
}

/// All telling answers, the same ones beside each other.
fn marks(windows: &[&Window]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (place, window) in windows.iter().enumerate() {
        let telling = window.entries().iter().filter(|entry| entry.is_telling);
        marks.extend(telling.filter_map(|entry| {
            let digest = entry.digest?;
            Some(Mark {
                item: entry.item,
                digest,
                place,
            })
        }));
    }
    marks.sort_unstable();
    marks
}

/// Whether two windows share so many telling answers that their differences are too few for two minds.
///
/// No answer is neither.
pub(super) fn coincide(mut left: &[Entry], mut right: &[Entry]) -> bool {
    let (mut shared, mut different) = (0, 0);
    while let ([one, left_rest @ ..], [other, right_rest @ ..]) = (left, right) {
        match one.item.cmp(&other.item) {
            Ordering::Less => left = left_rest,
            Ordering::Greater => right = right_rest,
            Ordering::Equal => {
                if one.digest.is_some() && other.digest.is_some() {
                    let is_same = one.digest == other.digest;
                    different += usize::from(!is_same);
                    shared += u16::from(is_same && one.is_telling && other.is_telling);
                }
                (left, right) = (left_rest, right_rest);
            }
        }
    }
    shared >= COINCIDENCES_MIN_AT[different]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window from one letter per item: `.` not asked, `-` no answer, upper case a telling answer, lower case
    /// the reference.
    fn window(answers: &str) -> Window {
        let entry = |(item, letter): (usize, char)| Entry {
            item: item as u64,
            digest: letter.is_ascii_alphabetic().then_some([letter as u8; 32]),
            value_ppm: 0,
            is_telling: letter.is_ascii_uppercase(),
        };
        let asked = answers.chars().enumerate().filter(|&(_, letter)| letter != '.');
        Window::new(asked.map(entry).collect()).expect("a window")
    }

    #[track_caller]
    fn check(windows: &[&str], expected: &[u32]) {
        let windows: Vec<Window> = windows.iter().map(|answers| window(answers)).collect();
        assert_eq!(voices(&windows.iter().collect::<Vec<_>>()), expected);
    }

    /// So many telling answers of one letter.
    fn telling(letter: char, count: usize) -> String {
        letter.to_string().repeat(count)
    }

    /// Two windows that share so many telling answers and differ in so many.
    #[track_caller]
    fn check_pair(shared: usize, different: usize, is_one: bool) {
        let left = telling('A', shared) + &telling('B', different);
        let right = telling('A', shared) + &telling('C', different);
        check(&[&left, &right], if is_one { &[2, 2] } else { &[1, 1] });
    }

    #[test]
    fn clones_share_one_voice() {
        let (clone, other) = (telling('A', 20), telling('B', 20));
        check(&[&clone, &clone, &clone, &other], &[3, 3, 3, 1]);
    }

    #[test]
    fn nineteen_coincidences_are_not_enough() {
        check_pair(19, 0, false);
        check_pair(20, 0, true);
    }

    #[test]
    fn a_few_differences_do_not_separate_and_many_do() {
        // (1 + 25) / 2^25 is below 2^-20, (1 + 24) / 2^24 is not.
        check_pair(24, 1, true);
        check_pair(23, 1, false);
        check_pair(126, 60, true);
        check_pair(125, 60, false);
        check_pair(166, 90, false);
    }

    #[test]
    fn right_answers_prove_nothing() {
        let answers = telling('r', 60) + &telling('A', 19);
        check(&[&answers, &answers], &[1, 1]);
    }

    #[test]
    fn an_answer_tells_when_it_tells_of_both() {
        let left = window(&telling('A', 20));
        let mut entries = left.entries().to_vec();
        entries[0].is_telling = false;
        let right = Window::new(entries).expect("a window");
        assert!(!left.coincides_with(&right) && !right.coincides_with(&left));
    }

    #[test]
    fn a_right_answer_beside_a_wrong_one_is_a_difference() {
        let wrong = telling('A', 23);
        check(&[&(wrong.clone() + "A"), &(wrong + "r")], &[1, 1]);
    }

    #[test]
    fn silence_neither_joins_nor_separates() {
        let shared = telling('A', 20);
        check(&[&(shared.clone() + "A"), &(shared.clone() + "-")], &[2, 2]);
        check(&[&shared, &(telling('A', 19) + "-")], &[1, 1]);
        let silent = telling('-', 30);
        check(&[&silent, &silent], &[1, 1]);
    }

    #[test]
    fn only_items_that_both_were_asked_count() {
        let (gap, shared, own) = (telling('.', 20), telling('A', 20), telling('B', 20));
        check(&[&(shared.clone() + &gap), &(gap.clone() + &shared)], &[1, 1]);
        let left = own.clone() + &shared + &gap;
        check(&[&left, &(gap + &shared + &own)], &[2, 2]);
    }

    #[test]
    fn coincidence_is_not_passed_on() {
        let (gap, first, second) = (telling('.', 20), telling('A', 20), telling('B', 20));
        check(
            &[
                &(first.clone() + &gap + "C"),
                &(first + &second + "."),
                &(gap + &second + "D"),
            ],
            &[2, 3, 2],
        );
    }
}
