//! Who holds which slot of the model, and what the slots that nobody holds still keep.
//!
//! Running requests hold slots 0, 1, 2, ... without a gap: when one ends, the last one moves into its slot, so that
//! the model reads its caches in place. The slots behind them keep prompts that have ended, and a new request whose
//! prompt begins like one of those, or like one that runs, gets the keys and values copied instead of computing them.
//!
//! What is copied is what computing would give, to the bit. What a kernel makes of a row depends on how many rows and
//! positions go through with it, so prompts enter in pieces whose borders are multiples of one number, and what is
//! copied ends at such a border: the pieces that go through are the same ones, of the same shapes, as without it. A
//! copy that fails costs the shortcut and nothing else.

use crate::backend::Backend;
use crate::load::first_line;
use crate::prefix::{Hit, Prefixes};
use crate::request::GenerateError;
use crate::running::{Job, Running};

/// How many slots a model has, and how prompts enter them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotLayout {
    /// Requests at the same time.
    pub(crate) slots: usize,
    /// Tokens in a piece of a prompt.
    pub(crate) piece_tokens: usize,
    /// Tokens of the longest prompt whose keys and values serve others that begin like it.
    pub(crate) alike_tokens: usize,
}

/// The slots of one model; a running request's index is its slot.
pub(crate) struct Slots<B> {
    pub(crate) backend: B,
    pub(crate) running: Vec<Running>,
    pub(crate) layout: SlotLayout,
    prefixes: Prefixes,
}

impl<B: Backend> Slots<B> {
    pub(crate) fn new(backend: B, layout: SlotLayout) -> Slots<B> {
        Slots {
            backend,
            running: Vec::new(),
            layout,
            prefixes: Prefixes::new(layout.slots, layout.piece_tokens),
        }
    }

    pub(crate) fn free(&self) -> usize {
        self.layout.slots - self.running.len()
    }

    /// Gives a job the next slot; returns how many tokens of its prompt were there already. The caller has seen that
    /// there is a slot.
    pub(crate) fn admit(&mut self, job: Job) -> usize {
        assert!(self.free() > 0, "a job was admitted without a slot");
        let slot = self.running.len();
        let cached = self.fill(slot, &job.prompt);
        self.prefixes.forget(slot);
        self.running.push(Running::new(job, cached));
        cached
    }

    /// Fills the beginning of a slot with what is there of a prompt; returns how many tokens that is.
    fn fill(&mut self, slot: usize, prompt: &[u32]) -> usize {
        let Some(hit) = self.find(prompt) else {
            self.clear(slot);
            return 0;
        };
        if hit.slot == slot {
            return hit.tokens;
        }
        self.prefixes.reuse(hit.slot);
        self.clear(slot);
        let is_copied = self.copy(hit.slot, slot, hit.tokens);
        if is_copied { hit.tokens } else { 0 }
    }

    /// The slot that holds most of the beginning of a prompt, whoever has it.
    fn find(&self, prompt: &[u32]) -> Option<Hit> {
        if prompt.len() > self.layout.alike_tokens {
            return None;
        }
        let running = self.running.iter().enumerate();
        let running = running.filter_map(|(slot, running)| {
            Hit::of(
                slot,
                self.lasting_prompt(running)?,
                prompt,
                self.layout.piece_tokens,
            )
        });
        running
            .chain(self.prefixes.find(prompt))
            .max_by_key(|hit| hit.tokens)
    }

    /// The pieces of a request's prompt that are cached as they would be for any other.
    fn lasting_prompt<'a>(&self, running: &'a Running) -> Option<&'a [u32]> {
        let prompt = &running.job.prompt;
        let cached = running.cached.min(prompt.len());
        let whole_pieces = cached - cached % self.layout.piece_tokens;
        (prompt.len() <= self.layout.alike_tokens).then(|| &prompt[..whole_pieces])
    }

    /// Makes a slot free that may keep something: that moves on if it is worth more than what another slot keeps.
    fn clear(&mut self, slot: usize) {
        let tokens = self.prefixes.tokens(slot);
        let to = self.prefixes.spare(slot + 1);
        let to = to.filter(|&to| tokens > 0 && self.prefixes.is_worth_more(slot, to));
        if let Some(to) = to
            && self.copy(slot, to, tokens)
        {
            self.prefixes.relocate(slot, to);
        }
        self.prefixes.forget(slot);
    }

    /// Frees the slots of all that are over; the last running requests move into the gaps.
    pub(crate) fn compact(&mut self) {
        loop {
            while let Some(ended) = self.running.pop_if(|running| running.is_over) {
                self.keep(self.running.len(), self.running.len(), &ended);
            }
            let Some(gap) = self.running.iter().position(|running| running.is_over) else {
                return;
            };
            self.close(gap);
        }
    }

    /// Moves the last running request, which goes on, into the slot of one that is over.
    fn close(&mut self, gap: usize) {
        let ended = self.running.swap_remove(gap);
        let last = self.running.len();
        if let Some(spare) = self.prefixes.spare(last + 1) {
            self.keep(gap, spare, &ended);
        }
        let moved = &mut self.running[gap];
        if let Err(error) = self.backend.move_slot(last, gap, moved.cached) {
            moved.fail(GenerateError::Torch {
                message: first_line(&error),
            });
        }
    }

    /// Keeps in `to` what a request that ended has in `from`, when that is worth it.
    fn keep(&mut self, from: usize, to: usize, ended: &Running) {
        let Some(prompt) = self.lasting_prompt(ended) else {
            return;
        };
        // A copy may only push out what was never used again, or has to be of use itself.
        let is_worth_it = from == to || ended.is_hit || !self.prefixes.is_reused(to);
        if is_worth_it && self.prefixes.is_new(prompt) && self.copy(from, to, prompt.len()) {
            self.prefixes.keep(to, prompt, ended.is_hit);
        }
    }

    /// Copies the first `tokens` positions of one slot over another; what was kept there is gone.
    fn copy(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        if from == to {
            return true;
        }
        self.prefixes.forget(to);
        self.backend.move_slot(from, to, tokens).is_ok()
    }
}

#[cfg(test)]
mod tests;
