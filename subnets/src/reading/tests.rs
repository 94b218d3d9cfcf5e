//! What the reading task promises: fixed items, fair questions, bounded judgement.

use super::*;
use std::collections::BTreeMap;

fn seed(number: u32) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    seed
}

#[track_caller]
fn check(reference: &str, answer: &str, score_ppm: u32) {
    let judgement = judge(reference, answer);
    assert_eq!(judgement.score_ppm, score_ppm, "{answer:?}: {}", judgement.reason);
}

#[test]
fn the_right_word_alone_earns_everything() {
    check("kitchen", "kitchen", 1_000_000);
    check("kitchen", " The Kitchen.\n", 1_000_000);
    check("Anna", "anna", 1_000_000);
    check("nobody", "Nobody.", 1_000_000);
}

#[test]
fn words_around_the_right_one_cost_credit() {
    check("kitchen", "in kitchen", 850_000);
    check("kitchen", "Anna is in the kitchen.", 400_000);
    check(
        "kitchen",
        "I have read the story and so I believe that it is the kitchen",
        WORDY_PPM_MIN,
    );
}

#[test]
fn a_wrong_name_earns_little_and_a_list_of_names_nothing() {
    check("kitchen", "garden", CATEGORY_PPM);
    check("kitchen", "Anna", 0);
    check("kitchen", "in the garden", 0);
    check("kitchen", "kitchen garden office cellar bedroom garage", 0);
    check("Anna", "nobody", CATEGORY_PPM);
    check("nobody", "Anna", CATEGORY_PPM);
    check("kitchen", "kitchen kitchen", 850_000);
}

#[test]
fn garbage_and_cut_words_earn_nothing() {
    for answer in [
        "",
        " ",
        ".",
        "kit",
        "kitche",
        "xyzzy",
        "the",
        "\u{0}",
        "キッチン",
        "kitchengarden",
        "İ",
    ] {
        check("kitchen", answer, 0);
    }
}

#[test]
fn any_answer_of_any_length_is_judged() {
    for length in [
        ANSWER_BYTES_MAX - 1,
        ANSWER_BYTES_MAX,
        ANSWER_BYTES_MAX + 1,
        1 << 20,
    ] {
        check("kitchen", &"k".repeat(length), 0);
        check("kitchen", &"é ".repeat(length), 0);
    }
    check("kitchen", &format!("kitchen{}", " ".repeat(ANSWER_BYTES_MAX)), 0);
}

#[test]
fn all_levels_and_kinds_are_asked_about_as_often_as_stated() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut levels: BTreeMap<u8, usize> = BTreeMap::new();
    for number in 0..4_000 {
        let item = Reading.item(seed(number));
        *kinds.entry(item.kind).or_default() += 1;
        *levels.entry(item.difficulty).or_default() += 1;
    }
    for (kind, weight) in Reading.kinds().iter().zip(KIND_WEIGHTS) {
        let expected = 4_000 * weight / KIND_WEIGHTS.iter().sum::<usize>();
        assert!(kinds[kind].abs_diff(expected) < 150, "{kinds:?}");
    }
    assert!(
        (1..=LEVELS).all(|level| levels[&level].abs_diff(1_000) < 120),
        "{levels:?}"
    );
}

#[test]
fn kinds_are_listed_in_the_order_of_their_weights() {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names, Reading.kinds());
}

/// The last word of the story that the question could have had as its answer.
fn last_of_category(item: &Item) -> String {
    let category = category_of(&item.reference);
    let story = item.prompt.split("\n\n").nth(1).unwrap();
    let words = plain_words(story);
    words
        .into_iter()
        .rev()
        .find(|word| category.contains(word))
        .unwrap_or_default()
}

#[test]
fn naming_what_was_mentioned_last_is_right_less_than_45_times_in_100() {
    let mut right: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for number in 0..4_000 {
        let item = Reading.item(seed(number));
        let count = right.entry(item.kind).or_default();
        count.0 += usize::from(last_of_category(&item) == item.reference.to_lowercase());
        count.1 += 1;
    }
    let all: usize = right.values().map(|count| count.0).sum();
    assert!(all * 100 < 45 * 4_000, "{all} of 4000, by kind {right:?}");
}

/// With `AGON_BLESS=1` in the environment the golden file is rewritten, to be read in the diff.
#[test]
fn items_of_known_seeds_stay_as_they_are() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/data/reading/items.txt"
    );
    let made: String = (0..8)
        .map(|number| written_out(number, &Reading.item(seed(number))))
        .collect();
    if std::env::var_os("AGON_BLESS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        made, golden,
        "an item changed: every validator must change with it"
    );
}

fn written_out(number: u32, item: &Item) -> String {
    let Item {
        prompt,
        reference,
        kind,
        difficulty,
        tokens_max,
        tokens_min: _,
    } = item;
    format!("=== seed {number}, {kind}, difficulty {difficulty}, {tokens_max} tokens\n{prompt} {reference}\n")
}
