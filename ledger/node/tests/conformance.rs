//! What holds however blocks are decided on: by one node alone, by a committee of one, by a committee of four.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use agon_ledger_node::keys::NodeKeys;
use agon_ledger_node::promote::{PromoteError, promote};
use agon_ledger_node::verify::verify;
use agon_ledger_state::{Row, State, verify_row};
use agon_protocol::amount::Amount;
use agon_protocol::light::{Finality, LightChain};
use agon_protocol::message::{Call, Head, Statement};
use agon_protocol::proof::ProofTarget;
use agon_runtime::Clock;
use support::cluster::Cluster;
use support::{ACCOUNTS, account, pair, sign, transfer};

/// The ways to decide: members of the committee, none for a node alone.
const WAYS: [u8; 3] = [0, 1, 4];

/// Runs `check` on a ledger of each way.
async fn check_every_way(check: impl AsyncFn(&mut Cluster)) {
    for members in WAYS {
        let mut cluster = Cluster::start(members).await;
        check(&mut cluster).await;
        for place in cluster.stop().await {
            verify(&place.folder).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_acknowledges_every_node_has() {
    check_every_way(async |cluster| {
        let genesis = cluster.genesis.digest();
        let count = cluster.places.len();
        let mut newest = 0;
        for number in 0..ACCOUNTS {
            let transaction = sign(genesis, number, 0, transfer((number + 1) % ACCOUNTS, 1_000_000));
            let mut client = cluster.client(usize::from(number) % count);
            let reply = client.submit(&transaction).await.unwrap();
            assert_eq!(reply.refusal, None);
            newest = newest.max(reply.height);
        }
        cluster.reached(0, newest).await;
        let expected = cluster.client(0).block(newest).await.hash();
        for index in 0..count {
            cluster.reached(index, newest).await;
            let mut client = cluster.client(index);
            assert_eq!(client.block(newest).await.hash(), expected);
            for number in 0..ACCOUNTS {
                assert_eq!(client.account(account(number)).await.nonce, 1, "account {number}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reads_the_same_at_every_node_and_in_its_dry_run() {
    check_every_way(async |cluster| {
        let genesis = cluster.genesis.digest();
        let transaction = sign(genesis, 1, 0, transfer(2, u64::MAX));
        let mut said = Vec::new();
        for index in 0..cluster.places.len() {
            let mut client = cluster.client(index);
            said.push(client.submit(&transaction).await.unwrap().refusal.unwrap());
            said.push(client.dry_run(&transaction).await.refusal.unwrap());
        }
        assert!(said.iter().all(|refusal| *refusal == said[0]), "{said:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_has_what_happened_meanwhile() {
    check_every_way(async |cluster| {
        let genesis = cluster.genesis.digest();
        let last = cluster.places.len() - 1;
        cluster.stop_node(last).await;
        if last == 0 {
            cluster.start_node(0).await;
        }
        let mut client = cluster.client(0);
        let mut height = 0;
        for nonce in 0..5 {
            let reply = client
                .submit(&sign(genesis, 1, nonce, transfer(2, 1_000_000)))
                .await;
            height = reply.unwrap().height;
        }
        if last > 0 {
            cluster.start_node(last).await;
        }
        cluster.reached(last, height).await;
        assert_eq!(cluster.client(last).account(account(1)).await.nonce, 5);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_trusts_the_genesis_can_check_a_row_without_trusting_a_node() {
    check_every_way(async |cluster| {
        let genesis = cluster.genesis.digest();
        let mut client = cluster.client(0);
        let transaction = sign(genesis, 1, 0, transfer(2, 1_000_000));
        let height = client.submit(&transaction).await.unwrap().height;
        let target = ProofTarget::Account(account(1));
        let (told, proof) = client.proof(Some(target), Some(height)).await.unwrap();

        let committee = State::genesis(&cluster.genesis).unwrap().committee();
        let is_solo = committee.is_empty();
        let mut chain = LightChain::from_genesis(genesis, committee);
        while chain.height() < told.header.height {
            let next = chain.height().next().0;
            for header in client.headers(next, height).await.unwrap() {
                chain.extend(header).unwrap();
            }
        }
        let (header, finality) = chain.newest().unwrap().unwrap();
        assert_eq!(*header, told.header);
        match finality {
            Finality::Told { .. } => assert!(is_solo),
            Finality::Certified { power, of } => assert!(!is_solo && power * 3 > of * 2),
            Finality::Trusted => panic!("block {height} was not trusted"),
        }
        match verify_row(header, &target, &proof).unwrap() {
            Row::Account(row) => assert_eq!((row.account, row.nonce), (account(1), 1)),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_one_node_kept_is_promoted_and_keeps_its_height() {
    let mut cluster = Cluster::start(0).await;
    let genesis = cluster.genesis.digest();
    let consensus = NodeKeys::open(cluster.places[0].folder.dir()).unwrap().consensus;
    let hotkey = pair(100).hotkey();
    let mut client = cluster.client(0);
    let join = Call::JoinCommittee {
        hotkey,
        consensus_key: consensus.consensus_key(),
        proof: Statement::Join { genesis, hotkey }.sign(&consensus),
        bond: Amount::from_units(1_000).unwrap(),
    };
    client.must(1, join).await;
    let Head { height, hash, .. } = client.head().await;
    let statement = Statement::Ready {
        genesis,
        height,
        hash,
    };
    let ready = Call::CommitteeReady {
        height,
        hash,
        proof: statement.sign(&consensus),
    };
    client.must(100, ready).await;
    cluster.stop_node(0).await;

    let folder = cluster.places[0].folder.clone();
    let before = verify(&folder).unwrap().height;
    let promoted = promote(&folder, &Clock::system()).unwrap();
    assert_eq!(promoted.height.0, before + 1);
    assert_eq!(promoted.committee.members()[0].hotkey, hotkey);
    assert!(matches!(
        promote(&folder, &Clock::system()),
        Err(PromoteError::Committee { members: 1 })
    ));

    cluster.start_node(0).await;
    let height = cluster.client(0).must(2, transfer(3, 1_000_000)).await;
    assert!(height > before + 1);
    for place in cluster.stop().await {
        verify(&place.folder).unwrap();
    }
}
