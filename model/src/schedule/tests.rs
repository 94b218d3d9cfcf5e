//! Turns over a scripted model: what goes through it together, and what comes out.

use super::*;
use crate::channel::{Generation, events};
use crate::request::Sampling;
use crate::testing::{Scripted, Steps, word_tokenizer};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::time::Duration;
use tch::TchError;

const END: u32 = 0;
const WORDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Tokens of the first words: `<end>` and `<unk>` come before them.
const A: u32 = 2;
const VOCABULARY: usize = 8;

type Rule = fn(&[u32]) -> Result<u32, TchError>;

/// Says the alphabet: after each word the next, after the last the end.
fn alphabet(tokens: &[u32]) -> Result<u32, TchError> {
    let last = *tokens.last().unwrap();
    Ok(if last as usize == VOCABULARY - 1 {
        END
    } else {
        last + 1
    })
}

/// Never ends.
fn endless(_: &[u32]) -> Result<u32, TchError> {
    Ok(A)
}

fn layout(slots: usize, piece_tokens: usize) -> SlotLayout {
    SlotLayout {
        slots,
        piece_tokens,
        alike_tokens: usize::MAX,
    }
}

/// As `layout`, for a model that rotates every prompt by its length.
fn without_reuse(layout: SlotLayout) -> SlotLayout {
    SlotLayout {
        alike_tokens: 0,
        ..layout
    }
}

struct Bench {
    schedule: Schedule<Scripted<Rule>>,
    steps: Steps,
    now: Instant,
    pace: Pace,
}

impl Bench {
    fn new(slots: usize, rule: Rule) -> Bench {
        Bench::with_slots(layout(slots, 256), rule)
    }

    fn with_slots(layout: SlotLayout, rule: Rule) -> Bench {
        let backend = Scripted::new(VOCABULARY, layout.slots, rule);
        let steps = Arc::clone(&backend.steps);
        let tokenizer = Arc::new(word_tokenizer(&WORDS));
        Bench {
            schedule: Schedule::new(backend, tokenizer, vec![END], layout),
            steps,
            now: Instant::now(),
            pace: Pace::default(),
        }
    }

    fn admit(&mut self, prompt: &[u32], tokens_max: u32) -> Generation {
        self.admit_with(prompt, tokens_max, &[], None)
    }

    fn admit_with(
        &mut self,
        prompt: &[u32],
        tokens_max: u32,
        stop: &[&str],
        deadline: Option<Instant>,
    ) -> Generation {
        let (sender, generation) = events();
        let stop = stop.iter().map(|stop| stop.to_string()).collect();
        let prompt = prompt.to_vec();
        self.schedule.admit(Job {
            prompt,
            tokens_max,
            tokens_min: 0,
            sampling: Sampling::default(),
            stop,
            deadline,
            asker: None,
            sender,
        });
        generation
    }

    fn turn(&mut self) -> TurnReport {
        self.schedule.turn(self.now, &self.pace)
    }

    fn run(&mut self) {
        while !self.schedule.is_idle() {
            self.turn();
        }
    }

    /// The rows of every step so far, and none of them again.
    fn steps(&self) -> Vec<Vec<(usize, usize, usize)>> {
        std::mem::take(&mut self.steps.lock().unwrap())
    }
}

#[track_caller]
fn check_answer(generation: Generation, text: &str, reason: FinishReason, tokens: u32) {
    let answer = generation.wait().unwrap();
    let found = (answer.text.as_str(), answer.finish.reason, answer.finish.tokens);
    assert_eq!(found, (text, reason, tokens));
}

#[test]
fn an_answer_ends_with_the_text_or_with_its_length() {
    let mut bench = Bench::new(1, alphabet);
    let generation = bench.admit(&[A, A + 2], 10);
    bench.run();
    check_answer(generation, " d e f", FinishReason::EndOfText, 3);
    let generation = bench.admit(&[A], 2);
    bench.run();
    check_answer(generation, " b c", FinishReason::Length, 2);
}

#[test]
fn a_stop_text_across_tokens_ends_the_answer_before_it() {
    let mut bench = Bench::new(1, alphabet);
    let generation = bench.admit_with(&[A], 10, &["c d"], None);
    bench.run();
    check_answer(generation, " b ", FinishReason::Stop, 3);
}

#[test]
fn text_held_back_for_a_stop_that_did_not_come_is_shown_at_the_end() {
    let mut bench = Bench::new(1, alphabet);
    let generation = bench.admit_with(&[A], 3, &["d e"], None);
    bench.run();
    check_answer(generation, " b c d", FinishReason::Length, 3);
}

#[test]
fn requests_that_run_together_share_their_steps() {
    let mut bench = Bench::new(4, endless);
    let first = bench.admit(&[A; 3], 4);
    let second = bench.admit(&[A; 5], 3);
    bench.turn();
    // Both prompts in one batch, then both first tokens in one step.
    assert_eq!(
        bench.steps(),
        [vec![(0, 0, 3), (1, 0, 5)], vec![(0, 3, 1), (1, 5, 1)]]
    );
    let third = bench.admit(&[A; 2], 9);
    assert_eq!(
        bench.turn(),
        TurnReport {
            rows: 3,
            tokens: 4,
            prompt_tokens: 2,
            active: 2,
            ..TurnReport::default()
        }
    );
    // The newcomer's prompt goes alone, then all three step; the second has its three tokens and leaves.
    assert_eq!(
        bench.steps(),
        [vec![(2, 0, 2)], vec![(0, 4, 1), (1, 6, 1), (2, 2, 1)]]
    );
    bench.turn();
    // The newcomer moved into the slot of the one that left.
    assert_eq!(bench.steps(), [vec![(0, 5, 1), (1, 3, 1)]]);
    bench.run();
    check_answer(first, " a a a a", FinishReason::Length, 4);
    check_answer(second, " a a a", FinishReason::Length, 3);
    check_answer(third, " a a a a a a a a a", FinishReason::Length, 9);
}

#[test]
fn moving_a_request_does_not_change_its_answer() {
    let mut bench = Bench::new(3, alphabet);
    let short = bench.admit(&[A + 4], 10);
    let other = bench.admit(&[A + 3], 10);
    let long = bench.admit(&[A], 10);
    bench.run();
    check_answer(short, " f", FinishReason::EndOfText, 1);
    check_answer(other, " e f", FinishReason::EndOfText, 2);
    check_answer(long, " b c d e f", FinishReason::EndOfText, 5);
}

#[test]
fn a_long_prompt_enters_in_pieces_while_others_go_on() {
    let mut bench = Bench::new(2, endless);
    let _short = bench.admit(&[A], 100);
    bench.turn();
    bench.steps();
    let _long = bench.admit(&[A; 1100], 100);
    for _ in 0..3 {
        bench.turn();
    }
    let expected: [&[(usize, usize, usize)]; 8] = [
        &[(1, 0, 256)],
        &[(1, 256, 256)],
        &[(0, 2, 1)],
        &[(1, 512, 256)],
        &[(1, 768, 256)],
        &[(0, 3, 1)],
        &[(1, 1024, 76)],
        &[(0, 4, 1), (1, 1100, 1)],
    ];
    assert_eq!(bench.steps(), expected);
}

#[test]
fn pieces_that_enter_in_a_turn_are_limited() {
    let mut bench = Bench::new(12, endless);
    let _all: Vec<Generation> = (0..12).map(|_| bench.admit(&[A; 512], 1)).collect();
    let pieces = |count: usize, start: usize| (0..count).map(|slot| (slot, start, 256)).collect::<Vec<_>>();
    bench.turn();
    assert_eq!(bench.steps(), [pieces(8, 0)]);
    bench.turn();
    assert_eq!(bench.steps(), [pieces(8, 256)]);
    bench.turn();
    assert_eq!(bench.steps(), [pieces(4, 0), pieces(4, 256)]);
    assert!(bench.schedule.is_idle());
}

#[test]
fn a_dropped_generation_frees_its_slot_within_a_turn() {
    let mut bench = Bench::new(2, endless);
    let dropped = bench.admit(&[A], 1000);
    let kept = bench.admit(&[A], 3);
    bench.turn();
    assert_eq!(bench.schedule.free_slots(), 0);
    drop(dropped);
    assert_eq!(
        bench.turn(),
        TurnReport {
            rows: 1,
            tokens: 1,
            ..TurnReport::default()
        }
    );
    check_answer(kept, " a a a", FinishReason::Length, 3);
}

#[test]
fn a_deadline_ends_an_answer_with_what_there_is() {
    let mut bench = Bench::new(1, endless);
    let deadline = bench.now + Duration::from_secs(1);
    let generation = bench.admit_with(&[A], 1000, &["a b"], Some(deadline));
    bench.turn();
    bench.now = deadline;
    bench.turn();
    assert!(bench.schedule.is_idle());
    // The last word was held back for the stop text; now it is shown.
    check_answer(generation, " a a", FinishReason::Deadline, 2);
}

#[test]
fn a_failing_model_fails_its_requests_and_goes_on() {
    let failing = |tokens: &[u32]| match tokens.len() {
        5 => Err(TchError::Torch("out of memory\nframe 0".to_owned())),
        _ => Ok(A),
    };
    let mut bench = Bench::new(2, failing);
    let generation = bench.admit(&[A; 3], 100);
    bench.run();
    let message = "Internal torch error: out of memory".to_owned();
    assert_eq!(generation.wait(), Err(GenerateError::Torch { message }));
    let generation = bench.admit(&[A], 2);
    bench.run();
    check_answer(generation, " a a", FinishReason::Length, 2);
}

#[test]
fn a_prompt_whose_asker_went_away_does_not_go_on_entering() {
    let mut bench = Bench::new(2, endless);
    let dropped = bench.admit(&[A; 2000], 10);
    bench.turn();
    assert_eq!(bench.steps(), [[(0, 0, 256)], [(0, 256, 256)]]);
    drop(dropped);
    bench.turn();
    assert_eq!((bench.steps().len(), bench.schedule.free_slots()), (0, 2));
}

#[test]
fn a_prompt_that_cannot_be_through_in_time_is_dropped_on_the_way() {
    let mut bench = Bench::new(1, endless);
    let deadline = bench.now + Duration::from_secs(3);
    let generation = bench.admit_with(&[A; 2000], 10, &[], Some(deadline));
    bench.pace.learn(512, 0, Duration::from_millis(512));
    bench.turn();
    assert!(!bench.schedule.is_idle());
    bench.now += Duration::from_secs(2);
    let report = bench.turn();
    assert_eq!((report.late, report.prompt_tokens), (1, 0));
    check_answer(generation, "", FinishReason::Deadline, 0);
}

/// What is said next depends on every token so far, so a wrong cache gives a wrong answer.
fn digest(tokens: &[u32]) -> Result<u32, TchError> {
    let digest = tokens.iter().fold(7_u32, |digest, &token| {
        digest.wrapping_mul(31).wrapping_add(token)
    });
    // Never the end, so that an answer has the length that it is to have.
    Ok(1 + digest % (VOCABULARY as u32 - 1))
}

/// Forty tokens that only prompts with this `family` begin with, then some of their own.
fn related(family: u32, own: &[u32]) -> Vec<u32> {
    let family = (0..40).map(|index| A + (family >> (index % 3)) % 6);
    family.chain(own.iter().copied()).collect()
}

/// Three slots, and pieces of eight tokens.
fn reusing() -> Bench {
    Bench::with_slots(layout(3, 8), digest)
}

/// Lets prompts run one after the other and tells from which token on each went through the model.
#[track_caller]
fn check_prompts(prompts: &[&[u32]], expected: &[usize]) {
    let mut bench = reusing();
    let mut found = Vec::new();
    for prompt in prompts {
        let _generation = bench.admit(prompt, 1);
        bench.run();
        found.push(bench.steps()[0][0].1);
    }
    assert_eq!(found, expected);
}

#[test]
fn a_prompt_that_begins_like_one_before_it_goes_through_in_part() {
    let [one, two] = [related(1, &[A]), related(1, &[A + 1, A + 2])];
    check_prompts(&[&one, &two], &[0, 40]);
    // The last token goes through in any case, for what follows it, and with it the piece that it is in.
    check_prompts(&[&two, &two[..40]], &[0, 32]);
    check_prompts(&[&two[..39], &two], &[0, 32]);
    // An unrelated prompt takes the slot, and what it held moves to the one beside it.
    let other = related(5, &[A]);
    check_prompts(&[&one, &other, &one, &other], &[0, 0, 40, 40]);
}

#[test]
fn a_prompt_that_begins_like_one_that_runs_is_copied_from_it() {
    let mut bench = reusing();
    let _one = bench.admit(&related(1, &[A]), 50);
    bench.turn();
    bench.steps();
    let _two = bench.admit(&related(1, &[A + 1]), 1);
    let report = bench.turn();
    assert_eq!((report.hit_tokens, report.prompt_tokens), (40, 1));
    assert_eq!(bench.steps()[0], [(1, 40, 1)]);
}

#[test]
fn a_request_that_needs_a_slot_gets_it_whatever_is_kept_there() {
    let prompts = [related(1, &[A]), related(5, &[A])];
    for (slots, hit_tokens) in [(1, 0), (2, 40)] {
        let mut bench = Bench::with_slots(layout(slots, 8), digest);
        for prompt in &prompts {
            let _generation = bench.admit(prompt, 1);
            bench.run();
        }
        let _generation = bench.admit(&prompts[0], 1);
        assert_eq!(bench.turn().hit_tokens, hit_tokens);
    }
}

/// Answers of requests of a few families that come and go at random, on so many slots.
fn answers(seed: u64, layout: SlotLayout) -> Vec<Option<String>> {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut bench = Bench::with_slots(layout, digest);
    let mut generations = Vec::new();
    for _ in 0..200 {
        let [wait, family, own, tokens_max, drops] = [3, 4, 30, 20, 8].map(|most| random.next_u32() % most);
        let own: Vec<u32> = (0..own).map(|_| random.next_u32() % VOCABULARY as u32).collect();
        while bench.schedule.free_slots() == 0 {
            bench.turn();
        }
        let generation = bench.admit(&related(family, &own), tokens_max + 1);
        // Some go away at once, so that their slot is freed in the middle of the others.
        generations.push((drops > 0).then_some(generation));
        (0..wait).for_each(|_| {
            bench.turn();
        });
    }
    bench.run();
    let text = |generation: Generation| generation.wait().unwrap().text;
    generations
        .into_iter()
        .map(|generation| generation.map(text))
        .collect()
}

#[test]
fn answers_do_not_depend_on_what_was_kept() {
    for seed in 0..20 {
        for slots in [1, 3, 4, 8] {
            let layout = layout(slots, 8);
            let reusing = answers(seed, layout);
            let alone = answers(seed, without_reuse(layout));
            assert_eq!(reusing, alone, "seed {seed}, {layout:?}");
        }
    }
}

#[test]
fn prompts_that_are_rotated_by_their_length_are_not_reused() {
    let mut bench = Bench::with_slots(without_reuse(layout(3, 8)), digest);
    for _ in 0..2 {
        let _generation = bench.admit(&related(1, &[A]), 1);
        assert_eq!(bench.turn().hit_tokens, 0);
    }
}

#[test]
fn a_copy_that_fails_costs_nothing_but_itself() {
    let mut bench = reusing();
    bench.schedule.slots.backend.fails_to_move = true;
    let _one = bench.admit(&related(1, &[A]), 50);
    bench.turn();
    let two = bench.admit(&related(1, &[A + 1]), 1);
    assert_eq!(bench.turn().hit_tokens, 0);
    assert_eq!(two.wait().unwrap().finish.tokens, 1);
}
