//! Questions to a node, one function for each call that changes nothing.

use agon_protocol::codec::{self, CodecError};
use agon_protocol::grpc::{self, v1};
use agon_protocol::id::{Account, BlockNumber, Coldkey, Netuid};
use agon_protocol::light::LightHeader;
use agon_protocol::message::{
    AccountView, AtRiskView, AxonCheck, AxonCheckView, ColdkeyView, CommitteeView, EventView, EvidenceView,
    FinalBlock, Genesis, Head, Metagraph, MetagraphChanges, Signed, SubnetView, WeightRowView,
};
use agon_protocol::proof::{ProofTarget, RowProof};
use futures::{Stream, StreamExt};

use crate::chunks::Chunks;
use crate::snapshot::Snapshot;
use crate::{ClientError, LedgerClient, SUBMIT_DEADLINE, failed, working};

impl LedgerClient {
    /// The newest block.
    ///
    /// # Errors
    ///
    /// [`ClientError`], as for every call.
    pub async fn head(&self) -> Result<Head, ClientError> {
        let mut stub = self.stub.clone();
        let reply = self.ask("GetHead", stub.get_head(v1::GetHeadRequest {})).await?;
        working("GetHead", reply)
    }

    /// Has the node try the axon that the ledger has of the hotkey of `check`.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when the hotkey announced none, [`ClientError::Failed`] when it was tried a moment
    /// ago, and the others.
    pub async fn check_axon(&self, check: &Signed<AxonCheck>) -> Result<AxonCheckView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::CheckAxonRequest::from(check);
        let reply = self.ask("CheckAxon", stub.check_axon(request)).await?;
        working("CheckAxon", reply)
    }

    /// What an account holds, and its next nonce.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn account(&self, account: Account) -> Result<AccountView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetAccountRequest {
            account: account.0.to_vec(),
        };
        let reply = self.ask("GetAccount", stub.get_account(request)).await?;
        working("GetAccount", reply)
    }

    /// The hotkeys of a coldkey with their takes, and who was announced to take over from it.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn coldkey(&self, coldkey: Coldkey) -> Result<ColdkeyView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetColdkeyRequest {
            coldkey: coldkey.0.to_vec(),
        };
        let reply = self.ask("GetColdkey", stub.get_coldkey(request)).await?;
        working("GetColdkey", reply)
    }

    /// One subnet.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when there is no such subnet, and the others.
    pub async fn subnet(&self, netuid: Netuid) -> Result<SubnetView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetSubnetRequest {
            netuid: netuid.0.into(),
        };
        let reply = self.ask("GetSubnet", stub.get_subnet(request)).await?;
        working("GetSubnet", reply)
    }

    /// Members of the committee and candidates.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn committee(&self) -> Result<CommitteeView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetCommitteeRequest {};
        let reply = self.ask("GetCommittee", stub.get_committee(request)).await?;
        working("GetCommittee", reply)
    }

    /// Every subnet, netuid ascending.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn subnets(&self) -> Result<Vec<SubnetView>, ClientError> {
        let mut stub = self.stub.clone();
        let reply = self
            .ask("ListSubnets", stub.list_subnets(v1::ListSubnetsRequest {}))
            .await?;
        reply
            .subnets
            .into_iter()
            .map(|subnet| working("ListSubnets", subnet))
            .collect()
    }

    /// A subnet's neurons, now or at the end of the block at `height`.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when subnet or height are not known, and the others.
    pub async fn metagraph(
        &self,
        netuid: Netuid,
        height: Option<BlockNumber>,
    ) -> Result<Metagraph, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetMetagraphRequest {
            netuid: netuid.0.into(),
            height: height.map(|at| at.0),
        };
        let reply = self.ask("GetMetagraph", stub.get_metagraph(request)).await?;
        working("GetMetagraph", reply)
    }

    /// What of a subnet's metagraph changed since the block at `since`; [`Metagraph::update`] brings a copy of that
    /// height level with it.
    ///
    /// # Errors
    ///
    /// [`ClientError`], [`ClientError::NotFound`] for an unknown subnet or a height that is still to come.
    pub async fn metagraph_changes(
        &self,
        netuid: Netuid,
        since: BlockNumber,
    ) -> Result<MetagraphChanges, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetMetagraphChangesRequest {
            netuid: netuid.0.into(),
            since: since.0,
        };
        let reply = self
            .ask("GetMetagraphChanges", stub.get_metagraph_changes(request))
            .await?;
        working("GetMetagraphChanges", reply)
    }

    /// Who is replaced next on a subnet, in order.
    ///
    /// # Errors
    ///
    /// [`ClientError`], [`ClientError::NotFound`] for an unknown subnet.
    pub async fn at_risk(&self, netuid: Netuid) -> Result<AtRiskView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetAtRiskRequest {
            netuid: netuid.0.into(),
        };
        let reply = self.ask("GetAtRisk", stub.get_at_risk(request)).await?;
        working("GetAtRisk", reply)
    }

    /// Revealed weights and open commits of a subnet's validators.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn weights(&self, netuid: Netuid) -> Result<Vec<WeightRowView>, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetWeightsRequest {
            netuid: netuid.0.into(),
        };
        let reply = self.ask("GetWeights", stub.get_weights(request)).await?;
        reply
            .rows
            .into_iter()
            .map(|row| working("GetWeights", row))
            .collect()
    }

    /// What validators owe of the evidence of `tempo`, and what came of it.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when the tempo has not opened or is no longer kept, and the others.
    pub async fn evidence(&self, netuid: Netuid, tempo: u64) -> Result<EvidenceView, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetEvidenceRequest {
            netuid: netuid.0.into(),
            tempo,
        };
        let reply = self.ask("GetEvidence", stub.get_evidence(request)).await?;
        working("GetEvidence", reply)
    }

    /// Canonical bytes of the record of the epoch that ended `tempo`.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when that epoch has not run or is no longer kept, and the others.
    pub async fn epoch(&self, netuid: Netuid, tempo: u64) -> Result<Vec<u8>, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetEpochRequest {
            netuid: netuid.0.into(),
            tempo,
        };
        let stream = self.ask("GetEpoch", stub.get_epoch(request)).await?;
        let chunks = Chunks::new("GetEpoch", &self.uri, grpc::EPOCH_BYTES_MAX);
        chunks
            .all(stream, |chunk: v1::EpochChunk| (chunk.bytes, chunk.data))
            .await
    }

    /// A block by its height, with what made it final.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when there is no such block, and the others.
    pub async fn block(&self, height: BlockNumber) -> Result<FinalBlock, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetBlockRequest { height: height.0 };
        let reply = self.ask("GetBlock", stub.get_block(request)).await?;
        codec::decode(&reply.block, FinalBlock::BYTES_MAX).map_err(|error: CodecError| {
            ClientError::Malformed {
                call: "GetBlock",
                source: error.into(),
            }
        })
    }

    /// The state after the block at `height`, or after the newest one that the node has at hand, as a file that comes
    /// in chunks.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when the node does not keep that state, and the others.
    pub async fn snapshot(&self, height: Option<BlockNumber>) -> Result<Snapshot, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetSnapshotRequest {
            height: height.map(|at| at.0),
        };
        let reply = stub.get_snapshot(request);
        let stream = self.ask_within("GetSnapshot", SUBMIT_DEADLINE, reply).await?;
        Snapshot::begin(self.uri.clone(), stream).await
    }

    /// What each block does, from `from` on and then as blocks are stored; height 0 starts with the next block.
    ///
    /// The stream ends when the node goes away; the caller opens it again from the next height.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn events(
        &self,
        from: BlockNumber,
    ) -> Result<impl Stream<Item = Result<EventView, ClientError>> + Send + use<>, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::EventsRequest { from_height: from.0 };
        let stream = self.ask("Events", stub.events(request)).await?;
        let uri = self.uri.clone();
        Ok(stream.map(move |item| match item {
            Ok(event) => working("Events", event),
            Err(status) => Err(failed("Events", &uri, &status)),
        }))
    }

    /// What the ledger started from. It is not checked against anything: its digest names the ledger.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn genesis(&self) -> Result<Genesis, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetGenesisRequest {};
        let reply = self.ask("GetGenesis", stub.get_genesis(request)).await?;
        working("GetGenesis", reply)
    }

    /// Headers from one height on, up to another one or as many as a page holds; see [`crate::light`].
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when the first one is not there yet, and the others.
    pub async fn headers(&self, from: BlockNumber, to: BlockNumber) -> Result<Vec<LightHeader>, ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetHeadersRequest {
            from: from.0,
            to: to.0,
        };
        let reply = self.ask("GetHeaders", stub.get_headers(request)).await?;
        working("GetHeaders", reply)
    }

    /// A row after the block at `height`, or now, as proofs from the header that comes with them. Neither header nor
    /// proofs are checked; see [`crate::light`].
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] when the state of that height is not kept, and the others.
    pub async fn proof(
        &self,
        target: ProofTarget,
        height: Option<BlockNumber>,
    ) -> Result<(LightHeader, RowProof), ClientError> {
        let mut stub = self.stub.clone();
        let request = v1::GetProofRequest {
            target: Some(target.into()),
            height: height.map(|height| height.0),
        };
        let stream = self.ask("GetProof", stub.get_proof(request)).await?;
        let mut header = Vec::new();
        let chunks = Chunks::new("GetProof", &self.uri, RowProof::BYTES_MAX);
        let take = |chunk: v1::ProofChunk| {
            if header.is_empty() {
                header = chunk.header;
            }
            (chunk.bytes, chunk.data)
        };
        let proof = chunks.all(stream, take).await?;
        grpc::proven(&header, &proof).map_err(|source| ClientError::Malformed {
            call: "GetProof",
            source,
        })
    }
}
