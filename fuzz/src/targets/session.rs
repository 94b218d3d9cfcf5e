//! Certificates of sessions.

use agon_protocol::id::{Digest, Netuid};
use agon_protocol::session::{Certificate, Ring, SessionInput};

use super::sample::pair;

const INPUT: SessionInput = SessionInput {
    genesis: Digest([1; 32]),
    netuid: Netuid(1),
    tempo: 3,
};

fn ring() -> Ring {
    let members = [17, 18, 19].map(|key| pair(key).hotkey());
    Ring::new(INPUT, members).expect("three keys")
}

fn certificates() -> Vec<Certificate> {
    let of = |key| {
        let session = pair(key).session(&INPUT);
        ring().certify(pair(key), &session).expect("a member")
    };
    [17, 18, 19].map(of).to_vec()
}

/// The bytes are a certificate, and hold where a member made them, and nowhere else.
pub(super) fn session(bytes: &[u8]) {
    let Ok(certificate) = Certificate::from_bytes(bytes) else {
        return;
    };
    assert_eq!(certificate.to_bytes(), bytes, "one value has one encoding");
    let holds = ring().verify(&certificate).is_ok();
    assert!(
        !holds || certificates().contains(&certificate),
        "a certificate that no member made"
    );
}

pub(super) fn session_seeds() -> Vec<Vec<u8>> {
    certificates().iter().map(Certificate::to_bytes).collect()
}
