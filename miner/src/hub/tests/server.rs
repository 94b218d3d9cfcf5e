//! A hub on loopback: the routes of huggingface.co that this program uses, over one folder.
//!
//! Large files are redirected to a second address, as the real one does, and everything that was asked is noted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The one commit that there is.
pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Who may see `org/private`.
pub(super) const TOKEN: &str = "hf_loopback";
/// From here on a file is large, and kept elsewhere.
const LARGE_BYTES: usize = 8_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    None,
    /// Answers about `file` end after so many bytes, so many times.
    CutAfter {
        file: &'static str,
        bytes: usize,
        times: usize,
    },
    /// So many requests are answered with this status.
    Status {
        status: u16,
        times: usize,
    },
    /// Ranges are not known: every answer is the whole file.
    NoRanges,
    /// The list has names only.
    BareList,
    /// A file is not there.
    Without {
        file: &'static str,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) start: Option<u64>,
    pub(super) has_token: bool,
    pub(super) is_to_hub: bool,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    trouble: Trouble,
    seen: Vec<Seen>,
    bytes_sent: u64,
    /// Where large files are.
    store: String,
}

pub(super) struct Hub {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Hub {
    /// Serves the files of `dir` as `org/tiny`, `org/other` and, with a token, `org/private`.
    pub(super) fn start(dir: &Path) -> Hub {
        let files = std::fs::read_dir(dir).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        });
        let (hub, store) = (bind(), bind());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            files: files.collect(),
            trouble: Trouble::None,
            seen: Vec::new(),
            bytes_sent: 0,
            store: address(&store),
        }));
        let endpoint = address(&hub);
        serve(hub, Arc::clone(&state), true);
        serve(store, Arc::clone(&state), false);
        Hub { endpoint, state }
    }

    pub(super) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    pub(super) fn set(&self, trouble: Trouble) {
        self.state.lock().unwrap().trouble = trouble;
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Paths of files that were sent, whole or in part, by whichever address.
    pub(super) fn downloads(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let is_file = |seen: &&Seen| {
            let name = seen.path.rsplit('/').next().unwrap_or_default();
            let is_large = state
                .files
                .get(name)
                .is_some_and(|bytes| bytes.len() >= LARGE_BYTES);
            !seen.path.starts_with("/api") && seen.is_to_hub != is_large
        };
        state
            .seen
            .iter()
            .filter(is_file)
            .map(|seen| seen.path.clone())
            .collect()
    }

    /// The first bytes that were asked for of a large file, request by request.
    pub(super) fn starts_of(&self, file: &str) -> Vec<u64> {
        let seen = self.requests();
        let of_file = seen
            .iter()
            .filter(|seen| !seen.is_to_hub && seen.path.ends_with(file));
        of_file.map(|seen| seen.start.unwrap_or(0)).collect()
    }

    pub(super) fn id_of(&self, file: &str) -> String {
        id_of(&self.state.lock().unwrap().files[file])
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        self.state.lock().unwrap().bytes_sent
    }
}

fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// The hash by which the real hub knows a file.
fn id_of(bytes: &[u8]) -> String {
    if bytes.len() >= LARGE_BYTES {
        hex::encode(Sha256::digest(bytes))
    } else {
        let header = format!("blob {}\0", bytes.len());
        hex::encode(Sha1::new().chain_update(header).chain_update(bytes).finalize())
    }
}

/// Answers until the process ends; each connection brings one request.
fn serve(listener: TcpListener, state: Arc<Mutex<State>>, is_hub: bool) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            // A client that goes away early is not this server's problem.
            std::thread::spawn(move || drop(answer(stream, &state, is_hub)));
        }
    });
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, is_hub: bool) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut seen = Seen {
        path: path.split('?').next().unwrap_or_default().to_owned(),
        start: None,
        has_token: false,
        is_to_hub: is_hub,
    };
    let mut end = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        seen.has_token |= line == format!("authorization: bearer {TOKEN}");
        if let Some((from, to)) = line
            .strip_prefix("range: bytes=")
            .and_then(|range| range.split_once('-'))
        {
            seen.start = from.parse().ok();
            end = to.parse::<usize>().ok();
        }
    }
    let reply = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        let reply = state.reply(&seen, end);
        state.bytes_sent += reply.len() as u64;
        reply
    };
    stream.write_all(&reply)
}

impl State {
    fn reply(&mut self, seen: &Seen, end: Option<usize>) -> Vec<u8> {
        if let Trouble::Status { status, times } = &mut self.trouble
            && *times > 0
        {
            *times -= 1;
            return plain(*status, "Retry-After: 7\r\n");
        }
        let parts: Vec<&str> = seen.path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["store", file] if !seen.is_to_hub => self.file(file, seen.start, end),
            ["api", "models", "org", model, "revision", revision] => {
                self.guarded(model, revision, seen, |state| state.list())
            }
            ["org", model, "resolve", commit, file] => {
                self.guarded(model, commit, seen, |state| state.resolve(file, seen.start, end))
            }
            _ => plain(404, ""),
        }
    }

    fn guarded(
        &mut self,
        model: &str,
        revision: &str,
        seen: &Seen,
        reply: impl FnOnce(&mut State) -> Vec<u8>,
    ) -> Vec<u8> {
        match model {
            "private" if !seen.has_token => return plain(401, "X-Error-Code: RepoNotFound\r\n"),
            "tiny" | "other" | "private" => {}
            _ => return plain(404, "X-Error-Code: RepoNotFound\r\n"),
        }
        if !["main", "v1", COMMIT].contains(&revision) {
            return plain(404, "X-Error-Code: RevisionNotFound\r\n");
        }
        reply(self)
    }

    fn is_hidden(&self, name: &str) -> bool {
        matches!(self.trouble, Trouble::Without { file } if file == name)
    }

    fn list(&self) -> Vec<u8> {
        let names = self.files.iter().filter(|(name, _)| !self.is_hidden(name));
        let siblings: Vec<_> = names
            .map(|(name, bytes)| match self.trouble {
                Trouble::BareList => json!({ "rfilename": name }),
                _ if bytes.len() >= LARGE_BYTES => json!({
                    "rfilename": name, "size": bytes.len(), "blobId": "f".repeat(40),
                    "lfs": {"sha256": id_of(bytes), "size": bytes.len(), "pointerSize": 130}
                }),
                _ => json!({"rfilename": name, "size": bytes.len(), "blobId": id_of(bytes)}),
            })
            .collect();
        let body = json!({"id": "org/tiny", "sha": COMMIT, "siblings": siblings}).to_string();
        let mut reply = head(200, body.len(), "");
        reply.extend(body.bytes());
        reply
    }

    /// Small files come at once, large ones from elsewhere.
    fn resolve(&mut self, name: &str, start: Option<u64>, end: Option<usize>) -> Vec<u8> {
        match self.files.get(name) {
            Some(bytes) if bytes.len() >= LARGE_BYTES => {
                let headers = format!(
                    "Location: {}/store/{name}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: {}\r\n",
                    self.store,
                    id_of(bytes),
                    bytes.len()
                );
                plain(302, &headers)
            }
            _ => self.file(name, start, end),
        }
    }

    fn file(&mut self, name: &str, start: Option<u64>, end: Option<usize>) -> Vec<u8> {
        let Some(bytes) = self.files.get(name).filter(|_| !self.is_hidden(name)) else {
            return plain(404, "X-Error-Code: EntryNotFound\r\n");
        };
        // What the store itself says of a file is not what the hub says.
        let etag = match bytes.len() >= LARGE_BYTES {
            true => "\"of-the-store\"".to_owned(),
            false => format!("\"{}\"", id_of(bytes)),
        };
        let whole = bytes.len();
        let (status, part, range) = match start.filter(|_| !matches!(self.trouble, Trouble::NoRanges)) {
            Some(start) if start as usize >= whole => {
                return plain(416, &format!("Content-Range: bytes */{whole}\r\n"));
            }
            Some(start) => {
                let end = end.map_or(whole, |end| (end + 1).min(whole));
                let range = format!("Content-Range: bytes {start}-{}/{whole}\r\n", end - 1);
                (206, &bytes[start as usize..end], range)
            }
            None => (200, bytes.as_slice(), String::new()),
        };
        let mut reply = head(status, part.len(), &format!("ETag: {etag}\r\n{range}"));
        let mut sent = part.len();
        if let Trouble::CutAfter { file, bytes, times } = &mut self.trouble
            && *file == name
            && *times > 0
        {
            *times -= 1;
            sent = sent.min(*bytes);
        }
        reply.extend(&part[..sent]);
        reply
    }
}

fn plain(status: u16, headers: &str) -> Vec<u8> {
    head(status, 0, headers)
}

fn head(status: u16, length: usize, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")
        .into_bytes()
}
