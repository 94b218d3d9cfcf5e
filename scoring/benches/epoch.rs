//! How long an epoch takes: `cargo bench -p agon-scoring`.
//!
//! Lines are `operation/key=value ...  median ms (fastest-slowest)`, one thread, after one run to warm up. The
//! generated subnets have every validator weight every neuron but itself; `bonds=1` runs the epoch again on the
//! bonds that the first one stored. The golden case is `21-graph-512`.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "its product is what it prints")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use agon_scoring::epoch::file::parse;
use agon_scoring::epoch::{EpochInputs, run};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Runs of each case that are timed.
const RUNS: usize = 15;

/// What turns the generated inputs into those of a case.
type Change = fn(&mut EpochInputs);

/// Bond models. Without a penalty liquid bonds follow unclipped weights, which takes an exponential for most cells.
const MODELS: [(&str, Change); 4] = [
    ("original", |_| {}),
    ("yuma3", |inputs| inputs.yuma3 = true),
    ("liquid", |inputs| {
        (inputs.yuma3, inputs.liquid_alpha) = (true, true)
    }),
    ("liquid penalty=0", |inputs| {
        (inputs.yuma3, inputs.liquid_alpha, inputs.bonds_penalty) = (true, true, 0);
    }),
];

fn main() {
    for (index, inputs) in golden_512().iter().enumerate() {
        time(&format!("run/golden=21-graph-512 epoch={}", index + 1), inputs);
    }
    for (validators, neurons) in [(64, 256), (256, 4096)] {
        for (model, change) in MODELS {
            let mut inputs = generated(validators, neurons);
            change(&mut inputs);
            time(
                &format!("run/validators={validators} neurons={neurons} model={model} bonds=0"),
                &inputs,
            );
            inputs.bonds = run(&inputs).expect("generated inputs are valid").bonds;
            time(
                &format!("run/validators={validators} neurons={neurons} model={model} bonds=1"),
                &inputs,
            );
        }
    }
}

fn time(name: &str, inputs: &EpochInputs) {
    let timed = |_| {
        let start = Instant::now();
        black_box(run(black_box(inputs)).expect("inputs are valid"));
        start.elapsed().as_secs_f64() * 1e3
    };
    let mut millis: Vec<f64> = (0..=RUNS).map(timed).skip(1).collect();
    millis.sort_by(f64::total_cmp);
    println!(
        "{name:66} {:9.3} ({:.3}-{:.3})",
        millis[RUNS / 2],
        millis[0],
        millis[RUNS - 1]
    );
}

fn golden_512() -> Vec<EpochInputs> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/yuma/21-graph-512.json");
    parse(&fs::read(path).expect("golden file")).expect("golden inputs")
}

/// A subnet whose first UIDs are validators of unequal stake that mostly agree on the miners.
fn generated(validators: usize, neurons: usize) -> EpochInputs {
    let mut random = ChaCha20Rng::seed_from_u64(1);
    let quality: Vec<u64> = (0..neurons).map(|_| 1 + random.next_u64() % 50_000).collect();
    let mut row = |validator: usize| -> Vec<(u16, u16)> {
        let weight = |uid: usize| quality[uid] + random.next_u64() % 10_000;
        let cells = (0..neurons)
            .filter(|&uid| uid != validator)
            .map(weight)
            .collect::<Vec<_>>();
        let uids = (0..neurons).filter(|&uid| uid != validator);
        uids.zip(cells)
            .map(|(uid, weight)| (to_u16(uid as u64), to_u16(weight)))
            .collect()
    };
    let weights = (0..neurons)
        .map(|uid| if uid < validators { row(uid) } else { Vec::new() })
        .collect();
    EpochInputs {
        neuron_count: neurons,
        block: 1000,
        tempo: 360,
        activity_cutoff_blocks: 5000,
        stake: (0..neurons)
            .map(|uid| {
                if uid < validators {
                    1_000_000 + uid as u64 * 7919
                } else {
                    0
                }
            })
            .collect(),
        last_update: vec![999; neurons],
        block_at_registration: vec![0; neurons],
        validator_permit: (0..neurons).map(|uid| uid < validators).collect(),
        weights,
        bonds: vec![Vec::new(); neurons],
        kappa: 32767,
        bonds_penalty: 65535,
        bonds_moving_average: 900_000,
        max_allowed_validators: validators as u64,
        alpha_low: 45875,
        alpha_high: 58982,
        alpha_sigmoid_steepness: 1000,
        emission: 1_000_000_000,
        ..EpochInputs::default()
    }
}

fn to_u16(value: u64) -> u16 {
    u16::try_from(value).expect("generated values fit")
}
