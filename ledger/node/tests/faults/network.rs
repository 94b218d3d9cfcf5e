//! Members that do not hear each other, and one that says nothing.

use crate::fleet::{Fleet, MEMBERS};
use crate::kills::some_load;
use crate::links::Cut;
use crate::{below, random, runs};

/// Blocks that a side without a quorum may still make: what the others had signed before the cut.
const ON_THE_WAY: u64 = 2;
/// Acknowledgements without the member that is away.
const WITHOUT: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn the_side_with_a_quorum_goes_on_and_the_other_one_waits() {
    let mut random = random();
    let mut fleet = Fleet::begin().await.with_links().await;
    fleet.run_all();
    for run in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        let alone = below(&mut random, MEMBERS.into()) as usize;
        let cut = Cut {
            side: 1 << alone,
            ends: run % 2 == 0,
        };
        fleet.links.as_ref().unwrap().cut(cut);
        let newest = newest(&fleet).await;
        fleet.progress(WITHOUT).await;
        fleet
            .blocks((alone + 1) % usize::from(MEMBERS), 3 * ON_THE_WAY)
            .await;
        assert!(fleet.height(alone).await <= newest + ON_THE_WAY);
        fleet.links.as_ref().unwrap().heal();
        fleet.check().await;
    }
    fleet.finish("cuts of one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_halves_make_no_blocks_until_they_are_one_again() {
    let mut random = random();
    let mut fleet = Fleet::begin().await.with_links().await;
    fleet.run_all();
    for run in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        let side = [0b0011, 0b0101, 0b1001][below(&mut random, 3) as usize];
        let ends = run % 2 == 1;
        fleet.links.as_ref().unwrap().cut(Cut { side, ends });
        let before = newest(&fleet).await;
        // However long this is: there can be no more blocks.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(newest(&fleet).await <= before + ON_THE_WAY);
        fleet.links.as_ref().unwrap().heal();
        fleet.progress(WITHOUT).await;
        fleet.check().await;
    }
    fleet.finish("cuts in halves").await;
}

async fn newest(fleet: &Fleet) -> u64 {
    let mut newest = 0;
    for index in fleet.running() {
        newest = newest.max(fleet.height(index).await);
    }
    newest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_falls_silent_costs_its_turns_only() {
    let mut random = random();
    let mut fleet = Fleet::start().await;
    for _ in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        let silent = below(&mut random, MEMBERS.into()) as usize;
        fleet.signal(silent, "STOP");
        fleet.progress(WITHOUT).await;
        fleet
            .blocks((silent + 1) % usize::from(MEMBERS), 2 * u64::from(MEMBERS))
            .await;
        fleet.signal(silent, "CONT");
        fleet.progress(1).await;
        fleet.check().await;
    }
    fleet.finish("silent members").await;
}
