//! A node that tries the axons of those who ask: whom, where and how often.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use std::net::SocketAddr;

use agon_ledger_node::folder::Folder;
use agon_protocol::amount::Amount;
use agon_protocol::grpc::v1;
use agon_protocol::id::{Digest, Netuid};
use agon_protocol::message::{Axon, AxonCheck, AxonCheckView, AxonModel, AxonReach, Call, Signed};
use agon_runtime::{Clock, Net, Shutdown, net};
use support::{Client, Node, begin, pair};
use tonic::{Code, Status};

const NETUID: Netuid = Netuid(1);
/// The hotkey whose axon is tried.
const MINER: u8 = 100;

struct Case {
    _dir: tempfile::TempDir,
    node: Node,
    client: Client,
    genesis: Digest,
}

impl Case {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path());
        let node = Node::start(&Folder::new(dir.path())).await;
        let mut client = node.client();
        let genesis = client.head().await.genesis;
        let lock_max = Amount::from_units(1_000).unwrap();
        let task = String::from("reading");
        client.must(0, Call::CreateSubnet { task, lock_max }).await;
        for number in [MINER, MINER + 1] {
            let register = Call::Register {
                netuid: NETUID,
                hotkey: pair(number).hotkey(),
                price_max: lock_max,
            };
            client.must(0, register).await;
        }
        Self {
            _dir: dir,
            node,
            client,
            genesis,
        }
    }

    async fn announce(&mut self, number: u8, at: SocketAddr) {
        let axon = Axon {
            ip: at.ip(),
            port: at.port(),
            protocol: Axon::PROTOCOL,
            at_once: 8,
            models: vec![AxonModel::named(Digest([3; 32]), "small")],
        };
        self.client
            .must(number, Call::ServeAxon { netuid: NETUID, axon })
            .await;
    }

    fn wish(&self, number: u8, issued_ms: u64) -> Signed<AxonCheck> {
        let check = AxonCheck {
            genesis: self.genesis,
            netuid: NETUID,
            hotkey: pair(number).hotkey(),
            issued_ms,
        };
        Signed::sign(check, &pair(number))
    }

    async fn send(&mut self, request: v1::CheckAxonRequest) -> Result<AxonCheckView, Status> {
        let reply = self.client.stub.check_axon(request).await?;
        Ok(AxonCheckView::try_from(reply.into_inner()).unwrap())
    }

    async fn check(&mut self, number: u8) -> Result<AxonReach, Status> {
        let wish = self.wish(number, Clock::system().now_ms());
        self.send(v1::CheckAxonRequest::from(&wish))
            .await
            .map(|view| view.reach)
    }
}

/// Something that says it is a miner that serves, or that it is none.
async fn listen(is_miner: bool) -> SocketAddr {
    let incoming = Net::tcp().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = incoming.local_addr();
    let (reporter, health) = tonic_health::server::health_reporter();
    if is_miner {
        reporter
            .set_service_status("agon.v1.Miner", tonic_health::ServingStatus::Serving)
            .await;
    }
    let served = net::server()
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, Shutdown::new().requested());
    tokio::spawn(served);
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_axon_is_tried_where_the_ledger_has_it_and_once_in_a_while() {
    let mut case = Case::new().await;
    let miner = listen(true).await;
    case.announce(MINER, miner).await;
    let wish = case.wish(MINER, Clock::system().now_ms());
    let view = case.send(v1::CheckAxonRequest::from(&wish)).await.unwrap();
    assert_eq!((view.reach, view.address()), (AxonReach::Serving, miner));
    let again = case.check(MINER).await.unwrap_err();
    assert_eq!(again.code(), Code::ResourceExhausted);
    // Another hotkey at the same address is not tried a moment later either.
    case.announce(MINER + 1, listen(false).await).await;
    let other = case.check(MINER + 1).await.unwrap_err();
    assert_eq!(other.code(), Code::ResourceExhausted);
    case.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_miner_or_nothing_is_told_apart() {
    let mut case = Case::new().await;
    case.announce(MINER, listen(false).await).await;
    assert_eq!(case.check(MINER).await.unwrap(), AxonReach::Other);
    case.node.stop().await;
    let mut case = Case::new().await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    case.announce(MINER, gone).await;
    assert_eq!(case.check(MINER).await.unwrap(), AxonReach::Closed);
    case.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_a_private_network_is_not_tried() {
    let mut case = Case::new().await;
    case.announce(MINER, ([10, 0, 0, 1], 9_000).into()).await;
    assert_eq!(case.check(MINER).await.unwrap(), AxonReach::NotPublic);
    case.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_an_axon_tried_but_its_hotkey_now_and_here() {
    let mut case = Case::new().await;
    let now_ms = Clock::system().now_ms();
    let missing = case.check(MINER).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    case.announce(MINER, listen(true).await).await;
    let stranger = case.check(9).await.unwrap_err();
    assert_eq!(stranger.code(), Code::NotFound);
    for issued_ms in [0, now_ms - 60_000, now_ms + 60_000, u64::MAX] {
        let stale = v1::CheckAxonRequest::from(&case.wish(MINER, issued_ms));
        assert_eq!(case.send(stale).await.unwrap_err().code(), Code::OutOfRange);
    }
    let mut forged = v1::CheckAxonRequest::from(&case.wish(MINER, now_ms));
    forged.signature = vec![7; 64];
    let forged = case.send(forged).await.unwrap_err();
    assert!(matches!(
        forged.code(),
        Code::Unauthenticated | Code::InvalidArgument
    ));
    let genesis = std::mem::replace(&mut case.genesis, Digest([9; 32]));
    let elsewhere = case.check(MINER).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::FailedPrecondition);
    case.genesis = genesis;
    // None of these counted as a try.
    assert_eq!(case.check(MINER).await.unwrap(), AxonReach::Serving);
    case.node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_tells_the_nodes_clock() {
    let mut case = Case::new().await;
    let before_ms = Clock::system().now_ms();
    let clock_ms = case.client.head().await.clock_ms;
    assert!((before_ms..=Clock::system().now_ms()).contains(&clock_ms));
    case.node.stop().await;
}
