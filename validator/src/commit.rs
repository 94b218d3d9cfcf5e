//! When weights are committed and when they are revealed: decisions only, no ledger.
//!
//! Weights are committed late in their tempo, when most of its rounds are in, and revealed as soon as the window
//! opens. They are written down with their salt before the commit is submitted, since a commit whose salt is lost
//! can never be revealed.
//!
//! Where the ledger has fixed a round of its beacon for the tempo, they are sealed to it beside the commit, and the ledger
//! opens them by itself. Where it has not done so a quarter into the reveal tempo, the beacon is silent, and they are
//! revealed by hand like any others.

use agon_protocol::id::Uid;
use agon_protocol::message::{EvidenceCommit, SubnetView, Weights};
use agon_protocol::timelock::Beacon;
use borsh::{BorshDeserialize, BorshSerialize};

/// Share of a tempo that is left when weights are committed: a sixth, and at least [`MARGIN_BLOCKS_MIN`].
const MARGIN_DIVISOR: u64 = 6;
/// Fewest blocks between a commit's submission and the end of its tempo.
const MARGIN_BLOCKS_MIN: u64 = 3;
/// A commit sent with fewer blocks left could land in the next tempo, where it could never be revealed.
const BLOCKS_LEFT_MIN: u64 = 2;
/// Longest pause between two tries of a step that keeps failing, blocks.
const PAUSE_BLOCKS_MAX: u64 = 16;
/// Share of the reveal tempo in which the ledger may open by itself what was sealed: a quarter.
const WAIT_DIVISOR: u64 = 4;
/// Least time from a sealed commit to its round, milliseconds: the ledger refuses a seal that everybody can open.
const SEAL_AHEAD_MS_MIN: u64 = 500;

/// How far weights have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Progress {
    /// Made and written down.
    Made,
    /// Their commit was sent; whether the ledger has it is not known.
    Submitted,
    /// The ledger has their commit.
    Committed,
    /// The ledger has the weights themselves.
    Shown,
    /// The ledger has their commit, and them sealed beside it.
    Sealed,
}

/// Weights between the first thought of a commit and the end of their window.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Pending {
    /// The weights, with tempo and salt.
    pub weights: Weights,
    /// How far they have come.
    pub progress: Progress,
    /// How often the next step failed.
    pub tries: u32,
}

/// Evidence of a tempo, from its commit to its opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Owed {
    /// The commit.
    pub commit: EvidenceCommit,
    /// Whether the ledger has it.
    pub committed: bool,
    /// Whether the ledger has the leaves that it picked.
    pub opened: bool,
    /// How often the next step failed.
    pub tries: u32,
}

/// What of the evidence is due in `tempo`: its commit in its own tempo, its opening in the next.
#[must_use]
pub fn evidence_due(owed: &[Owed], tempo: u64) -> Option<usize> {
    owed.iter().position(|owed| {
        let of = owed.commit.tempo;
        (of == tempo && !owed.committed) || (of.saturating_add(1) == tempo && owed.committed && !owed.opened)
    })
}

/// Forgets evidence whose opening is done or too late.
pub fn drop_settled(owed: &mut Vec<Owed>, tempo: u64) {
    owed.retain(|owed| owed.commit.tempo.saturating_add(1) >= tempo && !owed.opened);
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

    /// The block at which the weights of a tempo are made whose epoch comes at `next_epoch`.
    #[must_use]
    pub const fn weighs_at(&self, next_epoch: u64) -> u64 {
        next_epoch.saturating_sub(self.margin_blocks())
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
        may_be_shown(weights.progress, rules, blocks_left)
            && rules.reveal_tempo(weights.weights.tempo) == tempo
    });
    if let Some(index) = reveal {
        return Due::Reveal(index);
    }
    if blocks_left > rules.margin_blocks() {
        return Due::Nothing;
    }
    match pending.iter().position(|weights| weights.weights.tempo == tempo) {
        None if blocks_left >= BLOCKS_LEFT_MIN => Due::Weigh,
        Some(index) if blocks_left >= BLOCKS_LEFT_MIN && wants_commit(&pending[index], rules) => {
            Due::Commit(index)
        }
        _ => Due::Nothing,
    }
}

/// Without commits, weights are shown as soon as they are made. A commit whose answer was lost is worth a try. What is
/// sealed is left to the ledger for a while.
const fn may_be_shown(progress: Progress, rules: &Rules, blocks_left: u64) -> bool {
    match progress {
        Progress::Made => !rules.commit_reveal,
        Progress::Submitted | Progress::Committed => true,
        Progress::Sealed => {
            blocks_left
                <= rules
                    .tempo_blocks
                    .saturating_sub(rules.tempo_blocks / WAIT_DIVISOR)
        }
        Progress::Shown => false,
    }
}

const fn wants_commit(pending: &Pending, rules: &Rules) -> bool {
    let open = matches!(pending.progress, Progress::Made | Progress::Submitted);
    rules.commit_reveal && open
}

/// The round to which weights are sealed beside their commit at `now_ms`; `None` where they are committed to alone: no
/// round is fixed, its time is near, or a try has failed.
#[must_use]
pub fn seal_round(subnet: &SubnetView, beacon: &Beacon, tries: u32, now_ms: u64) -> Option<u64> {
    let is_ahead = |round: &u64| beacon.time_ms(*round) >= now_ms.saturating_add(SEAL_AHEAD_MS_MIN);
    subnet.seal_round.filter(is_ahead).filter(|_| tries == 0)
}

/// The version that weights of the running tempo need when they are revealed: the subnet's smallest, or one that was
/// announced to be in force by then.
#[must_use]
pub fn version(subnet: &SubnetView, rules: &Rules) -> u64 {
    let reveal_tempo = rules.reveal_tempo(subnet.tempo);
    let announced = subnet
        .announced
        .iter()
        .filter(|announced| announced.name == "version_key" && announced.tempo <= reveal_tempo)
        .map(|announced| announced.value);
    let in_force = subnet.parameter("version_key").unwrap_or(0);
    announced.fold(in_force, u64::max)
}

/// Whether a commit to weights of `tempo`, or the weights themselves, were sent.
#[must_use]
pub fn was_sent(pending: &[Pending], tempo: u64) -> bool {
    let of_tempo = pending.iter().filter(|weights| weights.weights.tempo == tempo);
    of_tempo
        .into_iter()
        .any(|weights| weights.progress != Progress::Made)
}

/// Blocks until a step that failed `tries` times is tried again. Refusals such as a rate limit pass by themselves, so
/// no step is given up before its window closes.
#[must_use]
pub fn pause_blocks(tries: u32) -> u64 {
    (u64::from(tries) / 4 + 1).min(PAUSE_BLOCKS_MAX)
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
    use agon_protocol::amount::Amount;
    use agon_protocol::id::{BlockNumber, Coldkey, Digest, Netuid};
    use agon_protocol::message::AnnouncedView;

    use super::*;

    const RULES: Rules = Rules {
        commit_reveal: true,
        reveal_period_tempos: 1,
        tempo_blocks: 60,
    };

    fn pending(tempo: u64, progress: Progress) -> Pending {
        Pending {
            weights: row(tempo, &[(0, 1)], [0; 32], 0),
            progress,
            tries: 0,
        }
    }

    #[test]
    fn weights_are_made_and_committed_in_the_last_sixth_of_a_tempo() {
        assert_eq!(due(&[], &RULES, 5, 11), Due::Nothing);
        assert_eq!(due(&[], &RULES, 5, 10), Due::Weigh);
        assert_eq!(due(&[pending(5, Progress::Made)], &RULES, 5, 10), Due::Commit(0));
        assert_eq!(
            due(&[pending(5, Progress::Committed)], &RULES, 5, 9),
            Due::Nothing
        );
    }

    #[test]
    fn nothing_is_committed_that_could_land_in_the_next_tempo() {
        assert_eq!(due(&[], &RULES, 5, 2), Due::Weigh);
        assert_eq!(due(&[], &RULES, 5, 1), Due::Nothing);
        assert_eq!(due(&[pending(5, Progress::Made)], &RULES, 5, 1), Due::Nothing);
    }

    #[test]
    fn weights_are_revealed_as_soon_as_the_window_opens_and_only_then() {
        assert_eq!(
            due(&[pending(5, Progress::Committed)], &RULES, 5, 50),
            Due::Nothing
        );
        assert_eq!(
            due(&[pending(5, Progress::Committed)], &RULES, 6, 60),
            Due::Reveal(0)
        );
        assert_eq!(due(&[pending(5, Progress::Shown)], &RULES, 6, 60), Due::Nothing);
        assert_eq!(
            due(&[pending(5, Progress::Committed)], &RULES, 7, 60),
            Due::Nothing
        );
        assert_eq!(
            due(&[pending(5, Progress::Made)], &RULES, 6, 60),
            Due::Nothing,
            "no commit was sent"
        );
    }

    #[test]
    fn a_commit_whose_answer_was_lost_is_sent_again_and_revealed_all_the_same() {
        assert_eq!(
            due(&[pending(5, Progress::Submitted)], &RULES, 5, 8),
            Due::Commit(0)
        );
        assert_eq!(
            due(&[pending(5, Progress::Submitted)], &RULES, 6, 60),
            Due::Reveal(0)
        );
    }

    #[test]
    fn without_commit_reveal_weights_are_shown_once_in_their_own_tempo() {
        let rules = Rules {
            commit_reveal: false,
            ..RULES
        };
        assert_eq!(due(&[], &rules, 5, 10), Due::Weigh);
        assert_eq!(due(&[pending(5, Progress::Made)], &rules, 5, 10), Due::Reveal(0));
        assert_eq!(due(&[pending(5, Progress::Shown)], &rules, 5, 9), Due::Nothing);
    }

    #[test]
    fn what_is_sealed_is_revealed_by_hand_when_the_ledger_has_not_opened_it_a_quarter_into_the_tempo() {
        let sealed = [pending(5, Progress::Sealed)];
        assert_eq!(due(&sealed, &RULES, 5, 10), Due::Nothing, "it is committed");
        assert_eq!(due(&sealed, &RULES, 6, 60), Due::Nothing);
        assert_eq!(due(&sealed, &RULES, 6, 46), Due::Nothing);
        assert_eq!(due(&sealed, &RULES, 6, 45), Due::Reveal(0));
        assert_eq!(due(&sealed, &RULES, 7, 60), Due::Nothing);
        assert!(was_sent(&sealed, 5));
    }

    fn subnet(seal_round: Option<u64>) -> SubnetView {
        let none = Amount::ZERO;
        SubnetView {
            height: BlockNumber(1),
            netuid: Netuid(1),
            owner: Coldkey([1; 32]),
            task: String::from("reading"),
            started: true,
            tempo: 5,
            tempo_start: BlockNumber(0),
            beacon: Digest::default(),
            seal_round,
            next_epoch: BlockNumber(60),
            registration_price: none,
            neuron_count: 0,
            held: none,
            parameters: [(String::from("version_key"), 3)].into(),
            announced: Vec::new(),
            epoch_due: BlockNumber(60),
            locked: none,
            owner_emitted: none,
            stake_average: none,
        }
    }

    #[test]
    fn weights_are_sealed_while_the_round_is_ahead_and_no_try_has_failed() {
        let beacon = Beacon {
            first_ms: 0,
            period_ms: 1_000,
            ..Beacon::quicknet()
        };
        let sealed = |round, tries, now_ms| seal_round(&subnet(round), &beacon, tries, now_ms);
        // Round 11 is made at 10 s.
        assert_eq!(sealed(Some(11), 0, 9_500), Some(11));
        assert_eq!(sealed(Some(11), 0, 9_501), None);
        assert_eq!(sealed(Some(11), 1, 0), None);
        assert_eq!(sealed(None, 0, 0), None);
    }

    #[test]
    fn weights_are_of_the_version_that_is_asked_for_when_they_are_revealed() {
        let mut subnet = subnet(None);
        assert_eq!(version(&subnet, &RULES), 3);
        for (tempo, value) in [(6, 4), (7, 9)] {
            subnet.announced.push(AnnouncedView {
                name: String::from("version_key"),
                value,
                tempo,
                height: BlockNumber(60),
            });
        }
        assert_eq!(version(&subnet, &RULES), 4);
    }

    #[test]
    fn weights_past_their_window_are_forgotten() {
        let [old, open, new] = [3, 4, 5].map(|tempo| pending(tempo, Progress::Committed));
        let mut all = vec![old, open.clone(), new.clone()];
        drop_expired(&mut all, &RULES, 5);
        assert_eq!(all, [open, new]);
    }

    #[test]
    fn a_step_that_keeps_failing_is_tried_ever_less_often_until_its_window_closes() {
        let stuck = Pending {
            tries: 1_000,
            ..pending(5, Progress::Submitted)
        };
        assert_eq!(due(&[stuck], &RULES, 6, 60), Due::Reveal(0));
        assert_eq!([1, 3, 4, 40, u32::MAX].map(pause_blocks), [1, 1, 2, 11, 16]);
    }

    #[test]
    fn a_tempo_without_a_commit_is_noticed() {
        assert!(!was_sent(&[], 5));
        assert!(!was_sent(
            &[pending(5, Progress::Made), pending(4, Progress::Committed)],
            5
        ));
        assert!(was_sent(&[pending(5, Progress::Submitted)], 5));
    }
}
