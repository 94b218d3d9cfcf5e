//! Snapshots on their way from one node to another.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use std::path::Path;

use agon_ledger_client::LedgerClient;
use agon_ledger_node::folder::Folder;
use agon_ledger_node::snapshot::export::{Wanted, export};
use agon_ledger_node::snapshot::{fetch, import};
use agon_ledger_node::verify::verify;
use agon_ledger_replay::audit::{Terms, audit};
use agon_ledger_replay::export::unwatched;
use agon_protocol::grpc::v1;
use agon_protocol::id::{BlockNumber, Digest};
use agon_runtime::Net;
use agon_runtime::flags::sentence;
use support::cluster::Cluster;
use support::{Node, begin, transfer};
use tonic::Code;

/// A node with a few blocks.
async fn running(dir: &Path) -> Node {
    begin(dir);
    let node = Node::start(&Folder::new(dir)).await;
    let mut client = node.client();
    for base_units in 1..=3 {
        client.must(1, transfer(2, base_units)).await;
    }
    node
}

fn client(node: &Node) -> LedgerClient {
    LedgerClient::new(&Net::tcp(), &format!("http://{}", node.address)).unwrap()
}

#[tokio::test]
async fn a_new_node_begins_from_the_state_that_another_one_gives() {
    let home = tempfile::tempdir().unwrap();
    let node = running(&home.path().join("old")).await;
    let hash = node.client().block(2).await.hash();
    let file = home.path().join("file");
    let mut told = 0;
    let height = fetch::fetch(&client(&node), Some(BlockNumber(2)), &file, |step| {
        told = step.done
    })
    .await
    .unwrap();
    assert_eq!((height, told), (BlockNumber(2), file.metadata().unwrap().len()));
    let folder = Folder::new(home.path().join("new"));
    import::import(&file, folder.dir(), Some(hash), &mut unwatched).unwrap();

    let new = Node::start(&folder).await;
    let request = v1::GetBlockRequest { height: 2 };
    let status = new.client().stub.get_block(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("its blocks begin at 3"), "{status}");
    let third = new.client().must(1, transfer(2, 3)).await;
    assert!(third > 2);
    assert!(
        client(&new).events(BlockNumber(1)).await.is_ok(),
        "the refusal comes in the stream"
    );
    new.stop().await;
    let again = Node::start(&folder).await;
    assert!(again.client().head().await.height >= BlockNumber(third));
    again.stop().await;
    assert_eq!(verify(&folder).unwrap().base_height, 2);
    node.stop().await;
}

#[tokio::test]
async fn without_a_height_the_newest_state_at_hand_comes() {
    let home = tempfile::tempdir().unwrap();
    let node = running(&home.path().join("old")).await;
    let file = home.path().join("file");
    let height = fetch::fetch(&client(&node), None, &file, |_| {}).await.unwrap();
    assert!(height <= node.client().head().await.height);
    let dir = home.path().join("new");
    let error = import::import(&file, &dir, Some(Digest([1; 32])), &mut unwatched).unwrap_err();
    assert!(sentence(&error).contains("not the trusted"), "{error}");
    assert!(!dir.exists());
    node.stop().await;
}

#[tokio::test]
async fn a_state_that_is_not_there_is_refused_without_a_file() {
    let home = tempfile::tempdir().unwrap();
    let node = running(&home.path().join("old")).await;
    let file = home.path().join("file");
    let far = Some(BlockNumber(1_000_000));
    let error = fetch::fetch(&client(&node), far, &file, |_| {})
        .await
        .unwrap_err();
    assert!(sentence(&error).contains("there is no block 1000000"), "{error}");
    assert!(!file.exists());
    node.stop().await;
}

/// Blocks that the committee makes before anything is looked at.
const DECIDED: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_counts_the_certificates_of_a_committee() {
    let cluster = Cluster::start(4).await;
    cluster.reached(0, DECIDED).await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("audit");
    // The node runs on.
    export(
        &cluster.places[0].folder,
        &Wanted::Blocks(2..=DECIDED),
        &path,
        &mut unwatched,
    )
    .unwrap();
    let report = audit(&path, &Terms::default(), &mut unwatched).unwrap();
    assert!(report.equal, "{report:?}");
    let certificates = report.certificates.unwrap();
    assert_eq!(certificates.checked, DECIDED - 1);
    assert!(certificates.least.signed * 3 > certificates.least.total * 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_follows_a_committee_from_a_certified_snapshot() {
    let mut cluster = Cluster::start(4).await;
    cluster.reached(1, DECIDED).await;
    let node = LedgerClient::new(&Net::tcp(), &format!("http://{}", cluster.places[1].ledger)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fetch::fetch(&node, Some(BlockNumber(DECIDED)), &file, |_| {})
        .await
        .unwrap();

    let index = cluster.add_place();
    let folder = cluster.places[index].folder.clone();
    let older = cluster.client(0).block(DECIDED - 2).await.hash();
    let error = import::import(&file, folder.dir(), Some(older), &mut unwatched).unwrap_err();
    assert!(matches!(error, import::ImportError::NotTrusted { .. }), "{error}");
    // The block before names the committee that signed.
    let before = cluster.client(0).block(DECIDED - 1).await.hash();
    let imported = import::import(&file, folder.dir(), Some(before), &mut unwatched).unwrap();
    assert_eq!(imported.head.height, BlockNumber(DECIDED));
    assert!(imported.power.is_some());

    cluster.start_node(index).await;
    let ahead = cluster.client(0).head().await.height.0 + 3;
    cluster.reached(index, ahead).await;
    let hash = cluster.client(0).block(ahead).await.hash();
    assert_eq!(cluster.client(index).block(ahead).await.hash(), hash);
    cluster.stop_node(index).await;
    assert_eq!(verify(&folder).unwrap().base_height, DECIDED);
    cluster.stop().await;
}
