//! Pulses and what is sealed to them.

use agon_protocol::id::Uid;
use agon_protocol::message::Weights;
use agon_protocol::timelock::{Beacon, PulseSignature, SealedWeights};

use super::sample;

/// The round that everything is sealed to.
const ROUND: u64 = 9;

fn beacon() -> Beacon {
    let genesis = &sample::solo().genesis;
    genesis.beacon.expect("a sample's genesis names a beacon")
}

/// The bytes are a seal and its beginning a pulse. What opens is a row that opens again when it is sealed again.
pub(super) fn seal(bytes: &[u8]) {
    let pulse = sample::beacon_secret().sign(ROUND);
    if let Some(signature) = bytes.first_chunk().copied().map(PulseSignature) {
        let is_pulse = beacon().verify(ROUND, &signature).is_ok();
        assert!(!is_pulse || signature == pulse, "a round has one pulse");
    }
    if let Ok(weights) = SealedWeights(bytes.to_vec()).open(&pulse) {
        let again = beacon().seal(ROUND, &weights).expect("the beacon has a key");
        assert_eq!(again.open(&pulse), Ok(weights));
    }
}

pub(super) fn seal_seeds() -> Vec<Vec<u8>> {
    let sealed = |uids: u16| {
        let weights = Weights {
            tempo: 3,
            uids: (0..uids).map(Uid).collect(),
            values: (0..uids).collect(),
            salt: [7; 32],
            version: 0,
        };
        beacon().seal(ROUND, &weights).expect("the beacon has a key").0
    };
    let pulse = sample::beacon_secret().sign(ROUND).0.to_vec();
    vec![sealed(0), sealed(5), pulse]
}
