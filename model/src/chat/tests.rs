//! Renderings against transformers, and templates that misbehave.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Deserialize)]
struct Case {
    messages: Vec<Turn>,
    opens_answer: bool,
    variables: BTreeMap<String, Value>,
    text: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/golden/data/chat")
        .join(name)
}

#[test]
fn conversations_are_rendered_as_transformers_renders_them() {
    for name in ["llama3", "mistral", "qwen2", "qwen3"] {
        let template = ChatTemplate::of_folder(&folder(name)).unwrap().unwrap();
        let golden = std::fs::read(folder(name).join("golden.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_slice(&golden).unwrap();
        assert!(cases.len() >= 14);
        for case in cases {
            let messages: Vec<Message> = case
                .messages
                .iter()
                .map(|turn| Message::new(&turn.role, &turn.content))
                .collect();
            let options = ChatOptions {
                opens_answer: case.opens_answer,
                variables: case.variables,
                now_s: None,
            };
            let expected = match (case.text, case.error) {
                (Some(text), _) => Ok(text),
                (None, error) => Err(ChatError::Refused {
                    message: error.unwrap(),
                }),
            };
            assert_eq!(
                template.render(&messages, &options),
                expected,
                "{name}: {messages:?}"
            );
        }
    }
}

fn template(source: &str) -> ChatTemplate {
    let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    ChatTemplate::compile(source.to_owned(), special).unwrap()
}

#[track_caller]
fn check(source: &str, text: &str) {
    let messages = [Message::new("user", "hi")];
    let found = template(source).render(&messages, &ChatOptions::default());
    assert_eq!(found, Ok(text.to_owned()));
}

#[test]
fn templates_see_what_transformers_shows_them_and_nothing_else() {
    check("{{ bos_token }}{{ messages[0].content.upper() }}", "<s>HI");
    check("{{ eos_token }}{{ tools is none }} {{ tools }}", "True None");
    check(
        "{% if strftime_now is defined %}now{% else %}never{% endif %}",
        "never",
    );
    check(
        "  {% for m in messages %}\n{{ m.role }}\n  {% endfor %}\n",
        "user\n",
    );
    let options = ChatOptions {
        now_s: Some(1_721_952_000),
        variables: BTreeMap::from([("mode".to_owned(), json!({"a": [1, 2]}))]),
        ..ChatOptions::default()
    };
    let rendered =
        template("{{ strftime_now('%d %b %Y') }} {{ mode | tojson }} {{ mode.a | tojson(indent=1) }}")
            .render(&[], &options)
            .unwrap();
    assert_eq!(rendered, "26 Jul 2024 {\"a\": [1, 2]} [\n 1,\n 2\n]");
}

#[track_caller]
fn check_failure(source: &str, part: &str) {
    let error = template(source).render(&[], &ChatOptions::default()).unwrap_err();
    assert!(
        matches!(&error, ChatError::Template { message } if message.contains(part)),
        "{error}"
    );
}

#[test]
fn templates_that_never_end_are_stopped() {
    check_failure(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "fuel",
    );
    check_failure(
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "recursion",
    );
    check_failure("{{ missing.field.deeper }}", "undefined");
    let many = vec![Message::new("user", ""); 10_001];
    assert_eq!(
        template("")
            .render(&many, &ChatOptions::default())
            .unwrap_err()
            .to_string(),
        "10001 messages, at most 10000 are taken"
    );
}

#[test]
fn a_folder_without_a_template_has_none_and_a_broken_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(ChatTemplate::of_folder(dir.path()).unwrap().is_none());
    let config = dir.path().join("tokenizer_config.json");
    std::fs::write(
        &config,
        "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"\"}]}",
    )
    .unwrap();
    assert!(ChatTemplate::of_folder(dir.path()).unwrap().is_none());
    std::fs::write(&config, "{\"chat_template\": \"{% if %}\"}").unwrap();
    let error = ChatTemplate::of_folder(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer_config.json: the chat template"),
        "{error}"
    );
}
