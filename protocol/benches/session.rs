//! How long certificates of sessions take: `cargo bench -p agon-protocol`.
//!
//! Lines are `operation/key=value ...  median µs (fastest-slowest)`, one thread, after one run to warm up.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "its product is what it prints")]

use std::hint::black_box;
use std::time::Instant;

use agon_protocol::id::{Digest, Netuid};
use agon_protocol::session::{Ring, SessionInput, session_key};
use agon_protocol::sign::Keypair;

/// Runs of each case that are timed.
const RUNS: usize = 51;

const INPUT: SessionInput = SessionInput {
    genesis: Digest([1; 32]),
    netuid: Netuid(1),
    tempo: 3,
};

fn pair(seed: u8) -> Keypair {
    Keypair::from_mini_secret(&[seed; 32])
}

fn main() {
    let own = pair(0);
    let session = own.session(&INPUT);
    time("session", || own.session(&INPUT));
    time("session_key", || {
        session_key(own.hotkey(), &INPUT, &session.proof)
    });
    for members in [4, 16, 64] {
        let hotkeys: Vec<_> = (0..members).map(|seed| pair(seed).hotkey()).collect();
        let ring = Ring::new(INPUT, hotkeys.clone()).expect("few members");
        let certificate = ring.certify(&own, &session).expect("a member");
        time(&format!("ring/members={members}"), || {
            Ring::new(INPUT, hotkeys.clone())
        });
        time(&format!("certify/members={members}"), || {
            ring.certify(&own, &session)
        });
        time(
            &format!("verify/members={members} bytes={}", certificate.to_bytes().len()),
            || ring.verify(&certificate),
        );
    }
}

fn time<T>(name: &str, run: impl Fn() -> T) {
    black_box(run());
    let mut took: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            black_box(run());
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    println!(
        "{name:<36} {:>9.0} µs ({:.0}-{:.0})",
        took[RUNS / 2],
        took[0],
        took[RUNS - 1]
    );
}
