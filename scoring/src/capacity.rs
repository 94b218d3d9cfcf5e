//! What a UID has proven that it can do at once, so that pay follows work and not identities.
//!
//! For tasks whose answers nobody can have without doing the work of each: a pinned model, an item and a sampling
//! seed of one's own, and a check of the answer. Elsewhere one answer serves many, and this says nothing.
//!
//! # Bursts
//!
//! Now and then, when its draw says so ([`crate::draw::Draw::is_burst`]), a validator asks *every* UID at the same
//! moment, each as many items as [`Capacity::to_ask`] allows, no two of them the same ([`item_indices`]), under one
//! deadline. What came in time and was verified counts ([`Capacity::record`]).
//!
//! | rule | figure |
//! | --- | --- |
//! | word | in its first burst a UID is asked all that it declares |
//! | ramp | afterwards at most twice what it managed in the last burst, up to what it declares |
//! | short | more than a quarter of a burst's answers and one more are missing: it is asked its level again, not twice |
//! | failure | it fell short, and would have with its best of the 16 bursts before: the level falls by 30 % |
//! | freeze | four failures within 48 bursts: for the next 48 the level is not raised |
//! | work | answers verified in the newest 16 bursts; a burst that a UID missed counts 0 |
//!
//! The level decides what is asked, the work decides what is paid ([`crate::weights`]: quality times work).
//!
//! # Properties
//!
//! 1. **UIDs of one machine earn together what it can do.** Let a machine give at most R verified answers within the
//!    deadline of a burst. Then the work of all UIDs that it serves is at most 16 R, however many they are and
//!    whatever they declare. *Proof.* A burst reaches all of them at once and its items differ, so the answers that
//!    are verified in it number at most R over all those UIDs; work is the sum of such numbers over 16 bursts. ∎ With
//!    one model behind them all, quality is the same factor, so their pay together is at most that of one UID that
//!    answers R each time.
//! 2. **Honest machines keep what they earn.** The work of a UID depends on its own answers only.
//! 3. **Declaring more earns no more.** Work is bounded by property 1 whatever was declared, and an overloaded machine
//!    falls by 30 %, then freezes, while one that declares R is asked R in each burst.
//! 4. **Newcomers earn little.** Bursts before the first count 0, so the work of a new UID grows over 16 bursts.
//! 5. **Being away costs what was not answered.** A machine that declares what it can do and misses bursts, fewer than
//!    16 in a row, is asked the same again when it is back: it gave as much before, so it did not fail.
//!
//! # Why no UID is asked less than it has shown
//!
//! One item is the least that a UID is asked, so whatever cuts a UID of many items spares many UIDs of one item each,
//! and a machine that would be cut is better off with those. Two such cuts had to go:
//!
//! - A ramp from one item. k UIDs ramp from k items and one from 1, so that a machine of R is ahead by
//!   `R log2 R - R + 1` answers with R UIDs, four bursts' worth where R is 32: 3.7 % in 120 bursts. Asked R at once,
//!   one UID reaches the bound of property 1 in its first burst. What a false word costs a validator is one burst of
//!   questions that nobody answers; who gave it starts over from one item, with a failure to its name.
//! - A failure for being away. A machine that missed one burst in twenty was frozen with one UID and hardly cut
//!   with many of few items each, which earned 26 % more. Now a failure is to fall short of *more* than one gave of late, which only who declares
//!   too much does again and again.
//!
//! # Where they end
//!
//! - Property 1 is about answers in time, not about machines: two machines behind one UID earn twice, as they should.
//! - It needs every UID in every burst. UIDs that are asked at different moments share one machine in turn.
//! - After 16 bursts away nothing that a UID gave is remembered. It then fails as one that declares too much, ramps
//!   from less, and is behind many UIDs by the answers named above, once.

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::rating::Standing;
use crate::weights::WORK_MAX;

/// The most items that a UID is asked at once: more than one machine of today serves.
pub const LEVEL_MAX: u32 = 4096;

/// Bursts whose answers are work.
pub const BURSTS_KEPT: usize = 16;

/// One answer in so many may be missing from a burst, and one more: lost connections are no failure of the machine.
///
/// Generous, because work counts what was verified all the same: a narrow allowance would fail large bursts more often
/// than small ones, and favour many small UIDs.
pub const TOLERATED_ONE_IN: u32 = 4;

/// Failures that freeze a UID's level.
pub const FAILURES_MAX: usize = 4;

/// Bursts within which failures add up, and for which a level stays frozen.
pub const FREEZE_BURSTS: u64 = 48;

/// What is left of a level after a failure, in tenths.
const LEFT_TENTHS: u32 = 7;

const _: () = assert!(LEVEL_MAX as u64 * BURSTS_KEPT as u64 == WORK_MAX as u64);

/// What came of a burst for one UID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Who was asked.
    pub uid: u16,
    /// How many items at once.
    pub asked: u32,
    /// How many answers came in time and were verified.
    pub verified: u32,
}

/// What every UID of one subnet has proven.
///
/// Borsh is its form on disk; what is read back is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct Capacity {
    bursts: u64,
    uids: BTreeMap<u16, Proven>,
}

/// What one UID has proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Proven {
    /// Verified answers of the last burst that it managed, less what failures cut.
    level: u32,
    /// Verified answers of the newest bursts, oldest first.
    verified: Vec<u32>,
    /// Numbers of the bursts that it failed and that still count.
    failures: Vec<u64>,
    /// Number of the first burst before which its level may be raised again.
    frozen_until: u64,
}

impl Capacity {
    /// How many items to ask of a UID in the next burst, when it declares that it can answer so many at once; one that
    /// was in no burst yet is taken at its word, up to [`LEVEL_MAX`].
    #[must_use]
    pub fn to_ask(&self, uid: u16, declared: u32) -> u32 {
        let allowed = self
            .uids
            .get(&uid)
            .map_or(LEVEL_MAX, |proven| proven.allowed(self.bursts));
        allowed.min(declared)
    }

    /// Records a burst: what came of it for every UID that was asked.
    ///
    /// A UID that was recorded before and is missing now gave nothing, and did not fail. Of a UID listed twice the
    /// last line counts.
    pub fn record(&mut self, outcomes: &[Burst]) {
        let burst = self.bursts;
        self.bursts = burst.saturating_add(1);
        let mut by_uid: BTreeMap<u16, Burst> =
            self.uids.keys().map(|&uid| (uid, Burst::absent(uid))).collect();
        by_uid.extend(outcomes.iter().map(|outcome| (outcome.uid, *outcome)));
        for (uid, outcome) in by_uid {
            self.uids.entry(uid).or_default().settle(burst, &outcome);
        }
    }

    /// Whether there was no burst yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bursts == 0
    }

    /// Forgets everything about a UID, because someone else holds it now.
    pub fn forget(&mut self, uid: u16) {
        self.uids.remove(&uid);
    }

    /// Gives the answers of a UID that were verified in the newest [`BURSTS_KEPT`] bursts, at most [`WORK_MAX`].
    #[must_use]
    pub fn work(&self, uid: u16) -> u32 {
        self.uids
            .get(&uid)
            .map_or(0, |proven| proven.verified.iter().sum())
    }

    /// Writes the work of each UID into its standing, for a policy that pays work.
    pub fn measure(&self, standings: &mut [Standing]) {
        for standing in standings {
            standing.work = self.work(standing.uid);
        }
    }
}

/// Gives each UID of a burst items of its own: consecutive numbers, as many as it is asked, in the order given.
///
/// Numbers beyond `u32::MAX` are not given; [`LEVEL_MAX`] for every UID of a subnet stays far below.
#[must_use]
pub fn item_indices(asked: &[(u16, u32)]) -> Vec<(u16, Range<u32>)> {
    let mut next = 0_u32;
    let mut indices = Vec::with_capacity(asked.len());
    for &(uid, count) in asked {
        let end = next.saturating_add(count);
        indices.push((uid, next..end));
        next = end;
    }
    indices
}

impl Burst {
    const fn absent(uid: u16) -> Self {
        Self {
            uid,
            asked: 0,
            verified: 0,
        }
    }
}

impl Proven {
    /// The most items that it may be asked in this burst.
    fn allowed(&self, burst: u64) -> u32 {
        let is_raised = burst >= self.frozen_until && self.verified.last() == Some(&self.level);
        let ramp = if is_raised { 2 } else { 1 };
        (self.level * ramp).clamp(1, LEVEL_MAX)
    }

    fn settle(&mut self, burst: u64, outcome: &Burst) {
        let asked = outcome.asked.min(LEVEL_MAX);
        let verified = outcome.verified.min(asked);
        let best_before = self.verified.iter().max().copied().unwrap_or(0);
        if self.verified.len() == BURSTS_KEPT {
            self.verified.remove(0);
        }
        self.verified.push(verified);
        if !is_short(asked, verified) {
            self.level = if asked > 0 { verified } else { self.level };
        } else if is_short(asked, best_before) {
            self.fail(burst);
        }
    }

    fn fail(&mut self, burst: u64) {
        self.level = self.level * LEFT_TENTHS / 10;
        self.failures
            .retain(|failed| failed.saturating_add(FREEZE_BURSTS) > burst);
        self.failures.push(burst);
        if self.failures.len() >= FAILURES_MAX {
            self.failures.clear();
            self.frozen_until = burst.saturating_add(FREEZE_BURSTS + 1);
        }
    }

    /// Whether [`Capacity::record`] can have written this after so many bursts.
    fn is_sound(&self, bursts: u64) -> bool {
        let is_past = |failed: &u64| *failed < bursts;
        self.level <= LEVEL_MAX
            && self.verified.len() <= BURSTS_KEPT
            && self.verified.iter().all(|verified| *verified <= LEVEL_MAX)
            && self.failures.len() < FAILURES_MAX
            && self.failures.iter().all(is_past)
            && self.frozen_until <= bursts.saturating_add(FREEZE_BURSTS)
    }
}

impl BorshDeserialize for Capacity {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let bursts = u64::deserialize_reader(reader)?;
        let uids = BTreeMap::<u16, Proven>::deserialize_reader(reader)?;
        if let Some((uid, _)) = uids.iter().find(|(_, proven)| !proven.is_sound(bursts)) {
            let fault = format!("capacity of uid {uid} is not what bursts can have proven");
            return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
        }
        Ok(Self { bursts, uids })
    }
}

/// Whether so many answers are more than a few lost ones below what was asked.
const fn is_short(asked: u32, verified: u32) -> bool {
    asked.saturating_sub(verified) > asked / TOLERATED_ONE_IN + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs bursts of one UID that declares `declared` and can give `at_once`; gives what it was asked in each.
    fn asked(capacity: &mut Capacity, declared: u32, at_once: u32, bursts: usize) -> Vec<u32> {
        let mut asked = Vec::new();
        for _ in 0..bursts {
            let burst = Burst {
                uid: 1,
                asked: capacity.to_ask(1, declared),
                verified: capacity.to_ask(1, declared).min(at_once),
            };
            capacity.record(&[burst]);
            asked.push(burst.asked);
        }
        asked
    }

    #[test]
    fn a_uid_is_taken_at_its_word_and_asked_no_more_than_twice_what_it_did() {
        let mut capacity = Capacity::default();
        assert_eq!(capacity.to_ask(1, u32::MAX), LEVEL_MAX);
        assert_eq!(asked(&mut capacity, 12, 12, 6), [12; 6]);
        assert_eq!(capacity.work(1), 6 * 12);
        asked(&mut capacity, 12, 12, 16);
        assert_eq!(capacity.work(1), 16 * 12);
        assert_eq!(capacity.to_ask(1, u32::MAX), 24);
    }

    #[test]
    fn who_breaks_its_word_ramps_from_one_item() {
        let mut capacity = Capacity::default();
        assert_eq!(asked(&mut capacity, 160, 12, 6), [160, 1, 2, 4, 8, 16]);
        assert_eq!(capacity.work(1), 12 + 1 + 2 + 4 + 8 + 12);
    }

    #[test]
    fn a_failure_cuts_the_level_and_four_freeze_it() {
        let mut capacity = Capacity::default();
        // 16 of 160 and of 32 are failures, and 16 falls to 11; 16 of 22 is managed.
        let expected = [160, 1, 2, 4, 8, 16, 32, 11, 22, 32, 11, 22, 32, 11, 11];
        assert_eq!(asked(&mut capacity, 160, 16, 15), expected);
        asked(&mut capacity, 160, 16, 45);
        assert_eq!(asked(&mut capacity, 160, 16, 3), [11, 22, 32]);
    }

    #[test]
    fn a_quarter_and_one_more_may_be_missing() {
        let mut capacity = Capacity::default();
        asked(&mut capacity, 16, 16, 5);
        let burst = |asked, verified| Burst {
            uid: 1,
            asked,
            verified,
        };
        capacity.record(&[burst(16, 11)]);
        assert_eq!((capacity.to_ask(1, 16), capacity.to_ask(1, 99)), (16, 22));
        capacity.record(&[burst(16, 10)]);
        assert_eq!(capacity.to_ask(1, 99), 11, "short of what it gave before");
        capacity.record(&[burst(23, 16)]);
        assert_eq!(capacity.to_ask(1, 99), 7, "short of more than it ever gave");
    }

    #[test]
    fn who_is_away_is_asked_the_same_again_until_nothing_is_known_of_it() {
        let mut capacity = Capacity::default();
        asked(&mut capacity, 8, 8, 1);
        assert_eq!(asked(&mut capacity, 8, 0, 16), [8; 16]);
        assert_eq!(asked(&mut capacity, 8, 8, 1), [8]);
        assert_eq!(asked(&mut capacity, 8, 0, 18)[15..], [8, 8, 5]);
    }

    #[test]
    fn who_misses_a_burst_did_nothing_and_did_not_fail() {
        let mut capacity = Capacity::default();
        asked(&mut capacity, 4, 4, 3);
        capacity.record(&[]);
        assert_eq!((capacity.work(1), capacity.to_ask(1, 4)), (12, 4));
        (0..16).for_each(|_| capacity.record(&[]));
        assert_eq!(capacity.work(1), 0);
    }

    #[test]
    fn nothing_from_outside_overflows() {
        let mut capacity = Capacity::default();
        let huge = Burst {
            uid: 1,
            asked: u32::MAX,
            verified: u32::MAX,
        };
        (0..20).for_each(|_| capacity.record(&[huge, huge]));
        assert_eq!(
            (capacity.work(1), capacity.to_ask(1, u32::MAX)),
            (WORK_MAX, LEVEL_MAX)
        );
        assert_eq!(
            item_indices(&[(1, u32::MAX), (2, 3)]),
            [(1, 0..u32::MAX), (2, u32::MAX..u32::MAX)]
        );
    }

    #[test]
    fn no_two_uids_are_asked_the_same_item() {
        assert_eq!(
            item_indices(&[(7, 2), (3, 0), (9, 1)]),
            [(7, 0..2), (3, 2..2), (9, 2..3)]
        );
    }

    #[test]
    fn capacity_survives_the_disk_and_damage_is_refused() {
        let mut sound = Capacity::default();
        asked(&mut sound, 160, 16, 14);
        let bytes = borsh::to_vec(&sound).expect("memory takes everything");
        assert_eq!(
            borsh::from_slice::<Capacity>(&bytes).expect("what was written"),
            sound
        );
        let damages: [fn(&mut Proven); 4] = [
            |proven| proven.level = LEVEL_MAX + 1,
            |proven| proven.verified.push(LEVEL_MAX + 1),
            |proven| proven.failures = vec![14],
            |proven| proven.frozen_until = u64::MAX,
        ];
        for damage in damages {
            let mut damaged = sound.clone();
            damage(damaged.uids.get_mut(&1).expect("recorded"));
            let bytes = borsh::to_vec(&damaged).expect("memory takes everything");
            assert!(borsh::from_slice::<Capacity>(&bytes).is_err());
        }
    }
}
