//! Fixed steps beside ordinary ones, computed on a CPU; and what becomes of answers when recording fails.

use super::*;
use crate::backend::Backend;
use crate::decoder::tests::{LONG_MODELS, MODELS, distance, golden_tokens, libtorch_decoder};
use crate::graphs::tests::StandIn;

/// Only sums over masked positions may be ordered differently.
const F32_TOLERANCE: f32 = 2e-5;
const ROOM: Room = Room {
    slots: 6,
    context_tokens: 300,
};

#[track_caller]
fn check_shape(places: &[(usize, usize)], expected: Option<(usize, usize)>) {
    let row = |&(slot, start)| Row {
        slot,
        start,
        tokens: &[1],
        reach: 0,
    };
    let rows: Vec<Row<'_>> = places.iter().map(row).collect();
    let expected = expected.map(|(slots, span)| Shape { slots, span });
    assert_eq!(Shape::of(&rows, ROOM), expected, "{places:?}");
}

#[test]
fn shapes_are_powers_of_two_within_the_room() {
    check_shape(&[], None);
    check_shape(&[(0, 0)], Some((1, 256)));
    check_shape(&[(0, 255)], Some((1, 256)));
    check_shape(&[(0, 256)], Some((1, 300)));
    check_shape(&[(0, 299), (1, 3), (2, 0)], Some((4, 300)));
    check_shape(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)], Some((6, 256)));
    // Beyond the room.
    check_shape(&[(0, 300)], None);
    check_shape(&[(6, 0)], None);
}

#[test]
fn rows_that_leave_half_of_the_slots_idle_or_are_out_of_order_have_no_shape() {
    check_shape(&[(1, 0)], None);
    check_shape(&[(0, 0), (3, 0)], None);
    check_shape(&[(0, 0), (2, 0), (3, 0)], Some((4, 256)));
    check_shape(&[(1, 0), (0, 0)], None);
    check_shape(&[(0, 0), (0, 1)], None);
}

#[test]
fn rows_of_several_tokens_have_no_shape() {
    let row = Row {
        slot: 0,
        start: 0,
        tokens: &[1, 2],
        reach: 0,
    };
    assert_eq!(Shape::of(&[row], ROOM), None);
}

/// Prompts of these lengths in slots 0, 1, ..., in every decoder alike.
fn prompts(name: &str, lengths: &[usize]) -> (Decoder, Vec<Vec<u32>>) {
    let mut decoder = libtorch_decoder(name, ROOM);
    let tokens = golden_tokens(name);
    let texts: Vec<Vec<u32>> = (0..lengths.len())
        .map(|slot| tokens[slot % tokens.len()].clone())
        .collect();
    for (slot, (&length, text)) in lengths.iter().zip(&texts).enumerate() {
        let row = Row {
            slot,
            start: 0,
            tokens: &text[..length],
            reach: 0,
        };
        decoder.forward(&[row]).unwrap();
    }
    (decoder, texts)
}

/// The next token of these slots, behind `lengths` tokens.
fn step<'a>(texts: &'a [Vec<u32>], lengths: &[usize], slots: &[usize]) -> Vec<Row<'a>> {
    let row = |&slot: &usize| Row {
        slot,
        start: lengths[slot],
        tokens: &texts[slot][lengths[slot]..=lengths[slot]],
        reach: 0,
    };
    slots.iter().map(row).collect()
}

#[track_caller]
fn check_close(found: &Outputs, expected: &Outputs, rows: usize, what: &str) {
    for row in 0..rows {
        let pairs = [
            (found.logits(row), expected.logits(row)),
            (found.hidden(row), expected.hidden(row)),
        ];
        for (found, expected) in pairs {
            let distance = distance(found, expected);
            assert!(distance <= F32_TOLERANCE, "{what}, row {row}: {distance:e}");
        }
    }
}

#[test]
fn a_fixed_step_is_an_ordinary_step_in_every_family() {
    let _no_grad = tch::no_grad_guard();
    for name in MODELS.into_iter().chain(LONG_MODELS) {
        let mut lengths = vec![9, 3, 12, 7];
        let (mut ordinary, texts) = prompts(name, &lengths);
        let (mut decoder, _) = prompts(name, &lengths);
        let mut board = Board::new(&decoder.config, ROOM, Device::Cpu).unwrap();
        // All slots, some of them, one: each step goes on from the caches that the one before left.
        for slots in [&[0, 1, 2, 3][..], &[0, 2, 3], &[0, 1], &[0], &[0, 1, 2]] {
            let rows = step(&texts, &lengths, slots);
            let shape = Shape::of(&rows, ROOM).unwrap();
            board.write(&rows).unwrap();
            decoder.compute_fixed(&board, shape).unwrap();
            let found = board.read(&rows).unwrap();
            let expected = ordinary.forward(&rows).unwrap();
            check_close(&found, &expected, rows.len(), &format!("{name} {slots:?}"));
            slots.iter().for_each(|&slot| lengths[slot] += 1);
        }
        // Slots that took no part hold what they held.
        let rows = step(&texts, &lengths, &[3]);
        let (found, expected) = (decoder.forward(&rows).unwrap(), ordinary.forward(&rows).unwrap());
        check_close(&found, &expected, 1, name);
    }
}

/// A decoder that records by a stand-in in which one function fails.
fn recording(name: &str, lengths: &[usize], fails: &str) -> (Decoder, Vec<Vec<u32>>) {
    let (mut decoder, texts) = prompts(name, lengths);
    let graphs = StandIn::failing_to(fails).graphs().unwrap();
    let board = Board::new(&decoder.config, ROOM, Device::Cpu).unwrap();
    decoder.fixed = Some(FixedSteps::new(graphs, board));
    (decoder, texts)
}

#[test]
fn a_step_is_recorded_once_for_its_shape_and_then_repeated() {
    let _no_grad = tch::no_grad_guard();
    let mut lengths = vec![5, 8];
    let (mut decoder, texts) = recording("llama", &lengths, "");
    let (mut ordinary, _) = prompts("llama", &lengths);
    let rows = step(&texts, &lengths, &[0, 1]);
    let first = decoder.forward(&rows).unwrap();
    check_close(&first, &ordinary.forward(&rows).unwrap(), 2, "recorded");
    lengths.iter_mut().for_each(|length| *length += 1);
    // The stand-in repeats nothing, so the board still has what was there: nothing was computed.
    let again = decoder.forward(&step(&texts, &lengths, &[0, 1])).unwrap();
    assert_eq!(again, first);
    // Another shape is another recording.
    let rows = step(&texts, &lengths, &[0]);
    let found = decoder.forward(&rows).unwrap();
    assert_ne!(found.logits(0), first.logits(0));
    let fixed = decoder.fixed.as_ref().unwrap();
    let shapes: Vec<Shape> = fixed.recordings.keys().copied().collect();
    assert_eq!(shapes, [1, 2].map(|slots| Shape { slots, span: 256 }));
}

#[test]
fn a_prompt_goes_through_as_ever_where_steps_are_recorded() {
    let _no_grad = tch::no_grad_guard();
    let (mut decoder, texts) = recording("qwen3", &[4], "");
    let (mut ordinary, _) = prompts("qwen3", &[4]);
    let row = Row {
        slot: 0,
        start: 4,
        tokens: &texts[0][4..20],
        reach: 0,
    };
    assert_eq!(
        decoder.forward(&[row]).unwrap(),
        ordinary.forward(&[row]).unwrap()
    );
    assert!(decoder.fixed.unwrap().recordings.is_empty());
}

#[test]
fn after_a_failure_to_record_or_repeat_answers_are_those_of_ordinary_steps() {
    let _no_grad = tch::no_grad_guard();
    for fails in ["enter", "begin", "end", "replay"] {
        let mut lengths = vec![6, 11, 2];
        let (mut decoder, texts) = recording("mistral", &lengths, fails);
        let (mut ordinary, _) = prompts("mistral", &lengths);
        for _ in 0..3 {
            let rows = step(&texts, &lengths, &[0, 1, 2]);
            let found = decoder.forward(&rows).unwrap();
            assert_eq!(found, ordinary.forward(&rows).unwrap(), "{fails}");
            assert!(decoder.fixed.is_none(), "{fails}");
            lengths.iter_mut().for_each(|length| *length += 1);
        }
    }
}

#[test]
fn texts_that_are_rotated_by_their_length_are_left_to_ordinary_steps() {
    let _no_grad = tch::no_grad_guard();
    let mut lengths = vec![15];
    let (mut decoder, texts) = recording("llama-dynamic", &lengths, "");
    let (mut ordinary, _) = prompts("llama-dynamic", &lengths);
    let mut recordings = Vec::new();
    for _ in 0..3 {
        let rows = step(&texts, &lengths, &[0]);
        let found = decoder.forward(&rows).unwrap();
        check_close(&found, &ordinary.forward(&rows).unwrap(), 1, "llama-dynamic");
        recordings.push(decoder.fixed.as_ref().unwrap().recordings.len());
        lengths[0] += 1;
    }
    assert_eq!(recordings, [1, 1, 1]);
}

#[test]
fn no_step_is_recorded_on_a_cpu() {
    let decoder = libtorch_decoder("llama", ROOM);
    assert!(decoder.fixed.is_none());
}
