//! The seam between schedules and decoders: rows of tokens in, what is known of their next tokens out.
//!
//! [`crate::decoder`] fills it on libtorch, [`crate::native`] on this project's own kernels, and tests with scripts. What
//! a decoder is made of stays behind it.

use tch::TchError;

/// Tokens of one text whose logits are held at the same time when a text is scored.
pub(crate) const SCORED_TOGETHER: usize = 64;

/// How much a decoder can hold at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) slots: usize,
    pub(crate) context_tokens: usize,
}

/// What one slot takes in during a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'tokens> {
    pub(crate) slot: usize,
    /// Tokens that the slot's cache already holds.
    pub(crate) start: usize,
    /// Tokens to add, at least one.
    pub(crate) tokens: &'tokens [u32],
    /// Tokens of the whole prompt, so that a prompt in chunks is rotated like one in a piece. What the slot holds
    /// after the step counts where that is more. Only dynamically scaled models look at it.
    pub(crate) reach: usize,
}

impl Row<'_> {
    /// Tokens that decide how the row is rotated.
    pub(crate) fn length(&self) -> usize {
        self.reach.max(self.start + self.tokens.len())
    }
}

/// Whatever turns tokens into logits, slot by slot. Scripted ones stand in for decoders in tests.
pub(crate) trait Backend {
    /// Takes in the rows' tokens; returns what is known of each row's next token.
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError>;

    /// Copies the first `tokens` positions of one slot over another.
    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError>;
}

/// A backend that also says what it thinks of tokens that were given.
pub(crate) trait Scorer: Backend {
    /// Takes in one row; hands `each` what is known after each of its last `count` tokens, in order: logits and state.
    ///
    /// The head is applied to [`SCORED_TOGETHER`] tokens at a time, so that a large vocabulary takes little memory.
    fn score(
        &mut self,
        row: &Row<'_>,
        count: usize,
        each: &mut dyn FnMut(&[f32], &[f32]),
    ) -> Result<(), TchError>;
}

/// A decoder, whatever computes it.
pub(crate) type AnyDecoder = Box<dyn Scorer + Send>;

impl Backend for AnyDecoder {
    fn forward(&mut self, rows: &[Row<'_>]) -> Result<Outputs, TchError> {
        self.as_mut().forward(rows)
    }

    fn move_slot(&mut self, from: usize, to: usize, tokens: usize) -> Result<(), TchError> {
        self.as_mut().move_slot(from, to, tokens)
    }
}

/// What the model says of the next tokens of some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outputs {
    vocabulary: usize,
    width: usize,
    logits: Vec<f32>,
    hidden: Vec<f32>,
}

impl Outputs {
    /// Logits `[rows, vocabulary]` and states `[rows, width]`, row by row; the width may be 0.
    pub(crate) fn new(vocabulary: usize, logits: Vec<f32>, hidden: Vec<f32>) -> Outputs {
        let rows = logits.len() / vocabulary.max(1);
        let width = hidden.len() / rows.max(1);
        Outputs {
            vocabulary,
            width,
            logits,
            hidden,
        }
    }

    /// Logits of one row's next token, `[vocabulary]`.
    pub(crate) fn logits(&self, row: usize) -> &[f32] {
        &self.logits[row * self.vocabulary..(row + 1) * self.vocabulary]
    }

    /// The state after the final norm that they were made from, `[hidden]`.
    pub(crate) fn hidden(&self, row: usize) -> &[f32] {
        &self.hidden[row * self.width..(row + 1) * self.width]
    }
}
