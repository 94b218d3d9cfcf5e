//! Coverage of validators that work and of those that do not, over many drawn tempos.
//!
//! 64 miners, of which six are away; four rounds of all of them, 16 slots opened: the defaults of a subnet.

use agon_evidence::coverage::{Account, PPM, coverage};
use agon_evidence::opening::Shown;
use agon_evidence::slots::{picks, schedule};
use agon_protocol::id::{Digest, Uid};
use agon_scoring::draw::AuditDraw;

const MINERS: u16 = 64;
const AWAY: u16 = 6;
const ROUNDS: u32 = 4;
const OPENINGS: u32 = 16;
const TEMPOS: u32 = 100;

fn seed(parts: [u32; 3]) -> [u8; 32] {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    blake3::derive_key("agon 2026-11 test coverage", &bytes)
}

/// What validator `number` shows of a tempo when it asks in that share of its slots, and says that the rest failed.
fn account(tempo: u32, number: u32, work_ppm: u32) -> Account {
    let candidates: Vec<Uid> = (0..MINERS).map(Uid).collect();
    let outputs: Vec<[u8; 32]> = (0..ROUNDS).map(|round| seed([tempo, number, round])).collect();
    let slots = schedule(&candidates, &outputs, MINERS.into()).concat();
    let (beacon, root) = (Digest(seed([tempo, 0, 9])), Digest(seed([tempo, number, 9])));
    let chance = AuditDraw::new(root.0);
    let shown = picks(beacon, root, ROUNDS * u32::from(MINERS), OPENINGS)
        .into_iter()
        .map(|slot| {
            let uid = slots[slot as usize];
            let asks = chance.ppm(uid.0, slot) < work_ppm;
            match asks && uid.0 >= AWAY {
                true => Shown::Answered(uid),
                false => Shown::Failed(uid),
            }
        });
    Account {
        claimed_ppm: PPM,
        shown: shown.collect(),
    }
}

/// Mean coverage of `idle` validators that do this share of the work, over that of the others, in thousandths; and the
/// mean of the others.
fn measured(validators: u32, idle: u32, work_ppm: u32) -> (u64, u64) {
    let (mut of_idle, mut of_honest) = (0_u64, 0_u64);
    for tempo in 0..TEMPOS {
        let work = |number: u32| if number < idle { work_ppm } else { PPM };
        let accounts: Vec<Account> = (0..validators)
            .map(|number| account(tempo, number, work(number)))
            .collect();
        let coverage = coverage(&accounts);
        let (idlers, honest) = coverage.split_at(idle as usize);
        of_idle += idlers.iter().copied().map(u64::from).sum::<u64>();
        of_honest += honest.iter().copied().map(u64::from).sum::<u64>();
    }
    let of_idle = of_idle / u64::from(TEMPOS * idle);
    let of_honest = of_honest / u64::from(TEMPOS * (validators - idle));
    (of_idle * 1_000 / of_honest, of_honest / 1_000)
}

/// Validators, and how many of them idle together.
const TABLES: [(u32, u32); 5] = [(4, 1), (16, 1), (16, 4), (16, 6), (64, 25)];

#[test]
fn who_asks_nobody_earns_nothing_whoever_does_the_same() {
    for (validators, idle) in TABLES {
        let (share, honest) = measured(validators, idle, 0);
        println!("{idle} of {validators} ask nobody: {share}/1000 of the honest, who have {honest}/1000");
        assert_eq!(share, 0);
        let honest_min = if validators < 16 { 900 } else { 990 };
        assert!(honest >= honest_min);
    }
}

#[test]
fn a_tenth_of_the_work_earns_about_a_tenth() {
    for (validators, idle) in TABLES {
        let (share, _) = measured(validators, idle, 100_000);
        println!("{idle} of {validators} do a tenth: {share}/1000 of the honest");
        assert!((85..=125).contains(&share), "{share}");
    }
}
