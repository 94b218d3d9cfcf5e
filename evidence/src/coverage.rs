//! Coverage: the share of its work that a validator has proven, by which its dividends are multiplied.
//!
//! Each picked slot counts for what it shows:
//!
//! - an **answer** signed by the drawn miner: 1;
//! - a **failure to answer**: the share of the other validators' opened slots of the same miner in the same tempo that
//!   are failures too; where no other slot of it was opened, [`UNCORROBORATED_PPM`];
//! - **nobody asked**: 0.
//!
//! Coverage is the mean over the picked slots, rounded down, and at most what the validator claimed.
//!
//! So a miner that is really away costs those who report it little, since others see the same; a validator that
//! claims failures instead of asking has them contradicted; and to claim more than was done gains nothing.

use std::collections::BTreeMap;

use agon_protocol::id::Uid;

use crate::opening::Shown;

/// The whole.
pub const PPM: u32 = 1_000_000;
/// What a failure counts that no other validator's slot says anything about.
pub const UNCORROBORATED_PPM: u32 = 500_000;

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
    let worth = |shown: &Shown| match shown {
        Shown::Answered(_) => u64::from(PPM),
        Shown::Failed(uid) => {
            let own = own.get(uid).copied().unwrap_or_default();
            corroborated(all.get(uid).copied().unwrap_or_default(), own)
        }
        Shown::NotAsked => 0,
    };
    let total: u64 = account.shown.iter().map(worth).sum();
    let mean = total / (account.shown.len() as u64).max(1);
    u32::try_from(mean).map_or(PPM, |mean| mean.min(account.claimed_ppm).min(PPM))
}

/// What a failure counts, by what the slots of others show of the same miner.
fn corroborated(all: Seen, own: Seen) -> u64 {
    let (answered, failed) = (all.answered - own.answered, all.failed - own.failed);
    (failed * u64::from(PPM))
        .checked_div(answered + failed)
        .unwrap_or(u64::from(UNCORROBORATED_PPM))
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
    fn a_failure_counts_as_far_as_others_saw_it() {
        check(&[&[F], &[F], &[F]], &[PPM, PPM, PPM]);
        check(&[&[F], &[A], &[F], &[A]], &[333_333, PPM, 333_333, PPM]);
        check(&[&[F], &[A, A, A]], &[0, PPM]);
    }

    #[test]
    fn ones_own_slots_corroborate_nothing() {
        check(&[&[F, F, F]], &[UNCORROBORATED_PPM]);
        check(&[&[F, A]], &[750_000]);
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
