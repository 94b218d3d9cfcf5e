//! A node as somebody sees it who does not trust it: headers from the genesis, and rows proven from them.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use agon_ledger_node::folder::Folder;
use agon_ledger_state::{Row, verify_row};
use agon_protocol::amount::Amount;
use agon_protocol::grpc::v1::{self, get_proof_request::Target};
use agon_protocol::id::{BlockNumber, Digest, Hotkey, Netuid, Uid};
use agon_protocol::light::{Finality, LightChain};
use agon_protocol::message::{AccountView, Call, Committee, Genesis, Metagraph, SubnetView};
use agon_protocol::proof::ProofTarget;
use support::{Client, Node, account, begin, genesis, pair, transfer};
use tonic::Code;

/// A node with a subnet of one neuron, which was not there in its first block.
async fn node() -> (tempfile::TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    begin(dir.path());
    let node = Node::start(&Folder::new(dir.path())).await;
    let mut client = node.client();
    client.must(0, transfer(1, 5)).await;
    let most = Amount::from_units(1_000).unwrap();
    let create = Call::CreateSubnet {
        task: String::from("reading"),
        lock_max: most,
    };
    client.must(0, create).await;
    let register = Call::Register {
        netuid: Netuid(1),
        hotkey: Hotkey(pair(100).public()),
        price_max: most,
    };
    client.must(0, register).await;
    (dir, node)
}

/// The row, once the header it came with was followed to from the genesis.
async fn row(client: &mut Client, target: ProofTarget, height: Option<u64>) -> (BlockNumber, Row) {
    let (told, proof) = client.proof(Some(target), height).await.unwrap();
    let to = told.header.height;
    let mut chain = LightChain::from_genesis(genesis().digest(), Committee::default());
    for header in client.headers(1, to.0).await.unwrap() {
        chain.extend(header).unwrap();
    }
    let (header, finality) = chain.newest().unwrap().unwrap();
    assert_eq!(
        (header, finality),
        (&told.header, Finality::Told { from: BlockNumber(1) })
    );
    (to, verify_row(header, &target, &proof).unwrap())
}

#[tokio::test]
async fn rows_are_proven_from_headers_that_lead_back_to_the_genesis() {
    let (_dir, node) = node().await;
    let mut client = node.client();

    let target = ProofTarget::Account(account(0));
    let (_, shown) = row(&mut client, target, None).await;
    let asked: AccountView = client.account(account(0)).await.try_into().unwrap();
    assert_eq!(shown, Row::Account(asked));

    let (height, shown) = row(&mut client, ProofTarget::Neuron(Netuid(1), Uid(0)), None).await;
    let metagraph = client.metagraph(1, Some(height.0)).await.unwrap();
    let metagraph = Metagraph::try_from(metagraph).unwrap();
    assert_eq!(shown, Row::Neuron(metagraph.by_uid(Uid(0)).cloned()));
    assert!(metagraph.by_uid(Uid(0)).is_some());

    let (height, shown) = row(&mut client, ProofTarget::Subnet(Netuid(1)), None).await;
    let request = v1::GetSubnetRequest { netuid: 1 };
    let subnet = client.stub.get_subnet(request).await.unwrap().into_inner();
    let subnet = SubnetView::try_from(subnet).unwrap();
    match shown {
        Row::Subnet(Some(shown)) => assert_eq!((shown.owner, shown.height), (subnet.owner, height)),
        other => panic!("{other:?}"),
    }

    for target in [
        ProofTarget::Neuron(Netuid(1), Uid(1)),
        ProofTarget::Weights(Netuid(1), Uid(0)),
        ProofTarget::Epoch(Netuid(1), 99),
        ProofTarget::Subnet(Netuid(2)),
    ] {
        let (_, shown) = row(&mut client, target, None).await;
        assert!(
            matches!(
                shown,
                Row::Neuron(None) | Row::Weights(None) | Row::Epoch(None) | Row::Subnet(None)
            ),
            "{target:?}: {shown:?}"
        );
    }
    // Before the subnet there was none.
    let (height, shown) = row(&mut client, ProofTarget::Subnet(Netuid(1)), Some(1)).await;
    assert_eq!((height, shown), (BlockNumber(1), Row::Subnet(None)));
    node.stop().await;
}

#[tokio::test]
async fn a_header_or_a_proof_that_was_touched_shows_nothing() {
    let (_dir, node) = node().await;
    let mut client = node.client();
    let target = ProofTarget::Account(account(0));
    let (told, proof) = client.proof(Some(target), None).await.unwrap();
    let mut header = told.header.clone();
    header.state_root = Digest([1; 32]);
    assert!(verify_row(&header, &target, &proof).is_err());
    let other = ProofTarget::Account(account(1));
    assert!(verify_row(&told.header, &other, &proof).is_err());
    let mut page = client.headers(1, told.header.height.0).await.unwrap();
    page[0].header.state_root = Digest([1; 32]);
    let mut chain = LightChain::from_genesis(genesis().digest(), Committee::default());
    let followed: Result<(), _> = page.into_iter().try_for_each(|header| chain.extend(header));
    assert!(followed.is_err());
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_shown_is_told_with_a_status() {
    let (_dir, node) = node().await;
    let mut client = node.client();
    let newest = client.head().await.height.0;
    let target = Some(ProofTarget::Subnet(Netuid(1)));
    for (target, height, code) in [
        (None, None, Code::InvalidArgument),
        (target, Some(0), Code::NotFound),
        (target, Some(newest + 1_000), Code::NotFound),
    ] {
        let status = client.proof(target, height).await.unwrap_err();
        assert_eq!(status.code(), code, "{height:?}: {}", status.message());
    }
    for (target, height) in [
        (Target::Account(vec![1; 31]), None),
        (Target::Subnet(70_000), None),
    ] {
        let request = v1::GetProofRequest {
            target: Some(target),
            height,
        };
        let status = client.stub.get_proof(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{}", status.message());
    }
    for (from, to, code) in [
        (0, 1, Code::NotFound),
        (2, 1, Code::InvalidArgument),
        (newest + 1_000, u64::MAX, Code::NotFound),
    ] {
        let status = client.headers(from, to).await.unwrap_err();
        assert_eq!(status.code(), code, "{from} to {to}: {}", status.message());
    }
    assert!(!client.headers(1, u64::MAX).await.unwrap().is_empty());
    let reply = client.stub.get_genesis(v1::GetGenesisRequest {}).await.unwrap();
    assert_eq!(Genesis::try_from(reply.into_inner()), Ok(genesis()));
    node.stop().await;
}
