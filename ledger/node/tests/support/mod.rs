//! A node for a test to talk to, and what to say to it.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod cluster;

use std::net::SocketAddr;
use std::path::Path;

use agon_ledger_node::folder::Folder;
use agon_ledger_node::{Config, NodeError, Peers, Storage};
use agon_protocol::amount::Amount;
use agon_protocol::grpc::{self, v1, v1::ledger_client::LedgerClient};
use agon_protocol::id::{Account, Coldkey, Digest};
use agon_protocol::light::LightHeader;
use agon_protocol::message::{
    Block, Call, FinalBlock, Genesis, GenesisAccount, Head, Preset, Signed, Transaction,
};
use agon_protocol::proof::{ProofTarget, RowProof};
use agon_protocol::sign::Keypair;
use agon_runtime::net::ChannelOptions;
use agon_runtime::{Clock, Net, Shutdown};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

/// Short, so that tests take little time; nothing depends on it.
pub(crate) const BLOCK_MS: u64 = 10;
/// How many accounts the genesis funds.
pub(crate) const ACCOUNTS: u8 = 16;

pub(crate) fn pair(number: u8) -> Keypair {
    Keypair::from_mini_secret(&[number; 32])
}

pub(crate) fn account(number: u8) -> Account {
    Account(pair(number).public())
}

pub(crate) fn coldkey(number: u8) -> Coldkey {
    Coldkey(pair(number).public())
}

pub(crate) fn genesis() -> Genesis {
    let amount = Amount::from_units(10_000).unwrap();
    Genesis {
        name: String::from("test"),
        preset: Preset::Localnet,
        time_ms: 1_000,
        block_emission: Amount::from_units(1).unwrap(),
        committee: Vec::new(),
        beacon: None,
        accounts: (0..ACCOUNTS)
            .map(|number| GenesisAccount {
                coldkey: coldkey(number),
                amount,
            })
            .collect(),
    }
}

pub(crate) fn sign(genesis: Digest, number: u8, nonce: u64, call: Call) -> Signed<Transaction> {
    Signed::sign(
        Transaction {
            genesis,
            signer: account(number),
            nonce,
            call,
        },
        &pair(number),
    )
}

pub(crate) fn transfer(to: u8, base_units: u64) -> Call {
    Call::Transfer {
        to: coldkey(to),
        amount: Amount::from_base_units(base_units),
    }
}

/// A folder with a fresh ledger.
pub(crate) fn begin(dir: &Path) -> Folder {
    let folder = Folder::new(dir);
    folder.begin(&genesis()).unwrap();
    folder
}

/// A client of the node at `address`.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) stub: LedgerClient<Channel>,
}

impl Client {
    pub(crate) fn new(net: &Net, uri: &str) -> Self {
        Self {
            stub: LedgerClient::new(net.channel(uri, ChannelOptions::default()).unwrap()),
        }
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::new(&Net::tcp(), &format!("http://{address}"))
    }

    pub(crate) async fn head(&mut self) -> Head {
        self.stub
            .get_head(v1::GetHeadRequest {})
            .await
            .unwrap()
            .into_inner()
            .try_into()
            .unwrap()
    }

    pub(crate) async fn account(&mut self, account: Account) -> v1::Account {
        let request = v1::GetAccountRequest {
            account: account.0.to_vec(),
        };
        self.stub.get_account(request).await.unwrap().into_inner()
    }

    /// A row as proofs from the header that comes with them; neither is checked.
    pub(crate) async fn proof(
        &mut self,
        target: Option<ProofTarget>,
        height: Option<u64>,
    ) -> Result<(LightHeader, RowProof), Status> {
        let target = target.map(Into::into);
        let request = v1::GetProofRequest { target, height };
        let mut stream = self.stub.get_proof(request).await?.into_inner();
        let (mut header, mut proof) = (Vec::new(), Vec::new());
        while let Some(chunk) = stream.message().await? {
            header.extend(chunk.header);
            proof.extend(chunk.data);
        }
        Ok(grpc::proven(&header, &proof).unwrap())
    }

    /// Canonical bytes of the record of an epoch.
    pub(crate) async fn epoch(&mut self, netuid: u32, tempo: u64) -> Result<Vec<u8>, Status> {
        let request = v1::GetEpochRequest { netuid, tempo };
        let mut stream = self.stub.get_epoch(request).await?.into_inner();
        let mut record = Vec::new();
        while let Some(chunk) = stream.message().await? {
            record.extend(chunk.data);
        }
        Ok(record)
    }

    pub(crate) async fn headers(&mut self, from: u64, to: u64) -> Result<Vec<LightHeader>, Status> {
        let request = v1::GetHeadersRequest { from, to };
        let reply = self.stub.get_headers(request).await?;
        Ok(reply.into_inner().try_into().unwrap())
    }

    pub(crate) async fn block(&mut self, height: u64) -> Block {
        let reply = self
            .stub
            .get_block(v1::GetBlockRequest { height })
            .await
            .unwrap()
            .into_inner();
        agon_protocol::codec::decode::<FinalBlock>(&reply.block, FinalBlock::BYTES_MAX)
            .unwrap()
            .block
    }

    pub(crate) async fn submit(
        &mut self,
        transaction: &Signed<Transaction>,
    ) -> Result<v1::SubmitReply, Status> {
        self.stub
            .submit(v1::SubmitRequest::from(transaction))
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn dry_run(&mut self, transaction: &Signed<Transaction>) -> v1::DryRunReply {
        let request = v1::SubmitRequest::from(transaction);
        self.stub.dry_run(request).await.unwrap().into_inner()
    }

    /// Submits and expects a block.
    pub(crate) async fn must(&mut self, number: u8, call: Call) -> u64 {
        let nonce = self.account(account(number)).await.nonce;
        let transaction = sign(genesis().digest(), number, nonce, call);
        let reply = self.submit(&transaction).await.unwrap();
        assert_eq!(reply.refusal, None);
        reply.height
    }

    pub(crate) async fn metagraph(
        &mut self,
        netuid: u32,
        height: Option<u64>,
    ) -> Result<v1::Metagraph, Status> {
        let request = v1::GetMetagraphRequest { netuid, height };
        self.stub
            .get_metagraph(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn events(&mut self, from_height: u64) -> tonic::Streaming<v1::Event> {
        self.stub
            .events(v1::EventsRequest { from_height })
            .await
            .unwrap()
            .into_inner()
    }
}

/// A node in this process.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), NodeError>>,
}

impl Node {
    pub(crate) async fn start(folder: &Folder) -> Self {
        Self::try_start(folder).await.unwrap()
    }

    pub(crate) async fn try_start(folder: &Folder) -> Result<Self, NodeError> {
        Self::try_start_with(folder, "127.0.0.1:0".parse().unwrap(), None).await
    }

    pub(crate) async fn try_start_with(
        folder: &Folder,
        listen: SocketAddr,
        peers: Option<Peers>,
    ) -> Result<Self, NodeError> {
        Self::try_start_at(folder, listen, peers, Clock::system()).await
    }

    pub(crate) async fn try_start_at(
        folder: &Folder,
        listen: SocketAddr,
        peers: Option<Peers>,
        clock: Clock,
    ) -> Result<Self, NodeError> {
        Self::try_start_paced(folder, listen, peers, clock, BLOCK_MS).await
    }

    pub(crate) async fn try_start_paced(
        folder: &Folder,
        listen: SocketAddr,
        peers: Option<Peers>,
        clock: Clock,
        block_ms: u64,
    ) -> Result<Self, NodeError> {
        let config = Config {
            storage: Storage::Disk(folder.clone()),
            listen,
            block_ms,
            peers,
            axons: agon_ledger_node::axons::Addresses::of(listen, false),
            pulses: None,
        };
        let shutdown = Shutdown::new();
        let (tell, told) = tokio::sync::oneshot::channel();
        let ready = move |address| tell.send(address).unwrap();
        let run = agon_ledger_node::run(config, Net::tcp(), clock, shutdown.clone(), ready);
        let task = tokio::spawn(run);
        match told.await {
            Ok(address) => Ok(Self {
                address,
                shutdown,
                task,
            }),
            Err(_) => Err(task.await.unwrap().unwrap_err()),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::at(self.address)
    }

    pub(crate) async fn stop(self) {
        self.shutdown.request();
        self.task.await.unwrap().unwrap();
    }
}
