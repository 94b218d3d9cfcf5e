//! Slots over the real decoder: what is copied is what computing would give, to the bit.

use std::path::Path;

use super::*;
use crate::arithmetic::Arithmetic;
use crate::backend::{AnyDecoder, Outputs, Row};
use crate::channel::events;
use crate::device::{DeviceChoice, Dtype};
use crate::load::{LoadOptions, load};
use crate::request::Sampling;

/// Every family that is rotated alike whatever the prompt's length.
const MODELS: [&str; 7] = [
    "llama",
    "qwen2",
    "llama3",
    "llama-linear",
    "mistral",
    "qwen2-yarn",
    "qwen3",
];
const PROMPT_TOKENS: usize = 29;
const ANSWER_TOKENS: usize = 8;
const LAYOUT: SlotLayout = SlotLayout {
    slots: 3,
    piece_tokens: 8,
    alike_tokens: usize::MAX,
};

fn decoder(name: &str, arithmetic: Arithmetic) -> AnyDecoder {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/data/logits")
        .join(name);
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        dtype: Some(Dtype::F32),
        arithmetic,
        slots: 4,
        context_tokens_max: 48,
        ..LoadOptions::default()
    };
    load(&dir, &options, |_| {}).unwrap().decoder
}

/// A prompt; `from` on it has tokens of its own.
fn prompt(from: usize) -> Vec<u32> {
    (0..PROMPT_TOKENS)
        .map(|index| (1 + index * 37 % 60 + usize::from(index >= from)) as u32)
        .collect()
}

/// Admits a prompt and takes it in alone, then some tokens more; gives what was there already and the bits of all that
/// the model says from the prompt's end on.
fn answer(slots: &mut Slots<AnyDecoder>, prompt: &[u32]) -> (usize, Vec<u32>) {
    let (sender, _generation) = events();
    let slot = slots.running.len();
    let hit_tokens = slots.admit(Job {
        prompt: prompt.to_vec(),
        tokens_max: ANSWER_TOKENS as u32,
        tokens_min: 0,
        sampling: Sampling::default(),
        stop: Vec::new(),
        deadline: None,
        asker: None,
        sender,
    });
    let mut bits = Vec::new();
    while slots.running[slot].has_prompt_left() {
        let row = slots.running[slot].piece(slot, LAYOUT.piece_tokens);
        let (length, outputs) = (row.tokens.len(), slots.backend.forward(&[row]).unwrap());
        slots.running[slot].cached += length;
        bits = bits_of(&outputs);
    }
    for token in 0..ANSWER_TOKENS as u32 {
        let start = slots.running[slot].cached;
        let row = Row {
            slot,
            start,
            tokens: &[token],
            reach: PROMPT_TOKENS,
        };
        bits.extend(bits_of(&slots.backend.forward(&[row]).unwrap()));
        slots.running[slot].cached += 1;
    }
    (hit_tokens, bits)
}

fn bits_of(outputs: &Outputs) -> Vec<u32> {
    let numbers = outputs.logits(0).iter().chain(outputs.hidden(0));
    numbers.map(|number| number.to_bits()).collect()
}

#[test]
fn what_is_copied_is_what_computing_would_give_to_the_bit() {
    check_all(Arithmetic::Libtorch);
}

#[test]
fn the_same_holds_for_our_own_kernels() {
    check_all(Arithmetic::Kernels);
}

fn check_all(arithmetic: Arithmetic) {
    let _no_grad = tch::no_grad_guard();
    for name in MODELS {
        let asked = prompt(PROMPT_TOKENS);
        let computed = answer(&mut Slots::new(decoder(name, arithmetic), LAYOUT), &asked).1;
        for cut in 0..=PROMPT_TOKENS {
            let mut slots = Slots::new(decoder(name, arithmetic), LAYOUT);
            answer(&mut slots, &prompt(cut));
            let expected_hit = cut - cut % LAYOUT.piece_tokens;
            // From the slot of one that runs, from one that is kept, and in place.
            assert_eq!(
                answer(&mut slots, &asked),
                (expected_hit, computed.clone()),
                "{name}, {cut}"
            );
            slots.running[1].is_over = true;
            slots.compact();
            let hit = PROMPT_TOKENS - PROMPT_TOKENS % LAYOUT.piece_tokens;
            assert_eq!(
                answer(&mut slots, &asked),
                (hit, computed.clone()),
                "{name}, in place"
            );
            slots.running[0].is_over = true;
            slots.compact();
            assert_eq!(
                answer(&mut slots, &asked),
                (hit, computed.clone()),
                "{name}, moved"
            );
        }
    }
}
