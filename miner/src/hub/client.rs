//! The hub's routes over HTTP: what a repository holds, and the bytes of its files.
//!
//! Redirects are followed here and not in the HTTP library: the token goes to the hub itself and to nobody else, and
//! the first answer, not the last, says what a file is. A hub that is busy is asked again after as long as it says.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use agon_model::LoadError;
use serde::Deserialize;
use thiserror::Error;
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use crate::hub::name::{HubName, is_commit};
use crate::hub::settings::{Settings, Token};

/// What a hub may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// What it may take to begin an answer, or to send its next bytes.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often one request is made in a row without any success.
pub(super) const ATTEMPTS: u32 = 5;
/// The first pause between attempts; each is twice the one before.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, whatever a hub asks for.
const PAUSE_MAX: Duration = Duration::from_secs(120);
const REDIRECTS_MAX: u32 = 8;
/// The list of a repository's files: some hundred bytes for each.
const REPOSITORY_BYTES_MAX: u64 = 32 << 20;
const USER_AGENT: &str = concat!("agon-miner/", env!("CARGO_PKG_VERSION"));

/// Why a model is not found or fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The model is not on this machine, and the hub must not be asked.
    #[error(
        "{name} is not in the cache, and HF_HUB_OFFLINE forbids to ask the hub; unset it, or name a folder"
    )]
    Offline {
        /// The model.
        name: String,
    },
    /// The hub knows nothing of this name.
    #[error("{url}: not found (HTTP {status}); check name and revision, and that no folder was meant")]
    NotFound {
        /// What was asked for.
        url: String,
        /// The hub's answer.
        status: u16,
    },
    /// The hub does not show this model to whoever asked.
    #[error(
        "{url}: refused (HTTP {status}); the model does not exist, is private or wants its terms accepted: \
         accept them on its page and set HF_TOKEN"
    )]
    Refused {
        /// What was asked for.
        url: String,
        /// The hub's answer.
        status: u16,
    },
    /// The hub answered otherwise than it should.
    #[error("{url}: HTTP {status} after {attempts} attempts")]
    Status {
        /// What was asked for.
        url: String,
        /// The hub's answer.
        status: u16,
        /// How often it was asked.
        attempts: u32,
    },
    /// The hub is out of reach, or went away again and again.
    #[error("{url}: {message} ({attempts} attempts); what was fetched is kept, run the same again to go on")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong the last time.
        message: String,
        /// How often it was tried without any progress.
        attempts: u32,
    },
    /// An answer makes no sense.
    #[error("{url}: {problem}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The repository lacks a file without which it is no model.
    #[error(
        "{repository} has no {file}; only models with config.json, tokenizer.json and safetensors are served"
    )]
    MissingFile {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
    },
    /// What was fetched is not what the hub described; it was thrown away.
    #[error("{file} has the hash {found}, expected {expected}; it was thrown away, run the same again")]
    Hash {
        /// The file.
        file: String,
        /// The hash by which the hub knows it.
        expected: String,
        /// The hash of what came.
        found: String,
    },
    /// The cache cannot be written.
    #[error("write {path}: {source}; HF_HOME names another place for the cache")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The model is not one that can be served.
    #[error(transparent)]
    Model(Box<LoadError>),
}

impl From<LoadError> for HubError {
    fn from(error: LoadError) -> Self {
        HubError::Model(Box::new(error))
    }
}

/// One commit of a model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name, with the revision that was asked for.
    pub name: HubName,
    /// The commit.
    pub commit: String,
    /// Its files.
    pub files: Vec<RemoteFile>,
}

/// A file on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its path in the repository.
    pub path: String,
    /// Its length in bytes, where the hub's list says.
    pub bytes: Option<u64>,
    /// Its hash: SHA-256 of large files, git's SHA-1 of small ones, where the hub's list says.
    pub id: Option<String>,
}

#[derive(Deserialize)]
struct ListedRepository {
    sha: String,
    #[serde(default)]
    siblings: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<ListedLargeFile>,
}

#[derive(Deserialize)]
struct ListedLargeFile {
    sha256: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
}

impl Repository {
    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl From<ListedFile> for RemoteFile {
    fn from(listed: ListedFile) -> Self {
        let (large_id, large_bytes) = match listed.lfs {
            Some(large) => (large.sha256.or(large.oid), large.size),
            None => (None, None),
        };
        RemoteFile {
            path: listed.rfilename,
            bytes: large_bytes.or(listed.size),
            id: large_id.or(listed.blob_id).filter(|id| is_hash(id)),
        }
    }
}

/// Bytes of a file to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first.
    pub(super) start: u64,
    /// How many; `None` for all that follow.
    pub(super) bytes: Option<u64>,
}

/// An answer with a body.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The hash by which the hub knows the file.
    pub(super) id: Option<String>,
    /// The first byte that it brings and the length of the whole file, if it brings a part.
    pub(super) part: Option<(u64, u64)>,
    /// Bytes that follow, if the hub says.
    pub(super) length: Option<u64>,
    pub(super) body: Box<dyn Read>,
}

/// Somebody who asks a hub.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Token>,
    /// How pauses are made; tests make none.
    pause: fn(Duration),
}

impl Client {
    /// A client with the user's settings.
    ///
    /// # Errors
    ///
    /// [`HubError::Offline`] when the hub must not be asked, [`HubError::Answer`] when its address is none.
    pub fn new(settings: &Settings) -> Result<Client, HubError> {
        if settings.is_offline {
            return Err(HubError::Offline {
                name: "the model".to_owned(),
            });
        }
        if origin_of(&settings.endpoint).is_none() {
            return Err(HubError::Answer {
                url: settings.endpoint.clone(),
                problem: "HF_ENDPOINT is no address; write it like https://huggingface.co".to_owned(),
            });
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .user_agent(USER_AGENT)
            .build();
        Ok(Client {
            agent: config.new_agent(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            pause: std::thread::sleep,
        })
    }

    #[cfg(test)]
    pub(super) fn without_pauses(self) -> Client {
        Client {
            pause: |_| (),
            ..self
        }
    }

    /// What the hub has under a name, at its revision.
    ///
    /// # Errors
    ///
    /// [`HubError`].
    pub fn repository(&self, name: &HubName) -> Result<Repository, HubError> {
        let revision = escape(name.revision());
        let url = format!(
            "{}/api/models/{}/revision/{revision}?blobs=true",
            self.endpoint,
            name.repository()
        );
        let answer = self.get(&url, None)?;
        let bytes = read_bounded(answer.body, REPOSITORY_BYTES_MAX).map_err(|problem| HubError::Answer {
            url: url.clone(),
            problem: problem.to_string(),
        })?;
        let wrong = |problem: String| HubError::Answer {
            url: url.clone(),
            problem,
        };
        let listed: ListedRepository =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if !is_commit(&listed.sha) {
            return Err(wrong(format!("{:?} is no commit", listed.sha)));
        }
        Ok(Repository {
            name: name.clone(),
            commit: listed.sha,
            files: listed.siblings.into_iter().map(RemoteFile::from).collect(),
        })
    }

    /// Asks for a file of a commit.
    pub(super) fn file(
        &self,
        repository: &Repository,
        path: &str,
        span: Option<Span>,
    ) -> Result<Answer, HubError> {
        self.get(&self.url_of(repository, path), span)
    }

    /// Where a file of a commit is.
    pub(super) fn url_of(&self, repository: &Repository, path: &str) -> String {
        let name = repository.name.repository();
        format!("{}/{name}/resolve/{}/{path}", self.endpoint, repository.commit)
    }

    /// Asks until there is an answer that says something; answers are 200, 206 or 416.
    fn get(&self, url: &str, span: Option<Span>) -> Result<Answer, HubError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (pause, failure) = match self.follow(url, span) {
                Ok(response) => match self.judge(url, response, attempts) {
                    Ok(answer) => return Ok(answer),
                    Err((Some(pause), error)) => (pause, error),
                    Err((None, error)) => return Err(error),
                },
                Err(error) => {
                    let message = error.to_string();
                    let url = url.to_owned();
                    (
                        pause_before(attempts),
                        HubError::Unreachable {
                            url,
                            message,
                            attempts,
                        },
                    )
                }
            };
            if attempts >= ATTEMPTS {
                return Err(failure);
            }
            tracing::warn!(error = %failure, pause_ms = pause.as_millis() as u64, "the hub is asked again");
            (self.pause)(pause);
        }
    }

    /// Pauses before another attempt at the bytes of a file.
    pub(super) fn pause(&self, attempts: u32) {
        (self.pause)(pause_before(attempts));
    }

    /// An answer, or why not, with the pause after which another attempt makes sense.
    fn judge(
        &self,
        url: &str,
        first_and_last: (Option<String>, Response<ureq::Body>),
        attempts: u32,
    ) -> Result<Answer, (Option<Duration>, HubError)> {
        let (id, response) = first_and_last;
        let status = response.status();
        let url = url.to_owned();
        match status.as_u16() {
            200 | 206 | 416 => Ok(answer_of(id, response)),
            404 | 410 => Err((
                None,
                HubError::NotFound {
                    url,
                    status: status.as_u16(),
                },
            )),
            401 | 403 => Err((
                None,
                HubError::Refused {
                    url,
                    status: status.as_u16(),
                },
            )),
            code => {
                let is_passing = code == 408 || code == 429 || code >= 500;
                let asked_for = header_text(&response, "retry-after").and_then(|text| text.parse().ok());
                let pause = asked_for.map_or_else(|| pause_before(attempts), Duration::from_secs);
                let error = HubError::Status {
                    url,
                    status: code,
                    attempts,
                };
                Err((is_passing.then(|| pause.min(PAUSE_MAX)), error))
            }
        }
    }

    /// One request, through its redirects; with the hash that the first answer that has one names.
    fn follow(
        &self,
        url: &str,
        span: Option<Span>,
    ) -> Result<(Option<String>, Response<ureq::Body>), ureq::Error> {
        let mut url = url.to_owned();
        let mut id = None;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.request(&url, span)?;
            id = id.or_else(|| id_of(&response));
            if !response.status().is_redirection() {
                return Ok((id, response));
            }
            let target = header_text(&response, header::LOCATION.as_str());
            url = target
                .and_then(|target| redirected(&url, target))
                .ok_or_else(|| ureq::Error::BadUri(format!("redirect from {url}")))?;
        }
        Err(ureq::Error::TooManyRedirects)
    }

    fn request(&self, url: &str, span: Option<Span>) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut request = self.agent.get(url).header(header::ACCEPT_ENCODING, "identity");
        let token = self.token.as_ref();
        if let Some(token) = token.filter(|_| origin_of(url) == origin_of(&self.endpoint)) {
            request = request.header(header::AUTHORIZATION, token.as_header());
        }
        if let Some(Span { start, bytes }) = span {
            let end = bytes.map(|bytes| start.saturating_add(bytes).saturating_sub(1).to_string());
            let range = format!("bytes={start}-{}", end.unwrap_or_default());
            request = request.header(header::RANGE, range);
        }
        request.call()
    }
}

fn pause_before(attempts: u32) -> Duration {
    PAUSE
        .saturating_mul(1 << attempts.saturating_sub(1).min(16))
        .min(PAUSE_MAX)
}

fn answer_of(id: Option<String>, response: Response<ureq::Body>) -> Answer {
    let part = header_text(&response, header::CONTENT_RANGE.as_str()).and_then(part_of);
    let length = header_text(&response, header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    Answer {
        status: response.status(),
        id,
        part,
        length,
        body: Box::new(response.into_body().into_reader()),
    }
}

fn header_text<'response>(response: &'response Response<ureq::Body>, name: &str) -> Option<&'response str> {
    response.headers().get(name)?.to_str().ok()
}

/// The hash in an answer's tags: that of the file behind a redirect, or that of the answer.
fn id_of(response: &Response<ureq::Body>) -> Option<String> {
    let tag = header_text(response, "x-linked-etag").or_else(|| header_text(response, "etag"))?;
    let id = tag.trim_start_matches("W/").trim_matches('"');
    is_hash(id).then(|| id.to_owned())
}

/// Whether a text is a SHA-1 or SHA-256 in hex, and so the name of a file in the cache too.
pub(super) fn is_hash(text: &str) -> bool {
    let is_fine = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(text.len(), 40 | 64) && text.bytes().all(is_fine)
}

/// The start and the whole in `bytes START-END/WHOLE`.
fn part_of(text: &str) -> Option<(u64, u64)> {
    let (span, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = span.split_once('-')?.0.parse().ok()?;
    Some((start, whole.parse().ok()?))
}

/// `https://host:port` of an address; `None` when it has none.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let is_fine = matches!(scheme, "http" | "https") && !host.is_empty();
    is_fine.then(|| &url[..scheme.len() + 3 + host.len()])
}

/// Where a redirect leads; never from an encrypted connection to a plain one.
fn redirected(from: &str, target: &str) -> Option<String> {
    let to = match origin_of(target) {
        Some(_) => target.to_owned(),
        None if target.starts_with('/') && !target.starts_with("//") => {
            format!("{}{target}", origin_of(from)?)
        }
        None => return None,
    };
    let is_safe = to.starts_with("https://") || from.starts_with("http://");
    is_safe.then_some(to)
}

/// A revision as one segment of a path; its characters need no more than this.
fn escape(revision: &str) -> String {
    revision.replace('/', "%2F")
}

/// Reads at most `limit` bytes; more are an error.
pub(super) fn read_bounded(body: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ));
    }
    Ok(bytes)
}
