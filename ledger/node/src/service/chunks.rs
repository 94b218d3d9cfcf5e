//! Replies that may not fit a message, sent in chunks.
//!
//! Most fit one chunk and cost nothing more than a plain reply. Of longer ones a few are sent at a time, each by a
//! task that gives up on a client that does not read.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agon_runtime::Shutdown;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Long replies that are sent at once; each is in memory until it is sent.
const LONG_REPLIES_MAX: usize = 8;
/// Longest wait for a client to take a chunk.
const CHUNK_WAIT: Duration = Duration::from_secs(30);

/// A reply in chunks.
pub(super) type Chunks<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A piece of a reply.
pub(super) struct Chunk {
    /// Counted from 0.
    pub(super) index: usize,
    /// Bytes of the whole reply.
    pub(super) bytes: u64,
    /// Those of this chunk.
    pub(super) data: Vec<u8>,
}

/// Sends what may be long.
#[derive(Clone, Debug)]
pub(super) struct LongReplies {
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl LongReplies {
    /// Nothing is being sent yet.
    pub(super) fn new(shutdown: Shutdown) -> Self {
        let places = Arc::new(Semaphore::new(LONG_REPLIES_MAX));
        Self { places, shutdown }
    }

    /// A stream of `reply` in chunks, one at least, each made a message by `wrap`.
    ///
    /// # Errors
    ///
    /// [`Status::resource_exhausted`] when the reply is long and too many others are being sent.
    pub(super) fn send<T: Send + 'static>(
        &self,
        reply: Vec<u8>,
        wrap: impl Fn(Chunk) -> T + Send + Sync + 'static,
    ) -> Result<Chunks<T>, Status> {
        let bytes = reply.len() as u64;
        if reply.len() <= CHUNK_BYTES {
            let only = wrap(Chunk {
                index: 0,
                bytes,
                data: reply,
            });
            return Ok(stream::once(async { Ok(only) }).boxed());
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{LONG_REPLIES_MAX} long replies are being sent already"))
        })?;
        let (chunks, receiver) = mpsc::channel(1);
        let sending = send_all(reply, wrap, chunks, place);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.requested() => {}
                () = sending => {}
            }
        });
        let received = |mut receiver: mpsc::Receiver<T>| async {
            receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
        };
        Ok(stream::unfold(receiver, received).boxed())
    }
}

/// Sends chunk after chunk, until all are sent or the client is gone or too slow.
async fn send_all<T>(
    reply: Vec<u8>,
    wrap: impl Fn(Chunk) -> T,
    chunks: mpsc::Sender<T>,
    _place: OwnedSemaphorePermit,
) {
    let bytes = reply.len() as u64;
    for (index, data) in reply.chunks(CHUNK_BYTES).enumerate() {
        let chunk = wrap(Chunk {
            index,
            bytes,
            data: data.to_vec(),
        });
        if chunks.send_timeout(chunk, CHUNK_WAIT).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reply_comes_whole_however_many_chunks_it_takes() {
        let replies = LongReplies::new(Shutdown::new());
        for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let reply: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            let chunks = replies.send(reply.clone(), |chunk| chunk).unwrap();
            let chunks: Vec<Chunk> = chunks.map(Result::unwrap).collect().await;
            assert_eq!(chunks.len(), len.div_ceil(CHUNK_BYTES).max(1));
            assert!(chunks.iter().all(|chunk| chunk.bytes == len as u64));
            assert!(
                chunks
                    .iter()
                    .enumerate()
                    .all(|(index, chunk)| chunk.index == index)
            );
            let data: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.data).collect();
            assert!(data == reply);
        }
    }

    #[tokio::test]
    async fn long_replies_that_nobody_reads_are_bounded_and_short_ones_are_not() {
        let replies = LongReplies::new(Shutdown::new());
        let long = || replies.send(vec![0; CHUNK_BYTES + 1], drop);
        let unread: Vec<_> = (0..LONG_REPLIES_MAX).map(|_| long().unwrap()).collect();
        let status = long().err().unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(replies.send(vec![0; CHUNK_BYTES], drop).is_ok());
        // A client that goes away frees its place, once its task has seen that.
        drop(unread);
        while long().is_err() {
            tokio::task::yield_now().await;
        }
    }
}
