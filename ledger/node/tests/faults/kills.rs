//! SIGKILL, at any moment.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;

use crate::fleet::{Fleet, MEMBERS};
use crate::support::BLOCK_MS;
use crate::{below, random, runs};

/// Most acknowledgements before a kill.
const ACKNOWLEDGED_MAX: u64 = 40;
/// Blocks of the others in a long absence: more than are asked for at a time.
const LONG_BLOCKS: u64 = 40;

/// A load for a while, up to some moment within the making of a block.
pub(crate) async fn some_load(fleet: &mut Fleet, random: &mut ChaCha20Rng) {
    fleet.load();
    fleet.progress(1 + below(random, ACKNOWLEDGED_MAX)).await;
    // Not to wait for anything: this moment is what varies.
    tokio::time::sleep(Duration::from_micros(below(random, 2_000 * BLOCK_MS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_killed_comes_back_level() {
    let mut random = random();
    let mut fleet = Fleet::start().await;
    for run in 0..runs() {
        let victim = below(&mut random, MEMBERS.into()) as usize;
        some_load(&mut fleet, &mut random).await;
        fleet.kill(victim);
        if run % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(below(&mut random, 300))).await;
        } else {
            fleet
                .blocks((victim + 1) % usize::from(MEMBERS), LONG_BLOCKS)
                .await;
        }
        fleet.run(victim);
        fleet.progress(1 + below(&mut random, ACKNOWLEDGED_MAX)).await;
        fleet.check().await;
    }
    fleet.finish("kills of one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_killed_together_lose_nothing() {
    let mut random = random();
    let mut fleet = Fleet::start().await;
    for _ in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        fleet.kill_all();
        fleet.unload().await;
        fleet.run_all();
        fleet.load();
        fleet.progress(1).await;
        fleet.check().await;
    }
    fleet.finish("kills of all").await;
}
