//! A clock that is set while its member runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use agon_runtime::Clock;
use tokio::task::JoinHandle;

use crate::fleet::Fleet;
use crate::kills::some_load;
use crate::support::{Client, Node};
use crate::{below, random, runs};

/// The member with the clock.
const WRONG: usize = 3;
/// How far a block's time may be ahead of a clock that is right, ms.
const AHEAD_MS_MAX: u64 = 5_000;
/// Acknowledgements under a wrong clock.
const ACKNOWLEDGED: u64 = 30;
/// How far a clock jumps at most, ms: a day.
const JUMP_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// Follows a member's blocks and compares their times with the right one; ends with its node.
fn watch(mut client: Client) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut events = client.events(1).await;
        let mut before = 0;
        while let Ok(Some(event)) = events.message().await {
            let now = Clock::system().now_ms();
            assert!(
                event.time_ms >= before,
                "block {} is before its parent",
                event.height
            );
            assert!(
                event.time_ms <= now + AHEAD_MS_MAX,
                "block {} is {} ms ahead",
                event.height,
                event.time_ms - now
            );
            before = event.time_ms;
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_costs_its_member_only() {
    let mut random = random();
    let mut fleet = Fleet::begin().await;
    for honest in 0..WRONG {
        fleet.run(honest);
    }
    let skew_ms = Arc::new(AtomicI64::new(0));
    let place = &fleet.cluster.places[WRONG];
    let mut peers = fleet.cluster.peers_of(WRONG);
    // Like the others it does not renew its readiness, so that the committee stays as it is.
    peers.hotkey = None;
    let clock = Clock::skewed(Arc::clone(&skew_ms));
    let node = Node::try_start_at(&place.folder, place.ledger, Some(peers), clock).await;
    fleet.cluster.nodes[WRONG] = Some(node.unwrap());
    let watched = watch(fleet.cluster.client(0));
    for run in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        let jump = (AHEAD_MS_MAX + below(&mut random, JUMP_MS_MAX)) as i64;
        skew_ms.store(if run % 2 == 0 { jump } else { -jump }, Ordering::Relaxed);
        fleet.progress(ACKNOWLEDGED).await;
        if below(&mut random, 2) == 0 {
            skew_ms.store(0, Ordering::Relaxed);
            fleet.progress(ACKNOWLEDGED).await;
        }
        fleet.check().await;
    }
    assert!(!watched.is_finished(), "a block has a time that it must not have");
    fleet.finish("clock jumps").await;
    watched.await.unwrap();
}
