//! Permits, commits and reveals.

use super::*;

/// Coldkey 2's hotkey 101 has stake and a permit; 102 and 103 are miners of coldkey 3. The block that opened the
/// tempo is open.
fn validator() -> Ledger {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.register(3, [102, 103]);
    ledger.ok(2, stake(101, units(100)));
    ledger.close_tempo();
    ledger
}

const ROW: [(u16, u16); 2] = [(1, 30), (2, 10)];

#[test]
fn a_permit_comes_with_the_first_epoch_after_the_stake() {
    let mut ledger = Ledger::with_subnet();
    ledger.register(2, [101]);
    ledger.ok(2, stake(101, units(100)));
    let weights = ledger.weights(&[(0, 1)]);
    let sentence = ledger.refused(101, commit(101, &weights), "permit");
    assert!(
        sentence.contains("UID 0 has no validator permit in tempo"),
        "{sentence}"
    );
    ledger.close_tempo();
    assert!(ledger.neuron(0).permit);
    ledger.ok(101, commit(101, &weights));
}

#[test]
fn without_stake_there_is_no_permit() {
    let mut ledger = validator();
    assert!(!ledger.neuron(1).permit);
    let weights = ledger.weights(&ROW);
    ledger.refused(102, commit(102, &weights), "permit");
    ledger.refused(104, commit(104, &weights), "registered");
}

#[test]
fn the_owner_needs_no_permit() {
    let mut ledger = validator();
    ledger.register(1, [104]);
    let weights = ledger.weights(&ROW);
    ledger.ok(104, commit(104, &weights));
}

#[test]
fn a_commit_is_revealed_in_exactly_one_tempo() {
    let mut ledger = validator();
    let weights = ledger.weights(&ROW);
    ledger.ok(101, commit(101, &weights));
    let committed = ledger.state.height();
    let sentence = ledger.refused(101, reveal(&weights), "reveal window");
    assert!(sentence.ends_with("wait for it"), "{sentence}");
    assert_eq!(
        ledger.state.weights(SUBNET).unwrap()[0].open_commits,
        [weights.tempo]
    );

    ledger.close_tempo();
    ledger.transact(101, reveal(&weights)).unwrap();
    let row = &ledger.state.weights(SUBNET).unwrap()[0];
    assert_eq!(row.weights, [(Uid(1), 65_535), (Uid(2), 21_845)]);
    assert_eq!(row.open_commits, [] as [u64; 0]);
    assert_eq!(
        ledger.neuron(0).last_update,
        committed,
        "a reveal is no newer than its commit"
    );
    ledger.refused_now(101, reveal(&weights), "commit");
}

#[test]
fn the_last_block_of_the_window_counts_and_the_next_does_not() {
    let mut ledger = validator();
    let weights = ledger.weights(&ROW);
    ledger.ok(101, commit(101, &weights));
    ledger.close_tempo();
    ledger.advance(9);
    let mut late = ledger.clone();
    ledger.transact(101, reveal(&weights)).unwrap();

    assert_eq!(late.begin().len(), 1);
    let sentence = late.refused_now(101, reveal(&weights), "reveal window");
    assert!(
        sentence.ends_with("the window is over, set new weights"),
        "{sentence}"
    );
    assert_eq!(
        late.state.weights(SUBNET).unwrap(),
        [],
        "the expired commit was dropped"
    );
}

#[test]
fn a_commit_belongs_to_the_tempo_of_its_block_whatever_it_hides() {
    let mut ledger = validator();
    let weights = ledger.weights(&ROW);
    ledger.close_tempo();
    ledger.transact(101, commit(101, &weights)).unwrap();
    ledger.refused(101, reveal(&weights), "commit");
    ledger.close_tempo();
    ledger.refused_now(101, reveal(&weights), "reveal window");
}

#[test]
fn a_reveal_is_exactly_what_was_committed_by_the_one_who_committed_it() {
    let mut ledger = validator();
    ledger.ok(2, register(104));
    ledger.ok(2, stake(104, units(50)));
    ledger.close_tempo();
    let weights = ledger.weights(&ROW);
    ledger.transact(101, commit(101, &weights)).unwrap();
    ledger.close_tempo();
    let mut other = weights.clone();
    other.salt = [8; 32];
    let sentence = ledger.refused_now(101, reveal(&other), "commit");
    assert!(
        sentence.starts_with("UID 0 has 1 open commits of tempo"),
        "{sentence}"
    );
    ledger.refused_now(104, reveal(&weights), "commit");
}

#[test]
fn rows_are_well_formed_or_refused_in_the_order_of_the_rules() {
    #[track_caller]
    fn check(weights: impl FnOnce(&mut Weights), rule: &str) {
        let mut ledger = validator();
        ledger.ok(1, set("min_allowed_weights", 2));
        ledger.ok(1, set("version_key", 3));
        ledger.close_tempo();
        let mut row = ledger.weights(&ROW);
        row.version = 3;
        weights(&mut row);
        ledger.transact(101, commit(101, &row)).unwrap();
        ledger.close_tempo();
        match rule {
            "" => ledger.transact(101, reveal(&row)).unwrap(),
            rule => drop(ledger.refused_now(101, reveal(&row), rule)),
        }
    }
    check(|_| {}, "");
    check(|row| row.values.push(1), "lengths");
    check(|row| row.version = 2, "version key");
    check(|row| row.uids = vec![Uid(1), Uid(1)], "duplicates");
    check(|row| row.uids = vec![Uid(2), Uid(1)], "uid order");
    check(|row| row.uids = vec![Uid(1), Uid(3)], "known uids");
    check(
        |row| (row.uids, row.values) = (vec![Uid(1)], vec![1]),
        "minimum count",
    );
    check(|row| (row.uids, row.values) = (vec![], vec![]), "minimum count");
    check(|row| (row.uids, row.values) = (vec![Uid(0)], vec![1]), "");
    check(|row| row.values = vec![0, 0], "all zero");
}

#[test]
fn commits_keep_their_rate_and_their_number() {
    let mut ledger = validator();
    ledger.ok(1, set("weights_rate_limit_blocks", 4));
    ledger.ok(1, set("open_commits_max", 2));
    ledger.close_tempo();
    let weights = ledger.weights(&ROW);
    ledger.transact(101, commit(101, &weights)).unwrap();
    let at = ledger.state.height().0;
    ledger.advance(2);
    let sentence = ledger.refused(101, commit(101, &weights), "rate limit");
    let expected = format!(
        "weights of UID 0 were set at block {at}: the next change is allowed at block {}",
        at + 4
    );
    assert_eq!(sentence, expected);
    ledger.ok(101, commit(101, &weights));
    ledger.advance(3);
    let sentence = ledger.refused(101, commit(101, &weights), "open commits");
    assert!(
        sentence.starts_with("UID 0 has 2 open commits, 2 at most"),
        "{sentence}"
    );
}

#[test]
fn too_little_stake_weights_nothing() {
    let mut ledger = validator();
    ledger.ok(1, set("stake_threshold", units(200).base_units()));
    ledger.close_tempo();
    let weights = ledger.weights(&ROW);
    // The permit of the epoch before is still there; the threshold is in force.
    ledger.refused_now(101, commit(101, &weights), "stake threshold");
}

#[test]
fn without_commit_reveal_weights_are_shown_at_once() {
    let mut ledger = validator();
    ledger.ok(1, set("commit_reveal", 0));
    ledger.ok(1, set("weights_rate_limit_blocks", 5));
    let hidden = ledger.weights(&ROW);
    ledger.ok(101, commit(101, &hidden));
    ledger.close_tempo();
    assert_eq!(
        ledger.state.weights(SUBNET).unwrap(),
        [],
        "commits go with commit-reveal"
    );
    ledger.refused_now(101, commit(101, &hidden), "commit-reveal");
    ledger.refused_now(101, reveal(&hidden), "reveal window");
    let shown = ledger.weights(&ROW);
    ledger.transact(101, reveal(&shown)).unwrap();
    assert_eq!(ledger.neuron(0).last_update, ledger.state.height());
    ledger.refused(101, reveal(&shown), "rate limit");
    let own = ledger.weights(&[(1, 1)]);
    ledger.advance(5);
    ledger
        .transact(102, reveal(&own))
        .expect("a miner may weight itself alone");
    ledger.refused_now(103, reveal(&own), "permit");
}

#[test]
fn a_reveal_gives_nothing_to_a_uid_that_changed_hands_since_the_commit() {
    let mut ledger = validator();
    let weights = ledger.weights(&ROW);
    ledger.ok(101, commit(101, &weights));
    ledger.close_tempo();
    // As if UID 1 had been replaced after the commit.
    let mut neuron = ledger.state.expect_neuron(SUBNET, Uid(1));
    neuron.registered = ledger.state.height();
    ledger.state.table.write(&(SUBNET, Uid(1)), &neuron);
    let effect = ledger.effect(101, reveal(&weights));
    assert_eq!(
        effect,
        "sets 1 weights of UID 0 on subnet 1 and drops 1 on UIDs that changed hands since the commit"
    );
    ledger.transact(101, reveal(&weights)).unwrap();
    assert_eq!(
        ledger.state.weights(SUBNET).unwrap()[0].weights,
        [(Uid(2), 65_535)]
    );
}
