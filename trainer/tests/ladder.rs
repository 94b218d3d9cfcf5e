//! The shipped ladder, answering through the engine that miners use and judged as validators judge.

use agon_model::{Dtype, Engine, LoadOptions, Request};
use agon_subnets::draw::{Draw, Purpose};
use agon_subnets::{Given, Item, SCORE_PPM_MAX, Task, task};
use std::path::Path;

const ITEMS: u64 = 300;

fn items(reading: &dyn Task) -> Vec<Item> {
    let mut draw = Draw::new(*b"items of the ladder's own test..", Purpose::Item);
    let mut seed = || std::array::from_fn(|_| draw.below(256) as u8);
    (0..ITEMS).map(|_| reading.item(seed())).collect()
}

/// Percent of items that a shipped rung answers perfectly when it takes the most likely token.
fn perfect_percent(rung: &str, dtype: Option<Dtype>) -> usize {
    let reading = task("reading").expect("a listed task");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(rung);
    let options = LoadOptions {
        dtype,
        queue_max: ITEMS as usize,
        ..LoadOptions::default()
    };
    let engine = Engine::load(&folder, &options, |_| {}).expect("the rung loads as any model does");
    let items = items(&*reading);
    let ask = |item: &Item| {
        let (prompt, tokens_max) = (item.prompt.clone(), item.tokens_max);
        engine
            .submit(Request {
                prompt,
                tokens_max,
                ..Request::default()
            })
            .expect("the queue has room")
    };
    let generations: Vec<_> = items.iter().map(ask).collect();
    let answers = generations
        .into_iter()
        .map(|generation| generation.wait().expect("the engine runs"));
    let judged = items
        .iter()
        .zip(answers)
        .map(|(item, answer)| reading.judge(item, &Given::text(&answer.text)));
    100 * judged
        .filter(|judgement| judgement.score_ppm == SCORE_PPM_MAX)
        .count()
        / items.len()
}

#[test]
fn each_rung_is_clearly_better_than_the_one_below_it() {
    agon_model::start();
    let [small, medium, large] = ["small", "medium", "large"].map(|rung| perfect_percent(rung, None));
    // The cards' marks are at least 17 points apart; 300 items place each within 6 or so.
    assert!(
        small + 10 <= medium && medium + 10 <= large,
        "{small}, {medium}, {large} percent"
    );
    assert!(large >= 85, "{large} percent");
}

#[test]
fn the_best_rung_is_as_good_in_bf16() {
    agon_model::start();
    let percent = perfect_percent("large", Some(Dtype::Bf16));
    assert!(percent >= 85, "{percent} percent");
}
