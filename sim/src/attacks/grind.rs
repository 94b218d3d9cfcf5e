//! C1, grinding: who proposes the block that a draw depends on tries several until the draw suits it.
//!
//! A round's question comes from a draw; one question in ten is easy for the grinder's miners. A proposer of a third of
//! all blocks makes several blocks where it may make one, and keeps the one that suits it best.
//!
//! Off: a draw is a hash of the block and the validator's public key, which anyone can compute before the block is out.
//! On: it is the output of a VRF over the beacon. The proposer can compute it for a validator whose secret key it
//! holds, and for nobody else; real keys draw here.

use agon_protocol::codec;
use agon_protocol::id::Digest;
use agon_protocol::sign::{DrawInput, Keypair};
use agon_scoring::draw::Draw;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::ledger::{SUBNET, pair};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Grind;

impl Attack for Grind {
    fn name(&self) -> &'static str {
        "grind-beacon"
    }

    fn row(&self) -> &'static str {
        "C1"
    }

    fn about(&self) -> &'static str {
        "A proposer tries several blocks and keeps the one whose draws suit its miners."
    }

    fn figure(&self) -> &'static str {
        "easy questions over their fair share, in the draws of honest validators"
    }

    fn defence(&self) -> &'static str {
        "A draw is the output of a VRF that only the validator itself can compute."
    }

    fn cases(&self) -> Vec<Case> {
        // With every block: 1 - 0.9^g of draws instead of 0.1.
        let case = |label: &str, proposes: f64, tries: usize, off, on| Case {
            label: format!("{label}, {tries} tries"),
            off: Bound::Near(off),
            on: Bound::AtMost(on),
            open: None,
            explores: proposes >= 1.0,
            measure: Box::new(move |trial| easy_share(proposes, tries, trial) / EASY),
        };
        vec![
            case("a third of all blocks", 1.0 / 3.0, 10, 2.83, 1.01),
            // More of the draws depend on chance here, and more runs would be needed to tell less.
            case("every block", 1.0, 2, 1.9, 1.03),
            case("every block", 1.0, 10, 6.5, 1.05),
        ]
    }
}

/// Share of questions that are easy for the grinder's miners.
const EASY: f64 = 0.1;
/// Beacons for each epoch of the plan, and questions that hang on one.
const BEACONS: u32 = 4;
const QUESTIONS: u32 = 128;

/// Share of questions that are easy in the draws of an honest validator. The grinder goes for one question at a time.
///
/// What the same draws would have given without grinding is counted as well, and its difference from the share that
/// is known to be fair is taken off: that removes most of the noise and no part of the bias.
fn easy_share(proposes: f64, tries: usize, trial: Trial) -> f64 {
    let mut random = Random::new("grind-beacon", trial.seed);
    let keys = [pair(trial.seed, 0, "hotkey"), pair(trial.seed, 1, "hotkey")];
    let tempos = u64::from(BEACONS * trial.epochs);
    let (mut ground, mut fair) = (0_u32, 0_u32);
    for tempo in 0..tempos {
        let tries = if random.chance(proposes) { tries } else { 1 };
        let beacons: Vec<Digest> = (0..tries).map(|_| Digest(random.bytes())).collect();
        let draws = |of: usize| -> Vec<Draw> {
            let draw = |beacon: &Digest| draw(&keys[of], tempo, *beacon, trial);
            beacons.iter().map(draw).collect()
        };
        let honest = draws(0);
        // A VRF can be computed with the secret key alone, so that all it can go by is a draw of its own.
        let seen = if trial.defence.is_on() {
            draws(1)
        } else {
            honest.clone()
        };
        for question in 0..QUESTIONS {
            let suits = |draw: &Draw| is_easy(draw, question);
            let chosen = seen.iter().position(suits).unwrap_or(0);
            ground += u32::from(is_easy(&honest[chosen], question));
            fair += u32::from(is_easy(&honest[0], question));
        }
    }
    let count = f64::from(QUESTIONS) * tempos as f64;
    EASY + (f64::from(ground) - f64::from(fair)) / count
}

fn draw(key: &Keypair, tempo: u64, beacon: Digest, trial: Trial) -> Draw {
    if !trial.defence.is_on() {
        let bytes = [beacon.0, key.public()].concat();
        return Draw::new(codec::digest("agon.sim.v1 hashed draw", &bytes).0);
    }
    let input = DrawInput {
        genesis: Digest::default(),
        netuid: SUBNET,
        tempo,
        beacon,
        round: 0,
    };
    Draw::new(key.draw(&input).0)
}

fn is_easy(draw: &Draw, question: u32) -> bool {
    let seed = draw.item_seed(question);
    f64::from(u16::from_le_bytes([seed[0], seed[1]])) < EASY * 65_536.0
}
