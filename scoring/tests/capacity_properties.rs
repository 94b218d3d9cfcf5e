//! What holds for pay by proven work, whatever machines declare and however many UIDs they have.

use agon_scoring::capacity::{BURSTS_KEPT, Burst, Capacity};
use agon_scoring::compare::PPM;
use agon_scoring::rating::Standing;
use agon_scoring::weights::{WORK_MAX, WeightPolicy, pay};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

const POLICY: WeightPolicy = WeightPolicy {
    floor_ppm: 200_000,
    sharpness: 2,
    count_max: 4096,
    verified_min: 4,
    pays_work: true,
};

/// How a machine that is asked for more than it can do chooses what to do.
#[derive(Clone, Copy, Debug)]
enum Overload {
    /// One UID after the other, as far as it gets.
    InTurn,
    /// An item of each UID after an item of each.
    Evenly,
    /// The UIDs asked for least first, so that as many as possible manage.
    SmallestFirst,
    /// Nothing is in time.
    Collapse,
}

const OVERLOADS: [Overload; 4] = [
    Overload::InTurn,
    Overload::Evenly,
    Overload::SmallestFirst,
    Overload::Collapse,
];

/// A machine and the UIDs that it serves.
#[derive(Clone, Debug)]
struct Machine {
    /// Verified answers that it can give within a deadline.
    at_once: u32,
    uids: std::ops::Range<u16>,
    /// What each of its UIDs declares.
    declared: u32,
    overload: Overload,
    /// Share of answers that are lost on the way, whoever sent them.
    lost: f64,
    /// Share of bursts that it misses altogether.
    away: f64,
}

impl Machine {
    fn honest(at_once: u32, uid: u16) -> Self {
        Self {
            at_once,
            uids: uid..uid + 1,
            declared: at_once,
            overload: Overload::InTurn,
            lost: 0.0,
            away: 0.0,
        }
    }

    /// The same machine behind `count` UIDs that share its capacity.
    fn split(&self, count: u16) -> Self {
        Self {
            uids: self.uids.start..self.uids.start + count,
            declared: self.at_once.div_ceil(u32::from(count)),
            ..self.clone()
        }
    }

    fn answer(&self, capacity: &Capacity, is_away: bool, random: &mut ChaCha20Rng) -> Vec<Burst> {
        let ask = |uid| Burst {
            uid,
            asked: capacity.to_ask(uid, self.declared),
            verified: 0,
        };
        let mut bursts: Vec<Burst> = self.uids.clone().map(ask).collect();
        if is_away {
            return bursts;
        }
        self.serve(&mut bursts);
        for burst in &mut bursts {
            let lost = (0..burst.verified).filter(|_| happens(self.lost, random));
            burst.verified -= u32::try_from(lost.count()).expect("a few");
        }
        bursts
    }

    fn serve(&self, bursts: &mut [Burst]) {
        let asked: u32 = bursts.iter().map(|burst| burst.asked).sum();
        if asked > self.at_once && matches!(self.overload, Overload::Collapse) {
            return;
        }
        if matches!(self.overload, Overload::SmallestFirst) {
            bursts.sort_by_key(|burst| burst.asked);
        }
        let mut left = self.at_once.min(asked);
        while left > 0 {
            for burst in bursts.iter_mut().filter(|burst| burst.verified < burst.asked) {
                let step = match self.overload {
                    Overload::Evenly => 1,
                    _ => burst.asked - burst.verified,
                };
                burst.verified += step.min(left);
                left -= step.min(left);
            }
        }
    }
}

fn happens(chance: f64, random: &mut ChaCha20Rng) -> bool {
    f64::from(random.next_u32()) / 2f64.powi(32) < chance
}

fn paid(capacity: &Capacity, uid: u16) -> u64 {
    let mut standings = [Standing {
        uid,
        rating_ppm: 900_000,
        item_count: 100,
        verified_count: 90,
        voices: 1,
        work: 0,
    }];
    capacity.measure(&mut standings);
    pay(&standings[0], &POLICY).expect("in range")
}

/// What each machine earns over some bursts that reach all of them; paid after each.
fn earn(machines: &[Machine], bursts: usize, seed: u64) -> Vec<f64> {
    let mut capacity = Capacity::default();
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    // Of its own, so that machines miss the same bursts however much is drawn for their answers.
    let mut absences = ChaCha20Rng::seed_from_u64(!seed);
    let mut earned = vec![0.0; machines.len()];
    for _ in 0..bursts {
        let outcomes = machines.iter().flat_map(|machine| {
            let is_away = happens(machine.away, &mut absences);
            machine.answer(&capacity, is_away, &mut random)
        });
        let outcomes: Vec<Burst> = outcomes.collect();
        capacity.record(&outcomes);
        for (machine, earned) in machines.iter().zip(&mut earned) {
            *earned += machine
                .uids
                .clone()
                .map(|uid| paid(&capacity, uid) as f64)
                .sum::<f64>();
        }
    }
    earned
}

/// What one machine earns over some bursts, the sum of eight seeds.
fn earn_alone(machine: &Machine, bursts: usize) -> f64 {
    let machines = std::slice::from_ref(machine);
    (0..8).map(|seed| earn(machines, bursts, seed)[0]).sum()
}

/// The largest ratio of what a machine earns with many UIDs to what it earns with one.
fn largest_gain(one: &Machine, bursts: usize) -> f64 {
    let alone = earn_alone(one, bursts);
    let mut largest = 0.0_f64;
    for count in [2, 4, 8, 16, 32] {
        for overload in OVERLOADS {
            let many = Machine {
                overload,
                ..one.split(count)
            };
            largest = largest.max(earn_alone(&many, bursts) / alone);
        }
    }
    largest
}

#[test]
fn many_uids_of_one_machine_earn_what_one_does() {
    for bursts in [20, 100, 400] {
        for lost in [0.0, 0.01] {
            let gain = |at_once| {
                let one = Machine {
                    lost,
                    ..Machine::honest(at_once, 0)
                };
                largest_gain(&one, bursts)
            };
            let gains = [8, 16, 32, 100].map(gain);
            println!("{bursts} bursts, {lost} lost: at most {gains:.4?} x the income of one UID");
            let most = if lost == 0.0 { 1.0 } else { 1.02 };
            assert!(gains.iter().all(|gain| *gain <= most), "{gains:?}");
        }
    }
}

#[test]
fn a_machine_that_misses_bursts_gains_nothing_by_many_uids() {
    for away in [0.02, 0.05, 0.2] {
        for lost in [0.0, 0.01] {
            let one = Machine {
                lost,
                away,
                ..Machine::honest(32, 0)
            };
            let gain = largest_gain(&one, 400);
            println!("{away} of bursts missed, {lost} lost: at most {gain:.4} x the income of one UID");
            assert!(gain <= 1.02, "{gain} with {away} of bursts missed");
        }
    }
}

#[test]
fn twenty_honest_machines_each_earn_their_own() {
    let machines: Vec<Machine> = (0..20).map(|uid| Machine::honest(16, uid)).collect();
    let alone = earn(&machines[..1], 200, 1)[0];
    assert_eq!(earn(&machines, 200, 1), vec![alone; 20]);
}

#[test]
fn declaring_ten_times_as_much_earns_no_more() {
    for at_once in [4, 16, 100] {
        let honest = Machine::honest(at_once, 0);
        let alone = earn_alone(&honest, 400);
        for overload in OVERLOADS {
            let liar = Machine {
                declared: 10 * at_once,
                overload,
                ..honest.clone()
            };
            let ratio = earn_alone(&liar, 400) / alone;
            println!("{at_once} at once, ten times declared, {overload:?}: {ratio:.3}");
            assert!(ratio <= 1.0, "{ratio} with {at_once} at once, {overload:?}");
        }
    }
}

#[test]
fn a_faster_machine_earns_in_proportion() {
    let earned = earn(&[Machine::honest(16, 0), Machine::honest(32, 1)], 400, 1);
    assert!((earned[1] / earned[0] - 2.0).abs() < 0.02, "{earned:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Property 1 of the module, with UIDs that come, go and declare what they like.
    #[test]
    fn work_of_one_machine_is_bounded_by_what_it_can_do(
        at_once in 1_u32..200,
        bursts in proptest::collection::vec(proptest::collection::vec(0_u32..400, 1..12), 1..60),
    ) {
        let mut capacity = Capacity::default();
        for declared in bursts {
            let mut left = at_once;
            let mut outcomes = Vec::new();
            for (uid, declared) in (0..).zip(declared) {
                let asked = capacity.to_ask(uid, declared);
                let verified = asked.min(left);
                left -= verified;
                outcomes.push(Burst { uid, asked, verified });
            }
            capacity.record(&outcomes);
            let work: u32 = (0..12).map(|uid| capacity.work(uid)).sum();
            prop_assert!(work <= at_once * BURSTS_KEPT as u32);
        }
    }

    #[test]
    fn no_outcome_leaves_the_range_and_all_survive_the_disk(
        bursts in proptest::collection::vec(
            proptest::collection::vec((0_u16..5, any::<u32>(), any::<u32>()), 0..8),
            0..80,
        ),
    ) {
        let mut capacity = Capacity::default();
        for burst in bursts {
            let outcome = |(uid, asked, verified)| Burst { uid, asked, verified };
            capacity.record(&burst.into_iter().map(outcome).collect::<Vec<_>>());
        }
        for uid in 0..5 {
            prop_assert!(capacity.work(uid) <= WORK_MAX);
            prop_assert!(capacity.to_ask(uid, PPM) >= 1);
        }
        let bytes = borsh::to_vec(&capacity).expect("memory takes everything");
        prop_assert_eq!(borsh::from_slice::<Capacity>(&bytes).expect("what was written"), capacity);
    }
}
