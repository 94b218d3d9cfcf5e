//! C2, the last revealer: whoever speaks last in a joint beacon, or proposes the block that becomes one, may keep
//! silent when the outcome does not suit it.
//!
//! Off: the beacon is the sum of what ten members revealed; one of them is in the coalition, comes last as often as
//! anyone, and sees what the outcome would be with its word and without. On: the beacon is the hash of the block
//! before the tempo. A proposer that keeps its block back leaves the turn to the next, and it cannot know what a
//! validator's VRF makes of either hash.

use agon_protocol::id::Digest;
use agon_protocol::sign::{DrawInput, Keypair};

use crate::attack::{Attack, Bound, Case, Trial};
use crate::ledger::{SUBNET, pair};
use crate::random::Random;

/// The attack.
#[derive(Debug)]
pub(super) struct Withhold;

impl Attack for Withhold {
    fn name(&self) -> &'static str {
        "withhold-beacon"
    }

    fn row(&self) -> &'static str {
        "C2"
    }

    fn about(&self) -> &'static str {
        "A tenth of those who make the beacon keep silent when it does not suit them."
    }

    fn figure(&self) -> &'static str {
        "how often an even chance in an honest validator's draw goes the coalition's way, over one half"
    }

    fn defence(&self) -> &'static str {
        "Draws are VRF outputs over the beacon, so that nobody knows what keeping silent would change."
    }

    fn cases(&self) -> Vec<Case> {
        vec![Case {
            label: String::from("one of ten, last as often as anyone"),
            // It wins one half, and where it comes last three quarters.
            off: Bound::Near(1.05),
            on: Bound::AtMost(1.01),
            open: None,
            explores: false,
            measure: Box::new(|trial| wins(trial) / 0.5),
        }]
    }
}

const COALITION: f64 = 0.1;
/// Beacons for each epoch of the plan, and even chances that hang on one.
const BEACONS: u32 = 8;
const CHANCES: usize = 64;

/// How often a chance goes the coalition's way. It goes for one at a time.
fn wins(trial: Trial) -> f64 {
    let mut random = Random::new("withhold-beacon", trial.seed);
    let keys = [pair(trial.seed, 0, "hotkey"), pair(trial.seed, 1, "hotkey")];
    let tempos = u64::from(BEACONS * trial.epochs);
    let mut won = 0_u32;
    for tempo in 0..tempos {
        // With its word, and without.
        let beacons = [Digest(random.bytes()), Digest(random.bytes())];
        let outputs = |of: usize| {
            beacons.map(|beacon| match trial.defence.is_on() {
                true => drawn(&keys[of], tempo, beacon),
                false => beacon.0,
            })
        };
        let honest = outputs(0);
        // The only draw that it can compute is its own.
        let seen = outputs(1);
        for chance in 0..CHANCES {
            let may_choose = random.chance(COALITION);
            let chosen = usize::from(may_choose && !is_won(&seen[0], chance));
            won += u32::from(is_won(&honest[chosen], chance));
        }
    }
    f64::from(won) / (CHANCES as f64 * tempos as f64)
}

fn drawn(key: &Keypair, tempo: u64, beacon: Digest) -> [u8; 32] {
    let input = DrawInput {
        genesis: Digest::default(),
        netuid: SUBNET,
        tempo,
        beacon,
        round: 0,
    };
    key.draw(&input).0
}

/// Whether an even chance falls for the coalition: one bit of the output.
fn is_won(output: &[u8; 32], chance: usize) -> bool {
    output[chance / 8] >> (chance % 8) & 1 == 1
}
