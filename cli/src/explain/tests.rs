//! Explanations of the golden epochs: every figure adds up, and a changed record is found out.

use std::path::Path;

use agon_ledger_state::{COVERAGE_FULL_PPM, EpochRecord, Payouts, apportion, covered};
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid, Uid};
use agon_scoring::epoch::{EpochInputs, Fixed32, file, run};

use super::figures::Explanation;

const CUT: u64 = 1_000_003;
const HELD: u64 = 17;

/// Who holds a UID; the owner of the subnet holds the third.
fn holder(uid: usize) -> (Hotkey, Coldkey) {
    let key = |kind: u8| std::array::from_fn(|at| [kind, uid as u8, (uid >> 8) as u8][at.min(2)]);
    (Hotkey(key(1)), Coldkey(key(2)))
}

/// Every third UID has shown all of its work, every third a part, the others nothing.
const fn coverage(uid: usize) -> u32 {
    match uid % 3 {
        0 => COVERAGE_FULL_PPM,
        1 => 333_333,
        _ => 0,
    }
}

/// The record that a ledger would keep of these inputs, had it divided `emission` base units.
fn record(mut inputs: EpochInputs, emission: u64) -> EpochRecord {
    let pending = Amount::from_base_units(emission);
    let cut = Amount::from_base_units(CUT.min(emission));
    let held = Amount::from_base_units(HELD);
    let rest = pending.saturating_sub(cut);
    let miners_half = rest.mul_ratio(1, 2).saturating_add(held);
    let validators_half = rest.saturating_sub(rest.mul_ratio(1, 2));
    inputs.emission = miners_half.saturating_add(validators_half).base_units();
    let outputs = run(&inputs).unwrap();
    let miners = apportion(miners_half, &outputs.server_emission);
    let coverage_ppm: Vec<u32> = (0..inputs.neuron_count).map(coverage).collect();
    let dividends = covered(&outputs.validator_emission, &coverage_ppm);
    let validators = apportion(validators_half, &dividends);
    let sum = |amounts: &[Amount]| amounts.iter().copied().sum::<Amount>();
    EpochRecord {
        netuid: Netuid(1),
        tempo: 4,
        tempo_start: BlockNumber(100),
        height: BlockNumber(140),
        owner: holder(2).1,
        holders: (0..inputs.neuron_count).map(holder).collect(),
        takes_ppm: vec![100_000; inputs.neuron_count],
        coverage_ppm,
        filled: Vec::new(),
        pending,
        miners_held_before: held,
        validators_held_before: Amount::ZERO,
        payouts: Payouts {
            owner_cut: cut,
            miners_burned: miners.get(2).copied().unwrap_or_default(),
            miners_held: miners_half.saturating_sub(sum(&miners)),
            validators_held: validators_half.saturating_sub(sum(&validators)),
            takes: validators.iter().map(|pay| pay.mul_ratio(1, 10)).collect(),
            miners,
            validators,
            dust: agon_ledger_state::Dust::default(),
        },
        inputs,
        outputs,
    }
}

/// Every golden epoch that is small enough to look at each of its UIDs.
fn golden() -> Vec<EpochInputs> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/yuma");
    let mut epochs = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json")
            && let Ok(inputs) = file::parse(&std::fs::read(&path).unwrap())
        {
            epochs.extend(inputs.into_iter().filter(|inputs| inputs.neuron_count <= 64));
        }
    }
    assert!(epochs.len() > 20, "{} golden epochs", epochs.len());
    epochs
}

#[track_caller]
fn check(record: &EpochRecord, uid: usize) {
    let it = Explanation::of(record, Uid(uid as u16)).unwrap();
    assert_eq!(it.recomputed.difference, None);
    let (emission, miner) = (&it.emission, &it.miner);
    assert_eq!(
        emission.created + emission.held_before,
        emission.owner_cut + emission.miners_half + emission.validators_half
    );
    assert_eq!(
        emission.miners_half,
        emission.miners_paid + emission.miners_burned + emission.miners_dust + emission.miners_held
    );
    assert_eq!(
        emission.validators_half,
        emission.validators_paid + emission.validators_dust + emission.validators_held
    );
    let over = |part: i64, whole: i64| Fixed32::from_bits(part).over(Fixed32::from_bits(whole)).to_bits();
    assert_eq!(
        miner.incentive_q32,
        over(miner.granted_q32, miner.granted_to_all_q32)
    );
    let portion = |it: &super::figures::Portion| {
        let product = u128::from(it.half) * u128::from(it.earned);
        let share = product.checked_div(u128::from(it.earned_by_all)).unwrap_or(0);
        assert_eq!(u128::from(it.amount), share + u128::from(it.rounded_up));
    };
    portion(&miner.portion);
    assert_eq!(miner.portion.amount, miner.paid + miner.burned + miner.dust);
    if let Some(validator) = &it.validator {
        portion(&validator.portion);
        assert_eq!(
            validator.dividends_q32,
            over(validator.weighed_q32, validator.weighed_of_all_q32)
        );
    }
    let paid = miner.paid + it.validator.as_ref().map_or(0, |path| path.paid);
    assert_eq!(it.paid, paid);
    assert!(super::text::text(&it).contains("recomputed: equal"));
}

#[test]
fn every_figure_of_the_golden_epochs_adds_up() {
    for inputs in golden() {
        let record = record(inputs, 7_000_000_001);
        for uid in 0..record.holders.len() {
            check(&record, uid);
        }
    }
}

#[track_caller]
fn check_found_out(change: impl FnOnce(&mut EpochRecord), words: &str) {
    let paid = |inputs: &EpochInputs| run(inputs).unwrap().incentive.iter().any(|share| *share > 0);
    let inputs = golden()
        .into_iter()
        .find(|inputs| inputs.neuron_count > 4 && paid(inputs));
    let mut record = record(inputs.unwrap(), 7_000_000_001);
    change(&mut record);
    let it = Explanation::of(&record, Uid(0)).unwrap();
    let difference = it.recomputed.difference.unwrap();
    assert!(difference.contains(words), "{difference}");
    assert!(!it.recomputed.equal);
}

#[test]
fn the_first_figure_that_does_not_follow_is_named() {
    check_found_out(|record| record.outputs.incentive[3] ^= 1, "incentive of UID 3");
    check_found_out(|record| record.outputs.bonds[1].push((4, 9)), "bonds of UID 1");
    check_found_out(
        |record| record.inputs.emission += 1,
        "the emission that was divided",
    );
    check_found_out(
        |record| record.payouts.miners[0] = Amount::from_base_units(1),
        "pay as a miner of UID 0",
    );
    check_found_out(|record| record.coverage_ppm.fill(0), "pay as a validator of UID");
    check_found_out(
        |record| record.payouts.miners_held = Amount::from_base_units(1),
        "what is held for miners",
    );
}

#[test]
fn records_that_are_none_are_refused() {
    let mut record = record(golden().remove(0), 10);
    let count = record.holders.len();
    assert!(Explanation::of(&record, Uid(count as u16)).is_err());
    record.payouts.miners.clear();
    assert!(Explanation::of(&record, Uid(0)).is_err());
}
