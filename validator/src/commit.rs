//! When weights are committed and when they are revealed: decisions only, no ledger.
//!
//! Weights are committed late in their tempo, when most of its rounds are in, and revealed as soon as the window
//! opens. They are written down with their salt before the commit is submitted, since a commit whose salt is lost
//! can never be revealed.

use agon_protocol::id::Uid;
use agon_protocol::message::{SubnetView, Weights};
use borsh::{BorshDeserialize, BorshSerialize};

/// Share of a tempo that is left when weights are committed: a sixth, and at least [`MARGIN_BLOCKS_MIN`].
const MARGIN_DIVISOR: u64 = 6;
/// Fewest blocks between a commit's submission and the end of its tempo.
const MARGIN_BLOCKS_MIN: u64 = 3;
/// Tries of one step before it is given up; each is a block or more apart.
const TRIES_MAX: u32 = 8;

/// Weights between the first thought of a commit and their reveal.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pending {
    /// The weights, with tempo and salt.
    pub weights: Weights,
    /// Whether the ledger has the commit.
    pub committed: bool,
    /// How often the next step failed.
    pub tries: u32,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing now.
    Nothing,
    /// New weights for the running tempo.
    Weigh,
    /// The commit of the pending weights at this index.
    Commit(usize),
    /// The reveal of the pending weights at this index.
    Reveal(usize),
}

/// Rules of the subnet that decide on times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether weights are committed before they are shown.
    pub commit_reveal: bool,
    /// Tempos between commit and reveal.
    pub reveal_period_tempos: u64,
    /// Blocks of a tempo.
    pub tempo_blocks: u64,
}

impl Rules {
    /// Reads the rules from a subnet's parameters; what a ledger does not name has the default.
    #[must_use]
    pub fn of(subnet: &SubnetView) -> Self {
        Self {
            commit_reveal: subnet.parameter("commit_reveal") != Some(0),
            reveal_period_tempos: subnet.parameter("reveal_period_tempos").unwrap_or(1),
            tempo_blocks: subnet.parameter("tempo_blocks").unwrap_or(360),
        }
    }

    /// Tempo in which weights of `tempo` may be shown.
    const fn reveal_tempo(&self, tempo: u64) -> u64 {
        if self.commit_reveal {
            tempo.saturating_add(self.reveal_period_tempos)
        } else {
            tempo
        }
    }

    const fn margin_blocks(&self) -> u64 {
        let share = self.tempo_blocks / MARGIN_DIVISOR;
        if share > MARGIN_BLOCKS_MIN {
            share
        } else {
            MARGIN_BLOCKS_MIN
        }
    }
}

/// Forgets weights whose window has passed.
pub fn drop_expired(pending: &mut Vec<Pending>, rules: &Rules, tempo: u64) {
    pending.retain(|weights| rules.reveal_tempo(weights.weights.tempo) >= tempo);
}

/// Decides what is due in `tempo`, `blocks_left` blocks before its epoch. Reveals come first: they have a window.
#[must_use]
pub fn due(pending: &[Pending], rules: &Rules, tempo: u64, blocks_left: u64) -> Due {
    let reveal = pending.iter().position(|weights| {
        let shown = weights.committed || !rules.commit_reveal;
        shown && weights.tries < TRIES_MAX && rules.reveal_tempo(weights.weights.tempo) == tempo
    });
    if let Some(index) = reveal {
        return Due::Reveal(index);
    }
    if blocks_left > rules.margin_blocks() {
        return Due::Nothing;
    }
    match pending.iter().position(|weights| weights.weights.tempo == tempo) {
        None => Due::Weigh,
        Some(index) => {
            let Pending { committed, tries, .. } = pending[index];
            let open = rules.commit_reveal && !committed && tries < TRIES_MAX;
            if open { Due::Commit(index) } else { Due::Nothing }
        }
    }
}

/// Pairs of UID and weight as a row for the ledger.
#[must_use]
pub fn row(tempo: u64, pairs: &[(u16, u16)], salt: [u8; 32], version: u64) -> Weights {
    let (uids, values) = pairs.iter().map(|&(uid, value)| (Uid(uid), value)).unzip();
    Weights {
        tempo,
        uids,
        values,
        salt,
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        commit_reveal: true,
        reveal_period_tempos: 1,
        tempo_blocks: 60,
    };

    fn pending(tempo: u64, committed: bool) -> Pending {
        Pending {
            weights: row(tempo, &[(0, 1)], [0; 32], 0),
            committed,
            tries: 0,
        }
    }

    #[test]
    fn weights_are_made_and_committed_in_the_last_sixth_of_a_tempo() {
        assert_eq!(due(&[], &RULES, 5, 11), Due::Nothing);
        assert_eq!(due(&[], &RULES, 5, 10), Due::Weigh);
        assert_eq!(due(&[pending(5, false)], &RULES, 5, 10), Due::Commit(0));
        assert_eq!(due(&[pending(5, true)], &RULES, 5, 9), Due::Nothing);
    }

    #[test]
    fn weights_are_revealed_as_soon_as_the_window_opens_and_only_then() {
        assert_eq!(due(&[pending(5, true)], &RULES, 5, 50), Due::Nothing);
        assert_eq!(due(&[pending(5, true)], &RULES, 6, 60), Due::Reveal(0));
        assert_eq!(due(&[pending(5, true)], &RULES, 7, 60), Due::Nothing);
        assert_eq!(
            due(&[pending(5, false)], &RULES, 6, 60),
            Due::Nothing,
            "there is no commit to open"
        );
    }

    #[test]
    fn without_commit_reveal_weights_are_shown_in_their_own_tempo() {
        let rules = Rules {
            commit_reveal: false,
            ..RULES
        };
        assert_eq!(due(&[], &rules, 5, 10), Due::Weigh);
        assert_eq!(due(&[pending(5, false)], &rules, 5, 10), Due::Reveal(0));
    }

    #[test]
    fn weights_past_their_window_are_forgotten() {
        let mut all = vec![pending(3, true), pending(4, true), pending(5, false)];
        drop_expired(&mut all, &RULES, 5);
        assert_eq!(all, [pending(4, true), pending(5, false)]);
    }

    #[test]
    fn a_step_that_keeps_failing_is_given_up() {
        let stuck = Pending {
            tries: TRIES_MAX,
            ..pending(5, false)
        };
        assert_eq!(due(&[stuck], &RULES, 5, 2), Due::Nothing);
    }
}
