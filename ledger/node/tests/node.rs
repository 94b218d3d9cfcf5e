//! A node as its clients see it.

#![allow(
    clippy::unwrap_used,
    reason = "a failure here is read by the one who caused it"
)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use agon_ledger_node::folder::Folder;
use agon_ledger_node::verify::{Report, VerifyError, verify};
use agon_protocol::grpc::v1;
use agon_protocol::id::{Hotkey, Netuid};
use agon_protocol::message::{Call, Metagraph, MetagraphChanges};
use agon_runtime::flags::sentence;
use support::{ACCOUNTS, Client, Node, account, begin, genesis, pair, sign, transfer};
use tonic::Code;

/// A ledger in a folder of its own, and a node on it.
struct Ledger {
    dir: tempfile::TempDir,
    node: Node,
}

impl Ledger {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path());
        let node = Node::start(&Folder::new(dir.path())).await;
        Self { dir, node }
    }

    fn folder(&self) -> Folder {
        Folder::new(self.dir.path())
    }

    fn client(&self) -> Client {
        self.node.client()
    }

    /// Stops the node, lets `meanwhile` at its folder, and starts it again.
    async fn restart_after(self, meanwhile: impl FnOnce(&Folder)) -> Self {
        let folder = self.folder();
        self.node.stop().await;
        meanwhile(&folder);
        Self {
            node: Node::start(&folder).await,
            dir: self.dir,
        }
    }

    /// Stops the node, lets `meanwhile` at its folder, and expects it not to start.
    ///
    /// Gives the folder, which lasts as long as the first value, and the error.
    async fn fail_after(self, meanwhile: impl FnOnce(&Folder)) -> (tempfile::TempDir, Folder, String) {
        let folder = self.folder();
        self.node.stop().await;
        meanwhile(&folder);
        match Node::try_start(&folder).await {
            Ok(_) => panic!("the node started"),
            Err(error) => (self.dir, folder, sentence(&error)),
        }
    }

    async fn stop_and_verify(self) -> Result<Report, VerifyError> {
        let folder = self.folder();
        self.node.stop().await;
        verify(&folder)
    }
}

/// Reads events up to `height`.
async fn events_until(client: &mut Client, from: u64, height: u64) -> Vec<v1::Event> {
    let mut stream = client.events(from).await;
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|event: &v1::Event| event.height < height)
    {
        events.push(stream.message().await.unwrap().unwrap());
    }
    events
}

/// Creates and starts subnet 1 with two neurons, all of account 0.
async fn build_subnet(client: &mut Client) {
    let lock_max = agon_protocol::amount::Amount::from_units(1_000).unwrap();
    client
        .must(
            0,
            Call::CreateSubnet {
                task: String::from("reading"),
                lock_max,
            },
        )
        .await;
    client.must(0, Call::StartSubnet { netuid: Netuid(1) }).await;
    for number in 100..102 {
        register(client, number).await;
    }
}

async fn register(client: &mut Client, number: u8) -> u64 {
    let hotkey = Hotkey(pair(number).public());
    let price_max = agon_protocol::amount::Amount::from_units(1_000).unwrap();
    client
        .must(
            0,
            Call::Register {
                netuid: Netuid(1),
                hotkey,
                price_max,
            },
        )
        .await
}

#[tokio::test]
async fn a_submission_is_answered_with_the_block_that_holds_it() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    let transaction = sign(genesis().digest(), 1, 0, transfer(2, 5));
    let reply = client.submit(&transaction).await.unwrap();
    assert_eq!(
        (reply.digest, reply.refusal),
        (transaction.digest().0.to_vec(), None)
    );
    let block = client.block(reply.height).await;
    assert_eq!(block.header.height.0, reply.height);
    assert_eq!(block.transactions, [transaction]);
    let report = ledger.stop_and_verify().await.unwrap();
    assert_eq!(
        (report.transactions, report.stored_height),
        (1, Some(report.height))
    );
    assert_eq!(report.issuance, report.holdings.0.total().base_units());
}

#[tokio::test]
async fn a_refusal_is_told_at_once_and_in_the_words_of_the_dry_run() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    let cases = [
        sign(genesis().digest(), 1, 7, transfer(2, 5)),
        sign(genesis().digest(), 1, 0, transfer(2, u64::MAX)),
        sign(genesis().digest(), 1, 0, transfer(2, 0)),
        sign(genesis().digest(), 1, 0, Call::StartSubnet { netuid: Netuid(9) }),
        sign(agon_protocol::id::Digest([9; 32]), 1, 0, transfer(2, 5)),
    ];
    for transaction in cases {
        let wet = client.submit(&transaction).await.unwrap();
        let dry = client
            .stub
            .dry_run(v1::SubmitRequest::from(&transaction))
            .await
            .unwrap()
            .into_inner();
        assert!(wet.refusal.is_some() && dry.effects.is_empty(), "{transaction:?}");
        assert_eq!((wet.height, wet.refusal), (0, dry.refusal));
    }
    let fine = sign(genesis().digest(), 1, 0, transfer(2, 5));
    let dry = client
        .stub
        .dry_run(v1::SubmitRequest::from(&fine))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((dry.refusal, dry.effects.len()), (None, 2));
    assert!(
        dry.effects[1].starts_with("burns a fee of 0.000178 from "),
        "{:?}",
        dry.effects
    );
    assert_eq!((dry.fee, dry.payer), (178_000, account(1).0.to_vec()));
    assert_eq!(client.account(account(1)).await.nonce, 0);
}

#[tokio::test]
async fn bytes_that_are_no_transaction_are_an_invalid_argument() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    let fine = v1::SubmitRequest::from(&sign(genesis().digest(), 1, 0, transfer(2, 5)));
    let cases = [
        v1::SubmitRequest {
            transaction: Vec::new(),
            ..fine.clone()
        },
        v1::SubmitRequest {
            transaction: vec![1; 40],
            ..fine.clone()
        },
        v1::SubmitRequest {
            transaction: vec![1; 64 * 1024 + 1],
            ..fine.clone()
        },
        v1::SubmitRequest {
            transaction: [fine.transaction.as_slice(), &[0]].concat(),
            ..fine.clone()
        },
        v1::SubmitRequest {
            signature: vec![0; 63],
            ..fine.clone()
        },
    ];
    for request in cases {
        let status = client.stub.submit(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert_eq!(
            client.stub.dry_run(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    let long = v1::SubmitRequest {
        transaction: vec![1; 1024 * 1024],
        ..fine
    };
    assert_eq!(
        client.stub.submit(long).await.unwrap_err().code(),
        Code::OutOfRange
    );
    let short = v1::GetAccountRequest { account: vec![0; 31] };
    assert_eq!(
        client.stub.get_account(short).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let wide = v1::GetSubnetRequest { netuid: 65_536 };
    assert_eq!(
        client.stub.get_subnet(wide).await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    let netuid = 3;
    let not_found = [
        client
            .stub
            .get_subnet(v1::GetSubnetRequest { netuid })
            .await
            .unwrap_err(),
        client
            .stub
            .get_weights(v1::GetWeightsRequest { netuid })
            .await
            .unwrap_err(),
        client.epoch(netuid, 0).await.unwrap_err(),
        client
            .stub
            .get_block(v1::GetBlockRequest { height: 0 })
            .await
            .unwrap_err(),
        client
            .stub
            .get_block(v1::GetBlockRequest { height: 1 << 40 })
            .await
            .unwrap_err(),
        client.metagraph(netuid, None).await.unwrap_err(),
        client.metagraph(netuid, Some(0)).await.unwrap_err(),
        client.metagraph(netuid, Some(1 << 40)).await.unwrap_err(),
    ];
    for status in not_found {
        assert_eq!(status.code(), Code::NotFound, "{status}");
    }
    let status = client.metagraph(netuid, Some(1 << 40)).await.unwrap_err();
    assert!(status.message().contains("the newest is"), "{status}");
    let subnets = client
        .stub
        .list_subnets(v1::ListSubnetsRequest {})
        .await
        .unwrap()
        .into_inner()
        .subnets;
    assert_eq!(subnets, []);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stopped() {
    let mut ledger = Ledger::start().await;
    for nonce in 0..3 {
        let mut client = ledger.client();
        let transaction = sign(genesis().digest(), 1, nonce, transfer(2, 5));
        let height = client.submit(&transaction).await.unwrap().height;
        let hash = client.block(height).await.hash();
        let before = client.account(account(2)).await;
        ledger = ledger.restart_after(|_| ()).await;
        let mut client = ledger.client();
        assert!(client.head().await.height.0 >= height);
        assert_eq!(client.block(height).await.hash(), hash);
        assert_eq!(client.account(account(2)).await, before);
    }
    assert_eq!(ledger.stop_and_verify().await.unwrap().transactions, 3);
}

#[tokio::test]
async fn events_are_told_from_history_and_then_live_without_a_gap() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    for nonce in 0..3 {
        client
            .submit(&sign(genesis().digest(), 1, nonce, transfer(2, 5)))
            .await
            .unwrap();
    }
    let newest = client.head().await.height.0;
    // Several blocks further than what was stored when the stream began.
    let events = events_until(&mut client, 1, newest + 10).await;
    let mut transactions = 0;
    for (height, event) in (1..).zip(&events) {
        let block = client.block(height).await;
        assert_eq!((event.height, &event.hash), (height, &block.hash().0.to_vec()));
        assert_eq!(event.time_ms, block.header.time_ms);
        transactions += event.transactions.len();
    }
    assert_eq!(transactions, 3);
    let next = client.events(0).await.message().await.unwrap().unwrap();
    assert!(next.height > newest);
}

#[tokio::test]
async fn a_stream_ends_with_the_node() {
    let ledger = Ledger::start().await;
    let mut stream = ledger.client().events(1 << 40).await;
    ledger.node.stop().await;
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_metagraph_of_an_earlier_height_is_what_was_seen_then() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    build_subnet(&mut client).await;
    let mut seen = vec![client.metagraph(1, None).await.unwrap()];
    for number in 110..114 {
        register(&mut client, number).await;
        seen.push(client.metagraph(1, None).await.unwrap());
    }
    // Newest first, so that each is replayed from further back.
    for metagraph in seen.iter().rev() {
        assert_eq!(
            client.metagraph(1, Some(metagraph.height)).await.unwrap(),
            *metagraph
        );
    }
    let ledger = ledger.restart_after(|_| ()).await;
    let mut client = ledger.client();
    for metagraph in &seen {
        assert_eq!(
            client.metagraph(1, Some(metagraph.height)).await.unwrap(),
            *metagraph
        );
    }
    let counts: Vec<usize> = seen.iter().map(|metagraph| metagraph.neurons.len()).collect();
    assert_eq!(counts, [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_copy_that_reads_changes_alone_is_equal_to_the_whole() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    build_subnet(&mut client).await;
    let whole = client.metagraph(1, None).await.unwrap();
    let mut copy = Metagraph::try_from(whole).unwrap();
    for number in 110..116 {
        register(&mut client, number).await;
        let request = v1::GetMetagraphChangesRequest {
            netuid: 1,
            since: copy.height.0,
        };
        let reply = client.stub.get_metagraph_changes(request).await.unwrap();
        let changes = MetagraphChanges::try_from(reply.into_inner()).unwrap();
        assert_eq!(changes.since, Some(copy.height));
        copy.update(changes);
        let whole = client.metagraph(1, Some(copy.height.0)).await.unwrap();
        assert_eq!(copy, whole.try_into().unwrap());
    }
}

#[tokio::test]
async fn changes_from_before_the_node_was_started_are_told_whole() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    build_subnet(&mut client).await;
    let since = client.head().await.height.0;
    let ledger = ledger.restart_after(|_| ()).await;
    let request = v1::GetMetagraphChangesRequest {
        netuid: 1,
        since: since - 1,
    };
    let reply = ledger.client().stub.get_metagraph_changes(request).await.unwrap();
    let v1::MetagraphChanges { since, metagraph } = reply.into_inner();
    assert_eq!(since, None);
    assert_eq!(metagraph.unwrap().neurons.len(), 2);
}

#[tokio::test]
async fn what_an_epoch_paid_is_told_again_after_the_state_was_lost() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    build_subnet(&mut client).await;
    let mut stream = client.events(1).await;
    let epoch = loop {
        let event = stream.message().await.unwrap().unwrap();
        if !event.epochs.is_empty() {
            break event;
        }
    };
    let v1::EpochOutcome { netuid, tempo, .. } = epoch.epochs[0];
    let record = client.epoch(netuid, tempo).await.unwrap();
    let ledger = ledger
        .restart_after(|folder| fs::remove_dir_all(folder.state()).unwrap())
        .await;
    let mut client = ledger.client();
    assert_eq!(
        client
            .events(epoch.height)
            .await
            .message()
            .await
            .unwrap()
            .unwrap(),
        epoch
    );
    assert_eq!(client.epoch(netuid, tempo).await.unwrap(), record);
}

/// After `damage` to the state store of a stopped node, it starts with everything that was stored; what is in
/// `aside` was set aside, and nothing else.
async fn check_state_recovers(aside: &[&str], damage: impl FnOnce(&Folder)) {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    for number in 0..ACCOUNTS {
        client
            .submit(&sign(genesis().digest(), number, 0, transfer(0, 5)))
            .await
            .unwrap();
    }
    let before = client.account(account(1)).await;
    let height = client.head().await.height;
    // sled writes a snapshot of what it finds when it is opened, so the second run leaves one.
    let ledger = ledger.restart_after(|_| ()).await.restart_after(damage).await;
    let mut client = ledger.client();
    assert!(client.head().await.height >= height);
    assert_eq!(client.account(account(1)).await, before);
    client
        .submit(&sign(genesis().digest(), 1, 1, transfer(0, 5)))
        .await
        .unwrap();
    let found = names_in(&ledger.folder().state_aside());
    let expected = |name: &String| aside.iter().any(|prefix| name.starts_with(prefix));
    assert!(
        found.len() >= aside.len() && found.iter().all(expected),
        "{found:?} aside, not {aside:?}"
    );
    ledger.stop_and_verify().await.unwrap();
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn files_in(dir: &Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))
        .collect()
}

#[tokio::test]
async fn a_lost_state_is_built_from_the_blocks() {
    check_state_recovers(&[], |folder| fs::remove_dir_all(folder.state()).unwrap()).await;
}

#[tokio::test]
async fn an_emptied_snapshot_is_set_aside() {
    check_state_recovers(&["snap."], |folder| {
        let snapshots = files_in(&folder.state(), "snap.");
        assert!(!snapshots.is_empty(), "there is one to empty");
        for snapshot in snapshots {
            File::create(snapshot).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_lost_snapshot_is_done_without() {
    check_state_recovers(&[], |folder| {
        for snapshot in files_in(&folder.state(), "snap.") {
            fs::remove_file(snapshot).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn an_overwritten_state_is_set_aside_and_built_anew() {
    check_state_recovers(&["snap.", "state"], |folder| {
        let database = folder.state().join("db");
        let len = fs::metadata(&database).unwrap().len();
        fs::write(&database, vec![0xA5; usize::try_from(len).unwrap()]).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_state_that_lags_is_brought_up_to_the_blocks() {
    let ledger = Ledger::start().await;
    ledger.client().must(1, transfer(2, 5)).await;
    let earlier = tempfile::tempdir().unwrap();
    let copy = earlier.path().join("state");
    let ledger = ledger
        .restart_after(|folder| copy_dir(&folder.state(), &copy))
        .await;
    let mut client = ledger.client();
    client.must(1, transfer(2, 7)).await;
    let before = (client.account(account(2)).await, client.head().await.height);
    let ledger = ledger
        .restart_after(|folder| {
            fs::remove_dir_all(folder.state()).unwrap();
            copy_dir(&copy, &folder.state());
        })
        .await;
    let mut client = ledger.client();
    assert_eq!(client.account(account(2)).await, before.0);
    assert!(client.head().await.height >= before.1);
    ledger.stop_and_verify().await.unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_block_that_was_half_written_is_cut_off() {
    let ledger = Ledger::start().await;
    let height = ledger.client().must(1, transfer(2, 5)).await;
    let ledger = ledger
        .restart_after(|folder| {
            let log = OpenOptions::new().write(true).open(folder.blocks()).unwrap();
            let end = log.metadata().unwrap().len();
            log.write_all_at(&[200, 0, 0, 0, 1, 2, 3], end).unwrap();
            assert!(
                verify(folder).is_ok(),
                "what was never acknowledged is not looked at"
            );
        })
        .await;
    assert!(ledger.client().head().await.height.0 >= height);
    ledger.stop_and_verify().await.unwrap();
}

#[tokio::test]
async fn damage_among_the_blocks_is_told_with_its_place() {
    let ledger = Ledger::start().await;
    let mut client = ledger.client();
    for _ in 0..3 {
        client.must(1, transfer(2, 5)).await;
    }
    let (_dir, folder, error) = ledger
        .fail_after(|folder| {
            let log = OpenOptions::new().write(true).open(folder.blocks()).unwrap();
            log.write_all_at(&[0xFF; 8], 100).unwrap();
        })
        .await;
    assert!(error.contains("blocks.log is damaged at byte 12"), "{error}");
    let found = verify(&folder).unwrap_err();
    assert!(
        sentence(&found).contains("damaged at byte 12"),
        "{}",
        sentence(&found)
    );
}

#[tokio::test]
async fn lost_blocks_are_an_error_and_not_a_new_beginning() {
    let ledger = Ledger::start().await;
    ledger.client().must(1, transfer(2, 5)).await;
    let (_dir, folder, error) = ledger
        .fail_after(|folder| fs::remove_file(folder.blocks()).unwrap())
        .await;
    assert!(
        error.contains("ends at block 0") && error.contains("blocks were lost. No other node has them"),
        "{error}"
    );
    assert!(error.contains("restore the file from a copy"), "{error}");
    assert!(matches!(verify(&folder), Err(VerifyError::BlocksLost { .. })));
}

#[tokio::test]
async fn a_folder_in_use_is_neither_run_nor_verified() {
    let ledger = Ledger::start().await;
    assert!(matches!(verify(&ledger.folder()), Err(VerifyError::Lock(_))));
    let Err(error) = Node::try_start(&ledger.folder()).await else {
        panic!("two nodes on one folder")
    };
    assert!(
        sentence(&error).contains("is in use by another process"),
        "{}",
        sentence(&error)
    );
}

#[tokio::test]
async fn a_ledger_is_begun_once() {
    let dir = tempfile::tempdir().unwrap();
    let folder = begin(dir.path());
    assert!(sentence(&folder.begin(&genesis()).unwrap_err()).contains("exists already"));
    let missing = tempfile::tempdir().unwrap();
    let Err(error) = Node::try_start(&Folder::new(missing.path())).await else {
        panic!("ran on nothing")
    };
    assert!(
        sentence(&error).contains("agon-node init"),
        "{}",
        sentence(&error)
    );
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    let ledger = Ledger::start().await;
    let uri = format!("http://{}", ledger.node.address);
    let channel = agon_runtime::Net::tcp()
        .channel(&uri, Default::default())
        .unwrap();
    let service = String::from("agon.v1.Ledger");
    let reply = HealthClient::new(channel)
        .check(HealthCheckRequest { service })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(reply.status(), ServingStatus::Serving);
}
