//! Activation codes of the newest answers, kept until a validator asks to see some of them.
//!
//! Bounded in bytes: an answer's codes take 16 bytes a token, and the oldest leave first. A validator audits within
//! seconds of the answer, so minutes of answers are enough.

use std::collections::{BTreeMap, VecDeque};

use agon_protocol::id::Digest;
use agon_protocol::message::{CODE_BYTES, Code, OpenedWindow};

/// Bytes of codes that are kept: two million tokens.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that an answer takes beside its codes.
const ANSWER_BYTES: usize = 128;

/// The codes of the newest answers, by the digest of the challenge.
#[derive(Debug, Default)]
pub struct Traces {
    codes: BTreeMap<Digest, Vec<Code>>,
    oldest_first: VecDeque<Digest>,
    bytes: usize,
}

impl Traces {
    /// Keeps the codes of an answer, and forgets the oldest ones when there is no room.
    pub fn keep(&mut self, challenge: Digest, codes: Vec<Code>) {
        self.bytes += bytes_of(&codes);
        if let Some(replaced) = self.codes.insert(challenge, codes) {
            self.bytes -= bytes_of(&replaced);
        } else {
            self.oldest_first.push_back(challenge);
        }
        while self.bytes > BYTES_MAX {
            let Some(oldest) = self.oldest_first.pop_front() else {
                return;
            };
            let forgotten = self.codes.remove(&oldest).unwrap_or_default();
            self.bytes -= bytes_of(&forgotten);
        }
    }

    /// Opens windows of an answer's codes; `None` when the answer is forgotten or has no such window.
    #[must_use]
    pub fn open(&self, challenge: &Digest, windows: &[u32]) -> Option<Vec<OpenedWindow>> {
        let codes = self.codes.get(challenge)?;
        windows
            .iter()
            .map(|&index| OpenedWindow::open(codes, index))
            .collect()
    }
}

fn bytes_of(codes: &[Code]) -> usize {
    codes.len() * CODE_BYTES + ANSWER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Digest(bytes)
    }

    #[test]
    fn what_is_kept_opens_and_what_is_not_there_does_not() {
        let mut traces = Traces::default();
        traces.keep(digest(1), vec![[7; CODE_BYTES]; 40]);
        assert_eq!(traces.open(&digest(1), &[1]).unwrap()[0].codes.len(), 8);
        assert_eq!(traces.open(&digest(1), &[2]), None);
        assert_eq!(traces.open(&digest(2), &[0]), None);
    }

    #[test]
    fn the_oldest_answers_are_forgotten_when_there_is_no_room() {
        let mut traces = Traces::default();
        let codes = vec![[7; CODE_BYTES]; 4096];
        let room = BYTES_MAX / bytes_of(&codes);
        for number in 0..=room {
            traces.keep(digest(number), codes.clone());
        }
        assert_eq!(traces.open(&digest(0), &[0]), None);
        assert!(traces.open(&digest(1), &[0]).is_some() && traces.open(&digest(room), &[0]).is_some());
        traces.keep(digest(room), codes.clone());
        assert!(
            traces.open(&digest(1), &[0]).is_some(),
            "kept twice, it takes its room once"
        );
    }
}
