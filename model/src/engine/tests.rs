//! The engine with a tiny random model, and with scripted ones where the order of things matters.

use super::*;
use crate::config::Architecture;
use crate::device::{DeviceChoice, Dtype};
use crate::request::{Answer, Asker, GenerateError};
use crate::testing::{Folder, Scripted, WORDS, word_tokenizer};
use std::sync::mpsc;
use std::time::Duration;
use tch::TchError;

const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> LoadOptions {
    LoadOptions {
        device: DeviceChoice::Cpu,
        slots: 4,
        ..LoadOptions::default()
    }
}

/// An engine over random parameters, whose answers end by length only.
fn engine() -> Engine {
    Engine::load(Folder::new().path(), &options(), |_| {}).unwrap()
}

fn request(prompt: &str, tokens_max: u32) -> Request {
    Request {
        prompt: prompt.to_owned(),
        tokens_max,
        ..Request::default()
    }
}

fn drawn(prompt: &str, tokens_max: u32, seed: u64) -> Request {
    let sampling = Sampling {
        temperature: 1.0,
        top_p: 0.95,
        top_k: 0,
        seed,
    };
    Request {
        sampling,
        ..request(prompt, tokens_max)
    }
}

/// An engine over a scripted model with one slot and so many waiting places.
fn scripted(queue_max: usize, rule: impl FnMut(&[u32]) -> Result<u32, TchError> + Send + 'static) -> Engine {
    let tokenizer = Arc::new(word_tokenizer(&WORDS));
    let info = ModelInfo {
        name: "scripted".to_owned(),
        architecture: Architecture::Llama,
        parameters: 0,
        vocabulary: 8,
        context_tokens: 64,
        dtype: Dtype::F32,
        device: "cpu".to_owned(),
        arithmetic: "scripted".to_owned(),
        libtorch: crate::LIBTORCH_VERSION,
        digest: [0; 32],
    };
    let slots = SlotLayout {
        slots: 1,
        piece_tokens: 16,
        alike_tokens: usize::MAX,
    };
    let schedule = Schedule::new(Scripted::new(8, 1, rule), Arc::clone(&tokenizer), vec![0], slots);
    let options = LoadOptions {
        slots: 1,
        queue_max,
        ..LoadOptions::default()
    };
    Engine::start(info, tokenizer, None, schedule, &options).unwrap()
}

/// A scripted engine that makes a token each time the returned sender is used, and says when it begins one.
fn paced() -> (Engine, mpsc::Sender<()>, mpsc::Receiver<()>) {
    paced_with(1)
}

fn paced_with(queue_max: usize) -> (Engine, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (go, gone) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let engine = scripted(queue_max, move |_| {
        // Whoever holds the other ends may be done with them.
        let _ = begin.send(());
        let _ = gone.recv();
        Ok(2)
    });
    (engine, go, begun)
}

#[test]
fn a_loaded_model_answers_and_repeats_itself() {
    let engine = engine();
    let answer = |engine: &Engine| {
        engine
            .submit(request("where is mary", 12))
            .unwrap()
            .wait()
            .unwrap()
    };
    let first = answer(&engine);
    assert_eq!((first.finish.tokens, first.finish.prompt_tokens), (12, 3));
    assert_eq!(first.finish.reason, FinishReason::Length);
    assert_eq!(answer(&engine), first);
    // Counters follow the answers; after the end they are complete.
    engine.shutdown();
    assert_eq!(engine.stats().tokens, 24);
}

#[test]
fn an_answer_does_not_depend_on_who_shares_the_batch() {
    let engine = engine();
    let prompts = [
        "where is mary",
        "john",
        "is mary where kitchen garden garden",
        "mary john",
    ];
    let one_by_one: Vec<Answer> = (0..)
        .zip(prompts)
        .map(|(seed, prompt)| engine.submit(drawn(prompt, 20, seed)).unwrap().wait().unwrap())
        .collect();
    let generations: Vec<Generation> = (0..)
        .zip(prompts)
        .map(|(seed, prompt)| engine.submit(drawn(prompt, 20, seed)).unwrap())
        .collect();
    let together: Vec<Answer> = generations
        .into_iter()
        .map(|generation| generation.wait().unwrap())
        .collect();
    assert_eq!(together, one_by_one);
}

#[test]
fn another_seed_gives_another_answer() {
    let engine = engine();
    let answer = |seed| {
        engine
            .submit(drawn("mary", 20, seed))
            .unwrap()
            .wait()
            .unwrap()
            .text
    };
    assert_eq!(answer(1), answer(1));
    assert_ne!(answer(1), answer(2));
}

#[test]
fn answers_stop_where_the_context_ends() {
    let engine = engine();
    let answer = engine.submit(request("mary john", 1000)).unwrap().wait().unwrap();
    assert_eq!(
        (answer.finish.reason, answer.finish.tokens),
        (FinishReason::Length, 62)
    );
}

#[track_caller]
fn check_refused(request: Request, message: &str) {
    let error = engine().submit(request).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn requests_that_cannot_be_answered_are_refused_with_numbers() {
    check_refused(
        request(&"mary ".repeat(64), 1),
        "the prompt has 64 tokens, at most 63 fit",
    );
    check_refused(
        request(&" ".repeat(5000), 1),
        "the prompt has 5000 bytes, at most 4096 are taken",
    );
    check_refused(request("", 1), "the prompt has no tokens");
    let sampling = Sampling {
        temperature: f32::NAN,
        ..Sampling::default()
    };
    let message = "temperature is NaN, expected a number from 0 up";
    check_refused(
        Request {
            sampling,
            ..request("mary", 1)
        },
        message,
    );
    let sampling = Sampling {
        top_p: 0.0,
        ..Sampling::default()
    };
    let message = "top_p is 0, expected a number above 0, up to 1";
    check_refused(
        Request {
            sampling,
            ..request("mary", 1)
        },
        message,
    );
    let stop = vec![String::new()];
    let message = "a stop text has 0 bytes, expected 1 to 256";
    check_refused(
        Request {
            stop,
            ..request("mary", 1)
        },
        message,
    );
    let stop = vec!["x".to_owned(); 17];
    check_refused(
        Request {
            stop,
            ..request("mary", 1)
        },
        "17 stop texts, at most 16 are taken",
    );
}

#[test]
fn an_added_token_that_the_model_does_not_know_is_caught() {
    let folder = Folder::new();
    let mut tokenizer = crate::testing::word_tokenizer_json(&crate::testing::WORDS);
    let padding = serde_json::json!({
        "id": 8, "content": "<pad>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    });
    tokenizer["added_tokens"].as_array_mut().unwrap().push(padding);
    folder.write("tokenizer.json", tokenizer.to_string());
    let engine = Engine::load(folder.path(), &options(), |_| {}).unwrap();
    let error = engine.submit(request("mary <pad>", 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the prompt contains token 8, the model knows 8"
    );
}

#[test]
fn a_conversation_is_continued_as_the_models_template_writes_it() {
    let folder = Folder::new();
    let source = "{% for turn in messages %}{{ turn.role }} {{ turn.content }} {% endfor %}\
                  {% if add_generation_prompt %}is{% endif %}";
    let config = serde_json::json!({ "chat_template": source });
    folder.write("tokenizer_config.json", config.to_string());
    let engine = Engine::load(folder.path(), &options(), |_| {}).unwrap();
    let turns = [Message::new("mary", "where"), Message::new("john", "kitchen")];
    let chat = ChatOptions {
        opens_answer: true,
        ..ChatOptions::default()
    };
    let found = engine
        .submit_chat(&turns, &chat, request("", 3))
        .unwrap()
        .wait()
        .unwrap();
    let text = "mary where john kitchen is";
    let expected = engine.submit(request(text, 3)).unwrap().wait().unwrap();
    assert_eq!(found, expected);
    assert_eq!(found.finish.prompt_tokens, 5);

    let plain = Folder::new();
    let engine = Engine::load(plain.path(), &options(), |_| {}).unwrap();
    let error = engine.submit_chat(&turns, &chat, request("", 3)).unwrap_err();
    assert_eq!(error, SubmitError::Chat(ChatError::NoTemplate));
}

#[test]
fn no_tokens_asked_for_is_an_empty_answer() {
    let answer = engine().submit(request("mary", 0)).unwrap().wait().unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.finish.reason),
        ("", FinishReason::Length)
    );
}

#[test]
fn a_full_queue_refuses_and_has_room_again() {
    let (engine, go, begun) = paced();
    let running = engine.submit(request("mary", 2)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let waiting = engine.submit(request("mary", 1)).unwrap();
    assert_eq!(
        engine.submit(request("mary", 1)).unwrap_err(),
        SubmitError::Full { limit: 1 }
    );
    assert_eq!(engine.stats().queued, 1);
    drop(go);
    assert_eq!(running.wait().unwrap().finish.tokens, 2);
    assert_eq!(waiting.wait().unwrap().finish.tokens, 1);
    assert!(engine.submit(request("mary", 1)).is_ok());
}

#[test]
fn a_request_that_waited_past_its_deadline_is_not_begun() {
    let (engine, go, begun) = paced();
    let running = engine.submit(request("mary", 3)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let late = Request {
        deadline: Some(Instant::now()),
        ..request("mary", 5)
    };
    let late = engine.submit(late).unwrap();
    drop(go);
    let finish = late.wait().unwrap().finish;
    assert_eq!((finish.reason, finish.tokens), (FinishReason::Deadline, 0));
    assert_eq!(running.wait().unwrap().finish.tokens, 3);
}

#[test]
fn dropping_a_generation_lets_the_next_in() {
    let (engine, go, begun) = paced();
    let running = engine.submit(request("mary", 60)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let waiting = engine.submit(request("john john", 1)).unwrap();
    drop(running);
    drop(go);
    assert_eq!(waiting.wait().unwrap().finish.prompt_tokens, 2);
    // The one that was dropped had its prompt and at most one more step.
    assert!(engine.stats().tokens <= 3, "{:?}", engine.stats());
}

#[test]
fn a_panic_of_the_model_is_an_error_for_callers_and_not_a_hang() {
    let engine = scripted(1, |_| panic!("the model broke"));
    let generation = engine.submit(request("mary", 5)).unwrap();
    assert_eq!(generation.wait(), Err(GenerateError::EngineStopped));
    engine.shutdown();
    assert_eq!(
        engine.submit(request("mary", 5)).unwrap_err(),
        SubmitError::Closed
    );
}

#[test]
fn shutdown_fails_what_runs_and_what_waits() {
    let (engine, go, begun) = paced();
    let running = engine.submit(request("mary", 60)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let waiting = engine.submit(request("mary", 1)).unwrap();
    let closing = thread::spawn({
        let engine = engine.clone();
        move || engine.shutdown()
    });
    // The waiting one is told at once; then the running step is let go.
    assert_eq!(waiting.wait(), Err(GenerateError::EngineStopped));
    drop(go);
    closing.join().unwrap();
    assert_eq!(running.wait(), Err(GenerateError::EngineStopped));
    assert_eq!(
        engine.submit(request("mary", 1)).unwrap_err(),
        SubmitError::Closed
    );
}

#[test]
fn the_last_handle_may_be_dropped_before_the_answer_is_there() {
    let (engine, go, begun) = paced();
    let generation = engine.submit(request("mary", 4)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    drop(engine);
    drop(go);
    assert_eq!(generation.wait().unwrap().finish.tokens, 4);
}

fn asked_by(asker: u8, share_ppm: u32, prompt: &str) -> Request {
    let key = [asker; 32];
    Request {
        asker: Some(Asker { key, share_ppm }),
        ..request(prompt, 1)
    }
}

#[test]
fn a_full_queue_keeps_those_who_go_first_and_tells_the_others() {
    let (engine, go, begun) = paced_with(2);
    let running = engine.submit(request("mary", 1)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let light = engine.submit(asked_by(1, 100_000, "mary")).unwrap();
    let middle = engine.submit(asked_by(2, 200_000, "john john")).unwrap();
    assert_eq!(engine.stats().askers, 2);
    // More stake displaces the least, and the least is told so at once.
    let heavy = engine.submit(asked_by(3, 700_000, "mary john mary")).unwrap();
    assert_eq!(light.wait(), Err(GenerateError::Displaced { limit: 2 }));
    assert_eq!(
        engine.submit(asked_by(1, 100_000, "mary")).unwrap_err(),
        SubmitError::Full { limit: 2 }
    );
    assert_eq!(
        engine.submit(asked_by(3, 700_000, "mary")).unwrap_err(),
        SubmitError::AskerFull { limit: 1 }
    );
    drop(go);
    for (generation, prompt_tokens) in [(running, 1), (heavy, 3), (middle, 2)] {
        assert_eq!(generation.wait().unwrap().finish.prompt_tokens, prompt_tokens);
    }
    let stats = engine.stats();
    assert_eq!((stats.displaced, stats.refused), (1, 2));
}

#[test]
fn the_engine_begins_what_waits_in_the_order_of_stake() {
    let (engine, go, begun) = paced_with(8);
    let running = engine.submit(request("mary", 1)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let light = [(); 2].map(|()| engine.submit(asked_by(1, 200_000, "mary")).unwrap());
    let heavy = engine.submit(asked_by(2, 800_000, "mary john john")).unwrap();
    drop(running);
    go.send(()).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    go.send(()).unwrap();
    // The one that came last is through while one of the others waits.
    assert_eq!(heavy.wait().unwrap().finish.prompt_tokens, 3);
    assert!(engine.stats().queued >= 1);
    drop(go);
    for generation in light {
        assert_eq!(generation.wait().unwrap().finish.tokens, 1);
    }
}

#[test]
fn waiting_requests_that_nobody_wants_any_more_make_room() {
    let (engine, go, begun) = paced();
    let running = engine.submit(request("mary", 1)).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let waiting = engine.submit(request("mary", 1)).unwrap();
    drop(waiting);
    let second = engine.submit(request("mary john", 1)).unwrap();
    drop(go);
    assert_eq!(running.wait().unwrap().finish.tokens, 1);
    assert_eq!(second.wait().unwrap().finish.prompt_tokens, 2);
    engine.shutdown();
    assert_eq!(engine.stats().late, 0);
}

#[test]
fn a_prompt_that_begins_like_another_is_answered_as_if_it_did_not() {
    let mut folder = Folder::new();
    folder.set_config("max_position_embeddings", serde_json::json!(512));
    let load = || Engine::load(folder.path(), &options(), |_| {}).unwrap();
    let story = "mary is where john is kitchen garden where mary is john where garden is ".repeat(10);
    let questions =
        ["mary", "john", "kitchen is"].map(|question| drawn(&format!("{story}{question}"), 20, 3));
    let answer = |engine: &Engine, request: &Request| engine.submit(request.clone()).unwrap().wait().unwrap();
    let engine = load();
    let answers = questions.each_ref().map(|request| answer(&engine, request));
    engine.shutdown();
    assert_eq!(engine.stats().hit_tokens, 2 * 2 * CPU_PIECE_TOKENS as u64);
    for (request, reused) in questions.iter().zip(answers) {
        let fresh = load();
        assert_eq!(answer(&fresh, request), reused);
        fresh.shutdown();
        assert_eq!(fresh.stats().hit_tokens, 0);
    }
}
