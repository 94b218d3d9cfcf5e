//! Bursts: rounds that ask every miner at the same moment, each for items of its own, to see how much it can do.
//!
//! A miner says with its axon how much it can do at once, and is asked no more, nor more than the task asks of anyone.
//!
//! Only rounds beyond those owed are bursts, so that the slots of a tempo stay what its draws say. The first such round is
//! one while nothing is proven yet; after that a round's draw decides, and nobody knows before it is asked.

use std::ops::Range;

use agon_protocol::id::Uid;
use agon_scoring::capacity::{Capacity, item_indices};
use agon_scoring::draw::Draw;
use agon_subnets::Task;

use crate::Context;

/// The items that each miner is asked when round `round` is a burst; `None` when it is none.
#[must_use]
pub fn burst(
    context: &Context<'_>,
    task: &dyn Task,
    capacity: &Capacity,
    round: u32,
    draw: &Draw,
) -> Option<Vec<(Uid, Range<u32>)>> {
    let items = task.burst_items().filter(|_| round >= context.rounds)?;
    if !(draw.is_burst() || capacity.is_empty()) {
        return None;
    }
    let declared = |uid: Uid| items.min(context.at_once(uid).into());
    let to_ask = |uid: Uid| (uid.0, capacity.to_ask(uid.0, declared(uid)));
    let asked: Vec<(u16, u32)> = context.candidates().into_iter().map(to_ask).collect();
    let indices = item_indices(&asked);
    Some(
        indices
            .into_iter()
            .map(|(uid, items)| (Uid(uid), items))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::{Digest, Hotkey, Netuid};
    use agon_scoring::capacity::Burst;
    use agon_subnets::inference::BURST_ITEMS;

    use super::*;

    fn asked(task: &str, round: u32, capacity: &Capacity) -> Option<Vec<(Uid, Range<u32>)>> {
        let roster: Vec<(Uid, Hotkey)> = (0..3_u8)
            .map(|uid| (Uid(uid.into()), Hotkey([uid; 32])))
            .collect();
        let context = Context {
            genesis: Digest([1; 32]),
            netuid: Netuid(1),
            task,
            tempo: 7,
            beacon: Digest([2; 32]),
            validator: Hotkey([2; 32]),
            asker: Hotkey([2; 32]),
            roster: &roster,
            at_once: &[2, 4_096, 8],
            rounds: 4,
            miners: 2,
        };
        let task = agon_subnets::task(task).unwrap();
        burst(&context, &*task, capacity, round, &Draw::new([3; 32]))
    }

    const INFERENCE: &str = "inference-abababababababababababababababab";

    #[test]
    fn the_first_round_beyond_those_owed_asks_everybody_what_they_say_they_can_do_at_once() {
        let nothing = Capacity::default();
        assert_eq!(asked(INFERENCE, 3, &nothing), None);
        assert_eq!(
            asked(INFERENCE, 4, &nothing),
            Some(vec![(Uid(0), 0..2), (Uid(1), 2..2 + BURST_ITEMS)])
        );
        assert_eq!(asked("reading", 4, &nothing), None);
    }

    #[test]
    fn who_fell_short_ramps_from_one_item_up_to_what_it_says() {
        let mut capacity = Capacity::default();
        for (asked, verified, next) in [(8, 3, 1), (1, 1, 2), (2, 2, 4), (4, 4, 8), (8, 8, 8)] {
            capacity.record(&[Burst {
                uid: 0,
                asked,
                verified,
            }]);
            assert_eq!(capacity.to_ask(0, 8), next);
        }
    }
}
