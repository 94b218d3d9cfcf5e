//! Values, ratings, coincidences and weights against golden cases: a change of them is a change of everyone's pay.

use std::fs;
use std::path::Path;

use agon_scoring::compare::{Anchor, JudgedAnswer, compare};
use agon_scoring::rating::{Entry, Standing, Window};
use agon_scoring::weights::{WeightPolicy, pay, scale, weights};
use serde_json::Value;

/// The cases of one section of the golden file.
fn cases(section: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/rating/cases.json");
    let golden: Value =
        serde_json::from_slice(&fs::read(path).expect("golden file")).expect("golden file is JSON");
    let cases = golden[section].as_array().expect("a section").clone();
    assert!(!cases.is_empty());
    cases
}

fn uint<T: TryFrom<u64>>(value: &Value) -> T {
    let number = value.as_u64().expect("an unsigned integer");
    T::try_from(number).ok().expect("a number in range")
}

fn array<'a, T>(value: &'a Value, read: impl Fn(&'a Value) -> T) -> Vec<T> {
    value.as_array().expect("an array").iter().map(read).collect()
}

fn entry(item: usize, digest: Option<[u8; 32]>, value_ppm: u32, is_telling: bool) -> Entry {
    Entry {
        item: item as u64,
        digest,
        value_ppm,
        is_telling,
    }
}

#[test]
fn values_are_the_golden_ones() {
    for case in cases("values") {
        let anchor = Anchor {
            digest: [0; 32],
            score_ppm: uint(&case[1]),
            rating_ppm: uint(&case[2]),
        };
        let answer = JudgedAnswer {
            uid: 1,
            digest: Some([1; 32]),
            score_ppm: uint(&case[0]),
        };
        let comparison = compare(&[answer], &anchor).expect("comparable");
        assert_eq!(comparison.answers()[0].value_ppm, uint::<u32>(&case[3]), "{case}");
    }
}

#[test]
fn ratings_are_the_golden_ones() {
    for case in cases("ratings") {
        let values = array(&case["values"], uint);
        let entries = values
            .iter()
            .enumerate()
            .map(|(item, &value)| entry(item, None, value, false));
        let window = Window::new(entries.collect()).expect("a window");
        assert_eq!(window.rating_ppm(), uint::<u32>(&case["rating"]), "{case}");
    }
}

/// A window of one letter per item: upper case a telling answer, lower case another, `-` none, `.` not asked.
fn window(letters: &Value) -> Window {
    let asked = letters.as_str().expect("letters").char_indices();
    let entries = asked.filter(|&(_, letter)| letter != '.').map(|(item, letter)| {
        let digest = letter.is_ascii_alphabetic().then_some([letter as u8; 32]);
        entry(item, digest, 0, letter.is_ascii_uppercase())
    });
    Window::new(entries.collect()).expect("a window")
}

#[test]
fn coincidences_are_the_golden_ones() {
    for case in cases("coincidences") {
        let (left, right) = (window(&case["left"]), window(&case["right"]));
        let expected = case["coincide"].as_bool().expect("a bool");
        assert_eq!(left.coincides_with(&right), expected, "{case}");
        assert_eq!(right.coincides_with(&left), expected, "{case}");
    }
}

fn standing(case: &Value) -> Standing {
    Standing {
        uid: uint(&case[0]),
        rating_ppm: uint(&case[1]),
        item_count: 30,
        verified_count: uint(&case[2]),
        voices: uint(&case[3]),
        work: uint(&case[4]),
    }
}

fn policy(case: &Value) -> WeightPolicy {
    WeightPolicy {
        floor_ppm: uint(&case[0]),
        sharpness: uint(&case[1]),
        count_max: uint(&case[2]),
        verified_min: uint(&case[3]),
        pays_work: case[4].as_bool().expect("a bool"),
    }
}

#[test]
fn weights_are_the_golden_ones() {
    for case in cases("weights") {
        let (policy, standings) = (policy(&case["policy"]), array(&case["standings"], standing));
        let pays: Vec<(u16, u64)> = array(&case["pays"], |pair| (uint(&pair[0]), uint(&pair[1])));
        let row: Vec<(u16, u16)> = array(&case["row"], |pair| (uint(&pair[0]), uint(&pair[1])));
        for (standing, &(uid, expected)) in standings.iter().zip(&pays) {
            assert_eq!((standing.uid, pay(standing, &policy)), (uid, Ok(expected)));
        }
        assert_eq!(scale(&pays, policy.count_max), row, "{case}");
        assert_eq!(weights(&standings, &policy), Ok(row), "{case}");
    }
}
