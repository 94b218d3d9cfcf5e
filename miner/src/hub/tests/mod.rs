//! Downloads from a small hub on loopback, which can be told to misbehave.

mod server;

use std::path::{Path, PathBuf};

use agon_model::Plan;

use crate::hub::cache::Cache;
use crate::hub::client::{Client, HubError};
use crate::hub::fetch::{FetchProgress, fetch};
use crate::hub::name::{HubName, ModelSource};
use crate::hub::settings::{Settings, Token};
use crate::hub::{find_or_fetch, plan};
use server::{COMMIT, Hub, TOKEN, Trouble};

/// A model that serves, small enough for a test.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/logits")
}

struct Case {
    hub: Hub,
    cache: tempfile::TempDir,
}

impl Case {
    fn new(model_folder: &str) -> Case {
        Case {
            hub: Hub::start(&model().join(model_folder)),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            cache: Cache::new(self.cache.path().to_owned()),
            endpoint: self.hub.endpoint(),
            token: None,
            is_offline: false,
        }
    }

    fn client(&self, settings: &Settings) -> Client {
        Client::new(settings).unwrap().without_pauses()
    }

    /// Fetches without pauses; the folder of the model.
    fn fetch(&self, name: &str) -> Result<PathBuf, HubError> {
        self.fetch_with(name, &self.settings(), |_| {})
    }

    fn fetch_with(
        &self,
        name: &str,
        settings: &Settings,
        progress: impl FnMut(FetchProgress<'_>),
    ) -> Result<PathBuf, HubError> {
        let client = self.client(settings);
        let repository = client.repository(&hub_name(name))?;
        fetch(&client, &settings.cache, &repository, progress)
    }

    fn blobs(&self) -> PathBuf {
        self.cache.path().join("models--org--tiny/blobs")
    }
}

fn hub_name(text: &str) -> HubName {
    match text.parse() {
        Ok(ModelSource::Hub(name)) => name,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_same_files(fetched: &Path, original: &Path, names: &[&str]) {
    for name in names {
        let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
        assert_eq!(read(fetched), read(original), "{name}");
    }
}

const SINGLE: [&str; 4] = [
    "config.json",
    "tokenizer.json",
    "generation_config.json",
    "model.safetensors",
];

#[test]
fn a_model_is_fetched_once_and_then_found() {
    let case = Case::new("qwen3");
    let source: ModelSource = "org/tiny".parse().unwrap();
    let mut seen = Vec::new();
    let found = find_or_fetch(&source, &case.settings(), |progress| {
        seen.push((progress.bytes_done, progress.bytes_total));
    })
    .unwrap();
    check_same_files(&found.dir, &model().join("qwen3"), &SINGLE);
    assert_eq!(
        found.name.as_deref(),
        Some(format!("org/tiny@{}", &COMMIT[..8]).as_str())
    );
    let (done, total) = *seen.last().unwrap();
    assert_eq!(done, total);
    assert!(seen.is_sorted());
    // Only what serving needs: the hub has golden logits beside it.
    assert!(!found.dir.join("golden.safetensors").exists());
    let asked = case.hub.requests().len();
    let again = find_or_fetch(&source, &case.settings(), |_| panic!("nothing is fetched")).unwrap();
    assert_eq!(again, found);
    let pinned = format!("org/tiny@{COMMIT}").parse().unwrap();
    assert_eq!(find_or_fetch(&pinned, &case.settings(), |_| {}).unwrap(), found);
    assert_eq!(case.hub.requests().len(), asked);
    // The layout is that of Hugging Face's own tools.
    let link = std::fs::read_link(found.dir.join("config.json")).unwrap();
    assert!(link.starts_with("../../blobs"), "{}", link.display());
    let reference = case.cache.path().join("models--org--tiny/refs/main");
    assert_eq!(std::fs::read_to_string(reference).unwrap(), COMMIT);
    assert!(Plan::of_folder(&found.dir).is_ok());
}

#[test]
fn shards_are_fetched_as_the_index_says() {
    let case = Case::new("qwen2-sharded");
    let dir = case.fetch("org/tiny@main").unwrap();
    let shard = |number: usize| format!("model-{number:05}-of-00003.safetensors");
    let shards = [shard(1), shard(2), shard(3)];
    let names: Vec<&str> = shards.iter().map(String::as_str).collect();
    check_same_files(&dir, &model().join("qwen2-sharded"), &names);
    // A shard that is gone makes the model incomplete, and it alone is fetched again.
    let blob = std::fs::canonicalize(dir.join(&shards[1])).unwrap();
    std::fs::remove_file(&blob).unwrap();
    assert_eq!(case.settings().cache.find(&hub_name("org/tiny")), None);
    let before = case.hub.downloads().len();
    case.fetch("org/tiny").unwrap();
    let fetched = &case.hub.downloads()[before..];
    // The index is read to know its shards; the rest is there.
    assert!(
        fetched
            .iter()
            .all(|path| path.contains("index") || path.ends_with(&shards[1])),
        "{fetched:?}"
    );
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let case = Case::new("qwen3");
    case.hub.set(Trouble::CutAfter {
        file: "model.safetensors",
        bytes: 10_000,
        times: 3,
    });
    let dir = case.fetch("org/tiny").unwrap();
    check_same_files(&dir, &model().join("qwen3"), &SINGLE);
    let starts: Vec<u64> = case.hub.starts_of("model.safetensors");
    assert_eq!(starts, [0, 10_000, 20_000, 30_000]);
}

#[test]
fn what_another_process_left_is_resumed_and_checked() {
    let case = Case::new("qwen3");
    let original = std::fs::read(model().join("qwen3/model.safetensors")).unwrap();
    let part = case
        .blobs()
        .join(format!("{}.incomplete", case.hub.id_of("model.safetensors")));
    std::fs::create_dir_all(case.blobs()).unwrap();
    std::fs::write(&part, &original[..5_000]).unwrap();
    let dir = case.fetch("org/tiny").unwrap();
    check_same_files(&dir, &model().join("qwen3"), &SINGLE);
    assert_eq!(case.hub.starts_of("model.safetensors"), [5_000]);
    assert!(!part.exists());
}

#[test]
fn a_file_with_the_wrong_hash_is_thrown_away() {
    let case = Case::new("qwen3");
    let part = case
        .blobs()
        .join(format!("{}.incomplete", case.hub.id_of("model.safetensors")));
    std::fs::create_dir_all(case.blobs()).unwrap();
    std::fs::write(&part, vec![7; 5_000]).unwrap();
    let error = case.fetch("org/tiny").unwrap_err();
    assert!(
        matches!(&error, HubError::Hash { file, .. } if file == "model.safetensors"),
        "{error}"
    );
    assert_eq!(case.settings().cache.find(&hub_name("org/tiny")), None);
    // The next attempt begins anew and succeeds.
    case.fetch("org/tiny").unwrap();
    assert!(case.settings().cache.find(&hub_name("org/tiny")).is_some());
}

#[test]
fn a_hub_without_ranges_still_delivers() {
    let case = Case::new("qwen3");
    case.hub.set(Trouble::NoRanges);
    let part = case
        .blobs()
        .join(format!("{}.incomplete", case.hub.id_of("model.safetensors")));
    std::fs::create_dir_all(case.blobs()).unwrap();
    std::fs::write(&part, [0; 100]).unwrap();
    let dir = case.fetch("org/tiny").unwrap();
    check_same_files(&dir, &model().join("qwen3"), &SINGLE);
    assert!(plan(&"org/other".parse().unwrap(), &case.settings()).is_ok());
}

#[test]
fn a_hub_that_always_breaks_off_is_given_up_with_what_came_kept() {
    let case = Case::new("qwen3");
    case.hub.set(Trouble::CutAfter {
        file: "model.safetensors",
        bytes: 0,
        times: usize::MAX,
    });
    let error = case.fetch("org/tiny").unwrap_err();
    assert!(
        matches!(error, HubError::Unreachable { attempts: 5, .. }),
        "{error}"
    );
}

#[test]
fn a_busy_hub_is_asked_again() {
    let case = Case::new("qwen3");
    case.hub.set(Trouble::Status {
        status: 429,
        times: 3,
    });
    case.fetch("org/tiny").unwrap();
    let case = Case::new("qwen3");
    case.hub.set(Trouble::Status {
        status: 503,
        times: usize::MAX,
    });
    let error = case.fetch("org/tiny").unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Status {
                status: 503,
                attempts: 5,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refusals_say_what_to_do() {
    let case = Case::new("qwen3");
    let error = case.fetch("org/absent").unwrap_err();
    assert!(matches!(error, HubError::NotFound { status: 404, .. }), "{error}");
    let error = case.fetch("org/tiny@absent").unwrap_err();
    assert!(matches!(error, HubError::NotFound { status: 404, .. }), "{error}");
    let error = case.fetch("org/private").unwrap_err();
    assert!(matches!(error, HubError::Refused { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    // Refusals are final.
    assert_eq!(case.hub.requests().len(), 3);
    let offline = Settings {
        is_offline: true,
        ..case.settings()
    };
    let error = find_or_fetch(&"org/tiny".parse().unwrap(), &offline, |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let case = Case::new("qwen3");
    let settings = Settings {
        token: Token::new(TOKEN),
        ..case.settings()
    };
    case.fetch_with("org/private", &settings, |_| {}).unwrap();
    let (to_hub, elsewhere): (Vec<_>, Vec<_>) = case
        .hub
        .requests()
        .into_iter()
        .partition(|request| request.is_to_hub);
    assert!(to_hub.iter().all(|request| request.has_token));
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|request| !request.has_token));
}

#[test]
fn a_revision_is_a_pin() {
    let case = Case::new("qwen3");
    let dir = case.fetch("org/tiny@v1").unwrap();
    assert!(dir.ends_with(COMMIT));
    assert!(case.settings().cache.find(&hub_name("org/tiny@v1")).is_some());
    assert!(
        case.settings()
            .cache
            .find(&hub_name(&format!("org/tiny@{COMMIT}")))
            .is_some()
    );
    assert_eq!(case.settings().cache.find(&hub_name("org/tiny@v2")), None);
    assert_eq!(case.settings().cache.find(&hub_name("org/tiny")), None);
}

#[test]
fn a_plan_is_made_without_fetching_parameters() {
    let case = Case::new("qwen3");
    let remote = plan(&"org/tiny".parse().unwrap(), &case.settings()).unwrap();
    assert_eq!(remote, Plan::of_folder(&model().join("qwen3")).unwrap());
    assert!(!case.cache.path().join("models--org--tiny").exists());
    let parameters = std::fs::metadata(model().join("qwen3/model.safetensors"))
        .unwrap()
        .len();
    assert!(
        case.hub.bytes_sent() < parameters,
        "{} bytes",
        case.hub.bytes_sent()
    );
}

#[test]
fn a_list_without_hashes_is_completed_from_the_files_own_answers() {
    let case = Case::new("qwen3");
    case.hub.set(Trouble::BareList);
    let dir = case.fetch("org/tiny").unwrap();
    check_same_files(&dir, &model().join("qwen3"), &SINGLE);
}

#[test]
fn a_repository_that_is_no_model_says_what_it_lacks() {
    let case = Case::new("qwen3");
    case.hub.set(Trouble::Without {
        file: "tokenizer.json",
    });
    let error = case.fetch("org/tiny").unwrap_err();
    assert!(
        error.to_string().starts_with("org/tiny has no tokenizer.json;"),
        "{error}"
    );
}
