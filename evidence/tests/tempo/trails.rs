//! Trails alone, over many beacons: how often they find what is forged, and that they never find what is not.

use std::collections::BTreeMap;

use agon_evidence::bundle::{Bundle, Outcome, policy};
use agon_evidence::fold::Memory;
use agon_evidence::forgery::{self, Forged, NoForgery};
use agon_evidence::opening::{self, Opened, OpeningError};
use agon_evidence::recompute::{Before, OnLedger, recompute};
use agon_evidence::record::Round;
use agon_evidence::slots::{Picks, trails};
use agon_evidence::trail::Committed;
use agon_evidence::tree::Tree;
use agon_protocol::id::{Digest, Uid};
use agon_protocol::merkle;
use agon_protocol::message::{
    EvidenceCommit, EvidenceOpening, Forgery, Leaf, OpenedLeaf, StandingLeaf, Trail, WeightsLeaf,
};
use agon_scoring::rating::{Entry, Ratings};

use crate::fixture::{
    ITEMS, MINERS, ROUNDS, TASK, TEMPO, bundle_after, bundle_with, context, context_of, honest, roster,
};

/// Beacons that each forgery is tried under: the share that is found has a deviation of at most 0.029.
const BEACONS: u16 = 300;
/// How far the share may be from what the design says.
const NEAR: f64 = 0.09;

/// Evidence of a tempo, whose leaves may have been exchanged, and that of the tempo before.
struct Evidence {
    bundle: Bundle,
    leaves: Vec<Leaf>,
    before: Option<Bundle>,
    settled: Vec<Uid>,
}

impl Evidence {
    fn of(bundle: Bundle, before: Option<Bundle>) -> Self {
        let roster = roster();
        let leaves = Tree::of(&context(&roster), &bundle).leaves().to_vec();
        Self {
            bundle,
            leaves,
            before,
            settled: (0..MINERS).map(Uid).collect(),
        }
    }

    fn commit(&self) -> EvidenceCommit {
        let roster = roster();
        EvidenceCommit {
            root: merkle::root(&self.digests()),
            leaf_count: u32::try_from(self.leaves.len()).unwrap(),
            ..self.bundle.commit(&context(&roster), None, None)
        }
    }

    fn digests(&self) -> Vec<Digest> {
        self.leaves.iter().map(Leaf::digest).collect()
    }

    /// What is shown of these leaves where the bundle's tree shows its own.
    fn shown(&self, mut opening: EvidenceOpening) -> EvidenceOpening {
        let digests = self.digests();
        let exchange = |opened: &mut OpenedLeaf| {
            *opened = OpenedLeaf::open(&self.leaves, &digests, opened.index).unwrap();
        };
        exchange(&mut opening.weights);
        opening.rest.best.iter_mut().for_each(exchange);
        for trail in &mut opening.trails {
            exchange(&mut trail.standing);
            let answers = trail.answer.iter_mut();
            answers
                .flat_map(|shown| [&mut shown.item, &mut shown.answer])
                .for_each(exchange);
        }
        opening
    }

    /// What the trails of each beacon find.
    fn opened(&self, beacons: impl Iterator<Item = Digest>) -> Vec<Result<Opened, OpeningError>> {
        let (roster, commit) = (roster(), self.commit());
        let (now, earlier) = (context(&roster), context_of(&roster, TEMPO - 1));
        let tree = Tree::of(&now, &self.bundle);
        let before = self.before.as_ref().map(|before| Tree::of(&earlier, before));
        let before_commit = self
            .before
            .as_ref()
            .map(|before| before.commit(&earlier, None, None));
        let committed = Committed {
            commit: &commit,
            before: before_commit.as_ref(),
            settled: &self.settled,
        };
        let open = |beacon| {
            let picks = Picks {
                slots: Vec::new(),
                trails: trails(beacon, commit.root),
            };
            let opening = tree.opening(&now, &picks, before.as_ref()).unwrap();
            opening::check(&now, &committed, &picks, &self.shown(opening))
        };
        beacons.map(open).collect()
    }

    /// The share of beacons whose trails find a forgery, and the first that is found.
    fn found(&self) -> (f64, Option<Forged>) {
        let beacons = (0..BEACONS).map(|number| {
            let mut beacon = Digest::default();
            beacon.0[..2].copy_from_slice(&number.to_le_bytes());
            beacon
        });
        let found = self
            .opened(beacons)
            .into_iter()
            .filter_map(|opened| match opened.unwrap() {
                Opened::Forged(forged) => Some(forged),
                Opened::Holds { .. } => None,
            });
        let found: Vec<Forged> = found.collect();
        (found.len() as f64 / f64::from(BEACONS), found.into_iter().next())
    }

    fn weights(&self) -> WeightsLeaf {
        match self.leaves.last() {
            Some(Leaf::Weights(leaf)) => leaf.clone(),
            _ => unreachable!("the weights are the last leaf"),
        }
    }

    /// How likely a trail of even and one of odd number are to start at `uid`.
    fn chances(&self, uid: Uid) -> [f64; 2] {
        let WeightsLeaf { row, unpaid, .. } = self.weights();
        let whole: f64 = row.iter().map(|cell| f64::from(cell.1)).sum();
        let weight = row
            .iter()
            .find(|cell| cell.0 == uid)
            .map_or(0.0, |cell| f64::from(cell.1));
        [weight / whole, 1.0 / (row.len() + unpaid.len()) as f64]
    }

    fn place(&self, is_it: impl Fn(&Leaf) -> bool) -> usize {
        self.leaves.iter().position(is_it).unwrap()
    }

    fn standing(&self, uid: Uid) -> usize {
        self.place(|leaf| matches!(leaf, Leaf::Standing(standing) if standing.uid == uid))
    }
}

/// How likely four trails are to find what each of them finds with these chances.
fn chance_of([even, odd]: [f64; 2]) -> f64 {
    1.0 - ((1.0 - even) * (1.0 - odd)).powi(2)
}

/// Trails that start at `uid` find the forgery, in that share of its answers, and no others do.
#[track_caller]
fn check(evidence: &Evidence, uid: Uid, share: f64, is_it: impl Fn(&Forged) -> bool) {
    let (found, first) = evidence.found();
    let expected = chance_of(evidence.chances(uid).map(|chance| chance * share));
    assert!(
        (found - expected).abs() < NEAR,
        "{found} of the beacons, not {expected}"
    );
    assert!(first.as_ref().is_some_and(is_it), "{first:?}");
}

/// Two tempos, the second of which goes on from the first.
fn two_tempos(change: impl Fn(&mut Round)) -> (Bundle, Bundle) {
    let roster = roster();
    let earlier = context_of(&roster, TEMPO - 1);
    let (before, memory) = bundle_after(&earlier, &Memory::default(), ROUNDS, |_| ());
    let (bundle, _) = bundle_after(&context(&roster), &memory, ROUNDS, change);
    (before, bundle)
}

/// A bundle whose windows are altered after the fact; standings and row follow from the altered ones.
fn with_windows(mut bundle: Bundle, change: impl Fn(Uid, &mut Vec<Entry>)) -> Bundle {
    let entries = |(standing, window): (&StandingLeaf, &agon_scoring::rating::Window)| {
        let mut entries = window.entries().to_vec();
        change(standing.uid, &mut entries);
        (standing.uid.0, entries)
    };
    let windows: BTreeMap<u16, Vec<Entry>> = bundle
        .standings
        .iter()
        .zip(&bundle.windows)
        .map(entries)
        .collect();
    let ratings: Ratings = borsh::from_slice(&borsh::to_vec(&(u64::MAX, windows)).unwrap()).unwrap();
    let memory = Memory {
        ratings,
        ..Memory::default()
    };
    let outcome = Outcome::of(&memory, Uid(MINERS), &policy(&TASK)).unwrap();
    (bundle.standings, bundle.windows, bundle.row) = (outcome.standings, outcome.windows, outcome.row);
    bundle
}

/// The miner that is wrong in the first round.
const FAVOURED: Uid = Uid(0);

#[test]
fn honest_tempos_hold_under_every_beacon() {
    let roster = roster();
    let alone = Evidence::of(honest(&context(&roster)), None);
    assert_eq!(alone.found(), (0.0, None));
    let (before, bundle) = two_tempos(|_| ());
    assert!(
        bundle
            .windows
            .iter()
            .any(|window| window.entries().len() > 3 * ITEMS as usize)
    );
    assert_eq!(Evidence::of(bundle, Some(before)).found(), (0.0, None));
}

#[test]
fn who_changed_hands_begins_anew_and_who_did_not_must_not() {
    let (before, _) = two_tempos(|_| ());
    let roster = roster();
    let mut memory = before.carried.clone();
    for round in &before.rounds {
        memory.fold(&mut round.clone());
    }
    // UID 3 changes hands before the second tempo, UID 4 before its last round.
    memory.forget(Uid(3));
    let last = |round: &mut Round| {
        if round.round + 1 == ROUNDS {
            round.forgotten.push(Uid(4));
        }
    };
    let (bundle, _) = bundle_after(&context(&roster), &memory, ROUNDS, last);
    let mut evidence = Evidence::of(bundle, Some(before));
    evidence.settled.retain(|uid| ![Uid(3), Uid(4)].contains(uid));
    assert_eq!(evidence.found(), (0.0, None));
    evidence.settled = (0..MINERS).map(Uid).collect();
    let (found, first) = evidence.found();
    assert!(found > 0.5, "{found}");
    assert!(matches!(
        first,
        Some(Forged::Window { .. } | Forged::Carried { .. } | Forged::LeftOut { .. })
    ));
}

#[test]
fn a_forged_judgement_is_found_where_a_trail_starts_at_whom_it_favours() {
    let roster = roster();
    let bundle = bundle_with(&context(&roster), |round| {
        let favoured = round.answers.iter_mut().filter(|answer| answer.uid == FAVOURED);
        favoured.for_each(|answer| answer.score_ppm = 999_999);
    });
    let evidence = Evidence::of(bundle, None);
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Judgement { .. })
    });
}

#[test]
fn a_forged_value_is_found_with_its_item() {
    let roster = roster();
    let mut bundle = with_windows(honest(&context(&roster)), |uid, entries| {
        let favoured = entries.iter_mut().filter(|_| uid == FAVOURED);
        favoured.for_each(|entry| entry.value_ppm = 999_999);
    });
    for round in &mut bundle.rounds {
        let favoured = round.answers.iter_mut().filter(|answer| answer.uid == FAVOURED);
        favoured.for_each(|answer| answer.strength_ppm = 999_999);
    }
    let evidence = Evidence::of(bundle, None);
    let (found, first) = evidence.found();
    // The items are those of other miners too, so that their trails find it as well.
    assert!(found > chance_of(evidence.chances(FAVOURED)), "{found}");
    assert!(matches!(first, Some(Forged::Values { .. })), "{first:?}");
}

#[test]
fn a_window_that_has_another_value_than_the_item_is_found() {
    let roster = roster();
    let bundle = with_windows(honest(&context(&roster)), |uid, entries| {
        let favoured = entries.iter_mut().filter(|_| uid == FAVOURED);
        favoured.for_each(|entry| entry.value_ppm = 999_999);
    });
    let evidence = Evidence::of(bundle, None);
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Entry { .. })
    });
}

#[test]
fn a_window_that_leaves_out_wrong_answers_is_found() {
    let roster = roster();
    let bundle = with_windows(honest(&context(&roster)), |uid, entries| {
        entries.retain(|entry| uid != FAVOURED || entry.value_ppm > 0);
    });
    let evidence = Evidence::of(bundle, None);
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Window { .. })
    });
}

#[test]
fn an_item_that_has_another_score_than_the_answer_is_found() {
    let roster = roster();
    let mut evidence = Evidence::of(
        bundle_with(&context(&roster), |round| {
            let favoured = round.answers.iter_mut().filter(|answer| answer.uid == FAVOURED);
            favoured.for_each(|answer| answer.score_ppm = 999_999);
        }),
        None,
    );
    // The answers have the true score, the items the forged one.
    let honest = Evidence::of(honest(&context(&roster)), None);
    for (leaf, honest) in evidence.leaves.iter_mut().zip(&honest.leaves) {
        if matches!(leaf, Leaf::Answer(_)) {
            leaf.clone_from(honest);
        }
    }
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Copied { .. })
    });
}

#[test]
fn a_standing_and_a_weight_that_do_not_follow_are_found() {
    let roster = roster();
    let mut bundle = honest(&context(&roster));
    let place = bundle
        .standings
        .iter()
        .position(|standing| standing.uid == FAVOURED)
        .unwrap();
    bundle.standings[place].pay = bundle.standings[1].pay;
    bundle.row[0].1 = u16::MAX;
    let evidence = Evidence::of(bundle, None);
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Standing { .. })
    });

    let mut bundle = honest(&context(&roster));
    bundle.row[0].1 = u16::MAX - 1;
    let evidence = Evidence::of(bundle, None);
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Weight { .. })
    });
}

#[test]
fn a_window_that_was_made_up_before_the_tempo_is_found() {
    let (before, _) = two_tempos(|_| ());
    let roster = roster();
    let made_up = with_windows(before.clone(), |uid, entries| {
        let favoured = entries.iter_mut().filter(|_| uid == FAVOURED);
        favoured.for_each(|entry| entry.value_ppm = 999_999);
    });
    let windows: BTreeMap<u16, Vec<Entry>> = made_up
        .standings
        .iter()
        .zip(&made_up.windows)
        .map(|(standing, window)| (standing.uid.0, window.entries().to_vec()))
        .collect();
    let items = u64::from(ROUNDS * ITEMS);
    let memory = Memory {
        ratings: borsh::from_slice(&borsh::to_vec(&(items, windows)).unwrap()).unwrap(),
        ..Memory::default()
    };
    let (bundle, _) = bundle_after(&context(&roster), &memory, ROUNDS, |_| ());
    let evidence = Evidence::of(bundle.clone(), Some(before.clone()));
    check(&evidence, FAVOURED, 1.0, |forged| {
        matches!(forged, Forged::Carried { .. })
    });
    check_reported(&bundle, &before, "carried over", |forged| {
        matches!(forged, Forged::Carried { .. })
    });
}

/// Whoever fetches both tempos finds it too, and the ledger takes the report.
#[track_caller]
fn check_reported(bundle: &Bundle, before: &Bundle, line: &str, is_it: impl Fn(&Forged) -> bool) {
    let roster = roster();
    let (now, earlier) = (context(&roster), context_of(&roster, TEMPO - 1));
    let (commit, before_commit) = (
        bundle.commit(&now, None, None),
        before.commit(&earlier, None, None),
    );
    let on_ledger = OnLedger {
        commit: &commit,
        before: Some(Before {
            context: &earlier,
            commit: &before_commit,
            bundle: before,
        }),
        revealed: None,
    };
    let difference = recompute(&now, &on_ledger, bundle).unwrap_err();
    assert!(difference.line.contains(line), "{difference:?}");
    let report = difference.forgery.expect("the ledger can check it");
    let committed = Committed {
        commit: &commit,
        before: Some(&before_commit),
        settled: &[],
    };
    let forged = forgery::check(&now, &committed, &report).unwrap();
    assert!(is_it(&forged), "{forged:?}");
}

#[test]
fn items_that_are_numbered_anew_are_found_by_every_beacon_and_by_whoever_fetches_them() {
    let (before, bundle) = two_tempos(|_| ());
    let mut memory = bundle.carried.clone();
    let windows: BTreeMap<u16, Vec<Entry>> = memory
        .ratings
        .windows()
        .iter()
        .map(|(uid, window)| (*uid, window.entries().to_vec()))
        .collect();
    memory.ratings = borsh::from_slice(&borsh::to_vec(&(1_000_u64, windows)).unwrap()).unwrap();
    let roster = roster();
    let (bundle, _) = bundle_after(&context(&roster), &memory, ROUNDS, |_| ());
    let evidence = Evidence::of(bundle.clone(), Some(before.clone()));
    let (found, first) = evidence.found();
    assert_eq!(
        (
            found,
            matches!(first, Some(Forged::FirstItem { found: 1_000, .. }))
        ),
        (1.0, true)
    );
    check_reported(&bundle, &before, "the first item", |forged| {
        matches!(forged, Forged::FirstItem { .. })
    });
}

#[test]
fn a_second_standing_has_no_place_but_another_uids() {
    let roster = roster();
    let mut evidence = Evidence::of(honest(&context(&roster)), None);
    let (twin, place) = (evidence.standing(FAVOURED), evidence.standing(Uid(3)));
    evidence.leaves[place] = evidence.leaves[twin].clone();
    let (found, first) = evidence.found();
    // The standing of the largest weight is shown in every opening; here it is not UID 3's.
    let expected = chance_of(evidence.chances(Uid(3)));
    assert!((found - expected).abs() < NEAR, "{found}, not {expected}");
    assert!(matches!(first, Some(Forged::Place { .. })), "{first:?}");
}

#[test]
fn an_item_that_counts_twice_has_no_place_but_another_items() {
    let roster = roster();
    let mut evidence = Evidence::of(honest(&context(&roster)), None);
    let is_of = |item: u32| move |leaf: &Leaf| matches!(leaf, Leaf::Item(leaf) if (leaf.round, leaf.item_index) == (0, item));
    let (twin, place) = (evidence.place(is_of(2)), evidence.place(is_of(5)));
    evidence.leaves[place] = evidence.leaves[twin].clone();
    let (found, first) = evidence.found();
    assert!(
        found > 0.02 && matches!(first, Some(Forged::Place { .. })),
        "{found} {first:?}"
    );
}

#[test]
fn a_table_that_moves_a_section_is_found_by_every_beacon() {
    let roster = roster();
    for change in [
        (|weights| weights.rounds[0].items += 1) as fn(&mut WeightsLeaf),
        |weights| weights.rounds[1].others -= 1,
        |weights| weights.rounds.truncate(2),
        |weights| weights.unpaid.clear(),
        |weights| weights.row.swap(0, 1),
        |weights| weights.row.iter_mut().for_each(|cell| cell.1 /= 2),
        |weights| weights.first_item = u64::MAX,
    ] {
        let mut evidence = Evidence::of(honest(&context(&roster)), None);
        let mut weights = evidence.weights();
        change(&mut weights);
        *evidence.leaves.last_mut().unwrap() = Leaf::Weights(weights);
        let opened = evidence.opened([Digest([4; 32])].into_iter()).remove(0);
        assert!(
            matches!(opened, Ok(Opened::Forged(Forged::Table { .. }))),
            "{opened:?}"
        );
    }
}

/// An opening of trails whose shown parts are changed.
#[track_caller]
fn check_refused(change: impl Fn(&mut EvidenceOpening), is_it: impl Fn(&OpeningError) -> bool) {
    let roster = roster();
    let (now, earlier) = (context(&roster), context_of(&roster, TEMPO - 1));
    let (before, bundle) = two_tempos(|_| ());
    let (commit, before_commit) = (
        bundle.commit(&now, None, None),
        before.commit(&earlier, None, None),
    );
    let committed = Committed {
        commit: &commit,
        before: Some(&before_commit),
        settled: &[],
    };
    let picks = Picks::of(&now, Digest([9; 32]), commit.root, 4);
    let tree = Tree::of(&earlier, &before);
    let mut opening = bundle.open(&now, &picks, Some(&tree)).unwrap();
    assert!(matches!(
        opening::check(&now, &committed, &picks, &opening),
        Ok(Opened::Holds { .. })
    ));
    change(&mut opening);
    let refused = opening::check(&now, &committed, &picks, &opening).unwrap_err();
    assert!(is_it(&refused), "{refused:?}");
}

#[test]
fn an_opening_that_does_not_show_what_was_picked_is_refused() {
    let of_trail = |error: &OpeningError| matches!(error, OpeningError::Trail { number: 0, .. });
    let first = |change: fn(&mut Trail)| move |opening: &mut EvidenceOpening| change(&mut opening.trails[0]);
    check_refused(
        |opening| drop(opening.trails.pop()),
        |error| matches!(error, OpeningError::Trails { .. }),
    );
    check_refused(|opening| opening.trails.swap(0, 1), of_trail);
    check_refused(first(|trail| trail.window.truncate(1)), of_trail);
    check_refused(first(|trail| trail.window[0].value_ppm ^= 1), of_trail);
    check_refused(first(|trail| trail.carried = None), of_trail);
    check_refused(first(|trail| trail.answer = None), of_trail);
    check_refused(
        first(|trail| trail.answer.as_mut().unwrap().item.path.clear()),
        of_trail,
    );
    check_refused(
        |opening| opening.rest.before = None,
        |error| matches!(error, OpeningError::Ground(_)),
    );
    check_refused(
        |opening| opening.rest.best = None,
        |error| matches!(error, OpeningError::Ground(_)),
    );
    check_refused(
        |opening| opening.weights.index -= 1,
        |error| matches!(error, OpeningError::Ground(_)),
    );
    check_refused(
        |opening| opening.draws.truncate(opening.draws.len() - 1),
        |error| matches!(error, OpeningError::Ground(_) | OpeningError::Draws { .. }),
    );
    check_refused(
        |opening| opening.texts.clear(),
        |error| matches!(error, OpeningError::Texts { .. }),
    );
    check_refused(
        |opening| opening.texts.iter_mut().for_each(|text| text.push('x')),
        |error| matches!(error, OpeningError::Text { .. }),
    );
}

#[test]
fn a_report_of_a_trail_shows_nothing_of_honest_evidence_and_needs_the_tempo_before() {
    let roster = roster();
    let (now, earlier) = (context(&roster), context_of(&roster, TEMPO - 1));
    let (before, bundle) = two_tempos(|_| ());
    let (commit, before_commit) = (
        bundle.commit(&now, None, None),
        before.commit(&earlier, None, None),
    );
    let (tree, before_tree) = (Tree::of(&now, &bundle), Tree::of(&earlier, &before));
    let settled: Vec<Uid> = (0..MINERS).map(Uid).collect();
    let committed = Committed {
        commit: &commit,
        before: Some(&before_commit),
        settled: &settled,
    };
    for uid in settled.iter().copied() {
        let report = tree.trail_of(&now, uid, None, Some(&before_tree)).unwrap();
        assert_eq!(forgery::check(&now, &committed, &report), Err(NoForgery::Follows));
        let Forgery::Trail {
            mut rest,
            draws,
            weights,
            trail,
        } = report
        else {
            unreachable!("a trail was asked for");
        };
        rest.before = None;
        let without = Forgery::Trail {
            draws,
            weights,
            rest,
            trail,
        };
        assert!(matches!(
            forgery::check(&now, &committed, &without),
            Err(NoForgery::Apart { .. })
        ));
    }
}

/// The defence is as good as this where a fifth of the UIDs have all their answers forged: with sixteen slots, whose
/// answers are judged too, the chance is that of twenty tries.
#[test]
fn chances_by_hand() {
    assert!((chance_of([0.2, 0.2]) - 0.5904).abs() < 1e-9);
    assert!((chance_of([1.0, 0.2]) - 1.0).abs() < 1e-9);
}
