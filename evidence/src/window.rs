//! What a standing's leaf says of its window: two digests, so that a window is shown only where a trail leads to it.
//!
//! The digest of values is a chain over the answers, oldest first: each link covers the one before it and one answer.
//! So whoever shows the newest answers of a window and the link before them shows that they are the newest ones.

use agon_protocol::codec;
use agon_protocol::id::Digest;
use agon_protocol::message::{Trail, Worth};
use agon_scoring::rating::{Entry, WINDOW_ITEMS_MAX, Window};

const CONTEXT_VALUES: &str = "agon 2026-11 evidence window values";
const CONTEXT_TEXTS: &str = "agon 2026-11 evidence window texts";

const _: () = assert!(Trail::WINDOW_MAX == WINDOW_ITEMS_MAX, "every window can be shown");

/// The link of a chain before its first answer.
pub const START: Digest = Digest([0; 32]);

/// The link after `answers`, where `link` is the one before them.
#[must_use]
pub fn link_after(link: Digest, answers: &[Worth]) -> Digest {
    let next = |link: Digest, answer: &Worth| codec::digest(CONTEXT_VALUES, &codec::encode(&(link, *answer)));
    answers.iter().fold(link, next)
}

/// What the answers of a window were worth, oldest first.
#[must_use]
pub fn worth(window: &Window) -> Vec<Worth> {
    let worth = |entry: &Entry| Worth {
        item: entry.item,
        value_ppm: entry.value_ppm,
    };
    window.entries().iter().map(worth).collect()
}

/// Digest over the texts of a window.
#[must_use]
pub fn texts(window: &Window) -> Digest {
    let text = |entry: &Entry| (entry.digest, entry.is_telling);
    let texts: Vec<(Option<[u8; 32]>, bool)> = window.entries().iter().map(text).collect();
    codec::digest(CONTEXT_TEXTS, &codec::encode(&texts))
}

/// The window with these values; its texts are not known, and no rating depends on them. `None` when no validator can
/// have it.
#[must_use]
pub fn of_worth(answers: &[Worth]) -> Option<Window> {
    let entry = |worth: &Worth| Entry {
        item: worth.item,
        digest: None,
        value_ppm: worth.value_ppm,
        is_telling: false,
    };
    Window::new(answers.iter().map(entry).collect()).ok()
}

/// How many answers of a window of `before` are still in it after `added` more.
#[must_use]
pub fn kept_count(before: usize, added: usize) -> usize {
    before.min(WINDOW_ITEMS_MAX.saturating_sub(added))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(count: u64) -> Vec<Worth> {
        (0..count)
            .map(|item| Worth {
                item,
                value_ppm: u32::from(item % 3 == 0),
            })
            .collect()
    }

    #[test]
    fn the_newest_answers_and_the_link_before_them_give_the_digest_and_no_others_do() {
        let answers = answers(9);
        let all = link_after(START, &answers);
        for cut in 0..=9 {
            let link = link_after(START, &answers[..cut]);
            assert_eq!(link_after(link, &answers[cut..]), all);
            if cut > 0 {
                assert_ne!(link_after(START, &answers[cut..]), all);
            }
        }
        let mut others = answers.clone();
        others[4].value_ppm ^= 1;
        assert_ne!(link_after(START, &others), all);
    }

    #[test]
    fn a_window_is_made_of_its_values_again() {
        let answers = answers(9);
        let window = of_worth(&answers).unwrap();
        assert_eq!(worth(&window), answers);
        assert_eq!(of_worth(&[]), None);
        let twice = [answers[3], answers[3]];
        assert_eq!(of_worth(&twice), None);
    }

    #[test]
    fn what_is_added_pushes_the_oldest_out() {
        for (before, added, kept) in [(0, 0, 0), (9, 8, 9), (250, 8, 248), (256, 300, 0)] {
            assert_eq!(kept_count(before, added), kept);
        }
    }
}
