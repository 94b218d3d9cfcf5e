//! Replies that come in chunks, put together again: bounded by what such a reply may have and by the length that the
//! node gave first.

use std::time::Duration;

use agon_protocol::message::MessageError;
use tonic::Streaming;

use crate::{ClientError, failed};

/// Longest wait for a chunk.
const CHUNK_DEADLINE: Duration = Duration::from_secs(30);

/// A reply that is being put together.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    call: &'static str,
    uri: &'a str,
    bytes_max: usize,
}

impl<'a> Chunks<'a> {
    /// The reply to `call` of the node at `uri`, of at most `bytes_max` bytes.
    pub(crate) const fn new(call: &'static str, uri: &'a str, bytes_max: usize) -> Self {
        Self { call, uri, bytes_max }
    }

    /// All of it. `take` gives the length of the whole reply and the bytes of a chunk.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the node goes away, is too slow, or sends more or less than it said.
    pub(crate) async fn all<T>(
        &self,
        mut stream: Streaming<T>,
        mut take: impl FnMut(T) -> (u64, Vec<u8>),
    ) -> Result<Vec<u8>, ClientError> {
        let mut whole = Vec::new();
        let mut bytes = None;
        while let Some(chunk) = self.receive(&mut stream).await? {
            let (of, data) = take(chunk);
            let bytes = *bytes.get_or_insert(of);
            whole.extend(data);
            self.check("bytes", bytes, self.bytes_max as u64)?;
            self.check("data", whole.len() as u64, bytes)?;
        }
        match bytes {
            Some(bytes) if bytes == whole.len() as u64 => Ok(whole),
            bytes => Err(self.malformed(MessageError::Invalid {
                field: "data",
                reason: format!("it ended after {} of {} bytes", whole.len(), bytes.unwrap_or(0)),
            })),
        }
    }

    async fn receive<T>(&self, stream: &mut Streaming<T>) -> Result<Option<T>, ClientError> {
        let Self { call, uri, .. } = *self;
        match tokio::time::timeout(CHUNK_DEADLINE, stream.message()).await {
            Ok(received) => received.map_err(|status| failed(call, uri, &status)),
            Err(_) => Err(ClientError::Deadline {
                call,
                deadline_ms: CHUNK_DEADLINE.as_millis() as u64,
            }),
        }
    }

    fn check(&self, field: &'static str, value: u64, bound: u64) -> Result<(), ClientError> {
        if value <= bound {
            return Ok(());
        }
        Err(self.malformed(MessageError::TooLarge { field, value, bound }))
    }

    const fn malformed(&self, source: MessageError) -> ClientError {
        ClientError::Malformed {
            call: self.call,
            source,
        }
    }
}
