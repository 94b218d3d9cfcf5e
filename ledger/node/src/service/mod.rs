//! The gRPC service: what came over the wire becomes working types, and each error one status.
//!
//! Queries about the newest block are answered from the state that was published with it, without a lock or a
//! thread. Submissions go to the clerk, questions about the past to the archive. What a stream has not been told
//! yet it reads from the archive, so that a reader may be as slow as it likes and misses nothing.

mod chunks;
mod status;
mod streams;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agon_ledger_state::{AtRisk, Checked, Refusal};
use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::grpc::v1::ledger_server::{Ledger, LedgerServer};
use agon_protocol::grpc::{HOTKEYS_MAX, LEDGER_MESSAGE_BYTES_MAX, v1};
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Netuid};
use agon_protocol::message::{
    self, AtRiskView, MessageError, Metagraph, MetagraphChanges, Signed, SubnetView, Transaction, UidAtRisk,
};
use agon_protocol::proof::ProofTarget;
use agon_runtime::Shutdown;
use futures::Stream;
use tokio::sync::{Semaphore, mpsc};
use tonic::{Request, Response, Status};

use self::chunks::{Chunk, Chunks, LongReplies};
use self::status::{archive_status, desk_status, no_such_block, no_such_subnet, submit_status};
use self::streams::{Follower, send_snapshot};
use crate::archive::{self, Archive};
use crate::axons::AxonChecks;
use crate::bulletin::Reader;
use crate::clerk::{Clerk, News};
use crate::desk::{Desk, DeskError};
use crate::intake::Intake;
use crate::mempool::{SubmitError, Verdict};
use crate::metrics;
use crate::relay;

/// Longest wait of a submission for its block: less than a server works on a request, so that the answer is ours.
const SUBMIT_WAIT: Duration = Duration::from_secs(25);
/// Event streams of all clients. Each costs a task and one read of the past at a time.
const EVENT_STREAMS_MAX: usize = 256;
/// Bytes of the largest request: what a peer relays.
const REQUEST_BYTES_MAX: usize = relay::REQUEST_BYTES_MAX;
/// Snapshots that are sent at once; each takes turns with questions about the past.
const SNAPSHOT_STREAMS_MAX: usize = 4;

type Reply<T> = Result<Response<T>, Status>;

/// What a ledger is called and how fast it goes; the same for every answer.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) genesis: Digest,
    pub(crate) name: String,
    pub(crate) block_ms: u64,
}

/// Answers for one ledger.
#[derive(Debug)]
pub(crate) struct Service {
    identity: Identity,
    intake: Intake,
    clerk: Desk<Clerk>,
    archive: Desk<Archive>,
    news: Reader<News>,
    shutdown: Shutdown,
    streams: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
    long_replies: LongReplies,
    axons: AxonChecks,
}

impl Service {
    pub(crate) fn new(
        identity: Identity,
        (intake, clerk): (Intake, Desk<Clerk>),
        archive: Desk<Archive>,
        news: Reader<News>,
        axons: AxonChecks,
        shutdown: Shutdown,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(EVENT_STREAMS_MAX));
        let snapshots = Arc::new(Semaphore::new(SNAPSHOT_STREAMS_MAX));
        let long_replies = LongReplies::new(shutdown.clone());
        Self {
            identity,
            intake,
            clerk,
            archive,
            news,
            shutdown,
            streams,
            snapshots,
            long_replies,
            axons,
        }
    }

    /// The service with its limits of message sizes.
    pub(crate) fn into_server(self) -> LedgerServer<Self> {
        LedgerServer::new(self)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(LEDGER_MESSAGE_BYTES_MAX)
    }

    fn newest(&self) -> News {
        self.news.latest()
    }

    fn head(&self) -> message::Head {
        let News { head, state, .. } = self.newest();
        message::Head {
            genesis: self.identity.genesis,
            name: self.identity.name.clone(),
            height: head.height,
            hash: head.hash,
            time_ms: head.time_ms,
            state_root: head.state_root,
            issuance: state.issuance(),
            burned: state.burned(),
            subnet_lock: state.subnet_lock(),
            block_ms: self.identity.block_ms,
            clock_ms: self.axons.now_ms(),
        }
    }

    async fn metagraph_at(&self, netuid: Netuid, height: Option<u64>) -> Result<Metagraph, Status> {
        let News { head, state, .. } = self.newest();
        match height.map(BlockNumber) {
            Some(height) if height > head.height => Err(no_such_block(height, head.height)),
            Some(height) if height < head.height => {
                let past = self
                    .archive
                    .ask(move |archive| archive.metagraph(netuid, height))
                    .await;
                past.map_err(desk_status)?.map_err(|error| archive_status(&error))
            }
            _ => archive::metagraph(&state, netuid, head.hash).ok_or_else(|| no_such_subnet(netuid)),
        }
    }

    async fn submit_and_wait(&self, transaction: Signed<Transaction>) -> Result<v1::SubmitReply, Status> {
        let digest = transaction.digest().0.to_vec();
        let submit =
            |clerk: &mut Clerk, mut one: Vec<_>| one.pop().map(|transaction| clerk.submit(transaction));
        let submitted = self.intake.bring(vec![transaction], submit).await;
        let verdict = match submitted
            .map_err(desk_status)?
            .unwrap_or(Err(SubmitError::Closed))
        {
            Ok(verdict) => tokio::time::timeout(SUBMIT_WAIT, verdict).await,
            Err(SubmitError::Refused(refusal)) => Ok(Ok(Verdict::Refused(refusal.view()))),
            Err(error) => return Err(submit_status(&error)),
        };
        match verdict {
            Ok(Ok(Verdict::Included(height))) => Ok(v1::SubmitReply {
                digest,
                height: height.0,
                refusal: None,
            }),
            Ok(Ok(Verdict::Refused(refusal))) => Ok(v1::SubmitReply {
                digest,
                height: 0,
                refusal: Some(refusal.into()),
            }),
            Ok(Err(_)) => Err(desk_status(DeskError::Closed)),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no block took the transaction within {} s, but one may yet: see whether the account's nonce moves",
                SUBMIT_WAIT.as_secs()
            ))),
        }
    }
}

#[tonic::async_trait]
impl Ledger for Service {
    async fn get_head(&self, _: Request<v1::GetHeadRequest>) -> Reply<v1::Head> {
        Ok(Response::new(self.head().into()))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Reply<v1::SubmitReply> {
        let transaction = transaction(request.into_inner())?;
        self.submit_and_wait(transaction).await.map(Response::new)
    }

    async fn relay(&self, request: Request<v1::RelayRequest>) -> Reply<v1::RelayReply> {
        let requests = request.into_inner().transactions;
        if requests.len() > relay::BATCH_MAX {
            let (found, bound) = (requests.len(), relay::BATCH_MAX);
            return Err(Status::invalid_argument(format!(
                "{found} transactions, {bound} at most"
            )));
        }
        let transactions = requests
            .into_iter()
            .map(transaction)
            .collect::<Result<Vec<_>, _>>()?;
        let relayed = self.intake.bring(transactions, Clerk::relayed);
        relayed.await.map_err(desk_status)?;
        Ok(Response::new(v1::RelayReply {}))
    }

    async fn dry_run(&self, request: Request<v1::SubmitRequest>) -> Reply<v1::DryRunReply> {
        let transaction = transaction(request.into_inner())?;
        let digest = transaction.digest().0.to_vec();
        let said = self
            .clerk
            .ask(move |clerk| clerk.dry_run(&transaction))
            .await
            .map_err(desk_status)?;
        let reply = match said {
            Ok(Checked { effect, fee, payer }) => v1::DryRunReply {
                effects: vec![effect.to_string(), format!("burns a fee of {fee} from {payer}")],
                fee: fee.base_units(),
                payer: payer.0.to_vec(),
                ..v1::DryRunReply::default()
            },
            Err(refusal) => v1::DryRunReply {
                refusal: Some(Refusal::view(&refusal).into()),
                ..v1::DryRunReply::default()
            },
        };
        Ok(Response::new(v1::DryRunReply { digest, ..reply }))
    }

    async fn get_account(&self, request: Request<v1::GetAccountRequest>) -> Reply<v1::Account> {
        let account = account(&request.into_inner().account)?;
        Ok(Response::new(self.newest().state.account(&account).into()))
    }

    async fn get_coldkey(&self, request: Request<v1::GetColdkeyRequest>) -> Reply<v1::ColdkeyReply> {
        let Account(coldkey) = account(&request.into_inner().coldkey)?;
        let view = self.newest().state.coldkey(Coldkey(coldkey), HOTKEYS_MAX);
        Ok(Response::new(view.into()))
    }

    async fn get_subnet(&self, request: Request<v1::GetSubnetRequest>) -> Reply<v1::Subnet> {
        let netuid = netuid(request.into_inner().netuid)?;
        let subnet: Option<SubnetView> = self.newest().state.subnet(netuid);
        subnet
            .map(|subnet| Response::new(subnet.into()))
            .ok_or_else(|| no_such_subnet(netuid))
    }

    async fn get_committee(&self, _: Request<v1::GetCommitteeRequest>) -> Reply<v1::Committee> {
        Ok(Response::new(self.newest().state.committee_view().into()))
    }

    async fn list_subnets(&self, _: Request<v1::ListSubnetsRequest>) -> Reply<v1::ListSubnetsReply> {
        let subnets = self
            .newest()
            .state
            .subnets()
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(Response::new(v1::ListSubnetsReply { subnets }))
    }

    async fn get_metagraph(&self, request: Request<v1::GetMetagraphRequest>) -> Reply<v1::Metagraph> {
        let v1::GetMetagraphRequest {
            netuid: number,
            height,
        } = request.into_inner();
        let metagraph = self.metagraph_at(netuid(number)?, height).await?;
        Ok(Response::new(metagraph.into()))
    }

    async fn get_metagraph_changes(
        &self,
        request: Request<v1::GetMetagraphChangesRequest>,
    ) -> Reply<v1::MetagraphChanges> {
        let v1::GetMetagraphChangesRequest {
            netuid: number,
            since,
        } = request.into_inner();
        let (netuid, since) = (netuid(number)?, BlockNumber(since));
        let News {
            head, state, changes, ..
        } = self.newest();
        if since > head.height {
            return Err(no_such_block(since, head.height));
        }
        let changed = changes.since(netuid, since, head.height);
        let metagraph = match &changed {
            Some(uids) => state.metagraph_rows(netuid, uids),
            None => state.metagraph(netuid),
        };
        let metagraph = metagraph.ok_or_else(|| no_such_subnet(netuid))?;
        let reply = MetagraphChanges {
            since: changed.map(|_| since),
            metagraph: Metagraph {
                hash: head.hash,
                ..metagraph
            },
        };
        Ok(Response::new(reply.into()))
    }

    async fn get_at_risk(&self, request: Request<v1::GetAtRiskRequest>) -> Reply<v1::AtRiskReply> {
        let netuid = netuid(request.into_inner().netuid)?;
        let state = self.newest().state;
        let (Some(subnet), Some(order)) = (state.subnet(netuid), state.at_risk(netuid)) else {
            return Err(no_such_subnet(netuid));
        };
        let max_uids = subnet.parameter("max_uids").unwrap_or(0);
        let free = max_uids.saturating_sub(subnet.neuron_count.into());
        let reply = AtRiskView {
            netuid,
            height: subnet.height,
            free_uids: u16::try_from(free).unwrap_or(u16::MAX),
            uids: order.into_iter().map(at_risk).collect(),
        };
        Ok(Response::new(reply.into()))
    }

    async fn get_weights(&self, request: Request<v1::GetWeightsRequest>) -> Reply<v1::GetWeightsReply> {
        let netuid = netuid(request.into_inner().netuid)?;
        let rows = self
            .newest()
            .state
            .weights(netuid)
            .ok_or_else(|| no_such_subnet(netuid))?;
        Ok(Response::new(v1::GetWeightsReply {
            rows: rows.into_iter().map(Into::into).collect(),
        }))
    }

    async fn get_evidence(&self, request: Request<v1::GetEvidenceRequest>) -> Reply<v1::EvidenceReply> {
        let v1::GetEvidenceRequest {
            netuid: number,
            tempo,
        } = request.into_inner();
        let netuid = netuid(number)?;
        let state = self.newest().state;
        if !state.has_subnet(netuid) {
            return Err(no_such_subnet(netuid));
        }
        let view = state.evidence_view(netuid, tempo).ok_or_else(|| {
            Status::not_found(format!(
                "tempo {tempo} of subnet {netuid} has not opened, or its evidence is not kept any more"
            ))
        })?;
        Ok(Response::new(view.into()))
    }

    type GetEpochStream = Chunks<v1::EpochChunk>;

    async fn get_epoch(&self, request: Request<v1::GetEpochRequest>) -> Reply<Self::GetEpochStream> {
        let v1::GetEpochRequest {
            netuid: number,
            tempo,
        } = request.into_inner();
        let netuid = netuid(number)?;
        let record = self.newest().state.epoch_record(netuid, tempo);
        let record = record.ok_or_else(|| {
            Status::not_found(format!(
                "the epoch of tempo {tempo} on subnet {netuid} has not run, or is not kept"
            ))
        })?;
        let chunk = |Chunk { bytes, data, .. }| v1::EpochChunk { bytes, data };
        let chunks = self.long_replies.send(codec::encode(&record), chunk)?;
        Ok(Response::new(chunks))
    }

    async fn get_genesis(&self, _: Request<v1::GetGenesisRequest>) -> Reply<v1::GetGenesisReply> {
        let read = self.archive.ask(|archive| archive.genesis().to_vec()).await;
        let genesis = read.map_err(desk_status)?;
        Ok(Response::new(v1::GetGenesisReply { genesis }))
    }

    async fn get_headers(&self, request: Request<v1::GetHeadersRequest>) -> Reply<v1::GetHeadersReply> {
        let v1::GetHeadersRequest { from, to } = request.into_inner();
        if to < from {
            return Err(Status::invalid_argument(format!(
                "headers from {from} to {to} were asked for: the second height has to be the higher one"
            )));
        }
        let (from, to) = (BlockNumber(from), BlockNumber(to));
        let read = self.archive.ask(move |archive| archive.headers(from, to)).await;
        let headers = read
            .map_err(desk_status)?
            .map_err(|error| archive_status(&error))?;
        Ok(Response::new(v1::GetHeadersReply {
            headers: headers.iter().map(codec::encode).collect(),
        }))
    }

    type GetProofStream = Chunks<v1::ProofChunk>;

    async fn get_proof(&self, request: Request<v1::GetProofRequest>) -> Reply<Self::GetProofStream> {
        let v1::GetProofRequest { target, height } = request.into_inner();
        let target = target.ok_or(MessageError::Missing { field: "target" });
        let target = target
            .and_then(ProofTarget::try_from)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let News { head, state, .. } = self.newest();
        let height = height.map_or(head.height, BlockNumber);
        let proven = self
            .archive
            .ask(move |archive| archive.prove(&target, height, &state))
            .await
            .map_err(desk_status)?;
        let (header, proof) = proven.map_err(|error| archive_status(&error))?;
        let header = codec::encode(&header);
        let chunk = move |Chunk { index, bytes, data }| v1::ProofChunk {
            header: if index == 0 { header.clone() } else { Vec::new() },
            bytes,
            data,
        };
        Ok(Response::new(self.long_replies.send(proof, chunk)?))
    }

    async fn get_block(&self, request: Request<v1::GetBlockRequest>) -> Reply<v1::GetBlockReply> {
        let height = BlockNumber(request.into_inner().height);
        let newest = self.newest().head.height;
        if height > newest {
            return Err(no_such_block(height, newest));
        }
        let read = self
            .archive
            .ask(move |archive| archive.block(height))
            .await
            .map_err(desk_status)?;
        let block = read.map_err(|error| archive_status(&error))?;
        Ok(Response::new(v1::GetBlockReply { block }))
    }

    type GetSnapshotStream = Pin<Box<dyn Stream<Item = Result<v1::SnapshotChunk, Status>> + Send>>;

    async fn get_snapshot(&self, request: Request<v1::GetSnapshotRequest>) -> Reply<Self::GetSnapshotStream> {
        let permit = Arc::clone(&self.snapshots).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{SNAPSHOT_STREAMS_MAX} snapshots are being sent already"))
        })?;
        let height = request.into_inner().height.map(BlockNumber);
        let made = self.archive.ask(move |archive| archive.snapshot(height)).await;
        let file = made
            .map_err(desk_status)?
            .map_err(|error| archive_status(&error))?;
        let (chunks, receiver) = mpsc::channel(1);
        let sending = send_snapshot(file, self.archive.clone(), chunks, permit);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.requested() => {}
                () = sending => {}
            }
        });
        let stream = futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    type EventsStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    async fn events(&self, request: Request<v1::EventsRequest>) -> Reply<Self::EventsStream> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{EVENT_STREAMS_MAX} event streams are open already"))
        })?;
        metrics::event_stream_opened();
        let next = match request.into_inner().from_height {
            0 => self.newest().head.height.next(),
            from => BlockNumber(from),
        };
        let (news, archive, shutdown) = (self.news.clone(), self.archive.clone(), self.shutdown.clone());
        let follower = Follower {
            news,
            archive,
            next,
            shutdown,
            _permit: permit,
        };
        Ok(Response::new(Box::pin(follower.stream())))
    }

    async fn check_axon(&self, request: Request<v1::CheckAxonRequest>) -> Reply<v1::CheckAxonReply> {
        let wish = axon_check(request.into_inner())?;
        let checked = self.axons.check(wish, &self.newest().state).await?;
        Ok(Response::new(checked.into()))
    }
}

fn axon_check(request: v1::CheckAxonRequest) -> Result<Signed<message::AxonCheck>, Status> {
    Signed::try_from(request).map_err(|error: MessageError| Status::invalid_argument(error.to_string()))
}

fn transaction(request: v1::SubmitRequest) -> Result<Signed<Transaction>, Status> {
    Signed::try_from(request).map_err(|error: MessageError| Status::invalid_argument(error.to_string()))
}

fn account(bytes: &[u8]) -> Result<Account, Status> {
    let key = bytes.try_into().map_err(|_| {
        Status::invalid_argument(format!("an account has 32 bytes, this one has {}", bytes.len()))
    })?;
    Ok(Account(key))
}

fn at_risk(row: AtRisk) -> UidAtRisk {
    UidAtRisk {
        uid: row.uid,
        hotkey: row.hotkey,
        emission: Amount::from_base_units(row.emission),
        registered: row.registered,
        immune: row.immune,
        immunity_left_blocks: row.immunity_left_blocks,
        judged: row.judged,
    }
}

fn netuid(number: u32) -> Result<Netuid, Status> {
    let narrow = u16::try_from(number)
        .map_err(|_| Status::invalid_argument(format!("netuid is {number}, {} at most", u16::MAX)))?;
    Ok(Netuid(narrow))
}
