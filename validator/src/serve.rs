//! Serves evidence: what is kept of each tempo, to anyone who asks, in pieces.
//!
//! Evidence is public, so there is nobody to refuse; what a stranger can cost is bounded by the connections and streams
//! of [`agon_runtime::net`] and by one piece of `CHUNK_BYTES` in memory for each.

use std::io::SeekFrom;

use agon_protocol::grpc::v1::validator_server::Validator;
use agon_protocol::grpc::v1::{
    EvidenceChunk, GetEvidenceBundleRequest, ListEvidenceReply, ListEvidenceRequest,
};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::bundles::Bundles;

/// Bytes of one piece.
const CHUNK_BYTES: usize = 256 * 1024;
/// Pieces that wait for a slow reader.
const CHUNKS_WAITING: usize = 2;

/// The gRPC service.
#[derive(Clone, Debug)]
pub struct Service(pub Bundles);

#[tonic::async_trait]
impl Validator for Service {
    async fn list_evidence(
        &self,
        _: Request<ListEvidenceRequest>,
    ) -> Result<Response<ListEvidenceReply>, Status> {
        let tempos = self
            .0
            .tempos()
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(ListEvidenceReply { tempos }))
    }

    type GetEvidenceBundleStream = ReceiverStream<Result<EvidenceChunk, Status>>;

    async fn get_evidence_bundle(
        &self,
        request: Request<GetEvidenceBundleRequest>,
    ) -> Result<Response<Self::GetEvidenceBundleStream>, Status> {
        let tempo = request.get_ref().tempo;
        let file = File::open(self.0.path(tempo)).await;
        let mut file =
            file.map_err(|_| Status::not_found(format!("no evidence of tempo {tempo} is kept")))?;
        let bytes = file.seek(SeekFrom::End(0)).await?;
        file.rewind().await?;
        let (chunks, stream) = mpsc::channel(CHUNKS_WAITING);
        tokio::spawn(async move {
            // Ends when the reader has gone.
            while let Some(chunk) = read_chunk(&mut file, bytes).await {
                if chunks.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn read_chunk(file: &mut File, bytes: u64) -> Option<Result<EvidenceChunk, Status>> {
    let mut data = Vec::with_capacity(CHUNK_BYTES);
    match file.take(CHUNK_BYTES as u64).read_to_end(&mut data).await {
        Ok(0) => None,
        Ok(_) => Some(Ok(EvidenceChunk { bytes, data })),
        Err(error) => Some(Err(error.into())),
    }
}
