//! A miner without a model: it passes its challenges on to another miner, and what comes back to whoever asked.
//!
//! It names the other miner as the receiver in the metadata, which is all that can be changed: the challenge itself is
//! signed for this one.

use std::net::SocketAddr;

use agon_ledger_client::LedgerClient;
use agon_ledger_client::follow::{Follower, Views};
use agon_miner::Config;
use agon_protocol::codec;
use agon_protocol::grpc;
use agon_protocol::grpc::v1::miner_client::MinerClient;
use agon_protocol::grpc::v1::miner_server::{Miner, MinerServer};
use agon_protocol::grpc::v1::{AskReply, AskRequest, OpenReply, OpenRequest};
use agon_protocol::id::Hotkey;
use agon_protocol::message::{Axon, AxonModel, Call};
use agon_runtime::net::{self, ChannelOptions, Net};
use agon_runtime::shutdown::Shutdown;
use anyhow::Context;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

/// Where what a relay is asked goes.
#[derive(Clone, Debug)]
pub struct Relay {
    upstream: MinerClient<Channel>,
    receiver: Hotkey,
}

/// Announces an axon and relays to the miner of `receiver` until shutdown.
///
/// # Errors
///
/// When the ledger does not answer or refuses, or the address cannot be bound.
pub async fn run(config: Config, receiver: Hotkey, net: &Net, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = LedgerClient::new(net, &config.ledger)?;
    let follower = Follower::new(client.clone(), config.netuid);
    let views = follower.views();
    tokio::spawn(follower.run(shutdown.clone()));
    let addr = tokio::select! {
        biased;
        () = shutdown.requested() => return Ok(()),
        addr = axon_of(receiver, views) => addr?,
    };
    info!(%addr, %receiver, "relays");
    let relay = Relay::to(net, addr, receiver)?;
    let incoming = net.listen(config.listen).await.context("listen")?;
    let bound = incoming.local_addr();
    let model = AxonModel::named(codec::digest("agon 2026-11 misbehaving miner", b"relay"), "relay");
    let axon = Axon {
        ip: bound.ip(),
        port: bound.port(),
        protocol: Axon::PROTOCOL,
        at_once: 8,
        models: vec![model],
    };
    let netuid = config.netuid;
    client
        .send(&config.pair, Call::ServeAxon { netuid, axon })
        .await?;
    let service = MinerServer::new(relay).max_decoding_message_size(grpc::MINER_MESSAGE_BYTES_MAX);
    let server = net::server().add_service(service);
    server
        .serve_with_incoming_shutdown(incoming, shutdown.requested())
        .await
        .context("serve")
}

/// Where a miner serves, once it has announced so.
async fn axon_of(hotkey: Hotkey, mut views: Views) -> anyhow::Result<SocketAddr> {
    loop {
        views.changed().await.context("the ledger's views ended")?;
        let view = views.borrow_and_update().clone();
        let neuron = view.and_then(|view| view.metagraph.by_hotkey(&hotkey).cloned());
        if let Some(axon) = neuron.and_then(|neuron| neuron.axon) {
            return Ok(axon.socket_addr());
        }
    }
}

impl Relay {
    /// A relay to the miner of `receiver` at `addr`.
    ///
    /// # Errors
    ///
    /// When the address is of no use.
    pub fn to(net: &Net, addr: SocketAddr, receiver: Hotkey) -> anyhow::Result<Self> {
        let channel = net.channel(&format!("http://{addr}"), ChannelOptions::default())?;
        let upstream = MinerClient::new(channel).max_decoding_message_size(grpc::MINER_MESSAGE_BYTES_MAX);
        Ok(Self { upstream, receiver })
    }

    fn readdressed<T>(&self, metadata: &MetadataMap, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        if let Some(sender) = metadata.get(grpc::SENDER_METADATA) {
            request
                .metadata_mut()
                .insert(grpc::SENDER_METADATA, sender.clone());
        }
        let receiver = self.receiver.to_string().parse();
        let receiver = receiver.map_err(|_| Status::internal("an address is no metadata"))?;
        request.metadata_mut().insert(grpc::RECEIVER_METADATA, receiver);
        Ok(request)
    }
}

#[tonic::async_trait]
impl Miner for Relay {
    type AskStream = Streaming<AskReply>;

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<Self::AskStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let request = self.readdressed(&metadata, message)?;
        let answered = self.upstream.clone().ask(request).await;
        answered.inspect_err(|status| warn!(code = ?status.code(), message = status.message(), "refused"))
    }

    async fn open(&self, request: Request<OpenRequest>) -> Result<Response<OpenReply>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.upstream
            .clone()
            .open(self.readdressed(&metadata, message)?)
            .await
    }
}
