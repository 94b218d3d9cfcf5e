//! Machines that are asked all at once, and what they prove by it: `agon_scoring::capacity` with modelled machines.

use std::ops::Range;

use agon_scoring::capacity::{Burst, Capacity};

use crate::random::Random;

/// A machine and the UIDs that it serves.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Answers that it can give within a deadline.
    pub at_once: u32,
    /// Its UIDs.
    pub uids: Range<u16>,
    /// What each of them declares.
    pub declared: u32,
    /// Share of its answers that are lost on the way.
    pub lost: f64,
}

impl Machine {
    /// What comes of a burst for each of its UIDs: it serves one after the other, as far as it gets.
    pub fn answer(&self, capacity: &Capacity, random: &mut Random) -> Vec<Burst> {
        let mut left = self.at_once;
        let mut serve = |uid| {
            let asked = capacity.to_ask(uid, self.declared);
            let served = asked.min(left);
            left -= served;
            let lost = (0..served).filter(|_| random.chance(self.lost)).count();
            let lost = u32::try_from(lost).expect("at most what was served");
            Burst {
                uid,
                asked,
                verified: served - lost,
            }
        };
        self.uids.clone().map(&mut serve).collect()
    }
}

/// A burst that reaches all machines.
pub fn burst(machines: &[Machine], capacity: &mut Capacity, random: &mut Random) {
    let outcomes: Vec<Burst> = machines
        .iter()
        .flat_map(|machine| machine.answer(capacity, random))
        .collect();
    capacity.record(&outcomes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_gives_no_more_than_it_can_whoever_is_asked() {
        let machine = Machine {
            at_once: 5,
            uids: 0..4,
            declared: 3,
            lost: 0.0,
        };
        let (mut capacity, mut random) = (Capacity::default(), Random::new("bursts", 1));
        for _ in 0..20 {
            let answers = machine.answer(&capacity, &mut random);
            assert!(answers.iter().map(|burst| burst.verified).sum::<u32>() <= 5);
            burst(std::slice::from_ref(&machine), &mut capacity, &mut random);
        }
        assert!((0..4).map(|uid| capacity.work(uid)).sum::<u32>() <= 5 * 16);
    }
}
