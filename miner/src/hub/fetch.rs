//! Brings the files of a model into the cache.
//!
//! Bytes are appended to `ID.incomplete` as they come and hashed on the way; whatever interrupts, the next attempt
//! goes on where the last one stopped, in this process or in a later one. Only a file with the right hash gets its
//! name, and only a commit with all its files is found afterwards.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use agon_model::ModelFiles;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::hub::cache::{self, Cache, INDEX_FILE, REQUIRED, SINGLE_FILE};
use crate::hub::client::{ATTEMPTS, Client, HubError, RemoteFile, Repository, Span, read_bounded};

/// Files beside the parameters that are fetched where a repository has them.
const OPTIONAL: [&str; 7] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];
/// An index names tens of thousands of tensors at most.
const INDEX_BYTES_MAX: u64 = 32 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// How far a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchProgress<'file> {
    /// The file that is being fetched.
    pub file: &'file str,
    /// Bytes of the model that are here.
    pub bytes_done: u64,
    /// Bytes of the model.
    pub bytes_total: u64,
}

/// A file with what has to be known before it is fetched.
struct Wanted {
    path: String,
    id: String,
    bytes: u64,
}

/// Fetches the files that serving needs, and no others; returns their folder.
///
/// # Errors
///
/// [`HubError`]; what was fetched until then stays and is not fetched again.
pub fn fetch(
    client: &Client,
    cache: &Cache,
    repository: &Repository,
    mut progress: impl FnMut(FetchProgress<'_>),
) -> Result<PathBuf, HubError> {
    let wanted = wanted(client, repository)?
        .into_iter()
        .map(|file| identify(client, repository, file))
        .collect::<Result<Vec<_>, _>>()?;
    let bytes_total = wanted.iter().map(|file| file.bytes).sum();
    let mut bytes_before = 0;
    for file in &wanted {
        let mut tell = |bytes_here: u64| {
            progress(FetchProgress {
                file: &file.path,
                bytes_done: bytes_before + bytes_here,
                bytes_total,
            });
        };
        fetch_file(client, cache, repository, file, &mut tell)?;
        bytes_before += file.bytes;
    }
    let dir = cache.snapshot(&repository.name, &repository.commit);
    cache
        .note_revision(&repository.name, &repository.commit)
        .map_err(|source| HubError::Cache {
            path: dir.clone(),
            source,
        })?;
    Ok(dir)
}

/// The files that serving needs, small ones first.
fn wanted<'repository>(
    client: &Client,
    repository: &'repository Repository,
) -> Result<Vec<&'repository RemoteFile>, HubError> {
    let find = |path: &str| {
        repository.file(path).ok_or_else(|| HubError::MissingFile {
            repository: repository.name.to_string(),
            file: path.to_owned(),
        })
    };
    let mut wanted = REQUIRED.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
    wanted.extend(OPTIONAL.into_iter().filter_map(|path| repository.file(path)));
    if repository.file(INDEX_FILE).is_none() || repository.file(SINGLE_FILE).is_some() {
        wanted.push(find(SINGLE_FILE)?);
        return Ok(wanted);
    }
    wanted.push(find(INDEX_FILE)?);
    let answer = client.file(repository, INDEX_FILE, None)?;
    let wrong = |problem: String| HubError::Answer {
        url: client.url_of(repository, INDEX_FILE),
        problem,
    };
    let index = read_bounded(answer.body, INDEX_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let shards = cache::shards_of(&index).ok_or_else(|| wrong("no index of shards".to_owned()))?;
    for shard in &shards {
        if !is_plain(shard) {
            return Err(wrong(format!(
                "{shard:?} is not the name of a file in this folder"
            )));
        }
        wanted.push(find(shard)?);
    }
    Ok(wanted)
}

/// Only names in the same folder are followed.
fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|last| last == name)
}

/// The hash and the length of a file; asked for where the hub's list does not have them.
fn identify(client: &Client, repository: &Repository, file: &RemoteFile) -> Result<Wanted, HubError> {
    let path = file.path.clone();
    if let (Some(id), Some(bytes)) = (file.id.clone(), file.bytes) {
        return Ok(Wanted { path, id, bytes });
    }
    let first = Span {
        start: 0,
        bytes: Some(1),
    };
    let answer = client.file(repository, &path, Some(first))?;
    let whole = answer.part.map(|(_, whole)| whole).or(answer.length);
    match (file.id.clone().or(answer.id), file.bytes.or(whole)) {
        (Some(id), Some(bytes)) => Ok(Wanted { path, id, bytes }),
        _ => Err(HubError::Answer {
            url: client.url_of(repository, &path),
            problem: "the hub does not say the file's hash and length".to_owned(),
        }),
    }
}

fn fetch_file(
    client: &Client,
    cache: &Cache,
    repository: &Repository,
    file: &Wanted,
    tell: &mut dyn FnMut(u64),
) -> Result<(), HubError> {
    let name = &repository.name;
    let blob = cache.blob(name, &file.id);
    let io = |source| HubError::Cache {
        path: blob.clone(),
        source,
    };
    if !blob.exists() {
        let _lock = cache.lock(name, &file.id).map_err(io)?;
        // Another process may have brought it while this one waited.
        if !blob.exists() {
            let dir = blob.parent().unwrap_or(&blob);
            fs::create_dir_all(dir).map_err(io)?;
            let part = cache.incomplete(name, &file.id);
            Download::begin(client, repository, file, &part)?.finish(tell)?;
            fs::rename(&part, &blob).map_err(io)?;
        }
    }
    tell(file.bytes);
    cache
        .link(name, &repository.commit, &file.path, &file.id)
        .map_err(io)
}

/// A file on its way.
struct Download<'a> {
    client: &'a Client,
    repository: &'a Repository,
    wanted: &'a Wanted,
    part: &'a Path,
    file: File,
    hash: Hash,
    done: u64,
}

impl<'a> Download<'a> {
    /// Opens what is there of the file, and hashes it.
    fn begin(
        client: &'a Client,
        repository: &'a Repository,
        wanted: &'a Wanted,
        part: &'a Path,
    ) -> Result<Download<'a>, HubError> {
        let io = |source| HubError::Cache {
            path: part.to_owned(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(part)
            .map_err(io)?;
        let mut download = Download {
            client,
            repository,
            wanted,
            part,
            file,
            hash: Hash::begin(wanted),
            done: 0,
        };
        download.take_in_what_is_there().map_err(io)?;
        Ok(download)
    }

    fn take_in_what_is_there(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.wanted.bytes {
            return self.begin_anew();
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = self.file.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..count]);
            self.done += count as u64;
        }
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hash = Hash::begin(self.wanted);
        self.done = 0;
        Ok(())
    }

    /// Fetches what is missing, checks the hash, and brings everything to the disk.
    fn finish(mut self, tell: &mut dyn FnMut(u64)) -> Result<(), HubError> {
        let mut attempts = 0;
        let mut restarts = 0;
        while self.done < self.wanted.bytes {
            let before = self.done;
            let failure = self.go_on(tell)?;
            if self.done < before {
                restarts += 1;
            }
            attempts = if self.done > before { 0 } else { attempts + 1 };
            let Some(message) = failure else { continue };
            if attempts >= ATTEMPTS || restarts >= ATTEMPTS {
                return Err(HubError::Unreachable {
                    url: self.url(),
                    message,
                    attempts: attempts.max(restarts),
                });
            }
            tracing::warn!(
                file = self.wanted.path,
                bytes_done = self.done,
                problem = message,
                "the download is resumed"
            );
            self.client.pause(attempts.max(1));
        }
        self.check_and_keep()
    }

    /// One answer's bytes; returns what ended them too early.
    fn go_on(&mut self, tell: &mut dyn FnMut(u64)) -> Result<Option<String>, HubError> {
        let span = Span {
            start: self.done,
            bytes: None,
        };
        let span = (self.done > 0).then_some(span);
        let mut answer = self.client.file(self.repository, &self.wanted.path, span)?;
        let continues = match answer.part {
            Some((start, whole)) => start == self.done && whole == self.wanted.bytes,
            None => self.done == 0 && answer.status == 200,
        };
        if !continues {
            self.begin_anew().map_err(|source| self.io(source))?;
            if answer.part.is_some() || answer.status != 200 {
                return Ok(Some("the hub sent another part than was asked for".to_owned()));
            }
        }
        self.take_in(&mut answer.body, tell)
    }

    fn take_in(
        &mut self,
        body: &mut dyn Read,
        tell: &mut dyn FnMut(u64),
    ) -> Result<Option<String>, HubError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(error.to_string())),
            };
            if count == 0 {
                let is_short = self.done < self.wanted.bytes;
                return Ok(is_short.then(|| "the connection ended early".to_owned()));
            }
            if self.done + count as u64 > self.wanted.bytes {
                self.begin_anew().map_err(|source| self.io(source))?;
                return Ok(Some("the hub sent more than the file has".to_owned()));
            }
            self.file
                .write_all(&buffer[..count])
                .map_err(|source| self.io(source))?;
            self.hash.update(&buffer[..count]);
            self.done += count as u64;
            tell(self.done);
        }
    }

    fn check_and_keep(self) -> Result<(), HubError> {
        self.file.sync_all().map_err(|source| self.io(source))?;
        let found = self.hash.finish();
        if found == self.wanted.id {
            return Ok(());
        }
        let _ = fs::remove_file(self.part);
        Err(HubError::Hash {
            file: self.wanted.path.clone(),
            expected: self.wanted.id.clone(),
            found,
        })
    }

    fn url(&self) -> String {
        self.client.url_of(self.repository, &self.wanted.path)
    }

    fn io(&self, source: io::Error) -> HubError {
        HubError::Cache {
            path: self.part.to_owned(),
            source,
        }
    }
}

/// The hash by which a hub knows a file: SHA-256 of large files, git's own of small ones.
enum Hash {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hash {
    fn begin(wanted: &Wanted) -> Hash {
        /// Characters of a SHA-256 in hex.
        const SHA256_CHARACTERS: usize = 64;
        if wanted.id.len() == SHA256_CHARACTERS {
            return Hash::Sha256(Sha256::new());
        }
        Hash::Git(Sha1::new().chain_update(format!("blob {}\0", wanted.bytes)))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Git(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Hash::Sha256(hash) => hex::encode(hash.finalize()),
            Hash::Git(hash) => hex::encode(hash.finalize()),
        }
    }
}

/// The files of a repository that stay where they are; small ones and parts of large ones are read.
pub(super) struct RemoteFiles<'a> {
    client: &'a Client,
    repository: &'a Repository,
    /// What went wrong last, in full.
    failure: RefCell<Option<HubError>>,
}

impl<'a> RemoteFiles<'a> {
    pub(super) fn new(client: &'a Client, repository: &'a Repository) -> RemoteFiles<'a> {
        RemoteFiles {
            client,
            repository,
            failure: RefCell::new(None),
        }
    }

    /// What went wrong on the way, if anything did.
    pub(super) fn into_failure(self) -> Option<HubError> {
        self.failure.into_inner()
    }

    fn ask(&self, path: &str, span: Option<Span>, limit: u64) -> io::Result<Vec<u8>> {
        let answer = match self.client.file(self.repository, path, span) {
            Ok(answer) => answer,
            Err(error) => {
                let message = error.to_string();
                self.failure.replace(Some(error));
                return Err(io::Error::other(message));
            }
        };
        // A hub that knows no ranges sends the whole file; what is wanted is at its start or behind some of it.
        let (wanted, brought) = (
            span.map_or(0, |span| span.start),
            answer.part.map_or(0, |(start, _)| start),
        );
        let skipped = wanted.saturating_sub(brought);
        let mut body = answer.body;
        io::copy(&mut Read::by_ref(&mut body).take(skipped), &mut io::sink())?;
        match span.and_then(|span| span.bytes) {
            Some(bytes) => {
                let mut found = Vec::new();
                body.take(bytes).read_to_end(&mut found)?;
                Ok(found)
            }
            None => read_bounded(body, limit),
        }
    }
}

impl ModelFiles for RemoteFiles<'_> {
    fn has(&self, path: &str) -> bool {
        self.repository.file(path).is_some()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        let file = self
            .repository
            .file(path)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        match file.bytes {
            Some(bytes) => Ok(bytes),
            None => identify(self.client, self.repository, file)
                .map(|wanted| wanted.bytes)
                .map_err(|error| io::Error::other(error.to_string())),
        }
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.ask(path, None, limit)
    }

    fn read_part(&self, path: &str, start: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let span = Span {
            start,
            bytes: Some(bytes),
        };
        self.ask(path, Some(span), bytes)
    }
}
