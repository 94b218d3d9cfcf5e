//! The draw against its golden bytes: a change of them is a change of every validator's rounds.

use std::fs;
use std::path::Path;

use agon_scoring::draw::{Candidate, Draw};
use serde_json::Value;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/draw/draws.json");
    serde_json::from_slice(&fs::read(path).expect("golden file")).expect("golden file is JSON")
}

fn cases() -> Vec<(Draw, Value)> {
    let golden = golden();
    let cases = golden["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    let with_draw = |case: &Value| {
        let bytes = hex::decode(case["vrf_output"].as_str().expect("hex")).expect("hex");
        (Draw::new(bytes.try_into().expect("32 bytes")), case.clone())
    };
    cases.iter().map(with_draw).collect()
}

fn uint(value: &Value) -> u64 {
    value.as_u64().expect("an unsigned integer")
}

fn uid(value: &Value) -> u16 {
    u16::try_from(uint(value)).expect("a uid")
}

fn index(value: &Value) -> u32 {
    u32::try_from(uint(value)).expect("an index")
}

#[test]
fn uids_are_the_golden_ones() {
    for (draw, case) in cases() {
        let candidates: Vec<Candidate> = case["candidates"]
            .as_array()
            .expect("candidates")
            .iter()
            .map(|pair| Candidate {
                uid: uid(&pair[0]),
                last_asked_round: pair[1].as_u64(),
            })
            .collect();
        let count = usize::try_from(uint(&case["count"])).expect("a count");
        let expected: Vec<u16> = case["uids"].as_array().expect("uids").iter().map(uid).collect();
        assert_eq!(draw.uids(&candidates, count), expected, "{}", case["vrf_output"]);
    }
}

#[test]
fn seeds_are_the_golden_ones() {
    for (draw, case) in cases() {
        for seed in case["item_seeds"].as_array().expect("item seeds") {
            assert_eq!(
                hex::encode(draw.item_seed(index(&seed[0]))),
                seed[1].as_str().expect("hex")
            );
        }
        for seed in case["sampling_seeds"].as_array().expect("sampling seeds") {
            assert_eq!(draw.sampling_seed(uid(&seed[0]), index(&seed[1])), uint(&seed[2]));
        }
    }
}
