//! What a fault costs, in figures: `FIGURE_SECONDS` of watching, an absence of `FIGURE_BLOCKS`.

use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::number;
use crate::support::BLOCK_MS;

/// Who is away.
const AWAY: usize = 3;

/// Blocks per second of member 0, over a while.
async fn pace(fleet: &Fleet, seconds: u32) -> f64 {
    let before = fleet.height(0).await;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let made = fleet.height(0).await - before;
    made as f64 / begun.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn pace_with_one_of_four_away() {
    let seconds = number("FIGURE_SECONDS", 2);
    for block_ms in [1_000, BLOCK_MS] {
        let mut fleet = Fleet::begin().await.with_block_ms(block_ms);
        fleet.run_all();
        fleet.reached(0, 3).await;
        let whole = pace(&fleet, seconds).await;
        fleet.kill(AWAY);
        let without = pace(&fleet, seconds).await;
        println!(
            "block time {block_ms} ms: {whole:.2} blocks/s with four, {without:.2} with one of them dead"
        );
        fleet.check().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catching_up_after_an_absence() {
    let blocks = u64::from(number("FIGURE_BLOCKS", 100));
    let mut fleet = Fleet::start().await;
    fleet.reached(AWAY, 3).await;
    fleet.kill(AWAY);
    fleet.load();
    let until = fleet.height(0).await + blocks;
    while fleet.height(0).await < until {
        fleet.blocks(0, 1).await;
    }
    fleet.unload().await;
    let begun = Instant::now();
    fleet.run(AWAY);
    fleet.level().await;
    println!(
        "level {:.1} s after the start, {blocks} blocks behind",
        begun.elapsed().as_secs_f64()
    );
    fleet.check().await;
}
