//! What is told piece by piece: events block by block, and snapshots.

use std::time::Duration;

use agon_protocol::grpc::v1;
use agon_protocol::id::BlockNumber;
use agon_protocol::message::EventView;
use agon_runtime::Shutdown;
use agon_runtime::flags::sentence;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;
use tracing::error;

use super::status::{archive_status, desk_status};
use crate::archive::Archive;
use crate::bulletin::Reader;
use crate::clerk::News;
use crate::desk::{Desk, DeskError};
use crate::metrics;
use crate::snapshot::ServedFile;

/// Bytes of a chunk of a snapshot.
const SNAPSHOT_CHUNK_BYTES: u64 = 256 * 1_024;
/// Longest wait for a client to take a chunk.
const SNAPSHOT_CHUNK_WAIT: Duration = Duration::from_secs(30);

/// Sends a snapshot chunk by chunk, until all of it is sent or the client is gone or too slow.
pub(super) async fn send_snapshot(
    file: ServedFile,
    archive: Desk<Archive>,
    chunks: mpsc::Sender<Result<v1::SnapshotChunk, Status>>,
    _permit: OwnedSemaphorePermit,
) {
    let mut offset = 0;
    while offset < file.bytes {
        let reading = file.clone();
        let read = archive
            .ask_in_turn(move |_| reading.read(offset, SNAPSHOT_CHUNK_BYTES))
            .await;
        let chunk = match read {
            Ok(Ok(data)) => {
                offset += data.len() as u64;
                Ok(v1::SnapshotChunk {
                    height: file.height.0,
                    bytes: file.bytes,
                    data,
                })
            }
            Ok(Err(failure)) => {
                error!(reason = sentence(&failure), "a snapshot cannot be read");
                Err(Status::internal("the node cannot read its snapshot: see its log"))
            }
            Err(closed) => Err(desk_status(closed)),
        };
        let is_last = chunk.is_err();
        if chunks.send_timeout(chunk, SNAPSHOT_CHUNK_WAIT).await.is_err() || is_last {
            return;
        }
    }
}

/// A reader of events: tells each height once, in order.
pub(super) struct Follower {
    pub(super) news: Reader<News>,
    pub(super) archive: Desk<Archive>,
    pub(super) next: BlockNumber,
    pub(super) shutdown: Shutdown,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Drop for Follower {
    fn drop(&mut self) {
        metrics::event_stream_closed();
    }
}

impl Follower {
    pub(super) fn stream(self) -> impl Stream<Item = Result<v1::Event, Status>> + Send {
        futures::stream::unfold(Some(self), |follower| async {
            let mut follower = follower?;
            match follower.next_or_end().await {
                Ok(event) => Some((Ok(event.into()), Some(follower))),
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    async fn next_or_end(&mut self) -> Result<EventView, Status> {
        let requested = self.shutdown.requested();
        tokio::select! {
            biased;
            () = requested => Err(desk_status(DeskError::Closed)),
            event = self.next() => event,
        }
    }

    async fn next(&mut self) -> Result<EventView, Status> {
        let height = self.next;
        let heard = self.news.wait_for(|news| news.head.height >= height).await;
        let live = heard.ok_or_else(|| desk_status(DeskError::Closed))?.event;
        let event = match live.filter(|event| event.height == height) {
            Some(event) => EventView::clone(&event),
            None => self.read(height).await?,
        };
        self.next = height.next();
        Ok(event)
    }

    async fn read(&self, height: BlockNumber) -> Result<EventView, Status> {
        let read = self
            .archive
            .ask_in_turn(move |archive| archive.event(height))
            .await
            .map_err(desk_status)?;
        read.map_err(|error| archive_status(&error))
    }
}
