//! Which slots still hold the caches of prompts that have ended, so that prompts that begin alike need not go
//! through the model again. Only the index: whoever owns the slots copies.
//!
//! Running requests hold the first slots; all behind them may hold something kept. That is the whole budget: nothing
//! is kept beyond the slots that there are, and a request that needs a slot gets it. What was never used again goes
//! first, then what was not used for the longest time.
//!
//! Slots are few, so looking a prompt up compares it with each: exact, without hashes that could collide.

/// The prompt whose keys and values a slot holds.
#[derive(Debug)]
struct Kept {
    tokens: Vec<u32>,
    is_reused: bool,
    used_at: u64,
}

/// What the slots that nobody runs in hold.
#[derive(Debug)]
pub(crate) struct Prefixes {
    /// By slot.
    kept: Vec<Option<Kept>>,
    piece_tokens: usize,
    /// Counts uses; the order of their times is all that matters.
    uses: u64,
}

/// Positions that a slot holds for a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) slot: usize,
    pub(crate) tokens: usize,
}

impl Hit {
    /// What of `cached` in `slot` a prompt can use: whole pieces, and its last token always goes through the model.
    pub(crate) fn of(slot: usize, cached: &[u32], prompt: &[u32], piece_tokens: usize) -> Option<Hit> {
        let common = common(cached, prompt).min(prompt.len().saturating_sub(1));
        let tokens = common - common % piece_tokens;
        (tokens > 0).then_some(Hit { slot, tokens })
    }
}

impl Prefixes {
    pub(crate) fn new(slots: usize, piece_tokens: usize) -> Prefixes {
        Prefixes {
            kept: std::iter::repeat_with(|| None).take(slots).collect(),
            piece_tokens,
            uses: 0,
        }
    }

    /// The slot that holds most of the beginning of a prompt.
    pub(crate) fn find(&self, prompt: &[u32]) -> Option<Hit> {
        let kept = self.kept.iter().enumerate();
        let hits =
            kept.filter_map(|(slot, kept)| Hit::of(slot, &kept.as_ref()?.tokens, prompt, self.piece_tokens));
        // Of equal ones the first: it is the likeliest to be the slot that the request is to have.
        hits.max_by_key(|hit| (hit.tokens, std::cmp::Reverse(hit.slot)))
    }

    /// Notes that what `slot` holds was used again.
    pub(crate) fn reuse(&mut self, slot: usize) {
        self.uses += 1;
        if let Some(kept) = &mut self.kept[slot] {
            kept.is_reused = true;
            kept.used_at = self.uses;
        }
    }

    /// Tokens of the prompt that `slot` holds.
    pub(crate) fn tokens(&self, slot: usize) -> usize {
        self.kept[slot].as_ref().map_or(0, |kept| kept.tokens.len())
    }

    /// Whether whole pieces of a prompt are worth keeping: there are some, and nothing kept begins with them all.
    pub(crate) fn is_new(&self, prompt: &[u32]) -> bool {
        let mut kept = self.kept.iter().flatten();
        !prompt.is_empty() && !kept.any(|kept| kept.tokens.starts_with(prompt))
    }

    /// Notes that `slot` holds the keys and values of a prompt's whole pieces, used again already or not. What this one
    /// begins with is forgotten elsewhere.
    pub(crate) fn keep(&mut self, slot: usize, prompt: &[u32], mut is_reused: bool) {
        self.uses += 1;
        for kept in &mut self.kept {
            if kept.as_ref().is_some_and(|kept| prompt.starts_with(&kept.tokens)) {
                is_reused |= kept.take().is_some_and(|kept| kept.is_reused);
            }
        }
        self.kept[slot] = Some(Kept {
            tokens: prompt.to_vec(),
            is_reused,
            used_at: self.uses,
        });
    }

    /// The slot from `first` on whose loss costs least: an empty one, else the one that goes next.
    pub(crate) fn spare(&self, first: usize) -> Option<usize> {
        (first..self.kept.len()).min_by_key(|&slot| self.worth(slot))
    }

    /// Whether what `slot` holds is worth more than what `other` holds.
    pub(crate) fn is_worth_more(&self, slot: usize, other: usize) -> bool {
        self.worth(slot) > self.worth(other)
    }

    /// Whether what `slot` holds was used again.
    pub(crate) fn is_reused(&self, slot: usize) -> bool {
        self.kept[slot].as_ref().is_some_and(|kept| kept.is_reused)
    }

    /// Notes that what `from` holds is in `to`.
    pub(crate) fn relocate(&mut self, from: usize, to: usize) {
        self.kept[to] = self.kept[from].take();
    }

    /// Notes that `slot` holds nothing of use.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.kept[slot] = None;
    }

    fn worth(&self, slot: usize) -> Option<(bool, u64)> {
        self.kept[slot]
            .as_ref()
            .map(|kept| (kept.is_reused, kept.used_at))
    }
}

/// How many tokens two texts begin with in common.
fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter()
        .zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE_TOKENS: usize = 4;

    /// Pieces of the same tokens, then others of its own.
    fn prompt(shared: usize, own: u32, own_tokens: usize) -> Vec<u32> {
        let mut prompt = vec![7; shared];
        prompt.extend(vec![own; own_tokens]);
        prompt
    }

    #[track_caller]
    fn check(kept: &[(usize, Vec<u32>)], asked: &[u32], expected: Option<(usize, usize)>) {
        let mut prefixes = Prefixes::new(8, PIECE_TOKENS);
        for (slot, tokens) in kept {
            prefixes.keep(*slot, tokens, false);
        }
        let found = prefixes.find(asked).map(|hit| (hit.slot, hit.tokens));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_longest_beginning_in_common_is_found() {
        let kept = [(5, prompt(8, 1, 4)), (6, prompt(16, 2, 4)), (7, prompt(12, 3, 4))];
        check(&kept, &prompt(20, 4, 1), Some((6, 16)));
        check(&kept, &prompt(8, 1, 5), Some((5, 12)));
        check(&kept, &prompt(8, 4, 1), Some((5, 8)));
        check(&kept, &prompt(0, 9, 20), None);
    }

    #[test]
    fn hits_end_at_the_border_of_a_piece_and_leave_the_last_token() {
        let kept = [(3, vec![7; 16])];
        check(&kept, &prompt(15, 4, 9), Some((3, 12)));
        check(&kept, &[7; 17], Some((3, 16)));
        check(&kept, &[7; 16], Some((3, 12)));
        check(&kept, &[7; 5], Some((3, 4)));
        check(&kept, &[7; 4], None);
        check(&kept, &[], None);
    }

    #[test]
    fn a_longer_prompt_takes_the_place_of_its_own_beginning() {
        let mut prefixes = Prefixes::new(4, PIECE_TOKENS);
        prefixes.keep(2, &[7; 8], true);
        assert!(!prefixes.is_new(&[7; 8]) && !prefixes.is_new(&[7; 4]));
        assert!(prefixes.is_new(&[7; 12]) && !prefixes.is_new(&[]));
        prefixes.keep(3, &[7; 12], false);
        assert_eq!((prefixes.tokens(2), prefixes.tokens(3)), (0, 12));
        assert!(prefixes.is_reused(3));
    }

    #[test]
    fn what_was_never_used_again_goes_first_and_then_the_oldest() {
        let other = |own: usize| vec![own as u32; PIECE_TOKENS];
        let mut prefixes = Prefixes::new(4, PIECE_TOKENS);
        for slot in 0..4 {
            prefixes.keep(slot, &other(slot), false);
        }
        prefixes.reuse(0);
        prefixes.reuse(2);
        let mut gone = Vec::new();
        for _ in 0..4 {
            let slot = prefixes.spare(0).unwrap();
            gone.push(slot);
            prefixes.keep(slot, &other(90 + slot), true);
        }
        assert_eq!(gone, [1, 3, 0, 2]);
        prefixes.forget(3);
        assert_eq!((prefixes.spare(0), prefixes.spare(4)), (Some(3), None));
    }
}
