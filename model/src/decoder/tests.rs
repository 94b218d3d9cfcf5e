//! The decoder against transformers: golden logits of small random models of every family.

use super::*;
use crate::arithmetic::Arithmetic;
use crate::backend::AnyDecoder;
use crate::device::{DeviceChoice, Dtype};
use crate::load::{LoadOptions, load, read_json};
use crate::shapes::parameter_shapes;
use crate::weights::WeightFiles;
use std::path::{Path, PathBuf};

/// Logits that transformers gives: `tokens` `[texts][time]`, `logits` `[texts][time][vocabulary]`.
struct Golden {
    tokens: Vec<Vec<u32>>,
    logits: Vec<Vec<Vec<f32>>>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/data/logits")
        .join(name)
}

fn golden(name: &str, field: &str) -> Golden {
    let bytes = std::fs::read(folder(name).join("golden.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (tokens, logits) = (file.tensor("tokens").unwrap(), file.tensor(field).unwrap());
    let [time, steps, vocabulary] = [tokens.shape()[1], logits.shape()[1], logits.shape()[2]];
    let ids: Vec<u32> = tokens
        .data()
        .chunks(8)
        .map(|id| u64::from_le_bytes(id.try_into().unwrap()) as u32)
        .collect();
    let numbers: Vec<f32> = logits
        .data()
        .chunks(4)
        .map(|number| f32::from_le_bytes(number.try_into().unwrap()))
        .collect();
    let rows: Vec<Vec<f32>> = numbers.chunks(vocabulary).map(<[f32]>::to_vec).collect();
    Golden {
        tokens: ids.chunks(time).map(<[u32]>::to_vec).collect(),
        logits: rows.chunks(steps).map(<[Vec<f32>]>::to_vec).collect(),
    }
}

/// The texts of a golden file.
pub(super) fn golden_tokens(name: &str) -> Vec<Vec<u32>> {
    golden(name, "logits").tokens
}

/// A model on libtorch and a CPU in `f32`, itself rather than behind the seam.
pub(super) fn libtorch_decoder(name: &str, room: Room) -> Decoder {
    let config = Config::read(&read_json(&folder(name).join("config.json")).unwrap(), None).unwrap();
    let files = WeightFiles::open(&folder(name)).unwrap();
    let place = |tensor: &String| {
        let held = files.place(tensor, &mut blake3::Hasher::new(), Kind::Float, Device::Cpu);
        (tensor.clone(), held.unwrap())
    };
    let tensors = parameter_shapes(&config).keys().map(place).collect();
    Decoder::assemble(config, tensors, Kind::Float, Device::Cpu, room).unwrap()
}

/// The field of the golden file that speaks of a number format.
fn field_of(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "logits",
        Dtype::Bf16 | Dtype::Int8 => "logits_bf16",
    }
}

/// Everything that computes on a CPU.
const ALL: [Arithmetic; 2] = [Arithmetic::Libtorch, Arithmetic::Kernels];

fn decoder(name: &str, dtype: Dtype, arithmetic: Arithmetic) -> AnyDecoder {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        dtype: Some(dtype),
        arithmetic,
        slots: 4,
        context_tokens_max: 48,
        threads: 2,
        ..LoadOptions::default()
    };
    load(&folder(name), &options, |_| {}).unwrap().decoder
}

/// The largest distance between two sets of logits.
pub(super) fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (found - expected).abs())
        .fold(0.0, f32::max)
}

pub(super) const MODELS: [&str; 4] = ["llama", "llama-v4-config", "qwen2", "qwen2-sharded"];
/// Texts of 40 tokens: past the original context where that is 16, past the window where there is one.
pub(super) const LONG_MODELS: [&str; 6] = [
    "llama3",
    "llama-linear",
    "llama-dynamic",
    "mistral",
    "qwen2-yarn",
    "qwen3",
];

/// Feeds the golden texts in steps of rows (text, slot, start, end) and compares each row's last logits.
#[track_caller]
fn check_steps(models: &[&str], dtype: Dtype, tolerance: f32, steps: &[&[(usize, usize, usize, usize)]]) {
    let _no_grad = tch::no_grad_guard();
    for (&name, arithmetic) in models
        .iter()
        .flat_map(|name| ALL.map(|arithmetic| (name, arithmetic)))
    {
        let golden = golden(name, field_of(dtype));
        let mut decoder = decoder(name, dtype, arithmetic);
        for step in steps {
            let rows: Vec<Row<'_>> = step
                .iter()
                .map(|&(text, slot, start, end)| Row {
                    slot,
                    start,
                    tokens: &golden.tokens[text][start..end],
                    reach: 0,
                })
                .collect();
            let outputs = decoder.forward(&rows).unwrap();
            for (index, &(text, _, _, end)) in step.iter().enumerate() {
                let found = outputs.logits(index);
                let distance = distance(found, &golden.logits[text][end - 1]);
                assert!(
                    distance <= tolerance,
                    "{name} {arithmetic:?}: {distance:e} at {step:?}"
                );
            }
        }
    }
}

/// What the project promises for `f32`, and what 8 bits of mantissa leave on logits of a few units.
const F32_TOLERANCE: f32 = 1e-4;
const BF16_TOLERANCE: f32 = 0.25;

#[test]
fn every_position_of_a_prompt_agrees_with_transformers() {
    let _no_grad = tch::no_grad_guard();
    for (name, arithmetic) in MODELS
        .into_iter()
        .chain(LONG_MODELS)
        .flat_map(|name| ALL.map(|own| (name, own)))
    {
        let golden = golden(name, "logits");
        let mut decoder = decoder(name, Dtype::F32, arithmetic);
        for (slot, tokens) in golden.tokens.iter().enumerate() {
            let row = Row {
                slot,
                start: 0,
                tokens,
                reach: 0,
            };
            let mut logits = Vec::new();
            let mut each = |found: &[f32], _: &[f32]| logits.extend_from_slice(found);
            decoder.score(&row, tokens.len(), &mut each).unwrap();
            let distance = distance(&logits, &golden.logits[slot].concat());
            assert!(distance <= F32_TOLERANCE, "{name} {arithmetic:?}: {distance:e}");
        }
    }
}

/// Prompts of unequal lengths together, then single tokens at unequal positions together.
const RAGGED: [&[(usize, usize, usize, usize)]; 6] = [
    &[(0, 0, 0, 9), (1, 1, 0, 14)],
    &[(0, 0, 9, 10), (1, 1, 14, 15)],
    &[(0, 0, 10, 11), (1, 1, 15, 16)],
    &[(0, 0, 11, 12)],
    &[(1, 1, 16, 17)],
    &[(0, 0, 12, 13), (1, 1, 17, 18)],
];

#[test]
fn ragged_batches_agree_with_transformers() {
    check_steps(&MODELS, Dtype::F32, F32_TOLERANCE, &RAGGED);
}

#[test]
fn ragged_batches_agree_with_transformers_in_bf16_within_its_precision() {
    check_steps(&MODELS, Dtype::Bf16, BF16_TOLERANCE, &RAGGED);
}

#[test]
fn a_prompt_in_chunks_beside_other_slots_agrees_with_transformers() {
    check_steps(
        &MODELS,
        Dtype::F32,
        F32_TOLERANCE,
        &[
            &[(0, 2, 0, 5)],
            &[(0, 2, 5, 12), (1, 0, 0, 3)],
            &[(1, 0, 3, 24), (0, 2, 12, 13)],
        ],
    );
}

/// As [`RAGGED`], past position 16 and with window edges inside chunks. What dynamic scaling says of these steps is
/// in a test of its own.
#[test]
fn long_ragged_batches_agree_with_transformers_in_every_family() {
    let models: Vec<&str> = LONG_MODELS
        .into_iter()
        .filter(|&name| name != "llama-dynamic")
        .collect();
    check_steps(
        &models,
        Dtype::F32,
        F32_TOLERANCE,
        &[
            &[(0, 0, 0, 21), (1, 1, 0, 3)],
            &[(0, 0, 21, 30), (1, 1, 3, 5)],
            &[(0, 0, 30, 31), (1, 1, 5, 6)],
            &[(1, 1, 6, 30), (0, 0, 31, 32)],
            &[(0, 0, 32, 33), (1, 1, 30, 31)],
            &[(1, 1, 31, 40)],
            &[(0, 0, 33, 34)],
        ],
    );
}

/// A prompt of 20 tokens, in pieces with these ends, then single tokens, each text beside the other.
#[track_caller]
fn check_dynamic(ends: &[usize], arithmetic: Arithmetic) {
    const PROMPT: usize = 20;
    let _no_grad = tch::no_grad_guard();
    let golden = golden("llama-dynamic", "decode");
    let mut decoder = decoder("llama-dynamic", Dtype::F32, arithmetic);
    let ends: Vec<usize> = ends.iter().copied().chain(PROMPT + 1..=40).collect();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    for piece in starts.zip(&ends).map(|(start, &end)| start..end) {
        let rows: Vec<Row<'_>> = (0..2)
            .map(|text| Row {
                slot: text,
                start: piece.start,
                tokens: &golden.tokens[text][piece.clone()],
                reach: PROMPT,
            })
            .collect();
        let outputs = decoder.forward(&rows).unwrap();
        if piece.start < PROMPT {
            continue;
        }
        for text in 0..rows.len() {
            let found = outputs.logits(text);
            let distance = distance(found, &golden.logits[text][piece.start - PROMPT]);
            assert!(distance <= F32_TOLERANCE, "{distance:e} at {piece:?}");
        }
    }
}

#[test]
fn dynamic_scaling_follows_the_length_of_each_text_as_in_transformers() {
    ALL.into_iter()
        .for_each(|arithmetic| check_dynamic(&[20], arithmetic));
}

#[test]
fn a_dynamically_scaled_prompt_in_chunks_is_rotated_like_one_in_a_piece() {
    ALL.into_iter()
        .for_each(|arithmetic| check_dynamic(&[7, 18, 20], arithmetic));
}

#[test]
fn a_slot_is_used_again_after_a_longer_text() {
    check_steps(
        &MODELS,
        Dtype::F32,
        F32_TOLERANCE,
        &[&[(0, 1, 0, 24)], &[(1, 1, 0, 2)], &[(1, 1, 2, 3)]],
    );
}

#[test]
fn a_moved_slot_goes_on_where_it_was() {
    let _no_grad = tch::no_grad_guard();
    let golden = golden("llama", "logits");
    let tokens = &golden.tokens[0];
    let row = |slot, start, tokens| Row {
        slot,
        start,
        tokens,
        reach: 0,
    };
    for arithmetic in ALL {
        let mut decoder = decoder("llama", Dtype::F32, arithmetic);
        decoder.forward(&[row(3, 0, &tokens[..10])]).unwrap();
        decoder.move_slot(3, 0, 10).unwrap();
        let logits = decoder.forward(&[row(0, 10, &tokens[10..11])]).unwrap();
        let distance = distance(logits.logits(0), &golden.logits[0][10]);
        assert!(distance <= F32_TOLERANCE, "{arithmetic:?}: {distance:e}");
    }
}

#[test]
fn rows_beyond_the_room_are_errors() {
    for arithmetic in ALL {
        let mut decoder = decoder("llama", Dtype::F32, arithmetic);
        for (slot, start, token) in [(0, 48, 1), (4, 0, 1), (0, 0, 160)] {
            let row = Row {
                slot,
                start,
                tokens: &[token],
                reach: 0,
            };
            let result = decoder.forward(&[row]);
            assert!(
                result.is_err(),
                "{arithmetic:?}: slot {slot}, start {start}, token {token}"
            );
        }
    }
}

#[test]
fn eight_bits_are_near_the_model_and_not_the_model() {
    let golden = golden("llama", "logits");
    let mut decoder = decoder("llama", Dtype::Int8, Arithmetic::Auto);
    let tokens = &golden.tokens[0];
    let row = Row {
        slot: 0,
        start: 0,
        tokens,
        reach: 0,
    };
    let mut found = Vec::new();
    let mut each = |logits: &[f32], _: &[f32]| found.extend_from_slice(logits);
    decoder.score(&row, tokens.len(), &mut each).unwrap();
    let square = |number: f32| number * number;
    let expected = golden.logits[0].concat();
    let error: f32 = found.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
    let share = (error / expected.iter().map(|&logit| square(logit)).sum::<f32>()).sqrt();
    assert!((0.001..0.1).contains(&share), "{share}");
}

/// The logits of a row's last token, to the last bit.
fn bits(decoder: &mut AnyDecoder, rows: &[Row<'_>], index: usize) -> Vec<u32> {
    let outputs = decoder.forward(rows).unwrap();
    outputs
        .logits(index)
        .iter()
        .map(|logit| logit.to_bits())
        .collect()
}

#[test]
fn on_the_kernels_an_answer_depends_neither_on_its_company_nor_on_chunks_nor_on_threads() {
    let golden = golden("qwen3", "logits");
    let row = |text: usize, slot, range: std::ops::Range<usize>| Row {
        slot,
        start: range.start,
        tokens: &golden.tokens[text][range],
        reach: 0,
    };
    for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
        let fresh = || decoder("qwen3", dtype, Arithmetic::Kernels);
        let mut alone = fresh();
        alone.forward(&[row(0, 0, 0..20)]).unwrap();
        let expected = bits(&mut alone, &[row(0, 0, 20..21)], 0);
        let mut together = fresh();
        together.forward(&[row(1, 3, 0..31), row(0, 2, 0..7)]).unwrap();
        together.forward(&[row(0, 2, 7..20), row(1, 3, 31..32)]).unwrap();
        let company = [row(1, 3, 32..33), row(1, 1, 0..9), row(0, 2, 20..21)];
        assert_eq!(bits(&mut together, &company, 2), expected, "{dtype}");
    }
}
