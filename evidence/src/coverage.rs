//! Coverage: the share of its work that a validator has proven, by which its dividends are multiplied.
//!
//! Each picked slot is one of three things:
//!
//! - **proven**, by an answer that the drawn miner signed;
//! - **excused**, where the miner failed to answer and most of what other validators' opened slots show of the same miner
//!   in the same tempo are failures too; excused by as much as their share is;
//! - **missing**: nobody was asked, or a failure that others did not see or say nothing about.
//!
//! Coverage is what is proven over what is not excused, rounded down, and at most what the validator claimed.
//!
//! # What follows
//!
//! - Without a receipt coverage is 0, whatever others say: to report failures in place of asking earns nothing, alone
//!   or together.
//! - Who excuses each other without a majority excuses nothing, and with one only makes what was proven count for more.
//! - A miner that is really away costs those who report it nothing where others see it too. Where nobody else's slot
//!   says anything it counts against them; that is rarer the more validators there are, and falls on all alike.

use std::collections::BTreeMap;

use agon_protocol::id::Uid;

use crate::opening::Shown;

/// The whole.
pub const PPM: u32 = 1_000_000;

/// What one validator showed of a tempo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The share it claimed, parts per million.
    pub claimed_ppm: u32,
    /// What its picked slots show; empty when it opened nothing.
    pub shown: Vec<Shown>,
}

/// Answers and failures of one miner among all opened slots.
#[derive(Clone, Copy, Default)]
struct Seen {
    answered: u64,
    failed: u64,
}

/// Coverage of each account, parts per million, rounded down.
#[must_use]
pub fn coverage(accounts: &[Account]) -> Vec<u32> {
    let mut all: BTreeMap<Uid, Seen> = BTreeMap::new();
    accounts.iter().for_each(|account| count(&mut all, account));
    accounts.iter().map(|account| covered(&all, account)).collect()
}

fn count(seen: &mut BTreeMap<Uid, Seen>, account: &Account) {
    for shown in &account.shown {
        match shown {
            Shown::Answered(uid) => seen.entry(*uid).or_default().answered += 1,
            Shown::Failed(uid) => seen.entry(*uid).or_default().failed += 1,
            Shown::NotAsked => {}
        }
    }
}

fn covered(all: &BTreeMap<Uid, Seen>, account: &Account) -> u32 {
    let mut own: BTreeMap<Uid, Seen> = BTreeMap::new();
    count(&mut own, account);
    let (mut proven, mut excused_ppm) = (0_u64, 0_u64);
    for shown in &account.shown {
        match shown {
            Shown::Answered(_) => proven += 1,
            Shown::Failed(uid) => {
                let own = own.get(uid).copied().unwrap_or_default();
                excused_ppm += excused(all.get(uid).copied().unwrap_or_default(), own);
            }
            Shown::NotAsked => {}
        }
    }
    let whole_ppm = account.shown.len() as u64 * u64::from(PPM) - excused_ppm;
    let share = (proven * u64::from(PPM) * u64::from(PPM)).checked_div(whole_ppm);
    let share = u32::try_from(share.unwrap_or(0)).unwrap_or(PPM);
    share.min(account.claimed_ppm).min(PPM)
}

/// By how much a failure is excused, parts per million, by what the slots of others show of the same miner.
fn excused(all: Seen, own: Seen) -> u64 {
    let (answered, failed) = (all.answered - own.answered, all.failed - own.failed);
    if failed <= answered {
        return 0;
    }
    failed * u64::from(PPM) / (answered + failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Shown = Shown::Answered(Uid(1));
    const F: Shown = Shown::Failed(Uid(1));
    const N: Shown = Shown::NotAsked;

    #[track_caller]
    fn check(shown: &[&[Shown]], expected: &[u32]) {
        let account = |shown: &&[Shown]| Account {
            claimed_ppm: PPM,
            shown: shown.to_vec(),
        };
        let accounts: Vec<Account> = shown.iter().map(account).collect();
        assert_eq!(coverage(&accounts), expected);
    }

    #[test]
    fn answers_prove_and_what_was_not_asked_does_not() {
        check(&[&[A, A, A, N], &[A, A, A, A], &[]], &[750_000, PPM, 0]);
    }

    #[test]
    fn a_failure_is_excused_as_far_as_most_others_saw_it() {
        // Another miner answered, so that there is something to cover.
        const B: Shown = Shown::Answered(Uid(2));
        check(&[&[F, B], &[F, B], &[F, B]], &[PPM, PPM, PPM]);
        // Two of three others saw it away: 1 of 2 - 2/3.
        check(&[&[F, B], &[F], &[F], &[A]], &[749_999, 0, 0, PPM]);
        check(&[&[F, B], &[F], &[A]], &[500_000, 0, PPM]);
        check(&[&[F, B], &[A, A, A]], &[500_000, PPM]);
    }

    #[test]
    fn without_a_receipt_nothing_is_covered_whoever_agrees() {
        check(&[&[F, F, F], &[F, F], &[F]], &[0, 0, 0]);
        check(&[&[F], &[F], &[F], &[A]], &[0, 0, 0, PPM]);
    }

    #[test]
    fn ones_own_slots_excuse_nothing() {
        check(&[&[F, F, F]], &[0]);
        check(&[&[F, A]], &[500_000]);
    }

    #[test]
    fn no_more_than_was_claimed() {
        let account = Account {
            claimed_ppm: 250_000,
            shown: vec![A, A],
        };
        assert_eq!(coverage(&[account]), [250_000]);
    }
}
