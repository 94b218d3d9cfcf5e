//! A snapshot on its way from a node: chunks in order, bounded by the length that the node gave first.
//!
//! The bytes are not believed here: whoever keeps them reads them as an export, which checks all of it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agon_protocol::grpc::v1;
use agon_protocol::id::BlockNumber;
use agon_protocol::message::MessageError;
use thiserror::Error;
use tonic::Streaming;

use crate::{ClientError, failed};

/// Most bytes of a snapshot: twice what a state may have.
pub const SNAPSHOT_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Longest wait for a chunk.
const CHUNK_DEADLINE: Duration = Duration::from_secs(30);

const CALL: &str = "GetSnapshot";

/// A snapshot that is being fetched.
#[derive(Debug)]
pub struct Snapshot {
    uri: String,
    stream: Streaming<v1::SnapshotChunk>,
    height: BlockNumber,
    bytes: u64,
    received: u64,
    first: Option<Vec<u8>>,
}

/// Why a snapshot was not fetched.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The node did not give it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Snapshot {
    /// Waits for the first chunk.
    pub(crate) async fn begin(
        uri: String,
        stream: Streaming<v1::SnapshotChunk>,
    ) -> Result<Self, ClientError> {
        let mut snapshot = Self {
            uri,
            stream,
            height: BlockNumber(0),
            bytes: 0,
            received: 0,
            first: None,
        };
        let chunk = snapshot.receive().await?.unwrap_or_default();
        let v1::SnapshotChunk { height, bytes, data } = chunk;
        if bytes > SNAPSHOT_BYTES_MAX {
            return Err(too_large(bytes, SNAPSHOT_BYTES_MAX));
        }
        snapshot.height = BlockNumber(height);
        snapshot.bytes = bytes;
        snapshot.first = Some(data);
        Ok(snapshot)
    }

    /// The block whose state it is, as the node says.
    #[must_use]
    pub const fn height(&self) -> BlockNumber {
        self.height
    }

    /// Bytes of all chunks together.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What comes next; `None` once all of it came.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the node goes away, is too slow, or sends more or less than it said.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let data = match self.first.take() {
            Some(first) => first,
            None if self.received == self.bytes => return Ok(None),
            None => match self.receive().await? {
                Some(chunk) => chunk.data,
                None => {
                    return Err(ClientError::Malformed {
                        call: CALL,
                        source: MessageError::Invalid {
                            field: "data",
                            reason: format!("it ended after {} of {} bytes", self.received, self.bytes),
                        },
                    });
                }
            },
        };
        self.received = self.received.saturating_add(data.len() as u64);
        if self.received > self.bytes {
            return Err(too_large(self.received, self.bytes));
        }
        Ok(Some(data))
    }

    async fn receive(&mut self) -> Result<Option<v1::SnapshotChunk>, ClientError> {
        match tokio::time::timeout(CHUNK_DEADLINE, self.stream.message()).await {
            Ok(received) => received.map_err(|status| failed(CALL, &self.uri, &status)),
            Err(_) => Err(ClientError::Deadline {
                call: CALL,
                deadline_ms: CHUNK_DEADLINE.as_millis() as u64,
            }),
        }
    }

    /// Writes all of it into the new file `path`, and tells `progress` how many bytes there are of how many.
    ///
    /// # Errors
    ///
    /// [`SaveError`]; no file is left behind, nor when this is dropped before it is done.
    pub async fn save(mut self, path: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), SaveError> {
        let io = |source| SaveError::Write {
            path: path.to_owned(),
            source,
        };
        let mut file = File::create_new(path).map_err(io)?;
        let mut partial = Partial(Some(path));
        while let Some(data) = self.chunk().await? {
            file.write_all(&data).map_err(io)?;
            progress(self.received, self.bytes);
        }
        file.sync_all().map_err(io)?;
        partial.0 = None;
        Ok(())
    }
}

/// A file that goes unless it is whole.
struct Partial<'a>(Option<&'a Path>);

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Whoever reads the error that led here needs no second one.
            let _ = fs::remove_file(path);
        }
    }
}

fn too_large(value: u64, bound: u64) -> ClientError {
    ClientError::Malformed {
        call: CALL,
        source: MessageError::TooLarge {
            field: "bytes",
            value,
            bound,
        },
    }
}
