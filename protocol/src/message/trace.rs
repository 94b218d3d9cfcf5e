//! What an answer was made of: its tokens, and a code of the model's state at each, which a receipt commits to.
//!
//! The tokens come with the answer; the codes stay with the miner, in windows of [`WINDOW_TOKENS`], until a
//! validator that audits the answer asks for some of them.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{MessageError, at_most};
use crate::id::Digest;
use crate::{codec, merkle};

/// Bytes of the code of one token.
pub const CODE_BYTES: usize = 16;
/// Tokens of one window, the last one of an answer excepted.
pub const WINDOW_TOKENS: usize = 32;

/// The activation code of one token, as the model defines it.
pub type Code = [u8; CODE_BYTES];

/// What a receipt commits to of the computation behind its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Trace {
    /// Tokens that were chosen, the end of the text included.
    pub token_count: u32,
    /// Digest of their ids; see [`tokens_digest`].
    pub tokens: Digest,
    /// Merkle root over the windows of codes; see [`codes_root`].
    pub codes: Digest,
}

impl Trace {
    /// The trace of an answer's tokens and codes.
    #[must_use]
    pub fn of(tokens: &[u32], codes: &[Code]) -> Self {
        Self {
            token_count: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            tokens: tokens_digest(tokens),
            codes: codes_root(codes),
        }
    }

    /// Windows of codes that an answer of so many tokens has.
    #[must_use]
    pub const fn windows(&self) -> u32 {
        self.token_count.div_ceil(WINDOW_TOKENS as u32)
    }
}

/// Digest of an answer's token ids.
#[must_use]
pub fn tokens_digest(tokens: &[u32]) -> Digest {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    codec::digest("agon 2026-11 answer tokens", &bytes)
}

/// Merkle root over the windows of an answer's codes.
#[must_use]
pub fn codes_root(codes: &[Code]) -> Digest {
    merkle::root(&leaves(codes))
}

fn leaves(codes: &[Code]) -> Vec<Digest> {
    codes.chunks(WINDOW_TOKENS).map(leaf).collect()
}

fn leaf(window: &[Code]) -> Digest {
    codec::digest("agon 2026-11 activation window", &window.concat())
}

/// One window of codes with the proof that the receipt committed to it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OpenedWindow {
    /// Which window, from 0.
    pub index: u32,
    /// The codes of its tokens.
    pub codes: Vec<Code>,
    /// The way to the root.
    pub path: Vec<Digest>,
}

impl OpenedWindow {
    /// Opens the window `index` of an answer's codes; `None` when there is no such window.
    #[must_use]
    pub fn open(codes: &[Code], index: u32) -> Option<Self> {
        let window = codes.chunks(WINDOW_TOKENS).nth(index as usize)?;
        Some(Self {
            index,
            codes: window.to_vec(),
            path: merkle::path(&leaves(codes), index as usize)?,
        })
    }

    /// Refuses more codes or digests than a window can have.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLarge`].
    pub fn validate(&self) -> Result<(), MessageError> {
        at_most("window codes", self.codes.len(), WINDOW_TOKENS)?;
        at_most("window path", self.path.len(), merkle::PATH_MAX)
    }

    /// Whether the trace committed to exactly this window.
    #[must_use]
    pub fn is_of(&self, trace: &Trace) -> bool {
        let before = (self.index as usize).saturating_mul(WINDOW_TOKENS);
        let expected = (trace.token_count as usize)
            .saturating_sub(before)
            .min(WINDOW_TOKENS);
        let root = merkle::root_of(
            trace.windows().into(),
            self.index.into(),
            leaf(&self.codes),
            &self.path,
        );
        self.codes.len() == expected && root == Some(trace.codes)
    }

    /// The codes with the index of their token in the answer.
    pub fn tokens(&self) -> impl Iterator<Item = (u32, Code)> + '_ {
        let first = self.index.saturating_mul(WINDOW_TOKENS as u32);
        (first..).zip(self.codes.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(count: u8) -> Vec<Code> {
        (0..count).map(|byte| [byte; CODE_BYTES]).collect()
    }

    #[test]
    fn every_window_opens_and_shows_the_codes_of_its_tokens() {
        let codes = codes(70);
        let trace = Trace::of(&[7; 70], &codes);
        assert_eq!(trace.windows(), 3);
        for index in 0..3 {
            let opened = OpenedWindow::open(&codes, index).unwrap();
            assert!(opened.validate().is_ok() && opened.is_of(&trace));
            for (token, code) in opened.tokens() {
                assert_eq!(code, codes[token as usize]);
            }
        }
        assert_eq!(OpenedWindow::open(&codes, 3), None);
    }

    #[test]
    fn a_changed_window_and_a_window_of_another_answer_are_not_of_the_trace() {
        let codes = codes(70);
        let trace = Trace::of(&[7; 70], &codes);
        let opened = OpenedWindow::open(&codes, 1).unwrap();
        let mut changed = opened.clone();
        changed.codes[3][9] ^= 1;
        assert!(!changed.is_of(&trace));
        let mut moved = opened.clone();
        moved.index = 0;
        assert!(!moved.is_of(&trace));
        let mut shorter = opened.clone();
        shorter.codes.pop();
        assert!(!shorter.is_of(&trace));
        let last = OpenedWindow::open(&codes, 2).unwrap();
        assert!(last.is_of(&trace) && !last.is_of(&Trace::of(&[7; 71], &codes)));
    }

    #[test]
    fn a_window_larger_than_any_is_refused_before_it_is_hashed() {
        let mut opened = OpenedWindow::open(&codes(40), 0).unwrap();
        opened.codes.push([0; CODE_BYTES]);
        assert!(opened.validate().is_err());
    }
}
