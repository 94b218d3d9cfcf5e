//! What holds for every epoch: malformed inputs are errors, and no input makes it panic or hand out too much.

use agon_scoring::epoch::file::{Detail, FileError, run_file};
use agon_scoring::epoch::{EpochError, EpochInputs, NEURONS_MAX, PendingCommit, run};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Three neurons, two of them validators that weight the third.
fn small() -> EpochInputs {
    EpochInputs {
        neuron_count: 3,
        block: 1000,
        tempo: 360,
        activity_cutoff_blocks: 5000,
        stake: vec![60, 40, 0],
        last_update: vec![999; 3],
        block_at_registration: vec![0; 3],
        validator_permit: vec![true, true, false],
        weights: vec![vec![(2, 65535)], vec![(2, 65535)], vec![]],
        bonds: vec![vec![]; 3],
        kappa: 32767,
        bonds_penalty: 65535,
        bonds_moving_average: 900_000,
        max_allowed_validators: 2,
        emission: 1000,
        ..EpochInputs::default()
    }
}

#[track_caller]
fn check_refused(spoil: impl FnOnce(&mut EpochInputs), expected: &EpochError) {
    let mut inputs = small();
    spoil(&mut inputs);
    assert_eq!(run(&inputs).as_ref(), Err(expected));
}

#[test]
fn a_small_epoch_pays_as_worked_by_hand() {
    let outputs = run(&small()).expect("valid inputs");
    // Both validators give the miner everything, so it earns the miners' half; the validators share theirs by stake.
    assert_eq!(outputs.incentive, [0, 0, 65535]);
    assert_eq!(outputs.server_emission, [0, 0, 500]);
    assert_eq!(
        outputs.validator_emission,
        [300, 199, 0],
        "299.99... and 199.99..., each rounded down"
    );
}

#[test]
fn malformed_inputs_are_refused_with_their_figures() {
    check_refused(
        |inputs| inputs.neuron_count = NEURONS_MAX + 1,
        &EpochError::NeuronsTooMany {
            count: NEURONS_MAX + 1,
        },
    );
    check_refused(
        |inputs| inputs.stake.truncate(2),
        &EpochError::Length {
            list: "stake",
            len: 2,
            count: 3,
        },
    );
    check_refused(
        |inputs| inputs.owner_uid = Some(3),
        &EpochError::UidUnknown {
            list: "owner_uid",
            uid: 3,
            count: 3,
        },
    );
    check_refused(
        |inputs| {
            inputs.pending_commits.push(PendingCommit {
                uid: 9,
                epoch: 0,
                block: 0,
            })
        },
        &EpochError::UidUnknown {
            list: "pending_commits",
            uid: 9,
            count: 3,
        },
    );
    check_refused(
        |inputs| inputs.bonds[1] = vec![(7, 1)],
        &EpochError::UidUnknown {
            list: "bonds",
            uid: 7,
            count: 3,
        },
    );
    check_refused(
        |inputs| inputs.weights[0] = vec![(2, 1), (2, 1)],
        &EpochError::UidsNotAscending {
            list: "weights",
            row: 0,
            uid: 2,
            previous: 2,
        },
    );
    check_refused(
        |inputs| inputs.bonds_moving_average = 1_000_001,
        &EpochError::BondsMovingAverage { value: 1_000_001 },
    );
}

#[test]
fn files_that_are_not_epochs_are_errors() {
    for json in [
        "",
        "[]",
        "{}",
        r#"{"epochs":[{}]}"#,
        r#"{"epochs":[{"inputs":{"n":-1}}]}"#,
    ] {
        assert!(
            matches!(
                run_file(json.as_bytes(), Detail::Outputs),
                Err(FileError::Schema { .. })
            ),
            "{json}"
        );
    }
    let mut inputs = serde_json::to_value(small()).expect("inputs are JSON");
    inputs["stake"] = serde_json::json!([1]);
    let file = serde_json::json!({ "epochs": [{ "inputs": inputs }] }).to_string();
    let refused = run_file(file.as_bytes(), Detail::Outputs).expect_err("one stake for three neurons");
    assert_eq!(
        refused.to_string(),
        "epoch 0: list `stake` has 1 entries for 3 neurons"
    );
}

#[test]
fn no_neurons_give_an_empty_epoch() {
    let outputs = run(&EpochInputs::default()).expect("nothing to refuse");
    assert!(outputs.emission.is_empty());
}

/// Any value, the extremes among them often.
fn any_u64() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), 0_u64..2000, any::<u64>()]
}

fn any_rows(count: u16) -> impl Strategy<Value = Vec<Vec<(u16, u16)>>> {
    vec(
        btree_map(0..count, any::<u16>(), 0..=usize::from(count)),
        usize::from(count),
    )
    .prop_map(|rows| rows.into_iter().map(|row| row.into_iter().collect()).collect())
}

fn any_inputs() -> impl Strategy<Value = EpochInputs> {
    (1_u16..7).prop_flat_map(|count| {
        let len = usize::from(count);
        let lists = (
            vec(any_u64(), len),
            vec(any_u64(), len),
            vec(any_u64(), len),
            vec(any::<bool>(), len),
        );
        let rows = (any_rows(count), any_rows(count));
        let blocks = (
            any_u64(),
            any_u64(),
            any_u64(),
            any_u64(),
            any_u64(),
            any_u64(),
            any_u64(),
            any_u64(),
        );
        let shares = (
            any::<u16>(),
            any::<u16>(),
            0_u64..=1_000_000,
            any::<u16>(),
            any::<u16>(),
            any::<i16>(),
        );
        let flags = (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            proptest::option::of(0..count),
        );
        let commits = vec((0..count, any_u64(), any_u64()), 0..4);
        (lists, rows, blocks, shares, flags, commits, any_u64()).prop_map(move |parts| {
            let (lists, (weights, bonds), blocks, shares, flags, commits, emission) = parts;
            EpochInputs {
                neuron_count: len,
                stake: lists.0,
                last_update: lists.1,
                block_at_registration: lists.2,
                validator_permit: lists.3,
                weights,
                bonds,
                block: blocks.0,
                tempo: blocks.1,
                activity_cutoff_blocks: blocks.2,
                last_mechanism_step_block: blocks.3,
                stake_threshold: blocks.4,
                max_allowed_validators: blocks.5,
                current_epoch: blocks.6,
                reveal_period: blocks.7,
                kappa: shares.0,
                bonds_penalty: shares.1,
                bonds_moving_average: shares.2,
                alpha_low: shares.3,
                alpha_high: shares.4,
                alpha_sigmoid_steepness: shares.5,
                yuma3: flags.0,
                liquid_alpha: flags.1,
                commit_reveal: flags.2,
                owner_uid: flags.3,
                pending_commits: commits.into_iter().map(PendingCommit::from).collect(),
                emission,
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_epoch_panics_or_hands_out_more_than_its_emission(inputs in any_inputs()) {
        let outputs = run(&inputs).expect("valid inputs");
        let sum = |amounts: &[u64]| amounts.iter().map(|&amount| u128::from(amount)).sum::<u128>();
        let emission = u128::from(inputs.emission);
        prop_assert!(sum(&outputs.emission) <= emission);
        prop_assert!(sum(&outputs.server_emission) + sum(&outputs.validator_emission) <= emission);
    }

    #[test]
    fn stored_bonds_of_one_epoch_are_inputs_of_the_next(inputs in any_inputs()) {
        let outputs = run(&inputs).expect("valid inputs");
        let next = EpochInputs { bonds: outputs.bonds, validator_permit: outputs.validator_permit, ..inputs };
        prop_assert!(run(&next).is_ok());
    }
}
