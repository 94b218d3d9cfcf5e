//! Reloads of real, tiny models, while answers are under way.

use agon_protocol::message::{FinishReason, Sampling};
use futures::StreamExt;

use super::*;
use crate::backend::{Part, Prompt};
use crate::hub::cache::Cache;

/// A folder that holds now this model and now that.
struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn holding(model: &str) -> Self {
        let case = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        case.put(model);
        case
    }

    fn put(&self, model: &str) {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/logits");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            std::fs::copy(golden.join(model).join(name), self.dir.path().join(name)).unwrap();
        }
    }

    fn source(&self) -> ModelSource {
        ModelSource::Folder(self.dir.path().to_owned())
    }
}

fn open(cases: &[&Case]) -> Result<Shelf, ShelfError> {
    let options = LoadOptions {
        slots: 2,
        context_tokens_max: 64,
        ..LoadOptions::default()
    };
    let settings = Settings {
        cache: Cache::new("/nowhere".into()),
        endpoint: "http://127.0.0.1:1".to_owned(),
        token: None,
        is_offline: true,
    };
    let digests = Digests::with_fallback("/nowhere".into());
    let sources = cases.iter().map(|case| case.source()).collect();
    Shelf::open(sources, options, settings, digests, &mut |_, _, _| ())
}

fn prompt(tokens: u32) -> Prompt {
    Prompt {
        text: "a".to_owned(),
        sampling: Sampling {
            temperature_milli: 0,
            top_p_ppm: 1_000_000,
            top_k: 0,
            seed: 0,
        },
        tokens_max: tokens,
        tokens_min: tokens,
        time_left: std::time::Duration::from_secs(60),
        sender: agon_protocol::id::Hotkey([1; 32]),
        sender_share_ppm: 1_000_000,
    }
}

fn digest(shelf: &Shelf, index: usize) -> Digest {
    shelf.backends()[index].identity().digest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_changed_is_served_anew_and_the_old_model_ends_its_answers() {
    let case = Case::holding("llama");
    let shelf = open(&[&case]).unwrap();
    let old = digest(&shelf, 0);
    let models = Models::new(shelf.backends());
    let mut under_way = models.choose("reading").unwrap().answer(prompt(40)).unwrap();
    case.put("qwen2");
    let (ask, asked) = mpsc::channel(1);
    let mut changes = models.changes();
    let fresh = tokio::spawn(keep_fresh(shelf, models.clone(), asked));
    ask.send(()).await.unwrap();
    changes.changed().await.unwrap();
    let new = models.choose("reading").unwrap();
    assert_ne!(new.identity().digest, old);
    let mut end = None;
    while let Some(part) = under_way.next().await {
        if let Part::Done {
            finish,
            answer_tokens,
            ..
        } = part.unwrap()
        {
            end = Some((finish, answer_tokens));
        }
    }
    assert_eq!(end, Some((FinishReason::Length, 40)));
    drop(ask);
    fresh.await.unwrap();
}

#[test]
fn a_reload_that_fails_keeps_what_was_there_and_one_of_the_same_changes_nothing() {
    let case = Case::holding("llama");
    let mut shelf = open(&[&case]).unwrap();
    let before = shelf.backends();
    assert!(!shelf.reload(&mut |_, _, _| ()).unwrap());
    // Written anew with the same bytes.
    case.put("llama");
    assert!(!shelf.reload(&mut |_, _, _| ()).unwrap());
    assert!(Arc::ptr_eq(&before[0], &shelf.backends()[0]));
    std::fs::write(case.dir.path().join("config.json"), "{}").unwrap();
    assert!(matches!(
        shelf.reload(&mut |_, _, _| ()),
        Err(ShelfError::Load { .. })
    ));
    assert!(Arc::ptr_eq(&before[0], &shelf.backends()[0]));
}

#[test]
fn a_task_that_pins_a_model_is_answered_by_it_and_every_other_by_the_first() {
    let (llama, qwen) = (Case::holding("llama"), Case::holding("qwen2"));
    let shelf = open(&[&llama, &qwen]).unwrap();
    let models = Models::new(shelf.backends());
    let name = |digest: Digest| format!("inference-{}", &digest.to_string()[..32]);
    for (task, index) in [
        ("reading".to_owned(), 0),
        (name(digest(&shelf, 0)), 0),
        (name(digest(&shelf, 1)), 1),
    ] {
        let chosen = models.choose(&task).unwrap();
        assert_eq!(chosen.identity().digest, digest(&shelf, index), "{task}");
    }
    let refusal = models.choose(&name(Digest([9; 32]))).unwrap_err();
    assert_eq!(refusal.rule(), "model");
    assert_eq!(crate::models::announced(&models.served()).len(), 2);
}

#[test]
fn one_model_under_two_names_is_refused_and_so_are_none_and_too_many() {
    let (one, same) = (Case::holding("llama"), Case::holding("llama"));
    assert!(matches!(open(&[&one, &same]), Err(ShelfError::Twice { .. })));
    assert!(matches!(open(&[]), Err(ShelfError::Count { count: 0 })));
    assert!(matches!(open(&[&one; 5]), Err(ShelfError::Count { count: 5 })));
}

#[test]
fn memory_of_models_held_together_is_counted_together() {
    let need = |parameter_bytes, working_bytes| Need {
        dtype: agon_model::Dtype::F32,
        parameter_bytes,
        cache_bytes: 10,
        working_bytes,
        cache_token_bytes: 1,
        slots: 1,
        context_tokens: 10,
        spare_tokens: 0,
    };
    let (small, large) = (need(100, 7), need(200, 9));
    assert_eq!(bytes_together(&[&small, &large]), 100 + 200 + 2 * 10 + 9);
    assert_eq!(bytes_together(&[]), 0);
}
