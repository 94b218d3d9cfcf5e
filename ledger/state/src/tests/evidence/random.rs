//! What holds for whatever validators do with their evidence.

use proptest::prelude::*;

use super::*;
use crate::covered;

/// What one validator does in a tempo.
#[derive(Clone, Debug)]
struct Conduct {
    /// By slot.
    does: Vec<Does>,
    claimed_ppm: u32,
    commits: bool,
    opens: bool,
    /// Whether somebody reports its first forgery before it opens.
    is_reported: bool,
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        6 => Just(Does::Asks),
        2 => Just(Does::Fails),
        2 => Just(Does::Skips),
        1 => Just(Does::Forges),
    ]
}

fn conduct() -> impl Strategy<Value = Conduct> {
    let does = prop::collection::vec(does(), SLOTS as usize);
    let claimed_ppm = prop_oneof![3 => Just(1_000_000), 1 => 0u32..=1_000_000];
    let chances = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.8),
        prop::bool::ANY,
    );
    (does, claimed_ppm, chances).prop_map(|(does, claimed_ppm, (commits, opens, is_reported))| Conduct {
        does: whole_rounds(does),
        claimed_ppm,
        commits,
        opens,
        is_reported,
    })
}

/// A round of which a slot is skipped is skipped as a whole.
fn whole_rounds(mut does: Vec<Does>) -> Vec<Does> {
    for round in does.chunks_mut(SLOTS as usize / 2) {
        if round.contains(&Does::Skips) {
            round.fill(Does::Skips);
        }
    }
    does
}

/// Carries out one validator's evidence of a tempo that is over; gives whether it may be covered.
fn show(ledger: &mut Ledger, key: u8, conduct: &Conduct, work: &Work) -> bool {
    let forged = conduct.does.iter().position(|does| *does == Does::Forges);
    if let Some(slot) = forged.filter(|_| conduct.is_reported) {
        let report = work.answer_report(u32::try_from(slot).unwrap());
        assert_eq!(ledger.transact(9, report).is_ok(), conduct.commits);
    }
    if conduct.opens {
        let is_punished = conduct.is_reported && forged.is_some();
        let opening = work.opening(ledger);
        let opened = ledger.transact(key, opening);
        assert_eq!(opened.is_ok(), conduct.commits && !is_punished);
    }
    conduct.commits && conduct.opens && forged.is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn only_work_that_is_shown_is_paid_and_no_base_unit_is_lost(conducts in prop::array::uniform3(conduct())) {
        let mut ledger = ledger();
        let (mut works, mut rows) = (Vec::new(), Vec::new());
        for ((_, key, _), conduct) in VALIDATORS.into_iter().zip(&conducts) {
            let mut work = Work::of(&ledger, key, |slot, _| conduct.does[slot as usize]);
            work.claimed_ppm = conduct.claimed_ppm;
            let row = work.weights(&ledger);
            ledger.transact(key, commit(key, &row)).unwrap();
            rows.push(row);
            if conduct.commits {
                ledger.transact(key, work.commit()).unwrap();
            }
            works.push(work);
        }
        ledger.close_tempo();
        for ((_, key, _), row) in VALIDATORS.into_iter().zip(&rows) {
            ledger.transact(key, reveal(row)).unwrap();
        }
        let mut may_be_covered = Vec::new();
        for (((_, key, _), conduct), work) in VALIDATORS.into_iter().zip(&conducts).zip(&works) {
            may_be_covered.push(show(&mut ledger, key, conduct, work));
        }
        ledger.close_tempo();

        let record = record(&ledger);
        let payouts = &record.payouts;
        for (uid, (conduct, may)) in conducts.iter().zip(may_be_covered).enumerate() {
            let (coverage, pay) = (record.coverage_ppm[uid], payouts.validators[uid]);
            let asked = conduct.does.iter().filter(|does| matches!(does, Does::Asks | Does::Fails)).count();
            let shown_max = u32::try_from(asked * 1_000_000 / conduct.does.len()).unwrap();
            prop_assert!(coverage <= conduct.claimed_ppm.min(shown_max));
            prop_assert!(may || (coverage, pay) == (0, base(0)));
        }
        let paid = payouts.validators.iter().copied().sum::<Amount>();
        let half = paid.saturating_add(payouts.validators_held).base_units();
        prop_assert_eq!(half, record.validators_held_before.base_units() + 4_100_000_000);
        let dividends = covered(&record.outputs.validator_emission, &record.coverage_ppm);
        prop_assert_eq!(paid == base(0), dividends.iter().all(|dividend| *dividend == 0));
        prop_assert_eq!(ledger.state.holdings().total(), ledger.state.issuance());
    }
}
